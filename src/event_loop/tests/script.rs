//! A reactor that does what a test says: it reports the events it was given, accepts who was queued, and counts what it is
//! asked. Time stands still unless the test moves it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::slots::Token;
use crate::net::{Event, Interest, Io, ListenerId, Reactor, Readiness, Socket};

pub struct ScriptedReactor {
    pub now: Instant,
    origin: Instant,
    /// What the next poll reports.
    pub events: Vec<Event>,
    /// How long each poll was to last at most.
    pub polls: Vec<Option<Duration>>,
    /// What the kernel was asked to report, in order.
    pub arms: Vec<(Token, Interest)>,
    /// How often each listener was asked for a connection.
    pub accepts: Vec<usize>,
    pub listening: bool,
    roles: Vec<ListenerRole>,
    /// What accepting gives, listener by listener; nothing when the queue is empty.
    queues: Vec<VecDeque<io::Result<ScriptedSocket>>>,
}

impl ScriptedReactor {
    pub fn new(roles: &[ListenerRole]) -> ScriptedReactor {
        let origin = Instant::now();
        ScriptedReactor {
            now: origin,
            origin,
            events: Vec::new(),
            polls: Vec::new(),
            arms: Vec::new(),
            accepts: vec![0; roles.len()],
            listening: true,
            roles: roles.to_vec(),
            queues: roles.iter().map(|_| VecDeque::new()).collect(),
        }
    }

    /// A client connects: the next poll says so.
    pub fn connect(&mut self, listener: ListenerId) -> Client {
        let client = Client::default();
        self.queues[listener].push_back(Ok(ScriptedSocket(Rc::clone(&client.0))));
        self.events.push(Event::Listener(listener));
        client
    }

    /// The next accept of this listener fails, before anybody who is queued from now on.
    pub fn fail_accept(&mut self, listener: ListenerId, error: io::Error) {
        self.queues[listener].push_back(Err(error));
    }

    /// The client sends bytes: the next poll says so.
    pub fn send(&mut self, client: &Client, bytes: &str) {
        client.0.borrow_mut().to_server.extend(bytes.as_bytes());
        self.report_input(client, false);
    }

    /// The client ends its direction: the next poll says so.
    pub fn end(&mut self, client: &Client) {
        client.0.borrow_mut().ended = true;
        self.report_input(client, true);
    }

    fn report_input(&mut self, client: &Client, hung_up: bool) {
        if let Some(token) = client.token() {
            let readiness = Readiness { readable: true, hung_up, ..Readiness::default() };
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
    to_client: Vec<u8>,
    /// The server's name for the connection, once it has been armed.
    token: Option<Token>,
    closed: bool,
}

impl Client {
    /// What has arrived since the last call.
    pub fn received(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.borrow_mut().to_client)).unwrap()
    }

    pub fn token(&self) -> Option<Token> {
        self.0.borrow().token
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }
}

/// The server's end of a connection. There is always room to write.
pub struct ScriptedSocket(Rc<RefCell<Wire>>);

impl Drop for ScriptedSocket {
    fn drop(&mut self) {
        self.0.borrow_mut().closed = true;
    }
}

impl Socket for ScriptedSocket {
    fn read(&mut self, [front, back]: [&mut [u8]; 2]) -> io::Result<Io> {
        let mut wire = self.0.borrow_mut();
        let asked = front.len() + back.len();
        let n = asked.min(wire.to_server.len());
        for (byte, place) in wire.to_server.drain(..n).zip(front.iter_mut().chain(back)) {
            *place = byte;
        }
        Ok(match n {
            0 if wire.ended => Io::Eof,
            0 => Io::WouldBlock,
            n if n < asked => Io::Drained(n),
            n => Io::Moved(n),
        })
    }

    fn write(&mut self, [front, back]: [&[u8]; 2], _more: bool) -> io::Result<Io> {
        let mut wire = self.0.borrow_mut();
        wire.to_client.extend_from_slice(front);
        wire.to_client.extend_from_slice(back);
        Ok(Io::Moved(front.len() + back.len()))
    }

    fn send_file(&mut self, _file: &File, _offset: u64, _count: usize) -> io::Result<Io> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn take_error(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn abort_on_close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Reactor for ScriptedReactor {
    type Socket = ScriptedSocket;

    fn now(&self) -> Instant {
        self.now
    }

    fn origin(&self) -> Instant {
        self.origin
    }

    fn clock(&self) -> Moment {
        self.moment()
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.polls.push(timeout);
        events.append(&mut self.events);
        Ok(())
    }

    fn listeners(&self) -> usize {
        self.roles.len()
    }

    fn role(&self, listener: ListenerId) -> ListenerRole {
        self.roles[listener]
    }

    fn accept(&mut self, listener: ListenerId) -> io::Result<Option<(ScriptedSocket, Peer)>> {
        self.accepts[listener] += 1;
        let next = self.queues[listener].pop_front();
        next.transpose().map(|socket| socket.map(|socket| (socket, Peer::Unix)))
    }

    fn stop_listening(&mut self) {
        self.listening = false;
    }

    fn arm(
        &mut self,
        socket: &mut ScriptedSocket,
        token: Token,
        _from: Option<Interest>,
        to: Interest,
    ) -> io::Result<()> {
        self.arms.push((token, to));
        let mut wire = socket.0.borrow_mut();
        wire.token = Some(token);
        // What is there already is reported now.
        if !wire.to_server.is_empty() || wire.ended {
            let readiness = Readiness { readable: true, hung_up: wire.ended, ..Readiness::default() };
            self.events.push(Event::Connection(token, readiness));
        }
        Ok(())
    }
}
