//! Which pages may open a WebSocket (RFC 6455 §10.2): browsers let any page open one anywhere, and say which page it is.

use std::fmt;
use std::str::FromStr;

/// An origin such as `https://example.org:8443` (RFC 6454 §6.2), or `*` for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Not an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Origin, InvalidOrigin> {
        if text == "*" {
            return Ok(Origin(text.into()));
        }
        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin)?;
        let is_authority = !authority.is_empty() && !authority.contains(['/', '?', '#', '@', ' ']);
        if scheme.is_empty() || !is_authority {
            return Err(InvalidOrigin);
        }
        Ok(Origin(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an origin such as https://example.org, or *")
    }
}

impl std::error::Error for InvalidOrigin {}

impl Origin {
    /// Whether this is the origin that a request names.
    pub fn admits(&self, origin: &[u8]) -> bool {
        self.0 == "*" || self.0.as_bytes().eq_ignore_ascii_case(origin)
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
    // The port that goes without saying may be said.
    let bare = |authority: &[u8]| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_a_scheme_and_an_authority_and_nothing_else() {
        for good in ["*", "https://example.org", "http://[::1]:8080", "HTTPS://Example.ORG"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in ["", "example.org", "https://", "://a", "https://a/", "https://a/path", "https://u@a", "null"] {
            assert_eq!(bad.parse::<Origin>(), Err(InvalidOrigin), "{bad}");
        }
    }

    #[test]
    fn an_origin_admits_itself_in_any_case() {
        let origin: Origin = "https://Example.org".parse().unwrap();
        assert!(origin.admits(b"https://example.org"));
        assert!(!origin.admits(b"http://example.org"));
        assert!(!origin.admits(b"https://example.org.evil.net"));
        assert!("*".parse::<Origin>().unwrap().admits(b"null"));
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
}
