//! The client's side of a relayed exchange: it sends the request's content to the relay, waits for the response, tries once more
//! where that is provably safe, and answers itself where no upstream does.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use log::Level;

use super::balance::{Balance, KeySource, hash};
use super::group::Assignment;
use super::hub::{Given, Hub};
use super::message::{self, Outgoing};
use super::queue::Ticket;
use super::relay::{Failed, Head, Relay, UpstreamFault};
use super::retry::Attempt;
use super::route::HostField;
use super::target::Target;
use crate::base::peer::Peer;
use crate::base::ring::Room;
use crate::base::upstream_facts::UpstreamFacts;
use crate::http::body::{Body, Failure, Pull, Wait};
use crate::http::exchange::{Breach, Cx, Decision, Exchange, Source, Taker, Tunnel};
use crate::http::fields::{FieldSet, FieldValue, Fields, RETRY_AFTER};
use crate::http::message::{Announced, RequestHead, Response};
use crate::http::status::Status;
use crate::http::upstream::{OutgoingRequest, ResponseContent};
use crate::observe::upstream::Proof;
use crate::service::errors::{self, Detail};

/// How long a client that holds its content back waits for the word of an upstream that may not know `Expect`
/// (RFC 9110 §10.1.1).
pub(super) const INVITATION_PATIENCE: Duration = Duration::from_secs(1);
/// When an upstream that has left no wake is looked at again. Its connection has deadlines of its own.
const PATIENCE: Duration = Duration::from_secs(60);
/// As much of a request's content is kept for another try, in bytes. It fits into a ring.
const REPLAYED_BYTES_MAX: usize = 16 * 1024;

/// One request that is answered by an upstream.
pub struct Relayed {
    hub: Rc<Hub>,
    target: Rc<Target>,
    outgoing: Rc<Outgoing>,
    /// For sharing out by a hash.
    key: Option<u64>,
    /// The content so far, as long as all of it is here.
    replay: Option<Vec<u8>>,
    /// The content of the request has ended, with these trailers.
    end: Option<FieldSet>,
    stage: Stage,
    facts: Rc<UpstreamFacts>,
    is_retry: bool,
    /// Until then an upstream may ask for the content by itself.
    invites_at: Option<Instant>,
    /// What follows the head that has come.
    content: ResponseContent,
    /// The response came instead of the word that asks for the content, which the client holds back: it is not sent at all
    /// (RFC 9110 §10.1.1).
    is_declined: bool,
}

/// How far a request has come.
enum Stage {
    /// It has no address, after it has failed at this one, if it has.
    Choosing(Option<Assignment>),
    /// It waits for room, after it has failed at this address, if it has, until this moment.
    Queued(Ticket, Instant),
    /// An upstream has it, or will get it.
    Given(Rc<Relay>, Assignment),
    /// There will be no more of the upstream.
    Over,
}

impl Relayed {
    /// What becomes of this request, for this target. `outgoing` is what the upstream gets.
    pub fn new(
        hub: &Rc<Hub>,
        target: &Rc<Target>,
        request: &RequestHead<'_>,
        outgoing: Outgoing,
        cx: &Cx<'_>,
    ) -> Box<Relayed> {
        let key = match &target.route().balance {
            Balance::RoundRobin | Balance::LeastConn => None,
            Balance::Hash(KeySource::Client) => Some(hash_of_client(cx)),
            Balance::Hash(KeySource::Field(name)) => request.fields.first(name.as_str()).map(hash),
        };
        hub.on_request(target, cx.moment);
        let OutgoingRequest { content, expects_continue, .. } = outgoing.request;
        Box::new(Relayed {
            hub: Rc::clone(hub),
            target: Rc::clone(target),
            key,
            end: (content == Announced::Nothing && outgoing.request.upgrade.is_none()).then_some(FieldSet::EMPTY),
            invites_at: expects_continue.then(|| cx.now + INVITATION_PATIENCE),
            outgoing: Rc::new(outgoing),
            replay: Some(Vec::new()),
            stage: Stage::Choosing(None),
            facts: Rc::new(UpstreamFacts::new(cx.connection, cx.request)),
            is_retry: false,
            content: ResponseContent::Nothing(None),
            is_declined: false,
        })
    }

    /// Gets a connection, or a place in the queue; otherwise the answer to the client.
    fn choose(&mut self, cx: &Cx<'_>) -> Option<Response> {
        let (failed, ticket) = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Choosing(failed) => (failed, None),
            Stage::Queued(ticket, _) => (None, Some(ticket)),
            stage => {
                self.stage = stage;
                return None;
            }
        };
        let except = failed.as_ref().map(|assignment| assignment.id);
        let given = self.hub.choose(&self.target, self.key, except, ticket, &cx.local_waker(), cx.moment);
        if let Some(failed) = failed {
            self.hub.end(&self.target, failed);
        }
        match given {
            Given::Link(link, assignment) => {
                let outgoing = self.outgoing_to(assignment.upstream);
                let (replayed, route) = (self.replay.as_deref().unwrap_or_default(), self.target.route());
                let (client, facts) = (cx.local_waker(), Rc::clone(&self.facts));
                facts.begin(assignment.address, cx.moment);
                let relay = Relay::new(outgoing, Rc::clone(route), replayed, self.hub.rings(), client, facts);
                match &self.end {
                    Some(trailers) => relay.end_content(trailers.clone()),
                    // Content that has come meanwhile is offered again.
                    None => cx.local_waker().wake(),
                }
                link.assign(Rc::clone(&relay));
                self.stage = Stage::Given(relay, assignment);
                None
            }
            Given::Place(ticket, deadline) => {
                self.stage = Stage::Queued(ticket, cx.now + deadline.since(cx.moment));
                None
            }
            Given::Nothing(why, retry_after) => {
                cx.complain(Level::Warn, format_args!("503: {}: {why}", self.target.route()));
                let response = errors::error(
                    Status::SERVICE_UNAVAILABLE,
                    "upstream_unavailable",
                    [("route", Detail::Text(&self.target.route().to_string())), ("why", Detail::Text(&why))],
                );
                let seconds = retry_after.as_secs().max(1).to_string();
                Some(response.with_field(RETRY_AFTER, FieldValue::new(seconds).unwrap_or(FieldValue::from_static("1"))))
            }
        }
    }

    /// What this upstream of the route gets: the name of the host may be its own.
    fn outgoing_to(&self, upstream: usize) -> Rc<Outgoing> {
        let route = self.target.route();
        let (host, first) = (route.upstreams[upstream].authority.as_bytes(), route.upstreams[0].authority.as_bytes());
        let is_own = route.host_field == HostField::Upstream || self.outgoing.request.host == first;
        if upstream == 0 || !is_own {
            return Rc::clone(&self.outgoing);
        }
        let mut outgoing = Outgoing::clone(&self.outgoing);
        outgoing.request.host = host.to_vec();
        Rc::new(outgoing)
    }

    /// The upstream has failed before the head of its response was complete: another try, or the answer to the client.
    fn on_failure(&mut self, failed: Failed, cx: &Cx<'_>) -> Option<Response> {
        let Stage::Given(_, assignment) = std::mem::replace(&mut self.stage, Stage::Over) else { return None };
        let address = assignment.address;
        let proof = failed.failure().and_then(|failure| {
            let (is_retry, is_reused, written) = (self.is_retry, failed.is_reused, failed.written);
            let is_lasting = failed.is_lasting();
            let attempt = Attempt { failure, is_lasting, is_retry, is_reused, written, received: failed.read };
            let (method, is_replayable) = (self.outgoing.request.method, self.replay.is_some());
            let proof = self.hub.may_retry(&self.target, &assignment, method, &attempt, is_replayable, cx.moment);
            // An upstream may end a connection that it has kept for long enough (RFC 9112 §9.3.1).
            let is_of_age = is_reused && matches!(proof, Ok(Proof::ReusedEof | Proof::NothingWritten));
            if !is_of_age {
                self.hub.on_failure(&self.target, &assignment, failure, cx.moment);
            }
            proof.ok()
        });
        if let Some(proof) = proof {
            self.is_retry = true;
            self.facts.note_retry(proof.name());
            cx.complain(Level::Info, format_args!("upstream {address}: {failed}; retry={proof}"));
            self.stage = Stage::Choosing(Some(assignment));
            return None;
        }
        self.hub.end(&self.target, assignment);
        let (status, code) = match failed.fault {
            UpstreamFault::Timeout => (Status::GATEWAY_TIMEOUT, "gateway_timeout"),
            UpstreamFault::NoSocket(_) => (Status::SERVICE_UNAVAILABLE, "upstream_unavailable"),
            _ => (Status::BAD_GATEWAY, "bad_gateway"),
        };
        cx.complain(Level::Warn, format_args!("{status}: upstream {address}: {failed}"));
        let (upstream, why) = (address.to_string(), failed.fault.to_string());
        let (upstream, phase, why) = (Detail::Text(&upstream), Detail::Text(failed.phase.name()), Detail::Text(&why));
        let response = errors::error(status, code, [("upstream", upstream), ("phase", phase), ("why", why)]);
        Some(match status {
            Status::SERVICE_UNAVAILABLE => response.with_field(RETRY_AFTER, FieldValue::from_static("1")),
            _ => response,
        })
    }

    /// What is waited for before the head of the response has come.
    fn wait(&self, cx: &Cx<'_>) -> Wait {
        match &self.stage {
            Stage::Queued(_, deadline) => Wait::Upstream(*deadline),
            Stage::Given(relay, _) => match self.invites_at.filter(|_| !relay.is_invited()) {
                Some(at) if at > cx.now => Wait::Upstream(at),
                _ if self.takes_content() && !relay.is_full() && self.content_max(relay) > 0 => Wait::Content,
                _ => Wait::Upstream(cx.now + PATIENCE),
            },
            Stage::Choosing(_) | Stage::Over => Wait::Upstream(cx.now),
        }
    }

    /// Whether the content of the request has not ended. Before an upstream is chosen none of it is taken, but its end is noted.
    fn takes_content(&self) -> bool {
        self.end.is_none() && self.outgoing.request.upgrade.is_none()
    }

    /// How much content may be taken now, in bytes. Until a byte of the request was written all of it is kept for another
    /// address: what does not fit stays with the client.
    fn content_max(&self, relay: &Relay) -> usize {
        match &self.replay {
            Some(replay) if !relay.is_begun() => REPLAYED_BYTES_MAX.saturating_sub(replay.len()),
            _ => usize::MAX,
        }
    }

    fn decide(mut self: Box<Self>, head: Head, cx: &Cx<'_>) -> Decision {
        let Head { mut response, content, protocol } = head;
        self.content = content;
        let Stage::Given(relay, assignment) = &self.stage else { return Decision::Respond(response) };
        self.hub.on_success(&self.target, assignment, cx.moment);
        let is_untouched = self.replay.as_ref().is_some_and(Vec::is_empty);
        self.is_declined = is_untouched && !relay.is_invited() && self.invites_at.is_some_and(|at| at > cx.now);
        if let Some(protocol) = protocol {
            let Response { prepared, fields, origin, .. } = response;
            return Decision::Upgrade(Tunnel { protocol, prepared, fields, origin, content: self });
        }
        let is_short = matches!(content, ResponseContent::Length(_)) && (self.end.is_some() || self.is_declined);
        let whole = if is_short { relay.whole_response() } else { None };
        response.body = match whole {
            Some(bytes) => Body::from(bytes),
            None => Body::Source(self),
        };
        Decision::Respond(response)
    }
}

impl Exchange for Relayed {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        if self.takes_content() { Some(self) } else { None }
    }

    fn respond(mut self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        loop {
            if let Some(response) = self.choose(cx) {
                return Ok(Decision::Respond(response));
            }
            let Stage::Given(relay, _) = &self.stage else {
                let wait = self.wait(cx);
                return Ok(Decision::Pending(self, wait));
            };
            if let Some((status, fields)) = relay.next_interim() {
                return Ok(Decision::Interim(self, status, fields));
            }
            if let Some(head) = relay.take_head() {
                return Ok(self.decide(*head, cx));
            }
            let Some(failed) = relay.failure() else {
                let wait = self.wait(cx);
                return Ok(Decision::Pending(self, wait));
            };
            if let Some(response) = self.on_failure(failed, cx) {
                return Ok(Decision::Respond(response));
            }
        }
    }

    fn ends_with_client(&self) -> bool {
        self.target.route().aborts_on_close
    }

    fn upstream(&self) -> Option<Rc<UpstreamFacts>> {
        Some(Rc::clone(&self.facts))
    }
}

impl Taker for Relayed {
    fn take(&mut self, content: &[u8], _: &mut Cx<'_>) -> Result<usize, Failure> {
        let Stage::Given(relay, _) = &self.stage else { return Ok(0) };
        let taken = relay.put_content(content, self.content_max(relay));
        if let Some(replay) = &mut self.replay {
            match replay.len() + taken <= REPLAYED_BYTES_MAX {
                true => replay.extend_from_slice(&content[..taken]),
                false => self.replay = None,
            }
        }
        Ok(taken)
    }

    fn end(&mut self, trailers: Fields<'_>, _: &mut Cx<'_>) -> Result<(), Failure> {
        let trailers = message::trailers(trailers);
        if let Stage::Given(relay, _) = &self.stage {
            relay.end_content(trailers.clone());
        }
        self.end = Some(trailers);
        Ok(())
    }

    fn kept_bytes(&self) -> usize {
        match &self.stage {
            Stage::Given(relay, _) => relay.content_len(),
            _ => 0,
        }
    }
}

impl Source for Relayed {
    fn length(&self) -> Option<u64> {
        match self.content {
            ResponseContent::Nothing(length) => length,
            ResponseContent::Length(length) => Some(length),
            ResponseContent::Chunked | ResponseContent::UntilClose | ResponseContent::Tunnel => None,
        }
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        let Stage::Given(relay, assignment) = &self.stage else { return Ok(Pull::End) };
        relay.take_response(room);
        if relay.response_is_over() {
            return Ok(Pull::End);
        }
        if room.is_full() {
            return Ok(Pull::More);
        }
        if let Some(failed) = relay.failure() {
            let (hub, target) = (&self.hub, &self.target);
            // How another protocol ends says nothing about the upstream: nobody may have had anything to say.
            let failure = failed.failure().filter(|_| self.content != ResponseContent::Tunnel);
            failure.iter().for_each(|why| hub.on_failure(target, assignment, *why, cx.moment));
            return Err(Failure::of_upstream(format_args!("upstream {}: {failed}", assignment.address)));
        }
        Ok(Pull::Pending(match self.content {
            ResponseContent::Tunnel => Wait::Idle(cx.now + self.target.route().tunnel_timeout),
            _ => Wait::Upstream(cx.now + PATIENCE),
        }))
    }

    /// An upstream that has ended its direction may read on. If it refuses what comes then, the conversation is over.
    fn listens(&mut self, cx: &mut Cx<'_>) -> Option<Wait> {
        let Stage::Given(relay, assignment) = &self.stage else { return None };
        let timeout = self.target.route().tunnel_timeout;
        if relay.is_silent() {
            let (address, what) = (assignment.address, "neither side has sent anything for");
            cx.complain(Level::Info, format_args!("upstream {address}: closed: {what} {timeout:?} (tunnel-timeout)"));
            return None;
        }
        let goes_on = self.content == ResponseContent::Tunnel && self.end.is_none() && relay.failure().is_none();
        goes_on.then(|| Wait::Idle(cx.now + timeout))
    }

    fn breach(&self) -> Option<Breach> {
        match &self.stage {
            Stage::Given(relay, _) if relay.is_silent() => Some(Breach::Silence),
            _ => None,
        }
    }

    fn taker(&mut self) -> Option<&mut dyn Taker> {
        if self.end.is_some() || self.is_declined { None } else { Some(self) }
    }

    fn ends_with_client(&self) -> bool {
        self.target.route().aborts_on_close
    }

    fn outlives_output(&mut self) -> bool {
        let Stage::Given(relay, _) = &self.stage else { return false };
        let goes_on = self.content == ResponseContent::Tunnel && self.end.is_none() && relay.failure().is_none();
        if goes_on {
            relay.ignore_response();
        }
        goes_on
    }

    fn note_unsent(&mut self, is_unsent: bool) {
        if let Stage::Given(relay, _) = &self.stage
            && self.content == ResponseContent::Tunnel
        {
            relay.note_unsent(is_unsent);
        }
    }

    fn trailers(&mut self) -> Option<FieldSet> {
        match &self.stage {
            Stage::Given(relay, _) => relay.take_trailers(),
            _ => None,
        }
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Choosing(None) | Stage::Over => {}
            Stage::Choosing(Some(assignment)) => self.hub.end(&self.target, assignment),
            Stage::Queued(ticket, _) => self.hub.leave(&self.target, ticket),
            Stage::Given(relay, assignment) => {
                // Of a conversation, the last bytes may be on their way to the upstream.
                let is_tunnel = self.content == ResponseContent::Tunnel;
                let is_whole = self.end.is_some() && relay.response_is_over();
                match is_tunnel && self.end.is_some() {
                    _ if is_whole => {}
                    true => relay.ignore_response(),
                    false => relay.abandon(),
                }
                let free = if is_tunnel || is_whole { relay.leave(assignment) } else { Some(assignment) };
                free.into_iter().for_each(|assignment| self.hub.end(&self.target, assignment));
            }
        }
    }
}

/// The address of whoever has sent a request, as far as that is known.
fn hash_of_client(cx: &Cx<'_>) -> u64 {
    let ip = match (cx.named, cx.peer) {
        (Some(node), _) => Some(node.ip),
        (None, Peer::Ip(address)) => Some(address.ip()),
        (None, Peer::Unix) => None,
    };
    match ip {
        Some(IpAddr::V4(ip)) => hash(&ip.octets()),
        Some(IpAddr::V6(ip)) => hash(&ip.octets()),
        None => 0,
    }
}
