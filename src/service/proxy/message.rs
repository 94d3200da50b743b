//! What becomes of a message on its way between a client and an upstream (RFC 9110 §7.6).
//!
//! A client cannot strip what an upstream relies on: `Connection` may name fields to be removed, but not those that are for
//! whoever gets the message, and not those that say who the client is. Proxies that let it name `Authorization` or
//! `X-Forwarded-For` could be made to let anybody in.
//!
//! Of a response, everything passes but what is about the upstream's connection. `Alt-Svc` (RFC 7838) is: it names a port
//! of the upstream's, which clients cannot reach or should not. `Strict-Transport-Security`, `Set-Cookie`, `Refresh` and
//! everything about caching stay as the upstream says them.

mod connection;
mod forwarded;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use connection::named_in_vain;
pub use request::{Fate, Outgoing, Refusal, Sender, fates, request};
pub use response::{Asked, trailers};

use crate::http::fields::list_members;
use crate::http::message::Version;

/// By what name this server is known in `Via` (RFC 9110 §7.6.3).
const PSEUDONYM: &str = "tidemill";
/// How often a request may have come by here. A chain of several of these servers is no loop.
const PASSES_MAX: usize = 8;

/// The member of `Via` for a message that came in this version.
fn via(version: Version) -> &'static str {
    match version {
        Version::Http10 => "1.0 tidemill",
        Version::Http11 => "1.1 tidemill",
        Version::Http2 => "2.0 tidemill",
    }
}

/// How many members of a `Via` line are ours: received-protocol RWS received-by (RFC 9110 §7.6.3).
fn passes(via: &[u8]) -> usize {
    let is_ours = |member: &&[u8]| {
        let mut words = member.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|received_by| received_by.eq_ignore_ascii_case(PSEUDONYM.as_bytes()))
    };
    list_members(via).filter(is_ours).count()
}

/// Adds a field line.
fn push_line(lines: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    lines.extend_from_slice(name);
    lines.extend_from_slice(b": ");
    lines.extend_from_slice(value);
    lines.extend_from_slice(b"\r\n");
}
