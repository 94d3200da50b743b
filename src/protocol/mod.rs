//! Protocols between bytes and events. A protocol is a value: it makes events of received bytes, and bytes of
//! responses. Nothing here knows a socket, a clock or a log.

pub mod dns;
pub mod h1;
pub mod h2;
pub mod proxy_header;
pub mod ws;

use std::fmt;

use crate::http::status::Status;

/// Input that breaks the protocol's rules or exceeds a limit. The connection closes after the answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolError {
    /// What to answer.
    pub status: Status,
    /// What was wrong, for the log and for the answer's content.
    pub reason: &'static str,
    /// The rule that was broken, such as `RFC 9112 §2.2`.
    pub section: &'static str,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.section)
    }
}

impl std::error::Error for ProtocolError {}

/// A response's source ended before it had produced as much as was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortContent {
    /// How many bytes are missing.
    pub missing: u64,
}
