//! Which requests go to which upstreams, and how.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use super::balance::Balance;
use super::path::NormalPath;
use crate::http::message::RequestHead;

/// Requests for a host and a path, and where they go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The name or address that requests must be for, in lower case and without a port; `None`: any.
    pub host: Option<String>,
    /// What the paths of the requests begin with, normalised and without a slash at its end: empty for all paths.
    pub prefix: String,
    /// Where they go: at least one.
    pub upstreams: Vec<Upstream>,
    /// What stands in the place of the prefix on the way to the upstream, without a slash at its end; `None`: the prefix.
    pub replacement: Option<String>,
    /// What the upstream gets as `Host`.
    pub host_field: HostField,
    /// How one of several upstreams is chosen.
    pub balance: Balance,
    /// How upstreams are asked whether they are well; `None`: they are not asked.
    pub health: Option<HealthCheck>,
    /// Time until a connection is there.
    pub connect_timeout: Duration,
    /// Time from the end of the request to the head of the response, and between two pieces of its content.
    pub response_timeout: Duration,
    /// Time that a connection is kept for the next request.
    pub idle_timeout: Duration,
    /// Time without a byte in either direction on a connection that speaks another protocol.
    pub tunnel_timeout: Duration,
    /// Whether `Forwarded` (RFC 7239) is sent as well.
    pub sends_forwarded: bool,
    /// Whether a connection begins with a PROXY header, and so belongs to one client.
    pub sends_proxy_header: bool,
    /// Whether content of responses is coded for clients that accept that, where it is worth it.
    pub compresses: bool,
    /// Connections to each upstream at a time; `None`: as many as there may be.
    pub connections_max: Option<u32>,
    /// Whether a client that ends its direction has left, although it may only have said all it had to say.
    pub aborts_on_close: bool,
}

/// The root of an upstream's URLs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// Whether it speaks TLS: `https`.
    pub is_secured: bool,
    /// Its name, in lower case, or its address.
    pub host: UpstreamHost,
    /// Its port.
    pub port: u16,
    /// Host and port as `Host` says them (RFC 9110 §7.2): without the default port, an IPv6 address in brackets.
    pub authority: String,
}

/// Where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UpstreamHost {
    /// A name, which has addresses in DNS.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// What an upstream gets as `Host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum HostField {
    /// Whom the client has asked.
    #[default]
    Keep,
    /// The upstream's own name.
    Upstream,
    /// This one.
    Name(String),
}

/// How upstreams are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// The target of the request.
    pub target: String,
    /// Time from one request to the next.
    pub interval: Duration,
}

impl Upstream {
    /// An upstream at this `host`: a name or an address without brackets. `port`: `None` for the scheme's own.
    pub fn new(is_secured: bool, host: &str, port: Option<u16>) -> Upstream {
        let default_port = if is_secured { 443 } else { 80 };
        let port = port.unwrap_or(default_port);
        let host = match host.parse() {
            Ok(address) => UpstreamHost::Address(address),
            Err(_) => UpstreamHost::Name(host.to_ascii_lowercase()),
        };
        let authority = if port == default_port { host.to_string() } else { format!("{host}:{port}") };
        Upstream { is_secured, host, port, authority }
    }
}

impl Route {
    /// A route for paths with this prefix, with the defaults of everything else.
    pub fn new(host: Option<String>, prefix: String, upstreams: Vec<Upstream>) -> Route {
        Route {
            host,
            prefix,
            upstreams,
            replacement: None,
            host_field: HostField::default(),
            balance: Balance::default(),
            health: None,
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(4),
            tunnel_timeout: Duration::from_secs(60 * 60),
            sends_forwarded: false,
            sends_proxy_header: false,
            compresses: false,
            connections_max: None,
            aborts_on_close: false,
        }
    }

    /// What `upstream` gets as `Host` in a request that was for `asked`. Where nobody was asked by name, as HTTP/1.0
    /// allows, it is the upstream's own name.
    pub fn host_for<'a>(&'a self, upstream: &'a Upstream, asked: Option<&'a [u8]>) -> &'a [u8] {
        match (&self.host_field, asked) {
            (HostField::Keep, Some(asked)) if !asked.is_empty() => asked,
            (HostField::Keep | HostField::Upstream, _) => upstream.authority.as_bytes(),
            (HostField::Name(name), _) => name.as_bytes(),
        }
    }

    /// Whether a normalised `path` is the prefix, or lies beneath it. `/api` and `/api/x` have the prefix `/api`, `/apis`
    /// does not. `OPTIONS *` is a matter of routes for all paths.
    fn has(&self, path: &[u8]) -> bool {
        match path.strip_prefix(self.prefix.as_bytes()) {
            Some(rest) => matches!(rest.first(), Some(b'/')) || (rest.is_empty() && !path.is_empty()) || path == b"*",
            None => false,
        }
    }

    /// Whether it takes a request for this `host` and this normalised `path`.
    fn fit(&self, host: Option<&[u8]>, path: &[u8]) -> Fit {
        match () {
            () if !self.has(path) => Fit::OtherPath,
            () if !self.is_for(host) => Fit::OtherHost,
            () => Fit::Fits,
        }
    }

    fn is_for(&self, host: Option<&[u8]>) -> bool {
        match (&self.host, host) {
            (None, _) => true,
            (Some(name), Some(host)) if name.starts_with('[') => ipv6_of(name.as_bytes()) == ipv6_of(host),
            (Some(name), Some(host)) => name.as_bytes().eq_ignore_ascii_case(host),
            (Some(_), None) => false,
        }
    }
}

/// Whether a route takes a request, as far as host and path decide that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It does, unless a route that is tried before it does.
    Fits,
    /// The path is not its prefix, and does not lie beneath it.
    OtherPath,
    /// The path fits, and the request is for another host.
    OtherHost,
}

/// All routes. Of those that fit a request, one with a host comes before one without, and then the longest prefix wins.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    /// The first that fits is the one.
    sorted: Vec<Rc<Route>>,
    any_has_host: bool,
}

/// The route of a request, and the path by which it was found.
#[derive(Debug, Clone)]
pub struct Matched<'r, 'a> {
    /// The route.
    pub route: &'r Rc<Route>,
    /// Its place in the order of [`Routes::iter`].
    pub place: usize,
    /// The request's path.
    pub path: NormalPath<'a>,
}

impl FromIterator<Route> for Routes {
    fn from_iter<I: IntoIterator<Item = Route>>(routes: I) -> Routes {
        let mut sorted: Vec<_> = routes.into_iter().map(Rc::new).collect();
        sorted.sort_by_key(|route| (route.host.is_none(), usize::MAX - route.prefix.len()));
        Routes { any_has_host: sorted.iter().any(|route| route.host.is_some()), sorted }
    }
}

impl Routes {
    /// All of them, in the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<Route>> {
        self.sorted.iter()
    }

    /// The route of this request, if one fits. It is looked up by the normalised path, which is what the upstream gets. A
    /// path with a defect finds its route as well, so that whoever answers for the path refuses it.
    #[inline]
    pub fn find<'a>(&self, request: &RequestHead<'a>) -> Option<Matched<'_, 'a>> {
        if self.sorted.is_empty() { None } else { self.find_among(request) }
    }

    fn find_among<'a>(&self, request: &RequestHead<'a>) -> Option<Matched<'_, 'a>> {
        self.find_path(NormalPath::of_request(request), request)
    }

    /// The route of a request that is like this one, but for its path.
    pub fn find_path<'a>(&self, path: NormalPath<'a>, request: &RequestHead<'_>) -> Option<Matched<'_, 'a>> {
        let place = self.fits(request, path.as_bytes()).position(|(_, fit)| fit == Fit::Fits)?;
        let route = &self.sorted[place];
        Some(Matched { route, place, path })
    }

    /// Every route in the order in which they are tried, and whether it takes this request, whose normalised path this is.
    pub fn fits<'r>(&'r self, request: &RequestHead<'_>, path: &[u8]) -> impl Iterator<Item = (&'r Rc<Route>, Fit)> {
        let host = if self.any_has_host { request.authority().map(host_of) } else { None };
        self.sorted.iter().map(move |route| (route, route.fit(host, path)))
    }
}

/// The IPv6 address that stands in brackets (RFC 3986 §3.2.2), whatever its spelling.
pub fn ipv6_of(host: &[u8]) -> Option<Ipv6Addr> {
    let address = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    str::from_utf8(address).ok()?.parse().ok()
}

/// The host of host [ ":" port ], without the dot of the root behind a name. The authority has been checked.
pub fn host_of(authority: &[u8]) -> &[u8] {
    let port = match authority.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if authority[at] == b':' => at,
        _ => authority.len(),
    };
    let host = &authority[..port];
    host.strip_suffix(b".").unwrap_or(host)
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/", self.host.as_deref().unwrap_or_default(), self.prefix)
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_secured { "https" } else { "http" }, self.authority)
    }
}

impl fmt::Display for UpstreamHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpstreamHost::Name(name) => f.write_str(name),
            UpstreamHost::Address(IpAddr::V4(address)) => address.fmt(f),
            UpstreamHost::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests;
