//! How a connection without requests ends when the server stops: there is no response that could say `Connection: close`.

use std::time::Instant;

use super::LoopContext;
use super::driver::Ending;

/// The end of an echo connection, after the order to stop. What the client sends within the grace is still echoed. What
/// comes later need not be, so that a client which goes on sending does not keep the server from stopping.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stopping {
    /// When the grace ends; `None` before the order to stop.
    ends_at: Option<Instant>,
    /// How many bytes had been read when the order came, and when the grace was over.
    read_at_order: u64,
    read_at_end: Option<u64>,
}

impl Stopping {
    /// Notes the order to stop, and the end of the grace. So many bytes have been read by now.
    pub(super) fn update(&mut self, read: u64, cx: &LoopContext) {
        let Some(order) = cx.environment.draining else { return };
        let end = order + cx.environment.limits.drain_idle_grace;
        if self.ends_at.is_none() {
            (self.ends_at, self.read_at_order) = (Some(cx.instant_of(end)), read);
        }
        if cx.moment >= end && self.read_at_end.is_none() {
            self.read_at_end = Some(read);
        }
    }

    /// When the grace ends, if the server stops: the connection wants to be driven then.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    /// Whether the grace is over.
    pub(super) fn grace_is_over(&self) -> bool {
        self.read_at_end.is_some()
    }

    /// Whether all that was read when the grace was over is echoed, if the first `echoed` bytes are.
    pub(super) fn is_over(&self, echoed: u64) -> bool {
        self.read_at_end.is_some_and(|read| echoed >= read)
    }

    /// How the connection ends. A client that has sent nothing since the order is not expected to send more.
    pub(super) fn ending(&self) -> Ending {
        if self.read_at_end == Some(self.read_at_order) { Ending::AtOnce } else { Ending::InOrder }
    }
}
