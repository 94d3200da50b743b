//! A queue of bytes between two parts of the loop's thread: one adds whole pieces, and the other, which is woken, takes bytes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use super::ring::Room;
use super::wake::LocalWaker;

/// The end that adds. When it is dropped, nothing more comes.
pub struct PipeWriter(Rc<RefCell<Pipe>>);

/// The end that takes. When it is dropped, nobody wants more.
pub struct PipeReader(Rc<RefCell<Pipe>>);

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    has_ended: bool,
    waker: Option<LocalWaker>,
}

/// A queue of up to `bytes_max` bytes.
pub fn byte_pipe(bytes_max: usize) -> (PipeWriter, PipeReader) {
    let pipe = Rc::new(RefCell::new(Pipe { bytes_max, ..Pipe::default() }));
    (PipeWriter(Rc::clone(&pipe)), PipeReader(pipe))
}

impl PipeWriter {
    /// Adds all of `piece`, or says that there is no room for it.
    pub fn put(&self, piece: &[u8]) -> bool {
        let mut pipe = self.0.borrow_mut();
        if pipe.bytes.len() + piece.len() > pipe.bytes_max {
            return false;
        }
        pipe.bytes.extend(piece);
        pipe.wake();
        true
    }

    /// Whether somebody still wants what is added.
    pub fn has_reader(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let mut pipe = self.0.borrow_mut();
        pipe.has_ended = true;
        pipe.wake();
    }
}

impl PipeReader {
    /// Moves what is there to `room`, as far as it fits. Says how many bytes that were.
    pub fn take(&self, room: &mut Room<'_>) -> usize {
        let mut pipe = self.0.borrow_mut();
        let mut taken = 0;
        loop {
            let put = room.put(pipe.bytes.as_slices().0);
            pipe.bytes.drain(..put);
            taken += put;
            if put == 0 {
                break;
            }
        }
        if pipe.bytes.is_empty() {
            // What a rush has needed is not kept.
            pipe.bytes = VecDeque::new();
        }
        taken
    }

    /// Whether there is nothing just now.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().bytes.is_empty()
    }

    /// Whether nothing more comes behind what is there.
    pub fn has_ended(&self) -> bool {
        self.0.borrow().has_ended
    }

    /// Adds something behind what is there, as the other end does.
    pub fn put(&self, piece: &[u8]) {
        self.0.borrow_mut().bytes.extend(piece);
    }

    /// Whom the other end wakes when there is more.
    pub fn wakes(&self, waker: LocalWaker) {
        self.0.borrow_mut().waker = Some(waker);
    }
}

impl fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeWriter").finish_non_exhaustive()
    }
}

impl fmt::Debug for PipeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeReader").finish_non_exhaustive()
    }
}

impl Pipe {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ring::RingBuffer;

    fn taken(reader: &PipeReader, bytes: usize) -> Vec<u8> {
        let mut ring = RingBuffer::new(bytes);
        let n = reader.take(&mut ring.room(0, bytes));
        ring.seal(0, b"", n);
        ring.readable().concat()
    }

    #[test]
    fn pieces_come_whole_or_not_at_all_and_are_taken_as_there_is_room() {
        let (writer, reader) = byte_pipe(8);
        assert!(writer.put(b"12345") && !writer.put(b"6789") && writer.put(b"678"));
        assert_eq!(taken(&reader, 6), b"123456");
        assert!(writer.put(b"abcd"));
        assert_eq!(taken(&reader, 100), b"78abcd");
        assert!(reader.is_empty() && !reader.has_ended());
        drop(writer);
        assert!(reader.has_ended());
    }

    #[test]
    fn each_end_knows_when_the_other_has_gone() {
        let (writer, reader) = byte_pipe(8);
        assert!(writer.has_reader());
        drop(reader);
        assert!(!writer.has_reader());
    }
}
