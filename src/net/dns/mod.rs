//! From names to addresses: a resolver that asks the name servers of the system itself, because the C library does not tell
//! for how long its answers are valid, nor who has given them.
//!
//! It blocks, for a few seconds at most, so jobs are what calls it. Like the C library's it looks at literals, `/etc/hosts`
//! and the search list. Unlike that it knows no other sources (nsswitch.conf(5)): what only these know is not found.

mod config;
mod exchange;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

pub use config::Config;
pub use exchange::Trouble;

use crate::base::resolved::Resolved;
use crate::protocol::dns::{Name, NameError, ResponseCode};
use exchange::Found;

/// What is known without asking servers, such as out of files, is looked at again after this time.
const LOCAL_TTL: Duration = Duration::from_secs(5);
/// Answers of the C library, which does not tell for how long they are valid, are used for this time.
const LIBRARY_TTL: Duration = Duration::from_secs(30);
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
const DNS_PORT: u16 = 53;

/// A resolver, with all that it knows of the system.
#[derive(Debug, Clone)]
pub struct Resolver {
    /// Who is asked, and how.
    pub config: Config,
    /// The content of the `hosts` file.
    pub hosts: String,
    /// Whether this machine has a route to an address. Those to which it has none are left out, unless that leaves nothing.
    pub has_route: fn(IpAddr) -> bool,
}

/// Why a name has no addresses.
#[derive(Debug)]
pub enum ResolveError {
    /// It is no name of a host.
    NoName(String, NameError),
    /// This server says that there is none of these names.
    NoSuchName(Vec<Name>, SocketAddr),
    /// This server says that the name has no addresses.
    NoAddresses(Name, SocketAddr),
    /// Nobody could tell.
    Failed(Name, Vec<(SocketAddr, Trouble)>),
}

/// The addresses of `host`: a name, or an IP address, in brackets or not. The files of the system are read each time, so what
/// has changed in them counts. Where there is no `resolv.conf`, the C library is asked. This blocks: for 5 seconds at most,
/// unless it is the C library that blocks.
///
/// # Errors
/// A sentence that says who was asked for what, and what came.
pub fn resolve(host: &str) -> Result<Resolved, String> {
    match fs::read_to_string(RESOLV_CONF) {
        Ok(text) => {
            let uname = rustix::system::uname();
            let config = Config::parse(&text, &uname.nodename().to_string_lossy());
            // Without the file, there are no hosts that only it knows.
            let hosts = fs::read_to_string(HOSTS).unwrap_or_default();
            Resolver { config, hosts, has_route }.resolve(host).map_err(|error| error.to_string())
        }
        Err(error) => {
            log::debug!("{RESOLV_CONF}: {error}: the C library is asked for {host}");
            by_library(host)
        }
    }
}

impl Resolver {
    /// The addresses of `host`, in order. This blocks, for as long as the configuration allows.
    ///
    /// # Errors
    /// There are none, or nobody could tell.
    pub fn resolve(&self, host: &str) -> Result<Resolved, ResolveError> {
        if let Some(address) = literal(host) {
            return Ok(Resolved { addresses: vec![address], ttl: Duration::MAX });
        }
        let candidates = self.config.candidates(host).map_err(|error| ResolveError::NoName(host.to_owned(), error))?;
        let local = config::in_hosts(&self.hosts, host);
        if !local.is_empty() {
            return Ok(self.resolved(local, LOCAL_TTL));
        }
        if let Some(local) = config::of_this_machine(host) {
            return Ok(self.resolved(local.to_vec(), LOCAL_TTL));
        }
        self.ask(candidates)
    }

    /// Asks for one name after the other. A server that fails at one of them may know the next. If none answers, this is the
    /// end: the next name would wait as long, and might be somebody else's.
    fn ask(&self, candidates: Vec<Name>) -> Result<Resolved, ResolveError> {
        let deadline = Instant::now() + self.config.total;
        let (mut nameless, mut empty, mut failed) = (None, None, None);
        for name in &candidates {
            match exchange::ask(&self.config, name, deadline) {
                Ok(Found::Addresses(addresses, ttl)) => return Ok(self.resolved(addresses, ttl)),
                Ok(Found::NoSuchName(server)) => nameless = Some(server),
                Ok(Found::NoAddresses(server)) => {
                    empty.get_or_insert_with(|| ResolveError::NoAddresses(name.clone(), server));
                }
                Err(troubles) => {
                    let server_failed = |(_, trouble): &(SocketAddr, Trouble)| {
                        matches!(trouble, Trouble::Refused(ResponseCode::SERVER_FAILURE))
                    };
                    let goes_on = troubles.iter().any(server_failed);
                    failed.get_or_insert_with(|| ResolveError::Failed(name.clone(), troubles));
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        Err(match (failed.or(empty), nameless) {
            (Some(error), _) => error,
            (None, Some(server)) => ResolveError::NoSuchName(candidates, server),
            // There is always a candidate, and it has an outcome.
            (None, None) => ResolveError::Failed(candidates[0].clone(), Vec::new()),
        })
    }

    /// Without those addresses that this machine cannot reach: it may have no IPv6 (RFC 6724 §6, rule 1).
    fn resolved(&self, addresses: Vec<IpAddr>, ttl: Duration) -> Resolved {
        let all: BTreeSet<IpAddr> = addresses.into_iter().collect();
        let usable: Vec<IpAddr> = all.iter().copied().filter(|address| (self.has_route)(*address)).collect();
        Resolved { addresses: if usable.is_empty() { all.into_iter().collect() } else { usable }, ttl }
    }
}

/// The address that `host` is, in brackets or not.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

/// Whether this machine has a route to an address. Nothing is sent for that: to connect a UDP socket only looks for one.
fn has_route(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, DNS_PORT))).is_ok()
}

/// What the C library says.
fn by_library(host: &str) -> Result<Resolved, String> {
    if let Some(address) = literal(host) {
        return Ok(Resolved { addresses: vec![address], ttl: Duration::MAX });
    }
    let found = (host, 0).to_socket_addrs().map_err(|error| format!("cannot resolve {host:?}: {error}"))?;
    let addresses: BTreeSet<IpAddr> = found.map(|address| address.ip()).collect();
    match addresses.is_empty() {
        true => Err(format!("{host:?} has no addresses")),
        false => Ok(Resolved { addresses: addresses.into_iter().collect(), ttl: LIBRARY_TTL }),
    }
}

/// The address of a server; its port only if it is not the usual one.
fn shown(server: &SocketAddr) -> String {
    if server.port() == DNS_PORT { server.ip().to_string() } else { server.to_string() }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolveError::NoName(host, error) => write!(f, "no name of a host: {host:?}: {error}"),
            ResolveError::NoSuchName(names, server) => {
                let names: Vec<String> = names.iter().map(Name::to_string).collect();
                write!(f, "no such name: {} (NXDOMAIN from {})", names.join(", "), shown(server))
            }
            ResolveError::NoAddresses(name, server) => write!(f, "no addresses: {name} (says {})", shown(server)),
            ResolveError::Failed(name, troubles) => {
                write!(f, "cannot resolve {name}: ")?;
                let mut told: Vec<String> = Vec::new();
                for (server, trouble) in troubles {
                    let text = format!("{} {trouble}", shown(server));
                    if !told.contains(&text) {
                        told.push(text);
                    }
                }
                match told.is_empty() {
                    true => f.write_str("there was no time left to ask"),
                    false => f.write_str(&told.join("; ")),
                }
            }
        }
    }
}

impl std::error::Error for ResolveError {}

#[cfg(test)]
mod tests;
