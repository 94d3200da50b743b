//! Rings on loan: only a connection that has bytes to hold owns one.

use super::ring::RingBuffer;

/// A pool of empty rings of one capacity. The last one returned is lent first: it is still in the cache.
#[derive(Debug)]
pub struct Lease {
    capacity: usize,
    kept_max: usize,
    rings: Vec<RingBuffer>,
}

impl Lease {
    /// A pool that lends rings of `capacity` bytes and keeps at most `kept_max` that nobody needs.
    pub fn new(capacity: usize, kept_max: usize) -> Lease {
        Lease { capacity, kept_max, rings: Vec::new() }
    }

    /// Lends a ring.
    pub fn take(&mut self) -> RingBuffer {
        self.rings.pop().unwrap_or_else(|| RingBuffer::new(self.capacity))
    }

    /// Takes a ring back; beyond `kept_max` its memory is freed.
    pub fn give_back(&mut self, mut ring: RingBuffer) {
        if self.rings.len() < self.kept_max {
            ring.clear();
            self.rings.push(ring);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_ring_is_lent_again_and_empty() {
        let mut lease = Lease::new(8, 1);
        let (mut first, second) = (lease.take(), lease.take());
        assert_eq!(first.put(b"left over"), 8);
        lease.give_back(first);
        lease.give_back(second);
        assert!(lease.take().is_empty());
        assert_eq!(lease.rings.len(), 0, "the second one was not kept");
    }
}
