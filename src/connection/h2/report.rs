//! What can be told about a connection that speaks HTTP/2: while it lives, and when it is over.

use std::fmt::Write;
use std::time::Duration;

use super::Http2;
use super::failing::reset_code;
use super::open_stream::OpenStream;
use crate::base::moment::Moment;
use crate::observe::http2::{Http2Counts, Http2Now, add};
use crate::observe::report::{Http2Status, Progress, StreamStatus, Transfer, UpstreamHalf};
use crate::observe::timers::Part;
use crate::observe::wait_reason::WaitReason;
use crate::protocol::h2::error::ErrorCode;
use crate::protocol::h2::head::ResponseContent;
use crate::protocol::h2::session::Late;
use crate::protocol::h2::streams::Output;

/// Kinds of misbehaviour that also well-behaved clients show.
const ORDINARY: [&str; 3] = ["reset-before-answer", "ping", "settings"];

impl Http2 {
    /// How it stands, with at most `streams_max` streams, the oldest first. `sent`: bytes of the connection that have left.
    pub(in crate::connection) fn http2_status(&self, streams_max: usize, sent: u64, now: Moment) -> Http2Status {
        let ledger = self.session.ledger();
        let turns: Vec<u32> = self.session.turns().collect();
        let streams = self.open.iter().take(streams_max).map(|open| self.stream_status(open, &turns, sent, now));
        Http2Status {
            may_send: self.session.send_window_bytes(),
            may_receive: self.session.receive_window_bytes(),
            budgets: ledger.percentages(now).collect(),
            misbehaviour: ledger.counts().collect(),
            gone_away: self.session.gone_away().map(|gone| format!("{}: {}", gone.code, gone.why)),
            streams_total: self.open.len(),
            streams: streams.collect(),
        }
    }

    fn stream_status(&self, open: &OpenStream, turns: &[u32], sent: u64, now: Moment) -> StreamStatus {
        let live = self.session.stream(open.id);
        let record = open.stream.record.as_deref();
        let (wait, since) = open.wait_now();
        StreamStatus {
            id: open.id,
            request: record.map(|record| record.request()).unwrap_or_default(),
            status: record.and_then(|record| record.status).map(|status| status.code()),
            state: live.map_or("closed", |live| live.state.name()),
            urgency: live.map_or(0, |live| live.priority.urgency),
            is_incremental: live.is_some_and(|live| live.priority.is_incremental),
            may_send: live.map_or(0, |live| live.send.bytes()),
            may_receive: live.map_or(0, |live| live.receive.left()),
            content: open.content_len(),
            queued: record.map_or(0, |record| record.tx.end.saturating_sub(sent.max(record.tx.start))),
            turn: turns.iter().position(|stream| *stream == open.id).map(|at| at + 1),
            wait,
            waited: since.map_or(Duration::ZERO, |since| now.since(since)),
            job: None,
            sent: record.map_or(0, |record| record.head_bytes + record.framed_bytes),
            parts: record.map(|record| record.part_times(now)),
            progress: self.stream_progress(open, now),
            terms: record.and_then(|record| record.terms.clone()),
            upstream: record.and_then(|record| record.upstream.as_deref()).map(UpstreamHalf::of),
        }
    }

    fn stream_progress(&self, open: &OpenStream, now: Moment) -> Progress {
        let (Some(record), Some(live)) = (open.stream.record.as_deref(), self.session.stream(open.id)) else {
            return Progress::default();
        };
        let bytes = open.received_bytes();
        let total = live.content_left.map(|left| bytes + left);
        let left = match live.output {
            Output::Content(ResponseContent::Length(left)) => Some(left),
            Output::Content(ResponseContent::Unknown) => None,
            Output::Content(ResponseContent::Nothing) | Output::Idle | Output::Done => Some(0),
        };
        let produced = record.produced_bytes;
        let sending_since = record.first_byte_at.unwrap_or(now);
        Progress {
            content: open.expects_more().then_some(Transfer { bytes, total, took: now.since(record.head_at) }),
            response: record.status.map(|_| Transfer {
                bytes: produced,
                total: left.map(|left| produced + left),
                took: now.since(sending_since),
            }),
        }
    }

    /// Adds to what was counted on connections that are open.
    pub(in crate::connection) fn add_to(&self, sum: &mut Http2Now) {
        sum.streams += self.open.len() as u64;
        sum.content_bytes += self.open.iter().map(|open| open.content_len() as u64).sum::<u64>();
        for (kind, count) in self.session.ledger().counts() {
            add(&mut sum.misbehaviour, kind, count.into());
        }
    }

    /// The connection is over: counts what it has to tell.
    pub(in crate::connection) fn count_end(&self, counts: &mut Http2Counts) {
        if let Some(gone) = self.session.gone_away() {
            add(&mut counts.goaways, reset_code(gone.code).label(), 1);
        }
        for (kind, count) in self.session.ledger().counts() {
            add(&mut counts.misbehaviour, kind, count.into());
        }
    }

    /// Requests behind the last one that GOAWAY has promised to serve, if any came.
    pub(in crate::connection) fn late(&self) -> Option<Late> {
        self.session.gone_away()?.late.filter(|late| late.requests > 0)
    }

    /// Whether streams that still come are counted: GOAWAY has named the last one that is served, and not because of an error.
    pub(in crate::connection) fn counts_late(&self) -> bool {
        !self.has_failed() && self.session.gone_away().is_some_and(|gone| gone.late.is_some())
    }

    /// Whether the end of the connection should be seen by everybody: we have sent GOAWAY because of the client, or it has
    /// done what no well-behaved client does.
    pub(in crate::connection) fn ends_badly(&self) -> bool {
        let is_fault = self.session.gone_away().is_some_and(|gone| gone.code != ErrorCode::NO_ERROR);
        is_fault || self.session.ledger().counts().any(|(kind, _)| !ORDINARY.contains(&kind))
    }

    /// What the line of its end says: the last GOAWAY, and what the ledger holds.
    pub(in crate::connection) fn farewell(&self, now: Moment) -> String {
        let mut text = String::new();
        if let Some(gone) = self.session.gone_away() {
            write!(text, "; GOAWAY {}: {}", gone.code, gone.why).expect("writing to a String cannot fail");
        }
        let ledger = self.session.ledger().summary(now);
        if !ledger.is_empty() {
            write!(text, "; ledger: {ledger}").expect("writing to a String cannot fail");
        }
        text
    }
}

impl OpenStream {
    /// What the stream waits for, and since when. `-`: for nothing, it goes on.
    fn wait_now(&self) -> (&'static str, Option<Moment>) {
        let Some(record) = self.stream.record.as_deref() else { return ("-", None) };
        match record.present_part() {
            Some((part @ (Part::StreamWindow | Part::ConnectionWindow | Part::Turn | Part::Delay), since)) => {
                (part.name(), Some(since))
            }
            Some((Part::Blocked, since)) => (WaitReason::SlowRead.name(), Some(since)),
            _ if self.due.is_some() => (self.waiting.reason().name(), Some(self.waiting.since())),
            _ => ("-", None),
        }
    }
}
