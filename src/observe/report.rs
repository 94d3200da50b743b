//! What can be told about the server from inside: plain values, taken by the event loop at the end of a turn.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::accept_queue::QueueStatus;
use super::histogram::{Histogram, Spread};
use super::jobs::{JobWait, JobsStatus};
use super::keep_alive_race::KeepAliveRace;
use super::minute::Minute;
use super::past::PastConnection;
use super::request_record::RequestRecord;
use super::timers::PartTimes;
use super::upstream::GroupStatus;
use super::verdict::Verdict;
use crate::base::accept_queue::{AcceptQueue, ListenCounters};
use crate::base::byte_pipe::PipeReader;
use crate::base::limits::ConnectionsBound;
use crate::base::listener_id::ListenerId;
use crate::base::log_key::RequestKey;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::silence::PeerSigns;
use crate::base::terms::Terms;
use crate::base::tls_facts::TlsStatus;
use crate::base::upstream_facts::{UpstreamAttempt, UpstreamFacts};

/// What has become of an order to read the configuration again: a sentence about what is in force now, or about what is wrong with
/// it, after which nothing has changed.
pub type ReloadOutcome = Result<String, String>;

/// How the configuration stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigStatus {
    /// Which one is in force: that of the start is 1, and each that was taken adds 1.
    pub generation: u64,
    /// When it was taken, at the start or later.
    pub succeeded_at: Option<SystemTime>,
    /// When one was refused last, and why, if one was.
    pub failed: Option<(SystemTime, String)>,
}

/// All connections, and some of them in detail.
#[derive(Debug, Default)]
pub struct Connections {
    /// How many there are.
    pub total: usize,
    /// How many of these lead to upstreams.
    pub upstreams: usize,
    /// How many wait for what, with those reasons that there are.
    pub waits: Vec<(&'static str, u64)>,
    /// Some of them. Those that hold a request up come first, and among these the longest wait.
    pub listed: Vec<ConnectionStatus>,
}

/// One connection.
#[derive(Debug)]
pub struct ConnectionStatus {
    /// Its number.
    pub id: u64,
    /// Who is at the other end.
    pub peer: Peer,
    /// Our end, if it has an address.
    pub local: Option<SocketAddr>,
    /// What is spoken on it: `http/1`.
    pub protocol: &'static str,
    /// How far it has come.
    pub state: &'static str,
    /// What it waits for, out of a closed set.
    pub wait: &'static str,
    /// For how long.
    pub waited: Duration,
    /// For how long its peer has moved less than the floor rate, as far as the server knows; at most `waited`.
    pub held: Duration,
    /// Of a slow read: how many bytes its peer had acknowledged when the kernel was last asked, and how long ago that was.
    pub taken: Option<(u64, Duration)>,
    /// The job that it waits for, if it does.
    pub job: Option<Box<JobWait>>,
    /// How long it may still wait.
    pub left: Duration,
    /// Whether the kernel is asked to tell when there is something to read.
    pub asks_read: bool,
    /// Whether the kernel is asked to tell when there is room to write.
    pub asks_write: bool,
    /// Bytes in the inbox, and how many fit; none if it has no ring.
    pub inbox: (usize, usize),
    /// Bytes that wait to be sent, and how many fit; more than fit if part of a file is among them.
    pub outbox: (u64, usize),
    /// Bytes read from it so far.
    pub received: u64,
    /// Bytes written to it so far.
    pub sent: u64,
    /// What is known of TLS on it, if it has TLS. What was received and sent is then the content of its records.
    pub tls: Option<TlsStatus>,
    /// The number of the present request on the connection, or of the next one if there is none.
    pub ordinal: u64,
    /// What there is to tell of HTTP/2, if that is spoken.
    pub http2: Option<Box<Http2Status>>,
    /// The present request, if there is one; of several, the one whose response is being sent.
    pub record: Option<RequestRecord>,
    /// Requests that came too late to be answered, if any did.
    pub race: Option<KeepAliveRace>,
    /// How far its content and its response have come. Streams of HTTP/2 have their own.
    pub progress: Progress,
    /// How an upstream serves its request, if one does. Streams of HTTP/2 have their own.
    pub upstream: Option<Box<UpstreamHalf>>,
    /// The client's request that it serves, if it leads to an upstream and serves one.
    pub serves: Option<Box<ServedRequest>>,
}

/// The other half of a request that is passed on to an upstream.
#[derive(Debug, Clone)]
pub struct UpstreamHalf {
    /// The attempt that is under way; `None`: the request waits for an address, or until one has room.
    pub attempt: Option<UpstreamAttempt>,
    /// Why it was safe to send the request once more, if that was done.
    pub retry: Option<&'static str>,
    /// How the connection to the upstream stands while it serves the request.
    pub connection: Option<HalfStatus>,
}

/// How a connection to an upstream stands.
#[derive(Debug, Clone, Copy)]
pub struct HalfStatus {
    /// How far it has come.
    pub state: &'static str,
    /// What it waits for, out of a closed set.
    pub wait: &'static str,
    /// For how long.
    pub waited: Duration,
}

impl UpstreamHalf {
    /// What is known of it by the client's half. It does not know how the connection stands.
    pub fn of(facts: &UpstreamFacts) -> Box<UpstreamHalf> {
        Box::new(UpstreamHalf { attempt: facts.attempt(), retry: facts.retry(), connection: None })
    }

    /// The number of the connection that serves the request now, if there is one.
    pub fn serving(&self) -> Option<u64> {
        self.attempt.filter(|attempt| attempt.over.is_none())?.connection
    }
}

/// The request that a connection to an upstream serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedRequest {
    /// The number of the client's connection, and the request on it; `None`: it is a check of the upstream's health.
    pub client: Option<(u64, RequestKey)>,
    /// Method and target as the upstream gets them, escaped.
    pub request: String,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Its content, while that arrives.
    pub content: Option<Transfer>,
    /// The content of its response, as soon as that has begun.
    pub response: Option<Transfer>,
}

/// How far some content has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes that have come so far, or have left.
    pub bytes: u64,
    /// How many there will be, if that was announced.
    pub total: Option<u64>,
    /// For how long it has been going on.
    pub took: Duration,
}

impl Transfer {
    /// Bytes a second, on average; `None` if it has not gone on for a millisecond.
    pub fn per_second(&self) -> Option<u64> {
        let ms = self.took.as_millis();
        (ms > 0).then(|| u64::try_from(u128::from(self.bytes) * 1000 / ms).unwrap_or(u64::MAX))
    }
}

/// What HTTP/2 adds to a connection.
#[derive(Debug)]
pub struct Http2Status {
    /// How much content we may send on all streams, in bytes.
    pub may_send: u32,
    /// How much content the client may send on all streams, in bytes.
    pub may_receive: i32,
    /// How much of each budget of the ledger is spent, in percent.
    pub budgets: Vec<(&'static str, u32)>,
    /// What has occurred that costs more than it should, and how often.
    pub misbehaviour: Vec<(&'static str, u32)>,
    /// The last GOAWAY that we have sent: its code, and why.
    pub gone_away: Option<String>,
    /// How many streams live.
    pub streams_total: usize,
    /// Some of them, the oldest first.
    pub streams: Vec<StreamStatus>,
}

/// A stream of HTTP/2.
#[derive(Debug, Clone)]
pub struct StreamStatus {
    /// Its identifier.
    pub id: u32,
    /// Method and target, escaped.
    pub request: String,
    /// The status of its response, if that has begun.
    pub status: Option<u16>,
    /// Its state (RFC 9113 §5.1).
    pub state: &'static str,
    /// The urgency of its response: 0 is the most urgent one, 7 the least (RFC 9218 §4.1).
    pub urgency: u8,
    /// Whether parts of its response are of use.
    pub is_incremental: bool,
    /// How much content we may send, in bytes. Negative if the client has made the window smaller.
    pub may_send: i32,
    /// How much content the client may send, in bytes.
    pub may_receive: i32,
    /// Content that has arrived and that nobody has taken, in bytes.
    pub content: usize,
    /// At most so many bytes of its response wait in the outbox: those of other streams may stand between them.
    pub queued: u64,
    /// Its place among those that take turns to send, from 1; `None` if it has nothing to send, or no window.
    pub turn: Option<usize>,
    /// What it waits for; `-` for nothing.
    pub wait: &'static str,
    /// For how long.
    pub waited: Duration,
    /// The job that it waits for, if it does.
    pub job: Option<Box<JobWait>>,
    /// Bytes of its response that went to the outbox.
    pub sent: u64,
    /// Where the time of its request went so far.
    pub parts: Option<PartTimes>,
    /// How far it has come.
    pub progress: Progress,
    /// What its route says of it, if it has one that says something.
    pub terms: Option<Rc<Terms>>,
    /// How an upstream serves its request, if one does.
    pub upstream: Option<Box<UpstreamHalf>>,
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// With what identifiers begin of the run of the server that is meant; `None`: this one.
    pub run: Option<Box<str>>,
    /// The number of a connection.
    pub connection: u64,
    /// One request on it; `None` for all.
    pub request: Option<RequestKey>,
}

/// What is known of a connection, or of a request on it.
#[derive(Debug)]
pub struct Known {
    /// What was asked about.
    pub subject: Subject,
    /// When that was.
    pub now: Moment,
    /// The same by the wall clock.
    pub wall: SystemTime,
    /// The connection, if it is open.
    pub open: Option<ConnectionStatus>,
    /// The connection, if it is over and still known.
    pub ended: Option<PastConnection>,
    /// Requests that are over, in the order in which they began.
    pub requests: Vec<PastRecord>,
    /// So many older ones are known as well.
    pub more: usize,
}

/// A request that is over.
#[derive(Debug)]
pub struct PastRecord {
    /// Who was at the other end of its connection.
    pub peer: Peer,
    /// What is known of it.
    pub record: RequestRecord,
}

/// Everything that is counted.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// All families but those of the accept queues.
    pub families: Vec<Family>,
    /// The accept queues of all listeners, about which the kernel has more to say.
    pub queues: Vec<QueueStatus>,
}

/// A family of metrics, as Prometheus means it.
#[derive(Debug, Clone)]
pub struct Family {
    /// With the unit, and `_total` for a counter.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What it is.
    pub samples: Samples,
}

/// The samples of a family.
#[derive(Debug, Clone)]
pub enum Samples {
    /// Only grows. Each with the value of the label, if the family has one.
    Counter(Option<&'static str>, Vec<(&'static str, f64)>),
    /// Goes up and down.
    Gauge(Option<&'static str>, Vec<(&'static str, f64)>),
    /// Each with the values of several labels. The values may be any text.
    Labelled(Kind, Vec<(Vec<(&'static str, String)>, f64)>),
    /// Durations in seconds: how many up to each bound, all of them, and their sum.
    Histogram(Option<&'static str>, Vec<(&'static str, Buckets)>),
    /// The same, each with the values of several labels. The values may be any text.
    LabelledHistogram(Vec<(Vec<(&'static str, String)>, Buckets)>),
}

/// What a number does in the course of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Family {
    /// A number that only grows.
    pub fn counter(name: &'static str, help: &'static str, number: u64) -> Family {
        Family { name, help, samples: Samples::Counter(None, vec![("", number as f64)]) }
    }

    /// Numbers that only grow, by the value of `label`.
    pub fn counters(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        numbers: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Family {
        Family { name, help, samples: Samples::Counter(Some(label), floats(numbers)) }
    }

    /// A number that goes up and down.
    pub fn gauge(name: &'static str, help: &'static str, number: u64) -> Family {
        Family { name, help, samples: Samples::Gauge(None, vec![("", number as f64)]) }
    }

    /// Numbers that go up and down, by the value of `label`.
    pub fn gauges(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        numbers: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Family {
        Family { name, help, samples: Samples::Gauge(Some(label), floats(numbers)) }
    }

    /// A duration that goes up and down.
    pub fn seconds(name: &'static str, help: &'static str, duration: Duration) -> Family {
        Family { name, help, samples: Samples::Gauge(None, vec![("", duration.as_secs_f64())]) }
    }

    /// How durations are spread.
    pub fn histogram(name: &'static str, help: &'static str, buckets: Buckets) -> Family {
        Family { name, help, samples: Samples::Histogram(None, vec![("", buckets)]) }
    }

    /// How durations are spread, by the value of `label`.
    pub fn histograms(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        buckets: impl IntoIterator<Item = (&'static str, Buckets)>,
    ) -> Family {
        Family { name, help, samples: Samples::Histogram(Some(label), buckets.into_iter().collect()) }
    }
}

/// Prometheus knows only floats; exact up to 2^53.
fn floats(numbers: impl IntoIterator<Item = (&'static str, u64)>) -> Vec<(&'static str, f64)> {
    numbers.into_iter().map(|(value, number)| (value, number as f64)).collect()
}

/// A histogram as it is told.
#[derive(Debug, Clone)]
pub struct Buckets {
    /// Upper bounds in seconds, with the number of durations up to each.
    pub up_to: Vec<(f64, u64)>,
    /// All of them.
    pub count: u64,
    /// Together, in seconds.
    pub sum: f64,
}

/// Upper bounds of the buckets, in microseconds.
const BOUNDS_US: [u64; 16] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 1_000_000, 5_000_000, 30_000_000,
];

impl Buckets {
    /// A histogram of durations, from 10 µs to 30 s.
    pub fn of(histogram: &Histogram) -> Buckets {
        let up_to = BOUNDS_US.iter().map(|us| {
            let bound = Duration::from_micros(*us);
            (bound.as_secs_f64(), histogram.count_up_to(bound))
        });
        Buckets { up_to: up_to.collect(), count: histogram.count(), sum: histogram.sum().as_secs_f64() }
    }
}

/// The loop itself.
#[derive(Debug, Clone)]
pub struct LoopStatus {
    /// When this was taken; the loop began at `Moment::default()`.
    pub now: Moment,
    /// Each phase of the turn, in order.
    pub phases: Vec<(&'static str, Spread)>,
    /// A whole turn without its poll: an event may have waited so long.
    pub turns: Spread,
    /// A drive of one connection.
    pub drives: Spread,
    /// How late the loop woke for its own deadlines.
    pub lag: Spread,
    /// Events of all turns together.
    pub events: u64,
    /// The most in one turn.
    pub events_max: usize,
    /// The longest drive of each second of the last minute, oldest first.
    pub longest: Vec<LongDrive>,
    /// The longest drive of each minute of the last hour, oldest first.
    pub longest_of_hour: Vec<LongDrive>,
    /// What the job threads do.
    pub jobs: JobsStatus,
    /// System calls by kind.
    pub syscalls: Vec<(&'static str, u64)>,
    /// The accept queues of all listeners.
    pub queues: Vec<QueueStatus>,
}

/// A drive that was the longest for a while.
#[derive(Debug, Clone)]
pub struct LongDrive {
    /// When it ended.
    pub ended: Moment,
    /// The same as time of day.
    pub wall: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// For how much of this time the thread was not running, if that is known: another process had its core, or it waited
    /// in a system call or for a page. It computed in the rest of the time.
    pub off_cpu: Option<Duration>,
    /// The connection's number.
    pub connection: u64,
    /// What it was busy with: method and target, escaped. Empty only if no request was involved.
    pub request: String,
}

impl LongDrive {
    /// How long it computed, if that is known.
    pub fn on_cpu(&self) -> Option<Duration> {
        self.off_cpu.map(|off_cpu| self.took.saturating_sub(off_cpu))
    }
}

/// How the server stands, all in all. The admin listener's own requests, bytes and connections are left out.
#[derive(Debug)]
pub struct Overview {
    /// How the configuration stands, if the server has one that can be read again.
    pub config: Option<ConfigStatus>,
    /// The loop.
    pub turn: LoopStatus,
    /// The time of day.
    pub wall: SystemTime,
    /// Requests that are over.
    pub requests: u64,
    /// Bytes read from connections so far.
    pub received_bytes: u64,
    /// Bytes written to connections so far.
    pub sent_bytes: u64,
    /// From the first byte of a request to the last of its response, since the loop began.
    pub latency: Spread,
    /// What happened in the last minute.
    pub minute: Minute,
    /// Which requests have failed in this time, the most frequent first, as far as they are still known.
    pub failures: Vec<Failures>,
    /// How many connections of clients there are.
    pub connections: usize,
    /// How many there may be.
    pub connections_max: usize,
    /// What that number comes from.
    pub connections_bound: ConnectionsBound,
    /// Whether connections wait because accepting fails, for want of descriptors mostly.
    pub accept_fails: bool,
    /// Connections of clients by what they wait for, with those reasons that there are.
    pub waits: Vec<(&'static str, u64)>,
    /// How the upstreams stand.
    pub upstreams: Vec<GroupStatus>,
    /// Connections to them by what they wait for, with those reasons that there are.
    pub upstream_waits: Vec<(&'static str, u64)>,
    /// Connections on which reading is paused.
    pub paused: u64,
    /// Connections on which writing is blocked.
    pub blocked: u64,
    /// Some connections of clients: those that hold a request up first, and among these the longest wait.
    pub listed: Vec<ConnectionStatus>,
    /// The last requests and connections that were disturbed, the last one first; a few of them.
    pub disturbed: Vec<DisturbedStatus>,
    /// If the server was told to stop: for how long it has been stopping, and how long it may still take.
    pub draining: Option<(Duration, Duration)>,
    /// Memory that all connections share.
    pub memory: Vec<MemoryBound>,
    /// The certificates in use, by their subjects, with the last second in which they are valid.
    pub certificates: Vec<(String, SystemTime)>,
}

/// Memory that all connections share, and that is bounded.
#[derive(Debug, Clone)]
pub struct MemoryBound {
    /// The setting that bounds it.
    pub flag: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// How much is in use, in bytes.
    pub used: u64,
    /// How much may be, in bytes.
    pub max: u64,
}

/// Requests that failed in the same way.
#[derive(Debug, Clone)]
pub struct Failures {
    /// Their status, if it is 5xx.
    pub status: Option<u16>,
    /// Who has disturbed them, if anybody has.
    pub verdict: Option<Verdict>,
    /// Whether their clients have not got the whole response.
    pub is_lost: bool,
    /// Method and target, escaped.
    pub request: String,
    /// How many there were.
    pub count: u64,
    /// The connection of one of them.
    pub connection: u64,
    /// Which request it was there.
    pub key: RequestKey,
}

/// A connection that is to be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureOrder {
    /// Its number.
    pub connection: u64,
    /// The size of the file at most, in bytes.
    pub bytes_max: u64,
}

/// A capture that has begun.
#[derive(Debug)]
pub struct CaptureStream {
    /// The file as it grows.
    pub file: PipeReader,
    /// What may be put into it while nothing comes, so that it is noticed whether anybody still reads it.
    pub sign_of_life: Vec<u8>,
}

/// Why a connection cannot be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureRefusal {
    /// It is not open.
    NotOpen,
    /// So many captures are under way, and there may be no more.
    TooMany(usize),
}

/// A request or a connection that is over and was disturbed.
#[derive(Debug)]
pub struct DisturbedStatus {
    /// How long it has been over.
    pub ago: Duration,
    /// The number of the connection.
    pub connection: u64,
    /// Who was at the other end.
    pub peer: Peer,
    /// What names the request, if it is one, and its method and target.
    pub request: Option<(RequestKey, String)>,
    /// Its letters.
    pub verdict: Verdict,
    /// The letters and the sentence.
    pub text: String,
}

/// What the kernel says about the server's sockets.
#[derive(Debug, Clone, Default)]
pub struct KernelReport {
    /// Connections by their two ends, ours first.
    pub sockets: HashMap<(SocketAddr, SocketAddr), KernelSocket>,
    /// The accept queues of the listeners of which they are known.
    pub queues: BTreeMap<ListenerId, AcceptQueue>,
    /// What was counted for all listeners of this network namespace since the server began, if it is known.
    pub listen: Option<ListenCounters>,
    /// Why there is nothing, if the kernel could not be asked.
    pub missing: Option<String>,
}

/// What the kernel can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelTopic {
    /// Connections between these two ends, ours first.
    Connections(HashSet<(SocketAddr, SocketAddr)>),
    /// The accept queues of the listeners.
    Queues,
    /// Both.
    All(HashSet<(SocketAddr, SocketAddr)>),
}

/// What the kernel says about one connection (linux/tcp.h, `struct tcp_info`).
#[derive(Debug, Clone, Copy)]
pub struct KernelSocket {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// Bytes that have not been sent for the first time.
    pub notsent: u32,
    /// How long sending was limited by the peer's window.
    pub rwnd_limited: Duration,
    /// How long sending was limited by the send buffer.
    pub sndbuf_limited: Duration,
    /// Segments sent again.
    pub resent: u32,
    /// The state of TCP (RFC 9293 §3.3.2).
    pub state: &'static str,
    /// How often the oldest segment was sent again without an answer.
    pub retransmits: u8,
    /// Probes of a shut window that have had no answer.
    pub probes: u8,
    /// How often the time until the next try was doubled.
    pub backoff: u8,
    /// Bytes that the peer's kernel has acknowledged.
    pub acknowledged: u64,
    /// How long ago content was sent last.
    pub last_sent: Duration,
    /// How long ago the peer's kernel has acknowledged anything.
    pub last_acknowledgement: Duration,
    /// The peer's window in bytes, where the kernel tells.
    pub window: Option<u32>,
}

/// How the peer of a connection stands, as far as its kernel shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerHealth {
    /// It answers nothing: it has vanished, or the network between us has gone.
    Silent,
    /// It answers, and has no room for more: the program there does not read.
    WindowShut,
    /// It answers.
    Alive,
}

impl PeerHealth {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            PeerHealth::Silent => "silent",
            PeerHealth::WindowShut => "window-shut",
            PeerHealth::Alive => "alive",
        }
    }
}

impl KernelSocket {
    /// How the peer stands.
    pub fn health(&self) -> PeerHealth {
        let KernelSocket { rtt, unacked, retransmits, probes, last_sent, last_acknowledgement, .. } = *self;
        let signs = PeerSigns { rtt, unacked, retransmits, probes, last_sent, last_acknowledgement };
        let is_shut = self.window == Some(0) || (self.notsent > 0 && self.unacked == 0);
        match () {
            () if signs.silent_for().is_some() => PeerHealth::Silent,
            () if is_shut && self.notsent + self.unacked > 0 => PeerHealth::WindowShut,
            () => PeerHealth::Alive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection on loopback that has just moved something.
    fn socket() -> KernelSocket {
        let (rtt, zero) = (Duration::from_micros(30), Duration::ZERO);
        KernelSocket {
            rtt,
            unacked: 0,
            notsent: 0,
            rwnd_limited: zero,
            sndbuf_limited: zero,
            resent: 0,
            state: "ESTABLISHED",
            retransmits: 0,
            probes: 0,
            backoff: 0,
            acknowledged: 1000,
            last_sent: zero,
            last_acknowledgement: zero,
            window: Some(65_536),
        }
    }

    #[test]
    fn what_counts_is_whether_the_last_try_was_answered() {
        let seconds = Duration::from_secs;
        let idle = KernelSocket { last_sent: seconds(60), last_acknowledgement: seconds(60), ..socket() };
        assert_eq!(idle.health(), PeerHealth::Alive);
        let vanished = KernelSocket {
            unacked: 3,
            retransmits: 4,
            backoff: 4,
            resent: 4,
            last_sent: Duration::from_millis(400),
            last_acknowledgement: Duration::from_millis(3100),
            ..socket()
        };
        assert_eq!(vanished.health(), PeerHealth::Silent);
        let shut = KernelSocket { notsent: 100_000, window: Some(0), last_sent: seconds(3), ..socket() };
        assert_eq!(shut.health(), PeerHealth::WindowShut);
        // On loopback: a segment without room falls, is sent again, and what fits is acknowledged each time.
        let resent = KernelSocket { unacked: 1, retransmits: 2, resent: 5, ..shut };
        assert_eq!(resent.health(), PeerHealth::WindowShut);
        let vanished_behind_a_shut_window =
            KernelSocket { probes: 3, backoff: 3, last_acknowledgement: seconds(3), ..shut };
        assert_eq!(vanished_behind_a_shut_window.health(), PeerHealth::Silent);
        let unknown_window = KernelSocket { window: None, ..shut };
        assert_eq!(unknown_window.health(), PeerHealth::WindowShut);
        let busy = KernelSocket { unacked: 10, notsent: 50_000, ..socket() };
        assert_eq!(busy.health(), PeerHealth::Alive);
    }
}
