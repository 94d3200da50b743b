//! What the page says of TLS, where a listener has it.

use crate::{Asked, Page, tidemill};

fn corpus(name: &str) -> String {
    format!("{}/tests/corpus/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn page(host: &str, more: &[&str]) -> Page {
    let files = ["ec.pem", "ec-sec1-key.pem", "rsa.pem", "rsa-pkcs8-key.pem"].map(corpus);
    let pairs = ["--tls-cert", &files[0], "--tls-key", &files[1], "--tls-cert", &files[2], "--tls-key", &files[3]];
    let host = format!("Host: {host}");
    let asked = Asked { request: "GET /plaintext", fields: &[&host] };
    Page::of(asked, &[&["-l", "https:8443", "-l", "8080"], &pairs[..], more].concat())
}

#[test]
fn the_certificate_is_that_of_the_name() {
    let page = page("RSA.example:8443", &[]);
    page.assert_line("tls", "for RSA.example, which a certificate has");
    page.assert_line("certificate", &format!("{}, CN=rsa.example, for rsa.example, valid until ", corpus("rsa.pem")));
    page.assert_line("other names", &format!("{}, CN=ec.example, for ec.example, valid until ", corpus("ec.pem")));
    page.assert_line("alpn", "http/1.1; ");
    page.assert_line("answer", "200 OK");
}

#[test]
fn unknown_names_get_the_first_certificate_or_none() {
    let lax = page("c.example", &[]);
    lax.assert_line("tls", "for c.example, which no certificate has");
    lax.assert_line("certificate", "CN=ec.example");
    assert_eq!(lax.line("other names"), None);
    let strict = page("c.example", &["--tls-strict-sni"]);
    strict.assert_line("certificate", "none: refused with unrecognized_name (--tls-strict-sni");
    page("rsa.example", &["--tls-strict-sni"]).assert_line("other names", "none: refused with unrecognized_name");
    let address = page("127.0.0.1:8443", &[]);
    address.assert_line("tls", "without a server name: a client sends none for an address (RFC 6066 §3)");
    address.assert_line("certificate", "CN=ec.example");
}

#[test]
fn a_redirect_is_explained_and_nothing_is_told_without_https() {
    let page = page("rsa.example", &["--https-redirect"]);
    page.assert_line("redirect", "plain listeners send everything to https: (--https-redirect)");
    page.assert_line("answer", "308 Permanent Redirect (RFC 9110 §15.4.9)");
    assert!(page.0.contains("\nLocation: https://rsa.example:8443/plaintext\n"), "{}", page.0);
    let plain = Page::of(Asked { request: "GET /plaintext", fields: &[] }, &[]);
    assert_eq!((plain.line("tls"), plain.line("certificate"), plain.line("redirect")), (None, None, None));
}

/// Explaining makes no files.
#[test]
fn a_certificate_that_is_not_made_yet_is_not_made() {
    let folder = std::env::temp_dir().join(format!("tidemill-{}-explain-tls", std::process::id()));
    let flag = format!("--tls-self-signed={}", folder.display());
    let output = tidemill(&["explain", "GET /plaintext", "-l", "https:8443", &flag]);
    let page = Page(String::from_utf8(output.stdout).unwrap());
    page.assert_line("tls", "the server makes a certificate at its start, and keeps it in ");
    assert!(!folder.exists());
}
