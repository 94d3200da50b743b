//! The rows of the table, one test each.

use std::time::Instant;

use crate::client::{BINARY, FIN, WebSocket};
use crate::support::{Client, status};
use crate::traced::{Scratch, Traced, Window, assert_calls, difference, while_fresh};

/// How often each scenario is repeated: enough for a call that is made now and then to show.
const TIMES: u64 = 16;

const PLAINTEXT: &str = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";

/// One request that finds the loop asleep, and its response.
pub fn get(server: &Traced, client: &mut Client, target: &str) {
    server.settle();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let (head, _) = client.read_response();
    assert_eq!(status(&head), "200", "{head}");
}

#[test]
fn keep_alive() {
    let Some(mut server) = Traced::start(&[]) else { return };
    let mut client = server.connect();
    get(&server, &mut client, "/plaintext");
    server.explain();
    (0..TIMES).for_each(|_| get(&server, &mut client, "/plaintext"));
    server.explain();
    server.between_accounts().assert_row("keep-alive, /plaintext", TIMES);
}

#[test]
fn pipelined() {
    let Some(mut server) = Traced::start(&[]) else { return };
    let mut client = server.connect();
    get(&server, &mut client, "/plaintext");
    server.explain();
    for _ in 0..TIMES {
        server.settle();
        client.send(PLAINTEXT.repeat(16));
        (0..16).for_each(|_| assert_eq!(client.read_response().1, "Hello, World!"));
    }
    server.explain();
    server.between_accounts().assert_row("16 pipelined, all of them", TIMES);
}

#[test]
fn new_connections_that_the_server_ends() {
    let Some(mut server) = Traced::start(&[]) else { return };
    server.explain();
    for _ in 0..TIMES {
        server.settle();
        let mut client = server.connect();
        client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(client.read_to_end().ends_with("Hello, World!"));
    }
    server.explain();
    server.between_accounts().assert_row("new connection, Connection: close", TIMES);
}

#[test]
fn new_connections_that_the_client_ends() {
    let Some(mut server) = Traced::start(&[]) else { return };
    server.explain();
    for _ in 0..TIMES {
        server.settle();
        let mut client = server.connect();
        client.send(PLAINTEXT);
        assert_eq!(client.read_response().1, "Hello, World!");
        server.settle();
        client.finish();
        assert_eq!(client.read_to_end(), "");
    }
    server.explain();
    server.between_accounts().assert_row("new connection, the client ends it", TIMES);
}

#[test]
fn cached_small_file() {
    let site = Scratch::new();
    std::fs::write(site.path("small.txt"), "x".repeat(1000)).unwrap();
    let root = site.path("").display().to_string();
    let window = while_fresh(|| {
        let mut server = Traced::start(&[&root])?;
        let mut client = server.connect();
        let looked_at = Instant::now();
        get(&server, &mut client, "/small.txt");
        server.explain();
        (0..TIMES).for_each(|_| get(&server, &mut client, "/small.txt"));
        let took = looked_at.elapsed();
        server.explain();
        Some((took, server))
    });
    window.into_iter().for_each(|window| window.assert_row("cached small file", TIMES));
}

#[test]
fn chunked_stream_that_is_ready() {
    let Some(mut server) = Traced::start(&[]) else { return };
    let mut client = server.connect();
    get(&server, &mut client, "/plaintext");
    server.explain();
    for _ in 0..TIMES {
        server.settle();
        read_chunked(&mut client, "/stream/10000");
    }
    server.explain();
    server.between_accounts().assert_row("chunked stream, ready at once", TIMES);
}

#[test]
fn chunked_stream_that_comes_with_the_clock() {
    let Some(short) = sheep(1) else { return };
    let Some(long) = sheep(1 + TIMES) else { return };
    assert_eq!(long.others, [""; 0]);
    let lines = difference(&long.busy(), &short.busy());
    assert_calls(&lines, "chunked stream, each further line", TIMES, &format!("{:#?}", long.calls));
}

fn sheep(lines: u64) -> Option<Window> {
    let mut server = Traced::start(&[])?;
    let mut client = server.connect();
    get(&server, &mut client, "/plaintext");
    server.explain();
    server.settle();
    read_chunked(&mut client, &format!("/sheep?n={lines}&every=2ms"));
    server.explain();
    Some(server.between_accounts())
}

fn read_chunked(client: &mut Client, target: &str) {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let head = client.read_head();
    assert_eq!(status(&head), "200", "{head}");
    loop {
        let size = usize::from_str_radix(&line(client), 16).unwrap();
        client.read_exactly(size);
        assert_eq!(line(client), "");
        if size == 0 {
            return;
        }
    }
}

/// The next line without its end.
fn line(client: &mut Client) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(client.read_exactly(1));
    }
    String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
}

#[test]
fn websocket_echo() {
    let Some(mut server) = Traced::start(&[]) else { return };
    let mut socket = WebSocket::open_on(server.connect(), "/ws/echo", "");
    server.explain();
    for number in 0..TIMES {
        let message = format!("message {number}");
        server.settle();
        socket.send(FIN | BINARY, &message);
        assert_eq!(socket.read_message(), (BINARY, message.into_bytes()));
    }
    server.explain();
    server.between_accounts().assert_row("WebSocket echo, a message", TIMES);
}
