//! Where to listen, and doing it.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::outgoing;
use super::stream::Stream;
use crate::base::listener_role::ListenerRole;
use crate::base::peer::{Peer, canonical};

/// Where to listen: `8080`, `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP port; 0 lets the kernel choose one. `[::]`, which is also what `:8080` means, stands for every address
    /// of both families.
    Tcp(SocketAddr),
    /// A socket in the file system. Who may connect is decided by the umask and the directory.
    Unix(PathBuf),
}

/// Where to listen, and for what: an address, perhaps with a scheme in front: `8080`, `http://127.0.0.1:8080`,
/// `tcp-echo:127.0.0.1:7007`, `line-echo:unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// What is served there: HTTP unless a scheme says otherwise.
    pub role: ListenerRole,
    /// Where.
    pub address: Address,
}

const EXPECTED_SCHEME: &str = "expected an address alone, or http:, tcp-echo: or line-echo: and an address, such as \
                               tcp-echo:127.0.0.1:7007";

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        let Some((scheme, rest)) = split_scheme(text) else {
            return Ok(ListenAddress { role: ListenerRole::Http, address: text.parse()? });
        };
        let known = ListenerRole::OF_LISTEN.into_iter().find(|role| scheme.eq_ignore_ascii_case(role.scheme()));
        let role = known.ok_or(EXPECTED_SCHEME)?;
        // A URL is accepted in the form in which the server announces it.
        let address = rest.strip_prefix("//").map_or(rest, |rest| rest.strip_suffix('/').unwrap_or(rest));
        Ok(ListenAddress { role, address: address.parse()? })
    }
}

/// The scheme in front of an address, if there is one. It begins with a letter (RFC 3986 §3.1), and a port does not. A word
/// without a dot is taken for a scheme, unless it is `localhost` or `unix`: other names of hosts are not accepted.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(':')?;
    let begins_with_letter = word.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_address = ["localhost", "unix"].contains(&word) || word.contains('.');
    let is_scheme = begins_with_letter && !is_address;
    (is_scheme || rest.starts_with("//") && word != "unix").then_some((word, rest))
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            ListenerRole::Http | ListenerRole::Admin => write!(f, "{}", self.address),
            role => write!(f, "{}:{}", role.scheme(), self.address),
        }
    }
}

impl Address {
    /// Whether only this machine can connect to it.
    pub fn is_local(&self) -> bool {
        match self {
            Address::Tcp(address) => address.ip().is_loopback(),
            Address::Unix(_) => true,
        }
    }
}

const EXPECTED: &str = "expected an address such as 8080, :8080, 127.0.0.1:8080, [::1]:8080 or unix:/path";

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_address(path);
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("localhost", text));
        let ip = host_address(host).ok_or(EXPECTED)?;
        let port = port_number(port)?;
        Ok(Address::Tcp(SocketAddr::new(ip, port)))
    }
}

fn unix_address(path: &str) -> Result<Address, String> {
    // The address type knows how long a path may be on this system.
    match !path.is_empty() && SockAddr::unix(path).is_ok() {
        true => Ok(Address::Unix(path.into())),
        false => Err("expected a path after unix: that is not empty and no longer than about 100 bytes".into()),
    }
}

/// Names are not looked up: that could block, and would listen on one of several addresses by chance.
fn host_address(host: &str) -> Option<IpAddr> {
    match host {
        "" => Some(Ipv6Addr::UNSPECIFIED.into()),
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        _ => match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        },
    }
}

fn port_number(port: &str) -> Result<u16, String> {
    match !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) {
        true => port.parse().map_err(|_| "expected a port from 0 to 65535".into()),
        false => Err(EXPECTED.into()),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A listening socket. Dropping it refuses whoever still waits in its queue.
#[derive(Debug)]
pub struct Listener {
    queue: Queue,
    local: Address,
}

#[derive(Debug)]
enum Queue {
    Tcp(TcpListener),
    /// The file goes when the listener does.
    Unix {
        listener: UnixListener,
        _file: SocketFile,
    },
}

impl Listener {
    /// Listens on `address` with room for `backlog` connections that nobody has accepted yet.
    ///
    /// A stale socket file, which nobody answers on, is replaced; any other file is left alone.
    ///
    /// # Errors
    /// The kernel's, and [`ErrorKind::AlreadyExists`] when the path of a Unix socket is taken by something else.
    pub fn bind(address: &Address, backlog: u32) -> io::Result<Listener> {
        let listener = match address {
            Address::Tcp(address) => listen_tcp(*address, backlog),
            Address::Unix(path) => listen_unix(path, backlog),
        }?;
        warn_if_clamped(&listener.local, backlog);
        Ok(listener)
    }

    /// Where it really listens: the port is never 0.
    pub fn local_address(&self) -> &Address {
        &self.local
    }

    /// What a person would give a client: `http://127.0.0.1:8080/`, `tcp-echo://127.0.0.1:7007`, `unix:/path`.
    pub fn url(&self, role: ListenerRole) -> String {
        match (&self.local, role) {
            (Address::Tcp(address), ListenerRole::Http | ListenerRole::Admin) => format!("http://{address}/"),
            (Address::Tcp(address), _) => format!("{}://{address}", role.scheme()),
            (Address::Unix(_), _) => ListenAddress { role, address: self.local.clone() }.to_string(),
        }
    }

    /// Takes the first connection off the queue; `WouldBlock` when there is none.
    pub(super) fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.queue {
            Queue::Tcp(listener) => {
                let (socket, peer) = listener.accept()?;
                // Linux copies the listener's option to the new socket, which saves a call for each connection.
                #[cfg(not(target_os = "linux"))]
                socket.set_nodelay(true)?;
                Ok((Stream::Tcp(socket), Peer::Ip(canonical(peer))))
            }
            Queue::Unix { listener, .. } => Ok((Stream::Unix(listener.accept()?.0), Peer::Unix)),
        }
    }

    /// What the selector registers.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match &mut self.queue {
            Queue::Tcp(listener) => listener,
            Queue::Unix { listener, .. } => listener,
        }
    }
}

fn listen_tcp(address: SocketAddr, backlog: u32) -> io::Result<Listener> {
    let socket = match open_tcp(address, backlog) {
        // "All interfaces" on a machine without IPv6.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_without_ipv6(&error) => {
            open_tcp((Ipv4Addr::UNSPECIFIED, address.port()).into(), backlog)?
        }
        opened => opened?,
    };
    let listener = TcpListener::from(OwnedFd::from(socket));
    let local = Address::Tcp(listener.local_addr()?);
    Ok(Listener { queue: Queue::Tcp(listener), local })
}

fn open_tcp(address: SocketAddr, backlog: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // [::] means both families, whatever the system's default (net.ipv6.bindv6only) says.
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for connections of the last run that linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    // Inherited by accepted sockets, as is the option before it.
    outgoing::hold_unsent(&socket, false)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    listen(&socket, backlog)?;
    Ok(socket)
}

fn is_without_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].iter().any(|errno| code == Some(errno.raw_os_error()))
}

fn listen(socket: &Socket, backlog: u32) -> io::Result<()> {
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

fn listen_unix(path: &Path, backlog: u32) -> io::Result<Listener> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            remove_if_stale(path, &address)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    let file = SocketFile::at(path)?;
    listen(&socket, backlog)?;
    let listener = UnixListener::from(OwnedFd::from(socket));
    Ok(Listener { queue: Queue::Unix { listener, _file: file }, local: Address::Unix(path.into()) })
}

/// Removes a socket file that a server left behind: its kind is certain and nobody answers on it.
fn remove_if_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "the file exists and is not a socket"));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server whose queue is full would make a blocking connect wait for it.
    socket.set_nonblocking(true)?;
    match socket.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix listener, removed with it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode: when we end, the path may be the socket of another server already.
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.into(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).ok() != Some(self.identity) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// listen(2) accepts any backlog and cuts it to the system's limit without telling.
fn warn_if_clamped(address: &Address, backlog: u32) {
    if let Some(limit) = system_backlog_max().filter(|limit| *limit < backlog) {
        log::warn!(
            "{address}: the system cuts the backlog of {backlog} to {limit}; to change that, raise net.core.somaxconn"
        );
    }
}

#[cfg(target_os = "linux")]
fn system_backlog_max() -> Option<u32> {
    fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn system_backlog_max() -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
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
            ("localhost:8080", "127.0.0.1:8080"),
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
            ("localhost:80", "127.0.0.1:80"),
            ("http:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("HTTP://[::1]:80/", "[::1]:80"),
            ("tcp-echo:127.0.0.1:7007", "tcp-echo:127.0.0.1:7007"),
            ("tcp-echo://127.0.0.1:7007", "tcp-echo:127.0.0.1:7007"),
            ("tcp-echo:7007", "tcp-echo:127.0.0.1:7007"),
            ("tcp-echo::7007", "tcp-echo:[::]:7007"),
            ("line-echo:[::1]:7007", "line-echo:[::1]:7007"),
            ("line-echo:localhost:7007", "line-echo:127.0.0.1:7007"),
            ("line-echo:unix:/run/mill", "line-echo:unix:/run/mill"),
        ] {
            let listen: ListenAddress = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(listen.to_string(), meaning, "{text}");
            assert_eq!(meaning.parse(), Ok(listen), "what is printed can be given");
        }
    }

    #[test]
    fn other_schemes_are_refused_with_those_there_are() {
        for text in
            ["ftp:21", "ftp://127.0.0.1:21", "tcp-ech:127.0.0.1:7", "https://127.0.0.1", "example:80", "a.b://c"]
        {
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
        let listener = Listener::bind(&address("127.0.0.1:0"), 16).unwrap();
        let Address::Tcp(local) = *listener.local_address() else { panic!("not TCP") };
        assert_ne!(local.port(), 0);
        assert_eq!(listener.url(ListenerRole::Http), format!("http://127.0.0.1:{}/", local.port()));
        assert_eq!(listener.url(ListenerRole::LineEcho), format!("line-echo://127.0.0.1:{}", local.port()));
        let error = Listener::bind(listener.local_address(), 16).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn all_interfaces_include_ipv4_and_peers_keep_their_ipv4_names() {
        let listener = Listener::bind(&address(":0"), 16).unwrap();
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
        let listener = Listener::bind(&Address::Unix(scratch.socket()), 16).unwrap();
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
    fn a_stale_socket_file_is_replaced() {
        let scratch = Scratch::new("stale");
        // The standard library's listener leaves its file behind, as a killed server does.
        drop(std::os::unix::net::UnixListener::bind(scratch.socket()).unwrap());
        assert!(scratch.socket().exists());
        let listener = Listener::bind(&Address::Unix(scratch.socket()), 16).unwrap();
        UnixStream::connect(scratch.socket()).unwrap();
        listener.accept().unwrap();
    }

    #[test]
    fn a_socket_that_answers_is_in_use() {
        let scratch = Scratch::new("answers");
        let listener = Listener::bind(&Address::Unix(scratch.socket()), 1).unwrap();
        for _ in 0..4 {
            // Also when the queue of the first has filled up with these probes.
            let error = Listener::bind(&Address::Unix(scratch.socket()), 16).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
        }
        drop(listener);
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_removed() {
        let scratch = Scratch::new("file");
        fs::write(scratch.socket(), "precious").unwrap();
        let error = Listener::bind(&Address::Unix(scratch.socket()), 16).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        std::os::unix::fs::symlink(scratch.0.join("elsewhere"), scratch.0.join("link")).unwrap();
        let error = Listener::bind(&Address::Unix(scratch.0.join("link")), 16).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(scratch.socket()).unwrap(), b"precious");
    }

    #[test]
    fn a_successors_socket_file_is_left_alone() {
        let scratch = Scratch::new("successor");
        let first = Listener::bind(&Address::Unix(scratch.socket()), 16).unwrap();
        fs::rename(scratch.socket(), scratch.0.join("moved")).unwrap();
        let second = Listener::bind(&Address::Unix(scratch.socket()), 16).unwrap();
        drop(first);
        UnixStream::connect(scratch.socket()).unwrap();
        drop(second);
    }
}
