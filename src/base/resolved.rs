//! What a name stands for.

use std::net::IpAddr;
use std::time::Duration;

/// The addresses of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// In order, each once, and at least one.
    pub addresses: Vec<IpAddr>,
    /// For how long they may be used without asking again. It may be zero.
    pub ttl: Duration,
}
