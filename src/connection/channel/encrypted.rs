//! A channel whose bytes are encrypted on their way.

use std::io;

use log::Level;

use super::flags::Flag;
use super::{Channel, Filled};
use crate::base::tls_facts::TlsStatus;
use crate::connection::outbox::Flushed;
use crate::connection::secured::{Refusal, Secured};
use crate::connection::{Identity, LoopContext};
use crate::net::{Io, Socket};
use crate::observe::close_reason::CloseReason;
use crate::observe::tls::Failure;

impl<S: Socket> Channel<S> {
    /// Decrypts what is there, and if that is nothing, one read of ciphertext: no event will tell of what is there already.
    #[inline(never)]
    pub(super) fn fill_decrypted(&mut self, cx: &mut LoopContext) -> io::Result<Filled> {
        let Some(secured) = &mut self.secured else { return Ok(Filled::Bytes(0)) };
        if !self.flags.has(Flag::Readable) && !secured.has_incoming() {
            return Ok(Filled::Bytes(0));
        }
        let awaits_hello = secured.awaits_hello();
        if awaits_hello && cx.handshakes_left == 0 {
            return Ok(Filled::Deferred);
        }
        if secured.has_incoming() {
            match self.decrypt(cx) {
                Filled::Bytes(0) => {}
                filled => return Ok(filled),
            }
        }
        let Some(secured) = &mut self.secured else { return Ok(Filled::Bytes(0)) };
        // An end that is read is the end of all input, so what has arrived before is decrypted first.
        if !self.flags.has(Flag::Readable) || !secured.can_open() {
            return Ok(Filled::Bytes(0));
        }
        let is_first = secured.read == 0;
        // The kernel may hold more, and will not say so again: the socket stays readable.
        let Some(read) = secured.read(&mut self.socket, &mut cx.ciphertexts)? else { return Ok(Filled::Bytes(0)) };
        cx.counters.syscalls.read += 1;
        let (n, still_readable) = match read {
            Io::Moved(n) => (n, true),
            Io::Drained(n) => (n, self.flags.has(Flag::HungUp)),
            Io::WouldBlock => (0, false),
            Io::Eof => {
                secured.on_eof();
                self.flags.set(Flag::InputEnded, true);
                // The driver looks into the inbox to see that the end has come.
                self.inbox.get_or_insert_with(|| cx.inboxes.take());
                return Ok(Filled::End);
            }
        };
        if is_first && n > 0 {
            cx.marks.connection(self.who.id, |text| write!(text, "tls handshake begun"));
        }
        self.flags.set(Flag::Readable, still_readable);
        cx.counters.add_read(self.role, n);
        Ok(match self.decrypt(cx) {
            // The handshake goes on.
            Filled::Bytes(0) => Filled::Bytes(n),
            filled => filled,
        })
    }

    fn decrypt(&mut self, cx: &mut LoopContext) -> Filled {
        let Some(secured) = self.secured.as_mut().filter(|secured| !secured.is_deaf()) else { return Filled::Bytes(0) };
        let (awaited_hello, owed_handshake) = (secured.awaits_hello(), secured.owes_handshake());
        let inbox = self.inbox.get_or_insert_with(|| cx.inboxes.take());
        let before = inbox.len();
        let opened = secured.open(inbox, &mut cx.ciphertexts, cx.moment);
        if let Some(live) = &mut cx.live_captures {
            live.received(self.who.id, self.received, inbox.last(inbox.len() - before));
        }
        // What came in front of a fault was received as well.
        self.received += (inbox.len() - before) as u64;
        if awaited_hello && !secured.awaits_hello() && !secured.is_resumed() {
            cx.handshakes_left = cx.handshakes_left.saturating_sub(1);
        }
        if owed_handshake && !secured.owes_handshake() {
            note_handshake(secured, &self.who, cx);
        }
        match opened {
            Ok(opened) => {
                // What comes before the end is taken first.
                match opened.is_over && opened.bytes == 0 {
                    true => {
                        self.flags.set(Flag::InputEnded, true);
                        Filled::End
                    }
                    false => Filled::Bytes(opened.bytes),
                }
            }
            Err(refusal) => {
                self.outbox.give_back_all(&mut cx.outboxes);
                Filled::Refused(Box::new(refusal))
            }
        }
    }

    /// Encrypts what the outbox holds, or begins the handshake if that is our part, and one write of ciphertext. Content leaves the outbox when its record has left.
    #[inline(never)]
    pub(super) fn flush_encrypted(&mut self, cx: &mut LoopContext) -> io::Result<Flushed> {
        let Some(secured) = self.secured.as_mut().filter(|_| self.flags.has(Flag::Writable)) else {
            return Ok(Flushed::Bytes(0));
        };
        if let Err(refusal) = secured.seal(&self.outbox, &mut cx.ciphertexts, cx.moment) {
            self.outbox.give_back_all(&mut cx.outboxes);
            return Ok(Flushed::Refused(Box::new(refusal)));
        }
        if !secured.has_outgoing() {
            return Ok(Flushed::Bytes(0));
        }
        cx.counters.syscalls.write += 1;
        match secured.write(&mut self.socket, cx.moment)? {
            (Io::Moved(n), content) => {
                if let Some(live) = &mut cx.live_captures {
                    let [front, back] = self.outbox.readable();
                    let of_front = content.min(front.len());
                    live.sent(self.who.id, self.sent, [&front[..of_front], &back[..content - of_front]], 0);
                }
                self.outbox.consume(content);
                self.sent += content as u64;
                cx.counters.add_written(self.role, n);
                Ok(Flushed::Bytes(n))
            }
            _ => {
                self.flags.set(Flag::Writable, false);
                Ok(Flushed::Blocked)
            }
        }
    }

    /// Tells a peer that speaks TLS that nothing more comes, if it has not been told. Says whether something is to leave.
    pub(in crate::connection) fn announce_end(&mut self, cx: &mut LoopContext) -> bool {
        let Some(secured) = &mut self.secured else { return false };
        if let Err(fault) = secured.close(&mut cx.ciphertexts) {
            log::debug!("{}: cannot say the end: {fault}", self.who.log_key(None));
        }
        secured.has_outgoing()
    }

    /// Notes why TLS has ended the connection.
    pub(in crate::connection) fn note_refusal(&mut self, refusal: Box<Refusal>, cx: &mut LoopContext) {
        let Some(secured) = &mut self.secured else { return };
        let (failure, tls) = (refusal.failure(), &mut cx.counters.tls);
        if !secured.is_client() {
            let counts = if secured.owes_handshake() { &mut tls.failed } else { &mut tls.broken };
            *counts.entry(failure).or_default() += 1;
        }
        secured.on_failed();
        secured.refusal = Some(refusal);
        cx.marks.connection(self.who.id, |text| write!(text, "tls failed: {failure}"));
    }

    /// Why TLS has ended the connection, if it has.
    pub(in crate::connection) fn refusal(&self) -> Option<&Refusal> {
        self.secured.as_ref()?.refusal.as_deref()
    }

    /// Notes that the connection has ended for this `reason`, if that has ended a client's TLS handshake.
    pub(in crate::connection) fn note_close(&mut self, reason: CloseReason, cx: &mut LoopContext) {
        let owes_handshake = |secured: &&mut Box<Secured>| secured.owes_handshake() && !secured.is_client();
        let Some(secured) = self.secured.as_mut().filter(owes_handshake) else { return };
        secured.on_failed();
        let failure = match reason {
            CloseReason::ByClient(_) => "ended",
            CloseReason::Broken(_) => "reset",
            CloseReason::Timeout(_) | CloseReason::Vanished(_) => "timeout",
            CloseReason::ByServer(_) | CloseReason::CutShort(_) => "stopped",
        };
        *cx.counters.tls.failed.entry(Failure::Silent(failure)).or_default() += 1;
        cx.marks.connection(self.who.id, |text| write!(text, "tls handshake failed: {failure}"));
        let stage = match (secured.read, secured.has_answered()) {
            // Health checks by TCP come and go like this every second.
            (0, _) => return log::debug!("{}: {reason} before the TLS handshake began", self.who.log_key(None)),
            (_, false) => "before its ClientHello was complete",
            (_, true) => "after our answer",
        };
        // Of a timeout there is a line already.
        if !matches!(reason, CloseReason::Timeout(_) | CloseReason::Vanished(_)) {
            cx.complain(
                Level::Info,
                format_args!("{}: {reason} in the TLS handshake, {stage}", self.who.log_key(None)),
            );
        }
    }

    /// Whether the peer has ended TLS without saying so (RFC 8446 §6.1).
    pub(in crate::connection) fn is_truncated(&self) -> bool {
        self.secured.as_ref().is_some_and(|secured| secured.is_truncated)
    }

    /// Whether something of a TLS handshake has come, and it is not done, whatever becomes of it.
    pub(in crate::connection) fn is_in_handshake(&self) -> bool {
        self.secured.as_ref().is_some_and(|secured| secured.is_in_handshake())
    }

    /// What is known of TLS on it, if it has TLS.
    pub(in crate::connection) fn tls(&self) -> Option<TlsStatus> {
        self.secured.as_ref().map(|secured| secured.status())
    }

    /// Whether content cannot flow because the TLS handshake is not over.
    pub(in crate::connection) fn is_handshaking(&self) -> bool {
        self.secured.as_ref().is_some_and(|secured| secured.is_handshaking())
    }
}

/// Notes that a handshake is done. The numbers are those of clients.
fn note_handshake(secured: &Secured, who: &Identity, cx: &mut LoopContext) {
    let status = secured.status();
    if !secured.is_client() {
        cx.counters.tls.count_done(&status.session);
        cx.times.handshakes.record(status.handshake_time().unwrap_or_default());
        cx.times.handshake_work.record(status.session.worked);
    }
    cx.marks.connection(who.id, |text| write!(text, "tls handshake done {status}"));
    log::debug!("{}: TLS: {status}", who.log_key(None));
}
