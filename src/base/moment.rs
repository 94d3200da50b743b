//! Moments of one event loop, cheap to compare and to subtract: for what is counted and timed with every request.

use std::num::NonZeroU64;
use std::ops::Add;
use std::time::{Duration, Instant};

/// Nanoseconds since the loop began, for 584 years. The difference of two `Instant`s is a function call and a division;
/// that of two moments is one instruction.
///
/// They are counted from 1, so that an `Option<Moment>` is no larger: records have many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(NonZeroU64);

impl Default for Moment {
    /// The beginning of the loop.
    fn default() -> Moment {
        Moment::from_nanos(0)
    }
}

impl Moment {
    /// `at`, for a loop that began at `start`; the beginning, if `at` is earlier.
    pub fn new(start: Instant, at: Instant) -> Moment {
        let since = at.saturating_duration_since(start);
        Moment::from_nanos(
            since.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(since.subsec_nanos())),
        )
    }

    /// `nanos` nanoseconds after the loop began.
    pub const fn from_nanos(nanos: u64) -> Moment {
        Moment(NonZeroU64::MIN.saturating_add(nanos))
    }

    const fn nanos(self) -> u64 {
        self.0.get() - 1
    }

    /// `ms` milliseconds after the loop began.
    pub const fn from_millis(ms: u64) -> Moment {
        Moment::from_nanos(ms.saturating_mul(NANOS_PER_MILLI))
    }

    /// The whole milliseconds from the loop's beginning to it.
    pub const fn millis_floor(self) -> u64 {
        self.nanos() / NANOS_PER_MILLI
    }

    /// The same, where a millisecond that has begun counts.
    pub const fn millis_ceil(self) -> u64 {
        self.nanos().div_ceil(NANOS_PER_MILLI)
    }

    /// The moment in the middle between this and a later one.
    pub fn middle(self, later: Moment) -> Moment {
        Moment(self.0.saturating_add(later.nanos_since(self) / 2))
    }

    /// So much earlier; the beginning of the loop, if that is later.
    pub fn earlier(self, duration: Duration) -> Moment {
        Moment::from_nanos(self.nanos().saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The nanoseconds since an earlier moment; none since a later one.
    pub fn nanos_since(self, earlier: Moment) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }

    /// The time since an earlier moment; none since a later one.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }
}

const NANOS_PER_MILLI: u64 = 1_000_000;

impl Add<Duration> for Moment {
    type Output = Moment;

    /// So much later; what lies beyond the last moment is the last moment.
    fn add(self, duration: Duration) -> Moment {
        let nanos = duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()));
        Moment(self.0.saturating_add(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_those_of_instants_and_never_negative() {
        let start = Instant::now();
        let moment = |ms| Moment::new(start, start + Duration::from_millis(ms));
        assert_eq!(moment(3500).since(moment(1200)), Duration::from_millis(2300));
        assert_eq!(moment(1).nanos_since(moment(0)), 1_000_000);
        assert_eq!(moment(1).since(moment(2)), Duration::ZERO);
        assert_eq!(Moment::new(start + Duration::from_secs(1), start), Moment::default());
        assert!(moment(1) < moment(2));
        assert_eq!(
            (moment(1).middle(moment(4)), moment(4).middle(moment(1))),
            (moment(1) + Duration::from_micros(1500), moment(4))
        );
        assert_eq!(moment(1) + Duration::from_millis(2), Moment::from_millis(3));
        assert_eq!(moment(1) + Duration::MAX, Moment::from_nanos(u64::MAX));
        assert_eq!(
            (moment(5).earlier(Duration::from_millis(2)), moment(5).earlier(Duration::MAX)),
            (moment(3), moment(0))
        );
        assert_eq!(size_of::<Option<Moment>>(), 8);
        let between = moment(5) + Duration::from_nanos(1);
        assert_eq!((between.millis_floor(), between.millis_ceil(), moment(5).millis_ceil()), (5, 6, 5));
    }
}
