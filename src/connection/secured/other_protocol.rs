//! What a client speaks that does not speak TLS, by what it has sent first.

use std::fmt;

/// What is said to a client that speaks HTTP.
const SPEAK_HTTPS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 58\r\n\
                            Connection: close\r\n\r\nThis port speaks HTTPS: the address begins with https://.\n";
/// How the binary form of the PROXY protocol begins (version 2, §2.2).
const PROXY_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A protocol that is not TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connection) enum OtherProtocol {
    /// HTTP, or as far as can be seen.
    Http,
    /// SSH (RFC 4253 §4.2).
    Ssh,
    /// The header in which a load balancer names its client.
    Proxy,
    /// Lines of text that are none of these.
    Text,
}

impl OtherProtocol {
    /// What begins with these bytes. `None`: it may be TLS, no record of which begins with a letter (RFC 8446 §5.1).
    pub(super) fn of(front: &[u8]) -> Option<OtherProtocol> {
        if front.starts_with(PROXY_SIGNATURE) {
            return Some(OtherProtocol::Proxy);
        }
        if !front.first()?.is_ascii_alphabetic() {
            return None;
        }
        let first_line = front.iter().position(|byte| *byte == b'\n').map(|end| &front[..end]);
        let is_request = |line: &[u8]| line.windows(6).any(|bytes| bytes == b" HTTP/");
        Some(match front {
            _ if front.starts_with(b"SSH-") => OtherProtocol::Ssh,
            _ if front.starts_with(b"PROXY ") => OtherProtocol::Proxy,
            _ if first_line.is_none_or(is_request) => OtherProtocol::Http,
            _ => OtherProtocol::Text,
        })
    }

    /// What it is told, if that can help.
    pub(super) fn answer(self) -> &'static [u8] {
        if self == OtherProtocol::Http { SPEAK_HTTPS } else { b"" }
    }

    /// In one word, to be counted.
    pub(super) fn reason(self) -> &'static str {
        if self == OtherProtocol::Http { "plain_http" } else { "not_tls" }
    }
}

impl fmt::Display for OtherProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            OtherProtocol::Http => "speaks HTTP without TLS",
            OtherProtocol::Ssh => "speaks SSH",
            OtherProtocol::Proxy => "sends a header of the PROXY protocol",
            OtherProtocol::Text => "does not speak TLS",
        };
        write!(f, "the client {what}, to a port for HTTPS")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_tls_is_told_by_how_it_begins() {
        let (http, ssh) = (Some(OtherProtocol::Http), Some(OtherProtocol::Ssh));
        let (proxy, text) = (Some(OtherProtocol::Proxy), Some(OtherProtocol::Text));
        let cases: [(&[u8], Option<OtherProtocol>); 19] = [
            (b"", None),
            (b"\x16\x03\x01", None),
            (b"\x15\x03\x03\0\x02", None),
            (b"\0GET", None),
            (b"\r\n\r\n\0\r\n", None),
            (b"G", http),
            (b"GET / HT", http),
            (b"GET / HTTP/1.1\r\nHost: a\r\n", http),
            (b"get /a b HTTP/1.0\n", http),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", http),
            (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", ssh),
            (b"SSH-1.99-x", ssh),
            (b"SSHGET / HTTP/1.1\r\n", http),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n\x16\x03", proxy),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", proxy),
            (b"EHLO a.example\r\n", text),
            (b"NICK a\nUSER a", text),
            (b"GET /\r\n", text),
            (b"x\n HTTP/1.1", text),
        ];
        for (front, expected) in cases {
            assert_eq!(OtherProtocol::of(front), expected, "{}", front.escape_ascii());
        }
    }

    #[test]
    fn the_answer_to_http_is_as_long_as_it_says() {
        let text = str::from_utf8(OtherProtocol::Http.answer()).unwrap();
        let (head, content) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", content.len())), "{head}");
    }
}
