//! The end of every drive: the only place that decides interest, deadline and another drive.

use super::driver::{DriverWait, Protocol};
use super::interest::interest;
use super::{Connection, Life, LoopContext};
use crate::base::limits::Limits;
use crate::base::moment::Moment;
use crate::net::{Interest, Socket};
use crate::observe::close_reason::CloseReason;
use crate::observe::wait_reason::WaitReason;

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
    pub fn settle(&mut self, cx: &mut LoopContext, budget_spent: bool) -> Settled {
        // Return empty buffers first. Otherwise 1,000 connections that close in one turn hold 1,000 buffers.
        self.channel.give_back_empty(cx);
        if let Some(reason) = self.close_reason() {
            return Settled::Closed(reason);
        }
        let wait = self.wait();
        let count = match wait.reason {
            WaitReason::SlowRead => self.channel.sent(),
            _ => self.channel.read_from_socket(),
        };
        self.waiting.update(wait.reason, wait.ordinal, count, cx.moment);
        // While the run queue moves the connection, asking the kernel anew would only cost system calls.
        let interest = self.armed.filter(|_| budget_spent).unwrap_or_else(|| interest(self.channel.facts()));
        Settled::Open { interest, deadline: self.deadline_with(&wait, cx), again: budget_spent }
    }

    /// When the present wait has lasted too long.
    pub(super) fn deadline(&self, cx: &LoopContext) -> Moment {
        self.deadline_with(&self.driver.wait(&self.channel), cx)
    }

    /// The same, for this `wait` of the driver. It stands where it is called, because each drive ends with it.
    #[inline(always)]
    fn deadline_with(&self, wait: &DriverWait, cx: &LoopContext) -> Moment {
        let deadline = self.own_deadline(wait.timer.map(|at| cx.moment_of(at)), cx);
        // The driver acts on its deadlines only while it is driven.
        match wait.due.filter(|_| self.life == Life::Serving) {
            // The streams wait, and each has its own deadline.
            Some(due) if self.waiting.reason().is_of_driver() => due,
            Some(due) => due.min(deadline),
            None => deadline,
        }
    }

    /// When the wait of the connection itself has lasted too long. It stands where it is called, for the same reason.
    #[inline(always)]
    pub(super) fn own_deadline(&self, timer: Option<Moment>, cx: &LoopContext) -> Moment {
        let limits = self.limits(cx);
        if self.lingers_idle() {
            return self.waiting.since() + limits.idle_linger;
        }
        let draining = cx.environment.draining.map(|at| at + self.driver.farewell_time(limits));
        self.waiting.deadline(limits, timer, draining)
    }

    /// The limits of what it waits for. A request may have its own timeouts while its content arrives, and while the client does
    /// not read its response.
    #[inline]
    pub(super) fn limits<'a>(&'a self, cx: &'a LoopContext) -> &'a Limits {
        let limits = &cx.environment.limits;
        match self.waiting.reason() {
            reason @ (WaitReason::SlowBody | WaitReason::SlowRead) => self.driver.limits(reason, limits),
            _ => limits,
        }
    }

    /// The one reason why nothing moves. A client that does not read comes first: because of that it may be late with
    /// everything else.
    fn wait(&self) -> DriverWait {
        let wait = self.driver.wait(&self.channel);
        // Once nothing more is wanted from the client, all that is left to wait for is that it reads.
        let only_reading_is_left = matches!(self.life, Life::Flushing(_)) || wait.ignores_input;
        match self.life {
            Life::Lingering | Life::IdleLingering(_) => DriverWait { reason: WaitReason::Lingering, ..wait },
            // Whatever the client does or does not, there is one deadline for all of it.
            Life::Serving if self.channel.is_handshaking() => {
                DriverWait { reason: WaitReason::TlsHandshake, ordinal: 0, ..wait }
            }
            // A connection to an upstream knows who holds it up.
            Life::Serving if self.channel.is_write_blocked() && wait.reason.is_of_upstreams() => wait,
            _ if self.channel.is_write_blocked() || only_reading_is_left => {
                // Whatever the client goes on sending, and however far the driver gets with it: as long as it does not
                // read, this is one wait.
                DriverWait { reason: WaitReason::SlowRead, ordinal: 0, ..wait }
            }
            _ => wait,
        }
    }
}
