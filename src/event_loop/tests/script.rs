//! A reactor that does what a test says: it reports the events it was given, accepts who was queued, and counts what it is
//! asked. Time stands still unless the test moves it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

use crate::base::accept_queue::AcceptQueue;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::slots::Token;
use crate::net::{Event, Interest, Io, PeerProgress, Reactor, Readiness, Socket};

/// The clock of a scripted world. Its wall clock began in 1970 with it.
#[derive(Clone)]
pub struct Clock {
    start: Instant,
    now: Rc<Cell<Instant>>,
}

impl Clock {
    fn new() -> Clock {
        let start = Instant::now();
        Clock { start, now: Rc::new(Cell::new(start)) }
    }

    pub fn now(&self) -> Instant {
        self.now.get()
    }

    pub fn pass(&self, time: Duration) {
        self.now.update(|now| now + time);
    }
}

pub struct ScriptedReactor {
    pub clock: Clock,
    /// The clock as it was at the last poll.
    now: Instant,
    /// What the next poll reports.
    pub events: Vec<Event>,
    /// How long each poll was to last at most.
    pub polls: Vec<Option<Duration>>,
    /// What the kernel was asked to report, in order.
    pub arms: Vec<(Token, Interest)>,
    /// How often each listener was asked for a connection.
    pub accepts: Vec<usize>,
    /// The listeners that are open, by their places.
    pub open: Vec<usize>,
    /// Whether the kernel watches no connection any more.
    pub refuses_arms: bool,
    /// Whose sockets were written to, in order.
    pub written: Rc<RefCell<Vec<Token>>>,
    roles: Vec<ListenerRole>,
    /// What accepting gives, listener by listener; nothing when the queue is empty.
    queues: Vec<VecDeque<io::Result<ScriptedSocket>>>,
    /// The backlog and what was dropped so far, of every listener, if the kernel tells of accept queues.
    pub backlog: Option<(u32, u32)>,
    /// How often the kernel was asked about an accept queue.
    pub questions: Vec<usize>,
    /// Connections that the server has begun, in order, which nobody has answered yet.
    begun: VecDeque<(SocketAddr, Client)>,
    /// Why no connection can be begun, if so.
    pub no_socket: Option<Errno>,
}

impl ScriptedReactor {
    pub fn new(roles: &[ListenerRole]) -> ScriptedReactor {
        let clock = Clock::new();
        ScriptedReactor {
            now: clock.now(),
            clock,
            events: Vec::new(),
            polls: Vec::new(),
            arms: Vec::new(),
            accepts: vec![0; roles.len()],
            open: (0..roles.len()).collect(),
            refuses_arms: false,
            written: Rc::default(),
            roles: roles.to_vec(),
            queues: roles.iter().map(|_| VecDeque::new()).collect(),
            backlog: None,
            questions: Vec::new(),
            begun: VecDeque::new(),
            no_socket: None,
        }
    }

    /// The oldest connection that the server has begun and that was not taken from here: where it leads to, and the other end.
    pub fn take_begun(&mut self) -> Option<(SocketAddr, Client)> {
        self.begun.pop_front()
    }

    /// A connection that the server has begun is there: the next poll says so.
    pub fn establish(&mut self, client: &Client) {
        client.0.borrow_mut().is_connecting = false;
        self.report(client, Readiness { writable: true, ..Readiness::default() });
    }

    /// A connection that the server has begun comes to nothing: the next poll says so.
    pub fn fail(&mut self, client: &Client, kind: io::ErrorKind) {
        client.0.borrow_mut().failed = Some(kind);
        self.report(client, Readiness { readable: true, writable: true, hung_up: true, failed: true });
    }

    /// Who waits to be accepted has gone, and nobody is told.
    pub fn forget_queue(&mut self, listener: usize) {
        self.queues[listener].clear();
    }

    /// A client connects to the listener at this place: the next poll says so.
    pub fn connect(&mut self, listener: usize) -> Client {
        let client = Client::default();
        let (wire, written, clock) = (Rc::clone(&client.0), Rc::clone(&self.written), self.clock.clone());
        let socket = ScriptedSocket { wire, written, clock };
        self.queues[listener].push_back(Ok(socket));
        self.events.push(Event::Listener(ListenerId::new(listener as u32)));
        client
    }

    /// The next accept of this listener fails, before anybody who is queued from now on.
    pub fn fail_accept(&mut self, listener: usize, error: io::Error) {
        self.queues[listener].push_back(Err(error));
    }

    /// The client sends bytes: the next poll says so.
    pub fn send(&mut self, client: &Client, text: &str) {
        self.send_bytes(client, text);
    }

    /// The same with what may be no text.
    pub fn send_bytes(&mut self, client: &Client, bytes: impl AsRef<[u8]>) {
        client.0.borrow_mut().to_server.extend(bytes.as_ref());
        self.report(client, Readiness { readable: true, ..Readiness::default() });
    }

    /// The client ends its direction: the next poll says so.
    pub fn end(&mut self, client: &Client) {
        client.end_silently();
        self.report(client, Readiness { readable: true, hung_up: true, ..Readiness::default() });
    }

    /// The client resets the connection: the next poll says so.
    pub fn reset(&mut self, client: &Client) {
        self.fail(client, io::ErrorKind::ConnectionReset);
    }

    /// The client reads, so that so many bytes more can be written: the next poll says so.
    pub fn make_room(&mut self, client: &Client, bytes: usize) {
        client.make_room_silently(bytes);
        self.report(client, Readiness { writable: true, ..Readiness::default() });
    }

    fn report(&mut self, client: &Client, readiness: Readiness) {
        if let Some(token) = client.token() {
            self.events.push(Event::Connection(token, readiness));
        }
    }
}

/// A client, as the test holds it.
#[derive(Default)]
pub struct Client(Rc<RefCell<Wire>>);

/// What lies between a client and the server.
#[derive(Default)]
struct Wire {
    to_server: VecDeque<u8>,
    ended: bool,
    /// The server has begun the connection, and it is not there yet.
    is_connecting: bool,
    /// It is broken, for this reason.
    failed: Option<io::ErrorKind>,
    to_client: Vec<u8>,
    /// How many bytes can be written; without bound, if this is `None`.
    room: Option<usize>,
    /// How many bytes the client's kernel has acknowledged, if that is told.
    acknowledged: Option<u64>,
    /// How long its window was shut, as it would tell.
    window_was_shut: Duration,
    /// For how long the client has answered nothing, if it should have.
    silent_for: Option<Duration>,
    /// How long each read takes.
    read_takes: Duration,
    /// The most bytes that a read gives, if there is such a limit.
    read_bytes_max: Option<usize>,
    calls: Calls,
    /// What was said of unsent bytes: whether the kernel may hold as many as it likes.
    holds: Vec<bool>,
    /// The server's name for the connection, once it has been armed.
    token: Option<Token>,
    closed: bool,
}

impl Wire {
    fn error(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// The kernel tells an error once. What is read afterwards ends.
    fn take_error(&mut self) -> io::Result<()> {
        let error = self.error();
        self.ended |= self.failed.take().is_some();
        error
    }
}

/// How often the server has asked something of a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    pub reads: usize,
    pub writes: usize,
    /// Writes that said that more follows at once.
    pub unfinished: usize,
    pub sendfiles: usize,
    pub shutdowns: usize,
    pub aborts: usize,
    /// How often an acknowledgement was to be sent at once.
    pub acknowledgements: usize,
}

impl Client {
    /// What has arrived since the last call.
    pub fn received(&self) -> String {
        String::from_utf8(self.received_bytes()).unwrap()
    }

    /// What has arrived since the last call, which may be no text.
    pub fn received_bytes(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().to_client)
    }

    /// The status codes that have arrived since the last call.
    pub fn statuses(&self) -> Vec<u16> {
        let received = self.received();
        received.split("HTTP/1.1 ").skip(1).map(|response| response[..3].parse().unwrap()).collect()
    }

    pub fn token(&self) -> Option<Token> {
        self.0.borrow().token
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }

    /// From now on only so many bytes can be written.
    pub fn limit_room(&self, bytes: usize) {
        self.0.borrow_mut().room = Some(bytes);
    }

    /// The client reads, and nobody is told.
    pub fn make_room_silently(&self, bytes: usize) {
        let mut wire = self.0.borrow_mut();
        wire.room = wire.room.map(|room| room + bytes);
    }

    /// There is a FIN that nobody has been told of.
    pub fn end_silently(&self) {
        self.0.borrow_mut().ended = true;
    }

    /// There are bytes that nobody has been told of.
    pub fn send_silently(&self, bytes: &str) {
        self.0.borrow_mut().to_server.extend(bytes.as_bytes());
    }

    /// How many bytes the server has not read yet.
    pub fn unread(&self) -> usize {
        self.0.borrow().to_server.len()
    }

    /// From now on each read takes so many milliseconds.
    pub fn slow_down_reads(&self, ms: u64) {
        self.0.borrow_mut().read_takes = Duration::from_millis(ms);
    }

    /// From now on each read stops short after so many bytes.
    pub fn stop_reads_after(&self, bytes: usize) {
        self.0.borrow_mut().read_bytes_max = Some(bytes);
    }

    /// The kernel tells that the client's kernel has so many bytes.
    pub fn acknowledge(&self, bytes: u64) {
        self.0.borrow_mut().acknowledged = Some(bytes);
    }

    /// The kernel tells that the client has answered nothing for so long, and should have.
    pub fn fall_silent(&self, time: Duration) {
        self.0.borrow_mut().silent_for = Some(time);
    }

    /// The kernel tells that the client's window was shut for so long.
    pub(super) fn shut_window(&self, time: Duration) {
        self.0.borrow_mut().window_was_shut = time;
    }

    /// Each time the server has said whether the kernel may hold as many unsent bytes as it likes: what it has said.
    pub fn holds(&self) -> Vec<bool> {
        self.0.borrow().holds.clone()
    }

    /// How often the server has asked something of the socket since the last call.
    pub fn calls(&self) -> Calls {
        std::mem::take(&mut self.0.borrow_mut().calls)
    }
}

/// The server's end of a connection. There is always room to write, unless the test has limited it.
pub struct ScriptedSocket {
    wire: Rc<RefCell<Wire>>,
    written: Rc<RefCell<Vec<Token>>>,
    clock: Clock,
}

impl ScriptedSocket {
    /// How many of `asked` bytes can be written; they are.
    fn write_some(&mut self, asked: usize) -> usize {
        let mut wire = self.wire.borrow_mut();
        let n = wire.room.map_or(asked, |room| room.min(asked));
        wire.room = wire.room.map(|room| room - n);
        self.written.borrow_mut().extend(wire.token.filter(|_| n > 0));
        n
    }
}

impl Drop for ScriptedSocket {
    fn drop(&mut self) {
        self.wire.borrow_mut().closed = true;
    }
}

impl Socket for ScriptedSocket {
    fn read(&mut self, [front, back]: [&mut [u8]; 2]) -> io::Result<Io> {
        let mut wire = self.wire.borrow_mut();
        wire.calls.reads += 1;
        self.clock.pass(wire.read_takes);
        let asked = front.len() + back.len();
        let n = asked.min(wire.to_server.len()).min(wire.read_bytes_max.unwrap_or(asked));
        for (byte, place) in wire.to_server.drain(..n).zip(front.iter_mut().chain(back)) {
            *place = byte;
        }
        Ok(match n {
            0 if wire.ended => Io::Eof,
            0 if wire.failed.is_some() => return wire.take_error().map(|()| Io::Eof),
            0 => Io::WouldBlock,
            n if n < asked => Io::Drained(n),
            n => Io::Moved(n),
        })
    }

    fn write(&mut self, [front, back]: [&[u8]; 2], more: bool) -> io::Result<Io> {
        if self.wire.borrow().is_connecting {
            return self.wire.borrow().error().map(|()| Io::WouldBlock);
        }
        let n = self.write_some(front.len() + back.len());
        let mut wire = self.wire.borrow_mut();
        wire.calls.writes += 1;
        wire.calls.unfinished += usize::from(more);
        wire.to_client.extend(front.iter().chain(back).take(n));
        Ok(if n == 0 { Io::WouldBlock } else { Io::Moved(n) })
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Io> {
        let mut bytes = vec![0; count];
        let there = file.read_at(&mut bytes, offset)?;
        let n = self.write_some(there);
        let mut wire = self.wire.borrow_mut();
        wire.calls.sendfiles += 1;
        wire.to_client.extend(&bytes[..n]);
        Ok(match n {
            _ if there == 0 => Io::Eof,
            0 => Io::WouldBlock,
            n => Io::Moved(n),
        })
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.wire.borrow_mut().calls.shutdowns += 1;
        Ok(())
    }

    fn take_error(&mut self) -> io::Result<()> {
        self.wire.borrow_mut().take_error()
    }

    fn abort_on_close(&mut self) -> io::Result<()> {
        self.wire.borrow_mut().calls.aborts += 1;
        Ok(())
    }

    fn acknowledge(&mut self) -> io::Result<bool> {
        self.wire.borrow_mut().calls.acknowledgements += 1;
        Ok(true)
    }

    fn hold_unsent(&mut self, without_bound: bool) -> io::Result<bool> {
        self.wire.borrow_mut().holds.push(without_bound);
        Ok(true)
    }

    fn unread(&self) -> io::Result<u64> {
        Ok(self.wire.borrow().to_server.len() as u64)
    }

    fn peer_progress(&self) -> Option<io::Result<PeerProgress>> {
        let Wire { acknowledged, window_was_shut, silent_for, .. } = *self.wire.borrow();
        acknowledged.map(|acknowledged| Ok(PeerProgress { acknowledged, window_was_shut, silent_for }))
    }
}

impl Reactor for ScriptedReactor {
    type Socket = ScriptedSocket;
    type Listener = ();

    fn now(&self) -> Instant {
        self.now
    }

    fn origin(&self) -> Instant {
        self.clock.start
    }

    fn clock(&self) -> Moment {
        Moment::new(self.clock.start, self.clock.now())
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + (self.clock.now() - self.clock.start)
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.now = self.clock.now();
        self.polls.push(timeout);
        events.append(&mut self.events);
        Ok(())
    }

    fn listeners(&self) -> Vec<(ListenerId, ListenerRole)> {
        self.open.iter().map(|place| (ListenerId::new(*place as u32), self.roles[*place])).collect()
    }

    fn open_listener(&mut self, (): (), role: ListenerRole) -> io::Result<ListenerId> {
        let place = self.roles.len();
        self.roles.push(role);
        self.queues.push(VecDeque::new());
        self.accepts.push(0);
        self.open.push(place);
        Ok(ListenerId::new(place as u32))
    }

    fn set_role(&mut self, listener: ListenerId, role: ListenerRole) {
        self.roles[listener.number() as usize] = role;
    }

    /// Whoever waits in its queue is reset.
    fn close_listener(&mut self, listener: ListenerId) {
        let place = listener.number() as usize;
        self.open.retain(|open| *open != place);
        self.queues[place].clear();
    }

    fn accept(&mut self, listener: ListenerId) -> io::Result<Option<(ScriptedSocket, Peer)>> {
        let listener = listener.number() as usize;
        self.accepts[listener] += 1;
        let next = self.queues[listener].pop_front();
        next.transpose().map(|socket| socket.map(|socket| (socket, Peer::Unix)))
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<ScriptedSocket> {
        if let Some(errno) = self.no_socket {
            return Err(io::Error::from_raw_os_error(errno.raw_os_error()));
        }
        let client = Client::default();
        client.0.borrow_mut().is_connecting = true;
        let (wire, written, clock) = (Rc::clone(&client.0), Rc::clone(&self.written), self.clock.clone());
        self.begun.push_back((address, client));
        Ok(ScriptedSocket { wire, written, clock })
    }

    fn accept_queue(&mut self, listener: ListenerId) -> io::Result<AcceptQueue> {
        let listener = listener.number() as usize;
        self.questions.push(listener);
        let (limit, drops) =
            self.backlog.filter(|_| self.open.contains(&listener)).ok_or(io::ErrorKind::Unsupported)?;
        Ok(AcceptQueue { depth: self.queues[listener].len() as u32, limit, drops: Some(drops) })
    }

    fn arm(
        &mut self,
        socket: &mut ScriptedSocket,
        token: Token,
        from: Option<Interest>,
        to: Interest,
    ) -> io::Result<()> {
        if self.refuses_arms {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.arms.push((token, to));
        let mut wire = socket.wire.borrow_mut();
        wire.token = Some(token);
        let turned_on = |is_on: fn(Interest) -> bool| is_on(to) && !from.is_some_and(is_on);
        // What is there already is reported now, if it was not asked for before.
        let readable = turned_on(|interest| interest.read) && (!wire.to_server.is_empty() || wire.ended);
        let writable = turned_on(|interest| interest.write) && wire.room != Some(0) && !wire.is_connecting;
        if readable || writable {
            let readiness = Readiness { readable, writable, hung_up: wire.ended, failed: false };
            self.events.push(Event::Connection(token, readiness));
        }
        Ok(())
    }
}
