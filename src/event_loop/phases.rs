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
