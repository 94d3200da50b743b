//! Where to listen, and doing it.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::capture::Interface;
use super::outgoing;
use super::sock_diag::{ListenerKey, QueueReader};
use super::stream::Stream;
use crate::base::listener_role::ListenerRole;
use crate::base::peer::{Peer, canonical};

/// Where to listen: `8080`, `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP port; 0 lets the kernel choose one. `[::]`, which is also what `:8080` means, stands for every address
    /// of both families.
    Tcp(SocketAddr),
    /// A TCP port at every address of this machine alone that the name `localhost` has.
    Localhost(u16),
    /// A socket in the file system. Who may connect is decided by its mode and the directory.
    Unix(PathBuf),
}

/// How to listen, wherever that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOptions {
    /// Room for so many connections that nobody has accepted yet.
    pub backlog: u32,
    /// Permissions of the file of a Unix socket, up to 0o777; `None`: what the umask leaves.
    pub unix_mode: Option<u32>,
}

impl ListenOptions {
    /// With this backlog, and otherwise as the system has it.
    pub fn with_backlog(backlog: u32) -> ListenOptions {
        ListenOptions { backlog, unix_mode: None }
    }
}

/// Where to listen, and for what: an address, perhaps with a scheme in front: `8080`, `https://127.0.0.1:8443`,
/// `tcp-echo:127.0.0.1:7007`, `line-echo:unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// What is served there: HTTP unless a scheme says otherwise.
    pub role: ListenerRole,
    /// Where.
    pub address: Address,
}

const EXPECTED_SCHEME: &str = "expected an address alone, or http:, https:, tcp-echo: or line-echo: and an address, \
                               such as https://127.0.0.1:8443";

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
            Address::Localhost(_) | Address::Unix(_) => true,
        }
    }

    /// Its TCP port, if it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Address::Tcp(address) => Some(address.port()),
            Address::Localhost(port) => Some(*port),
            Address::Unix(_) => None,
        }
    }
}

const EXPECTED: &str =
    "expected an address such as 8080, :8080, 127.0.0.1:8080, [::1]:8080, localhost:8080 or unix:/path";

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_address(path);
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
        if host == "localhost" {
            return port_number(port).map(Address::Localhost);
        }
        let ip = host_address(host).ok_or(EXPECTED)?;
        Ok(Address::Tcp(SocketAddr::new(ip, port_number(port)?)))
    }
}

fn unix_address(path: &str) -> Result<Address, String> {
    // The address type knows how long a path may be on this system.
    match !path.is_empty() && SockAddr::unix(path).is_ok() {
        true => Ok(Address::Unix(path.into())),
        false => Err("expected a path after unix: that is not empty and no longer than about 100 bytes".into()),
    }
}

/// Other names than `localhost` are not looked up: what they mean may change, and with it who can connect.
fn host_address(host: &str) -> Option<IpAddr> {
    match host {
        "" => Some(Ipv6Addr::UNSPECIFIED.into()),
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
            Address::Localhost(port) => write!(f, "localhost:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A listening socket. Dropping it refuses whoever still waits in its queue.
#[derive(Debug)]
pub struct Listener {
    queue: Queue,
    local: Address,
    /// Where it was to listen; `None`: where it does.
    asked: Option<Address>,
    /// How many packets it had dropped when it became ours.
    dropped_before: u32,
}

#[derive(Debug)]
enum Queue {
    Tcp(TcpListener),
    /// The file goes when the listener does, if it is ours.
    Unix {
        listener: UnixListener,
        _file: Option<SocketFile>,
    },
}

impl Listener {
    /// Listens on `address`: once, or on every address that `localhost` has.
    ///
    /// A stale socket file, which nobody answers on, is replaced; any other file is left alone.
    ///
    /// # Errors
    /// The kernel's, and [`ErrorKind::AlreadyExists`] when the path of a Unix socket is taken by something else.
    pub fn bind(address: &Address, options: &ListenOptions) -> io::Result<Vec<Listener>> {
        let mut listeners = match address {
            Address::Tcp(address) => vec![listen_tcp(*address, options.backlog)?],
            Address::Localhost(port) => listen_at_all(&addresses_of_localhost(), *port, options.backlog)?,
            Address::Unix(path) => vec![listen_unix(path, options)?],
        };
        for listener in &mut listeners {
            listener.asked = Some(address.clone());
            warn_if_clamped(&listener.local, options.backlog);
        }
        Ok(listeners)
    }

    /// Takes over a socket that another process has opened and bound, and that listens already.
    ///
    /// # Errors
    /// The kernel's, and [`ErrorKind::InvalidInput`] if it is no stream socket that listens.
    pub(super) fn adopt(descriptor: OwnedFd) -> io::Result<Listener> {
        let socket = Socket::from(descriptor);
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Err(ErrorKind::InvalidInput.into());
        }
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        let address = socket.local_addr()?;
        if let Some(address) = address.as_socket() {
            set_inherited(&socket)?;
            let queue = Queue::Tcp(TcpListener::from(OwnedFd::from(socket)));
            let mut listener = Listener { queue, local: Address::Tcp(address), asked: None, dropped_before: 0 };
            listener.dropped_before = listener.drops().unwrap_or(0);
            return Ok(listener);
        }
        let path = address.as_pathname().map(PathBuf::from);
        // An abstract name stands for no file; it is written with an @ in front (unix(7)).
        let name = |bytes: &[u8]| PathBuf::from(format!("@{}", bytes.escape_ascii()));
        let path = path.or_else(|| address.as_abstract_namespace().map(name)).unwrap_or_default();
        let queue = Queue::Unix { listener: UnixListener::from(OwnedFd::from(socket)), _file: None };
        Ok(Listener { queue, local: Address::Unix(path), asked: None, dropped_before: 0 })
    }

    /// Where it really listens: the port is never 0.
    pub fn local_address(&self) -> &Address {
        &self.local
    }

    /// Where it was to listen: with port 0 or `localhost`, if it was so. `None`: another process has bound it.
    pub fn asked(&self) -> Option<&Address> {
        self.asked.as_ref()
    }

    /// What a person would give a client: `https://127.0.0.1:8443/`, `tcp-echo://127.0.0.1:7007`, `unix:/path`.
    pub fn url(&self, role: ListenerRole) -> String {
        match (&self.local, role) {
            (Address::Tcp(address), ListenerRole::Http | ListenerRole::Https | ListenerRole::Admin) => {
                format!("{}://{address}/", role.scheme())
            }
            (Address::Tcp(address), _) => format!("{}://{address}", role.scheme()),
            (Address::Localhost(_) | Address::Unix(_), _) => {
                ListenAddress { role, address: self.local.clone() }.to_string()
            }
        }
    }

    /// How a capture names it.
    pub fn interface(&self, role: ListenerRole) -> Interface {
        Interface { name: self.url(role).trim_end_matches('/').into(), role }
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

    /// How many packets the kernel has dropped at this listener, if it tells.
    fn drops(&self) -> Option<u32> {
        QueueReader::open().ok()?.read(self.key().ok()?).ok()?.drops
    }

    /// How the kernel finds this socket when it is asked about it.
    ///
    /// # Errors
    /// The kernel's; [`ErrorKind::Unsupported`] where there is no Linux.
    #[cfg(target_os = "linux")]
    pub fn key(&self) -> io::Result<ListenerKey> {
        Ok(match &self.queue {
            Queue::Tcp(listener) => ListenerKey::Tcp {
                local: listener.local_addr()?,
                cookie: rustix::net::sockopt::socket_cookie(listener)?,
                dropped_before: self.dropped_before,
            },
            Queue::Unix { listener, .. } => {
                let inode = rustix::fs::fstat(listener)?.st_ino;
                ListenerKey::Unix { inode: u32::try_from(inode).map_err(|_| ErrorKind::Unsupported)? }
            }
        })
    }

    /// How the kernel finds this socket when it is asked about it.
    ///
    /// # Errors
    /// Always [`ErrorKind::Unsupported`].
    #[cfg(not(target_os = "linux"))]
    pub fn key(&self) -> io::Result<ListenerKey> {
        Err(ErrorKind::Unsupported.into())
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
    Ok(Listener { queue: Queue::Tcp(listener), local, asked: None, dropped_before: 0 })
}

fn open_tcp(address: SocketAddr, backlog: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // [::] means both families, whatever the system's default (net.ipv6.bindv6only) says.
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for connections of the last run that linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    set_inherited(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    listen(&socket, backlog)?;
    Ok(socket)
}

/// Sets what accepted sockets inherit from the one that listens.
fn set_inherited(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    outgoing::hold_unsent(socket, false)?;
    Ok(())
}

/// The addresses that the system has for the name, in its order: that of the hosts file and of RFC 6724. Only those of
/// this machine alone count (RFC 6761 §6.3).
fn addresses_of_localhost() -> Vec<IpAddr> {
    let looked_up = ("localhost", 0).to_socket_addrs().map(|addresses| addresses.map(|address| address.ip()).collect());
    loopback_only(looked_up.unwrap_or_default())
}

fn loopback_only(looked_up: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for ip in looked_up.into_iter().filter(IpAddr::is_loopback) {
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    if addresses.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { addresses }
}

/// How often another port is tried if the one that the kernel chose for the first address is taken at another.
const PORTS_TRIED_MAX: usize = 16;

/// Listens on the same port of all addresses.
fn listen_at_all(addresses: &[IpAddr], port: u16, backlog: u32) -> io::Result<Vec<Listener>> {
    let mut tried = 0;
    loop {
        tried += 1;
        match try_listen_at_all(addresses, port, backlog) {
            Err(error) if port == 0 && error.kind() == ErrorKind::AddrInUse && tried < PORTS_TRIED_MAX => {}
            result => return result,
        }
    }
}

fn try_listen_at_all(addresses: &[IpAddr], port: u16, backlog: u32) -> io::Result<Vec<Listener>> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut skipped = None;
    for ip in addresses {
        let chosen = listeners.first().and_then(|first| first.local.port());
        match listen_tcp((*ip, chosen.unwrap_or(port)).into(), backlog) {
            Ok(listener) => listeners.push(listener),
            // The hosts file names an address that this machine does not have, which is usual in containers.
            Err(error) if ip.is_ipv6() && is_without_ipv6(&error) => skipped = Some(error),
            Err(error) => return Err(error),
        }
    }
    match skipped.filter(|_| listeners.is_empty()) {
        Some(error) => Err(error),
        None => Ok(listeners),
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].iter().any(|errno| code == Some(errno.raw_os_error()))
}

fn listen(socket: &Socket, backlog: u32) -> io::Result<()> {
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

fn listen_unix(path: &Path, options: &ListenOptions) -> io::Result<Listener> {
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
    if let Some(mode) = options.unix_mode {
        // Before it listens nobody can connect, so nobody comes in by the mode that the umask left.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    listen(&socket, options.backlog)?;
    let listener = UnixListener::from(OwnedFd::from(socket));
    Ok(Listener {
        queue: Queue::Unix { listener, _file: Some(file) },
        local: Address::Unix(path.into()),
        asked: None,
        dropped_before: 0,
    })
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
mod tests;
