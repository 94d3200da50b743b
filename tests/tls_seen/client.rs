//! Clients that speak TLS with the server, and trust whatever certificate it has.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, StreamOwned, SupportedProtocolVersion};

use crate::support::{DEADLINE, field, read};
use crate::tls_client;

/// A certificate and its key, both in PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// Cryptography with one group.
pub fn provider() -> CryptoProvider {
    CryptoProvider { kx_groups: vec![kx_group::X25519], ..default_provider() }
}

/// What a client speaks: one version, and with a certificate if it has one.
pub fn config(version: &'static SupportedProtocolVersion, identity: Option<&Identity>) -> ClientConfig {
    let mut config = tls_client::config_of(provider(), &[version]);
    if let Some(Identity { certificate, key }) = identity {
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let key = provider().key_provider.load_private_key(key).unwrap();
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    }
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// A client that has sent nothing yet.
pub struct TlsClient(StreamOwned<ClientConnection, TcpStream>);

impl TlsClient {
    pub fn connect(config: &Arc<ClientConfig>, address: &str, name: &str) -> TlsClient {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsClient(StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), stream))
    }

    /// A response with Content-Length: head and content.
    pub fn ask(&mut self, request: &str) -> (String, String) {
        let head = self.head(request);
        let length = field(&head, "Content-Length").map_or(0, |length| length.parse().unwrap());
        (head, String::from_utf8(self.exactly(length)).unwrap())
    }

    /// The head of the response.
    pub fn head(&mut self, request: &str) -> String {
        self.0.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.exactly(1));
        }
        String::from_utf8(head).unwrap()
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Does the handshake and waits until the server ends the connection.
    pub fn be_refused(&mut self) {
        let failed = read(&mut self.0, &mut [0]).unwrap_err();
        assert_ne!(failed.kind(), ErrorKind::WouldBlock, "nothing has happened");
    }

    /// Says that no more comes.
    pub fn close(&mut self) {
        self.0.conn.send_close_notify();
        self.0.flush().unwrap();
    }
}
