//! Requests that are passed on to other servers, the upstreams (RFC 9110 §3.7 calls such a server a gateway).
//!
//! [`Proxy`] finds the route of a request and makes the request for the upstream (`route`, `message`). [`exchange`] is the
//! client's side from then on; [`hub`] chooses an address (`group`) and a connection for it. What goes between both connections
//! is in a [`relay`]. [`checks`] ask upstreams whether they are well.

pub mod balance;
pub mod budget;
pub mod checks;
pub mod exchange;
mod explain;
pub mod group;
pub mod health;
pub mod hub;
pub mod link;
pub mod message;
pub mod metrics;
pub mod names;
pub mod path;
pub mod queue;
pub mod relay;
pub mod retry;
pub mod route;
pub mod target;

use std::rc::Rc;

use crate::base::listener_role::ListenerRole;
use crate::http::exchange::{Cx, Reply};
use crate::http::forwarded::TrustedProxies;
use crate::http::message::RequestHead;
use exchange::Relayed;
use hub::Hub;
use message::{Outgoing, Refusal, Sender};
use path::NormalPath;
use route::{Matched, Routes};
use target::Target;

/// Answers by asking upstreams.
pub struct Proxy {
    routes: Routes,
    /// For each of the routes, where it leads to.
    targets: Vec<Rc<Target>>,
    hub: Rc<Hub>,
    /// Whose word counts about who has sent a request.
    trusted: TrustedProxies,
}

impl Proxy {
    /// For these routes, which lead to these targets of the hub: one for each, in the order of [`Routes::iter`].
    pub fn new(routes: Routes, targets: Vec<Rc<Target>>, hub: Rc<Hub>, trusted: TrustedProxies) -> Proxy {
        Proxy { routes, targets, hub, trusted }
    }

    /// Whether it has no route.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The answer to a request that has a route; `None`: it has none.
    pub fn call(&self, request: &RequestHead<'_>, cx: &Cx<'_>) -> Option<Reply> {
        let matched = self.routes.find(request)?;
        let target = self.targets.get(matched.place)?;
        Some(match self.outgoing(request, &matched, cx) {
            Ok(outgoing) => Reply::Decide(Relayed::new(&self.hub, target, request, outgoing, cx)),
            Err(refusal) => Reply::Respond(refusal.response()),
        })
    }

    /// Whether a request that differs from this one in its `path` has a route.
    pub fn has_route(&self, path: &[u8], request: &RequestHead<'_>) -> bool {
        self.routes.find_path(NormalPath::new(path), request).is_some()
    }

    /// What an upstream of this route gets.
    fn outgoing(&self, request: &RequestHead<'_>, matched: &Matched<'_, '_>, cx: &Cx<'_>) -> Result<Outgoing, Refusal> {
        let outgoing = message::request(request, matched, &self.sender(cx))?;
        // Whatever the client sends, it must not look like a fault of the upstream's.
        match outgoing.request.head_bytes_max() > cx.limits.outbox_bytes {
            true => Err(Refusal::TooLarge),
            false => Ok(outgoing),
        }
    }

    fn sender<'a>(&self, cx: &Cx<'a>) -> Sender<'a> {
        Sender {
            peer: cx.peer,
            is_trusted: self.trusted.trust(cx.peer),
            is_secured: cx.role == ListenerRole::Https,
            identifier: cx.identifier,
        }
    }
}
