use rustls::{CipherSuite, Error, HandshakeKind, NamedGroup, ProtocolVersion};

use super::super::test_pki::{Folder, client_config_of, handshake, options};
use super::*;

fn live(folder: &Folder) -> LiveConfig {
    LiveConfig::load(options([folder.self_signed("a", &["a.example"])]), &mut |line| panic!("{line}")).unwrap()
}

#[test]
fn a_handshake_is_as_safe_as_the_client_can() {
    let (folder, schemes) = (Folder::new(), provider().signature_verification_algorithms.supported_schemes());
    let live = live(&folder);
    for (version, expected) in [(&TLS13, ProtocolVersion::TLSv1_3), (&TLS12, ProtocolVersion::TLSv1_2)] {
        let client = Arc::new(client_config_of(schemes.clone(), &[version]));
        let server =
            handshake(live.current(), &client, "a.example").unwrap_or_else(|(error, _)| panic!("{error}")).server;
        let group = server.negotiated_key_exchange_group().map(|group| group.name());
        let best = if cfg!(feature = "tls") { NamedGroup::X25519MLKEM768 } else { NamedGroup::X25519 };
        let of_version = if expected == ProtocolVersion::TLSv1_3 { best } else { NamedGroup::X25519 };
        assert_eq!((server.protocol_version(), group), (Some(expected), Some(of_version)));
        assert_eq!((server.handshake_kind(), server.alpn_protocol()), (Some(HandshakeKind::Full), None));
        let suite = server.negotiated_cipher_suite().map(|suite| suite.suite());
        assert_ne!(suite, Some(CipherSuite::TLS_NULL_WITH_NULL_NULL));
    }
    assert_eq!(live.current().max_early_data_size, 0, "what comes early could be replayed");
}

#[test]
fn a_protocol_that_nobody_speaks_is_refused() {
    let folder = Folder::new();
    let live = live(&folder);
    let client = |protocols: &[&str]| {
        // In TLS 1.2 the alert is not encrypted and can be read off the wire.
        let schemes = provider().signature_verification_algorithms.supported_schemes();
        let mut config = client_config_of(schemes, &[&TLS12]);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    };
    let ends = handshake(live.current(), &client(&["spdy/1", "http/1.1"]), "a.example");
    assert_eq!(ends.unwrap_or_else(|(error, _)| panic!("{error}")).server.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (error, alert) = handshake(live.current(), &client(&["spdy/1"]), "a.example").err().unwrap();
    assert_eq!((error, alert.last()), (Error::NoApplicationProtocol, Some(&120)));
}

#[test]
fn certificates_can_be_told() {
    let folder = Folder::new();
    let certificates = live(&folder).certificates();
    assert_eq!((certificates.len(), &certificates[0].names[..]), (1, &["a.example".to_string()][..]));
    let fingerprint = &certificates[0].fingerprint;
    assert!(fingerprint.len() == 64 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()), "{fingerprint}");
}
