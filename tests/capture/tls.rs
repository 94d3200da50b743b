//! Over TLS the capture has what was on the wire, and the keys.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, StreamOwned, SupportedProtocolVersion};

use crate::frames::{END_HEADERS, END_STREAM, HEADERS, PREFACE, frame, settings};
use crate::support::{DEADLINE, has_tool, read};
use crate::tls_client::{config, corpus};
use crate::{Captured, faults, tshark};

fn start() -> Option<Captured> {
    let (certificate, key) = (corpus("ec.pem").display().to_string(), corpus("ec-sec1-key.pem").display().to_string());
    Captured::start(&["--listen", "https:127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key])
}

fn connect(
    captured: &Captured,
    version: &'static SupportedProtocolVersion,
    protocol: &str,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut config = config(&[version]);
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(captured.logged.server.listener(1)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let name = "a.example".try_into().unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

#[test]
fn http2_is_decrypted_without_a_key_log() {
    let Some(mut captured) = start() else { return };
    let mut client = connect(&captured, &TLS13, "h2");
    let fields = [(":method", "GET"), (":scheme", "https"), (":path", "/plaintext?x=1"), (":authority", "a.example")];
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
    client.write_all(&[PREFACE, &settings(&[]), &request].concat()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"Hello, World!") {
        let mut bytes = [0; 1024];
        let n = read(&mut client, &mut bytes).unwrap();
        assert!(n > 0, "the answer is complete");
        answer.extend(&bytes[..n]);
    }
    client.conn.send_close_notify();
    client.flush().unwrap();
    drop(client);
    captured.logged.lines(1);
    captured.stop();
    let file = captured.path();
    assert_eq!(faults(&file), Vec::<Vec<String>>::new());
    assert_eq!(tshark(&file, "http2.headers.path", &["http2.headers.path"]), [["/plaintext?x=1"]]);
    assert_eq!(tshark(&file, "http2.headers.status", &["http2.headers.status"]), [["200"]]);
    let comments: Vec<String> = tshark(&file, "frame.comment", &["frame.comment"]).concat();
    // tcpdump is particular about files with two interfaces.
    if has_tool("tcpdump") {
        let file = File::open(&file).unwrap();
        let output = Command::new("tcpdump").args(["-n", "-r", "-"]).stdin(file).output().unwrap();
        let (text, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && text.contains("Flags [S.], seq 0, ack 1,"), "{text}{said}");
    }
    for text in ["c=1 tls handshake done TLSv1.3", "c=1 s=1 head GET /plaintext?x=1", "c=1 s=1 over 200 rx="] {
        assert!(comments.iter().any(|comment| comment.contains(text)), "{text}: {comments:#?}");
    }
}

/// The keys of TLS 1.2 are known only after the packet that needs them first.
#[test]
fn both_directions_of_tls_1_2_are_decrypted() {
    let Some(mut captured) = start() else { return };
    for target in ["/plaintext", "/nothing"] {
        let mut client = connect(&captured, &TLS12, "http/1.1");
        write!(client, "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 "));
    }
    captured.logged.lines(2);
    captured.stop();
    let file = captured.path();
    assert_eq!(faults(&file), Vec::<Vec<String>>::new());
    assert_eq!(tshark(&file, "http.request", &["http.request.uri"]), [["/plaintext"], ["/nothing"]]);
    assert_eq!(tshark(&file, "http.response", &["http.response.code"]), [["200"], ["404"]]);
    // The Finished of both sides (RFC 5246 §7.4.9) is encrypted, and read all the same.
    assert_eq!(tshark(&file, "tls.handshake.type == 20", &["tcp.stream"]).len(), 4);
}
