//! The end of every drive: the only place that decides interest, deadline, another drive and the end.

use super::interest::{Facts, interest};
use super::{Connection, Life, Worker};
use crate::base::moment::Moment;
use crate::http::body::Wait;
use crate::net::{Interest, Socket};
use crate::observe::close_reason::CloseReason;
use crate::observe::wait_reason::WaitReason;
use crate::protocol::h1::server::Receiving;

/// What the event loop has to do about a connection after a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Settled {
    /// Nothing more will happen: free it at the end of the turn.
    Closed(CloseReason),
    /// It lives on.
    Open {
        /// What to ask of the kernel.
        interest: Interest,
        /// By when somebody must look again.
        deadline: Moment,
        /// The budget is spent, not the work: to the back of the run queue.
        again: bool,
    },
}

impl<S: Socket> Connection<S> {
    /// Decides what happens next. `budget_spent`: the drive ended although something may still move.
    pub fn settle<V>(&mut self, worker: &mut Worker<V>, budget_spent: bool) -> Settled {
        // First of all, since what closes is freed at the end of the turn: a thousand that close in one turn need one ring
        // to find that out, and not a thousand.
        self.channel.give_back_empty(&mut worker.inboxes, &mut worker.outboxes);
        if let Some(reason) = self.close_reason() {
            return Settled::Closed(reason);
        }
        self.update_wait(worker.moment);
        self.update_record(worker);
        // While the run queue moves the connection, asking the kernel anew would only cost system calls.
        let interest = self.armed.filter(|_| budget_spent).unwrap_or_else(|| interest(self.facts()));
        Settled::Open { interest, deadline: self.deadline(worker), again: budget_spent }
    }

    /// When the present wait has lasted too long.
    pub(super) fn deadline<V>(&self, worker: &Worker<V>) -> Moment {
        let timer = self.work.timer().map(|at| worker.moment_of(at));
        self.waiting.deadline(&worker.around.limits, timer, worker.around.draining)
    }

    fn facts(&self) -> Facts {
        Facts {
            input_ended: self.channel.input_ended(),
            inbox_full: self.channel.inbox_is_full(),
            write_blocked: self.channel.is_write_blocked(),
        }
    }

    /// Notes what holds the request up, and which responses have left.
    fn update_record<V>(&mut self, worker: &mut Worker<V>) {
        let (sent, facts) = (self.channel.sent(), self.facts());
        if let Some(record) = self.records.current_mut() {
            record.paused.set(facts.inbox_full, worker.moment);
        }
        if let Some(record) = self.records.sending_mut() {
            record.blocked.set(facts.write_blocked, worker.moment);
            record.queued_max = record.queued_max.max(self.channel.outbox.len());
            if record.first_byte_at.is_none() && record.status.is_some() && sent > record.tx.start {
                record.first_byte_at = Some(worker.moment);
            }
        }
        self.records.retire(sent, &mut worker.finished);
    }

    fn update_wait(&mut self, now: Moment) {
        let reason = self.reason_to_wait();
        let count = match reason {
            WaitReason::SlowRead => self.channel.sent(),
            _ => self.channel.received(),
        };
        self.waiting.update(reason, self.ordinal, count, now);
    }

    /// The one reason why nothing moves. A client that does not read comes first: whatever else it owes us may be late
    /// because of that.
    fn reason_to_wait(&self) -> WaitReason {
        if self.life == Life::Lingering {
            return WaitReason::Lingering;
        }
        // Once nothing more is wanted from the client, all that is left to wait for is that it reads.
        if self.channel.is_write_blocked() || self.receiving_stopped || self.life == Life::Flushing {
            return WaitReason::SlowRead;
        }
        match self.work.wait() {
            Some(Wait::Until(_)) => WaitReason::Timer,
            Some(Wait::Job(_)) => WaitReason::Job,
            Some(Wait::Idle(_)) => WaitReason::Conversation,
            Some(Wait::Content) => WaitReason::SlowBody,
            None if self.work.is_idle() => self.reason_to_wait_for_the_request(),
            // An answer that waits for nothing is on its way, while the budget is spent: what is sent is its progress.
            None => WaitReason::SlowRead,
        }
    }

    fn reason_to_wait_for_the_request(&self) -> WaitReason {
        match self.protocol.receiving() {
            Receiving::Idle if self.ordinal == 0 => WaitReason::FirstByte,
            Receiving::Idle => WaitReason::Idle,
            Receiving::Head => WaitReason::SlowHead,
            Receiving::Content => WaitReason::SlowBody,
            // Only while the budget is spent: the run queue moves it on.
            Receiving::Done => WaitReason::Idle,
        }
    }
}
