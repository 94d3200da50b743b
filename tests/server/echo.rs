//! The two echo protocols, next to HTTP in one process: every byte, and every line.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use serde_json::Value;

use crate::support::{Client, Server, wait_until};

/// A server with a listener of each kind, and further arguments.
fn server(arguments: &[&str]) -> Server {
    let listeners = ["--listen", "tcp-echo:127.0.0.1:0", "--listen", "line-echo:127.0.0.1:0", "--admin", "127.0.0.1:0"];
    Server::start(&[&listeners[..], arguments].concat())
}

fn connect(server: &Server, index: usize, protocol: &str) -> Client {
    let address = server.listener(index).strip_prefix(protocol).and_then(|rest| rest.strip_prefix("://"));
    Client::new(TcpStream::connect(address.unwrap()).unwrap())
}

fn tcp_echo(server: &Server) -> Client {
    connect(server, 1, "tcp-echo")
}

fn line_echo(server: &Server) -> Client {
    connect(server, 2, "line-echo")
}

fn ask_http(client: &mut Client) {
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().1, "Hello, World!");
}

/// What `/connections` says of this client, if it is listed.
fn shown(server: &Server, client: &Client) -> Option<Value> {
    let mut admin = Client::new(TcpStream::connect(server.admin()).unwrap());
    admin.send("GET /connections?format=json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let connections: Value = serde_json::from_str(&admin.read_response().1).unwrap();
    let peer = client.stream.local_addr().unwrap().to_string();
    connections["connections"].as_array().unwrap().iter().find(|connection| connection["peer"] == *peer).cloned()
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn a_slow_reader_of_tcp_echo_is_not_read_from_and_gets_everything_before_the_end() {
    const SIZE: usize = 10_000_000;
    let server = server(&[]);
    let mut client = tcp_echo(&server);
    // Small buffers in the client's kernel, so that the server is stopped soon.
    let socket = socket2::SockRef::from(&client.stream);
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.set_send_buffer_size(64 * 1024).unwrap();
    let mut writer = client.stream.try_clone().unwrap();
    let sent = pattern(SIZE);
    let sender = thread::spawn({
        let sent = sent.clone();
        move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        }
    });
    let mut stopped = Value::Null;
    wait_until("the server reads no more", || {
        stopped = shown(&server, &client).unwrap_or_default();
        stopped["interest"] == "write"
    });
    assert_eq!((&stopped["protocol"], &stopped["wait"]), (&"tcp-echo".into(), &"client-slow-read".into()), "{stopped}");
    assert_eq!((&stopped["state"], &stopped["inbox"]), (&"sending".into(), &stopped["inbox_max"]), "{stopped}");
    let mut echoed = Vec::new();
    client.stream.read_to_end(&mut echoed).unwrap();
    sender.join().unwrap();
    assert!(echoed == sent, "{} of {SIZE} bytes came back, or others", echoed.len());
    assert!(server.peak_kib() < 20 * 1024, "{} KiB", server.peak_kib());
}

#[test]
fn tcp_echo_goes_on_after_a_pause_and_ends_with_the_client() {
    let server = server(&[]);
    let mut client = tcp_echo(&server);
    for piece in [&b"a"[..], b"\r\n\0\xff", &pattern(70_000)] {
        client.send(piece);
        assert!(client.read_exactly(piece.len()) == piece);
    }
    wait_until("it is idle", || shown(&server, &client).is_some_and(|shown| shown["wait"] == "client-idle"));
    client.finish();
    assert_eq!(client.read_to_end(), "");
}

#[test]
fn lines_are_answered_however_they_are_cut() {
    let server = server(&[]);
    let longest = "x".repeat(8 * 1024);
    let sent = format!("one\ntwo\r\n\n\r\n{longest}\r\nquit \na\rb\nquit\r\nnever\n");
    let answered = format!("Echo: one\nEcho: two\nEcho: \nEcho: \nEcho: {longest}\nEcho: quit \nEcho: a\rb\nBye.\n");
    for piece in [sent.len(), 1, 2, 5, 1000] {
        let mut client = line_echo(&server);
        for piece in sent.as_bytes().chunks(piece) {
            client.send(piece);
        }
        assert!(client.read_to_end() == answered, "in pieces of {piece}");
    }
}

#[test]
fn lines_are_answered_while_the_next_one_is_written() {
    let server = server(&[]);
    let mut client = line_echo(&server);
    for line in ["hello", "", "again"] {
        client.send(format!("{line}\nhal"));
        let answer = format!("Echo: {line}\n");
        assert_eq!(client.read_exactly(answer.len()), answer.as_bytes());
        client.send("f\n");
        assert_eq!(client.read_exactly(11), b"Echo: half\n");
    }
    let shown = shown(&server, &client).unwrap();
    assert_eq!((&shown["protocol"], &shown["state"]), (&"line-echo".into(), &"idle".into()), "{shown}");
    client.send("no end");
    client.finish();
    assert_eq!(client.read_to_end(), "", "what is not ended is no line");
}

#[test]
fn too_long_a_line_gets_one_line_and_the_end_although_the_client_still_sends() {
    let server = server(&[]);
    for _ in 0..10 {
        let mut client = line_echo(&server);
        client.send("short\n");
        let mut writer = client.stream.try_clone().unwrap();
        let sender = thread::spawn(move || {
            // It goes on until it is told to stop, or has said everything.
            let said_everything = (0..200).try_for_each(|_| writer.write_all(&[b'x'; 16 * 1024]));
            said_everything.and_then(|()| writer.shutdown(std::net::Shutdown::Write)).unwrap_or_default();
        });
        assert_eq!(client.read_to_end(), "Echo: short\nLine too long (more than 8192 bytes).\n");
        sender.join().unwrap();
    }
}

#[test]
fn each_listener_speaks_its_own_protocol_and_all_are_listed() {
    let server = server(&[]);
    let (mut http, mut bytes, mut lines) = (server.connect(), tcp_echo(&server), line_echo(&server));
    const REQUEST: &str = "GET /plaintext HTTP/1.1\r\n";
    ask_http(&mut http);
    bytes.send(REQUEST);
    assert_eq!(bytes.read_exactly(REQUEST.len()), REQUEST.as_bytes());
    lines.send(REQUEST);
    let answer = b"Echo: GET /plaintext HTTP/1.1\n";
    assert_eq!(lines.read_exactly(answer.len()), answer);
    for (client, protocol) in [(&http, "http/1"), (&bytes, "tcp-echo"), (&lines, "line-echo")] {
        wait_until("it is listed as idle", || {
            shown(&server, client).is_some_and(|one| one["protocol"] == protocol && one["wait"] == "client-idle")
        });
    }
}

#[test]
fn a_server_that_stops_closes_idle_echoes_in_order() {
    let mut server = server(&[]);
    let (mut bytes, mut lines) = (tcp_echo(&server), line_echo(&server));
    bytes.send("a");
    assert_eq!(bytes.read_exactly(1), b"a");
    lines.send("a\n");
    assert_eq!(lines.read_exactly(8), b"Echo: a\n");
    server.signal("TERM");
    assert_eq!((bytes.read_to_end(), lines.read_to_end()), (String::new(), String::new()));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn echoes_that_nobody_reads_are_cut_at_the_drain_deadline() {
    let mut server = server(&["--drain-timeout", "300ms"]);
    let client = tcp_echo(&server);
    client.stream.set_nonblocking(true).unwrap();
    let mut writer = client.stream.try_clone().unwrap();
    wait_until("the server reads no more", || {
        while writer.write(&[b'x'; 64 * 1024]).is_ok() {}
        shown(&server, &client).is_some_and(|shown| shown["interest"] == "write")
    });
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(3));
}

#[test]
fn a_server_that_stops_does_not_wait_for_a_client_that_goes_on_sending() {
    for (index, protocol, answer) in [(1, "tcp-echo", "line"), (2, "line-echo", "Echo: line")] {
        let mut server = server(&[]);
        let mut client = connect(&server, index, protocol);
        let mut writer = client.stream.try_clone().unwrap();
        client.send("line\n");
        assert_eq!(client.read_exactly(answer.len() + 1), format!("{answer}\n").as_bytes());
        // It goes on until it is told to stop, or reset.
        let (done, told) = std::sync::mpsc::channel::<()>();
        let sender = thread::spawn(move || while told.try_recv().is_err() && writer.write_all(b"line\n").is_ok() {});
        server.signal("TERM");
        let answers = client.read_to_end();
        // Bytes come back as they arrived, and lines when they are whole.
        let (whole, rest) = answers.split_at(answers.rfind('\n').map_or(0, |lf| lf + 1));
        assert!(rest.is_empty() || protocol == "tcp-echo" && "line".starts_with(rest), "half a line: {rest:?}");
        assert!(whole.lines().all(|line| line == answer), "{protocol}: other lines came back");
        done.send(()).unwrap();
        sender.join().unwrap();
        drop(client);
        assert_eq!(server.wait().code(), Some(0), "nobody was cut: {}", server.log());
    }
}

#[test]
fn echoes_count_against_the_connection_limit() {
    let server = server(&["--max-connections", "2"]);
    let (mut bytes, mut lines) = (tcp_echo(&server), line_echo(&server));
    bytes.send("a");
    assert_eq!(bytes.read_exactly(1), b"a");
    lines.send("a\n");
    assert_eq!(lines.read_exactly(8), b"Echo: a\n");
    let mut http = server.connect();
    http.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for_log("all connections allowed are in use");
    lines.send("quit\n");
    assert_eq!(lines.read_to_end(), "Bye.\n");
    // Until then the server lingers.
    drop(lines);
    assert_eq!(http.read_response().1, "Hello, World!");
}
