//! Torture: a kernel whose buffers are always nearly empty or nearly full, and which sometimes changes its mind.
//!
//! Every read and write may be cut to a few bytes, and may be told to wait although it need not. Whoever is told to wait
//! is told to go on at the next poll, if it asked for that, just as after a real wait. What happens to a connection
//! follows from the seed, the number of connections accepted before it and what it tries itself, not from the others.
//!
//! A reactor that tortures wraps each socket it accepts, repays before it polls, and says what it arms.

mod faults;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::{Event, Interest, Io, Readiness, Socket};
use crate::base::slots::Token;
use faults::Dice;
pub use faults::Faults;

/// Who is tortured and what they are owed; one for each reactor.
#[derive(Debug)]
pub struct Torture {
    faults: Faults,
    /// Connections accepted so far.
    accepted: u64,
    creditors: Creditors,
}

impl Torture {
    /// Nobody yet, by `faults` from now on.
    pub fn new(faults: Faults) -> Torture {
        Torture { faults, accepted: 0, creditors: Creditors::default() }
    }

    /// The next accepted connection's socket, made worse.
    pub fn accept<S: Socket>(&mut self, socket: S) -> TorturedSocket<S> {
        let ordinal = self.accepted;
        self.accepted += 1;
        TorturedSocket::new(socket, self.faults, ordinal, self.creditors.clone())
    }

    /// Before each poll: tells whoever was made to wait without need, and says how long that poll may then sleep.
    pub fn repay(&self, timeout: Option<Duration>, events: &mut Vec<Event>) -> Option<Duration> {
        let before = events.len();
        self.creditors.repay(events);
        // To sleep now would be to lose the wake-up.
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
    debt: Rc<Cell<Debt>>,
    creditors: Creditors,
    /// The kernel itself told the last write to wait. Who tries again makes sure that nobody reads, as at the send
    /// deadline, and must not be lied to.
    is_full: bool,
    /// It failed, or is to be reset: nothing is left to save.
    broken: bool,
}

impl<S: Socket> TorturedSocket<S> {
    fn new(socket: S, faults: Faults, ordinal: u64, creditors: Creditors) -> TorturedSocket<S> {
        TorturedSocket {
            socket,
            faults,
            reading: Dice::new(faults.seed, 2 * ordinal),
            writing: Dice::new(faults.seed, 2 * ordinal + 1),
            debt: Rc::default(),
            creditors,
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

    /// Notes what the kernel is now asked to report, which is also what is told of what is owed.
    pub fn on_armed(&mut self, token: Token, armed: Interest) {
        self.update_debt(|debt| {
            debt.token = Some(token);
            debt.armed = armed;
        });
    }

    fn update_debt(&mut self, update: impl FnOnce(&mut Debt)) {
        let mut debt = self.debt.get();
        update(&mut debt);
        if debt.is_due() && !debt.listed {
            debt.listed = true;
            self.creditors.add(&self.debt);
        }
        self.debt.set(debt);
    }

    /// How many of `n` bytes a write may try, or `None` if it is to wait.
    fn writable(&mut self, n: usize) -> Option<usize> {
        if !self.is_full && self.writing.chance(self.faults.would_block) {
            self.update_debt(|debt| debt.write = true);
            return None;
        }
        Some(if self.faults.short_write { n.min(self.writing.size()) } else { n })
    }

    /// How many of `n` bytes a read may try, or `None` if it is to wait.
    fn readable(&mut self, n: usize) -> Option<usize> {
        if self.reading.chance(self.faults.would_block) {
            self.update_debt(|debt| debt.read = true);
            return None;
        }
        Some(if self.faults.short_read { n.min(self.reading.size()) } else { n })
    }
}

impl<S: Socket> Socket for TorturedSocket<S> {
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

    fn hold_unsent(&mut self, deeply: bool) -> io::Result<bool> {
        self.socket.hold_unsent(deeply)
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
    /// Closing with unread input resets the connection. Whoever closes because a read found nothing has made sure that
    /// there is none, so what that read hid has to go.
    fn drop(&mut self) {
        let mut reads = if self.debt.get().read && !self.broken { HIDDEN_READS_MAX } else { 0 };
        let mut hidden = [0; HIDDEN_BYTES];
        while reads > 0 && matches!(self.socket.read([&mut hidden, &mut []]), Ok(Io::Moved(_))) {
            reads -= 1;
        }
    }
}

/// What one connection must still be told, because it was made to wait without need.
#[derive(Debug, Clone, Copy, Default)]
struct Debt {
    token: Option<Token>,
    armed: Interest,
    read: bool,
    write: bool,
    /// Whether it stands in the list of those who are told at the next poll.
    listed: bool,
}

impl Debt {
    /// What is owed and asked for. The rest waits until it is asked for: turning a direction on looks again.
    fn due(&self) -> Readiness {
        Readiness {
            readable: self.read && self.armed.read,
            writable: self.write && self.armed.write,
            ..Readiness::default()
        }
    }

    fn is_due(&self) -> bool {
        self.due() != Readiness::default()
    }

    /// What to tell now. It is owed no longer.
    fn settle(&mut self) -> Option<Event> {
        let due = self.due();
        self.listed = false;
        self.read &= !due.readable;
        self.write &= !due.writable;
        let token = self.token.filter(|_| due != Readiness::default())?;
        Some(Event::Connection(token, due))
    }
}

/// The connections that are told something at the next poll, in the order in which they were made to wait.
#[derive(Debug, Clone, Default)]
struct Creditors(Rc<RefCell<Vec<Weak<Cell<Debt>>>>>);

impl Creditors {
    fn add(&self, debt: &Rc<Cell<Debt>>) {
        self.0.borrow_mut().push(Rc::downgrade(debt));
    }

    /// Whoever has closed meanwhile is told nothing, as the kernel forgets a closed socket.
    fn repay(&self, events: &mut Vec<Event>) {
        for debt in self.0.borrow_mut().drain(..).filter_map(|debt| debt.upgrade()) {
            let mut now = debt.get();
            events.extend(now.settle());
            debt.set(now);
        }
    }
}

#[cfg(test)]
mod tests;
