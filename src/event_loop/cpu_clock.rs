//! How much of a long drive the thread was not running: the process was stopped, or another had the processor.

use std::time::Duration;

use crate::base::moment::Moment;
use crate::observe::delay::LONG_NANOS;

/// How old the last reading of the CPU clock may get, in nanoseconds. Reading it takes a system call, so it is read after long drives,
/// and now and then to have something to compare with.
const READING_AGE_NANOS_MAX: u64 = 100_000_000;

/// The CPU clock of the loop's thread, and what it said last.
#[derive(Debug, Default)]
pub(super) struct CpuClock {
    /// When it was read last, and what it said.
    read_at: Moment,
    cpu_time: Duration,
    /// How long polls have taken since then, in nanoseconds.
    polled_nanos: u64,
}

impl CpuClock {
    /// A poll has taken so many nanoseconds: the thread may have slept in it.
    pub(super) fn on_polled(&mut self, nanos: u64) {
        self.polled_nanos += nanos;
    }

    /// Whether the clock is to be read after a drive that took so many nanoseconds and ended at `now`.
    pub(super) fn is_due(&self, nanos: u64, now: Moment) -> bool {
        nanos >= LONG_NANOS || now.nanos_since(self.read_at) >= READING_AGE_NANOS_MAX
    }

    /// If a drive that took so many nanoseconds and ended at `now` was long: for how much of it that took so many nanoseconds and ended at `now` the thread was not running, when it has used
    /// so much CPU time in all.
    ///
    /// All the time since the last reading that was spent neither in polls nor on the processor counts as that of this
    /// drive: the drives before it were short.
    pub(super) fn read(&mut self, nanos: u64, now: Moment, cpu_time: Duration) -> Option<Duration> {
        let awake = Duration::from_nanos(now.nanos_since(self.read_at).saturating_sub(self.polled_nanos));
        let off_cpu = awake.saturating_sub(cpu_time.saturating_sub(self.cpu_time));
        *self = CpuClock { read_at: now, cpu_time, polled_nanos: 0 };
        (nanos >= LONG_NANOS).then(|| off_cpu.min(Duration::from_nanos(nanos)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_a_long_drive_did_not_compute_it_waited() {
        let (mut clock, at) = (CpuClock::default(), Moment::from_millis);
        assert_eq!(clock.read(MS, at(1000), ms(50)), None, "the first reading, after a short drive");
        clock.on_polled(20 * MS);
        assert_eq!(clock.read(80 * MS, at(1101), ms(50 + 81)), Some(Duration::ZERO), "it computed all the time");
        clock.on_polled(9 * MS);
        assert_eq!(clock.read(80 * MS, at(1191), ms(131 + 6)), Some(ms(75)), "1 ms was spent on something short");
        assert_eq!(clock.read(80 * MS, at(1291), ms(137)), Some(ms(80)), "no more than the drive itself");
    }

    #[test]
    fn the_clock_is_read_after_long_drives_and_ten_times_a_second() {
        let (mut clock, at) = (CpuClock::default(), Moment::from_millis);
        assert_eq!(clock.read(MS, at(1000), ms(50)), None);
        assert!(!clock.is_due(LONG_NANOS - 1, at(1099)));
        assert!(clock.is_due(LONG_NANOS, at(1001)) && clock.is_due(0, at(1100)));
    }
}
