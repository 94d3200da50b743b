//! One thread, one loop, one connection at a time.
//!
//! A turn has six phases, always in this order; see [`EventLoop::turn`].

mod acceptor;
mod access_log;
mod inspect;
mod metrics;
mod phases;
mod run_queue;
mod shutdown;
mod totals;

pub use access_log::{AccessLog, Lines};
pub use shutdown::Outcome;
pub use totals::Totals;

use std::io;
use std::rc::Rc;
use std::time::Instant;

use acceptor::{Acceptor, Full};
use access_log::Clocks;
use phases::{Phase, Phases};
use run_queue::RunQueue;
use shutdown::Shutdown;

use crate::base::job_pool::JobPool;
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::slots::{Slots, Token};
use crate::base::timer_wheel::TimerWheel;
use crate::base::wake::Wakes;
use crate::connection::{Connection, Settled, Worker};
use crate::net::marks::Marks;
use crate::net::{Event, Interest, Reactor};
use crate::observe::close_reason::CloseReason;
use crate::service::Service;
use crate::service::status::inspection_queue::InspectionQueue;

/// From so many events on it is worth a look at the clock how long they take to collect: one takes some nanoseconds.
const MANY_EVENTS: usize = 32;
/// Connections that whoever looks after the server may have at a time.
const ADMINS_MAX: usize = 100;

/// The event loop: every connection, and who is to be driven when.
pub struct EventLoop<R: Reactor, V: Service> {
    reactor: R,
    worker: Worker<V>,
    connections: Slots<Connection<R::Socket>>,
    run_queue: RunQueue,
    timers: TimerWheel,
    acceptor: Acceptor,
    wakes: Wakes,
    shutdown: Option<Shutdown>,
    outcome: Option<Outcome>,
    phases: Phases,
    /// Where questions about the loop are left, if anybody may ask.
    inspections: Option<Rc<InspectionQueue>>,
    /// How many of the connections came through the admin's entrance.
    admins: usize,
    access_log: Option<AccessLog>,
    /// The most connections at a time.
    connections_max: usize,
    /// Whether an interrupt has ordered it to stop, or to hurry.
    interrupted: bool,
    /// Connections accepted so far; the last one's number.
    accepted: u64,
    /// Connections that ended in this turn.
    closed: Vec<Token>,
    /// Memory for what a phase collects, reused from turn to turn.
    events: Vec<Event>,
    woken: Vec<Token>,
    due: Vec<u32>,
}

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// A loop over `reactor`'s listeners. `notices` must wake `reactor`.
    pub fn new(reactor: R, service: V, limits: Limits, wakes: Wakes, jobs: JobPool) -> EventLoop<R, V> {
        let now = reactor.now();
        EventLoop {
            worker: Worker::new(service, limits, wakes.clone(), jobs, now, reactor.wall()),
            acceptor: Acceptor::new(reactor.listeners(), reactor.public_listeners()),
            timers: TimerWheel::new(),
            connections: Slots::new(),
            run_queue: RunQueue::default(),
            wakes,
            reactor,
            shutdown: None,
            outcome: None,
            phases: Phases::default(),
            inspections: None,
            admins: 0,
            access_log: None,
            connections_max: 0,
            interrupted: false,
            accepted: 0,
            closed: Vec::new(),
            events: Vec::new(),
            woken: Vec::new(),
            due: Vec::new(),
        }
    }

    /// From now on every request that is over is noted in `access_log`.
    pub fn keep_access_log(&mut self, access_log: AccessLog) {
        self.worker.notes_fields = access_log.writes_fields();
        self.access_log = Some(access_log);
    }

    /// The access log, if one is kept.
    pub fn access_log(&self) -> Option<&AccessLog> {
        self.access_log.as_ref()
    }

    /// Turns once: notice first, act later.
    ///
    /// An event, a timer and a notice for one connection in one turn drive it once. Input and output come before
    /// timers: bytes already in the kernel are served before the peer is called late. Slots are freed last: no token is
    /// used again while the batch of events that names it is alive.
    ///
    /// # Errors
    /// Only those of waiting for events itself; the loop cannot go on after them.
    pub fn turn(&mut self) -> io::Result<()> {
        self.poll()?;
        let collected = self.collect();
        self.end_phase(Phase::Collect, collected >= MANY_EVENTS);
        self.run();
        let expired = self.expire();
        self.end_phase(Phase::Expire, expired);
        let accepted = self.accept();
        self.end_phase(Phase::Accept, accepted);
        let reaped = self.reap();
        // After everything that drives: a question that nobody answers before the loop sleeps waits for the next event.
        let answered = self.answer_questions();
        self.end_phase(Phase::Reap, reaped || answered);
        self.worker.times.end_turn(self.worker.stats.requests_over(), self.phases.mark());
        Ok(())
    }

    /// Reads the clock only for a phase in which something was done: most turns do nothing but drive.
    fn end_phase(&mut self, phase: Phase, worked: bool) {
        let now = if worked { self.clock() } else { self.phases.mark() };
        self.phases.end(phase, now);
    }

    fn clock(&self) -> Moment {
        self.worker.moment_of(self.reactor.clock())
    }

    /// From now on what happens is marked between system calls.
    pub fn mark_syscalls(&mut self, marks: Marks) {
        self.worker.marks = marks;
    }

    /// How the loop ended; `None` while it has not.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// The world this loop lives in.
    pub fn reactor(&mut self) -> &mut R {
        &mut self.reactor
    }

    /// What answers.
    pub fn service(&mut self) -> &mut V {
        &mut self.worker.service
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Sleeps until readiness, a notice or the next deadline; not at all while somebody can be driven or accepted.
    fn poll(&mut self) -> io::Result<()> {
        let due = self.next_wake();
        let timeout = due.map(|at| at.saturating_duration_since(self.reactor.now()));
        self.worker.stats.syscalls.wait += 1;
        self.worker.marks.wait(timeout);
        self.reactor.poll(timeout, &mut self.events)?;
        let now = self.reactor.now();
        self.worker.on_turn(now, || self.reactor.wall());
        self.phases.woke(due, self.events.len(), now);
        self.phases.end(Phase::Poll, self.worker.moment);
        Ok(())
    }

    fn next_wake(&self) -> Option<Instant> {
        let now = self.worker.around.now;
        let full = self.full();
        let asked = self.inspections.as_ref().is_some_and(|inspections| !inspections.is_empty());
        if asked || !self.run_queue.is_empty() || self.acceptor.has_work(now, full) {
            return Some(now);
        }
        let wakes = [
            self.timers.next_wake().map(|at| self.worker.instant_of(at)),
            self.acceptor.rests_until().filter(|_| !full.public),
            self.shutdown.as_ref().map(Shutdown::deadline),
        ];
        wakes.into_iter().flatten().min()
    }

    /// Turns events and notices into marks on connections and entries in the run queue. Returns how many there were.
    fn collect(&mut self) -> usize {
        let mut events = std::mem::take(&mut self.events);
        let count = events.len();
        for event in events.drain(..) {
            self.on_event(event);
        }
        self.events = events;
        count
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connection(token, readiness) => {
                if let Some(connection) = self.connections.get_mut(token) {
                    connection.on_readiness(readiness);
                    self.run_queue.push(token, connection);
                }
            }
            Event::Listener(listener) => self.acceptor.on_readable(listener),
            Event::Wake => self.on_wakes(),
            Event::Signal(signal) => self.on_signal(signal),
        }
    }

    fn on_wakes(&mut self) {
        self.wakes.collect(&mut self.woken);
        // The first notice of a batch wakes the loop, the others find it woken.
        self.worker.stats.syscalls.wake += u64::from(!self.woken.is_empty());
        for token in self.woken.drain(..) {
            if let Some(connection) = self.connections.get_mut(token) {
                self.run_queue.push(token, connection);
            }
        }
    }

    /// Drives every connection that was in the queue when the phase began, oldest first.
    fn run(&mut self) {
        let mut began = self.phases.mark();
        for _ in 0..self.run_queue.len() {
            if let Some(token) = self.run_queue.pop() {
                self.drive(token);
                began = self.on_driven(token, began);
            }
        }
        self.phases.end(Phase::Run, began);
    }

    /// Notes how long a drive took, and which requests it ended. Returns when the next drive begins.
    fn on_driven(&mut self, token: Token, began: Moment) -> Moment {
        let now = self.clock();
        if let Some(connection) = self.connections.get_mut(token) {
            let id = connection.id();
            let finished = &self.worker.finished;
            self.phases.drove(now.nanos_since(began), now, |request| {
                if let Some(record) = finished.back().map(|record| &**record).or(connection.record()) {
                    record.write_request(request);
                }
                id
            });
            let (id, peer, role) = (connection.id(), connection.peer(), connection.role());
            self.close_records(id, peer, role, now);
        }
        now
    }

    /// Notes the requests that are over, oldest first.
    fn close_records(&mut self, id: u64, peer: Peer, role: ListenerRole, now: Moment) {
        while let Some(record) = self.worker.finished.pop_front() {
            self.worker.stats.admin_requests += u64::from(role == ListenerRole::Admin);
            self.worker.close_record(record, now, |record| {
                if let Some(log) = &mut self.access_log {
                    log.note(id, peer, record, Clocks { now, wall: self.reactor.wall() });
                }
            });
        }
    }

    /// Acts on deadlines that are still due.
    fn expire(&mut self) -> bool {
        let mut due = std::mem::take(&mut self.due);
        self.timers.expire(self.worker.moment, &mut due);
        let any = !due.is_empty();
        for index in due.drain(..) {
            self.expire_slot(index);
        }
        self.due = due;
        self.expire_shutdown();
        any
    }

    fn expire_slot(&mut self, index: u32) {
        let Some(token) = self.connections.tenant(index) else { return };
        if let Some(connection) = self.connections.get_mut(token) {
            let began = self.worker.moment_of(self.reactor.clock());
            connection.expire(&mut self.worker);
            self.drive(token);
            self.on_driven(token, began);
        }
    }

    fn drive(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token) {
            let settled = connection.drive(&mut self.worker);
            self.apply(token, settled);
        }
    }

    /// Does what a connection asked for when it settled.
    fn apply(&mut self, token: Token, settled: Settled) {
        match settled {
            Settled::Closed(_) => self.on_closed(token),
            Settled::Open { interest, deadline, again } => {
                self.timers.arm(token.index, deadline);
                self.arm(token, interest);
                if again && let Some(connection) = self.connections.get_mut(token) {
                    self.run_queue.push(token, connection);
                }
            }
        }
    }

    /// Asks the kernel for what the connection now needs, if that is not what it was asked for already.
    fn arm(&mut self, token: Token, interest: Interest) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let (socket, armed) = connection.armed_socket();
        if armed == Some(interest) {
            return;
        }
        self.worker.stats.syscalls.ctl += 1;
        match self.reactor.arm(socket, token, armed, interest) {
            Ok(()) => connection.on_armed(interest),
            Err(error) => {
                log::error!("{}: the kernel refuses to watch it: {error}", connection.peer());
                connection.close(CloseReason::Broken(error.kind()));
                self.on_closed(token);
            }
        }
    }

    fn on_closed(&mut self, token: Token) {
        self.closed.push(token);
    }

    /// Whoever looks after the server gets in all the same.
    fn full(&self) -> Full {
        let public = self.connections.len() - self.admins;
        Full { public: public >= self.worker.around.limits.connections_max, admin: self.admins >= ADMINS_MAX }
    }

    /// Takes new connections off the listeners' queues, a bounded number of them. Says whether there may have been any;
    /// so do the phases around it.
    fn accept(&mut self) -> bool {
        let any = self.acceptor.has_work(self.worker.around.now, self.full());
        for _ in 0..self.worker.around.limits.accepts_per_turn {
            if !self.accept_one() {
                break;
            }
        }
        if let Some((level, news)) = self.acceptor.take_news(self.full().public, self.worker.around.now) {
            self.worker.complain(level, format_args!("{news}"));
        }
        any
    }

    fn accept_one(&mut self) -> bool {
        let now = self.worker.around.now;
        let (full, backoff) = (self.full(), self.worker.around.limits.accept_backoff);
        let accepted = self.acceptor.accept(&mut self.reactor, full, now, backoff);
        self.worker.stats.syscalls.accept = self.acceptor.attempts();
        let Some((socket, peer, role)) = accepted else { return false };
        self.admins += usize::from(role == ListenerRole::Admin);
        let token = self.connections.next_token();
        self.accepted += 1;
        let id = self.accepted;
        self.worker.marks.connection(id, |text| write!(text, "accepted {peer}"));
        let connection = self.connections.insert(Connection::new(id, token, role, socket, peer, self.worker.moment));
        debug_assert_eq!(token, connection);
        self.connections_max = self.connections_max.max(self.connections.len());
        if let Some(connection) = self.connections.get_mut(token) {
            let settled = connection.settle(&mut self.worker, false);
            self.apply(token, settled);
        }
        true
    }

    /// Frees what closed; only here does a token stop being valid.
    fn reap(&mut self) -> bool {
        let mut closed = std::mem::take(&mut self.closed);
        let any = !closed.is_empty();
        for token in closed.drain(..) {
            self.free(token);
        }
        self.closed = closed;
        self.end_when_drained();
        any | self.access_log.as_mut().is_some_and(AccessLog::end_turn)
    }

    fn free(&mut self, token: Token) {
        let Some(mut connection) = self.connections.remove(token) else { return };
        self.admins -= usize::from(connection.role() == ListenerRole::Admin);
        connection.give_back(&mut self.worker);
        self.worker.stats.syscalls.close += 1;
        self.close_records(connection.id(), connection.peer(), connection.role(), self.worker.moment);
        self.timers.disarm(token.index);
        self.acceptor.end_rest();
        log::debug!("{}: {}", connection.peer(), close_line(&connection));
        if let Some(reason) = connection.close_reason() {
            self.worker.marks.connection(connection.id(), |text| write!(text, "close: {reason}"));
        }
    }
}

fn close_line<S: crate::net::Socket>(connection: &Connection<S>) -> String {
    let reason = connection.close_reason().map_or(String::from("open"), |reason| reason.to_string());
    format!("{reason} after {} requests", connection.requests())
}
