//! The byte stream to the peer: a socket, what is known of its readiness, the two rings, and TLS between them, if any.

mod encrypted;
mod flags;

use std::io;

use self::flags::{Flag, Flags};
use super::interest::Facts;
use super::outbox::{Flushed, Outbox};
use super::secured::{Refusal, Secured};
use super::{Entrance, Identity, LoopContext};
use crate::base::disk::Residency;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::ring::RingBuffer;
use crate::net::capture::live::LiveCaptures;
use crate::net::{Io, PeerProgress, Readiness, Socket};
use crate::observe::close_reason::{ClientEnd, CloseReason};
use crate::observe::counters::Counters;
use crate::observe::histogram::Syscalls;

/// How much is read when it only matters whether there is anything, in bytes.
const LAST_READ_BYTES: usize = 64;

/// A socket with its inbox and outbox.
pub(super) struct Channel<S> {
    pub(super) socket: S,
    /// Whose channel it is.
    pub(super) who: Identity,
    /// The listener that accepted the connection.
    pub(super) listener: ListenerId,
    /// Its role then.
    pub(super) role: ListenerRole,
    /// Owned only while it holds something.
    pub(super) inbox: Option<Box<RingBuffer>>,
    pub(super) outbox: Outbox,
    /// In a box, because it is large and many connections have none.
    pub(super) secured: Option<Box<Secured>>,
    flags: Flags,
    received: u64,
    sent: u64,
}

/// What a fill did.
#[must_use]
pub(super) enum Filled {
    /// So many bytes arrived; 0 if there were none, or no room for them.
    Bytes(usize),
    /// The peer has ended its direction.
    End,
    /// The connection has failed, and what has arrived was not all read, or ends with the peer's FIN.
    Failed(io::Error),
    /// Others have begun as many TLS handshakes in this turn as there may be: this one has to wait.
    Deferred,
    /// The peer is refused. What it is to be told is on its way; nothing else is sent or received.
    Refused(Box<Refusal>),
}

/// What a last read has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// Nothing, so far.
    Nothing,
    /// More bytes.
    Bytes,
    /// The peer's FIN.
    End,
}

impl<S: Socket> Channel<S> {
    pub(super) fn new(socket: S, who: Identity, entrance: Entrance, secured: Option<Secured>) -> Channel<S> {
        let Entrance { listener, role } = entrance;
        // A new socket has room to write. An event will tell whether there is something to read.
        let mut flags = Flags::default();
        flags.set(Flag::Writable, true);
        Channel {
            socket,
            who,
            listener,
            role,
            inbox: None,
            outbox: Outbox::default(),
            secured: secured.map(Box::new),
            flags,
            received: 0,
            sent: 0,
        }
    }

    /// The connection is not there yet: an event will tell when it is. It begins with this, even before TLS.
    pub(super) fn begin_connecting(&mut self, header: &[u8], cx: &mut LoopContext) {
        self.flags.set(Flag::Writable, false);
        match &mut self.secured {
            _ if header.is_empty() => {}
            Some(secured) => secured.begin_with(header, &mut cx.ciphertexts),
            None => drop(self.outbox.ring(&mut cx.outboxes).put(header)),
        }
    }

    /// Whether the kernel has told that there is room to write, or has taken bytes.
    pub(super) fn has_connected(&self) -> bool {
        self.flags.has(Flag::Writable) || self.written_to_socket() > 0
    }

    /// Writing has failed: what was to be sent is thrown away. What has arrived can still be read.
    pub(super) fn end_output(&mut self, cx: &mut LoopContext) {
        self.outbox.give_back_all(&mut cx.outboxes);
        if let Some(secured) = &mut self.secured {
            // The kernel may say that there is room again, and another write would fail, too.
            secured.discard_outgoing();
        }
        self.flags.set(Flag::Writable, false);
        self.flags.set(Flag::Readable, true);
    }

    /// Whether it has TLS.
    pub(super) fn is_secured(&self) -> bool {
        self.secured.is_some()
    }

    pub(super) fn on_readiness(&mut self, told: Readiness) {
        self.flags.add(Flag::Readable, told.readable);
        self.flags.add(Flag::Writable, told.writable);
        self.flags.add(Flag::HungUp, told.hung_up);
        self.flags.add(Flag::Failed, told.failed);
    }

    /// One read, if it can move something: socket → inbox.
    pub(super) fn fill(&mut self, cx: &mut LoopContext) -> io::Result<Filled> {
        if self.flags.has(Flag::InputEnded) || self.inbox_is_full() {
            return Ok(self.check_unread());
        }
        if self.secured.is_some() {
            return self.fill_decrypted(cx);
        }
        if !self.flags.has(Flag::Readable) {
            return Ok(Filled::Bytes(0));
        }
        let LoopContext { inboxes, counters, live_captures, .. } = cx;
        let inbox = self.inbox.get_or_insert_with(|| inboxes.take());
        counters.syscalls.read += 1;
        let (n, still_readable) = match self.socket.read(inbox.writable())? {
            Io::Moved(n) => (n, true),
            // Data and FIN share one event: after a hang-up only the end itself proves that nothing is left.
            Io::Drained(n) => (n, self.flags.has(Flag::HungUp)),
            Io::WouldBlock => (0, false),
            Io::Eof => {
                self.flags.set(Flag::InputEnded, true);
                return Ok(Filled::End);
            }
        };
        inbox.commit(n);
        if let Some(live) = live_captures {
            live.received(self.who.id, self.received, inbox.last(n));
        }
        self.flags.set(Flag::Readable, still_readable);
        self.received += n as u64;
        counters.add_read(self.role, n);
        Ok(Filled::Bytes(n))
    }

    /// Whether the peer has neither sent anything nor ended its direction since all of its input was read. If it has, the
    /// connection is of no use any more.
    pub(super) fn is_untouched(&mut self, cx: &mut LoopContext) -> bool {
        !self.flags.has(Flag::InputEnded) && self.inbox_is_empty() && matches!(self.read_last(cx), Ok(Last::Nothing))
    }

    /// One read more, of what is thrown away.
    pub(super) fn read_last(&mut self, cx: &mut LoopContext) -> io::Result<Last> {
        let LoopContext { counters, live_captures, .. } = cx;
        let mut bytes = [0; LAST_READ_BYTES];
        counters.syscalls.read += 1;
        match self.socket.read([&mut bytes, &mut []])? {
            Io::Moved(n) | Io::Drained(n) => {
                if self.secured.is_none() {
                    if let Some(live) = live_captures {
                        live.received(self.who.id, self.received, [&bytes[..n], &[]]);
                    }
                    self.received += n as u64;
                }
                counters.add_read(self.role, n);
            }
            Io::WouldBlock => return Ok(Last::Nothing),
            Io::Eof => {
                self.flags.set(Flag::InputEnded, true);
                return Ok(Last::End);
            }
        }
        Ok(Last::Bytes)
    }

    /// A reset shows in the next read. Where there will be none, because there is no room or nothing left to read, it
    /// has to be asked for: its handler may wait for an hour.
    fn check_unread(&mut self) -> Filled {
        let error = if self.flags.take(Flag::Failed) { self.socket.take_error().err() } else { None };
        error.map_or(Filled::Bytes(0), Filled::Failed)
    }

    /// One write, if it can move something: outbox → socket.
    pub(super) fn flush(&mut self, cx: &mut LoopContext) -> io::Result<Flushed> {
        if self.secured.is_some() {
            return self.flush_encrypted(cx);
        }
        let LoopContext { counters, live_captures, .. } = cx;
        if !self.flags.has(Flag::Writable) || self.outbox.is_empty() {
            return Ok(Flushed::Bytes(0));
        }
        let flushed = match live_captures {
            None => self.outbox.flush(&mut self.socket, &mut counters.syscalls)?,
            Some(live) => self.flush_captured(live, &mut counters.syscalls)?,
        };
        match flushed {
            Flushed::Bytes(n) => {
                self.sent += n as u64;
                counters.add_written(self.role, n);
            }
            Flushed::Blocked => self.flags.set(Flag::Writable, false),
            Flushed::FileEnded | Flushed::Refused(_) => {}
        }
        Ok(flushed)
    }

    /// The same while connections are captured, of which this may be one.
    #[cold]
    fn flush_captured(&mut self, live: &mut LiveCaptures, syscalls: &mut Syscalls) -> io::Result<Flushed> {
        if !live.wants(self.who.id) {
            return self.outbox.flush(&mut self.socket, syscalls);
        }
        let (bytes, file) = (self.outbox.readable().concat(), self.outbox.file());
        let flushed = self.outbox.flush(&mut self.socket, syscalls)?;
        if let Flushed::Bytes(n) = flushed {
            match file.filter(|_| bytes.is_empty()) {
                None => live.sent(self.who.id, self.sent, [&bytes[..n], &[]], 0),
                Some((file, offset)) => {
                    let mut content = vec![0; n];
                    // It was in memory when it was sent. What is not there any more is not waited for.
                    let known = match file.read_resident(&mut content, offset) {
                        Ok(Residency::Read(known)) => known,
                        Ok(Residency::Cold | Residency::Unknown) | Err(_) => 0,
                    };
                    live.sent(self.who.id, self.sent, [&content[..known], &[]], n - known);
                }
            }
        }
        Ok(flushed)
    }

    /// Whether a part of a file can be sent from the page cache, past the outbox.
    pub(super) fn can_send_file(&self) -> bool {
        self.secured.is_none()
    }

    /// Throws away what was received; says how many bytes that was.
    pub(super) fn discard(&mut self) -> usize {
        let Some(inbox) = &mut self.inbox else { return 0 };
        let n = inbox.len();
        inbox.clear();
        n
    }

    /// Whether more has been received than the empty lines that some clients send behind a request (RFC 9112 §2.2).
    pub(super) fn has_input_beyond_lines(&self) -> bool {
        let parts = self.inbox.as_deref().map_or([&[][..]; 2], RingBuffer::readable);
        parts.into_iter().flatten().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    /// Ends our direction as soon as everything has left, and not the peer's. Says whether it has ended.
    pub(super) fn end_direction(&mut self, cx: &mut LoopContext) -> io::Result<bool> {
        if !self.is_flushed() {
            return Ok(false);
        }
        // RFC 8446 §6.1: close_notify comes before the FIN. The other direction goes on.
        let is_announcing = self.announce_end(cx);
        self.look_on();
        if is_announcing {
            return Ok(false);
        }
        cx.counters.syscalls.shutdown += 1;
        self.socket.shutdown_write().map(|()| true)
    }

    /// Our direction has ended, and what still arrives is of interest all the same.
    pub(super) fn look_on(&mut self) {
        if let Some(secured) = &mut self.secured {
            secured.look_on();
        }
    }

    /// Makes the close that follows abortive. Failing at that leaves an ordinary close, which is right as well.
    pub(super) fn abort_on_close(&mut self) {
        match self.socket.abort_on_close() {
            Ok(()) => self.flags.set(Flag::Aborted, true),
            Err(error) => log::debug!("{}: cannot abort: {error}", self.who.log_key(None)),
        }
    }

    /// Lets the kernel hold as much unsent as it likes, or no more than usual. If it refuses, all is as before.
    pub(super) fn hold_unsent(&mut self, without_bound: bool, counters: &mut Counters) {
        if self.flags.has(Flag::HoldsUnsent) == without_bound {
            return;
        }
        self.flags.set(Flag::HoldsUnsent, without_bound);
        match self.socket.hold_unsent(without_bound) {
            Ok(was_asked) => counters.syscalls.option += u64::from(was_asked),
            Err(error) => log::debug!("{}: cannot set how much may be unsent: {error}", self.who.log_key(None)),
        }
    }

    /// Has the kernel acknowledge at once what was read. If it refuses, the acknowledgement comes a moment later.
    pub(super) fn acknowledge(&mut self, counters: &mut Counters) {
        match self.socket.acknowledge() {
            Ok(was_asked) => counters.syscalls.option += u64::from(was_asked),
            Err(error) => log::debug!("{}: cannot acknowledge at once: {error}", self.who.log_key(None)),
        }
    }

    /// Returns the rings that hold nothing: idle connections own none.
    pub(super) fn give_back_empty(&mut self, cx: &mut LoopContext) {
        if let Some(ring) = self.inbox.take_if(|ring| ring.is_empty()) {
            cx.inboxes.give_back(ring);
        }
        self.outbox.give_back_empty(&mut cx.outboxes);
        if let Some(secured) = &mut self.secured {
            secured.give_back_empty(&mut cx.ciphertexts);
        }
    }

    /// Returns all rings, whatever they hold.
    pub(super) fn give_back_all(&mut self, cx: &mut LoopContext) {
        if let Some(ring) = self.inbox.take() {
            cx.inboxes.give_back(ring);
        }
        self.outbox.give_back_all(&mut cx.outboxes);
        if let Some(secured) = &mut self.secured {
            secured.give_back_all(&mut cx.ciphertexts);
        }
    }

    /// All that the interest depends on.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            input_ended: self.flags.has(Flag::InputEnded),
            inbox_full: self.inbox_is_full(),
            write_blocked: self.is_write_blocked(),
        }
    }

    pub(super) fn inbox_is_full(&self) -> bool {
        self.inbox.as_deref().is_some_and(RingBuffer::is_full)
    }

    pub(super) fn inbox_len(&self) -> usize {
        self.inbox.as_deref().map_or(0, RingBuffer::len)
    }

    pub(super) fn inbox_is_empty(&self) -> bool {
        self.inbox.as_deref().is_none_or(RingBuffer::is_empty)
    }

    /// Whether the peer has sent more than was dealt with, be it a part of a record.
    pub(super) fn holds_input(&self) -> bool {
        !self.inbox_is_empty() || self.secured.as_ref().is_some_and(|secured| secured.holds_input())
    }

    /// Whether the peer has ended its direction and everything it sent has been read.
    pub(super) fn input_ended(&self) -> bool {
        self.flags.has(Flag::InputEnded)
    }

    /// Whether the peer was refused by TLS.
    pub(super) fn is_refused(&self) -> bool {
        self.secured.as_ref().is_some_and(|secured| secured.has_failed())
    }

    /// How the peer has ended its direction, if it has.
    pub(super) fn client_end(&self) -> Option<ClientEnd> {
        let is_notified = self.secured.as_ref().is_some_and(|secured| secured.was_ended());
        self.flags.has(Flag::InputEnded).then_some(if is_notified { ClientEnd::CloseNotify } else { ClientEnd::Fin })
    }

    /// Why the connection has ended, as its requests were told. Who has closed its socket resets whatever it is sent: if
    /// nothing was left to be answered, its end was the end.
    pub(super) fn as_told(&self, reason: CloseReason, is_answered: bool) -> CloseReason {
        match self.client_end().filter(|_| is_answered && reason.is_reset()) {
            Some(end) => CloseReason::ByClient(end),
            None => reason,
        }
    }

    /// Whether the kernel may hold input that has not been read.
    pub(super) fn may_be_readable(&self) -> bool {
        (self.flags.has(Flag::Readable) || self.has_ciphertext()) && !self.flags.has(Flag::InputEnded)
    }

    /// Whether something has arrived that was not added to the inbox.
    fn has_ciphertext(&self) -> bool {
        self.secured.as_ref().is_some_and(|secured| secured.has_incoming())
    }

    /// Whether all that was to be sent has left.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty() && !self.secured.as_ref().is_some_and(|secured| secured.has_outgoing())
    }

    /// Whether nothing can be read or written until the kernel says something new.
    pub(super) fn is_quiet(&self) -> bool {
        !self.flags.has(Flag::Readable)
            && !self.flags.has(Flag::InputEnded)
            && self.outbox.is_empty()
            && self.secured.as_ref().is_none_or(|secured| secured.is_quiet())
    }

    /// Whether there is something to send that the kernel has no room for.
    pub(super) fn is_write_blocked(&self) -> bool {
        !self.flags.has(Flag::Writable) && !self.is_flushed()
    }

    /// Whether the close resets the connection.
    pub(super) fn is_aborted(&self) -> bool {
        self.flags.has(Flag::Aborted)
    }

    /// How far the peer's kernel has taken the stream to the peer, if that is known, and whether the peer has reset the
    /// connection, which ended for this `reason`.
    pub(super) fn fate(&mut self, reason: CloseReason, counters: &mut Counters) -> (Option<PeerProgress>, bool) {
        if let CloseReason::Broken(kind) = reason {
            // The kernel has forgotten it.
            return (None, matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe));
        }
        if self.socket.take_error().is_err() {
            return (None, true);
        }
        (self.peer_progress(counters), false)
    }

    /// How far the peer's kernel has taken the stream to the peer, if that is known. With TLS, only what it certainly has
    /// acknowledged is counted.
    pub(super) fn peer_progress(&self, counters: &mut Counters) -> Option<PeerProgress> {
        let told = self.socket.peer_progress()?;
        counters.syscalls.netlink += 1;
        let progress = told.ok()?;
        let on_its_way = self.written_to_socket().saturating_sub(progress.acknowledged);
        Some(PeerProgress { acknowledged: self.sent.saturating_sub(on_its_way), ..progress })
    }

    /// Bytes read from the peer so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Bytes that were read from the socket so far, which show that the peer is at work before a record is complete.
    pub(super) fn read_from_socket(&self) -> u64 {
        self.secured.as_ref().map_or(self.received, |secured| secured.read)
    }

    /// Bytes that were written to the socket so far.
    pub(super) fn written_to_socket(&self) -> u64 {
        self.secured.as_ref().map_or(self.sent, |secured| secured.written)
    }

    /// Bytes of content handed to the kernel so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that have arrived from the peer so far, those that the kernel still holds included. If the kernel does not
    /// tell: those that were read.
    pub(super) fn arrived(&self, counters: &mut Counters) -> u64 {
        counters.syscalls.unread += 1;
        let unread = self.socket.unread().unwrap_or_else(|error| {
            log::debug!("{}: the kernel does not tell what is unread: {error}", self.who.log_key(None));
            0
        });
        self.received + unread
    }

    /// Where the next byte that is added to the outbox stands in the stream to the peer.
    pub(super) fn position(&self) -> u64 {
        self.sent + self.outbox.len()
    }
}
