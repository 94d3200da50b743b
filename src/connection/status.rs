//! What can be told about a connection from inside.

use std::net::SocketAddr;
use std::time::SystemTime;

use super::driver::Protocol;
use super::upstream::Upstream;
use super::{Connection, Life, LoopContext};
use crate::base::moment::Moment;
use crate::base::ring::RingBuffer;
use crate::net::Socket;
use crate::net::capture::live::{Beginning, Closed, LiveCaptures};
use crate::observe::close_reason::CloseReason;
use crate::observe::keep_alive_race::KeepAliveRace;
use crate::observe::past::PastConnection;
use crate::observe::report::{ConnectionStatus, HalfStatus, UpstreamHalf};
use crate::observe::wait_reason::WaitReason;

impl<S: Socket> Connection<S> {
    /// How it stands, for people and programs that ask, with at most `streams_max` of its streams. `wall` is the time now.
    pub fn status(&self, streams_max: usize, cx: &LoopContext, wall: SystemTime) -> ConnectionStatus {
        let now = cx.moment;
        let (who, interest) = (self.channel.who, self.armed.unwrap_or_default());
        let status = self.driver.status(&self.channel);
        let inbox = self.channel.inbox.as_ref().map_or((0, 0), |ring| (ring.len(), RingBuffer::capacity(ring)));
        ConnectionStatus {
            id: who.id,
            peer: who.peer,
            local: self.channel.socket.local_address(),
            protocol: status.protocol,
            state: match self.life {
                Life::Serving => status.state,
                Life::Flushing(_) => "flushing",
                Life::Lingering | Life::IdleLingering(_) => "lingering",
                Life::Closed(_) => "closed",
            },
            wait: self.waiting.reason().name(),
            waited: now.since(self.waiting.since()),
            held: now.since(self.waiting.held_since()),
            taken: self.waiting.last_look().map(|(bytes, at)| (bytes, now.since(at))),
            job: None,
            left: self.ends_at(cx).since(now),
            asks_read: interest.read,
            asks_write: interest.write,
            inbox,
            outbox: (self.channel.outbox.len(), self.channel.outbox.capacity()),
            ordinal: status.record.map_or(status.answered + 1, |record| record.ordinal),
            received: self.channel.received(),
            sent: self.channel.sent(),
            tls: self.channel.tls(),
            http2: self.driver.http2().map(|http2| Box::new(http2.http2_status(streams_max, self.channel.sent(), now))),
            upstream: status
                .record
                .filter(|_| self.driver.http2().is_none())
                .and_then(|record| record.upstream.as_deref())
                .map(UpstreamHalf::of),
            serves: self.driver.upstream().and_then(Upstream::serves).map(Box::new),
            record: status.record.map(|record| record.snapshot(now)),
            race: self.race(cx, || wall),
            progress: self.driver.progress(&self.channel, now),
        }
    }

    /// How it stands, if it leads to an upstream, for whoever tells of the request that it serves.
    pub fn half_status(&self, now: Moment) -> HalfStatus {
        HalfStatus {
            state: self.driver.status(&self.channel).state,
            wait: self.waiting.reason().name(),
            waited: now.since(self.waiting.since()),
        }
    }

    /// What is to be kept of it, with the requests that came too late, if it is over.
    pub fn past(&self, ended_at: Moment, race: Option<KeepAliveRace>) -> Option<PastConnection> {
        Some(PastConnection {
            id: self.channel.who.id,
            peer: self.channel.who.peer,
            protocol: self.protocol(),
            ended_at,
            verdict: self.verdict()?,
            race,
            reason: self.close_reason()?,
            requests: self.requests(),
            received: self.channel.received(),
            sent: self.channel.sent(),
            tls: self.channel.tls().map(Box::new),
        })
    }

    /// What a capture of it that begins now has to know.
    pub fn capture_beginning(&self) -> Beginning {
        Beginning {
            connection: self.channel.who.id,
            local: self.channel.socket.local_address(),
            peer: self.channel.who.peer,
            role: self.channel.role,
            protocol: self.protocol(),
            is_secured: self.channel.secured.is_some(),
            received: self.channel.received(),
            sent: self.channel.sent(),
        }
    }

    /// Tells those who capture it that a drive is over: which direction has ended by then.
    pub fn end_captured_drive(&self, live: &mut LiveCaptures) {
        let is_ended = matches!(self.life, Life::Lingering | Life::IdleLingering(_));
        live.note_ends(self.channel.who.id, self.channel.input_ended(), is_ended);
        if !self.is_closed() {
            live.flush(self.channel.who.id);
        }
    }

    /// How its end is captured.
    pub fn captured_end(&self) -> Closed {
        match self.close_reason() {
            Some(CloseReason::Broken(_)) => Closed::Broken,
            _ if self.channel.is_aborted() => Closed::ByReset,
            _ => Closed::InOrder,
        }
    }

    /// When the wait has lasted too long. The deadline of a slow read may be earlier: it is the next look at the client.
    fn ends_at(&self, cx: &LoopContext) -> Moment {
        match self.waiting.reason() {
            WaitReason::SlowRead => self.waiting.slow_read_deadline(self.limits(cx)),
            _ => self.deadline(cx),
        }
    }

    /// Our end's address, if it has one and the kernel tells.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.channel.socket.local_address()
    }

    /// The bytes that were received on it and sent, within TLS if it has that.
    pub fn bytes(&self) -> (u64, u64) {
        (self.channel.received(), self.channel.sent())
    }

    /// Since when it waits.
    pub fn waits_since(&self) -> Moment {
        self.waiting.since()
    }

    /// Whether nothing is read, since nobody takes what is there.
    pub fn is_paused(&self) -> bool {
        self.channel.inbox_is_full()
    }

    /// Whether there is something to send that the kernel has no room for.
    pub fn is_blocked(&self) -> bool {
        self.channel.is_write_blocked()
    }
}
