//! What the system says about names: `/etc/resolv.conf` and `/etc/hosts`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use crate::protocol::dns::{Name, NameError};

const DNS_PORT: u16 = 53;
/// As many as the C library takes of each (resolv.conf(5)), but for the search list, which it does not bound any more.
const SERVERS_MAX: usize = 3;
const SEARCH_MAX: usize = 32;
const NDOTS_MAX: usize = 15;
const TIMEOUT_MAX: u64 = 30;
const ATTEMPTS_MAX: u32 = 5;

/// Who is asked for names, and how (resolv.conf(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who is asked, the preferred first.
    pub servers: Vec<SocketAddr>,
    /// In which domains a name is looked for that has fewer dots than `ndots`.
    pub search: Vec<String>,
    /// A name with so many dots is asked for as it is first.
    pub ndots: usize,
    /// For how long a server is waited for at a time, at most.
    pub timeout: Duration,
    /// How often each server is asked.
    pub attempts: u32,
    /// Begin with any of the servers, so that all have the same load.
    pub rotate: bool,
    /// How long it may take altogether. Each attempt gets its share of what is left.
    pub total: Duration,
    /// Once there are addresses of one family, or it is said that there is no such name, how long it is waited for what is
    /// said about the other family.
    pub other_family: Duration,
}

impl Default for Config {
    /// What the C library assumes where nothing is said: a server on this machine.
    fn default() -> Config {
        Config {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT))],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            total: Duration::from_secs(5),
            other_family: Duration::from_secs(1),
        }
    }
}

impl Config {
    /// Reads a `resolv.conf`. What is unknown or malformed is skipped, as the C library does. `host_name` is that of this
    /// machine: its domain is searched if the file names none.
    pub fn parse(text: &str, host_name: &str) -> Config {
        let mut config = Config { servers: Vec::new(), ..Config::default() };
        let mut search = None;
        // RFC 1034 has no comments, but the file does: a whole line.
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if config.servers.len() < SERVERS_MAX => {
                    config.servers.extend(words.next().and_then(server));
                }
                // The last of these lines is the one that counts.
                Some("domain") => search = Some(words.take(1).map(str::to_owned).collect()),
                Some("search") => search = Some(words.take(SEARCH_MAX).map(str::to_owned).collect()),
                Some("options") => words.for_each(|option| config.set(option)),
                _ => {}
            }
        }
        if config.servers.is_empty() {
            config.servers = Config::default().servers;
        }
        let of_host = || host_name.split_once('.').map(|(_, domain)| domain.to_owned()).into_iter().collect();
        config.search = search.unwrap_or_else(of_host);
        config
    }

    fn set(&mut self, option: &str) {
        match option.split_once(':') {
            None => self.rotate |= option == "rotate",
            Some(("ndots", n)) => self.ndots = n.parse().map_or(self.ndots, |n: usize| n.min(NDOTS_MAX)),
            Some(("timeout", n)) => {
                let seconds = n.parse().map(|n: u64| Duration::from_secs(n.clamp(1, TIMEOUT_MAX)));
                self.timeout = seconds.unwrap_or(self.timeout);
            }
            Some(("attempts", n)) => self.attempts = n.parse().map_or(self.attempts, |n: u32| n.clamp(1, ATTEMPTS_MAX)),
            Some(_) => {}
        }
    }

    /// The names that are asked for, one after the other, because of `host`.
    ///
    /// # Errors
    /// The host has no name.
    pub(super) fn candidates(&self, host: &str) -> Result<Vec<Name>, NameError> {
        let name = Name::parse(host)?;
        if host.ends_with('.') {
            return Ok(vec![name]);
        }
        // What becomes too long is no name.
        let mut candidates: Vec<Name> =
            self.search.iter().filter_map(|domain| Name::parse(&format!("{host}.{domain}")).ok()).collect();
        let is_first = host.bytes().filter(|byte| *byte == b'.').count() >= self.ndots;
        candidates.insert(if is_first { 0 } else { candidates.len() }, name);
        Ok(candidates)
    }
}

/// A server's address, which on a link of its own has a zone: `fe80::1%eth0` (RFC 4007 §11).
fn server(text: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return Some(SocketAddr::from((text.parse::<IpAddr>().ok()?, DNS_PORT)));
    };
    let index = zone.parse().ok().or_else(|| interface_index(zone))?;
    Some(SocketAddrV6::new(address.parse().ok()?, DNS_PORT, 0, index).into())
}

fn interface_index(interface: &str) -> Option<u32> {
    let is_file_name = !interface.contains('/') && !matches!(interface, "" | "." | "..");
    let path = format!("/sys/class/net/{interface}/ifindex");
    is_file_name.then(|| fs::read_to_string(path).ok()?.trim().parse().ok()).flatten()
}

/// The addresses that a `hosts` file (hosts(5)) has for a host, in its order.
pub(super) fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let address = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    };
    text.lines().filter_map(address).collect()
}

/// The addresses of a name that stands for this machine (RFC 6761 §6.3).
pub(super) fn of_this_machine(host: &str) -> Option<[IpAddr; 2]> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let top = host.rsplit('.').next().unwrap_or(host);
    top.eq_ignore_ascii_case("localhost").then_some([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 53)).collect()
    }

    fn names(config: &Config, host: &str) -> Vec<String> {
        config.candidates(host).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_is_read_as_the_c_library_reads_it() {
        let text = "# nameserver 10.0.0.8\n; nameserver 10.0.0.9\nnameserver 10.0.0.1\nnameserver\tfd00::1  # why\n\
                    nameserver nonsense\nnameserver 10.0.0.3\nnameserver 10.0.0.4\nsearch first.example\n\
                    domain only.example ignored\nsearch a.example b.example\nsortlist 1.2.3.4\n\
                    options ndots:5 timeout:2 attempts:3 rotate edns0 ndots:x\noptions timeout:0\n";
        let config = Config::parse(text, "host.domain.example");
        assert_eq!(config.servers, addresses(&["10.0.0.1", "fd00::1", "10.0.0.3"]));
        assert_eq!(config.search, ["a.example", "b.example"]);
        assert_eq!((config.ndots, config.attempts, config.rotate), (5, 3, true));
        assert_eq!(config.timeout, Duration::from_secs(1));
        let bounded = Config::parse("options ndots:99 timeout:99 attempts:99", "");
        assert_eq!((bounded.ndots, bounded.attempts, bounded.timeout), (15, 5, Duration::from_secs(30)));
        assert_eq!(Config::parse("", "host"), Config::default());
        assert_eq!(Config::parse("", "host.domain.example").search, ["domain.example"]);
        assert_eq!(Config::parse("search\n", "host.domain.example").search, [""; 0]);
        assert_eq!(Config::parse("domain d.example\n", "host.domain.example").search, ["d.example"]);
    }

    #[test]
    fn a_server_on_a_link_has_a_zone() {
        let loopback = server("fe80::1%lo").expect("every machine has a loopback interface");
        assert!(matches!(loopback, SocketAddr::V6(address) if address.scope_id() > 0));
        assert!(matches!(server("fe80::1%7"), Some(SocketAddr::V6(address)) if address.scope_id() == 7));
        for text in ["fe80::1%", "fe80::1%none-such", "fe80::1%../lo", "10.0.0.1%7", "", "10.0.0.1:53"] {
            assert_eq!(server(text), None, "{text}");
        }
    }

    #[test]
    fn dots_decide_what_is_asked_for_first() {
        let search = vec!["a.example".to_owned(), "b.example".to_owned()];
        let config = |ndots| Config { ndots, search: search.clone(), ..Config::default() };
        assert_eq!(names(&config(1), "web"), ["web.a.example", "web.b.example", "web"]);
        assert_eq!(names(&config(1), "web.x"), ["web.x", "web.x.a.example", "web.x.b.example"]);
        assert_eq!(names(&config(5), "web.x.y"), ["web.x.y.a.example", "web.x.y.b.example", "web.x.y"]);
        assert_eq!(names(&config(5), "Web.x."), ["web.x"], "a final dot");
        assert_eq!(names(&config(0), "web"), ["web", "web.a.example", "web.b.example"]);
        let label = "a".repeat(63);
        let long = [label.as_str(); 3].join(".");
        let far = Config { search: vec![long.clone(), ".".to_owned(), "b".to_owned()], ..Config::default() };
        assert_eq!(names(&far, &format!("{label}.x")), [format!("{label}.x"), format!("{label}.x.b")]);
        assert!(far.candidates("a b").is_err() && far.candidates("").is_err());
    }

    #[test]
    fn hosts_are_found_by_all_their_names() {
        let text = "127.0.0.1 localhost\n10.0.0.1\tweb.example  Web # db\n# 10.0.0.9 web\nfd00::1 web\nnonsense web\n\
                    fe80::1%lo0 web\n10.0.0.2";
        let found = |host: &str| in_hosts(text, host).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("web"), ["10.0.0.1", "fd00::1"]);
        assert_eq!(found("WEB.example."), ["10.0.0.1"]);
        assert_eq!((found("db"), found("example"), found("")), (vec![], vec![], vec![]));
    }

    #[test]
    fn this_machine_is_known_by_name() {
        for host in ["localhost", "LocalHost.", "a.b.localhost"] {
            assert!(of_this_machine(host).is_some(), "{host}");
        }
        for host in ["localhost.example", "alocalhost", "", "."] {
            assert_eq!(of_this_machine(host), None, "{host}");
        }
    }
}
