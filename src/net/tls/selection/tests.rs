use std::path::PathBuf;
use std::time::SystemTime;

use proptest::prelude::*;
use rustls::pki_types::CertificateDer;

use super::super::provider::provider;
use super::super::test_pki::{Folder, chain, client_config_of, corpus, handshake, options, presented};
use super::super::{CertificateFacts, LiveConfig, PairFiles, TlsOptions};
use super::*;

/// Pairs for these names, all with the same key: what they are told apart by is their content.
fn pairs(names: &[Vec<String>]) -> Vec<Pair> {
    let key = rcgen::KeyPair::generate().unwrap().serialize_der();
    let key = provider().key_provider.load_private_key(key.try_into().unwrap()).unwrap();
    let pair = |(index, names): (usize, &Vec<String>)| Pair {
        certified: Arc::new(CertifiedKey::new(vec![CertificateDer::from(vec![index as u8])], Arc::clone(&key))),
        facts: CertificateFacts {
            file: PathBuf::new(),
            subject: String::new(),
            names: names.clone(),
            fingerprint: String::new(),
            not_after: SystemTime::UNIX_EPOCH,
        },
    };
    names.iter().enumerate().map(pair).collect()
}

fn chosen(selection: &Selection, name: Option<&str>) -> Option<usize> {
    selection.choose(name, &[SignatureScheme::ECDSA_NISTP256_SHA256]).map(|pair| usize::from(pair.cert[0][0]))
}

/// RFC 9525 §6.3, label by label.
fn names_it(presented: &str, asked: &str) -> bool {
    let (presented, asked): (Vec<&str>, Vec<&str>) = (presented.split('.').collect(), asked.split('.').collect());
    let is_same = |(one, other): (&&str, &&str)| one.eq_ignore_ascii_case(other);
    presented.len() == asked.len()
        && (presented[0] == "*" && !asked[0].is_empty() || is_same((&presented[0], &asked[0])))
        && presented[1..].iter().zip(&asked[1..]).all(is_same)
}

fn naive(names: &[Vec<String>], asked: Option<&str>, strict: bool) -> Option<usize> {
    let having = |wildcard: bool| {
        let is_meant = |name: &&String| name.starts_with("*.") == wildcard && names_it(name, asked.unwrap_or(""));
        names.iter().position(|names| names.iter().find(is_meant).is_some())
    };
    having(false).or_else(|| having(true)).or(if strict { None } else { Some(0) })
}

fn name() -> impl Strategy<Value = String> {
    // So few that names meet often.
    let label = prop_oneof![Just("a"), Just("b")];
    prop::collection::vec(label, 1..4).prop_map(|labels| labels.join("."))
}

fn presented_name() -> impl Strategy<Value = String> {
    (any::<bool>(), name()).prop_map(|(wildcard, name)| if wildcard { format!("*.{name}") } else { name })
}

proptest! {
    #[test]
    fn the_choice_is_that_of_a_naive_search(
        names in prop::collection::vec(prop::collection::vec(presented_name(), 0..3), 1..5),
        asked in prop::option::of((name(), any::<bool>())),
        strict: bool,
    ) {
        let asked = asked.map(|(name, upper)| if upper { name.to_uppercase() } else { name });
        let selection = Selection::new(&pairs(&names), strict);
        prop_assert_eq!(chosen(&selection, asked.as_deref()), naive(&names, asked.as_deref(), strict));
    }
}

#[test]
fn a_wildcard_is_one_label_and_gives_way_to_the_name_itself() {
    let names =
        [vec!["default".into()], vec!["*.example.org".into(), "w*.example.org".into()], vec!["www.example.org".into()]];
    let selection = Selection::new(&pairs(&names), false);
    for (asked, expected) in [
        ("www.example.org", 2),
        ("WWW.Example.ORG", 2),
        ("www.example.org.", 2),
        ("w.example.org", 1),
        ("example.org", 0),
        ("a.b.example.org", 0),
        (".example.org", 0),
        ("", 0),
    ] {
        assert_eq!(chosen(&selection, Some(asked)), Some(expected), "{asked}");
    }
}

#[test]
fn a_refused_name_has_its_own_alert() {
    let folder = Folder::new();
    let (one, other) = (folder.self_signed("one", &["one.example"]), folder.self_signed("other", &["*.other.example"]));
    let load = |strict_sni| {
        let options = TlsOptions { strict_sni, ..options([one.clone(), other.clone()]) };
        LiveConfig::load(options, &mut |_| {}).unwrap()
    };
    let is_first = |certificate: &CertificateDer<'_>| *certificate == chain(&one)[0];
    for name in ["one.example", "unknown.example", "127.0.0.1"] {
        assert!(is_first(&presented(load(false).current(), name).unwrap()), "{name}");
    }
    assert!(!is_first(&presented(load(false).current(), "a.OTHER.example").unwrap()));
    assert!(is_first(&presented(load(true).current(), "one.example").unwrap()));
    for name in ["unknown.example", "other.example", "127.0.0.1"] {
        let (error, wire) = presented(load(true).current(), name).unwrap_err();
        let alert = refusal_alert(&error).unwrap_or_else(|| panic!("{error}"));
        // What rustls has queued differs in nothing but the description, access_denied.
        assert_eq!((wire.len(), &wire[..6], wire[6], alert[6]), (7, &alert[..6], 49, 112), "{name}");
    }
}

#[test]
fn the_key_is_one_that_the_client_understands() {
    let folder = Folder::new();
    let ecdsa = folder.self_signed("ecdsa", &["rsa.example"]);
    let rsa = PairFiles { certificate: corpus("rsa.pem"), key: corpus("rsa-pkcs8-key.pem") };
    let files = [ecdsa, rsa];
    let live = LiveConfig::load(options(files.clone()), &mut |_| {}).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (scheme, index) in [(SignatureScheme::ECDSA_NISTP256_SHA256, 0), (SignatureScheme::RSA_PSS_SHA256, 1)] {
            for name in ["rsa.example", "unknown.example", "127.0.0.1"] {
                let client = Arc::new(client_config_of(vec![scheme], &[version]));
                let ends = handshake(live.current(), &client, name).unwrap_or_else(|(error, _)| panic!("{error}"));
                let presented = &ends.client.peer_certificates().unwrap()[0];
                assert_eq!(*presented, chain(&files[index])[0], "{scheme:?} {name}");
            }
        }
    }
}
