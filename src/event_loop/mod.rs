//! One thread, one loop, one connection at a time.
//!
//! A turn has six phases, always in this order; see [`EventLoop::turn`].

mod accept_queues;
mod acceptor;
mod access_log;
mod closing;
mod cpu_clock;
mod dialling;
mod driving;
mod inspect;
mod jobs;
mod listeners;
mod metrics;
mod minute;
mod phases;
mod reloading;
mod replacing;
mod run_queue;
mod shutdown;
mod tls_upkeep;
mod totals;
mod upstream_upkeep;

pub use access_log::{AccessLog, Lines};
pub use reloading::ReloadRequest;
pub use shutdown::Outcome;
pub use totals::Totals;

use std::io;
use std::rc::Rc;

use log::Level;

use accept_queues::AcceptQueues;
use acceptor::{Accepted, Acceptor, Full, News};
use cpu_clock::CpuClock;
use driving::DriveParts;
use phases::{Phase, Phases};
use reloading::Reloading;
use run_queue::RunQueue;
use shutdown::Shutdown;
use tls_upkeep::TlsUpkeep;
use upstream_upkeep::UpstreamUpkeep;

use crate::base::job_pool::JobPool;
use crate::base::limits::{ConnectionsBound, Limits};
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::slots::{Slots, Token};
use crate::base::timer_wheel::TimerWheel;
use crate::base::wake::{Wake, WakeKey, Wakes};
use crate::connection::{Connection, Entrance, Identity, LoopContext};
use crate::net::marks::Marks;
use crate::net::tls::{Fault, LiveConfig, Session};
use crate::net::{Event, Reactor, Socket};
use crate::observe::minute::LastMinute;
use crate::service::Service;
use crate::service::access::Refusals;
use crate::service::status::inspection_queue::InspectionQueue;

/// The time of `collect` is taken only with so many events or more: one takes some nanoseconds.
const MANY_EVENTS: usize = 32;

/// The event loop: every connection, and who is to be driven when.
pub struct EventLoop<R: Reactor, V: Service> {
    reactor: R,
    service: V,
    context: LoopContext,
    connections: Slots<Connection<R::Socket>>,
    run_queue: RunQueue,
    timers: TimerWheel,
    acceptor: Acceptor,
    accept_queues: AcceptQueues,
    wakes: Wakes,
    shutdown: Option<Shutdown>,
    outcome: Option<Outcome>,
    phases: Phases,
    cpu: CpuClock,
    /// Where questions about the loop are left, if anybody may ask.
    inspections: Option<Rc<InspectionQueue>>,
    /// Orders to read the configuration again.
    reloading: Reloading,
    /// Those of the connections that came through the admin's listener.
    admins: Vec<Token>,
    /// What was counted in the last minute, if anybody may ask.
    last_minute: LastMinute,
    access_log: Option<AccessLog>,
    /// Requests that rules of access have refused, if there are any rules.
    refusals: Option<Rc<Refusals>>,
    /// What upstreams need, if there are any, and how many connections to them are open.
    upstreams: Option<UpstreamUpkeep>,
    upstreams_open: usize,
    /// Connections that were made to upstreams so far.
    dialled: u64,
    /// The configuration for TLS, if a listener has it.
    tls: Option<TlsUpkeep<LiveConfig>>,
    /// The most connections at a time.
    connections_max: usize,
    /// Whether an interrupt has ordered it to stop, or to hurry.
    interrupted: bool,
    /// Connections accepted and made so far; the last one's number.
    numbered: u64,
    /// Connections that ended in this turn.
    closed: Vec<Token>,
    /// Memory for what a phase collects, reused from turn to turn.
    events: Vec<Event>,
    woken: Vec<Wake>,
    due: Vec<u32>,
}

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// A loop over `reactor`'s listeners. `wakes` must interrupt `reactor`.
    pub fn new(mut reactor: R, service: V, limits: Limits, wakes: Wakes, jobs: JobPool) -> EventLoop<R, V> {
        EventLoop {
            context: LoopContext::new(limits, wakes.clone(), jobs, reactor.origin(), reactor.wall()),
            service,
            accept_queues: AcceptQueues::new(&mut reactor),
            acceptor: Acceptor::new(reactor.listeners()),
            timers: TimerWheel::new(),
            connections: Slots::new(),
            run_queue: RunQueue::default(),
            wakes,
            reactor,
            shutdown: None,
            outcome: None,
            phases: Phases::default(),
            cpu: CpuClock::default(),
            inspections: None,
            reloading: Reloading::default(),
            admins: Vec::new(),
            last_minute: LastMinute::default(),
            access_log: None,
            refusals: None,
            upstreams: None,
            upstreams_open: 0,
            dialled: 0,
            tls: None,
            connections_max: 0,
            interrupted: false,
            numbered: 0,
            closed: Vec::new(),
            events: Vec::new(),
            woken: Vec::new(),
            due: Vec::new(),
        }
    }

    /// The access log, if one is kept.
    pub fn access_log(&self) -> Option<&AccessLog> {
        self.access_log.as_ref()
    }

    /// Turns once: notice first, act later.
    ///
    /// An event, a timer and a wake for one connection in one turn drive it once. Whoever is woken by one of these drives is
    /// driven in the same turn, perhaps for the second time; see `run`. Input and output come before
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
        if self.acceptor.has_seen() || self.accept_queues.due().is_some_and(|at| at <= self.context.moment) {
            self.watch_accept_queues();
        }
        self.end_phase(Phase::Accept, accepted);
        let reaped = self.reap();
        // After everything that drives: a question that nobody answers before the loop sleeps waits for the next event.
        let answered = self.answer_questions();
        self.end_phase(Phase::Reap, reaped || answered);
        self.context.times.end_turn(self.phases.mark());
        Ok(())
    }

    /// Reads the clock only for a phase in which something was done: most turns do nothing but drive.
    fn end_phase(&mut self, phase: Phase, worked: bool) {
        let now = if worked { self.reactor.clock() } else { self.phases.mark() };
        self.phases.end(phase, now);
    }

    /// The connections, and apart from them what driving one of them takes: it is looked up once.
    fn split(&mut self) -> (&mut Slots<Connection<R::Socket>>, DriveParts<'_, R, V>) {
        let parts = DriveParts {
            reactor: &mut self.reactor,
            service: &mut self.service,
            context: &mut self.context,
            run_queue: &mut self.run_queue,
            timers: &mut self.timers,
            phases: &mut self.phases,
            cpu: &mut self.cpu,
            access_log: &mut self.access_log,
            closed: &mut self.closed,
        };
        (&mut self.connections, parts)
    }

    /// From now on what happens is marked.
    pub fn mark(&mut self, marks: Marks) {
        self.context.marks = marks;
    }

    /// How the loop ended; `None` while it has not.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// The reactor of this loop.
    pub fn reactor(&mut self) -> &mut R {
        &mut self.reactor
    }

    /// What answers.
    pub fn service(&mut self) -> &mut V {
        &mut self.service
    }

    /// Connections accepted so far.
    fn accepted(&self) -> u64 {
        self.numbered - self.dialled
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Sleeps until readiness, a wake or the next deadline; not at all while somebody can be driven or accepted.
    fn poll(&mut self) -> io::Result<()> {
        let (due, turn_began) = (self.next_wake(), self.context.moment);
        // From the end of the turn on, and not from its beginning: a long turn does not put the deadline off.
        let timeout = due.map(|at| at.since(self.phases.mark()));
        self.context.counters.syscalls.wait += 1;
        self.context.marks.wait(timeout);
        self.reactor.poll(timeout, &mut self.events)?;
        let now = self.reactor.moment();
        if self.context.on_turn(now, || self.reactor.wall()) && self.inspections.is_some() {
            self.look_at_counters(now);
        }
        let nanos = now.nanos_since(self.phases.mark());
        self.cpu.on_polled(nanos);
        self.context.long_drives.on_polled(turn_began, nanos, now, self.numbered);
        self.context.arrivals.on_polled(turn_began, nanos, self.events.len(), now);
        self.phases.woke(due, self.events.len(), now);
        self.phases.end(Phase::Poll, now);
        Ok(())
    }

    fn next_wake(&self) -> Option<Moment> {
        let (now, full) = (self.context.environment.now, self.full());
        let asked = self.inspections.as_ref().is_some_and(|inspections| !inspections.is_empty());
        let ready = !self.run_queue.is_empty() || self.wakes.is_anybody_ready() || self.may_dial();
        if asked || ready || self.acceptor.has_work(now, full) {
            return Some(self.context.moment);
        }
        let rested = self.acceptor.looks_at(full).map(|at| self.context.moment_of(at));
        let drained = self.shutdown.as_ref().map(|shutdown| self.context.moment_of(shutdown.deadline()));
        let looked = self.tls.as_ref().map(TlsUpkeep::due);
        let asks = earliest(self.accept_queues.due(), self.upstreams.as_ref().and_then(UpstreamUpkeep::due));
        earliest(earliest(self.timers.next_wake(), rested), earliest(earliest(drained, looked), asks))
    }

    /// Notes events and wakes on their connections, and queues these. Returns how many events there were.
    fn collect(&mut self) -> usize {
        let mut events = std::mem::take(&mut self.events);
        let count = events.len();
        for event in events.drain(..) {
            self.on_event(event);
        }
        self.events = events;
        if self.wakes.is_anybody_ready() {
            self.wakes.begin_turn();
            self.queue_ready();
        }
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
        // The first wake of a batch interrupts the loop, the others find it interrupted.
        self.context.counters.syscalls.wake += u64::from(!self.woken.is_empty());
        self.queue_woken();
    }

    /// Queues whoever was woken on this thread.
    fn queue_ready(&mut self) {
        self.wakes.collect_ready(&mut self.woken);
        self.queue_woken();
    }

    /// Notes wakes on their connections, and queues these. A wake for a connection that has gone reaches nobody.
    fn queue_woken(&mut self) {
        for Wake { key: WakeKey { token, stream }, job_began } in self.woken.drain(..) {
            let connection = self.connections.get_mut(token);
            if let Some(connection) = connection.filter(|connection| !connection.is_closed()) {
                connection.on_woken(stream, job_began.map(|at| self.context.moment_of(at)));
                self.run_queue.push(token, connection);
            }
        }
    }

    /// Drives every connection that was in the queue when the phase began, oldest first, and then whoever was woken on
    /// this thread meanwhile: what one connection has for another leaves in the same turn.
    ///
    /// This is bounded, however often connections wake each other. There is one second pass, and it drives each connection
    /// at most once. Whoever is woken in it is driven in the next turn, which does not sleep. Whoever spent its budget in
    /// the first pass is in the queue already and waits for the next turn, too, whether it was woken or not.
    fn run(&mut self) {
        let mut began = self.drive_first(self.run_queue.len(), self.phases.mark());
        began = self.dial(began);
        if self.wakes.is_anybody_ready() {
            let spent = self.run_queue.len();
            self.queue_ready();
            let woken = self.run_queue.len() - spent;
            self.run_queue.put_behind(spent);
            began = self.drive_first(woken, began);
            began = self.dial(began);
        }
        self.phases.end(Phase::Run, began);
    }

    /// Drives the first `count` connections in the queue. Returns when the next drive begins.
    fn drive_first(&mut self, count: usize, mut began: Moment) -> Moment {
        let (connections, mut parts) = self.split();
        for _ in 0..count {
            if let Some(token) = parts.run_queue.pop()
                && let Some(connection) = connections.get_mut(token)
            {
                parts.drive(token, connection);
                began = parts.on_driven(connection, began);
            }
        }
        began
    }

    /// Acts on deadlines that are still due.
    fn expire(&mut self) -> bool {
        let mut due = std::mem::take(&mut self.due);
        self.timers.expire(self.context.moment, &mut due);
        let any = !due.is_empty();
        for index in due.drain(..) {
            self.expire_slot(index);
        }
        self.due = due;
        if let Some(tls) = &mut self.tls {
            tls.look(self.context.moment, &self.context.environment.jobs, &self.wakes);
        }
        if let Some(upstreams) = &mut self.upstreams {
            upstreams.look(self.context.moment, &self.context.environment.jobs, &self.wakes);
        }
        self.expire_shutdown();
        any
    }

    fn expire_slot(&mut self, index: u32) {
        let Some(token) = self.connections.tenant(index) else { return };
        let (connections, mut parts) = self.split();
        if let Some(connection) = connections.get_mut(token) {
            let began = parts.reactor.clock();
            parts.context.drive_began = began;
            connection.expire(parts.context);
            parts.drive(token, connection);
            parts.on_driven(connection, began);
        }
    }

    /// Which limits on connections are reached. The admin has a limit of its own.
    fn full(&self) -> Full {
        let others = self.connections.len() - self.admins.len() - self.upstreams_open;
        let limits = &self.context.environment.limits;
        Full { everyone: others >= limits.connections_max, admin: self.admins.len() >= limits.admins_max }
    }

    /// Takes new connections off the listeners' queues, a bounded number of them. Says whether there may have been any;
    /// so do the phases around it.
    fn accept(&mut self) -> bool {
        let any = self.accept_some();
        if self.acceptor.is_closing() {
            self.close_removed_listeners();
        }
        if self.context.idle_lingerers > 0 {
            self.spare_lingerers();
        }
        any
    }

    /// Whoever lingers only to see whether a request comes too late holds no slot and no descriptor that others want.
    #[cold]
    fn spare_lingerers(&mut self) {
        let full = self.full();
        if !full.everyone && !full.admin && !self.acceptor.is_short_of_descriptors() {
            return;
        }
        let lingering = self.connections.iter().filter(|(_, connection)| connection.lingers_idle());
        let tokens: Vec<_> = lingering.map(|(token, _)| token).collect();
        for token in tokens {
            if let Some(connection) = self.connections.get_mut(token) {
                connection.end_idle_linger();
                self.closed.push(token);
            }
        }
    }

    fn accept_some(&mut self) -> bool {
        let (now, full) = (self.context.environment.now, self.full());
        let any = self.acceptor.has_work(now, full);
        if !any && !full.everyone {
            return false;
        }
        for _ in 0..self.context.environment.limits.accepts_per_turn {
            let has_accepted = self.accept_one();
            // At once, so that nobody comes in between who would be reset.
            self.close_removed_listeners();
            if !has_accepted {
                break;
            }
        }
        match self.acceptor.take_news(self.full().everyone, now) {
            Some(News::Full) => self.complain_of_full(),
            Some(News::Line(level, line)) => self.context.complain(level, format_args!("{line}")),
            None => {}
        }
        any
    }

    /// Says which setting keeps everyone else waiting.
    fn complain_of_full(&self) {
        let limits = &self.context.environment.limits;
        let all = "all connections allowed are in use: new ones wait";
        let max = limits.connections_max;
        match limits.connections_bound {
            ConnectionsBound::Setting => {
                self.context.complain(Level::Warn, format_args!("{all} (--max-connections {max})"))
            }
            ConnectionsBound::Descriptors(n) => {
                self.context.complain(Level::Warn, format_args!("{all} (ulimit -n {n} is enough for {max})"));
            }
        }
    }

    fn accept_one(&mut self) -> bool {
        let now = self.context.environment.now;
        let (full, backoff) = (self.full(), self.context.environment.limits.accept_backoff);
        let accepted = self.acceptor.accept(&mut self.reactor, full, now, backoff);
        self.context.counters.syscalls.accept = self.acceptor.attempts();
        let Some(Accepted { mut socket, peer, listener, role }) = accepted else { return false };
        let Ok(session) = self.session(role) else { return true };
        let token = self.connections.next_token();
        if role == ListenerRole::Admin {
            self.admins.push(token);
            self.context.admin.accepted += 1;
        }
        self.numbered += 1;
        let id = self.numbered;
        socket.on_named(id);
        self.context.marks.connection(id, |text| write!(text, "accepted {peer}"));
        let connection = self.connections.insert(Connection::new(
            Identity { id, token, peer },
            Entrance { listener, role },
            socket,
            session,
            self.context.moment,
        ));
        debug_assert_eq!(token, connection);
        self.connections_max = self.connections_max.max(self.connections.len());
        let (connections, mut parts) = self.split();
        if let Some(connection) = connections.get_mut(token) {
            let settled = connection.settle(parts.context, false);
            parts.apply(token, connection, settled);
        }
        true
    }

    /// The TLS session of a connection that was accepted by a listener with this role, if there is to be one.
    fn session(&self, role: ListenerRole) -> Result<Option<Session>, Fault> {
        if role != ListenerRole::Https {
            return Ok(None);
        }
        // Never without: what is meant for https does not go out in the clear.
        let session = self.tls.as_ref().map_or_else(|| Err(Fault::not_set_up()), |tls| tls.config().session());
        session.map(Some).inspect_err(|fault| log::error!("cannot begin a TLS session: {fault}"))
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
}

/// The earlier of two moments, if there are any.
fn earliest(one: Option<Moment>, other: Option<Moment>) -> Option<Moment> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
