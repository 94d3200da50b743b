//! What a build without TLS has in the place of it.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{
    CertificateFacts, FileKind, Mistake, Occasion, Offer, Opened, PairFiles, Sealed, SelfSigned, TicketCounts,
    TlsOptions,
};
use crate::base::ring::RingBuffer;
use crate::base::tls_facts::{ClientCertificate, SessionFacts};
use crate::net::capture::Tap;

/// There is none in this build.
#[derive(Debug)]
pub enum LiveConfig {}

impl LiveConfig {
    /// # Errors
    /// Always: this build has no TLS.
    pub fn load(options: TlsOptions, _warn: &mut dyn FnMut(String)) -> Result<LiveConfig, Mistake> {
        let file = options.pairs.into_iter().next().map(|pair| pair.certificate).unwrap_or_default();
        Err(Mistake { kind: FileKind::Certificate, file, problem: "this build has no TLS".into() })
    }

    /// Reads other files.
    ///
    /// # Errors
    /// There is nothing to prepare.
    pub fn prepare(&self, _options: TlsOptions, _warn: &mut dyn FnMut(String)) -> Result<NextConfig, Mistake> {
        match *self {}
    }

    /// Takes them into use.
    pub fn take(&self, _next: NextConfig) {
        match *self {}
    }

    /// Looks at the files.
    pub fn refresh(&self, _occasion: Occasion) -> Vec<(log::Level, String)> {
        match *self {}
    }

    /// The certificates in use.
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        match *self {}
    }

    /// What a client gets that sends this server name.
    pub fn offer(&self, _name: Option<&str>) -> Offer {
        match *self {}
    }

    /// What became of the tickets that clients have sent.
    pub fn tickets(&self) -> TicketCounts {
        match *self {}
    }

    /// A session for a connection that begins now.
    ///
    /// # Errors
    /// There is no configuration to begin with.
    pub fn session(&self) -> Result<Session, Fault> {
        match *self {}
    }
}

/// There is none in this build.
#[derive(Debug)]
pub enum NextConfig {}

impl NextConfig {
    /// The certificates that it has.
    pub fn certificates(&self) -> &[CertificateFacts] {
        match *self {}
    }
}

/// Nobody gets the keys of sessions: there are none.
#[derive(Debug, Clone, Default)]
pub struct SessionKeys(());

impl SessionKeys {
    /// # Errors
    /// There are none.
    pub fn open(
        _file: Option<&Path>,
        _capture: Option<Tap>,
        _warn: &mut dyn FnMut(String),
    ) -> Result<SessionKeys, Mistake> {
        Ok(SessionKeys(()))
    }
}

/// There is none in this build.
#[derive(Debug)]
pub enum UpstreamTls {}

impl UpstreamTls {
    /// # Errors
    /// Always: this build has no TLS.
    pub fn load(_authorities: Option<&Path>, _keys: SessionKeys) -> Result<UpstreamTls, String> {
        Err("this build has no TLS".into())
    }

    /// Reads the files again.
    pub fn refresh(&self, _occasion: Occasion) -> Vec<(log::Level, String)> {
        match *self {}
    }

    /// A session for a new connection to an upstream.
    ///
    /// # Errors
    /// There is no configuration to begin with.
    pub fn session(&self, _host: &str) -> Result<Session, Fault> {
        match *self {}
    }
}

/// There is none in this build.
#[derive(Debug)]
pub enum BlockingClient {}

impl BlockingClient {
    /// # Errors
    /// Always: this build has no TLS.
    pub fn trusting(_authorities: Option<&Path>) -> Result<BlockingClient, String> {
        Err("this build has no TLS".into())
    }

    /// # Errors
    /// Always: this build has no TLS.
    pub fn trusting_everyone() -> Result<BlockingClient, String> {
        Err("this build has no TLS".into())
    }

    /// A connection.
    ///
    /// # Errors
    /// There is nobody to connect.
    pub fn connect(&self, _host: &str, _stream: TcpStream) -> io::Result<TcpStream> {
        match *self {}
    }
}

/// There is none in this build.
#[derive(Debug)]
pub enum Session {}

impl Session {
    /// Decrypts.
    ///
    /// # Errors
    /// There is no session.
    pub fn open(
        &mut self,
        _incoming: &mut RingBuffer,
        _inbox: &mut RingBuffer,
        _outgoing: &mut RingBuffer,
    ) -> Result<Opened, Fault> {
        match *self {}
    }

    /// Encrypts.
    ///
    /// # Errors
    /// There is no session.
    pub fn seal(
        &mut self,
        _content: [&[u8]; 2],
        _record_bytes: usize,
        _incoming: Option<&mut RingBuffer>,
        _outgoing: &mut RingBuffer,
        _on_record: impl FnMut(Sealed),
    ) -> Result<(), Fault> {
        match *self {}
    }

    /// Ends it.
    pub fn fail(&mut self, _fault: Fault, _outgoing: &mut RingBuffer) -> Fault {
        match *self {}
    }

    /// Ends.
    ///
    /// # Errors
    /// There is no session.
    pub fn close(&mut self, _incoming: Option<&mut RingBuffer>, _outgoing: &mut RingBuffer) -> Result<(), Fault> {
        match *self {}
    }

    /// Whether we are the client.
    pub fn is_client(&self) -> bool {
        match *self {}
    }

    /// Whether nothing has been sent that the peer waits for.
    pub fn has_to_begin(&self) -> bool {
        match *self {}
    }

    /// Whether the next ciphertext may be a ClientHello.
    pub fn awaits_hello(&self) -> bool {
        match *self {}
    }

    /// Whether content cannot flow yet.
    pub fn is_handshaking(&self) -> bool {
        match *self {}
    }

    /// Whether the peer has said that no more comes.
    pub fn has_ended(&self) -> bool {
        match *self {}
    }

    /// Whether there is content that is decrypted and was not taken.
    pub fn holds_content(&self) -> bool {
        match *self {}
    }

    /// How long the handshake has kept this thread busy.
    pub fn worked(&self) -> Duration {
        match *self {}
    }

    /// Whether an earlier session is resumed.
    pub fn is_resumed(&self) -> bool {
        match *self {}
    }

    /// The certificate that the client has shown.
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        match *self {}
    }

    /// The server name that the client has sent.
    pub fn server_name(&self) -> Option<&str> {
        match *self {}
    }

    /// The protocol that was agreed on.
    pub fn protocol(&self) -> Option<&'static str> {
        match *self {}
    }

    /// What was agreed on.
    pub fn facts(&self) -> SessionFacts {
        match *self {}
    }
}

/// Why a connection ends early: there is no TLS.
#[derive(Debug)]
pub struct Fault;

impl Fault {
    /// A message is larger than any that there is room for.
    pub fn too_large() -> Fault {
        Fault
    }

    /// TLS is wanted, and there is no configuration for it.
    pub fn not_set_up() -> Fault {
        Fault
    }

    /// Whether the peer's certificate is refused.
    pub fn is_of_certificate(&self) -> bool {
        false
    }

    /// The alert with which the peer has ended the connection.
    pub fn alert_of_peer(&self) -> Option<&'static str> {
        None
    }

    /// The alert with which we have.
    pub fn alert_of_ours(&self) -> Option<&'static str> {
        None
    }

    /// What is wrong.
    pub fn reason(&self) -> &'static str {
        "no_tls"
    }
}

impl std::error::Error for Fault {}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this build has no TLS")
    }
}

impl SelfSigned {
    /// Where a certificate would be.
    pub fn files(directory: &Path) -> PairFiles {
        PairFiles { certificate: directory.join("cert.pem"), key: directory.join("key.pem") }
    }

    /// # Errors
    /// Always: this build has no TLS.
    pub fn ensure(_directory: &Path, _names: &[String], _now: SystemTime) -> Result<SelfSigned, String> {
        Err("this build has no TLS".into())
    }
}
