//! Content that has arrived and that nobody has taken yet, and what clients were allowed to send of it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

/// The memory that all streams of a loop use for such content, or what their windows have grown by, in bytes.
#[derive(Debug, Clone, Default)]
pub struct HeldBytes(Rc<Cell<usize>>);

impl HeldBytes {
    /// How many bytes it is now.
    pub fn get(&self) -> usize {
        self.0.get()
    }
}

/// The content of one stream. It uses no memory while there is none.
#[derive(Debug, Default)]
pub(super) struct HeldContent(Option<Box<Held>>);

#[derive(Debug)]
struct Held {
    content: VecDeque<u8>,
    /// What of `total` is for this content.
    counted: usize,
    total: HeldBytes,
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
        self.0.as_ref().map_or(0, |held| held.counted)
    }

    /// Adds bytes at the end.
    pub(super) fn add(&mut self, bytes: &[u8], total: &HeldBytes) {
        if bytes.is_empty() {
            return;
        }
        let new = || Box::new(Held { content: VecDeque::new(), counted: 0, total: total.clone() });
        let held = self.0.get_or_insert_with(new);
        if held.content.capacity() - held.content.len() < bytes.len() {
            // Doubling would waste up to half of the memory.
            held.content.reserve_exact(bytes.len() + held.content.len() / 4);
        }
        held.content.extend(bytes);
        held.count(held.content.capacity());
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

/// What the window of a stream has grown by. So much may arrive at once, and is then held.
#[derive(Debug, Default)]
pub(super) struct Growth(Option<Box<Grown>>);

#[derive(Debug)]
struct Grown {
    bytes: usize,
    total: HeldBytes,
}

impl Growth {
    /// How many bytes it is.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |grown| grown.bytes)
    }

    /// It is so many bytes more.
    pub(super) fn add(&mut self, bytes: usize, total: &HeldBytes) {
        let grown = self.0.get_or_insert_with(|| Box::new(Grown { bytes: 0, total: total.clone() }));
        grown.bytes += bytes;
        total.0.set(total.get() + bytes);
    }
}

impl Drop for Grown {
    fn drop(&mut self) {
        self.total.0.set(self.total.get() - self.bytes);
    }
}

impl Held {
    fn count(&mut self, bytes: usize) {
        self.total.0.set(self.total.get() - self.counted + bytes);
        self.counted = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.count(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_window_has_grown_by_is_given_back_with_its_stream() {
        let total = HeldBytes::default();
        let (mut one, mut other) = (Growth::default(), Growth::default());
        one.add(100, &total);
        one.add(200, &total);
        other.add(50, &total);
        assert_eq!((one.bytes(), other.bytes(), total.get()), (300, 50, 350));
        drop(one);
        assert_eq!(total.get(), 50);
    }

    #[test]
    fn what_is_held_is_counted_until_it_is_taken_thrown_away_or_dropped() {
        let total = HeldBytes::default();
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
