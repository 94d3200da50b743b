//! Upstreams that come, stay with their connections, and go.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use super::support::{Client, DEADLINE, status, wait_until};
use super::{saying, says};

/// A server that answers with its name. A request for `/held` is answered when it is told to.
struct Upstream {
    address: String,
    accepted: Arc<AtomicUsize>,
    held: mpsc::Receiver<()>,
    release: mpsc::Sender<()>,
    ended: Arc<AtomicUsize>,
}

fn upstream(name: &'static str) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (accepted, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (hold, held) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let released = Arc::new(Mutex::new(released));
    let (counted, over) = (Arc::clone(&accepted), Arc::clone(&ended));
    thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            let (hold, released, over) = (hold.clone(), Arc::clone(&released), Arc::clone(&over));
            thread::spawn(move || {
                serve(stream.unwrap(), name, &hold, &released);
                over.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    Upstream { address, accepted, held, release, ended }
}

fn serve(stream: TcpStream, name: &str, hold: &mpsc::Sender<()>, released: &Mutex<mpsc::Receiver<()>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut first) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(n) if n > 0 => {}
                _ => return,
            }
            if first.is_empty() {
                first.clone_from(&line);
            }
        }
        if first.contains("/held") {
            hold.send(()).unwrap();
            if released.lock().unwrap().recv().is_err() {
                return;
            }
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

impl Upstream {
    fn site(&self, options: &str) -> String {
        format!("[[site]]\nproxy = 'http://{}{options}'\n", self.address)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

#[test]
fn there_may_be_upstreams_where_there_were_none_and_none_where_there_were() {
    let (a, b) = (upstream("a"), upstream("b"));
    let mill = saying("upstreams", "none");
    assert_eq!(mill.content("/"), "none");
    mill.take_sites(&a.site(""));
    assert_eq!([mill.content("/"), mill.content("/")], ["a", "a"]);
    mill.take_sites(&b.site(""));
    assert_eq!(mill.content("/"), "b");
    wait_until("the idle connection is closed", || a.ended.load(Ordering::SeqCst) == a.accepted());
    mill.take_sites(&says("none"));
    assert_eq!(mill.content("/"), "none");
    wait_until("the idle connection is closed", || b.ended.load(Ordering::SeqCst) == b.accepted());
    mill.take_sites(&a.site(""));
    assert_eq!(mill.content("/"), "a");
}

#[test]
fn a_route_that_is_equal_keeps_its_connections() {
    let a = upstream("a");
    let mill = saying("pools", "none");
    mill.take_sites(&a.site(""));
    assert_eq!(mill.content("/"), "a");
    for port in 1..4 {
        let more = format!("[[site.route]]\npath = '/other/'\nrespond = 404\nbody = '{port}'\n");
        mill.take_sites(&format!("{}{more}", a.site("")));
        assert_eq!([mill.content("/"), mill.content("/other/")], ["a".to_owned(), port.to_string()]);
        assert_eq!(a.accepted(), 1, "the connection of before");
    }
    mill.take_sites(&a.site(" max=3"));
    assert_eq!(mill.content("/"), "a");
    assert_eq!(a.accepted(), 2, "another route has connections of its own");
}

#[test]
fn a_request_at_an_upstream_gets_its_response_when_the_route_is_gone() {
    let a = upstream("a");
    let mill = saying("held", "none");
    mill.take_sites(&a.site(""));
    let mut client = mill.server.connect();
    client.send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    a.held.recv_timeout(DEADLINE).unwrap();
    mill.take_sites(&says("gone"));
    assert_eq!(mill.content("/held"), "gone");
    a.release.send(()).unwrap();
    assert_eq!(client.read_response().1, "a");
    assert_eq!(super::ask(&mut client, "/held"), "gone");
    wait_until("its connection is closed", || a.ended.load(Ordering::SeqCst) == a.accepted());
}

/// Who waits for room at an upstream gets it, although the route is gone meanwhile.
#[test]
fn who_waits_for_an_upstream_gets_it() {
    let a = upstream("a");
    let mill = saying("waits", "none");
    mill.take_sites(&a.site(" max=1"));
    let mut clients: Vec<Client> = (0..2).map(|_| mill.server.connect()).collect();
    clients[0].send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    a.held.recv_timeout(DEADLINE).unwrap();
    clients[1].send("GET /queued HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let queued = || super::get(TcpStream::connect(mill.server.admin()).unwrap(), "/connections");
    wait_until("it waits", || queued().contains("/queued"));
    mill.take_sites(&says("gone"));
    a.release.send(()).unwrap();
    for client in &mut clients {
        let (head, content) = client.read_response();
        assert_eq!((status(&head), content.as_str()), ("200", "a"), "{head}");
    }
}
