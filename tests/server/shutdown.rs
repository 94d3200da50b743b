//! TERM, INT, QUIT: what is in flight is answered, then the process ends.

use std::net::TcpStream;

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
    let mut endless = server.connect();
    endless.send("GET /sse HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&endless.read_head()), "200");
    server.signal("QUIT");
    assert_eq!(server.wait().code(), Some(3));
    assert!(server.log().contains("drain deadline"), "{}", server.log());
}

#[test]
fn a_second_interrupt_stops_at_once() {
    let mut server = Server::start(&[]);
    let mut endless = server.connect();
    endless.send("GET /sse HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&endless.read_head()), "200");
    server.signal("INT");
    server.wait_for_log("stopping");
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(3));
}

#[test]
fn an_unused_server_stops_with_exit_code_0() {
    for signal in ["TERM", "INT", "QUIT"] {
        let mut server = Server::start(&[]);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{signal}");
    }
}
