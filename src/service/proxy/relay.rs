//! What joins a client's exchange with the connection to an upstream: two bounded rings, one for each direction, and what each
//! side has to tell the other.
//!
//! Both sides live on the loop's thread, so there is no mutex. Each wakes the other when it has something for it, or room for
//! more, and the other is driven within the same turn. What one side does not take stays in its ring; when that is full, the
//! other side stops reading from its peer. So backpressure goes from end to end, and a relayed exchange takes two rings of
//! memory at most, whatever is transferred.

use std::cell::{Ref, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io::ErrorKind;
use std::rc::Rc;

use super::group::Assignment;
use super::message::Outgoing;
use super::route::Route;
use crate::base::buffer_pool::BufferPool;
use crate::base::ring::{RingBuffer, Room};
use crate::base::upstream_facts::{UpstreamEnd, UpstreamFacts};
use crate::base::wake::{LocalWaker, WakeKey};
use crate::http::fields::{FieldSet, FieldValue};
use crate::http::message::Response;
use crate::http::status::Status;
use crate::http::upstream::ResponseContent;
use crate::observe::upstream::Failure;

/// How much is held in each direction, in bytes.
pub const RING_BYTES: usize = 32 * 1024;
/// Interim responses that wait for the client. An upstream that sends more of them than are taken is not read from.
const INTERIMS_MAX: usize = 4;

/// One exchange between a client and an upstream. Each of the two sides has one handle.
pub struct Relay {
    /// What is known of the attempt, for logs.
    pub facts: Rc<UpstreamFacts>,
    /// What the upstream gets, and what its response is treated by.
    pub outgoing: Rc<Outgoing>,
    /// The route that the request has taken.
    pub route: Rc<Route>,
    state: RefCell<State>,
}

struct State {
    rings: Rc<RefCell<BufferPool>>,
    /// Whether the upstream has not been sent the request yet.
    has_request: bool,
    /// Whether the kernel, or TLS, has taken a byte of the request.
    is_begun: bool,
    /// From the client to the upstream.
    up: Direction,
    /// From the upstream to the client.
    down: Direction,
    /// Interim responses that the client has not been sent yet.
    interims: VecDeque<(Status, FieldSet)>,
    /// The upstream has asked for the content with 100 (RFC 9110 §15.2.1).
    is_invited: bool,
    response: Option<Box<Head>>,
    failure: Option<Failed>,
    /// Behind an upgrade, neither side has sent anything for too long: both directions end.
    is_silent: bool,
    /// Of a conversation, the client has not been sent all that its side has taken.
    is_unsent: bool,
    /// That was so, and the upstream does not know yet that it is over.
    has_caught_up: bool,
    /// Nobody waits for the response any more.
    is_abandoned: bool,
    /// The client takes no more of the response, so all of it is thrown away.
    is_unheard: bool,
    /// The address, since nobody waits any more and the last bytes of the client are on their way there.
    left: Option<Assignment>,
    client: LocalWaker,
    upstream: Option<LocalWaker>,
}

/// The head of a final response, as the client gets it.
pub struct Head {
    /// Status and fields. It has no content.
    pub response: Response,
    /// What follows it.
    pub content: ResponseContent,
    /// The protocol that follows it, if it is 101.
    pub protocol: Option<FieldValue>,
}

/// Content on its way.
#[derive(Default)]
struct Direction {
    ring: Option<Box<RingBuffer>>,
    /// Nothing follows what is in the ring but these trailers.
    end: Option<FieldSet>,
    /// The side that adds had more than there was room for.
    is_awaited: bool,
}

/// Why an upstream did not answer, or not completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What went wrong.
    pub fault: UpstreamFault,
    /// What was going on.
    pub phase: UpstreamPhase,
    /// Bytes of the request that the kernel has taken.
    pub written: u64,
    /// Bytes of the response that have arrived.
    pub read: u64,
    /// Whether the connection had served another request before.
    pub is_reused: bool,
}

/// What went wrong with an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamFault {
    /// The kernel says so.
    Kernel(ErrorKind),
    /// It has ended its direction too early.
    Eof,
    /// It took too long.
    Timeout,
    /// What it has sent is no response, for this reason by this rule.
    Protocol(&'static str, &'static str),
    /// TLS has failed, for this reason, through this.
    Tls(Rc<str>, TlsCause),
    /// We have no descriptor, or no port, left for another connection.
    NoSocket(ErrorKind),
}

/// What has made TLS fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsCause {
    /// The certificate of the upstream is refused.
    Certificate,
    /// The upstream has refused us, with an alert (RFC 8446 §6.2).
    Alert,
    /// Something else that the upstream has sent.
    Other,
}

/// How far an exchange with an upstream had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpstreamPhase {
    /// Its name is looked up, or nobody may be asked.
    Choice,
    /// The connection is made.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The request is sent.
    Request,
    /// No byte of the response has come.
    FirstByte,
    /// The head of the response has begun.
    Head,
    /// The content of the response comes.
    Content,
}

impl UpstreamPhase {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            UpstreamPhase::Choice => "choice",
            UpstreamPhase::Connect => "connect",
            UpstreamPhase::Tls => "tls",
            UpstreamPhase::Request => "request",
            UpstreamPhase::FirstByte => "first-byte",
            UpstreamPhase::Head => "head",
            UpstreamPhase::Content => "content",
        }
    }
}

impl UpstreamFault {
    /// What it says about the side at fault.
    pub fn end(&self) -> UpstreamEnd {
        use ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected, TimedOut};
        match self {
            UpstreamFault::Kernel(ConnectionRefused) | UpstreamFault::Tls(_, TlsCause::Alert) => UpstreamEnd::Refused,
            UpstreamFault::Kernel(ConnectionReset | BrokenPipe | NotConnected) => UpstreamEnd::Reset,
            UpstreamFault::Kernel(TimedOut) | UpstreamFault::Timeout => UpstreamEnd::Timeout,
            UpstreamFault::Kernel(_) => UpstreamEnd::Network,
            UpstreamFault::Eof => UpstreamEnd::Fin,
            UpstreamFault::Protocol(..) | UpstreamFault::Tls(..) => UpstreamEnd::Malformed,
            UpstreamFault::NoSocket(_) => UpstreamEnd::NoSocket,
        }
    }
}

impl fmt::Display for UpstreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpstreamFault::Kernel(kind) => write!(f, "{kind}"),
            UpstreamFault::Eof => f.write_str("it has closed the connection"),
            UpstreamFault::Timeout => f.write_str("it took too long"),
            UpstreamFault::Protocol(reason, "") => f.write_str(reason),
            UpstreamFault::Protocol(reason, section) => write!(f, "{reason} ({section})"),
            UpstreamFault::Tls(why, _) => f.write_str(why),
            UpstreamFault::NoSocket(_) => f.write_str("no descriptor is left for a connection to it (ulimit -n)"),
        }
    }
}

impl Failed {
    /// What it says about the address; `None`: nothing, since the fault is ours.
    pub fn failure(&self) -> Option<Failure> {
        use ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkDown, NetworkUnreachable, PermissionDenied};
        let is_connecting = matches!(self.phase, UpstreamPhase::Connect | UpstreamPhase::Tls);
        Some(match self.fault {
            UpstreamFault::NoSocket(_) => return None,
            UpstreamFault::Kernel(ErrorKind::ConnectionRefused) => Failure::Refused,
            UpstreamFault::Kernel(
                AddrNotAvailable | HostUnreachable | NetworkDown | NetworkUnreachable | PermissionDenied,
            ) => Failure::Unreachable,
            UpstreamFault::Timeout | UpstreamFault::Kernel(ErrorKind::TimedOut) if is_connecting => {
                Failure::ConnectTimeout
            }
            UpstreamFault::Timeout | UpstreamFault::Kernel(ErrorKind::TimedOut) => Failure::Timeout,
            UpstreamFault::Kernel(_) => Failure::Reset,
            UpstreamFault::Eof => Failure::Closed,
            UpstreamFault::Protocol(..) => Failure::Malformed,
            UpstreamFault::Tls(..) => Failure::Tls,
        })
    }

    /// Whether the address would fail in the same way at once, or take as long to: only another one is worth a try.
    pub fn is_lasting(&self) -> bool {
        let is_certificate = matches!(self.fault, UpstreamFault::Tls(_, TlsCause::Certificate));
        is_certificate || self.failure() == Some(Failure::ConnectTimeout)
    }
}

/// What went wrong, when, and how much had passed by then.
impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { fault, phase, written, read, is_reused } = self;
        let connection = if *is_reused { "a used connection" } else { "a new connection" };
        write!(f, "{fault} (phase {}, {written} B written, {read} B read, {connection})", phase.name())
    }
}

impl Relay {
    /// An exchange whose request is known. Its content is put behind this `replayed` beginning, which fits into a ring.
    pub fn new(
        outgoing: Rc<Outgoing>,
        route: Rc<Route>,
        replayed: &[u8],
        rings: &Rc<RefCell<BufferPool>>,
        client: LocalWaker,
        facts: Rc<UpstreamFacts>,
    ) -> Rc<Relay> {
        let state = RefCell::new(State {
            rings: Rc::clone(rings),
            has_request: true,
            is_begun: false,
            up: Direction::default(),
            down: Direction::default(),
            interims: VecDeque::new(),
            is_invited: false,
            response: None,
            failure: None,
            is_silent: false,
            is_unsent: false,
            has_caught_up: false,
            is_abandoned: false,
            is_unheard: false,
            left: None,
            client,
            upstream: None,
        });
        let relay = Relay { facts, outgoing, route, state };
        relay.put(|state| &mut state.up, replayed);
        Rc::new(relay)
    }

    fn put(&self, direction: impl Fn(&mut State) -> &mut Direction, bytes: &[u8]) -> usize {
        let mut state = self.state.borrow_mut();
        if bytes.is_empty() {
            return 0;
        }
        if direction(&mut state).ring.is_none() {
            let ring = state.rings.borrow_mut().take();
            direction(&mut state).ring = Some(ring);
        }
        let direction = direction(&mut state);
        let put = direction.ring.as_mut().map_or(0, |ring| ring.put(bytes));
        direction.is_awaited |= put < bytes.len();
        put
    }

    /// Moves what is there to `room`, as far as it fits. Says how many bytes that were, and whether the other side waits for
    /// the space.
    fn take(&self, direction: impl Fn(&mut State) -> &mut Direction, room: &mut Room<'_>) -> (usize, bool) {
        let mut state = self.state.borrow_mut();
        let Some(ring) = &mut direction(&mut state).ring else { return (0, false) };
        let mut taken = 0;
        while !ring.is_empty() && !room.is_full() {
            let put = room.put(ring.readable()[0]);
            ring.consume(put);
            taken += put;
        }
        let emptied = direction(&mut state).ring.take_if(|ring| ring.is_empty());
        if let Some(ring) = emptied {
            state.rings.borrow_mut().give_back(ring);
        }
        let is_awaited = taken > 0 && std::mem::take(&mut direction(&mut state).is_awaited);
        (taken, is_awaited)
    }
}

/// The client's side.
impl Relay {
    /// Adds content of the request, at most `max` bytes and as much as there is room for. Says how many bytes that were.
    pub fn put_content(&self, content: &[u8], max: usize) -> usize {
        let put = self.put(|state| &mut state.up, &content[..content.len().min(max)]);
        if put == max {
            self.state.borrow_mut().up.is_awaited = true;
        }
        if put > 0 {
            self.wake_upstream();
        }
        put
    }

    /// Whether a byte of the request was written. Until then it can be sent to another address, whatever its method.
    pub fn is_begun(&self) -> bool {
        self.state.borrow().is_begun
    }

    /// The content of the request has ended, with these trailers.
    pub fn end_content(&self, trailers: FieldSet) {
        self.state.borrow_mut().up.end = Some(trailers);
        self.wake_upstream();
    }

    /// Whether there is no room for more content of the request.
    pub fn is_full(&self) -> bool {
        self.state.borrow().up.ring.as_ref().is_some_and(|ring| ring.is_full())
    }

    /// How much content of the request waits, in bytes.
    pub fn content_len(&self) -> usize {
        self.state.borrow().up.ring.as_ref().map_or(0, |ring| ring.len())
    }

    /// The next interim response, if one has come.
    pub fn next_interim(&self) -> Option<(Status, FieldSet)> {
        let mut state = self.state.borrow_mut();
        let was_full = state.interims.len() >= INTERIMS_MAX;
        let interim = state.interims.pop_front();
        drop(state);
        if was_full {
            self.wake_upstream();
        }
        interim
    }

    /// Whether the upstream has asked for the content.
    pub fn is_invited(&self) -> bool {
        self.state.borrow().is_invited
    }

    /// The head of the response, once, when it has come.
    pub fn take_head(&self) -> Option<Box<Head>> {
        self.state.borrow_mut().response.take()
    }

    /// Why there is no response, or not all of it, if so.
    pub fn failure(&self) -> Option<Failed> {
        self.state.borrow().failure.clone()
    }

    /// Whether a conversation has ended because neither side has sent anything for too long.
    pub fn is_silent(&self) -> bool {
        self.state.borrow().is_silent
    }

    /// Moves content of the response to `room`, as much as is there and fits.
    pub fn take_response(&self, room: &mut Room<'_>) {
        if self.take(|state| &mut state.down, room).1 {
            self.wake_upstream();
        }
    }

    /// Whether the client has not been sent all that its side has taken of a conversation. That holds the upstream
    /// [up](Relay::is_held_up).
    pub fn note_unsent(&self, is_unsent: bool) {
        let was_unsent = std::mem::replace(&mut self.state.borrow_mut().is_unsent, is_unsent);
        if was_unsent && !is_unsent {
            self.state.borrow_mut().has_caught_up = true;
            self.wake_upstream();
        }
    }

    /// Throws away what has come of the response's content.
    pub fn skip_response(&self) {
        let mut state = self.state.borrow_mut();
        if let Some(ring) = state.down.ring.take() {
            state.rings.borrow_mut().give_back(ring);
        }
        let is_awaited = std::mem::take(&mut state.down.is_awaited);
        drop(state);
        if is_awaited {
            self.wake_upstream();
        }
    }

    /// Whether all content of the response has been taken, and no more comes.
    pub fn response_is_over(&self) -> bool {
        let state = self.state.borrow();
        state.down.end.is_some() && state.down.ring.is_none()
    }

    /// The response as it lies in the ring, if it is complete there.
    pub fn whole_response(&self) -> Option<Vec<u8>> {
        let mut state = self.state.borrow_mut();
        if state.down.end.as_ref().is_none_or(|trailers| !trailers.is_empty()) {
            return None;
        }
        let Some(ring) = state.down.ring.take() else { return Some(Vec::new()) };
        let content = ring.readable().concat();
        state.rings.borrow_mut().give_back(ring);
        Some(content)
    }

    /// The trailers of the response, once.
    pub fn take_trailers(&self) -> Option<FieldSet> {
        self.state.borrow_mut().down.end.as_mut().map(std::mem::take).filter(|trailers| !trailers.is_empty())
    }

    /// Nobody waits for the response any more. Of a conversation, the upstream still gets what there is, and then a reset.
    pub fn abandon(&self) {
        self.state.borrow_mut().is_abandoned = true;
        self.ignore_response();
    }

    /// The client of a conversation takes nothing more. What the upstream says is thrown away, so that it goes on to take what the
    /// client has said.
    pub fn ignore_response(&self) {
        let mut state = self.state.borrow_mut();
        state.is_unheard = true;
        state.is_unsent = false;
        drop(state);
        self.skip_response();
        self.wake_upstream();
    }

    /// The client has left a conversation, and there may be something of it that the upstream has not taken. As long as that has a
    /// connection for it, the address is busy: the upstream gets `assignment` from [`Relay::end_service`]. It comes back if that is over.
    pub fn leave(&self, assignment: Assignment) -> Option<Assignment> {
        let mut state = self.state.borrow_mut();
        match state.upstream {
            Some(_) => state.left.replace(assignment),
            None => Some(assignment),
        }
    }

    fn wake_upstream(&self) {
        if let Some(waker) = &self.state.borrow().upstream {
            waker.wake();
        }
    }
}

/// The upstream's side.
impl Relay {
    /// From now on `waker` is woken when there is something for the upstream.
    pub fn join(&self, waker: LocalWaker) {
        self.state.borrow_mut().upstream = Some(waker);
    }

    /// The connection serves this no more. Returns what its client has left.
    pub fn end_service(&self) -> Option<Assignment> {
        let mut state = self.state.borrow_mut();
        state.upstream = None;
        state.left.take()
    }

    /// Who waits for the response.
    pub fn client(&self) -> WakeKey {
        self.state.borrow().client.key()
    }

    /// Whether the request has not been sent yet; from then on it has.
    pub fn take_request(&self) -> bool {
        std::mem::take(&mut self.state.borrow_mut().has_request)
    }

    /// A byte of the request was written.
    pub fn note_begun(&self) {
        let mut state = self.state.borrow_mut();
        state.is_begun = true;
        let is_awaited = std::mem::take(&mut state.up.is_awaited);
        drop(state);
        if is_awaited {
            self.wake_client();
        }
    }

    /// Whether nobody waits for the response any more.
    pub fn is_abandoned(&self) -> bool {
        self.state.borrow().is_abandoned
    }

    /// Whether the client takes nothing more of the response.
    pub fn is_unheard(&self) -> bool {
        self.state.borrow().is_unheard
    }

    /// Whether content of the request is there.
    pub fn has_content(&self) -> bool {
        self.state.borrow().up.ring.is_some()
    }

    /// Moves content of the request to `room`, as much as is there and fits.
    pub fn take_content(&self, room: &mut Room<'_>) {
        if self.take(|state| &mut state.up, room).1 {
            self.wake_client();
        }
    }

    /// The trailers of the request, if nothing else of it is left.
    pub fn content_end(&self) -> Option<Ref<'_, FieldSet>> {
        let state = self.state.borrow();
        if state.up.ring.is_some() {
            return None;
        }
        Ref::filter_map(state, |state| state.up.end.as_ref()).ok()
    }

    /// The upstream asks for the content.
    pub fn invite_content(&self) {
        self.state.borrow_mut().is_invited = true;
        self.wake_client();
    }

    /// Whether another interim response can be added.
    pub fn has_room_for_interim(&self) -> bool {
        self.state.borrow().interims.len() < INTERIMS_MAX
    }

    /// An interim response has come.
    pub fn put_interim(&self, status: Status, fields: FieldSet) {
        self.state.borrow_mut().interims.push_back((status, fields));
        self.wake_client();
    }

    /// The head of the final response has come.
    pub fn put_head(&self, head: Box<Head>) {
        self.state.borrow_mut().response = Some(head);
        self.wake_client();
    }

    /// Adds content of the response, as much as there is room for, or throws it away. Says how many bytes that were.
    pub fn put_response(&self, content: &[u8]) -> usize {
        if self.is_unheard() {
            return content.len();
        }
        let put = self.put(|state| &mut state.down, content);
        if put > 0 {
            self.wake_client();
        }
        put
    }

    /// Whether the client has not taken what has come: there is no room for more, or a conversation cannot go on without it. It
    /// wakes the upstream when it does.
    pub fn is_held_up(&self) -> bool {
        let state = self.state.borrow();
        state.down.is_awaited || state.is_unsent || state.interims.len() >= INTERIMS_MAX
    }

    /// Whether the client of a conversation has been sent what held the upstream up, since this was last asked.
    pub fn take_caught_up(&self) -> bool {
        std::mem::take(&mut self.state.borrow_mut().has_caught_up)
    }

    /// Whether there is content that the client has not taken. Then the upstream is [held up](Relay::is_held_up) until it does.
    pub fn awaits_client(&self) -> bool {
        let down = &mut self.state.borrow_mut().down;
        down.is_awaited |= down.ring.is_some();
        down.is_awaited
    }

    /// The response is complete, with these trailers.
    pub fn end_response(&self, trailers: FieldSet) {
        self.state.borrow_mut().down.end = Some(trailers);
        self.wake_client();
    }

    /// Neither side of a conversation has sent anything for too long. That is nobody's fault, and both directions end.
    pub fn end_silent(&self) {
        let mut state = self.state.borrow_mut();
        state.is_silent = true;
        state.down.end.get_or_insert(FieldSet::EMPTY);
        drop(state);
        self.wake_client();
    }

    /// There will be no response, or no more of it. The first reason is the one that counts.
    pub fn fail(&self, failed: Failed) {
        self.state.borrow_mut().failure.get_or_insert(failed);
        self.wake_client();
    }

    fn wake_client(&self) {
        self.state.borrow().client.wake();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let mut rings = self.rings.borrow_mut();
        for ring in [self.up.ring.take(), self.down.ring.take()].into_iter().flatten() {
            rings.give_back(ring);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_have_run_out_of_is_no_failure_of_the_address() {
        let (phase, written, read, is_reused) = (UpstreamPhase::Connect, 0, 0, false);
        let failure = |fault| Failed { fault, phase, written, read, is_reused }.failure();
        assert_eq!(failure(UpstreamFault::NoSocket(ErrorKind::Other)), None);
        // The last is that of an IPv6 address where the kernel has no IPv6.
        for kind in [ErrorKind::NetworkUnreachable, ErrorKind::PermissionDenied, ErrorKind::AddrNotAvailable] {
            assert_eq!(failure(UpstreamFault::Kernel(kind)), Some(Failure::Unreachable));
        }
    }

    #[test]
    fn only_an_alert_of_the_upstream_is_its_refusal() {
        let end = |cause| UpstreamFault::Tls("why".into(), cause).end();
        assert_eq!(end(TlsCause::Alert), UpstreamEnd::Refused);
        assert_eq!([end(TlsCause::Certificate), end(TlsCause::Other)], [UpstreamEnd::Malformed; 2]);
    }
}
