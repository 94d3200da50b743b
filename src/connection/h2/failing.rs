//! What becomes of a request or a connection of HTTP/2 that is malformed, is reset, comes too late, or ends in the middle.

use log::Level;

use super::Http2;
use super::deadlines::Stop;
use super::open_stream::{OpenStream, Work};
use crate::base::log_key::RequestKey;
use crate::base::moment::Moment;
use crate::connection::LoopContext;
use crate::connection::channel::Channel;
use crate::http::exchange::Reply;
use crate::net::Socket;
use crate::observe::close_reason::{ClientEnd, CloseReason, Cut as RequestCut, ResetCode, Why};
use crate::observe::http2::add;
use crate::observe::request_record::RequestRecord;
use crate::observe::verdict::{Means, Phase, Side, Verdict};
use crate::observe::wait_reason::WaitReason;
use crate::protocol::ProtocolError;
use crate::protocol::h2::error::{ErrorCode, Fault};
use crate::service::errors;

impl Http2 {
    /// Answers a request that is well-formed and not served.
    pub(super) fn refuse<S: Socket>(
        &mut self,
        mut record: Box<RequestRecord>,
        error: ProtocolError,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) {
        let (ProtocolError { status, reason, section }, stream) = (error, record.stream);
        cx.complain(Level::Info, format_args!("{}: {status}: {error}", channel.who.log_key(Some(record.key()))));
        cx.counters.http2.streams += 1;
        let verdict = Verdict { side: Side::Server, means: Means::Refusal, phase: Phase::Head };
        record.note_verdict(verdict, cx.moment);
        let reply = Ok(Reply::Respond(errors::refuse(status, reason, section)));
        self.begin(OpenStream::new(stream, record, cx.moment), reply, channel, cx);
    }

    /// The session has reset the stream of a request that is malformed, or for which there was no stream.
    pub(super) fn on_rejected<S: Socket>(
        &mut self,
        mut record: Box<RequestRecord>,
        fault: Fault,
        channel: &Channel<S>,
        cx: &mut LoopContext,
    ) {
        let (who, stream) = (channel.who, record.stream);
        cx.complain(Level::Info, format_args!("{}: reset: {fault}", who.log_key(Some(record.key()))));
        cx.counters.http2.streams += 1;
        count_reset(fault.code, who.id, stream, cx);
        record.end_early(RequestCut::ResetByServer(reset_code(fault.code)), Phase::Head, cx.moment);
        self.end_record(OpenStream::new(stream, record, cx.moment), channel.position());
    }

    /// The client has reset a stream, or has made us do it.
    pub(super) fn on_reset<S: Socket>(
        &mut self,
        stream: u32,
        code: ErrorCode,
        fault: Option<Fault>,
        channel: &Channel<S>,
        cx: &mut LoopContext,
    ) {
        let who = channel.who;
        let cut = match fault {
            Some(fault) => {
                cx.complain(
                    Level::Info,
                    format_args!("{}: reset: {fault}", who.log_key(Some(RequestKey::Stream(stream)))),
                );
                count_reset(code, who.id, stream, cx);
                RequestCut::ResetByServer(reset_code(code))
            }
            None => {
                cx.marks.connection(who.id, |text| write!(text, "s={stream} reset by the client: {code}"));
                add(&mut cx.counters.http2.reset_by_client, reset_code(code).label(), 1);
                RequestCut::ResetByClient(reset_code(code))
            }
        };
        if let Some(at) = self.position(stream) {
            // A client may say behind a complete response that it does not send the rest of its request.
            self.open[at].cut(cut, cx.moment);
            self.complete(at, channel.position());
        }
    }

    /// The client has broken a rule for the whole connection. The session has told it with GOAWAY.
    pub(super) fn on_fault<S: Socket>(
        &mut self,
        fault: &Fault,
        wait: Option<WaitReason>,
        channel: &Channel<S>,
        cx: &mut LoopContext,
    ) {
        let streams = self.open.len();
        cx.complain(
            Level::Info,
            format_args!("{}: GOAWAY with {streams} streams open: {fault}", channel.who.log_key(None)),
        );
        cx.marks.connection(channel.who.id, |text| write!(text, "goaway: {}", fault.code));
        self.stop = Stop::Failed(wait);
        self.stopped_in = Some(match self.open.first() {
            Some(oldest) => oldest.phase(),
            None if self.partial.is_some() => Phase::Head,
            None => Phase::Idle,
        });
        let reason = wait.map_or(CloseReason::ByServer(Why::GoAway), CloseReason::Timeout);
        self.cut_all(reason, channel.position(), cx.moment);
    }

    /// The connection ends for this reason, and with it all streams. Those whose response is complete are not cut by that; if it
    /// has not left, that is noted when the connection is closed.
    pub(super) fn cut_all(&mut self, reason: CloseReason, position: u64, now: Moment) {
        while !self.open.is_empty() {
            self.open[0].cut(RequestCut::Connection(reason), now);
            self.complete(0, position);
        }
    }

    /// Ends the connection for a reason that is in no frame.
    pub(super) fn fail<S: Socket>(
        &mut self,
        fault: &Fault,
        wait: Option<WaitReason>,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) {
        self.session.fail(channel.outbox.ring(&mut cx.outboxes), fault, cx.moment);
        self.on_fault(fault, wait, channel, cx);
    }

    /// The client has ended its direction before it had all responses.
    #[cold]
    pub(super) fn note_client_end(&mut self, end: ClientEnd, now: Moment) {
        for open in &mut self.open {
            let verdict = Verdict::on_client_end(end, open.phase());
            if let Some(record) = &mut open.stream.record {
                record.note_verdict(verdict, now);
            }
        }
        self.leaving.for_each(|record| {
            record.note_verdict(Verdict::on_client_end(end, Phase::Sending), now);
        });
    }

    /// The client sends no more: no request goes on, and no window opens.
    pub(super) fn on_input_end<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) {
        let mut cut_in = None;
        for at in (0..self.open.len()).rev() {
            let open = &mut self.open[at];
            let is_abandoned = open.stream.ends_with_client(open.stream.limits(&cx.environment.limits).abort_on_close);
            if open.expects_more() || open.lacks_window(&self.session) || is_abandoned {
                let end = channel.client_end().unwrap_or(ClientEnd::Fin);
                cut_in = Some(open.phase());
                open.cut(RequestCut::Connection(CloseReason::ByClient(end)), cx.moment);
                let stream = open.id;
                Work { session: &mut self.session, channel, cx }.reset(stream, ErrorCode::CANCEL);
                self.complete(at, channel.position());
            }
        }
        self.stopped_in = self.stopped_in.or(cut_in);
    }
}

pub(super) fn reset_code(code: ErrorCode) -> ResetCode {
    ResetCode { number: code.0, name: code.name() }
}

/// We have reset a stream.
pub(super) fn count_reset(code: ErrorCode, connection: u64, stream: u32, cx: &mut LoopContext) {
    cx.marks.connection(connection, |text| write!(text, "s={stream} reset: {code}"));
    add(&mut cx.counters.http2.reset_by_server, reset_code(code).label(), 1);
}
