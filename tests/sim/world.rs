//! The world the event loop is run in: a virtual clock, the wires, the server's kernel, the clients and their faults.
//!
//! Time passes only here. It jumps to the next thing that happens, and creeps a little with every system call, so that
//! the kernel goes on working while the server does.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidemill::base::limits::Limits;
use tidemill::base::listener_id::ListenerId;
use tidemill::base::listener_role::ListenerRole;
use tidemill::net::{Event, Readiness, Signal};

use crate::dice::Dice;
use crate::link::{Direction, Link, LinkId, Nature, Segment, ServerEnd};
use crate::secured::{ClientTls, Farewell};
use crate::timeline::{Timeline, excerpt};
use crate::upstream::Upstreams;

/// Turns without any progress at all that a loop may make before it counts as spinning.
const IDLE_TURNS_MAX: u32 = 200;
/// "Too many open files", the same number on every Unix we build for.
const EMFILE: i32 = 24;

/// What the world does to the server beyond what its clients do.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Chance in a thousand, for every poll, of an event about nothing.
    pub spurious_events: u64,
    /// Chance in a thousand, for every poll, of returning early with nothing.
    pub interruptions: u64,
    /// Events in one poll.
    pub events_max: usize,
    /// Connections the server accepts at a time by its own choice.
    pub connections_max: usize,
    /// Bytes the server may move for one connection before it looks at the others again.
    pub turn_bytes_max: usize,
    /// Sockets the server can have open at a time; one more gives EMFILE.
    pub descriptors_max: usize,
    /// A time in which every accept gives EMFILE.
    pub out_of_descriptors: Option<(Duration, Duration)>,
}

/// A listening socket.
#[derive(Debug)]
struct Listener {
    role: ListenerRole,
    is_open: bool,
    queue: VecDeque<LinkId>,
    ready_listed: bool,
}

/// Things that happen at a time of their own.
#[derive(Debug)]
enum Happening {
    Connect(LinkId),
    /// A connection that the server has begun is there, or has failed for this reason.
    Answer(LinkId, Option<ErrorKind>),
    Arrive(LinkId, Direction, Segment),
    Reset(LinkId, Direction),
    Wake(LinkId),
    /// A job has taken its time.
    Job(u64),
    Signal(Signal),
}

/// Who is at the other end of a connection.
pub trait Actor: Debug {
    /// What kind of client it is.
    fn kind(&self) -> &'static str;

    /// Whether nothing more is to come.
    fn is_done(&self) -> bool;

    /// What is wrong with a client that will never be done.
    fn complaint(&self) -> String;

    /// Which connection is this client's.
    fn set_link(&mut self, link: LinkId);

    /// It has just connected, as far as it knows, or the time has come that it waited for.
    fn act(&mut self, world: &mut World);

    /// Bytes or a FIN have arrived.
    fn readable(&mut self, world: &mut World);

    /// A reset has arrived.
    fn reset(&mut self, world: &mut World);
}

/// A world.
pub struct World {
    /// The physics' choices.
    pub dice: Dice,
    /// Time since the world began.
    pub now: Duration,
    /// All connections there will ever be.
    pub links: Vec<Link>,
    /// The client of each, taken out while it acts.
    pub clients: Vec<Option<Box<dyn Actor>>>,
    /// What happened.
    pub timeline: Timeline,
    /// What went wrong first.
    pub failure: Option<String>,
    /// When the server was told to stop, and when to do so at once.
    pub told_to_stop: Option<Duration>,
    /// See `told_to_stop`.
    pub told_to_stop_at_once: Option<Duration>,
    /// How many bytes up each connection had delivered when the server was told to stop; none if the server could not
    /// have accepted it.
    pub arrived_when_told: Vec<u64>,
    /// What the server is limited to.
    pub limits: Limits,
    /// What is wrong with the end of a connection, unless it was cut because the drain took too long.
    pub wrong_unless_cut: Option<String>,
    /// When the loop polled last.
    pub loop_ended: Duration,
    /// Whether the server has slept without end while nothing could ever happen.
    pub asleep_for_good: bool,
    /// Whom the server connects to.
    pub upstreams: Upstreams,
    /// Whether a wake was left since the last poll.
    pub woken: Arc<AtomicBool>,
    /// Counts everything that moves anything. The service counts here, too.
    pub progress: Rc<Cell<u64>>,

    faults: Faults,
    listeners: Vec<Listener>,
    happenings: BTreeMap<(Duration, u64), Happening>,
    happened: u64,
    signals: VecDeque<Signal>,
    progress_at_last_poll: u64,
    idle_turns: u32,
    idle_since: Duration,
    polls_since_told: u32,
    /// Since when somebody could have been accepted who is not.
    neglect_since: Option<Duration>,
}

impl Listener {
    fn new(role: ListenerRole) -> Listener {
        Listener { role, is_open: true, queue: VecDeque::new(), ready_listed: false }
    }
}

impl World {
    /// A world in which nothing has happened yet, with so many listeners for HTTP.
    pub fn new(dice: Dice, faults: Faults, listeners: usize, timeline: Timeline) -> World {
        World {
            dice,
            now: Duration::ZERO,
            links: Vec::new(),
            clients: Vec::new(),
            timeline,
            failure: None,
            told_to_stop: None,
            told_to_stop_at_once: None,
            arrived_when_told: Vec::new(),
            limits: Limits::default(),
            wrong_unless_cut: None,
            loop_ended: Duration::ZERO,
            asleep_for_good: false,
            upstreams: Upstreams::default(),
            woken: Arc::default(),
            progress: Rc::default(),
            faults,
            listeners: (0..listeners).map(|_| Listener::new(ListenerRole::Http)).collect(),
            happenings: BTreeMap::new(),
            happened: 0,
            signals: VecDeque::new(),
            progress_at_last_poll: 0,
            idle_turns: 0,
            idle_since: Duration::ZERO,
            polls_since_told: 0,
            neglect_since: None,
        }
    }

    /// Adds a listener with this role.
    pub fn listen(&mut self, role: ListenerRole) -> ListenerId {
        let id = ListenerId::new(self.listeners.len() as u32);
        self.timeline.note(self.now, None, || format!("{id} opens for {role:?}"));
        self.listeners.push(Listener::new(role));
        id
    }

    /// Lets the server move so many bytes more for one connection in a turn.
    pub fn allow_in_turn(&mut self, bytes: usize) {
        self.faults.turn_bytes_max += bytes;
    }

    /// Adds a client that connects `at` this time.
    pub fn add(&mut self, client: impl Actor + 'static, nature: Nature, at: Duration) -> LinkId {
        self.add_to(ListenerRole::Http, client, nature, at)
    }

    /// Adds a client that speaks TLS.
    pub fn add_secured(&mut self, tls: ClientTls, client: impl Actor + 'static, nature: Nature, at: Duration) {
        self.timeline.note(Duration::ZERO, Some(self.links.len()), || format!("speaks {tls:?}"));
        let link = self.add_to(ListenerRole::Https, client, nature, at);
        self.links[link].tls = Some(Box::new(tls));
    }

    /// Adds a client that connects to a listener with this role.
    pub fn add_to(
        &mut self,
        role: ListenerRole,
        mut client: impl Actor + 'static,
        nature: Nature,
        at: Duration,
    ) -> LinkId {
        let link = self.links.len();
        client.set_link(link);
        self.timeline.note(Duration::ZERO, Some(link), || format!("is to be {client:?} {nature:?}"));
        self.links.push(Link { role, ..Link::new(nature) });
        self.clients.push(Some(Box::new(client)));
        self.schedule(at, Happening::Connect(link));
        link
    }

    /// Has the server told `signal` at this time.
    pub fn signal_at(&mut self, at: Duration, signal: Signal) {
        self.schedule(at, Happening::Signal(signal));
    }

    /// Has `client` act again after this time.
    pub fn wake_after(&mut self, link: LinkId, wait: Duration) {
        self.schedule(self.now + wait, Happening::Wake(link));
    }

    /// Whether a client has paused for `wait`. The first call begins the pause; `until` remembers its end until it is over.
    pub fn has_paused(&mut self, link: LinkId, wait: Duration, until: &mut Option<Duration>) -> bool {
        match *until {
            None => {
                *until = Some(self.now + wait);
                self.wake_after(link, wait);
                false
            }
            Some(end) if self.now < end => false,
            Some(_) => {
                *until = None;
                true
            }
        }
    }

    /// A client that something has arrived for may read nothing for a while, by its nature. `until` remembers the end of
    /// that; until then it does not stall again.
    pub fn may_stall(&mut self, link: LinkId, until: &mut Duration) {
        let Nature { stalls, stall: (low, high), .. } = self.links[link].nature;
        if *until <= self.now && self.dice.chance(stalls) {
            let wait = self.dice.millis(low, high);
            *until = self.now + wait;
            self.note(link, || format!("client reads nothing for {wait:?}"));
            self.wake_after(link, wait);
        }
    }

    /// The first thing that goes wrong ends the world.
    pub fn fail(&mut self, who: Option<LinkId>, what: String) {
        self.timeline.note(self.now, who, || format!("FAILS: {what}"));
        let name = who.map(|link| format!("connection #{link}: ")).unwrap_or_default();
        self.failure.get_or_insert(format!("{name}{what}"));
    }

    /// Records what happened to a connection.
    pub fn note(&mut self, link: LinkId, what: impl FnOnce() -> String) {
        self.timeline.note(self.now, Some(link), what);
    }

    /// Whether every client has what it wanted.
    pub fn is_content(&self) -> bool {
        self.clients.iter().flatten().all(|client| client.is_done())
    }

    /// Connections the server has open.
    pub fn open_at_server(&self) -> usize {
        self.links.iter().filter(|link| link.server == ServerEnd::Open).count()
    }

    /// Those of them that it has accepted.
    fn accepted_by_server(&self) -> usize {
        let is_accepted = |link: &&Link| link.server == ServerEnd::Open && link.role != ListenerRole::Upstream;
        self.links.iter().filter(is_accepted).count()
    }

    fn is_out_of_descriptors(&self) -> bool {
        let episode = self.faults.out_of_descriptors.is_some_and(|(from, to)| (from..to).contains(&self.now));
        episode || self.open_at_server() >= self.faults.descriptors_max
    }

    /// Lets everything happen that still can without the server.
    pub fn run_out(&mut self) {
        while let Some(at) = self.next_happening() {
            self.advance_to(at);
        }
    }

    // --- what clients do ---

    /// Gives the client's kernel bytes to send.
    pub fn client_sends(&mut self, link: LinkId, bytes: &[u8]) {
        self.note(link, || format!("client sends {} {}", bytes.len(), excerpt(bytes)));
        let World { links, dice, .. } = self;
        match &mut links[link].tls {
            None => links[link].up.unsent.extend(bytes),
            Some(tls) => {
                let update = if dice.chance(tls.updates) { tls.update_keys() } else { Vec::new() };
                let sealed = tls.seal(bytes);
                links[link].up.unsent.extend(update.into_iter().chain(sealed));
            }
        }
        self.pump(link, Direction::Up);
    }

    /// The client ends its direction.
    pub fn client_ends(&mut self, link: LinkId) {
        let farewell = self.links[link].tls.as_ref().map_or(Farewell::Fin, |tls| tls.farewell);
        self.say_end(link, farewell);
    }

    fn say_end(&mut self, link: LinkId, farewell: Farewell) {
        let state = &mut self.links[link];
        if let Some(tls) = state.tls.as_mut().filter(|tls| !tls.is_handshaking() && farewell != Farewell::Fin) {
            state.up.unsent.extend(tls.close());
            self.note(link, || "client sends close_notify".to_owned());
        }
        if farewell != Farewell::Notify {
            self.note(link, || "client sends FIN".to_owned());
            self.links[link].up.fin_queued = true;
        }
        self.pump(link, Direction::Up);
    }

    /// The client closes its socket.
    pub fn client_closes(&mut self, link: LinkId) {
        self.links[link].client_closed = true;
        if self.links[link].down.received.is_empty() {
            self.say_end(link, if self.links[link].up.fin_queued { Farewell::Fin } else { Farewell::Both });
        } else {
            self.client_resets(link);
        }
    }

    /// The client closes its socket by a reset.
    pub fn client_resets(&mut self, link: LinkId) {
        self.note(link, || "client sends RST".to_owned());
        self.links[link].client_closed = true;
        self.links[link].up.unsent.clear();
        self.send_reset(link, Direction::Up);
    }

    /// The client reads all there is.
    pub fn client_reads(&mut self, link: LinkId) -> Vec<u8> {
        let bytes: Vec<u8> = self.links[link].down.received.drain(..).collect();
        if !bytes.is_empty() {
            self.note(link, || format!("client reads {} {}", bytes.len(), excerpt(&bytes)));
            self.pump(link, Direction::Down);
        }
        let Some(tls) = &mut self.links[link].tls else { return bytes };
        let (opened, flight) = (tls.open(&bytes), tls.flight());
        let early = std::mem::take(&mut tls.early);
        if !flight.is_empty() && !self.links[link].client_closed {
            self.links[link].up.unsent.extend(flight);
            self.pump(link, Direction::Up);
        }
        let opened = opened.unwrap_or_else(|error| {
            self.fail(Some(link), format!("TLS: {error}"));
            Vec::new()
        });
        [early, opened].concat()
    }

    // --- what the server's system calls do ---

    /// Time passes while the server works: a system call takes a moment, and the kernel goes on meanwhile.
    pub fn creep(&mut self) {
        let moment = self.dice.micros(1, 4);
        self.advance_to(self.now + moment);
    }

    /// Something moved: this turn was not for nothing.
    pub fn count_progress(&mut self) {
        self.progress.update(|count| count + 1);
    }

    /// Bytes that arrived at the server were read: the window may open.
    pub fn pump(&mut self, link: LinkId, direction: Direction) {
        loop {
            let Link { up, down, nature, .. } = &mut self.links[link];
            let (pipe, wire) = match direction {
                Direction::Up => (up, &nature.up),
                Direction::Down => (down, &nature.down),
            };
            let Some(segment) = pipe.next_segment(wire, self.now, &mut self.dice) else { return };
            self.schedule(segment.at, Happening::Arrive(link, direction, segment));
        }
    }

    /// A reset leaves for the other side, behind what is on the wire already.
    pub fn send_reset(&mut self, link: LinkId, direction: Direction) {
        let Link { up, down, nature, .. } = &mut self.links[link];
        let (pipe, wire) = match direction {
            Direction::Up => (up, &nature.up),
            Direction::Down => (down, &nature.down),
        };
        pipe.last_arrival = pipe.arrival(wire, self.now, &mut self.dice);
        let at = pipe.last_arrival;
        self.schedule(at, Happening::Reset(link, direction));
    }

    /// accept(2): who is next in the queue, or EMFILE.
    pub fn accept(&mut self, listener: ListenerId) -> io::Result<Option<LinkId>> {
        self.creep();
        let is_out_of_descriptors = self.is_out_of_descriptors();
        if !self.listeners[listener.number() as usize].is_open {
            return Ok(None);
        }
        // Linux takes a descriptor first and looks into the queue then: it may fail although nobody waits.
        if is_out_of_descriptors {
            self.timeline.note(self.now, None, || "accept: EMFILE".to_owned());
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let next = self.listeners[listener.number() as usize].queue.pop_front();
        Ok(next.inspect(|link| self.open(*link)))
    }

    fn open(&mut self, link: LinkId) {
        self.links[link].server = ServerEnd::Open;
        self.links[link].marks.accepted = Some(self.now);
        self.count_progress();
        self.note(link, || "accepted".to_owned());
    }

    /// connect(2), to an upstream.
    pub fn begin_connection(&mut self, address: SocketAddr) -> io::Result<LinkId> {
        self.creep();
        if self.is_out_of_descriptors() {
            self.timeline.note(self.now, None, || format!("connect to {address}: EMFILE"));
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let (reply, mut upstream, nature) = self.upstreams.draw();
        let link = self.links.len();
        self.note(link, || format!("is a connection to {address}, {reply:?}: {upstream:?} {nature:?}"));
        upstream.set_link(link);
        let open = self.open_at_server() - self.accepted_by_server();
        if let Err(wrong) = self.upstreams.on_connect(link, address, open, self.now) {
            self.fail(Some(link), wrong);
        }
        let (server, role) = (ServerEnd::Open, ListenerRole::Upstream);
        self.links.push(Link { role, server, is_connecting: true, ..Link::new(nature) });
        self.clients.push(Some(Box::new(upstream)));
        if let Some((after, outcome)) = reply {
            self.schedule(self.now + after, Happening::Answer(link, outcome));
        }
        self.count_progress();
        Ok(link)
    }

    /// A connection that the server has begun is there, or comes to nothing.
    fn answer(&mut self, link: LinkId, outcome: Option<ErrorKind>) {
        self.upstreams.on_move(link, self.now);
        let state = &mut self.links[link];
        if state.server == ServerEnd::Closed {
            return;
        }
        state.is_connecting = false;
        state.marks.accepted = Some(self.now);
        (state.error_pending, state.server_was_reset, state.client_closed) =
            (outcome, outcome.is_some(), outcome.is_some());
        state.edge_for_all();
        self.note(link, || format!("the server's connection is there, or not: {outcome:?}"));
        if outcome.is_none() {
            self.with_client(link, |client, world| client.act(world));
        }
    }

    /// The listeners that are open, and what each is for.
    pub fn listeners(&self) -> Vec<(ListenerId, ListenerRole)> {
        let all = (0..).map(ListenerId::new).zip(&self.listeners);
        all.filter(|(_, listener)| listener.is_open).map(|(id, listener)| (id, listener.role)).collect()
    }

    /// A listener is for something else from now on.
    pub fn set_role(&mut self, listener: ListenerId, role: ListenerRole) {
        self.listeners[listener.number() as usize].role = role;
    }

    /// Closes a listener; the kernel resets who is still in its queue.
    pub fn close_listener(&mut self, id: ListenerId) {
        let listener = &mut self.listeners[id.number() as usize];
        listener.is_open = false;
        let queue = std::mem::take(&mut listener.queue);
        self.timeline.note(self.now, None, || format!("{id} closes"));
        for link in queue {
            self.refuse(link);
        }
    }

    /// Closes all listeners.
    pub fn stop_listening(&mut self) {
        self.listeners().into_iter().for_each(|(id, _)| self.close_listener(id));
    }

    fn refuse(&mut self, link: LinkId) {
        self.note(link, || "is refused".to_owned());
        self.links[link].server = ServerEnd::Closed;
        self.send_reset(link, Direction::Down);
    }

    /// close(2) on an accepted socket. Unread input makes it a reset, which destroys what was not delivered yet.
    pub fn close(&mut self, link: LinkId) {
        let state = &mut self.links[link];
        let (unread, undelivered) = (state.up.received.len(), state.down.unsent.len());
        state.server = ServerEnd::Closed;
        state.interest = None;
        state.ready_listed = false;
        state.mark_end(self.now);
        state.marks.closed = Some(self.now);
        let resets = !state.server_was_reset && (state.abort_on_close || unread > 0);
        if state.is_connecting {
            // There is nobody to be told.
        } else if resets {
            state.down.unsent.clear();
            self.send_reset(link, Direction::Down);
        } else if !state.server_was_reset {
            state.down.fin_queued = true;
            self.pump(link, Direction::Down);
        }
        self.count_progress();
        let how = if resets { "with a reset" } else { "in order" };
        self.note(link, || format!("server closes {how} ({unread} bytes unread, {undelivered} not on the wire)"));
    }

    // --- poll ---

    /// epoll_wait(2).
    pub fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) {
        self.sleep(timeout, events);
        self.loop_ended = self.now;
    }

    fn sleep(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) {
        self.timeline.note(self.now, None, || match timeout {
            Some(timeout) => format!("sleeps for {timeout:?} at most"),
            None => "sleeps without end".to_owned(),
        });
        self.watch_for_spinning(timeout);
        self.watch_the_listeners();
        self.watch_for_neglect();
        self.watch_for_greed();
        self.watch_the_upstreams();
        self.begin_jobs();
        let deadline = timeout.map(|timeout| self.now + timeout);
        self.creep();
        self.report_spurious(events);
        if self.dice.chance(self.faults.interruptions) {
            return;
        }
        while self.failure.is_none() && !self.report(events) {
            match (self.next_happening(), deadline) {
                (Some(at), None) => self.advance_to(at),
                (Some(at), Some(deadline)) if at <= deadline => self.advance_to(at),
                (_, Some(deadline)) => {
                    // The kernel's timeout is never early, and late by as much as it likes.
                    let late = if deadline > self.now { self.dice.micros(0, 900) } else { Duration::ZERO };
                    self.advance_to(deadline + late);
                    self.report(events);
                    return;
                }
                (None, None) => {
                    self.asleep_for_good = true;
                    return;
                }
            }
        }
    }

    /// Adds what there is to report; whether that was anything.
    fn report(&mut self, events: &mut Vec<Event>) -> bool {
        self.report_connections(events);
        if self.woken.swap(false, Ordering::Relaxed) {
            events.push(Event::Wake);
        }
        for (id, listener) in (0..).map(ListenerId::new).zip(&mut self.listeners) {
            if std::mem::take(&mut listener.ready_listed) && !listener.queue.is_empty() {
                events.push(Event::Listener(id));
            }
        }
        events.extend(self.signals.drain(..).map(Event::Signal));
        self.dice.shuffle(events);
        for event in &*events {
            self.timeline.note(self.now, None, || format!("event {event:?}"));
        }
        !events.is_empty()
    }

    fn report_connections(&mut self, events: &mut Vec<Event>) {
        let mut listed: Vec<LinkId> = (0..self.links.len()).filter(|link| self.links[*link].ready_listed).collect();
        self.dice.shuffle(&mut listed);
        listed.truncate(self.faults.events_max);
        for link in listed {
            let state = &mut self.links[link];
            state.ready_listed = false;
            if let (Some(readiness), Some(token)) = (state.readiness(), state.token) {
                events.push(Event::Connection(token, readiness));
            }
        }
    }

    /// Events are hints: some are about nothing, or about nobody any more.
    fn report_spurious(&mut self, events: &mut Vec<Event>) {
        if !self.dice.chance(self.faults.spurious_events) || self.links.is_empty() {
            return;
        }
        let link = self.dice.below(self.links.len() as u64) as usize;
        let (readable, writable) = self.dice.pick(&[(true, false), (false, true), (true, true)]);
        if let Some(token) = self.links[link].token {
            events.push(Event::Connection(token, Readiness { readable, writable, ..Readiness::default() }));
        }
        if self.dice.chance(200) {
            events.push(self.dice.pick(&[Event::Wake, Event::Listener(ListenerId::new(0))]));
        }
    }

    /// A loop that turns and turns while nothing moves waits for nobody: it burns a processor.
    fn watch_for_spinning(&mut self, timeout: Option<Duration>) {
        if self.progress.get() != self.progress_at_last_poll || self.now > self.idle_since + Duration::from_secs(1) {
            (self.idle_turns, self.idle_since) = (0, self.now);
        }
        self.progress_at_last_poll = self.progress.get();
        self.idle_turns += 1;
        if self.idle_turns > IDLE_TURNS_MAX {
            let since = self.idle_since;
            self.fail(None, format!("spins: {IDLE_TURNS_MAX} turns since {since:?}, now polling for {timeout:?}"));
        }
    }

    /// Told to stop, a loop has no reason to leave its listeners open.
    fn watch_the_listeners(&mut self) {
        if self.told_to_stop.is_some() && self.signals.is_empty() {
            self.polls_since_told += 1;
        }
        if self.polls_since_told > 2 && self.listeners.iter().any(|listener| listener.is_open) {
            self.fail(None, "still listens although it was told to stop".to_owned());
        }
    }

    /// Nobody waits in a queue while there is room: the one event a listener gives must not be lost.
    fn watch_for_neglect(&mut self) {
        let waiting = self.listeners.iter().any(|listener| !listener.queue.is_empty());
        let can_accept = waiting && self.has_room();
        self.neglect_since = if can_accept { self.neglect_since.or(Some(self.now)) } else { None };
        if let Some(since) = self.neglect_since.filter(|since| self.now > *since + Duration::from_secs(1)) {
            self.fail(None, format!("does not accept although it could since {since:?}"));
        }
    }

    fn has_room(&self) -> bool {
        !self.is_out_of_descriptors() && self.accepted_by_server() < self.faults.connections_max
    }

    /// However much there is to do for one connection, the others get their turn.
    fn watch_for_greed(&mut self) {
        let most = self.faults.turn_bytes_max;
        let greedy = self.links.iter_mut().map(|link| std::mem::take(&mut link.moved_in_turn)).enumerate();
        if let Some((link, moved)) = greedy.filter(|(_, moved)| *moved > most).last() {
            self.fail(Some(link), format!("moved {moved} bytes in one turn, more than {most}"));
        }
    }

    // --- what happens ---

    fn schedule(&mut self, at: Duration, happening: Happening) {
        self.happened += 1;
        self.happenings.insert((at, self.happened), happening);
    }

    fn next_happening(&self) -> Option<Duration> {
        self.happenings.keys().next().map(|(at, _)| *at)
    }

    /// Lets everything happen until `at`.
    fn advance_to(&mut self, at: Duration) {
        while self.next_happening().is_some_and(|next| next <= at) {
            let Some(((when, _), happening)) = self.happenings.pop_first() else { return };
            self.now = self.now.max(when);
            self.happen(happening);
        }
        self.now = self.now.max(at);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connect(link) => self.connect(link),
            Happening::Answer(link, outcome) => self.answer(link, outcome),
            Happening::Arrive(link, Direction::Up, segment) => self.arrive_at_server(link, segment),
            Happening::Arrive(link, Direction::Down, segment) => self.arrive_at_client(link, segment),
            Happening::Reset(link, Direction::Up) => self.reset_server(link),
            Happening::Reset(link, Direction::Down) => self.reset_client(link),
            Happening::Wake(link) => self.with_client(link, |client, world| client.act(world)),
            Happening::Job(number) => self.finish_job(number),
            Happening::Signal(signal) => self.tell(signal),
        }
    }

    /// Has the jobs take their time that the server has submitted.
    fn begin_jobs(&mut self) {
        let now = self.now;
        while let Some(begun) = self.upstreams.names.as_mut().and_then(|names| names.begin(now)) {
            match begun {
                Ok((number, wait)) => self.schedule(now + wait, Happening::Job(number)),
                Err(wrong) => self.fail(None, wrong),
            }
        }
        if let Some(Err(wrong)) = self.upstreams.names.as_ref().map(|names| names.check_due(now)) {
            self.fail(None, wrong);
        }
    }

    fn finish_job(&mut self, number: u64) {
        let now = self.now;
        self.timeline.note(now, None, || format!("job {number} is done"));
        if let Some(names) = &mut self.upstreams.names {
            names.finish(number, now);
            self.upstreams.on_name(now);
        }
        self.count_progress();
    }

    fn connect(&mut self, link: LinkId) {
        self.note(link, || "connects".to_owned());
        let role = self.links[link].role;
        let mut fitting: Vec<&mut Listener> =
            self.listeners.iter_mut().filter(|listener| listener.is_open && listener.role == role).collect();
        let choice = self.dice.below(fitting.len().max(1) as u64) as usize;
        match fitting.get_mut(choice) {
            Some(listener) => {
                listener.queue.push_back(link);
                listener.ready_listed = true;
                self.links[link].server = ServerEnd::Queued;
            }
            None => self.refuse(link),
        }
        match &mut self.links[link].tls {
            None => self.with_client(link, |client, world| client.act(world)),
            Some(tls) => {
                let hello = tls.flight();
                self.links[link].up.unsent.extend(hello);
                self.pump(link, Direction::Up);
            }
        }
    }

    fn arrive_at_server(&mut self, link: LinkId, segment: Segment) {
        let now = self.now;
        self.upstreams.on_move(link, now);
        let state = &mut self.links[link];
        state.up.in_flight -= segment.bytes.len();
        if state.server == ServerEnd::Closed {
            if !segment.bytes.is_empty() {
                // Nobody will ever read this: the kernel says so, and forgets what it still had to deliver.
                let is_on_its_way = state.down.held_by_sender() + state.down.received.len() > 0;
                state.lost_behind_close |= state.down.fin_queued && is_on_its_way;
                state.down.unsent.clear();
                self.send_reset(link, Direction::Down);
            }
            return;
        }
        state.up.arrived += segment.bytes.len() as u64;
        state.mark_arrival(segment.bytes.len(), now);
        state.up.received.extend(&segment.bytes);
        state.up.fin_received |= segment.fin;
        self.upstreams.on_readable(link, true, now);
        state.edge(true, false);
        if segment.fin && state.write_shut {
            state.edge_for_all();
        }
        let (n, fin) = (segment.bytes.len(), if segment.fin { " and FIN" } else { "" });
        self.note(link, || format!("{n} bytes{fin} arrive at the server"));
    }

    fn arrive_at_client(&mut self, link: LinkId, segment: Segment) {
        self.upstreams.on_move(link, self.now);
        let state = &mut self.links[link];
        state.down.in_flight -= segment.bytes.len();
        if state.wants_space && state.is_send_space_worth_telling() {
            state.wants_space = false;
            state.edge(false, true);
        }
        if state.client_closed {
            if !segment.bytes.is_empty() {
                self.send_reset(link, Direction::Up);
            }
            return;
        }
        state.down.arrived += segment.bytes.len() as u64;
        state.down.received.extend(&segment.bytes);
        state.down.fin_received |= segment.fin;
        if state.is_handshaking() && !segment.fin {
            let content = self.client_reads(link);
            if let Some(tls) = &mut self.links[link].tls {
                tls.early = content;
            }
            if !self.links[link].is_handshaking() {
                self.with_client(link, |client, world| client.act(world));
            }
        } else {
            self.with_client(link, |client, world| client.readable(world));
        }
        self.pump(link, Direction::Down);
    }

    fn reset_server(&mut self, link: LinkId) {
        let state = &mut self.links[link];
        if state.server_was_reset || state.server == ServerEnd::Closed {
            return;
        }
        self.upstreams.on_move(link, self.now);
        state.server_was_reset = true;
        state.error_pending = Some(ErrorKind::ConnectionReset);
        state.down.unsent.clear();
        state.edge_for_all();
        self.note(link, || "RST arrives at the server".to_owned());
    }

    fn reset_client(&mut self, link: LinkId) {
        // What the client has not read yet may be lost with the connection (RFC 9112 §9.6), and the FIN behind it.
        if self.dice.chance(500) {
            let down = &mut self.links[link].down;
            down.fin_received &= down.received.is_empty();
            down.received.clear();
        }
        if std::mem::replace(&mut self.links[link].client_was_reset, true) || self.links[link].client_closed {
            return;
        }
        self.note(link, || "RST arrives at the client".to_owned());
        self.with_client(link, |client, world| client.reset(world));
    }

    fn tell(&mut self, signal: Signal) {
        self.timeline.note(self.now, None, || format!("signal {signal:?}"));
        if self.told_to_stop.is_none() {
            self.told_to_stop = Some(self.now);
            let queued = self.links.iter().filter(|link| link.server == ServerEnd::Queued).count();
            let descriptors = self.open_at_server() + queued;
            let room = self.has_room()
                && self.links.len() <= self.faults.connections_max
                && descriptors <= self.faults.descriptors_max;
            let counts = |link: &Link| link.server == ServerEnd::Open || (room && link.server == ServerEnd::Queued);
            self.arrived_when_told =
                self.links.iter().map(|link| if counts(link) { link.content_arrived() } else { 0 }).collect();
        } else if signal == Signal::Interrupt {
            self.told_to_stop_at_once.get_or_insert(self.now);
        }
        self.signals.push_back(signal);
    }

    /// A client takes `how` its connection has ended for the end. What is wrong with that may be right if the connection
    /// was cut because the drain took too long; that is known when the loop is over.
    pub fn judge_end(&mut self, link: LinkId, how: &str, verdict: Result<(), String>) {
        let tls = self.links[link].tls.as_ref().filter(|tls| how == "a FIN" && !tls.is_handshaking());
        // Who is given up may be in the middle of a handshake, for the server.
        let is_said =
            tls.is_none_or(|tls| tls.has_end) || self.told_to_stop_at_once.is_some() || self.may_have_been_cut(link);
        let verdict = verdict.and_then(|()| is_said.then_some(()).ok_or_else(|| "without close_notify".to_owned()));
        if how == "a FIN" {
            self.client_closes(link);
        }
        match verdict {
            Ok(()) => self.note(link, || format!("client is content with {how}")),
            // The server does not count those as cut that it only listened to, or that were idle: they had their whole
            // answer. The close can reset them all the same, and destroy what is on its way.
            Err(error) if self.may_have_been_cut(link) && self.had_its_answer(link) => {
                self.note(link, || format!("client is content with {how}, while nothing was owed to it: {error}"));
            }
            Err(error) if self.may_have_been_cut(link) => {
                self.note(link, || format!("client is content with {how}, if it was cut: {error}"));
                self.wrong_unless_cut.get_or_insert(error);
            }
            Err(error) => self.fail(Some(link), format!("{how}: {error}")),
        }
    }

    /// Whether the server that stops has closed a connection in order, and a client that does not read never hears of it:
    /// the end lies behind what was sent.
    pub fn is_left_to_the_kernel(&self, link: LinkId) -> bool {
        let Link { server, down, .. } = &self.links[link];
        self.told_to_stop.is_some() && *server == ServerEnd::Closed && down.fin_queued && !down.received.is_empty()
    }

    /// Whether the kernel has all that a server which stops owed to this client, and the client's own bytes have destroyed it.
    /// One that is cut is reset by the server instead, which is no close in order.
    fn had_its_answer(&self, link: LinkId) -> bool {
        self.links[link].write_shut || self.links[link].lost_behind_close
    }

    /// Whether the server closed a connection so long after it was told to stop that it may have given it up.
    fn may_have_been_cut(&self, link: LinkId) -> bool {
        let cut_from = self.told_to_stop.map(|told| told + self.limits.drain_timeout);
        cut_from.is_some_and(|from| self.links[link].marks.closed.is_some_and(|closed| closed >= from))
    }

    fn with_client(&mut self, link: LinkId, act: impl FnOnce(&mut dyn Actor, &mut World)) {
        let Some(mut client) = self.clients[link].take() else { return };
        act(&mut *client, self);
        self.clients[link] = Some(client);
    }
}

/// What `limits` allow the server to move for one connection before it polls again: a drive for its events, one because
/// another connection woke it in the same turn, and one for its deadline, each with one pass beyond the budget.
pub fn turn_bytes_max(limits: &Limits) -> usize {
    let pass = limits.inbox_bytes.max(limits.head_bytes_max) + limits.outbox_bytes.max(1024);
    3 * (limits.drive_bytes_max + pass)
}
