//! Certificates of clients.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::authorities;
use super::certificate::Certificate;
use super::files::Files;
use super::pair::mistake;
use super::provider::fingerprint;
use super::{ClientAuthentication, ClientOptions, FileKind, Mistake};
use crate::base::tls_facts::ClientCertificate;

/// Who verifies clients by these options. A client whose certificate cannot be verified is refused in any case.
///
/// # Errors
/// The file with the authorities cannot be used.
pub(super) fn verifier(
    options: &ClientOptions,
    provider: &Arc<CryptoProvider>,
    files: &Files,
) -> Result<Arc<dyn ClientCertVerifier>, Mistake> {
    let in_file = |problem| mistake(FileKind::ClientAuthorities, &options.authorities, problem);
    let roots = files.content(&options.authorities).and_then(authorities::in_pem).map_err(in_file)?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match options.authentication {
        ClientAuthentication::Optional => builder.allow_unauthenticated(),
        ClientAuthentication::Required => builder,
    };
    builder.build().map_err(|error| in_file(error.to_string()))
}

/// What is told of a client with this chain, which was verified. `None` if it is empty.
pub(super) fn certificate_of(chain: &[CertificateDer<'_>]) -> Option<ClientCertificate> {
    let leaf = chain.first()?;
    let subject = Certificate::read(leaf).map(|certificate| certificate.subject()).unwrap_or_default();
    Some(ClientCertificate { subject, fingerprint: fingerprint(leaf) })
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, DnType, IsCa};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::{CertificateError, Error, HandshakeKind};

    use super::super::test_pki::{Authority, Folder, client_config, corpus, handshake, leaf, options, root};
    use super::super::{LiveConfig, Occasion, TlsOptions};
    use super::*;

    fn live(folder: &Folder, authority: &Authority, authentication: ClientAuthentication) -> LiveConfig {
        let clients = ClientOptions { authorities: folder.write("ca.pem", &authority.pem()), authentication };
        let options = TlsOptions { clients: Some(clients), ..options([folder.self_signed("a", &["a.example"])]) };
        LiveConfig::load(options, &mut |line| panic!("{line}")).unwrap()
    }

    /// A client with a certificate of this authority, or with none.
    fn client(authority: Option<&Authority>) -> Arc<rustls::ClientConfig> {
        let mut config = client_config();
        if let Some(authority) = authority {
            let (certificate, key) = leaf(&["client.example"], authority);
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            let provider = super::super::provider::provider();
            let key = provider.key_provider.load_private_key(key).unwrap();
            let pair = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, key));
            config.client_auth_cert_resolver = Arc::new(pair);
        }
        Arc::new(config)
    }

    type Outcome = Result<(Option<ClientCertificate>, Option<HandshakeKind>), Error>;

    fn outcome(live: &LiveConfig, client: &Arc<rustls::ClientConfig>) -> Outcome {
        let server = handshake(live.current(), client, "a.example").map_err(|(error, _)| error)?.server;
        let certificate = server.peer_certificates().and_then(certificate_of);
        Ok((certificate, server.handshake_kind()))
    }

    #[test]
    fn who_may_come_in_depends_on_what_is_asked() {
        let (folder, ours, other) = (Folder::new(), root("Ours"), root("Other"));
        let required = live(&folder, &ours, ClientAuthentication::Required);
        let optional = live(&folder, &ours, ClientAuthentication::Optional);
        assert_eq!(outcome(&required, &client(None)), Err(Error::NoCertificatesPresented));
        assert_eq!(outcome(&optional, &client(None)), Ok((None, Some(HandshakeKind::Full))));
        for live in [&required, &optional] {
            let stranger = outcome(live, &client(Some(&other)));
            assert_eq!(stranger, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
            let known = client(Some(&ours));
            let (certificate, kind) = outcome(live, &known).unwrap();
            let certificate = certificate.unwrap();
            assert_eq!((certificate.subject.as_str(), kind), ("CN=client.example", Some(HandshakeKind::Full)));
            assert_eq!(certificate.fingerprint.len(), 64);
            let resumed = outcome(live, &known);
            assert_eq!(resumed, Ok((Some(certificate), Some(HandshakeKind::Resumed))), "a ticket keeps who it is");
        }
    }

    #[test]
    fn other_authorities_end_old_sessions() {
        let (folder, ours) = (Folder::new(), root("Ours"));
        let live = live(&folder, &ours, ClientAuthentication::Required);
        let known = client(Some(&ours));
        assert!(outcome(&live, &known).is_ok());
        folder.self_signed("a", &["b.example"]);
        assert_eq!(live.refresh(Occasion::Check).len(), 1);
        assert_eq!(outcome(&live, &known).unwrap().1, Some(HandshakeKind::Resumed));
        folder.write("ca.pem", &root("Other").pem());
        assert_eq!(live.refresh(Occasion::Check).len(), 1);
        assert_eq!(outcome(&live, &known), Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
    }

    #[test]
    fn a_file_without_authorities_is_refused() {
        let folder = Folder::new();
        let pair = folder.self_signed("a", &["a.example"]);
        let garbled = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        for (authorities, problem) in [
            (folder.write("empty.pem", ""), "there is no certificate in it"),
            (corpus("ec-encrypted-key.pem"), "it has a key and no certificate"),
            (folder.write("garbled.pem", garbled), "certificate 1 cannot be an authority"),
            (folder.0.join("missing.pem"), "there is no such file"),
        ] {
            let clients = ClientOptions { authorities, authentication: ClientAuthentication::Required };
            let options = TlsOptions { clients: Some(clients.clone()), ..options([pair.clone()]) };
            let mistake = LiveConfig::load(options, &mut |_| {}).unwrap_err();
            assert_eq!((mistake.kind, mistake.file), (FileKind::ClientAuthorities, clients.authorities));
            assert!(mistake.problem.contains(problem), "{}", mistake.problem);
        }
    }

    #[test]
    fn a_subject_is_text_of_rfc_4514() {
        let mut params = super::super::test_pki::params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a, b+c\nd");
        params.distinguished_name.push(DnType::OrganizationName, "Mühle");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let client = certificate_of(&[certificate.der().clone()]).unwrap();
        assert!(client.subject.contains("CN=a\\, b\\+c") && client.subject.contains("O=Mühle"), "{}", client.subject);
        assert_eq!(certificate_of(&[]), None);
    }
}
