//! Where exchanges and the connections to upstreams meet: which connection an exchange gets, which connections are idle, and
//! which are to be made.
//!
//! The loop owns the connections. It makes those that are asked for here, and each of them has a [`Link`], in which it finds
//! the exchange that it is to serve.
//!
//! Routes may be replaced while exchanges are under way: see [`Hub::replace`]. Whoever uses a [`Target`] keeps it alive.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::group::{AddressId, Assignment, Check, Choice, NoAddress, RETRY_AFTER_MIN};
use super::link::{Link, Open};
use super::queue::{Ticket, WaitQueue};
use super::relay;
use super::relay::{Failed, Relay, UpstreamFault, UpstreamPhase};
use super::retry::{Attempt, Refusal, may_retry};
use super::route::Route;
use super::target::{Lookup, State, Target};
use crate::base::buffer_pool::BufferPool;
use crate::base::moment::Moment;
use crate::base::wake::LocalWaker;
use crate::http::method::Method;
use crate::observe::upstream::{AddressCounters, Failure, GroupStatus, Proof};

/// Rings that are kept for the next exchange.
const RINGS_KEPT: usize = 64;
/// Idle connections that are kept for each address.
const IDLE_MAX: usize = 32;
/// How long any others are kept: a burst of responses is mostly followed by a burst of requests, and to make a connection costs
/// more than a request.
const SURPLUS_TIME: Duration = Duration::from_millis(100);

/// All upstreams of one loop.
pub struct Hub {
    rings: Rc<RefCell<BufferPool>>,
    /// Those of the routes in force, in their order.
    targets: RefCell<Vec<Rc<Target>>>,
    /// Those of earlier routes, as long as somebody uses them.
    retired: RefCell<Vec<Weak<Target>>>,
    /// The routes were replaced, and the loop has not looked at the new ones.
    has_changed: Cell<bool>,
    dials: RefCell<Vec<Rc<Link>>>,
    open: Rc<Open>,
}

/// What an exchange gets.
pub enum Given {
    /// This connection, which may still have to be made. The address counts as busy until [`Hub::end`].
    Link(Rc<Link>, Assignment),
    /// A place in the queue: no address has room. It is woken when there may be.
    Place(Ticket, Moment),
    /// Nothing, for this reason. The client may try again after this time.
    Nothing(String, Duration),
}

impl Hub {
    /// A hub without a route, so far. There are no more connections than this at a time, to all upstreams together: each takes a
    /// descriptor.
    pub fn new(connections_max: usize) -> Hub {
        Hub {
            rings: Rc::new(RefCell::new(BufferPool::new(relay::RING_BYTES, RINGS_KEPT))),
            targets: RefCell::default(),
            retired: RefCell::default(),
            has_changed: Cell::default(),
            dials: RefCell::default(),
            open: Open::new(connections_max),
        }
    }

    /// From now on these routes are in force. The result has the target of each, in their order.
    ///
    /// The target of a route that is equal to an earlier one stays as it is, with its connections, its queue, and all that is
    /// known of its addresses. Equal routes share one target. A target whose route is gone serves what it has begun and who
    /// waits in its queue, closes its idle connections, checks nothing, and is freed with the last of those who use it.
    pub fn replace<'r>(&self, routes: impl IntoIterator<Item = &'r Rc<Route>>, now: Moment) -> Vec<Rc<Target>> {
        let earlier = self.targets.take();
        let mut known: HashMap<Rc<Route>, Rc<Target>> =
            earlier.iter().map(|target| (Rc::clone(target.route()), Rc::clone(target))).collect();
        let (mut seen, mut current, mut given) = (HashMap::new(), Vec::new(), Vec::new());
        for route in routes {
            let target = seen.entry(Rc::clone(route)).or_insert_with(|| {
                let target = known.remove(route).unwrap_or_else(|| Rc::new(Target::new(route, now)));
                current.push(Rc::clone(&target));
                target
            });
            given.push(Rc::clone(target));
        }
        *self.targets.borrow_mut() = current;
        let mut retired = self.retired.borrow_mut();
        retired.retain(|target| target.strong_count() > 0);
        // In their order, and not in that of the map, so that the same happens in every run.
        for target in earlier.iter().filter(|target| known.contains_key(target.route())) {
            target.retire();
            retired.push(Rc::downgrade(target));
        }
        drop(retired);
        self.has_changed.set(true);
        given
    }

    /// Whether [`Hub::replace`] was called since [`Hub::take_changed`] was.
    pub fn has_changed(&self) -> bool {
        self.has_changed.get()
    }

    /// The same, once.
    pub fn take_changed(&self) -> bool {
        self.has_changed.take()
    }

    /// The targets of the routes in force, in their order.
    pub fn targets(&self) -> Vec<Rc<Target>> {
        self.targets.borrow().clone()
    }

    /// How many targets of earlier routes are still in use.
    pub fn retired(&self) -> usize {
        self.retired.borrow().iter().filter(|target| target.strong_count() > 0).count()
    }

    /// Every target that somebody may wait for.
    fn all(&self) -> Vec<Rc<Target>> {
        let retired = self.retired.borrow();
        self.targets.borrow().iter().cloned().chain(retired.iter().filter_map(Weak::upgrade)).collect()
    }

    /// How many connections there may be at a time, to all upstreams together.
    pub fn connections_max(&self) -> usize {
        self.open.max.get()
    }

    /// From now on there are no more connections than this at a time. Those that there are go on.
    pub fn set_connections_max(&self, max: usize) {
        self.open.max.set(max);
        // Perhaps there is room now for those who wait.
        self.open.has_freed.set(true);
    }

    /// Memory for what is relayed.
    pub fn rings(&self) -> &Rc<RefCell<BufferPool>> {
        &self.rings
    }

    /// The name of an upstream of this target cannot be resolved at present, for this reason. Addresses that are known stay in
    /// use; whoever waits for the first ones waits no longer.
    pub fn set_unresolved(&self, target: &Target, upstream: usize, why: &str) {
        let State { lookups, queue, .. } = &mut *target.state.borrow_mut();
        lookups[upstream] = Lookup::Failed(why.into());
        while let Some(waker) = queue.offer() {
            waker.wake();
        }
    }

    /// The addresses of an upstream of this target are known, or have changed.
    pub fn set_addresses(&self, target: &Target, upstream: usize, addresses: &[SocketAddr], now: Moment) {
        let mut state = target.state.borrow_mut();
        state.lookups[upstream] = Lookup::Known;
        let events = state.group.set_addresses(upstream, addresses, now);
        drop(state);
        events.iter().for_each(|event| target.tell(event));
        target.offer_room(self.spare());
    }

    /// Counts a request for the retry budget; one that is sent again is none.
    pub fn on_request(&self, target: &Target, now: Moment) {
        target.state.borrow_mut().budget.on_request(now);
    }

    /// Chooses an address for an exchange, and finds a connection for it: one that is idle, or a new one, which the loop makes.
    /// `key` is for sharing out by a hash, `except` where it has failed just now, and `ticket` its place in the queue. If it has
    /// to wait, `waker` is woken when there may be room.
    pub fn choose(
        &self,
        target: &Rc<Target>,
        key: Option<u64>,
        except: Option<AddressId>,
        ticket: Option<Ticket>,
        waker: &LocalWaker,
        now: Moment,
    ) -> Given {
        let (assignment, link) = match self.assign(target, key, except, ticket, waker, now) {
            Ok(assigned) => assigned,
            Err(given) => return given,
        };
        let link = link.unwrap_or_else(|| self.new_connection(target, &assignment));
        if ticket.is_some() {
            // A probe does not take the room that its waiter was offered: that is the next one's.
            target.offer_room(self.spare());
        }
        Given::Link(link, assignment)
    }

    /// An address, and an idle connection to it if there is one; or what the exchange gets instead.
    fn assign(
        &self,
        target: &Target,
        key: Option<u64>,
        except: Option<AddressId>,
        ticket: Option<Ticket>,
        waker: &LocalWaker,
        now: Moment,
    ) -> Result<(Assignment, Option<Rc<Link>>), Given> {
        let has_room = self.spare() > 0;
        let State { group, queue, idle, lookups, refused, .. } = &mut *target.state.borrow_mut();
        // Who arrives while others wait does not take what was offered to them.
        let may_choose = ticket.map_or(queue.is_empty(), |ticket| queue.may_choose(ticket));
        let choice = match (may_choose, has_room) {
            (true, true) => group.choose(key, except, now),
            // Others wait for the same addresses.
            (false, true) => Choice::None { why: NoAddress::AtMax, retry_after: group.retry_after(now) },
            (_, false) => Choice::None { why: NoAddress::AtMax, retry_after: RETRY_AFTER_MIN },
        };
        let assignment = match choice {
            Choice::Address(assignment) => assignment,
            Choice::None { why, retry_after } => {
                let failed = lookups.iter().find_map(|lookup| match lookup {
                    Lookup::Failed(why) => Some(&**why),
                    Lookup::Pending | Lookup::Known => None,
                });
                let is_pending = lookups.iter().any(|lookup| matches!(lookup, Lookup::Pending));
                let (why, waits) = match why {
                    NoAddress::Unknown => (failed.unwrap_or("its name was not resolved in time").into(), is_pending),
                    NoAddress::AtMax if !has_room => (self.no_room(), true),
                    NoAddress::AtMax => ("all of its addresses have as many requests as they may".into(), true),
                };
                let place = if waits { wait_in(queue, ticket, waker, now) } else { None };
                return Err(place.unwrap_or_else(|| {
                    ticket.iter().for_each(|ticket| drop(queue.leave(*ticket)));
                    *refused += 1;
                    Given::Nothing(why, retry_after)
                }));
            }
        };
        if let Some(ticket) = ticket {
            queue.leave(ticket);
        }
        // A request is sent once more only, so that is not risked on a connection which may have ended as well.
        let idle = idle.get_mut(&assignment.id).filter(|_| except.is_none());
        let link = idle.and_then(Vec::pop);
        if link.is_some() {
            count(group.counters_mut(assignment.id), |counters| counters.connections_reused += 1);
        }
        Ok((assignment, link))
    }

    /// What is said to a request that has waited for a connection in vain.
    fn no_room(&self) -> String {
        let max = self.open.max.get();
        format!("{max} connections to upstreams are busy, and there are descriptors for no more (ulimit -n)")
    }

    /// Has a connection made. If there are as many as there may be, one that is idle elsewhere makes room for it.
    fn new_connection(&self, target: &Rc<Target>, assignment: &Assignment) -> Rc<Link> {
        let has_room = self.has_room();
        debug_assert!(has_room, "nobody gets an address without that");
        let Assignment { id, address, upstream, .. } = *assignment;
        let group = &mut target.state.borrow_mut().group;
        count(group.counters_mut(id), |counters| counters.connections_made += 1);
        let link = Rc::new(Link::new(Rc::clone(target), upstream, address, id, &self.open));
        self.dials.borrow_mut().push(Rc::clone(&link));
        link
    }

    /// Whether another connection may be made; if there are as many as there may be, one that is idle is closed for it.
    fn has_room(&self) -> bool {
        !self.open.is_full() || self.retire_one()
    }

    /// How many requests may get a connection: one that is new, or idle, or in the place of one that is idle elsewhere.
    fn spare(&self) -> usize {
        let new = self.open.max.get().saturating_sub(self.open.count.get());
        // Idle ones are counted only where that matters.
        if new > 0 { new } else { self.targets.borrow().iter().map(|target| target.idle()).sum() }
    }

    /// Wakes those who wait for a connection, as many as may get one, if there were as many as there may be and one has ended or
    /// become idle.
    pub fn offer_freed(&self) {
        if self.open.has_freed.take() {
            let spare = self.spare();
            self.all().iter().for_each(|target| target.offer_room(spare));
        }
    }

    /// Whether [`Hub::offer_freed`] may wake somebody.
    pub fn has_freed(&self) -> bool {
        self.open.has_freed.get() && self.all().iter().any(|target| !target.state.borrow().queue.is_empty())
    }

    /// Closes the oldest idle connection to the address that has the most of them.
    fn retire_one(&self) -> bool {
        let most = |target: &&Rc<Target>| target.state.borrow().idle.values().map(Vec::len).max();
        let targets = self.targets.borrow();
        let Some(target) = targets.iter().max_by_key(most) else { return false };
        let mut state = target.state.borrow_mut();
        let Some(links) = state.idle.values_mut().max_by_key(|links| links.len()) else { return false };
        let oldest = (!links.is_empty()).then(|| links.remove(0));
        drop(state);
        oldest.is_some_and(|link| {
            link.retire();
            true
        })
    }

    /// Takes a waiter out of the queue: its client has left, or it has waited for too long.
    pub fn leave(&self, target: &Target, ticket: Ticket) {
        target.state.borrow_mut().queue.leave(ticket);
        target.offer_room(self.spare());
    }

    /// The head of a response has come from there.
    pub fn on_success(&self, target: &Target, assignment: &Assignment, now: Moment) {
        let event = target.state.borrow_mut().group.on_success(assignment, now);
        event.iter().for_each(|event| target.tell(event));
    }

    /// The address has failed.
    pub fn on_failure(&self, target: &Target, assignment: &Assignment, failure: Failure, now: Moment) {
        let event = target.state.borrow_mut().group.on_failure(assignment, failure, now);
        event.iter().for_each(|event| target.tell(event));
    }

    /// The exchange is over: its address may have room for another one.
    pub fn end(&self, target: &Target, assignment: Assignment) {
        target.state.borrow_mut().group.on_end(assignment);
        target.offer_room(self.spare());
    }

    /// Whether a request that has failed there may be sent once more, and why that is safe.
    pub fn may_retry(
        &self,
        target: &Target,
        assignment: &Assignment,
        method: Method,
        attempt: &Attempt,
        is_replayable: bool,
        now: Moment,
    ) -> Result<Proof, Refusal> {
        let State { group, budget, queue, .. } = &mut *target.state.borrow_mut();
        // What others wait for in the queue is theirs.
        let has_other = queue.is_empty() && group.has_room_besides(assignment.id);
        let proof = may_retry(method, attempt, is_replayable, has_other, budget, now)?;
        count(group.counters_mut(assignment.id), |counters| {
            counters.retries[Proof::ALL.iter().position(|other| *other == proof).unwrap_or_default()] += 1;
        });
        Ok(proof)
    }

    /// The checks that are to be made now, each with its target. [`Hub::on_check`] gets what becomes of each.
    pub fn checks_due(&self, now: Moment) -> Vec<(Rc<Target>, Check)> {
        let mut due = Vec::new();
        for target in self.targets.borrow().iter() {
            let checks = target.state.borrow_mut().group.checks_due(now);
            due.extend(checks.into_iter().map(|check| (Rc::clone(target), check)));
        }
        due
    }

    /// When the next check is due, if one is.
    pub fn next_check_at(&self) -> Option<Moment> {
        self.targets.borrow().iter().filter_map(|target| target.state.borrow().group.next_check_at()).min()
    }

    /// A check has ended.
    pub fn on_check(&self, target: &Target, id: AddressId, result: Result<(), Failure>, now: Moment) {
        let event = target.state.borrow_mut().group.on_check(id, result, now);
        event.iter().for_each(|event| target.tell(event));
        target.offer_room(self.spare());
    }

    /// Has a connection made for a check. No request gets it. False: there is no room for it.
    pub fn dial_for_check(&self, target: &Rc<Target>, check: &Check, relay: Rc<Relay>) -> bool {
        let has_room = self.has_room();
        if has_room {
            let mut link = Link::new(Rc::clone(target), check.upstream, check.address, check.id, &self.open);
            link.is_for_check = true;
            link.assign(relay);
            self.dials.borrow_mut().push(Rc::new(link));
        }
        has_room
    }

    /// The connections that are to be made, so many at most, the oldest first.
    pub fn take_dials(&self, max: usize) -> Vec<Rc<Link>> {
        let mut dials = self.dials.borrow_mut();
        let max = max.min(dials.len());
        dials.drain(..max).collect()
    }

    /// Whether connections are to be made.
    pub fn has_dials(&self) -> bool {
        !self.dials.borrow().is_empty()
    }

    /// There is no connection, not even one that has begun.
    pub fn refuse(&self, link: &Rc<Link>, fault: UpstreamFault) {
        if let Some(relay) = link.take_relay() {
            let (written, read, is_reused) = (0, 0, false);
            relay.fail(Failed { fault, phase: UpstreamPhase::Connect, written, read, is_reused });
        }
    }

    /// Notes how long it took until a connection was there, or until the first byte of a response came.
    pub fn note_times(&self, link: &Link, connect: Option<Duration>, first_byte: Option<Duration>) {
        let mut state = link.target.state.borrow_mut();
        count(state.group.counters_mut(link.id), |counters| {
            connect.iter().for_each(|time| counters.connect.record(*time));
            first_byte.iter().for_each(|time| counters.first_byte.record(*time));
        });
    }

    /// A connection can serve another request, until it is closed at this moment at the latest. Returns when it is to be
    /// closed; `None`: at once, because its address is none of the upstream's any more, or its route is in force no more.
    pub fn put_idle(&self, link: &Rc<Link>, until: Moment, now: Moment) -> Option<Moment> {
        let State { group, idle, .. } = &mut *link.target.state.borrow_mut();
        if link.is_for_check || link.target.is_retired() || !group.is_listed(link.id) {
            return None;
        }
        let links = idle.entry(link.id).or_default();
        let is_surplus = links.len() >= IDLE_MAX;
        links.push(Rc::clone(link));
        self.open.note_freed();
        Some(if is_surplus { until.min(now + SURPLUS_TIME) } else { until })
    }

    /// A connection is over, or cannot serve another request.
    pub fn forget(&self, link: &Rc<Link>) {
        let idle = &mut link.target.state.borrow_mut().idle;
        if let Some(links) = idle.get_mut(&link.id) {
            links.retain(|other| !Rc::ptr_eq(other, link));
            if links.is_empty() {
                idle.remove(&link.id);
            }
        }
    }

    /// How the targets of all routes in force stand.
    pub fn statuses(&self, now: Moment) -> Vec<GroupStatus> {
        let status = |target: &Rc<Target>| {
            let State { group, budget, queue, idle, lookups, refused } = &mut *target.state.borrow_mut();
            let mut status = group.status(queue.len(), budget.status(now), now);
            status.idle = idle.values().map(Vec::len).sum();
            status.refused = *refused;
            for (upstream, lookup) in status.upstreams.iter_mut().zip(lookups) {
                upstream.unresolved = match lookup {
                    Lookup::Failed(why) => Some(why.clone()),
                    Lookup::Pending | Lookup::Known => None,
                };
            }
            status
        };
        self.targets.borrow().iter().map(status).collect()
    }
}

/// A place in the queue for who has none, or the one that it has; `None`: there is none, or the time is over.
fn wait_in(
    queue: &mut WaitQueue<LocalWaker>,
    ticket: Option<Ticket>,
    waker: &LocalWaker,
    now: Moment,
) -> Option<Given> {
    let ticket = match ticket {
        Some(ticket) => {
            queue.decline(ticket);
            ticket
        }
        None => queue.join(waker.clone(), now).ok()?,
    };
    let deadline = queue.deadline(ticket)?;
    match deadline > now {
        true => Some(Given::Place(ticket, deadline)),
        false => {
            queue.leave(ticket);
            None
        }
    }
}

fn count(counters: Option<&mut AddressCounters>, change: impl FnOnce(&mut AddressCounters)) {
    if let Some(counters) = counters {
        change(counters);
    }
}

/// When a connection that is idle now is closed, if the upstream has said after how many seconds it closes it (`Keep-Alive:
/// timeout=`): a second before that, so that no request crosses its FIN. `None`: at once.
pub fn idle_until(now: Moment, idle: Duration, told_secs: Option<u32>) -> Option<Moment> {
    let told = told_secs.map(|secs| Duration::from_secs(secs.into()).saturating_sub(Duration::from_secs(1)));
    let idle = told.map_or(idle, |told| told.min(idle));
    (!idle.is_zero()).then(|| now + idle)
}
