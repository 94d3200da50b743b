//! What is noted in the records of requests: when they came, what they waited for, what disturbed them.

use super::{Http1, inbox_len};
use crate::base::moment::Moment;
use crate::connection::LoopContext;
use crate::connection::channel::Channel;
use crate::net::Socket;
use crate::observe::close_reason::ClientEnd;
use crate::observe::timers::{Drive, Part};
use crate::observe::verdict::{Phase, Verdict};
use crate::protocol::h1::{Receiving, Sending};

impl Http1 {
    /// Notes what the requests wait for that are not over.
    pub(super) fn note_waits<S: Socket>(&mut self, channel: &Channel<S>, drive: &Drive) {
        let part = self.part(channel);
        let facts = channel.facts();
        if let Some(record) = &mut self.stream.record {
            record.paused.set(facts.inbox_full, drive.over);
            record.note_wait(drive, part, true);
        }
        if let Some(record) = self.leaving.front_mut() {
            record.note_wait(drive, if facts.write_blocked { Part::Blocked } else { Part::Queue }, true);
        }
        if let Some(record) = self.leaving.front_mut().or(self.stream.record.as_deref_mut()) {
            record.note_leaving(channel.sent(), channel.outbox.len(), drive.over);
        }
    }

    /// What the present request waits for. A client that does not read comes first, once there is something to read.
    fn part<S: Socket>(&self, channel: &Channel<S>) -> Part {
        let is_blocked = channel.is_write_blocked();
        let is_blocked_by_others = is_blocked && !self.leaving.is_empty();
        match self.stream.waiting_part() {
            Some(part) if self.codec.sending() == Sending::Idle => part,
            _ if is_blocked_by_others => Part::Turn,
            _ if is_blocked => Part::Blocked,
            Some(part) => part,
            None if self.stream.is_idle() && self.codec.receiving() == Receiving::Content => Part::Content,
            None => Part::Queue,
        }
    }

    /// Notes when the head of the present request came, where it stands in the input, and what it had to wait for.
    pub(super) fn note_arrival<S: Socket>(&mut self, head_bytes: u64, channel: &Channel<S>, cx: &mut LoopContext) {
        let Some(record) = &mut self.stream.record else { return };
        let end = channel.received() - inbox_len(channel);
        record.began = self.head_began;
        record.head_at = cx.drive_began;
        (record.rx, record.ordinal) = (end - head_bytes..end, self.answered + 1);
        record.ahead = cx.arrivals.driven;
        if self.head_began == cx.moment {
            record.readable_at = cx.arrivals.estimate(self.driven_at);
        } else {
            record.readable_at = self.head_began;
            record.note_slow_head(cx.moment);
        }
        if !cx.long_drives.is_empty() {
            record.behind = cx.long_drives.delay(channel.who.id, self.driven_at, cx.drive_began);
        }
    }

    /// What is going on with the present request.
    pub(super) fn request_phase(&self) -> Phase {
        match self.stream.record {
            None => Phase::Head,
            Some(_) if self.stream.is_idle() => Phase::Content,
            Some(_) => self.stream.phase(),
        }
    }

    pub(super) fn note_verdict(&mut self, verdict: Verdict, now: Moment) {
        if let Some(record) = &mut self.stream.record {
            record.note_verdict(verdict, now);
        }
    }

    /// The client has ended its direction before it had the whole response. Clients do so when they give up; those that have
    /// only said all they had to say read on.
    #[cold]
    pub(super) fn note_client_end(&mut self, end: ClientEnd, now: Moment) {
        self.note_verdict(Verdict::on_client_end(end, self.request_phase()), now);
        self.leaving.for_each(|record| {
            record.note_verdict(Verdict::on_client_end(end, Phase::Sending), now);
        });
    }

    /// Whatever the client sent so far belongs to this request: content that did not end before the connection did, and
    /// all that was said after an upgrade. Only behind a request that is complete there may be others.
    pub(super) fn end_rx<S: Socket>(&mut self, channel: &Channel<S>) {
        let others = if self.codec.receiving() == Receiving::Content { 0 } else { inbox_len(channel) };
        let end = channel.received() - others;
        if let Some(record) = &mut self.stream.record {
            record.rx.end = record.rx.end.max(end);
        }
    }
}
