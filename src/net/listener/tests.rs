use super::*;
use std::io::Read;
use std::os::unix::net::UnixStream;

fn address(text: &str) -> Address {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_documented_form_is_understood() {
    for (text, meaning) in [
        ("8080", "127.0.0.1:8080"),
        (":8080", "[::]:8080"),
        ("0", "127.0.0.1:0"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("localhost:8080", "localhost:8080"),
        ("[::1]:8080", "[::1]:8080"),
        ("[::]:65535", "[::]:65535"),
        ("unix:/run/mill", "unix:/run/mill"),
        ("unix:mill:8080", "unix:mill:8080"),
    ] {
        assert_eq!(address(text).to_string(), meaning, "{text}");
        assert_eq!(address(meaning), address(text), "what is printed can be given");
    }
}

#[test]
fn everything_else_is_refused_with_advice() {
    let too_long = format!("unix:/{}", "x".repeat(200));
    for text in [
        "",
        ":",
        "x",
        "-1",
        "+80",
        "65536",
        ":65536",
        "127.0.0.1",
        "127.0.0.1:",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[127.0.0.1]:80",
        "example.org:80",
        "http://127.0.0.1:80",
        "127.0.0.1:80/",
        " 80",
        "unix:",
        &too_long,
    ] {
        let error = text.parse::<Address>().expect_err(text);
        assert!(error.starts_with("expected "), "{text}: {error}");
    }
}

#[test]
fn a_scheme_says_what_is_served() {
    for (text, meaning) in [
        ("8080", "127.0.0.1:8080"),
        ("unix:/run/mill", "unix:/run/mill"),
        ("unix://run/mill", "unix://run/mill"),
        ("localhost:80", "localhost:80"),
        ("http://localhost:80/", "localhost:80"),
        ("http:8080", "127.0.0.1:8080"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
        ("HTTP://[::1]:80/", "[::1]:80"),
        ("https://127.0.0.1:8443", "https:127.0.0.1:8443"),
        ("HTTPS://[::1]:443/", "https:[::1]:443"),
        ("https:8443", "https:127.0.0.1:8443"),
        ("https::8443", "https:[::]:8443"),
        ("https:unix:/run/mill", "https:unix:/run/mill"),
        ("tcp-echo:127.0.0.1:7007", "tcp-echo:127.0.0.1:7007"),
        ("tcp-echo://127.0.0.1:7007", "tcp-echo:127.0.0.1:7007"),
        ("tcp-echo:7007", "tcp-echo:127.0.0.1:7007"),
        ("tcp-echo::7007", "tcp-echo:[::]:7007"),
        ("line-echo:[::1]:7007", "line-echo:[::1]:7007"),
        ("line-echo:localhost:7007", "line-echo:localhost:7007"),
        ("line-echo:unix:/run/mill", "line-echo:unix:/run/mill"),
    ] {
        let listen: ListenAddress = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(listen.to_string(), meaning, "{text}");
        assert_eq!(meaning.parse(), Ok(listen), "what is printed can be given");
    }
}

#[test]
fn other_schemes_are_refused_with_those_there_are() {
    for text in ["ftp:21", "ftp://127.0.0.1:21", "tcp-ech:127.0.0.1:7", "httpss://127.0.0.1", "example:80", "a.b://c"] {
        assert_eq!(text.parse::<ListenAddress>(), Err(EXPECTED_SCHEME.to_owned()), "{text}");
    }
    for text in
        ["tcp-echo", "tcp-echo:", "tcp-echo:x", "http://", "http:///x", "tcp-echo:tcp-echo:80", "example.org:80"]
    {
        assert_eq!(text.parse::<ListenAddress>(), Err(EXPECTED.to_owned()), "{text}");
    }
}

#[test]
fn a_tcp_listener_knows_its_real_port_and_refuses_to_share_it() {
    let listener = Listener::bind(&address("127.0.0.1:0"), &ListenOptions::with_backlog(16)).unwrap().remove(0);
    let Address::Tcp(local) = *listener.local_address() else { panic!("not TCP") };
    assert_ne!(local.port(), 0);
    assert_eq!(listener.url(ListenerRole::Http), format!("http://127.0.0.1:{}/", local.port()));
    assert_eq!(listener.url(ListenerRole::LineEcho), format!("line-echo://127.0.0.1:{}", local.port()));
    let error = Listener::bind(listener.local_address(), &ListenOptions::with_backlog(16)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn localhost_is_every_address_that_the_name_has_on_one_port() {
    let both = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
    let listeners = listen_at_all(&both, 0, 16).unwrap();
    let [Address::Tcp(first), Address::Tcp(second)] = [0, 1].map(|index| listeners[index].local.clone()) else {
        panic!("not TCP")
    };
    assert_eq!([first.ip(), second.ip()], both, "in the order given");
    assert_eq!(first.port(), second.port());
    let error = listen_at_all(&both, second.port(), 16).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    drop(listeners);
    // One that is taken is an error, and not a listener that only some clients reach.
    let taken = listen_tcp(SocketAddr::new(both[1], 0), 16).unwrap();
    let error = listen_at_all(&both, taken.local.port().unwrap(), 16).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn an_ipv6_address_that_the_machine_does_not_have_is_left_out() {
    // A documentation prefix (RFC 3849) stands for ::1 on a machine without IPv6.
    let absent: IpAddr = "2001:db8::1".parse().unwrap();
    let listeners = listen_at_all(&[absent, Ipv4Addr::LOCALHOST.into()], 0, 16).unwrap();
    assert_eq!(listeners.len(), 1);
    let error = listen_at_all(&[absent], 0, 16).unwrap_err();
    assert!(is_without_ipv6(&error), "{error}");
}

#[test]
fn only_addresses_of_this_machine_alone_count_once_each() {
    let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
    let looked_up = ips(&["::1", "192.0.2.1", "127.0.0.1", "::1", "127.0.1.1"]);
    assert_eq!(loopback_only(looked_up), ips(&["::1", "127.0.0.1", "127.0.1.1"]));
    assert_eq!(loopback_only(ips(&["192.0.2.1"])), ips(&["127.0.0.1"]));
    assert_eq!(loopback_only(Vec::new()), ips(&["127.0.0.1"]));
    assert!(addresses_of_localhost().iter().all(IpAddr::is_loopback));
}

#[test]
fn all_interfaces_include_ipv4_and_peers_keep_their_ipv4_names() {
    let listener = Listener::bind(&address(":0"), &ListenOptions::with_backlog(16)).unwrap().remove(0);
    let Address::Tcp(local) = *listener.local_address() else { panic!("not TCP") };
    let client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, local.port())).unwrap();
    let (stream, peer) = listener.accept().unwrap();
    assert_eq!(peer, Peer::Ip(client.local_addr().unwrap()));
    #[cfg(target_os = "linux")]
    {
        let Stream::Tcp(stream) = stream else { panic!("not TCP") };
        assert!(stream.nodelay().unwrap(), "inherited from the listener");
    }
}

/// A fresh path for a socket, removed afterwards with everything next to it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let directory = std::env::temp_dir().join(format!("tidemill-{}-{name}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        Scratch(directory)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_unix_socket_works_and_its_file_goes_with_it() {
    let scratch = Scratch::new("works");
    let listener =
        Listener::bind(&Address::Unix(scratch.socket()), &ListenOptions::with_backlog(16)).unwrap().remove(0);
    assert_eq!(listener.url(ListenerRole::Http), format!("unix:{}", scratch.socket().display()));
    assert_eq!(listener.url(ListenerRole::TcpEcho), format!("tcp-echo:unix:{}", scratch.socket().display()));
    let mut client = UnixStream::connect(scratch.socket()).unwrap();
    let (stream, peer) = listener.accept().unwrap();
    assert_eq!(peer, Peer::Unix);
    drop(stream);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(listener);
    assert!(!scratch.socket().exists());
}

#[test]
fn a_unix_socket_has_the_mode_that_was_asked_for() {
    let scratch = Scratch::new("mode");
    for mode in [0o600, 0o660, 0o777, 0o000] {
        let options = ListenOptions { backlog: 16, unix_mode: Some(mode) };
        let listener = Listener::bind(&Address::Unix(scratch.socket()), &options).unwrap();
        assert_eq!(fs::metadata(scratch.socket()).unwrap().mode() & 0o7777, mode);
        drop(listener);
    }
}

#[test]
fn what_another_has_opened_is_taken_over() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let listener = Listener::adopt(tcp.into()).unwrap();
    assert_eq!(listener.local, Address::Tcp(address));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "it does not wait");
    let client = std::net::TcpStream::connect(address).unwrap();
    let (stream, _) = listener.accept().unwrap();
    #[cfg(target_os = "linux")]
    {
        let Stream::Tcp(stream) = stream else { panic!("not TCP") };
        assert!(stream.nodelay().unwrap(), "as for a listener of our own");
    }
    assert_eq!(Listener::adopt(client.into()).unwrap_err().kind(), ErrorKind::InvalidInput);
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(Listener::adopt(udp.into()).unwrap_err().kind(), ErrorKind::InvalidInput);

    let scratch = Scratch::new("adopted");
    let unix = std::os::unix::net::UnixListener::bind(scratch.socket()).unwrap();
    let listener = Listener::adopt(unix.into()).unwrap();
    assert_eq!(listener.url(ListenerRole::Http), format!("unix:{}", scratch.socket().display()));
    drop(listener);
    assert!(scratch.socket().exists(), "the file belongs to who has made it");
}

#[test]
fn a_stale_socket_file_is_replaced() {
    let scratch = Scratch::new("stale");
    // The standard library's listener leaves its file behind, as a killed server does.
    drop(std::os::unix::net::UnixListener::bind(scratch.socket()).unwrap());
    assert!(scratch.socket().exists());
    let listener =
        Listener::bind(&Address::Unix(scratch.socket()), &ListenOptions::with_backlog(16)).unwrap().remove(0);
    UnixStream::connect(scratch.socket()).unwrap();
    listener.accept().unwrap();
}

#[test]
fn a_socket_that_answers_is_in_use() {
    let scratch = Scratch::new("answers");
    let listener = Listener::bind(&Address::Unix(scratch.socket()), &ListenOptions::with_backlog(1)).unwrap().remove(0);
    for _ in 0..4 {
        // Also when the queue of the first has filled up with these probes.
        let error = Listener::bind(&Address::Unix(scratch.socket()), &ListenOptions::with_backlog(16)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
    drop(listener);
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    let scratch = Scratch::new("file");
    fs::write(scratch.socket(), "precious").unwrap();
    let error = Listener::bind(&Address::Unix(scratch.socket()), &ListenOptions::with_backlog(16)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    std::os::unix::fs::symlink(scratch.0.join("elsewhere"), scratch.0.join("link")).unwrap();
    let error = Listener::bind(&Address::Unix(scratch.0.join("link")), &ListenOptions::with_backlog(16)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(scratch.socket()).unwrap(), b"precious");
}

#[test]
fn a_successors_socket_file_is_left_alone() {
    let scratch = Scratch::new("successor");
    let first = Listener::bind(&Address::Unix(scratch.socket()), &ListenOptions::with_backlog(16)).unwrap().remove(0);
    fs::rename(scratch.socket(), scratch.0.join("moved")).unwrap();
    let second = Listener::bind(&Address::Unix(scratch.socket()), &ListenOptions::with_backlog(16)).unwrap().remove(0);
    drop(first);
    UnixStream::connect(scratch.socket()).unwrap();
    drop(second);
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_passed_socket_dropped_before_does_not_count() {
    let Ok(mut reader) = QueueReader::open() else { return eprintln!("skipped: sock_diag is not available here") };
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap();
    let connect = || {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        assert!(client.connect(&address).is_err(), "it takes its time, or for ever");
        client
    };
    let _waits = connect();
    // Each is gone before it could try again.
    for _ in 0..3 {
        drop(connect());
    }
    let (local, cookie) = (address.as_socket().unwrap(), rustix::net::sockopt::socket_cookie(&socket).unwrap());
    let mut wait_for_drops = |key, drops| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while reader.read(key).unwrap().drops != Some(drops) {
            assert!(std::time::Instant::now() < deadline, "{drops} are dropped");
            std::thread::yield_now();
        }
    };
    wait_for_drops(ListenerKey::Tcp { local, cookie, dropped_before: 0 }, 3);
    let listener = Listener::adopt(socket.into()).unwrap();
    assert_eq!(listener.dropped_before, 3);
    wait_for_drops(listener.key().unwrap(), 0);
    drop(connect());
    wait_for_drops(listener.key().unwrap(), 1);
}
