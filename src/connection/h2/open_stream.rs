//! A stream that lives: its request as far as nobody has taken it, its answer, and what it waits for.

use std::mem;
use std::time::Duration;

use log::Level;

use super::failing::{count_reset, reset_code};
use super::held::{Counted, HeldContent};
use super::sink::{Appended, Http2Sink};
use crate::base::limits::Limits;
use crate::base::log_key::RequestKey;
use crate::base::moment::Moment;
use crate::connection::LoopContext;
use crate::connection::channel::Channel;
use crate::connection::deadlines::Waiting;
use crate::connection::sink::Sink;
use crate::connection::stream::{CONTENT_TOO_LONG, Stream};
use crate::http::body::{Failure, Wait};
use crate::http::exchange::{Breach, Reply};
use crate::http::fields::{FieldValue, Fields, OwnedFields, RETRY_AFTER};
use crate::http::message::OwnedHead;
use crate::http::status::Status;
use crate::net::Socket;
use crate::observe::close_reason::{ClientEnd, Cut};
use crate::observe::request_record::RequestRecord;
use crate::observe::timers::{Drive, Part};
use crate::observe::verdict::{Means, Phase, Side, Verdict};
use crate::observe::wait_reason::WaitReason;
use crate::protocol::ProtocolError;
use crate::protocol::h2::error::ErrorCode;
use crate::protocol::h2::session::Session;
use crate::protocol::h2::streams::Output;
use crate::service::errors;

/// So many uploads of a loop may have the largest window at a time. Others share what these leave.
const GROWN_WINDOWS_MAX: usize = 2;

/// How long a client has time to read a response before the rest of its request is refused with RST_STREAM. curl 7.88 loses a
/// response that it reads together with that. The content that comes meanwhile is thrown away, and of what is beyond the limit
/// no window is opened.
const LINGER: Duration = Duration::from_millis(500);

/// A stream that lives, as far as the session does not know it.
///
/// Begin: [`answer`](OpenStream::answer). Then [`receive`](OpenStream::receive) and [`end`](OpenStream::end) when content
/// arrives, [`serve`](OpenStream::serve) when something has changed, [`take_turn`](OpenStream::take_turn) when the session
/// says so, and [`settle`](OpenStream::settle) after each of these.
pub(super) struct OpenStream {
    pub(super) id: u32,
    /// The answer, and the request's record.
    pub(super) stream: Stream,
    /// A request whose service is delayed until the wait is over.
    pub(super) delayed: Option<Box<OwnedHead>>,
    /// Content that has arrived and that nobody has taken. The stream's window bounds it, and `Http2::bound_memory`.
    content: HeldContent,
    /// What its window has grown by.
    growth: Counted,
    /// Memory for content that the handler has taken and still keeps.
    kept: Counted,
    end: RequestEnd,
    /// Content that has arrived, in bytes.
    received: u64,
    /// Content that was thrown away, in bytes.
    discarded: u64,
    /// The client was late with the content: no more of it is waited for.
    is_late: bool,
    /// The response is complete, and too much of the request is to come: its client has time to read the response until then.
    lingers_until: Option<Moment>,
    /// Whether the present drive was about it, and not about other streams alone.
    pub(super) was_driven: bool,
    /// Whether it is among those that are to be asked.
    pub(super) is_asked: bool,
    pub(super) waiting: Waiting,
    /// When the wait is over.
    pub(super) due: Option<Moment>,
}

/// How far the end of a request has come.
enum RequestEnd {
    /// It is to come.
    Expected,
    /// It has arrived, with these trailers, behind content that nobody has taken yet.
    Arrived(Option<Box<OwnedFields>>),
    /// Whoever takes the content knows.
    Told,
}

/// What a stream works with.
pub(super) struct Work<'a, S> {
    pub(super) session: &'a mut Session,
    pub(super) channel: &'a mut Channel<S>,
    pub(super) cx: &'a mut LoopContext,
}

impl<S: Socket> Work<'_, S> {
    /// Where the response of this stream goes.
    fn sink(&mut self, stream: u32) -> Http2Sink<'_> {
        let LoopContext { environment, outboxes, http2, counters, marks, drive_began, .. } = &mut *self.cx;
        let (connection, role, sent) = (self.channel.who.id, self.channel.role, self.channel.sent());
        let outbox = self.channel.outbox.ring(outboxes);
        let (scratch, syscalls) = (http2, &mut counters.syscalls);
        let session = &mut *self.session;
        Http2Sink {
            session,
            stream,
            outbox,
            sent,
            scratch,
            environment,
            syscalls,
            marks,
            connection,
            role,
            drive_began: *drive_began,
            added: Appended::default(),
        }
    }

    /// Resets a stream.
    pub(super) fn reset(&mut self, stream: u32, code: ErrorCode) {
        if self.session.stream(stream).is_some() {
            self.session.reset(stream, code, self.channel.outbox.ring(&mut self.cx.outboxes));
            count_reset(code, self.channel.who.id, stream, self.cx);
        }
    }
}

impl OpenStream {
    pub(super) fn new(id: u32, record: Box<RequestRecord>, now: Moment) -> OpenStream {
        OpenStream {
            id,
            stream: Stream::new(record),
            delayed: None,
            content: HeldContent::default(),
            growth: Counted::default(),
            kept: Counted::default(),
            end: RequestEnd::Expected,
            received: 0,
            discarded: 0,
            is_late: false,
            lingers_until: None,
            was_driven: true,
            is_asked: false,
            waiting: Waiting::new(now),
            due: None,
        }
    }

    /// What names its request in the logs.
    pub(super) fn key(&self) -> RequestKey {
        RequestKey::Stream(self.id)
    }

    /// Begins with the answer to the request.
    pub(super) fn answer<S: Socket>(&mut self, reply: Result<Reply, Failure>, work: &mut Work<'_, S>) {
        let mut response = match reply {
            Ok(Reply::Respond(response)) => response,
            Ok(Reply::Decide(exchange)) => return self.stream.decide(exchange),
            Ok(Reply::Upgrade(tunnel)) => work.sink(self.id).tunnel(tunnel),
            Err(failure) => return self.fail(&failure, work),
        };
        let mut out = work.sink(self.id);
        let begun = self.stream.respond(&mut response, &mut out);
        let added = out.added;
        self.note_added(added);
        if let Err(failure) = begun {
            self.fail(&failure, work);
        }
    }

    /// Content is at the front of the inbox: `bytes`, or the first part of them. Whoever wants it takes it from there. What
    /// is not taken now is kept, because frames of other streams stand behind it.
    pub(super) fn receive<S: Socket>(&mut self, bytes: usize, work: &mut Work<'_, S>) {
        let takes_now = self.content.is_empty() && self.may_take(work.session);
        let (who, role, key, client) = (work.channel.who, work.channel.role, self.key(), self.stream.client());
        let Some(inbox) = &mut work.channel.inbox else { return };
        let front = inbox.readable()[0];
        let piece = &front[..bytes.min(front.len())];
        let arrived = piece.len();
        self.received += arrived as u64;
        // If it is too long, that is said where it is offered the next time.
        let takes_now = takes_now && !self.is_too_long(&work.cx.environment.limits);
        let offered = match self.stream.taker().filter(|_| takes_now) {
            Some(taker) => taker.take(piece, &mut work.cx.environment.cx(&who, role, key, client.as_ref(), None)),
            None => Ok(0),
        };
        if let Ok(taken) = offered {
            self.content.add(&piece[taken..], &work.cx.held);
        }
        work.session.taken(inbox, arrived);
        if let Some(record) = &mut self.stream.record {
            record.rx.end = work.session.frame_end();
        }
        self.on_taken(offered, work);
    }

    /// The request is complete, with these trailers.
    pub(super) fn end(&mut self, trailers: Option<Box<OwnedFields>>, at: u64) {
        self.end = RequestEnd::Arrived(trailers);
        if let Some(record) = &mut self.stream.record {
            record.rx.end = at;
        }
    }

    /// Memory for content that nobody has taken, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.content.memory_bytes()
    }

    /// Memory for content that its handler keeps, in bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept.bytes()
    }

    /// Whether its window is larger than at the beginning.
    pub(super) fn has_grown(&self) -> bool {
        self.growth.bytes() > 0
    }

    /// Whether the response is complete.
    pub(super) fn is_answered(&self) -> bool {
        self.delayed.is_none() && self.stream.is_idle()
    }

    /// How much content has arrived that nobody has taken, in bytes.
    pub(super) fn content_len(&self) -> usize {
        self.content.len()
    }

    /// How much content has arrived, in bytes.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received
    }

    /// Whether more of the request is to come.
    pub(super) fn expects_more(&self) -> bool {
        matches!(self.end, RequestEnd::Expected)
    }

    /// Does all that needs no turn: content is offered, the response is decided on and begins. Says whether anything moved.
    pub(super) fn serve<S: Socket>(&mut self, work: &mut Work<'_, S>) -> bool {
        let mut moved = false;
        while self.offer(work) || (!self.needs_turn(work.session) && self.produce(work)) {
            moved = true;
        }
        moved
    }

    /// Whether it has content to send, of which some is to come. A stream whose content is all out takes no turn to notice.
    fn needs_turn(&self, session: &Session) -> bool {
        self.stream.is_sending() && session.wants_content(self.id)
    }

    /// Sends content, as much as fits into one frame. Says whether it moved anything.
    pub(super) fn take_turn<S: Socket>(&mut self, work: &mut Work<'_, S>) -> bool {
        let produced = self.produce(work);
        // What was sent may have made room for content that waits.
        self.offer(work) || produced
    }

    /// Offers what waits to whoever takes it. What nobody wants is thrown away. Says whether anything moved.
    fn offer<S: Socket>(&mut self, work: &mut Work<'_, S>) -> bool {
        let has_ended = matches!(self.end, RequestEnd::Arrived(_));
        if (self.content.is_empty() && !has_ended) || !self.may_take(work.session) {
            return false;
        }
        if self.is_too_long(&work.cx.environment.limits) && self.stream.taker().is_some() {
            self.refuse_length(work);
            return true;
        }
        let (who, role, key, client) = (work.channel.who, work.channel.role, self.key(), self.stream.client());
        let Some(taker) = self.stream.taker() else { return self.discard(work) };
        let mut cx = work.cx.environment.cx(&who, role, key, client.as_ref(), None);
        if !self.content.is_empty() {
            let offered = taker.take(self.content.front(), &mut cx);
            if let Ok(taken) = offered {
                self.content.consume(taken);
            }
            return self.on_taken(offered, work);
        }
        let RequestEnd::Arrived(trailers) = mem::replace(&mut self.end, RequestEnd::Told) else { return false };
        let trailers = trailers.as_ref().map_or(Fields::default(), |trailers| trailers.as_fields());
        let told = taker.end(trailers, &mut cx);
        self.stream.resume();
        if let Err(failure) = told {
            self.fail(&failure, work);
        }
        true
    }

    /// Content was offered. Says whether any was taken.
    fn on_taken<S: Socket>(&mut self, offered: Result<usize, Failure>, work: &mut Work<'_, S>) -> bool {
        match offered {
            Ok(0) => return false,
            Ok(taken) => {
                self.consumed(taken, work);
                self.stream.resume();
            }
            Err(failure) => self.fail(&failure, work),
        }
        true
    }

    /// So much of the content has been consumed. The window may grow, as far as all streams of the loop together may have
    /// theirs grow: what it lets in is held if nobody takes it then.
    fn consumed<S: Socket>(&mut self, bytes: usize, work: &mut Work<'_, S>) {
        let limits = &work.cx.environment.limits;
        let size = |session: &Session| session.stream(self.id).map_or(0, |live| live.receive.size());
        let before = size(work.session);
        let grown_max = GROWN_WINDOWS_MAX * limits.http2.upload_window_bytes_max as usize;
        let spare = u32::try_from(grown_max.saturating_sub(work.cx.grown.get())).unwrap_or(u32::MAX);
        work.session.limit_growth(before.saturating_add(spare));
        let outbox = work.channel.outbox.ring(&mut work.cx.outboxes);
        work.session.consumed(self.id, bytes, outbox, limits);
        let grown = size(work.session).saturating_sub(before);
        if grown > 0 {
            self.growth.set(self.growth.bytes() + grown as usize, &work.cx.grown);
        }
    }

    /// Throws away what nobody wants. What is beyond the limit does not open the stream's window again.
    fn discard<S: Socket>(&mut self, work: &mut Work<'_, S>) -> bool {
        let bytes = self.content.clear();
        self.discarded += bytes as u64;
        if self.discarded <= work.cx.environment.limits.discarded_bytes_max {
            self.consumed(bytes, work);
        }
        if !self.expects_more() {
            self.end = RequestEnd::Told;
        }
        true
    }

    /// Adds more of the response: one step. Says whether it moved anything.
    fn produce<S: Socket>(&mut self, work: &mut Work<'_, S>) -> bool {
        let (who, role, key, client) = (work.channel.who, work.channel.role, self.key(), self.stream.client());
        let is_complete = matches!(self.end, RequestEnd::Told);
        let mut out = work.sink(self.id);
        let mut cx = out.environment.cx(&who, role, key, client.as_ref(), None);
        let produced = self.stream.produce(&mut out, is_complete, &mut cx);
        let added = out.added;
        self.note_added(added);
        match self.stream.take_breach() {
            Some(Breach::Silence) => self.note_verdict(Means::Timeout, work.cx.moment),
            Some(Breach::Violation) => self.note_verdict(Means::Refusal, work.cx.moment),
            Some(Breach::Unfinished) => {
                let end = work.channel.client_end().unwrap_or(ClientEnd::Fin);
                let verdict = Verdict::on_client_end(end, Phase::Conversation);
                self.stream.record.as_mut().map(|record| record.note_verdict(verdict, work.cx.moment));
            }
            None => {}
        }
        produced.unwrap_or_else(|failure| {
            self.fail(&failure, work);
            true
        })
    }

    /// The handler failed: a 500 if nothing of its response is out yet, otherwise the stream is reset.
    fn fail<S: Socket>(&mut self, failure: &Failure, work: &mut Work<'_, S>) {
        let key = work.channel.who.log_key(Some(self.key()));
        work.cx.complain(failure.level, format_args!("{key}: {}{failure}", failure.who()));
        let is_out = !self.is_unanswered(work.session);
        let phase = self.stream.phase_of_fault(is_out);
        if let Some(record) = &mut self.stream.record {
            record.note_verdict(Verdict { side: Side::Server, means: Means::Handler, phase }, work.cx.moment);
        }
        if !is_out {
            self.stream.replace_answer(errors::internal_error());
        } else {
            self.reset(ErrorCode::INTERNAL_ERROR, work);
        }
    }

    /// The memory for what handlers keep is full: the client may try again later, unless its response has begun.
    pub(super) fn refuse_content<S: Socket>(&mut self, work: &mut Work<'_, S>) {
        let key = work.channel.who.log_key(Some(self.key()));
        let what = "the content of other requests fills the memory";
        self.note_verdict(Means::Limit, work.cx.moment);
        if self.is_unanswered(work.session) {
            let status = Status::SERVICE_UNAVAILABLE;
            work.cx.complain(Level::Info, format_args!("{key}: {status}: {what}"));
            let response = errors::refuse(status, what, "").with_field(RETRY_AFTER, FieldValue::from_static("1"));
            self.stream.replace_answer(response);
        } else {
            work.cx.complain(Level::Info, format_args!("{key}: reset: {what}"));
            self.reset(ErrorCode::ENHANCE_YOUR_CALM, work);
        }
    }

    /// Whether more content has arrived than the request may have.
    fn is_too_long(&self, limits: &Limits) -> bool {
        self.stream.record.as_ref().is_some_and(|record| record.is_too_long(self.received, limits))
    }

    /// The content is too long. Nobody takes the rest of it.
    fn refuse_length<S: Socket>(&mut self, work: &mut Work<'_, S>) {
        let (key, ProtocolError { status, reason, section }) =
            (work.channel.who.log_key(Some(self.key())), CONTENT_TOO_LONG);
        self.note_verdict(Means::Refusal, work.cx.moment);
        if self.is_unanswered(work.session) {
            work.cx.complain(Level::Info, format_args!("{key}: {status}: {reason} ({section})"));
            self.stream.replace_answer(errors::refuse(status, reason, section));
        } else {
            work.cx.complain(Level::Info, format_args!("{key}: cut in the middle of a response: {reason}"));
            self.reset(ErrorCode::CANCEL, work);
        }
    }

    /// Ends the stream although its response is not complete.
    pub(super) fn reset<S: Socket>(&mut self, code: ErrorCode, work: &mut Work<'_, S>) {
        self.cut(Cut::ResetByServer(reset_code(code)), work.cx.moment);
        work.reset(self.id, code);
    }

    /// It ends for this reason. A response that is complete is not cut by that, and the first reason is the one that counts.
    pub(super) fn cut(&mut self, cut: Cut, now: Moment) {
        let (is_answered, phase) = (self.is_answered(), self.phase());
        self.stream.note_farewell();
        if let Some(record) = self.stream.record.as_mut().filter(|_| !is_answered) {
            record.end_early(cut, phase, now);
        }
    }

    /// We end it in this way.
    pub(super) fn note_verdict(&mut self, means: Means, now: Moment) {
        let verdict = Verdict { side: Side::Server, means, phase: self.phase() };
        if let Some(record) = &mut self.stream.record {
            record.note_verdict(verdict, now);
        }
    }

    /// What is going on.
    pub(super) fn phase(&self) -> Phase {
        if self.delayed.is_some() { Phase::Handler } else { self.stream.phase() }
    }

    /// Whether nothing of a final response is out yet, so that another one can take its place.
    fn is_unanswered(&self, session: &Session) -> bool {
        session.stream(self.id).is_some_and(|live| live.output == Output::Idle)
    }

    /// Tells the session whether there is content to send. Ends a stream whose response is complete, if the rest of its
    /// request is not waited for (RFC 9113 §8.1). Says whether the stream needs nothing but room.
    pub(super) fn settle<S: Socket>(&mut self, work: &mut Work<'_, S>) -> bool {
        let kept = self.stream.taker().map_or(0, |taker| taker.kept_bytes());
        if kept != self.kept.bytes() {
            self.kept.set(kept, &work.cx.kept);
        }
        let waits = self.delayed.is_some() || self.stream.wait().is_some();
        work.session.has_content(self.id, self.stream.is_sending() && !waits);
        if self.is_answered() && self.is_rest_unwanted(work) {
            let now = work.cx.moment;
            let until = *self.lingers_until.get_or_insert(now + LINGER);
            if self.is_late || now >= until {
                work.reset(self.id, ErrorCode::NO_ERROR);
            }
        }
        let is_ready = !waits && !self.stream.is_idle() && !self.stream.is_sending();
        is_ready || self.is_invitation_due(work.session)
    }

    /// Whether the client waits to be asked for content that is wanted: there was no room to do so.
    fn is_invitation_due(&self, session: &Session) -> bool {
        self.stream.wait() == Some(Wait::Content) && session.stream(self.id).is_some_and(|live| live.expects_continue)
    }

    /// The client is late with the content of the request (RFC 9110 §15.5.9).
    pub(super) fn on_late<S: Socket>(&mut self, work: &mut Work<'_, S>) {
        let (key, what) = (work.channel.who.log_key(Some(self.key())), "the request content came too slowly");
        self.is_late = true;
        if !self.is_answered() {
            self.note_verdict(Means::Timeout, work.cx.moment);
        }
        if self.is_unanswered(work.session) {
            let (status, section) = (Status::REQUEST_TIMEOUT, "RFC 9110 §15.5.9");
            work.cx.complain(Level::Info, format_args!("{key}: {status}: {what} ({section})"));
            self.stream.replace_answer(errors::refuse(status, what, section));
        } else if !self.stream.is_idle() {
            work.cx.complain(Level::Info, format_args!("{key}: cut in the middle of a response: {what}"));
            self.reset(ErrorCode::CANCEL, work);
        } else {
            work.cx.complain(Level::Info, format_args!("{key}: closed after the response: {what}"));
        }
    }

    /// Whether so much of the request is to come, or so late, that it is not read to its end.
    fn is_rest_unwanted<S: Socket>(&self, work: &Work<'_, S>) -> bool {
        let to_come = work.session.stream(self.id).and_then(|live| live.content_left).unwrap_or(0);
        self.is_late || self.discarded.saturating_add(to_come) > work.cx.environment.limits.discarded_bytes_max
    }

    /// Whether content may be looked at: it waits until the response has begun, unless the response depends on it. What is
    /// answered does therefore not depend on how much of the content has come.
    fn may_take(&mut self, session: &Session) -> bool {
        self.delayed.is_none() && (!self.is_unanswered(session) || self.stream.decides_by_content())
    }

    fn note_added(&mut self, added: Appended) {
        if let (Some(record), Some(end)) = (&mut self.stream.record, added.end) {
            record.framed_bytes += added.framed_bytes;
            record.produced_bytes += added.content_bytes;
            record.tx.end = end;
        }
    }

    /// Notes what the stream waits for now, and until when.
    pub(super) fn note_wait(&mut self, session: &Session, is_write_blocked: bool, cx: &LoopContext) {
        let Some((reason, ordinal, count)) = self.wait_reason(session, is_write_blocked, &cx.environment.limits) else {
            // What it waits for next begins then.
            self.waiting.update(WaitReason::SlowRead, 0, 0, cx.moment);
            self.due = None;
            return;
        };
        self.waiting.update(reason, ordinal, count, cx.moment);
        let limits = self.stream.limits(&cx.environment.limits);
        let timer = match &self.delayed {
            Some(_) => Some(self.waiting.since() + limits.http2.reset_delay),
            None => self.stream.wait().and_then(Wait::until).map(|at| cx.moment_of(at)).or(self.lingers_until),
        };
        self.due = Some(self.waiting.deadline(limits, timer, None));
    }

    /// The reason, which wait for that reason it is, and how much the client has moved. `None`: it waits for others of its
    /// connection, or for the client to read, and the connection has a deadline for that.
    fn wait_reason(
        &self,
        session: &Session,
        is_write_blocked: bool,
        limits: &Limits,
    ) -> Option<(WaitReason, u32, u64)> {
        if self.delayed.is_some() {
            return Some((WaitReason::Timer, 0, 0));
        }
        // Who has no window for content, or has not read yet that it has, is not late with it. Who has not read what was
        // sent cannot open a window either.
        let may_send = session.may_receive_content(self.id) && !is_write_blocked;
        match self.stream.wait() {
            Some(Wait::Until(_)) => Some((WaitReason::Timer, 0, 0)),
            Some(Wait::Job(_)) => Some((WaitReason::Job, 0, 0)),
            Some(Wait::Upstream(_)) => Some((WaitReason::Upstream, 0, 0)),
            Some(Wait::Idle(_)) => Some((WaitReason::Conversation, 0, 0)),
            Some(Wait::Content) => may_send.then_some((WaitReason::SlowBody, 0, self.received)),
            None if self.lingers_until.is_some() => Some((WaitReason::Timer, 0, 0)),
            None if self.stream.is_idle() => may_send.then_some((WaitReason::SlowBody, 0, self.received)),
            None if self.lacks_window(session) && !is_write_blocked => {
                // The window of the connection is of use to whichever stream has its turn.
                let sent = match session.stream(self.id).is_some_and(|live| live.send.available() > 0) {
                    true => session.content_sent(),
                    false => self.stream.record.as_ref().map_or(0, |record| record.framed_bytes),
                };
                let ordinal = sent / u64::from(limits.http2.stall_bytes.max(1));
                Some((WaitReason::Window, ordinal as u32, sent))
            }
            None => None,
        }
    }

    /// Whether there is content that the client has no window open for.
    pub(super) fn lacks_window(&self, session: &Session) -> bool {
        let Some(live) = session.stream(self.id) else { return false };
        self.stream.is_sending() && (live.send.available() == 0 || session.send_window_bytes() == 0)
    }

    /// Notes in the request's record how far the response has come, and what holds it up.
    pub(super) fn note_progress(&mut self, session: &Session, sent: u64, is_blocked: bool, queued: u64, drive: &Drive) {
        let (part, is_paused) = (self.part(session, sent, is_blocked), !self.content.is_empty());
        let was_driven = mem::take(&mut self.was_driven);
        let Some(record) = &mut self.stream.record else { return };
        record.paused.set(is_paused, drive.over);
        record.note_wait(drive, part, was_driven);
        record.note_leaving(sent, queued, drive.over);
        let is_unsent = record.tx.end > sent;
        self.stream.note_unsent(is_unsent);
    }

    /// Whether it would be the next to send, if there were room.
    fn is_next(&self, session: &Session) -> bool {
        !self.stream.is_sending() || session.next_turn().is_some_and(|turn| turn.stream == self.id)
    }

    /// What the request waits for. A client that does not read comes first, once there is something for it to read: what the
    /// kernel has no room for is in the outbox, or comes next.
    fn part(&self, session: &Session, sent: u64, is_blocked: bool) -> Part {
        let is_in_outbox = self.stream.record.as_ref().is_some_and(|record| record.tx.end > sent);
        if is_blocked && is_in_outbox {
            return Part::Blocked;
        }
        if self.delayed.is_some() {
            return Part::Delay;
        }
        if let Some(part) = self.stream.waiting_part() {
            return part;
        }
        let is_sending = self.stream.is_sending();
        match session.stream(self.id).map_or(0, |live| live.send.available()) {
            0 if is_sending => Part::StreamWindow,
            _ if is_sending && session.send_window_bytes() == 0 => Part::ConnectionWindow,
            _ if !self.is_next(session) => Part::Turn,
            _ if is_blocked && !self.stream.is_idle() => Part::Blocked,
            _ if self.stream.is_idle() && self.expects_more() => Part::Content,
            _ => Part::Queue,
        }
    }
}
