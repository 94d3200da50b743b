use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls12Resumption, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{CipherSuite, Error, HandshakeKind, NamedGroup, ProtocolVersion};

use super::super::PairFiles;
use super::super::test_pki::{
    Folder, chain, client_config, client_config_of, handshake, options, presented, self_signed,
};
use super::*;

fn live(folder: &Folder) -> LiveConfig {
    LiveConfig::load(options([folder.self_signed("a", &["a.example"])]), &mut |line| panic!("{line}")).unwrap()
}

#[test]
fn a_handshake_is_as_safe_as_the_client_can() {
    let (folder, schemes) = (Folder::new(), provider().signature_verification_algorithms.supported_schemes());
    let live = live(&folder);
    for (version, expected) in [(&TLS13, ProtocolVersion::TLSv1_3), (&TLS12, ProtocolVersion::TLSv1_2)] {
        let client = Arc::new(client_config_of(schemes.clone(), &[version]));
        let server =
            handshake(live.current(), &client, "a.example").unwrap_or_else(|(error, _)| panic!("{error}")).server;
        let group = server.negotiated_key_exchange_group().map(|group| group.name());
        let best = if cfg!(feature = "tls") { NamedGroup::X25519MLKEM768 } else { NamedGroup::X25519 };
        let of_version = if expected == ProtocolVersion::TLSv1_3 { best } else { NamedGroup::X25519 };
        assert_eq!((server.protocol_version(), group), (Some(expected), Some(of_version)));
        assert_eq!((server.handshake_kind(), server.alpn_protocol()), (Some(HandshakeKind::Full), None));
        let suite = server.negotiated_cipher_suite().map(|suite| suite.suite());
        assert_ne!(suite, Some(CipherSuite::TLS_NULL_WITH_NULL_NULL));
    }
    assert_eq!(live.current().max_early_data_size, 0, "what comes early could be replayed");
}

#[test]
fn a_protocol_that_nobody_speaks_is_refused() {
    let folder = Folder::new();
    let live = live(&folder);
    let client = |protocols: &[&str]| {
        // In TLS 1.2 the alert is not encrypted and can be read off the wire.
        let schemes = provider().signature_verification_algorithms.supported_schemes();
        let mut config = client_config_of(schemes, &[&TLS12]);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    };
    let ends = handshake(live.current(), &client(&["spdy/1", "http/1.1"]), "a.example");
    assert_eq!(ends.unwrap_or_else(|(error, _)| panic!("{error}")).server.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (error, alert) = handshake(live.current(), &client(&["spdy/1"]), "a.example").err().unwrap();
    assert_eq!((error, alert.last()), (Error::NoApplicationProtocol, Some(&120)));
}

#[test]
fn http2_is_preferred_where_it_is_offered() {
    let folder = Folder::new();
    let pair = folder.self_signed("a", &["a.example"]);
    let agreed = |offers_http2, protocols: &[&str]| {
        let options = TlsOptions { offers_http2, ..options([pair.clone()]) };
        let live = LiveConfig::load(options, &mut |line| panic!("{line}")).unwrap();
        let mut config = client_config();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let ends = handshake(live.current(), &Arc::new(config), "a.example");
        let ends = ends.map_err(|(error, _)| error)?;
        Ok(ends.server.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned()))
    };
    let is = |protocol: &str| Ok(Some(protocol.to_owned()));
    let both = ["http/1.1", "h2"];
    assert_eq!([agreed(true, &both), agreed(false, &both)], [is("h2"), is("http/1.1")]);
    assert_eq!([agreed(true, &both[..1]), agreed(true, &[])], [is("http/1.1"), Ok(None)]);
    assert_eq!(agreed(true, &["h2"]), is("h2"));
    assert_eq!(agreed(false, &["h2"]), Err(Error::NoApplicationProtocol));
    assert!(!TlsOptions::default().offers_http2);
}

#[test]
fn certificates_can_be_told() {
    let folder = Folder::new();
    let certificates = live(&folder).certificates();
    assert_eq!((certificates.len(), &certificates[0].names[..]), (1, &["a.example".to_string()][..]));
    let fingerprint = &certificates[0].fingerprint;
    assert!(fingerprint.len() == 64 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()), "{fingerprint}");
}

#[test]
fn what_is_given_twice_is_there_once_and_warned_of_once() {
    let folder = Folder::new();
    let (one, other) = (folder.self_signed("a", &["a.example"]), folder.self_signed("b", &["b.example"]));
    for file in [&one.key, &other.key] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let mut warnings = Vec::new();
    let pairs = [&one, &other, &one, &one].map(Clone::clone);
    let live = LiveConfig::load(options(pairs), &mut |line| warnings.push(line)).unwrap();
    let files: Vec<_> = live.certificates().into_iter().map(|facts| facts.file).collect();
    assert_eq!(files, [one.certificate, other.certificate]);
    assert_eq!(live.offer(Some("a.example")).certificates.unwrap().len(), 1);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for (warning, key) in warnings.iter().zip([&one.key, &other.key]) {
        assert!(warning.starts_with(&key.display().to_string()), "{warning}");
    }
}

/// What is in a pair's files, by another name, or newly made.
fn copy(from: &PairFiles, to: &PairFiles) {
    replace(&from.certificate, &to.certificate);
    replace(&from.key, &to.key);
}

/// As who renews a certificate does it: the new file takes the place of the old one at once.
fn replace(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    fs::copy(from, &new).unwrap();
    fs::rename(new, to).unwrap();
}

fn levels(news: &[(Level, String)]) -> Vec<Level> {
    news.iter().map(|(level, _)| *level).collect()
}

#[test]
fn new_handshakes_get_the_new_certificate_and_old_sessions_live_on() {
    let folder = Folder::new();
    let (used, next) = (folder.self_signed("used", &["a.example"]), folder.self_signed("next", &["b.example"]));
    let live = LiveConfig::load(options([used.clone()]), &mut |_| {}).unwrap();
    let (before, old) = (live.current(), chain(&used));
    let session = handshake(Arc::clone(&before), &Arc::new(client_config()), "a.example");
    assert_eq!(live.refresh(Occasion::Check), []);
    copy(&next, &used);
    let news = live.refresh(Occasion::Check);
    assert_eq!((levels(&news), news[0].1.ends_with(": CN=b.example")), (vec![Level::Info], true), "{news:?}");
    assert_eq!(presented(live.current(), "a.example").unwrap(), chain(&next)[0]);
    assert_eq!(presented(before, "a.example").unwrap(), old[0]);
    assert_eq!(live.certificates()[0].names, ["b.example"]);
    session.unwrap_or_else(|(error, _)| panic!("{error}")).client.process_new_packets().unwrap();
    assert_eq!(live.refresh(Occasion::Check), []);
    assert_eq!(levels(&live.refresh(Occasion::Order)), [Level::Info], "an order is answered");
}

#[test]
fn half_a_pair_changes_nothing_and_is_complained_of_once() {
    let folder = Folder::new();
    let next = folder.self_signed("next", &["b.example"]);
    for certificate_first in [true, false] {
        let used = folder.self_signed("used", &["a.example"]);
        let old = chain(&used);
        let live = LiveConfig::load(options([used.clone()]), &mut |_| {}).unwrap();
        let steps = [(&next.certificate, &used.certificate), (&next.key, &used.key)];
        let (first, second) = if certificate_first { (steps[0], steps[1]) } else { (steps[1], steps[0]) };
        replace(first.0, first.1);
        let news = live.refresh(Occasion::Check);
        assert_eq!(levels(&news), [Level::Error]);
        assert!(news[0].1.contains("the files in use stay in use") && news[0].1.contains("does not fit"), "{news:?}");
        assert_eq!(live.refresh(Occasion::Check), []);
        assert_eq!(live.refresh(Occasion::Check), []);
        assert_eq!(levels(&live.refresh(Occasion::Order)), [Level::Error], "who asks is told again");
        assert_eq!(presented(live.current(), "a.example").unwrap(), old[0]);
        replace(second.0, second.1);
        assert_eq!(levels(&live.refresh(Occasion::Check)), [Level::Info]);
        assert_eq!(presented(live.current(), "a.example").unwrap(), chain(&next)[0]);
    }
}

#[test]
fn a_broken_file_changes_nothing_until_it_is_mended() {
    let folder = Folder::new();
    let used = folder.self_signed("used", &["a.example"]);
    let good = fs::read_to_string(&used.certificate).unwrap();
    let live = LiveConfig::load(options([used.clone()]), &mut |_| {}).unwrap();
    let breaks: [&dyn Fn(); 4] = [
        &|| fs::remove_file(&used.certificate).unwrap(),
        &|| fs::write(&used.certificate, "").unwrap(),
        &|| fs::write(&used.certificate, &good[..good.len() / 2]).unwrap(),
        &|| fs::write(&used.certificate, self_signed(&["other.example"]).0).unwrap(),
    ];
    for (number, break_it) in breaks.into_iter().enumerate() {
        break_it();
        assert_eq!(levels(&live.refresh(Occasion::Check)), [Level::Error], "{number}");
        assert_eq!(live.refresh(Occasion::Check), [], "{number}");
        assert_eq!(live.certificates()[0].names, ["a.example"]);
    }
    fs::write(&used.certificate, good).unwrap();
    assert_eq!(levels(&live.refresh(Occasion::Check)), [Level::Info], "what was complained of is over");
    assert_eq!(live.refresh(Occasion::Check), []);
}

#[test]
fn a_change_is_noticed_by_the_file_behind_a_link_and_without_another_time_of_modification() {
    let folder = Folder::new();
    let (one, two) = (folder.self_signed("one", &["a.example"]), folder.self_signed("two", &["b.example"]));
    // As Kubernetes mounts secrets: the link to the folder changes, and with it all files at once.
    for (name, files) in [("1", &one), ("2", &two)] {
        fs::create_dir(folder.0.join(name)).unwrap();
        fs::copy(&files.certificate, folder.0.join(name).join("tls.crt")).unwrap();
        fs::copy(&files.key, folder.0.join(name).join("tls.key")).unwrap();
    }
    let link = folder.0.join("data");
    symlink(folder.0.join("1"), &link).unwrap();
    let files = PairFiles { certificate: link.join("tls.crt"), key: link.join("tls.key") };
    let live = LiveConfig::load(options([files]), &mut |_| {}).unwrap();
    symlink(folder.0.join("2"), folder.0.join("new")).unwrap();
    fs::rename(folder.0.join("new"), &link).unwrap();
    assert_eq!(levels(&live.refresh(Occasion::Check)), [Level::Info]);
    assert_eq!(live.certificates()[0].names, ["b.example"]);

    // Both certificates are as long as each other, and a copy may keep the time.
    let live = LiveConfig::load(options([one.clone()]), &mut |_| {}).unwrap();
    let modified = fs::metadata(&one.certificate).unwrap().modified().unwrap();
    copy(&two, &one);
    for file in [&one.certificate, &one.key] {
        File::options().write(true).open(file).unwrap().set_modified(modified).unwrap();
    }
    assert_eq!(levels(&live.refresh(Occasion::Check)), [Level::Info]);
}

#[test]
fn sessions_are_resumed_after_a_change() {
    let folder = Folder::new();
    let schemes = provider().signature_verification_algorithms.supported_schemes();
    for (version, tickets) in [
        (&TLS13, Tls12Resumption::SessionIdOrTickets),
        (&TLS12, Tls12Resumption::SessionIdOrTickets),
        (&TLS12, Tls12Resumption::SessionIdOnly),
    ] {
        let (used, next) = (folder.self_signed("used", &["a.example"]), folder.self_signed("next", &["b.example"]));
        let live = LiveConfig::load(options([used.clone()]), &mut |_| {}).unwrap();
        let mut client = client_config_of(schemes.clone(), &[version]);
        client.resumption = Resumption::in_memory_sessions(8).tls12_resumption(tickets);
        let client = Arc::new(client);
        let kind = || {
            let ends = handshake(live.current(), &client, "a.example").unwrap_or_else(|(error, _)| panic!("{error}"));
            ends.server.handshake_kind()
        };
        assert_eq!([kind(), kind()], [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], "{version:?}");
        copy(&next, &used);
        assert_eq!(levels(&live.refresh(Occasion::Check)), [Level::Info]);
        assert_eq!(kind(), Some(HandshakeKind::Resumed), "{version:?}");
    }
}

/// Whether a client of TLS 1.2 or 1.3 that has a ticket resumes its session.
fn resumes(live: &LiveConfig, client: &Arc<rustls::ClientConfig>) -> bool {
    let server = handshake(live.current(), client, "a.example").unwrap_or_else(|(error, _)| panic!("{error}")).server;
    server.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[test]
fn other_options_are_taken_and_sessions_are_resumed_all_the_same() {
    let folder = Folder::new();
    let (live, client) = (live(&folder), Arc::new(client_config()));
    assert!(!resumes(&live, &client) && resumes(&live, &client));
    let names = |live: &LiveConfig| live.certificates().into_iter().flat_map(|facts| facts.names).collect::<Vec<_>>();
    let next = TlsOptions {
        offers_http2: true,
        ..options([folder.self_signed("b", &["b.example"]), folder.self_signed("a", &["a.example"])])
    };
    let next = live.prepare(next, &mut |line| panic!("{line}")).unwrap();
    assert_eq!(
        (names(&live), next.certificates().len()),
        (vec!["a.example".to_owned()], 2),
        "nothing has changed so far"
    );
    live.take(next);
    assert_eq!(names(&live), ["b.example", "a.example"]);
    assert_eq!(live.offer(None).protocols, ["h2", "http/1.1"]);
    assert!(resumes(&live, &client));
    // The new files are those that are looked at.
    assert!(live.refresh(Occasion::Check).is_empty());
    let [b, c] = ["b", "c"].map(|name| folder.self_signed(name, &[&*format!("{name}2.example")]));
    replace(&c.key, &b.key);
    replace(&c.certificate, &b.certificate);
    assert_eq!(levels(&live.refresh(Occasion::Check)), [Level::Info]);
    assert_eq!(names(&live), ["c2.example", "a.example"]);
}

#[test]
fn options_that_cannot_be_used_change_nothing() {
    let folder = Folder::new();
    let live = live(&folder);
    let mut wrong = folder.self_signed("b", &["b.example"]);
    wrong.key = "/nowhere".into();
    assert!(live.prepare(options([wrong]), &mut |_| {}).is_err());
    assert_eq!(live.certificates()[0].names, ["a.example"]);
}

/// Who resumes a session is not asked for a certificate.
#[test]
fn nobody_resumes_a_session_of_which_less_was_asked() {
    let folder = Folder::new();
    let pair = folder.self_signed("a", &["a.example"]);
    let authority = folder.self_signed("authority", &["authority.example"]).certificate;
    let asking = |authentication| {
        let clients = Some(super::super::ClientOptions { authorities: authority.clone(), authentication });
        TlsOptions { clients, ..options([pair.clone()]) }
    };
    let live = LiveConfig::load(options([pair.clone()]), &mut |_| {}).unwrap();
    let client = Arc::new(client_config());
    for (next, is_resumed) in [
        (options([pair.clone()]), true),
        (asking(ClientAuthentication::Optional), false),
        (asking(ClientAuthentication::Optional), true),
    ] {
        assert!(resumes(&live, &client) || resumes(&live, &client));
        live.take(live.prepare(next, &mut |_| {}).unwrap());
        assert_eq!(resumes(&live, &client), is_resumed);
    }
    live.take(live.prepare(asking(ClientAuthentication::Required), &mut |_| {}).unwrap());
    let refused = handshake(live.current(), &client, "a.example").err().map(|(error, _)| error);
    assert_eq!(refused, Some(Error::NoCertificatesPresented));
}

#[test]
fn tickets_are_two_a_handshake() {
    #[derive(Debug, Default)]
    struct Tickets(AtomicUsize);
    impl ClientSessionStore for Tickets {
        fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
        fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
            None
        }
        fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}
        fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
            None
        }
        fn remove_tls12_session(&self, _: &ServerName<'static>) {}
        fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
            None
        }
    }
    let (folder, tickets, mut client) = (Folder::new(), Arc::new(Tickets::default()), client_config());
    client.resumption = Resumption::store(Arc::clone(&tickets) as Arc<dyn ClientSessionStore>);
    assert!(handshake(live(&folder).current(), &Arc::new(client), "a.example").is_ok());
    assert_eq!(tickets.0.load(Ordering::Relaxed), 2);
}

/// Somebody replaces both files again and again, in both orders and in place, while they are looked at. A handshake with half
/// a pair would fail: the client verifies the signature with the certificate's key.
#[test]
fn nobody_ever_gets_half_a_pair() {
    let folder = Folder::new();
    let (used, others) = (
        folder.self_signed("used", &["a.example"]),
        ["b", "c"].map(|name| folder.self_signed(name, &[&format!("{name}.example")])),
    );
    let live = LiveConfig::load(options([used.clone()]), &mut |_| {}).unwrap();
    let (done, client) = (AtomicBool::new(false), Arc::new(client_config()));
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..100 {
                let other = &others[round % 2];
                match round / 2 % 3 {
                    0 => copy(other, &used),
                    1 => {
                        replace(&other.key, &used.key);
                        replace(&other.certificate, &used.certificate);
                    }
                    _ => {
                        fs::copy(&other.certificate, &used.certificate).unwrap();
                        fs::copy(&other.key, &used.key).unwrap();
                    }
                }
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                live.refresh(Occasion::Order);
            }
        });
        while !done.load(Ordering::Acquire) {
            handshake(live.current(), &client, "a.example").unwrap_or_else(|(error, _)| panic!("{error}"));
        }
    });
    live.refresh(Occasion::Check);
    assert_eq!(presented(live.current(), "a.example").unwrap(), chain(&used)[0]);
}
