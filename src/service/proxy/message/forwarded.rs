//! The fields that say who the client is: `X-Forwarded-For` and its kin, and `Forwarded` (RFC 7239).
//!
//! Anybody can send them, so those of an untrusted peer are removed and written afresh. What a trusted proxy says is kept,
//! and extended by what we see. A name with underscores, such as `X_Forwarded_For`, is removed whoever sends it: to
//! applications behind CGI or WSGI it is the same name, and proxies in front of us may have passed it on unseen.

use std::io::Write;
use std::net::IpAddr;

use super::push_line;
use super::request::Sender;
use crate::base::peer::Peer;
use crate::http::fields::{Fields, is_token};

/// What such a field is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// `Forwarded`, or `X-Forwarded-For`, `-Proto` or `-Host`: one line of it is written, or none.
    Written,
    /// Another one, such as `X-Real-IP` or `X-Forwarded-Port`. It is kept if a trusted proxy has sent it.
    Other,
    /// A name with underscores that some take for one of these.
    Lookalike,
}

impl Forwarding {
    /// What the field called `name` is; `None` if it does not say who the client is.
    #[inline]
    pub fn of(name: &[u8]) -> Option<Forwarding> {
        match name.first() {
            Some(b'x' | b'X' | b'f' | b'F') if name.len() >= 9 => Forwarding::of_similar(name),
            _ => None,
        }
    }

    fn of_similar(name: &[u8]) -> Option<Forwarding> {
        let is = |other: &str| name.len() == other.len() && begins_with(name, other);
        let kind = match name.len() {
            9 if is("forwarded") => Forwarding::Written,
            9 if is("x-real-ip") => Forwarding::Other,
            15 if is("x-forwarded-for") => Forwarding::Written,
            16 if is("x-forwarded-host") => Forwarding::Written,
            17 if is("x-forwarded-proto") => Forwarding::Written,
            _ if begins_with(name, "x-forwarded") => Forwarding::Other,
            _ => return None,
        };
        Some(if name.contains(&b'_') { Forwarding::Lookalike } else { kind })
    }
}

/// Whether `name` begins with `start`, if case does not matter, and underscores are hyphens.
fn begins_with(name: &[u8], start: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() >= start.len() && name.iter().zip(start.bytes()).all(|(byte, other)| plain(*byte) == other)
}

/// Adds `X-Forwarded-For`, `-Proto` and `-Host`, each once, for a request that was for `host`. The lists of a trusted peer
/// are joined (RFC 9110 §5.3), so that nobody can take the first line for the whole list.
pub fn push_x_forwarded(lines: &mut Vec<u8>, sender: &Sender<'_>, host: Option<&[u8]>, fields: Fields<'_>) {
    push_joined(lines, "X-Forwarded-For", sender, fields, |lines| match sender.peer {
        Peer::Ip(address) => write!(lines, "{}", address.ip().to_canonical()).is_ok(),
        Peer::Unix => false,
    });
    let mut push_ours = |name, value: &[u8]| match kept(sender, name, fields).next().is_some() {
        true => push_joined(lines, name, sender, fields, |_| false),
        false => push_line(lines, name.as_bytes(), value),
    };
    push_ours("X-Forwarded-Proto", sender.scheme().as_bytes());
    // RFC 9110 §7.2: `Host` is empty if the target has no authority. That says nothing.
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        push_ours("X-Forwarded-Host", host);
    }
}

/// Adds `Forwarded` (RFC 7239 §4): the elements of a trusted peer, and one of our own behind them if the route asks for it.
pub fn push_forwarded(
    lines: &mut Vec<u8>,
    sender: &Sender<'_>,
    host: Option<&[u8]>,
    fields: Fields<'_>,
    is_asked: bool,
) {
    push_joined(lines, "Forwarded", sender, fields, |lines| {
        if !is_asked {
            return false;
        }
        match sender.peer {
            // §6: an IPv6 address stands in brackets, and what is no token in quotes.
            Peer::Ip(address) => match address.ip().to_canonical() {
                IpAddr::V4(ip) => write!(lines, "for={ip}"),
                IpAddr::V6(ip) => write!(lines, "for=\"[{ip}]\""),
            },
            Peer::Unix => write!(lines, "for=unknown"),
        }
        .expect("memory takes what is written");
        lines.extend_from_slice(b";proto=");
        lines.extend_from_slice(sender.scheme().as_bytes());
        if let Some(host) = host.filter(|host| !host.is_empty()) {
            // A checked authority has neither quotes nor backslashes.
            let quote: &[u8] = if is_token(host) { b"" } else { b"\"" };
            [b";host=", quote, host, quote].iter().for_each(|part| lines.extend_from_slice(part));
        }
        true
    });
}

/// Adds one line: the values of a trusted peer's lines, and behind them what `push_ours` adds, if it adds something. No
/// line if there is nothing to say.
fn push_joined(
    lines: &mut Vec<u8>,
    name: &str,
    sender: &Sender<'_>,
    fields: Fields<'_>,
    push_ours: impl FnOnce(&mut Vec<u8>) -> bool,
) {
    let start = lines.len();
    lines.extend_from_slice(name.as_bytes());
    lines.extend_from_slice(b": ");
    let mut end = lines.len();
    let is_empty = end;
    for value in kept(sender, name, fields) {
        lines.extend_from_slice(value);
        end = lines.len();
        lines.extend_from_slice(b", ");
    }
    if push_ours(lines) {
        end = lines.len();
    }
    lines.truncate(if end == is_empty { start } else { end });
    if end > is_empty {
        lines.extend_from_slice(b"\r\n");
    }
}

/// The values that a trusted peer has sent. What stands behind a quote that does not end would be part of it.
fn kept<'a>(sender: &Sender<'_>, name: &str, fields: Fields<'a>) -> impl Iterator<Item = &'a [u8]> {
    let is_trusted = sender.is_trusted;
    fields.all(name).filter(move |value| is_trusted && !value.is_empty() && has_all_quotes(value))
}

/// Whether each quoted string in `value` ends (RFC 9110 §5.6.4).
fn has_all_quotes(value: &[u8]) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for byte in value {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    !quoted
}
