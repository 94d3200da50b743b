//! How much work one response, or one WebSocket, may cause before other connections are driven.

use std::time::Instant;

/// What has been spent in this turn of the loop, in bytes. A turn is known by its time, which is the same all through
/// it.
pub struct Allowance {
    turn: Instant,
    spent: usize,
}

impl Allowance {
    /// Nothing is spent yet.
    pub fn new(now: Instant) -> Allowance {
        Allowance { turn: now, spent: 0 }
    }

    /// So many bytes were spent.
    pub fn spend(&mut self, bytes: usize) {
        self.spent += bytes;
    }

    /// What is left of `bytes_max` in the turn of this time.
    pub fn left(&mut self, bytes_max: usize, now: Instant) -> usize {
        if self.turn != now {
            *self = Allowance::new(now);
        }
        bytes_max.saturating_sub(self.spent)
    }
}
