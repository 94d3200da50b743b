//! What a route leads to: its addresses, its queue, and its idle connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use log::{Level, log};

use super::budget::Budget;
use super::group::{AddressId, Event, Group, GroupSettings};
use super::link::Link;
use super::queue::WaitQueue;
use super::route::{Route, UpstreamHost};
use crate::base::moment::Moment;
use crate::base::wake::LocalWaker;

/// What a route leads to.
pub struct Target {
    route: Rc<Route>,
    pub(super) state: RefCell<State>,
    /// The route is in force no more: what has begun goes on, and nothing is kept for later.
    is_retired: Cell<bool>,
}

/// What is known of a target.
pub(super) struct State {
    pub(super) group: Group,
    pub(super) budget: Budget,
    pub(super) queue: WaitQueue<LocalWaker>,
    /// Connections that wait for a request, the newest last.
    pub(super) idle: BTreeMap<AddressId, Vec<Rc<Link>>>,
    /// What is known of the name of each upstream.
    pub(super) lookups: Vec<Lookup>,
    /// Requests that got no address.
    pub(super) refused: u64,
}

/// What is known of the name of an upstream.
pub(super) enum Lookup {
    /// Nothing so far.
    Pending,
    /// It has addresses.
    Known,
    /// It has none at present, for this reason.
    Failed(Box<str>),
}

impl Target {
    pub(super) fn new(route: &Rc<Route>, now: Moment) -> Target {
        let settings = GroupSettings {
            balance: route.balance.clone(),
            max: route.connections_max,
            check_interval: route.health.as_ref().map(|health| health.interval),
        };
        let names = route.upstreams.iter().map(|upstream| upstream.authority.clone()).collect();
        let mut group = Group::new(route.to_string(), names, settings);
        let mut lookups = Vec::new();
        for (index, upstream) in route.upstreams.iter().enumerate() {
            lookups.push(match upstream.host {
                UpstreamHost::Address(ip) => {
                    // That a server which starts knows its upstreams is no news.
                    group.set_addresses(index, &[SocketAddr::new(ip, upstream.port)], now);
                    Lookup::Known
                }
                UpstreamHost::Name(_) => Lookup::Pending,
            });
        }
        let (budget, queue, idle, refused) = (Budget::default(), WaitQueue::new(), BTreeMap::new(), 0);
        let state = State { group, budget, queue, idle, lookups, refused };
        Target { route: Rc::clone(route), state: RefCell::new(state), is_retired: Cell::new(false) }
    }

    /// Its route.
    pub fn route(&self) -> &Rc<Route> {
        &self.route
    }

    /// Whether its route is in force no more.
    pub fn is_retired(&self) -> bool {
        self.is_retired.get()
    }

    /// Whether somebody waits in the queue until the name of this upstream has addresses for the first time.
    pub fn awaits_addresses(&self, upstream: usize) -> bool {
        let state = self.state.borrow();
        !state.queue.is_empty() && matches!(state.lookups[upstream], Lookup::Pending)
    }

    /// Keeps nothing for later requests: there are none.
    pub(super) fn retire(&self) {
        self.is_retired.set(true);
        let idle = std::mem::take(&mut self.state.borrow_mut().idle);
        idle.values().flatten().for_each(|link| link.retire());
    }

    /// Says what has become of an address.
    pub(super) fn tell(&self, event: &Event) {
        let level = if event.change.is_bad() { Level::Warn } else { Level::Info };
        log!(level, "upstream {}: {event}", self.route.upstreams[event.upstream]);
    }

    /// How many connections wait for a request.
    pub(super) fn idle(&self) -> usize {
        self.state.borrow().idle.values().map(Vec::len).sum()
    }

    /// Wakes as many waiters as there is room for, and as there are connections for, which are `spare`.
    pub(super) fn offer_room(&self, spare: usize) {
        let State { group, queue, .. } = &mut *self.state.borrow_mut();
        while !queue.is_empty() && queue.offered() < group.room().min(spare) {
            let Some(waker) = queue.offer() else { break };
            waker.wake();
        }
    }
}
