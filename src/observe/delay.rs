//! Long drives, and who was held up by them: a loop with one thread serves one connection at a time.

use std::rc::Rc;
use std::time::Duration;

use crate::base::moment::Moment;

/// Drives shorter than this are not remembered, in nanoseconds: a request that is behind one is hardly later than others.
pub const LONG_NANOS: u64 = 5_000_000;
/// A poll that takes less than this reports what was there before it began, in nanoseconds.
const AT_ONCE_NANOS: u64 = 1_000_000;
/// Long drives that are remembered at a time.
const DRIVES_MAX: usize = 32;
/// Memory for the text of one request, in bytes. Longer ones allocate.
const REQUEST_BYTES: usize = 128;

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
///
/// Their memory is allocated beforehand: the requests of a busy machine are not to allocate because others have long drives.
#[derive(Debug)]
pub struct LongDrives {
    /// Whatever was reported by the last poll cannot have been there before this moment.
    since: Moment,
    /// The same for connections that were accepted in the turn before that poll: they may have been in the accept queue.
    newcomers_since: Moment,
    /// The last connection that was accepted before that turn.
    last_before: u64,
    /// The last connection that was accepted before that poll.
    last: u64,
    drives: Vec<LongDrive>,
    /// Texts that no drive uses just now.
    spare: Vec<String>,
}

#[derive(Debug)]
struct LongDrive {
    took: Duration,
    ended: Moment,
    connection: u64,
    request: String,
}

impl Default for LongDrives {
    fn default() -> LongDrives {
        let spare = (0..DRIVES_MAX).map(|_| String::with_capacity(REQUEST_BYTES)).collect();
        let (never, nobody) = (Moment::default(), 0);
        let drives = Vec::with_capacity(DRIVES_MAX);
        LongDrives { since: never, newcomers_since: never, last_before: nobody, last: nobody, drives, spare }
    }
}

impl LongDrives {
    /// A poll has returned at `now`, and took so many nanoseconds. If it returned at once, what it reports may have arrived
    /// while the loop was busy with the turn that began at `turn_began`. `last` is the last connection that was accepted.
    #[inline]
    pub fn on_polled(&mut self, turn_began: Moment, nanos: u64, now: Moment, last: u64) {
        (self.newcomers_since, self.since) =
            if nanos < AT_ONCE_NANOS { (self.since.min(turn_began), turn_began) } else { (now, now) };
        (self.last_before, self.last) = (self.last, last);
        if !self.drives.is_empty() {
            self.forget_earlier();
        }
    }

    #[cold]
    fn forget_earlier(&mut self) {
        let over = self.drives.extract_if(.., |drive| drive.ended <= self.newcomers_since);
        self.spare.extend(over.map(|drive| drive.request));
    }

    /// Whether no drive has been long since then.
    pub fn is_empty(&self) -> bool {
        self.drives.is_empty()
    }

    /// A drive of `connection` has taken so long, which is at least [`LONG_NANOS`], and was over at `ended`. `write_request`
    /// writes what it was busy with.
    pub fn note(&mut self, took: Duration, ended: Moment, connection: u64, write_request: impl FnOnce(&mut String)) {
        if let Some(mut request) = self.spare.pop() {
            request.clear();
            write_request(&mut request);
            self.drives.push(LongDrive { took, ended, connection, request });
        }
    }

    /// Which connection a request of `connection` had to wait for, if it did. The request's own drive began at `drive_began`.
    /// The connection's last drive ended at `driven_at` and read everything that had arrived by then.
    pub fn delay(&self, connection: u64, driven_at: Moment, drive_began: Moment) -> Option<Rc<Delay>> {
        let is_newcomer = (self.last_before + 1..=self.last).contains(&connection);
        let since = if is_newcomer { self.newcomers_since } else { self.since }.max(driven_at);
        let others = self.drives.iter().filter(|drive| drive.connection != connection && drive.ended > since);
        let longest = others.max_by_key(|drive| drive.took)?;
        let took = drive_began.since(since);
        Some(Rc::new(Delay { took, connection: longest.connection, request: longest.request.clone() }))
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
        drives.delay(connection, at(0), at(ms)).map(|delay| (delay.connection, delay.took))
    }

    #[test]
    fn a_request_is_behind_the_longest_drive_of_somebody_else() {
        let mut drives = LongDrives::default();
        drives.on_polled(at(0), 1_000_000, at(10), 0);
        drives.note(5 * MS, at(15), 1, |_| {});
        drives.note(80 * MS, at(95), 2, |_| {});
        assert_eq!(behind(&drives, 3, 96), Some((2, 86 * MS)));
        assert_eq!(behind(&drives, 2, 96), Some((1, 86 * MS)), "nobody is behind itself");
        let answered_later = drives.delay(3, at(95), at(96));
        assert_eq!(answered_later, None, "its client got an answer after all of them");
        assert_eq!(behind(&LongDrives::default(), 3, 96), None);
    }

    #[test]
    fn what_was_there_before_a_poll_may_be_as_old_as_the_turn_before() {
        let mut drives = LongDrives::default();
        drives.on_polled(at(0), 1_000_000, at(10), 0);
        drives.note(80 * MS, at(90), 2, |_| {});
        drives.on_polled(at(10), 500_000, at(91), 0);
        assert_eq!(behind(&drives, 3, 92), Some((2, 82 * MS)));
        drives.on_polled(at(91), 500_000, at(93), 0);
        assert_eq!(behind(&drives, 3, 94), None, "that turn was short, and the long drive was over before it");
        drives.on_polled(at(91), 7_000_000, at(100), 0);
        assert_eq!(behind(&drives, 3, 101), None, "it came while the loop slept");
    }

    #[test]
    fn a_connection_may_have_waited_to_be_accepted() {
        let mut drives = LongDrives::default();
        drives.on_polled(at(0), 2_000_000, at(10), 2);
        drives.note(80 * MS, at(90), 2, |_| {});
        drives.on_polled(at(10), 500_000, at(91), 2);
        // In this turn connection 3 is accepted, and the next poll reports its request.
        drives.on_polled(at(91), 500_000, at(92), 3);
        assert_eq!(behind(&drives, 3, 93), Some((2, 83 * MS)));
        assert_eq!(
            behind(&drives, 1, 93),
            None,
            "it was accepted long before, and its request came after the long drive"
        );
        drives.on_polled(at(92), 500_000, at(94), 3);
        assert_eq!(behind(&drives, 3, 95), None, "its request came later than it");
        drives.on_polled(at(94), 2_000_000, at(100), 4);
        assert_eq!(behind(&drives, 4, 101), None, "the loop slept after it was accepted");
    }

    #[test]
    fn no_more_drives_are_remembered_than_are_worth_it() {
        let mut drives = LongDrives::default();
        for ms in 1..=100 {
            drives.note(ms as u32 * MS, at(ms), ms, |_| {});
        }
        assert_eq!(behind(&drives, 200, 101).map(|(connection, _)| connection), Some(DRIVES_MAX as u64));
    }
}
