//! A pool of rings: only a connection that has bytes to hold owns one.

use super::ring::RingBuffer;

/// A pool of empty rings of one capacity. They are in boxes, because most connections have room for a ring and none in it. The last one returned is taken first: it is still in the cache.
#[derive(Debug)]
#[allow(clippy::vec_box, reason = "the boxes are lent")]
pub struct BufferPool {
    capacity: usize,
    kept_max: usize,
    rings: Vec<Box<RingBuffer>>,
    /// Rings in use now, and the most there ever were.
    lent: usize,
    lent_max: usize,
}

impl BufferPool {
    /// A pool of rings of `capacity` bytes. It keeps at most `kept_max` that nobody needs.
    pub fn new(capacity: usize, kept_max: usize) -> BufferPool {
        BufferPool { capacity, kept_max, rings: Vec::new(), lent: 0, lent_max: 0 }
    }

    /// The capacity of a ring, in bytes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// An empty ring.
    #[inline]
    pub fn take(&mut self) -> Box<RingBuffer> {
        self.lent += 1;
        self.lent_max = self.lent_max.max(self.lent);
        self.rings.pop().unwrap_or_else(|| self.new_ring())
    }

    /// Few are made: this does not belong into the way of each request.
    #[cold]
    fn new_ring(&self) -> Box<RingBuffer> {
        Box::new(RingBuffer::new(self.capacity))
    }

    /// Takes a ring back; beyond `kept_max` its memory is freed.
    pub fn give_back(&mut self, mut ring: Box<RingBuffer>) {
        self.lent = self.lent.saturating_sub(1);
        if self.rings.len() < self.kept_max {
            ring.clear();
            self.rings.push(ring);
        }
    }

    /// The capacity of all rings that were in use at a time, in bytes, at most.
    pub fn lent_bytes_max(&self) -> u64 {
        self.lent_max as u64 * self.capacity as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_ring_is_lent_again_and_empty() {
        let mut pool = BufferPool::new(8, 1);
        let (mut first, second) = (pool.take(), pool.take());
        assert_eq!(first.put(b"left over"), 8);
        pool.give_back(first);
        pool.give_back(second);
        assert!(pool.take().is_empty());
        assert_eq!(pool.rings.len(), 0, "the second one was not kept");
    }

    #[test]
    fn the_most_that_was_lent_is_remembered() {
        let mut pool = BufferPool::new(8, 1);
        let (first, second) = (pool.take(), pool.take());
        pool.give_back(first);
        let third = pool.take();
        assert_eq!(pool.lent_bytes_max(), 16);
        pool.give_back(second);
        pool.give_back(third);
        assert_eq!((pool.lent, pool.lent_bytes_max()), (0, 16));
    }
}
