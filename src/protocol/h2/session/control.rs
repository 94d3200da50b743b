//! Frames of the connection itself: acknowledgements, window updates, resets, GOAWAY.

use crate::base::ring::RingBuffer;

/// Frames that found no room in the outbox. They are few: nothing is received while there are any, so only what our own
/// side does adds to them, at most a reset and a window update for each stream.
#[derive(Debug, Default)]
pub struct Control {
    overdue: Vec<u8>,
    /// Bytes that went to the outbox at once.
    put_bytes: u64,
}

impl Control {
    /// Sends a frame, now or as soon as there is room, in order.
    pub fn put(&mut self, outbox: &mut RingBuffer, frame: &[u8]) {
        if self.overdue.is_empty() && outbox.put_whole(frame) {
            self.put_bytes += frame.len() as u64;
        } else {
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

    /// How many bytes went to the outbox at once, so far.
    pub fn put_bytes(&self) -> u64 {
        self.put_bytes
    }

    /// Whether nothing is overdue.
    pub fn is_empty(&self) -> bool {
        self.overdue.is_empty()
    }
}
