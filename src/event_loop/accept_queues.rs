//! How many connections wait to be accepted, and whether the kernel turns others away.
//!
//! While the loop is busy nobody counts them, and afterwards it is cheap: those that are accepted one after another without
//! finding the queue empty have waited together. The kernel is asked only if that does not tell everything: connections were
//! left in the queue, or so many were accepted that the queue was full.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::EventLoop;
use super::acceptor::Seen;
use crate::base::accept_queue::AcceptQueue;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::net::Reactor;
use crate::observe::accept_queue::{HighWater, Overflow, QueueStatus};
use crate::observe::delay::Delay;
use crate::service::Service;

/// The kernel is asked about each listener no more often: a load of new connections that leaves the queue full in every turn
/// is not to pay for it.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// As long as connections wait that may not come in, the kernel is asked again after so long: it tells of each that comes, but
/// not of those for which there is no room.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The log says again that a queue overflows if it did not for so long.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// The number of no connection: whoever waits to be accepted waits for all of them.
const NOBODY: u64 = 0;

/// What is known of the accept queue of each listener.
#[derive(Debug)]
pub(super) struct AcceptQueues {
    watched: Vec<Watched>,
    /// When the kernel is to be asked about one of them, if it is.
    due: Option<Moment>,
}

#[derive(Debug)]
struct Watched {
    status: QueueStatus,
    role: ListenerRole,
    /// When the kernel is to be asked next, if it is.
    due_at: Option<Moment>,
    asked_at: Option<Moment>,
    /// When the last overflow was found.
    overflowed_at: Option<Moment>,
}

impl Watched {
    /// The queue of a listener. What it has dropped already is news in the next turn.
    fn new<R: Reactor>(listener: ListenerId, role: ListenerRole, reactor: &mut R) -> Watched {
        let queue = reactor.accept_queue(listener).ok();
        let status = QueueStatus {
            listener,
            address: reactor.address(listener),
            limit: queue.map(|queue| queue.limit),
            drops: queue.and_then(|queue| queue.drops.map(|_| 0)),
            ..QueueStatus::default()
        };
        let due_at = queue.filter(|queue| queue.drops > Some(0)).map(|_| Moment::default());
        Watched { status, role, due_at, asked_at: None, overflowed_at: None }
    }

    /// The kernel is to be asked as soon as that is allowed, if it answers at all.
    fn expect_question(&mut self, now: Moment) {
        let at = self.asked_at.map_or(now, |at| now.max(at + ASK_AGAIN));
        if self.status.limit.is_some() {
            self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
        }
    }

    /// So many connections were seen to wait.
    fn note_depth(&mut self, depth: u32, at: impl FnOnce() -> SystemTime, behind: impl FnOnce() -> Option<Rc<Delay>>) {
        if depth > self.status.high_water.as_ref().map_or(0, |most| most.depth) {
            self.status.high_water = Some(HighWater { depth, at: at(), behind: behind() });
        }
    }

    /// Compares what the kernel has counted with what it had counted before. Returns how many packets were dropped
    /// meanwhile, if that is news.
    fn note_drops(&mut self, queue: AcceptQueue, now: Moment, wall: SystemTime) -> Option<u32> {
        self.status.limit = Some(queue.limit);
        let packets = queue.drops?.wrapping_sub(self.status.drops.unwrap_or(0));
        self.status.drops = queue.drops;
        if packets == 0 {
            return None;
        }
        self.status.dropped_at = Some(wall);
        let is_said = self.overflowed_at.is_some_and(|at| now.since(at) < SAY_AGAIN);
        self.overflowed_at = Some(now);
        (!is_said).then_some(packets)
    }
}

impl AcceptQueues {
    /// The queues of the reactor's listeners.
    pub(super) fn new<R: Reactor>(reactor: &mut R) -> AcceptQueues {
        let mut queues = AcceptQueues { watched: Vec::new(), due: None };
        reactor.listeners().into_iter().for_each(|(listener, role)| queues.add(listener, role, reactor));
        queues
    }

    /// Watches the queue of a listener that was just opened.
    pub(super) fn add<R: Reactor>(&mut self, listener: ListenerId, role: ListenerRole, reactor: &mut R) {
        self.watched.push(Watched::new(listener, role, reactor));
        self.find_due();
    }

    pub(super) fn set_role(&mut self, listener: ListenerId, role: ListenerRole) {
        let of_it = self.watched.iter_mut().find(|watched| watched.status.listener == listener);
        of_it.into_iter().for_each(|watched| watched.role = role);
    }

    /// Forgets the queue of a listener that is closed while the server goes on.
    pub(super) fn remove(&mut self, listener: ListenerId) {
        self.watched.retain(|watched| watched.status.listener != listener);
        self.find_due();
    }

    /// When the kernel is to be asked about one of them, if it is.
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    fn find_due(&mut self) {
        self.due = self.watched.iter().filter_map(|watched| watched.due_at).min();
    }

    /// How many packets the kernel has dropped at each listener, as far as the loop knows.
    pub(super) fn drops(&self) -> impl Iterator<Item = (ListenerId, u32)> {
        self.watched.iter().filter_map(|watched| Some((watched.status.listener, watched.status.drops?)))
    }

    /// What there is to tell of those that are for everyone.
    pub(super) fn statuses_of_everyone(&self) -> Vec<QueueStatus> {
        let of_everyone = self.watched.iter().filter(|watched| watched.role.is_for_everyone());
        of_everyone.map(|watched| watched.status.clone()).collect()
    }

    /// What there is to tell, in the order in which the listeners were opened.
    pub(super) fn statuses(&self) -> Vec<QueueStatus> {
        self.watched.iter().map(|watched| watched.status.clone()).collect()
    }
}

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// Looks how many connections have waited, after some were accepted or could not be.
    pub(super) fn watch_accept_queues(&mut self) {
        for place in 0..self.accept_queues.watched.len() {
            let seen = self.acceptor.take_seen(self.accept_queues.watched[place].status.listener);
            let now = self.context.moment;
            let watched = &mut self.accept_queues.watched[place];
            let was_full = watched.status.limit.is_some_and(|limit| seen.accepted > limit);
            if seen.left_some || was_full {
                watched.expect_question(now);
            }
            if watched.due_at.is_some_and(|at| at <= now) {
                self.ask_about_queue(place, seen);
            } else if seen.accepted > 0 {
                let behind = || self.context.long_drives.delay(NOBODY, Moment::default(), self.phases.mark());
                watched.note_depth(seen.accepted, || self.reactor.wall(), behind);
            }
        }
        self.accept_queues.find_due();
    }

    /// Looks at all queues that are about to be closed.
    pub(super) fn ask_about_queues_at_last(&mut self) {
        for place in 0..self.accept_queues.watched.len() {
            let seen = self.acceptor.take_seen(self.accept_queues.watched[place].status.listener);
            self.ask_about_queue(place, seen);
            self.accept_queues.watched[place].due_at = None;
        }
        self.accept_queues.find_due();
    }

    fn ask_about_queue(&mut self, place: usize, seen: Seen) {
        let (now, full) = (self.context.moment, self.full());
        let listener = self.accept_queues.watched[place].status.listener;
        let queue = self.reactor.accept_queue(listener).ok();
        self.context.counters.syscalls.netlink += u64::from(queue.is_some());
        let watched = &mut self.accept_queues.watched[place];
        watched.asked_at = Some(now);
        watched.due_at = queue.filter(|queue| queue.depth > 0).map(|_| now + LOOK_AGAIN);
        let depth = seen.accepted + queue.map_or(0, |queue| queue.depth);
        let behind = self.context.long_drives.delay(NOBODY, Moment::default(), self.phases.mark());
        let wall = self.reactor.wall();
        watched.note_depth(depth, || wall, || behind.clone());
        let Some(queue) = queue else { return };
        if let Some(packets) = watched.note_drops(queue, now, wall) {
            let address = watched.status.address.clone();
            let is_barred = seen.accepted == 0 && !full.has_room_for(watched.role);
            log::warn!("{}", Overflow { address, packets, depth, limit: queue.limit, at: wall, behind, is_barred });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn an_overflow_is_said_when_it_begins_and_again_after_a_quiet_minute() {
        let status = QueueStatus { drops: Some(u32::MAX), ..QueueStatus::default() };
        let mut watched =
            Watched { status, role: ListenerRole::Http, due_at: None, asked_at: None, overflowed_at: None };
        let mut said = |seconds: u64, drops: u32| {
            let queue = AcceptQueue { depth: 0, limit: 7, drops: Some(drops) };
            watched.note_drops(queue, Moment::from_millis(seconds * 1000), UNIX_EPOCH)
        };
        let said = [(0, u32::MAX), (1, 4), (2, 4), (30, 10), (89, 11), (149, 11), (150, 13), (150, 14)]
            .map(|(seconds, drops)| said(seconds, drops));
        assert_eq!(said, [None, Some(5), None, None, None, None, Some(2), None]);
        assert_eq!((watched.status.drops, watched.status.limit), (Some(14), Some(7)));
    }
}
