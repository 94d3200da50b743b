//! HTTP/2 on a connection: many streams at a time, whose frames take turns in the outbox.
//!
//! The session knows the protocol. Here is what becomes of its steps: a head goes to the service, content to whoever takes
//! it, and responses are produced in the order that the session names.

mod deadlines;
mod failing;
mod held;
mod memory;
mod open_stream;
mod report;
mod sink;

use std::rc::Rc;
use std::time::Duration;

use log::Level;

use super::channel::Channel;
use super::driver::{Cut, DriverStatus, DriverWait, Ending, Protocol};
use super::{Environment, Identity, LoopContext};
use crate::base::limits::Limits;
use crate::base::moment::Moment;
use crate::http::body::Failure;
use crate::http::exchange::Reply;
use crate::http::fields::OwnedFields;
use crate::http::message::{OwnedHead, RequestHead, Version};
use crate::net::Socket;
use crate::observe::arrivals::Arrivals;
use crate::observe::close_reason::{ClientEnd, CloseReason, Why};
use crate::observe::delay::{Delay, LongDrives};
use crate::observe::request_record::{LeavingRecords, RecordPool, RequestRecord};
use crate::observe::timers::{Drive, Part};
use crate::observe::verdict::Phase;
use crate::observe::wait_reason::WaitReason;
use crate::protocol::h2::error::ErrorCode;
use crate::protocol::h2::session::{PREFACE, RequestLine, SERVER_STOPS, Session, Step};
use crate::service::Service;
pub use held::TotalBytes;

use deadlines::{GOAWAY_PAUSE, Partial, Stop};
use open_stream::{OpenStream, Work};

/// So much of the preface tells it from any request of HTTP/1, in bytes: `PRI * HTTP/2`.
const TELLING_BYTES: usize = 12;
/// No more is received while so many responses are complete and have not left: the record of a request takes far more memory
/// than the smallest response.
const LEAVING_MAX: usize = 256;

/// One connection that speaks HTTP/2.
pub(super) struct Http2 {
    session: Session,
    /// The streams that live, in the order of their identifiers.
    /// In boxes, because they are large and move when one in front of them ends.
    #[expect(clippy::vec_box, reason = "they move")]
    open: Vec<Box<OpenStream>>,
    /// Streams that may go on and do not take turns: what they waited for is there, or they wait for room alone. Each is here
    /// once.
    asked: Vec<u32>,
    stop: Stop,
    /// What was going on when a rule was broken, or when the client's end has cut a request.
    stopped_in: Option<Phase>,
    /// The client has sent GOAWAY because of an error.
    client_went_away: bool,
    /// What the client's kernel had acknowledged when it was last asked, in bytes.
    acknowledged: Option<(Moment, u64)>,
    /// When the connection began to speak HTTP/2.
    began: Moment,
    partial: Option<Partial>,
    /// Whether the session has taken all that has arrived, and goes on when more does.
    needs_bytes: bool,
    /// The earliest deadline of the connection and its streams.
    due: Option<Moment>,
    /// How many requests have begun, and how many of them are over.
    begun: u64,
    over: u64,
    /// Targets and fields of delayed requests, in bytes.
    delayed_bytes: usize,
    /// When its last drive was over.
    driven_at: Moment,
    /// Requests whose responses are complete and have not left yet, and how many they are.
    leaving: LeavingRecords,
    leaving_len: usize,
}

impl Protocol for Http2 {
    /// Receives first, then produces, and again: what several streams produce leaves in one write.
    fn advance<S: Socket>(
        &mut self,
        channel: &mut Channel<S>,
        service: &mut impl Service,
        cx: &mut LoopContext,
    ) -> Result<bool, Cut> {
        self.keep_time(channel, cx);
        if self.leaving_len >= LEAVING_MAX {
            // What the last pass has flushed is over.
            let drive = Drive { due: cx.moment, began: cx.drive_began, over: cx.drive_began };
            self.retire(channel.sent(), &drive, cx);
        }
        let mut moved = false;
        loop {
            let mut progress = false;
            while self.receive(channel, service, cx) {
                progress = true;
            }
            progress |= self.serve_asked(channel, service, cx);
            progress |= self.take_turns(channel, cx);
            moved |= progress;
            if !progress {
                break;
            }
        }
        if channel.input_ended() {
            self.on_input_end(channel, cx);
        }
        self.session.put_control(channel.outbox.ring(&mut cx.outboxes));
        self.note_waits(channel, cx);
        Ok(moved)
    }

    fn finish<S: Socket>(&mut self, channel: &Channel<S>) -> Option<Ending> {
        let is_over = self.has_failed() || self.session.is_done();
        let has_ended = channel.input_ended() && self.open.is_empty();
        // Who has read a while ago that the server stops, and has nothing under way, has nothing on its way either.
        let ending = if self.stop == (Stop::Last { is_idle: true }) { Ending::AtOnce } else { Ending::InOrder };
        (is_over || has_ended).then_some(ending)
    }

    fn is_idle(&self) -> bool {
        self.open.is_empty() && self.asked.is_empty() && self.partial.is_none() && !self.has_failed()
    }

    fn on_woken(&mut self, stream: u32, job_began: Option<Moment>) {
        let Some(at) = self.position(stream) else { return };
        if let (Some(began), Some(record)) = (job_began, &mut self.open[at].stream.record) {
            record.note_job_began(began);
        }
        self.ask(at);
    }

    /// RFC 9113 §6.8: GOAWAY tells the client that a request which is on its way was not looked at, and can be sent again.
    /// So its bytes are thrown away: closed at once, the connection would be reset by them, and GOAWAY lost. It is counted.
    fn on_idle_end<S: Socket>(
        &mut self,
        reason: CloseReason,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) -> Ending {
        let knows = matches!(self.stop, Stop::Announced { is_idle: true, .. }) && self.session.knows_of_stop();
        self.stop = Stop::Idle(reason);
        let why = if reason == CloseReason::ByServer(Why::Drain) { SERVER_STOPS } else { "idle for too long" };
        self.session.shut_down(channel.outbox.ring(&mut cx.outboxes), ErrorCode::NO_ERROR, why, cx.moment);
        match reason {
            _ if knows => Ending::AtOnce,
            CloseReason::Timeout(_) | CloseReason::Vanished(_) => Ending::Idle(reason),
            _ => Ending::InOrder,
        }
    }

    fn discard_late<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &LoopContext) -> bool {
        let Some(inbox) = &mut channel.inbox else { return false };
        self.session.discard_late(inbox, &cx.environment.limits, cx.moment)
    }

    /// RFC 9113 §6.8: the second GOAWAY comes a while after the first.
    fn farewell_time(&self, limits: &Limits) -> Duration {
        GOAWAY_PAUSE.saturating_sub(limits.drain_idle_grace)
    }

    fn wait<S: Socket>(&self, _channel: &Channel<S>) -> DriverWait {
        let (reason, ordinal) = match self.earliest() {
            Some(open) => (open.waiting.reason(), open.id),
            // Only while the budget is spent, or while the client does not read.
            None if !self.open.is_empty() => (WaitReason::SlowRead, 0),
            None if self.partial.is_some() => (WaitReason::SlowHead, self.begun as u32),
            None if !self.session.is_established() => (WaitReason::FirstByte, 0),
            None => (WaitReason::Idle, self.over as u32),
        };
        DriverWait { reason, ordinal, timer: None, ignores_input: self.has_failed(), due: self.due }
    }

    /// A client that does not read holds up all streams: the most patient of their routes says for how long.
    fn limits<'a>(&'a self, reason: WaitReason, limits: &'a Limits) -> &'a Limits {
        if reason != WaitReason::SlowRead {
            return self.earliest().map_or(limits, |open| open.stream.limits(limits));
        }
        let open = self.open.iter().map(|open| open.stream.limits(limits));
        let all = open.chain(self.leaving.iter().map(|record| record.limits(limits)));
        all.max_by_key(|limits| limits.send_timeout).unwrap_or(limits)
    }

    /// It keeps these deadlines itself.
    fn on_late<S: Socket>(
        &mut self,
        _reason: WaitReason,
        _channel: &mut Channel<S>,
        _cx: &mut LoopContext,
    ) -> Result<(), Cut> {
        Ok(())
    }

    fn why(&self) -> Why {
        if self.has_failed() { Why::GoAway } else { Why::Drain }
    }

    fn stopped_in(&self) -> Option<Phase> {
        self.stopped_in
    }

    fn phase<S: Socket>(&self, channel: &Channel<S>) -> Phase {
        match self.open.first() {
            Some(oldest) => oldest.phase(),
            None if self.partial.is_some() => Phase::Head,
            None if channel.received() == 0 => Phase::Silent,
            None => Phase::Idle,
        }
    }

    fn status<S: Socket>(&self, channel: &Channel<S>) -> DriverStatus<'_> {
        let state = match () {
            () if !channel.outbox.is_empty() => "sending",
            () if !self.open.is_empty() => "answering",
            () if self.partial.is_some() => "receiving head",
            () => "idle",
        };
        let oldest = self.open.first().and_then(|open| open.stream.record.as_deref());
        let record = self.leaving.front().or(oldest);
        let is_sending = self.open.iter().any(|open| open.stream.is_sending());
        DriverStatus { protocol: "http/2", state, answered: self.over, record, is_sending }
    }

    fn note_drive<S: Socket>(&mut self, channel: &Channel<S>, drive: &Drive, cx: &mut LoopContext) {
        let now = drive.over;
        self.driven_at = now;
        let (sent, is_blocked, queued) = (channel.sent(), channel.is_write_blocked(), channel.outbox.len());
        self.retire(sent, drive, cx);
        self.leaving.for_each(|record| {
            record.paused.set(false, now);
            record.note_wait(drive, if is_blocked { Part::Blocked } else { Part::Queue }, false);
            record.note_leaving(sent, queued, now);
        });
        if let Some(end) = channel.client_end() {
            self.note_client_end(end, now);
        }
        for open in &mut self.open {
            open.note_progress(&self.session, sent, is_blocked, queued, drive);
        }
    }

    fn note_close<S: Socket>(
        &mut self,
        channel: &Channel<S>,
        reason: CloseReason,
        drive: &Drive,
        cx: &mut LoopContext,
    ) -> CloseReason {
        let reason = match self.stop {
            Stop::Failed(Some(wait)) => CloseReason::Timeout(wait),
            Stop::Failed(None) => CloseReason::ByServer(Why::GoAway),
            Stop::Idle(reason) => reason,
            _ if self.client_went_away && matches!(reason, CloseReason::ByClient(_)) => {
                CloseReason::ByClient(ClientEnd::GoAway)
            }
            _ => channel.as_told(reason, self.open.is_empty() && self.leaving.are_cut()),
        };
        self.cut_all(reason, channel.position(), drive.over);
        cx.asks_why |= self.leaving.cut(None, reason, channel.sent(), drive, &mut cx.finished);
        reason
    }
}

impl Http2 {
    /// A connection that has said nothing yet.
    pub(super) fn new(cx: &LoopContext) -> Http2 {
        Http2 {
            session: Session::new(&cx.environment.limits),
            open: Vec::new(),
            asked: Vec::new(),
            stop: Stop::NotBegun,
            stopped_in: None,
            client_went_away: false,
            acknowledged: None,
            began: cx.moment,
            partial: None,
            needs_bytes: true,
            due: None,
            begun: 0,
            over: 0,
            delayed_bytes: 0,
            driven_at: Moment::default(),
            leaving: LeavingRecords::default(),
            leaving_len: 0,
        }
    }

    /// Whether the client speaks HTTP/2: it was agreed on over TLS (RFC 9113 §3.2), or the client knows without asking that
    /// we do, and begins with the preface (§3.3).
    pub(super) fn is_spoken<S: Socket>(channel: &mut Channel<S>, limits: &Limits) -> bool {
        if let Some(secured) = &channel.secured {
            return secured.has_agreed_on_http2();
        }
        if !limits.http2.is_offered {
            return false;
        }
        match &mut channel.inbox {
            Some(inbox) if inbox.len() >= TELLING_BYTES => {
                inbox.contiguous(TELLING_BYTES).starts_with(&PREFACE[..TELLING_BYTES])
            }
            _ => false,
        }
    }

    /// The stream whose deadline is the earliest, if any has one.
    fn earliest(&self) -> Option<&OpenStream> {
        self.open.iter().map(|open| &**open).filter(|open| open.due.is_some()).min_by_key(|open| open.due)
    }

    fn has_failed(&self) -> bool {
        matches!(self.stop, Stop::Failed(_))
    }

    /// Inbox → session → service or stream: one step. Says whether it moved anything.
    fn receive<S: Socket>(
        &mut self,
        channel: &mut Channel<S>,
        service: &mut impl Service,
        cx: &mut LoopContext,
    ) -> bool {
        self.needs_bytes = channel.inbox.is_none();
        let is_full = self.leaving_len >= LEAVING_MAX || self.delayed_bytes > cx.environment.limits.head_bytes_max;
        if self.has_failed() || is_full {
            return false;
        }
        let Channel { inbox: Some(inbox), outbox, who, listener, role, secured, .. } = channel else { return false };
        let outbox = outbox.ring(&mut cx.outboxes);
        match self.session.receive(inbox, outbox, &mut cx.http2, &cx.environment.limits, cx.moment) {
            Ok(Step::Head { stream, head, is_delayed, .. }) => {
                cx.marks.connection(who.id, |text| {
                    write!(text, "s={stream} head {} {}", head.method, head.target.raw.escape_ascii());
                });
                let mut record = self.new_record(stream, &mut cx.records, &cx.arrivals, cx.drive_began);
                note_head(&mut record, &head, cx.notes_fields, who, &cx.environment);
                record.behind = self.delay(&record, who, &cx.long_drives);
                cx.counters.http2.streams += 1;
                if is_delayed {
                    let head = Box::new(head.to_owned());
                    self.put_off(record, head, cx);
                    return true;
                }
                let (client, secured) = (record.client.as_ref(), secured.as_deref());
                let mut request_cx = cx.environment.cx(who, *role, record.key(), client, secured);
                (request_cx.listener, request_cx.identifier) = (*listener, cx.environment.identifier(&record));
                let reply = service.call(&head, &mut request_cx);
                record.take_terms(&cx.environment.terms);
                record.take_held(&cx.environment.held);
                self.begin(OpenStream::new(stream, record, cx.moment), reply, channel, cx);
            }
            Ok(Step::Refused { stream, line, error }) => {
                let mut record = self.new_record(stream, &mut cx.records, &cx.arrivals, cx.drive_began);
                note_line(&mut record, &line, who, &cx.environment);
                self.refuse(record, error, channel, cx);
            }
            Ok(Step::Rejected { stream, line, fault }) => {
                let mut record = self.new_record(stream, &mut cx.records, &cx.arrivals, cx.drive_began);
                note_line(&mut record, &line, who, &cx.environment);
                self.on_rejected(record, fault, channel, cx);
            }
            Ok(Step::Content { stream, bytes }) => self.take_content(stream, bytes, channel, cx),
            Ok(Step::End { stream, trailers }) => {
                // Copied only if there are any: they do not last.
                let trailers = (!trailers.is_empty()).then(|| Box::new(trailers.to_owned()));
                self.on_end(stream, trailers, channel, cx);
            }
            Ok(Step::Reset { stream, code, fault }) => self.on_reset(stream, code, fault, channel, cx),
            Ok(Step::GoAway(code)) => self.on_go_away(code, who, cx),
            Ok(Step::NeedBytes) => {
                self.needs_bytes = true;
                return false;
            }
            Ok(Step::Paused) => return false,
            Err(fault) => self.on_fault(&fault, None, channel, cx),
        }
        true
    }

    /// Which connection the request, whose head was complete in this drive, had to wait for before that, if it did.
    #[inline]
    fn delay(&self, record: &RequestRecord, who: &Identity, long_drives: &LongDrives) -> Option<Rc<Delay>> {
        if long_drives.is_empty() {
            return None;
        }
        let last = self.open.last().and_then(|open| open.stream.record.as_ref());
        match last.filter(|last| last.head_at == record.head_at) {
            Some(last) => last.behind.clone(),
            None => long_drives.delay(who.id, self.driven_at, record.head_at),
        }
    }

    /// The client has reset so many streams that the service gets the head of this one later.
    #[cold]
    fn put_off(&mut self, record: Box<RequestRecord>, head: Box<OwnedHead>, cx: &mut LoopContext) {
        cx.counters.http2.delayed += 1;
        self.delayed_bytes += head.memory_bytes();
        let mut open = OpenStream::new(record.stream, record, cx.moment);
        open.delayed = Some(head);
        self.open.push(Box::new(open));
    }

    /// So many bytes of content are at the front of the inbox.
    fn take_content<S: Socket>(&mut self, stream: u32, bytes: usize, channel: &mut Channel<S>, cx: &mut LoopContext) {
        if let Some(at) = self.position(stream) {
            self.with(at, channel, cx, |open, work| open.receive(bytes, work));
            self.bound_memory(stream, channel, cx);
        } else if let Some(inbox) = &mut channel.inbox {
            self.session.taken(inbox, bytes);
        }
    }

    /// The request is complete.
    fn on_end<S: Socket>(
        &mut self,
        stream: u32,
        trailers: Option<Box<OwnedFields>>,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) {
        let end = self.session.frame_end();
        if let Some(at) = self.position(stream) {
            self.with(at, channel, cx, |open, _| open.end(trailers, end));
        }
    }

    /// A client that goes because of an error may have found one of ours.
    fn on_go_away(&mut self, code: ErrorCode, who: &Identity, cx: &LoopContext) {
        let key = who.log_key(None);
        if code == ErrorCode::NO_ERROR {
            return log::debug!("{key}: GOAWAY from the client: NO_ERROR");
        }
        self.client_went_away = true;
        cx.complain(Level::Info, format_args!("{key}: GOAWAY from the client: {code}"));
    }

    /// A request begins, and this is the first answer to it. Most are over with that.
    fn begin<S: Socket>(
        &mut self,
        mut open: OpenStream,
        reply: Result<Reply, Failure>,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) {
        let id = open.id;
        open.answer(reply, &mut Work { session: &mut self.session, channel, cx });
        if self.session.stream(id).is_none() {
            return self.end_record(open, channel.position());
        }
        self.open.push(Box::new(open));
        self.with(self.open.len() - 1, channel, cx, |_, _| {});
    }

    /// Does something with a stream that lives, and then all that follows from it and needs no turn.
    fn with<S: Socket>(
        &mut self,
        at: usize,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
        act: impl FnOnce(&mut OpenStream, &mut Work<'_, S>),
    ) {
        let mut work = Work { session: &mut self.session, channel, cx };
        let open = &mut self.open[at];
        let id = open.id;
        act(open, &mut work);
        open.was_driven = true;
        open.serve(&mut work);
        let needs_room = open.settle(&mut work);
        if self.session.stream(id).is_none() {
            self.complete(at, channel.position());
        } else if needs_room {
            self.ask(at);
        }
    }

    /// Has a stream asked that may go on.
    fn ask(&mut self, at: usize) {
        let open = &mut self.open[at];
        if !std::mem::replace(&mut open.is_asked, true) {
            self.asked.push(open.id);
        }
    }

    /// Serves those that may go on. Says whether anything moved.
    fn serve_asked<S: Socket>(
        &mut self,
        channel: &mut Channel<S>,
        service: &mut impl Service,
        cx: &mut LoopContext,
    ) -> bool {
        if self.asked.is_empty() {
            return false;
        }
        let before = (self.over, channel.position());
        let mut asked = std::mem::take(&mut self.asked);
        for stream in asked.drain(..) {
            let Some(at) = self.position(stream) else { continue };
            let open = &mut self.open[at];
            open.is_asked = false;
            match open.delayed.take_if(|_| open.due.is_none()) {
                Some(head) => self.begin_delayed(at, &head, channel, service, cx),
                None => {
                    self.with(at, channel, cx, |open, _| open.stream.resume());
                    // What others send may wait for a reader that does not read.
                    self.bound_memory(stream, channel, cx);
                }
            }
        }
        if self.asked.is_empty() {
            // Its memory serves the next ones.
            self.asked = asked;
        }
        before != (self.over, channel.position())
    }

    /// The service of a request that was delayed begins.
    fn begin_delayed<S: Socket>(
        &mut self,
        at: usize,
        head: &OwnedHead,
        channel: &mut Channel<S>,
        service: &mut impl Service,
        cx: &mut LoopContext,
    ) {
        self.delayed_bytes -= head.memory_bytes();
        let (request, client) = (self.open[at].key(), self.open[at].stream.client());
        let secured = channel.secured.as_deref();
        let mut request_cx = cx.environment.cx(&channel.who, channel.role, request, client.as_ref(), secured);
        request_cx.listener = channel.listener;
        request_cx.identifier =
            self.open[at].stream.record.as_ref().and_then(|record| cx.environment.identifier(record));
        let reply = service.call(&head.as_head(), &mut request_cx);
        if let Some(record) = &mut self.open[at].stream.record {
            record.take_terms(&cx.environment.terms);
            record.take_held(&cx.environment.held);
        }
        self.with(at, channel, cx, |open, work| open.answer(reply, work));
    }

    /// Lets streams send content in the order that the session names. Says whether any of them did.
    fn take_turns<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) -> bool {
        let mut moved_any = false;
        while let Some(turn) = self.session.next_turn() {
            let Some(at) = self.position(turn.stream) else {
                debug_assert!(false, "a stream that nobody answers has content");
                self.session.has_content(turn.stream, false);
                continue;
            };
            let mut moved = false;
            self.with(at, channel, cx, |open, work| {
                moved = open.take_turn(work);
                // If it waits for nothing, the outbox is full.
                moved |= open.stream.wait().is_some();
            });
            moved_any |= moved;
            if !moved {
                break;
            }
        }
        moved_any
    }

    fn position(&self, stream: u32) -> Option<usize> {
        self.open.binary_search_by_key(&stream, |open| open.id).ok()
    }

    /// A stream is over.
    fn complete(&mut self, at: usize, position: u64) {
        let open = *self.open.remove(at);
        if self.open.is_empty() {
            // An idle connection owns no memory for streams.
            self.open = Vec::new();
        }
        if let Some(head) = &open.delayed {
            self.delayed_bytes -= head.memory_bytes();
        }
        self.end_record(open, position);
    }

    /// The whole response is in the outbox, or as much of it as there will be.
    fn end_record(&mut self, open: OpenStream, position: u64) {
        self.over += 1;
        let Some(mut record) = open.stream.record else { return };
        if record.status.is_none() {
            record.tx = position..position;
        }
        self.leaving.push(record);
        self.leaving_len += 1;
    }

    /// Ends the requests whose responses have left: `sent` bytes of all had left with this drive.
    fn retire(&mut self, sent: u64, drive: &Drive, cx: &mut LoopContext) {
        let before = cx.finished.len();
        cx.asks_why |= self.leaving.retire(sent, drive, &mut cx.finished);
        self.leaving_len -= cx.finished.len() - before;
    }

    /// The record of a request whose head has arrived, or as much of it as there will be.
    ///
    /// It stands where it is called, because each request comes by one of its three callers.
    #[inline(always)]
    fn new_record(
        &mut self,
        stream: u32,
        records: &mut RecordPool,
        arrivals: &Arrivals,
        drive_began: Moment,
    ) -> Box<RequestRecord> {
        self.begun += 1;
        if let Stop::Announced { is_idle, .. } = &mut self.stop {
            *is_idle = false;
        }
        let start = self.session.frame_start();
        let due = arrivals.due;
        let began = self.partial.filter(|partial| partial.start == start).map_or(due, |partial| partial.since);
        let mut record = records.take(began);
        (record.stream, record.ordinal, record.head_at) = (stream, self.begun, drive_began);
        record.ahead = arrivals.driven;
        if began == due {
            record.readable_at = arrivals.estimate(self.driven_at);
        } else {
            record.note_slow_head(due);
        }
        record.version = Version::Http2;
        record.rx = start..self.session.frame_end();
        record
    }
}

/// Notes the head of a request and who has sent it.
#[inline]
fn note_head(
    record: &mut RequestRecord,
    head: &RequestHead<'_>,
    notes_fields: bool,
    who: &Identity,
    environment: &Environment,
) {
    record.note_head(head, notes_fields);
    record.client = environment.trusted_proxies.client(who.peer, head.fields);
    if let Some(telling) = &environment.telling {
        telling.prepare(record, who, Some(head.fields), &environment.trusted_proxies);
    }
}

/// Notes what is known of a request that is not served.
fn note_line(record: &mut RequestRecord, line: &RequestLine<'_>, who: &Identity, environment: &Environment) {
    if let Some(method) = line.method {
        record.note_line(method, line.target, Version::Http2);
    }
    if let Some(telling) = &environment.telling {
        telling.prepare(record, who, None, &environment.trusted_proxies);
    }
}
