//! Where the loop's time goes: phase by phase, and drive by drive.

use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

use crate::base::moment::Moment;
use crate::observe::histogram::Histogram;
use crate::observe::report::LongDrive;

/// The longest text of a request that is remembered, in bytes; what is longer ends in `...`.
const REQUEST_BYTES_MAX: usize = 200;

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
#[derive(Debug)]
pub struct Phases {
    /// How long each phase took in which something was done, by `Phase::ALL`.
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
    of_seconds: LongestDrives,
    of_minutes: LongestDrives,
    /// When the present phase began.
    mark: Moment,
    turn_began: Moment,
}

impl Default for Phases {
    fn default() -> Phases {
        Phases {
            times: Default::default(),
            drives: Histogram::default(),
            turns: Histogram::default(),
            lag: Histogram::default(),
            events: 0,
            events_max: 0,
            of_seconds: LongestDrives::new(Duration::from_secs(1), 60),
            of_minutes: LongestDrives::new(Duration::from_secs(60), 60),
            mark: Moment::default(),
            turn_began: Moment::default(),
        }
    }
}

impl Phases {
    /// How long this phase took, each time.
    pub(super) fn time_of(&self, phase: Phase) -> Histogram {
        let worked = &self.times[phase as usize];
        // Each turn has each phase, and the present one is not over.
        worked.plus_zeros(self.turns.count().saturating_sub(worked.count()))
    }

    /// A phase has ended; the next begins. Most turns have phases in which nothing is done.
    #[inline]
    pub(super) fn end(&mut self, phase: Phase, now: Moment) {
        let nanos = now.nanos_since(self.mark);
        if nanos > 0 {
            self.times[phase as usize].record_nanos(nanos);
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

    /// A drive has ended that took so many nanoseconds. If it was the longest of its second and `is_named`, `describe` writes
    /// the rest of what is remembered.
    #[inline]
    pub(super) fn drove(
        &mut self,
        nanos: u64,
        now: Moment,
        is_named: impl FnOnce() -> bool,
        describe: impl FnOnce(&mut LongDrive),
    ) {
        self.drives.record_nanos(nanos);
        let took = Duration::from_nanos(nanos);
        if !self.of_seconds.is_longest(took, now) || !is_named() {
            return;
        }
        self.of_seconds.put(now, |drive| {
            (drive.ended, drive.took) = (now, took);
            drive.request.clear();
            describe(drive);
            cut(&mut drive.request);
        });
        // Whatever is the longest of its minute has also been the longest of its second.
        if let Some((_, drive)) = self.of_seconds.drives.back().filter(|_| self.of_minutes.is_longest(took, now)) {
            self.of_minutes.put(now, |longest| copy(drive, longest));
        }
    }

    /// The longest drive of each second of the last minute in which there was one, oldest first.
    pub fn longest_of_seconds(&self, now: Moment) -> impl Iterator<Item = &LongDrive> {
        self.of_seconds.recent(now)
    }

    /// The longest drive of each minute of the last hour in which there was one, oldest first.
    pub fn longest_of_minutes(&self, now: Moment) -> impl Iterator<Item = &LongDrive> {
        self.of_minutes.recent(now)
    }
}

/// The longest drive of each window of time in which there was one. A window begins with the first drive behind the last one.
#[derive(Debug)]
struct LongestDrives {
    window: Duration,
    /// So many windows are kept.
    windows: usize,
    /// Each with the beginning of its window, oldest first.
    drives: VecDeque<(Moment, LongDrive)>,
}

impl LongestDrives {
    fn new(window: Duration, windows: usize) -> LongestDrives {
        LongestDrives { window, windows, drives: VecDeque::new() }
    }

    /// Whether a drive that took so long and ended at `now` is the longest of its window so far.
    #[inline]
    fn is_longest(&self, took: Duration, now: Moment) -> bool {
        !self.drives.back().is_some_and(|(began, last)| now.since(*began) < self.window && took <= last.took)
    }

    /// Has `write` describe the longest drive of the present window. The memory of what falls out is used again.
    #[cold]
    fn put(&mut self, now: Moment, write: impl FnOnce(&mut LongDrive)) {
        if let Some((_, last)) = self.drives.back_mut().filter(|(began, _)| now.since(*began) < self.window) {
            return write(last);
        }
        let oldest = if self.drives.len() < self.windows { None } else { self.drives.pop_front() };
        let mut drive = oldest.map_or_else(nothing, |(_, drive)| drive);
        write(&mut drive);
        self.drives.push_back((now, drive));
    }

    fn recent(&self, now: Moment) -> impl Iterator<Item = &LongDrive> {
        let span = self.window * self.windows as u32;
        self.drives.iter().map(|(_, drive)| drive).filter(move |drive| now.since(drive.ended) <= span)
    }
}

/// A drive that is still to be described.
fn nothing() -> LongDrive {
    LongDrive {
        ended: Moment::default(),
        wall: UNIX_EPOCH,
        took: Duration::ZERO,
        off_cpu: None,
        connection: 0,
        request: String::new(),
    }
}

/// Without an allocation, mostly.
fn copy(from: &LongDrive, to: &mut LongDrive) {
    let mut request = std::mem::take(&mut to.request);
    request.clone_from(&from.request);
    let LongDrive { ended, wall, took, off_cpu, connection, .. } = *from;
    *to = LongDrive { ended, wall, took, off_cpu, connection, request };
}

/// A request's text is ASCII: it was escaped.
fn cut(request: &mut String) {
    if request.len() > REQUEST_BYTES_MAX {
        request.truncate(request.floor_char_boundary(REQUEST_BYTES_MAX - 3));
        request.push_str("...");
        request.shrink_to(REQUEST_BYTES_MAX);
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

    /// A drive of this connection that took so many milliseconds.
    fn drove(phases: &mut Phases, at_ms: u32, took_ms: u64, connection: u64) {
        phases.drove(
            took_ms * 1_000_000,
            at(at_ms),
            || true,
            |drive| {
                drive.request.push_str(&format!("GET /{connection}"));
                drive.connection = connection;
                drive.off_cpu = Some(took_ms as u32 * US);
            },
        );
    }

    #[test]
    fn the_longest_drive_of_each_second_is_remembered_with_who_it_was() {
        let mut phases = Phases::default();
        for (ms, took, who) in [(0, 3, 7), (400, 9, 8), (999, 5, 9), (1000, 2, 10), (2500, 1, 11)] {
            drove(&mut phases, ms, took, who);
        }
        let named = |now: Moment| {
            phases.longest_of_seconds(now).map(|drive| (drive.connection, drive.took)).collect::<Vec<_>>()
        };
        assert_eq!(named(at(2500)), [(8, 9 * MS), (10, 2 * MS), (11, MS)]);
        assert_eq!(named(at(62_000)), [(11, MS)], "a minute later");
        let requests: Vec<_> = phases.longest_of_seconds(at(2500)).map(|drive| drive.request.as_str()).collect();
        assert_eq!(requests, ["GET /8", "GET /10", "GET /11"]);
        let ended: Vec<_> = phases.longest_of_seconds(at(2500)).map(|drive| drive.ended).collect();
        assert_eq!(ended, [at(400), at(1000), at(2500)], "when it ended, and not when its second began");
        let off_cpu: Vec<_> = phases.longest_of_seconds(at(2500)).map(|drive| drive.off_cpu).collect();
        assert_eq!(off_cpu, [9 * US, 2 * US, US].map(Some));
    }

    #[test]
    fn the_longest_drive_of_each_minute_is_remembered_for_an_hour() {
        let mut phases = Phases::default();
        // A drive in each second of a hundred minutes; the longest of a minute is somewhere in it.
        for second in 0..6000_u32 {
            let (minute, of_minute) = (second / 60, second % 60);
            let took = if of_minute == minute % 60 { 100 + u64::from(minute) } else { 1 + u64::from(of_minute) };
            drove(&mut phases, second * 1000, took, u64::from(second));
        }
        let of_hour = |now: Moment| phases.longest_of_minutes(now).map(|drive| drive.connection).collect::<Vec<_>>();
        let expected: Vec<u64> = (40..100).map(|minute| minute * 60 + minute % 60).collect();
        assert_eq!(of_hour(at(5_999_000)), expected);
        assert_eq!(phases.of_minutes.drives.len(), 60);
        assert_eq!(phases.of_seconds.drives.len(), 60);
        assert_eq!(of_hour(at(6_000_000 + 1_800_000)), expected[30..], "half an hour later");
        let drive = phases.longest_of_minutes(at(5_999_000)).last().unwrap();
        assert_eq!((drive.request.as_str(), drive.took, drive.off_cpu), ("GET /5979", 199 * MS, Some(199 * US)));
    }

    #[test]
    fn a_culprit_outlives_its_minute_and_a_longer_one_takes_its_place() {
        let mut phases = Phases::default();
        drove(&mut phases, 500, 7, 1);
        drove(&mut phases, 700, 90, 2);
        drove(&mut phases, 30_000, 80, 3);
        drove(&mut phases, 59_000, 91, 4);
        let named = |now| phases.longest_of_minutes(at(now)).map(|drive| drive.connection).collect::<Vec<_>>();
        assert_eq!(named(59_000), [4]);
        assert_eq!(named(3_659_000), [4]);
        assert_eq!(named(3_659_001), [0; 0], "more than an hour ago");
    }

    #[test]
    fn a_long_target_takes_little_memory() {
        let mut phases = Phases::default();
        phases.drove(1, at(0), || true, |drive| drive.request.extend(["é"; 10_000]));
        let request = &phases.longest_of_minutes(at(0)).next().unwrap().request;
        assert!(request.len() <= REQUEST_BYTES_MAX && request.ends_with("é..."), "{request}");
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
