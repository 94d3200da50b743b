//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer.
    Ip(SocketAddr),
    /// A peer on a Unix socket; these have no name worth printing.
    Unix,
}

/// An address that a proxy names: that of who asked it. RFC 7239 §6 calls it a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The address, that of IPv4 under its own name.
    pub ip: IpAddr,
    /// The port, if the proxy tells it.
    pub port: Option<u16>,
}

/// Who has sent a request: the peer, or somebody for whom a trusted proxy asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Who is at the other end of the connection.
    pub peer: Peer,
    /// Whom a trusted proxy names, if one does.
    pub named: Option<Node>,
}

impl From<Peer> for Client {
    fn from(peer: Peer) -> Client {
        Client { peer, named: None }
    }
}

impl Peer {
    /// Whether it is on this machine.
    pub fn is_local(self) -> bool {
        match self {
            Peer::Ip(address) => address.ip().to_canonical().is_loopback(),
            Peer::Unix => true,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named {
            Some(node) => write!(f, "{node} through {}", self.peer),
            None => self.peer.fmt(f),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(address) => write!(f, "{address}"),
            Peer::Unix => f.write_str("unix:"),
        }
    }
}

/// An IPv4 address of a dual-stack socket under its own name: 127.0.0.1 instead of ::ffff:127.0.0.1.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => SocketAddr::new(address.ip().to_canonical(), address.port()),
        _ => address,
    }
}
