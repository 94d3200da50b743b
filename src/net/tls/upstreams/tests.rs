use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use rustls::ServerConfig;

use super::super::test_end::TestEnd;
use super::super::test_pki::{Authority, Folder, leaf, options, params, root, self_signed};
use super::super::{LiveConfig, PairFiles, RECORD_WIRE_MAX};
use super::*;
use crate::base::ring::RingBuffer;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// An upstream with a certificate, and who trusts its authority.
struct Upstream {
    folder: Folder,
    authority: Authority,
    server: LiveConfig,
}

fn load(pair: PairFiles) -> LiveConfig {
    LiveConfig::load(options([pair]), &mut |_| {}).unwrap()
}

impl Upstream {
    fn new(names: &[&str]) -> Upstream {
        let (folder, authority) = (Folder::new(), root("Authority"));
        let (certificate, key) = leaf(names, &authority);
        let server = load(folder.pair("upstream", &certificate, &key));
        Upstream { folder, authority, server }
    }

    /// A client that trusts the authority of the upstream, and speaks this version.
    fn tls(&self, version: &'static SupportedProtocolVersion) -> UpstreamTls {
        let tls = self.load_tls();
        let roots = authorities::in_pem(self.authority.pem().as_bytes()).unwrap();
        *lock(&tls.current) = config(roots, &[version], &SessionKeys::default()).unwrap();
        tls
    }

    /// The same with a file.
    fn load_tls(&self) -> UpstreamTls {
        UpstreamTls::load(Some(&self.folder.write("ca.pem", &self.authority.pem())), SessionKeys::default()).unwrap()
    }
}

/// A session with the rings that a channel has.
struct Side {
    session: Session,
    incoming: RingBuffer,
    inbox: RingBuffer,
    outgoing: RingBuffer,
    /// What is still to be sent, and what was received.
    content: Vec<u8>,
    received: Vec<u8>,
    has_closed: bool,
    is_over: bool,
}

impl Side {
    fn new(session: Session, content: &[u8], [incoming, inbox, outgoing]: [usize; 3]) -> Side {
        let [incoming, inbox, outgoing] = [incoming, inbox, outgoing].map(RingBuffer::new);
        let (content, received) = (content.to_vec(), Vec::new());
        Side { session, incoming, inbox, outgoing, content, received, has_closed: false, is_over: false }
    }

    /// Decrypts what is there, encrypts what is to be sent, and at last says the end. Says whether anything moved.
    fn turn(&mut self, record_bytes: usize) -> Result<bool, Fault> {
        let before = (self.incoming.len(), self.content.len(), self.outgoing.len(), self.has_closed, self.is_over);
        let opened = self.session.open(&mut self.incoming, &mut self.inbox, &mut self.outgoing)?;
        self.is_over |= opened.is_over;
        self.received.extend(self.inbox.readable().concat());
        self.inbox.clear();
        let mut sealed = 0;
        let (content, incoming) = ([self.content.as_slice(), &[]], Some(&mut self.incoming));
        self.session.seal(content, record_bytes, incoming, &mut self.outgoing, |record| sealed += record.content)?;
        self.content.drain(..sealed);
        let is_last = self.content.is_empty() && !self.session.is_handshaking() && !self.has_closed;
        if is_last && self.outgoing.free() >= RECORD_WIRE_MAX {
            self.session.close(Some(&mut self.incoming), &mut self.outgoing)?;
            self.has_closed = true;
        }
        let after = (self.incoming.len(), self.content.len(), self.outgoing.len(), self.has_closed, self.is_over);
        Ok(opened.bytes > 0 || before != after)
    }

    /// Carries up to `most` bytes of ciphertext to the other side.
    fn carry(&mut self, to: &mut Side, most: usize) -> bool {
        let wire = self.outgoing.readable().concat();
        let n = to.incoming.put(&wire[..wire.len().min(most)]);
        self.outgoing.consume(n);
        n > 0
    }
}

/// Both sides until nothing moves, or one of them ends the connection.
fn talk(client: &mut Side, server: &mut Side, record_bytes: usize, most: usize) -> Result<(), Fault> {
    loop {
        let mut moved = client.turn(record_bytes)?;
        moved |= client.carry(server, most);
        let turned = server.turn(record_bytes);
        moved |= server.carry(client, most);
        // The alert of the server has to arrive before the client can say what it was.
        if let Err(fault) = turned {
            client.turn(record_bytes)?;
            return Err(fault);
        }
        if !moved && !turned? {
            return Ok(());
        }
    }
}

const LARGE: [usize; 3] = [68 * 1024; 3];

/// What becomes of a session between these two that carries a request and a response.
fn exchange(client: Session, server: Session) -> Result<[Side; 2], Fault> {
    let mut client = Side::new(client, b"request", LARGE);
    let mut server = Side::new(server, b"response", LARGE);
    talk(&mut client, &mut server, 1000, usize::MAX)?;
    assert_eq!((&client.received[..], &server.received[..]), (&b"response"[..], &b"request"[..]));
    assert!(client.is_over && server.is_over, "close_notify in both directions");
    Ok([client, server])
}

fn fault(client: Session, server: Session) -> String {
    exchange(client, server).err().expect("a fault").to_string()
}

#[test]
fn the_client_speaks_first() {
    let upstream = Upstream::new(&["a.example"]);
    let mut client = Side::new(upstream.load_tls().session("a.example").unwrap(), b"", LARGE);
    assert!(client.session.has_to_begin() && client.session.is_handshaking() && !client.session.awaits_hello());
    client.session.seal([&[], &[]], 1000, None, &mut client.outgoing, |_| panic!("no content")).unwrap();
    assert!(!client.session.has_to_begin() && client.session.is_handshaking());
    // Handshake, and a ClientHello in it (RFC 8446 §5.1, §4).
    let hello = client.outgoing.readable().concat();
    assert_eq!((hello[0], hello[5]), (22, 1));
    assert!(
        memchr::memmem::find(&hello, b"a.example").is_some() && memchr::memmem::find(&hello, b"http/1.1").is_some()
    );
}

#[test]
fn nobody_answers_and_nothing_is_made_of_that() {
    let upstream = Upstream::new(&["a.example"]);
    let mut client = Side::new(upstream.load_tls().session("a.example").unwrap(), b"request", LARGE);
    assert!(client.turn(1000).unwrap(), "the ClientHello");
    let hello = client.outgoing.len();
    for _ in 0..3 {
        assert!(!client.turn(1000).unwrap());
    }
    client.session.close(None, &mut client.outgoing).unwrap();
    assert_eq!((client.outgoing.len(), client.content.len()), (hello, 7));
    assert!(client.session.is_handshaking() && !client.session.has_ended());
}

#[test]
fn who_ends_before_it_began_says_nothing() {
    let upstream = Upstream::new(&["a.example"]);
    let mut client = Side::new(upstream.load_tls().session("a.example").unwrap(), b"", LARGE);
    client.session.close(None, &mut client.outgoing).unwrap();
    assert!(client.outgoing.is_empty());
}

#[test]
fn the_certificate_must_be_for_the_host() {
    let upstream = Upstream::new(&["a.example", "*.wild.example", "127.0.0.1", "::1"]);
    let tls = upstream.load_tls();
    let is_for = "it is for a.example, *.wild.example, 127.0.0.1 and 1 more";
    for (host, refused_as) in [
        ("a.example", None),
        ("A.Example.", None),
        ("x.wild.example", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("[::1]", None),
        ("b.example", Some("name b.example")),
        ("x.y.wild.example", Some("name x.y.wild.example")),
        ("127.0.0.2", Some("address 127.0.0.2")),
        ("[::2]", Some("address ::2")),
    ] {
        let outcome = exchange(tls.session(host).unwrap(), upstream.server.session().unwrap());
        match (outcome, refused_as) {
            (Ok([client, server]), None) => {
                let (ours, theirs) = (client.session.facts(), server.session.facts());
                assert_eq!(ours.protocol, Some("http/1.1"));
                let is_name = host.to_lowercase().contains("example");
                assert_eq!(
                    theirs.name.is_some(),
                    is_name,
                    "{host}: SNI is for names only (RFC 6066 §3), and not {theirs:?}"
                );
                assert!(!is_name || theirs.name == ours.name);
                assert_eq!((ours.client, theirs.client), (None, None));
            }
            (Err(fault), Some(kind)) => {
                let text = format!("the certificate is not valid for the {kind}: it is for ");
                assert!(fault.to_string().starts_with(&text), "{fault}");
                assert_eq!(fault.alert_of_ours(), Some("bad_certificate"));
            }
            (Ok(_), Some(_)) => panic!("{host} was accepted"),
            (Err(fault), None) => panic!("{host}: {fault}"),
        }
    }
    let text = fault(tls.session("b.example").unwrap(), upstream.server.session().unwrap());
    assert!(text.ends_with(is_for), "{text}");
}

#[test]
fn what_is_no_host_gets_no_session() {
    let upstream = Upstream::new(&["a.example"]);
    for host in ["", ".", "a b", "a..b", "[::1", "a.example:443", "ü.example", "1.2.3.4.5"] {
        let fault = upstream.load_tls().session(host).unwrap_err();
        assert!(fault.to_string().contains("neither a DNS name nor an IP address"), "{host}: {fault}");
        assert_eq!((fault.reason(), fault.alert_of_ours()), ("no_server_name", None));
    }
}

#[test]
fn each_certificate_that_is_refused_says_why() {
    let upstream = Upstream::new(&["a.example"]);
    let dated = |from: Duration, to: Duration| {
        let mut params = params(&["a.example"]);
        let now = SystemTime::now();
        (params.not_before, params.not_after) = ((now - from).into(), (now + to - Duration::from_hours(240)).into());
        let key = rcgen::KeyPair::generate().unwrap();
        (params.signed_by(&key, &upstream.authority).unwrap().pem(), key.serialize_pem())
    };
    let day = Duration::from_hours(24);
    let authority_alone = {
        let mut params = params(&["a.example"]);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.signed_by(&key, &upstream.authority).unwrap().pem(), key.serialize_pem())
    };
    let for_clients = {
        let mut params = params(&["a.example"]);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = rcgen::KeyPair::generate().unwrap();
        (params.signed_by(&key, &upstream.authority).unwrap().pem(), key.serialize_pem())
    };
    let soon = {
        let mut params = params(&["a.example"]);
        params.not_before = (SystemTime::now() + 5 * day + Duration::from_hours(1)).into();
        let key = rcgen::KeyPair::generate().unwrap();
        (params.signed_by(&key, &upstream.authority).unwrap().pem(), key.serialize_pem())
    };
    for ((certificate, key), text, alert) in [
        (self_signed(&["a.example"]), "the issuer of the certificate is unknown", "unknown_ca"),
        (leaf(&["a.example"], &root("Other")), "the issuer of the certificate is unknown", "unknown_ca"),
        (leaf(&[], &upstream.authority), "for the name a.example: it is for no name", "bad_certificate"),
        (dated(20 * day, 8 * day), "the certificate has expired 2 days ago", "certificate_expired"),
        (soon, "the certificate is not valid before 5 days from now", "certificate_expired"),
        (authority_alone, "that of an authority (CA:TRUE)", "certificate_unknown"),
        (for_clients, "not for servers", "unsupported_certificate"),
    ] {
        let server = load(upstream.folder.pair("other", &certificate, &key));
        for version in VERSIONS {
            let session = upstream.tls(version).session("a.example").unwrap();
            let fault = exchange(session, server.session().unwrap()).err().unwrap();
            assert!(fault.to_string().contains(text), "{fault}");
            assert_eq!((fault.alert_of_ours(), fault.alert_of_peer()), (Some(alert), None), "{fault}");
        }
    }
}

/// An upstream that says what no server of ours says.
fn server_of(upstream: &Upstream, change: impl FnOnce(&mut ServerConfig)) -> Arc<ServerConfig> {
    let mut config = (*upstream.server.current()).clone();
    change(&mut config);
    Arc::new(config)
}

#[test]
fn http_1_1_is_agreed_on_or_nothing_is() {
    let upstream = Upstream::new(&["a.example"]);
    for version in VERSIONS {
        let tls = upstream.tls(version);
        let without = server_of(&upstream, |config| config.alpn_protocols.clear());
        let [client, _] = exchange(tls.session("a.example").unwrap(), Session::new(without).unwrap()).unwrap();
        assert_eq!(client.session.protocol(), None, "an upstream that does not know of ALPN");
        let both = server_of(&upstream, |config| config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()]);
        let [client, _] = exchange(tls.session("a.example").unwrap(), Session::new(both).unwrap()).unwrap();
        assert_eq!(client.session.protocol(), Some("http/1.1"));
        let other = server_of(&upstream, |config| config.alpn_protocols = vec![b"h2".to_vec()]);
        let text = fault(tls.session("a.example").unwrap(), Session::new(other).unwrap());
        assert_eq!(text, "the upstream sent the alert no_application_protocol");
    }
}

#[test]
fn an_upstream_without_tls_is_recognised() {
    let upstream = Upstream::new(&["a.example"]);
    for answer in [&b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.6\r\n"] {
        let mut client = Side::new(upstream.load_tls().session("a.example").unwrap(), b"", LARGE);
        client.turn(1000).unwrap();
        client.has_closed = true;
        client.incoming.put(answer);
        let fault = client.turn(1000).unwrap_err();
        assert!(fault.to_string().contains("does not answer with TLS: perhaps it speaks plain HTTP"), "{fault}");
        assert!(!client.turn(1000).unwrap(), "nothing more is received or sent");
    }
}

#[test]
fn an_alert_of_the_upstream_is_told_as_its_alert() {
    let upstream = Upstream::new(&["a.example"]);
    let mut client = Side::new(upstream.load_tls().session("a.example").unwrap(), b"", LARGE);
    client.turn(1000).unwrap();
    client.incoming.put(&[21, 3, 3, 0, 2, 2, 40]);
    let fault = client.turn(1000).unwrap_err();
    assert_eq!(fault.to_string(), "the upstream sent the alert handshake_failure");
    assert_eq!(fault.alert_of_peer(), Some("handshake_failure"));
}

#[test]
fn sessions_are_resumed_with_the_same_host_only() {
    let upstream = Upstream::new(&["a.example", "b.example"]);
    for version in VERSIONS {
        let tls = upstream.tls(version);
        for (host, is_resumed) in [("a.example", false), ("a.example", true), ("b.example", false), ("a.example", true)]
        {
            let [client, server] = exchange(tls.session(host).unwrap(), upstream.server.session().unwrap()).unwrap();
            let facts = client.session.facts();
            assert_eq!((facts.is_resumed, server.session.is_resumed()), (is_resumed, is_resumed), "{host}: {facts:?}");
            assert!(facts.version.is_some() && facts.suite.is_some());
        }
    }
}

/// Carries ciphertext between both ends until nothing moves. Says how much of it was the client's, in bytes, and what content
/// has come to the upstream.
fn settle(client: &mut Side, upstream: &mut TestEnd) -> (usize, Vec<u8>) {
    let (mut said, mut content) = (0, Vec::new());
    while {
        let turned = client.turn(1000).unwrap();
        let wire = client.outgoing.readable().concat();
        client.outgoing.clear();
        said += wire.len();
        content.extend(upstream.open(&wire).unwrap());
        client.incoming.put(&upstream.flight()) > 0 || turned
    } {}
    (said, content)
}

#[test]
fn a_key_update_is_answered_although_there_is_nothing_to_send() {
    let (mut upstream, tls) = TestEnd::upstream("a.example");
    let mut client = Side::new(tls.session("a.example").unwrap(), b"", LARGE);
    client.has_closed = true;
    settle(&mut client, &mut upstream);
    assert!(!client.session.is_handshaking() && !upstream.is_handshaking());
    for round in 0..3 {
        client.incoming.put(&upstream.seal_key_update());
        let (said, _) = settle(&mut client, &mut upstream);
        assert_eq!(said, 27, "round {round}: a KeyUpdate, and nothing else");
        client.incoming.put(&upstream.seal("response"));
        client.content = b"request".to_vec();
        let (_, request) = settle(&mut client, &mut upstream);
        assert_eq!((request, std::mem::take(&mut client.received)), (b"request".to_vec(), b"response".to_vec()));
    }
}

#[test]
fn without_authorities_there_is_no_tls() {
    let folder = Folder::new();
    for (content, problem) in
        [("", "there is no certificate in it"), ("-----BEGIN CERTIFICATE-----\n", "in the middle")]
    {
        let error = UpstreamTls::load(Some(&folder.write("ca.pem", content)), SessionKeys::default()).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
    let error = UpstreamTls::load(Some(&folder.0.join("none.pem")), SessionKeys::default()).unwrap_err();
    assert!(error.contains("there is no such file"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn content_arrives_whole_in_rings_of_all_sizes(
        sizes in prop::array::uniform2((RECORD_WIRE_MAX..70_000, 1..40_000_usize, RECORD_WIRE_MAX..70_000)),
        lengths in prop::array::uniform2(0..100_000_usize),
        record_bytes in 1_000..20_000_usize,
        most in prop_oneof![1..100_usize, 100..70_000_usize],
        version in 0..2_usize,
    ) {
        // Small pieces make many turns.
        let lengths = lengths.map(|length| if most < 100 { length / 50 } else { length });
        thread_local! { static UPSTREAM: Upstream = Upstream::new(&["a.example"]) }
        let [client, server] = UPSTREAM.with(|upstream| {
            let tls = upstream.tls(VERSIONS[version]);
            [tls.session("a.example").unwrap(), upstream.server.session().unwrap()]
        });
        let content = lengths.map(|length| (0..length).map(|at| (at * 7 % 251) as u8).collect::<Vec<u8>>());
        let rings = sizes.map(|(incoming, inbox, outgoing)| [incoming, inbox, outgoing]);
        let mut client = Side::new(client, &content[0], rings[0]);
        let mut server = Side::new(server, &content[1], rings[1]);
        talk(&mut client, &mut server, record_bytes, most).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
        prop_assert!(client.received == content[1] && server.received == content[0]);
        prop_assert!(client.is_over && server.is_over && client.has_closed && server.has_closed);
    }
}

/// New sessions trust whom the file names now; what cannot be used changes nothing, and is told once.
#[test]
fn the_authorities_are_read_again() {
    let upstream = Upstream::new(&["a.example"]);
    let tls = upstream.load_tls();
    let is_trusted = || exchange(tls.session("a.example").unwrap(), upstream.server.session().unwrap()).is_ok();
    let news = |occasion| tls.refresh(occasion).into_iter().map(|(level, line)| format!("{level} {line}"));
    let news = |occasion| news(occasion).collect::<Vec<_>>();
    assert!(is_trusted());
    upstream.folder.write("ca.pem", &[root("Other").pem(), root("Another").pem()].concat());
    assert_eq!(news(Occasion::Check), ["INFO TLS to upstreams: new handshakes get what was read again: 2 authorities"]);
    assert!(!is_trusted(), "a session of another authority's time is not resumed either");
    upstream.folder.write("ca.pem", "nothing");
    let broken = news(Occasion::Check);
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].starts_with("ERROR TLS to upstreams: the files in use stay in use: "), "{broken:?}");
    assert!(broken[0].contains("/ca.pem: there is no certificate in it"), "{broken:?}");
    assert_eq!(news(Occasion::Check), [""; 0]);
    assert_eq!(news(Occasion::Order), broken);
    assert!(!is_trusted());
    upstream.folder.write("ca.pem", &upstream.authority.pem());
    assert_eq!(news(Occasion::Order), ["INFO TLS to upstreams: new handshakes get what was read again: 1 authority"]);
    assert!(is_trusted());
    assert_eq!(news(Occasion::Order), ["INFO TLS to upstreams: the files were read again and are those in use"]);
}

#[test]
fn the_keys_of_sessions_with_upstreams_are_logged() {
    let upstream = Upstream::new(&["a.example"]);
    let file = upstream.folder.0.join("keys");
    let keys = SessionKeys::open(Some(&file), None, &mut |_| {}).unwrap();
    let tls = UpstreamTls::load(Some(&upstream.folder.write("ca.pem", &upstream.authority.pem())), keys).unwrap();
    exchange(tls.session("a.example").unwrap(), upstream.server.session().unwrap()).unwrap();
    // The end of the last one who has it waits until all is written.
    drop(tls);
    let text = std::fs::read_to_string(&file).unwrap();
    for label in ["CLIENT_HANDSHAKE_TRAFFIC_SECRET ", "SERVER_TRAFFIC_SECRET_0 "] {
        assert_eq!(text.matches(label).count(), 1, "{text}");
    }
}
