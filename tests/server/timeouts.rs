//! Every state has a deadline, and a late client is told so where the protocol allows it.

use std::time::{Duration, Instant};

use crate::support::{DEADLINE, Server, status};

#[test]
fn a_head_that_trickles_in_is_answered_with_408_in_spite_of_its_progress() {
    let server = Server::start(&["--header-timeout", "400ms"]);
    let mut client = server.connect();
    let started = Instant::now();
    client.send("GET / HTTP/1.1\r\nX-Slow: ");
    client.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    // Each byte is progress, and none of them buys time.
    while client.stream.peek(&mut [0]).is_err() {
        client.send("a");
        assert!(started.elapsed() < Duration::from_secs(15), "never answered");
    }
    client.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(status(&client.read_head()), "408");
    assert!(started.elapsed() >= Duration::from_millis(400));
    server.wait_for_log("408 Request Timeout: the request head took too long");
}

#[test]
fn the_log_tells_the_reason_for_the_end_that_the_report_counts() {
    let mut server = Server::start(&["--header-timeout", "100ms", "--log-level", "debug", "--report"]);
    let mut late = server.connect();
    late.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\nGET /");
    assert_eq!(status(&late.read_response().0), "200");
    assert_eq!(status(&late.read_response().0), "408");
    late.finish();
    assert_eq!(late.read_to_end(), "");
    server.wait_for_log(": STH timeout: client-slow-head in the head after 2 requests\n");
    let answer = server.ask("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&answer), "200");
    server.wait_for_log(": SAI closed by the server between requests after 1 request\n");
    server.signal("TERM");
    server.wait();
    server.wait_for_log("client 0, server 1, reset 0, cut short 0, timeout 1 (client-slow-head 1)");
}

#[test]
fn a_silent_connection_is_closed_without_an_answer() {
    let server = Server::start(&["--first-byte-timeout", "200ms"]);
    assert_eq!(server.connect().read_to_end(), "");
}

#[test]
fn content_that_does_not_come_is_answered_with_408() {
    let server = Server::start(&["--body-timeout", "300ms"]);
    let answer = server.ask("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{\"a");
    assert_eq!(status(&answer), "408");
    assert!(answer.contains("Connection: close"), "{answer}");
}

#[test]
fn an_idle_connection_is_closed_after_the_keep_alive_timeout() {
    let server = Server::start(&["--keep-alive-timeout", "300ms"]);
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    let answered = Instant::now();
    assert!(client.read_to_end().ends_with("Hello, World!"));
    assert!(answered.elapsed() >= Duration::from_millis(250));
}

#[test]
fn a_client_that_reads_nothing_is_cut_while_others_are_served() {
    let server = Server::start(&["--send-timeout", "700ms"]);
    let mut deaf = server.connect();
    deaf.send("GET /stream/1000000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut polite = server.connect();
    while !server.log().contains("the client stopped reading") {
        polite.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(polite.read_response().1, "Hello, World!");
    }
    assert!(deaf.is_closed_by_server());
    assert!(server.peak_kib() < 4 * 1024, "a stalled reader costs its buffers and no more");
}

#[test]
fn a_slow_but_steady_reader_is_not_taken_for_a_dead_one() {
    // The kernel used to take megabytes from us at once and then ask for more only when a third of that had been read:
    // a reader of 10 kB a second made no progress that we could see for 68 seconds, and was cut after 60. Scaled down:
    // a timeout of two seconds, and a reader that takes 300 kB in each. On a busy machine it may be late by a second.
    let server = Server::start(&["--send-timeout", "2s"]);
    let mut client = server.connect();
    let mut clock = server.connect();
    client.send("GET /bytes/1000000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        assert_eq!(client.read_exactly(3_000).len(), 3_000);
        // The server itself sets the pace.
        clock.send("GET /delay/10 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(status(&clock.read_response().0), "200");
    }
    assert_eq!(server.log(), "");
}

#[test]
fn a_response_that_never_blocks_is_not_taken_for_an_idle_connection() {
    // Every drive ended with its budget spent, so the connection never came to wait for anything; what it was then said
    // to wait for was the next request, and the keep-alive timeout closed it in the middle of its response.
    let server = Server::start(&["--keep-alive-timeout", "300ms"]);
    let mut client = server.connect();
    client.send("GET /sheep?every=0&n=18446744073709551615 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        assert_eq!(client.read_exactly(64 * 1024).len(), 64 * 1024);
    }
}

#[test]
fn an_answer_that_is_never_blocked_is_not_taken_for_an_idle_connection() {
    // Lines cost more to write than to read: the send buffer never fills, and the connection moves in every turn.
    let mut server = Server::start(&["--keep-alive-timeout", "5ms", "--drain-timeout", "20s"]);
    let mut client = server.connect();
    client.send("GET /sheep?n=2000000&every=0 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&client.read_head()), "200");
    server.signal("TERM");
    let lines = client.read_to_end();
    assert!(lines.ends_with("\n1999999\n\r\n0\r\n\r\n"), "cut after {} bytes", lines.len());
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_whole_answer_arrives_although_its_request_never_becomes_whole() {
    // The whole answer is on its way when the request goes wrong: a reset would destroy what has not arrived.
    let server = Server::start(&["--body-timeout", "300ms"]);
    for half_close in [true, false] {
        let mut client = server.connect();
        client.send("GET /bytes/10000 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(status(&client.read_head()), "200");
        if half_close {
            client.finish();
        }
        server.wait_for_log(if half_close { "ended inside" } else { "too slowly" });
        assert_eq!(client.read_exactly(10_000).len(), 10_000);
        assert_eq!(client.read_to_end(), "", "an end and not a reset, half-close: {half_close}");
    }
}

#[test]
fn a_client_is_told_how_long_it_may_reuse_a_connection_that_persists() {
    let server = Server::start(&["--keep-alive-timeout", "20s", "--keep-alive-field", "15s"]);
    let mut client = server.connect();
    for path in ["/plaintext", "/nowhere", "/bytes/100000"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let (head, _) = client.read_response();
        assert!(head.contains("\r\nConnection: keep-alive\r\nKeep-Alive: timeout=15\r\n"), "{head}");
    }
    let last = server.ask("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let refused = server.ask("GET / HTTP/1.1\r\nHost : a\r\n\r\n");
    let old = server.ask("GET /stream/10 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    for answer in [last, refused, old] {
        assert!(answer.contains("\r\nConnection: close\r\n") && !answer.contains("Keep-Alive"), "{answer}");
    }
    let mut client = server.connect();
    client.send(
        "GET /ws/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 101 ") && !head.contains("Keep-Alive"), "{head}");
    assert!(!Server::start(&[]).ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").contains("Keep-Alive"));
}

#[test]
fn when_the_server_stops_no_client_is_told_to_reuse_its_connection() {
    let server = Server::start(&["--keep-alive-field", "15s"]);
    let mut client = server.connect();
    client.send("GET /delay/600 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut other = server.connect();
    other.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    other.read_response();
    server.signal("TERM");
    let (head, _) = client.read_response();
    assert!(head.contains("\r\nConnection: close\r\n") && !head.contains("Keep-Alive"), "{head}");
}
