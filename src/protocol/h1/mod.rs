//! HTTP/1.0 and HTTP/1.1 (RFC 9112).
//!
//! Receiving: `scan` finds the end of a request's head and `head` makes a request of it with `target`; `status_line` finds
//! the end of a response's head. `framing` says how much content follows, and `decode` takes it out of its framing.
//! Sending: `encode` writes heads, and `output` puts content into its framing. `server` and `client` join both directions.

pub mod client;
mod decode;
pub(crate) mod encode;
pub(super) mod framing;
mod head;
pub mod hsts;
mod output;
pub mod scan;
pub mod server;
pub mod spans;
mod status_line;
pub(super) mod target;

use crate::http::status::Status;
use crate::protocol::ProtocolError;

/// The state of receiving on one side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiving {
    /// No byte of the next head has arrived.
    Idle,
    /// A head has begun.
    Head,
    /// A head has been received, its content has not ended.
    Content,
    /// The message is complete, or nothing more will be accepted after an error.
    Done,
}

/// The state of sending on one side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// No message has begun, interim responses aside.
    Idle,
    /// The head is out, content is to follow.
    Content,
    /// The message is complete.
    Done,
}

/// Input that is refused with 400 for this reason under this rule.
const fn bad_request(reason: &'static str, section: &'static str) -> ProtocolError {
    ProtocolError { status: Status::BAD_REQUEST, reason, section }
}

/// What an upstream sends and we refuse with 502 for this reason under this rule.
const fn bad_gateway(reason: &'static str, section: &'static str) -> ProtocolError {
    ProtocolError { status: Status::BAD_GATEWAY, reason, section }
}

const BARE_LF: ProtocolError = bad_request("a line must end in CRLF, not in a bare LF", "RFC 9112 §2.2");
const BARE_CR: ProtocolError = bad_request("a CR without an LF behind it", "RFC 9112 §2.2");
