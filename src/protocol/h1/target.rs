//! The four forms of a request target (RFC 9112 §3.2) and the authority in two of them and in Host (RFC 3986 §3.2).

use std::net::Ipv6Addr;

use memchr::memchr;

use super::bad_request;
use crate::base::words::find_byte;
use crate::http::method::Method;
use crate::http::target::{Target, TargetForm, hex_digit};
use crate::protocol::ProtocolError;

/// Parses a target. `raw` is not empty and has no space, control character or `#`.
pub fn parse<'a>(method: &Method, raw: &'a [u8]) -> Result<Target<'a>, ProtocolError> {
    match (method, raw) {
        (Method::Connect, _) => authority_form(raw),
        (_, [b'/', ..]) => Ok(with_path(TargetForm::Origin, raw, None, raw)),
        (Method::Options, b"*") => Ok(with_path(TargetForm::Asterisk, raw, None, raw)),
        (_, b"*") => Err(bad_request("the target * is for OPTIONS only", "RFC 9112 §3.2.4")),
        _ => absolute_form(raw),
    }
}

/// A target of this form, whose path and query are `rest`.
pub fn with_path<'a>(form: TargetForm, raw: &'a [u8], authority: Option<&'a [u8]>, rest: &'a [u8]) -> Target<'a> {
    let (path, query) = match find_byte(b'?', rest) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let path = if path.is_empty() { b"/" } else { path };
    Target { form, raw, authority, path, query }
}

/// `http://` authority path-abempty [ "?" query ] (RFC 9112 §3.2.2). A server must accept it, whoever asks.
fn absolute_form(raw: &[u8]) -> Result<Target<'_>, ProtocolError> {
    let after_scheme = strip_scheme(raw, b"http://").or_else(|| strip_scheme(raw, b"https://"));
    let rest = after_scheme.ok_or(NO_FORM)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.contains(&b'@') {
        return Err(bad_request("user information in a target is refused", "RFC 9110 §4.2.4"));
    }
    match host_and_port(authority) {
        Some((host, _)) if !host.is_empty() => Ok(with_path(TargetForm::Absolute, raw, Some(authority), rest)),
        _ => Err(bad_request("the target's authority is not a host and a port", "RFC 9112 §3.2.2")),
    }
}

fn strip_scheme<'a>(raw: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = raw.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// host ":" port (RFC 9112 §3.2.3). The port is not optional here (RFC 9110 §9.3.6).
fn authority_form(raw: &[u8]) -> Result<Target<'_>, ProtocolError> {
    match host_and_port(raw) {
        Some((host, Some(port))) if !host.is_empty() && !port.is_empty() => {
            Ok(Target { form: TargetForm::Authority, raw, authority: Some(raw), path: b"", query: None })
        }
        _ => Err(bad_request("the target of CONNECT is host:port", "RFC 9112 §3.2.3")),
    }
}

const NO_FORM: ProtocolError = bad_request("the target is neither a path nor an http URI", "RFC 9112 §3.2");

/// Whether a Host field may have this value: uri-host [ ":" port ], or nothing (RFC 9110 §7.2).
pub fn is_host_field_value(value: &[u8]) -> bool {
    host_and_port(value).is_some()
}

/// Splits uri-host [ ":" port ]. The host may be empty, and so may the port (RFC 3986 §3.2.2, §3.2.3).
pub fn host_and_port(value: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    // Nearly every host is a name or an IPv4 address without escapes. Its bytes are checked by the search for its end.
    let plain_len = value.iter().position(|byte| !REG_NAME_BYTE[*byte as usize]).unwrap_or(value.len());
    let host_len = match value {
        [b'[', literal @ ..] => memchr(b']', literal)? + 2,
        _ if value.get(plain_len) == Some(&b'%') => memchr(b':', value).unwrap_or(value.len()),
        _ => plain_len,
    };
    let (host, rest) = value.split_at(host_len);
    let port = match rest {
        [] => None,
        [b':', port @ ..] if is_port(port) => Some(port),
        _ => return None,
    };
    (host_len == plain_len || is_host(host)).then_some((host, port))
}

fn is_host(host: &[u8]) -> bool {
    match host {
        [b'[', b'v' | b'V', future @ .., b']'] => is_ip_future(future),
        [b'[', address @ .., b']'] => is_ipv6(address),
        _ => is_reg_name(host),
    }
}

/// 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ), behind the `v`.
fn is_ip_future(literal: &[u8]) -> bool {
    let Some(dot) = memchr(b'.', literal) else { return false };
    let (version, address) = (&literal[..dot], &literal[dot + 1..]);
    !version.is_empty()
        && version.iter().all(u8::is_ascii_hexdigit)
        && !address.is_empty()
        && address.iter().all(|byte| REG_NAME_BYTE[*byte as usize] || *byte == b':')
}

fn is_ipv6(address: &[u8]) -> bool {
    std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// *( unreserved / pct-encoded / sub-delims ); IPv4 addresses look the same.
fn is_reg_name(mut name: &[u8]) -> bool {
    while let [byte, rest @ ..] = name {
        name = match (byte, rest) {
            (b'%', [high, low, rest @ ..]) if hex_digit(*high).is_some() && hex_digit(*low).is_some() => rest,
            (byte, rest) if REG_NAME_BYTE[*byte as usize] => rest,
            _ => return false,
        };
    }
    true
}

/// unreserved / sub-delims (RFC 3986 §2.2, §2.3), as a table.
const REG_NAME_BYTE: [bool; 256] = {
    let (mut set, mut byte) = ([false; 256], 0);
    while byte < 256 {
        set[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let (marks, mut at) = (b"-._~!$&'()*+,;=", 0);
    while at < marks.len() {
        set[marks[at] as usize] = true;
        at += 1;
    }
    set
};

/// *DIGIT, at most 65535.
fn is_port(port: &[u8]) -> bool {
    if port.len() <= 5 {
        return port.iter().all(u8::is_ascii_digit) && (port.len() < 5 || port <= b"65535".as_slice());
    }
    let number =
        |sum: u32, digit: &u8| digit.is_ascii_digit().then(|| (sum * 10 + u32::from(digit - b'0')).min(65_536));
    port.iter().try_fold(0, number).is_some_and(|port| port <= 65_535)
}
