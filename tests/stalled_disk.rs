//! A disk that stalls: whoever needs it waits, or is told to come again; nobody else notices.
//!
//! The stand-in stands where the disk does: every job thread is held by a job that does not return.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tidemill::base::disk::{Links, RootPath};
use tidemill::base::job_pool::{JobPool, JobPoolLimits, Lane, Ticket};
use tidemill::base::limits::Limits;
use tidemill::base::listener_role::ListenerRole;
use tidemill::base::slots::Token;
use tidemill::base::wake::{Interrupt, WakeKey, Wakes};
use tidemill::event_loop::EventLoop;
use tidemill::net::listener::{ListenOptions, Listener};
use tidemill::net::mio_reactor::MioReactor;
use tidemill::service::front::{Front, Public};
use tidemill::service::lab;
use tidemill::service::static_files::{Site, StaticFiles};
use tidemill::service::websocket::Policy;

const DEADLINE: Duration = Duration::from_secs(20);
const THREADS: usize = 2;
/// Jobs that may wait behind those that hold the threads.
const QUEUE: usize = 2;

struct Nobody;

impl Interrupt for Nobody {
    fn wake(&self) {}
}

/// A server on a thread of its own, whose disk does not answer until `gate` is dropped.
struct Stalled {
    address: String,
    gate: Sender<()>,
}

impl Stalled {
    fn start() -> Stalled {
        let limits = JobPoolLimits { threads: THREADS, quick_max: QUEUE, slow_max: QUEUE };
        let jobs = JobPool::new(limits, Instant::now).unwrap();
        let (gate, held) = channel::<()>();
        let tickets = hold_all_threads(&jobs, held);
        let root = std::env::temp_dir().join(format!("tidemill-stalled-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        for number in 0..QUEUE + 1 {
            std::fs::write(root.join(format!("{number}.txt")), "late but whole").unwrap();
        }
        let (tell, told) = channel();
        thread::spawn(move || {
            let listener =
                Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenOptions::with_backlog(64)).unwrap().remove(0);
            tell.send(listener.local_address().to_string()).unwrap();
            let mut reactor = MioReactor::new(vec![(listener, ListenerRole::Http)]).unwrap();
            // As in the binary.
            if let Ok(faults) = std::env::var("TIDEMILL_TORTURE") {
                reactor.torture(faults.parse().unwrap());
            }
            let wakes = Wakes::new(reactor.waker());
            let front = Front::new(Public::Files(
                StaticFiles::new(Site::new(RootPath::new(&root, Links::Beneath).unwrap())),
                Some(lab::endpoints(Policy::default())),
            ));
            let mut event_loop = EventLoop::new(reactor, front, Limits::default(), wakes, jobs);
            let _held_for_as_long_as_we_live = tickets;
            // Ends with the test's process.
            while event_loop.outcome().is_none() {
                event_loop.turn().unwrap();
            }
        });
        Stalled { address: told.recv_timeout(DEADLINE).unwrap(), gate }
    }

    fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        BufReader::new(stream)
    }
}

/// Returns when every thread has a job that ends with the gate.
fn hold_all_threads(jobs: &JobPool, held: std::sync::mpsc::Receiver<()>) -> Vec<Ticket<()>> {
    let held = Arc::new(Mutex::new(held));
    let (started, all_started) = channel();
    let waker = Wakes::new(Nobody).waker(WakeKey { token: Token { index: 0, generation: 0 }, stream: 0 });
    let tickets = (0..THREADS)
        .map(|_| {
            let (held, started) = (Arc::clone(&held), started.clone());
            let job = move || {
                started.send(()).unwrap();
                // The gate is never used, only dropped: the first to see that lets the other see it.
                assert!(held.lock().unwrap().recv().is_err());
            };
            jobs.submit(Lane::Quick, waker.clone(), job).unwrap()
        })
        .collect();
    for _ in 0..THREADS {
        all_started.recv_timeout(DEADLINE).unwrap();
    }
    tickets
}

fn send(connection: &mut BufReader<TcpStream>, path: &str) {
    write!(connection.get_mut(), "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
}

/// Head and content of one answer.
fn answer(connection: &mut BufReader<TcpStream>) -> (String, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(connection.read_line(&mut head).unwrap() > 0, "closed after {head:?}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
    let mut content = vec![0; length];
    connection.read_exact(&mut content).unwrap();
    (head, String::from_utf8(content).unwrap())
}

#[test]
fn a_stalled_disk_delays_nobody_else() {
    let server = Stalled::start();
    let mut waiting: Vec<_> = (0..QUEUE).map(|_| server.connect()).collect();
    for (number, connection) in waiting.iter_mut().enumerate() {
        send(connection, &format!("/{number}.txt"));
    }
    // Whoever asks for what is being looked for already joins in and takes no place in the queue.
    let mut joined = server.connect();
    send(&mut joined, "/0.txt");

    let mut other = server.connect();
    for _ in 0..100 {
        send(&mut other, "/plaintext");
        assert_eq!(answer(&mut other).1, "Hello, World!");
    }
    // The queue is full now: the next file is refused at once, with a time to come again.
    send(&mut other, &format!("/{QUEUE}.txt"));
    let (head, _) = answer(&mut other);
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: 1\r\n"), "{head}");

    drop(server.gate);
    for connection in waiting.iter_mut().chain([&mut joined]) {
        assert_eq!(answer(connection).1, "late but whole");
    }
    send(&mut other, &format!("/{QUEUE}.txt"));
    assert_eq!(answer(&mut other).1, "late but whole", "and the disk is forgiven");
}
