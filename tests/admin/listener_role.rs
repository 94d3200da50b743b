//! The admin listener is not a public one.

use std::process::Command;

use tidemill::net::sock_diag::QueueReader;

use crate::support::{Client, DEADLINE, Server, status, wait_until};
use crate::{ask, server};

#[test]
fn nothing_of_it_is_public_and_nothing_public_is_there() {
    let server = server(&[]);
    for path in ["/connections", "/metrics", "/loop", "/events", "/healthz", "/readyz"] {
        let answer = server.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert_eq!(status(&answer), "404", "{path}: {answer}");
        if path != "/events" {
            assert_eq!(status(&ask(&server, path).0), "200", "{path}");
        }
    }
    assert_eq!(status(&ask(&server, "/plaintext").0), "404");
}

#[test]
fn it_is_off_unless_asked_for() {
    let server = Server::start(&[]);
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let targets = descriptors.map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap());
    let sockets = targets.filter(|target| target.to_str().unwrap().starts_with("socket:")).count();
    // One that listens, the pair that signals come through, and one for questions about the accept queue if the kernel
    // takes any.
    assert_eq!(sockets, 3 + usize::from(QueueReader::open().is_ok()));
}

#[test]
fn an_address_that_others_reach_is_refused() {
    for address in ["0.0.0.0:0", ":0", "[::]:0", "10.0.0.1:9901"] {
        let program = Command::new(env!("CARGO_BIN_EXE_tidemill")).args(["--admin", address]).output().unwrap();
        assert_eq!(program.status.code(), Some(2), "{address}");
        let error = String::from_utf8(program.stderr).unwrap();
        assert!(error.contains("expected unix:PATH or a loopback address"), "{address}: {error}");
    }
}

#[test]
fn a_page_with_a_name_of_its_own_gets_nothing() {
    let server = server(&[]);
    let mut client = Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
    client.send("GET /connections HTTP/1.1\r\nHost: evil.example:9901\r\n\r\n");
    let (head, content) = client.read_response();
    assert_eq!(status(&head), "421");
    assert!(content.contains("answers to localhost"), "{content}");
    // The connection is none the worse for it.
    client.send("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_eq!(status(&client.read_response().0), "200");
}

#[test]
fn a_full_server_still_answers_its_admin() {
    let server = server(&["--max-connections", "2"]);
    let mut clients: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_response();
    }
    let mut waiting = server.connect();
    waiting.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&ask(&server, "/connections").0), "200");
    // Whoever waits outside gets in as soon as there is room.
    drop(clients);
    assert_eq!(status(&waiting.read_response().0), "200");
}

#[test]
fn whoever_asks_and_goes_away_harms_nobody() {
    let server = server(&[]);
    for _ in 0..50 {
        let mut client = Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
        client.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\nGET /connections HTTP/1.1\r\n");
        drop(client);
    }
    wait_until("all of them are gone", || ask(&server, "/loop").1.contains("close 50"));
}

#[test]
fn events_tell_twice_a_second_what_happens() {
    let server = server(&[]);
    let mut client = Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
    client.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    client.send("GET /events HTTP/1.0\r\n\r\n");
    let head = client.read_head();
    assert!(head.contains("Content-Type: text/event-stream\r\n"), "{head}");
    let (first, second) = (event(&mut client), event(&mut client));
    let uptime = |event: &serde_json::Value| event["uptime_ms"].as_u64().unwrap();
    // A question that a timer led to was once answered only when something else happened.
    let between = uptime(&second) - uptime(&first);
    assert!((400..4000).contains(&between), "{between} ms between {first} and {second}");
    assert_eq!(second["draining"], serde_json::Value::Null);
    for phase in ["poll", "collect", "run", "expire", "accept", "reap"] {
        assert!(second["phases"][phase]["count"].as_u64().unwrap() > 0, "{phase}: {second}");
    }
}

/// A client that gave up, and one that broke the rules before it had a request.
#[test]
fn events_tell_what_was_disturbed_with_its_letters_and_in_words() {
    let server = server(&["--header-timeout", "100ms"]);
    let mut events = Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
    events.send("GET /events HTTP/1.0\r\n\r\n");
    events.read_head();
    assert_eq!(event(&mut events)["disturbed"], serde_json::json!([]));
    let mut hasty = server.connect();
    hasty.send("GET /delay/100 HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(hasty);
    wait_until("it is told", || event(&mut events)["disturbed"].as_array().is_some_and(|told| !told.is_empty()));
    let mut slow = server.connect();
    slow.send("GET /slow");
    slow.read_head();
    drop(slow);
    let mut told = serde_json::Value::Null;
    wait_until("both are told", || {
        told = event(&mut events)["disturbed"].take();
        told.as_array().is_some_and(|told| told.len() == 2)
    });
    let [late, left] = [&told[0], &told[1]];
    assert_eq!((&late["verdict"], &late["connection"]), (&"STH".into(), &3.into()), "{told}");
    assert_eq!(
        (&left["verdict"], &left["request"], &left["line"]),
        (&"CFW".into(), &"r=1".into(), &"GET /delay/100".into())
    );
    assert!(left["text"].as_str().unwrap().starts_with("CFW client left (FIN) after "), "{told}");
    assert!(
        left["ago_ms"].as_u64() >= late["ago_ms"].as_u64() && left["peer"].as_str().unwrap().starts_with("127.0.0.1:")
    );
}

/// The next event that is sent.
fn event(client: &mut Client) -> serde_json::Value {
    let mut text = Vec::new();
    while !text.ends_with(b"\n\n") {
        text.extend(client.read_exactly(1));
    }
    let text = String::from_utf8(text).unwrap();
    serde_json::from_str(text.strip_prefix("data: ").unwrap()).unwrap()
}
