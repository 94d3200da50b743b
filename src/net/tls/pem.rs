//! What is in a PEM file (RFC 7468).

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a PEM file holds that is of use.
#[derive(Default)]
pub(super) struct PemFile {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<PrivateKeyDer<'static>>,
    /// It also has a key that cannot be read without a password.
    pub(super) has_encrypted_key: bool,
}

impl PemFile {
    /// # Errors
    /// What is wrong, in a few words.
    pub(super) fn parse(text: &[u8]) -> Result<PemFile, String> {
        let has_encrypted_key = ENCRYPTED.iter().any(|marker| memchr::memmem::find(text, marker).is_some());
        let mut file = PemFile { has_encrypted_key, ..PemFile::default() };
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            let (kind, der) = match section {
                Ok(section) => section,
                // The fields before an encrypted key are no base64: what follows is not read.
                Err(_) if has_encrypted_key => break,
                Err(error) => return Err(in_words(&error)),
            };
            match kind {
                SectionKind::Certificate => file.certificates.push(der.into()),
                _ => file.keys.extend(PrivateKeyDer::from_pem(kind, der)),
            }
        }
        if file.certificates.is_empty() && file.keys.is_empty() && text.first() == Some(&DER_SEQUENCE) {
            return Err("it is DER, and PEM is expected: openssl can convert it (-inform DER)".into());
        }
        Ok(file)
    }
}

/// What an encrypted key says of itself: PKCS#8 (RFC 5958 §3), and the older form of OpenSSL (RFC 1421 §4.6.1.1).
const ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];

/// With this every certificate and key in DER begins (ITU-T X.690 §8.9).
const DER_SEQUENCE: u8 = 0x30;

fn in_words(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it ends in the middle of a PEM section".into(),
        pem::Error::IllegalSectionStart { .. } => "a line that begins a PEM section is malformed".into(),
        pem::Error::Base64Decode(_) => "it is malformed PEM: a section is no base64".into(),
        error => error.to_string(),
    }
}
