//! Connections to upstreams, as the hub knows them: what each is to do, and how many there are.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use super::group::AddressId;
use super::relay::Relay;
use super::target::Target;
use crate::base::wake::{LocalWaker, WakeKey};

/// The connections of a hub, which are bounded.
pub(super) struct Open {
    /// Those that there are, and that will be made, without those that close for another one.
    pub(super) count: Cell<usize>,
    pub(super) max: Cell<usize>,
    /// There were as many as there may be, and one has ended or become idle since: whoever waits may get it.
    pub(super) has_freed: Cell<bool>,
}

impl Open {
    /// There are none, and may be so many.
    pub(super) fn new(max: usize) -> Rc<Open> {
        Rc::new(Open { count: Cell::new(0), max: Cell::new(max), has_freed: Cell::new(false) })
    }

    /// Whether there are as many as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.count.get() >= self.max.get()
    }

    /// If there are as many as there may be, those who wait have to be told.
    pub(super) fn note_freed(&self) {
        if self.is_full() {
            self.has_freed.set(true);
        }
    }

    fn remove_one(&self) {
        self.note_freed();
        self.count.set(self.count.get().saturating_sub(1));
    }
}

/// One connection to an upstream, in which it finds what it is to do.
pub struct Link {
    /// Which target it belongs to.
    pub target: Rc<Target>,
    /// Which of the target's upstreams it leads to, by its place in the route.
    pub upstream: usize,
    /// Where it leads to.
    pub address: SocketAddr,
    pub(super) id: AddressId,
    /// Whether it is of no use for requests.
    pub(super) is_for_check: bool,
    /// What it is to serve next.
    relay: RefCell<Option<Rc<Relay>>>,
    /// Wakes the connection, as soon as it is there.
    waker: RefCell<Option<LocalWaker>>,
    /// Whether it closes although it is of use: another connection needs its descriptor, or its route is in force no more.
    is_retired: Cell<bool>,
    /// The hub's count of connections, which has this one until it closes.
    open: Rc<Open>,
}

impl Link {
    /// A connection that is to be made, and counts from now on.
    pub(super) fn new(
        target: Rc<Target>,
        upstream: usize,
        address: SocketAddr,
        id: AddressId,
        open: &Rc<Open>,
    ) -> Link {
        open.count.set(open.count.get() + 1);
        let (relay, waker, is_retired) = (RefCell::default(), RefCell::default(), Cell::default());
        Link { target, upstream, address, id, is_for_check: false, relay, waker, is_retired, open: Rc::clone(open) }
    }

    /// Whether it is to close, because another connection needs its descriptor, or its route is in force no more.
    pub fn is_retired(&self) -> bool {
        self.is_retired.get()
    }

    /// Closes it, which is idle, because another connection needs its descriptor, or its route is in force no more.
    pub(super) fn retire(&self) {
        self.is_retired.set(true);
        self.open.remove_one();
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake();
        }
    }

    /// The connection is there, and is woken by this.
    pub fn take_place(&self, waker: LocalWaker) {
        *self.waker.borrow_mut() = Some(waker);
    }

    /// Gives the connection something to do.
    pub fn assign(&self, relay: Rc<Relay>) {
        *self.relay.borrow_mut() = Some(relay);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake();
        }
    }

    /// The client that it is to serve next, if there is one.
    pub fn client(&self) -> Option<WakeKey> {
        Some(self.relay.borrow().as_ref()?.client())
    }

    /// What the connection is to serve next, once; it wakes the connection from now on.
    pub fn take_relay(&self) -> Option<Rc<Relay>> {
        let relay = self.relay.borrow_mut().take()?;
        if let Some(waker) = &*self.waker.borrow() {
            relay.join(waker.clone());
        }
        Some(relay)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if !self.is_retired.get() {
            self.open.remove_one();
        }
    }
}
