//! The last minute in numbers: what was counted since a moment a minute ago.
//!
//! Counters only grow, so they are looked at once a second while the loop turns, and what happened is a difference. A request
//! costs nothing more.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::histogram::Histogram;
use super::tls::Failure;
use super::verdict::Verdict;
use super::wait_reason::WaitReason;
use crate::base::listener_id::ListenerId;
use crate::base::moment::Moment;

/// How far back the numbers go.
const SPAN: Duration = Duration::from_secs(60);
/// Looks that are kept. They come once a second, so the oldest of them is older than `SPAN`.
const LOOKS_MAX: usize = 62;

/// Counts by a key out of a closed set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts<K>(Vec<(K, u64)>);

impl<K> Default for Counts<K> {
    fn default() -> Counts<K> {
        Counts(Vec::new())
    }
}

impl<K: Copy + PartialEq> Counts<K> {
    /// Takes over these counts. Memory is used again.
    pub fn set(&mut self, counts: impl Iterator<Item = (K, u64)>) {
        self.0.clear();
        self.0.extend(counts);
    }

    /// Takes over these counts, each without a `part` of it.
    pub fn set_without(&mut self, counts: impl Iterator<Item = (K, u64)>, part: impl Fn(K) -> u64) {
        self.set(counts.map(|(key, count)| (key, count.saturating_sub(part(key)))));
    }

    /// Counts without the earlier ones: those that have grown, the greatest first.
    fn since(&self, earlier: &Counts<K>) -> Counts<K> {
        let before = |key: K| earlier.0.iter().find(|(other, _)| *other == key).map_or(0, |(_, count)| *count);
        let grown = self.0.iter().map(|(key, count)| (*key, count.saturating_sub(before(*key))));
        let mut grown: Vec<_> = grown.filter(|(_, count)| *count > 0).collect();
        grown.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Counts(grown)
    }

    /// Each key with its count.
    pub fn iter(&self) -> impl Iterator<Item = (K, u64)> {
        self.0.iter().copied()
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

impl<K> FromIterator<(K, u64)> for Counts<K> {
    fn from_iter<I: IntoIterator<Item = (K, u64)>>(counts: I) -> Counts<K> {
        Counts(counts.into_iter().collect())
    }
}

/// What was counted. The admin listener's own requests are left out.
#[derive(Debug, Clone, Default)]
pub struct Tallies {
    /// Requests that are over, by the class of their status; see `Counters::requests`.
    pub requests: [u64; 6],
    /// From the first byte of a request to the last of its response.
    pub latency: Histogram,
    /// Bytes read from connections.
    pub received: u64,
    /// Bytes written to connections.
    pub sent: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// How long the loop was at work, in nanoseconds.
    pub work_nanos: u64,
    /// Waits that lasted too long.
    pub timeouts: Counts<WaitReason>,
    /// Requests that were disturbed.
    pub disturbed: Counts<Verdict>,
    /// Those of them whose clients have not got the whole response.
    pub lost: Counts<Verdict>,
    /// Connections that are over.
    pub closed: Counts<Verdict>,
    /// Requests that came when the server had ended an idle connection.
    pub races: u64,
    /// TLS handshakes that are done.
    pub handshakes: u64,
    /// TLS handshakes that were not done.
    pub handshake_failures: Counts<Failure>,
    /// Connections that are over and to which GOAWAY was sent, by its error code.
    pub goaways: Counts<&'static str>,
    /// Streams that clients have reset, by the error code.
    pub resets_by_client: Counts<&'static str>,
    /// Streams that we have reset.
    pub resets_by_server: Counts<&'static str>,
    /// Streams that were delayed, because their client had reset too many.
    pub delayed_streams: u64,
    /// Packets that the kernel has dropped at each listener, where it counts them.
    pub drops: BTreeMap<ListenerId, u32>,
    /// How often accepting failed and was put off.
    pub accept_pauses: u64,
    /// Lines of the access log that nobody took in time.
    pub dropped_lines: u64,
    /// Packets of the capture that there was no room for.
    pub dropped_packets: u64,
}

impl Tallies {
    /// Requests that are over, of all classes.
    pub fn requests_over(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// What came in addition since `earlier`.
    pub fn since(&self, earlier: &Tallies) -> Tallies {
        let drops = self.drops.iter().map(|(listener, drops)| {
            let before = earlier.drops.get(listener).copied().unwrap_or(0);
            // The kernel's counter has 32 bits and begins anew behind the last of them.
            (*listener, drops.wrapping_sub(before))
        });
        Tallies {
            requests: std::array::from_fn(|class| self.requests[class].saturating_sub(earlier.requests[class])),
            latency: self.latency.since(&earlier.latency),
            received: self.received.saturating_sub(earlier.received),
            sent: self.sent.saturating_sub(earlier.sent),
            accepted: self.accepted.saturating_sub(earlier.accepted),
            work_nanos: self.work_nanos.saturating_sub(earlier.work_nanos),
            timeouts: self.timeouts.since(&earlier.timeouts),
            disturbed: self.disturbed.since(&earlier.disturbed),
            lost: self.lost.since(&earlier.lost),
            closed: self.closed.since(&earlier.closed),
            races: self.races.saturating_sub(earlier.races),
            handshakes: self.handshakes.saturating_sub(earlier.handshakes),
            handshake_failures: self.handshake_failures.since(&earlier.handshake_failures),
            goaways: self.goaways.since(&earlier.goaways),
            resets_by_client: self.resets_by_client.since(&earlier.resets_by_client),
            resets_by_server: self.resets_by_server.since(&earlier.resets_by_server),
            delayed_streams: self.delayed_streams.saturating_sub(earlier.delayed_streams),
            drops: drops.collect(),
            accept_pauses: self.accept_pauses.saturating_sub(earlier.accept_pauses),
            dropped_lines: self.dropped_lines.saturating_sub(earlier.dropped_lines),
            dropped_packets: self.dropped_packets.saturating_sub(earlier.dropped_packets),
        }
    }
}

/// What happened in the last minute.
#[derive(Debug, Clone, Default)]
pub struct Minute {
    /// For how long was counted: a minute and a little, or since the loop began.
    pub span: Duration,
    /// What was counted.
    pub tallies: Tallies,
    /// The same in short, second by second, oldest first.
    pub seconds: Vec<Second>,
}

impl Minute {
    /// Whether requests were disturbed, or answered with 5xx.
    pub fn has_failures(&self) -> bool {
        self.tallies.requests[5] + self.tallies.disturbed.total() > 0
    }

    /// Requests per second.
    pub fn requests_per_second(&self) -> f64 {
        self.tallies.requests_over() as f64 / self.span.as_secs_f64().max(1.0)
    }

    /// The share of the time in which the loop was at work, 0 to 1.
    pub fn busy(&self) -> f64 {
        (self.tallies.work_nanos as f64 / self.span.as_nanos().max(1) as f64).min(1.0)
    }
}

/// What happened from one look at the counters to the next.
#[derive(Debug, Clone, Copy)]
pub struct Second {
    /// How long ago it ended.
    pub ago: Duration,
    /// How long it was: longer than a second if the loop slept.
    pub lasted: Duration,
    /// Requests that were over.
    pub requests: u64,
    /// Those of them that were answered with 5xx.
    pub errors: u64,
    /// Bytes written to connections.
    pub sent: u64,
    /// Of 100 requests, 99 took no longer.
    pub p99: Duration,
    /// The share of the time in which the loop was at work, 0 to 1.
    pub busy: f64,
}

/// Counters as they were.
#[derive(Debug, Default)]
struct Look {
    /// They had these values from here: nothing happened until the look.
    since: Moment,
    at: Moment,
    tallies: Tallies,
}

/// The counters of the last minute, once a second.
#[derive(Debug, Default)]
pub struct LastMinute {
    /// Oldest first.
    looks: VecDeque<Look>,
}

impl LastMinute {
    /// The loop wakes at `now` and has slept `since`. `write` puts down the counters as they are. The memory of the oldest look
    /// is used again.
    pub fn look(&mut self, since: Moment, now: Moment, write: impl FnOnce(&mut Tallies)) {
        let oldest = if self.looks.len() < LOOKS_MAX { None } else { self.looks.pop_front() };
        let mut look = oldest.unwrap_or_default();
        (look.since, look.at) = (since, now);
        write(&mut look.tallies);
        self.looks.push_back(look);
    }

    /// What happened until `now`, when the counters are these.
    pub fn until(&self, now: Moment, tallies: &Tallies) -> Minute {
        let from = self.looks.iter().rev().find(|look| now.since(look.since) >= SPAN);
        let nothing = Look::default();
        // Without an older look, the loop itself is younger than a minute.
        let from = from.or(self.looks.front().filter(|_| self.looks.len() == LOOKS_MAX)).unwrap_or(&nothing);
        let began = from.at.min(now);
        Minute {
            span: now.since(began).max(SPAN.min(now.since(from.since))),
            tallies: tallies.since(&from.tallies),
            seconds: self.seconds(now, from),
        }
    }

    fn seconds(&self, now: Moment, from: &Look) -> Vec<Second> {
        let later = self.looks.iter().filter(|look| look.at > from.at);
        let pairs = std::iter::once(from).chain(later.clone()).zip(later);
        let second = |(before, look): (&Look, &Look)| {
            let (lasted, tallies) = (look.at.since(before.at), &look.tallies);
            let work = tallies.work_nanos.saturating_sub(before.tallies.work_nanos);
            Second {
                ago: now.since(look.at),
                lasted,
                requests: tallies.requests_over().saturating_sub(before.tallies.requests_over()),
                errors: tallies.requests[5].saturating_sub(before.tallies.requests[5]),
                sent: tallies.sent.saturating_sub(before.tallies.sent),
                p99: tallies.latency.since(&before.tallies.latency).quantile(0.99),
                busy: (work as f64 / lasted.as_nanos().max(1) as f64).min(1.0),
            }
        };
        pairs.map(second).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    /// A loop that answers a request each second, the nth in n milliseconds, and looks at its counters then.
    fn after(seconds: u64) -> (LastMinute, Tallies) {
        let (mut minute, mut tallies) = (LastMinute::default(), Tallies::default());
        for second in 1..=seconds {
            minute.look(at(second * 1000 - 10), at(second * 1000), |look| look.clone_from(&tallies));
            tallies.requests[2] += 1;
            tallies.latency.record(Duration::from_millis(second));
        }
        (minute, tallies)
    }

    #[test]
    fn only_what_happened_in_the_last_minute_counts() {
        for (seconds, counted) in [(1, 1), (30, 30), (59, 59), (60, 60), (100, 61), (1000, 61)] {
            let (minute, tallies) = after(seconds);
            let told = minute.until(at(seconds * 1000 + 5), &tallies);
            assert_eq!(told.tallies.requests[2], counted, "after {seconds} s");
            assert!(minute.looks.len() <= LOOKS_MAX);
            let expected = Duration::from_millis((seconds * 1000).min(60_000) + 5);
            assert_eq!(told.span, expected, "after {seconds} s");
            let pace = told.requests_per_second();
            assert!((0.95..=1.02).contains(&pace), "after {seconds} s: {pace}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_last_minute() {
        let (minute, tallies) = after(1000);
        let spread = minute.until(at(1_000_005), &tallies).tallies.latency.spread();
        assert_eq!(spread.count, 61);
        assert!(spread.p50 >= Duration::from_millis(960) && spread.p50 <= Duration::from_millis(1100), "{spread:?}");
        assert!(spread.max >= Duration::from_millis(1000), "{spread:?}");
        assert!(tallies.latency.quantile(0.5) < Duration::from_millis(600), "since the start they are others");
    }

    #[test]
    fn what_happened_before_a_long_sleep_is_over() {
        let (mut minute, tallies) = after(10);
        // It slept until something came. The counters have not changed since the turn before.
        minute.look(at(10_001), at(100_000), |look| look.clone_from(&tallies));
        let told = minute.until(at(100_000), &tallies);
        assert_eq!((told.tallies.requests_over(), told.tallies.latency.count()), (0, 0));
        assert_eq!(told.span, SPAN);
        assert!(told.seconds.is_empty());
    }

    #[test]
    fn seconds_come_one_by_one_and_their_sum_is_the_whole() {
        let (minute, tallies) = after(20);
        let told = minute.until(at(20_500), &tallies);
        assert_eq!(told.seconds.len(), 20);
        assert_eq!(told.seconds.iter().map(|second| second.requests).sum::<u64>(), 19, "the last one is not over");
        let last = told.seconds.last().unwrap();
        assert_eq!((last.ago, last.lasted), (Duration::from_millis(500), Duration::from_secs(1)));
        assert!(last.p99 >= Duration::from_millis(19) && last.p99 < Duration::from_millis(22), "{last:?}");
    }

    #[test]
    fn counts_that_did_not_grow_are_left_out_and_the_greatest_comes_first() {
        let earlier: Counts<&str> = [("a", 5), ("b", 1)].into_iter().collect();
        let later: Counts<&str> = [("a", 5), ("b", 2), ("c", 7)].into_iter().collect();
        assert_eq!(later.since(&earlier), [("c", 7), ("b", 1)].into_iter().collect());
        assert_eq!(later.since(&earlier).total(), 8);
    }

    #[test]
    fn drops_are_counted_beyond_the_kernels_last_number() {
        let listeners = [ListenerId::new(1), ListenerId::new(2)];
        let drops = |listener, drops| Tallies { drops: [(listener, drops)].into(), ..Tallies::default() };
        let [first, second] = listeners;
        assert_eq!(drops(first, 3).since(&drops(first, u32::MAX)).drops, [(first, 4)].into());
        assert_eq!(drops(first, 3).since(&Tallies::default()).drops, [(first, 3)].into());
        assert_eq!(drops(second, 3).since(&drops(first, 2)).drops, [(second, 3)].into(), "of each its own");
    }
}
