//! Where the loop's time goes: phase by phase, and drive by drive.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::base::stats::Histogram;

/// Seconds of which the longest drive is remembered.
const SECONDS_KEPT: usize = 60;

/// The phases of a turn, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Asleep, or asking for events.
    Poll,
    /// Turning events into marks.
    Collect,
    /// Driving connections.
    Run,
    /// Acting on deadlines.
    Expire,
    /// Taking new connections.
    Accept,
    /// Freeing what has closed.
    Reap,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 6] = [Phase::Poll, Phase::Collect, Phase::Run, Phase::Expire, Phase::Accept, Phase::Reap];

    /// The name of the function in `event_loop`.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Poll => "poll",
            Phase::Collect => "collect",
            Phase::Run => "run",
            Phase::Expire => "expire",
            Phase::Accept => "accept",
            Phase::Reap => "reap",
        }
    }
}

/// The longest drive of one second.
#[derive(Debug, Clone)]
pub struct LongestDrive {
    /// When it ended.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// The connection's number.
    pub connection: u64,
    /// The request that was being answered, if there was one.
    pub request: String,
}

/// The loop's own accounts.
#[derive(Debug)]
pub struct Phases {
    /// How long each phase took, by `Phase::ALL`.
    times: [Histogram; 6],
    /// How long each drive took.
    pub drives: Histogram,
    /// How long a turn took without its poll: an event may have waited so long.
    pub turns: Histogram,
    /// How late the loop woke for its own deadlines.
    pub lag: Histogram,
    /// Events of all turns together.
    pub events: u64,
    /// The most of them in one turn.
    pub events_max: usize,
    longest: VecDeque<LongestDrive>,
    began: Instant,
    mark: Instant,
    turn_began: Instant,
}

impl Phases {
    pub(super) fn new(now: Instant) -> Phases {
        Phases {
            times: Default::default(),
            drives: Histogram::default(),
            turns: Histogram::default(),
            lag: Histogram::default(),
            events: 0,
            events_max: 0,
            longest: VecDeque::new(),
            began: now,
            mark: now,
            turn_began: now,
        }
    }

    /// When the loop began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// How long this phase took, each time.
    pub(super) fn time_of(&self, phase: Phase) -> &Histogram {
        &self.times[phase as usize]
    }

    /// A phase has ended; the next begins.
    pub(super) fn end(&mut self, phase: Phase, now: Instant) {
        self.times[phase as usize].record(now.saturating_duration_since(self.mark));
        self.mark = now;
        match phase {
            Phase::Poll => self.turn_began = now,
            Phase::Reap => self.turns.record(now.saturating_duration_since(self.turn_began)),
            _ => {}
        }
    }

    /// When the present phase began.
    pub(super) fn mark(&self) -> Instant {
        self.mark
    }

    /// A poll that was to end at `due` has ended.
    pub(super) fn woke(&mut self, due: Option<Instant>, events: usize, now: Instant) {
        if let Some(late) = due.and_then(|due| now.checked_duration_since(due)) {
            self.lag.record(late);
        }
        self.events += events as u64;
        self.events_max = self.events_max.max(events);
    }

    /// A drive has ended; `who` is asked only if it was the longest of its second.
    pub(super) fn drove(&mut self, took: Duration, now: Instant, who: impl FnOnce() -> (u64, String)) {
        self.drives.record(took);
        let same_second = |last: &&mut LongestDrive| now.saturating_duration_since(last.at) < Duration::from_secs(1);
        match self.longest.back_mut().filter(same_second) {
            Some(last) if took <= last.took => {}
            Some(last) => {
                let (connection, request) = who();
                // The second is that of the first drive in it.
                *last = LongestDrive { at: last.at, took, connection, request };
            }
            None => {
                let (connection, request) = who();
                self.longest.push_back(LongestDrive { at: now, took, connection, request });
                if self.longest.len() > SECONDS_KEPT {
                    self.longest.pop_front();
                }
            }
        }
    }

    /// The longest drive of each of the last seconds in which there was one, oldest first.
    pub fn longest(&self, now: Instant) -> impl Iterator<Item = &LongestDrive> {
        let recent = move |drive: &&LongestDrive| {
            now.saturating_duration_since(drive.at) <= Duration::from_secs(SECONDS_KEPT as u64)
        };
        self.longest.iter().filter(recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_longest_drive_of_each_second_is_remembered_with_who_it_was() {
        let start = Instant::now();
        let mut phases = Phases::new(start);
        let drives = [(0, 3, 7), (400, 9, 8), (999, 5, 9), (1000, 2, 10), (2500, 1, 11)];
        for (at, took, who) in drives {
            phases.drove(took * MS, start + at * MS, || (who, format!("GET /{who}")));
        }
        let named = |now: Instant| phases.longest(now).map(|drive| (drive.connection, drive.took)).collect::<Vec<_>>();
        assert_eq!(named(start + 2500 * MS), [(8, 9 * MS), (10, 2 * MS), (11, MS)]);
        assert_eq!(named(start + 62_000 * MS), [(11, MS)], "a minute later");
    }

    #[test]
    fn no_more_seconds_are_kept_than_are_told() {
        let start = Instant::now();
        let mut phases = Phases::new(start);
        for second in 0..200 {
            phases.drove(MS, start + second * 1000 * MS, || (u64::from(second), String::new()));
        }
        assert_eq!(phases.longest.len(), SECONDS_KEPT);
        assert_eq!(phases.longest.back().map(|drive| drive.connection), Some(199));
    }

    #[test]
    fn phases_add_up_to_the_time_that_passed() {
        let start = Instant::now();
        let mut phases = Phases::new(start);
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            phases.end(phase, start + (index as u32 + 1) * MS);
        }
        assert!(Phase::ALL.iter().all(|phase| phases.time_of(*phase).sum() == MS));
        assert_eq!(phases.turns.sum(), 5 * MS, "all but the poll");
    }

    #[test]
    fn only_a_deadline_that_has_passed_makes_lag() {
        let start = Instant::now();
        let mut phases = Phases::new(start);
        phases.woke(Some(start + 10 * MS), 3, start + 4 * MS);
        assert_eq!(phases.lag.count(), 0, "something happened earlier");
        phases.woke(Some(start + 10 * MS), 1, start + 12 * MS);
        assert_eq!((phases.lag.count(), phases.lag.max()), (1, 2 * MS));
        assert_eq!((phases.events, phases.events_max), (4, 3));
    }
}
