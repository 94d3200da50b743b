//! One TCP connection between a client and the server: a pipe for each direction and what both kernels know about it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Duration;

use tidemill::base::listener_role::ListenerRole;
use tidemill::base::slots::Token;
use tidemill::net::{Interest, Readiness};

use crate::dice::Dice;
use crate::secured::ClientTls;

/// Names a connection, and the one client that uses it.
pub type LinkId = usize;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// The record with close_notify is not longer than this, in bytes (TLS 1.2).
const FAREWELL_BYTES_MAX: usize = 31;

/// How a direction behaves.
#[derive(Debug, Clone)]
pub struct Wire {
    /// Bytes in a segment, from and to.
    pub segment: (usize, usize),
    /// Time on the way in microseconds, from and to.
    pub delay: (u64, u64),
    /// Whether a FIN arrives together with the last bytes.
    pub fin_rides: bool,
    /// How much the receiving kernel holds for a program that does not read, in bytes.
    pub window: usize,
}

/// How a connection behaves.
#[derive(Debug, Clone)]
pub struct Nature {
    /// Towards the server.
    pub up: Wire,
    /// Towards the client.
    pub down: Wire,
    /// The server's send buffer in bytes.
    pub send_buffer: usize,
    /// Chance in a thousand that a write takes less than there is room for.
    pub short_writes: u64,
    /// Chance in a thousand that a read gives less than there is.
    pub short_reads: u64,
    /// Chance in a thousand, for every arrival, that the client stops reading for a while.
    pub stalls: u64,
    /// How long it then does not read, in milliseconds, from and to.
    pub stall: (u64, u64),
}

impl Wire {
    /// Draws a wire.
    pub fn draw(dice: &mut Dice) -> Wire {
        let segment_max = dice.size(1, 4096);
        let segment_min = if dice.chance(500) { segment_max } else { 1 };
        let delay_max = dice.size(1, 40_000) as u64;
        Wire {
            // Single bytes over a long way would be worlds of waiting: tiny segments belong to short scripts.
            segment: (segment_min.max(segment_max / 64), segment_max),
            delay: (dice.below(delay_max + 1), delay_max),
            fin_rides: dice.chance(500),
            window: dice.size(512, 64 * 1024),
        }
    }

    /// A wire that is never in the way.
    #[cfg(test)]
    pub fn plain() -> Wire {
        Wire { segment: (1460, 1460), delay: (10, 10), fin_rides: true, window: 64 * 1024 }
    }
}

impl Nature {
    /// Draws a nature.
    pub fn draw(dice: &mut Dice) -> Nature {
        let mut odds = |most: u64| if dice.chance(500) { 0 } else { dice.below(most + 1) };
        let (short_writes, short_reads, stalls) = (odds(500), odds(500), odds(100));
        Nature {
            up: Wire::draw(dice),
            down: Wire::draw(dice),
            send_buffer: dice.size(256, 64 * 1024),
            short_writes,
            short_reads,
            stalls,
            stall: (1, dice.size(1, 2000) as u64),
        }
    }

    /// A connection on which nothing unusual happens.
    #[cfg(test)]
    pub fn plain() -> Nature {
        Nature {
            up: Wire::plain(),
            down: Wire::plain(),
            send_buffer: 64 * 1024,
            short_writes: 0,
            short_reads: 0,
            stalls: 0,
            stall: (1, 1),
        }
    }
}

/// Bytes on their way in one direction, in order.
#[derive(Debug)]
pub struct Pipe {
    /// Given to the sending kernel, not on the wire yet.
    pub unsent: VecDeque<u8>,
    /// On the wire.
    pub in_flight: usize,
    /// With the receiving kernel, not read yet.
    pub received: VecDeque<u8>,
    /// All bytes that have ever arrived.
    pub arrived: u64,
    /// Nothing more follows `unsent`.
    pub fin_queued: bool,
    /// The FIN is on the wire.
    pub fin_sent: bool,
    /// The FIN has arrived.
    pub fin_received: bool,
    /// When the last segment so far arrives: none overtakes another.
    pub last_arrival: Duration,
}

/// A piece of a pipe's bytes, as it goes over the wire.
#[derive(Debug)]
pub struct Segment {
    /// The bytes; none in a lone FIN.
    pub bytes: Vec<u8>,
    /// Whether this is the end.
    pub fin: bool,
    /// When it arrives.
    pub at: Duration,
}

impl Pipe {
    fn new() -> Pipe {
        Pipe {
            unsent: VecDeque::new(),
            in_flight: 0,
            received: VecDeque::new(),
            arrived: 0,
            fin_queued: false,
            fin_sent: false,
            fin_received: false,
            last_arrival: Duration::ZERO,
        }
    }

    /// Bytes the sending kernel answers for: an acknowledgement frees them on arrival.
    pub fn held_by_sender(&self) -> usize {
        self.unsent.len() + self.in_flight
    }

    /// Takes the next segment off the sender, if the receiver's window has room for one.
    pub fn next_segment(&mut self, wire: &Wire, now: Duration, dice: &mut Dice) -> Option<Segment> {
        let window = wire.window.saturating_sub(self.in_flight + self.received.len());
        let n = dice.between(wire.segment.0, wire.segment.1).min(window).min(self.unsent.len());
        let ends = self.fin_queued && !self.fin_sent && n == self.unsent.len() && (n == 0 || wire.fin_rides);
        if n == 0 && !ends {
            return None;
        }
        self.fin_sent |= ends;
        self.in_flight += n;
        self.last_arrival = self.arrival(wire, now, dice);
        Some(Segment { bytes: self.unsent.drain(..n).collect(), fin: ends, at: self.last_arrival })
    }

    /// When something sent now arrives.
    pub fn arrival(&self, wire: &Wire, now: Duration, dice: &mut Dice) -> Duration {
        self.last_arrival.max(now + dice.micros(wire.delay.0, wire.delay.1))
    }
}

/// Where the server's end of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerEnd {
    /// Not connected yet.
    Absent,
    /// In a listener's queue.
    Queued,
    /// Accepted, and not closed.
    Open,
    /// Closed by the server's program, or refused.
    Closed,
}

/// When things happened at the server's end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Marks {
    /// The connection was accepted.
    pub accepted: Option<Duration>,
    /// The first byte arrived.
    pub first_arrival: Option<Duration>,
    /// The last byte so far arrived, or the client's end.
    pub last_arrival: Option<Duration>,
    /// The server's last read that moved something.
    pub last_read: Option<Duration>,
    /// The server's last successful write.
    pub last_write: Option<Duration>,
    /// When the server ended its direction: its last write that was not its farewell to a client of TLS.
    pub last_said: Option<Duration>,
    /// The server's first write that found no room.
    pub send_blocked: Option<Duration>,
    /// The server ended its direction or closed.
    pub ended: Option<Duration>,
    /// How much content had arrived at it by then, in bytes.
    pub arrived_at_end: u64,
    /// The server closed.
    pub closed: Option<Duration>,
    /// The client's program had its last answer so far.
    pub answered: Option<Duration>,
}

impl Marks {
    /// How long nothing had moved when the server ended its direction.
    pub fn idle_at_end(&self) -> Duration {
        let since = self.accepted.max(self.last_arrival).max(self.last_said);
        self.ended.unwrap_or_default().saturating_sub(since.unwrap_or_default())
    }
}

/// One connection, as both kernels see it.
#[derive(Debug)]
pub struct Link {
    /// The role of the listener that it is for.
    pub role: ListenerRole,
    /// How it behaves.
    pub nature: Nature,
    /// Client to server.
    pub up: Pipe,
    /// Server to client.
    pub down: Pipe,
    /// The server's end.
    pub server: ServerEnd,
    /// When things happened.
    pub marks: Marks,

    /// What epoll was asked to tell.
    pub interest: Option<Interest>,
    /// The name epoll was given.
    pub token: Option<Token>,
    /// Whether the connection is on epoll's ready list.
    pub ready_listed: bool,
    /// A write found too little room: freeing room is an edge.
    pub wants_space: bool,
    /// The server has begun the connection, and nobody has answered yet.
    pub is_connecting: bool,
    /// Why the connection has failed, if it has and no call has reported it yet.
    pub error_pending: Option<ErrorKind>,
    /// A reset arrived at the server.
    pub server_was_reset: bool,
    /// The server ended its direction.
    pub write_shut: bool,
    /// The server wants its close to be a reset.
    pub abort_on_close: bool,

    /// Bytes the server has read and written since it last polled.
    pub moved_in_turn: usize,
    /// The server's last writes, in bytes and when they were: with the first of them, something was written that cannot have
    /// been close_notify.
    pub last_writes: VecDeque<(usize, Duration)>,
    /// TLS at the client's end, if it speaks that.
    pub tls: Option<Box<ClientTls>>,
    /// The client's program has closed its socket.
    pub client_closed: bool,
    /// A reset arrived at the client.
    pub client_was_reset: bool,
    /// Bytes of the client came when the server had closed in order, and had the kernel reset the connection (RFC 9293
    /// §3.6.1) while some of what the server had written was on its way or not read.
    pub lost_behind_close: bool,
}

impl Link {
    /// A connection that has not begun.
    pub fn new(nature: Nature) -> Link {
        Link {
            role: ListenerRole::Http,
            nature,
            up: Pipe::new(),
            down: Pipe::new(),
            server: ServerEnd::Absent,
            marks: Marks::default(),
            interest: None,
            token: None,
            ready_listed: false,
            wants_space: false,
            is_connecting: false,
            error_pending: None,
            server_was_reset: false,
            write_shut: false,
            abort_on_close: false,
            moved_in_turn: 0,
            last_writes: VecDeque::new(),
            tls: None,
            client_closed: false,
            client_was_reset: false,
            lost_behind_close: false,
        }
    }

    /// Whether the client's program has no connection yet, because TLS is still at its handshake.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Whether the server has closed its end.
    pub fn has_ended(&self) -> bool {
        self.server == ServerEnd::Closed
    }

    /// How much content has arrived at the server, in bytes.
    pub fn content_arrived(&self) -> u64 {
        self.tls.as_ref().map_or(self.up.arrived, |tls| tls.content_of(self.up.arrived))
    }

    /// Notes when the client's bytes arrived at the server. For one that speaks TLS, a connection begins when the handshake
    /// is over.
    pub fn mark_arrival(&mut self, bytes: usize, now: Duration) {
        let (begins, has_begun) = match &self.tls {
            None => (false, true),
            Some(tls) => {
                let (ended_before, _) = tls.handshake_ends(self.up.arrived - bytes as u64);
                let (ends, has_content) = tls.handshake_ends(self.up.arrived);
                (ends && !ended_before, has_content)
            }
        };
        if begins {
            self.marks.accepted = Some(now);
        }
        if bytes > 0 && has_begun {
            self.marks.first_arrival.get_or_insert(now);
        }
        self.marks.last_arrival = Some(now);
    }

    /// Notes that the server has written so many bytes.
    pub fn mark_write(&mut self, bytes: usize, now: Duration) {
        let farewell = if self.tls.is_some() { FAREWELL_BYTES_MAX } else { 0 };
        self.last_writes.push_back((bytes, now));
        while self.last_writes.iter().skip(1).map(|(bytes, _)| bytes).sum::<usize>() > farewell {
            self.last_writes.pop_front();
        }
        self.marks.last_write = Some(now);
    }

    /// Notes that the server has ended its direction.
    pub fn mark_end(&mut self, now: Duration) {
        if self.marks.ended.is_none() {
            (self.marks.ended, self.marks.last_said) = (Some(now), self.last_writes.front().map(|(_, at)| *at));
            self.marks.arrived_at_end = self.content_arrived();
        }
    }

    /// Free bytes of the server's send buffer.
    pub fn send_space(&self) -> usize {
        self.nature.send_buffer.saturating_sub(self.down.held_by_sender())
    }

    /// Whether the send buffer has so much room again that the kernel says so: a third, as on Linux.
    pub fn is_send_space_worth_telling(&self) -> bool {
        self.send_space() * 3 >= self.nature.send_buffer
    }

    /// The error that has befallen the connection, once.
    pub fn take_error(&mut self) -> io::Result<()> {
        self.error_pending.take().map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// What epoll finds if it looks at the socket now, within what it was asked for; `None` if that is nothing.
    pub fn readiness(&self) -> Option<Readiness> {
        let interest = self.interest.filter(|_| !self.is_connecting)?;
        // EPOLLHUP and EPOLLERR are told to whoever is registered at all, and mean news for both directions.
        let hup = self.server_was_reset || (self.up.fin_received && self.write_shut);
        let rdhup = interest.read && self.up.fin_received;
        let input = interest.read && (self.up.fin_received || !self.up.received.is_empty());
        let space = interest.write && (self.is_send_space_worth_telling() || self.write_shut);
        let failed = self.error_pending.is_some();
        let found = Readiness { readable: input || hup, writable: space || hup, hung_up: hup || rdhup, failed };
        (found != Readiness::default()).then_some(found)
    }

    /// Something changed for the directions named: an edge, if epoll was asked about one of them.
    pub fn edge(&mut self, read: bool, write: bool) {
        self.ready_listed |= self.interest.is_some_and(|asked| (asked.read && read) || (asked.write && write));
    }

    /// A hang-up or an error: an edge for whoever is registered at all.
    pub fn edge_for_all(&mut self) {
        self.ready_listed |= self.interest.is_some();
    }

    /// Changes the registration as `epoll_ctl` does: what is ready already is told again.
    pub fn arm(&mut self, token: Token, interest: Interest) {
        self.interest = Some(interest);
        self.token = Some(token);
        self.ready_listed = self.readiness().is_some();
    }
}
