//! One drive of one connection: fill → receive → produce → flush → settle.
//!
//! A pass is repeated until it moved nothing or the budget is spent; what is left then goes to the back of the run
//! queue, so that a connection with a lot to do cannot starve the others. Flush comes last, so everything produced in one
//! pass leaves in one write. A pass whose read left something behind leaves its flush to the next one, which follows at
//! once. Nothing is stranded by that: a pass that read nothing flushes, and so does the last one within the budget.

use super::channel::Filled;
use super::outbox::Flushed;
use super::{Connection, Life, Settled, Worker};
use crate::base::limits::Limits;
use crate::http::body::Failure;
use crate::net::Socket;
use crate::observe::close_reason::CloseReason;
use crate::protocol::h1::server::{Receiving, Sending};
use crate::service::Service;

impl<S: Socket> Connection<S> {
    /// Moves whatever can move, within the budget, and says what the event loop has to do about it.
    pub fn drive<V: Service>(&mut self, worker: &mut Worker<V>) -> Settled {
        self.queued = false;
        worker.marks.connection(self.id, |text| write!(text, "r={} drive", self.ordinal + 1));
        let mut budget = Budget::new(&worker.around.limits);
        while !self.is_closed() && !budget.is_spent() {
            let moved = self.pass(&budget, worker);
            if moved == Moved::NOTHING || self.is_at_rest() {
                return self.settle(worker, false);
            }
            budget.spend(moved);
        }
        self.settle(worker, true)
    }

    fn pass<V: Service>(&mut self, budget: &Budget, worker: &mut Worker<V>) -> Moved {
        let (received, sent) = (self.channel.received(), self.channel.sent());
        let moved = self.move_bytes(budget, worker);
        worker.stats.read_bytes += self.channel.received() - received;
        worker.stats.written_bytes += self.channel.sent() - sent;
        moved
    }

    fn move_bytes<V: Service>(&mut self, budget: &Budget, worker: &mut Worker<V>) -> Moved {
        let mut moved = self.fill(worker);
        if self.is_closed() {
            // The read failed: there is nobody left to write to.
            return moved;
        }
        match self.life {
            Life::Serving => moved.anything |= self.exchange(worker),
            Life::Lingering => moved.anything |= self.channel.discard() > 0,
            Life::Flushing | Life::Closed(_) => {}
        }
        if !(self.is_to_read_on(moved) && budget.outlasts(moved)) {
            moved.add(self.flush(worker));
        }
        moved.anything |= self.step_life(worker);
        moved
    }

    /// Whether a read that `moved` something left more behind, of which all could be taken that was read, and the answers
    /// to both can leave in one write. A message of 16 KiB, longer with its head than the inbox, would cost two.
    fn is_to_read_on(&self, moved: Moved) -> bool {
        let more_is_there = self.channel.may_be_readable() && moved.bytes > 0;
        more_is_there && self.life == Life::Serving && self.channel.inbox_is_empty() && self.channel.outbox.may_grow()
    }

    /// Receives and produces until neither moves: pipelined requests are answered together.
    fn exchange<V: Service>(&mut self, worker: &mut Worker<V>) -> bool {
        let mut moved = false;
        while self.life == Life::Serving && (self.receive_all(worker) | self.produce_all(worker)) {
            moved = true;
            if self.awaits_a_request() {
                break;
            }
        }
        moved
    }

    /// Receives first whatever there is of one request: a response can then say truly whether the connection persists.
    fn receive_all<V: Service>(&mut self, worker: &mut Worker<V>) -> bool {
        let mut moved = false;
        while self.receive(worker) {
            moved = true;
        }
        moved
    }

    fn produce_all<V: Service>(&mut self, worker: &mut Worker<V>) -> bool {
        let mut moved = false;
        while self.life == Life::Serving && self.produce(worker) {
            moved = true;
        }
        moved
    }

    fn fill<V>(&mut self, worker: &mut Worker<V>) -> Moved {
        match self.channel.fill(&mut worker.inboxes, &mut worker.stats.syscalls) {
            Ok(Filled::Bytes(n)) => Moved::bytes(n),
            Ok(Filled::End) => Moved { anything: true, bytes: 0 },
            Err(error) => self.break_off(&error),
        }
    }

    pub(super) fn flush<V>(&mut self, worker: &mut Worker<V>) -> Moved {
        match self.channel.flush(&mut worker.stats.syscalls) {
            Ok(Flushed::Bytes(n)) => Moved::bytes(n),
            Ok(Flushed::Blocked) => Moved::NOTHING,
            Ok(Flushed::FileEnded) => {
                self.fail(&Failure::new("a file became shorter while it was sent"), worker);
                Moved::NOTHING
            }
            Err(error) => self.break_off(&error),
        }
    }

    fn break_off(&mut self, error: &std::io::Error) -> Moved {
        log::debug!("{}: {error}", self.channel.peer);
        self.close(CloseReason::Broken(error.kind()));
        Moved::NOTHING
    }

    /// Takes the next step towards the end of the connection, if it is due.
    fn step_life<V>(&mut self, worker: &mut Worker<V>) -> bool {
        let next = match self.life {
            Life::Serving if self.is_finished() => {
                self.complete_record();
                Life::Flushing
            }
            Life::Flushing if self.channel.outbox.is_empty() => self.life_after_flush(worker),
            Life::Lingering if self.channel.input_ended() => Life::Closed(CloseReason::ByServer),
            _ => return false,
        };
        self.life = next;
        true
    }

    /// Whether the last response is complete, or there will be none.
    fn is_finished(&self) -> bool {
        let is_last = !self.protocol.persists() || self.receiving_stopped;
        let answered = self.protocol.sending() == Sending::Done && is_last;
        answered || (self.is_between_requests() && self.channel.input_ended() && self.channel.inbox_is_empty())
    }

    /// Closing while the kernel holds unread input, or while more of it is on its way, would send a reset, and that
    /// destroys what the client has not read yet (RFC 9112 §9.6). In that case only our direction ends for now.
    fn life_after_flush<V>(&mut self, worker: &mut Worker<V>) -> Life {
        if self.channel.input_ended() {
            return Life::Closed(CloseReason::ByClient);
        }
        let request_complete = self.protocol.receiving() == Receiving::Done && !self.receiving_stopped;
        if request_complete && !self.ends_unasked && self.channel.inbox_is_empty() && !self.channel.may_be_readable() {
            return Life::Closed(CloseReason::ByServer);
        }
        worker.stats.syscalls.shutdown += 1;
        match self.channel.socket.shutdown_write() {
            Ok(()) => Life::Lingering,
            Err(error) => Life::Closed(CloseReason::Broken(error.kind())),
        }
    }

    /// Whether every request has been answered and the answers have left: another pass would find nothing to do. Most
    /// drives end so.
    fn is_at_rest(&self) -> bool {
        self.life == Life::Serving && self.awaits_a_request() && self.channel.is_quiet()
    }

    /// Whether nothing of another request has arrived.
    fn awaits_a_request(&self) -> bool {
        self.channel.inbox_is_empty() && self.is_between_requests()
    }

    pub(super) fn is_between_requests(&self) -> bool {
        self.work.is_idle() && self.protocol.receiving() == Receiving::Idle && self.protocol.sending() == Sending::Idle
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

    pub(super) fn is_something(self) -> bool {
        self != Moved::NOTHING
    }

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
