//! Deadlines of a connection that speaks HTTP/2, and how it stops.
//!
//! Each stream that waits has a deadline of its own. The connection has some more: for the acknowledgement of our SETTINGS,
//! for a frame of which a part has arrived, and for the second GOAWAY of a server that stops.

use std::time::Duration;

use log::Level;

use super::Http2;
use crate::base::moment::Moment;
use crate::connection::LoopContext;
use crate::connection::channel::Channel;
use crate::net::Socket;
use crate::observe::close_reason::CloseReason;
use crate::observe::wait_reason::WaitReason;
use crate::protocol::h2::error::{ErrorCode, Fault};
use crate::protocol::h2::session::SERVER_STOPS;

/// From the first GOAWAY of a server that stops to the second, which names the last stream. What the client has sent before
/// it read the first is on its way for no longer than that (RFC 9113 §6.8).
pub(super) const GOAWAY_PAUSE: Duration = Duration::from_secs(1);

/// How far the connection's end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Our SETTINGS have not been sent.
    NotBegun,
    /// It goes on.
    No,
    /// The client was told that the server stops, and that it should open no more streams.
    Announced {
        at: Moment,
        /// Nothing was under way then, and nothing has begun since.
        is_idle: bool,
    },
    /// No new streams are taken.
    Last {
        /// Nothing has been under way since the client was told, and it has read that.
        is_idle: bool,
    },
    /// After an error: what the outbox holds still goes out. If a wait was the cause, it was this one.
    Failed(Option<WaitReason>),
    /// It was idle, and ends for this reason.
    Idle(CloseReason),
}

/// A frame of which only a part has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partial {
    /// Where it begins in the input.
    pub(super) start: u64,
    pub(super) since: Moment,
}

impl Http2 {
    /// Acts on what time has brought about.
    pub(super) fn keep_time<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) {
        if self.stop == Stop::NotBegun {
            self.session.begin(channel.outbox.ring(&mut cx.outboxes), &cx.environment.limits);
            self.stop = Stop::No;
        }
        self.announce_stop(channel, cx);
        if self.has_failed() || self.due.is_none_or(|due| cx.moment < due) {
            return;
        }
        if !self.session.is_acknowledged() && cx.moment >= self.began + cx.environment.limits.http2.settings_timeout {
            let reason = "SETTINGS were not acknowledged in time";
            let fault = Fault { code: ErrorCode::SETTINGS_TIMEOUT, reason, section: "RFC 9113 §6.5.3" };
            // With streams open it was not idle: it has broken a rule.
            let wait = self.open.is_empty().then_some(WaitReason::Idle);
            return self.fail(&fault, wait, channel, cx);
        }
        if self.partial.is_some_and(|partial| cx.moment >= partial.since + cx.environment.limits.header_timeout) {
            let fault = Fault::calm("a frame did not arrive in time", "RFC 9113 §10.5");
            return self.fail(&fault, Some(WaitReason::SlowHead), channel, cx);
        }
        for at in (0..self.open.len()).rev() {
            // A stream that is stuck may end the connection, and with it all other streams.
            let Some(open) = self.open.get_mut(at) else { return };
            if open.due.is_some_and(|due| cx.moment >= due) {
                open.due = None;
                self.on_due(at, channel, cx);
            }
        }
    }

    /// A stream has waited for long enough.
    fn on_due<S: Socket>(&mut self, at: usize, channel: &mut Channel<S>, cx: &mut LoopContext) {
        match self.open[at].waiting.reason() {
            WaitReason::SlowBody => self.with(at, channel, cx, |open, work| open.on_late(work)),
            WaitReason::Window => self.on_stalled(at, channel, cx),
            // It is asked again.
            _ => self.ask(at),
        }
    }

    /// The client keeps the window of a stream shut, or nearly shut. A connection on which all streams are stuck is of no
    /// use to anybody.
    fn on_stalled<S: Socket>(&mut self, at: usize, channel: &mut Channel<S>, cx: &mut LoopContext) {
        let limits = &cx.environment.limits.http2;
        let (bytes, timeout) = (limits.stall_bytes, limits.stall_timeout);
        if let Some(acknowledged) = self.unfinished_reading(channel, cx)
            && self.open[at].waiting.prolong(acknowledged, bytes.into(), cx.moment)
        {
            return;
        }
        let key = channel.who.log_key(Some(self.open[at].key()));
        cx.complain(
            Level::Info,
            format_args!("{key}: reset: its window let less than {bytes} bytes through in {timeout:?}"),
        );
        let waiting = || self.open.iter().map(|open| &open.waiting);
        if waiting().all(|waiting| waiting.reason() == WaitReason::Window && cx.moment >= waiting.since() + timeout) {
            let fault = Fault::calm("the windows of all streams are shut for too long", "RFC 9113 §10.5");
            return self.fail(&fault, Some(WaitReason::Window), channel, cx);
        }
        self.with(at, channel, cx, |open, work| open.reset(ErrorCode::ENHANCE_YOUR_CALM, work));
    }

    /// Up to where the client has read the stream to it, in bytes, if it has not read all that was sent.
    fn unfinished_reading<S: Socket>(&mut self, channel: &Channel<S>, cx: &mut LoopContext) -> Option<u64> {
        // Streams that wait together are asked about once.
        if self.acknowledged.is_none_or(|(at, _)| at != cx.moment) {
            let told = channel.socket.peer_progress()?;
            cx.counters.syscalls.netlink += 1;
            self.acknowledged = Some((cx.moment, told.ok()?.acknowledged));
        }
        self.acknowledged.map(|(_, acknowledged)| acknowledged).filter(|bytes| *bytes < channel.written_to_socket())
    }

    /// RFC 9113 §6.8: GOAWAY once to say that the server stops, and once more to say which streams are still served.
    fn announce_stop<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) {
        if cx.environment.draining.is_none() {
            return;
        }
        let outbox = channel.outbox.ring(&mut cx.outboxes);
        match self.stop {
            Stop::No => {
                self.session.announce_shutdown(outbox);
                self.stop = Stop::Announced { at: cx.moment, is_idle: self.open.is_empty() && self.leaving.is_empty() };
            }
            Stop::Announced { at, is_idle } if cx.moment >= at + GOAWAY_PAUSE => {
                self.session.shut_down(outbox, ErrorCode::NO_ERROR, SERVER_STOPS, cx.moment);
                self.stop = Stop::Last { is_idle: is_idle && self.session.knows_of_stop() };
            }
            _ => {}
        }
    }

    /// Notes what the connection and its streams wait for now.
    pub(super) fn note_waits<S: Socket>(&mut self, channel: &Channel<S>, cx: &LoopContext) {
        if self.has_failed() {
            // What the outbox holds still goes out, and the connection has a deadline for that.
            (self.partial, self.due) = (None, None);
            return;
        }
        self.note_partial(channel, cx);
        let limits = &cx.environment.limits;
        let settings = (!self.session.is_acknowledged()).then(|| self.began + limits.http2.settings_timeout);
        let partial = self.partial.map(|partial| partial.since + limits.header_timeout);
        let stop = if let Stop::Announced { at, .. } = self.stop { Some(at + GOAWAY_PAUSE) } else { None };
        self.due = [settings, partial, stop].into_iter().flatten().min();
        for open in &mut self.open {
            open.note_wait(&self.session, channel.is_write_blocked(), cx);
            self.due = earliest(self.due, open.due);
        }
    }

    /// Content never stays in the inbox, so what is left there is a part of a frame if the session has asked for more. If it
    /// has not, whole frames may be left, and the client is late with nothing.
    fn note_partial<S: Socket>(&mut self, channel: &Channel<S>, cx: &LoopContext) {
        let has_begun = !channel.inbox_is_empty() || self.session.is_within_field_block();
        if !self.needs_bytes || !has_begun {
            self.partial = None;
            return;
        }
        let start = self.session.frame_start();
        if self.partial.is_none_or(|partial| partial.start != start) {
            self.partial = Some(Partial { start, since: cx.moment });
        }
    }
}

fn earliest(one: Option<Moment>, other: Option<Moment>) -> Option<Moment> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
