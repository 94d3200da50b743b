//! TERM, INT, QUIT: what is in flight is answered, then the process ends.

use std::net::TcpStream;
use std::thread;

use crate::support::{Server, field, status, wait_until};

#[test]
fn terminate_answers_what_is_in_flight_and_says_close() {
    let mut server = Server::start(&[]);
    let mut slow = server.connect();
    slow.send("GET /delay/600 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut streaming = server.connect();
    streaming.send("GET /drip?bytes=20&over=600ms HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&streaming.read_head()), "200");
    server.signal("TERM");
    server.wait_for_log("stopping");
    let (head, _) = slow.read_response();
    assert_eq!(status(&head), "200");
    assert_eq!(field(&head, "Connection"), Some("close"));
    assert_eq!(streaming.read_exactly(20).len(), 20);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn idle_connections_are_closed_and_new_ones_refused() {
    let mut server = Server::start(&[]);
    let mut idle = server.connect();
    idle.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(idle.read_response().1, r#"{"status":"up"}"#);
    server.signal("INT");
    assert_eq!(idle.read_to_end(), "");
    wait_until("connections are refused", || TcpStream::connect(&server.address).is_err());
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_drain_deadline_cuts_what_is_left_and_says_so_in_the_exit_code() {
    let mut server = Server::start(&["--drain-timeout", "300ms"]);
    let mut slow = server.connect();
    slow.send("GET /drip?bytes=100&over=10m HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&slow.read_head()), "200");
    server.signal("QUIT");
    assert_eq!(server.wait().code(), Some(3));
    server.wait_for_log("drain deadline");
}

#[test]
fn a_second_interrupt_stops_at_once() {
    let mut server = Server::start(&[]);
    let mut slow = server.connect();
    slow.send("GET /drip?bytes=100&over=10m HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&slow.read_head()), "200");
    server.signal("INT");
    server.wait_for_log("stopping");
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(3));
}

#[test]
fn what_never_ends_by_itself_ends_at_the_order_to_stop_and_is_complete() {
    for (target, begins) in [("/sse?every=60m", "id: 0\n"), ("/sse?every=5ms", "id: 0\n"), ("/sheep?every=60m", "0\n")]
    {
        let mut server = Server::start(&[]);
        let mut client = server.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(status(&client.read_head()), "200");
        let mut old = server.connect();
        old.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
        assert_eq!(status(&old.read_head()), "200");
        server.signal("TERM");
        let chunks = client.read_to_end();
        assert!(chunks.contains(begins) && chunks.ends_with("\n\r\n0\r\n\r\n"), "{target}: {chunks}");
        let lines = old.read_to_end();
        assert!(lines.starts_with(begins) && lines.ends_with('\n'), "{target}: {lines}");
        drop((client, old));
        assert_eq!(server.wait().code(), Some(0), "{target}: {}", server.log());
    }
}

#[test]
fn an_unused_server_stops_with_exit_code_0() {
    for signal in ["TERM", "INT", "QUIT"] {
        let mut server = Server::start(&[]);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn under_load_every_request_is_answered_until_the_server_says_close() {
    let mut server = Server::start(&[]);
    let clients: Vec<_> = (0..32)
        .map(|number| {
            let mut client = server.connect();
            thread::spawn(move || {
                let path = if number % 2 == 0 { "/plaintext" } else { "/bytes/200000" };
                let expected = if number % 2 == 0 { 13 } else { 200_000 };
                let mut answered = 0;
                loop {
                    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
                    let (head, content) = client.read_response();
                    assert_eq!((status(&head), content.len()), ("200", expected));
                    answered += 1;
                    if field(&head, "Connection") == Some("close") {
                        assert_eq!(client.read_to_end(), "", "nothing follows the last answer");
                        return answered;
                    }
                }
            })
        })
        .collect();
    let mut witness = server.connect();
    for _ in 0..100 {
        witness.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(status(&witness.read_response().0), "200");
    }
    server.signal("TERM");
    let answered: Vec<u32> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(answered.iter().all(|count| *count > 0), "{answered:?}");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn idle_connections_are_not_work_that_is_cut() {
    let mut server = Server::start(&[]);
    let mut idle = server.connect();
    idle.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&idle.read_response().0), "200");
    server.signal("INT");
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(0));
}
