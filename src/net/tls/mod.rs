//! TLS: certificates, and with what new handshakes are made. This is the only place that names rustls,
//! rustls-native-certs, rcgen and x509-cert.
//!
//! [`LiveConfig`] is the entry: it reads the files that [`TlsOptions`] name, and has the configuration for the next
//! handshake. [`UpstreamTls`] is the same for connections to upstreams. A build without TLS has the same names, and says so when it is asked for TLS.

#[cfg(feature = "_tls")]
mod authorities;
#[cfg(feature = "_tls")]
mod blocking;
#[cfg(feature = "_tls")]
mod certificate;
#[cfg(feature = "_tls")]
mod clients;
#[cfg(feature = "_tls")]
mod fault;
#[cfg(feature = "_tls")]
mod files;
#[cfg(feature = "_tls")]
mod key_log;
#[cfg(feature = "_tls")]
mod live_config;
#[cfg(feature = "_tls")]
mod pair;
#[cfg(feature = "_tls")]
mod pem;
#[cfg(feature = "_tls")]
mod provider;
#[cfg(feature = "_tls")]
mod selection;
#[cfg(feature = "_tls")]
mod self_signed;
#[cfg(feature = "_tls")]
mod session;
#[cfg(all(test, feature = "_tls"))]
pub(crate) mod test_end;
#[cfg(all(test, feature = "_tls"))]
mod test_pki;
#[cfg(feature = "_tls")]
mod tickets;
#[cfg(feature = "_tls")]
mod trusts_all;
#[cfg(feature = "_tls")]
mod upstreams;
#[cfg(feature = "_tls")]
mod watch;
#[cfg(not(feature = "_tls"))]
mod without;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::SystemTime;

#[cfg(feature = "_tls")]
pub use blocking::BlockingClient;
#[cfg(feature = "_tls")]
pub use fault::Fault;
#[cfg(feature = "_tls")]
pub use key_log::SessionKeys;
#[cfg(feature = "_tls")]
pub use live_config::{LiveConfig, NextConfig};
#[cfg(feature = "_tls")]
pub use session::Session;
#[cfg(feature = "_tls")]
pub use upstreams::UpstreamTls;
#[cfg(not(feature = "_tls"))]
pub use without::{BlockingClient, Fault, LiveConfig, NextConfig, Session, SessionKeys, UpstreamTls};

/// Whether this build has TLS.
pub const IS_BUILT_IN: bool = cfg!(feature = "_tls");

/// The most content that a record may have, in bytes (RFC 8446 §5.1).
pub const RECORD_BYTES_MAX: usize = 16 * 1024;
/// The longest record, in bytes: what is encrypted may be longer than its content (RFC 5246 §6.2.3), and has a header.
pub const RECORD_WIRE_MAX: usize = RECORD_BYTES_MAX + 2048 + 5;

/// What decrypting led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// So much content was added to the inbox, in bytes.
    pub bytes: usize,
    /// The peer has said that no more comes.
    pub is_over: bool,
}

impl Opened {
    /// Nothing was there.
    pub const NOTHING: Opened = Opened { bytes: 0, is_over: false };
}

/// A record that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// How much content it has, in bytes.
    pub content: usize,
    /// How long it is, in bytes.
    pub wire: usize,
}

/// What TLS is made of, as the user says it.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Certificates with their keys. The first is for clients that name no server, or one that no certificate has.
    pub pairs: Vec<PairFiles>,
    /// Refuse such clients instead.
    pub strict_sni: bool,
    /// What is asked of clients, if anything is.
    pub clients: Option<ClientOptions>,
    /// Who gets the keys of sessions.
    pub keys: SessionKeys,
    /// Offer `h2`, and prefer it to `http/1.1`, which is offered in any case.
    pub offers_http2: bool,
}

/// What is asked of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// Certificates of those who may have issued the certificate of a client, in PEM.
    pub authorities: PathBuf,
    /// Whether a client may come without one.
    pub authentication: ClientAuthentication,
}

/// Whether a client needs a certificate. One that cannot be verified is refused in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// It may come without.
    Optional,
    /// It is refused without.
    Required,
}

impl FromStr for ClientAuthentication {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ClientAuthentication, &'static str> {
        match text {
            "optional" => Ok(ClientAuthentication::Optional),
            "required" => Ok(ClientAuthentication::Required),
            _ => Err("expected optional or required"),
        }
    }
}

/// Why the files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// It is time: they are read if they seem to have changed.
    Check,
    /// The user asks for it: they are read, and the log says so in any case.
    Order,
}

/// Where a certificate and its key are, both in PEM (RFC 7468).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate of the server, then that of its issuer, and so on.
    pub certificate: PathBuf,
    /// Its key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
}

/// A certificate for development, which is its own issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfSigned {
    /// Where it is.
    pub files: PairFiles,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// Whether it has just been made: nobody can trust it yet.
    pub is_new: bool,
}

/// Which file is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// One with certificates of the server.
    Certificate,
    /// One with a key of the server.
    Key,
    /// One with certificates of those who issue the certificates of clients.
    ClientAuthorities,
    /// One that gets the keys of sessions.
    KeyLog,
}

/// A file that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What the file is for.
    pub kind: FileKind,
    /// Its name, as the user gave it.
    pub file: PathBuf,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.problem)
    }
}

/// What a client is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Whether a certificate has the name that it asks for.
    pub is_known: bool,
    /// It gets the first of these whose signatures it accepts. `None`: it is refused, with `unrecognized_name`.
    pub certificates: Option<Vec<CertificateFacts>>,
    /// By ALPN (RFC 7301), the preferred first.
    pub protocols: &'static [&'static str],
}

/// What became of the tickets with which clients wanted to resume sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TicketCounts {
    /// They could be read.
    pub hits: u64,
    /// They were too old, of another process, or no tickets at all.
    pub misses: u64,
}

/// What can be told about a certificate that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The file that it was read from.
    pub file: PathBuf,
    /// Its subject (RFC 4514), such as `CN=example.org`.
    pub subject: String,
    /// The DNS names that it is for, in lower case; the leftmost label may be `*`.
    pub names: Vec<String>,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// The last second in which it is valid.
    pub not_after: SystemTime,
}
