//! Where the loop's time goes: phase by phase, and drive by drive.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::moment::Moment;
use crate::observe::histogram::Histogram;
use crate::observe::report::LongestDrive;

/// Seconds of which the longest drive is remembered.
const SECONDS_KEPT: usize = 60;

/// The phases of a turn, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Asleep, or asking for events.
    Poll,
    /// Noting events and wakes, and queueing their connections.
    Collect,
    /// Driving connections.
    Run,
    /// Acting on deadlines.
    Expire,
    /// Taking new connections.
    Accept,
    /// Freeing what has closed, handing on the log, answering questions.
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

/// How long everything took that the loop did.
#[derive(Debug, Default)]
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
    /// The longest drive of each second in which there was one, oldest first.
    longest: VecDeque<LongestDrive>,
    /// When the present phase began.
    mark: Moment,
    turn_began: Moment,
}

impl Phases {
    /// How long this phase took, each time.
    pub(super) fn time_of(&self, phase: Phase) -> &Histogram {
        &self.times[phase as usize]
    }

    /// A phase has ended; the next begins. Most turns have phases in which nothing is done.
    #[inline]
    pub(super) fn end(&mut self, phase: Phase, now: Moment) {
        match now.nanos_since(self.mark) {
            0 => self.times[phase as usize].record_zero(),
            nanos => self.times[phase as usize].record_nanos(nanos),
        }
        self.mark = now;
        match phase {
            Phase::Poll => self.turn_began = now,
            Phase::Reap => self.turns.record_nanos(now.nanos_since(self.turn_began)),
            _ => {}
        }
    }

    /// When the present phase began.
    pub(super) fn mark(&self) -> Moment {
        self.mark
    }

    /// A poll that was to end at `due` has ended.
    pub(super) fn woke(&mut self, due: Option<Moment>, events: usize, now: Moment) {
        if let Some(due) = due.filter(|due| *due <= now) {
            self.lag.record_nanos(now.nanos_since(due));
        }
        self.events += events as u64;
        self.events_max = self.events_max.max(events);
    }

    /// A drive has ended that took so many nanoseconds; for `off_cpu` of that time the thread was not running. `who` is
    /// asked only if it was the longest of its second: for the connection's number, and to write the request.
    pub(super) fn drove(&mut self, nanos: u64, off_cpu: Duration, now: Moment, who: impl FnOnce(&mut String) -> u64) {
        self.drives.record_nanos(nanos);
        let took = Duration::from_nanos(nanos);
        let same_second = |last: &&mut LongestDrive| now.since(last.at) < Duration::from_secs(1);
        match self.longest.back_mut().filter(same_second) {
            Some(last) if took <= last.took => {}
            Some(last) => {
                // The second is that of the first drive in it.
                (last.took, last.off_cpu) = (took, off_cpu);
                last.request.clear();
                last.connection = who(&mut last.request);
            }
            None => {
                let mut request = String::new();
                let connection = who(&mut request);
                self.longest.push_back(LongestDrive { at: now, took, off_cpu, connection, request });
                if self.longest.len() > SECONDS_KEPT {
                    self.longest.pop_front();
                }
            }
        }
    }

    /// The longest drive of each of the last seconds in which there was one, oldest first.
    pub fn longest(&self, now: Moment) -> impl Iterator<Item = &LongestDrive> {
        let recent = move |drive: &&LongestDrive| now.since(drive.at) <= Duration::from_secs(SECONDS_KEPT as u64);
        self.longest.iter().filter(recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const US: Duration = Duration::from_micros(1);

    /// So many milliseconds after the loop's beginning.
    fn at(ms: u32) -> Moment {
        Moment::from_millis(u64::from(ms))
    }

    #[test]
    fn the_longest_drive_of_each_second_is_remembered_with_who_it_was() {
        let mut phases = Phases::default();
        let drives = [(0, 3, 7), (400, 9, 8), (999, 5, 9), (1000, 2, 10), (2500, 1, 11)];
        for (ms, took, who) in drives {
            phases.drove(took * 1_000_000, took as u32 * US, at(ms), |request| {
                request.push_str(&format!("GET /{who}"));
                who
            });
        }
        let named = |now: Moment| phases.longest(now).map(|drive| (drive.connection, drive.took)).collect::<Vec<_>>();
        assert_eq!(named(at(2500)), [(8, 9 * MS), (10, 2 * MS), (11, MS)]);
        assert_eq!(named(at(62_000)), [(11, MS)], "a minute later");
        let requests: Vec<_> = phases.longest(at(2500)).map(|drive| drive.request.as_str()).collect();
        assert_eq!(requests, ["GET /8", "GET /10", "GET /11"]);
        let off_cpu: Vec<_> = phases.longest(at(2500)).map(|drive| drive.off_cpu).collect();
        assert_eq!(off_cpu, [9 * US, 2 * US, US]);
    }

    #[test]
    fn no_more_seconds_are_kept_than_are_told() {
        let mut phases = Phases::default();
        for second in 0..200 {
            phases.drove(1, Duration::ZERO, at(second * 1000), |_| u64::from(second));
        }
        assert_eq!(phases.longest.len(), SECONDS_KEPT);
        assert_eq!(phases.longest.back().map(|drive| drive.connection), Some(199));
    }

    #[test]
    fn phases_add_up_to_the_time_that_passed() {
        let mut phases = Phases::default();
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            phases.end(phase, at(index as u32 + 1));
        }
        assert!(Phase::ALL.iter().all(|phase| phases.time_of(*phase).sum() == MS));
        assert_eq!(phases.turns.sum(), 5 * MS, "all but the poll");
    }

    #[test]
    fn only_a_deadline_that_has_passed_makes_lag() {
        let mut phases = Phases::default();
        phases.woke(Some(at(10)), 3, at(4));
        assert_eq!(phases.lag.count(), 0, "something happened earlier");
        phases.woke(Some(at(10)), 1, at(12));
        assert_eq!((phases.lag.count(), phases.lag.max()), (1, 2 * MS));
        assert_eq!((phases.events, phases.events_max), (4, 3));
    }
}
