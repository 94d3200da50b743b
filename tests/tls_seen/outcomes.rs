//! What became of handshakes: metrics, the log, and the report at the end.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use crate::Seen;
use crate::client::{TlsClient, config, provider};
use crate::support::{Client, has_tool, wait_until};
use crate::tls_client::corpus;

const GET: &str = "GET /plaintext HTTP/1.1\r\nHost: ec.example\r\n\r\n";

impl Seen {
    /// Waits for a line of the metrics.
    fn wait_for_metric(&self, line: &str) {
        let mut metrics = String::new();
        let mut is_there = || {
            metrics = self.admin("/metrics");
            metrics.lines().any(|other| other == line)
        };
        wait_until(&format!("the metrics say {line}"), &mut is_there);
    }
}

/// A client that trusts nobody.
fn distrustful() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider())).with_protocol_versions(&[&TLS13]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(corpus("rsa.pem")).unwrap()).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

#[test]
fn handshakes_are_counted_by_kind_and_version() {
    let seen = Seen::start("json", &[]);
    for (version, times) in [(&TLS13, 3), (&TLS12, 2)] {
        let config = Arc::new(config(version, None));
        for _ in 0..times {
            let mut client = TlsClient::connect(&config, seen.address(), "ec.example");
            client.ask(GET);
            client.close();
        }
    }
    let metrics = seen.admin("/metrics");
    for line in [
        r#"tidemill_tls_handshakes_total{kind="full",version="TLSv1.2"} 1"#,
        r#"tidemill_tls_handshakes_total{kind="full",version="TLSv1.3"} 1"#,
        r#"tidemill_tls_handshakes_total{kind="resumed",version="TLSv1.2"} 1"#,
        r#"tidemill_tls_handshakes_total{kind="resumed",version="TLSv1.3"} 2"#,
        r#"tidemill_tls_tickets_total{outcome="hit"} 3"#,
        r#"tidemill_tls_tickets_total{outcome="miss"} 0"#,
        "tidemill_tls_handshake_duration_seconds_count 5",
        "tidemill_tls_handshake_work_seconds_count 5",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} in {metrics}");
    }
    let until = format!(
        r#"tidemill_tls_certificate_not_after_seconds{{file="{}",subject="CN=ec.example"}} "#,
        corpus("ec.pem").display()
    );
    let until: u64 = metrics.lines().find_map(|line| line.strip_prefix(&until)).unwrap().parse().unwrap();
    assert!(until > 1_800_000_000, "{until}");
}

#[test]
fn a_server_without_https_has_no_metrics_of_it() {
    let server = crate::Server::start(&["--admin", "127.0.0.1:0"]);
    let mut client = Client::new(TcpStream::connect(server.admin()).unwrap());
    client.send("GET /metrics HTTP/1.0\r\n\r\n");
    assert!(!client.read_to_end().contains("tidemill_tls"));
}

/// Each has its metric and one line in the log, and all are in the report.
#[test]
fn failures_are_told_by_who_has_said_why() {
    let flags = ["--tls-strict-sni", "--log-level", "info", "--report"];
    let mut seen = Seen::start("json", &flags);
    let mut other_protocol = config(&TLS13, None);
    other_protocol.alpn_protocols = vec![b"spdy/1".to_vec()];
    let known = Arc::new(config(&TLS13, None));
    let refused = |config: &Arc<ClientConfig>, name| TlsClient::connect(config, seen.address(), name).be_refused();
    refused(&Arc::new(other_protocol), "ec.example");
    refused(&known, "unknown.example");
    TlsClient::connect(&distrustful(), seen.address(), "ec.example").be_refused();
    let raw = |bytes: &[u8]| {
        let mut client = Client::new(TcpStream::connect(seen.address()).unwrap());
        client.send(bytes);
        client
    };
    assert!(raw(b"GET / HTTP/1.1\r\n\r\n").read_to_end().starts_with("HTTP/1.1 400 "));
    let alert = raw(&[0; 64]).read_to_end();
    assert!(alert.as_bytes().ends_with(&[2, 50]), "decode_error: {alert:?}");
    drop(raw(b""));
    drop(raw(&[22, 3, 1, 0, 200, 1]));
    for (side, reason, times, line) in [
        ("ours", "no_application_protocol", 1, "(our alert: no_application_protocol)"),
        ("ours", "unrecognized_name", 1, "(our alert: unrecognized_name)"),
        ("ours", "decode_error", 1, "(our alert: decode_error)"),
        ("theirs", "certificate_unknown", 1, "TLS: the client sent the alert certificate_unknown"),
        ("none", "plain_http", 1, "the client speaks HTTP without TLS"),
        ("none", "ended", 2, "closed by the client in the TLS handshake, before its ClientHello was complete"),
    ] {
        let labels = format!(r#"{{side="{side}",reason="{reason}"}}"#);
        seen.wait_for_metric(&format!("tidemill_tls_handshake_failures_total{labels} {times}"));
        seen.server.wait_for_log(line);
    }
    assert_eq!(seen.server.log().matches("INFO").count(), 6, "none for the silent one: {}", seen.server.log());
    assert!(seen.admin("/now").contains(" TLS handshakes failed in the last minute: 2 × ended, 1 × "));
    seen.server.signal("TERM");
    seen.server.wait();
    seen.server
        .wait_for_log("TLS handshakes failed: 7 (our alert decode_error 1, our alert no_application_protocol 1, ");
}

#[test]
fn a_client_without_a_certificate_is_counted() {
    let folder = std::env::temp_dir().join(format!("tidemill-{}-seen-required", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let (_, authorities) = crate::session::identity("anna", &folder);
    let seen = Seen::start("json", &["--tls-client-ca", &authorities]);
    std::fs::remove_dir_all(&folder).unwrap();
    for (version, times) in [(&TLS13, 1), (&TLS12, 2)] {
        TlsClient::connect(&Arc::new(config(version, None)), seen.address(), "ec.example").be_refused();
        let labels = r#"{side="ours",reason="certificate_required"}"#;
        seen.wait_for_metric(&format!("tidemill_tls_handshake_failures_total{labels} {times}"));
    }
}

/// RFC 8446 §6.1: who ends without it may have been cut off.
#[test]
fn an_end_without_close_notify_is_told_in_the_line_of_the_close() {
    let seen = Seen::start("json", &["--log-level", "debug"]);
    let config = Arc::new(config(&TLS13, None));
    let mut client = TlsClient::connect(&config, seen.address(), "ec.example");
    client.ask(GET);
    client.close();
    drop(client);
    seen.server.wait_for_log("CNI closed by the client between requests after 1 request\n");
    let mut client = TlsClient::connect(&config, seen.address(), "ec.example");
    client.ask(GET);
    drop(client);
    seen.server.wait_for_log("CFI closed by the client between requests after 1 request, without close_notify\n");
    let log = seen.server.log();
    assert!(
        log.contains("TLS: TLSv1.3, TLS_AES_128_GCM_SHA256, X25519, name ec.example, alpn http/1.1; resumed, "),
        "{log}"
    );
}

/// strace shows when a handshake begins and ends, between the calls that it takes.
#[test]
fn marks_tell_of_handshakes() {
    if !has_tool("strace") {
        return;
    }
    let mut seen = Seen::start("json", &["--mark-syscalls"]);
    let file = seen.folder.join("strace");
    let arguments = ["-f", "-p", &seen.server.pid().to_string(), "-o", file.to_str().unwrap()];
    let mut strace = Command::new("strace").args(arguments).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", seen.server.pid());
    let mut refused = false;
    wait_until("strace is attached", || {
        refused = strace.try_wait().unwrap().is_some();
        refused || !std::fs::read_to_string(&status).unwrap().contains("TracerPid:\t0")
    });
    if refused {
        eprintln!("notice: skipped, strace may not attach here");
        return;
    }
    let mut client = TlsClient::connect(&Arc::new(config(&TLS13, None)), seen.address(), "ec.example");
    client.ask(GET);
    drop(client);
    let mut plain = Client::new(TcpStream::connect(seen.address()).unwrap());
    plain.send("GET / HTTP/1.1\r\n\r\n");
    plain.read_to_end();
    let traced = || std::fs::read_to_string(&file).unwrap();
    wait_until("the refusal is marked", || traced().contains("tidemill c=2 tls failed: plain_http\""));
    seen.server.signal("TERM");
    seen.server.wait();
    strace.wait().unwrap();
    let (all, mut rest) = (traced(), traced());
    for part in [
        "tidemill c=1 accepted ",
        "recvfrom(",
        "tidemill c=1 tls handshake begun\"",
        "tidemill c=1 tls handshake done TLSv1.3, TLS_AES_128_GCM_SHA256, X25519, name ec.example, alpn http/1.1; full ",
        "tidemill c=1 r=1 head GET /plaintext\"",
        "tidemill c=2 accepted ",
        "tidemill c=2 tls failed: plain_http\"",
    ] {
        let after = rest.split_once(part).map(|(_, after)| after.to_owned());
        rest = after.unwrap_or_else(|| panic!("{part:?} is missing, or too early:\n{all}"));
    }
}
