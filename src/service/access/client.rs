//! Who has sent a request, as far as rules about addresses are concerned.

use std::net::IpAddr;

use crate::base::peer::Peer;
use crate::http::exchange::Cx;
use crate::http::fields::Fields;
use crate::http::forwarded::TrustedProxies;

/// Whom the rules of an address apply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// This address, that of IPv4 under its own name.
    Ip(IpAddr),
    /// A process of this machine that has connected to a Unix socket.
    Unix,
    /// Somebody whom a trusted proxy does not name, or names in two ways. It must not get what the proxy itself would: the
    /// fields that contradict each other may come from the client.
    Unknown,
}

/// Whom a request counts for. Of an IPv6 address it is the first half, because whoever has one address mostly has all of its
/// /64, and would otherwise have as many of everything as there are addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientKey {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The /64 of an IPv6 address.
    V6([u8; 8]),
    /// Processes of this machine.
    Unix,
}

impl Client {
    /// The client of a request: the one that a trusted proxy names, or the peer.
    pub fn of(fields: Fields<'_>, cx: &Cx<'_>, proxies: &TrustedProxies) -> Client {
        let is_forwarded = || fields.first("forwarded").is_some() || fields.first("x-forwarded-for").is_some();
        match (cx.named, cx.peer) {
            (Some(node), _) => Client::Ip(node.ip.to_canonical()),
            (None, peer) if proxies.trust(peer) && is_forwarded() => Client::Unknown,
            (None, Peer::Ip(address)) => Client::Ip(address.ip().to_canonical()),
            (None, Peer::Unix) => Client::Unix,
        }
    }
}

impl ClientKey {
    /// Whom a request of this client counts for: a client that is not known counts as the peer.
    pub fn of(client: Client, peer: Peer) -> ClientKey {
        let ip = match (client, peer) {
            (Client::Ip(ip), _) => ip,
            (Client::Unknown, Peer::Ip(address)) => address.ip().to_canonical(),
            (Client::Unix, _) | (Client::Unknown, Peer::Unix) => return ClientKey::Unix,
        };
        match ip {
            IpAddr::V4(ip) => ClientKey::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                ClientKey::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::peer::Node;
    use crate::http::forwarded::TrustedProxy;
    use crate::http::sections::Section;
    use crate::service::lab::harness::World;

    fn client(peer: &str, named: Option<&str>, trusted: &[&str], fields: &[(&str, &str)]) -> Client {
        let proxies: TrustedProxies = trusted.iter().map(|proxy| proxy.parse::<TrustedProxy>().unwrap()).collect();
        let named = named.map(|ip| Node { ip: ip.parse().unwrap(), port: None });
        let world = World::new();
        let mut cx = world.cx();
        cx.peer = peer.parse().map_or(Peer::Unix, Peer::Ip);
        cx.named = named.as_ref();
        Client::of(Section::of(fields).fields(), &cx, &proxies)
    }

    fn ip(text: &str) -> Client {
        Client::Ip(text.parse().unwrap())
    }

    #[test]
    fn the_client_is_the_peer_or_whom_a_trusted_proxy_names() {
        assert_eq!(client("10.0.0.1:5", None, &[], &[("X-Forwarded-For", "9.9.9.9")]), ip("10.0.0.1"));
        assert_eq!(client("[::ffff:10.0.0.1]:5", None, &[], &[]), ip("10.0.0.1"));
        assert_eq!(client("unix", None, &[], &[]), Client::Unix);
        assert_eq!(client("10.0.0.1:5", Some("9.9.9.9"), &["10.0.0.0/8"], &[("X-Forwarded-For", "x")]), ip("9.9.9.9"));
        assert_eq!(client("unix", Some("::ffff:9.9.9.9"), &["unix"], &[]), ip("9.9.9.9"));
    }

    #[test]
    fn whom_a_trusted_proxy_does_not_name_is_not_the_proxy() {
        let lines = [("Forwarded", "for=1.1.1.1"), ("X-Forwarded-For", "2.2.2.2")];
        assert_eq!(client("10.0.0.1:5", None, &["10.0.0.0/8"], &lines), Client::Unknown);
        assert_eq!(client("unix", None, &["unix"], &lines[..1]), Client::Unknown);
        assert_eq!(client("10.0.0.1:5", None, &["10.0.0.0/8"], &[]), ip("10.0.0.1"), "the proxy's own request");
    }

    #[test]
    fn an_ipv6_client_counts_with_its_64() {
        let peer: Peer = Peer::Ip("[2001:db8::1]:1".parse().unwrap());
        let key = |client| ClientKey::of(client, peer);
        assert_eq!(key(ip("2001:db8:1:2:3::4")), key(ip("2001:db8:1:2:ffff::")));
        assert_ne!(key(ip("2001:db8:1:2::")), key(ip("2001:db8:1:3::")));
        assert_ne!(key(ip("10.0.0.1")), key(ip("10.0.0.2")));
        assert_eq!(key(Client::Unknown), key(ip("2001:db8::9")));
        assert_eq!(ClientKey::of(Client::Unknown, Peer::Unix), ClientKey::of(Client::Unix, peer));
    }
}
