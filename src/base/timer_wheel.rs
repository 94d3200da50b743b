//! Deadlines: arming, moving and expiring one costs the same however many there are.

use std::time::Instant;

/// A hierarchical timer wheel with one entry for each slot index.
///
/// The deadline itself lives with its owner; the wheel only promises that someone looks by then. An entry is therefore
/// moved only to an earlier time; an owner that is found not to be due yet is armed again for its real deadline.
#[derive(Debug)]
pub struct TimerWheel {}

impl TimerWheel {
    /// An empty wheel whose time starts at `start`.
    pub fn new(start: Instant) -> TimerWheel {
        todo!("{start:?}")
    }

    /// Makes sure that `index` expires at `at` or earlier; never before `at` by the wheel's own doing.
    pub fn arm(&mut self, index: u32, at: Instant) {
        todo!("{index} {at:?}")
    }

    /// Forgets `index`.
    pub fn disarm(&mut self, index: u32) {
        todo!("{index}")
    }

    /// Moves every index that is due by `now` to `due`.
    pub fn expire(&mut self, now: Instant, due: &mut Vec<u32>) {
        todo!("{now:?} {due:?}")
    }

    /// By when `expire` must be called again; `None` while nothing is armed.
    pub fn next_wake(&self) -> Option<Instant> {
        todo!()
    }
}
