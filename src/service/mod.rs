//! What answers: a [`Service`] gets the head of a request and replies with a response, or with an [`Exchange`] when
//! the answer depends on the content, on time or on somebody else. A service never sees a socket or a version.

pub mod errors;
pub mod event_stream;
pub mod explanation;
pub mod front;
pub mod gather;
pub mod lab;
pub mod router;
pub mod static_files;
pub mod status;
pub mod websocket;

use std::fmt;
use std::time::Instant;

use log::Level;

use crate::base::job_pool::JobPool;
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::peer::Peer;
use crate::base::ring::Room;
use crate::base::slots::Token;
use crate::base::throttle::Complaints;
use crate::base::wake::{Waker, Wakes};
use crate::http::body::{Failure, Pull, Wait};
use crate::http::fields::Fields;
use crate::http::message::{RequestHead, Response};

/// Answers requests.
pub trait Service {
    /// Decides what becomes of this request. Must not block.
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure>;
}

/// What a service may know about its surroundings during a call.
pub struct Cx<'a> {
    /// The time of this turn.
    pub now: Instant,
    /// The second of this turn's Date, since 1970.
    pub date_secs: u64,
    /// The limits in force.
    pub limits: &'a Limits,
    /// Where notices for this request's connection are left.
    pub wakes: &'a Wakes,
    /// Threads for what may block.
    pub jobs: &'a JobPool,
    /// Where log lines go that a peer can provoke.
    pub complaints: &'a Complaints,
    /// This request's connection.
    pub token: Token,
    /// Who is at its other end.
    pub peer: Peer,
    /// Which door the connection came through.
    pub role: ListenerRole,
    /// Whether the server was told to stop: what never ends by itself has to end now.
    pub draining: bool,
}

impl Cx<'_> {
    /// A handle that wakes this request's exchange, from any thread, for as long as its connection lives.
    pub fn waker(&self) -> Waker {
        self.wakes.waker(self.token)
    }

    /// Logs something about the peer, but not more of it than a log can take.
    pub fn complain(&self, level: Level, what: fmt::Arguments<'_>) {
        self.complaints.log(self.now, level, format_args!("{}: {what}", self.peer));
    }
}

/// The first answer to a request.
pub enum Reply {
    /// The response is known. Content that the request may have is not looked at.
    Respond(Response),
    /// The response depends on more than the head, or the content is wanted. Asking for the content is what sends
    /// `100 Continue` to a client that expects it.
    Converse(Box<dyn Exchange>),
    /// The connection goes over to another protocol: this 101, whose body is `Body::Exchange`, and then whatever the
    /// exchange pulls. Everything behind the request's head is its content, until the client ends its direction. The
    /// request must not announce content.
    Upgrade(Response, Box<dyn Exchange>),
}

/// One request being answered while its content arrives; full duplex if it wants to be.
///
/// The connection calls `take` with content as it arrives, `end` once after the last of it, and `respond` after each
/// of these, when a wait is over, and before anything is pulled, until it decides. It then calls `pull` if the
/// response's body is `Body::Exchange`. After an upgrade the response is known, and `respond` is not called.
///
/// What an exchange does not say for itself is that of one that only decides: it wants no content, and has none.
pub trait Exchange {
    /// Takes content, as much as there is room for, and says how many bytes that was (0: none just now; it will be
    /// offered again after the next pull or notice). `content` is never empty. By default all of it is discarded.
    fn take(&mut self, content: &[u8], _cx: &mut Cx<'_>) -> Result<usize, Failure> {
        Ok(content.len())
    }

    /// The content has ended, with these trailers.
    fn end(&mut self, _trailers: Fields<'_>, _cx: &mut Cx<'_>) -> Result<(), Failure> {
        Ok(())
    }

    /// The response, as soon as it is known. Content that is still to come is discarded if the exchange is not also
    /// the response's body.
    fn respond(&mut self, cx: &mut Cx<'_>) -> Result<Decision, Failure>;

    /// Puts more of the response's content into `room` (see `http::body::Source::pull`).
    /// By default it fails: an exchange that is nobody's body is not pulled.
    fn pull(&mut self, _room: &mut Room<'_>, _cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        Err(Failure::new("pulled from an exchange that only decides"))
    }
}

/// Whether an exchange knows its response.
#[must_use]
pub enum Decision {
    /// Yes: this one.
    Respond(Response),
    /// Not yet: ask again when this wait is over.
    Pending(Wait),
}
