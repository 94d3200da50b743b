//! One connection's TLS: ciphertext to content and back, in buffers of the caller.
//!
//! This is the unbuffered interface of rustls: the buffers are ours, so an idle connection owns none (docs/decisions/017).

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeTlsData, EncryptError, ReadTraffic, UnbufferedStatus, WriteTraffic};
use rustls::{CipherSuite, ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};

use super::clients::certificate_of;
use super::fault::Fault;
use super::live_config::PROTOCOLS;
use super::selection;
use super::{Opened, RECORD_BYTES_MAX, RECORD_WIRE_MAX, Sealed};
use crate::base::ring::RingBuffer;
use crate::base::tls_facts::{ClientCertificate, SessionFacts};

/// A record is at most so much longer than its content if it is not padded, in bytes. A KeyUpdate is a record of 27 bytes.
const RECORD_ADDS_MAX: usize = 29;

/// Our side of a TLS connection: that of the server, or to an upstream that of the client.
pub struct Session {
    endpoint: Endpoint,
    /// Content that was decrypted and that the inbox had no room for, and how much of it has been taken since.
    held: Vec<u8>,
    taken: usize,
    /// A KeyUpdate may have been consumed whose answer has not been asked for.
    may_owe_update: bool,
    phase: Phase,
    /// The server name that the client has sent, in lower case; that of the server, if the client is us.
    name: Option<Arc<str>>,
    /// Who the client is, if it has a certificate. `None` if the client is us.
    client: Option<Arc<ClientCertificate>>,
    /// How long the handshake has kept this thread busy.
    worked: Duration,
}

/// What we are on the connection. In a box, because it is large and few connections have one.
enum Endpoint {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Our ClientHello has not been made. Only a client begins with this.
    Unspoken,
    /// No ClientHello has been answered.
    Hello,
    /// It has been, and the peer's Finished is missing.
    Handshake,
    /// Content flows.
    Open,
    /// The peer has ended its direction with close_notify.
    Ended,
    /// Nothing more is received or sent.
    Failed,
}

/// What is to be sent, once that is possible.
enum Wish<'a, 'b> {
    Nothing,
    Content { content: [&'a [u8]; 2], record_bytes: usize, on_record: &'a mut (dyn FnMut(Sealed) + 'b) },
    CloseNotify,
}

/// What one call of the library led to.
#[derive(PartialEq, Eq)]
enum Step {
    /// Something was dealt with: go on.
    Done,
    /// More ciphertext is needed. What was to be sent has been.
    Starved,
    /// As `Starved`, but no more will come.
    Ended,
}

impl Session {
    /// A session that waits for a ClientHello.
    ///
    /// # Errors
    /// If the configuration is of no use. What [`LiveConfig`](super::LiveConfig) has loaded is of use.
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Session, Fault> {
        let connection = UnbufferedServerConnection::new(config).map_err(Fault::of)?;
        Ok(Session::of(Endpoint::Server(Box::new(connection)), Phase::Hello, None))
    }

    /// A session that begins with our ClientHello, to a server with this name. `seal` makes the ClientHello, whether there is
    /// content or not.
    ///
    /// # Errors
    /// The configuration is of no use.
    pub(super) fn to_server(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Session, Fault> {
        let (began, text) = (Instant::now(), name.to_str().into());
        let connection = UnbufferedClientConnection::new(config, name).map_err(Fault::of)?;
        let session = Session::of(Endpoint::Client(Box::new(connection)), Phase::Unspoken, Some(text));
        // The keys of the key exchange have been made.
        Ok(Session { worked: began.elapsed(), ..session })
    }

    fn of(endpoint: Endpoint, phase: Phase, name: Option<Arc<str>>) -> Session {
        Session {
            endpoint,
            held: Vec::new(),
            taken: 0,
            may_owe_update: false,
            phase,
            name,
            client: None,
            worked: Duration::ZERO,
        }
    }

    /// Decrypts what is in `incoming` until the `inbox` is full or more ciphertext is needed. What has to be answered is
    /// added to `outgoing`; without room for that, nothing is decrypted.
    ///
    /// # Errors
    /// The peer has broken the protocol, or is refused. The alert that tells it so has been added to `outgoing`. From then
    /// on nothing is decrypted or encrypted.
    pub fn open(
        &mut self,
        incoming: &mut RingBuffer,
        inbox: &mut RingBuffer,
        outgoing: &mut RingBuffer,
    ) -> Result<Opened, Fault> {
        let began = self.is_handshaking().then(Instant::now);
        let before = inbox.len();
        self.take_held(inbox);
        let mut result = Ok(Step::Done);
        while matches!(result, Ok(Step::Done)) && !inbox.is_full() && has_room(outgoing) && self.phase != Phase::Failed
        {
            result = self.step(Some(incoming), Some(inbox), outgoing, &mut Wish::Nothing);
        }
        if let Some(began) = began {
            self.worked += began.elapsed();
        }
        let step = result?;
        Ok(Opened { bytes: inbox.len() - before, is_over: step == Step::Ended })
    }

    /// Encrypts content into records of up to `record_bytes` (1 to [`RECORD_BYTES_MAX`]) each, as long as they fit in
    /// `outgoing`. `on_record` is told of each. Before the handshake is over, nothing is encrypted. What the protocol has to
    /// say is added first, such as a client's first message. `incoming` is what has arrived and was not decrypted, if there is
    /// any.
    ///
    /// # Errors
    /// The keys are worn out, or the peer has broken the protocol in what has arrived: as those of `open`.
    pub fn seal(
        &mut self,
        content: [&[u8]; 2],
        record_bytes: usize,
        incoming: Option<&mut RingBuffer>,
        outgoing: &mut RingBuffer,
        mut on_record: impl FnMut(Sealed),
    ) -> Result<(), Fault> {
        let record_bytes = record_bytes.clamp(1, RECORD_BYTES_MAX);
        self.send(Wish::Content { content, record_bytes, on_record: &mut on_record }, incoming, outgoing)
    }

    /// Ends the session because of this fault, which the caller has found. The alert is added to `outgoing` if the peer can
    /// read one that is not encrypted.
    pub fn fail(&mut self, mut fault: Fault, outgoing: &mut RingBuffer) -> Fault {
        fault.is_of_upstream = self.is_client();
        if let Some(alert) = fault.own_alert().filter(|_| self.phase == Phase::Hello) {
            // Without room for it, the peer is told by the end of the connection.
            if outgoing.put_whole(&alert) {
                fault.on_told_by(alert);
            }
        }
        self.phase = Phase::Failed;
        fault
    }

    /// Tells the peer that nothing more comes (RFC 8446 §6.1), unless the handshake is not over.
    ///
    /// # Errors
    /// As those of `seal`.
    pub fn close(&mut self, incoming: Option<&mut RingBuffer>, outgoing: &mut RingBuffer) -> Result<(), Fault> {
        if self.phase == Phase::Unspoken {
            return Ok(());
        }
        self.send(Wish::CloseNotify, incoming, outgoing)
    }

    fn send(
        &mut self,
        mut wish: Wish<'_, '_>,
        mut incoming: Option<&mut RingBuffer>,
        outgoing: &mut RingBuffer,
    ) -> Result<(), Fault> {
        while self.phase != Phase::Failed && has_room(outgoing) {
            // Messages that have arrived in part are where the library has seen them, so it must get them again.
            if self.step(incoming.as_deref_mut(), None, outgoing, &mut wish)? != Step::Done {
                break;
            }
        }
        Ok(())
    }

    /// One call of the library, and what follows from it. Content that finds no room in the inbox is held.
    fn step(
        &mut self,
        mut incoming: Option<&mut RingBuffer>,
        inbox: Option<&mut RingBuffer>,
        outgoing: &mut RingBuffer,
        wish: &mut Wish<'_, '_>,
    ) -> Result<Step, Fault> {
        let bytes: &mut [u8] = incoming.as_mut().map_or(&mut [], |incoming| incoming.contiguous_mut());
        let call = Call {
            phase: self.phase,
            held: &mut self.held,
            may_owe_update: &mut self.may_owe_update,
            inbox,
            outgoing: &mut *outgoing,
            wish,
        };
        let Outcome { step, discard, has_ended } = match &mut self.endpoint {
            Endpoint::Server(server) => call.follow(server.process_tls_records(bytes)),
            Endpoint::Client(client) => call.follow(client.process_tls_records(bytes)),
        };
        if let Some(incoming) = &mut incoming {
            incoming.consume(discard);
        }
        let step = step.map_err(|mut fault| {
            self.add_alert(&mut fault, incoming, outgoing);
            self.fail(fault, outgoing)
        })?;
        self.phase = match self.phase {
            _ if has_ended => Phase::Ended,
            // What a client says first is in `outgoing`.
            Phase::Unspoken => Phase::Hello,
            Phase::Hello if self.has_answered_hello() => {
                if !self.is_client() {
                    self.name = selection::take_name().map(|name| name.to_ascii_lowercase().into());
                }
                Phase::Handshake
            }
            Phase::Handshake if !self.endpoint.is_handshaking() => {
                let chain = self.endpoint.peer_certificates().filter(|_| !self.is_client());
                self.client = chain.and_then(certificate_of).map(Arc::new);
                Phase::Open
            }
            phase => phase,
        };
        Ok(step)
    }

    /// Whether the client's hello has been answered with one, and not only with the wish for another (RFC 8446 §4.1.4).
    fn has_answered_hello(&self) -> bool {
        let is_retried = self.endpoint.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
        let has_group = self.endpoint.negotiated_key_exchange_group().is_some();
        self.endpoint.protocol_version().is_some() && (has_group || !is_retried)
    }

    fn take_held(&mut self, inbox: &mut RingBuffer) {
        if self.holds_content() {
            self.taken += inbox.put(&self.held[self.taken..]);
            if !self.holds_content() {
                (self.held, self.taken) = (Vec::new(), 0);
            }
        }
    }

    /// Adds the alert that the library has queued for this fault, unless it has one of its own. Once that is done, the library
    /// must not be called again: it would look at the same record once more.
    fn add_alert(&mut self, fault: &mut Fault, incoming: Option<&mut RingBuffer>, outgoing: &mut RingBuffer) {
        if self.phase == Phase::Hello && fault.own_alert().is_some() {
            return;
        }
        let bytes: &mut [u8] = incoming.map_or(&mut [], RingBuffer::contiguous_mut);
        while self.endpoint.wants_write() && has_room(outgoing) && self.endpoint.encode_next(bytes, outgoing) {
            fault.on_told();
        }
    }

    /// Whether we are the client: the peer is an upstream.
    pub fn is_client(&self) -> bool {
        matches!(self.endpoint, Endpoint::Client(_))
    }

    /// Whether nothing has been sent that the peer waits for: a client speaks first.
    pub fn has_to_begin(&self) -> bool {
        self.phase == Phase::Unspoken
    }

    /// Whether the next ciphertext may be a ClientHello, whose answer costs a signature.
    pub fn awaits_hello(&self) -> bool {
        self.phase == Phase::Hello && !self.is_client()
    }

    /// Whether content cannot flow yet.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::Unspoken | Phase::Hello | Phase::Handshake)
    }

    /// Whether the peer has said that no more comes.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Whether there is content that is decrypted and was not taken.
    pub fn holds_content(&self) -> bool {
        self.taken < self.held.len()
    }

    /// How long the handshake has kept this thread busy so far.
    pub fn worked(&self) -> Duration {
        self.worked
    }

    /// Whether the present handshake resumes an earlier session, as far as that is known.
    pub fn is_resumed(&self) -> bool {
        self.endpoint.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate that the client has shown, if it has.
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client.as_deref()
    }

    /// The server name that the client has sent (RFC 6066 §3), in lower case and without a final dot, if it has. `None` if the
    /// client is us.
    pub fn server_name(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| !self.is_client()).map(|name| name.strip_suffix('.').unwrap_or(name))
    }

    /// The protocol that was agreed on by ALPN, once the client's hello has been answered: `h2` or `http/1.1`. `None` if
    /// the client has offered none, or the server does not know of ALPN.
    pub fn protocol(&self) -> Option<&'static str> {
        let agreed = self.endpoint.alpn_protocol();
        PROTOCOLS.into_iter().find(|protocol| Some(protocol.as_bytes()) == agreed)
    }

    /// What was agreed on.
    pub fn facts(&self) -> SessionFacts {
        let state: &CommonState = &self.endpoint;
        SessionFacts {
            version: state.protocol_version().and_then(version_name),
            suite: state.negotiated_cipher_suite().and_then(|suite| suite_name(suite.suite())),
            group: state.negotiated_key_exchange_group().and_then(|group| group.name().as_str()),
            name: self.name.clone(),
            protocol: self.protocol(),
            is_resumed: self.is_resumed(),
            client: self.client.clone(),
            worked: self.worked,
        }
    }
}

/// As openssl writes it.
fn version_name(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        other => other.as_str(),
    }
}

/// The name in the registry of IANA (RFC 8446 §B.4), which for TLS 1.3 is not that of rustls.
fn suite_name(suite: CipherSuite) -> Option<&'static str> {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        other => other.as_str(),
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Deref for Endpoint {
    type Target = CommonState;

    fn deref(&self) -> &CommonState {
        match self {
            Endpoint::Server(server) => server,
            Endpoint::Client(client) => client,
        }
    }
}

impl Endpoint {
    /// Adds the next message that the library has queued to `outgoing`, if there is one.
    fn encode_next(&mut self, bytes: &mut [u8], outgoing: &mut RingBuffer) -> bool {
        fn queued<D>(UnbufferedStatus { state, .. }: UnbufferedStatus<'_, '_, D>, outgoing: &mut RingBuffer) -> bool {
            let Ok(ConnectionState::EncodeTlsData(data)) = state else { return false };
            encode(data, outgoing).is_ok()
        }
        match self {
            Endpoint::Server(server) => queued(server.process_tls_records(bytes), outgoing),
            Endpoint::Client(client) => queued(client.process_tls_records(bytes), outgoing),
        }
    }
}

/// What follows from one call of the library.
struct Outcome {
    step: Result<Step, Fault>,
    /// So much of what has arrived is dealt with, in bytes.
    discard: usize,
    /// The peer has ended its direction.
    has_ended: bool,
}

/// One call of the library, with all that may follow from it.
struct Call<'a, 'w, 'r> {
    phase: Phase,
    held: &'a mut Vec<u8>,
    may_owe_update: &'a mut bool,
    inbox: Option<&'a mut RingBuffer>,
    outgoing: &'a mut RingBuffer,
    wish: &'a mut Wish<'w, 'r>,
}

impl Call<'_, '_, '_> {
    /// Does what the library asks for.
    fn follow<D>(self, UnbufferedStatus { mut discard, state }: UnbufferedStatus<'_, '_, D>) -> Outcome {
        let mut has_ended = self.phase == Phase::Ended;
        // What is consumed and is no content may be a KeyUpdate, whatever the library says next.
        let mut other_bytes = discard;
        let step = match state {
            Err(error) => Err(Fault::of(error)),
            Ok(ConnectionState::ReadTraffic(traffic)) => {
                let records = receive(traffic, self.inbox, self.held);
                discard += records.discard;
                other_bytes = other_bytes.saturating_sub(records.wire_bytes_max);
                Ok(Step::Done)
            }
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, self.outgoing).map(|()| Step::Done),
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(Step::Done)
            }
            Ok(ConnectionState::PeerClosed) => {
                has_ended = true;
                Ok(Step::Done)
            }
            Ok(ConnectionState::WriteTraffic(mut traffic))
                if self.phase == Phase::Open && (*self.may_owe_update || other_bytes > 0) =>
            {
                (*self.may_owe_update, other_bytes) = (false, 0);
                queue_key_update(&mut traffic).map(|()| Step::Done)
            }
            Ok(ConnectionState::WriteTraffic(traffic)) => {
                let fulfilled = self.wish.fulfil(traffic, self.outgoing);
                fulfilled.map(|()| if has_ended { Step::Ended } else { Step::Starved })
            }
            Ok(ConnectionState::Closed) => Ok(Step::Ended),
            // More of the handshake is needed. Early data is not offered, and nothing else is known.
            Ok(_) => Ok(Step::Starved),
        };
        *self.may_owe_update |= other_bytes > 0;
        Outcome { step, discard, has_ended }
    }
}

impl Wish<'_, '_> {
    fn fulfil<D>(&mut self, mut traffic: WriteTraffic<'_, D>, outgoing: &mut RingBuffer) -> Result<(), Fault> {
        match self {
            Wish::Nothing => {}
            Wish::CloseNotify => match traffic.queue_close_notify(outgoing.contiguous_space()) {
                Ok(n) => outgoing.commit(n),
                Err(_) => return Err(Fault::worn_out()),
            },
            Wish::Content { content, record_bytes, on_record } => {
                for piece in content.iter().flat_map(|part| part.chunks(*record_bytes)) {
                    match traffic.encrypt(piece, outgoing.contiguous_space()) {
                        Ok(n) => {
                            outgoing.commit(n);
                            on_record(Sealed { content: piece.len(), wire: n });
                        }
                        Err(EncryptError::InsufficientSize(_)) => break,
                        Err(EncryptError::EncryptExhausted) => return Err(Fault::worn_out()),
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether `outgoing` has room for whatever the library may have to say: it cannot take a record back.
fn has_room(outgoing: &RingBuffer) -> bool {
    outgoing.free() >= RECORD_WIRE_MAX
}

/// Records with content that were received.
struct Received {
    /// What they add to what is to be discarded.
    discard: usize,
    /// How long they were, at most, in bytes.
    wire_bytes_max: usize,
}

/// Adds content to the inbox; what finds no room there is held.
fn receive<D>(mut traffic: ReadTraffic<'_, '_, D>, mut inbox: Option<&mut RingBuffer>, held: &mut Vec<u8>) -> Received {
    let mut received = Received { discard: 0, wire_bytes_max: 0 };
    while let Some(Ok(record)) = traffic.next_record() {
        received.discard += record.discard;
        received.wire_bytes_max += record.payload.len() + RECORD_ADDS_MAX;
        let inbox = inbox.as_mut().filter(|_| held.is_empty());
        let put = inbox.map_or(0, |inbox| inbox.put(record.payload));
        held.extend_from_slice(&record.payload[put..]);
    }
    received
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, outgoing: &mut RingBuffer) -> Result<(), Fault> {
    let n = data.encode(outgoing.contiguous_space()).map_err(|_| Fault::too_large())?;
    outgoing.commit(n);
    Ok(())
}

/// The library answers a KeyUpdate in front of the next content, which RFC 8446 §4.6.3 allows, but an idle peer would wait
/// for that. An attempt to send content that finds no room queues the answer, and encrypts nothing.
fn queue_key_update<D>(traffic: &mut WriteTraffic<'_, D>) -> Result<(), Fault> {
    match traffic.encrypt(&[0], &mut []) {
        Ok(_) | Err(EncryptError::InsufficientSize(_)) => Ok(()),
        Err(EncryptError::EncryptExhausted) => Err(Fault::worn_out()),
    }
}
