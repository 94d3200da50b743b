//! A connection that we have opened, to an upstream: it sends the requests of others, one after the other, and hands the
//! responses back through relays.
//!
//! What the other side of a relay does not take stays in the inbox, and a full inbox ends READ interest. So an upstream is read
//! from as fast as the client reads, and a client as fast as the upstream does.

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use super::LoopContext;
use super::channel::Channel;
use super::driver::{Cut, DriverStatus, DriverWait, Ending, Protocol};
use super::secured::Refusal;
use crate::base::moment::Moment;
use crate::http::body::Body;
use crate::http::fields::{FieldSet, FieldValue};
use crate::http::message::Response;
use crate::http::status::Status;
use crate::http::upstream::{ResponseContent, ResponseHead};
use crate::net::Socket;
use crate::observe::close_reason::{ClientEnd, CloseReason, Why};
use crate::observe::report::ServedRequest;
use crate::observe::timers::Drive;
use crate::observe::verdict::Phase;
use crate::observe::wait_reason::WaitReason;
use crate::protocol::h1::client::{Client, Received, ResponseError};
use crate::protocol::h1::{Receiving, Sending};
use crate::service::Service;
use crate::service::proxy::hub::{Hub, idle_until};
use crate::service::proxy::link::Link;
use crate::service::proxy::message;
use crate::service::proxy::relay::{Failed, Head, Relay, TlsCause, UpstreamFault, UpstreamPhase};
use crate::service::proxy::route::Route;

/// Interim responses to one request that are borne.
const INTERIMS_MAX: u32 = 100;
/// A connection that was idle for so long is looked at before it is used again: the kernel has told of all that came before
/// this turn, and its upstream may have closed it since. Where requests follow each other closely, that is not worth a call.
const RESTED: Duration = Duration::from_millis(100);
/// How long a connection waits for the client's side at most, which has deadlines of its own.
const RELAY_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// A connection to an upstream that speaks HTTP/1.
pub(super) struct Upstream {
    codec: Client,
    hub: Rc<Hub>,
    link: Rc<Link>,
    /// The exchange that is being served.
    exchange: Option<Exchange>,
    /// Exchanges that were served to the end.
    served: u64,
    dialled: Moment,
    is_connected: bool,
    /// When anything last moved, and how many bytes had by then.
    progress: Moment,
    moved: u64,
    /// When it is closed if nobody needs it by then.
    idle_until: Moment,
    end: Option<Ending>,
    /// Writing has failed for this reason. What the upstream has sent before may still be read.
    write_error: Option<ErrorKind>,
    /// The upstream had ended its direction before that, so nothing that it has sent is missing.
    is_closed_in_order: bool,
    /// What has ended it, if the upstream is to blame.
    fault: Option<UpstreamFault>,
    /// Both sides of a conversation were silent for too long.
    is_silent: bool,
}

/// One request and its response.
struct Exchange {
    relay: Rc<Relay>,
    /// Where it began in both streams.
    sent_before: u64,
    received_before: u64,
    interims: u32,
    /// A byte of the request was written.
    is_begun: bool,
    /// The head of the final response has come.
    has_head: bool,
    /// Content of the response is to come, and none has.
    awaits_content: bool,
    /// Both directions are raw since an upgrade.
    is_tunnel: bool,
    /// Our direction has ended, behind an upgrade.
    is_half_closed: bool,
    /// The upstream's direction has ended, behind an upgrade.
    is_response_over: bool,
    /// The client had not taken what there was when that was last looked at.
    was_held_up: bool,
}

impl Exchange {
    /// One of which nothing was sent.
    fn new<S: Socket>(relay: Rc<Relay>, channel: &Channel<S>) -> Exchange {
        Exchange {
            relay,
            sent_before: channel.sent(),
            received_before: channel.received(),
            interims: 0,
            is_begun: false,
            has_head: false,
            awaits_content: false,
            is_tunnel: false,
            is_half_closed: false,
            is_response_over: false,
            was_held_up: false,
        }
    }
}

impl Upstream {
    /// The driver of a connection that was begun at `now` and finds in this link what it is to do.
    pub(super) fn new(hub: Rc<Hub>, link: Rc<Link>, now: Moment) -> Upstream {
        Upstream {
            codec: Client::new(),
            hub,
            link,
            exchange: None,
            served: 0,
            dialled: now,
            is_connected: false,
            progress: now,
            moved: 0,
            idle_until: now,
            end: None,
            write_error: None,
            is_closed_in_order: false,
            fault: None,
            is_silent: false,
        }
    }

    /// The request that it serves, if it does.
    pub(super) fn serves(&self) -> Option<ServedRequest> {
        let relay = &self.exchange.as_ref()?.relay;
        let request = &relay.outgoing.request;
        let line = format!("{} {}", request.method.as_str(), request.target.escape_ascii());
        Some(ServedRequest { client: relay.facts.client, request: line })
    }

    fn route(&self) -> &Route {
        self.link.target.route()
    }

    /// Takes the next exchange from the link, and encodes the head of its request.
    fn begin<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) -> bool {
        if self.exchange.is_some() {
            return false;
        }
        let Some(relay) = self.link.take_relay() else { return false };
        if !relay.take_request() {
            return false;
        }
        let is_rested = self.served > 0 && cx.moment.since(self.progress) >= RESTED;
        if is_rested && !channel.is_untouched(cx) {
            // Whatever an idle upstream says, it is no response to the next request.
            let (fault, phase) = (UpstreamFault::Eof, UpstreamPhase::Request);
            relay.fail(Failed { fault, phase, written: 0, read: 0, is_reused: true });
            self.end = Some(Ending::AtOnce);
            return true;
        }
        let (served_before, dialled, connection) = (self.served, self.dialled, channel.who.id);
        relay.facts.note(|attempt| {
            (attempt.connection, attempt.served_before, attempt.dialled) = (Some(connection), served_before, dialled);
        });
        cx.head.clear();
        self.codec.send_head(&relay.outgoing.request, &mut cx.head);
        self.progress = cx.moment;
        self.exchange = Some(Exchange::new(relay, channel));
        if !channel.outbox.ring(&mut cx.outboxes).put_whole(&cx.head) {
            self.fail(UpstreamFault::Protocol("the head of the request is larger than the outbox", ""));
        }
        true
    }

    /// Notes in the facts how far the exchange has come.
    fn note_progress<S: Socket>(&mut self, channel: &Channel<S>, now: Moment) {
        let Some(exchange) = &mut self.exchange else { return };
        if !exchange.is_begun && channel.sent() > exchange.sent_before {
            exchange.is_begun = true;
            exchange.relay.note_begun();
        }
        let facts = &exchange.relay.facts;
        if !self.is_connected && channel.has_connected() {
            self.is_connected = true;
            facts.note(|attempt| attempt.connected = Some(now));
            self.hub.note_times(&self.link, Some(now.since(self.dialled)), None);
        }
        if channel.is_secured() && !channel.is_handshaking() && self.served == 0 {
            facts.note(|attempt| attempt.secured = attempt.secured.or(Some(now)));
        }
        if channel.received() > exchange.received_before
            && let Some(attempt) = facts.attempt().filter(|attempt| attempt.first_byte.is_none())
        {
            facts.note(|attempt| attempt.first_byte = Some(now));
            self.hub.note_times(&self.link, None, Some(now.since(attempt.connected.unwrap_or(attempt.began))));
        }
    }

    /// Relay → codec → outbox: one step. Says whether it moved anything.
    fn produce<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) -> bool {
        let Some(exchange) =
            self.exchange.as_mut().filter(|_| self.codec.sending() == Sending::Content && self.write_error.is_none())
        else {
            return false;
        };
        let relay = &exchange.relay;
        let outbox = channel.outbox.ring(&mut cx.outboxes);
        if relay.has_content() {
            let Some(mut room) = self.codec.room(outbox) else { return false };
            relay.take_content(&mut room);
            let written = room.written();
            self.codec.seal(outbox, written);
            return written > 0;
        }
        let Some(trailers) = relay.content_end() else { return false };
        let finished = self.codec.finish(outbox, Some(&trailers));
        drop(trailers);
        match finished {
            Ok(finished) => finished,
            // The client's request was not complete, and its own connection says so.
            Err(_) => {
                self.fail(UpstreamFault::Protocol("the content of the request ended too early", ""));
                true
            }
        }
    }

    /// Behind an upgrade each direction ends by itself (RFC 9293 §3.6).
    fn end_direction<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) {
        let Some(exchange) = &mut self.exchange else { return };
        let ends = exchange.is_tunnel && self.codec.sending() == Sending::Done;
        if !ends || self.end.is_some() || self.write_error.is_some() {
            return;
        }
        if !exchange.is_half_closed {
            match channel.end_direction(cx) {
                Ok(has_ended) => exchange.is_half_closed = has_ended,
                Err(error) => return self.fail(UpstreamFault::Kernel(error.kind())),
            }
        }
        if exchange.is_half_closed && (exchange.is_response_over || exchange.relay.is_unheard()) {
            self.end_exchange(cx.moment);
            self.end = Some(Ending::AtOnce);
        }
    }

    /// Inbox → codec → relay: one step. Says whether it moved anything.
    fn receive<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) -> bool {
        let input_ended = channel.input_ended();
        let Some(exchange) = &mut self.exchange else { return false };
        if !exchange.relay.has_room_for_interim() {
            return false;
        }
        if channel.inbox.is_none() && !input_ended && self.codec.receiving() == Receiving::Idle {
            return false;
        }
        let inbox = channel.inbox.get_or_insert_with(|| cx.inboxes.take());
        match self.codec.receive(inbox, &mut cx.scratch, &cx.environment.limits) {
            Ok(Received::Interim(ref head)) => {
                exchange.interims += 1;
                let is_over_limit = exchange.interims > INTERIMS_MAX;
                if head.status == Status::CONTINUE {
                    exchange.relay.invite_content();
                } else {
                    let fields = exchange.relay.outgoing.asked.response_fields(head, &exchange.relay.route);
                    exchange.relay.put_interim(head.status, fields);
                }
                self.codec.release(inbox);
                if is_over_limit {
                    self.fail(UpstreamFault::Protocol("too many interim responses", "RFC 9110 §15.2"));
                }
                true
            }
            Ok(Received::Head(ref head)) => {
                exchange.has_head = true;
                exchange.is_tunnel = head.content == ResponseContent::Tunnel;
                exchange.awaits_content =
                    !matches!(head.content, ResponseContent::Tunnel | ResponseContent::Nothing(_));
                let relayed = relayed(head, &exchange.relay);
                self.codec.release(inbox);
                match relayed {
                    Ok(head) => exchange.relay.put_head(head),
                    Err(reason) => self.fail(UpstreamFault::Protocol(reason, "RFC 9110 §7.8")),
                }
                true
            }
            Ok(Received::Content(n)) => {
                exchange.awaits_content = false;
                let front = inbox.readable()[0];
                let put = exchange.relay.put_response(&front[..n.min(front.len())]);
                self.codec.taken(inbox, put);
                put > 0
            }
            Ok(Received::End(trailers)) => {
                let trailers = message::trailers(trailers);
                self.codec.release(inbox);
                self.end_response(trailers, channel, cx);
                true
            }
            Ok(Received::NeedBytes) if input_ended => self.on_eof(channel),
            Ok(Received::NeedBytes | Received::Paused) => false,
            Err(ResponseError { reason, section }) => {
                self.fail(UpstreamFault::Protocol(reason, section));
                true
            }
        }
    }

    /// The upstream has ended its direction, and all of it was read. Says whether that ends the content.
    fn on_eof<S: Socket>(&mut self, channel: &Channel<S>) -> bool {
        if let Some(kind) = self.write_error.filter(|_| !self.is_closed_in_order) {
            // What ends with the connection may have been cut off by whatever has broken it.
            self.fail(UpstreamFault::Kernel(kind));
            return false;
        }
        if channel.is_truncated() {
            // RFC 8446 §6.1: without close_notify somebody else may have ended it.
            self.fail(UpstreamFault::Eof);
            return false;
        }
        match self.codec.on_eof() {
            Ok(is_end) if is_end => return true,
            _ => self.fail(UpstreamFault::Eof),
        }
        false
    }

    /// The exchange is over.
    fn end_exchange(&mut self, now: Moment) {
        if let Some(exchange) = self.exchange.take() {
            exchange.relay.facts.note(|attempt| attempt.over = Some(now));
            self.end_service(&exchange.relay);
            self.served += 1;
        }
    }

    /// If the client has left, its address is not busy any more.
    fn end_service(&self, relay: &Relay) {
        if let Some(assignment) = relay.end_service() {
            self.hub.end(&self.link.target, assignment);
        }
    }

    /// The response is complete. If its request is, too, and nothing else has arrived, the connection can serve another one.
    fn end_response<S: Socket>(&mut self, trailers: FieldSet, channel: &Channel<S>, cx: &LoopContext) {
        let Some(exchange) = &mut self.exchange else { return };
        exchange.relay.end_response(trailers);
        if exchange.is_tunnel && (self.codec.sending() != Sending::Done || !channel.is_flushed()) {
            // The upstream may read on: the client may have more to say, or has, and it has not left yet.
            exchange.relay.facts.note(|attempt| attempt.over = Some(cx.moment));
            exchange.is_response_over = true;
            if let Some(kind) = self.write_error {
                // It has closed its socket and takes nothing more.
                self.fail(UpstreamFault::Kernel(kind));
            }
            return;
        }
        self.end_exchange(cx.moment);
        let idle_until = idle_until(cx.moment, self.route().idle_timeout, self.codec.keep_alive_secs());
        let is_clean = channel.inbox_is_empty() && !channel.input_ended() && cx.environment.draining.is_none();
        // Behind a PROXY header it belongs to one client.
        let is_clean = is_clean && !self.route().sends_proxy_header;
        // An upstream that has answered early may never take the rest.
        let is_whole = self.codec.sending() == Sending::Done && channel.is_flushed();
        if let Some(until) = idle_until.filter(|_| is_clean && is_whole)
            && self.codec.cycle()
            && let Some(until) = self.hub.put_idle(&self.link, until, cx.moment)
        {
            self.idle_until = until;
            return;
        }
        self.end = Some(if is_whole { Ending::AtOnce } else { Ending::Unneeded });
    }

    /// Behind an upgrade, neither side has sent anything for too long.
    fn end_silent(&mut self, now: Moment) {
        if let Some(exchange) = &self.exchange {
            exchange.relay.end_silent();
        }
        self.end_exchange(now);
        (self.is_silent, self.end) = (true, Some(Ending::AtOnce));
    }

    /// The exchange has failed, and the connection with it. Whoever waits is told when the connection is closed.
    fn fail(&mut self, fault: UpstreamFault) {
        self.fault.get_or_insert(fault);
        self.end = Some(Ending::Unneeded);
    }

    /// An upstream that writes the content behind the head, with the algorithm of Nagle (RFC 896), holds it back until the head is
    /// acknowledged, and our kernel puts that off for 40 ms (RFC 1122 §4.2.3.2). One that writes both at once costs no call.
    fn hasten<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) {
        let awaits = self.exchange.as_mut().map(|exchange| &mut exchange.awaits_content);
        if !channel.may_be_readable() && awaits.is_some_and(std::mem::take) {
            channel.acknowledge(&mut cx.counters);
        }
    }

    /// Acts on what ends the connection whatever it does.
    fn check<S: Socket>(&mut self, channel: &Channel<S>, cx: &LoopContext) {
        if self.end.is_some() {
            return;
        }
        let is_late = cx.moment >= self.due(channel);
        match &self.exchange {
            Some(exchange) if exchange.relay.is_abandoned() && !self.has_last_words(exchange, channel) => {
                self.end = Some(Ending::Unneeded);
            }
            // The time of silence begins when the client has taken what there is. Its own deadlines end it before ours does.
            Some(Exchange { is_tunnel: true, was_held_up: false, relay, .. }) if is_late && relay.awaits_client() => {}
            // Nobody has failed if neither side has anything to say.
            Some(Exchange { is_tunnel: true, was_held_up: false, .. }) if is_late && !channel.is_write_blocked() => {
                self.end_silent(cx.moment)
            }
            Some(_) if is_late => self.fail(UpstreamFault::Timeout),
            // Whatever an idle upstream says, it is no response to the next request.
            None if is_late || self.link.is_retired() || channel.input_ended() || !channel.inbox_is_empty() => {
                self.end = Some(Ending::AtOnce);
                // It may linger before it is closed.
                self.hub.forget(&self.link);
            }
            Some(_) | None => {}
        }
    }

    /// Whether there is something of a conversation that its client has broken off, and the upstream may take it yet.
    fn has_last_words<S: Socket>(&self, exchange: &Exchange, channel: &Channel<S>) -> bool {
        let has_more = exchange.relay.has_content() || !channel.is_flushed();
        exchange.is_tunnel && has_more && self.write_error.is_none()
    }

    /// What it waits for.
    fn reason<S: Socket>(&self, channel: &Channel<S>) -> WaitReason {
        let Some(exchange) = &self.exchange else {
            return WaitReason::Pooled;
        };
        match () {
            () if !self.is_connected || channel.is_handshaking() => WaitReason::Connecting,
            // An upstream that cannot send may not read either.
            () if exchange.relay.is_held_up() => WaitReason::Relay,
            () if channel.is_write_blocked() => WaitReason::UpstreamSlowRead,
            () if self.codec.sending() == Sending::Content && !exchange.relay.has_content() => WaitReason::Relay,
            () => WaitReason::UpstreamSilent,
        }
    }

    /// By when that must be over.
    fn due<S: Socket>(&self, channel: &Channel<S>) -> Moment {
        let route = self.route();
        let is_tunnel = self.exchange.as_ref().is_some_and(|exchange| exchange.is_tunnel);
        let is_held_up = self.exchange.as_ref().is_some_and(|exchange| exchange.relay.is_held_up());
        match self.reason(channel) {
            WaitReason::Pooled => self.idle_until,
            WaitReason::Connecting => self.progress + route.connect_timeout,
            WaitReason::Relay if is_held_up || !is_tunnel => self.progress + RELAY_TIMEOUT,
            _ if is_tunnel => self.progress + route.tunnel_timeout,
            _ => self.progress + route.response_timeout,
        }
    }

    /// How far the present exchange has come.
    fn phase<S: Socket>(&self, exchange: &Exchange, channel: &Channel<S>) -> UpstreamPhase {
        match () {
            () if !self.is_connected => UpstreamPhase::Connect,
            () if channel.is_handshaking() || channel.is_refused() => UpstreamPhase::Tls,
            () if channel.received() == exchange.received_before => match self.codec.sending() {
                Sending::Done if channel.is_flushed() => UpstreamPhase::FirstByte,
                _ => UpstreamPhase::Request,
            },
            // Of a response that was refused, the codec says only that nothing more of it is received.
            () if !exchange.has_head => UpstreamPhase::Head,
            () => UpstreamPhase::Content,
        }
    }
}

impl Protocol for Upstream {
    fn advance<S: Socket>(
        &mut self,
        channel: &mut Channel<S>,
        _service: &mut impl Service,
        cx: &mut LoopContext,
    ) -> Result<bool, Cut> {
        let bytes = channel.read_from_socket() + channel.written_to_socket();
        if bytes != self.moved {
            (self.moved, self.progress) = (bytes, cx.moment);
        }
        let mut moved = self.begin(channel, cx);
        self.note_progress(channel, cx.moment);
        if let Some(exchange) = &self.exchange
            && (exchange.relay.take_caught_up() || exchange.was_held_up)
            && !exchange.relay.is_held_up()
        {
            self.progress = cx.moment;
        }
        loop {
            let mut progress = false;
            while self.end.is_none() && self.produce(channel, cx) {
                progress = true;
            }
            while self.end.is_none() && self.receive(channel, cx) {
                progress = true;
            }
            if !progress {
                break;
            }
            // The upstream's time begins again when it has waited for the client.
            self.progress = cx.moment;
            moved = true;
        }
        self.hasten(channel, cx);
        self.end_direction(channel, cx);
        self.check(channel, cx);
        if let Some(exchange) = &mut self.exchange {
            exchange.was_held_up = exchange.relay.is_held_up();
        }
        Ok(moved)
    }

    fn finish<S: Socket>(&mut self, _channel: &Channel<S>) -> Option<Ending> {
        self.end
    }

    fn is_idle(&self) -> bool {
        self.exchange.is_none()
    }

    fn delivers(&self) -> bool {
        let exchange = self.exchange.as_ref().filter(|_| self.end.is_none());
        exchange.is_some_and(|exchange| {
            let has_no_more_to_say = exchange.is_response_over || exchange.relay.is_unheard();
            has_no_more_to_say && !exchange.relay.is_abandoned()
        })
    }

    fn wait<S: Socket>(&self, channel: &Channel<S>) -> DriverWait {
        DriverWait {
            reason: self.reason(channel),
            ordinal: self.served as u32,
            timer: None,
            ignores_input: false,
            due: Some(self.due(channel)),
        }
    }

    /// An upstream may refuse a request before all of it has come, and close its socket: then its kernel resets the connection,
    /// and the response is there all the same. So is what it has said behind an upgrade. Linux says EPIPE, and not ECONNRESET, if a
    /// FIN had come before the reset (`tcp_reset`): then all that was sent has arrived.
    fn on_write_error<S: Socket>(&mut self, kind: ErrorKind, channel: &Channel<S>) -> bool {
        let has_more_to_say = self.exchange.as_ref().is_some_and(|exchange| !exchange.is_response_over);
        let may_be_answered = self.is_connected && self.write_error.is_none() && has_more_to_say;
        if may_be_answered {
            self.write_error = Some(kind);
            self.is_closed_in_order = kind == ErrorKind::BrokenPipe || channel.input_ended();
        }
        may_be_answered
    }

    fn why(&self) -> Why {
        Why::Unneeded
    }

    /// In the words for requests: it is the same request, seen from its other side.
    fn phase<S: Socket>(&self, channel: &Channel<S>) -> Phase {
        match &self.exchange {
            _ if !self.is_connected => Phase::Silent,
            None => Phase::Idle,
            Some(exchange) if exchange.is_tunnel => Phase::Conversation,
            Some(exchange) if channel.received() > exchange.received_before => Phase::Sending,
            Some(_) if self.codec.sending() == Sending::Content => Phase::Content,
            Some(_) => Phase::Handler,
        }
    }

    fn status<S: Socket>(&self, channel: &Channel<S>) -> DriverStatus<'_> {
        let state = match self.reason(channel) {
            WaitReason::Pooled => "idle",
            WaitReason::Connecting => "connecting",
            _ if self.codec.sending() != Sending::Done => "sending request",
            _ if self.codec.receiving() == Receiving::Content => "receiving content",
            _ => "waiting for response",
        };
        // A request that ends here, or our direction of another protocol, is not whole.
        let is_sending = self.codec.sending() == Sending::Content;
        DriverStatus { protocol: "http/1 upstream", state, answered: self.served, record: None, is_sending }
    }

    fn note_close<S: Socket>(
        &mut self,
        channel: &Channel<S>,
        reason: CloseReason,
        drive: &Drive,
        _cx: &mut LoopContext,
    ) -> CloseReason {
        self.hub.forget(&self.link);
        // It may have been given something to do when it was about to close.
        let left = self.exchange.take().or_else(|| Some(Exchange::new(self.link.take_relay()?, channel)));
        if let Some(exchange) = left {
            // An upstream that is refused may have closed its socket before our alert comes.
            let fault = self.fault.clone().or_else(|| channel.refusal().map(fault_of));
            let fault = fault.unwrap_or(match reason {
                CloseReason::Broken(kind) => UpstreamFault::Kernel(kind),
                CloseReason::Timeout(_) | CloseReason::Vanished(_) => UpstreamFault::Timeout,
                _ => UpstreamFault::Eof,
            });
            let phase = self.phase(&exchange, channel);
            // Who has ended its direction, and refuses what comes then, has ended the conversation.
            let failed = (!exchange.is_response_over).then(|| (fault.end(), phase.name()));
            exchange.relay.facts.note(|attempt| (attempt.over, attempt.failed) = (Some(drive.over), failed));
            exchange.relay.fail(Failed {
                fault,
                phase,
                written: channel.sent() - exchange.sent_before,
                read: channel.received() - exchange.received_before,
                is_reused: self.served > 0,
            });
            self.end_service(&exchange.relay);
        }
        match (&self.fault, reason) {
            (Some(UpstreamFault::Timeout), _) => CloseReason::Timeout(WaitReason::UpstreamSilent),
            (Some(UpstreamFault::Kernel(kind)), _) => CloseReason::Broken(*kind),
            (Some(UpstreamFault::Eof), _) => CloseReason::ByClient(ClientEnd::Fin),
            (Some(UpstreamFault::Protocol(..)), _) => CloseReason::ByServer(Why::Refusal),
            (None, _) if self.is_silent => CloseReason::Timeout(WaitReason::Conversation),
            _ => reason,
        }
    }
}

/// TLS has failed like this.
fn fault_of(refusal: &Refusal) -> UpstreamFault {
    let cause = if refusal.is_of_certificate() {
        TlsCause::Certificate
    } else if refusal.is_of_peer() {
        TlsCause::Alert
    } else {
        TlsCause::Other
    };
    UpstreamFault::Tls(refusal.to_string().into(), cause)
}

/// The head of a response as the client gets it.
fn relayed(head: &ResponseHead<'_>, relay: &Relay) -> Result<Box<Head>, &'static str> {
    let asked = &relay.outgoing.asked;
    let protocol = match head.content {
        ResponseContent::Tunnel => {
            let protocol = FieldValue::new(asked.switched_to(head)?);
            Some(protocol.map_err(|_| "it switches to a protocol without a name")?)
        }
        _ => None,
    };
    let mut response = Response::of_upstream(head.status, asked.response_fields(head, &relay.route), Body::Empty);
    response.may_be_coded = asked.allows_coding();
    Ok(Box::new(Head { response, content: asked.content(head), protocol }))
}
