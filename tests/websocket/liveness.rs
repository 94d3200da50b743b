//! Who says nothing is asked for a sign of life, and given up if there is none.

use std::time::{Duration, Instant};

use crate::client::{FIN, Frame, PING, PONG, TEXT, WebSocket};
use crate::support::Server;

#[test]
fn a_silent_client_is_pinged_and_then_given_up() {
    let server = Server::start(&["--ws-ping-interval", "100ms"]);
    let opened = Instant::now();
    let mut socket = WebSocket::open(&server, "/ws/echo");
    assert_eq!(socket.read(), Frame { first: FIN | PING, payload: Vec::new() });
    assert!(opened.elapsed() >= Duration::from_millis(100));
    let (code, reason) = socket.read_close();
    assert_eq!((code, &*reason), (1011, "no answer to a ping"));
    assert!(opened.elapsed() >= Duration::from_millis(200));
    socket.expect_end();
    server.wait_for_log("WebSocket closed: no sign of life");
}

#[test]
fn a_client_that_answers_stays() {
    let server = Server::start(&["--ws-ping-interval", "250ms"]);
    let mut socket = WebSocket::open(&server, "/ws/chat");
    assert!(socket.read_text().contains("welcome"));
    assert!(socket.read_text().contains("joined"));
    for _ in 0..4 {
        let Frame { first, payload } = socket.read();
        assert_eq!(first, FIN | PING);
        socket.send(FIN | PONG, payload);
    }
    socket.send_close(1000);
    assert_eq!(socket.read_close().0, 1000);
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let server = Server::start(&["--ws-ping-interval", "250ms"]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    let mut echoed = Vec::new();
    for byte in crate::client::frame(FIN | TEXT, b"hi") {
        loop {
            match socket.read() {
                Frame { first, .. } if first == FIN | PING => break,
                Frame { payload, .. } => echoed.extend(payload),
            }
        }
        socket.client.send([byte]);
    }
    while echoed != b"hi" {
        echoed.extend(socket.read().payload);
    }
}

#[test]
fn nobody_is_pinged_when_the_interval_is_zero() {
    let server = Server::start(&["--ws-ping-interval", "0s"]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    let mut clock = server.connect();
    clock.send("GET /delay/300 HTTP/1.1\r\nHost: a\r\n\r\n");
    clock.read_response();
    socket.send(FIN | TEXT, "unasked");
    assert_eq!(socket.read_text(), "unasked");
}
