//! Who has sent a request that came through proxies: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Anybody can send these fields. They are looked at only if the peer is a proxy that the operator trusts, and then from
//! right to left: each proxy adds behind what it got, so the last address is the one that our peer has seen.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::{self, FromStr};

use ipnet::{IpNet, Ipv4Net};

use super::fields::{Fields, is_token, list_members, split_unquoted, token_or_quoted_string, trim_ows};
use crate::base::peer::{Node, Peer};

/// The proxies whose word counts.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    nets: Vec<IpNet>,
    unix: bool,
}

/// One of them, or a range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Whoever has an address in this range.
    Net(IpNet),
    /// Whoever connects to a Unix socket.
    Unix,
}

impl FromStr for TrustedProxy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<TrustedProxy, &'static str> {
        if text == "unix" {
            return Ok(TrustedProxy::Unix);
        }
        let net = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| IpNet::from(ip)));
        net.map(|net| TrustedProxy::Net(canonical(net)))
            .map_err(|_| "expected an address, a range such as 10.0.0.0/8, or unix")
    }
}

/// A range of IPv4 addresses that is written as IPv6 ones (`::ffff:10.0.0.0/104`) under its own name. Addresses are
/// compared so.
fn canonical(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(ip), Some(prefix)) if net.addr().is_ipv6() => Ipv4Net::new(ip, prefix).map_or(net, IpNet::V4),
        _ => net,
    }
}

impl FromIterator<TrustedProxy> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = TrustedProxy>>(proxies: I) -> TrustedProxies {
        let mut trusted = TrustedProxies::default();
        for proxy in proxies {
            match proxy {
                TrustedProxy::Net(net) => trusted.nets.push(net),
                TrustedProxy::Unix => trusted.unix = true,
            }
        }
        trusted
    }
}

impl TrustedProxies {
    /// The client of a request that came from `peer` with these `fields`; `None` if it is the peer itself, or if nobody
    /// can tell.
    ///
    /// The walk goes from right to left over the proxies that are trusted, and ends at the first address that is not one
    /// of them. What is malformed, hidden (`for=_x`) or `unknown` ends it at the last address before: what stands to the
    /// left of it was written by nobody knows whom.
    ///
    /// If there are both fields, they must agree. Otherwise one of them may come from the client and not from a proxy,
    /// and neither is believed.
    #[inline]
    pub fn client(&self, peer: Peer, fields: Fields<'_>) -> Option<Node> {
        // Most servers trust no proxy, and each request comes by here.
        if self.nets.is_empty() && !self.unix { None } else { self.named_client(peer, fields) }
    }

    /// Whether `peer` is one of them.
    pub fn trust(&self, peer: Peer) -> bool {
        match peer {
            Peer::Ip(address) => self.trusts(address.ip()),
            Peer::Unix => self.unix,
        }
    }

    #[inline(never)]
    fn named_client(&self, peer: Peer, fields: Fields<'_>) -> Option<Node> {
        if !self.trust(peer) {
            return None;
        }
        let elements: Vec<&[u8]> = fields.all("forwarded").flat_map(elements).collect();
        let addresses: Vec<&[u8]> = fields.all("x-forwarded-for").flat_map(list_members).collect();
        let by_forwarded = self.walk(elements.iter().rev().map(|element| forwarded_for(element)));
        let by_x_forwarded_for = self.walk(addresses.iter().rev().map(|address| x_forwarded_for(address)));
        match (elements.is_empty(), addresses.is_empty()) {
            (_, true) => by_forwarded,
            (true, false) => by_x_forwarded_for,
            (false, false) => by_forwarded.filter(|node| by_x_forwarded_for.is_some_and(|other| other.ip == node.ip)),
        }
    }

    /// The last of these nodes that can be believed.
    fn walk(&self, nodes: impl Iterator<Item = Option<Node>>) -> Option<Node> {
        let mut client = None;
        for node in nodes {
            let Some(node) = node else { break };
            client = Some(node);
            if !self.trusts(node.ip) {
                break;
            }
        }
        client
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.nets.iter().any(|net| net.contains(&ip))
    }
}

/// The elements of `Forwarded` (RFC 7239 §4). A comma may stand in quotes.
fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    split_unquoted(line, b',').map(trim_ows).filter(|element| !element.is_empty())
}

/// The node that an element says it is `for`; `None` if it says that not exactly once, if it is no address, or if any
/// parameter is malformed.
fn forwarded_for(element: &[u8]) -> Option<Node> {
    let mut found = None;
    for pair in split_unquoted(element, b';').map(trim_ows).filter(|pair| !pair.is_empty()) {
        let equals = memchr::memchr(b'=', pair)?;
        let (name, value) = (&pair[..equals], token_or_quoted_string(&pair[equals + 1..])?);
        if !is_token(name) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") {
            // RFC 7239 §4: each parameter must not occur more than once in an element.
            if found.is_some() {
                return None;
            }
            found = Some(node(&value)?);
        }
    }
    found
}

/// nodename [ ":" node-port ] (RFC 7239 §6), if the name is an address.
fn node(text: &[u8]) -> Option<Node> {
    let text = str::from_utf8(text).ok()?;
    let (ip, port) = match text.strip_prefix('[') {
        Some(text) => {
            let (ip, port) = text.split_once(']')?;
            (IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let (ip, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (IpAddr::V4(ip.parse::<Ipv4Addr>().ok()?), port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        // obfport: a port that the proxy keeps to itself (§6.3).
        Some(hidden) if hidden.starts_with('_') && hidden.len() > 1 && hidden.bytes().all(is_obfuscated_byte) => None,
        Some(port) if (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse().ok()?)
        }
        _ => return None,
    };
    Some(Node { ip: ip.to_canonical(), port })
}

fn is_obfuscated_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// An address as proxies write it into `X-Forwarded-For`, which no standard describes: with or without a port, an IPv6
/// address with or without brackets.
fn x_forwarded_for(text: &[u8]) -> Option<Node> {
    let text = str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ip = match bare {
        Some(ip) => ip.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse::<IpAddr>().ok(),
    };
    match ip {
        Some(ip) => Some(Node { ip: ip.to_canonical(), port: None }),
        None => {
            let address: SocketAddr = text.parse().ok()?;
            Some(Node { ip: address.ip().to_canonical(), port: Some(address.port()) })
        }
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustedProxy::Net(net) => net.fmt(f),
            TrustedProxy::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::sections::Section;

    /// Our own proxies in these tests.
    const PROXIES: [&str; 4] = ["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.7", "unix"];
    const PEER: &str = "10.0.0.1:4444";

    fn proxies(names: &[&str]) -> TrustedProxies {
        names.iter().map(|name| name.parse::<TrustedProxy>().unwrap()).collect()
    }

    fn peer(text: &str) -> Peer {
        text.parse().map_or(Peer::Unix, Peer::Ip)
    }

    /// Whom a request from `peer` with these fields is from, if that is not the peer.
    fn client_of(trusted: &TrustedProxies, from: &str, lines: &[(&str, &str)]) -> Option<String> {
        trusted.client(peer(from), Section::of(lines).fields()).map(|node| node.to_string())
    }

    fn by_forwarded(value: &str) -> Option<String> {
        client_of(&proxies(&PROXIES), PEER, &[("Forwarded", value)])
    }

    fn by_x_forwarded_for(value: &str) -> Option<String> {
        client_of(&proxies(&PROXIES), PEER, &[("X-Forwarded-For", value)])
    }

    #[test]
    fn the_examples_of_the_standard() {
        // RFC 7239 §4, §6.3, §7.1
        for (value, client) in [
            (r#"for="_gazonk""#, None),
            (r#"For="[2001:db8:cafe::17]:4711""#, Some("[2001:db8:cafe::17]:4711")),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", Some("192.0.2.60")),
            ("for=192.0.2.43, for=198.51.100.17", Some("198.51.100.17")),
            (r#"for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown"#, None),
            ("for=_hidden, for=_SEVKISEK", None),
        ] {
            assert_eq!(by_forwarded(value).as_deref(), client, "{value}");
        }
    }

    #[test]
    fn the_walk_goes_from_right_to_left_over_trusted_proxies() {
        for (forwarded, x, client) in [
            ("for=9.9.9.9, for=8.8.8.8", "9.9.9.9, 8.8.8.8", Some("8.8.8.8")),
            ("for=9.9.9.9, for=8.8.8.8, for=10.1.1.1", "9.9.9.9, 8.8.8.8, 10.1.1.1", Some("8.8.8.8")),
            (
                r#"for=8.8.8.8, for="[2001:db8:1::5]", for=192.0.2.7"#,
                "8.8.8.8, 2001:db8:1::5, 192.0.2.7",
                Some("8.8.8.8"),
            ),
            ("for=10.2.2.2, for=10.1.1.1", "10.2.2.2, 10.1.1.1", Some("10.2.2.2")),
            (",, for=8.8.8.8 ,", ",, 8.8.8.8 ,", Some("8.8.8.8")),
            ("", "", None),
        ] {
            assert_eq!((by_forwarded(forwarded).as_deref(), by_x_forwarded_for(x).as_deref()), (client, client), "{x}");
        }
        let lines = [("X-Forwarded-For", "9.9.9.9"), ("X", "1"), ("x-forwarded-for", "8.8.8.8, 10.3.3.3")];
        assert_eq!(client_of(&proxies(&PROXIES), PEER, &lines).as_deref(), Some("8.8.8.8"), "the lines are one list");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk_at_the_last_proxy_before() {
        for odd in ["unknown", "_hidden", "8.8.8", "8.8.8.8.8", "08.8.8.8", "localhost", "8.8.8.8:99999", "é", "::g"] {
            assert_eq!(by_forwarded(&format!("for=9.9.9.9, for={odd}")), None, "{odd}");
            assert_eq!(by_forwarded(&format!("for=9.9.9.9, for=\"{odd}\", for=10.2.2.2")).as_deref(), Some("10.2.2.2"));
            assert_eq!(by_x_forwarded_for(&format!("9.9.9.9, {odd}")), None, "{odd}");
            assert_eq!(by_x_forwarded_for(&format!("9.9.9.9, {odd}, 10.2.2.2")).as_deref(), Some("10.2.2.2"), "{odd}");
        }
        for odd in [
            "by=10.0.0.1",
            "for=8.8.8.8;for=8.8.8.8",
            "for=8.8.8.8;=x",
            "for=8.8.8.8;by",
            "for=8.8.8.8;x y=z",
            "for = 8.8.8.8",
            "for=[2001:db8::1]",
            "for=2001:db8::1",
            r#"for="2001:db8::1""#,
            r#"for="[2001:db8::1""#,
            r#"for="[8.8.8.8]""#,
            r#"for="8.8.8.8:""#,
            r#"for="8.8.8.8:_""#,
            r#"for="8.8.8.8:+1""#,
            r#"for="8.8.8.8:000001""#,
            r#"for="8.8.8.8"#,
            r#"for=9.9.9.9, x=", for=8.8.8.8"#,
            r#"for=9.9.9.9, x=", for="[2001:db8::1]"#,
            r#"x="\"#,
        ] {
            assert_eq!(by_forwarded(&format!("for=7.7.7.7, {odd}")), None, "{odd}");
        }
    }

    #[test]
    fn addresses_may_have_ports_and_quotes() {
        for (value, client) in [
            (r#"for="8.8.8.8:80""#, "8.8.8.8:80"),
            (r#"for="8.8.8.8:_port.1-2""#, "8.8.8.8"),
            (r#"FOR="[2001:db8::1]""#, "2001:db8::1"),
            (r#"for="[2001:db8::1]:_x""#, "2001:db8::1"),
            (r#"for="\8.8.8.8""#, "8.8.8.8"),
            (r#"for="[::ffff:8.8.8.8]:1""#, "8.8.8.8:1"),
            (r#"proto="ht,t;p" ; for=8.8.8.8;;"#, "8.8.8.8"),
        ] {
            assert_eq!(by_forwarded(value).as_deref(), Some(client), "{value}");
        }
        for (value, client) in [
            ("8.8.8.8:80", "8.8.8.8:80"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("::ffff:8.8.8.8", "8.8.8.8"),
        ] {
            assert_eq!(by_x_forwarded_for(value).as_deref(), Some(client), "{value}");
        }
        for value in ["[8.8.8.8]", "\"8.8.8.8\"", "[2001:db8::1", "2001:db8::1]:80", "8.8.8.8:", "8.8.8.8 9.9.9.9"] {
            assert_eq!(by_x_forwarded_for(value), None, "{value}");
        }
    }

    #[test]
    fn only_a_trusted_peer_is_listened_to() {
        let lines = [("X-Forwarded-For", "8.8.8.8")];
        let from = |proxy: &str, peer: &str| client_of(&proxies(&[proxy]), peer, &lines).is_some();
        for (proxy, peer) in [
            ("10.0.0.1", PEER),
            ("10.1.2.3/8", PEER),
            ("0.0.0.0/0", PEER),
            ("::ffff:10.0.0.0/104", PEER),
            ("10.0.0.0/8", "[::ffff:10.0.0.1]:1"),
            ("::1", "[::1]:1"),
            ("::/0", "[2001:db8::1]:1"),
            ("unix", "unix"),
        ] {
            assert!(from(proxy, peer), "{proxy} {peer}");
        }
        for (proxy, peer) in [
            ("10.0.0.2", PEER),
            ("11.0.0.0/8", PEER),
            ("::/0", PEER),
            ("0.0.0.0/0", "[2001:db8::1]:1"),
            ("0.0.0.0/0", "unix"),
            ("unix", PEER),
        ] {
            assert!(!from(proxy, peer), "{proxy} {peer}");
        }
        assert_eq!(client_of(&TrustedProxies::default(), PEER, &lines), None);
        assert_eq!(client_of(&TrustedProxies::default(), "unix", &lines), None);
    }

    #[test]
    fn two_fields_that_disagree_are_both_not_believed() {
        let client =
            |forwarded, x| client_of(&proxies(&PROXIES), PEER, &[("Forwarded", forwarded), ("X-Forwarded-For", x)]);
        assert_eq!(client(r#"for="8.8.8.8:5""#, "9.9.9.9, 8.8.8.8").as_deref(), Some("8.8.8.8:5"));
        assert_eq!(client("for=8.8.8.8", "9.9.9.9"), None);
        assert_eq!(client("for=8.8.8.8", "unknown"), None);
        assert_eq!(client("for=_x", "8.8.8.8"), None);
    }

    #[test]
    fn proxies_are_addresses_ranges_or_unix() {
        for (text, shown) in
            [("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1/128"), ("1.2.3.4", "1.2.3.4/32"), ("unix", "unix")]
        {
            assert_eq!(text.parse::<TrustedProxy>().map(|proxy| proxy.to_string()).as_deref(), Ok(shown));
        }
        for odd in ["", "10.0.0.0/33", "::1/129", "localhost", "10.0.0.1:80", "unix:/run/x", "10.0.0", "*"] {
            assert!(odd.parse::<TrustedProxy>().is_err(), "{odd}");
        }
    }

    proptest! {
        /// Whatever a client sends: what our own proxy adds behind it decides, or nobody is named.
        #[test]
        fn a_client_cannot_name_somebody_else(
            sent in r#"([fF]or=|x=|by=|"|\\|,|;| |\[|\]|:|9\.9\.9\.9|10\.0\.0\.9|_a|::1){0,12}"#,
            ipv6: bool,
        ) {
            let (added, seen) = if ipv6 { (r#"for="[2001:db8::1]:7""#, "[2001:db8::1]:7") } else { ("for=8.8.8.8", "8.8.8.8") };
            let client = by_forwarded(&format!("{sent}, {added}"));
            prop_assert!(client.is_none() || client.as_deref() == Some(seen), "{client:?}");
            let client = by_x_forwarded_for(&format!("{sent}, 8.8.8.8"));
            prop_assert_eq!(client.as_deref(), Some("8.8.8.8"));
        }
    }
}
