//! The torture that the binary offers, on top of a simulated kernel.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use tidemill::base::listener_id::ListenerId;
use tidemill::base::listener_role::ListenerRole;
use tidemill::base::moment::Moment;
use tidemill::base::peer::Peer;
use tidemill::base::slots::Token;
use tidemill::net::torture::{Torture, TorturedSocket};
use tidemill::net::{Event, Interest, Reactor};

/// A kernel whose sockets are tortured.
pub struct Tortured<R> {
    reactor: R,
    torture: Torture,
}

impl<R> Tortured<R> {
    /// The kernel of `reactor`, made worse.
    pub fn new(reactor: R, torture: Torture) -> Tortured<R> {
        Tortured { reactor, torture }
    }
}

impl<R: Reactor> Reactor for Tortured<R> {
    type Socket = TorturedSocket<R::Socket>;
    type Listener = R::Listener;

    fn now(&self) -> Instant {
        self.reactor.now()
    }

    fn origin(&self) -> Instant {
        self.reactor.origin()
    }

    fn clock(&self) -> Moment {
        self.reactor.clock()
    }

    fn wall(&self) -> SystemTime {
        self.reactor.wall()
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = self.torture.report_pending(timeout, events);
        self.reactor.poll(timeout, events)
    }

    fn listeners(&self) -> Vec<(ListenerId, ListenerRole)> {
        self.reactor.listeners()
    }

    fn open_listener(&mut self, listener: R::Listener, role: ListenerRole) -> io::Result<ListenerId> {
        self.reactor.open_listener(listener, role)
    }

    fn set_role(&mut self, listener: ListenerId, role: ListenerRole) {
        self.reactor.set_role(listener, role);
    }

    fn close_listener(&mut self, listener: ListenerId) {
        self.reactor.close_listener(listener);
    }

    fn accept(&mut self, listener: ListenerId) -> io::Result<Option<(Self::Socket, Peer)>> {
        let accepted = self.reactor.accept(listener)?;
        Ok(accepted.map(|(socket, peer)| (self.torture.accept(socket), peer)))
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<Self::Socket> {
        let socket = self.reactor.connect(address)?;
        Ok(self.torture.accept(socket))
    }

    fn arm(&mut self, socket: &mut Self::Socket, token: Token, from: Option<Interest>, to: Interest) -> io::Result<()> {
        self.reactor.arm(socket.socket(), token, from, to)?;
        socket.on_armed(token, to);
        Ok(())
    }
}
