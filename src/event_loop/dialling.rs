//! Making connections to upstreams.

use std::rc::Rc;

use super::EventLoop;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::wake::WakeKey;
use crate::connection::{Connection, Identity};
use crate::net::{Reactor, Socket, is_out_of_descriptors};
use crate::protocol::proxy_header;
use crate::service::Service;
use crate::service::proxy::hub::Hub;
use crate::service::proxy::link::Link;
use crate::service::proxy::relay::{TlsCause, UpstreamFault};

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// Makes the connections that exchanges have asked for, and drives each of them once. Returns when the next drive begins.
    #[inline]
    pub(super) fn dial(&mut self, began: Moment) -> Moment {
        // Most servers have no upstreams, and each turn asks.
        if self.upstreams.is_some() { self.dial_all(began) } else { began }
    }

    #[inline(never)]
    fn dial_all(&mut self, mut began: Moment) -> Moment {
        let dials = match &self.upstreams {
            Some(upstreams) if self.may_dial() => {
                upstreams.hub.offer_freed();
                upstreams.hub.take_dials(upstreams.hub.connections_max().saturating_sub(self.upstreams_open))
            }
            _ => return began,
        };
        for link in dials {
            began = self.dial_one(link, began);
        }
        began
    }

    /// Whether connections are to be made, and there are descriptors for them, or there are some again for those who wait. A
    /// connection that closes for another one has its descriptor until the end of the turn.
    pub(super) fn may_dial(&self) -> bool {
        let hub = self.upstreams.as_ref().map(|upstreams| &upstreams.hub);
        let may_connect = |hub: &Rc<Hub>| hub.has_dials() && self.upstreams_open < hub.connections_max();
        hub.is_some_and(|hub| may_connect(hub) || hub.has_freed())
    }

    fn dial_one(&mut self, link: Rc<Link>, began: Moment) -> Moment {
        let Some(upstreams) = &self.upstreams else { return began };
        let hub = Rc::clone(&upstreams.hub);
        let session = match upstreams.session_to(&link) {
            Ok(session) => session,
            Err(fault) => {
                log::error!("cannot begin a TLS session: {fault}");
                let cause = if fault.is_of_certificate() { TlsCause::Certificate } else { TlsCause::Other };
                hub.refuse(&link, UpstreamFault::Tls(fault.to_string().into(), cause));
                return began;
            }
        };
        self.context.counters.syscalls.connect += 1;
        let mut socket = match self.reactor.connect(link.address) {
            Ok(socket) => socket,
            Err(error) => {
                // Otherwise there is no way to it: no route, or no IPv6.
                let fault = match is_out_of_descriptors(&error) {
                    true => UpstreamFault::NoSocket(error.kind()),
                    false => UpstreamFault::Kernel(error.kind()),
                };
                hub.refuse(&link, fault);
                return began;
            }
        };
        let header = if link.target.route().sends_proxy_header { self.proxy_header(&link) } else { Vec::new() };
        let token = self.connections.next_token();
        self.numbered += 1;
        self.dialled += 1;
        self.upstreams_open += 1;
        let (id, peer) = (self.numbered, Peer::Ip(link.address));
        socket.on_named(id);
        self.context.marks.connection(id, |text| write!(text, "connects to upstream {peer}"));
        link.take_place(self.wakes.local_waker(WakeKey { token, stream: 0 }));
        let who = Identity { id, token, peer };
        let connection = Connection::to_upstream(who, socket, session, (hub, link), &header, &mut self.context);
        let inserted = self.connections.insert(connection);
        debug_assert_eq!(token, inserted);
        let (connections, mut parts) = self.split();
        let Some(connection) = connections.get_mut(token) else { return began };
        debug_assert_eq!(connection.role(), ListenerRole::Upstream);
        parts.drive(token, connection);
        parts.on_driven(connection, began)
    }

    /// What tells an upstream whose request its connection is for.
    fn proxy_header(&self, link: &Link) -> Vec<u8> {
        let client = link.client().and_then(|key| self.connections.get(key.token));
        let peer = client.and_then(|client| match client.who().peer {
            Peer::Ip(address) => Some(address),
            Peer::Unix => None,
        });
        proxy_header::header(peer, client.and_then(Connection::local_address))
    }
}
