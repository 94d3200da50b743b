//! The torture that the binary offers, on top of a simulated kernel.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use tidemill::base::listener_role::ListenerRole;
use tidemill::base::moment::Moment;
use tidemill::base::peer::Peer;
use tidemill::base::slots::Token;
use tidemill::net::torture::{Torture, TorturedSocket};
use tidemill::net::{Event, Interest, ListenerId, Reactor};

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

    fn listeners(&self) -> usize {
        self.reactor.listeners()
    }

    fn role(&self, listener: ListenerId) -> ListenerRole {
        self.reactor.role(listener)
    }

    fn accept(&mut self, listener: ListenerId) -> io::Result<Option<(Self::Socket, Peer)>> {
        let accepted = self.reactor.accept(listener)?;
        Ok(accepted.map(|(socket, peer)| (self.torture.accept(socket), peer)))
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<Self::Socket> {
        let socket = self.reactor.connect(address)?;
        Ok(self.torture.accept(socket))
    }

    fn stop_listening(&mut self) {
        self.reactor.stop_listening();
    }

    fn arm(&mut self, socket: &mut Self::Socket, token: Token, from: Option<Interest>, to: Interest) -> io::Result<()> {
        self.reactor.arm(socket.socket(), token, from, to)?;
        socket.on_armed(token, to);
        Ok(())
    }
}
