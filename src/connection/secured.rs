//! TLS between the socket and the rings of a channel.
//!
//! Content that has been encrypted stays in the outbox until the kernel has taken its record. So what the outbox holds is
//! what has not been sent, with TLS and without.

mod other_protocol;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

use self::other_protocol::OtherProtocol;
use super::outbox::Outbox;
use crate::base::buffer_pool::BufferPool;
use crate::base::moment::Moment;
use crate::base::ring::RingBuffer;
use crate::base::tls_facts::{ClientCertificate, TlsStatus};
use crate::net::tls::{Fault, Opened, RECORD_BYTES_MAX, RECORD_WIRE_MAX, Sealed, Session};
use crate::net::{Io, Socket};
use crate::observe::tls::Failure;

/// A large ring for ciphertext, in bytes: any message of a handshake (64 KiB), or four full records.
const RECORDS_BYTES: usize = 68 * 1024;

/// The content of a record that fits into one TCP segment, in bytes: 1,500 bytes of Ethernet, less 40 for IPv6, 32 for TCP
/// with timestamps, and 29 for the record, as TLS 1.2 needs (1.3: 22). The client can use what has arrived without waiting for another segment.
const SEGMENT_BYTES: usize = 1399;
/// So much content goes out in records of one segment, in bytes. By then the congestion window has many segments.
const SMALL_RECORDS_BYTES: u64 = 64 * 1024;
/// After a silence of this length, records are small again: the congestion window may have shrunk (RFC 5681 §4.1).
const SILENCE: Duration = Duration::from_secs(1);
/// Records are noted in a list that keeps room for so many.
const NOTES_KEPT: usize = 4;

/// TLS on one connection.
#[derive(Debug)]
pub(super) struct Secured {
    session: Session,
    /// What has arrived and is not decrypted. Owned only while it holds something.
    incoming: Option<Box<RingBuffer>>,
    /// What is encrypted and not sent. Owned only while it holds something.
    outgoing: Option<Box<RingBuffer>>,
    /// What `outgoing` consists of: records with content, and between them what has none.
    records: VecDeque<Sealed>,
    /// How many bytes of the first of them have been sent.
    partial: usize,
    /// Content sent since the last silence, in bytes, and when some was last sent.
    burst: u64,
    sent_at: Moment,
    /// Nothing is to be encrypted any more: the peer has been told the end, or that it was refused.
    is_over: bool,
    /// What arrives after that is decrypted all the same.
    looks_on: bool,
    /// When the connection was accepted, or begun by us.
    began: Moment,
    /// How long the handshake has waited; `None` before it is done.
    waited: Option<Duration>,
    /// The handshake will not be done, and that was counted.
    has_failed: bool,
    /// Why TLS has ended it, if it has.
    pub(super) refusal: Option<Box<Refusal>>,
    /// The peer has ended its direction without saying so.
    pub(super) is_truncated: bool,
    /// Ciphertext read and written, in bytes.
    pub(super) read: u64,
    pub(super) written: u64,
}

/// Rings for ciphertext. What arrives is a record at a time, but for large messages of a handshake. So whoever begins a
/// handshake and goes no further has a small ring.
pub(super) struct CiphertextRings {
    small: BufferPool,
    large: BufferPool,
}

impl CiphertextRings {
    /// Keeps up to `kept_max` of each size that nobody needs.
    pub(super) fn new(kept_max: usize) -> CiphertextRings {
        CiphertextRings {
            small: BufferPool::new(RECORD_WIRE_MAX, kept_max),
            large: BufferPool::new(RECORDS_BYTES, kept_max),
        }
    }

    /// Puts a large ring with the same bytes in the place of a small one.
    fn enlarge(&mut self, ring: &mut Box<RingBuffer>) {
        let mut large = self.large.take();
        for part in ring.readable() {
            large.put(part);
        }
        self.give_back(std::mem::replace(ring, large));
    }

    fn give_back(&mut self, ring: Box<RingBuffer>) {
        let pool = if ring.capacity() == RECORDS_BYTES { &mut self.large } else { &mut self.small };
        pool.give_back(ring);
    }
}

/// Why a peer is refused, for the log.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It does not speak TLS.
    OtherProtocol(OtherProtocol),
    /// TLS has failed.
    Fault(Fault),
}

impl Secured {
    pub(super) fn new(session: Session, now: Moment) -> Secured {
        Secured {
            session,
            incoming: None,
            outgoing: None,
            records: VecDeque::new(),
            partial: 0,
            burst: 0,
            sent_at: now,
            is_over: false,
            looks_on: false,
            began: now,
            waited: None,
            has_failed: false,
            refusal: None,
            is_truncated: false,
            read: 0,
            written: 0,
        }
    }

    /// Sends this before TLS begins, as it is.
    pub(super) fn begin_with(&mut self, bytes: &[u8], rings: &mut CiphertextRings) {
        let outgoing = self.outgoing.get_or_insert_with(|| rings.large.take());
        let before = outgoing.len();
        outgoing.put(bytes);
        self.note_others(before);
    }

    /// Decrypts what is there and adds it to the inbox. `now` is when the turn began.
    pub(super) fn open(
        &mut self,
        inbox: &mut RingBuffer,
        rings: &mut CiphertextRings,
        now: Moment,
    ) -> Result<Opened, Refusal> {
        let incoming = self.incoming.get_or_insert_with(|| rings.small.take());
        let outgoing = self.outgoing.get_or_insert_with(|| rings.large.take());
        let before = outgoing.len();
        if self.session.awaits_hello()
            && let Some(protocol) = OtherProtocol::of(incoming.readable()[0])
        {
            outgoing.put(protocol.answer());
            self.is_over = true;
            return Err(Refusal::OtherProtocol(protocol));
        }
        let worked = self.session.worked();
        let opened = match self.session.open(incoming, inbox, outgoing) {
            // If there is neither room for more nor anything that can be done with what is there, a message is too large.
            Ok(Opened::NOTHING)
                if room_for_more(incoming, &self.session) == 0 && !inbox.is_full() && outgoing.is_empty() =>
            {
                Err(self.session.fail(Fault::too_large(), outgoing))
            }
            opened => opened,
        };
        if opened.as_ref().is_ok_and(|opened| opened.is_over) {
            // What follows the end means nothing (RFC 8446 §6.1).
            incoming.clear();
        }
        if self.looks_on {
            // Our direction has ended.
            outgoing.clear();
        }
        self.note_others(before);
        if self.waited.is_none() && !self.session.is_handshaking() && opened.is_ok() {
            // What this turn has done comes after the wait.
            self.waited = Some(now.since(self.began).saturating_sub(worked));
        }
        opened.map_err(|fault| {
            self.is_over = true;
            Refusal::Fault(fault)
        })
    }

    /// Notes what was added to `outgoing` since it had `before` bytes, as something without content.
    fn note_others(&mut self, before: usize) {
        let added = self.outgoing.as_deref().map_or(0, RingBuffer::len) - before;
        if added > 0 {
            self.records.push_back(Sealed { content: 0, wire: added });
        }
    }

    /// One read of ciphertext. `None`: there is no room for more of it, whatever the kernel holds.
    pub(super) fn read(&mut self, socket: &mut impl Socket, rings: &mut CiphertextRings) -> io::Result<Option<Io>> {
        let is_deaf = self.is_deaf();
        let incoming = self.incoming.get_or_insert_with(|| rings.small.take());
        if is_deaf {
            // Nobody is to see what still comes.
            incoming.clear();
        }
        let room = room_for_more(incoming, &self.session);
        if room == 0 {
            return Ok(None);
        }
        if incoming.is_full() {
            rings.enlarge(incoming);
        }
        let space = incoming.contiguous_space();
        let room = room.min(space.len());
        let result = socket.read([&mut space[..room], &mut []])?;
        if let Io::Moved(n) | Io::Drained(n) = result {
            incoming.commit(n);
            self.read += n as u64;
        }
        Ok(Some(result))
    }

    /// Encrypts what the outbox holds, unless some of it is encrypted already. A client's first message is made, too, although
    /// the outbox may hold nothing.
    pub(super) fn seal(&mut self, outbox: &Outbox, rings: &mut CiphertextRings, now: Moment) -> Result<(), Refusal> {
        let is_sealed = self.records.iter().any(|record| record.content > 0);
        let content = outbox.readable();
        if is_sealed || self.is_over || (content[0].is_empty() && !self.session.has_to_begin()) {
            return Ok(());
        }
        if now.since(self.sent_at) >= SILENCE {
            self.burst = 0;
        }
        let record_bytes = if self.burst < SMALL_RECORDS_BYTES { SEGMENT_BYTES } else { RECORD_BYTES_MAX };
        let outgoing = self.outgoing.get_or_insert_with(|| rings.large.take());
        let (before, first) = (outgoing.len(), self.records.len());
        let (mut wire, records) = (0, &mut self.records);
        let sealed = self.session.seal(content, record_bytes, self.incoming.as_deref_mut(), outgoing, |record| {
            wire += record.wire;
            records.push_back(record);
        });
        let others = outgoing.len() - before - wire;
        if others > 0 {
            // The library says first what it has to say.
            records.insert(first, Sealed { content: 0, wire: others });
        }
        self.is_over |= sealed.is_err();
        sealed.map_err(Refusal::Fault)
    }

    /// One write of ciphertext, if there is any. Says how many bytes of content have left with their records, too.
    pub(super) fn write(&mut self, socket: &mut impl Socket, now: Moment) -> io::Result<(Io, usize)> {
        let Some(outgoing) = self.outgoing.as_mut() else { return Ok((Io::WouldBlock, 0)) };
        let result = socket.write(outgoing.readable(), false)?;
        let Io::Moved(n) = result else { return Ok((result, 0)) };
        outgoing.consume(n);
        self.written += n as u64;
        self.partial += n;
        let mut content = 0;
        while let Some(first) = self.records.pop_front_if(|first| first.wire <= self.partial) {
            self.partial -= first.wire;
            content += first.content;
        }
        if content > 0 {
            self.burst += content as u64;
            self.sent_at = now;
        }
        Ok((result, content))
    }

    /// Tells the peer that nothing more comes, if it has not been told. All content must have left.
    pub(super) fn close(&mut self, rings: &mut CiphertextRings) -> Result<(), Fault> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        let outgoing = self.outgoing.get_or_insert_with(|| rings.large.take());
        let before = outgoing.len();
        let closed = self.session.close(self.incoming.as_deref_mut(), outgoing);
        self.note_others(before);
        closed
    }

    /// Whether something is encrypted and not sent, or has to be made first because a client begins.
    pub(super) fn has_outgoing(&self) -> bool {
        self.outgoing.as_ref().is_some_and(|outgoing| !outgoing.is_empty())
            || (self.session.has_to_begin() && !self.is_over)
    }

    /// Whether we are the client: the peer is an upstream.
    pub(super) fn is_client(&self) -> bool {
        self.session.is_client()
    }

    /// Whether something has arrived that was not added to the inbox. The end counts as well.
    pub(super) fn has_incoming(&self) -> bool {
        self.session.has_ended() || self.holds_input()
    }

    /// The same without the end: content, or a part of a record.
    pub(super) fn holds_input(&self) -> bool {
        self.session.holds_content() || self.incoming.as_ref().is_some_and(|incoming| !incoming.is_empty())
    }

    /// Whether there is nothing to encrypt, to decrypt or to send.
    pub(super) fn is_quiet(&self) -> bool {
        !self.has_outgoing() && !self.has_incoming()
    }

    /// The certificate that the client has shown, if it has.
    pub(super) fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.session.client_certificate()
    }

    /// The server name that the client has sent, if it has.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.session.server_name()
    }

    /// Whether what arrives can be dealt with: there is room for the answer that it may need, or none is given any more.
    pub(super) fn can_open(&self) -> bool {
        self.is_deaf() || self.outgoing.as_ref().is_none_or(|outgoing| outgoing.free() >= RECORD_WIRE_MAX)
    }

    /// Whether nothing that arrives is decrypted any more.
    pub(super) fn is_deaf(&self) -> bool {
        self.is_over && !self.looks_on
    }

    /// What arrives is decrypted although the peer has been told the end. It is not answered.
    pub(super) fn look_on(&mut self) {
        self.looks_on = !self.has_failed;
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking() && !self.is_over
    }

    pub(super) fn awaits_hello(&self) -> bool {
        self.session.awaits_hello() && !self.is_over
    }

    /// Whether the present handshake resumes an earlier session.
    pub(super) fn is_resumed(&self) -> bool {
        self.session.is_resumed()
    }

    /// Whether a ClientHello has come and was answered, however the connection stands.
    pub(super) fn has_answered(&self) -> bool {
        !self.session.awaits_hello()
    }

    /// Whether the handshake is neither done nor known to have failed, however the connection stands.
    pub(super) fn owes_handshake(&self) -> bool {
        self.waited.is_none() && !self.has_failed
    }

    /// Whether something of the handshake has come, and it is not done, however the connection stands.
    pub(super) fn is_in_handshake(&self) -> bool {
        self.waited.is_none() && self.read > 0
    }

    /// Whether TLS has refused the peer.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Whether the peer has said that it sends no more (RFC 8446 §6.1).
    pub(super) fn was_ended(&self) -> bool {
        self.session.has_ended()
    }

    /// Marks that the handshake will not be done, and that this was counted.
    pub(super) fn on_failed(&mut self) {
        self.has_failed = true;
    }

    /// Marks that the peer has ended its direction. RFC 8446 §6.1: it should have said so before, unless we have ended first.
    pub(super) fn on_eof(&mut self) {
        self.is_truncated = self.waited.is_some() && !self.is_over && !self.session.has_ended();
    }

    /// Whether the handshake is over and HTTP/2 was agreed on (RFC 7301).
    pub(super) fn has_agreed_on_http2(&self) -> bool {
        self.waited.is_some() && self.session.protocol() == Some("h2")
    }

    /// What is known of it.
    pub(super) fn status(&self) -> TlsStatus {
        TlsStatus { session: self.session.facts(), waited: self.waited, read: self.read, written: self.written }
    }

    /// Nothing can be sent any more: throws away what was to be.
    pub(super) fn discard_outgoing(&mut self) {
        self.records.clear();
        self.partial = 0;
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.clear();
        }
    }

    /// Returns the rings that hold nothing.
    pub(super) fn give_back_empty(&mut self, rings: &mut CiphertextRings) {
        for ring in [&mut self.incoming, &mut self.outgoing] {
            if let Some(ring) = ring.take_if(|ring| ring.is_empty()) {
                rings.give_back(ring);
            }
        }
        if self.records.is_empty() {
            self.records.shrink_to(NOTES_KEPT);
        }
    }

    /// Returns both rings, whatever they hold.
    pub(super) fn give_back_all(&mut self, rings: &mut CiphertextRings) {
        for ring in [self.incoming.take(), self.outgoing.take()].into_iter().flatten() {
            rings.give_back(ring);
        }
    }
}

/// How much more ciphertext may be read, in bytes. More than a record is needed only for messages of the handshake.
fn room_for_more(incoming: &RingBuffer, session: &Session) -> usize {
    match session.is_handshaking() {
        true => RECORDS_BYTES - incoming.len(),
        false => RECORD_WIRE_MAX.saturating_sub(incoming.len()),
    }
}

impl Refusal {
    /// Whether it is the peer that refuses, with an alert.
    pub(super) fn is_of_peer(&self) -> bool {
        matches!(self, Refusal::Fault(fault) if fault.alert_of_peer().is_some())
    }

    /// Whether it is the peer's certificate that is refused.
    pub(super) fn is_of_certificate(&self) -> bool {
        matches!(self, Refusal::Fault(fault) if fault.is_of_certificate())
    }

    /// The same, to be counted.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Refusal::OtherProtocol(protocol) => Failure::Silent(protocol.reason()),
            Refusal::Fault(fault) => match (fault.alert_of_peer(), fault.alert_of_ours()) {
                (Some(alert), _) => Failure::Theirs(alert),
                (None, Some(alert)) => Failure::Ours(alert),
                (None, None) => Failure::Silent(fault.reason()),
            },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::OtherProtocol(protocol) => protocol.fmt(f),
            Refusal::Fault(fault) => match fault.alert_of_ours() {
                Some(alert) => write!(f, "TLS: {fault} (our alert: {alert})"),
                None => write!(f, "TLS: {fault}"),
            },
        }
    }
}
