//! HTTP/1 on a connection: one stream at a time, its content from the inbox, its response to the outbox.

mod failing;
mod report;
mod sink;

use std::io::ErrorKind;

use log::Level;

use super::channel::Channel;
use super::driver::{Cut, DriverStatus, DriverWait, Ending, Protocol};
use super::sink::Sink;
use super::stream::{CONTENT_TOO_LONG, Stream};
use super::{Environment, LoopContext};
use crate::base::limits::Limits;
use crate::base::log_key::{LogKey, RequestKey};
use crate::base::moment::Moment;
use crate::http::body::{Failure, Wait};
use crate::http::exchange::Reply;
use crate::http::message::Announced;
use crate::http::status::Status;
use crate::net::Socket;
use crate::observe::close_reason::{ClientEnd, CloseReason, Fault, Why};
use crate::observe::report::{Progress, Transfer};
use crate::observe::request_record::{LeavingRecords, RequestRecord};
use crate::observe::timers::Drive;
use crate::observe::verdict::{Phase, Verdict};
use crate::observe::wait_reason::WaitReason;
use crate::protocol::h1::server::{Server, Step};
use crate::protocol::h1::{Receiving, Sending};
use crate::service::Service;
use sink::Http1Sink;

/// One connection that speaks HTTP/1.
pub(super) struct Http1 {
    codec: Server,
    stream: Stream,
    stop: Stop,
    /// What was going on when `stop` told to ignore further input.
    stopped_in: Option<Phase>,
    /// Our direction has ended, and the conversation behind an upgrade goes on in the other one.
    is_half_closed: bool,
    /// How many requests have been answered: the number of the present one, less one.
    answered: u64,
    /// When the first byte of the head was seen, while a head is being received.
    head_began: Moment,
    /// When its last drive was over.
    driven_at: Moment,
    /// Content of the present request that was thrown away, in bytes, or the most that fits.
    discarded: u32,
    /// Requests whose responses are complete and have not left yet.
    leaving: LeavingRecords,
}

/// Whether the connection ends, and how much of its input still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It goes on.
    No,
    /// It ends after the present response. If the client did not ask for that, more requests may be on their way.
    AfterResponse { why: Why, asked_by_client: bool },
    /// A request was refused: it ends after the response, and all further input is ignored.
    Refused,
    /// The same, because the client has ended its direction in the middle of the request.
    Unfinished(ClientEnd),
    /// The same, because the client took too long with this.
    Late(WaitReason),
    /// The client has ended its direction while a handler worked at the answer, and was to stop then.
    Abandoned(ClientEnd),
    /// Writing has failed for this reason, behind the client's FIN. All that it has sent is still of use.
    Unheard(ErrorKind),
    /// The same without a FIN: what the client has sent last may be missing. (Two variants, as an idle connection has no room for
    /// a flag here.)
    CutOff(ErrorKind),
}

impl Stop {
    fn ignores_input(self) -> bool {
        !matches!(self, Stop::No | Stop::AfterResponse { .. }) && !self.is_unheard()
    }

    /// Whether the client takes nothing more, and what it has sent is of use.
    fn is_unheard(self) -> bool {
        matches!(self, Stop::Unheard(_) | Stop::CutOff(_))
    }
}

impl Protocol for Http1 {
    /// Receives first, then produces, and again: pipelined requests are answered together.
    fn advance<S: Socket>(
        &mut self,
        channel: &mut Channel<S>,
        service: &mut impl Service,
        cx: &mut LoopContext,
    ) -> Result<bool, Cut> {
        let mut moved = false;
        loop {
            let mut progress = false;
            while self.receive(channel, service, cx)? {
                progress = true;
            }
            while !self.stream.is_idle() && self.produce(channel, cx)? {
                progress = true;
            }
            progress |= self.stream.is_idle() && self.begin_next_request(channel);
            progress |= self.abandon(channel, cx);
            moved |= progress;
            if !progress || (channel.inbox_is_empty() && self.is_idle()) {
                return Ok(moved);
            }
        }
    }

    /// When the last response is complete, or there will be none.
    fn finish<S: Socket>(&mut self, channel: &Channel<S>) -> Option<Ending> {
        if self.stop.is_unheard() {
            return (!self.stream.is_listening()).then_some(Ending::Unneeded);
        }
        if self.codec.sending() == Sending::Done && self.stop != Stop::No && !self.stream.is_listening() {
            self.complete_record(channel);
            self.answered += 1;
            let request_complete = self.codec.receiving() == Receiving::Done;
            let has_said_all = matches!(self.stop, Stop::AfterResponse { asked_by_client: true, .. });
            return Some(if request_complete && has_said_all { Ending::AtOnce } else { Ending::InOrder });
        }
        if let Stop::Abandoned(end) = self.stop {
            return Some(match self.codec.sending() {
                Sending::Content => Ending::Reset(Fault::Request),
                Sending::Idle | Sending::Done => Ending::Idle(CloseReason::ByClient(end)),
            });
        }
        let has_ended = channel.input_ended() && channel.inbox_is_empty() && self.is_idle();
        has_ended.then_some(Ending::InOrder)
    }

    fn is_idle(&self) -> bool {
        self.stream.is_idle() && self.codec.receiving() == Receiving::Idle && self.codec.sending() == Sending::Idle
    }

    fn wait<S: Socket>(&self, _channel: &Channel<S>) -> DriverWait {
        let (wait, ignores_input) = (self.stream.wait(), self.stop.ignores_input());
        let reason = match wait {
            Some(Wait::Until(_)) => WaitReason::Timer,
            Some(Wait::Job(_)) => WaitReason::Job,
            Some(Wait::Upstream(_)) => WaitReason::Upstream,
            Some(Wait::Idle(_)) => WaitReason::Conversation,
            Some(Wait::Content) => WaitReason::SlowBody,
            None if self.stream.is_idle() => match self.codec.receiving() {
                Receiving::Idle if self.answered == 0 => WaitReason::FirstByte,
                Receiving::Idle => WaitReason::Idle,
                Receiving::Head => WaitReason::SlowHead,
                Receiving::Content => WaitReason::SlowBody,
                // Only while the budget is spent: the run queue moves it on.
                Receiving::Done => WaitReason::Idle,
            },
            // An answer that waits for nothing is on its way, while the budget is spent: what is sent is its progress.
            None => WaitReason::SlowRead,
        };
        DriverWait {
            reason,
            ordinal: self.answered as u32,
            timer: wait.and_then(Wait::until),
            ignores_input,
            due: None,
        }
    }

    /// What a client does not read belongs to the oldest request whose response has not left.
    fn limits<'a>(&'a self, reason: WaitReason, limits: &'a Limits) -> &'a Limits {
        match self.leaving.front().filter(|_| reason == WaitReason::SlowRead) {
            Some(record) => record.limits(limits),
            None => self.stream.limits(limits),
        }
    }

    /// RFC 9110 §15.5.9: the answer to a request that did not arrive in time. If the response is complete while its
    /// request is not, it must arrive all the same: the connection ends in order and not with a reset.
    fn on_late<S: Socket>(
        &mut self,
        reason: WaitReason,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) -> Result<(), Cut> {
        let what = match reason {
            WaitReason::SlowHead => "the request head took too long",
            _ => "the request content came too slowly",
        };
        let stop = Stop::Late(reason);
        if self.may_still_answer() {
            self.refuse(Status::REQUEST_TIMEOUT, what, "RFC 9110 §15.5.9", stop, channel, cx);
            return Ok(());
        }
        if self.codec.sending() != Sending::Done {
            return Err(Cut(Fault::Request));
        }
        cx.complain(Level::Info, format_args!("{}: closed after the response: {what}", self.log_key(channel)));
        self.stop = stop;
        Ok(())
    }

    /// A client may say its last words behind an upgrade and close its socket. Then its kernel answers what it is sent with a reset,
    /// and what it has said is there all the same. Linux says EPIPE, and not ECONNRESET, if a FIN had come before (`tcp_reset`).
    fn on_write_error<S: Socket>(&mut self, kind: ErrorKind, channel: &Channel<S>) -> bool {
        if self.stop.is_unheard() || !self.stream.outlives_output() {
            return false;
        }
        let ended = kind == ErrorKind::BrokenPipe || channel.input_ended();
        self.stop = if ended { Stop::Unheard(kind) } else { Stop::CutOff(kind) };
        self.is_half_closed = true;
        true
    }

    fn why(&self) -> Why {
        match self.stop {
            Stop::AfterResponse { why, .. } => why,
            Stop::Unheard(_) | Stop::CutOff(_) => Why::Conversation,
            Stop::Refused | Stop::Unfinished(_) | Stop::Abandoned(_) | Stop::Late(_) => Why::Refusal,
            Stop::No => Why::Drain,
        }
    }

    fn stopped_in(&self) -> Option<Phase> {
        self.stopped_in
    }

    fn phase<S: Socket>(&self, channel: &Channel<S>) -> Phase {
        match self.codec.receiving() {
            _ if matches!(self.stop, Stop::AfterResponse { why: Why::Conversation, .. }) => Phase::Conversation,
            _ if self.stop.is_unheard() => Phase::Conversation,
            _ if !self.stream.is_idle() => self.stream.phase(),
            Receiving::Head => Phase::Head,
            Receiving::Content => Phase::Content,
            Receiving::Idle | Receiving::Done if channel.received() == 0 => Phase::Silent,
            Receiving::Idle | Receiving::Done => Phase::Idle,
        }
    }

    fn status<S: Socket>(&self, channel: &Channel<S>) -> DriverStatus<'_> {
        let is_sending = self.codec.sending() == Sending::Content;
        let state = match self.codec.receiving() {
            _ if is_sending || !channel.outbox.is_empty() => "sending",
            Receiving::Idle => "idle",
            Receiving::Head => "receiving head",
            Receiving::Content => "receiving content",
            Receiving::Done => "answering",
        };
        let record = self.leaving.front().or(self.stream.record.as_deref());
        DriverStatus { protocol: "http/1", state, answered: self.answered, record, is_sending }
    }

    fn progress<S: Socket>(&self, channel: &Channel<S>, now: Moment) -> Progress {
        let sends_an_earlier_one = !self.leaving.is_empty();
        // Once input is ignored, no more of the content comes.
        let receives = self.codec.receiving() == Receiving::Content && !self.stop.ignores_input();
        let content = self.stream.record.as_ref().filter(|_| receives);
        let record = self.leaving.front().or(self.stream.record.as_deref()).filter(|record| record.status.is_some());
        Progress {
            content: content.filter(|_| !sends_an_earlier_one).map(|record| {
                let arrived = channel.received() - record.rx.end;
                let total = match self.codec.content_to_come() {
                    Announced::Length(left) => Some(arrived - inbox_len(channel) + left),
                    Announced::Nothing | Announced::Unknown => None,
                };
                let bytes = total.map_or(arrived, |total| arrived.min(total));
                Transfer { bytes, total, took: now.since(record.head_at) }
            }),
            response: record.map(|record| {
                let start = record.tx.start + record.head_bytes;
                let total = match sends_an_earlier_one {
                    true => Some(record.tx.end - start),
                    false => self.codec.response_left().map(|left| channel.position().saturating_sub(start) + left),
                };
                let began = record.first_byte_at.unwrap_or(now);
                Transfer { bytes: channel.sent().saturating_sub(start), total, took: now.since(began) }
            }),
        }
    }

    fn note_drive<S: Socket>(&mut self, channel: &Channel<S>, drive: &Drive, cx: &mut LoopContext) {
        self.driven_at = drive.over;
        // First those that have left: what still waits belongs to those behind them.
        cx.asks_why |= self.leaving.retire(channel.sent(), drive, &mut cx.finished);
        if let Some(end) = channel.client_end() {
            self.note_client_end(end, drive.over);
        }
        if self.stream.record.is_some() || !self.leaving.is_empty() {
            self.note_waits(channel, drive);
            self.stream.note_unsent(!channel.outbox.is_empty());
        }
    }

    fn on_woken(&mut self, _stream: u32, job_began: Option<Moment>) {
        if let (Some(record), Some(began)) = (&mut self.stream.record, job_began) {
            record.note_job_began(began);
        }
    }

    fn note_close<S: Socket>(
        &mut self,
        channel: &Channel<S>,
        reason: CloseReason,
        drive: &Drive,
        cx: &mut LoopContext,
    ) -> CloseReason {
        self.end_rx(channel);
        let is_answered = self.stream.record.is_none() && self.leaving.is_empty();
        let reason = match (self.stop, reason) {
            (Stop::Late(wait), _) => CloseReason::Timeout(wait),
            (Stop::Unheard(kind) | Stop::CutOff(kind), _) => CloseReason::Broken(kind),
            // The client's end has cut the request, whatever became of the connection then.
            (Stop::Unfinished(end) | Stop::Abandoned(end), _)
                if reason.is_reset() || reason == CloseReason::CutShort(Fault::Request) =>
            {
                CloseReason::ByClient(end)
            }
            _ => channel.as_told(reason, is_answered),
        };
        let phase = self.request_phase();
        self.stream.note_farewell();
        let unfinished = self.stream.record.take().map(|mut record| {
            record.tx.end = channel.position();
            (record, phase)
        });
        cx.asks_why |= self.leaving.cut(unfinished, reason, channel.sent(), drive, &mut cx.finished);
        reason
    }
}

impl Http1 {
    /// Whether nothing was received but perhaps a part of the first head.
    #[inline]
    pub(super) fn is_untouched(&self) -> bool {
        self.answered == 0
            && matches!(self.codec.receiving(), Receiving::Idle | Receiving::Head)
            && self.stop == Stop::No
            && self.stream.is_idle()
    }

    pub(super) fn new() -> Http1 {
        Http1 {
            codec: Server::new(),
            stream: Stream::default(),
            stop: Stop::No,
            stopped_in: None,
            is_half_closed: false,
            answered: 0,
            head_began: Moment::default(),
            driven_at: Moment::default(),
            discarded: 0,
            leaving: LeavingRecords::default(),
        }
    }

    /// What names the present request in the logs.
    fn request_key(&self) -> RequestKey {
        RequestKey::Ordinal(self.answered + 1)
    }

    fn log_key<S: Socket>(&self, channel: &Channel<S>) -> LogKey {
        channel.who.log_key(Some(self.request_key()))
    }

    /// Inbox → codec → service, exchange or source: one step. Says whether it moved anything.
    fn receive<S: Socket>(
        &mut self,
        channel: &mut Channel<S>,
        service: &mut impl Service,
        cx: &mut LoopContext,
    ) -> Result<bool, Cut> {
        if self.stop.ignores_input() || self.codec.has_received_all() || !self.may_look_at_content() {
            return Ok(false);
        }
        let input_ended = channel.input_ended();
        let Channel { inbox: Some(inbox), who, listener, role, secured, .. } = channel else { return Ok(false) };
        if inbox.is_empty() && self.codec.receiving() == Receiving::Idle && !input_ended {
            // Between two requests there is nothing to look at; most drives come by here once.
            return Ok(false);
        }
        if self.codec.receiving() == Receiving::Idle {
            self.head_began = cx.moment;
        }
        let request_key = self.request_key();
        match self.codec.receive(inbox, &mut cx.scratch, &cx.environment.limits) {
            Ok(Step::Head(ref request)) => {
                let ordinal = self.answered + 1;
                cx.marks.connection(who.id, |text| {
                    write!(text, "r={ordinal} head {} {}", request.method, request.target.raw.escape_ascii());
                });
                let record = self.stream.record.insert(cx.records.take(cx.moment));
                record.note_head(request, cx.notes_fields);
                let named = cx.environment.trusted_proxies.client(who.peer, request.fields);
                if named.is_some() {
                    // Most requests come from the peer, and a record begins so.
                    record.client = named;
                }
                if let Some(telling) = &cx.environment.telling {
                    record.ordinal = ordinal;
                    telling.prepare(record, who, Some(request.fields), &cx.environment.trusted_proxies);
                }
                let (client, secured) = (record.client.as_ref(), secured.as_deref());
                let mut request_cx = cx.environment.cx(who, *role, request_key, client, secured);
                (request_cx.listener, request_cx.identifier) = (*listener, cx.environment.identifier(record));
                let reply = service.call(request, &mut request_cx);
                record.take_terms(&cx.environment.terms);
                record.take_held(&cx.environment.held);
                let head_bytes = self.codec.release(inbox) as u64;
                self.note_arrival(head_bytes, channel, cx);
                self.on_reply(reply, channel, cx)?;
                if self.stream.taker().is_none() {
                    self.codec.skip_end();
                }
                Ok(true)
            }
            Ok(Step::Content(n)) => self.take_content(n, channel, cx),
            Ok(Step::End(trailers)) => {
                let client = self.stream.client();
                let ended = match self.stream.taker() {
                    Some(taker) => {
                        taker.end(trailers, &mut cx.environment.cx(who, *role, request_key, client.as_ref(), None))
                    }
                    None => Ok(()),
                };
                self.codec.release(inbox);
                self.end_rx(channel);
                self.fail_on(ended, channel, cx)?;
                Ok(true)
            }
            // What ends with the connection was cut off by whatever has broken it.
            Ok(Step::NeedBytes) if input_ended && matches!(self.stop, Stop::CutOff(_)) => Err(Cut(Fault::Request)),
            Ok(Step::NeedBytes) if input_ended => match self.codec.on_eof() {
                Ok(more) => Ok(more),
                Err(error) => {
                    let end = channel.client_end().unwrap_or(ClientEnd::Fin);
                    self.on_protocol_error(error, Stop::Unfinished(end), channel, cx)
                }
            },
            Ok(Step::NeedBytes | Step::Paused) => Ok(false),
            Err(error) => self.on_protocol_error(error, Stop::Refused, channel, cx),
        }
    }

    /// Content waits until the response has begun, unless the response depends on it. What is answered does therefore not
    /// depend on how much of the content has come.
    fn may_look_at_content(&mut self) -> bool {
        self.codec.receiving() != Receiving::Content
            || self.codec.sending() != Sending::Idle
            || self.stream.decides_by_content()
    }

    fn on_reply<S: Socket>(
        &mut self,
        reply: Result<Reply, Failure>,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) -> Result<(), Cut> {
        let mut response = match reply {
            Ok(Reply::Respond(response)) => response,
            Ok(Reply::Decide(exchange)) => {
                self.stream.decide(exchange);
                return Ok(());
            }
            Ok(Reply::Upgrade(tunnel)) => self.split(channel, cx).1.tunnel(tunnel),
            Err(failure) => return self.fail(&failure, channel, cx),
        };
        let (stream, mut out, _) = self.split(channel, cx);
        let begun = stream.respond(&mut response, &mut out);
        self.fail_on(begun.map(|_| ()), channel, cx)
    }

    /// Offers `n` bytes of content at the front of the inbox to whoever takes them. Content that nobody wants is thrown
    /// away; if there is more of it than the limit, the connection ends after the response.
    fn take_content<S: Socket>(
        &mut self,
        n: usize,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) -> Result<bool, Cut> {
        let limits = &cx.environment.limits;
        let is_too_long = |record: &RequestRecord| record.is_too_long(record.taken_bytes + n as u64, limits);
        if self.stream.record.as_deref().is_some_and(is_too_long) && self.stream.taker().is_some() {
            return self.on_protocol_error(CONTENT_TOO_LONG, Stop::Refused, channel, cx);
        }
        let Some(inbox) = &mut channel.inbox else { return Ok(false) };
        let (request_key, client) = (self.request_key(), self.stream.client());
        let Some(taker) = self.stream.taker() else {
            self.codec.taken(inbox, n);
            self.discarded = self.discarded.saturating_add(n as u32);
            if u64::from(self.discarded) > cx.environment.limits.discarded_bytes_max && self.stop == Stop::No {
                self.stop = Stop::AfterResponse { why: Why::Limit, asked_by_client: false };
            }
            return Ok(true);
        };
        let front = inbox.readable()[0];
        let mut request_cx = cx.environment.cx(&channel.who, channel.role, request_key, client.as_ref(), None);
        match taker.take(&front[..n.min(front.len())], &mut request_cx) {
            Ok(taken) => {
                self.codec.taken(inbox, taken);
                if taken > 0 {
                    if let Some(record) = &mut self.stream.record {
                        record.taken_bytes += taken as u64;
                    }
                    self.let_decide(channel, cx)?;
                }
                Ok(taken > 0)
            }
            Err(failure) => self.fail(&failure, channel, cx).map(|()| true),
        }
    }

    /// An exchange that has taken content decides before more is looked at, which may be malformed. What comes behind the
    /// whole of it is only its end.
    fn let_decide<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) -> Result<(), Cut> {
        while self.codec.receiving() == Receiving::Content
            && self.codec.sending() == Sending::Idle
            && self.produce(channel, cx)?
        {}
        Ok(())
    }

    /// Stream → codec → outbox: one step. Says whether it moved anything.
    fn produce<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) -> Result<bool, Cut> {
        // Whatever comes next would overtake the file. This is the only place that has to know: a response whose file has
        // not left is not complete, so no other one begins.
        if channel.outbox.ends_in_file() {
            return Ok(false);
        }
        // A source that waits for content which an error has cut off has not failed.
        let request_complete = self.codec.receiving() == Receiving::Done && !self.stop.ignores_input();
        let (who, role, request_key) = (channel.who, channel.role, self.request_key());
        let (stream, mut out, environment) = self.split(channel, cx);
        let client = stream.client();
        match stream.produce(
            &mut out,
            request_complete,
            &mut environment.cx(&who, role, request_key, client.as_ref(), None),
        ) {
            Ok(moved) => {
                if let Some(breach) = self.stream.take_breach().filter(|_| !self.stop.is_unheard()) {
                    self.on_breach(breach, channel, cx);
                }
                if self.stream.is_listening() && !self.is_half_closed {
                    // If it fails, the next read says so.
                    self.is_half_closed = channel.end_direction(cx).unwrap_or(true);
                }
                Ok(moved)
            }
            Err(failure) => self.fail(&failure, channel, cx).map(|()| true),
        }
    }

    /// The stream, and where its response goes.
    fn split<'a, S: Socket>(
        &'a mut self,
        channel: &'a mut Channel<S>,
        cx: &'a mut LoopContext,
    ) -> (&'a mut Stream, Http1Sink<'a, S>, &'a Environment) {
        let LoopContext { environment, outboxes, head, counters, marks, drive_began, .. } = cx;
        let ordinal = self.answered + 1;
        let out = Http1Sink {
            codec: &mut self.codec,
            stop: &mut self.stop,
            channel,
            environment,
            outboxes,
            head,
            counters,
            marks,
            ordinal,
            drive_began: *drive_began,
        };
        (&mut self.stream, out, environment)
    }

    /// When request and response are both complete, the next request may come.
    fn begin_next_request<S: Socket>(&mut self, channel: &Channel<S>) -> bool {
        if self.stop != Stop::No || !self.codec.cycle() {
            return false;
        }
        self.complete_record(channel);
        self.answered += 1;
        self.discarded = 0;
        true
    }

    /// The whole response is in the outbox, or has left.
    fn complete_record<S: Socket>(&mut self, channel: &Channel<S>) {
        self.end_rx(channel);
        if let Some(mut record) = self.stream.record.take() {
            record.tx.end = channel.position();
            self.leaving.push(record);
        }
    }

    /// The client has left while a handler worked that is to stop then: `--abort-on-close`, or the handler's own wish. A part
    /// of a response that has left must not look like the whole.
    fn abandon<S: Socket>(&mut self, channel: &Channel<S>, cx: &LoopContext) -> bool {
        let Some(end) = channel.client_end().filter(|_| self.codec.receiving() == Receiving::Done) else {
            return false;
        };
        if !self.stream.ends_with_client(self.stream.limits(&cx.environment.limits).abort_on_close) {
            return false;
        }
        self.stopped_in = Some(self.stream.phase());
        self.note_verdict(Verdict::on_client_end(end, self.stream.phase()), cx.moment);
        self.stream.abandon();
        self.stop = Stop::Abandoned(end);
        true
    }
}

fn inbox_len<S: Socket>(channel: &Channel<S>) -> u64 {
    channel.inbox_len() as u64
}
