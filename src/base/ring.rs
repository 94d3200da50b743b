//! A circular byte buffer of fixed capacity, and the room in one that a producer may fill.

use std::fmt;

/// Bytes in arrival order in a fixed ring: written at the end, consumed from the front, never grown.
///
/// Look at what is in it: [`readable`](RingBuffer::readable), [`contiguous`](RingBuffer::contiguous). Take from it:
/// [`consume`](RingBuffer::consume). Add to it: [`put`](RingBuffer::put), [`writable`](RingBuffer::writable) and
/// [`commit`](RingBuffer::commit), or [`room`](RingBuffer::room) and [`seal`](RingBuffer::seal) where framing stands
/// in front of bytes whose number is not known yet.
pub struct RingBuffer {
    bytes: Box<[u8]>,
    head: u32,
    len: u32,
}

impl RingBuffer {
    /// An empty ring of `capacity` bytes, at least 1 and at most `u32::MAX`.
    ///
    /// # Panics
    /// When `capacity` is out of that range; capacities are configuration, never input.
    pub fn new(capacity: usize) -> RingBuffer {
        assert!(capacity > 0 && u32::try_from(capacity).is_ok(), "a ring holds 1 to 2^32 - 1 bytes");
        RingBuffer { bytes: vec![0; capacity].into_boxed_slice(), head: 0, len: 0 }
    }

    /// Takes `n` bytes off the front.
    ///
    /// # Panics
    /// When the ring holds fewer.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.len(), "consumed more than there is");
        self.len -= n as u32;
        // An empty ring starts over at its beginning: the next bytes do not wrap and need one system call.
        self.head = if self.len == 0 { 0 } else { self.wrap(self.head as usize + n) as u32 };
    }

    /// Throws everything away.
    pub fn clear(&mut self) {
        self.consume(self.len());
    }

    /// The free space, in the order it will be read.
    pub fn writable(&mut self) -> [&mut [u8]; 2] {
        let free = self.free();
        self.free_space(0, free)
    }

    /// Declares that the first `n` bytes of the free space have been written.
    ///
    /// # Panics
    /// When there is less free space.
    pub fn commit(&mut self, n: usize) {
        assert!(n <= self.free(), "committed more than there was room for");
        self.len += n as u32;
    }

    /// Adds as much of `bytes` as fits, and says how much that was.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let n = copy_into(self.writable(), bytes);
        self.commit(n);
        n
    }

    /// The first `n` bytes in one piece, moved within the ring if they wrap.
    ///
    /// # Panics
    /// When the ring holds fewer.
    pub fn contiguous(&mut self, n: usize) -> &[u8] {
        assert!(n <= self.len(), "asked for more than there is");
        if self.head as usize + n > self.capacity() {
            self.bytes.rotate_left(self.head as usize);
            self.head = 0;
        }
        &self.bytes[self.head as usize..][..n]
    }

    /// Room for up to `limit` bytes, `gap` bytes after the end of what the ring holds. Nothing in it counts until
    /// [`seal`](RingBuffer::seal). The room is empty if the ring is too full.
    pub fn room(&mut self, gap: usize, limit: usize) -> Room<'_> {
        let size = self.free().saturating_sub(gap).min(limit);
        let gap = gap.min(self.free());
        Room { space: self.free_space(gap, size), size, written: 0 }
    }

    /// Adds the first `written` bytes of a [`room`](RingBuffer::room) that was asked for with this `gap`, with `prefix`
    /// in front of them.
    ///
    /// # Panics
    /// When `prefix` is longer than the gap.
    pub fn seal(&mut self, gap: usize, prefix: &[u8], written: usize) {
        assert!(prefix.len() <= gap, "the gap was left for the prefix");
        self.close_gap(gap, prefix.len(), written);
        let fitted = copy_into(self.free_space(0, prefix.len()), prefix);
        debug_assert_eq!(fitted, prefix.len());
        self.commit(prefix.len() + written);
    }

    /// Moves `written` bytes behind the end from offset `from` back to offset `to`.
    fn close_gap(&mut self, from: usize, to: usize, written: usize) {
        if from == to {
            return;
        }
        let end = self.head as usize + self.len();
        for index in 0..written {
            self.bytes[self.wrap(end + to + index)] = self.bytes[self.wrap(end + from + index)];
        }
    }

    /// What the ring holds, in order.
    pub fn readable(&self) -> [&[u8]; 2] {
        let head = self.head as usize;
        let first = self.len().min(self.capacity() - head);
        [&self.bytes[head..head + first], &self.bytes[..self.len() - first]]
    }

    /// The byte at `index`, counted from the front.
    pub fn get(&self, index: usize) -> Option<u8> {
        (index < self.len()).then(|| self.bytes[self.wrap(self.head as usize + index)])
    }

    /// How many bytes the ring can hold.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// How many bytes still fit.
    pub fn free(&self) -> usize {
        self.capacity() - self.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether nothing fits any more.
    pub fn is_full(&self) -> bool {
        self.free() == 0
    }

    /// `n` bytes of free space, starting `offset` bytes behind the end; both lie within the free space.
    fn free_space(&mut self, offset: usize, n: usize) -> [&mut [u8]; 2] {
        let start = self.wrap(self.head as usize + self.len() + offset);
        let first = n.min(self.capacity() - start);
        let (front, back) = self.bytes.split_at_mut(start);
        [&mut back[..first], &mut front[..n - first]]
    }

    /// `position`, which is less than two laps, as an index.
    fn wrap(&self, position: usize) -> usize {
        if position < self.capacity() { position } else { position - self.capacity() }
    }
}

impl fmt::Debug for RingBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RingBuffer({} of {})", self.len(), self.capacity())
    }
}

/// Free space that a producer may fill, and no more than it.
#[derive(Debug)]
pub struct Room<'a> {
    space: [&'a mut [u8]; 2],
    size: usize,
    written: usize,
}

impl Room<'_> {
    /// Adds as much of `bytes` as fits, and says how much that was.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let mut n = copy_into_slice(self.space(), bytes);
        self.advance(n);
        if n < bytes.len() && !self.is_full() {
            let rest = copy_into_slice(self.space(), &bytes[n..]);
            self.advance(rest);
            n += rest;
        }
        n
    }

    /// The next piece of free space, empty only when the room is full. What is written to its front counts after
    /// [`advance`](Room::advance).
    pub fn space(&mut self) -> &mut [u8] {
        let first = self.space[0].len();
        match self.written.checked_sub(first) {
            None => &mut self.space[0][self.written..],
            Some(into_second) => &mut self.space[1][into_second..],
        }
    }

    /// Declares that the first `n` bytes of [`space`](Room::space) have been written.
    ///
    /// # Panics
    /// When there is less room.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.remaining(), "advanced beyond the room");
        self.written += n;
    }

    /// How many bytes have been put.
    pub fn written(&self) -> usize {
        self.written
    }

    /// How many bytes still fit.
    pub fn remaining(&self) -> usize {
        self.size - self.written
    }

    /// Whether nothing fits any more.
    pub fn is_full(&self) -> bool {
        self.remaining() == 0
    }
}

fn copy_into(space: [&mut [u8]; 2], bytes: &[u8]) -> usize {
    let [front, back] = space;
    let first = copy_into_slice(front, bytes);
    first + copy_into_slice(back, &bytes[first..])
}

fn copy_into_slice(space: &mut [u8], bytes: &[u8]) -> usize {
    let n = space.len().min(bytes.len());
    space[..n].copy_from_slice(&bytes[..n]);
    n
}
