//! Torture: a kernel whose buffers are always nearly empty or nearly full, and which sometimes changes its mind.
//!
//! Every read and write may be cut to a few bytes, and may be told to wait although it need not. Whoever is told to wait
//! gets an event at the next poll, if it asked for such events, just as after a real wait. What happens to a connection
//! follows from the seed, the number of connections accepted before it and what it tries itself, not from the others.
//!
//! A reactor that tortures wraps each socket it accepts, reports what is pending before it polls, and says what it arms.

mod faults;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::{Event, Interest, Io, PeerProgress, Readiness, Socket};
use crate::base::slots::Token;
use faults::Dice;
pub use faults::Faults;

/// The faults of all sockets of a reactor, and which sockets wait for an event.
#[derive(Debug)]
pub struct Torture {
    faults: Faults,
    /// Connections accepted so far.
    accepted: u64,
    waiting: WaitingList,
}

impl Torture {
    /// The torture of a reactor without connections.
    pub fn new(faults: Faults) -> Torture {
        Torture { faults, accepted: 0, waiting: WaitingList::default() }
    }

    /// Wraps the socket of the next accepted connection.
    pub fn accept<S: Socket>(&mut self, socket: S) -> TorturedSocket<S> {
        let ordinal = self.accepted;
        self.accepted += 1;
        TorturedSocket::new(socket, self.faults, ordinal, self.waiting.clone())
    }

    /// Before each poll: adds an event for every connection that was made to wait without need. Says how long that poll may
    /// then sleep.
    pub fn report_pending(&self, timeout: Option<Duration>, events: &mut Vec<Event>) -> Option<Duration> {
        let before = events.len();
        self.waiting.report(events);
        // The loop must not sleep before it has seen these events.
        if events.len() > before { Some(Duration::ZERO) } else { timeout }
    }
}

/// A socket that moves less than it could.
#[derive(Debug)]
pub struct TorturedSocket<S: Socket> {
    socket: S,
    faults: Faults,
    /// Two generators: what reads meet does not depend on the writes between them.
    reading: Dice,
    writing: Dice,
    pending: Rc<Cell<Pending>>,
    waiting: WaitingList,
    /// The kernel itself told the last write to wait. Where the kernel does not tell what the client has acknowledged, the
    /// server tries one more write before it gives the client up. That write must not be put off.
    is_full: bool,
    /// It failed, or is to be reset: unread input does not matter any more.
    broken: bool,
}

impl<S: Socket> TorturedSocket<S> {
    fn new(socket: S, faults: Faults, ordinal: u64, waiting: WaitingList) -> TorturedSocket<S> {
        TorturedSocket {
            socket,
            faults,
            reading: Dice::new(faults.seed, 2 * ordinal),
            writing: Dice::new(faults.seed, 2 * ordinal + 1),
            pending: Rc::default(),
            waiting,
            is_full: false,
            broken: false,
        }
    }

    fn note_written(&mut self, outcome: io::Result<Io>) -> io::Result<Io> {
        self.is_full = matches!(outcome, Ok(Io::WouldBlock));
        self.note_error(outcome)
    }

    fn note_error(&mut self, outcome: io::Result<Io>) -> io::Result<Io> {
        self.broken |= outcome.is_err();
        outcome
    }

    /// The socket inside.
    pub fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Notes what the kernel is now asked to report. Pending readiness is reported only if it is asked for, too.
    pub fn on_armed(&mut self, token: Token, armed: Interest) {
        self.update_pending(|pending| {
            pending.token = Some(token);
            pending.armed = armed;
        });
    }

    fn update_pending(&mut self, update: impl FnOnce(&mut Pending)) {
        let mut pending = self.pending.get();
        update(&mut pending);
        if pending.is_to_be_reported() && !pending.listed {
            pending.listed = true;
            self.waiting.add(&self.pending);
        }
        self.pending.set(pending);
    }

    /// How many of `n` bytes a write may try, or `None` if it is to wait.
    fn writable(&mut self, n: usize) -> Option<usize> {
        if !self.is_full && self.writing.chance(self.faults.would_block) {
            self.update_pending(|pending| pending.write = true);
            return None;
        }
        Some(if self.faults.short_write { n.min(self.writing.size()) } else { n })
    }

    /// How many of `n` bytes a read may try, or `None` if it is to wait.
    fn readable(&mut self, n: usize) -> Option<usize> {
        if self.reading.chance(self.faults.would_block) {
            self.update_pending(|pending| pending.read = true);
            return None;
        }
        Some(if self.faults.short_read { n.min(self.reading.size()) } else { n })
    }
}

impl<S: Socket> Socket for TorturedSocket<S> {
    fn on_named(&mut self, id: u64) {
        self.socket.on_named(id);
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.socket.local_address()
    }

    /// A read that fills the little room it is given has moved something and proves nothing about what is left: the
    /// socket inside says so by itself.
    fn read(&mut self, [front, back]: [&mut [u8]; 2]) -> io::Result<Io> {
        let Some(n) = self.readable(front.len() + back.len()) else { return Ok(Io::WouldBlock) };
        let first = n.min(front.len());
        let outcome = self.socket.read([&mut front[..first], &mut back[..n - first]]);
        self.note_error(outcome)
    }

    fn write(&mut self, [front, back]: [&[u8]; 2], more: bool) -> io::Result<Io> {
        let Some(n) = self.writable(front.len() + back.len()) else { return Ok(Io::WouldBlock) };
        let first = n.min(front.len());
        let outcome = self.socket.write([&front[..first], &back[..n - first]], more);
        self.note_written(outcome)
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Io> {
        let Some(n) = self.writable(count) else { return Ok(Io::WouldBlock) };
        let outcome = self.socket.send_file(file, offset, n);
        self.note_written(outcome)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    fn take_error(&mut self) -> io::Result<()> {
        self.socket.take_error()
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

    fn abort_on_close(&mut self) -> io::Result<()> {
        self.broken = true;
        self.socket.abort_on_close()
    }
}

/// How much is read at a time of what was hidden from whoever closes, in bytes, and how often.
const HIDDEN_BYTES: usize = 16 * 1024;
const HIDDEN_READS_MAX: usize = 64;

impl<S: Socket> Drop for TorturedSocket<S> {
    /// Closing with unread input resets the connection. If the server closes because a read found nothing, and that read
    /// was made to wait without need, what it would have found is read now and thrown away.
    fn drop(&mut self) {
        let mut reads = if self.pending.get().read && !self.broken { HIDDEN_READS_MAX } else { 0 };
        let mut hidden = [0; HIDDEN_BYTES];
        while reads > 0 && matches!(self.socket.read([&mut hidden, &mut []]), Ok(Io::Moved(_))) {
            reads -= 1;
        }
    }
}

/// The readiness that must still be reported for one connection, because it was made to wait without need.
#[derive(Debug, Clone, Copy, Default)]
struct Pending {
    token: Option<Token>,
    armed: Interest,
    read: bool,
    write: bool,
    /// Whether the connection is in the waiting list.
    listed: bool,
}

impl Pending {
    /// What is pending and asked for. The rest stays pending until it is asked for, as the kernel looks again when a
    /// direction is turned on.
    fn to_report(self) -> Readiness {
        Readiness {
            readable: self.read && self.armed.read,
            writable: self.write && self.armed.write,
            ..Readiness::default()
        }
    }

    fn is_to_be_reported(self) -> bool {
        self.to_report() != Readiness::default()
    }

    /// The event to report now. What it says is not pending any more.
    fn take_event(&mut self) -> Option<Event> {
        let readiness = self.to_report();
        self.listed = false;
        self.read &= !readiness.readable;
        self.write &= !readiness.writable;
        let token = self.token.filter(|_| readiness != Readiness::default())?;
        Some(Event::Connection(token, readiness))
    }
}

/// The connections that get an event at the next poll, in the order in which they were made to wait.
#[derive(Debug, Clone, Default)]
struct WaitingList(Rc<RefCell<Vec<Weak<Cell<Pending>>>>>);

impl WaitingList {
    fn add(&self, pending: &Rc<Cell<Pending>>) {
        self.0.borrow_mut().push(Rc::downgrade(pending));
    }

    /// Adds an event for each of them. A connection that has been closed meanwhile gets none, as the kernel forgets a closed
    /// socket.
    fn report(&self, events: &mut Vec<Event>) {
        for cell in self.0.borrow_mut().drain(..).filter_map(|pending| pending.upgrade()) {
            let mut pending = cell.get();
            events.extend(pending.take_event());
            cell.set(pending);
        }
    }
}

#[cfg(test)]
mod tests;
