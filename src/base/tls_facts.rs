//! What is known of a TLS session, as plain values for logs and reports.

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
