//! What becomes of a request that cannot be understood, comes too late, or whose handler has failed.

use log::Level;

use super::{Http1, Stop, inbox_len};
use crate::connection::LoopContext;
use crate::connection::channel::Channel;
use crate::connection::driver::Cut;
use crate::http::body::Failure;
use crate::http::exchange::Breach;
use crate::http::status::Status;
use crate::net::Socket;
use crate::observe::close_reason::{ClientEnd, Fault};
use crate::observe::verdict::{Means, Phase, Side, Verdict};
use crate::observe::wait_reason::WaitReason;
use crate::protocol::ProtocolError;
use crate::protocol::h1::Sending;
use crate::service::errors;

impl Http1 {
    pub(super) fn on_protocol_error<S: Socket>(
        &mut self,
        error: ProtocolError,
        stop: Stop,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) -> Result<bool, Cut> {
        if self.may_still_answer() {
            self.refuse(error.status, error.reason, error.section, stop, channel, cx);
            return Ok(true);
        }
        let key = self.log_key(channel);
        (self.stop, self.stopped_in) = (stop, Some(self.request_phase()));
        // What came before the error is answered as far as there is room, however it arrived.
        while self.produce(channel, cx)? {}
        if self.codec.sending() != Sending::Done {
            cx.complain(Level::Info, format_args!("{key}: cut in the middle of a response: {error}"));
            return Err(Cut(Fault::Request));
        }
        cx.complain(Level::Info, format_args!("{key}: closed after the response: {error}"));
        Ok(true)
    }

    /// Whether nothing of a final response is out yet, so that another one can take its place.
    pub(super) fn may_still_answer(&self) -> bool {
        self.codec.sending() == Sending::Idle && !self.stop.ignores_input()
    }

    /// Answers with an error that ends the connection.
    pub(super) fn refuse<S: Socket>(
        &mut self,
        status: Status,
        reason: &str,
        section: &str,
        stop: Stop,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) {
        cx.complain(Level::Info, format_args!("{}: {status}: {reason} ({section})", self.log_key(channel)));
        let phase = self.request_phase();
        (self.stop, self.stopped_in) = (stop, Some(phase));
        self.note_refused(channel, cx);
        self.note_verdict(
            match stop {
                Stop::Unfinished(end) => Verdict::on_client_end(end, phase),
                Stop::Late(_) => Verdict { side: Side::Server, means: Means::Timeout, phase },
                _ => Verdict { side: Side::Server, means: Means::Refusal, phase },
            },
            cx.moment,
        );
        self.stream.replace_answer(errors::refuse(status, reason, section));
    }

    /// Also what could not be understood as a request has a record, with as much of its first line as is known.
    fn note_refused<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) {
        let received = channel.received();
        if let Some(record) = &mut self.stream.record {
            record.rx.end = received;
            return;
        }
        let record = self.stream.record.insert(cx.records.take(cx.moment));
        record.began = self.head_began;
        record.readable_at = self.head_began;
        record.head_at = cx.drive_began;
        if self.head_began != cx.moment {
            record.note_slow_head(cx.moment);
        }
        record.rx = received - inbox_len(channel)..received;
        record.ordinal = self.answered + 1;
        if let Some(line) = channel.inbox.as_mut().and_then(|inbox| self.codec.request_line(inbox)) {
            record.note_line(line.method, line.target, line.version);
        }
        if let Some(telling) = &cx.environment.telling {
            telling.prepare(record, &channel.who, None, &cx.environment.trusted_proxies);
        }
    }

    /// The conversation behind an upgrade was broken off.
    pub(super) fn on_breach<S: Socket>(&mut self, breach: Breach, channel: &Channel<S>, cx: &LoopContext) {
        let phase = Phase::Conversation;
        let verdict = match breach {
            Breach::Unfinished => Verdict::on_client_end(channel.client_end().unwrap_or(ClientEnd::Fin), phase),
            Breach::Silence => {
                self.stop = Stop::Late(WaitReason::Conversation);
                Verdict { side: Side::Server, means: Means::Timeout, phase }
            }
            Breach::Violation => {
                self.stop = Stop::Refused;
                Verdict { side: Side::Server, means: Means::Refusal, phase }
            }
        };
        self.stopped_in = Some(phase);
        self.note_verdict(verdict, cx.moment);
    }

    pub(super) fn fail_on<S: Socket>(
        &mut self,
        result: Result<(), Failure>,
        channel: &Channel<S>,
        cx: &mut LoopContext,
    ) -> Result<(), Cut> {
        result.or_else(|failure| self.fail(&failure, channel, cx))
    }

    /// The handler failed: a 500 if nothing of its response is out yet, otherwise the connection is cut.
    pub(super) fn fail<S: Socket>(
        &mut self,
        failure: &Failure,
        channel: &Channel<S>,
        cx: &mut LoopContext,
    ) -> Result<(), Cut> {
        let key = self.log_key(channel);
        cx.complain(failure.level, format_args!("{key}: {}{failure}", failure.who()));
        let is_out = self.codec.sending() != Sending::Idle;
        let phase = self.stream.phase_of_fault(is_out);
        self.note_verdict(Verdict { side: Side::Server, means: Means::Handler, phase }, cx.moment);
        if !is_out {
            self.stream.replace_answer(errors::internal_error());
            return Ok(());
        }
        cx.complain(Level::Info, format_args!("{key}: cut in the middle of a response"));
        Err(Cut(Fault::Handler))
    }
}
