//! The log is for people; nobody has to read it for the server to go on.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};

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
        wait_until("the request is over", || server.log().contains(r#""close":"cut short""#));
        let log = server.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("INFO ]") || line.contains("ERROR]")).collect();
        assert_eq!(lines.len(), 1, "{log}");
        assert!(lines[0].contains(": cut in the middle of a response: ") && lines[0].ends_with(reason), "{log}");
    }
}
