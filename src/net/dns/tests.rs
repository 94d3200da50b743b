use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::*;

const A: u16 = 1;
const AAAA: u16 = 28;
const CNAME: u16 = 5;

/// What a query asks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    name: String,
    kind: u16,
    has_edns: bool,
    is_by_stream: bool,
    /// The port that it came from, and its id.
    port: u16,
    id: u16,
    /// Name, type and class as they were sent.
    question: Vec<u8>,
}

impl Asked {
    fn read(message: &[u8], port: u16, is_by_stream: bool) -> Asked {
        let mut labels = Vec::new();
        let mut at = 12;
        while message[at] > 0 {
            let end = at + 1 + usize::from(message[at]);
            labels.push(String::from_utf8(message[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        let (kind, id) =
            (u16::from_be_bytes([message[at + 1], message[at + 2]]), u16::from_be_bytes([message[0], message[1]]));
        let question = message[12..at + 5].to_vec();
        Asked { name: labels.join("."), kind, has_edns: message[11] == 1, is_by_stream, port, id, question }
    }

    /// A response with this flags and these records of the name: type, time, data.
    fn response(&self, flags: u16, records: &[(u16, u32, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.id, flags, 1, records.len() as u16, 0, 0] {
            out.extend(number.to_be_bytes());
        }
        out.extend(&self.question);
        for (kind, ttl, data) in records {
            out.extend([0xC0, 12]);
            out.extend(kind.to_be_bytes());
            out.extend([0, 1]);
            out.extend(ttl.to_be_bytes());
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        }
        out
    }

    /// A response that has one address, if it is asked for this type, and none otherwise.
    fn addresses(&self, of: &[(u16, &str, u32)]) -> Vec<u8> {
        let data = |text: &str| match text.parse().unwrap() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let records: Vec<_> = of
            .iter()
            .filter(|(kind, ..)| *kind == self.kind)
            .map(|(kind, text, ttl)| (*kind, *ttl, data(text)))
            .collect();
        self.response(0x8180, &records)
    }
}

type Behaviour = Arc<dyn Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync>;

/// A name server on 127.0.0.1, over UDP and TCP on one port.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// `behaviour` makes the messages that a query is answered with.
    fn new(behaviour: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Server {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            // Somebody else may have the same port over TCP.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let (address, behaviour): (_, Behaviour) = (udp.local_addr().unwrap(), Arc::new(behaviour));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let threads = vec![
            thread::spawn({
                let (asked, behaviour) = (Arc::clone(&asked), Arc::clone(&behaviour));
                move || serve_datagrams(&udp, &asked, &behaviour)
            }),
            thread::spawn({
                let asked = Arc::clone(&asked);
                move || serve_streams(&tcp, &asked, &behaviour)
            }),
        ];
        Server { address, asked, threads }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Which names it was asked for, of one type.
    fn names(&self) -> Vec<String> {
        self.asked().into_iter().filter(|asked| asked.kind == A).map(|asked| asked.name).collect()
    }
}

/// An empty message ends it.
fn serve_datagrams(udp: &UdpSocket, asked: &Mutex<Vec<Asked>>, behaviour: &Behaviour) {
    let mut message = [0; 4096];
    loop {
        let (n, from) = udp.recv_from(&mut message).unwrap();
        if n == 0 {
            return;
        }
        let question = Asked::read(&message[..n], from.port(), false);
        asked.lock().unwrap().push(question.clone());
        for response in behaviour(&question) {
            udp.send_to(&response, from).unwrap();
        }
    }
}

/// A connection without a query ends it.
fn serve_streams(tcp: &TcpListener, asked: &Mutex<Vec<Asked>>, behaviour: &Behaviour) {
    loop {
        let (mut stream, from) = tcp.accept().unwrap();
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            return;
        }
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut message).unwrap();
        let question = Asked::read(&message, from.port(), true);
        asked.lock().unwrap().push(question.clone());
        for response in behaviour(&question) {
            let bytes = [&(response.len() as u16).to_be_bytes(), &response[..]].concat();
            // In pieces, as the network may do it.
            for piece in bytes.chunks(7000) {
                stream.write_all(piece).unwrap();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[], self.address).unwrap();
        drop(std::net::TcpStream::connect(self.address).unwrap());
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn resolver(servers: &[&Server]) -> Resolver {
    let servers = servers.iter().map(|server| server.address).collect();
    Resolver { config: Config { servers, ..Config::default() }, hosts: String::new(), has_route: |_| true }
}

/// As `resolver`, for servers that are silent: there is little time.
fn impatient(servers: &[&Server]) -> Resolver {
    let mut resolver = resolver(servers);
    (resolver.config.total, resolver.config.other_family) = (Duration::from_millis(400), Duration::from_millis(200));
    resolver
}

fn told(resolved: Result<Resolved, ResolveError>) -> (Vec<String>, u64) {
    let resolved = resolved.unwrap_or_else(|error| panic!("{error}"));
    (resolved.addresses.iter().map(ToString::to_string).collect(), resolved.ttl.as_secs())
}

fn error(resolved: Result<Resolved, ResolveError>) -> String {
    resolved.expect_err("no addresses").to_string()
}

fn nothing(_: &Asked) -> Vec<Vec<u8>> {
    Vec::new()
}

const SERVFAIL: u16 = 0x8182;
const NXDOMAIN: u16 = 0x8183;

#[test]
fn both_families_are_asked_for_with_ids_and_ports_of_their_own() {
    let server = Server::new(|asked| {
        vec![asked.addresses(&[(A, "192.0.2.2", 60), (A, "192.0.2.1", 50), (AAAA, "2001:db8::1", 40)])]
    });
    let expected = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(str::to_owned).to_vec();
    for _ in 0..20 {
        assert_eq!(told(resolver(&[&server]).resolve("web.example")), (expected.clone(), 40));
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 40);
    assert!(asked.iter().all(|asked| asked.name == "web.example" && asked.has_edns && !asked.is_by_stream));
    let distinct = |of: fn(&Asked) -> u16| asked.iter().map(of).collect::<BTreeSet<u16>>().len();
    // Of so many random ones hardly any are the same.
    assert!(distinct(|asked| asked.id) > 35 && distinct(|asked| asked.port) > 30, "{asked:?}");
}

#[test]
fn what_has_no_route_is_left_out_unless_nothing_else_is_there() {
    let server = Server::new(|asked| vec![asked.addresses(&[(A, "192.0.2.1", 1), (AAAA, "2001:db8::1", 1)])]);
    let with = |has_route: fn(IpAddr) -> bool| told(Resolver { has_route, ..resolver(&[&server]) }.resolve("a.b")).0;
    assert_eq!(with(|address| address.is_ipv4()), ["192.0.2.1"]);
    assert_eq!(with(|_| false), ["192.0.2.1", "2001:db8::1"]);
    assert!(has_route(Ipv4Addr::LOCALHOST.into()));
}

#[test]
fn what_is_known_here_is_asked_of_nobody() {
    let server = Server::new(nothing);
    let hosts = "10.0.0.1 web.example web\nfd00::1 web\n10.0.0.3 localhost.example";
    let resolver = Resolver { hosts: hosts.to_owned(), ..resolver(&[&server]) };
    let far = Duration::MAX.as_secs();
    for (host, addresses, ttl) in [
        ("192.0.2.7", &["192.0.2.7"][..], far),
        ("::1", &["::1"], far),
        ("[2001:db8::1]", &["2001:db8::1"], far),
        ("WEB", &["10.0.0.1", "fd00::1"], 5),
        ("web.example.", &["10.0.0.1"], 5),
        ("localhost", &["127.0.0.1", "::1"], 5),
        ("a.localhost.", &["127.0.0.1", "::1"], 5),
    ] {
        let (found, seconds) = told(resolver.resolve(host));
        assert_eq!(
            (found.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), seconds),
            (addresses, ttl),
            "{host}"
        );
    }
    for host in ["", "a b", "a..b", "fe80::1%lo", "ü"] {
        assert!(error(resolver.resolve(host)).starts_with("no name of a host: "), "{host}");
    }
    assert_eq!(server.asked(), []);
}

#[test]
fn no_such_name_says_who_said_so() {
    let server = Server::new(|asked| vec![asked.response(NXDOMAIN, &[])]);
    let text = error(resolver(&[&server]).resolve("web.example"));
    assert_eq!(text, format!("no such name: web.example (NXDOMAIN from {})", server.address));
    assert_eq!(server.asked().len(), 2, "and nobody is asked again");
    let usual = ResolveError::NoSuchName(vec![Name::parse("x").unwrap()], "10.0.0.2:53".parse().unwrap());
    assert_eq!(usual.to_string(), "no such name: x (NXDOMAIN from 10.0.0.2)");
    let empty = Server::new(|asked| vec![asked.response(0x8180, &[])]);
    let text = error(resolver(&[&empty]).resolve("web.example"));
    assert_eq!(text, format!("no addresses: web.example (says {})", empty.address));
}

#[test]
fn addresses_of_one_family_do_although_the_other_is_denied() {
    let server = Server::new(|asked| match asked.kind {
        A => vec![asked.addresses(&[(A, "192.0.2.1", 9)])],
        // RFC 4074 §4.2.
        _ => vec![asked.response(NXDOMAIN, &[])],
    });
    assert_eq!(told(resolver(&[&server]).resolve("a.b")), (vec!["192.0.2.1".to_owned()], 9));
}

#[test]
fn a_family_that_nobody_answers_for_is_not_waited_for_long() {
    let server = Server::new(|asked| match asked.kind {
        A => vec![asked.addresses(&[(A, "192.0.2.1", 9)])],
        _ => Vec::new(),
    });
    let began = Instant::now();
    let mut resolver = resolver(&[&server]);
    (resolver.config.total, resolver.config.other_family) = (Duration::from_secs(60), Duration::from_millis(50));
    assert_eq!(told(resolver.resolve("a.b")), (vec!["192.0.2.1".to_owned()], 9));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_search_list_is_gone_through() {
    let server = Server::new(|asked| match asked.name.as_str() {
        "web.b.example" => vec![asked.addresses(&[(A, "192.0.2.1", 9)])],
        "broken.a.example" => vec![asked.response(SERVFAIL, &[])],
        "broken.b.example" => vec![asked.addresses(&[(A, "192.0.2.2", 9)])],
        "empty.a.example" => vec![asked.response(0x8180, &[])],
        _ => vec![asked.response(NXDOMAIN, &[])],
    });
    let mut resolver = resolver(&[&server]);
    resolver.config.search = vec!["a.example".into(), "b.example".into()];
    assert_eq!(told(resolver.resolve("web")).0, ["192.0.2.1"]);
    assert_eq!(server.names(), ["web.a.example", "web.b.example"]);
    assert_eq!(told(resolver.resolve("broken")).0, ["192.0.2.2"], "one domain's server fails, and another's does not");
    let text = error(resolver.resolve("none"));
    let all = "none.a.example, none.b.example, none";
    assert_eq!(text, format!("no such name: {all} (NXDOMAIN from {})", server.address));
    let text = error(resolver.resolve("none.such."));
    assert_eq!(text, format!("no such name: none.such (NXDOMAIN from {})", server.address));
    let text = error(resolver.resolve("empty"));
    assert_eq!(text, format!("no addresses: empty.a.example (says {})", server.address));
}

#[test]
fn nobody_is_asked_for_the_next_name_if_no_server_answers() {
    let server = Server::new(nothing);
    let mut resolver = impatient(&[&server]);
    resolver.config.search = vec!["a.example".into()];
    let text = error(resolver.resolve("web"));
    let start = format!("cannot resolve web.a.example: {} has not answered for ", server.address);
    assert!(text.starts_with(&start), "{text}");
    let said = &text[start.len()..];
    let seconds = match said.strip_suffix("ms") {
        Some(millis) => millis.parse::<f64>().unwrap() / 1000.0,
        None => said.strip_suffix('s').unwrap().parse().unwrap(),
    };
    assert!(seconds > 0.35, "both of its tries count: {text}");
    assert!(server.names().iter().all(|name| name == "web.a.example"));
}

#[test]
fn the_next_server_is_asked_if_one_fails() {
    let silent = Server::new(nothing);
    let failing = Server::new(|asked| vec![asked.response(SERVFAIL, &[])]);
    let garbled = Server::new(|asked| vec![[asked.response(0x8180, &[]), vec![0]].concat()]);
    let good = Server::new(|asked| vec![asked.addresses(&[(A, "192.0.2.1", 9)])]);
    let began = Instant::now();
    assert_eq!(told(resolver(&[&failing, &garbled, &good]).resolve("a.b")).0, ["192.0.2.1"]);
    assert!(began.elapsed() < Duration::from_secs(3), "no time is lost");
    assert_eq!(told(impatient(&[&silent, &good]).resolve("a.b")).0, ["192.0.2.1"]);
    let unbound = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut all = resolver(&[&failing, &garbled]);
    all.config.servers.push(unbound);
    all.config.attempts = 1;
    let text = error(all.resolve("a.b"));
    let [failing, garbled] = [&failing, &garbled].map(|server| server.address);
    let expected = format!(
        "cannot resolve a.b: {failing} answered SERVFAIL; {garbled} sent a malformed answer: there is something behind its \
         last record; {unbound} cannot be asked: Connection refused (os error 111)"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_packet_that_is_lost_is_sent_again_without_edns() {
    let server = Server::new(|asked| match asked.has_edns {
        true => Vec::new(),
        false => vec![asked.addresses(&[(A, "192.0.2.1", 9)])],
    });
    assert_eq!(told(impatient(&[&server]).resolve("a.b")).0, ["192.0.2.1"]);
}

#[test]
fn a_server_that_does_not_know_edns_is_asked_without_it_at_once() {
    let server = Server::new(|asked| match asked.has_edns {
        // The header alone.
        true => vec![[&asked.id.to_be_bytes()[..], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat()],
        false => vec![asked.addresses(&[(A, "192.0.2.1", 9)])],
    });
    assert_eq!(told(resolver(&[&server]).resolve("a.b")).0, ["192.0.2.1"]);
    let asked = server.asked();
    assert_eq!((asked.len(), asked.iter().filter(|asked| asked.has_edns).count()), (4, 2));
}

#[test]
fn what_is_truncated_is_asked_for_over_tcp() {
    let server = Server::new(|asked| match asked.is_by_stream {
        false => vec![asked.response(0x8380, &[])],
        true if asked.kind == A => {
            let many: Vec<_> = (0..1500_u32).map(|n| (A, 9, (0xC000_0200 + n % 200).to_be_bytes().to_vec())).collect();
            vec![asked.response(0x8180, &many)]
        }
        true => vec![asked.response(0x8180, &[])],
    });
    assert_eq!(told(resolver(&[&server]).resolve("a.b")).0.len(), 200);
    let cut = Server::new(|asked| vec![asked.response(0x8380, &[])]);
    let text = error(resolver(&[&cut]).resolve("a.b"));
    assert!(text.contains("sent a malformed answer: it is truncated, over TCP, too"), "{text}");
}

#[test]
fn a_server_that_is_silent_over_tcp_does_not_hold_us() {
    let server = Server::new(|asked| if asked.is_by_stream { Vec::new() } else { vec![asked.response(0x8380, &[])] });
    let text = error(impatient(&[&server]).resolve("a.b"));
    // It closes the connection after that.
    assert!(text.contains("cannot be asked: unexpected end of file") || text.contains("timed out"), "{text}");
}

#[test]
fn what_nobody_was_asked_for_is_not_believed() {
    let server = Server::new(|asked| {
        let forged = |change: fn(&mut Asked)| {
            let mut other = asked.clone();
            change(&mut other);
            other.addresses(&[(A, "192.0.2.66", 9)])
        };
        vec![
            b"x".to_vec(),
            forged(|other| other.id = !other.id),
            forged(|other| other.question[1] ^= 1),
            forged(|other| other.question[1] ^= 0x10),
            asked.addresses(&[(A, "192.0.2.1", 9)]),
        ]
    });
    assert_eq!(told(resolver(&[&server]).resolve("a.b")).0, ["192.0.2.1"]);
    // Another socket, even if it guesses all the rest.
    let server = Server::new(|asked| {
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(&asked.addresses(&[(A, "192.0.2.66", 9)]), ("127.0.0.1", asked.port)).unwrap();
        vec![asked.addresses(&[(A, "192.0.2.1", 9)])]
    });
    assert_eq!(told(resolver(&[&server]).resolve("a.b")).0, ["192.0.2.1"]);
}

#[test]
fn aliases_are_followed() {
    let server = Server::new(|asked| {
        let target = b"\x03web\x07example\0".to_vec();
        let mut message = asked.response(0x8180, &[(CNAME, 3, target)]);
        if asked.kind == A {
            message[7] = 2;
            message.extend(b"\x03web\x07example\0\0\x01\0\x01\0\0\0\x09\0\x04\xC0\0\x02\x01");
        }
        vec![message]
    });
    assert_eq!(told(resolver(&[&server]).resolve("a.b")), (vec!["192.0.2.1".to_owned()], 3));
}

#[test]
fn servers_are_asked_by_ipv6_as_well() {
    let Ok(udp) = UdpSocket::bind("[::1]:0") else { return };
    let address = udp.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut message = [0; 512];
        for _ in 0..2 {
            let (n, from) = udp.recv_from(&mut message).unwrap();
            let asked = Asked::read(&message[..n], from.port(), false);
            udp.send_to(&asked.addresses(&[(A, "192.0.2.1", 9)]), from).unwrap();
        }
    });
    let mut resolver = resolver(&[]);
    resolver.config.servers = vec![address];
    assert_eq!(told(resolver.resolve("a.b")).0, ["192.0.2.1"]);
    server.join().unwrap();
}

#[test]
fn rotation_begins_with_any_server() {
    let servers: Vec<Server> =
        (0..3).map(|_| Server::new(|asked| vec![asked.addresses(&[(A, "192.0.2.1", 9)])])).collect();
    let mut resolver = resolver(&servers.iter().collect::<Vec<_>>());
    resolver.config.rotate = true;
    for _ in 0..100 {
        told(resolver.resolve("a.b"));
    }
    // Each is missed with a probability of (2/3)^100.
    assert!(servers.iter().all(|server| !server.asked().is_empty()));
}

#[test]
fn the_c_library_is_asked_where_there_is_nothing_else() {
    let local = by_library("localhost").unwrap();
    assert!(local.addresses.iter().all(IpAddr::is_loopback) && local.ttl == LIBRARY_TTL);
    assert_eq!(by_library("[::1]").unwrap().ttl, Duration::MAX);
    assert!(resolve("localhost").unwrap().addresses.iter().all(IpAddr::is_loopback));
}
