//! Why a TLS connection ends early.

use std::fmt;

use rustls::{AlertDescription, Error, InvalidMessage};

use super::selection::refusal_alert;

/// Why a TLS connection ends early: what the peer did, or why it is refused.
#[derive(Debug)]
pub struct Fault {
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Library(Error),
    WornOut,
    TooLarge,
}

impl Fault {
    pub(super) fn of(error: Error) -> Fault {
        Fault { reason: Reason::Library(error) }
    }

    /// The keys have been used as often as they may be.
    pub(super) fn worn_out() -> Fault {
        Fault { reason: Reason::WornOut }
    }

    /// A message is larger than any that there is room for.
    pub fn too_large() -> Fault {
        Fault { reason: Reason::TooLarge }
    }

    /// The record of the alert that goes out in place of the one that the library has queued, if there is one. It is not
    /// encrypted (RFC 8446 §5.1, §6).
    pub(super) fn own_alert(&self) -> Option<[u8; 7]> {
        const ILLEGAL_PARAMETER: [u8; 7] = [21, 3, 3, 0, 2, 2, 47];
        match &self.reason {
            // The library says nothing about a message that is too large.
            Reason::Library(Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge)) | Reason::TooLarge => {
                Some(ILLEGAL_PARAMETER)
            }
            Reason::Library(error) => refusal_alert(error),
            Reason::WornOut => None,
        }
    }

    /// The alert with which the peer has ended the connection, if it has: its name in RFC 8446 §6.
    pub fn alert_of_peer(&self) -> Option<String> {
        match &self.reason {
            Reason::Library(Error::AlertReceived(alert)) => Some(alert_name(*alert)),
            _ => None,
        }
    }
}

/// The name of an alert as RFC 8446 §6 has it, such as `bad_certificate`.
fn alert_name(alert: AlertDescription) -> String {
    let Some(name) = alert.as_str() else { return format!("alert_{}", u8::from(alert)) };
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && text.ends_with(|last: char| last.is_ascii_lowercase()) {
            text.push('_');
        }
        text.push(if text.ends_with('_') || text.is_empty() { letter.to_ascii_lowercase() } else { letter });
    }
    text.to_ascii_lowercase().replace("unrecognised", "unrecognized").replace("pskidentity", "psk_identity")
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Library(Error::AlertReceived(alert)) => {
                write!(f, "the client sent the alert {}", alert_name(*alert))
            }
            Reason::Library(error) => write!(f, "{error}"),
            Reason::WornOut => f.write_str("the keys have been used as often as they may be"),
            Reason::TooLarge => f.write_str("a message is too large"),
        }
    }
}
