//! Why a TLS connection ends early.

use std::fmt;

use rustls::{AlertDescription, Error, InvalidMessage, PeerMisbehaved};

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
        const UNEXPECTED_MESSAGE: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];
        match &self.reason {
            // The library has no alert for the first two.
            Reason::Library(Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge)) | Reason::TooLarge => {
                Some(ILLEGAL_PARAMETER)
            }
            Reason::Library(Error::PeerMisbehaved(
                PeerMisbehaved::MessageInterleavedWithHandshakeMessage
                | PeerMisbehaved::TooManyEmptyFragments
                | PeerMisbehaved::TooManyWarningAlertsReceived,
            )) => Some(UNEXPECTED_MESSAGE),
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
    let (mut text, mut last) = (String::new(), ' ');
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && last.is_ascii_lowercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
        last = letter;
    }
    text.replace("unrecognised", "unrecognized").replace("pskidentity", "psk_identity")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_standard() {
        let names = [10, 48, 80, 112, 115, 116, 120].map(|code| alert_name(AlertDescription::from(code)));
        let expected = [
            "unexpected_message",
            "unknown_ca",
            "internal_error",
            "unrecognized_name",
            "unknown_psk_identity",
            "certificate_required",
            "no_application_protocol",
        ];
        assert_eq!(names, expected);
        assert_eq!(alert_name(AlertDescription::from(200)), "alert_200");
    }
}
