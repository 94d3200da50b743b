//! The other end of a TLS connection, whose bytes a test carries to us and back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ClientConnection, Connection, Error, HandshakeKind, ServerConnection};

use super::provider::provider;
use super::test_pki::{Folder, client_config_of, leaf, options, root, verifier};
use super::{LiveConfig, SessionKeys, UpstreamTls};

/// A client of ours, or an upstream.
pub(crate) struct TestEnd {
    connection: Connection,
    /// We have sent close_notify.
    pub(crate) has_end: bool,
}

impl TestEnd {
    /// A client that trusts every server.
    pub(crate) fn client() -> TestEnd {
        TestEnd::of(client_config_of(schemes(), rustls::DEFAULT_VERSIONS))
    }

    /// The same, of a server with this name.
    pub(crate) fn of_server(name: &'static str) -> TestEnd {
        TestEnd::to(name, client_config_of(schemes(), rustls::DEFAULT_VERSIONS))
    }

    pub(crate) fn of_tls12() -> TestEnd {
        TestEnd::of(client_config_of(schemes(), &[&rustls::version::TLS12]))
    }

    /// A client that the server asks for another hello, because its first one is for a group that the server does not have.
    #[cfg(feature = "tls")]
    pub(crate) fn to_be_retried() -> TestEnd {
        use rustls::crypto::aws_lc_rs::kx_group;
        let provider =
            CryptoProvider { kx_groups: vec![kx_group::MLKEM768, kx_group::X25519], ..(*provider()).clone() };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
        let builder = builder.unwrap().dangerous().with_custom_certificate_verifier(verifier(schemes()));
        TestEnd::of(builder.with_no_client_auth())
    }

    fn of(config: ClientConfig) -> TestEnd {
        TestEnd::to("ec.example", config)
    }

    fn to(name: &'static str, config: ClientConfig) -> TestEnd {
        let connection = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        TestEnd { connection: connection.into(), has_end: false }
    }

    /// An upstream with this host, and with what TLS to it is made.
    pub(crate) fn upstream(host: &str) -> (TestEnd, UpstreamTls) {
        let (folder, authority) = (Folder::new(), root("Authority"));
        let (certificate, key) = leaf(&[host], &authority);
        let options = options([folder.pair("upstream", &certificate, &key)]);
        let config = LiveConfig::load(options, &mut |_| {}).unwrap().current();
        let tls = UpstreamTls::load(Some(&folder.write("ca.pem", &authority.pem())), SessionKeys::default()).unwrap();
        (TestEnd { connection: ServerConnection::new(config).unwrap().into(), has_end: false }, tls)
    }

    /// What it sends next.
    pub(crate) fn flight(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// The records that this content goes out in.
    pub(crate) fn seal(&mut self, content: impl AsRef<[u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in content.as_ref().chunks(16 * 1024) {
            self.connection.writer().write_all(piece).unwrap();
            bytes.append(&mut self.flight());
        }
        bytes
    }

    /// A KeyUpdate that asks for another.
    pub(crate) fn seal_key_update(&mut self) -> Vec<u8> {
        self.connection.refresh_traffic_keys().unwrap();
        self.flight()
    }

    /// The records that say that no more comes.
    pub(crate) fn seal_end(&mut self) -> Vec<u8> {
        self.connection.send_close_notify();
        self.flight()
    }

    /// The content of what has arrived.
    pub(crate) fn open(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        while !bytes.is_empty() {
            if self.connection.read_tls(&mut bytes).unwrap() == 0 {
                break;
            }
            let state = self.connection.process_new_packets()?;
            self.has_end |= state.peer_has_closed();
            let start = content.len();
            content.resize(start + state.plaintext_bytes_to_read(), 0);
            self.connection.reader().read_exact(&mut content[start..]).unwrap();
        }
        Ok(content)
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the server has asked for another hello.
    pub(crate) fn was_retried(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest)
    }
}

fn schemes() -> Vec<rustls::SignatureScheme> {
    provider().signature_verification_algorithms.supported_schemes()
}
