//! The configuration of a TLS client that trusts every server: tests are not about whom to trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion};

/// A file of tests/corpus/tls.
pub fn corpus(name: &str) -> PathBuf {
    // The fuzz targets are a crate of their own, in tests.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/corpus/tls", "../corpus/tls"].map(|folder| manifest.join(folder));
    let [ours, beside] = folders;
    if ours.exists() { ours.join(name) } else { beside.join(name) }
}

/// A client that speaks these versions, with what the library has by default.
pub fn config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    config_of(aws_lc_rs::default_provider(), versions)
}

/// The same, with this cryptography.
pub fn config_of(provider: CryptoProvider, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let trust = Arc::new(TrustsAll(provider.clone()));
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions);
    let builder = builder.expect("the versions are known").dangerous();
    builder.with_custom_certificate_verifier(trust).with_no_client_auth()
}

/// Accepts every certificate whose key has signed the handshake.
#[derive(Debug)]
struct TrustsAll(CryptoProvider);

impl ServerCertVerifier for TrustsAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
