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
