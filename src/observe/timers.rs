//! Where the time of a request went. Every moment of it belongs to exactly one part, so that the parts add up to the whole.

use std::time::Duration;

use crate::base::moment::Moment;

/// Makes the parts, all of them and their names from one list.
macro_rules! parts {
    ($($(#[$meaning:meta])* $part:ident $name:literal;)*) => {
        /// A part of the time of a request: what it waited for. A closed set, made to be printed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Part {
            $($(#[$meaning])* $part,)*
        }

        impl Part {
            /// All of them, each at its place.
            pub const ALL: [Part; [$($name),*].len()] = [$(Part::$part),*];

            /// As it is printed.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Part::$part => $name,)*
                }
            }
        }
    };
}

parts! {
    /// The client has begun the head, and the rest of it has not come.
    Head "head";
    /// It could go on, and the loop drives other connections first.
    Queue "queue";
    /// The loop drives its connection: what its handler computes counts here.
    Work "work";
    /// Content of the request is wanted that has not come.
    Content "content";
    /// The handler waits for the clock, or for a wake.
    Clock "clock";
    /// The handler waits for a job, and that waits for a thread.
    JobQueued "job-queued";
    /// The handler waits for a job that runs.
    JobRunning "job-running";
    /// The handler waits for an upstream, or for more of its response.
    Upstream "upstream";
    /// The request is delayed, because the client has reset too many streams.
    Delay "delay";
    /// Neither side of a tunnel has anything to say.
    Conversation "conversation";
    /// The kernel has no room for the response. The kernel was not asked why.
    Blocked "blocked";
    /// The same, because the client does not read: its window was shut.
    Reader "reader";
    /// The same for another reason: what was sent has not been acknowledged.
    Network "network";
    /// There is content, and the stream's window has no room for it.
    StreamWindow "stream-window";
    /// There is content, and the connection's window has no room for it.
    ConnectionWindow "connection-window";
    /// Other responses of the same connection are sent first.
    Turn "turn";
}

/// How long each part is.
pub type PartTimes = [(Part, Duration); Part::ALL.len()];

/// Those parts that there are.
pub fn some(times: PartTimes) -> impl Iterator<Item = (Part, Duration)> {
    times.into_iter().filter(|(_, time)| !time.is_zero())
}

/// A drive of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Drive {
    /// When its turn began: whatever the drive was about is known by then.
    pub due: Moment,
    /// When it began: others may have been driven before.
    pub began: Moment,
    /// When it was over.
    pub over: Moment,
}

/// Where the time of a request went, as small as its history allows: ten thousand streams may wait at once.
#[derive(Debug, Clone)]
pub enum Timeline {
    /// So far nothing is known but the drive in which its head was complete. Most requests are over by then.
    OneDrive,
    /// That drive was over at this moment, and since then it waits for this.
    FirstWait(Part, Moment),
    /// Its head was slow, or it went on after it had waited.
    Several(Box<Timers>),
}

/// The parts of a request's time that is not over within one drive.
#[derive(Debug, Clone)]
pub struct Timers {
    nanos: [u64; Part::ALL.len()],
    /// What the time from `since` on belongs to.
    present: Part,
    since: Moment,
    /// What the client's kernel had acknowledged of the response when it was over, in bytes, if the kernel was asked.
    pub acknowledged: Option<u64>,
}

impl Timers {
    /// Of a request whose first byte was noticed at `began`. Its head was complete at `due`, when a turn began, and was looked at
    /// in the drive that began at `head_at`.
    pub fn new(began: Moment, due: Moment, head_at: Moment) -> Timers {
        let (nanos, present) = ([0; Part::ALL.len()], Part::Head);
        let mut timers = Timers { nanos, present, since: began, acknowledged: None };
        timers.enter(Part::Queue, due);
        timers.enter(Part::Work, head_at);
        timers
    }

    /// From `now` on the time belongs to this part, and until then to the one before. What lies behind us stays as it is.
    pub fn enter(&mut self, part: Part, now: Moment) {
        self.nanos[self.present as usize] += now.nanos_since(self.since);
        self.since = self.since.max(now);
        self.present = part;
    }

    /// A drive is over, and the request waits for this now. If it waited for the same before, and the drive was about others
    /// (`!moved`), it has waited all the time.
    pub fn on_drive(&mut self, drive: &Drive, next: Part, moved: bool) {
        if self.present == next && !moved {
            return;
        }
        self.enter(Part::Queue, drive.due);
        self.enter(Part::Work, drive.began);
        self.enter(next, drive.over);
    }

    /// From now on, as far as is known, it waits behind other responses.
    pub fn wait_behind_others(&mut self) {
        self.present = Part::Turn;
    }

    /// The job that it waits for, or has waited for, has a thread since `began`.
    pub fn on_job_began(&mut self, began: Moment) {
        match self.present {
            Part::JobQueued => self.enter(Part::JobRunning, began),
            Part::JobRunning => {}
            _ => return,
        }
        let ran_before = self.since.nanos_since(began).min(self.nanos[Part::JobQueued as usize]);
        self.nanos[Part::JobQueued as usize] -= ran_before;
        self.nanos[Part::JobRunning as usize] += ran_before;
    }

    /// The time up to `now` is counted.
    pub fn bring_up_to(&mut self, now: Moment) {
        self.enter(self.present, now);
    }

    /// For so long the client's window was shut, as far as the kernel has counted. That was the reason for as much of the time in
    /// which the response was blocked, and the network for the rest.
    pub fn blame(&mut self, window_was_shut: Duration) {
        let blocked = std::mem::take(&mut self.nanos[Part::Blocked as usize]);
        let reader = blocked.min(u64::try_from(window_was_shut.as_nanos()).unwrap_or(u64::MAX));
        self.nanos[Part::Reader as usize] += reader;
        self.nanos[Part::Network as usize] += blocked - reader;
    }

    /// What it waits for, and since when.
    pub fn present(&self) -> (Part, Moment) {
        (self.present, self.since)
    }

    /// How long it was blocked, whatever the reason.
    pub fn blocked(&self) -> Duration {
        let parts = [Part::Blocked, Part::Reader, Part::Network];
        Duration::from_nanos(parts.iter().map(|part| self.nanos[*part as usize]).sum())
    }

    /// The parts, up to `now`.
    pub fn times(&self, now: Moment) -> PartTimes {
        let going_on = now.nanos_since(self.since);
        Part::ALL.map(|part| {
            let going_on = if part == self.present { going_on } else { 0 };
            (part, Duration::from_nanos(self.nanos[part as usize] + going_on))
        })
    }
}

/// The job that the request waits for has run for so long.
pub fn job_runs(times: &mut PartTimes, ran: Duration) {
    let ran = ran.min(times[Part::JobQueued as usize].1);
    times[Part::JobQueued as usize].1 -= ran;
    times[Part::JobRunning as usize].1 += ran;
}

/// The same for a request that is over within the drive in which its head was complete.
pub fn times_of_one_drive(began: Moment, head_at: Moment, now: Moment) -> PartTimes {
    Part::ALL.map(|part| match part {
        Part::Queue => (part, head_at.since(began)),
        Part::Work => (part, now.since(head_at)),
        _ => (part, Duration::ZERO),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn drive(due: u64, began: u64, over: u64) -> Drive {
        Drive { due: at(due), began: at(began), over: at(over) }
    }

    /// Those parts that there are, in milliseconds.
    fn some(times: PartTimes) -> Vec<(&'static str, u128)> {
        super::some(times).map(|(part, time)| (part.name(), time.as_millis())).collect()
    }

    #[test]
    fn the_time_of_a_drive_is_told_apart_from_what_was_waited_for_before() {
        let mut timers = Timers::new(at(10), at(40), at(45));
        timers.on_drive(&drive(40, 45, 50), Part::Content, true);
        timers.on_drive(&drive(150, 170, 180), Part::Clock, true);
        assert_eq!(timers.present(), (Part::Clock, at(180)));
        timers.on_drive(&drive(280, 280, 281), Part::Blocked, true);
        let expected = [("head", 30), ("queue", 25), ("work", 16), ("content", 100), ("clock", 100), ("blocked", 19)];
        assert_eq!(some(timers.times(at(300))), expected);
    }

    #[test]
    fn drives_for_others_do_not_interrupt_a_wait() {
        let mut timers = Timers::new(at(0), at(0), at(0));
        timers.on_drive(&drive(0, 0, 0), Part::StreamWindow, true);
        for ms in (10..100).step_by(10) {
            timers.on_drive(&drive(ms, ms + 1, ms + 5), Part::StreamWindow, false);
        }
        assert_eq!(some(timers.times(at(100))), [("stream-window", 100)]);
        timers.on_drive(&drive(100, 101, 105), Part::Turn, false);
        assert_eq!(some(timers.times(at(105))), [("queue", 1), ("work", 4), ("stream-window", 100)]);
    }

    #[test]
    fn a_job_is_queued_until_it_is_known_to_have_run() {
        let mut timers = Timers::new(at(0), at(0), at(0));
        timers.on_drive(&drive(0, 0, 0), Part::JobQueued, true);
        timers.on_job_began(at(30));
        assert_eq!(timers.present().0, Part::JobRunning);
        timers.on_drive(&drive(80, 80, 80), Part::JobQueued, true);
        // Driven for another reason while the second job ran, before that was known.
        timers.on_drive(&drive(100, 100, 100), Part::JobQueued, true);
        timers.on_job_began(at(90));
        assert_eq!(some(timers.times(at(110))), [("job-queued", 40), ("job-running", 70)]);
    }

    #[test]
    fn the_window_is_to_blame_for_as_long_as_it_was_shut() {
        for (shut, reader, network) in [(0, 0, 100), (30, 30, 70), (500, 100, 0)] {
            let mut timers = Timers::new(at(0), at(0), at(0));
            timers.on_drive(&drive(0, 0, 0), Part::Blocked, true);
            timers.on_drive(&drive(100, 100, 100), Part::Queue, true);
            timers.blame(Duration::from_millis(shut));
            let times = timers.times(at(100)).map(|(_, time)| time.as_millis());
            assert_eq!((times[Part::Reader as usize], times[Part::Network as usize]), (reader, network));
            assert_eq!((times[Part::Blocked as usize], timers.blocked().as_millis()), (0, 100));
        }
    }

    /// What happens to a request, in any order and with any clock.
    #[derive(Debug, Clone)]
    enum Happens {
        Drive(u64, u64, u64, usize, bool),
        Job(u64),
        Blame(u64),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let drive = (0..50_u64, 0..9_u64, 0..9_u64, 0..Part::ALL.len(), any::<bool>());
        prop_oneof![
            6 => drive.prop_map(|(due, queue, work, part, moved)| Happens::Drive(due, queue, work, part, moved)),
            1 => (0..60_u64).prop_map(Happens::Job),
            1 => (0..500_u64).prop_map(Happens::Blame),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_the_parts_are_the_whole(all in prop::collection::vec(happens(), 0..40)) {
            let mut timers = Timers::new(at(5), at(7), at(8));
            let mut now = 8;
            for happens in all {
                match happens {
                    // A turn may have begun before the drive before was over.
                    Happens::Drive(due, queue, work, part, moved) => {
                        let due = (now + due).saturating_sub(10);
                        let began = now.max(due) + queue;
                        now = began + work;
                        timers.on_drive(&drive(due, began, now), Part::ALL[part], moved);
                    }
                    Happens::Job(ago) => timers.on_job_began(at(now.saturating_sub(ago))),
                    Happens::Blame(ms) => timers.blame(Duration::from_millis(ms)),
                }
                let sum: Duration = timers.times(at(now)).iter().map(|(_, time)| *time).sum();
                prop_assert_eq!(sum, at(now).since(at(5)));
            }
        }
    }
}
