//! What is over and still known: the last requests, the slowest and those that failed for longer, and the last connections.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::fmt::{self, Display};
use std::mem;
use std::time::Duration;

use super::close_reason::CloseReason;
use super::keep_alive_race::KeepAliveRace;
use super::request_record::RequestRecord;
use super::verdict::Verdict;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::tls_facts::TlsStatus;

/// For how long a request may count as one of the slowest.
const SLOW_FOR: Duration = Duration::from_secs(60 * 60);
/// How often those are looked for that do not count any more.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Of the slowest, and of those that failed, this part of the number of the last ones is kept.
const LONGER_SHARE: usize = 4;

/// What is over and still known. All of it is bounded: when something new comes, the oldest goes, or the least slow.
///
/// A record is kept as it is, and the one that goes serves the next request. So in the long run nothing is allocated and
/// nothing is copied.
#[derive(Debug)]
pub struct Past {
    max: usize,
    /// A ring: the oldest one makes room for the next.
    recent: Vec<PastRequest>,
    oldest: usize,
    /// So many of the slowest, and as many of those that failed.
    longer_max: usize,
    /// Those that failed and are not among the last ones any more.
    failed: VecDeque<PastRequest>,
    slowest: Slowest,
    connections: VecDeque<PastConnection>,
}

/// A request that is over.
#[derive(Debug)]
pub struct PastRequest {
    /// The number of its connection.
    pub connection: u64,
    /// Who was at the other end.
    pub peer: Peer,
    /// What is known of it; all of it.
    pub record: Box<RequestRecord>,
}

/// A connection that is over.
#[derive(Debug, Clone)]
pub struct PastConnection {
    /// Its number.
    pub id: u64,
    /// Who was at the other end.
    pub peer: Peer,
    /// What was spoken.
    pub protocol: &'static str,
    /// When it was over.
    pub ended_at: Moment,
    /// Who ended it, how, and in which phase.
    pub verdict: Verdict,
    /// Why it ended.
    pub reason: CloseReason,
    /// Requests that came too late, if any did.
    pub race: Option<KeepAliveRace>,
    /// How many requests were answered.
    pub requests: u64,
    /// Bytes received, within TLS if it had that.
    pub received: u64,
    /// Bytes sent, likewise.
    pub sent: u64,
    /// What is known of TLS on it, if it had TLS.
    pub tls: Option<Box<TlsStatus>>,
}

impl PastConnection {
    /// Its verdict in letters and words.
    pub fn sentence(&self) -> impl Display {
        let PastConnection { verdict, reason, race, .. } = self;
        fmt::from_fn(move |f| {
            write!(f, "{}", verdict.with_reason(*reason))?;
            race.map_or(Ok(()), |race| write!(f, "; {}", race.sentence()))
        })
    }

    fn is_disturbed(&self) -> bool {
        self.verdict.is_disturbance() || self.race.is_some()
    }
}

impl PastRequest {
    fn ended_at(&self) -> Moment {
        self.record.last_byte_at.unwrap_or(self.record.began)
    }

    fn took_nanos(&self) -> u64 {
        self.ended_at().nanos_since(self.record.began)
    }

    fn is_failure(&self) -> bool {
        self.record.disturbance.is_some() || self.record.status.is_some_and(|status| status.code() >= 500)
    }
}

/// Something that is over and was disturbed.
#[derive(Debug)]
pub enum Disturbed<'a> {
    /// A request.
    Request(&'a PastRequest),
    /// A connection.
    Connection(&'a PastConnection),
}

impl Disturbed<'_> {
    /// When it was over.
    pub fn ended_at(&self) -> Moment {
        match self {
            Disturbed::Request(request) => request.ended_at(),
            Disturbed::Connection(connection) => connection.ended_at,
        }
    }
}

/// Orders requests by how long they took, the least slow one last: a heap has its greatest element at the top.
#[derive(Debug)]
struct BySlowness {
    took_nanos: u64,
    request: PastRequest,
}

impl Ord for BySlowness {
    fn cmp(&self, other: &BySlowness) -> Ordering {
        other.took_nanos.cmp(&self.took_nanos)
    }
}

impl PartialOrd for BySlowness {
    fn partial_cmp(&self, other: &BySlowness) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for BySlowness {
    fn eq(&self, other: &BySlowness) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for BySlowness {}

/// The slowest requests of the last hour, the least slow one of them at the top.
#[derive(Debug)]
struct Slowest {
    max: usize,
    kept: BinaryHeap<BySlowness>,
    /// Who took no longer than this is not one of them. `None` while there is room for anybody.
    least_nanos: Option<u64>,
    /// When those are looked for that have been kept for too long.
    look_at: Moment,
}

impl Slowest {
    /// Whether the request may be one of the slowest. Most are not.
    #[inline]
    fn may_take(&self, request: &PastRequest, now: Moment) -> bool {
        now >= self.look_at || self.least_nanos.is_none_or(|least| least < request.took_nanos())
    }

    /// Keeps a request if it is one of the slowest. Returns the one that is not kept, if there is one.
    fn add(&mut self, request: PastRequest, now: Moment) -> Option<PastRequest> {
        if now >= self.look_at {
            self.kept.retain(|kept| now.since(kept.request.ended_at()) < SLOW_FOR);
            self.look_at = now + LOOK_EVERY;
        }
        // A tunnel lasts as long as those at its ends talk: that is not slow.
        let took_nanos = if request.record.is_upgrade() { 0 } else { request.took_nanos() };
        let new = BySlowness { took_nanos, request };
        let out = if self.kept.len() < self.max {
            self.kept.push(new);
            None
        } else {
            match self.kept.peek_mut() {
                Some(mut least) if least.took_nanos < new.took_nanos => Some(mem::replace(&mut *least, new)),
                _ => Some(new),
            }
        };
        self.least_nanos = self.kept.peek().filter(|_| self.kept.len() >= self.max).map(|least| least.took_nanos);
        out.map(|out| out.request)
    }
}

/// Adds to a queue of at most `max`. Returns the oldest one if that has no place any more.
fn push<T>(queue: &mut VecDeque<T>, max: usize, new: T) -> Option<T> {
    let out = if queue.len() >= max { queue.pop_front() } else { None };
    if queue.len() >= max {
        return Some(new);
    }
    queue.push_back(new);
    out
}

impl Past {
    /// Keeps the last `max` requests, a fourth as many of the slowest and of those that failed, and the last `max`
    /// connections.
    pub fn new(max: usize) -> Past {
        let longer_max = max.div_ceil(LONGER_SHARE);
        Past {
            max,
            recent: Vec::with_capacity(max),
            oldest: 0,
            longer_max,
            failed: VecDeque::with_capacity(longer_max),
            slowest: Slowest {
                max: longer_max,
                kept: BinaryHeap::with_capacity(longer_max),
                least_nanos: None,
                look_at: Moment::default(),
            },
            connections: VecDeque::with_capacity(max),
        }
    }

    /// Keeps a request, whose record must be complete. Returns a record that nobody needs any more, if there is one.
    pub fn add_request(&mut self, request: PastRequest, now: Moment) -> Option<Box<RequestRecord>> {
        if self.recent.len() < self.max {
            self.recent.push(request);
            return None;
        }
        let Some(oldest) = self.recent.get_mut(self.oldest) else { return Some(request.record) };
        self.oldest = if self.oldest + 1 == self.max { 0 } else { self.oldest + 1 };
        if !oldest.is_failure() && !self.slowest.may_take(oldest, now) {
            return Some(mem::replace(oldest, request).record);
        }
        let oldest = mem::replace(oldest, request);
        self.keep_longer(oldest, now)
    }

    #[cold]
    #[inline(never)]
    fn keep_longer(&mut self, oldest: PastRequest, now: Moment) -> Option<Box<RequestRecord>> {
        let out = match oldest.is_failure() {
            true => push(&mut self.failed, self.longer_max, oldest),
            false => self.slowest.add(oldest, now),
        };
        out.map(|request| request.record)
    }

    /// Keeps a connection.
    pub fn add_connection(&mut self, connection: PastConnection) {
        push(&mut self.connections, self.max, connection);
    }

    /// The last requests and connections that were disturbed, the last one first: `max` of them. A connection that has ended
    /// together with its request, for the same reason, is left out.
    pub fn disturbed(&self, max: usize) -> Vec<Disturbed<'_>> {
        let (older, newer) = self.recent.split_at(self.oldest.min(self.recent.len()));
        let requests = older.iter().rev().chain(newer.iter().rev()).chain(self.failed.iter().rev());
        let requests: Vec<_> = requests.filter(|past| past.record.disturbance.is_some()).take(max).collect();
        let is_told = |connection: &PastConnection| {
            requests.iter().any(|past| {
                let verdict = past.record.disturbance.as_ref().map(|disturbance| disturbance.verdict);
                past.connection == connection.id && verdict == Some(connection.verdict)
            })
        };
        let connections = self.connections.iter().rev().filter(|connection| connection.is_disturbed());
        let connections = connections.filter(|connection| !is_told(connection)).take(max).map(Disturbed::Connection);
        let mut disturbed: Vec<_> = connections.collect();
        disturbed.extend(requests.iter().map(|request| Disturbed::Request(request)));
        disturbed.sort_by_key(|disturbed| Reverse(disturbed.ended_at()));
        disturbed.truncate(max);
        disturbed
    }

    /// What is kept of the connection with this number.
    pub fn connection(&self, id: u64) -> Option<&PastConnection> {
        self.connections.iter().rev().find(|connection| connection.id == id)
    }

    /// Those requests that are kept and that failed at `from` or later.
    pub fn failures_since(&self, from: Moment) -> impl Iterator<Item = &PastRequest> {
        let all = self.recent.iter().chain(&self.failed);
        all.filter(move |request| request.is_failure() && request.ended_at() >= from)
    }

    /// The requests that are kept of the connection with this number, in the order in which they began.
    pub fn requests(&self, connection: u64) -> Vec<&PastRequest> {
        let all = self.recent.iter().chain(&self.failed).chain(self.slowest.kept.iter().map(|kept| &kept.request));
        let mut requests: Vec<_> = all.filter(|request| request.connection == connection).collect();
        requests.sort_by_key(|request| request.record.ordinal);
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::status::Status;

    /// A request that began at that second, took so many milliseconds and has that status.
    fn request(ordinal: u64, began: u64, ms: u64, status: Status) -> PastRequest {
        let mut record = Box::new(RequestRecord::new(Moment::from_millis(began * 1000)));
        (record.ordinal, record.status) = (ordinal, Some(status));
        record.last_byte_at = Some(Moment::from_millis(began * 1000 + ms));
        PastRequest { connection: 1, peer: Peer::Unix, record }
    }

    fn known(past: &Past) -> Vec<u64> {
        past.requests(1).iter().map(|request| request.record.ordinal).collect()
    }

    #[test]
    fn the_last_ones_are_kept_and_the_slow_and_failed_ones_for_longer() {
        let mut past = Past::new(8);
        let at = Moment::from_millis(5_000);
        let mut given_back = 0;
        for ordinal in 1..=100 {
            let (ms, status) = match ordinal {
                3 => (1, Status::INTERNAL_SERVER_ERROR),
                7 | 9 => (ordinal * 100, Status::OK),
                ordinal => (ordinal % 5, Status::OK),
            };
            given_back += usize::from(past.add_request(request(ordinal, 1, ms, status), at).is_some());
            let kept = known(&past).len();
            assert!(kept <= 8 + 2 + 2, "{ordinal}");
            assert_eq!(kept + given_back, ordinal as usize);
        }
        assert_eq!(known(&past), [3, 7, 9, 93, 94, 95, 96, 97, 98, 99, 100]);
        assert!(past.requests(2).is_empty());
    }

    #[test]
    fn failures_make_room_for_failures_alone() {
        let mut past = Past::new(4);
        for ordinal in 1..=20 {
            let status = if ordinal <= 10 { Status::INTERNAL_SERVER_ERROR } else { Status::OK };
            past.add_request(request(ordinal, 1, 0, status), Moment::from_millis(5_000));
        }
        assert_eq!(known(&past), [10, 11, 17, 18, 19, 20], "11 is the first that has found a place among the slowest");
    }

    #[test]
    fn what_was_slow_an_hour_ago_makes_room() {
        let mut past = Past::new(1);
        let second = |second: u64| Moment::from_millis(second * 1000);
        past.add_request(request(1, 0, 900, Status::OK), second(1));
        for (ordinal, at, kept) in [(2, 2, &[1, 2][..]), (3, 3, &[1, 3]), (4, 4000, &[3, 4]), (5, 4001, &[3, 5])] {
            past.add_request(request(ordinal, at, 0, Status::OK), second(at));
            assert_eq!(known(&past), kept, "{ordinal}");
        }
    }

    #[test]
    fn nothing_is_kept_if_there_is_no_room() {
        let mut past = Past::new(0);
        assert!(past.add_request(request(1, 0, 0, Status::OK), Moment::default()).is_some());
        assert!(known(&past).is_empty());
    }
}
