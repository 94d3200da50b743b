//! One connection from accept to close: a [`Channel`] to the peer, and a [`Driver`] that knows what the bytes mean.
//!
//! A byte's way: `fill` (socket → inbox), `advance` (inbox → driver → outbox), `flush` (outbox → socket). `settle` is
//! the only place that decides interest, deadline and another drive. Start reading at `drive.rs`.

mod channel;
mod context;
mod deadlines;
mod drive;
mod driver;
mod h1;
mod h2;
mod interest;
mod line_echo;
mod outbox;
mod parts;
mod secured;
mod settle;
mod sink;
mod status;
mod stopping;
mod stream;
mod tcp_echo;
mod telling;
mod upstream;

pub use context::{Environment, LoopContext};
pub use settle::Settled;
pub use telling::{NAME_BYTES_MAX as TOLD_NAME_BYTES_MAX, Telling};

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use log::Level;

use channel::Channel;
use deadlines::Waiting;
use driver::{Driver, Ending, Protocol};
use h2::Http2;
use secured::Secured;
use upstream::Upstream;

use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::log_key::{LogKey, RequestKey};
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::slots::Token;
use crate::base::tls_facts::TlsStatus;
use crate::net::tls::Session;
use crate::net::{Interest, Readiness, Socket};
use crate::observe::close_reason::{ClientEnd, CloseReason, Fault, Why};
use crate::observe::http2::Http2Now;
use crate::observe::keep_alive_race::{Goodbye, KeepAliveRace};
use crate::observe::request_record::RequestRecord;
use crate::observe::timers::Drive;
use crate::observe::verdict::{FirstFin, Phase, Verdict};
use crate::observe::wait_reason::WaitReason;
use crate::protocol::h2::session::Late;
use crate::service::proxy::hub::Hub;
use crate::service::proxy::link::Link;

/// A connection: its channel to the peer, and what the bytes mean.
pub struct Connection<S> {
    channel: Channel<S>,
    driver: Driver,
    life: Life,
    waiting: Waiting,
    /// What the kernel was last asked to report; `None` if it does not know the connection yet.
    armed: Option<Interest>,
    /// Whether the connection stands in the run queue.
    queued: bool,
    /// What was going on when the client ended its direction, if it has.
    client_ended_in: Option<Phase>,
    /// Who has sent the first FIN, if that is not to be seen from how the client has ended its direction.
    first_fin: Option<FirstFin>,
    /// TLS has ended it because of an alert of the client.
    refused_by_client: bool,
    /// What was going on when it ended, if it has.
    ended_in: Option<Phase>,
    crossing: Crossing,
    /// For how long the client's window was shut when the kernel was last asked, in milliseconds.
    told_shut_ms: u32,
}

/// Which connection it is, and who is at its other end.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Its number. No other connection has it or will have it.
    pub id: u64,
    /// Its slot.
    pub token: Token,
    /// Who is at the other end.
    pub peer: Peer,
}

/// Through which listener a connection has come.
#[derive(Debug, Clone, Copy)]
pub struct Entrance {
    /// The listener.
    pub listener: ListenerId,
    /// What the listener is for, or was when it accepted the connection.
    pub role: ListenerRole,
}

impl Entrance {
    /// That of connections which we have opened.
    pub const UPSTREAM: Entrance = Entrance { listener: ListenerId::NONE, role: ListenerRole::Upstream };
}

impl Identity {
    /// How a line of the log about it begins, and about this request on it, if it is about one.
    pub fn log_key(&self, request: Option<RequestKey>) -> LogKey {
        LogKey { client: self.peer.into(), connection: self.id, request }
    }
}

/// How far a connection's life has come. It only moves downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Bytes are received and answered.
    Serving,
    /// Nothing more is received or produced; what the outbox holds still goes out.
    Flushing(Ending),
    /// Our direction has ended. What still arrives is thrown away, because closing with unread input would reset the
    /// connection and destroy the answer on its way.
    Lingering,
    /// Our direction of an idle connection has ended, for this reason. A request may have been on its way: for a moment it is
    /// noticed if one comes.
    IdleLingering(CloseReason),
    /// Over. The event loop frees the slot at the end of its turn.
    Closed(CloseReason),
}

/// Whether a request has crossed our FIN on an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crossing {
    /// There was no such FIN, or nobody has looked.
    Unwatched,
    /// None has come.
    None,
    /// One has.
    Seen,
}

impl<S: Socket> Connection<S> {
    /// A connection that was just accepted by a listener with this role, which decides what its bytes mean.
    /// With a TLS session, they are encrypted.
    pub fn new(who: Identity, entrance: Entrance, socket: S, session: Option<Session>, now: Moment) -> Connection<S> {
        let secured = session.map(|session| Secured::new(session, now));
        Connection {
            channel: Channel::new(socket, who, entrance, secured),
            driver: Driver::of(entrance.role),
            life: Life::Serving,
            waiting: Waiting::new(now),
            armed: None,
            queued: false,
            client_ended_in: None,
            first_fin: None,
            refused_by_client: false,
            ended_in: None,
            crossing: Crossing::Unwatched,
            told_shut_ms: 0,
        }
    }

    /// A connection to an upstream that was just begun, and that finds in this link of the hub what it is to do. It begins with
    /// `header`, which may be empty.
    pub fn to_upstream(
        who: Identity,
        socket: S,
        session: Option<Session>,
        (hub, link): (Rc<Hub>, Rc<Link>),
        header: &[u8],
        cx: &mut LoopContext,
    ) -> Connection<S> {
        let mut connection = Connection::new(who, Entrance::UPSTREAM, socket, session, cx.moment);
        connection.channel.begin_connecting(header, cx);
        connection.driver = Driver::Upstream(Box::new(Upstream::new(hub, link, cx.moment)));
        connection
    }

    /// Marks what an event said. Acting on it is `drive`'s business.
    pub fn on_readiness(&mut self, readiness: Readiness) {
        self.channel.on_readiness(readiness);
    }

    /// Marks that one of the streams was woken, perhaps by a job that has a thread since `job_began`.
    pub fn on_woken(&mut self, stream: u32, job_began: Option<Moment>) {
        self.driver.on_woken(stream, job_began);
    }

    /// Marks that the connection stands in the run queue, and says whether it did not already.
    pub fn on_queued(&mut self) -> bool {
        !std::mem::replace(&mut self.queued, true)
    }

    /// Marks what the kernel is now asked to report.
    pub fn on_armed(&mut self, interest: Interest) {
        self.armed = Some(interest);
    }

    /// The socket, and the interest it is registered with.
    pub fn armed_socket(&mut self) -> (&mut S, Option<Interest>) {
        (&mut self.channel.socket, self.armed)
    }

    /// Ends the connection at once.
    pub fn close(&mut self, reason: CloseReason) {
        if !self.is_closed() {
            self.life = Life::Closed(reason);
        }
    }

    /// Acts on the deadline if it has passed: what that means depends on what the connection waits for. The caller
    /// drives the connection afterwards.
    pub fn expire(&mut self, cx: &mut LoopContext) {
        if self.is_closed() || cx.moment < self.deadline(cx) {
            return;
        }
        match self.waiting.reason() {
            // The driver has a deadline of its own, and the drive that follows acts on it.
            WaitReason::FirstByte | WaitReason::Idle if cx.moment < self.own_deadline(None, cx) => {}
            // The server, which stops, closes early: that is not the client's doing.
            WaitReason::FirstByte | WaitReason::Idle | WaitReason::TlsHandshake
                if cx.environment.draining.is_some() =>
            {
                self.end_idle(CloseReason::ByServer(Why::Drain), cx)
            }
            reason @ (WaitReason::FirstByte | WaitReason::Idle) => self.end_idle(CloseReason::Timeout(reason), cx),
            WaitReason::Lingering if self.lingers_idle() => self.end_idle_linger(),
            WaitReason::SlowLine | WaitReason::Lingering => self.close_timed_out(),
            WaitReason::TlsHandshake => self.cut_as_late(cx, "the TLS handshake took too long"),
            reason @ (WaitReason::SlowHead | WaitReason::SlowBody) => {
                if self.driver.on_late(reason, &mut self.channel, cx).is_err() {
                    self.cut_as_late(cx, "the request content came too slowly");
                }
            }
            WaitReason::SlowRead => self.expire_slow_read(cx),
            // A stream's wait is over, or that of an upstream; the drive that follows acts on it.
            WaitReason::Timer
            | WaitReason::Job
            | WaitReason::Upstream
            | WaitReason::Conversation
            | WaitReason::Window
            | WaitReason::Connecting
            | WaitReason::UpstreamSilent
            | WaitReason::UpstreamSlowRead
            | WaitReason::Relay
            | WaitReason::Pooled => {}
        }
    }

    /// Looks how far the client has really read, and cuts it if that is too little.
    fn expire_slow_read(&mut self, cx: &mut LoopContext) {
        let (taken, has_vanished) = self.taken_by_peer(cx);
        self.waiting.on_look(taken, cx.moment);
        if !self.is_closed() && cx.moment >= self.waiting.slow_read_deadline(self.limits(cx)) {
            if has_vanished {
                self.note_late(cx, "the client has vanished");
                self.close(CloseReason::Vanished(WaitReason::SlowRead));
            } else {
                self.cut_as_late(cx, "the client stopped reading");
            }
        }
    }

    /// How many bytes the peer's kernel has acknowledged, and whether it answers no more. Where the kernel does not tell: how
    /// many bytes our kernel has taken, after a try to give it more. That it has room is told only from a third of the send
    /// buffer on, so a slow reader of a large one would look like somebody who does not read.
    fn taken_by_peer(&mut self, cx: &mut LoopContext) -> (u64, bool) {
        if let Some(told) = self.channel.socket.peer_progress() {
            cx.counters.syscalls.netlink += 1;
            match told {
                Ok(progress) => return (progress.acknowledged, progress.silent_for.is_some()),
                Err(error) => {
                    log::debug!("{}: the kernel does not tell what it has read: {error}", self.log_key())
                }
            }
        }
        self.channel.on_readiness(Readiness { writable: true, ..Readiness::default() });
        self.flush(cx);
        (self.channel.sent(), false)
    }

    fn cut_as_late(&mut self, cx: &mut LoopContext, reason: &str) {
        self.note_late(cx, reason);
        self.close_timed_out();
    }

    /// Says that the connection is cut, and makes the close that follows abortive.
    fn note_late(&mut self, cx: &mut LoopContext, reason: &str) {
        let waited = cx.moment.since(self.waiting.since());
        let (key, sent, queued) = (self.log_key(), self.channel.sent(), self.channel.outbox.len());
        cx.complain(
            Level::Info,
            format_args!("{key}: cut after {waited:.1?}: {reason} ({sent} bytes sent, {queued} queued)"),
        );
        self.channel.abort_on_close();
    }

    /// Ends a connection on which nothing is under way. The drive that follows tells a peer that speaks TLS or HTTP/2.
    fn end_idle(&mut self, reason: CloseReason, cx: &mut LoopContext) {
        self.life = Life::Flushing(self.driver.on_idle_end(reason, &mut self.channel, cx));
    }

    /// Whether it was idle and is over, but for a request that may still come.
    pub fn lingers_idle(&self) -> bool {
        matches!(self.life, Life::IdleLingering(_))
    }

    /// A request that crosses our FIN is not waited for any longer.
    pub fn end_idle_linger(&mut self) {
        if let Life::IdleLingering(reason) = self.life {
            self.close(reason);
        }
    }

    fn close_timed_out(&mut self) {
        self.close(CloseReason::Timeout(self.waiting.reason()));
    }

    /// Whether a request is being received or answered.
    pub fn is_at_work(&self) -> bool {
        match self.life {
            Life::Serving => !self.driver.is_idle() || !self.channel.outbox.is_empty(),
            Life::Flushing(_) => true,
            Life::Lingering | Life::IdleLingering(_) | Life::Closed(_) => false,
        }
    }

    /// Whether it brings to an upstream what a client has said that may have left.
    pub fn delivers(&self) -> bool {
        self.life == Life::Serving && self.driver.delivers()
    }

    /// Prepares for the end of the whole server. A client that has an incomplete response must notice that:
    /// content that ends with the connection would look complete (RFC 9112 §8).
    pub fn abandon(&mut self, cx: &mut LoopContext) {
        if self.driver.status(&self.channel).is_sending || !self.channel.outbox.is_empty() {
            self.channel.abort_on_close();
        } else if self.life == Life::Serving && self.channel.announce_end(cx) {
            // One write has to do: the loop ends with this turn.
            self.flush(cx);
        }
    }

    /// Notes what the drive that was over at `now` has brought about: which responses began to leave, which requests
    /// are over, what held them up.
    pub fn note_drive(&mut self, now: Moment, cx: &mut LoopContext) {
        let drive = Drive { due: cx.moment, began: cx.drive_began, over: now };
        self.driver.note_drive(&self.channel, &drive, cx);
        if self.client_ended_in.is_none() && self.channel.input_ended() {
            self.client_ended_in = Some(self.phase());
        }
        if let Life::Closed(reason) = self.life {
            self.note_end(reason, &drive, cx);
        } else if cx.asks_why {
            self.note_fate(None, cx);
        }
    }

    /// The peer may have vanished of a connection that has waited too long. Otherwise nothing would tell of it that an answer
    /// which was written was never acknowledged.
    #[cold]
    fn blame_network(&mut self, wait: WaitReason, cx: &mut LoopContext) -> CloseReason {
        let is_asked = self.channel.sent() > 0 && wait != WaitReason::SlowRead && cx.fates_left > 0;
        cx.fates_left -= usize::from(is_asked);
        let progress = if is_asked { self.channel.peer_progress(&mut cx.counters) } else { None };
        match progress.and_then(|progress| progress.silent_for) {
            Some(_) => CloseReason::Vanished(wait),
            None => CloseReason::Timeout(wait),
        }
    }

    /// Counts the end, and ends the request records with this drive.
    fn note_end(&mut self, reason: CloseReason, drive: &Drive, cx: &mut LoopContext) {
        let reason = if let CloseReason::Timeout(wait) = reason { self.blame_network(wait, cx) } else { reason };
        let (phase, stopped_in) = (self.phase(), self.driver.stopped_in());
        let reason = if self.refused_by_client { CloseReason::ByClient(ClientEnd::Alert) } else { reason };
        let counted = self.driver.note_close(&self.channel, reason, drive, cx);
        // What has ended the requests may have done so earlier, and then they are over by now.
        let phase = match counted {
            CloseReason::ByClient(_) => stopped_in.or(self.client_ended_in).unwrap_or(phase),
            CloseReason::ByServer(Why::Refusal | Why::GoAway) | CloseReason::CutShort(Fault::Request) => {
                stopped_in.unwrap_or(phase)
            }
            _ => phase,
        };
        self.ended_in = Some(phase);
        self.note_fate(Some(reason), cx);
        let verdict = || (Verdict::on_connection(counted, phase), self.first_fin(reason));
        // Connections that we have opened are counted by their upstream.
        if self.role() != ListenerRole::Upstream {
            cx.counters.count_close(counted, self.role().is_for_everyone().then(verdict));
        }
        if let Some(http2) = self.driver.http2() {
            http2.count_end(&mut cx.counters.http2);
        }
        if self.crossing != Crossing::Unwatched {
            cx.idle_lingerers -= 1;
        }
        self.channel.note_close(counted, cx);
        // From now on, who asks is told the reason that was counted.
        self.life = Life::Closed(counted);
    }

    /// What is going on.
    pub fn phase(&self) -> Phase {
        match self.driver.phase(&self.channel) {
            _ if self.channel.is_in_handshake() => Phase::Handshake,
            Phase::Conversation => Phase::Conversation,
            _ if !self.channel.is_flushed() => Phase::Sending,
            phase => phase,
        }
    }

    /// Notes what became of the responses to requests that are over and were disturbed, if the connection has ended for this
    /// `reason`, and why there was no room for those that were blocked, as far as the kernel tells. It is asked only about
    /// those, and about some of them in each turn, because clients can bring about as many as they like.
    #[cold]
    fn note_fate(&mut self, reason: Option<CloseReason>, cx: &mut LoopContext) {
        let asks_why = std::mem::take(&mut cx.asks_why);
        let is_disturbed =
            |record: &RequestRecord| reason.is_some() && record.disturbance.is_some() && !record.tx.is_empty();
        let asks = asks_why || cx.finished.iter().any(|record| is_disturbed(record));
        if !asks || cx.fates_left == 0 {
            return;
        }
        cx.fates_left -= 1;
        let (progress, was_reset) = match reason {
            Some(reason) => self.channel.fate(reason, &mut cx.counters),
            None => (self.channel.peer_progress(&mut cx.counters), false),
        };
        let shut_ms = progress.map_or(0, |progress| progress.window_was_shut.as_millis() as u32);
        // The kernel takes a window for shut as long as it hears nothing of it.
        let silent_for = progress.and_then(|progress| progress.silent_for).unwrap_or_default();
        let window_was_shut = Duration::from_millis(shut_ms.saturating_sub(self.told_shut_ms).into());
        let window_was_shut = window_was_shut.saturating_sub(silent_for);
        self.told_shut_ms = self.told_shut_ms.max(shut_ms);
        for record in &mut cx.finished {
            if let Some(progress) = progress {
                record.note_peer(window_was_shut, progress.acknowledged);
            }
            let (tx, is_disturbed) = (record.tx.clone(), is_disturbed(record));
            let Some(disturbance) = record.disturbance.as_mut().filter(|_| is_disturbed) else { continue };
            disturbance.was_reset = was_reset;
            disturbance.acknowledged =
                progress.map(|progress| progress.acknowledged.clamp(tx.start, tx.end) - tx.start);
        }
    }

    /// Returns the rings. The connection must be closed; its end is noted at `now`, if no drive has done so.
    pub fn give_back(&mut self, now: Moment, cx: &mut LoopContext) {
        if let Life::Closed(reason) = self.life
            && self.ended_in.is_none()
        {
            self.note_end(reason, &Drive { due: now, began: now, over: now }, cx);
        }
        self.channel.give_back_all(cx);
    }

    /// Who ended its direction first. A close sends a FIN, if it does not reset the connection.
    fn first_fin(&self, reason: CloseReason) -> FirstFin {
        let is_reset = self.channel.is_aborted() || matches!(reason, CloseReason::Broken(_));
        match self.first_fin {
            Some(first) => first,
            None if self.channel.client_end() == Some(ClientEnd::Fin) => FirstFin::Client,
            None if is_reset => FirstFin::Nobody,
            None => FirstFin::Server,
        }
    }

    /// Who ended the connection, how, and in which phase, if it is over.
    pub fn verdict(&self) -> Option<Verdict> {
        let (reason, phase) = (self.close_reason()?, self.ended_in?);
        Some(match self.role() {
            ListenerRole::Upstream => Verdict::on_upstream_connection(reason, phase),
            _ => Verdict::on_connection(reason, phase),
        })
    }

    /// Requests that came when the client had been told that there are no more answers, if any did. `wall` tells what time it
    /// is now.
    pub fn race(&self, cx: &LoopContext, wall: impl FnOnce() -> SystemTime) -> Option<KeepAliveRace> {
        let (goodbye, Late { said_at, requests, first_at }) = match self.driver.http2() {
            Some(http2) => (Goodbye::GoAway, http2.late()?),
            None => (Goodbye::Fin, self.late(cx.moment)?),
        };
        let (wall, ago) = (wall(), cx.moment.since(said_at));
        let said_wall = wall.checked_sub(ago).unwrap_or(wall);
        Some(KeepAliveRace { goodbye, said_at: said_wall, requests, first_after: first_at?.since(said_at) })
    }

    /// The request that has crossed our FIN, if one has. That ends the connection, so nobody asks in a later turn.
    fn late(&self, now: Moment) -> Option<Late> {
        let said_at = if self.waiting.reason() == WaitReason::Lingering { self.waiting.since() } else { now };
        (self.crossing == Crossing::Seen).then_some(Late { said_at, requests: 1, first_at: Some(now) })
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.life, Life::Closed(_))
    }

    /// Why the connection is over, if it is.
    pub fn close_reason(&self) -> Option<CloseReason> {
        match self.life {
            Life::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    /// What the connection waits for.
    pub fn wait_reason(&self) -> WaitReason {
        self.waiting.reason()
    }

    /// Which connection it is, and who is at its other end.
    pub fn who(&self) -> &Identity {
        &self.channel.who
    }

    /// How a line of the log about it begins. If it has one request at a time, that is about the present one, too.
    fn log_key(&self) -> LogKey {
        let request = self.record().filter(|record| record.stream == 0);
        self.channel.who.log_key(request.map(RequestRecord::key))
    }

    /// The role of the listener that accepted it.
    pub fn role(&self) -> ListenerRole {
        self.channel.role
    }

    /// Whether the peer has ended TLS without saying so.
    pub fn is_truncated(&self) -> bool {
        self.channel.is_truncated()
    }

    /// What is known of TLS on it, if it has TLS.
    pub fn tls(&self) -> Option<TlsStatus> {
        self.channel.tls()
    }

    /// The request whose response is on its way, or that is being received.
    pub fn record(&self) -> Option<&RequestRecord> {
        self.driver.status(&self.channel).record
    }

    /// The name of the protocol that it speaks.
    pub fn protocol(&self) -> &'static str {
        self.driver.status(&self.channel).protocol
    }

    /// Whether its client is to blame for its end, or has misbehaved, or has vanished while no response was being sent: of a
    /// slow read there is a line already.
    pub fn ends_badly(&self) -> bool {
        let has_vanished =
            matches!(self.close_reason(), Some(CloseReason::Vanished(wait)) if wait != WaitReason::SlowRead);
        has_vanished || self.driver.http2().is_some_and(Http2::ends_badly)
    }

    /// What the line of its end says besides the reason.
    pub fn farewell(&self, now: Moment) -> String {
        self.driver.http2().map_or_else(String::new, |http2| http2.farewell(now))
    }

    /// Adds to what was counted on connections that are open and speak HTTP/2.
    pub fn add_to(&self, sum: &mut Http2Now) {
        if let Some(http2) = self.driver.http2() {
            http2.add_to(sum);
        }
    }

    /// How many requests have been answered.
    pub fn requests(&self) -> u64 {
        self.driver.status(&self.channel).answered
    }
}

#[cfg(test)]
mod tests;
