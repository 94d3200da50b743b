//! The log is for people; nobody has to read it for the server to go on.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::support::{Client, status};

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
