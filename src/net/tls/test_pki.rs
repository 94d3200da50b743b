//! Certificates for tests, made when they run, and clients that look at what they get.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection, SignatureScheme};

use super::provider::provider;
use super::trusts_all::TrustsAll;
use super::{PairFiles, TlsOptions};

/// A folder that goes with its value.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidemill-{}-tls-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(super) fn write(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Writes a certificate file with this `chain` and a key file.
    pub(super) fn pair(&self, name: &str, chain: &str, key: &str) -> PairFiles {
        PairFiles {
            certificate: self.write(&format!("{name}.pem"), chain),
            key: self.write(&format!("{name}-key.pem"), key),
        }
    }

    /// Writes a new self-signed certificate for `names`.
    pub(super) fn self_signed(&self, name: &str, names: &[&str]) -> PairFiles {
        let (certificate, key) = self_signed(names);
        self.pair(name, &certificate, &key)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(super) fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/tls").join(name)
}

pub(super) fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).unwrap();
    let common_name = names.first().copied().unwrap_or("nameless");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// The certificate and its key.
pub(super) fn self_signed(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params(names).self_signed(&key).unwrap().pem(), key.serialize_pem())
}

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(super) fn root(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn intermediate(name: &str, issuer: &Authority) -> Authority {
    CertifiedIssuer::signed_by(authority_params(name), KeyPair::generate().unwrap(), issuer).unwrap()
}

/// A certificate that `issuer` has signed, and its key.
pub(super) fn leaf(names: &[&str], issuer: &Authority) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params(names).signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

pub(super) fn options(pairs: impl IntoIterator<Item = PairFiles>) -> TlsOptions {
    TlsOptions { pairs: pairs.into_iter().collect(), ..TlsOptions::default() }
}

/// A client that trusts everybody and verifies signatures of all schemes that we have.
pub(super) fn client_config() -> ClientConfig {
    client_config_of(provider().signature_verification_algorithms.supported_schemes(), rustls::DEFAULT_VERSIONS)
}

pub(super) fn client_config_of(
    schemes: Vec<SignatureScheme>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier(schemes));
    builder.with_no_client_auth()
}

/// What accepts every certificate.
pub(super) fn verifier(schemes: Vec<SignatureScheme>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(TrustsAll(schemes))
}

/// Both ends of a session.
pub(super) struct Ends {
    pub(super) client: ClientConnection,
    pub(super) server: ServerConnection,
}

/// A handshake in memory, up to its end or the first error, which is the server's or the client's.
pub(super) fn handshake(
    server: Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<Ends, (Error, Vec<u8>)> {
    let name = ServerName::try_from(name.to_string()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let mut wire = Vec::new();
    loop {
        wire.clear();
        client.write_tls(&mut wire).unwrap();
        let from_client = wire.len();
        server.read_tls(&mut wire.as_slice()).unwrap();
        let read = server.process_new_packets();
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        if let Err(error) = read {
            return Err((error, wire));
        }
        let from_server = wire.len();
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(|error| (error, Vec::new()))?;
        }
        if from_client + from_server == 0 {
            return Ok(Ends { client, server });
        }
    }
}

/// The certificate that a client gets which asks for `name`, an IP address standing for no name.
pub(super) fn presented(server: Arc<ServerConfig>, name: &str) -> Result<CertificateDer<'static>, (Error, Vec<u8>)> {
    let ends = handshake(server, &Arc::new(client_config()), name)?;
    Ok(ends.client.peer_certificates().unwrap()[0].clone().into_owned())
}

/// The certificates in a pair's file.
pub(super) fn chain(files: &PairFiles) -> Vec<CertificateDer<'static>> {
    super::pem::PemFile::parse(&fs::read(&files.certificate).unwrap()).unwrap().certificates
}
