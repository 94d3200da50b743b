//! One connection from accept to close.
//!
//! A byte's way: `fill` (socket → inbox), `receive` (inbox → protocol → exchange), `produce` (exchange → protocol →
//! outbox), `flush` (outbox → socket), and `settle`, the only place that decides interest, deadline, another drive and
//! the end. Start reading at `drive.rs`.

mod channel;
mod deadlines;
mod drive;
mod exchange;
mod interest;
mod outbox;
mod pieces;
mod settle;
mod status;
mod worker;

pub use settle::Settled;
pub use worker::Worker;

use crate::observe::close_reason::CloseReason;
use crate::observe::request_record::{Records, RequestRecord};
use crate::observe::wait_reason::WaitReason;
use channel::Channel;
use deadlines::Waiting;
use exchange::Work;
use log::Level;

use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::slots::Token;
use crate::http::status::Status;
use crate::net::{Interest, Readiness, Socket};
use crate::protocol::h1::server::{Sending, Server};

/// A connection: its channel to the peer, its protocol, and the request being answered.
pub struct Connection<S> {
    /// Never used for another connection.
    id: u64,
    token: Token,
    role: ListenerRole,
    channel: Channel<S>,
    protocol: Server,
    work: Work,
    life: Life,
    /// No request, and no more of this one, is wanted after what is being sent: it was refused or came too late.
    receiving_stopped: bool,
    /// The client did not ask for the end that the response announces: more requests may be on their way.
    ends_unasked: bool,
    /// How many requests have been answered before the current one.
    ordinal: u64,
    records: Records,
    /// The wait that lasted too long and for which an answer, the last one, says so.
    late: Option<WaitReason>,
    waiting: Waiting,
    /// What the kernel was last asked to report; `None` if it does not know the connection yet.
    armed: Option<Interest>,
    /// Whether the connection stands in the run queue.
    queued: bool,
}

/// How far a connection's life has come. It only moves downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Requests are received and answered.
    Serving,
    /// Nothing more is received or produced; what the outbox holds still goes out.
    Flushing,
    /// Our direction has ended; what still arrives is thrown away, because closing with unread input would reset the
    /// connection and destroy the answer on its way.
    Lingering,
    /// Over. The event loop frees the slot at the end of its turn.
    Closed(CloseReason),
}

impl<S: Socket> Connection<S> {
    /// A connection that was just accepted.
    pub fn new(id: u64, token: Token, role: ListenerRole, socket: S, peer: Peer, now: Moment) -> Connection<S> {
        Connection {
            id,
            token,
            role,
            channel: Channel::new(socket, peer),
            protocol: Server::new(),
            work: Work::Idle,
            life: Life::Serving,
            receiving_stopped: false,
            ends_unasked: false,
            ordinal: 0,
            records: Records::default(),
            late: None,
            waiting: Waiting::new(now),
            armed: None,
            queued: false,
        }
    }

    /// Marks what an event said. Acting on it is `drive`'s business.
    pub fn on_readiness(&mut self, readiness: Readiness) {
        self.channel.on_readiness(readiness);
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

    /// Acts on the deadline if it has passed: what that means depends on what the connection was waiting for. The
    /// caller drives the connection afterwards.
    pub fn expire<V>(&mut self, worker: &mut Worker<V>) {
        if self.is_closed() || worker.moment < self.deadline(worker) {
            return;
        }
        match self.waiting.reason() {
            // The server, which stops, has lost its patience early: that is not the client's doing.
            WaitReason::FirstByte | WaitReason::Idle if worker.around.draining.is_some() => {
                self.close(CloseReason::ByServer)
            }
            WaitReason::FirstByte | WaitReason::Idle | WaitReason::Lingering => self.close_timed_out(),
            WaitReason::SlowHead => self.refuse_as_late(worker, "the request head took too long"),
            WaitReason::SlowBody => self.expire_body(worker),
            WaitReason::SlowRead if self.has_read(worker) => {}
            WaitReason::SlowRead => self.cut_as_late(worker, "the client stopped reading"),
            // The exchange's own wait is over; the drive that follows asks it again.
            WaitReason::Timer | WaitReason::Job | WaitReason::Conversation => {}
        }
    }

    /// Whether the client has read something after all. The kernel tells of room only when there is a lot of it, on Linux
    /// a third of the send buffer: who reads slowly from a large one is not to be taken for somebody who does not read.
    fn has_read<V>(&mut self, worker: &mut Worker<V>) -> bool {
        self.channel.on_readiness(Readiness { writable: true, ..Readiness::default() });
        self.flush(worker).is_something() || self.is_closed()
    }

    fn expire_body<V>(&mut self, worker: &mut Worker<V>) {
        const REASON: &str = "the request content came too slowly";
        if self.may_still_answer() {
            self.refuse_as_late(worker, REASON);
        } else if self.has_answered() {
            worker.complain(Level::Info, format_args!("{}: closed after the response: {REASON}", self.channel.peer));
            self.late = Some(WaitReason::SlowBody);
            self.receiving_stopped = true;
        } else {
            self.cut_as_late(worker, REASON);
        }
    }

    /// RFC 9110 §15.5.9: the answer to a request that did not arrive in time.
    fn refuse_as_late<V>(&mut self, worker: &mut Worker<V>, reason: &str) {
        self.late = Some(self.waiting.reason());
        self.refuse(worker, Status::REQUEST_TIMEOUT, reason, "RFC 9110 §15.5.9");
    }

    fn cut_as_late<V>(&mut self, worker: &mut Worker<V>, reason: &str) {
        let waited = worker.moment.since(self.waiting.since());
        let queued = self.channel.outbox.len();
        worker.complain(
            Level::Info,
            format_args!(
                "{}: cut after {waited:.1?}: {reason} ({} bytes sent, {queued} queued)",
                self.channel.peer,
                self.channel.sent()
            ),
        );
        self.channel.abort_on_close();
        self.close_timed_out();
    }

    /// Whether a request is being received or answered.
    pub fn is_at_work(&self) -> bool {
        match self.life {
            Life::Serving => !self.is_between_requests() || !self.channel.outbox.is_empty(),
            Life::Flushing => true,
            Life::Lingering | Life::Closed(_) => false,
        }
    }

    /// Prepares for the end of the whole server. Whoever has half an answer must not take it for a whole one: content
    /// that ends with the connection would look complete (RFC 9112 §8).
    pub fn abandon(&mut self) {
        if self.protocol.sending() == Sending::Content || !self.channel.outbox.is_empty() {
            self.channel.abort_on_close();
        }
    }

    fn close_timed_out(&mut self) {
        self.close(CloseReason::Timeout(self.waiting.reason()));
    }

    /// Returns what was lent to the connection, which must be closed.
    pub fn give_back<V>(&mut self, worker: &mut Worker<V>) {
        self.work = Work::Idle;
        if let Some(reason) = self.close_reason() {
            worker.stats.count_close(self.late.map_or(reason, CloseReason::Timeout));
            self.end_rx();
            self.records.cut(reason, self.channel.sent(), &mut worker.finished);
        }
        self.channel.give_back_all(&mut worker.inboxes, &mut worker.outboxes);
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.close_reason().is_some()
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

    /// Which door it came through.
    pub fn role(&self) -> ListenerRole {
        self.role
    }

    /// Its number, which no other connection has or will have.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The request that is being received or answered.
    pub fn record(&self) -> Option<&RequestRecord> {
        self.records.current()
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        self.channel.peer
    }

    /// How many requests have been answered.
    pub fn requests(&self) -> u64 {
        self.ordinal
    }
}

#[cfg(test)]
mod tests;
