//! What held a request up, in its line.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use serde_json::Value;

use crate::logged::Logged;
use crate::support::{Client, Server, wait_until};

/// A server that tells what holds its connections up.
const WATCHED: &[&str] = &["--admin", "127.0.0.1:0"];

fn watched(format: &str) -> Logged {
    Logged::start(format, WATCHED)
}

/// Waits until the server's one public connection has been held up in these ways for a millisecond at least.
fn wait_until_held_up(server: &Server, ways: &[&str]) {
    wait_until(&format!("a client is held up: {ways:?}"), || {
        let connection = only_connection(server);
        ways.iter().all(|way| connection[way].as_u64().unwrap() > 0)
    });
}

/// The line about the request for this target, once it is there. Those who look on are noted too.
fn line_about(logged: &Logged, target: &str) -> String {
    let mut found = String::new();
    wait_until(&format!("{target} is noted"), || {
        let log = logged.scratch.log();
        let line = log.split_inclusive('\n').find(|line| line.contains(target));
        found = line.unwrap_or_default().to_owned();
        found.ends_with('\n')
    });
    found
}

fn object_about(logged: &Logged, target: &str) -> Value {
    serde_json::from_str(&line_about(logged, target)).unwrap()
}

fn only_connection(server: &Server) -> Value {
    let mut admin = Client::new(TcpStream::connect(server.admin()).unwrap());
    admin.send("GET /connections?format=json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let report: Value = serde_json::from_str(&admin.read_response().1).unwrap();
    assert_eq!(report["total"], 1, "{report}");
    report["connections"][0].clone()
}

#[test]
fn a_slow_reader_shows_in_its_line() {
    const SIZE: usize = 32 * 1024 * 1024;
    let logged = watched("json");
    let mut client = logged.connect();
    client.send(format!("GET /bytes/{SIZE} HTTP/1.1\r\nHost: a\r\n\r\n"));
    wait_until_held_up(&logged.server, &["blocked_ms"]);
    client.read_head();
    assert_eq!(client.read_exactly(SIZE).len(), SIZE);
    let object = object_about(&logged, "/bytes/");
    assert!(object["blocked_ms"].as_f64().unwrap() > 0.0, "{object}");
    assert!((1..=64 * 1024).contains(&object["queued_max"].as_u64().unwrap()), "{object}");
    assert_eq!(object["paused_ms"].as_f64(), Some(0.0));
    assert!(object["last_byte_ms"].as_f64() >= object["blocked_ms"].as_f64(), "{object}");
}

#[test]
fn an_upload_that_is_paused_shows_in_its_line() {
    const SIZE: usize = 32 * 1024 * 1024;
    let logged = watched("json");
    let mut client = logged.connect();
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"));
    let mut writer = client.stream.try_clone().unwrap();
    let sender = thread::spawn(move || writer.write_all(&vec![b'x'; SIZE]).unwrap());
    // What comes back is not read, so that nobody takes what is sent either.
    wait_until_held_up(&logged.server, &["paused_ms", "blocked_ms"]);
    client.read_head();
    assert_eq!(client.read_exactly(SIZE).len(), SIZE);
    sender.join().unwrap();
    let object = object_about(&logged, "/echo");
    assert!(object["paused_ms"].as_f64().unwrap() > 0.0, "{object}");
    assert!(object["blocked_ms"].as_f64().unwrap() > 0.0, "{object}");
    assert_eq!(object["bytes"].as_u64(), Some(SIZE as u64));
}

#[test]
fn pretty_tells_of_backpressure_only_where_there_was_some() {
    const SIZE: usize = 32 * 1024 * 1024;
    let logged = Logged::start_untortured("pretty", WATCHED);
    let mut client = logged.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_response();
    client.send(format!("GET /bytes/{SIZE} HTTP/1.1\r\nHost: a\r\n\r\n"));
    wait_until_held_up(&logged.server, &["blocked_ms"]);
    client.read_head();
    assert_eq!(client.read_exactly(SIZE).len(), SIZE);
    let (fast, slow) = (line_about(&logged, "/plaintext"), line_about(&logged, "/bytes/"));
    assert!(!fast.contains("blocked"), "{fast}");
    assert!(slow.contains("  blocked ") && slow.contains(" peak "), "{slow}");
}
