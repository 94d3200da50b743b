//! Accepting: which listeners have connections waiting, and when to leave them there.
//!
//! Under edge triggering a listener speaks once: what it said is remembered here until its queue proves empty. A
//! listener that ran into the descriptor limit says nothing more, although its queue is not empty; it is tried again
//! when a connection has been freed, or after a rest.

use std::time::{Duration, Instant};

use log::Level;

use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::peer::Peer;
use crate::net::{Reactor, is_out_of_descriptors};

/// Who cannot come in, since there are as many of them as there may be.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Full {
    /// Everyone but the admin.
    pub(super) everyone: bool,
    /// The admin.
    pub(super) admin: bool,
}

impl Full {
    pub(super) fn has_room_for(self, role: ListenerRole) -> bool {
        let is_full = if role.is_for_everyone() { self.everyone } else { self.admin };
        !is_full
    }
}

/// What is known of one listener.
#[derive(Debug, Clone, Copy)]
struct State {
    id: ListenerId,
    role: ListenerRole,
    /// Whether it may have connections in its queue.
    ready: bool,
    /// Whether the kernel has told so since the queue was last looked at.
    told: bool,
    /// How many connections were accepted since then.
    accepted: u32,
    /// It is to be closed as soon as its queue is empty, and at this moment at the latest.
    closes_at: Option<Instant>,
}

/// Somebody who has come in.
pub(super) struct Accepted<S> {
    pub(super) socket: S,
    pub(super) peer: Peer,
    pub(super) listener: ListenerId,
    pub(super) role: ListenerRole,
}

/// What accepting has shown of a listener's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// So many connections were accepted.
    pub(super) accepted: u32,
    /// Whether connections may have been left in the queue, and were there before.
    pub(super) left_some: bool,
}

impl State {
    fn new(id: ListenerId, role: ListenerRole) -> State {
        State { id, role, ready: false, told: false, accepted: 0, closes_at: None }
    }

    /// Whether it may have somebody in its queue who may come in.
    fn is_open(&self, full: Full) -> bool {
        self.ready && full.has_room_for(self.role)
    }
}

/// What is known of the listeners.
#[derive(Debug)]
pub(super) struct Acceptor {
    /// In the order of their numbers.
    listeners: Vec<State>,
    /// How many of them are to be closed. Mostly none is, and each turn asks.
    closing: usize,
    /// How often accepting was put off.
    rests: u64,
    /// How often the kernel was asked for a connection.
    attempts: u64,
    /// The place of the listener at which the next accept starts, so that none is always first.
    next: usize,
    /// Descriptors ran out: not before this moment, unless a connection is freed.
    resting_until: Option<Instant>,
    /// What was logged is not logged again before it is over.
    short_of_descriptors: bool,
    /// When it was last said that every connection allowed is in use.
    said_full: Option<Instant>,
    news: Option<News>,
    /// Whether any listener was ready, or any connection accepted, since the queues were last looked at.
    has_seen: bool,
    /// How many listeners may have connections in their queues. Mostly none has, and each turn asks.
    ready: usize,
}

/// Something that is worth a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// All connections allowed are in use, and somebody waits.
    Full,
    /// This.
    Line(Level, &'static str),
}

const NO_DESCRIPTORS: &str = "cannot accept: no descriptors left; new connections wait for one (ulimit -n)";
const CANNOT_ACCEPT: &str = "cannot accept: the listener fails; it is tried again (--log-level debug says why)";

/// The log says at most once in this time that the limit on connections is reached.
const SAY_FULL_AGAIN: Duration = Duration::from_secs(60);

impl Acceptor {
    /// For these listeners, in the order of their numbers.
    pub(super) fn new(listeners: impl IntoIterator<Item = (ListenerId, ListenerRole)>) -> Acceptor {
        Acceptor {
            listeners: listeners.into_iter().map(|(id, role)| State::new(id, role)).collect(),
            closing: 0,
            rests: 0,
            attempts: 0,
            next: 0,
            resting_until: None,
            short_of_descriptors: false,
            said_full: None,
            news: None,
            has_seen: false,
            ready: 0,
        }
    }

    /// The listeners that are open and are not to be closed, in the order of their numbers.
    pub(super) fn listeners(&self) -> impl Iterator<Item = (ListenerId, ListenerRole)> {
        self.listeners.iter().filter(|state| state.closes_at.is_none()).map(|state| (state.id, state.role))
    }

    /// A listener that was just opened.
    pub(super) fn add(&mut self, id: ListenerId, role: ListenerRole) {
        self.listeners.push(State::new(id, role));
    }

    /// A listener is for something else from now on. Whoever waits in its queue gets that.
    pub(super) fn set_role(&mut self, id: ListenerId, role: ListenerRole) {
        if let Some(state) = self.state_mut(id) {
            state.role = role;
        }
    }

    /// A listener is to be closed as soon as its queue is empty, and at this moment at the latest.
    pub(super) fn begin_closing(&mut self, id: ListenerId, at: Instant) {
        if let Some(state) = self.state_mut(id)
            && state.closes_at.replace(at).is_none()
        {
            self.closing += 1;
            // The kernel tells of an empty queue only if it is asked.
            self.on_readable(id);
        }
    }

    /// Takes a listener that can be closed now. Nothing more is known of it then.
    pub(super) fn take_closable(&mut self, now: Instant) -> Option<ListenerId> {
        if self.closing == 0 {
            return None;
        }
        let is_closable = |state: &State| state.closes_at.is_some_and(|at| !state.ready || at <= now);
        let place = self.listeners.iter().position(is_closable)?;
        let state = self.listeners.remove(place);
        self.closing -= 1;
        self.ready -= usize::from(state.ready);
        Some(state.id)
    }

    /// Whether any listener is to be closed.
    pub(super) fn is_closing(&self) -> bool {
        self.closing > 0
    }

    /// When the listeners are to be looked at again: when they have rested, or when the next of those that are to be closed is
    /// closed at the latest.
    pub(super) fn looks_at(&self, full: Full) -> Option<Instant> {
        let rested = self.rests_until(full);
        if self.closing == 0 {
            return rested;
        }
        let closed = self.listeners.iter().filter_map(|state| state.closes_at);
        rested.into_iter().chain(closed).min()
    }

    fn state_mut(&mut self, id: ListenerId) -> Option<&mut State> {
        let place = self.listeners.binary_search_by_key(&id, |state| state.id).ok()?;
        Some(&mut self.listeners[place])
    }

    /// An event of this turn may name a listener that has been closed since.
    pub(super) fn on_readable(&mut self, listener: ListenerId) {
        if let Ok(place) = self.listeners.binary_search_by_key(&listener, |state| state.id) {
            let state = &mut self.listeners[place];
            self.ready += usize::from(!state.ready);
            (state.ready, state.told) = (true, true);
            self.has_seen = true;
        }
    }

    /// Whether there is anything to take with `take_seen`.
    pub(super) fn has_seen(&self) -> bool {
        self.has_seen
    }

    /// What has been seen of a listener's queue since the last call.
    pub(super) fn take_seen(&mut self, listener: ListenerId) -> Seen {
        self.has_seen = false;
        let Some(state) = self.state_mut(listener) else { return Seen::default() };
        let seen = Seen { accepted: state.accepted, left_some: state.ready && (state.told || state.accepted > 0) };
        (state.told, state.accepted) = (false, 0);
        seen
    }

    /// Worth another try: a connection's descriptor is free again, or there will be no later one.
    pub(super) fn end_rest(&mut self) {
        self.resting_until = None;
    }

    /// Nobody else comes in, but for the admin.
    pub(super) fn stop(&mut self) {
        for state in self.listeners.iter_mut().filter(|state| state.role.is_for_everyone()) {
            self.ready -= usize::from(std::mem::take(&mut state.ready));
        }
        self.resting_until = None;
    }

    /// Whether connections wait because accepting fails, for want of descriptors mostly.
    pub(super) fn fails(&self) -> bool {
        self.short_of_descriptors
    }

    /// How often accepting was put off because it failed.
    pub(super) fn rests(&self) -> u64 {
        self.rests
    }

    /// How often the kernel was asked for a connection, with or without success.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Whether some listener that may be accepted from may have somebody in its queue.
    fn is_anybody_waiting(&self, full: Full) -> bool {
        self.ready > 0 && self.listeners.iter().any(|state| state.is_open(full))
    }

    /// Whether the last accept has failed for want of descriptors, or of something else.
    pub(super) fn is_short_of_descriptors(&self) -> bool {
        self.short_of_descriptors
    }

    /// What is worth a log line since the last call. At the limit on connections it is said that there is one, and not
    /// each time a connection leaves and the next takes its place.
    pub(super) fn take_news(&mut self, full: bool, now: Instant) -> Option<News> {
        let said = self.said_full.is_some_and(|at| now.saturating_duration_since(at) < SAY_FULL_AGAIN);
        if full && !said && self.listeners.iter().any(|state| state.role.is_for_everyone() && state.ready) {
            self.said_full = Some(now);
            return Some(News::Full);
        }
        self.news.take()
    }

    /// Whether an accept at `now` may find something.
    pub(super) fn has_work(&self, now: Instant, full: Full) -> bool {
        self.resting_until.is_none_or(|until| until <= now) && self.is_anybody_waiting(full)
    }

    /// When the listeners are to be tried again; there is no hurry while nobody waits who may come in.
    pub(super) fn rests_until(&self, full: Full) -> Option<Instant> {
        self.resting_until.filter(|_| self.is_anybody_waiting(full))
    }

    /// Takes one connection from the next listener that has one and may be accepted from.
    pub(super) fn accept<R: Reactor>(
        &mut self,
        reactor: &mut R,
        full: Full,
        now: Instant,
        backoff: Duration,
    ) -> Option<Accepted<R::Socket>> {
        while self.has_work(now, full) {
            let place = self.next_ready(full)?;
            let State { id: listener, role, .. } = self.listeners[place];
            self.attempts += 1;
            match reactor.accept(listener) {
                Ok(Some((socket, peer))) => {
                    self.listeners[place].accepted += 1;
                    self.has_seen = true;
                    return Some(Accepted { socket, peer, listener, role });
                }
                Ok(None) => self.on_empty(place),
                Err(error) => self.rest(&error, now + backoff),
            }
        }
        None
    }

    /// The place of the next listener that has somebody who may come in.
    fn next_ready(&mut self, full: Full) -> Option<usize> {
        let count = self.listeners.len();
        let mut in_turn = (0..count).map(|step| (self.next + step) % count);
        let place = in_turn.find(|place| self.listeners[*place].is_open(full))?;
        self.next = (place + 1) % count;
        Some(place)
    }

    /// Only an empty queue ends an episode: at the limit each connection that ends lets one in, and that is no news.
    fn on_empty(&mut self, place: usize) {
        self.ready -= usize::from(std::mem::take(&mut self.listeners[place].ready));
        if std::mem::take(&mut self.short_of_descriptors) {
            self.news = Some(News::Line(Level::Info, "descriptors are available again: the backlog has been accepted"));
        }
    }

    /// The queue stays as it is and no event will come for it: try again later.
    fn rest(&mut self, error: &std::io::Error, until: Instant) {
        self.resting_until = Some(until);
        self.rests += 1;
        if !std::mem::replace(&mut self.short_of_descriptors, true) {
            let out_of_descriptors = is_out_of_descriptors(error);
            self.news = Some(News::Line(Level::Warn, if out_of_descriptors { NO_DESCRIPTORS } else { CANNOT_ACCEPT }));
            log::debug!("accept: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acceptor<const N: usize>(roles: [ListenerRole; N]) -> Acceptor {
        Acceptor::new((0..).map(ListenerId::new).zip(roles))
    }

    #[test]
    fn a_rest_is_timed_if_anybody_waits_who_may_come_in() {
        let until = Instant::now();
        let mut acceptor = acceptor([ListenerRole::Http, ListenerRole::Admin]);
        acceptor.resting_until = Some(until);
        let full = |everyone, admin| Full { everyone, admin };
        assert_eq!(acceptor.rests_until(full(false, false)), None, "nobody waits");
        acceptor.on_readable(ListenerId::new(1));
        assert_eq!(acceptor.rests_until(full(true, false)), Some(until));
        assert_eq!(acceptor.rests_until(full(false, true)), None);
        acceptor.on_readable(ListenerId::new(0));
        assert_eq!(acceptor.rests_until(full(false, true)), Some(until));
        assert_eq!(acceptor.rests_until(full(true, true)), None);
    }

    #[test]
    fn descriptors_are_missed_once_and_found_again_once() {
        let mut acceptor = acceptor([ListenerRole::Http]);
        let (now, error) = (Instant::now(), std::io::Error::from(std::io::ErrorKind::Other));
        for _ in 0..2 {
            acceptor.rest(&error, now);
            assert_eq!(acceptor.take_news(false, now), Some(News::Line(Level::Warn, CANNOT_ACCEPT)));
            acceptor.rest(&error, now);
            assert_eq!(acceptor.take_news(false, now), None, "it was said");
            acceptor.on_empty(0);
            assert!(matches!(acceptor.take_news(false, now), Some(News::Line(Level::Info, _))));
            acceptor.on_empty(0);
            assert_eq!(acceptor.take_news(false, now), None, "it was said");
        }
        assert_eq!(acceptor.rests(), 4);
    }

    #[test]
    fn a_listener_is_closed_when_its_queue_is_empty_or_its_time_is_over() {
        let now = Instant::now();
        let mut acceptor = acceptor([ListenerRole::Http; 3]);
        assert_eq!((acceptor.take_closable(now), acceptor.looks_at(Full::default())), (None, None));
        let [first, second, third] = [0, 1, 2].map(ListenerId::new);
        acceptor.on_readable(second);
        acceptor.begin_closing(second, now + Duration::from_secs(2));
        acceptor.begin_closing(first, now + Duration::from_secs(1));
        assert_eq!(acceptor.listeners().collect::<Vec<_>>(), [(third, ListenerRole::Http)]);
        assert!(acceptor.has_work(now, Full::default()), "the queues are looked at");
        assert_eq!(
            (acceptor.take_closable(now), acceptor.looks_at(Full::default())),
            (None, Some(now + Duration::from_secs(1)))
        );
        acceptor.on_empty(1);
        assert_eq!((acceptor.take_closable(now), acceptor.take_closable(now)), (Some(second), None));
        assert_eq!(acceptor.take_closable(now + Duration::from_secs(1)), Some(first));
        acceptor.on_readable(first);
        assert!(!acceptor.has_work(now, Full::default()), "an event that comes too late is about nobody");
        acceptor.add(ListenerId::new(3), ListenerRole::Admin);
        acceptor.on_readable(third);
        assert!(acceptor.has_work(now, Full::default()));
        assert_eq!(acceptor.take_closable(now + Duration::from_secs(9)), None);
    }

    #[test]
    fn the_limit_on_connections_is_said_once_a_minute_and_only_if_somebody_waits() {
        let mut acceptor = acceptor([ListenerRole::Admin, ListenerRole::Http]);
        let now = Instant::now();
        acceptor.on_readable(ListenerId::new(0));
        assert!(acceptor.take_news(true, now).is_none(), "only an admin waits");
        acceptor.on_readable(ListenerId::new(1));
        let mut said = |seconds| acceptor.take_news(true, now + Duration::from_secs(seconds)).is_some();
        assert_eq!([0, 1, 59, 60, 61, 119, 120].map(&mut said), [true, false, false, true, false, false, true]);
    }
}
