//! What the page says of TLS, where a listener has it.

use crate::site::Site;
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

/// Each request goes through the listener that has it, with the server name that its client sends.
#[test]
fn a_request_over_tls_is_followed_as_one() {
    let folder = Site::new();
    let file = format!("{}/t.toml", folder.path());
    let text = "https-redirect = true\nlisten = ['80', 'https:443']\ntls-cert = 'CERT'\ntls-key = 'KEY'\n\
                [[site]]\nhosts = ['a.example']\nrespond = 200\n[[site]]\nhosts = ['b.example']\nrespond = 201\n\
                [[site]]\nlisten = ['https:127.0.0.1:9100', '9200']\nhosts = ['inner.example']\nrespond = 202\n";
    let text = text.replace("CERT", &corpus("ec.pem")).replace("KEY", &corpus("ec-sec1-key.pem"));
    std::fs::write(&file, text).unwrap();
    let page = |request: &str, more: &[&str]| {
        Page::of(Asked { request, fields: &[] }, &[&["--config", &*file], more].concat())
    };
    for (request, more, listener, answer) in [
        ("GET /", &["--host", "a.example"][..], "127.0.0.1:80", "308 "),
        ("GET /", &["--host", "A.example.:443", "--https"], "https:127.0.0.1:443", "200 "),
        ("GET HTTPS://b.example/", &["--host", "b.example"], "https:127.0.0.1:443", "201 "),
        ("GET /", &["--host", "a.example", "--https=B.example"], "https:127.0.0.1:443", "421 "),
        ("GET /", &["--host", "inner.example", "--https"], "https:127.0.0.1:9100", "202 "),
        ("GET /", &["--host", "inner.example", "--via", "https:443"], "https:127.0.0.1:443", "421 "),
        ("GET /", &["--host", "inner.example"], "127.0.0.1:9200", "308 "),
    ] {
        let page = page(request, more);
        page.assert_line("listener", listener);
        page.assert_line("answer", answer);
    }
    let refused = |more: &[&str]| {
        let output = tidemill(&[&["explain", "GET /", "--config", &*file], more].concat());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = refused(&["--via", "81"]);
    assert!(code == Some(2) && said.contains("the server does not listen there"), "{said}");
    let (code, said) = refused(&["--via", "80", "--https"]);
    assert!(code == Some(2) && said.contains("where requests over TLS do not come"), "{said}");
}
