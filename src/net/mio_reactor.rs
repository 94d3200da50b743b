//! The real world: mio's edge-triggered selector (epoll, kqueue), the system's clocks, sockets and signals.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::net::TcpStream;
use mio::{Events, Poll, Waker};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals;

use super::capture::{CaptureCounts, Tap};
use super::listener::Listener;
use super::sock_diag::{ListenerKey, QueueReader};
use super::stream::Stream;
use super::torture::{Faults, Torture};
use super::{Event, Interest, Reactor, Readiness, Signal, outgoing};
use crate::base::accept_queue::AcceptQueue;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::slots::Token;
use crate::base::wake::Interrupt;

/// Events taken from the kernel in one call; what is left comes with the next.
const EVENTS_PER_POLL: usize = 1024;

/// The kernel, through mio.
///
/// Set up: [`new`](MioReactor::new), [`watch_signals`](MioReactor::watch_signals), [`waker`](MioReactor::waker), and
/// perhaps [`torture`](MioReactor::torture). The rest is the [`Reactor`].
pub struct MioReactor {
    poll: Poll,
    happened: Events,
    /// In the order of their numbers.
    listeners: Vec<Entry>,
    /// How many listeners have been opened so far.
    opened: u32,
    waker: Arc<Waker>,
    signals: Option<Signals>,
    /// When the last poll returned.
    moment: Moment,
    /// When moments begin, on both clocks.
    origin: Instant,
    origin_nanos: u64,
    /// In a box, because few servers have it, and so others pay one question for all of it.
    between: Option<Box<Between>>,
    /// For questions about accept queues, if the kernel takes any.
    queues: io::Result<QueueReader>,
}

/// A listener and what it is for.
struct Entry {
    id: ListenerId,
    listener: Listener,
    role: ListenerRole,
    address: String,
    key: io::Result<ListenerKey>,
    /// The number by which a capture knows it, if there is one and the listener is for everyone.
    interface: usize,
}

impl Entry {
    fn new(id: ListenerId, listener: Listener, role: ListenerRole) -> Entry {
        let address = listener.local_address().to_string();
        Entry { id, key: listener.key(), address, listener, role, interface: 0 }
    }

    fn join(&mut self, tap: Option<&Tap>) {
        if let Some(tap) = tap.filter(|_| self.role.is_for_everyone()) {
            self.interface = tap.interface(self.listener.interface(self.role));
        }
    }
}

impl MioReactor {
    /// A reactor that waits for connections on `listeners`, each with its role. They are numbered from 0 on.
    pub fn new(listeners: Vec<(Listener, ListenerRole)>) -> io::Result<MioReactor> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Origin::Waker.pack())?);
        let happened = Events::with_capacity(EVENTS_PER_POLL);
        let mut reactor = MioReactor {
            poll,
            happened,
            listeners: Vec::new(),
            opened: 0,
            waker,
            signals: None,
            moment: Moment::default(),
            origin: Instant::now(),
            origin_nanos: monotonic_nanos(),
            between: None,
            queues: QueueReader::open(),
        };
        for (listener, role) in listeners {
            reactor.open_listener(listener, role)?;
        }
        Ok(reactor)
    }

    /// From now on signals are events and no longer end the process. HUP and USR2 are kept for purposes to come; until
    /// then they are logged. (PIPE is ignored already: Rust programs start that way.)
    pub fn watch_signals(&mut self) -> io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGQUIT, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
        self.poll.registry().register(&mut signals, Origin::Signals.pack(), mio::Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// From now on accepted connections are tortured.
    pub fn torture(&mut self, faults: Faults) {
        self.between.get_or_insert_default().torture = Some(Torture::new(faults));
    }

    /// From now on what connections read and write is recorded, those to upstreams too. Those of the admin are not.
    pub fn capture(&mut self, tap: Tap) {
        self.listeners.iter_mut().for_each(|entry| entry.join(Some(&tap)));
        self.between.get_or_insert_default().capture = Some(tap);
    }

    /// A handle that makes `poll` return with [`Event::Wake`], from any thread.
    pub fn waker(&self) -> PollWaker {
        PollWaker(Arc::clone(&self.waker))
    }

    fn tap(&self) -> Option<&Tap> {
        self.between.as_ref()?.capture.as_ref()
    }

    /// The listeners that are open, in the order of their numbers.
    pub fn bound(&self) -> impl Iterator<Item = (ListenerId, &Listener)> {
        self.listeners.iter().map(|entry| (entry.id, &entry.listener))
    }

    /// An open listener.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.place_of(id).map(|place| &self.listeners[place].listener)
    }

    fn place_of(&self, id: ListenerId) -> Option<usize> {
        self.listeners.binary_search_by_key(&id, |entry| entry.id).ok()
    }
}

/// What stands between the kernel and the loop.
#[derive(Default)]
struct Between {
    torture: Option<Torture>,
    /// Where to record what connections read and write.
    capture: Option<Tap>,
}

impl Between {
    /// An accepted connection as the loop gets it. What is recorded is what the kernel has done, torture or not.
    #[cold]
    fn enter(&mut self, stream: Stream, peer: Peer, interface: usize, role: ListenerRole) -> Stream {
        let stream = match &self.capture {
            Some(tap) if role.is_for_everyone() => {
                Stream::Captured(Box::new(tap.capture(stream, peer, interface, role)))
            }
            _ => stream,
        };
        self.torture(stream)
    }

    /// The same for a connection to the upstream at this `address`.
    #[cold]
    fn leave(&mut self, stream: Stream, address: SocketAddr) -> Stream {
        let stream = match &self.capture {
            Some(tap) => Stream::Captured(Box::new(tap.capture_upstream(stream, address))),
            None => stream,
        };
        self.torture(stream)
    }

    fn torture(&mut self, stream: Stream) -> Stream {
        match &mut self.torture {
            None => stream,
            Some(torture) => Stream::Tortured(Box::new(torture.accept(stream))),
        }
    }

    /// Before each poll, as [`Torture::report_pending`].
    #[cold]
    fn end_turn(&self, timeout: Option<Duration>, events: &mut Vec<Event>) -> Option<Duration> {
        if let Some(tap) = &self.capture {
            tap.end_turn();
        }
        self.torture.as_ref().map_or(timeout, |torture| torture.report_pending(timeout, events))
    }
}

impl Reactor for MioReactor {
    type Socket = Stream;
    type Listener = Listener;

    fn now(&self) -> Instant {
        self.origin + self.moment.since(Moment::default())
    }

    fn origin(&self) -> Instant {
        self.origin
    }

    fn moment(&self) -> Moment {
        self.moment
    }

    fn clock(&self) -> Moment {
        Moment::from_nanos(monotonic_nanos().saturating_sub(self.origin_nanos))
    }

    fn cpu_time(&self) -> Duration {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    #[inline]
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = self.between.as_ref().map_or(timeout, |between| between.end_turn(timeout, events));
        // mio rounds the timeout up to whole milliseconds: rounded down, the loop would wake before its deadline is
        // due and spin until it is.
        let polled = self.poll.poll(&mut self.happened, timeout);
        self.moment = self.clock();
        match polled {
            // A signal; its own event is in the next batch.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &self.happened {
            match Origin::unpack(event.token()) {
                Origin::Connection(token) => events.push(Event::Connection(token, readiness(event))),
                Origin::Listener(id) => events.push(Event::Listener(id)),
                Origin::Waker => events.push(Event::Wake),
                Origin::Signals => {
                    events.extend(self.signals.iter_mut().flat_map(Signals::pending).filter_map(meaning))
                }
            }
        }
        Ok(())
    }

    fn listeners(&self) -> Vec<(ListenerId, ListenerRole)> {
        self.listeners.iter().map(|entry| (entry.id, entry.role)).collect()
    }

    fn open_listener(&mut self, mut listener: Listener, role: ListenerRole) -> io::Result<ListenerId> {
        let id = ListenerId::new(self.opened);
        self.poll.registry().register(listener.source(), Origin::Listener(id).pack(), mio::Interest::READABLE)?;
        self.opened += 1;
        let mut entry = Entry::new(id, listener, role);
        entry.join(self.tap());
        self.listeners.push(entry);
        Ok(id)
    }

    fn set_role(&mut self, listener: ListenerId, role: ListenerRole) {
        let tap = self.tap().cloned();
        if let Some(place) = self.place_of(listener) {
            let entry = &mut self.listeners[place];
            entry.role = role;
            entry.join(tap.as_ref());
        }
    }

    fn close_listener(&mut self, listener: ListenerId) {
        if let Some(place) = self.place_of(listener) {
            self.listeners.remove(place);
        }
    }

    fn address(&self, listener: ListenerId) -> String {
        self.place_of(listener).map_or_else(|| listener.to_string(), |place| self.listeners[place].address.clone())
    }

    fn accept_queue(&mut self, listener: ListenerId) -> io::Result<AcceptQueue> {
        let again = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
        let place = self.place_of(listener).ok_or(ErrorKind::NotFound)?;
        let key = self.listeners[place].key.as_ref().map_err(again)?;
        match &mut self.queues {
            Ok(reader) => reader.read(*key),
            Err(error) => Err(again(error)),
        }
    }

    fn captured(&self) -> Option<CaptureCounts> {
        self.tap().map(Tap::counts)
    }

    fn reopen_capture(&mut self) {
        if let Some(tap) = self.tap() {
            tap.reopen();
        }
    }

    fn accept(&mut self, id: ListenerId) -> io::Result<Option<(Stream, Peer)>> {
        // An event of this batch may name a listener that has been closed since.
        let Some(place) = self.place_of(id) else { return Ok(None) };
        let Entry { listener, role, interface, .. } = &self.listeners[place];
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let stream = match &mut self.between {
                        None => stream,
                        Some(between) => between.enter(stream, peer, *interface, *role),
                    };
                    return Ok(Some((stream, peer)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                // Each of these takes one connection off the queue, or is an interruption: the loop ends.
                Err(error) if concerns_one_connection(&error) => continue,
                Err(error) => return Err(error),
            }
        }
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<Stream> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        outgoing::hold_unsent(&socket, false)?;
        let stream = Stream::Tcp(socket);
        Ok(match &mut self.between {
            None => stream,
            Some(between) => between.leave(stream, address),
        })
    }

    fn arm(&mut self, socket: &mut Stream, connection: Token, from: Option<Interest>, to: Interest) -> io::Result<()> {
        let (registry, token) = (self.poll.registry(), Origin::Connection(connection).pack());
        match from {
            None => registry.register(socket.source(), token, asked(to)),
            Some(from) if from == to => Ok(()),
            Some(_) => registry.reregister(socket.source(), token, asked(to)),
        }?;
        if let Stream::Tortured(socket) = socket {
            socket.on_armed(connection, to);
        }
        Ok(())
    }
}

/// The monotonic clock in nanoseconds. To subtract two `Instant`s takes more instructions than to read it.
fn monotonic_nanos() -> u64 {
    let nanos = |time: TimeSpec| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
    // The kernel has this clock: it is the one that `Instant` reads.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, nanos)
}

fn asked(interest: Interest) -> mio::Interest {
    match (interest.read, interest.write) {
        (false, false) => ERRORS_ONLY,
        (true, false) => mio::Interest::READABLE,
        (false, true) => mio::Interest::WRITABLE,
        (true, true) => mio::Interest::READABLE | mio::Interest::WRITABLE,
    }
}

/// A connection of which we ask nothing is registered for urgent data, which we ignore. So epoll knows it, and always
/// reports errors. On systems without such an interest it is registered for input; events about that do no harm.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ERRORS_ONLY: mio::Interest = mio::Interest::PRIORITY;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const ERRORS_ONLY: mio::Interest = mio::Interest::READABLE;

/// An end or an error is news for both directions: whichever tries next finds out what it is.
fn readiness(event: &mio::event::Event) -> Readiness {
    Readiness {
        readable: event.is_readable() || event.is_read_closed() || event.is_error(),
        writable: event.is_writable() || event.is_write_closed() || event.is_error(),
        hung_up: event.is_read_closed() || event.is_error(),
        failed: event.is_error(),
    }
}

fn meaning(signal: i32) -> Option<Event> {
    match signal {
        SIGTERM | SIGQUIT => Some(Event::Signal(Signal::Terminate)),
        SIGINT => Some(Event::Signal(Signal::Interrupt)),
        SIGHUP => Some(Event::Signal(Signal::Reload)),
        SIGUSR1 => Some(Event::Signal(Signal::Reopen)),
        _ => {
            log::info!("ignoring {}", signal_hook::low_level::signal_name(signal).unwrap_or("a signal"));
            None
        }
    }
}

/// What accept(2) reports about the connection it would have returned, or an interruption: the next one may be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    const PASSING: [Errno; 9] = [
        Errno::INTR,
        Errno::CONNABORTED,
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
    ];
    let code = error.raw_os_error();
    #[cfg(target_os = "linux")]
    if code == Some(Errno::NONET.raw_os_error()) {
        return true;
    }
    PASSING.iter().any(|errno| code == Some(errno.raw_os_error()))
}

/// Wakes a [`MioReactor`].
pub struct PollWaker(Arc<Waker>);

impl Interrupt for PollWaker {
    fn wake(&self) {
        if let Err(error) = self.0.wake() {
            log::error!("cannot wake the event loop: {error}");
        }
    }
}

/// What an event is about. In mio's token, which the kernel keeps for us, a connection's generation is in the high half
/// and its slot in the low half. A slot's index is less than the number of descriptors a process can have, which
/// is an `i32`: the top bit of the low half is never set by a connection, and tells all other tokens apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Connection(Token),
    Listener(ListenerId),
    Waker,
    Signals,
}

const NO_CONNECTION: usize = 1 << 31;
const WAKER: usize = NO_CONNECTION | 0x7FFF_FFFF;
const SIGNALS: usize = NO_CONNECTION | 0x7FFF_FFFE;

const _: () = assert!(usize::BITS == 64, "slot and generation together need a 64-bit usize");

impl Origin {
    fn pack(self) -> mio::Token {
        mio::Token(match self {
            Origin::Connection(Token { index, generation }) => {
                let index = index as usize;
                assert!(index < NO_CONNECTION, "there are no more slots than descriptors");
                (generation as usize) << 32 | index
            }
            Origin::Listener(id) => {
                let number = id.number() as usize;
                assert!(number < SIGNALS - NO_CONNECTION, "nobody opens a listener each second of 60 years");
                NO_CONNECTION | number
            }
            Origin::Waker => WAKER,
            Origin::Signals => SIGNALS,
        })
    }

    fn unpack(mio::Token(packed): mio::Token) -> Origin {
        match packed {
            WAKER => Origin::Waker,
            SIGNALS => Origin::Signals,
            _ if packed & NO_CONNECTION != 0 => Origin::Listener(ListenerId::new((packed & !NO_CONNECTION) as u32)),
            _ => Origin::Connection(Token { index: packed as u32, generation: (packed >> 32) as u32 }),
        }
    }
}

#[cfg(test)]
mod tests;
