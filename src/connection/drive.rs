//! One drive of one connection: fill → advance → flush, and again, until nothing moves or the budget is spent.

use std::io;

use super::channel::{Filled, Last};
use super::driver::{Cut, Ending, Protocol};
use super::h2::Http2;
use super::outbox::Flushed;
use super::secured::Refusal;
use super::{Connection, Crossing, Life, LoopContext, Settled};
use crate::base::limits::Limits;
use crate::net::Socket;
use crate::observe::close_reason::{ClientEnd, CloseReason, Fault, Why};
use crate::observe::verdict::FirstFin;
use crate::service::Service;

impl<S: Socket> Connection<S> {
    /// Moves whatever can move, within the budget, and says what the event loop has to do about it.
    ///
    /// What is left when the budget is spent goes to the back of the run queue, so that a connection with a lot to do
    /// cannot starve the others. Writing comes last in a pass, so everything produced in it leaves in one write. If a
    /// read may have left data in the kernel, the pass does not write: the next one reads first, so that both answers
    /// leave in one write. A pass that reads nothing always writes, and so does the last one of the budget.
    pub fn drive(&mut self, service: &mut impl Service, cx: &mut LoopContext) -> Settled {
        self.queued = false;
        cx.marks.strace(self.channel.who.id, |text| write!(text, "r={} drive", self.requests() + 1));
        let mut budget = Budget::new(&cx.environment.limits);
        while !self.is_closed() && !budget.is_spent() {
            let Some(mut moved) = self.fill(cx) else { return self.settle(cx, true) };
            match self.life {
                Life::Serving => {
                    self.driver.choose(&mut self.channel, cx);
                    match self.driver.advance(&mut self.channel, service, cx) {
                        Ok(advanced) => moved.anything |= advanced,
                        // What was answered before leaves first, however much of the request came at once.
                        Err(Cut(fault)) => self.life = Life::Flushing(Ending::Reset(fault)),
                    }
                }
                Life::Lingering | Life::IdleLingering(_) => moved.anything |= self.discard_late(cx),
                // If the read has failed, there is nobody left to write to.
                Life::Flushing(_) | Life::Closed(_) => {}
            }
            let reads_on = self.has_more_to_read(moved) && budget.outlasts(moved);
            if !reads_on && !self.is_closed() {
                moved.add(self.flush(cx));
            }
            moved.anything |= self.step_life(cx);
            if moved == Moved::NOTHING || self.is_at_rest() {
                return self.settle(cx, false);
            }
            budget.spend(moved);
        }
        self.settle(cx, true)
    }

    /// Whether the kernel may have more, all input was consumed, and the outbox has room for what it brings about.
    fn has_more_to_read(&self, moved: Moved) -> bool {
        let more_is_there = self.channel.may_be_readable() && moved.bytes > 0;
        more_is_there && self.life == Life::Serving && self.channel.inbox_is_empty() && self.channel.outbox.may_grow()
    }

    /// `None`: the connection has to wait for its turn.
    fn fill(&mut self, cx: &mut LoopContext) -> Option<Moved> {
        Some(match self.channel.fill(cx) {
            Ok(Filled::Bytes(n)) => Moved::bytes(n),
            Ok(Filled::End) => Moved { anything: true, bytes: 0 },
            Ok(Filled::Failed(error)) => self.end_output(&error, cx),
            Ok(Filled::Deferred) => return None,
            Ok(Filled::Refused(refusal)) => self.refuse(refusal, cx),
            Err(error) => self.break_off(&error),
        })
    }

    pub(super) fn flush(&mut self, cx: &mut LoopContext) -> Moved {
        match self.channel.flush(cx) {
            Ok(Flushed::Bytes(n)) => Moved::bytes(n),
            Ok(Flushed::Blocked) => Moved::NOTHING,
            Ok(Flushed::FileEnded) => {
                let key = self.log_key();
                cx.complain(log::Level::Error, format_args!("{key}: cut: a file became shorter while it was sent"));
                self.channel.abort_on_close();
                self.close(CloseReason::CutShort(Fault::Handler));
                Moved::NOTHING
            }
            Ok(Flushed::Refused(refusal)) => self.refuse(refusal, cx),
            Err(error) => self.end_output(&error, cx),
        }
    }

    /// Nothing can be written any more. If what has arrived is still of use, the connection lives on for it.
    fn end_output(&mut self, error: &io::Error, cx: &mut LoopContext) -> Moved {
        if self.life != Life::Serving || !self.driver.on_write_error(error.kind(), &self.channel) {
            return self.break_off(error);
        }
        self.channel.end_output(cx);
        Moved { anything: true, bytes: 0 }
    }

    /// Nothing more is received or produced. A connection that was ending already ends as it was to.
    fn refuse(&mut self, refusal: Box<Refusal>, cx: &mut LoopContext) -> Moved {
        cx.complain(log::Level::Info, format_args!("{}: {refusal}", self.log_key()));
        let is_of_peer = refusal.is_of_peer();
        self.channel.note_refusal(refusal, cx);
        match self.life {
            Life::Serving => {
                self.refused_by_client = is_of_peer;
                self.life = Life::Flushing(Ending::InOrder);
            }
            Life::IdleLingering(reason) => self.close(reason),
            Life::Flushing(_) | Life::Lingering | Life::Closed(_) => {}
        }
        Moved { anything: true, bytes: 0 }
    }

    fn break_off(&mut self, error: &io::Error) -> Moved {
        log::debug!("{}: {error}", self.log_key());
        if let Life::IdleLingering(reason) = self.life {
            // It was over for that reason.
            self.channel.abort_on_close();
            self.close(reason);
            return Moved::NOTHING;
        }
        self.close(CloseReason::Broken(error.kind()));
        Moved::NOTHING
    }

    /// Takes the next step towards the end of the connection, if it is due.
    fn step_life(&mut self, cx: &mut LoopContext) -> bool {
        let next = match self.life {
            Life::Serving => self.driver.finish(&self.channel).map(|ending| match ending {
                Ending::Unneeded => self.drop_unneeded(),
                ending => Life::Flushing(ending),
            }),
            Life::Flushing(ending) if self.channel.is_flushed() => Some(self.life_after_flush(ending, cx)),
            Life::Lingering if self.channel.input_ended() => Some(Life::Closed(CloseReason::ByServer(self.why()))),
            Life::IdleLingering(reason) if self.channel.input_ended() || cx.environment.draining.is_some() => {
                Some(Life::Closed(reason))
            }
            _ => None,
        };
        self.life = next.unwrap_or(self.life);
        next.is_some()
    }

    /// Nobody waits for what is left of the connection, so nothing is waited for.
    fn drop_unneeded(&mut self) -> Life {
        self.channel.abort_on_close();
        Life::Closed(CloseReason::ByServer(self.why()))
    }

    /// If the client is not known to have more to say, one last read tells whether it has: it may have ended its direction,
    /// and then it was the first to do so, or it has sent what nobody expected.
    fn life_after_flush(&mut self, ending: Ending, cx: &mut LoopContext) -> Life {
        if let Ending::Reset(fault) = ending {
            self.channel.abort_on_close();
            return Life::Closed(CloseReason::CutShort(fault));
        }
        if self.channel.announce_end(cx) {
            return Life::Flushing(ending);
        }
        if let Ending::Idle(reason) = ending {
            return self.end_idle_direction(reason, cx);
        }
        if !self.channel.input_ended() && ending == Ending::AtOnce && !self.channel.holds_input() {
            match self.channel.read_last(cx) {
                Ok(Last::Bytes | Last::End) => {}
                Ok(Last::Nothing) => return Life::Closed(CloseReason::ByServer(self.why())),
                Err(error) => return Life::Closed(CloseReason::Broken(error.kind())),
            }
        }
        // Behind a close_notify there may be a FIN. If there is none, ours is the first.
        if self.channel.client_end() == Some(ClientEnd::CloseNotify)
            && self.channel.read_last(cx).is_ok_and(|last| last == Last::End)
        {
            self.first_fin = Some(FirstFin::Client);
        }
        match self.channel.client_end() {
            Some(end) => Life::Closed(CloseReason::ByClient(end)),
            None => self.end_our_direction(cx),
        }
    }

    /// RFC 9112 §9.5: a client may send a request at the moment at which we end an idle connection. That is noticed, unless
    /// the server stops, which is not to take longer because of it.
    fn end_idle_direction(&mut self, reason: CloseReason, cx: &mut LoopContext) -> Life {
        let is_over = self.channel.input_ended() || cx.environment.draining.is_some();
        if is_over || self.end_our_direction(cx) != Life::Lingering {
            return Life::Closed(reason);
        }
        self.channel.look_on();
        self.crossing = Crossing::None;
        cx.idle_lingerers += 1;
        Life::IdleLingering(reason)
    }

    /// Throws away what has arrived behind the end of our direction, and looks whether a request has crossed our FIN. It gets no
    /// answer: the client learns from a reset that it may send it again. With HTTP/2 it knows that from GOAWAY, which a reset
    /// might destroy. Says whether anything was thrown away.
    fn discard_late(&mut self, cx: &mut LoopContext) -> bool {
        let before = self.channel.inbox_len();
        if before == 0 {
            return false;
        }
        let is_late = self.driver.discard_late(&mut self.channel, cx);
        if let Life::IdleLingering(reason) = self.life
            && is_late
        {
            self.crossing = Crossing::Seen;
            if self.driver.http2().is_none() {
                self.channel.abort_on_close();
                self.close(reason);
            }
        }
        self.channel.inbox_len() < before
    }

    /// Why we end the connection.
    fn why(&self) -> Why {
        if self.channel.is_refused() { Why::Refusal } else { self.driver.why() }
    }

    /// Closing while the kernel holds unread input, or while more of it is on its way, would send a reset, and that
    /// destroys what the client has not read yet (RFC 9112 §9.6). In that case only our direction ends for now.
    fn end_our_direction(&mut self, cx: &mut LoopContext) -> Life {
        cx.counters.syscalls.shutdown += 1;
        match self.channel.socket.shutdown_write() {
            Ok(()) => {
                if self.channel.client_end() != Some(ClientEnd::Fin) {
                    self.first_fin = Some(FirstFin::Server);
                }
                if self.driver.http2().is_some_and(Http2::counts_late) {
                    self.channel.look_on();
                }
                Life::Lingering
            }
            Err(error) => Life::Closed(CloseReason::Broken(error.kind())),
        }
    }

    /// Whether every request has been answered and the answers have left: another pass would find nothing to do. Most
    /// drives end so.
    fn is_at_rest(&self) -> bool {
        self.life == Life::Serving && self.channel.is_quiet() && self.channel.inbox_is_empty() && self.driver.is_idle()
    }
}

/// What a pass moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moved {
    /// Whether another pass may find something to do.
    anything: bool,
    /// Bytes read and written.
    bytes: usize,
}

impl Moved {
    const NOTHING: Moved = Moved { anything: false, bytes: 0 };

    fn bytes(n: usize) -> Moved {
        Moved { anything: n > 0, bytes: n }
    }

    fn add(&mut self, other: Moved) {
        self.anything |= other.anything;
        self.bytes += other.bytes;
    }
}

/// How much one drive may still move.
struct Budget {
    bytes: usize,
    passes: u32,
}

impl Budget {
    fn new(limits: &Limits) -> Budget {
        Budget { bytes: limits.drive_bytes_max, passes: limits.drive_passes_max }
    }

    fn spend(&mut self, moved: Moved) {
        self.bytes = self.bytes.saturating_sub(moved.bytes);
        self.passes = self.passes.saturating_sub(1);
    }

    fn is_spent(&self) -> bool {
        self.bytes == 0 || self.passes == 0
    }

    /// Whether another pass follows one that moved so much.
    fn outlasts(&self, moved: Moved) -> bool {
        self.bytes > moved.bytes && self.passes > 1
    }
}
