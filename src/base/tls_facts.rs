//! What is known of a TLS session, as plain values for logs and reports.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What was agreed on; `None` before it is, and where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionFacts {
    /// The protocol version: `TLSv1.3` or `TLSv1.2`.
    pub version: Option<&'static str>,
    /// The cipher suite by its name in the registry of IANA, such as `TLS_AES_128_GCM_SHA256`.
    pub suite: Option<&'static str>,
    /// The group of the key exchange, such as `X25519`. A session of TLS 1.2 that was resumed has none.
    pub group: Option<&'static str>,
    /// The server name that the client has sent (RFC 6066 §3).
    pub name: Option<Arc<str>>,
    /// The protocol that was agreed on (RFC 7301), such as `http/1.1`.
    pub protocol: Option<&'static str>,
    /// Whether an earlier session was resumed.
    pub is_resumed: bool,
    /// Who the client is, if it has a certificate.
    pub client: Option<Arc<ClientCertificate>>,
    /// How long the handshake has kept our thread busy.
    pub worked: Duration,
}

/// Who a client is, by a certificate that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its subject (RFC 4514), such as `CN=anna,O=Mill`. It is whatever the authority has signed, control characters included.
    pub subject: String,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
}

/// TLS on one connection, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsStatus {
    /// What was agreed on.
    pub session: SessionFacts,
    /// How long the handshake has waited for the client, or for other connections; `None` before it is done.
    pub waited: Option<Duration>,
    /// Bytes read from the socket so far: the records, and not what is in them.
    pub read: u64,
    /// Bytes written to the socket so far.
    pub written: u64,
}

impl TlsStatus {
    /// From accepting the connection to the end of the handshake; `None` before it is done.
    pub fn handshake_time(&self) -> Option<Duration> {
        self.waited.map(|waited| waited + self.session.worked)
    }
}

impl fmt::Display for TlsStatus {
    /// One line. What the client has sent is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SessionFacts { version, suite, group, name, protocol, is_resumed, client, worked } = &self.session;
        f.write_str(version.unwrap_or("no version yet"))?;
        for value in [suite, group].into_iter().flatten() {
            write!(f, ", {value}")?;
        }
        for (what, value) in [("name", name.as_deref()), ("alpn", *protocol)] {
            if let Some(value) = value {
                write!(f, ", {what} {}", value.escape_debug())?;
            }
        }
        if let Some(client) = client {
            let ClientCertificate { subject, fingerprint } = &**client;
            write!(f, ", client \"{}\" SHA-256 {fingerprint}", subject.escape_debug())?;
        }
        if let Some(waited) = self.waited {
            let kind = if *is_resumed { "resumed" } else { "full handshake" };
            write!(f, "; {kind}, waited {waited:.1?}, worked {worked:.1?}")?;
        }
        write!(f, "; ciphertext {} read, {} written", self.read, self.written)
    }
}
