//! A socket whose reads and writes are recorded.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Direction, Event, Flow, Tap, What, now};
use crate::net::{Io, PeerProgress, Socket};

/// A socket whose reads and writes are recorded as packets: what the kernel has moved, in the order and at the time in which
/// the server has seen it.
pub struct CapturedSocket<S: Socket> {
    socket: S,
    flow: Arc<Flow>,
    tap: Tap,
    /// The next sequence numbers of both sides.
    of_client: u64,
    of_server: u64,
    has_client_ended: bool,
    has_server_ended: bool,
    /// It was reset, or its close resets it.
    is_reset: bool,
    is_aborted: bool,
}

impl<S: Socket> CapturedSocket<S> {
    pub(super) fn new(socket: S, flow: Arc<Flow>, tap: Tap) -> CapturedSocket<S> {
        let captured = CapturedSocket {
            socket,
            flow,
            tap,
            of_client: 1,
            of_server: 1,
            has_client_ended: false,
            has_server_ended: false,
            is_reset: false,
            is_aborted: false,
        };
        captured.record(Direction::FromClient, What::Accepted);
        captured
    }

    /// The socket inside.
    pub fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    fn record(&self, direction: Direction, what: What) {
        let at = if matches!(what, What::Accepted) { self.flow.accepted_at } else { now() };
        let (of_client, of_server) = (self.of_client, self.of_server);
        let (flow, comments) = (Arc::clone(&self.flow), Vec::new());
        self.tap.add(Event { flow, at, direction, of_client, of_server, what, comments, missing: 0 });
    }

    fn on_client_end(&mut self) {
        if !std::mem::replace(&mut self.has_client_ended, true) {
            self.record(Direction::FromClient, What::Fin);
            self.of_client += 1;
        }
    }

    fn on_server_end(&mut self) {
        if !std::mem::replace(&mut self.has_server_ended, true) {
            self.record(Direction::ToClient, What::Fin);
            self.of_server += 1;
        }
    }

    /// Notes what an error says about the client: that it has reset the connection, or nothing.
    fn note_error<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        let by_client = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted];
        if let Err(error) = &outcome
            && by_client.contains(&error.kind())
            && !std::mem::replace(&mut self.is_reset, true)
        {
            self.record(Direction::FromClient, What::Reset);
        }
        outcome
    }
}

impl<S: Socket + fmt::Debug> fmt::Debug for CapturedSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CapturedSocket").field(&self.socket).finish()
    }
}

/// The first `n` bytes of the two slices.
fn first(n: usize, [front, back]: [&[u8]; 2]) -> Box<[u8]> {
    let of_front = n.min(front.len());
    [&front[..of_front], &back[..n - of_front]].concat().into()
}

impl<S: Socket> Socket for CapturedSocket<S> {
    fn on_named(&mut self, id: u64) {
        self.tap.on_named(&self.flow, id);
    }

    fn read(&mut self, [front, back]: [&mut [u8]; 2]) -> io::Result<Io> {
        let outcome = self.socket.read([&mut *front, &mut *back]);
        match outcome {
            Ok(Io::Moved(n) | Io::Drained(n)) => {
                self.record(Direction::FromClient, What::Bytes(first(n, [front, back])));
                self.of_client += n as u64;
            }
            Ok(Io::Eof) => self.on_client_end(),
            Ok(Io::WouldBlock) | Err(_) => {}
        }
        self.note_error(outcome)
    }

    fn write(&mut self, bytes: [&[u8]; 2], more: bool) -> io::Result<Io> {
        let outcome = self.socket.write(bytes, more);
        if let Ok(Io::Moved(n)) = outcome {
            self.record(Direction::ToClient, What::Bytes(first(n, bytes)));
            self.of_server += n as u64;
        }
        self.note_error(outcome)
    }

    /// The bytes never come here: the thread that writes reads them, through a descriptor of its own. What the file has there
    /// by then may not be what was sent.
    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Io> {
        let outcome = self.socket.send_file(file, offset, count);
        if let Ok(Io::Moved(length)) = outcome {
            let file = file.try_clone().ok();
            self.record(Direction::ToClient, What::FilePart { file, offset, length });
            self.of_server += length as u64;
        }
        self.note_error(outcome)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let outcome = self.socket.shutdown_write();
        if outcome.is_ok() {
            self.on_server_end();
        }
        outcome
    }

    fn take_error(&mut self) -> io::Result<()> {
        let outcome = self.socket.take_error();
        self.note_error(outcome)
    }

    fn abort_on_close(&mut self) -> io::Result<()> {
        let outcome = self.socket.abort_on_close();
        self.is_aborted |= outcome.is_ok();
        outcome
    }

    fn hold_unsent(&mut self, without_bound: bool) -> io::Result<bool> {
        self.socket.hold_unsent(without_bound)
    }

    fn peer_progress(&self) -> Option<io::Result<PeerProgress>> {
        self.socket.peer_progress()
    }

    fn unread(&self) -> io::Result<u64> {
        self.socket.unread()
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.socket.local_address()
    }
}

impl<S: Socket> Drop for CapturedSocket<S> {
    /// A close resets the connection if it was told to, or if there is unread input (RFC 9293 §3.10.4). Otherwise it ends our
    /// direction.
    fn drop(&mut self) {
        if !self.is_reset {
            match self.is_aborted || self.socket.unread().is_ok_and(|unread| unread > 0) {
                true => self.record(Direction::ToClient, What::Reset),
                false => self.on_server_end(),
            }
        }
        self.tap.on_ended(&self.flow);
    }
}
