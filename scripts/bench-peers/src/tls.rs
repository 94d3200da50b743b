//! The certificate of the servers over TLS, and their clients.
//!
//! A client offers TLS 1.3 with `TLS_AES_128_GCM_SHA256` and X25519 alone, so that no server can choose anything else.
//! It never resumes a session, and accepts one certificate only.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::aws_lc_rs::{self, cipher_suite::TLS13_AES_128_GCM_SHA256, kx_group::X25519};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

type Failure = Box<dyn Error>;

/// Whose certificate it is: what a client says in SNI.
pub const NAME: &str = "localhost";

/// A certificate and its key, in PEM.
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Identity {
    /// Where they are in this folder, or will be.
    pub fn in_folder(folder: &Path) -> Self {
        // HAProxy looks for the key of `X` in `X.key`.
        Self { certificate: folder.join("cert.pem"), key: folder.join("cert.pem.key") }
    }

    /// Makes them with openssl: ECDSA on P-256, signed by itself.
    pub fn make(&self) -> Result<(), Failure> {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]);
        openssl.args(["-subj", &format!("/CN={NAME}"), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-keyout").arg(&self.key).arg("-out").arg(&self.certificate);
        let output = openssl.output().map_err(|error| format!("openssl: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("openssl: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    }
}

/// What a client does with the server's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    Checked,
    /// Checking it takes about as long as making it: a load that left it out can ask more of a server.
    Ignored,
}

/// For clients of the server with this certificate.
pub fn client_config(certificate: &Path, signature: Signature) -> Result<Arc<ClientConfig>, Failure> {
    let provider = CryptoProvider {
        cipher_suites: vec![TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![X25519],
        ..aws_lc_rs::default_provider()
    };
    let verifier = OneCertificate {
        certificate: CertificateDer::from_pem_file(certificate)?,
        algorithms: provider.signature_verification_algorithms,
        signature,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?.dangerous();
    let mut config = builder.with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

pub fn client(config: &Arc<ClientConfig>) -> Result<ClientConnection, Failure> {
    Ok(ClientConnection::new(config.clone(), ServerName::try_from(NAME)?)?)
}

/// An error unless this was a full handshake. What it agreed on is the only thing that the client offers.
pub fn require_full_handshake(client: &ClientConnection) -> Result<(), Failure> {
    match client.handshake_kind() {
        Some(HandshakeKind::Full) => Ok(()),
        kind => Err(format!("not a full handshake, but {kind:?}").into()),
    }
}

#[derive(Debug)]
struct OneCertificate {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
    signature: Signature,
}

impl ServerCertVerifier for OneCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match *end_entity == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    /// No client offers TLS 1.2.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self.signature {
            Signature::Checked => verify_tls13_signature(message, certificate, signed, &self.algorithms),
            Signature::Ignored => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, SupportedCipherSuite};
    use std::fs;

    /// The bytes of one to the other and back, until none are left.
    fn shake_hands(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), rustls::Error> {
        let mut wire = Vec::new();
        while client.wants_write() || server.wants_write() {
            client.write_tls(&mut wire).expect("a vector takes all");
            server.read_tls(&mut wire.as_slice()).expect("there are bytes");
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire).expect("a vector takes all");
            client.read_tls(&mut wire.as_slice()).expect("there are bytes");
            client.process_new_packets()?;
            wire.clear();
        }
        Ok(())
    }

    fn server_config(identity: &Identity, ciphers: &[SupportedCipherSuite]) -> Arc<ServerConfig> {
        let provider = CryptoProvider { cipher_suites: ciphers.to_vec(), ..aws_lc_rs::default_provider() };
        let builder = ServerConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let certificate = CertificateDer::from_pem_file(&identity.certificate).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&identity.key).expect("a key");
        Arc::new(builder.with_single_cert(vec![certificate], key).expect("the key is that of the certificate"))
    }

    /// Two identities in a folder that the caller removes; none, and a notice, without openssl.
    fn identities(name: &str) -> Option<(PathBuf, [Identity; 2])> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: openssl is missing");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("tidemill-bench-{name}-{}", std::process::id()));
        let identities = ["ours", "theirs"].map(|name| {
            fs::create_dir_all(folder.join(name)).expect("a folder");
            let identity = Identity::in_folder(&folder.join(name));
            identity.make().expect("openssl makes a certificate");
            identity
        });
        Some((folder, identities))
    }

    #[test]
    fn a_client_takes_one_certificate_and_one_cipher() {
        let Some((folder, [ours, theirs])) = identities("client") else { return };
        let all = aws_lc_rs::default_provider().cipher_suites;
        let others: Vec<_> = all.iter().copied().filter(|cipher| *cipher != TLS13_AES_128_GCM_SHA256).collect();
        for signature in [Signature::Checked, Signature::Ignored] {
            let config = client_config(&ours.certificate, signature).expect("a configuration");
            let shake = |server: Arc<ServerConfig>| {
                let mut client = client(&config).expect("a client");
                let mut server = ServerConnection::new(server).expect("a server");
                shake_hands(&mut client, &mut server).map(|()| client)
            };
            let client = shake(server_config(&ours, &all)).expect("a handshake");
            assert_eq!(client.negotiated_cipher_suite(), Some(TLS13_AES_128_GCM_SHA256));
            assert!(require_full_handshake(&client).is_ok());
            assert!(shake(server_config(&ours, &others)).is_err(), "no cipher is common");
            assert!(shake(server_config(&theirs, &all)).is_err(), "the certificate is another");
        }
        fs::remove_dir_all(folder).expect("it is there");
    }

    #[test]
    fn a_session_is_never_resumed() {
        let Some((folder, [ours, _])) = identities("session") else { return };
        let config = client_config(&ours.certificate, Signature::Checked).expect("a configuration");
        let server_config = server_config(&ours, &aws_lc_rs::default_provider().cipher_suites);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut client = client(&config).expect("a client");
            let mut server = ServerConnection::new(server_config.clone()).expect("a server");
            shake_hands(&mut client, &mut server).expect("a handshake");
            assert!(client.tls13_tickets_received() > 0, "there is a session to resume");
            kinds.push(client.handshake_kind());
        }
        assert_eq!(kinds, [Some(HandshakeKind::Full); 2]);
        fs::remove_dir_all(folder).expect("it is there");
    }
}
