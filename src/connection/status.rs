//! What can be told about a connection from inside.

use super::{Connection, Life, Worker};
use crate::base::moment::Moment;
use crate::base::ring::RingBuffer;
use crate::net::Socket;
use crate::observe::report::ConnectionStatus;
use crate::protocol::h1::server::{Receiving, Sending};

impl<S: Socket> Connection<S> {
    /// How it stands, for people and programs that ask.
    pub fn status<V>(&self, worker: &Worker<V>) -> ConnectionStatus {
        let now = worker.moment;
        let interest = self.armed.unwrap_or_default();
        let record = self.records.sending();
        let inbox = self.channel.inbox.as_ref().map_or((0, 0), |ring| (ring.len(), RingBuffer::capacity(ring)));
        ConnectionStatus {
            id: self.id,
            peer: self.channel.peer,
            local: self.channel.local_address(),
            state: self.state(),
            wait: self.waiting.reason().name(),
            waited: now.since(self.waiting.since()),
            left: self.deadline(worker).since(now),
            asks_read: interest.read,
            asks_write: interest.write,
            inbox,
            outbox: (self.channel.outbox.len(), self.channel.outbox.capacity()),
            request: record.map_or(String::new(), super::RequestRecord::request),
            ordinal: record.map_or(self.ordinal + 1, |record| record.ordinal),
            received: self.channel.received(),
            sent: self.channel.sent(),
            paused: record.map_or_else(Default::default, |record| record.paused.total(worker.moment)),
            blocked: record.map_or_else(Default::default, |record| record.blocked.total(worker.moment)),
        }
    }

    /// How far it has come, in one word or two.
    fn state(&self) -> &'static str {
        match (self.life, self.protocol.receiving(), self.protocol.sending()) {
            (Life::Flushing, ..) => "flushing",
            (Life::Lingering, ..) => "lingering",
            (Life::Closed(_), ..) => "closed",
            (Life::Serving, _, Sending::Content) => "sending",
            (Life::Serving, ..) if !self.channel.outbox.is_empty() => "sending",
            (Life::Serving, Receiving::Idle, _) => "idle",
            (Life::Serving, Receiving::Head, _) => "receiving head",
            (Life::Serving, Receiving::Content, _) => "receiving content",
            (Life::Serving, Receiving::Done, _) => "answering",
        }
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
