//! What the admin listener tells of upstreams, and of requests that are passed on to them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;

use crate::metrics::samples;
use crate::support::{Client, Server, read, status, wait_until};
use crate::{ask, ask_json, server};

/// An upstream that does what the test says.
pub struct Upstream(TcpListener);

impl Upstream {
    pub fn new() -> Upstream {
        Upstream(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// The next connection, with the head of its first request.
    pub fn accept(&self) -> (TcpStream, String) {
        let (mut stream, _) = self.0.accept().unwrap();
        let head = read_head(&mut stream);
        (stream, head)
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// A server in front of an upstream, with further options of the route.
fn in_front_of(upstream: &str, options: &str) -> Server {
    server(&["--proxy", &format!("/=http://{upstream}{options}")])
}

fn get(server: &Server, target: &str) -> Client {
    let mut client = server.connect();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

/// The first connection that waits for this.
fn waits_for(server: &Server, wait: &str) -> Value {
    let mut found = Value::Null;
    wait_until(&format!("a connection waits for {wait}"), || {
        let connections = ask_json(server, "/connections?format=json")["connections"].clone();
        found = connections.as_array().unwrap().iter().find(|c| c["wait"] == wait).cloned().unwrap_or_default();
        found["wait"] == wait
    });
    found
}

#[test]
fn a_request_and_its_other_half_are_one_pair_and_the_one_that_is_waited_for_is_named() {
    let upstream = Upstream::new();
    let server = in_front_of(&upstream.address(), "");
    let mut client = get(&server, "/a");
    let (mut stream, head) = upstream.accept();
    assert!(head.starts_with("GET /a HTTP/1.1\r\n"), "{head}");
    let half = waits_for(&server, "upstream-silent");
    assert_eq!(half["kernel"]["state"], "ESTABLISHED", "the kernel is asked about it, too: {half}");
    let (mine, of) = (waits_for(&server, "upstream"), half["serves"].clone());
    assert_eq!(
        (&of["connection"], &of["request"], &of["line"]),
        (&mine["connection"], &"r=1".into(), &"GET /a".into())
    );
    let shown = &mine["upstream"];
    assert_eq!(shown["address"], *upstream.address());
    assert_eq!((&shown["connection"], &shown["served_before"]), (&half["connection"], &0.into()));
    assert_eq!((&shown["wait"], &shown["state"]), (&"upstream-silent".into(), &"waiting for response".into()));
    assert_eq!(shown["held_up_by"], "upstream");
    let (_, known) = ask(&server, &format!("/ask?c={}", mine["connection"]));
    let pair = format!(
        "  upstream {} c={}, waiting for response, upstream-silent for ",
        upstream.address(),
        half["connection"]
    );
    assert!(known.contains(&pair) && known.contains("; the upstream holds the client up\n"), "{known}");
    let (_, known) = ask(&server, &format!("/ask?c={}", half["connection"]));
    assert!(known.contains(&format!("\n  serves   c={} r=1 GET /a\n", mine["connection"])), "{known}");

    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    assert_eq!(client.read_response().1, "ok");
    let pooled = waits_for(&server, "pooled");
    assert_eq!((&pooled["connection"], &pooled["serves"]), (&half["connection"], &Value::Null));
    assert!(waits_for(&server, "client-idle")["upstream"].is_null(), "the pair is over");
    let (_, listed) = ask(&server, "/connections");
    assert!(listed.starts_with("connections: 2 (1 of them to upstreams), 1 client-idle, 1 pooled\n"), "{listed}");
}

/// The upstream has sent more than fits between it and a client that does not read.
#[test]
fn a_client_that_does_not_read_holds_its_upstream_up() {
    let upstream = Upstream::new();
    let server = in_front_of(&upstream.address(), "");
    let _client = get(&server, "/large");
    let (mut stream, _) = upstream.accept();
    let sender = std::thread::spawn(move || {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
        (0..100).try_for_each(|_| stream.write_all(&[b'x'; 1_000_000]))
    });
    let half = waits_for(&server, "relay");
    let mine = waits_for(&server, "client-slow-read");
    assert_eq!((&mine["upstream"]["connection"], &mine["upstream"]["wait"]), (&half["connection"], &"relay".into()));
    assert_eq!(mine["upstream"]["held_up_by"], "client");
    drop(server);
    assert!(sender.join().unwrap().is_err(), "it could send all of it");
}

#[test]
fn upstreams_are_told_of_and_counted() {
    let upstream = Upstream::new();
    let server = in_front_of(&upstream.address(), " max=7");
    let mut client = get(&server, "/a");
    let (mut stream, _) = upstream.accept();
    let group = &ask_json(&server, "/upstreams?format=json")["groups"][0];
    assert_eq!((&group["name"], &group["max"], &group["idle_connections"]), (&"/".into(), &7.into(), &0.into()));
    let address = &group["addresses"][0];
    assert_eq!((&address["address"], &address["active"]), (&(*upstream.address()).into(), &1.into()));
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    assert_eq!(status(&client.read_response().0), "200");
    let (_, text) = ask(&server, "/upstreams");
    let first = "/  round-robin, at most 7 requests at each address, 0 waiting, 0 refused, 1 idle connections\n";
    assert!(text.starts_with(first) && text.contains(" in-service, 0 active\n"), "{text}");
    let samples = samples(&server);
    let labels = format!("group=\"/\",upstream=\"{0}\",address=\"{0}\"", upstream.address());
    assert_eq!(samples[&format!("tidemill_upstream_requests_total{{{labels}}}")], 1.0);
    assert_eq!(samples["tidemill_upstream_idle_connections{group=\"/\"}"], 1.0);
    assert_eq!(samples["tidemill_upstream_connections{wait=\"pooled\"}"], 1.0);
    assert_eq!(samples["tidemill_connections{wait=\"client-idle\"}"], 1.0);
    assert!(!samples.contains_key("tidemill_connections{wait=\"pooled\"}"), "an upstream is no client");
}

/// Answers the next check with this status, and says how the address stands when that has been noted.
fn answer_check(upstream: &Upstream, status: &str) {
    let (mut stream, head) = upstream.accept();
    assert_eq!(head, format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nUser-Agent: tidemill\r\n\r\n", upstream.address()));
    stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nwell").as_bytes()).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "the connection is for one check");
}

fn standing(server: &Server) -> Value {
    ask_json(server, "/upstreams?format=json")["groups"][0]["addresses"][0].clone()
}

#[test]
fn checks_take_an_address_out_of_service_and_bring_it_back() {
    let upstream = Upstream::new();
    let server = in_front_of(&upstream.address(), " health=/healthz health-interval=200ms");
    answer_check(&upstream, "200 OK");
    assert_eq!(standing(&server)["standing"], "in-service");
    (0..3).for_each(|_| answer_check(&upstream, "503 Service Unavailable"));
    server.wait_for_log("is down after 3 failed checks in a row: status 503");
    let down = standing(&server);
    assert_eq!((&down["standing"], &down["last_failure"]["why"]), (&"down".into(), &"status 503".into()));
    assert_eq!((&down["requests"], &down["active"]), (&0.into(), &0.into()), "a check is no request");
    (0..2).for_each(|_| answer_check(&upstream, "302 Found"));
    wait_until("it is back", || standing(&server)["standing"] == "in-service");
}

/// Three times it accepts and says nothing; a listener whose process does not accept does the same.
#[test]
fn a_check_without_an_answer_is_a_failure_in_time() {
    let upstream = Upstream::new();
    let server = in_front_of(&upstream.address(), " health=/healthz health-interval=200ms");
    let serves = waits_for(&server, "upstream-silent")["serves"].clone();
    assert_eq!((&serves["line"], &serves["connection"]), (&"GET /healthz".into(), &Value::Null), "{serves}");
    server.wait_for_log("is down after 3 failed checks in a row: no answer in time");
    wait_until("the last check is over", || {
        let connections = ask_json(&server, "/connections?format=json");
        connections["connections"].as_array().unwrap().len() <= 1
    });
}

/// Whether the client has got something.
#[test]
fn connections_to_upstreams_are_bounded_by_descriptors_and_idle_ones_make_room() {
    let (one, other) = (Upstream::new(), Upstream::new());
    let mut command = Command::new("prlimit");
    command.args([
        "--nofile=64:64",
        env!("CARGO_BIN_EXE_tidemill"),
        "--listen",
        "127.0.0.1:0",
        "--max-connections=100",
    ]);
    let routes = format!("/a/=http://{}; /b/=http://{}", one.address(), other.address());
    command.args(crate::ADMIN).args(["--proxy", &routes]);
    let server = Server::spawn(command);
    let limit = samples(&server)["tidemill_upstream_connections_limit"] as usize;
    let mut busy: Vec<(Client, TcpStream)> = (0..limit).map(|_| (get(&server, "/a/"), one.accept().0)).collect();
    let mut waiting = get(&server, "/b/");
    wait_until("it waits", || samples(&server)["tidemill_upstream_waiting_requests{group=\"/b/\"}"] == 1.0);
    let answer = |client: &mut Client, stream: &mut TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        assert_eq!(client.read_response().1, "ok");
    };
    let (client, stream) = &mut busy[0];
    answer(client, stream);
    let (mut instead, _) = other.accept();
    answer(&mut waiting, &mut instead);
    assert_eq!(read(stream, &mut [0]).unwrap(), 0, "an idle connection has made room");
    assert_eq!(ask_json(&server, "/connections?format=json")["upstreams"], limit);
    let requests =
        format!("tidemill_upstream_requests_total{{group=\"/a/\",upstream=\"{0}\",address=\"{0}\"}}", one.address());
    let samples = samples(&server);
    assert_eq!(samples[&requests], limit as f64);
    assert_eq!(samples["tidemill_upstream_refused_requests_total{group=\"/b/\"}"], 0.0);
}

#[test]
fn without_routes_there_are_no_upstreams() {
    let server = server(&[]);
    assert_eq!(ask(&server, "/upstreams").1, "no upstreams: nothing is proxied\n");
    assert!(!ask(&server, "/metrics").1.contains("tidemill_upstream_requests_total"));
}
