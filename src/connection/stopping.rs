//! How a connection without requests ends when the server stops: there is no response that could say `Connection: close`.

use std::time::Instant;

use super::LoopContext;
use super::channel::Channel;
use super::driver::Ending;
use crate::net::{Readiness, Socket};

/// The end of an echo connection, after the order to stop. What arrives within the grace is still echoed, also if the
/// rings were full and it was not read by then. What comes later need not be, so that a client which goes on sending does
/// not keep the server from stopping: the kernel holds no more than its receive buffer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stopping {
    /// When the grace ends; `None` before the order to stop.
    ends_at: Option<Instant>,
    /// How many bytes had been read when the order came, and how many had arrived when the grace was over.
    read_at_order: u64,
    arrived_at_end: Option<u64>,
}

impl Stopping {
    /// Notes the order to stop, the end of the grace, and what had arrived by then.
    pub(super) fn update<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) {
        let Some(order) = cx.environment.draining else { return };
        let end = order + cx.environment.limits.drain_idle_grace;
        if self.ends_at.is_none() {
            (self.ends_at, self.read_at_order) = (Some(cx.instant_of(end)), channel.received());
        }
        if cx.moment < end {
            return;
        }
        let arrived = *self.arrived_at_end.get_or_insert_with(|| channel.arrived(&mut cx.counters));
        if channel.received() < arrived {
            // No event may tell of the rest: a read stops short at urgent data (TCP) and at passed descriptors (Unix).
            channel.on_readiness(Readiness { readable: true, ..Readiness::default() });
        }
    }

    /// When the grace ends, if the server stops: the connection wants to be driven then.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    /// Whether the first `bytes` from the client are all that is still echoed.
    pub(super) fn is_all(&self, bytes: u64) -> bool {
        self.arrived_at_end.is_some_and(|arrived| bytes >= arrived)
    }

    /// How the connection ends. A client that has sent nothing since the order is not expected to send more.
    pub(super) fn ending(&self) -> Ending {
        if self.arrived_at_end == Some(self.read_at_order) { Ending::AtOnce } else { Ending::InOrder }
    }
}
