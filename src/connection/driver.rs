//! What the bytes of a connection mean. A new protocol is a file with a type that implements [`Protocol`], and a variant
//! of [`Driver`].

use std::time::Instant;

use super::LoopContext;
use super::channel::Channel;
use super::h1::Http1;
use super::line_echo::LineEcho;
use super::tcp_echo::TcpEcho;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::net::Socket;
use crate::observe::close_reason::CloseReason;
use crate::observe::request_record::RequestRecord;
use crate::observe::wait_reason::WaitReason;
use crate::service::Service;

/// The protocol that a connection speaks.
pub(super) enum Driver {
    Http1(Http1),
    TcpEcho(TcpEcho),
    LineEcho(LineEcho),
}

/// The answer is incomplete and must be seen to be: the connection is to be reset.
#[derive(Debug)]
pub(super) struct Cut;

/// What a connection must know of its protocol. The defaults fit a protocol without requests.
pub(super) trait Protocol {
    /// Its name, as people are told.
    fn name(&self) -> &'static str;

    /// Takes from the inbox and adds to the outbox until neither moves. Says whether anything did.
    fn advance<S: Socket>(
        &mut self,
        channel: &mut Channel<S>,
        service: &mut impl Service,
        cx: &mut LoopContext,
    ) -> Result<bool, Cut>;

    /// Whether nothing more is to be received or produced. What the outbox holds still goes out.
    fn is_finished<S: Socket>(&self, channel: &Channel<S>) -> bool;

    /// Closes what is open, when it is finished.
    fn finish<S: Socket>(&mut self, _channel: &Channel<S>) {}

    /// Whether, when it is finished, the client is known to have nothing more to send.
    fn may_close_at_once(&self) -> bool {
        false
    }

    /// Whether it waits for the client to begin something, and has nothing under way.
    fn is_idle(&self) -> bool;

    /// Whether a response has begun that is not complete.
    fn is_sending(&self) -> bool {
        false
    }

    /// What it waits for, as far as the channel is not what holds it up, and which wait of that kind it is: two in a row
    /// for the same reason are told apart by this number, which may wrap.
    fn wait<S: Socket>(&self, channel: &Channel<S>) -> (WaitReason, u32);

    /// When it wants to be asked again.
    fn timer(&self) -> Option<Instant> {
        None
    }

    /// Whether all further input is ignored.
    fn ignores_input(&self) -> bool {
        false
    }

    /// The client is late with the head or the content of a request.
    fn on_late<S: Socket>(
        &mut self,
        _reason: WaitReason,
        _channel: &mut Channel<S>,
        _cx: &mut LoopContext,
    ) -> Result<(), Cut> {
        Err(Cut)
    }

    /// How far it has come, in one word or two.
    fn state<S: Socket>(&self, channel: &Channel<S>) -> &'static str;

    /// The request whose response is on its way, or that is being received.
    fn record(&self) -> Option<&RequestRecord> {
        None
    }

    /// How many requests have been answered.
    fn answered(&self) -> u64 {
        0
    }

    /// A drive was over at `now`: notes in the request records what it has brought about.
    fn note_drive<S: Socket>(&mut self, _channel: &Channel<S>, _now: Moment, _cx: &mut LoopContext) {}

    /// The connection has ended: the requests that are not over have ended with it.
    fn note_close<S: Socket>(
        &mut self,
        _channel: &Channel<S>,
        _reason: CloseReason,
        _now: Moment,
        _cx: &mut LoopContext,
    ) {
    }

    /// Why a connection that ended for this reason is said to have ended: a wait may be the cause.
    fn closes_as(&self, reason: CloseReason) -> CloseReason {
        reason
    }
}

impl Driver {
    /// What the connections of a listener with this role speak.
    pub(super) fn of(role: ListenerRole) -> Driver {
        match role {
            ListenerRole::Http | ListenerRole::Admin => Driver::Http1(Http1::new()),
            ListenerRole::TcpEcho => Driver::TcpEcho(TcpEcho::default()),
            ListenerRole::LineEcho => Driver::LineEcho(LineEcho::default()),
        }
    }
}

/// The same of whichever protocol it is.
macro_rules! each {
    ($driver:expr, $protocol:ident => $result:expr) => {
        match $driver {
            Driver::Http1($protocol) => $result,
            Driver::TcpEcho($protocol) => $result,
            Driver::LineEcho($protocol) => $result,
        }
    };
}

impl Protocol for Driver {
    fn name(&self) -> &'static str {
        each!(self, protocol => protocol.name())
    }

    #[inline]
    fn advance<S: Socket>(
        &mut self,
        channel: &mut Channel<S>,
        service: &mut impl Service,
        cx: &mut LoopContext,
    ) -> Result<bool, Cut> {
        each!(self, protocol => protocol.advance(channel, service, cx))
    }

    fn is_finished<S: Socket>(&self, channel: &Channel<S>) -> bool {
        each!(self, protocol => protocol.is_finished(channel))
    }

    fn finish<S: Socket>(&mut self, channel: &Channel<S>) {
        each!(self, protocol => protocol.finish(channel))
    }

    fn may_close_at_once(&self) -> bool {
        each!(self, protocol => protocol.may_close_at_once())
    }

    fn is_idle(&self) -> bool {
        each!(self, protocol => protocol.is_idle())
    }

    fn is_sending(&self) -> bool {
        each!(self, protocol => protocol.is_sending())
    }

    fn wait<S: Socket>(&self, channel: &Channel<S>) -> (WaitReason, u32) {
        each!(self, protocol => protocol.wait(channel))
    }

    fn timer(&self) -> Option<Instant> {
        each!(self, protocol => protocol.timer())
    }

    fn ignores_input(&self) -> bool {
        each!(self, protocol => protocol.ignores_input())
    }

    fn on_late<S: Socket>(
        &mut self,
        reason: WaitReason,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) -> Result<(), Cut> {
        each!(self, protocol => protocol.on_late(reason, channel, cx))
    }

    fn state<S: Socket>(&self, channel: &Channel<S>) -> &'static str {
        each!(self, protocol => protocol.state(channel))
    }

    fn record(&self) -> Option<&RequestRecord> {
        each!(self, protocol => protocol.record())
    }

    fn answered(&self) -> u64 {
        each!(self, protocol => protocol.answered())
    }

    fn note_drive<S: Socket>(&mut self, channel: &Channel<S>, now: Moment, cx: &mut LoopContext) {
        each!(self, protocol => protocol.note_drive(channel, now, cx))
    }

    fn note_close<S: Socket>(&mut self, channel: &Channel<S>, reason: CloseReason, now: Moment, cx: &mut LoopContext) {
        each!(self, protocol => protocol.note_close(channel, reason, now, cx))
    }

    fn closes_as(&self, reason: CloseReason) -> CloseReason {
        each!(self, protocol => protocol.closes_as(reason))
    }
}
