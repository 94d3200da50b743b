//! HTTPS: what works over HTTP works over it, and who breaks TLS is told so.

mod hostile;
mod records;
mod upstreams;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, Stream};
use tungstenite::Message;

use crate::support::{DEADLINE, Server, Uninterrupted, field, read, status};
use crate::tls_client::{config, corpus};

/// A server with an https: listener, and a plain one behind it.
fn serve(arguments: &[&str]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--listen", "https:127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    command.arg("--tls-cert").arg(corpus("ec.pem")).arg("--tls-key").arg(corpus("ec-sec1-key.pem"));
    command.args(arguments);
    Server::spawn(command)
}

fn connect(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(&server.address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.set_write_timeout(Some(DEADLINE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

fn client_of(config: ClientConfig, name: &str) -> ClientConnection {
    ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap()
}

/// A client of HTTPS.
struct Secure {
    tls: ClientConnection,
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Secure {
    fn new(server: &Server) -> Secure {
        Secure::with(server, config(rustls::DEFAULT_VERSIONS), "ec.example")
    }

    fn with(server: &Server, config: ClientConfig, name: &str) -> Secure {
        Secure { tls: client_of(config, name), socket: connect(server), unread: Vec::new() }
    }

    fn stream(&mut self) -> Stream<'_, ClientConnection, TcpStream> {
        Stream::new(&mut self.tls, &mut self.socket)
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).unwrap();
        self.stream().flush().unwrap();
    }

    /// Says that no more comes.
    fn say_end(&mut self) {
        self.tls.send_close_notify();
        self.stream().flush().unwrap();
    }

    /// A response with a Content-Length: head and content.
    fn read_response(&mut self) -> (String, Vec<u8>) {
        let at = loop {
            match self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.read_more(),
            }
        };
        let head = String::from_utf8(self.unread.drain(..at).collect()).unwrap();
        let length = field(&head, "Content-Length").unwrap_or("0").parse().unwrap();
        while self.unread.len() < length {
            self.read_more();
        }
        (head, self.unread.drain(..length).collect())
    }

    fn read_more(&mut self) {
        let mut piece = [0; 16 * 1024];
        let n = read(&mut self.stream(), &mut piece).unwrap();
        assert!(n > 0, "the server closed after {:?}", String::from_utf8_lossy(&self.unread));
        self.unread.extend_from_slice(&piece[..n]);
    }

    fn get(&mut self, path: &str) -> (String, Vec<u8>) {
        self.send(get(path));
        self.read_response()
    }

    /// Everything up to the end, and whether the server has said that it is one.
    fn read_to_end(&mut self) -> (Vec<u8>, bool) {
        let mut all = std::mem::take(&mut self.unread);
        match self.stream().read_to_end(&mut all) {
            Ok(_) => (all, true),
            Err(error) if [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&error.kind()) => {
                (all, false)
            }
            Err(error) => panic!("after {} bytes: {error}", all.len()),
        }
    }

    /// The error that the handshake ends with, for the client.
    fn refusal(&mut self) -> String {
        let error =
            self.tls.complete_io(&mut self.socket).and_then(|_| read(&mut self.stream(), &mut [0])).unwrap_err();
        error.to_string()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Byte `index` of content that repeats nowhere near its start.
fn byte_at(index: usize) -> u8 {
    ((index as u32).wrapping_mul(2_654_435_761) >> 24) as u8
}

#[test]
fn requests_are_answered_one_after_the_other_and_all_at_once() {
    let server = serve(&[]);
    for versions in [&[&TLS13][..], &[&TLS12]] {
        let mut client = Secure::with(&server, config(versions), "ec.example");
        for _ in 0..3 {
            let (head, content) = client.get("/plaintext");
            assert_eq!((status(&head), content.as_slice()), ("200", &b"Hello, World!"[..]));
        }
        client.send(get("/plaintext").repeat(100) + &get("/bytes/100000"));
        for _ in 0..100 {
            assert_eq!(client.read_response().1, b"Hello, World!");
        }
        assert_eq!(client.read_response().1.len(), 100_000);
        assert_eq!(client.tls.alpn_protocol(), None, "none was asked for");
    }
}

#[test]
fn files_and_parts_of_them_arrive_as_they_are() {
    let folder = std::env::temp_dir().join(format!("tidemill-{}-tls-files", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let content: Vec<u8> = (0..5_000_003).map(byte_at).collect();
    fs::write(folder.join("large.bin"), &content).unwrap();
    let server = serve(&[folder.to_str().unwrap()]);
    for versions in [&[&TLS13][..], &[&TLS12]] {
        let mut client = Secure::with(&server, config(versions), "ec.example");
        let (head, found) = client.get("/large.bin");
        assert_eq!(status(&head), "200");
        assert!(found == content, "{} bytes", found.len());
        for (range, part) in [("0-0", 0..1), ("70000-2999999", 70_000..3_000_000), ("-7", 4_999_996..5_000_003)] {
            client.send(format!("GET /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes={range}\r\n\r\n"));
            let (head, found) = client.read_response();
            assert_eq!(status(&head), "206");
            assert!(found == content[part], "{range}: {} bytes", found.len());
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn echo_streams_both_ways_at_once_in_constant_memory() {
    const SIZE: usize = 24 * 1024 * 1024;
    let server = serve(&[]);
    let Secure { mut tls, mut socket, .. } = Secure::new(&server);
    tls.complete_io(&mut socket).unwrap();
    let (tls, mut writer) = (Arc::new(Mutex::new(tls)), socket.try_clone().unwrap());
    let seals = Arc::clone(&tls);
    let sender = thread::spawn(move || {
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n");
        let mut seal = |bytes: &[u8]| {
            let mut sealed = Vec::new();
            let mut tls = seals.lock().unwrap();
            tls.writer().write_all(bytes).unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut sealed).unwrap();
            }
            drop(tls);
            writer.write_all(&sealed).unwrap();
        };
        seal(head.as_bytes());
        for start in (0..SIZE).step_by(16 * 1024) {
            seal(&(start..start + 16 * 1024).map(byte_at).collect::<Vec<_>>());
        }
    });
    let (mut head, mut count, mut has_end, mut piece) = (Vec::new(), 0, false, vec![0; 64 * 1024]);
    while !has_end {
        let n = read(&mut socket, &mut piece).unwrap();
        assert!(n > 0, "an end without close_notify after {count} bytes");
        let (mut tls, mut rest, mut content) = (tls.lock().unwrap(), &piece[..n], Vec::new());
        while !rest.is_empty() && !has_end {
            tls.read_tls(&mut rest).unwrap();
            let state = tls.process_new_packets().unwrap();
            has_end = state.peer_has_closed();
            let start = content.len();
            content.resize(start + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut content[start..]).unwrap();
        }
        drop(tls);
        if !head.ends_with(b"\r\n\r\n") {
            head.append(&mut content);
            let at = head.windows(4).position(|four| four == b"\r\n\r\n").map_or(head.len(), |at| at + 4);
            content = head.split_off(at);
        }
        assert!(content.iter().zip(count..).all(|(byte, at)| *byte == byte_at(at)), "in the piece at {count}");
        count += content.len();
    }
    sender.join().unwrap();
    assert_eq!(count, SIZE);
    assert!(server.peak_kib() < 12 * 1024, "peak memory: {} KiB", server.peak_kib());
}

#[test]
fn a_websocket_works() {
    let server = serve(&[]);
    let Secure { tls, socket, .. } = Secure::new(&server);
    let stream = rustls::StreamOwned::new(tls, Uninterrupted(socket));
    let url = format!("ws://{}/ws/echo", server.address);
    let (mut talk, _) = tungstenite::client(url, stream).unwrap();
    for size in [0, 1, 125, 126, 12_000] {
        let message = Message::binary((0..size).map(byte_at).collect::<Vec<_>>());
        talk.send(message.clone()).unwrap();
        assert_eq!(talk.read().unwrap(), message);
    }
    talk.close(None).unwrap();
    while talk.read().is_ok() {}
}

#[test]
fn a_clean_end_is_said() {
    let mut server =
        serve(&["--keep-alive-timeout", "100ms", "--first-byte-timeout", "100ms", "--drain-timeout", "20s"]);
    let mut idle = Secure::new(&server);
    assert_eq!(idle.get("/plaintext").1, b"Hello, World!");
    assert_eq!(idle.read_to_end(), (Vec::new(), true), "idle for too long");
    let mut silent = Secure::new(&server);
    silent.tls.complete_io(&mut silent.socket).unwrap();
    assert_eq!(silent.read_to_end(), (Vec::new(), true), "silent for too long");
    let mut closing = Secure::new(&server);
    closing.send("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(closing.read_response().1, b"Hello, World!");
    assert_eq!(closing.read_to_end(), (Vec::new(), true));
    let mut refused = Secure::new(&server);
    refused.send("nonsense\r\n\r\n");
    assert_eq!(status(&String::from_utf8(refused.read_to_end().0).unwrap()), "400");
    let mut drained = Secure::new(&server);
    drained.send(get("/bytes/20000000"));
    drained.read_more();
    server.signal("TERM");
    server.wait_for_log("stop");
    let (_, content) = drained.read_response();
    assert_eq!(content.len(), 20_000_000);
    assert_eq!(drained.read_to_end(), (Vec::new(), true));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_client_that_has_said_its_end_gets_the_whole_response() {
    let server = serve(&[]);
    for ends_tcp in [false, true] {
        let mut client = Secure::new(&server);
        client.send(get("/bytes/8000000"));
        client.say_end();
        if ends_tcp {
            client.socket.shutdown(Shutdown::Write).unwrap();
        }
        let (head, content) = client.read_response();
        assert_eq!((status(&head), content.len()), ("200", 8_000_000));
        assert_eq!(client.read_to_end(), (Vec::new(), true));
    }
}

#[test]
fn an_upload_that_ends_too_early_is_no_whole_one() {
    let server = serve(&[]);
    for says_end in [false, true] {
        let mut client = Secure::new(&server);
        client.send("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{\"a\": ");
        if says_end {
            client.say_end();
        }
        client.socket.shutdown(Shutdown::Write).unwrap();
        let (answer, _) = client.read_to_end();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    }
    assert_eq!(Secure::new(&server).get("/plaintext").1, b"Hello, World!");
}

/// A FIN without close_notify, when everything before it had been dealt with, woke nobody up: the conversation and the upload
/// went on until a timeout of 30 seconds.
/// It is the client's doing, and no failure of the handler.
#[test]
fn a_client_that_leaves_in_the_middle_of_its_content_is_told_in_one_line() {
    for says_end in [true, false] {
        let server = serve(&["--access-log=/dev/stderr", "--log-format", "json"]);
        let mut client = Secure::new(&server);
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome");
        while !client.unread.ends_with(b"some") {
            client.read_more();
        }
        match says_end {
            true => client.say_end(),
            false => client.socket.shutdown(Shutdown::Write).unwrap(),
        }
        server.wait_for_log(r#""status":200,"#);
        let log = server.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("INFO ]") || line.contains("ERROR]")).collect();
        assert_eq!(lines.len(), 1, "{log}");
        let reason = ": cut in the middle of a response: the connection ended inside a request's content (RFC 9112 §8)";
        assert!(lines[0].contains("INFO ]") && lines[0].ends_with(reason), "{log}");
        assert!(log.contains(r#""close":"closed by the client""#), "{log}");
    }
}

#[test]
fn a_client_that_goes_without_a_word_is_noticed_at_once() {
    let server = serve(&[]);
    for (request, answer) in [
        ("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n", "HTTP/1.1 100 "),
        (
            "GET /ws/echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            "HTTP/1.1 101 ",
        ),
    ] {
        let mut client = Secure::new(&server);
        client.send(request);
        client.read_more();
        assert!(client.unread.starts_with(answer.as_bytes()), "{}", client.unread.escape_ascii());
        client.socket.shutdown(Shutdown::Write).unwrap();
        // The deadline of the test is shorter than any of the server's.
        client.read_to_end();
    }
}

#[test]
fn a_client_that_has_not_said_hello_does_not_keep_the_server_from_stopping() {
    let mut server = serve(&[]);
    let silent = connect(&server);
    assert_eq!(Secure::new(&server).get("/plaintext").1, b"Hello, World!");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.log().contains("took too long"), "{}", server.log());
    drop(silent);
}

#[test]
fn a_client_without_a_common_protocol_or_with_an_unknown_name_is_told_why() {
    let server = serve(&["--tls-strict-sni"]);
    let mut speaks_else = config(rustls::DEFAULT_VERSIONS);
    speaks_else.alpn_protocols = vec![b"spdy/3".to_vec()];
    let refusal = Secure::with(&server, speaks_else, "ec.example").refusal();
    assert!(refusal.contains("NoApplicationProtocol"), "{refusal}");
    server.wait_for_log("TLS: peer doesn't support any known protocol");
    for name in ["other.example", "127.0.0.1"] {
        let refusal = Secure::with(&server, config(rustls::DEFAULT_VERSIONS), name).refusal();
        assert!(refusal.contains("UnrecognisedName"), "{name}: {refusal}");
    }
    server.wait_for_log("TLS: the client names no server, or one that no certificate has (--tls-strict-sni)");
    let mut common = config(rustls::DEFAULT_VERSIONS);
    common.alpn_protocols = vec![b"spdy/3".to_vec(), b"http/1.1".to_vec()];
    let mut client = Secure::with(&server, common, "ec.example");
    assert_eq!(client.get("/plaintext").1, b"Hello, World!");
    assert_eq!(client.tls.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn http_to_the_https_port_is_told_so_at_once() {
    let server = serve(&[]);
    for request in ["G", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut socket = connect(&server);
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, content) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(status(head), "400");
        assert_eq!(field(head, "Content-Length"), Some(content.len().to_string().as_str()));
        assert!(content.contains("https://"), "{content}");
    }
    server.wait_for_log("the client speaks HTTP without TLS, to a port for HTTPS");
}

#[test]
fn who_speaks_something_else_is_closed_and_the_log_says_what_it_is() {
    let server = serve(&[]);
    let cases: [(&[u8], &str); 4] = [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "the client speaks SSH, to a port for HTTPS"),
        (b"EHLO a.example\r\n", "the client does not speak TLS, to a port for HTTPS"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "the client sends a header of the PROXY protocol, to a port for"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "the client sends a header of the PROXY protocol, to a port for"),
    ];
    for (index, (says, told)) in cases.into_iter().enumerate() {
        let mut socket = connect(&server);
        socket.write_all(says).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"", "{told}");
        let peer = socket.local_addr().unwrap();
        server.wait_for_log(&format!("{peer} c={}: {told}", index + 1));
        assert_eq!(server.log().matches("INFO ]").count(), index + 1, "{}", server.log());
    }
}

/// The `close_notify` with which a client answers ours is no request; what crosses ours is one.
#[test]
fn a_request_that_crosses_close_notify_and_fin_is_told_from_an_end() {
    let server = serve(&["--keep-alive-timeout", "200ms", "--log-level", "debug"]);
    let late = |connection: u32| {
        format!(" c={connection}: STI timeout: client-idle between requests after 1 request; a request came ")
    };
    let ended =
        |connection: u32| format!(" c={connection}: STI timeout: client-idle between requests after 1 request\n");
    for (index, version) in [&TLS13, &TLS12].into_iter().enumerate() {
        let mut clients = [(); 2].map(|()| Secure::with(&server, config(&[version]), "ec.example"));
        for client in &mut clients {
            client.send("GET /plaintext HTTP/1.1\r\nHost: ec.example\r\n\r\n");
            assert_eq!(client.read_response().1, b"Hello, World!");
        }
        for client in &mut clients {
            assert_eq!(read(&mut client.stream(), &mut [0]).unwrap(), 0, "close_notify");
        }
        let [mut asks, mut ends] = clients;
        asks.send("GET /late HTTP/1.1\r\nHost: ec.example\r\n\r\n");
        ends.say_end();
        drop(ends);
        let first = 2 * index as u32 + 1;
        server.wait_for_log(&late(first));
        server.wait_for_log(&ended(first + 1));
    }
}
