//! The authority of a URL: host [ ":" port ] (RFC 3986 §3.2).

use std::net::{Ipv4Addr, Ipv6Addr};

/// The host of host [ ":" port ] that can stand in a URL for browsers: a name of letters, digits and hyphens, or an IP
/// address. RFC 3986 §3.2.2 allows more, which nobody has as the name of a server.
pub fn host(authority: &[u8]) -> Option<&str> {
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
