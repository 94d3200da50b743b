//! A certificate for development that nobody has issued. It is kept, so that browsers need to be told only once.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use super::certificate::Certificate;
use super::files::{FILE_BYTES_MAX, Files};
use super::pair::PairReader;
use super::pem::PemFile;
use super::provider::provider;
use super::{PairFiles, SelfSigned};
use crate::base::regular_file;

const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";
/// By this a certificate is known that we have made. No other one is ever replaced.
const SUBJECT: &str = "tidemill for development";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Apple's systems refuse certificates that are valid for longer than 825 days, also those that the user trusts.
const VALID: Duration = Duration::from_secs(820 * 24 * 60 * 60);
/// Clocks of other machines may be slow.
const VALID_BEFORE: Duration = DAY;
/// It is made anew so long before it expires.
const RENEWED_BEFORE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl SelfSigned {
    /// Where the certificate in `directory` is, or will be.
    pub fn files(directory: &Path) -> PairFiles {
        PairFiles { certificate: directory.join(CERTIFICATE), key: directory.join(KEY) }
    }

    /// The certificate in `directory` for these `names`, which are DNS names and IP addresses. It is made if it is not there,
    /// lacks a name, or expires within a week of `now`.
    ///
    /// # Errors
    /// One line for the user: the directory cannot be used, or has a certificate or key that we have not made.
    pub fn ensure(directory: &Path, names: &[String], now: SystemTime) -> Result<SelfSigned, String> {
        let failed = |error: io::Error| format!("cannot keep a certificate in {}: {error}", directory.display());
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let held = File::open(directory).map_err(failed)?;
        // Of two servers that start at the same time, the second finds what the first has made.
        held.lock().map_err(failed)?;
        let files = SelfSigned::files(directory);
        let is_new = !is_good(&files, names, now)?;
        if is_new {
            let (certificate, key) = make(names, now).map_err(|error| failed(io::Error::other(error)))?;
            // The certificate first: a key without one would be taken for the user's.
            put(&files.certificate, &certificate, 0o644).map_err(failed)?;
            put(&files.key, &key, 0o600).map_err(failed)?;
            held.sync_all().map_err(failed)?;
        }
        let facts = read(&files, now).map_err(|mistake| mistake.to_string())?;
        Ok(SelfSigned { files, fingerprint: facts.fingerprint, is_new })
    }
}

/// Whether what is there will do. An error says that it is none of ours.
fn is_good(files: &PairFiles, names: &[String], now: SystemTime) -> Result<bool, String> {
    let foreign = |file: &Path| {
        format!("{} was not made by --tls-self-signed: name another directory, or remove it", file.display())
    };
    let text = match regular_file::read(&files.certificate, FILE_BYTES_MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound && files.key.exists() => return Err(foreign(&files.key)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(format!("cannot read {}: {error}", files.certificate.display())),
        Ok(text) => text,
    };
    let first = PemFile::parse(&text).ok().and_then(|file| Certificate::read(file.certificates.first()?).ok());
    let ours = first.filter(|certificate| certificate.subject() == format!("CN={SUBJECT}"));
    let Some(certificate) = ours else { return Err(foreign(&files.certificate)) };
    let is_valid = certificate.not_before() <= now && certificate.not_after() > now + RENEWED_BEFORE;
    let has_names = names.iter().all(|name| certificate.is_for(name));
    Ok(is_valid && has_names && read(files, now).is_ok())
}

fn read(files: &PairFiles, now: SystemTime) -> Result<super::CertificateFacts, super::Mistake> {
    let (read, _) = Files::read(&[&files.certificate, &files.key]);
    let pair = PairReader { provider: &provider(), files: &read, now, warn: &mut |_| {} }.read(files)?;
    Ok(pair.facts)
}

/// The certificate and its key, in PEM.
fn make(names: &[String], now: SystemTime) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, SUBJECT);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = ((now - VALID_BEFORE).into(), (now + VALID - VALID_BEFORE).into());
    // ECDSA with P-256: every client takes it.
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Writes a file that is there as a whole or not at all, with this mode from the beginning.
fn put(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    // One that a crash has left may have another mode.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;
    use std::thread;

    use super::super::LiveConfig;
    use super::super::test_pki::{Folder, handshake, options, presented};
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_is_made_once_and_kept() {
        let folder = Folder::new();
        let (directory, now) = (folder.0.join("state/tidemill"), SystemTime::now());
        let names = names(&["localhost", "127.0.0.1", "::1", "mill"]);
        let first = SelfSigned::ensure(&directory, &names, now).unwrap();
        assert!(first.is_new);
        assert_eq!([&directory, &first.files.key].map(|path| mode(path)), [0o700, 0o600]);
        let again = SelfSigned::ensure(&directory, &names[..2], now).unwrap();
        assert_eq!((again.is_new, &again.fingerprint), (false, &first.fingerprint));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "nothing else is left");
        let mut warnings = Vec::new();
        let live = LiveConfig::load(options([first.files]), &mut |line| warnings.push(line)).unwrap();
        assert_eq!(
            (warnings, &live.certificates()[0].names),
            (Vec::<String>::new(), &vec!["localhost".into(), "mill".into()])
        );
        assert!(presented(live.current(), "localhost").is_ok());
    }

    /// A client that trusts the certificate and nothing else, as `curl --cacert` does.
    #[test]
    fn a_client_that_trusts_it_accepts_it_for_each_name() {
        use rustls::pki_types::pem::PemObject;
        let folder = Folder::new();
        let names = names(&["localhost", "127.0.0.1", "::1"]);
        let made = SelfSigned::ensure(&folder.0, &names, SystemTime::now()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_file(&made.files.certificate).unwrap()).unwrap();
        let live = LiveConfig::load(options([made.files]), &mut |_| {}).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(provider());
        let client = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let client = std::sync::Arc::new(client.with_no_client_auth());
        for name in names {
            assert!(handshake(live.current(), &client, &name).is_ok(), "{name}");
        }
        assert!(handshake(live.current(), &client, "other").is_err());
    }

    #[test]
    fn it_is_made_anew_when_it_will_not_do() {
        let folder = Folder::new();
        let (two, now) = (names(&["localhost", "127.0.0.1"]), SystemTime::now());
        let ensure = |names: &[String], now| SelfSigned::ensure(&folder.0, names, now).unwrap();
        let first = ensure(&two, now);
        let last_day = now + VALID - VALID_BEFORE - RENEWED_BEFORE;
        assert!(!ensure(&two, last_day - 2 * DAY).is_new);
        assert!(ensure(&two, last_day + DAY).is_new, "it would expire within a week");
        assert!(ensure(&two, now).is_new, "it is not valid yet");
        for more in ["mill", "192.0.2.1", "2001:db8::1"] {
            let names = [&two[..], &names(&[more])].concat();
            assert!(ensure(&names, now).is_new && !ensure(&names, now).is_new, "{more}");
        }
        fs::remove_file(&first.files.key).unwrap();
        assert!(ensure(&two, now).is_new, "its key is gone");
        let elsewhere = Folder::new();
        let other = SelfSigned::ensure(&elsewhere.0, &two, now).unwrap();
        fs::copy(other.files.key, &first.files.key).unwrap();
        assert!(ensure(&two, now).is_new, "the key does not fit");
        fs::write(folder.0.join("key.new"), "left by a crash").unwrap();
        fs::remove_file(&first.files.certificate).unwrap();
        fs::remove_file(&first.files.key).unwrap();
        assert!(ensure(&two, now).is_new);
        assert_eq!(mode(&first.files.key), 0o600);
    }

    #[test]
    fn what_the_user_has_there_is_left_alone() {
        let (name, now) = (names(&["localhost"]), SystemTime::now());
        let folder = Folder::new();
        let theirs = folder.self_signed("cert", &["localhost"]);
        let before = fs::read(&theirs.certificate).unwrap();
        let refused = |path: &Path| SelfSigned::ensure(path, &name, now).err().unwrap();
        assert!(refused(&folder.0).contains("cert.pem was not made by --tls-self-signed"));
        assert_eq!(fs::read(&theirs.certificate).unwrap(), before);
        fs::write(&theirs.certificate, "no certificate at all").unwrap();
        assert!(refused(&folder.0).contains("cert.pem was not made by --tls-self-signed"));
        fs::remove_file(&theirs.certificate).unwrap();
        folder.write("key.pem", "a key");
        assert!(refused(&folder.0).contains("key.pem was not made by --tls-self-signed"));
        assert!(refused(&theirs.key).starts_with("cannot keep a certificate in "));
    }

    #[test]
    fn servers_that_start_together_agree() {
        const SERVERS: usize = 8;
        let (folder, barrier) = (Folder::new(), Barrier::new(SERVERS));
        let name = names(&["localhost"]);
        let mut made: Vec<(String, bool)> = thread::scope(|scope| {
            let start = || {
                barrier.wait();
                let made = SelfSigned::ensure(&folder.0, &name, SystemTime::now()).unwrap();
                (made.fingerprint, made.is_new)
            };
            let threads: Vec<_> = (0..SERVERS).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|(_, is_new)| *is_new).count(), 1);
        made.dedup_by(|one, other| one.0 == other.0);
        assert_eq!(made.len(), 1);
    }
}
