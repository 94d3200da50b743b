//! Frames of the connection itself: acknowledgements, window updates, resets, GOAWAY.

use crate::base::ring::RingBuffer;

/// Frames that found no room in the outbox. They are few: nothing is received while there are any, so only what our own
/// side does adds to them, at most a reset and a window update for each stream.
#[derive(Debug, Default)]
pub struct Control {
    overdue: Vec<u8>,
}

impl Control {
    /// Sends a frame, now or as soon as there is room, in order.
    pub fn put(&mut self, outbox: &mut RingBuffer, frame: &[u8]) {
        if !self.overdue.is_empty() || !outbox.put_whole(frame) {
            self.overdue.extend_from_slice(frame);
        }
    }

    /// Sends what is overdue, as soon as there is room for all of it.
    pub fn put_overdue(&mut self, outbox: &mut RingBuffer) {
        if self.overdue.is_empty() || outbox.free() < self.overdue.len() {
            return;
        }
        outbox.put(&self.overdue);
        self.overdue = Vec::new();
    }

    /// Whether nothing is overdue.
    pub fn is_empty(&self) -> bool {
        self.overdue.is_empty()
    }
}
