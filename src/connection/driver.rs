//! What the bytes of a connection mean. A new protocol is a file with a type that implements [`Protocol`], and a variant
//! of [`Driver`].

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::LoopContext;
use super::channel::Channel;
use super::h1::Http1;
use super::h2::Http2;
use super::line_echo::LineEcho;
use super::tcp_echo::TcpEcho;
use super::upstream::Upstream;
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::net::Socket;
use crate::observe::close_reason::{CloseReason, Fault, Why};
use crate::observe::report::Progress;
use crate::observe::request_record::RequestRecord;
use crate::observe::timers::Drive;
use crate::observe::verdict::Phase;
use crate::observe::wait_reason::WaitReason;
use crate::service::Service;

/// The protocol that a connection speaks.
pub(super) enum Driver {
    Http1(Http1),
    Http2(Box<Http2>),
    TcpEcho(TcpEcho),
    LineEcho(LineEcho),
    Upstream(Box<Upstream>),
}

/// The response is incomplete because of this, and the client must notice that: the connection is to be reset.
#[derive(Debug)]
pub(super) struct Cut(pub(super) Fault);

/// How a connection that has nothing more to receive or to produce ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client is known to have nothing more to send, so the connection may be closed at once.
    AtOnce,
    /// Our direction ends, and what the client still sends is thrown away.
    InOrder,
    /// The response is incomplete and must not look complete: the connection is reset.
    Reset(Fault),
    /// The client has been idle for too long, for this reason. It may be told so, and nothing more is expected of it.
    Idle(CloseReason),
    /// Nobody needs what is left of it: the connection is reset, unless all of it has left.
    Unneeded,
}

/// What a protocol waits for, as far as the channel is not what holds it up.
#[derive(Debug, Clone, Copy)]
pub(super) struct DriverWait {
    pub(super) reason: WaitReason,
    /// Which wait for that reason it is. Two in a row are told apart by this number, which may wrap.
    pub(super) ordinal: u32,
    /// When it wants to be asked again.
    pub(super) timer: Option<Instant>,
    /// All further input is ignored: the only thing left to wait for is that the client reads.
    pub(super) ignores_input: bool,
    /// When it wants to be driven whatever it waits for: the earliest deadline of its streams. It acts on them itself.
    pub(super) due: Option<Moment>,
}

/// How far a protocol has come, for people and programs that ask.
pub(super) struct DriverStatus<'a> {
    /// Its name.
    pub(super) protocol: &'static str,
    /// In one word or two.
    pub(super) state: &'static str,
    /// How many requests have been answered.
    pub(super) answered: u64,
    /// The request whose response is on its way, or that is being received.
    pub(super) record: Option<&'a RequestRecord>,
    /// A response has begun that is not complete.
    pub(super) is_sending: bool,
}

/// What a connection must know of its protocol. The defaults fit a protocol without requests.
pub(super) trait Protocol {
    /// Takes from the inbox and adds to the outbox until neither moves. Says whether anything did.
    fn advance<S: Socket>(
        &mut self,
        channel: &mut Channel<S>,
        service: &mut impl Service,
        cx: &mut LoopContext,
    ) -> Result<bool, Cut>;

    /// Ends what is open and says how the connection ends, if nothing more is to be received or produced. What the outbox
    /// holds still goes out.
    fn finish<S: Socket>(&mut self, channel: &Channel<S>) -> Option<Ending>;

    /// Whether it waits for the client to begin something, and has nothing under way.
    fn is_idle(&self) -> bool;

    /// Whether it brings to an upstream what a client has said that may have left.
    fn delivers(&self) -> bool {
        false
    }

    /// What it waits for.
    fn wait<S: Socket>(&self, channel: &Channel<S>) -> DriverWait;

    /// The limits of the request that waits for this, if those of all are `limits`.
    fn limits<'a>(&'a self, _reason: WaitReason, limits: &'a Limits) -> &'a Limits {
        limits
    }

    /// Marks that one of its streams was woken, perhaps by a job that has a thread since `job_began`. A protocol with one stream
    /// asks it in every drive anyway.
    fn on_woken(&mut self, _stream: u32, _job_began: Option<Moment>) {}

    /// The connection is idle and ends for this reason: the client may be told. Says how it ends.
    fn on_idle_end<S: Socket>(
        &mut self,
        reason: CloseReason,
        _channel: &mut Channel<S>,
        _cx: &mut LoopContext,
    ) -> Ending {
        Ending::Idle(reason)
    }

    /// Throws away what has arrived behind the end of our direction of an idle connection. Says whether a request was among it,
    /// or what the client would have sent instead.
    fn discard_late<S: Socket>(&mut self, channel: &mut Channel<S>, _cx: &LoopContext) -> bool {
        let is_late = channel.has_input_beyond_lines();
        channel.discard();
        is_late
    }

    /// How much longer than others its idle connections live when the server stops, because there is something to say.
    fn farewell_time(&self, _limits: &Limits) -> Duration {
        Duration::ZERO
    }

    /// The client is late with the head or the content of a request.
    fn on_late<S: Socket>(
        &mut self,
        _reason: WaitReason,
        _channel: &mut Channel<S>,
        _cx: &mut LoopContext,
    ) -> Result<(), Cut> {
        Err(Cut(Fault::Request))
    }

    /// Writing has failed for this reason. Says whether the connection lives on, because what has arrived is still of use. Nothing
    /// is written any more then.
    fn on_write_error<S: Socket>(&mut self, _kind: ErrorKind, _channel: &Channel<S>) -> bool {
        false
    }

    /// Why it ends the connection, if it does.
    fn why(&self) -> Why {
        Why::Drain
    }

    /// What was going on when a rule was broken, or when the client's end has cut a request, if that has ended the
    /// connection.
    fn stopped_in(&self) -> Option<Phase> {
        None
    }

    /// What is going on on the connection.
    fn phase<S: Socket>(&self, channel: &Channel<S>) -> Phase {
        if channel.received() == 0 { Phase::Silent } else { Phase::Conversation }
    }

    /// How far it has come.
    fn status<S: Socket>(&self, channel: &Channel<S>) -> DriverStatus<'_>;

    /// How far the request has come whose record its status has, for those who ask at `now`.
    fn progress<S: Socket>(&self, _channel: &Channel<S>, _now: Moment) -> Progress {
        Progress::default()
    }

    /// A drive is over: notes in the request records what it has brought about.
    fn note_drive<S: Socket>(&mut self, _channel: &Channel<S>, _drive: &Drive, _cx: &mut LoopContext) {}

    /// The connection has ended for this reason with this drive, and with it the requests that are not over. Returns the
    /// reason as it counts: a wait may have been the cause.
    fn note_close<S: Socket>(
        &mut self,
        _channel: &Channel<S>,
        reason: CloseReason,
        _drive: &Drive,
        _cx: &mut LoopContext,
    ) -> CloseReason {
        reason
    }
}

impl Driver {
    /// What the connections of a listener with this role speak.
    pub(super) fn of(role: ListenerRole) -> Driver {
        match role {
            // Nobody listens for upstreams: their driver is set when a connection to one is begun.
            ListenerRole::Http | ListenerRole::Https | ListenerRole::Admin | ListenerRole::Upstream => {
                Driver::Http1(Http1::new())
            }
            ListenerRole::TcpEcho => Driver::TcpEcho(TcpEcho::default()),
            ListenerRole::LineEcho => Driver::LineEcho(LineEcho::default()),
        }
    }

    /// The driver of HTTP/2, if that is spoken.
    pub(super) fn http2(&self) -> Option<&Http2> {
        match self {
            Driver::Http2(http2) => Some(http2),
            Driver::Http1(_) | Driver::TcpEcho(_) | Driver::LineEcho(_) | Driver::Upstream(_) => None,
        }
    }

    /// The driver of a connection to an upstream, if it is one.
    pub(super) fn upstream(&self) -> Option<&Upstream> {
        match self {
            Driver::Upstream(upstream) => Some(upstream),
            Driver::Http1(_) | Driver::Http2(_) | Driver::TcpEcho(_) | Driver::LineEcho(_) => None,
        }
    }

    /// Goes over from HTTP/1 to HTTP/2 before anything was received, if the client has agreed on that over TLS, or begins
    /// with the preface of HTTP/2 (RFC 9113 §3.2, §3.3).
    #[inline]
    pub(super) fn choose<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &mut LoopContext) {
        if let Driver::Http1(http1) = self
            && http1.is_untouched()
            && Http2::is_spoken(channel, &cx.environment.limits)
        {
            *self = Driver::Http2(Box::new(Http2::new(cx)));
            cx.counters.http2.connections += 1;
        }
    }
}

/// Evaluates the same expression for whichever protocol it is.
macro_rules! each {
    ($driver:expr, $protocol:ident => $result:expr) => {
        match $driver {
            Driver::Http1($protocol) => $result,
            Driver::Http2($protocol) => $result,
            Driver::TcpEcho($protocol) => $result,
            Driver::LineEcho($protocol) => $result,
            Driver::Upstream($protocol) => $result,
        }
    };
}

impl Protocol for Driver {
    #[inline]
    fn advance<S: Socket>(
        &mut self,
        channel: &mut Channel<S>,
        service: &mut impl Service,
        cx: &mut LoopContext,
    ) -> Result<bool, Cut> {
        each!(self, protocol => protocol.advance(channel, service, cx))
    }

    #[inline]
    fn finish<S: Socket>(&mut self, channel: &Channel<S>) -> Option<Ending> {
        each!(self, protocol => protocol.finish(channel))
    }

    fn is_idle(&self) -> bool {
        each!(self, protocol => protocol.is_idle())
    }

    fn delivers(&self) -> bool {
        each!(self, protocol => protocol.delivers())
    }

    #[inline]
    fn wait<S: Socket>(&self, channel: &Channel<S>) -> DriverWait {
        each!(self, protocol => protocol.wait(channel))
    }

    fn limits<'a>(&'a self, reason: WaitReason, limits: &'a Limits) -> &'a Limits {
        each!(self, protocol => protocol.limits(reason, limits))
    }

    fn on_woken(&mut self, stream: u32, job_began: Option<Moment>) {
        each!(self, protocol => protocol.on_woken(stream, job_began));
    }

    fn on_idle_end<S: Socket>(
        &mut self,
        reason: CloseReason,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) -> Ending {
        each!(self, protocol => protocol.on_idle_end(reason, channel, cx))
    }

    fn discard_late<S: Socket>(&mut self, channel: &mut Channel<S>, cx: &LoopContext) -> bool {
        each!(self, protocol => protocol.discard_late(channel, cx))
    }

    fn on_late<S: Socket>(
        &mut self,
        reason: WaitReason,
        channel: &mut Channel<S>,
        cx: &mut LoopContext,
    ) -> Result<(), Cut> {
        each!(self, protocol => protocol.on_late(reason, channel, cx))
    }

    fn on_write_error<S: Socket>(&mut self, kind: ErrorKind, channel: &Channel<S>) -> bool {
        each!(self, protocol => protocol.on_write_error(kind, channel))
    }

    fn farewell_time(&self, limits: &Limits) -> Duration {
        each!(self, protocol => protocol.farewell_time(limits))
    }

    fn why(&self) -> Why {
        each!(self, protocol => protocol.why())
    }

    fn stopped_in(&self) -> Option<Phase> {
        each!(self, protocol => protocol.stopped_in())
    }

    fn phase<S: Socket>(&self, channel: &Channel<S>) -> Phase {
        each!(self, protocol => protocol.phase(channel))
    }

    fn status<S: Socket>(&self, channel: &Channel<S>) -> DriverStatus<'_> {
        each!(self, protocol => protocol.status(channel))
    }

    fn progress<S: Socket>(&self, channel: &Channel<S>, now: Moment) -> Progress {
        each!(self, protocol => protocol.progress(channel, now))
    }

    fn note_drive<S: Socket>(&mut self, channel: &Channel<S>, drive: &Drive, cx: &mut LoopContext) {
        each!(self, protocol => protocol.note_drive(channel, drive, cx))
    }

    fn note_close<S: Socket>(
        &mut self,
        channel: &Channel<S>,
        reason: CloseReason,
        drive: &Drive,
        cx: &mut LoopContext,
    ) -> CloseReason {
        each!(self, protocol => protocol.note_close(channel, reason, drive, cx))
    }
}
