//! What the kernel says about connections that nobody has accepted yet.

/// The accept queue of one listener, as the kernel has it just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptQueue {
    /// How many connections wait.
    pub depth: u32,
    /// The backlog as the kernel cut it. The kernel refuses when `depth` exceeds it: there is room for one more.
    pub limit: u32,
    /// How many packets for the listener the kernel has dropped since the server has it: requests for connections, and
    /// handshakes that were to be completed. After 2^32 it begins from 0 again. `None` if the kernel does not count them,
    /// as for Unix sockets.
    pub drops: Option<u32>,
}

/// What the kernel counts for all TCP listeners of a network namespace together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListenCounters {
    /// Packets that were dropped because an accept queue was full (`ListenOverflows`).
    pub overflows: u64,
    /// Packets that a listener has dropped, for this reason or another (`ListenDrops`).
    pub drops: u64,
}

impl ListenCounters {
    /// What was counted since it was `earlier`.
    pub fn since(self, earlier: ListenCounters) -> ListenCounters {
        ListenCounters {
            overflows: self.overflows.saturating_sub(earlier.overflows),
            drops: self.drops.saturating_sub(earlier.drops),
        }
    }
}
