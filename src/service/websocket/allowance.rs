//! How much one WebSocket may inflate before other connections are driven.

use std::time::Instant;

/// What may be delivered in one turn of the loop beyond what has arrived for it, in bytes. What arrives is bounded by
/// the connection's own budget, but a thousand times as much may come of it, and when that is sent back compressed it
/// fills no buffer that would stop it.
pub const INFLATED_BYTES_MAX: usize = 16 * 1024;

/// What has been inflated in this turn. A turn is known by its time, which is the same all through it.
pub struct Allowance {
    turn: Instant,
    inflated: usize,
}

impl Allowance {
    /// Nothing yet.
    pub fn new(now: Instant) -> Allowance {
        Allowance { turn: now, inflated: 0 }
    }

    /// So many bytes were used, and so many delivered.
    pub fn count(&mut self, used: usize, delivered: usize) {
        self.inflated += delivered.saturating_sub(used);
    }

    /// Whether there is nothing left of it in the turn of this time.
    pub fn is_spent(&mut self, now: Instant) -> bool {
        if self.turn != now {
            *self = Allowance::new(now);
        }
        self.inflated >= INFLATED_BYTES_MAX
    }
}
