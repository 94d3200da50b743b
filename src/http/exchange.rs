//! How a request is answered when its head alone does not decide: who takes its content ([`Taker`]), who decides on the
//! response ([`Exchange`]), and who produces the response's content ([`Source`]). The types carry the order: an exchange
//! gives itself up when it decides, so that nothing can be asked of it after that.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use log::Level;

use super::body::{Failure, Pull, Wait};
use super::fields::{FieldName, FieldSet, FieldValue, Fields};
use super::message::{Origin, Response};
use super::status::Status;
use crate::base::held::Held;
use crate::base::job_name::{JobKind, JobName, Requester};
use crate::base::job_pool::{JobPool, QueueFull, Ticket};
use crate::base::limits::Limits;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::log_key::{LogKey, RequestKey};
use crate::base::moment::Moment;
use crate::base::peer::{Client, Node, Peer};
use crate::base::ring::Room;
use crate::base::terms::Terms;
use crate::base::throttle::Complaints;
use crate::base::tls_facts::ClientCertificate;
use crate::base::upstream_facts::UpstreamFacts;
use crate::base::wake::{LocalWaker, WakeKey, Waker, Wakes};

/// What a service, an exchange or a source may know about its environment during a call.
pub struct Cx<'a> {
    /// The time of this turn.
    pub now: Instant,
    /// The same, as a moment.
    pub moment: Moment,
    /// The second of this turn's Date, since 1970.
    pub date_secs: u64,
    /// The limits in force.
    pub limits: &'a Limits,
    /// Where wakes for this request's connection are left.
    pub wakes: &'a Wakes,
    /// Threads for what may block.
    pub jobs: &'a JobPool,
    /// Where log lines go that a peer can provoke.
    pub complaints: &'a Complaints,
    /// Names this request to whoever wakes it.
    pub key: WakeKey,
    /// The connection's number.
    pub connection: u64,
    /// Which request on it.
    pub request: RequestKey,
    /// Who is at the other end of the connection.
    pub peer: Peer,
    /// Whom a trusted proxy names as its sender, if one does.
    pub named: Option<&'a Node>,
    /// The certificate that the client has shown over TLS and that was verified, if there is one. Only a service that is
    /// called gets it; an exchange that needs it later keeps what it needs.
    pub certificate: Option<&'a ClientCertificate>,
    /// The server name that the client has sent in the TLS handshake (RFC 6066 §3), in lower case and without a final dot, if it
    /// has. Only a service that is called gets it.
    pub server_name: Option<&'a str>,
    /// The identifier of the request, and the field that it travels in, if requests have one. Only a service that is called
    /// gets it.
    pub identifier: Option<(&'a FieldName, &'a [u8])>,
    /// The listener that accepted the connection. Only a service that is called gets it.
    pub listener: ListenerId,
    /// The role of the listener.
    pub role: ListenerRole,
    /// Where a service that is called leaves what its request holds: it is dropped when the request is over.
    pub held: &'a Cell<Option<Box<Held>>>,
    /// Whether the server was told to stop: what never ends by itself has to end now.
    pub draining: bool,
    /// How often a service has asked the kernel, on the loop, whether an open file has changed: those system calls are
    /// counted, too.
    pub file_looks: &'a Cell<u64>,
    /// Where a service that is called leaves what holds for the request from here on, if its route has terms.
    pub terms: &'a Cell<Option<Rc<Terms>>>,
}

impl Cx<'_> {
    /// A handle that wakes this request's exchange, from any thread, for as long as its connection lives. For jobs.
    pub fn waker(&self) -> Waker {
        self.wakes.waker(self.key)
    }

    /// The same from the loop's own thread, where it costs no system call: for exchanges that wake each other.
    pub fn local_waker(&self) -> LocalWaker {
        self.wakes.local_waker(self.key)
    }

    /// Has a job do this, which may block, to `subject`: the path of a file, mostly. When it is done, this request's exchange
    /// is woken, and the ticket has the result.
    ///
    /// # Errors
    /// As many jobs as may wait are waiting already.
    pub fn submit<T: Send + 'static>(
        &self,
        kind: JobKind,
        subject: &[u8],
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Ticket<T>, QueueFull> {
        let requester = Requester { connection: self.connection, stream: self.key.stream };
        self.jobs.submit(JobName::new(kind, subject, Some(requester)), self.waker(), work)
    }

    /// How a line of the log about this request begins.
    pub fn log_key(&self) -> LogKey {
        let client = Client { peer: self.peer, named: self.named.copied() };
        LogKey { client, connection: self.connection, request: Some(self.request) }
    }

    /// Logs something about the request, but not more of it than a log can take.
    pub fn complain(&self, level: Level, what: fmt::Arguments<'_>) {
        self.complaints.log(self.now, level, format_args!("{}: {what}", self.log_key()));
    }
}

/// The first answer to a request.
pub enum Reply {
    /// The response is known. The request's content is offered to the response's source, if it has one that takes it.
    Respond(Response),
    /// The response depends on more than the head.
    Decide(Box<dyn Exchange>),
    /// What follows is another protocol: on the whole connection of HTTP/1.1, whose request must not announce content, and on
    /// the stream of HTTP/2.
    Upgrade(Tunnel),
}

/// Takes a request's content as it arrives.
pub trait Taker {
    /// Takes as much of `content` as there is room for, and says how many bytes that was. 0 means: none now. It is
    /// offered again after the next pull, decision or wake. `content` is never empty. Must not block.
    ///
    /// `content` begins and ends anywhere. The response must not depend on where.
    fn take(&mut self, content: &[u8], cx: &mut Cx<'_>) -> Result<usize, Failure>;

    /// The content has ended, with these trailers. Called once, after all of it was taken.
    fn end(&mut self, trailers: Fields<'_>, cx: &mut Cx<'_>) -> Result<(), Failure>;

    /// How much memory is used for content that was taken and is still kept, or for what waits to be sent because of it, in
    /// bytes. A connection of HTTP/2 has many takers, so what they keep is bounded over all of them.
    fn kept_bytes(&self) -> usize {
        0
    }
}

/// Decides on the response to one request.
pub trait Exchange {
    /// Who takes the request's content. `None` (the default): nobody wants it, and the connection throws it away.
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        None
    }

    /// The response, as soon as it is known. Asked first before any content, then after each piece of it, at its end,
    /// and when a wait is over, until it decides. Must not block.
    ///
    /// An exchange that also produces the response's content hands itself on: `Body::Source(self)`.
    fn respond(self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure>;

    /// Whether it is dropped when the client has sent its request and then ends its direction, as one that gives up does. A
    /// client that has only said all it had to say would get no answer then. With `--abort-on-close` all are dropped.
    fn ends_with_client(&self) -> bool {
        false
    }

    /// What is known of the upstream that decides, if one does. Asked at the beginning, and whenever it waits, until there is
    /// one.
    fn upstream(&self) -> Option<Rc<UpstreamFacts>> {
        None
    }
}

/// What an exchange says when it is asked for the response.
#[must_use]
pub enum Decision {
    /// This is the response.
    Respond(Response),
    /// Not yet; ask this exchange again when the wait is over.
    Pending(Box<dyn Exchange>, Wait),
    /// An interim response goes out; then this exchange is asked again. The status is 1xx, but neither 100 nor 101
    /// (RFC 9110 §15.2): the protocol sends these two by itself.
    Interim(Box<dyn Exchange>, Status, FieldSet),
    /// What follows is another protocol, as with [`Reply::Upgrade`].
    Upgrade(Tunnel),
}

/// How a conversation was broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// The peer has ended its direction without a word.
    Unfinished,
    /// The peer gave no sign of life.
    Silence,
    /// What the peer has sent breaks the rules.
    Violation,
}

/// Produces a response's content piece by piece. It may take the request's content meanwhile (full duplex).
pub trait Source {
    /// How many bytes there will be in all, if that is known. Asked once, before the first pull.
    fn length(&self) -> Option<u64>;

    /// How the conversation ended or stands, in words for the log, if it is one.
    fn farewell(&self) -> Option<String> {
        None
    }

    /// How the conversation was broken off, if it was. Asked when it has ended.
    fn breach(&self) -> Option<Breach> {
        None
    }

    /// Puts more content into `room`, as much as is there and fits. `room` is never full when this is called, and
    /// never takes more than the announced length. Must not block.
    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure>;

    /// Who takes the request's content. `None` (the default): nobody wants it, and the connection throws it away.
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        None
    }

    /// Whether a client that ends its direction while more of the content is waited for has left, as with
    /// [`Exchange::ends_with_client`]: the response is cut off.
    fn ends_with_client(&self) -> bool {
        false
    }

    /// What it waits for if it goes on taking content behind [`Pull::End`], which one direction of another protocol may.
    /// `None` (the default): it does not. Asked again whenever it was woken.
    fn listens(&mut self, _cx: &mut Cx<'_>) -> Option<Wait> {
        None
    }

    /// Whether some of what was pulled, or the head in front of it, is still to be sent to the client. Told after each drive of its
    /// connection.
    fn note_unsent(&mut self, _is_unsent: bool) {}

    /// The client takes nothing more. Says whether what it has sent is still of use (the default: it is not). If so, nothing is
    /// pulled any more, and the source [listens](Source::listens).
    fn outlives_output(&mut self) -> bool {
        false
    }

    /// Trailers, asked once after `Pull::End`. HTTP/1.1 sends them behind chunks and leaves them out elsewhere
    /// (RFC 9110 §6.5).
    fn trailers(&mut self) -> Option<FieldSet> {
        None
    }
}

/// What follows an upgrade. HTTP/1.1 says it with a 101 that has `Upgrade` and `Connection` (RFC 9110 §7.8); HTTP/2
/// says it with a 200 (RFC 8441 §5).
pub struct Tunnel {
    /// The name of the other protocol, as it stands in `Upgrade`: `websocket`.
    pub protocol: FieldValue,
    /// Fields that were made beforehand. They are sent before the others.
    pub prepared: FieldSet,
    /// All other fields of the response, in the order they are sent.
    pub fields: Vec<(FieldName, FieldValue)>,
    /// Who made the response.
    pub origin: Origin,
    /// What is sent. Its taker gets everything behind the request's head, until the client ends its direction.
    pub content: Box<dyn Source>,
}

/// An exchange that decides as `exchange` does. What it decides is changed by `conclude` before it is sent.
pub fn concluded(
    exchange: Box<dyn Exchange>,
    conclude: impl FnOnce(&mut Response, &mut Cx<'_>) + 'static,
) -> Box<dyn Exchange> {
    Box::new(Concluded { exchange: Some(exchange), conclude })
}

struct Concluded<F> {
    /// `None` only while it is asked.
    exchange: Option<Box<dyn Exchange>>,
    conclude: F,
}

impl<F: FnOnce(&mut Response, &mut Cx<'_>) + 'static> Exchange for Concluded<F> {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        self.exchange.as_mut()?.taker()
    }

    fn ends_with_client(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.ends_with_client())
    }

    fn upstream(&self) -> Option<Rc<UpstreamFacts>> {
        self.exchange.as_ref()?.upstream()
    }

    fn respond(mut self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        let exchange = self.exchange.take().ok_or_else(|| Failure::new("an exchange decides once"))?;
        Ok(match exchange.respond(cx)? {
            Decision::Respond(mut response) => {
                (self.conclude)(&mut response, cx);
                Decision::Respond(response)
            }
            Decision::Pending(exchange, wait) => {
                self.exchange = Some(exchange);
                Decision::Pending(self, wait)
            }
            Decision::Interim(exchange, status, fields) => {
                self.exchange = Some(exchange);
                Decision::Interim(self, status, fields)
            }
            // As with those that are decided at once, it is not changed.
            Decision::Upgrade(tunnel) => Decision::Upgrade(tunnel),
        })
    }
}
