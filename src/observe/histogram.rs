//! Plain counting, cheap enough to be always on: histograms of durations, and system calls by kind.

use std::time::Duration;

use crate::base::moment::Moment;

/// Buckets in each octave: a value is known to an eighth of itself.
const STEPS: u32 = 8;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Octaves of nanoseconds that are told apart: up to 2^40, which is 18 minutes.
const OCTAVES: u32 = 40;
const BUCKETS: usize = ((OCTAVES - STEP_BITS + 1) * STEPS) as usize;

/// Durations, counted in buckets whose width is an eighth of their value at most.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
    sum_ns: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: Box::new([0; BUCKETS]), count: 0, sum_ns: 0, max_ns: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        self.record_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts one duration, given in nanoseconds.
    pub fn record_nanos(&mut self, ns: u64) {
        self.buckets[bucket(ns)] += 1;
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// The same durations, and so many of nothing.
    pub fn plus_zeros(&self, count: u64) -> Histogram {
        let mut both = self.clone();
        both.buckets[0] += count;
        both.count += count;
        both
    }

    /// The durations of both.
    pub fn plus(&self, other: &Histogram) -> Histogram {
        let mut both = self.clone();
        both.add(other);
        both
    }

    /// Counts all durations of `other`, too.
    pub fn add(&mut self, other: &Histogram) {
        self.buckets.iter_mut().zip(other.buckets.iter()).for_each(|(sum, count)| *sum += count);
        self.count += other.count;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Takes out durations that were counted here. The longest of the others is then known as exactly as all of them: to an
    /// eighth, rounded up.
    pub fn take_out(&mut self, other: &Histogram) {
        if other.count == 0 {
            return;
        }
        self.buckets.iter_mut().zip(other.buckets.iter()).for_each(|(all, out)| *all = all.saturating_sub(*out));
        self.count = self.buckets.iter().sum();
        self.sum_ns = self.sum_ns.saturating_sub(other.sum_ns);
        let longest = self.buckets.iter().rposition(|count| *count > 0);
        self.max_ns = longest.map_or(0, |index| upper_bound(index).min(self.max_ns));
    }

    /// The durations that came in addition since this was `earlier`.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut since = self.clone();
        since.take_out(earlier);
        since
    }

    /// Becomes a copy, in the memory that it has.
    pub fn set(&mut self, other: &Histogram) {
        self.buckets.copy_from_slice(&other.buckets[..]);
        (self.count, self.sum_ns, self.max_ns) = (other.count, other.sum_ns, other.max_ns);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The duration that this share of all durations, 0 to 1, did not exceed: exact to an eighth, rounded up. Zero if
    /// there were none.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        let found = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        Duration::from_nanos(found.map_or(0, |index| upper_bound(index).min(self.max_ns)))
    }

    /// The durations in short.
    pub fn spread(&self) -> Spread {
        Spread {
            count: self.count,
            total: self.sum(),
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: self.max(),
        }
    }

    /// How many are known to have been at most `bound`: those in buckets that end by then.
    pub fn count_up_to(&self, bound: Duration) -> u64 {
        let ns = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[..bucket(ns.saturating_add(1))].iter().sum()
    }
}

/// Durations in short: the longest of the shorter half, of nine in ten, and so on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many there were.
    pub count: u64,
    /// All together.
    pub total: Duration,
    /// Of 10 durations, 5 are no longer.
    pub p50: Duration,
    /// Of 10 durations, 9 are no longer.
    pub p90: Duration,
    /// Of 100 durations, 99 are no longer.
    pub p99: Duration,
    /// Of 1,000 durations, 999 are no longer.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
}

/// The bucket of a value: each octave in eight equal steps; below eight, each value has its own.
fn bucket(ns: u64) -> usize {
    let octave = u64::BITS - 1 - (ns | 1).leading_zeros();
    if octave < STEP_BITS {
        return ns as usize;
    }
    let step = (ns >> (octave - STEP_BITS)) as u32 & (STEPS - 1);
    let index = (octave - STEP_BITS + 1) * STEPS + step;
    (index as usize).min(BUCKETS - 1)
}

/// The largest value in a bucket.
fn upper_bound(index: usize) -> u64 {
    let (row, step) = (index as u32 / STEPS, u64::from(index as u32 % STEPS));
    match row {
        0 => index as u64,
        row => ((u64::from(STEPS) + step + 1) << (row - 1)) - 1,
    }
}

/// How fast things happened: counts them second by second, the first of which begins with the first of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    second_began: Option<Moment>,
    count: u64,
    busiest: u64,
}

impl Pace {
    /// Counts so many at `now`, which never goes backwards.
    pub fn count(&mut self, more: u64, now: Moment) {
        if self.second_began.is_none_or(|began| now.since(began) >= Duration::from_secs(1)) {
            self.second_began = Some(now);
            self.count = 0;
        }
        self.count += more;
        self.busiest = self.busiest.max(self.count);
    }

    /// How many there were in the second that had the most.
    pub fn busiest_second(&self) -> u64 {
        self.busiest
    }
}

/// System calls of the loop, by kind. Counted where they are made, and not below: one that was interrupted and made
/// again counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Syscalls {
    /// `epoll_wait`
    pub wait: u64,
    /// `epoll_ctl`
    pub ctl: u64,
    /// `accept4`, also those that found nobody
    pub accept: u64,
    /// `connect` to upstreams, each with its `socket` and two `setsockopt`
    pub connect: u64,
    /// `recvfrom`, `readv`
    pub read: u64,
    /// `sendto`, `sendmsg`, `writev`
    pub write: u64,
    /// `sendfile`
    pub sendfile: u64,
    /// `shutdown`
    pub shutdown: u64,
    /// `close`, of connections
    pub close: u64,
    /// `preadv2` with RWF_NOWAIT: whether a file is in memory
    pub residency: u64,
    /// `statx`: whether an open file has changed, without asking a disk
    pub look: u64,
    /// `setsockopt`, when much is to be sent, or when an upstream waits for an acknowledgement
    pub option: u64,
    /// `ioctl` with FIONREAD: how much has arrived on an echo connection that is about to end
    pub unread: u64,
    /// `clock_gettime` of the thread's CPU time, after long drives and ten times a second at most
    pub cpu_time: u64,
    /// Looks how much a slow reader has read: the calls that it takes to ask the kernel over netlink count as one
    pub netlink: u64,
    /// `write` to the eventfd that wakes the loop, by whichever thread
    pub wake: u64,
}

impl Syscalls {
    /// Each kind by its name, with how many there were.
    pub fn by_kind(&self) -> [(&'static str, u64); 16] {
        [
            ("epoll_wait", self.wait),
            ("epoll_ctl", self.ctl),
            ("accept", self.accept),
            ("connect", self.connect),
            ("read", self.read),
            ("write", self.write),
            ("sendfile", self.sendfile),
            ("shutdown", self.shutdown),
            ("close", self.close),
            ("preadv2", self.residency),
            ("statx", self.look),
            ("setsockopt", self.option),
            ("ioctl", self.unread),
            ("clock_gettime", self.cpu_time),
            ("netlink", self.netlink),
            ("wake", self.wake),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_buckets_are_narrow() {
        let mut below = None;
        for index in 0..BUCKETS - 1 {
            let top = upper_bound(index);
            assert_eq!(bucket(top), index, "the largest value of bucket {index}");
            assert_eq!(bucket(top + 1), index + 1, "the next value");
            let bottom = below.map_or(0, |below: u64| below + 1);
            assert!(top - bottom <= top / 8, "bucket {index} from {bottom} to {top}");
            below = Some(top);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn nothing_recorded_is_no_time() {
        let histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.max(), histogram.count()), (Duration::ZERO, Duration::ZERO, 0));
    }

    #[test]
    fn what_came_in_addition_has_its_own_percentiles() {
        let (mut histogram, ms) = (Histogram::default(), Duration::from_millis);
        (0..100).for_each(|_| histogram.record(ms(500)));
        let earlier = histogram.clone();
        (0..10).for_each(|_| histogram.record(ms(2)));
        let since = histogram.since(&earlier);
        assert_eq!((since.count(), since.sum()), (10, ms(20)));
        assert!(since.max() >= ms(2) && since.max() <= ms(2) + ms(2) / 8, "{since:?}");
        assert_eq!(since.quantile(0.99), since.max());
        assert_eq!(histogram.since(&histogram).spread(), Spread::default());
        assert_eq!(histogram.since(&Histogram::default()).spread(), histogram.spread());
        let mut copy = earlier;
        copy.set(&histogram);
        assert_eq!(copy.spread(), histogram.spread());
    }

    #[test]
    fn the_busiest_second_is_remembered() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.busiest_second(), 0);
        for ms in [0, 999, 1000, 1500, 1999, 5000] {
            pace.count(1, Moment::new(start, start + Duration::from_millis(ms)));
        }
        assert_eq!(pace.busiest_second(), 3, "those from 1000 ms to 1999 ms");
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sorted_values_to_an_eighth(
            mut values in proptest::collection::vec(0..1_u64 << 38, 1..200), share in 0.0..=1.0_f64,
        ) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|ns| histogram.record(Duration::from_nanos(*ns)));
            values.sort_unstable();
            let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let told = histogram.quantile(share).as_nanos() as u64;
            prop_assert!(told >= exact && told <= exact + exact / 8 + 1, "{} for {}", told, exact);
            let largest = *values.last().unwrap();
            prop_assert_eq!(histogram.max(), Duration::from_nanos(largest));
            let up_to = |ns: u64| values.iter().filter(|value| **value <= ns).count() as u64;
            let told = histogram.count_up_to(Duration::from_nanos(exact));
            prop_assert!(told <= up_to(exact) && told >= up_to(exact - exact / 8 - exact.min(1)), "{} up to {}", told, exact);
        }
    }
}
