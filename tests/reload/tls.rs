//! Certificates that change, and listeners that begin to speak TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned};

use super::support::{DEADLINE, read, status};
use super::tls_client::{config, corpus};
use super::{Mill, content, get, patient, says};

/// The settings of a certificate and a key of tests/corpus/tls.
pub fn pair(certificate: &str, key: &str) -> String {
    format!("tls-cert = '{}'\ntls-key = '{}'\n", corpus(certificate).display(), corpus(key).display())
}

fn secured<S: Read + Write>(stream: S) -> StreamOwned<ClientConnection, S> {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config(&[&TLS13])), name).unwrap(), stream)
}

fn certificate<S: Read + Write>(stream: &StreamOwned<ClientConnection, S>) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

/// A request on a connection that stays open; the content of the answer, which is this long.
fn ask<S: Read + Write>(stream: &mut StreamOwned<ClientConnection, S>, length: usize) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let content = loop {
        let mut piece = [0; 1024];
        let n = read(stream, &mut piece).unwrap();
        assert!(n > 0, "{:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..n]);
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(at) = head.filter(|at| answer.len() >= at + 4 + length) {
            break at + 4;
        }
    };
    String::from_utf8(answer[content..].to_vec()).unwrap()
}

#[test]
fn new_handshakes_get_another_certificate_and_connections_go_on() {
    let text = |pair: &str, body: &str| format!("listen = ['https:127.0.0.1:0']\n{pair}{}", says(body));
    let mill = Mill::start("certificate", &text(&pair("ec.pem", "ec-sec1-key.pem"), "one"));
    let connect = || {
        let stream = TcpStream::connect(&mill.server.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        secured(stream)
    };
    let mut first = connect();
    assert_eq!(ask(&mut first, 3), "one");
    mill.take(&text(&pair("ed25519.pem", "ed25519-key.pem"), "two"));
    assert_eq!(ask(&mut first, 3), "two");
    let mut second = connect();
    assert_eq!(ask(&mut second, 3), "two");
    assert_ne!(certificate(&first), certificate(&second));
    mill.take(&text(&pair("ec.pem", "ec-sec1-key.pem"), "one"));
    let mut third = connect();
    assert_eq!(ask(&mut third, 3), "one");
    assert_eq!(certificate(&first), certificate(&third));
    assert_eq!(mill.times_in_log("ERROR"), 0, "{}", mill.server.log());
}

#[test]
fn a_listener_may_begin_to_speak_tls_and_stop() {
    let text = |role: &str, more: &str, body: &str| {
        format!("listen = ['127.0.0.1:0', '{role}unix:a.sock']\n{more}{}", says(body))
    };
    let mill = Mill::start("role", &text("", "", "one"));
    let connect = || patient(UnixStream::connect(mill.path("a.sock")).unwrap());
    let mut plain = connect();
    write!(plain, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut piece = [0; 1024];
    let n = read(&mut plain, &mut piece).unwrap();
    assert_eq!(status(std::str::from_utf8(&piece[..n]).unwrap()), "200");
    let said = mill.take(&text("https:", &pair("ec.pem", "ec-sec1-key.pem"), "two"));
    assert!(said.contains("0 new, 0 closed"), "{said}");
    let mut stream = secured(connect());
    assert_eq!(ask(&mut stream, 3), "two");
    assert_eq!(content(&get(plain, "/")), "two", "a connection stays what it is");
    let refused = {
        let mut stream = connect();
        write!(stream, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).map(|_| all).unwrap_or_default()
    };
    assert!(!refused.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&refused));
    mill.take(&text("", "", "three"));
    assert_eq!(content(&get(connect(), "/")), "three");
    assert_eq!(ask(&mut stream, 5), "three");
    mill.take(&text("https:", &pair("ec.pem", "ec-sec1-key.pem"), "four"));
    assert_eq!(ask(&mut secured(connect()), 4), "four");
}
