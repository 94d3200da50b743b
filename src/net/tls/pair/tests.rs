use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rcgen::KeyPair;

use super::super::provider::provider;
use super::super::test_pki::{Folder, corpus, intermediate, leaf, params, root, self_signed};
use super::*;

/// What comes of it, and the warnings.
fn read(files: &PairFiles) -> (Result<Pair, Mistake>, Vec<String>) {
    let mut warnings = Vec::new();
    let mut warn = |line: String| warnings.push(line);
    let (read, _) = Files::read(&[&files.certificate, &files.key]);
    let pair = PairReader { provider: &provider(), files: &read, now: SystemTime::now(), warn: &mut warn }.read(files);
    (pair, warnings)
}

#[track_caller]
fn assert_used(files: &PairFiles) -> CertificateFacts {
    let (pair, warnings) = read(files);
    assert_eq!(warnings, [""; 0]);
    pair.unwrap_or_else(|mistake| panic!("{mistake}")).facts
}

#[track_caller]
fn assert_refused(files: &PairFiles, kind: FileKind, problem: &str) {
    let Err(mistake) = read(files).0 else { panic!("it is used, and should not: {problem}") };
    let file = if kind == FileKind::Certificate { &files.certificate } else { &files.key };
    assert_eq!((mistake.kind, &mistake.file), (kind, file));
    assert!(mistake.problem.contains(problem), "{}", mistake.problem);
    assert!(!mistake.problem.contains('\n'));
}

#[track_caller]
fn assert_warned(files: &PairFiles, about: &Path, warning: &str) {
    let (pair, warnings) = read(files);
    assert!(pair.is_ok());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with(&format!("{}: ", about.display())), "{warnings:?}");
    assert!(warnings[0].contains(warning), "{warnings:?}");
}

fn corpus_pair(folder: &Folder, certificate: &str, key: &str) -> PairFiles {
    let content = |name| fs::read_to_string(corpus(name)).unwrap();
    folder.pair(key, &content(certificate), &content(key))
}

#[test]
fn keys_of_all_forms_are_read() {
    let folder = Folder::new();
    for (certificate, key) in
        [("rsa.pem", "rsa-pkcs1-key.pem"), ("rsa.pem", "rsa-pkcs8-key.pem"), ("ec.pem", "ec-sec1-key.pem")]
    {
        let facts = assert_used(&corpus_pair(&folder, certificate, key));
        assert_eq!(facts.names, [certificate.replace(".pem", ".example")]);
    }
    let facts = assert_used(&folder.self_signed("pkcs8", &["A.example", "*.b.example"]));
    assert_eq!((facts.subject.as_str(), facts.names), ("CN=A.example", vec!["a.example".into(), "*.b.example".into()]));
}

#[test]
fn a_chain_and_its_key_may_be_in_one_file() {
    let (folder, root) = (Folder::new(), root("Root"));
    let between = intermediate("Between", &root);
    let (certificate, key) = leaf(&["a.example"], &between);
    let file = folder.write("all.pem", &[key, certificate, between.pem(), root.pem()].concat());
    assert_used(&PairFiles { certificate: file.clone(), key: file });
}

#[test]
fn an_encrypted_key_is_refused_with_a_way_on() {
    let folder = Folder::new();
    for (certificate, key) in [("rsa.pem", "rsa-encrypted-key.pem"), ("ec.pem", "ec-encrypted-key.pem")] {
        let files = corpus_pair(&folder, certificate, key);
        let way_on = format!("openssl pkey -in {} -out NEW-FILE decrypts it", files.key.display());
        assert_refused(&files, FileKind::Key, &way_on);
    }
}

#[test]
fn what_is_no_pem_is_refused() {
    let folder = Folder::new();
    let (certificate, key) = self_signed(&["a.example"]);
    let good = folder.pair("good", &certificate, &key);
    let with_certificate = |content: &str| PairFiles { certificate: folder.write("c.pem", content), ..good.clone() };
    let with_key = |content: &str| PairFiles { key: folder.write("k.pem", content), ..good.clone() };
    assert_refused(&with_certificate(""), FileKind::Certificate, "there is no certificate in it");
    assert_refused(
        &with_certificate("-----BEGIN CERTIFICATE-----\nMIIB"),
        FileKind::Certificate,
        "it ends in the middle",
    );
    let cut = &certificate[..certificate.len() / 2];
    assert_refused(&with_certificate(cut), FileKind::Certificate, "it ends in the middle");
    let garbled = certificate.replace("MII", "!!!");
    assert_refused(&with_certificate(&garbled), FileKind::Certificate, "a section is no base64");
    let empty = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    assert_refused(&with_certificate(empty), FileKind::Certificate, "certificate 1 cannot be read");
    assert_refused(&with_certificate("0\u{1}\u{2}"), FileKind::Certificate, "it is DER, and PEM is expected");
    assert_refused(&with_key("no key"), FileKind::Key, "there is no key in it");
    let empty = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    assert_refused(&with_key(empty), FileKind::Key, "the key cannot be used");
    let missing = PairFiles { key: folder.0.join("missing.pem"), ..good.clone() };
    assert_refused(&missing, FileKind::Key, "there is no such file");
    let directory = PairFiles { certificate: folder.0.clone(), ..good.clone() };
    assert_refused(&directory, FileKind::Certificate, "it is no regular file");
    let large = with_certificate(&" ".repeat(2 * 1024 * 1024));
    assert_refused(&large, FileKind::Certificate, "it is larger than 1MiB");
}

#[test]
fn files_that_are_swapped_or_do_not_fit_are_refused() {
    let folder = Folder::new();
    let (one, other) = (folder.self_signed("one", &["one.example"]), folder.self_signed("other", &["other.example"]));
    let swapped = PairFiles { certificate: one.key.clone(), key: one.certificate.clone() };
    assert_refused(&swapped, FileKind::Certificate, "are certificate and key swapped?");
    let twice = PairFiles { certificate: one.certificate.clone(), key: one.certificate.clone() };
    assert_refused(&twice, FileKind::Key, "are certificate and key swapped?");
    let mixed = PairFiles { certificate: one.certificate, key: other.key };
    assert_refused(&mixed, FileKind::Key, "does not fit the certificate");
    let of_other_kind = PairFiles { certificate: corpus("rsa.pem"), key: mixed.key };
    assert_refused(&of_other_kind, FileKind::Key, "rsa.pem (CN=rsa.example)");
}

#[test]
fn a_chain_out_of_order_is_refused() {
    let (folder, root) = (Folder::new(), root("Root"));
    let (upper, other) = (intermediate("Upper", &root), intermediate("Other", &root));
    let lower = intermediate("Lower", &upper);
    let (certificate, key) = leaf(&["a.example"], &lower);
    let pair = |chain: &[&str]| folder.pair("x", &chain.concat(), &key);
    let (lower, upper, root, other) = (lower.pem(), upper.pem(), root.pem(), other.pem());
    assert_used(&pair(&[&certificate, &lower, &upper]));
    assert_used(&pair(&[&certificate, &lower, &upper, &root]));
    assert_used(&pair(&[&certificate, &lower]));
    let refused = |chain: &[&str], problem| assert_refused(&pair(chain), FileKind::Certificate, problem);
    refused(&[&lower, &certificate], "the key is that of certificate 2 (CN=a.example), which must be the first");
    refused(&[&certificate, &upper, &lower], "certificate 1 (CN=a.example) must be followed by that of its issuer");
    refused(&[&certificate, &upper, &lower], "which is certificate 3");
    refused(&[&certificate, &lower, &root, &upper], "certificate 2 (CN=Lower) must be followed");
    let odd = pair(&[&certificate, &lower, &other]);
    assert_warned(&odd, &odd.certificate, "certificate 3 (CN=Other) is not the issuer of certificate 2 (CN=Lower)");
    let alone = pair(&[&certificate]);
    assert_warned(&alone, &alone.certificate, "the certificate of its issuer (CN=Lower) is missing");
}

#[test]
fn a_certificate_without_names_is_a_warning() {
    let folder = Folder::new();
    let nameless = folder.self_signed("nameless", &[]);
    assert_warned(&nameless, &nameless.certificate, "CN=nameless has no names (subjectAltName)");
    assert_eq!(assert_used(&folder.self_signed("ip", &["127.0.0.1"])).names, [""; 0]);
}

#[test]
fn times_and_modes_are_warnings() {
    let (folder, now) = (Folder::new(), SystemTime::now());
    let day = Duration::from_secs(86_400);
    let pair = |name: &str, from: SystemTime, to: SystemTime| {
        let (mut params, key) = (params(&["a.example"]), KeyPair::generate().unwrap());
        (params.not_before, params.not_after) = (from.into(), to.into());
        folder.pair(name, &params.self_signed(&key).unwrap().pem(), &key.serialize_pem())
    };
    let expired = pair("expired", now - 9 * day, now - 2 * day - day / 2);
    assert_warned(&expired, &expired.certificate, "CN=a.example has expired 2 days ago");
    let early = pair("early", now + day + day / 2, now + 9 * day);
    assert_warned(&early, &early.certificate, "is not valid before 1 day from now");
    let open = pair("open", now - day, now + 9 * day);
    let facts = assert_used(&open);
    assert!(facts.not_after.duration_since(now).unwrap() > 8 * day);
    fs::set_permissions(&open.key, fs::Permissions::from_mode(0o640)).unwrap();
    assert_used(&open);
    fs::set_permissions(&open.key, fs::Permissions::from_mode(0o644)).unwrap();
    assert_warned(&open, &open.key, "every user of this machine may read the key");
}
