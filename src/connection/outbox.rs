//! What goes out: bytes in a ring, and behind them part of a file.

use std::io;
use std::sync::Arc;

use super::secured::Refusal;
use crate::base::buffer_pool::BufferPool;
use crate::base::disk::OpenFile;
use crate::base::ring::RingBuffer;
use crate::http::body::FilePart;
use crate::net::{Io, Socket};
use crate::observe::histogram::Syscalls;

/// Bytes, then part of a file that goes from the page cache to the socket. While there is a file, nothing is added
/// behind it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Owned only while it holds something.
    ring: Option<Box<RingBuffer>>,
    /// In a box, because few connections send a file and each has room for one.
    file: Option<Box<FilePart>>,
}

/// What a flush did.
#[derive(Debug)]
#[must_use]
pub(super) enum Flushed {
    /// So many bytes left; 0: there were none.
    Bytes(usize),
    /// The kernel has no room.
    Blocked,
    /// The file has become shorter than what was announced of it.
    FileEnded,
    /// The peer is refused, as by a fill.
    Refused(Box<Refusal>),
}

impl Outbox {
    /// Where bytes are added; only while no file stands at the end.
    pub(super) fn ring(&mut self, pool: &mut BufferPool) -> &mut RingBuffer {
        debug_assert!(self.file.is_none(), "bytes would overtake the file");
        self.ring.get_or_insert_with(|| pool.take())
    }

    /// Adds part of a file, which is not empty, behind everything else.
    pub(super) fn add_file(&mut self, part: FilePart) {
        debug_assert!(self.file.is_none() && part.length > 0, "one file at a time");
        self.file = Some(Box::new(part));
    }

    /// Whether a file stands at the end.
    pub(super) fn ends_in_file(&self) -> bool {
        self.file.is_some()
    }

    /// Whether what waits may well grow: at least half of the ring is free, and no file stands at the end.
    pub(super) fn may_grow(&self) -> bool {
        self.file.is_none() && self.ring.as_ref().is_none_or(|ring| ring.free() >= ring.capacity() / 2)
    }

    /// One system call, if there is anything to send: the bytes first.
    ///
    /// It stands where it is called: nearly each drive writes once, and only captures have made more callers of it.
    #[inline(always)]
    pub(super) fn flush(&mut self, socket: &mut impl Socket, syscalls: &mut Syscalls) -> io::Result<Flushed> {
        let file_follows = self.file.is_some();
        if let Some(ring) = self.ring.as_mut().filter(|ring| !ring.is_empty()) {
            syscalls.write += 1;
            return Ok(match socket.write(ring.readable(), file_follows)? {
                Io::Moved(n) => {
                    ring.consume(n);
                    Flushed::Bytes(n)
                }
                _ => Flushed::Blocked,
            });
        }
        self.flush_file(socket, syscalls)
    }

    /// The bytes, in order.
    pub(super) fn readable(&self) -> [&[u8]; 2] {
        self.ring.as_deref().map_or([&[], &[]], RingBuffer::readable)
    }

    /// The file at the end, and where in it the next byte stands, if there is one.
    pub(super) fn file(&self) -> Option<(Arc<OpenFile>, u64)> {
        self.file.as_ref().map(|part| (Arc::clone(&part.file), part.offset))
    }

    /// Takes off so many bytes that have been sent.
    pub(super) fn consume(&mut self, n: usize) {
        if let Some(ring) = &mut self.ring {
            ring.consume(n);
        }
    }

    fn flush_file(&mut self, socket: &mut impl Socket, syscalls: &mut Syscalls) -> io::Result<Flushed> {
        let Some(part) = &mut self.file else { return Ok(Flushed::Bytes(0)) };
        let count = usize::try_from(part.length).unwrap_or(usize::MAX);
        syscalls.sendfile += 1;
        Ok(match socket.send_file(&part.file.file, part.offset, count)? {
            Io::Moved(n) => {
                part.offset += n as u64;
                part.length -= n as u64;
                self.file.take_if(|part| part.length == 0);
                Flushed::Bytes(n)
            }
            Io::Eof => Flushed::FileEnded,
            _ => Flushed::Blocked,
        })
    }

    /// How many bytes fit; 0 while it has no ring.
    pub(super) fn capacity(&self) -> usize {
        self.ring.as_deref().map_or(0, RingBuffer::capacity)
    }

    /// Bytes that wait to be sent.
    pub(super) fn len(&self) -> u64 {
        let bytes = self.ring.as_deref().map_or(0, RingBuffer::len) as u64;
        bytes + self.file.as_ref().map_or(0, |part| part.length)
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.file.is_none() && self.ring.as_deref().is_none_or(RingBuffer::is_empty)
    }

    /// Returns the ring if it holds nothing.
    pub(super) fn give_back_empty(&mut self, pool: &mut BufferPool) {
        if let Some(ring) = self.ring.take_if(|ring| ring.is_empty()) {
            pool.give_back(ring);
        }
    }

    /// Throws everything away.
    pub(super) fn give_back_all(&mut self, pool: &mut BufferPool) {
        self.file = None;
        if let Some(ring) = self.ring.take() {
            pool.give_back(ring);
        }
    }
}
