//! Listeners that come and go while the loop turns.

use std::io;

use super::EventLoop;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::net::Reactor;
use crate::service::Service;

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// The listeners, but for those that were removed, in the order in which they were opened.
    pub fn listeners(&self) -> Vec<(ListenerId, ListenerRole)> {
        self.acceptor.listeners().collect()
    }

    /// From now on connections are accepted from this listener, too, and so are those that wait in its queue already. While the
    /// server stops, a listener that is for everyone is closed at once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_listener(&mut self, listener: R::Listener, role: ListenerRole) -> io::Result<ListenerId> {
        let id = self.reactor.open_listener(listener, role)?;
        if self.is_stopping() && role.is_for_everyone() {
            self.reactor.close_listener(id);
            return Ok(id);
        }
        self.acceptor.add(id, role);
        self.accept_queues.add(id, role, &mut self.reactor);
        Ok(id)
    }

    /// From now on connections of this listener are for something else: also those that nobody has accepted yet.
    pub fn set_listener_role(&mut self, listener: ListenerId, role: ListenerRole) {
        self.reactor.set_role(listener, role);
        self.acceptor.set_role(listener, role);
        self.accept_queues.set_role(listener, role);
    }

    /// Closes a listener. Whoever waits in its queue is accepted before: to close it resets them. If there is no room for them,
    /// that takes until there is, and the drain timeout at most. Connections that came through it go on.
    pub fn remove_listener(&mut self, listener: ListenerId) {
        let at = self.context.environment.now + self.context.environment.limits.drain_timeout;
        self.acceptor.begin_closing(listener, at);
    }

    /// Closes those that were removed and whose queues are empty, or whose time is over.
    pub(super) fn close_removed_listeners(&mut self) {
        while let Some(listener) = self.acceptor.take_closable(self.context.environment.now) {
            self.reactor.close_listener(listener);
            self.accept_queues.remove(listener);
        }
    }
}
