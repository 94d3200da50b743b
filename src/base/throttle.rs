//! Keeps a peer from filling the log.

use std::cell::RefCell;
use std::fmt;
use std::time::{Duration, Instant};

use log::Level;

const WINDOW: Duration = Duration::from_secs(1);

/// Lets so many lines a second into the log and counts the others.
///
/// Peers can provoke log lines, and stderr may be a slow pipe: what they provoke goes through here.
#[derive(Debug)]
pub struct LogThrottle {
    lines_per_second: u32,
    /// When the second that is being counted began; `None` before the first line.
    window: Option<Instant>,
    /// Lines logged in that second.
    logged: u32,
    /// Lines kept back since the last one that was logged.
    suppressed: u64,
}

/// Whether a line may be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Permit {
    /// It may.
    Log {
        /// How many lines were kept back since the last one that was logged; worth saying if it is not 0.
        suppressed: u64,
    },
    /// There have been enough this second.
    Suppress,
}

impl LogThrottle {
    /// Lets `lines_per_second` lines pass in a second; 0 lets none pass.
    pub fn new(lines_per_second: u32) -> LogThrottle {
        LogThrottle { lines_per_second, window: None, logged: 0, suppressed: 0 }
    }

    /// Asks for a line at `now`. A `now` that goes backwards belongs to the second that is being counted.
    pub fn allow(&mut self, now: Instant) -> Permit {
        if self.window.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW) {
            self.window = Some(now);
            self.logged = 0;
        }
        if self.logged == self.lines_per_second {
            self.suppressed = self.suppressed.saturating_add(1);
            return Permit::Suppress;
        }
        self.logged += 1;
        Permit::Log { suppressed: std::mem::take(&mut self.suppressed) }
    }
}

/// The log lines that peers can provoke, no more of them than a log can take.
#[derive(Debug)]
pub struct Complaints {
    others: RefCell<LogThrottle>,
    /// For what is wrong with the server: no flood of bad requests may hide it.
    alarms: RefCell<LogThrottle>,
}

impl Complaints {
    /// Lets `lines_per_second` lines pass in a second, and as many warnings and errors.
    pub fn new(lines_per_second: u32) -> Complaints {
        let throttle = || RefCell::new(LogThrottle::new(lines_per_second));
        Complaints { others: throttle(), alarms: throttle() }
    }

    /// Logs `what`, or counts it.
    pub fn log(&self, now: Instant, level: Level, what: fmt::Arguments<'_>) {
        let throttle = if level <= Level::Warn { &self.alarms } else { &self.others };
        let permit = throttle.borrow_mut().allow(now);
        if let Permit::Log { suppressed } = permit {
            if suppressed > 0 {
                log::log!(level, "{suppressed} lines were left out before the next one");
            }
            log::log!(level, "{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_pass_and_the_next_second_says_how_many_did_not() {
        let mut throttle = LogThrottle::new(2);
        let now = Instant::now();
        assert_eq!(throttle.allow(now), Permit::Log { suppressed: 0 });
        assert_eq!(throttle.allow(now), Permit::Log { suppressed: 0 });
        for _ in 0..5 {
            assert_eq!(throttle.allow(now + Duration::from_millis(999)), Permit::Suppress);
        }
        assert_eq!(throttle.allow(now + WINDOW), Permit::Log { suppressed: 5 });
        assert_eq!(throttle.allow(now + WINDOW), Permit::Log { suppressed: 0 });
        assert_eq!(throttle.allow(now + WINDOW), Permit::Suppress);
    }

    #[test]
    fn a_flood_gets_no_more_than_its_lines_in_each_second() {
        let mut throttle = LogThrottle::new(10);
        let start = Instant::now();
        let permits = (0..3000).map(|n| throttle.allow(start + Duration::from_millis(n)));
        let (mut logged, mut reported) = (0, 0);
        for permit in permits {
            if let Permit::Log { suppressed } = permit {
                logged += 1;
                reported += suppressed;
            }
        }
        assert_eq!(logged, 30);
        assert_eq!(reported, 2 * 990, "those of the third second have not been reported yet");
    }

    #[test]
    fn a_quiet_time_earns_no_credit() {
        let mut throttle = LogThrottle::new(1);
        let start = Instant::now();
        assert_eq!(throttle.allow(start), Permit::Log { suppressed: 0 });
        let later = start + Duration::from_secs(3600);
        assert_eq!(throttle.allow(later), Permit::Log { suppressed: 0 });
        assert_eq!(throttle.allow(later), Permit::Suppress);
    }

    #[test]
    fn time_that_goes_backwards_opens_no_new_second() {
        let mut throttle = LogThrottle::new(1);
        let start = Instant::now() + Duration::from_secs(100);
        assert_eq!(throttle.allow(start), Permit::Log { suppressed: 0 });
        assert_eq!(throttle.allow(start - Duration::from_secs(50)), Permit::Suppress);
    }

    #[test]
    fn zero_lets_nothing_pass() {
        let mut throttle = LogThrottle::new(0);
        assert_eq!(throttle.allow(Instant::now()), Permit::Suppress);
    }
}
