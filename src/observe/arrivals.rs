//! Since when requests were readable in the kernel before the loop looked at them. The kernel does not tell, so this is an
//! estimate between two bounds.

use crate::base::moment::Moment;

/// A poll that takes longer than this has slept: what it reports came while it did. In nanoseconds: for the poll, and for each
/// event that it reports.
const POLL_NANOS: u64 = 20_000;
const EVENT_NANOS: u64 = 1_000;

/// When the requests of this turn may have arrived, and how many drives were in front of the present one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrivals {
    /// When the turn began. Whatever it is about was readable by then.
    pub due: Moment,
    /// Whatever the last poll has reported was not readable before this.
    since: Moment,
    /// How many connections were driven in this turn so far.
    pub driven: u32,
}

impl Arrivals {
    /// A poll has returned at `now` with so many events, and took so many nanoseconds. `turn_began`: when the poll before it
    /// returned. What had been readable then was reported then.
    #[inline]
    pub fn on_polled(&mut self, turn_began: Moment, nanos: u64, events: usize, now: Moment) {
        self.due = now;
        let has_slept = nanos > POLL_NANOS + EVENT_NANOS * events as u64;
        self.since = if has_slept { now } else { turn_began };
        self.driven = 0;
    }

    /// Since when a request may have been readable whose connection was driven before until `driven_at`, and was read empty then.
    ///
    /// If that was after the poll before, its client has answered within one turn: such a client usually waits for us, and its
    /// request came soon after. Otherwise any moment between the bounds is as good as another, and the middle is the best guess.
    #[inline]
    pub fn estimate(&self, driven_at: Moment) -> Moment {
        if self.since == self.due {
            return self.due;
        }
        if driven_at > self.since { driven_at.min(self.due) } else { self.since.middle(self.due) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn what_a_poll_reports_that_slept_came_when_it_returned() {
        let mut arrivals = Arrivals::default();
        arrivals.on_polled(at(10), POLL_NANOS + 3 * EVENT_NANOS + 1, 3, at(30));
        assert_eq!([at(5), at(20)].map(|driven_at| arrivals.estimate(driven_at)), [at(30); 2]);
    }

    #[test]
    fn what_a_poll_reports_at_once_came_since_the_poll_before_and_since_its_connection_was_driven() {
        let mut arrivals = Arrivals { driven: 7, ..Arrivals::default() };
        arrivals.on_polled(at(10), POLL_NANOS + 3 * EVENT_NANOS, 3, at(30));
        assert_eq!(arrivals.estimate(at(5)), at(20), "it may have come at any time in this turn");
        assert_eq!(arrivals.estimate(at(10)), at(20));
        assert_eq!(arrivals.estimate(at(12)), at(12), "its client has answered within the turn");
        assert_eq!((arrivals.estimate(at(31)), arrivals.driven), (at(30), 0));
    }
}
