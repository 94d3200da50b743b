//! The world outside: sockets, readiness and clocks. This is the only layer that names mio, socket2 and the operating
//! system's network; the rest of the server is generic over [`Reactor`] and also runs in a simulated world.

pub mod capture;
pub mod dns;
pub mod listen_counters;
pub mod listener;
pub mod listener_changes;
pub mod marks;
pub mod mio_reactor;
mod outgoing;
pub mod passed;
pub mod sock_diag;
pub mod stream;
pub mod tls;
pub mod torture;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::base::accept_queue::AcceptQueue;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::slots::Token;
use capture::CaptureCounts;

/// What one read or write did. There is no `Ok(0)` to guess at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Io {
    /// So many bytes moved (at least one), and more may move at once.
    Moved(usize),
    /// So many bytes were read (at least one), and the kernel has no more **unless the peer's hang-up was reported**:
    /// data and FIN share one event.
    Drained(usize),
    /// Nothing moved; an event will tell when it is worth another try.
    WouldBlock,
    /// Reads: the peer has ended its direction. Sending a file: the file ends here.
    Eof,
}

/// How far the peer's kernel has taken what was written to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerProgress {
    /// The bytes that it has acknowledged since the connection began.
    pub acknowledged: u64,
    /// How long its window was shut while there was something to send, since the connection began.
    pub window_was_shut: Duration,
    /// For how long it has answered nothing, if it should have.
    pub silent_for: Option<Duration>,
}

/// One accepted connection's byte stream, never blocking. `Interrupted` is dealt with inside.
pub trait Socket {
    /// Reads into the free space given, front slice first. At least one slice is not empty.
    fn read(&mut self, space: [&mut [u8]; 2]) -> io::Result<Io>;

    /// Writes from the bytes given, front slice first. At least one slice is not empty. Never `Drained`, never `Eof`.
    ///
    /// `more` says that a file follows at once, so that the kernel may wait for it and put both into one packet. Where
    /// it does not know how, it is not told.
    fn write(&mut self, bytes: [&[u8]; 2], more: bool) -> io::Result<Io>;

    /// Sends up to `count` bytes (at least one) of `file`, from `offset` on, without moving the file's position. Fewer
    /// may be sent. `Eof`: the file has no byte at `offset` (any more). Never `Drained`.
    ///
    /// This waits for the disk if the bytes are not in memory (`base::disk::OpenFile::is_resident`).
    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Io>;

    /// Ends our direction: the peer reads everything written so far and then the end (`shutdown(SHUT_WR)`).
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// The error that has befallen the connection, if one has: for when neither reading nor writing would tell.
    fn take_error(&mut self) -> io::Result<()>;

    /// Makes the coming close abortive: what the kernel still holds is thrown away and the peer gets a reset, so that
    /// a peer that reads nothing costs no kernel memory afterwards.
    fn abort_on_close(&mut self) -> io::Result<()>;

    /// Has the kernel acknowledge at once what was read, which it may put off otherwise (RFC 1122 §4.2.3.2). Says whether that took
    /// a system call.
    fn acknowledge(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    /// `without_bound`: the kernel may hold as many unsent bytes as it likes, so that it makes full packets of bulk.
    /// Otherwise the usual bound holds. Says whether that took a system call.
    fn hold_unsent(&mut self, _without_bound: bool) -> io::Result<bool> {
        Ok(false)
    }

    /// How far the peer's kernel has taken what was written; `None` if ours cannot be asked. To ask takes several system calls:
    /// it is for a peer that seems not to read.
    fn peer_progress(&self) -> Option<io::Result<PeerProgress>> {
        None
    }

    /// How many bytes have arrived and were not read yet; 0 if the kernel cannot be asked. This is a system call.
    fn unread(&self) -> io::Result<u64> {
        Ok(0)
    }

    /// Marks under which number the connection is known, for whoever records what it reads and writes.
    fn on_named(&mut self, _id: u64) {}

    /// Our end's address, if it has one and the kernel tells.
    fn local_address(&self) -> Option<SocketAddr> {
        None
    }
}

/// What we ask the kernel to tell us about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// Tell when there is something to read, or the peer hung up.
    pub read: bool,
    /// Tell when there is room to write.
    pub write: bool,
}

impl Interest {
    /// Nothing but errors, which are always told: a peer that resets the connection is noticed.
    pub const NONE: Interest = Interest { read: false, write: false };
    /// Reading only; what every new connection starts with.
    pub const READ: Interest = Interest { read: true, write: false };
}

/// What an event said about a connection. A hint: only the result of a read or write changes state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// A read may move something, or report an end or an error.
    pub readable: bool,
    /// A write may move something, or report an error.
    pub writable: bool,
    /// The peer has ended its direction (RDHUP, HUP): a drained read is not the end of what there is to read.
    pub hung_up: bool,
    /// The connection has failed, or so it seems: `Socket::take_error` knows.
    pub failed: bool,
}

/// A request from outside the event loop, by signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// TERM, QUIT: finish what is in flight, then stop.
    Terminate,
    /// INT: as TERM; a second one stops at once.
    Interrupt,
    /// USR1: begin the access log anew, where it is now to be found.
    Reopen,
    /// HUP: read the files of TLS anew.
    Reload,
}

/// One thing that happened while the loop slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A connection may be able to go on.
    Connection(Token, Readiness),
    /// A listener has connections to accept.
    Listener(ListenerId),
    /// Somebody left a wake (`base::wake`).
    Wake,
    /// A signal arrived.
    Signal(Signal),
}

/// The kernel as the event loop sees it: edge-triggered readiness, a clock, listeners.
pub trait Reactor {
    /// An accepted connection.
    type Socket: Socket;

    /// What may become one of its listeners.
    type Listener;

    /// The monotonic time, read when the last `poll` returned. It does not move during a turn.
    fn now(&self) -> Instant;

    /// When its moments begin.
    fn origin(&self) -> Instant;

    /// The same time as `now`, as a moment.
    fn moment(&self) -> Moment {
        Moment::new(self.origin(), self.now())
    }

    /// The monotonic time, read when called: for measuring the loop itself, never for deciding anything.
    fn clock(&self) -> Moment;

    /// The CPU time that this thread has used so far, read when called: next to `clock` it tells whether the thread worked
    /// or waited for a core. This is a system call. Zero where there is no such clock.
    fn cpu_time(&self) -> Duration {
        Duration::ZERO
    }

    /// The wall clock, read when called.
    fn wall(&self) -> SystemTime;

    /// Waits until something happens or `timeout` is over (`None`: without end), and adds what happened to `events`.
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// The listeners that are open, in the order in which they were opened, and what each is for.
    fn listeners(&self) -> Vec<(ListenerId, ListenerRole)>;

    /// Takes another listener. Events tell of connections to it, also of those that wait in its queue already.
    ///
    /// # Errors
    /// The kernel's.
    fn open_listener(&mut self, listener: Self::Listener, role: ListenerRole) -> io::Result<ListenerId>;

    /// A listener is for something else from now on.
    fn set_role(&mut self, listener: ListenerId, role: ListenerRole);

    /// Closes a listener, if it is open. Connections that nobody accepted are refused.
    fn close_listener(&mut self, listener: ListenerId);

    /// Takes one connection off a listener's queue; `None` when the queue is empty, or the listener is closed. An error of
    /// `is_out_of_descriptors` means the queue was left as it is and no further event will come for it.
    fn accept(&mut self, listener: ListenerId) -> io::Result<Option<(Self::Socket, Peer)>>;

    /// Begins a connection to this address. An event about it tells that it is there, or that it has failed.
    ///
    /// # Errors
    /// The kernel's, if it knows at once that there will be none; [`io::ErrorKind::Unsupported`] if there are no connections
    /// outwards. After an error of `is_out_of_descriptors` a later try may succeed.
    fn connect(&mut self, _address: SocketAddr) -> io::Result<Self::Socket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Where a listener listens, in words. It must be open.
    fn address(&self, listener: ListenerId) -> String {
        listener.to_string()
    }

    /// A listener's accept queue just now. To ask takes two system calls and never waits.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::Unsupported`] if it cannot be asked.
    fn accept_queue(&mut self, _listener: ListenerId) -> io::Result<AcceptQueue> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// How much was captured of what connections read and write, if it is.
    fn captured(&self) -> Option<CaptureCounts> {
        None
    }

    /// Begins the file of the capture anew, if there is one.
    fn reopen_capture(&mut self) {}

    /// Changes what is asked of the kernel about a connection; `from` is `None` the first time. Turning a direction on
    /// reports it again if it is ready already, so no edge is lost between two calls.
    fn arm(&mut self, socket: &mut Self::Socket, token: Token, from: Option<Interest>, to: Interest) -> io::Result<()>;
}

/// Whether accepting failed because this process or the system has no descriptor or memory left for another socket
/// (EMFILE, ENFILE, ENOBUFS, ENOMEM).
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].iter().any(|errno| code == Some(errno.raw_os_error()))
}
