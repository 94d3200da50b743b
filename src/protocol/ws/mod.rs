//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692), server side.
//!
//! Receiving: `handshake` checks the request that asks for the upgrade, and `receiver` takes messages out of their
//! frames with `frame`, `mask`, `deflate` and `utf8`. Sending: `sender` puts messages into frames. `close` has the
//! codes of the closing handshake. A message is never kept as a whole, only the piece that is being read or written.

pub mod close;
pub mod deflate;
pub mod frame;
pub mod handshake;
mod mask;
pub mod receiver;
pub mod sender;
mod utf8;

use std::fmt;

use close::CloseCode;

/// What a message consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8
    Text,
    /// Bytes
    Binary,
}

/// Frames that break the rules or exceed a limit. The WebSocket fails: a Close says why, and nothing more is read
/// (RFC 6455 §7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The code for the Close.
    pub code: CloseCode,
    /// What was wrong, for the log and the Close's reason.
    pub reason: &'static str,
    /// The rule that was broken, such as `RFC 6455 §5.5`.
    pub section: &'static str,
}

impl Violation {
    /// A break of the protocol: 1002.
    const fn protocol(reason: &'static str, section: &'static str) -> Violation {
        Violation { code: CloseCode::PROTOCOL_ERROR, reason, section }
    }

    /// Content that is not what its kind promises: 1007.
    const fn content(reason: &'static str, section: &'static str) -> Violation {
        Violation { code: CloseCode::INVALID_CONTENT, reason, section }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.section)
    }
}

impl std::error::Error for Violation {}
