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
    /// The next sequence numbers of what we receive and of what we send.
    of_peer: u64,
    of_us: u64,
    has_peer_ended: bool,
    have_we_ended: bool,
    /// There is a connection: one that we have asked for may come later, or not at all.
    is_connected: bool,
    /// It was reset, or its close resets it.
    is_reset: bool,
    is_aborted: bool,
}

impl<S: Socket> CapturedSocket<S> {
    pub(super) fn new(socket: S, flow: Flow, tap: Tap) -> CapturedSocket<S> {
        let is_ours = flow.is_ours;
        let captured = CapturedSocket {
            socket,
            flow: Arc::new(flow),
            tap,
            of_peer: 1,
            of_us: 1,
            has_peer_ended: false,
            have_we_ended: false,
            is_connected: !is_ours,
            is_reset: false,
            is_aborted: false,
        };
        match is_ours {
            true => captured.record_sent(What::Asked),
            false => captured.record_received(What::Accepted),
        }
        captured
    }

    /// The socket inside.
    pub fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    fn record_received(&self, what: What) {
        self.record(if self.flow.is_ours { Direction::ToClient } else { Direction::FromClient }, what);
    }

    fn record_sent(&self, what: What) {
        self.record(if self.flow.is_ours { Direction::FromClient } else { Direction::ToClient }, what);
    }

    fn record(&self, direction: Direction, what: What) {
        let at = if matches!(what, What::Accepted | What::Asked) { self.flow.began_at } else { now() };
        let (of_client, of_server) =
            if self.flow.is_ours { (self.of_us, self.of_peer) } else { (self.of_peer, self.of_us) };
        let (flow, comments) = (Arc::clone(&self.flow), Vec::new());
        self.tap.add(Event { flow, at, direction, of_client, of_server, what, comments, missing: 0 });
    }

    /// Notes that there is a connection, which the first success of a call shows.
    fn note_connected(&mut self) {
        if !std::mem::replace(&mut self.is_connected, true) {
            self.record_received(What::Answered);
        }
    }

    fn on_peer_end(&mut self) {
        if !std::mem::replace(&mut self.has_peer_ended, true) {
            self.record_received(What::Fin);
            self.of_peer += 1;
        }
    }

    fn on_our_end(&mut self) {
        if !std::mem::replace(&mut self.have_we_ended, true) {
            self.record_sent(What::Fin);
            self.of_us += 1;
        }
    }

    /// Notes what an error says about the peer: that it has reset or refused the connection, or nothing.
    fn note_error<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset};
        let by_peer = [ConnectionReset, BrokenPipe, ConnectionAborted, ConnectionRefused];
        if let Err(error) = &outcome
            && by_peer.contains(&error.kind())
            && !std::mem::replace(&mut self.is_reset, true)
        {
            self.record_received(What::Reset);
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
                self.note_connected();
                self.record_received(What::Bytes(first(n, [front, back])));
                self.of_peer += n as u64;
            }
            Ok(Io::Eof) => {
                self.note_connected();
                self.on_peer_end();
            }
            Ok(Io::WouldBlock) | Err(_) => {}
        }
        self.note_error(outcome)
    }

    fn write(&mut self, bytes: [&[u8]; 2], more: bool) -> io::Result<Io> {
        let outcome = self.socket.write(bytes, more);
        if let Ok(Io::Moved(n)) = outcome {
            self.note_connected();
            self.record_sent(What::Bytes(first(n, bytes)));
            self.of_us += n as u64;
        }
        self.note_error(outcome)
    }

    /// The bytes never come here: the thread that writes reads them, through a descriptor of its own. What the file has there
    /// by then may not be what was sent.
    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Io> {
        let outcome = self.socket.send_file(file, offset, count);
        if let Ok(Io::Moved(length)) = outcome {
            let file = file.try_clone().ok();
            self.record_sent(What::FilePart { file, offset, length });
            self.of_us += length as u64;
        }
        self.note_error(outcome)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let outcome = self.socket.shutdown_write();
        if outcome.is_ok() {
            self.on_our_end();
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

    fn acknowledge(&mut self) -> io::Result<bool> {
        self.socket.acknowledge()
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
    /// direction. A connection that was not there yet ends without a packet.
    fn drop(&mut self) {
        if !self.is_reset && self.is_connected {
            match self.is_aborted || self.socket.unread().is_ok_and(|unread| unread > 0) {
                true => self.record_sent(What::Reset),
                false => self.on_our_end(),
            }
        }
        self.tap.on_ended(&self.flow);
    }
}
