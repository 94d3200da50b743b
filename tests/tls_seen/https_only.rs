//! `--https-redirect` and `--hsts`.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::version::TLS13;

use crate::Seen;
use crate::client::{TlsClient, config};
use crate::support::{Client, field};

const HSTS: &str = "Strict-Transport-Security";

/// The status and where to, of what the plain listener answers.
fn redirected(seen: &Seen, request: &str) -> (String, Option<String>) {
    let answer = seen.server.ask(request);
    let status = answer.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(field(&answer, HSTS), None, "not without TLS: {answer}");
    (status, field(&answer, "Location").map(str::to_owned))
}

#[test]
fn plain_listeners_redirect_and_keep_what_was_asked_for() {
    let seen = Seen::start("json", &["--https-redirect", "--hsts", "--health"]);
    let port = seen.address().rsplit_once(':').unwrap().1;
    for (line, fields, host, path) in [
        ("GET / HTTP/1.1", "Host: a.example", "a.example", "/"),
        ("GET /plaintext HTTP/1.0", "Host: a.example:8080", "a.example", "/plaintext"),
        (
            "POST /a%2Fb/../c;d?e=%20&f=?g HTTP/1.1",
            "Host: A.example\r\nContent-Length: 2",
            "A.example",
            "/a%2Fb/../c;d?e=%20&f=?g",
        ),
        ("GET //evil.example/x HTTP/1.1", "Host: a.example", "a.example", "//evil.example/x"),
        ("GET http://b.example:80/x?y HTTP/1.1", "Host: a.example", "b.example", "/x?y"),
        ("GET http://b.example?y HTTP/1.1", "Host: b.example", "b.example", "/?y"),
        ("HEAD / HTTP/1.1", "Host: [::1]:80", "[::1]", "/"),
        ("GET /healthz/x HTTP/1.1", "Host: a.example", "a.example", "/healthz/x"),
        ("GET /.well-known/security.txt HTTP/1.1", "Host: a.example", "a.example", "/.well-known/security.txt"),
        // The way of a proof leads nowhere else.
        (
            "GET /.well-known/acme-challenge/../../plaintext HTTP/1.1",
            "Host: a",
            "a",
            "/.well-known/acme-challenge/../../plaintext",
        ),
        ("GET /.well-known/acme-challenge/%2e%2e/x HTTP/1.1", "Host: a", "a", "/.well-known/acme-challenge/%2e%2e/x"),
        ("GET /.well-known/acme-challenge/ HTTP/1.1", "Host: a", "a", "/.well-known/acme-challenge/"),
    ] {
        let content = if line.starts_with("POST") { "ab" } else { "" };
        let request = format!("{line}\r\n{fields}\r\nConnection: close\r\n\r\n{content}");
        let location = format!("https://{host}:{port}{path}");
        assert_eq!(redirected(&seen, &request), ("308".into(), Some(location)), "{line}");
    }
}

#[test]
fn what_cannot_or_must_not_be_redirected_is_answered() {
    let seen = Seen::start("json", &["--https-redirect", "--health", "--cors"]);
    for (request, status) in [
        ("GET / HTTP/1.0", "400"),
        ("GET / HTTP/1.1\r\nHost:", "400"),
        ("GET / HTTP/1.1\r\nHost: a%2fb", "400"),
        ("GET / HTTP/1.1\r\nHost: a.example/@evil", "400"),
        ("GET / HTTP/1.1\r\nHost: a..b", "400"),
        ("GET / HTTP/1.1\r\nHost: 1.2.3.256", "400"),
        ("GET / HTTP/1.1\r\nHost: [:::]", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: a.example", "200"),
        ("GET /readyz HTTP/1.0", "200"),
        ("GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a.example", "404"),
        ("OPTIONS * HTTP/1.1\r\nHost: a.example", "204"),
        ("OPTIONS /x HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\nAccess-Control-Request-Method: PUT", "204"),
    ] {
        let request = format!("{request}\r\nConnection: close\r\n\r\n");
        assert_eq!(redirected(&seen, &request), (status.into(), None), "{request}");
    }
    assert!(seen.admin("/metrics").contains("tidemill_build_info"), "the admin's listener answers");
}

#[test]
fn responses_over_tls_tell_browsers_to_come_back_so() {
    let seen = Seen::start("json", &["--hsts=300", "--https-redirect"]);
    let config = Arc::new(config(&TLS13, None));
    for (request, status) in [
        ("GET /plaintext HTTP/1.1\r\nHost: a", "200"),
        ("GET /nothing HTTP/1.1\r\nHost: a", "404"),
        ("DELETE /plaintext HTTP/1.1\r\nHost: a", "405"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b", "400"),
        ("GET /plaintext HTTP/2.5\r\nHost: a", "505"),
        ("HEAD /plaintext HTTP/1.0", "200"),
    ] {
        let mut client = TlsClient::connect(&config, seen.address(), "ec.example");
        let head = client.head(&format!("{request}\r\n\r\n"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert_eq!(field(&head, HSTS), Some("max-age=300"), "{head}");
        assert_eq!(head.matches("max-age").count(), 1, "{head}");
    }
}

#[test]
fn without_the_flags_nothing_changes() {
    let seen = Seen::start("json", &[]);
    assert_eq!(redirected(&seen, "GET /plaintext HTTP/1.0\r\n\r\n"), ("200".into(), None));
    let mut client = TlsClient::connect(&Arc::new(config(&TLS13, None)), seen.address(), "ec.example");
    let (head, _) = client.ask("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(field(&head, HSTS), None);
}

/// The answer to somebody who does not speak TLS is no response over TLS.
#[test]
fn plain_http_on_the_port_for_https_is_told_nothing_of_it() {
    let seen = Seen::start("json", &["--hsts"]);
    let mut client = Client::new(TcpStream::connect(seen.address()).unwrap());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 400 ") && field(&answer, HSTS).is_none(), "{answer}");
}
