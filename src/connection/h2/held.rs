//! Content that has arrived and that nobody has taken yet, and what the streams of a loop have in common.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

/// What all streams of a loop have of something together, in bytes.
#[derive(Debug, Clone, Default)]
pub struct TotalBytes(Rc<Cell<usize>>);

impl TotalBytes {
    /// How many bytes it is now.
    pub fn get(&self) -> usize {
        self.0.get()
    }
}

/// The largest block that is made for more than what has just arrived, in bytes.
const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// The content of one stream. It uses no memory while there is none.
#[derive(Debug, Default)]
pub(super) struct HeldContent(Option<Box<Held>>);

/// Content in blocks. As one piece, a window of 8 MiB would be copied whenever it grows, and for a moment be there twice.
#[derive(Debug, Default)]
struct Held {
    /// The first block. It is not empty, and does not grow once there are others.
    front: Vec<u8>,
    /// How many of its bytes have been taken.
    taken: usize,
    others: VecDeque<Vec<u8>>,
    len: usize,
    counted: Counted,
}

impl HeldContent {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many bytes it is.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.len)
    }

    /// The first bytes of it, at least one unless it is empty.
    pub(super) fn front(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |held| &held.front[held.taken..])
    }

    /// Memory that it uses, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.counted.bytes())
    }

    /// Adds bytes at the end.
    pub(super) fn add(&mut self, bytes: &[u8], total: &TotalBytes) {
        if bytes.is_empty() {
            return;
        }
        let held = self.0.get_or_insert_default();
        let last = held.others.back_mut().unwrap_or(&mut held.front);
        let (fitting, more) = bytes.split_at(bytes.len().min(last.capacity() - last.len()));
        last.extend_from_slice(fitting);
        if !more.is_empty() {
            // Blocks of twice the size would waste up to half of the memory.
            let mut block = Vec::with_capacity(more.len().max((held.len / 4).min(BLOCK_BYTES_MAX)));
            block.extend_from_slice(more);
            held.counted.set(held.counted.bytes() + block.capacity(), total);
            if held.len == 0 {
                held.front = block;
            } else {
                held.others.push_back(block);
            }
        }
        held.len += bytes.len();
    }

    /// Takes so many bytes off the front, at most as many as are in `front`.
    pub(super) fn consume(&mut self, bytes: usize) {
        let Some(held) = &mut self.0 else { return };
        held.taken += bytes;
        held.len -= bytes;
        if held.taken == held.front.len() {
            match held.others.pop_front() {
                Some(next) => {
                    held.counted.subtract(held.front.capacity());
                    held.front = next;
                    held.taken = 0;
                }
                None => self.0 = None,
            }
        }
    }

    /// Throws all of it away. Returns how many bytes that were.
    pub(super) fn clear(&mut self) -> usize {
        self.0.take().map_or(0, |held| held.len)
    }
}

/// What one stream has of a total. It is given back with the stream.
#[derive(Debug, Default)]
pub(super) struct Counted(Option<Box<Share>>);

#[derive(Debug)]
struct Share {
    bytes: usize,
    total: TotalBytes,
}

impl Counted {
    /// How many bytes it is.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |share| share.bytes)
    }

    /// It is so many bytes now.
    pub(super) fn set(&mut self, bytes: usize, total: &TotalBytes) {
        if bytes == 0 {
            self.0 = None;
            return;
        }
        let share = self.0.get_or_insert_with(|| Box::new(Share { bytes: 0, total: total.clone() }));
        total.0.set(total.get() - share.bytes + bytes);
        share.bytes = bytes;
    }

    /// It is so many bytes fewer now.
    fn subtract(&mut self, bytes: usize) {
        if let Some(share) = &mut self.0 {
            share.total.0.set(share.total.get() - bytes);
            share.bytes -= bytes;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.total.0.set(self.total.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stream_has_is_counted_until_it_has_it_no_longer() {
        let total = TotalBytes::default();
        let (mut one, mut other) = (Counted::default(), Counted::default());
        one.set(100, &total);
        other.set(50, &total);
        one.set(300, &total);
        assert_eq!((one.bytes(), other.bytes(), total.get()), (300, 50, 350));
        one.set(20, &total);
        assert_eq!(total.get(), 70);
        other.set(0, &total);
        assert_eq!((other.bytes(), total.get()), (0, 20));
        drop(one);
        assert_eq!(total.get(), 0);
    }

    #[test]
    fn what_is_held_is_counted_until_it_is_taken_thrown_away_or_dropped() {
        let total = TotalBytes::default();
        let (mut one, mut other) = (HeldContent::default(), HeldContent::default());
        one.add(b"", &total);
        assert!(one.is_empty() && total.get() == 0);
        one.add(&[1; 100], &total);
        other.add(&[2; 1000], &total);
        assert!(total.get() >= 1100 && total.get() == one.memory_bytes() + other.memory_bytes());
        one.consume(99);
        assert_eq!((one.front(), one.is_empty()), (&[1][..], false));
        one.consume(1);
        assert_eq!((one.front(), one.is_empty(), one.memory_bytes()), (&[][..], true, 0));
        assert_eq!(total.get(), other.memory_bytes());
        assert_eq!((other.clear(), total.get()), (1000, 0));
        one.add(&[3; 10], &total);
        drop(one);
        assert_eq!(total.get(), 0);
    }
    /// Held as one piece, 8 MiB of an upload took 17 MiB when its upstream was slow.
    #[test]
    fn much_that_is_held_takes_little_more_memory_than_it_has_bytes_and_gives_it_back_as_it_is_taken() {
        let total = TotalBytes::default();
        let mut content = HeldContent::default();
        let pattern = |at: usize| (at % 251) as u8;
        let len_max = 8 << 20;
        for start in (0..len_max).step_by(16 * 1024) {
            content.add(&(start..start + 16 * 1024).map(pattern).collect::<Vec<_>>(), &total);
        }
        assert_eq!(content.len(), len_max);
        assert!((len_max..len_max + 2 * BLOCK_BYTES_MAX).contains(&total.get()), "{}", total.get());
        let mut at = 0;
        while !content.is_empty() {
            let piece = content.front().len().min(10_000);
            assert!(content.front()[..piece].iter().enumerate().all(|(index, byte)| *byte == pattern(at + index)));
            content.consume(piece);
            at += piece;
            assert!(total.get() <= len_max - at + 3 * BLOCK_BYTES_MAX);
        }
        assert_eq!((at, total.get()), (len_max, 0));
    }

    #[test]
    fn small_pieces_share_blocks() {
        let total = TotalBytes::default();
        let mut content = HeldContent::default();
        for byte in 0..=255 {
            content.add(&[byte], &total);
        }
        assert!(total.get() <= 256 * 5 / 4, "{}", total.get());
        let mut taken = Vec::new();
        while !content.is_empty() {
            let piece = content.front().to_vec();
            content.consume(piece.len());
            taken.extend(piece);
        }
        assert_eq!((taken, total.get()), ((0..=255).collect::<Vec<u8>>(), 0));
    }
}
