//! The log is for people; nobody has to read it for the server to go on.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use crate::http2_client::Http2;
use crate::support::{Client, Server, status, wait_until};

#[test]
fn a_log_that_nobody_reads_does_not_stop_the_server() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["--listen", "127.0.0.1:0", "--log-level", "trace"])
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().trim_start_matches("listening on http://").trim_end_matches('/').to_owned();
    // At this level every connection leaves a line when it ends: more than a pipe holds, and it is never read.
    for _ in 0..2_000 {
        let mut client = Client::new(TcpStream::connect(&address).unwrap());
        client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&client.read_to_end()), "200");
    }
    server.kill().unwrap();
    server.wait().unwrap();
}

/// It is the client's doing, and no failure of the handler.
#[test]
fn a_client_that_leaves_in_the_middle_of_its_content_is_told_in_one_line() {
    let length = "Content-Length: 100\r\n\r\nsome";
    let chunks = "Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n";
    for (content, ends, reason) in [
        (length, true, "the connection ended inside a request's content (RFC 9112 §8)"),
        (chunks, true, "the connection ended inside a request's content (RFC 9112 §8)"),
        (&format!("{chunks}nonsense\r\n"), false, "(RFC 9112 §7.1)"),
    ] {
        let server = Server::start_untortured(&["--access-log=/dev/stderr", "--log-format", "json"]);
        let mut client = server.connect();
        client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{content}"));
        client.read_head();
        if ends {
            client.finish();
        }
        // A client that leaves is to blame; in the other case it is its request.
        let close = if ends { "closed by the client" } else { "cut short" };
        wait_until("the request is over", || server.log().contains(&format!(r#""close":"{close}""#)));
        let log = server.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("INFO ]") || line.contains("ERROR]")).collect();
        assert_eq!(lines.len(), 1, "{log}");
        assert!(lines[0].contains(": cut in the middle of a response: ") && lines[0].ends_with(reason), "{log}");
    }
}

/// Whether a line is about somebody, and begins with where that one is to be found.
fn has_key(line: &str, keys: &str) -> bool {
    let about = line.split_once("] ").map_or("", |(_, about)| about);
    let key = about.split(": ").next().unwrap_or_default();
    let mut words = key.split(' ');
    let peer: Option<SocketAddr> = words.next().and_then(|peer| peer.parse().ok());
    peer.is_some() && words.map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit())).eq(keys.split_whitespace())
}

/// Every line that has a peer in it has the keys of the connection, and lines about a request have those of the request.
#[test]
fn lines_about_connections_and_requests_have_their_keys() {
    let limits = ["--header-timeout", "50ms", "--body-timeout", "50ms", "--first-byte-timeout", "50ms"];
    let server = Server::start(&[&limits[..], &["--log-level", "debug", "--listen", "line-echo:127.0.0.1:0"]].concat());
    let says = |text: &str| {
        let mut client = server.connect();
        client.send(text);
        client.read_to_end();
    };
    says("GET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n");
    says("GET / HT");
    says("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    says("");
    let mut line_echo = Client::new(TcpStream::connect(server.listener(1).trim_start_matches("line-echo://")).unwrap());
    line_echo.send("a\n");
    line_echo.finish();
    line_echo.read_to_end();
    let mut http2 = Http2::new(server.connect(), 65_535);
    http2.ask(1, 5, &[(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", "a")]);
    http2.widen(0, 0);
    http2.client.read_to_end();
    for (told, keys) in [
        ("400 Bad Request: ", "c= r="),
        ("408 Request Timeout: the request head took too long", "c= r="),
        ("408 Request Timeout: the request content came too slowly", "c= r="),
        ("STA timeout: ", "c="),
        ("reset: PROTOCOL_ERROR: CONNECT with", "c= s="),
        ("GOAWAY with 0 streams open", "c="),
        ("SGI closed by the server", "c="),
    ] {
        server.wait_for_log(told);
        let log = server.log();
        let line = log.lines().find(|line| line.contains(told)).unwrap();
        assert!(has_key(line, keys), "{line}");
    }
    for line in server.log().lines().filter(|line| line.contains("127.0.0.1:")) {
        assert!(has_key(line, "c=") || has_key(line, "c= r=") || has_key(line, "c= s="), "{line}");
    }
}
