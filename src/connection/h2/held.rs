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

/// The content of one stream. It uses no memory while there is none.
#[derive(Debug, Default)]
pub(super) struct HeldContent(Option<Box<Held>>);

#[derive(Debug, Default)]
struct Held {
    content: VecDeque<u8>,
    counted: Counted,
}

impl HeldContent {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many bytes it is.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.content.len())
    }

    /// The first bytes of it, at least one unless it is empty.
    pub(super) fn front(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |held| held.content.as_slices().0)
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
        if held.content.capacity() - held.content.len() < bytes.len() {
            // Doubling would waste up to half of the memory.
            held.content.reserve_exact(bytes.len() + held.content.len() / 4);
        }
        held.content.extend(bytes);
        held.counted.set(held.content.capacity(), total);
    }

    /// Takes so many bytes off the front.
    pub(super) fn consume(&mut self, bytes: usize) {
        if let Some(held) = &mut self.0 {
            held.content.drain(..bytes);
        }
        self.0.take_if(|held| held.content.is_empty());
    }

    /// Throws all of it away. Returns how many bytes that were.
    pub(super) fn clear(&mut self) -> usize {
        self.0.take().map_or(0, |held| held.content.len())
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
}
