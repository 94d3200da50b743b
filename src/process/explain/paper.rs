//! A simulated socket: it has one request to read, takes everything that is written, and notes each call.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::rc::Rc;

use crate::net::{Io, Socket};

/// As much of what is sent is kept, in bytes: heads are at its beginning.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// What has passed over the socket.
#[derive(Debug, Default)]
pub struct Paper {
    /// What has not been read yet.
    unread: Vec<u8>,
    /// The beginning of what was sent, without files.
    pub sent: Vec<u8>,
    /// Bytes sent, with files.
    pub sent_bytes: u64,
    /// The system calls that a socket of the kernel would have had, each kind where it came first.
    pub calls: Vec<(&'static str, u64)>,
}

impl Paper {
    fn note(&mut self, call: &'static str) {
        match self.calls.iter_mut().find(|(known, _)| *known == call) {
            Some((_, count)) => *count += 1,
            None => self.calls.push((call, 1)),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(KEPT_BYTES_MAX - self.sent.len());
        self.sent.extend_from_slice(&bytes[..kept]);
        self.sent_bytes += bytes.len() as u64;
    }
}

/// The socket. The paper, on which it notes everything, is shared.
pub struct PaperSocket(pub Rc<RefCell<Paper>>);

impl PaperSocket {
    /// A client that has sent `request`, and reads as fast as it is answered.
    pub fn new(request: &[u8]) -> PaperSocket {
        PaperSocket(Rc::new(RefCell::new(Paper { unread: request.to_vec(), ..Paper::default() })))
    }
}

impl Socket for PaperSocket {
    fn read(&mut self, [front, back]: [&mut [u8]; 2]) -> io::Result<Io> {
        let paper = &mut *self.0.borrow_mut();
        paper.note(if back.is_empty() { "recvfrom" } else { "readv" });
        if paper.unread.is_empty() {
            return Ok(Io::WouldBlock);
        }
        let room = front.len() + back.len();
        let n = room.min(paper.unread.len());
        for (space, byte) in front.iter_mut().chain(back).zip(paper.unread.drain(..n)) {
            *space = byte;
        }
        Ok(if n < room { Io::Drained(n) } else { Io::Moved(n) })
    }

    fn write(&mut self, [front, back]: [&[u8]; 2], more: bool) -> io::Result<Io> {
        let paper = &mut *self.0.borrow_mut();
        paper.note(match (back.is_empty(), more) {
            (true, _) => "sendto",
            (false, true) => "sendmsg",
            (false, false) => "writev",
        });
        paper.take(front);
        paper.take(back);
        Ok(Io::Moved(front.len() + back.len()))
    }

    fn send_file(&mut self, _file: &File, _offset: u64, count: usize) -> io::Result<Io> {
        let paper = &mut *self.0.borrow_mut();
        paper.note("sendfile");
        paper.sent_bytes += count as u64;
        Ok(Io::Moved(count))
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().note("shutdown");
        Ok(())
    }

    fn take_error(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn abort_on_close(&mut self) -> io::Result<()> {
        self.0.borrow_mut().note("setsockopt");
        Ok(())
    }
}
