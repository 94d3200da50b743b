//! What `tidemill probe` asks for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::http::authority;
use crate::net::listener::Address;

/// `http://HOST[:PORT][/PATH]`, the same with `https:`, or `unix:/SOCKET[:/PATH]`, which is how nginx names these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProbeUrl {
    pub(super) place: Place,
    /// For the field `Host` (RFC 9110 §7.2).
    pub(super) authority: String,
    /// Path and query.
    pub(super) target: String,
    text: String,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The host is a name or an address; IPv6 is in brackets.
    Tcp {
        host: String,
        port: u16,
        is_secured: bool,
    },
    Unix(PathBuf),
}

const EXPECTED: &str = "expected a URL such as http://127.0.0.1:8080/healthz, https://localhost:8443/ or \
                        unix:/run/tidemill.sock:/healthz";

impl ProbeUrl {
    /// Whether it is asked over TLS.
    pub(super) fn is_secured(&self) -> bool {
        matches!(self.place, Place::Tcp { is_secured: true, .. })
    }
}

impl FromStr for ProbeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<ProbeUrl, String> {
        let (place, authority, target) = match text.strip_prefix("unix:") {
            Some(rest) => {
                let (socket, target) = rest.find(":/").map_or((rest, ""), |end| (&rest[..end], &rest[end + 1..]));
                let Address::Unix(path) = format!("unix:{socket}").parse()? else { return Err(EXPECTED.into()) };
                (Place::Unix(path), "localhost", target)
            }
            None => tcp(text)?,
        };
        // A client keeps the fragment to itself (RFC 9110 §7.1).
        let target = target.split('#').next().unwrap_or_default();
        if target.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err("the path must be written in visible ASCII, with % for everything else".into());
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(ProbeUrl { place, authority: authority.to_owned(), target, text: text.to_owned() })
    }
}

/// The place, the authority and the target of a URL.
fn tcp(text: &str) -> Result<(Place, &str, &str), String> {
    let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
    let (is_secured, default) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (false, 80),
        "https" => (true, 443),
        _ => return Err(EXPECTED.into()),
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("a user or a password cannot be sent".into());
    }
    let host = authority::host(authority.as_bytes()).ok_or(EXPECTED)?;
    let port = match authority[host.len()..].trim_start_matches(':') {
        "" => default,
        port => port.parse().map_err(|_| EXPECTED)?,
    };
    Ok((Place::Tcp { host: host.to_owned(), port, is_secured }, authority, target))
}

impl fmt::Display for ProbeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_whom_to_ask_and_for_what() {
        for (text, host, port, is_secured, authority, target) in [
            ("http://a.example", "a.example", 80, false, "a.example", "/"),
            ("HTTPS://a.example:8443/b?c#d", "a.example", 8443, true, "a.example:8443", "/b?c"),
            ("https://[::1]?c", "[::1]", 443, true, "[::1]", "/?c"),
            ("http://127.0.0.1:/", "127.0.0.1", 80, false, "127.0.0.1:", "/"),
        ] {
            let url: ProbeUrl = text.parse().unwrap();
            assert_eq!(url.place, Place::Tcp { host: host.into(), port, is_secured }, "{text}");
            assert_eq!((&*url.authority, &*url.target, url.to_string()), (authority, target, text.into()));
            assert_eq!(url.is_secured(), is_secured);
        }
        for (text, socket, target) in
            [("unix:/run/a.sock", "/run/a.sock", "/"), ("unix:/run/a:b:/c?d", "/run/a:b", "/c?d"), ("unix:a", "a", "/")]
        {
            let url: ProbeUrl = text.parse().unwrap();
            assert_eq!((url.place, &*url.authority, &*url.target), (Place::Unix(socket.into()), "localhost", target));
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        let wrong = |text: &str| text.parse::<ProbeUrl>().unwrap_err();
        for text in
            ["", "localhost:8080", "ftp://a/", "http://", "http:///x", "http://a:x/", "http://a:65536/", "http://[::1/"]
        {
            assert_eq!(wrong(text), EXPECTED, "{text}");
        }
        assert_eq!(wrong("http://u:p@a/"), "a user or a password cannot be sent");
        for text in ["http://a/b c", "http://a/\r\nX: y", "http://a/\u{e9}", "unix:/a:/b c"] {
            assert_eq!(
                wrong(text),
                "the path must be written in visible ASCII, with % for everything else",
                "{text:?}"
            );
        }
        assert!(wrong("unix:").starts_with("expected a path after unix:"));
    }
}
