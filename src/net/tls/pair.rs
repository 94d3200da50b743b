//! A certificate with its chain and its key: reading them from files, and saying what is wrong with them.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::certificate::Certificate;
use super::files::Files;
use super::pem::PemFile;
use super::provider::fingerprint;
use super::{CertificateFacts, FileKind, Mistake, PairFiles};

/// A pair that fits.
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) facts: CertificateFacts,
}

/// What of a pair's files is worth a warning or makes it unusable is found here, in the words of the user's files.
pub(super) struct PairReader<'a> {
    pub(super) provider: &'a CryptoProvider,
    /// Where the files of all pairs are.
    pub(super) files: &'a Files,
    pub(super) now: SystemTime,
    /// Takes what the user should know although the pair is used, a line each.
    pub(super) warn: &'a mut dyn FnMut(String),
}

impl PairReader<'_> {
    /// Reads a pair.
    ///
    /// # Errors
    /// A file cannot be read, is not what it should be, or the two do not fit.
    pub(super) fn read(&mut self, files: &PairFiles) -> Result<Pair, Mistake> {
        let in_certificate = |problem| mistake(FileKind::Certificate, &files.certificate, problem);
        let in_key = |problem| mistake(FileKind::Key, &files.key, problem);
        let chain = self.certificates(&files.certificate).map_err(in_certificate)?;
        let key = self.private_key(&files.key).map_err(in_key)?;
        let key = self.provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| in_key(format!("the key cannot be used: {error}")))?;
        let parsed = parse(&chain).map_err(in_certificate)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => return Err(self.misfit(files, &certified, &parsed)),
            Err(error) => return Err(in_certificate(format!("the certificate cannot be used: {error}"))),
        }
        self.check_chain(&files.certificate, &parsed).map_err(in_certificate)?;
        self.warn_of_certificate(&files.certificate, &parsed[0]);
        self.warn_of_mode(&files.key);
        let facts = CertificateFacts {
            file: files.certificate.clone(),
            subject: parsed[0].to_string(),
            names: parsed[0].dns_names(),
            fingerprint: fingerprint(&certified.cert[0]),
            not_after: parsed[0].not_after(),
        };
        Ok(Pair { certified: Arc::new(certified), facts })
    }

    fn certificates(&self, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
        let PemFile { certificates, keys, has_encrypted_key } = PemFile::parse(self.files.content(file)?)?;
        match (certificates.is_empty(), has_encrypted_key || !keys.is_empty()) {
            (false, _) => Ok(certificates),
            (true, true) => Err("it has a key and no certificate: are certificate and key swapped?".into()),
            (true, false) => Err("there is no certificate in it (-----BEGIN CERTIFICATE-----)".into()),
        }
    }

    fn private_key(&self, file: &Path) -> Result<PrivateKeyDer<'static>, String> {
        let PemFile { certificates, keys, has_encrypted_key } = PemFile::parse(self.files.content(file)?)?;
        match keys.into_iter().next() {
            Some(key) => Ok(key),
            None if has_encrypted_key => Err(format!(
                "the key is encrypted, and there is nobody to ask for the password: openssl pkey -in {} -out NEW-FILE decrypts it",
                file.display()
            )),
            None if !certificates.is_empty() => {
                Err("it has a certificate and no key: are certificate and key swapped?".into())
            }
            None => Err("there is no key in it (-----BEGIN PRIVATE KEY-----)".into()),
        }
    }

    /// The key is not that of the first certificate: perhaps it is that of another one in the file.
    fn misfit(&self, files: &PairFiles, certified: &CertifiedKey, parsed: &[Certificate]) -> Mistake {
        let fits = |certificate: &CertificateDer<'static>| {
            CertifiedKey::new(vec![certificate.clone()], Arc::clone(&certified.key)).keys_match().is_ok()
        };
        match certified.cert.iter().position(fits) {
            Some(index) => mistake(
                FileKind::Certificate,
                &files.certificate,
                format!(
                    "the chain is out of order: the key is that of certificate {} ({}), which must be the first",
                    index + 1,
                    parsed[index]
                ),
            ),
            None => {
                let of = format!("{} ({})", files.certificate.display(), parsed[0]);
                mistake(FileKind::Key, &files.key, format!("the key does not fit the certificate {of}"))
            }
        }
    }

    /// Each certificate must be followed by that of its issuer (RFC 5246 §7.4.2; RFC 8446 §4.4.2 lets clients of TLS 1.3
    /// cope with less, and not all do). A file that has them all, but in another order, is a mistake. One that lacks some
    /// may be right: the missing one may be a root, which clients have.
    fn check_chain(&mut self, file: &Path, chain: &[Certificate]) -> Result<(), String> {
        for (index, certificate) in chain.iter().enumerate() {
            let is_issuer = |other: &&Certificate| certificate.names_as_issuer(other);
            match chain.get(index + 1) {
                _ if certificate.is_self_issued() && index + 1 == chain.len() => {}
                Some(next) if certificate.names_as_issuer(next) => {}
                Some(next) => match chain.iter().filter(|_| !certificate.is_self_issued()).position(|c| is_issuer(&c)) {
                    Some(issuer) => {
                        return Err(format!(
                            "the chain is out of order: certificate {} ({certificate}) must be followed by that of its \
                             issuer, which is certificate {}",
                            index + 1,
                            issuer + 1
                        ));
                    }
                    None => {
                        self.say(file, format!(
                            "certificate {} ({next}) is not the issuer of certificate {} ({certificate}): clients may \
                             refuse this chain",
                            index + 2,
                            index + 1
                        ));
                    }
                },
                None if index == 0 => self.say(file, format!(
                    "the certificate of its issuer ({}) is missing: clients that do not have that as a root will refuse \
                     {certificate}",
                    certificate.issuer()
                )),
                None => {}
            }
        }
        Ok(())
    }

    fn warn_of_certificate(&mut self, file: &Path, certificate: &Certificate) {
        if certificate.is_nameless() {
            // RFC 9525 §2: the common name is none.
            self.say(file, format!("{certificate} has no names (subjectAltName): clients will refuse it"));
        }
        if certificate.not_after() < self.now {
            let days = days(self.now, certificate.not_after());
            self.say(file, format!("{certificate} has expired {days} ago: clients will refuse it"));
        }
        if certificate.not_before() > self.now {
            let days = days(certificate.not_before(), self.now);
            self.say(file, format!("{certificate} is not valid before {days} from now: clients will refuse it"));
        }
    }

    fn warn_of_mode(&mut self, key: &Path) {
        if self.files.is_open_to_all(key) {
            self.say(key, "every user of this machine may read the key (chmod 600 forbids it)".into());
        }
    }

    fn say(&mut self, file: &Path, line: String) {
        (self.warn)(format!("{}: {line}", file.display()));
    }
}

pub(super) fn mistake(kind: FileKind, file: &Path, problem: String) -> Mistake {
    Mistake { kind, file: file.to_path_buf(), problem }
}

/// How much later `end` is than `start`, in whole days if there are any.
pub(super) fn days(end: SystemTime, start: SystemTime) -> String {
    let seconds = end.duration_since(start).unwrap_or_default().as_secs();
    match seconds / 86_400 {
        0 => format!("{seconds} seconds"),
        1 => "1 day".into(),
        days => format!("{days} days"),
    }
}

fn parse(chain: &[CertificateDer<'static>]) -> Result<Vec<Certificate>, String> {
    let read = |(index, der)| {
        Certificate::read(der).map_err(|error| format!("certificate {} cannot be read: {error}", index + 1))
    };
    chain.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests;
