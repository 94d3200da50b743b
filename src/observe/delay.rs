//! Long drives, and who was held up by them: a loop with one thread serves one connection at a time.

use std::time::Duration;

use crate::base::moment::Moment;

/// Drives shorter than this are not remembered: nobody notices that they were behind one.
pub const LONG: Duration = Duration::from_millis(1);
/// Long drives that are remembered of one turn.
const DRIVES_MAX: usize = 16;

/// A request that had to wait because the loop was busy with another connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delay {
    /// At most so long: from the moment at which the request may have been there until its own drive began.
    pub took: Duration,
    /// The connection that was driven meanwhile; of several, the one that took longest.
    pub connection: u64,
    /// What it was busy with: method and target, escaped.
    pub request: String,
}

/// The long drives during which a request may have arrived whose drive begins now.
#[derive(Debug, Default)]
pub struct LongDrives {
    /// Whatever is noticed now cannot have been there before this moment.
    since: Moment,
    drives: Vec<LongDrive>,
}

#[derive(Debug)]
struct LongDrive {
    took: Duration,
    connection: u64,
    request: String,
}

impl LongDrives {
    /// A poll has returned at `now`. `events_were_waiting`: it did not sleep, so what it reports came while the loop was
    /// busy with the turn that began at `turn_began`.
    pub fn on_polled(&mut self, turn_began: Moment, events_were_waiting: bool, now: Moment) {
        if events_were_waiting {
            let earlier = self.drives.len().min(DRIVES_MAX);
            self.drives.drain(..self.drives.len() - earlier);
            self.since = turn_began;
        } else {
            self.drives.clear();
            self.since = now;
        }
    }

    /// Whether a drive has been long since the last poll that slept.
    pub fn is_empty(&self) -> bool {
        self.drives.is_empty()
    }

    /// A drive of `connection` has taken so long, which is at least [`LONG`].
    pub fn note(&mut self, took: Duration, connection: u64, request: String) {
        if self.drives.len() < 2 * DRIVES_MAX {
            self.drives.push(LongDrive { took, connection, request });
        }
    }

    /// Behind whom a request of `connection` was whose drive began at `drive_began`, if it was behind anybody.
    pub fn delay(&self, connection: u64, drive_began: Moment) -> Option<Box<Delay>> {
        let others = self.drives.iter().filter(|drive| drive.connection != connection);
        let longest = others.max_by_key(|drive| drive.took)?;
        let took = drive_began.since(self.since);
        Some(Box::new(Delay { took, connection: longest.connection, request: longest.request.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn behind(drives: &LongDrives, connection: u64, ms: u64) -> Option<(u64, Duration)> {
        drives.delay(connection, at(ms)).map(|delay| (delay.connection, delay.took))
    }

    #[test]
    fn a_request_is_behind_the_longest_drive_of_somebody_else() {
        let mut drives = LongDrives::default();
        drives.on_polled(at(0), false, at(10));
        drives.note(5 * MS, 1, String::new());
        drives.note(80 * MS, 2, String::new());
        assert_eq!(behind(&drives, 3, 96), Some((2, 86 * MS)));
        assert_eq!(behind(&drives, 2, 96), Some((1, 86 * MS)), "nobody is behind itself");
        assert_eq!(behind(&LongDrives::default(), 3, 96), None);
    }

    #[test]
    fn what_was_there_before_a_poll_may_be_as_old_as_the_turn_before() {
        let mut drives = LongDrives::default();
        drives.on_polled(at(0), false, at(10));
        drives.note(80 * MS, 2, String::new());
        drives.on_polled(at(10), true, at(91));
        assert_eq!(behind(&drives, 3, 92), Some((2, 82 * MS)));
        drives.on_polled(at(91), false, at(100));
        assert_eq!(behind(&drives, 3, 101), None, "it came while the loop slept");
    }
}
