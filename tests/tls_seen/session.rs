//! `/connections` and the access log tell what was agreed on.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::version::{TLS12, TLS13};
use serde_json::Value;

use crate::Seen;
use crate::client::{Identity, TlsClient, config};

const GET: &str = "GET /plaintext HTTP/1.1\r\nHost: ec.example\r\n\r\n";

/// A client with a certificate, and the file with the authority that it is of.
pub fn identity(name: &str, folder: &std::path::Path) -> (Identity, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap().pem();
    let file = folder.join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    (Identity { certificate, key: key.serialize_pem() }, file.display().to_string())
}

#[test]
fn the_log_and_connections_tell_what_was_agreed_on() {
    for (version, name, suite) in
        [(&TLS13, "TLSv1.3", "TLS_AES_128_GCM_SHA256"), (&TLS12, "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")]
    {
        let seen = Seen::start("json", &[]);
        let client = Arc::new(config(version, None));
        for is_resumed in [false, true] {
            let mut client = TlsClient::connect(&client, seen.address(), "ec.example");
            client.ask(GET);
            let listed = &seen.connection();
            let (listed, line) = (&listed["tls"], seen.lines(1 + usize::from(is_resumed)).pop().unwrap());
            let logged = &serde_json::from_str::<Value>(&line).unwrap()["tls"];
            for told in [listed, logged] {
                assert_eq!(
                    [&told["version"], &told["cipher"], &told["sni"], &told["alpn"]],
                    [name, suite, "ec.example", "http/1.1"],
                    "{told}"
                );
                assert_eq!(told["resumed"], is_resumed, "{told}");
                // A session of TLS 1.2 that is resumed makes no new keys (RFC 5246 §7.3).
                let has_group = name == "TLSv1.3" || !is_resumed;
                assert_eq!(told["group"].as_str(), has_group.then_some("X25519"), "{told}");
                assert!(told["handshake_wait_ms"].is_f64() && told["handshake_cpu_ms"].as_f64() > Some(0.0), "{told}");
                assert!(told["client_subject"].is_null(), "{told}");
                assert!(
                    told["read"].as_u64() > Some(GET.len() as u64) && told["written"].as_u64() > Some(200),
                    "{told}"
                );
            }
            client.close();
        }
    }
}

#[test]
fn a_pretty_line_tells_it_as_well() {
    let seen = Seen::start("pretty", &[]);
    let mut client = TlsClient::connect(&Arc::new(config(&TLS13, None)), seen.address(), "ec.example");
    client.ask(GET);
    let line = seen.lines(1).remove(0);
    let told = "  TLSv1.3 TLS_AES_128_GCM_SHA256 X25519 sni=ec.example alpn=http/1.1 full handshake wait ";
    assert!(line.contains(told) && line.contains(" ciphertext ") && line.ends_with(" out"), "{line}");
    let text = seen.admin("/connections");
    let told = "\n  tls      TLSv1.3, TLS_AES_128_GCM_SHA256, X25519, name ec.example, alpn http/1.1; full handshake, ";
    assert!(text.contains(told), "{text}");
}

#[test]
fn a_plain_connection_has_no_tls() {
    let seen = Seen::start("json", &[]);
    let mut client = seen.server.connect();
    client.send(GET);
    client.read_response();
    assert!(seen.connection()["tls"].is_null());
    assert!(!seen.lines(1)[0].contains("tls"));
}

#[test]
fn who_the_client_is_by_its_certificate_is_told() {
    let folder = std::env::temp_dir().join(format!("tidemill-{}-seen-client", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let (anna, authorities) = identity("anna", &folder);
    let seen = Seen::start("json", &["--tls-client-ca", &authorities]);
    std::fs::remove_dir_all(&folder).unwrap();
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(config(version, Some(&anna)));
        for resumed in [false, true] {
            let mut client = TlsClient::connect(&config, seen.address(), "ec.example");
            let (_, content) = client.ask(&GET.replace("/plaintext", "/headers"));
            let told = &seen.connection()["tls"];
            let handed: Value = serde_json::from_str(&content).unwrap();
            let (subject, fingerprint) = (&told["client_subject"], &told["client_sha256"]);
            let expected = serde_json::json!({ "subject": subject, "fingerprint": fingerprint });
            assert_eq!(handed["client_certificate"], expected, "the handler knows it, too");
            assert_eq!((&told["client_subject"], &told["resumed"]), (&"CN=anna".into(), &resumed.into()), "{told}");
            assert_eq!(told["client_sha256"].as_str().map(str::len), Some(64), "{told}");
            client.close();
        }
    }
    assert!(seen.lines(4).iter().all(|line| line.contains(r#""client_subject":"CN=anna","client_sha256":""#)));
}

/// What the client has sent is in front of the request, and counts; what is in the records counts alone in `rx` and `tx`.
#[test]
fn ciphertext_is_counted_beside_the_content() {
    let seen = Seen::start("json", &[]);
    let mut client = TlsClient::connect(&Arc::new(config(&TLS13, None)), seen.address(), "ec.example");
    for _ in 0..3 {
        client.ask(GET);
    }
    let lines: Vec<Value> = seen.lines(3).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let read = |at: usize| lines[at]["tls"]["read"].as_u64().unwrap();
    // A record has 5 bytes of header, 1 of the type and 16 of the tag (RFC 8446 §5.2).
    assert_eq!([read(1) - read(0), read(2) - read(1)], [GET.len() as u64 + 22; 2]);
    assert_eq!(lines[2]["rx"], format!("{}:{}", 2 * GET.len() + 1, 3 * GET.len() + 1));
}
