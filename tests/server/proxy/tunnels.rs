//! Other protocols behind 101, and how they end.

use std::net::Shutdown;

use tidemill::protocol::ws::handshake::accept_of;

use super::Upstream;
use crate::frames::{DATA, END_STREAM, RST_STREAM, frame};
use crate::http2_client::{Http2, head};
use crate::support::{Client, Server, field, wait_until};

const ASKING: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

/// Both ends of a conversation through the server.
fn conversation(server: &Server, upstream: &Upstream) -> (Client, Client) {
    let mut client = server.connect();
    client.send(ASKING);
    let mut application = upstream.accept();
    application.read_head();
    application.send(SWITCHING);
    client.read_head();
    (client, application)
}

#[test]
fn what_the_client_says_after_the_end_of_the_upstream_arrives() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let (mut client, mut application) = conversation(&server, &upstream);
    application.send("last");
    application.finish();
    assert_eq!(client.read_to_end(), "last");
    for _ in 0..8 {
        client.send([b'z'; 20_000]);
        assert_eq!(application.read_exactly(20_000), [b'z'; 20_000]);
    }
    // More than the buffers on the way hold, so that its end comes when a part of it is still under way.
    let writer = client.stream.try_clone().unwrap();
    let total = 4 * 1024 * 1024;
    let sending = std::thread::spawn(move || {
        std::io::Write::write_all(&mut &writer, &vec![b'y'; total]).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(application.read_to_end().len(), total);
    sending.join().unwrap();
    assert_eq!(server.log(), "", "nobody has failed");
}

#[test]
fn what_a_client_of_http2_says_after_the_end_of_the_upstream_arrives() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut client = Http2::new(server.connect(), 65535);
    let websocket = [&head("CONNECT", "/ws")[..], &[(":protocol", "websocket"), ("sec-websocket-version", "13")]];
    client.ask(1, 0, &websocket.concat());
    let mut application = upstream.accept();
    let request = application.read_head();
    let accept = accept_of(field(&request, "Sec-WebSocket-Key").unwrap().as_bytes());
    application.send(format!(
        "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\nlast"
    ));
    application.finish();
    client.read_end_of(1);
    client.client.send(frame(DATA, 0, 1, &[b'z'; 3000]));
    assert_eq!(application.read_exactly(3000), [b'z'; 3000]);
    client.client.send(frame(DATA, END_STREAM, 1, b"bye"));
    assert_eq!(application.read_to_end(), "bye");
}

#[test]
fn a_conversation_is_over_when_the_upstream_refuses_what_comes_after_its_end() {
    let upstream = Upstream::new();
    let server = Server::start(&["--log-level", "debug", "--proxy", &format!("/={}", upstream.url())]);
    let (mut client, mut application) = conversation(&server, &upstream);
    application.send("last");
    // Unlike above it has closed its socket: its kernel answers what comes now with a reset.
    drop(application);
    assert_eq!(client.read_to_end(), "last");
    client.send("z");
    // What it says now is read and thrown away, so that no reset destroys what it has not read yet.
    client.send("z");
    client.finish();
    wait_until("the connection is over", || server.log().contains("c=1: "));
    let log = server.log();
    assert!(!log.contains("WARN") && !log.contains("cut"), "nobody has failed: {log}");
}

#[test]
fn a_conversation_in_which_nobody_says_anything_ends_in_order_and_is_nobodys_fault() {
    let upstream = Upstream::new();
    let route = format!("/={} tunnel-timeout=20ms", upstream.url());
    let server = Server::start(&["--proxy", &route]);
    for _ in 0..4 {
        let (mut client, mut application) = conversation(&server, &upstream);
        // A reset would fail these.
        assert_eq!((client.read_to_end(), application.read_to_end()), (String::new(), String::new()));
    }
    server.wait_for_log("closed: neither side has sent anything for 20ms (tunnel-timeout)");
    let log = server.log();
    assert!(!log.contains("WARN") && !log.contains("failures in a row"), "{log}");
}

#[test]
fn a_half_that_is_left_is_silent_for_as_long_as_a_whole_conversation() {
    let upstream = Upstream::new();
    let server = upstream.behind(" tunnel-timeout=50ms");
    let (mut client, mut application) = conversation(&server, &upstream);
    application.finish();
    assert_eq!((client.read_to_end(), application.read_to_end()), (String::new(), String::new()));
}

#[test]
fn a_silent_websocket_of_http2_ends_without_a_reset() {
    let upstream = Upstream::new();
    let server = upstream.behind(" tunnel-timeout=50ms");
    let mut client = Http2::new(server.connect(), 65535);
    let websocket = [&head("CONNECT", "/ws")[..], &[(":protocol", "websocket"), ("sec-websocket-version", "13")]];
    client.ask(1, 0, &websocket.concat());
    let mut application = upstream.accept();
    let request = application.read_head();
    let accept = accept_of(field(&request, "Sec-WebSocket-Key").unwrap().as_bytes());
    application.send(format!(
        "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ));
    client.read_until(|frame| {
        assert!(frame.kind != RST_STREAM, "nobody has failed");
        frame.stream == 1 && frame.has(END_STREAM)
    });
    assert_eq!(application.read_to_end(), "");
    assert!(!server.log().contains("WARN"), "nobody has failed: {}", server.log());
}
