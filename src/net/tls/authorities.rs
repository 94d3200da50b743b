//! Certificates of authorities: who may have issued the certificates of others.

use rustls::RootCertStore;

use super::pem::PemFile;

/// Those in the `text` of a PEM file.
///
/// # Errors
/// There is none, or one cannot be used.
pub(super) fn in_pem(text: &[u8]) -> Result<RootCertStore, String> {
    let PemFile { certificates, keys, has_encrypted_key } = PemFile::parse(text)?;
    match (certificates.is_empty(), has_encrypted_key || !keys.is_empty()) {
        (false, _) => {}
        (true, true) => return Err("it has a key and no certificate".into()),
        (true, false) => return Err("there is no certificate in it (-----BEGIN CERTIFICATE-----)".into()),
    }
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.into_iter().enumerate() {
        let added = roots.add(certificate);
        added.map_err(|error| format!("certificate {} cannot be an authority: {error}", index + 1))?;
    }
    Ok(roots)
}

/// Those that the system trusts, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. This waits for the disk.
///
/// # Errors
/// There is none.
pub(super) fn of_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems have a few that are older than the rules of today, and that nobody needs.
    let (used, ignored) = roots.add_parsable_certificates(found.certs);
    log::debug!("TLS to upstreams: the system trusts {used} authorities ({ignored} more cannot be used)");
    if used > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map_or(String::new(), |error| format!(" ({error})"));
    Err(format!(
        "the system has no certificates of authorities{why}: install its package ca-certificates, or name a file with them \
         (--upstream-ca)"
    ))
}
