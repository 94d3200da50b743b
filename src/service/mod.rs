//! What answers: a [`Service`] gets the head of a request and replies with a response, or with an [`Exchange`] when
//! the answer depends on the content, on time or on somebody else. A service never sees a socket or a version.

pub mod errors;
pub mod front;
pub mod gather;
pub mod json;
pub mod lab;
pub mod router;
pub mod static_files;

use std::time::Instant;

use crate::base::job_pool::JobPool;
use crate::base::limits::Limits;
use crate::base::notice::{Notices, Notifier};
use crate::base::ring::Room;
use crate::base::slots::Token;
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
    pub notices: &'a Notices,
    /// Threads for what may block.
    pub jobs: &'a JobPool,
    /// This request's connection.
    pub token: Token,
}

impl Cx<'_> {
    /// A handle that wakes this request's exchange, from any thread, for as long as its connection lives.
    pub fn notifier(&self) -> Notifier {
        self.notices.notifier(self.token)
    }
}

/// The first answer to a request.
pub enum Reply {
    /// The response is known. Content that the request may have is not looked at.
    Respond(Response),
    /// The response depends on more than the head, or the content is wanted. Asking for the content is what sends
    /// `100 Continue` to a client that expects it.
    Converse(Box<dyn Exchange>),
}

/// One request being answered while its content arrives; full duplex if it wants to be.
///
/// The connection calls `take` with content as it arrives, `end` once after the last of it, and `respond` after each
/// of these, when a wait is over, and before anything is pulled, until it decides. It then calls `pull` if the
/// response's body is `Body::Exchange`.
pub trait Exchange {
    /// Takes content, as much as there is room for, and says how many bytes that was (0: none just now; it will be
    /// offered again after the next pull or notice). `content` is never empty.
    fn take(&mut self, content: &[u8], cx: &mut Cx<'_>) -> Result<usize, Failure>;

    /// The content has ended, with these trailers.
    fn end(&mut self, trailers: Fields<'_>, cx: &mut Cx<'_>) -> Result<(), Failure>;

    /// The response, as soon as it is known. Content that is still to come is discarded if the exchange is not also
    /// the response's body.
    fn respond(&mut self, cx: &mut Cx<'_>) -> Result<Decision, Failure>;

    /// Puts more of the response's content into `room` (see `http::body::Source::pull`).
    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure>;
}

/// Whether an exchange knows its response.
#[must_use]
pub enum Decision {
    /// Yes: this one.
    Respond(Response),
    /// Not yet: ask again when this wait is over.
    Pending(Wait),
}
