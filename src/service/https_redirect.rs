//! `--https-redirect`: what plain listeners answer when everything is to go over HTTPS.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::errors::{Detail, bad_request};
use crate::http::fields::{FieldValue, LOCATION};
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::http::target::TargetForm;

/// Where an authority that issues certificates looks for the proof that a name is ours (RFC 8555 §8.3). It begins at a plain
/// listener, and must find the proof also when no certificate for the name is there yet.
const ACME: &[u8] = b"/.well-known/acme-challenge/";
/// The port of `https` (RFC 9110 §4.2.2), which stands in no URL.
const DEFAULT_PORT: u16 = 443;

/// Redirects requests to a listener with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpsRedirect {
    /// The port of that listener.
    port: u16,
}

impl HttpsRedirect {
    /// To the listener with this `port`, or with none, as on a Unix socket: then to the default port.
    pub fn new(port: Option<u16>) -> HttpsRedirect {
        HttpsRedirect { port: port.unwrap_or(DEFAULT_PORT) }
    }

    /// The answer to a request on a plain listener: 308, which keeps method and content (RFC 9110 §15.4.9). `None` if the
    /// request is not redirected: it proves a name, or is for no resource.
    pub fn answer(self, request: &RequestHead<'_>) -> Option<Response> {
        let target = &request.target;
        let is_for_a_resource = matches!(target.form, TargetForm::Origin | TargetForm::Absolute);
        if !is_for_a_resource || is_proof(target.path) {
            return None;
        }
        let authority = request.authority().unwrap_or_default();
        let Some(host) = host(authority) else {
            let hint = "a redirect to https: needs the name of the host";
            return Some(bad_request("no_host", [("hint", Detail::Text(hint))]));
        };
        let mut location = format!("https://{host}").into_bytes();
        if self.port != DEFAULT_PORT {
            location.extend(format!(":{}", self.port).bytes());
        }
        location.extend_from_slice(target.path);
        if let Some(query) = target.query {
            location.push(b'?');
            location.extend_from_slice(query);
        }
        // Its bytes were those of a request target, so they are those of a field value, too.
        let location = FieldValue::new(location).ok()?;
        Some(Response::new(Status::PERMANENT_REDIRECT).with_field(LOCATION, location))
    }
}

/// Whether the path is that of a proof. Its name is a token in base64url, so no dots lead from there to anything else.
fn is_proof(path: &[u8]) -> bool {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    path.strip_prefix(ACME).is_some_and(|token| !token.is_empty() && token.iter().all(is_of_token))
}

/// The host of host [ ":" port ] that can stand in a URL for browsers: a name of letters, digits and hyphens, or an IP
/// address. RFC 3986 §3.2.2 allows more, which nobody has as the name of a server.
fn host(authority: &[u8]) -> Option<&str> {
    let authority = str::from_utf8(authority).ok()?;
    let end = match authority.starts_with('[') {
        true => authority.find(']')? + 1,
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_name(host),
    };
    (is_host && is_port(port)).then_some(host)
}

/// Nothing, or ":" with a number or without (RFC 3986 §3.2.3).
fn is_port(port: &str) -> bool {
    let Some(digits) = port.strip_prefix(':') else { return port.is_empty() };
    digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.is_empty() || digits.parse::<u16>().is_ok())
}

/// A name in DNS, perhaps with the dot of the root at its end, or an IPv4 address. Its labels have 1 to 63 bytes, all of it
/// has 253 (RFC 1035 §2.3.4). What ends in a number is an address to browsers (WHATWG URL §3.5), or nothing.
fn is_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len()) && label.bytes().all(is_allowed)
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = match last.strip_prefix("0x").or_else(|| last.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    match is_number {
        true => name.parse::<Ipv4Addr>().is_ok(),
        false => name.len() <= 253 && name.split('.').all(is_label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for (authority, expected) in [
            ("a.example", Some("a.example")),
            ("a.example:8080", Some("a.example")),
            ("a.example:", Some("a.example")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("[2001:db8::1]:80", Some("[2001:db8::1]")),
            ("[::1]", Some("[::1]")),
            ("my_host", Some("my_host")),
            ("a.example.", Some("a.example.")),
            ("-a.b-", Some("-a.b-")),
            ("1.2.3.4a", Some("1.2.3.4a")),
            ("a.example:65535", Some("a.example")),
            ("[::ffff:192.0.2.1]", Some("[::ffff:192.0.2.1]")),
            ("a..b", None),
            (".a", None),
            ("a..", None),
            (".", None),
            ("..", None),
            ("1.2.3.256", None),
            ("1.2.3", None),
            ("a.1", None),
            ("127.0x1", None),
            ("a.example:65536", None),
            ("a.example:80:80", None),
            ("[::1", None),
            ("[1.2.3.4]", None),
            ("[::1%25eth0]", None),
            ("[:::]", None),
            ("m\u{fc}hle", None),
            ("", None),
            (":80", None),
            ("[]", None),
            ("[::1]x", None),
            ("a.example:80x", None),
            ("a@b", None),
            ("a%2fb", None),
            ("a/b", None),
            ("a'b;c", None),
            ("[v1.x]", None),
        ] {
            assert_eq!(host(authority.as_bytes()), expected, "{authority}");
        }
        let (label, name) = ("a".repeat(63), vec!["a".repeat(63); 4].join("."));
        assert_eq!((host(label.as_bytes()), host(&name.as_bytes()[..253])), (Some(&*label), Some(&name[..253])));
        assert_eq!((host((label + "a").as_bytes()), host(&name.as_bytes()[..254])), (None, None));
        assert_eq!(host(b"a\xff"), None);
    }
}
