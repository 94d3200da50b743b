//! Why a TLS connection ends early.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

use super::pair::days;
use super::selection::{is_unknown_name, refusal_alert};

/// Why a TLS connection ends early: what the peer did, or why it is refused.
#[derive(Debug)]
pub struct Fault {
    reason: Reason,
    /// The alert that tells the peer, if one does.
    told: Option<AlertDescription>,
    /// The peer is an upstream, not a client.
    pub(super) is_of_upstream: bool,
}

#[derive(Debug)]
enum Reason {
    Library(Error),
    /// An upstream has this host, which is neither a DNS name nor an IP address.
    NoServerName(Box<str>),
    WornOut,
    TooLarge,
}

impl Fault {
    fn new(reason: Reason) -> Fault {
        Fault { reason, told: None, is_of_upstream: false }
    }

    pub(super) fn of(error: Error) -> Fault {
        Fault::new(Reason::Library(error))
    }

    /// What an upstream did.
    pub(super) fn of_upstream(error: Error) -> Fault {
        Fault { is_of_upstream: true, ..Fault::of(error) }
    }

    /// TLS is wanted, and there is no configuration for it.
    pub fn not_set_up() -> Fault {
        Fault::of(Error::General("TLS is not set up".into()))
    }

    /// The keys have been used as often as they may be.
    pub(super) fn worn_out() -> Fault {
        Fault::new(Reason::WornOut)
    }

    /// A message is larger than any that there is room for.
    pub fn too_large() -> Fault {
        Fault::new(Reason::TooLarge)
    }

    /// No upstream can have a certificate for this `host`.
    pub(super) fn no_server_name(host: &str) -> Fault {
        Fault::new(Reason::NoServerName(host.into()))
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
            Reason::WornOut | Reason::NoServerName(_) => None,
        }
    }

    /// The alert that the library has queued was added to what goes to the peer.
    pub(super) fn on_told(&mut self) {
        if let Reason::Library(error) = &self.reason {
            self.told = Some(alert_of(error));
        }
    }

    /// The record of an alert of our own was.
    pub(super) fn on_told_by(&mut self, [.., description]: [u8; 7]) {
        self.told = Some(AlertDescription::from(description));
    }

    /// The alert with which the peer has ended the connection, if it has: its name in RFC 8446 §6.
    pub fn alert_of_peer(&self) -> Option<&'static str> {
        match &self.reason {
            Reason::Library(Error::AlertReceived(alert)) => Some(alert_name(*alert)),
            _ => None,
        }
    }

    /// Whether the peer's certificate is refused, or none can be right: the next handshake ends in the same way.
    pub fn is_of_certificate(&self) -> bool {
        matches!(self.reason, Reason::Library(Error::InvalidCertificate(_)) | Reason::NoServerName(_))
    }

    /// The alert with which we have, if we have.
    pub fn alert_of_ours(&self) -> Option<&'static str> {
        match &self.reason {
            Reason::Library(Error::AlertReceived(_)) => None,
            _ => self.told.map(alert_name),
        }
    }

    /// What is wrong in one word or two, where no alert says it.
    pub fn reason(&self) -> &'static str {
        match &self.reason {
            Reason::Library(_) => "protocol_error",
            Reason::WornOut => "keys_worn_out",
            Reason::TooLarge => "message_too_large",
            Reason::NoServerName(_) => "no_server_name",
        }
    }
}

/// The alert that rustls sends if a handshake, or a connection, ends with this error. It does not tell.
fn alert_of(error: &Error) -> AlertDescription {
    use PeerIncompatible::*;
    use PeerMisbehaved::*;
    match error {
        Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        Error::InvalidCertificate(error) => error.clone().into(),
        Error::InvalidMessage(error) => (*error).into(),
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        // A Finished that is wrong ends with the same error and `decrypt_error`. Only a client that is broken sends one.
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::PeerIncompatible(error) => match error {
            Tls12NotOffered
            | Tls12NotOfferedOrEnabled
            | SupportedVersionsExtensionRequired
            | ServerDoesNotSupportTls12Or13
            | ServerTlsVersionIsDisabledByOurConfig => AlertDescription::ProtocolVersion,
            NullCompressionRequired | UncompressedEcPointsRequired => AlertDescription::IllegalParameter,
            _ => AlertDescription::HandshakeFailure,
        },
        Error::PeerMisbehaved(error) => match error {
            IllegalMiddleboxChangeCipherSpec | TooMuchEarlyDataReceived | KeyEpochWithPendingFragment => {
                AlertDescription::UnexpectedMessage
            }
            MissingPskModesExtension | MissingPskExtensionInSecondClientHello => AlertDescription::MissingExtension,
            MissingBinderInPskExtension => AlertDescription::DecodeError,
            IncorrectBinder => AlertDescription::DecryptError,
            SelectedUnofferedCipherSuite => AlertDescription::HandshakeFailure,
            UnsolicitedServerHelloExtension | UnsolicitedEncryptedExtension => AlertDescription::UnsupportedExtension,
            _ => AlertDescription::IllegalParameter,
        },
        // What else the verification of a client may end with.
        _ => AlertDescription::HandshakeFailure,
    }
}

/// The name of an alert as RFC 8446 §6 has it, such as `bad_certificate`; RFC 5246 §7.2 and RFC 7507 have those that TLS 1.3
/// knows no more. `unknown` for all others.
fn alert_name(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CloseNotify => "close_notify",
        AlertDescription::UnexpectedMessage => "unexpected_message",
        AlertDescription::BadRecordMac => "bad_record_mac",
        AlertDescription::DecryptionFailed => "decryption_failed",
        AlertDescription::RecordOverflow => "record_overflow",
        AlertDescription::DecompressionFailure => "decompression_failure",
        AlertDescription::HandshakeFailure => "handshake_failure",
        AlertDescription::NoCertificate => "no_certificate",
        AlertDescription::BadCertificate => "bad_certificate",
        AlertDescription::UnsupportedCertificate => "unsupported_certificate",
        AlertDescription::CertificateRevoked => "certificate_revoked",
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::CertificateUnknown => "certificate_unknown",
        AlertDescription::IllegalParameter => "illegal_parameter",
        AlertDescription::UnknownCA => "unknown_ca",
        AlertDescription::AccessDenied => "access_denied",
        AlertDescription::DecodeError => "decode_error",
        AlertDescription::DecryptError => "decrypt_error",
        AlertDescription::ExportRestriction => "export_restriction",
        AlertDescription::ProtocolVersion => "protocol_version",
        AlertDescription::InsufficientSecurity => "insufficient_security",
        AlertDescription::InternalError => "internal_error",
        AlertDescription::InappropriateFallback => "inappropriate_fallback",
        AlertDescription::UserCanceled => "user_canceled",
        AlertDescription::NoRenegotiation => "no_renegotiation",
        AlertDescription::MissingExtension => "missing_extension",
        AlertDescription::UnsupportedExtension => "unsupported_extension",
        AlertDescription::CertificateUnobtainable => "certificate_unobtainable",
        AlertDescription::UnrecognisedName => "unrecognized_name",
        AlertDescription::BadCertificateStatusResponse => "bad_certificate_status_response",
        AlertDescription::BadCertificateHashValue => "bad_certificate_hash_value",
        AlertDescription::UnknownPSKIdentity => "unknown_psk_identity",
        AlertDescription::CertificateRequired => "certificate_required",
        AlertDescription::NoApplicationProtocol => "no_application_protocol",
        AlertDescription::EncryptedClientHelloRequired => "ech_required",
        _ => "unknown",
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = if self.is_of_upstream { "upstream" } else { "client" };
        match &self.reason {
            Reason::Library(Error::AlertReceived(alert)) => {
                write!(f, "the {peer} sent the alert {}", alert_name(*alert))
            }
            Reason::Library(error) if is_unknown_name(error) => {
                f.write_str("the client names no server, or one that no certificate has (--tls-strict-sni)")
            }
            Reason::Library(error) if self.is_of_upstream => f.write_str(&fault_of_upstream(error)),
            Reason::Library(error) => write!(f, "{error}"),
            Reason::NoServerName(host) => {
                write!(f, "{:?} is neither a DNS name nor an IP address: no certificate can be for it", &**host)
            }
            Reason::WornOut => f.write_str("the keys have been used as often as they may be"),
            Reason::TooLarge => f.write_str("a message is too large"),
        }
    }
}

/// What an upstream does wrong, for those who run it. What it has sent is escaped.
fn fault_of_upstream(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => fault_of_certificate(error),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the upstream does not answer with TLS: perhaps it speaks plain HTTP on this port".into()
        }
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            "the upstream speaks neither TLS 1.2 nor TLS 1.3".into()
        }
        Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
            "the upstream chose a protocol that it was not offered (ALPN)".into()
        }
        error => error.to_string(),
    }
}

/// Why the certificate of an upstream is refused.
fn fault_of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::NotValidForNameContext { expected, presented } => {
            let kind = if matches!(expected, ServerName::IpAddress(_)) { "address" } else { "name" };
            let names = names(presented);
            format!("the certificate is not valid for the {kind} {}: it is for {names}", expected.to_str())
        }
        CertificateError::NotValidForName => "the certificate is not valid for the name of the upstream".into(),
        CertificateError::UnknownIssuer => {
            "the issuer of the certificate is unknown: it is none of the trusted authorities (--upstream-ca)".into()
        }
        CertificateError::ExpiredContext { time, not_after } => {
            format!("the certificate has expired {} ago", days(system_time(time), system_time(not_after)))
        }
        CertificateError::Expired => "the certificate has expired".into(),
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("the certificate is not valid before {} from now", days(system_time(not_before), system_time(time)))
        }
        CertificateError::NotValidYet => "the certificate is not valid yet".into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not for servers (extendedKeyUsage)".into()
        }
        CertificateError::BadSignature => "the signature of a certificate is wrong".into(),
        CertificateError::BadEncoding => "a certificate is malformed".into(),
        // The library does not name this one.
        CertificateError::Other(error) if error.to_string() == "CaUsedAsEndEntity" => {
            "the certificate is that of an authority (CA:TRUE), and not of a server".into()
        }
        error => format!("the certificate is refused: {error}"),
    }
}

/// For whom a certificate is. The library writes `DnsName("a.example")` and `IpAddress(::1)`. There may be hundreds.
fn names(presented: &[String]) -> String {
    const NAMES_MAX: usize = 3;
    let inner = |text: &String| Some(text.split_once('(')?.1.strip_suffix(')')?.trim_matches('"').to_owned());
    let name = |text: &String| inner(text).unwrap_or_else(|| text.clone());
    let names: Vec<String> = presented.iter().take(NAMES_MAX).map(name).collect();
    match presented.len().saturating_sub(NAMES_MAX) {
        0 if names.is_empty() => "no name".into(),
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn system_time(time: &UnixTime) -> SystemTime {
    // What a certificate can say fits (RFC 5280 §4.1.2.5: the year has four digits).
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::ClientConnection;
    use rustls::pki_types::ServerName;
    use rustls::version::TLS12;

    use super::super::provider::provider;
    use super::super::test_pki::{Folder, client_config_of, options};
    use super::super::{LiveConfig, TlsOptions};
    use super::*;
    use crate::base::ring::RingBuffer;

    /// Names of RFC 8446 §6 by their numbers.
    #[test]
    fn alerts_have_the_names_of_the_standard() {
        for (number, name) in [
            (0, "close_notify"),
            (10, "unexpected_message"),
            (20, "bad_record_mac"),
            (22, "record_overflow"),
            (40, "handshake_failure"),
            (42, "bad_certificate"),
            (43, "unsupported_certificate"),
            (44, "certificate_revoked"),
            (45, "certificate_expired"),
            (46, "certificate_unknown"),
            (47, "illegal_parameter"),
            (48, "unknown_ca"),
            (49, "access_denied"),
            (50, "decode_error"),
            (51, "decrypt_error"),
            (70, "protocol_version"),
            (71, "insufficient_security"),
            (80, "internal_error"),
            (86, "inappropriate_fallback"),
            (90, "user_canceled"),
            (109, "missing_extension"),
            (110, "unsupported_extension"),
            (112, "unrecognized_name"),
            (113, "bad_certificate_status_response"),
            (115, "unknown_psk_identity"),
            (116, "certificate_required"),
            (120, "no_application_protocol"),
        ] {
            assert_eq!(alert_name(AlertDescription::from(number)), name);
        }
        let unknown = (0..=255).filter(|number| alert_name(AlertDescription::from(*number)) == "unknown").count();
        assert_eq!(unknown, 256 - 35, "a bounded number of names");
    }

    /// A hello of a client that speaks TLS 1.2, in one record.
    fn hello(protocol: &str) -> Vec<u8> {
        let schemes = provider().signature_verification_algorithms.supported_schemes();
        let mut config = client_config_of(schemes, &[&TLS12]);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::try_from("a.example").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        hello
    }

    /// Before keys are agreed on, the alert can be read off the wire.
    #[test]
    fn the_table_has_the_alerts_that_are_sent() {
        let folder = Folder::new();
        let strict = TlsOptions { strict_sni: true, ..options([folder.self_signed("b", &["b.example"])]) };
        let lax = options([folder.self_signed("a", &["a.example"])]);
        let [strict, lax] = [strict, lax].map(|options| LiveConfig::load(options, &mut |_| {}).unwrap());
        // Behind the header of the record, that of the message, the version and the random: the session, the suites.
        let example = hello("http/1.1");
        let with = |at: usize, bytes: &[u8]| {
            let mut hello = example.clone();
            hello.splice(at..at + bytes.len(), bytes.iter().copied());
            hello
        };
        let suites_at = 43 + 1 + usize::from(example[43]) + 2;
        let suites = usize::from(example[suites_at - 2]) << 8 | usize::from(example[suites_at - 1]);
        let is_versions = |bytes: &[u8]| bytes == [0, 43, 0, 3, 2, 3, 3];
        let versions_at = example.windows(7).position(is_versions).unwrap();
        for (live, input, expected) in [
            (&lax, hello("spdy/1"), "no_application_protocol"),
            (&strict, hello("http/1.1"), "unrecognized_name"),
            (&lax, with(versions_at + 5, &[3, 1]), "protocol_version"),
            (&lax, with(suites_at, &vec![0; suites]), "handshake_failure"),
            (&lax, with(suites_at + suites + 1, &[1]), "illegal_parameter"),
            (&lax, with(5, &[16]), "unexpected_message"),
            (&lax, with(5, &[20]), "unexpected_message"),
            (&lax, with(0, &[99]), "decode_error"),
            (&lax, vec![22, 3, 1, 0xFF, 0xFF, 1, 0, 0, 0], "decode_error"),
            (&lax, vec![20, 3, 1, 0, 1, 9], "decode_error"),
            (&lax, vec![23, 3, 3, 0, 1, 9], "unexpected_message"),
        ] {
            let mut session = live.session().unwrap();
            let [mut incoming, mut inbox, mut outgoing] = [0; 3].map(|_| RingBuffer::new(70_000));
            incoming.put(&input);
            let Err(fault) = session.open(&mut incoming, &mut inbox, &mut outgoing) else {
                panic!("no error for {expected}")
            };
            let sent = outgoing.readable()[0].last().map(|number| alert_name(AlertDescription::from(*number)));
            assert_eq!((sent, fault.alert_of_ours()), (Some(expected), Some(expected)), "{fault}");
        }
    }

    #[test]
    fn only_an_alert_that_was_sent_is_ours() {
        let mut fault = Fault::of(Error::NoApplicationProtocol);
        assert_eq!((fault.alert_of_ours(), fault.alert_of_peer()), (None, None));
        fault.on_told();
        assert_eq!(fault.alert_of_ours(), Some("no_application_protocol"));
        let mut fault = Fault::of(Error::AlertReceived(AlertDescription::UnknownCA));
        fault.on_told();
        assert_eq!((fault.alert_of_ours(), fault.alert_of_peer()), (None, Some("unknown_ca")));
    }
}
