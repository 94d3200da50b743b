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

    /// Adds all of `bytes`, or nothing if they do not fit. Says whether they did.
    pub fn put_whole(&mut self, bytes: &[u8]) -> bool {
        self.free() >= bytes.len() && self.put(bytes) == bytes.len()
    }

    /// Adds as much of `bytes` as fits, and says how much that was.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.free());
        let start = self.wrap(self.head as usize + self.len());
        let (front, back) = bytes[..n].split_at(n.min(self.capacity() - start));
        self.bytes[start..start + front.len()].copy_from_slice(front);
        if !back.is_empty() {
            self.bytes[..back.len()].copy_from_slice(back);
        }
        self.len += n as u32;
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

    /// All that the ring holds in one piece, to be changed in place. It is moved within the ring if it wraps.
    pub fn contiguous_mut(&mut self) -> &mut [u8] {
        self.contiguous(self.len());
        let (head, len) = (self.head as usize, self.len());
        &mut self.bytes[head..head + len]
    }

    /// All free space in one piece. What the ring holds is moved to its beginning.
    pub fn contiguous_space(&mut self) -> &mut [u8] {
        let (head, len) = (self.head as usize, self.len());
        match head + len <= self.capacity() {
            true => self.bytes.copy_within(head..head + len, 0),
            false => self.bytes.rotate_left(head),
        }
        self.head = 0;
        &mut self.bytes[len..]
    }

    /// Room for up to `limit` bytes, `gap` bytes after the end of what the ring holds. Nothing in it counts until
    /// [`seal`](RingBuffer::seal). The room is empty if the ring is too full.
    pub fn room(&mut self, gap: usize, limit: usize) -> Room<'_> {
        let size = self.free().saturating_sub(gap).min(limit);
        let gap = gap.min(self.free());
        Room { space: self.free_space(gap, size), size, written: 0 }
    }

    /// Adds the first `written` bytes of a [`room`](RingBuffer::room) that was asked for with this `gap`, with `prefix`
    /// in front of them. Between the two calls nothing else may be done with the ring.
    ///
    /// # Panics
    /// When `prefix` is longer than the gap, or `written` greater than the room was.
    pub fn seal(&mut self, gap: usize, prefix: &[u8], written: usize) {
        let gap = gap.min(self.free());
        assert!(prefix.len() <= gap, "the gap was left for the prefix");
        assert!(written <= self.free() - gap, "sealed more than there was room for");
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
        let mut moved = 0;
        // A run ends where either side wraps, so there are at most three.
        while moved < written {
            let (source, target) = (self.wrap(end + from + moved), self.wrap(end + to + moved));
            let run = (written - moved).min(self.capacity() - source.max(target));
            self.bytes.copy_within(source..source + run, target);
            moved += run;
        }
    }

    /// What the ring holds, in order.
    pub fn readable(&self) -> [&[u8]; 2] {
        let head = self.head as usize;
        let first = self.len().min(self.capacity() - head);
        [&self.bytes[head..head + first], &self.bytes[..self.len() - first]]
    }

    /// The last `n` bytes that the ring holds, in order; it must hold as many.
    pub fn last(&self, n: usize) -> [&[u8]; 2] {
        let [front, back] = self.readable();
        let skipped = self.len() - n;
        match skipped.checked_sub(front.len()) {
            Some(of_back) => [&back[of_back..], &[]],
            None => [&front[skipped..], back],
        }
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn contents(ring: &RingBuffer) -> Vec<u8> {
        ring.readable().concat()
    }

    /// A ring whose first byte stands at `head`.
    fn ring_at(head: usize, capacity: usize, bytes: &[u8]) -> RingBuffer {
        let mut ring = RingBuffer::new(capacity);
        ring.commit(head);
        assert_eq!(ring.put(bytes), bytes.len().min(capacity - head));
        ring.consume(head);
        let rest = &bytes[ring.len()..];
        assert_eq!(ring.put(rest), rest.len());
        ring
    }

    #[test]
    fn bytes_that_wrap_are_made_contiguous_and_keep_their_order() {
        let mut ring = ring_at(6, 8, b"abcdef");
        assert_eq!(ring.readable(), [&b"ab"[..], b"cdef"]);
        assert_eq!(ring.contiguous(2), b"ab");
        assert_eq!(ring.readable(), [&b"ab"[..], b"cdef"], "what does not wrap is not moved");
        assert_eq!(ring.contiguous(6), b"abcdef");
        assert_eq!(ring.readable(), [&b"abcdef"[..], b""]);
    }

    #[test]
    fn an_empty_ring_starts_over_at_its_beginning() {
        let mut ring = ring_at(5, 8, b"ab");
        ring.consume(2);
        assert_eq!(ring.writable().map(|space| space.len()), [8, 0]);
    }

    #[test]
    fn a_full_ring_takes_nothing() {
        let mut ring = ring_at(3, 4, b"abcd");
        assert!(ring.is_full());
        assert_eq!(ring.put(b"e"), 0);
        assert!(ring.writable().iter().all(|space| space.is_empty()));
        assert!(ring.room(0, 9).is_full());
        assert_eq!(contents(&ring), b"abcd");
    }

    #[test]
    fn a_gap_as_large_as_the_ring_leaves_no_room() {
        let mut ring = ring_at(3, 4, b"ab");
        for gap in [2, 3, usize::MAX] {
            assert_eq!(ring.room(gap, 9).put(b"x"), 0);
        }
        ring.seal(9, b"!", 0);
        assert_eq!(contents(&ring), b"ab!");
    }

    #[test]
    fn the_prefix_of_a_room_may_be_shorter_than_the_gap() {
        let mut ring = ring_at(2, 16, b"head ");
        let mut room = ring.room(6, 100);
        assert_eq!(room.remaining(), 5);
        assert_eq!(room.put(b"content"), 5);
        ring.seal(6, b"5;", 5);
        assert_eq!(contents(&ring), b"head 5;conte");
    }

    #[test]
    fn what_was_put_into_a_room_does_not_count_before_it_is_sealed() {
        let mut ring = ring_at(2, 8, b"ab");
        assert_eq!(ring.room(1, 3).put(b"xyz"), 3);
        assert_eq!(contents(&ring), b"ab");
        assert_eq!(ring.put(b"cdef"), 4);
        assert_eq!(contents(&ring), b"abcdef");
    }

    #[test]
    #[should_panic(expected = "consumed more")]
    fn consuming_more_than_there_is_is_a_bug() {
        ring_at(0, 4, b"ab").consume(3);
    }

    #[test]
    #[should_panic(expected = "committed more")]
    fn committing_more_than_there_is_room_for_is_a_bug() {
        ring_at(0, 4, b"ab").commit(3);
    }

    #[test]
    #[should_panic(expected = "sealed more")]
    fn sealing_more_than_there_was_room_for_is_a_bug() {
        ring_at(0, 4, b"ab").seal(1, b"", 2);
    }

    #[test]
    #[should_panic(expected = "left for the prefix")]
    fn a_prefix_longer_than_its_gap_is_a_bug() {
        ring_at(0, 8, b"ab").seal(1, b"12", 1);
    }

    /// One thing done to a ring. Numbers are brought into range when it is applied.
    #[derive(Debug, Clone)]
    enum Operation {
        Put(Vec<u8>),
        Write(Vec<u8>),
        Consume(usize),
        Contiguous(usize),
        Room { gap: usize, limit: usize, prefix: Vec<u8>, pieces: Vec<Piece> },
        Clear,
    }

    /// Bytes for a room: by `put`, or by `space` and `advance`.
    #[derive(Debug, Clone)]
    enum Piece {
        Put(Vec<u8>),
        Space(Vec<u8>),
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..12)
    }

    fn piece() -> impl Strategy<Value = Piece> {
        prop_oneof![bytes().prop_map(Piece::Put), bytes().prop_map(Piece::Space)]
    }

    fn room() -> impl Strategy<Value = Operation> {
        let pieces = prop::collection::vec(piece(), 0..4);
        (0..8_usize, 0..24_usize, prop::collection::vec(any::<u8>(), 0..8), pieces)
            .prop_map(|(gap, limit, prefix, pieces)| Operation::Room { gap, limit, prefix, pieces })
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            4 => bytes().prop_map(Operation::Put),
            4 => bytes().prop_map(Operation::Write),
            8 => (0..24_usize).prop_map(Operation::Consume),
            3 => (0..24_usize).prop_map(Operation::Contiguous),
            6 => room(),
            1 => Just(Operation::Clear),
        ]
    }

    /// A ring next to a queue that should hold the same.
    struct Pair {
        ring: RingBuffer,
        queue: VecDeque<u8>,
    }

    impl Pair {
        fn apply(&mut self, operation: &Operation) {
            match operation {
                Operation::Put(bytes) => {
                    let n = self.ring.put(bytes);
                    assert_eq!(n, bytes.len().min(self.queue_free()));
                    self.queue.extend(&bytes[..n]);
                }
                Operation::Write(bytes) => self.write(bytes),
                Operation::Consume(n) => {
                    let n = n % (self.queue.len() + 1);
                    self.ring.consume(n);
                    self.queue.drain(..n);
                }
                Operation::Contiguous(n) => {
                    let n = n % (self.queue.len() + 1);
                    let front: Vec<u8> = self.queue.iter().copied().take(n).collect();
                    assert_eq!(self.ring.contiguous(n), front);
                }
                Operation::Room { gap, limit, prefix, pieces } => self.room(*gap, *limit, prefix, pieces),
                Operation::Clear => {
                    self.ring.clear();
                    self.queue.clear();
                }
            }
            self.check();
        }

        fn queue_free(&self) -> usize {
            self.ring.capacity() - self.queue.len()
        }

        /// Fills the free space the way a read from a socket does.
        fn write(&mut self, bytes: &[u8]) {
            let free = self.queue_free();
            let [front, back] = self.ring.writable();
            assert_eq!(front.len() + back.len(), free);
            let n = bytes.len().min(free);
            for (to, byte) in front.iter_mut().chain(back).zip(&bytes[..n]) {
                *to = *byte;
            }
            self.ring.commit(n);
            self.queue.extend(&bytes[..n]);
        }

        fn room(&mut self, gap: usize, limit: usize, prefix: &[u8], pieces: &[Piece]) {
            let size = self.queue_free().saturating_sub(gap).min(limit);
            let prefix = &prefix[..prefix.len().min(gap).min(self.queue_free())];
            let mut put = Vec::new();
            let mut room = self.ring.room(gap, limit);
            for piece in pieces {
                assert_eq!(room.remaining(), size - put.len());
                let (bytes, n) = fill(&mut room, piece);
                put.extend_from_slice(&bytes[..n]);
            }
            assert_eq!(room.written(), put.len());
            assert_eq!(room.is_full(), put.len() == size);
            self.ring.seal(gap, prefix, put.len());
            self.queue.extend(prefix);
            self.queue.extend(&put);
        }

        fn check(&self) {
            let queue: Vec<u8> = self.queue.iter().copied().collect();
            assert_eq!(contents(&self.ring), queue);
            assert_eq!(self.ring.len(), queue.len());
            assert_eq!(self.ring.free(), self.queue_free());
            assert_eq!(self.ring.is_empty(), queue.is_empty());
            assert_eq!(self.ring.is_full(), queue.len() == self.ring.capacity());
            for index in 0..self.ring.capacity() + 2 {
                assert_eq!(self.ring.get(index), queue.get(index).copied());
            }
        }
    }

    /// Puts a piece into a room; returns its bytes and how many of them fitted.
    fn fill<'a>(room: &mut Room<'_>, piece: &'a Piece) -> (&'a [u8], usize) {
        match piece {
            Piece::Put(bytes) => {
                let n = bytes.len().min(room.remaining());
                assert_eq!(room.put(bytes), n);
                (bytes, n)
            }
            Piece::Space(bytes) => {
                let remaining = room.remaining();
                let space = room.space();
                assert_eq!(space.is_empty(), remaining == 0);
                let n = copy_into_slice(space, bytes);
                room.advance(n);
                (bytes, n)
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn the_ring_holds_what_a_queue_holds(
            capacity in 1..20_usize,
            operations in prop::collection::vec(operation(), 1..60),
        ) {
            let mut pair = Pair { ring: RingBuffer::new(capacity), queue: VecDeque::new() };
            for operation in &operations {
                pair.apply(operation);
            }
        }
    }
}
