//! Which pages may open a WebSocket (RFC 6455 §10.2): browsers let any page open one anywhere, and say which page it is.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::{self, FromStr};

/// An origin such as `https://example.org:8443` (RFC 6454 §6.2), or `*` for all of them. Kept as browsers write it: in
/// lower case, without the default port of the scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Not an origin, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidOrigin(&'static str);

const NO_SCHEME: InvalidOrigin = InvalidOrigin("it begins with a scheme and ://");
const NOT_A_PAGE: InvalidOrigin = InvalidOrigin("it is that of the page, which begins with https:// or http://");
const NO_HOST: InvalidOrigin =
    InvalidOrigin("behind the scheme come a host, international names in their xn-- form, and perhaps a port");
const NO_ADDRESS: InvalidOrigin = InvalidOrigin("between brackets stands an IPv6 address");
const NO_PORT: InvalidOrigin = InvalidOrigin("a port is a number from 1 to 65535");

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Origin, InvalidOrigin> {
        if text == "*" {
            return Ok(Origin(text.into()));
        }
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).ok_or(NO_SCHEME)?;
        if matches!(scheme, "ws" | "wss") {
            return Err(NOT_A_PAGE);
        }
        let (host, port) = host_and_port(authority)?;
        Ok(Origin(match (scheme, port) {
            (_, None) | ("http", Some(80)) | ("https", Some(443)) => format!("{scheme}://{host}"),
            (_, Some(port)) => format!("{scheme}://{host}:{port}"),
        }))
    }
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), InvalidOrigin> {
    if let Some(literal) = authority.strip_prefix('[') {
        let (address, port) = literal.split_once(']').ok_or(NO_ADDRESS)?;
        let address: Ipv6Addr = address.parse().map_err(|_| NO_ADDRESS)?;
        return Ok((format!("[{address}]"), port_behind(port)?));
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    let is_host = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    if is_host { Ok((host.into(), port_behind(port)?)) } else { Err(NO_HOST) }
}

/// The port in `:8443`, or none in nothing.
fn port_behind(text: &str) -> Result<Option<u16>, InvalidOrigin> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).filter(|port| *port > 0).map(Some).ok_or(NO_PORT)
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected an origin such as https://example.org, or *: {}", self.0)
    }
}

impl std::error::Error for InvalidOrigin {}

impl Origin {
    /// Whether it stands for all of them.
    pub fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// Whether this is the origin that a request names, however it writes it.
    pub fn admits(&self, origin: &[u8]) -> bool {
        let named = || str::from_utf8(origin).ok()?.parse().ok();
        self.is_any() || named().is_some_and(|named: Origin| !named.is_any() && named == *self)
    }
}

/// Whether a page of this origin came from the host that it now asks. The scheme may differ: a proxy in front of us may
/// have taken off the encryption.
pub(super) fn is_same_host(origin: &[u8], host: &[u8]) -> bool {
    let Some((port, authority)) = [(&b":80"[..], &b"http://"[..]), (b":443", b"https://")]
        .into_iter()
        .find_map(|(port, scheme)| Some((port, origin.strip_prefix(scheme)?)))
    else {
        return false;
    };
    // The default port may be written.
    let bare = |authority: &[u8]| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    bare(authority) == bare(host)
}

/// Whether they would be the same host if one of them had another port, or none. A proxy that passes on the name alone as
/// Host makes them so.
pub(super) fn is_same_host_but_for_the_port(origin: &[u8], host: &[u8]) -> bool {
    let Some(authority) = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://")) else {
        return false;
    };
    name_of(authority).eq_ignore_ascii_case(name_of(host)) && !is_same_host(origin, host)
}

/// `authority` without its port. The colons of an IPv6 address stand between brackets.
fn name_of(authority: &[u8]) -> &[u8] {
    let port = authority.iter().rposition(|byte| *byte == b':').filter(|colon| !authority[*colon..].contains(&b']'));
    &authority[..port.unwrap_or(authority.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Result<Origin, InvalidOrigin> {
        text.parse()
    }

    #[test]
    fn origins_have_a_scheme_and_an_authority_and_nothing_else() {
        for good in ["*", "https://example.org", "http://[::1]:8080", "HTTPS://Example.ORG", "moz-extension://a-b"] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", NO_SCHEME),
            ("example.org", NO_SCHEME),
            ("://a", NO_SCHEME),
            ("1a://a", NO_SCHEME),
            ("null", NO_SCHEME),
            ("wss://a", NOT_A_PAGE),
            ("https://", NO_HOST),
            ("https://:443", NO_HOST),
            ("https://a/", NO_HOST),
            ("https://a/path", NO_HOST),
            ("https://u@a", NO_HOST),
            ("https://*.example.org", NO_HOST),
            ("https://mühle.example", NO_HOST),
            ("https://[::1", NO_ADDRESS),
            ("https://[a]", NO_ADDRESS),
            ("https://a:b", NO_PORT),
            ("https://a:", NO_PORT),
            ("https://a:0", NO_PORT),
            ("https://a:+1", NO_PORT),
            ("https://a:65536", NO_PORT),
            ("https://a:1:2", NO_PORT),
            ("https://[::1]443", NO_PORT),
        ] {
            assert_eq!(origin(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn an_origin_admits_itself_however_it_is_written() {
        for (known, named) in [
            ("https://Example.org", "https://example.org"),
            ("https://example.org:443", "https://example.org"),
            ("http://example.org", "http://example.org:80"),
            ("http://example.org:0080", "http://example.org"),
            ("http://[0:0::1]:81", "http://[::1]:81"),
            ("*", "null"),
        ] {
            assert!(origin(known).unwrap().admits(named.as_bytes()), "{known} {named}");
        }
        for (known, named) in [
            ("https://example.org", "http://example.org"),
            ("https://example.org", "https://example.org.evil.net"),
            ("https://example.org", "https://example.org:80"),
            ("http://example.org:443", "http://example.org"),
            ("https://example.org", "*"),
            ("https://example.org", "null"),
        ] {
            assert!(!origin(known).unwrap().admits(named.as_bytes()), "{known} {named}");
        }
    }

    #[test]
    fn the_same_host_is_the_same_with_and_without_the_default_port() {
        for (origin, host) in [
            ("http://localhost:8080", "localhost:8080"),
            ("http://example.org", "example.org:80"),
            ("https://example.org", "EXAMPLE.org"),
            ("https://example.org", "example.org:443"),
        ] {
            assert!(is_same_host(origin.as_bytes(), host.as_bytes()), "{origin} {host}");
        }
        for (origin, host) in [
            ("null", "localhost"),
            ("file://", ""),
            ("http://localhost", "localhost:8080"),
            ("https://example.org", "example.org:80"),
            ("http://example.org.evil.net", "example.org"),
        ] {
            assert!(!is_same_host(origin.as_bytes(), host.as_bytes()), "{origin} {host}");
        }
    }

    #[test]
    fn a_host_whose_port_a_proxy_took_away_is_told_from_another_host() {
        for (origin, host) in [
            ("http://example.org:8080", "example.org"),
            ("https://Example.org:8443", "example.org:8080"),
            ("http://localhost", "localhost:8080"),
            ("http://[::1]:8080", "[::1]"),
        ] {
            assert!(is_same_host_but_for_the_port(origin.as_bytes(), host.as_bytes()), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://example.org:8080", "example.org:8080"),
            ("http://example.org:80", "example.org"),
            ("http://other.example", "example.org"),
            ("http://[::1]", "[::2]"),
            ("null", "null"),
        ] {
            assert!(!is_same_host_but_for_the_port(origin.as_bytes(), host.as_bytes()), "{origin} {host}");
        }
    }
}
