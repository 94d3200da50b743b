//! Threads for what may block: opening files, reading what may be cold, listing, compressing.
//!
//! The event loop submits a job and goes on. When the job is done, it wakes the exchange that asked, whose ticket then gives
//! the result. Nothing here ever waits for a job, not even the end of the process.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::job_name::{JobKind, JobName, Lane};
use super::wake::{WakeKey, Waker};

/// A job that takes so long, or waits so long for a thread, is remembered: a disk was stalled, or there is too much to do.
pub const LONG: Duration = Duration::from_secs(1);
/// Long jobs whose names are remembered.
const LONGEST_KEPT: usize = 8;

/// A pool's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobPoolLimits {
    /// How many threads there are, at least 1. All but one of them may run slow jobs (a single one runs both).
    pub threads: usize,
    /// How many quick jobs may wait.
    pub quick_max: usize,
    /// How many slow jobs may wait.
    pub slow_max: usize,
}

impl Default for JobPoolLimits {
    fn default() -> JobPoolLimits {
        JobPoolLimits { threads: 4, quick_max: 1024, slow_max: 256 }
    }
}

/// A fixed number of threads that run jobs, the oldest first. A handle: clones share the threads, which end with the
/// last of them, each after the job it is running.
///
/// The threads take signals like any other. That does no harm: handlers are for the whole process, only set a flag, and
/// restart the calls that they interrupt.
#[derive(Clone)]
pub struct JobPool(Option<Arc<Owner>>);

/// What a pool is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobNumbers {
    /// Quick jobs that wait for a thread.
    pub quick_queued: usize,
    /// Slow jobs that wait for a thread.
    pub slow_queued: usize,
    /// Jobs that run, by `JobKind::ALL`.
    pub running: [u64; JobKind::COUNT],
    /// Since when the longest of these has been running. Far in the past means that a disk is stalled.
    pub longest_since: Option<Instant>,
    /// Jobs that were run, by `JobKind::ALL`.
    pub done: [u64; JobKind::COUNT],
    /// Of these, the jobs that ran for [`LONG`] or longer, by `JobKind::ALL`.
    pub long: [u64; JobKind::COUNT],
    /// Jobs that waited for a thread for [`LONG`] or longer.
    pub delayed: u64,
}

/// A job that was submitted: its name, and whom it wakes when it is done.
#[derive(Debug)]
pub struct Job {
    /// What it is called.
    pub name: JobName,
    waker: Waker,
    /// Those that have joined whoever submitted it. They are gone when it is done.
    others: Mutex<Vec<Waker>>,
}

/// A job that a thread runs.
#[derive(Debug, Clone)]
pub struct RunningJob {
    /// Which job.
    pub job: Arc<Job>,
    /// Since when it runs.
    pub since: Instant,
    /// The number of its thread.
    pub thread: usize,
}

/// A job that waits for a thread.
#[derive(Debug, Clone)]
pub struct QueuedJob {
    /// Which job.
    pub job: Arc<Job>,
    /// Since when it waits.
    pub since: Instant,
    /// Whether somebody still wants its result. Otherwise it is skipped.
    pub is_wanted: bool,
    /// The jobs of its lane that wait in front of it.
    pub ahead: usize,
}

/// A job that took long.
#[derive(Debug, Clone)]
pub struct LongJob {
    /// Which job.
    pub job: Arc<Job>,
    /// How long it ran, or waited for a thread.
    pub took: Duration,
    /// When that was over.
    pub ended: Instant,
}

/// What a pool is doing, job by job.
#[derive(Debug, Clone, Default)]
pub struct JobsSnapshot {
    /// Jobs that run, by thread.
    pub running: Vec<RunningJob>,
    /// Jobs that wait for a thread, oldest first. At most as many as were asked for.
    pub queued: Vec<QueuedJob>,
    /// Why a job of each lane has to wait, if it has to: the one of the running jobs that has run longest and whose thread it
    /// could have. Quick first.
    pub holders: [Option<RunningJob>; 2],
    /// The jobs that ran longest so far, longest first: a few of those that are done and took [`LONG`] or longer.
    pub longest: Vec<LongJob>,
    /// The job that waited longest for a thread so far, if that was [`LONG`] or longer.
    pub most_delayed: Option<LongJob>,
}

/// What a job thread is about to do, or has just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStep {
    /// The job begins.
    Begins,
    /// The job has ended, and has woken who waits for it.
    Ended,
}

/// Told on the job's own thread before a job and after it.
type Watch = Box<dyn Fn(&JobName, JobStep) + Send + Sync>;

/// The claim to a job's result. Dropping it before the job has started cancels the job.
#[derive(Debug)]
#[must_use = "a job whose ticket is dropped is skipped"]
pub struct Ticket<T> {
    job: Arc<Job>,
    /// `None` once the result was taken.
    answer: Option<Arc<Mutex<Option<JobResult<T>>>>>,
}

type JobResult<T> = Result<T, JobDied>;

/// A job was not accepted: as many as may wait in its lane are waiting already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many jobs are waiting for the disk")
    }
}

impl std::error::Error for QueueFull {}

/// A job will never have a result: it panicked, or its pool ended first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobDied;

impl fmt::Display for JobDied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a job died before it had a result")
    }
}

impl std::error::Error for JobDied {}

impl JobPool {
    /// Starts the threads. `clock` is read when a job is submitted, starts and ends. Fails if the system has no threads
    /// left.
    pub fn new(limits: JobPoolLimits, clock: fn() -> Instant) -> io::Result<JobPool> {
        JobPool::watched(limits, clock, |_, _| {})
    }

    /// The same. `watch` is called on the job's own thread before each job and after it.
    pub fn watched(
        limits: JobPoolLimits,
        clock: fn() -> Instant,
        watch: impl Fn(&JobName, JobStep) + Send + Sync + 'static,
    ) -> io::Result<JobPool> {
        let owner = Owner { shared: Arc::new(Shared::new(limits, clock, Box::new(watch))) };
        for number in 0..limits.threads.max(1) {
            let shared = Arc::clone(&owner.shared);
            // Nobody joins it: a thread that a disk holds must not hold the end of the process.
            thread::Builder::new().name(thread_name(number)).spawn(move || shared.work(number))?;
        }
        Ok(JobPool(Some(Arc::new(owner))))
    }

    /// A pool that runs each job when it is submitted, for worlds in which nothing may depend on threads.
    pub fn without_threads() -> JobPool {
        JobPool(None)
    }

    /// Puts a job into the queue of its kind's lane. When it is done, `waker` leaves a wake and the ticket has the result.
    pub fn submit<T: Send + 'static>(
        &self,
        name: JobName,
        waker: Waker,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Ticket<T>, QueueFull> {
        let job = Arc::new(Job { name, waker, others: Mutex::new(Vec::new()) });
        let answer = Arc::new(Mutex::new(None));
        let order: Box<dyn Work> = Box::new(Order { work, answer: Arc::downgrade(&answer), job: Arc::clone(&job) });
        match &self.0 {
            Some(owner) => owner.shared.enqueue(Arc::clone(&job), order)?,
            None => order.run(),
        }
        Ok(Ticket { job, answer: Some(answer) })
    }

    /// What the pool is doing now, in numbers.
    pub fn numbers(&self) -> JobNumbers {
        let Some(owner) = &self.0 else { return JobNumbers::default() };
        let queues = owner.shared.lock();
        let mut running = [0; JobKind::COUNT];
        queues.running.iter().flatten().for_each(|running_job| running[running_job.job.name.kind as usize] += 1);
        JobNumbers {
            quick_queued: queues.quick.waiting.len(),
            slow_queued: queues.slow.waiting.len(),
            running,
            longest_since: queues.running.iter().flatten().map(|running| running.since).min(),
            done: queues.past.done,
            long: queues.past.long,
            delayed: queues.past.delayed,
        }
    }

    /// What the pool is doing now, job by job, with at most `queued_max` of those that wait.
    pub fn snapshot(&self, queued_max: usize) -> JobsSnapshot {
        let Some(owner) = &self.0 else { return JobsSnapshot::default() };
        let queues = owner.shared.lock();
        JobsSnapshot {
            running: queues.running.iter().flatten().cloned().collect(),
            queued: queues.oldest_waiting(queued_max),
            holders: [Lane::Quick, Lane::Slow].map(|lane| queues.holder(lane).cloned()),
            longest: queues.past.longest.clone(),
            most_delayed: queues.past.most_delayed.clone(),
        }
    }
}

impl Job {
    /// Whom it wakes when it is done.
    pub fn wakes(&self) -> Vec<WakeKey> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        [self.waker.key()].into_iter().chain(others.iter().map(Waker::key)).collect()
    }

    /// It is done.
    fn wake_all(&self) {
        self.waker.wake();
        let others = std::mem::take(&mut *self.others.lock().unwrap_or_else(PoisonError::into_inner));
        others.iter().for_each(Waker::wake);
    }
}

impl RunningJob {
    /// The name of its thread.
    pub fn thread_name(&self) -> String {
        thread_name(self.thread)
    }
}

fn thread_name(number: usize) -> String {
    format!("tidemill-io-{number}")
}

impl<T> Ticket<T> {
    /// `waker` leaves a wake, too, when the job is done. If it is done already, it leaves none.
    pub fn also_wake(&self, waker: Waker) {
        self.job.others.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }

    /// The result, once, after the wake; `None` before, and after it was taken.
    pub fn take(&mut self) -> Option<Result<T, JobDied>> {
        let slot = self.answer.as_ref()?;
        // Asked before the answer is looked for: between the two, the job may give its answer and be gone.
        let nobody_answers = Arc::weak_count(slot) == 0;
        let answer = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let answer = answer.or_else(|| nobody_answers.then_some(Err(JobDied)))?;
        self.answer = None;
        Some(answer)
    }
}

/// Ends the threads when the last handle goes. The threads themselves only have what they share.
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut queues = self.shared.lock();
        queues.closing = true;
        let abandoned = (std::mem::take(&mut queues.quick.waiting), std::mem::take(&mut queues.slow.waiting));
        drop(queues);
        self.shared.changed.notify_all();
        drop(abandoned);
    }
}

struct Shared {
    queues: Mutex<Queues>,
    /// A job was queued, or the pool ends.
    changed: Condvar,
    clock: fn() -> Instant,
    watch: Watch,
}

struct Queues {
    quick: Queue,
    slow: Queue,
    /// How many slow jobs may run at a time.
    slow_running_max: usize,
    slow_running: usize,
    /// For each thread, the job that it runs.
    running: Vec<Option<RunningJob>>,
    past: Past,
    /// How many jobs have been queued so far.
    submitted: u64,
    closing: bool,
}

struct Queue {
    waiting: VecDeque<Waiting>,
    max: usize,
}

struct Waiting {
    /// The lower, the older.
    ordinal: u64,
    since: Instant,
    job: Arc<Job>,
    work: Box<dyn Work>,
}

/// What was done so far.
#[derive(Default)]
struct Past {
    done: [u64; JobKind::COUNT],
    long: [u64; JobKind::COUNT],
    delayed: u64,
    longest: Vec<LongJob>,
    most_delayed: Option<LongJob>,
}

impl Shared {
    fn new(limits: JobPoolLimits, clock: fn() -> Instant, watch: Watch) -> Shared {
        let threads = limits.threads.max(1);
        let queues = Queues {
            quick: Queue::new(limits.quick_max),
            slow: Queue::new(limits.slow_max),
            slow_running_max: (threads - 1).max(1),
            slow_running: 0,
            running: vec![None; threads],
            past: Past::default(),
            submitted: 0,
            closing: false,
        };
        Shared { queues: Mutex::new(queues), changed: Condvar::new(), clock, watch }
    }

    /// Jobs run outside the lock, so nothing that panics can leave the queues half changed.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, job: Arc<Job>, work: Box<dyn Work>) -> Result<(), QueueFull> {
        let since = (self.clock)();
        let mut queues = self.lock();
        let ordinal = queues.submitted;
        queues.submitted += 1;
        let queue = queues.queue(job.name.kind.lane());
        let skipped = queue.make_room();
        if queue.is_full() {
            return Err(QueueFull);
        }
        queue.waiting.push_back(Waiting { ordinal, since, job, work });
        drop(queues);
        self.changed.notify_one();
        // What a job owns may take its time to be dropped; not under the lock.
        drop(skipped);
        Ok(())
    }

    /// What a thread does, from its start to its end.
    fn work(&self, thread: usize) {
        while let Some((job, work)) = self.next(thread) {
            let is_wanted = work.is_wanted();
            if is_wanted {
                (self.watch)(&job.name, JobStep::Begins);
                work.run();
                (self.watch)(&job.name, JobStep::Ended);
            } else {
                drop(work);
            }
            self.done(thread, is_wanted);
        }
    }

    /// Waits for a job. `None`: there will be none.
    fn next(&self, thread: usize) -> Option<(Arc<Job>, Box<dyn Work>)> {
        let mut queues = self.lock();
        loop {
            if queues.closing {
                return None;
            }
            if let Some(Waiting { since, job, work, .. }) = queues.pop() {
                let now = (self.clock)();
                if work.is_wanted() {
                    queues.past.count_wait(&job, now.saturating_duration_since(since), now);
                }
                queues.running[thread] = Some(RunningJob { job: Arc::clone(&job), since: now, thread });
                return Some((job, work));
            }
            queues = self.changed.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, thread: usize, was_wanted: bool) {
        let now = (self.clock)();
        let mut queues = self.lock();
        let Some(RunningJob { job, since, .. }) = queues.running[thread].take() else { return };
        if job.name.kind.lane() == Lane::Slow {
            // Whoever waits for this needs no wake-up: this thread looks for a slow job next.
            queues.slow_running -= 1;
        }
        if was_wanted {
            queues.past.count_run(job, now.saturating_duration_since(since), now);
        }
    }
}

impl Queues {
    fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Quick => &mut self.quick,
            Lane::Slow => &mut self.slow,
        }
    }

    /// The oldest job that may run now. By age and not by lane: neither lane starves the other.
    fn pop(&mut self) -> Option<Waiting> {
        let lane = self.next_lane()?;
        let waiting = self.queue(lane).waiting.pop_front()?;
        self.slow_running += usize::from(lane == Lane::Slow);
        Some(waiting)
    }

    fn next_lane(&self) -> Option<Lane> {
        let slow = self.slow.oldest().filter(|_| self.slow_running < self.slow_running_max);
        match (self.quick.oldest(), slow) {
            (Some(quick), Some(slow)) if slow < quick => Some(Lane::Slow),
            (Some(_), _) => Some(Lane::Quick),
            (None, Some(_)) => Some(Lane::Slow),
            (None, None) => None,
        }
    }

    /// So many of the jobs that wait, oldest first.
    fn oldest_waiting(&self, max: usize) -> Vec<QueuedJob> {
        let (mut quick, mut slow) = (self.quick.told().peekable(), self.slow.told().peekable());
        let merged = std::iter::from_fn(|| match (quick.peek(), slow.peek()) {
            (Some((one, _)), Some((other, _))) if other < one => slow.next(),
            (Some(_), _) => quick.next(),
            (None, _) => slow.next(),
        });
        merged.take(max).map(|(_, queued)| queued).collect()
    }

    /// Why a job of this lane has to wait, if it has to: the job that has run longest of those whose thread it could have.
    fn holder(&self, lane: Lane) -> Option<&RunningJob> {
        let slow_threads_are_busy = lane == Lane::Slow && self.slow_running >= self.slow_running_max;
        if !slow_threads_are_busy && self.running.iter().any(Option::is_none) {
            return None;
        }
        let running = self.running.iter().flatten();
        let in_the_way = running.filter(|running| !slow_threads_are_busy || running.job.name.kind.lane() == Lane::Slow);
        in_the_way.min_by_key(|running| running.since)
    }
}

impl Past {
    /// A job has waited so long for a thread, and got one at `ended`.
    fn count_wait(&mut self, job: &Arc<Job>, took: Duration, ended: Instant) {
        if took < LONG {
            return;
        }
        self.delayed += 1;
        if self.most_delayed.as_ref().is_none_or(|most| most.took < took) {
            self.most_delayed = Some(LongJob { job: Arc::clone(job), took, ended });
        }
    }

    /// A job has run for so long, until `ended`.
    fn count_run(&mut self, job: Arc<Job>, took: Duration, ended: Instant) {
        let kind = job.name.kind as usize;
        self.done[kind] += 1;
        if took < LONG {
            return;
        }
        self.long[kind] += 1;
        let at = self.longest.partition_point(|longer| longer.took >= took);
        self.longest.insert(at, LongJob { job, took, ended });
        self.longest.truncate(LONGEST_KEPT);
    }
}

impl Queue {
    fn new(max: usize) -> Queue {
        Queue { waiting: VecDeque::new(), max }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= self.max
    }

    /// The jobs that wait, oldest first, each with its ordinal.
    fn told(&self) -> impl Iterator<Item = (u64, QueuedJob)> {
        self.waiting.iter().enumerate().map(|(ahead, Waiting { ordinal, since, job, work })| {
            let queued = QueuedJob { job: Arc::clone(job), since: *since, is_wanted: work.is_wanted(), ahead };
            (*ordinal, queued)
        })
    }

    fn oldest(&self) -> Option<u64> {
        self.waiting.front().map(|waiting| waiting.ordinal)
    }

    /// Takes the jobs that nobody wants any more out of a full queue: clients that came and went must not keep others
    /// out.
    fn make_room(&mut self) -> VecDeque<Waiting> {
        if !self.is_full() {
            return VecDeque::new();
        }
        let (wanted, skipped) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.work.is_wanted());
        self.waiting = wanted;
        skipped
    }
}

/// What a job does, with its result's way back, whatever the result is.
trait Work: Send {
    /// Whether somebody still holds the ticket.
    fn is_wanted(&self) -> bool;

    /// Does it, if it is wanted. Never panics.
    fn run(self: Box<Self>);
}

struct Order<T, F> {
    work: F,
    /// Weak, so that each side sees when the other has gone.
    answer: Weak<Mutex<Option<JobResult<T>>>>,
    job: Arc<Job>,
}

impl<T: Send, F: FnOnce() -> T + Send> Work for Order<T, F> {
    fn is_wanted(&self) -> bool {
        self.answer.strong_count() > 0
    }

    fn run(self: Box<Self>) {
        if !self.is_wanted() {
            return;
        }
        let Order { work, answer, job } = *self;
        // Nothing that the job has seen half changed is used again: it owned what it used, or shares it through locks.
        let result = catch_unwind(AssertUnwindSafe(work)).map_err(|_| JobDied);
        let Some(answer) = answer.upgrade() else { return };
        *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        job.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::super::slots::Token;
    use super::super::wake::{Interrupt, WakeKey, Wakes};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const KEY: WakeKey = WakeKey { token: Token { index: 3, generation: 4 }, stream: 0 };

    struct ChannelInterrupt(Mutex<Sender<()>>);

    impl Interrupt for ChannelInterrupt {
        fn wake(&self) {
            self.0.lock().unwrap().send(()).expect("the test is still waiting");
        }
    }

    fn name(lane: Lane, subject: &str) -> JobName {
        let kind = if lane == Lane::Quick { JobKind::LookUp } else { JobKind::List };
        JobName::new(kind, subject.as_bytes(), None)
    }

    /// A pool, and the event loop's side of it.
    struct World {
        pool: JobPool,
        wakes: Wakes,
        interrupts: Receiver<()>,
    }

    impl World {
        fn new(threads: usize, quick_max: usize, slow_max: usize) -> World {
            let (sender, interrupts) = channel();
            let pool = JobPool::new(JobPoolLimits { threads, quick_max, slow_max }, Instant::now).unwrap();
            World { pool, wakes: Wakes::new(ChannelInterrupt(Mutex::new(sender))), interrupts }
        }

        fn submit<T: Send + 'static>(
            &self,
            lane: Lane,
            work: impl FnOnce() -> T + Send + 'static,
        ) -> Result<Ticket<T>, QueueFull> {
            self.pool.submit(name(lane, "/a"), self.wakes.waker(KEY), work)
        }

        /// A job that has started and stays until the sender returned is used or dropped.
        fn stall(&self, lane: Lane) -> (Sender<()>, Ticket<()>) {
            let (release, released) = channel();
            let (start, started) = channel();
            let job = move || {
                start.send(()).unwrap();
                // An error is the sender's end, which releases as well.
                released.recv().unwrap_or_default();
            };
            let ticket = self.submit(lane, job).unwrap();
            started.recv_timeout(PATIENCE).expect("a thread is free");
            (release, ticket)
        }

        /// The ticket's result, after its wake.
        fn wait<T>(&self, ticket: &mut Ticket<T>) -> Result<T, JobDied> {
            loop {
                if let Some(answer) = ticket.take() {
                    return answer;
                }
                self.interrupts.recv_timeout(PATIENCE).expect("a wake");
                self.wakes.collect(&mut Vec::new());
            }
        }
    }

    #[test]
    fn a_result_is_there_when_its_notice_is_and_only_once() {
        let world = World::new(1, 1, 1);
        let mut ticket = world.submit(Lane::Quick, || 6 * 7).unwrap();
        world.interrupts.recv_timeout(PATIENCE).unwrap();
        let mut keys = Vec::new();
        world.wakes.collect(&mut keys);
        assert_eq!(keys, [KEY]);
        assert_eq!(ticket.take(), Some(Ok(42)), "stored before the wake was left");
        assert_eq!(ticket.take(), None);
    }

    #[test]
    fn nothing_is_there_before_the_job_is_done() {
        let world = World::new(1, 1, 1);
        let (release, mut stalled) = world.stall(Lane::Quick);
        assert_eq!(stalled.take(), None);
        let mut queued = world.submit(Lane::Quick, || 1).unwrap();
        assert_eq!(queued.take(), None);
        drop(release);
        assert_eq!(world.wait(&mut stalled), Ok(()));
        assert_eq!(world.wait(&mut queued), Ok(1));
    }

    #[test]
    fn a_full_queue_refuses_and_the_other_lane_does_not_notice() {
        let world = World::new(1, 2, 1);
        let (_release, _stalled) = world.stall(Lane::Quick);
        let _tickets = [(); 2].map(|()| world.submit(Lane::Quick, || ()).unwrap());
        assert_eq!(world.submit(Lane::Quick, || ()).unwrap_err(), QueueFull);
        let _slow = world.submit(Lane::Slow, || ()).unwrap();
        assert_eq!(world.submit(Lane::Slow, || ()).unwrap_err(), QueueFull);
        let numbers = world.pool.numbers();
        assert_eq!((numbers.quick_queued, numbers.slow_queued, numbers.running[JobKind::LookUp as usize]), (2, 1, 1));
    }

    #[test]
    fn stalled_slow_jobs_never_delay_quick_ones() {
        let world = World::new(4, 8, 8);
        let stalled = [(); 3].map(|()| world.stall(Lane::Slow));
        let mut waiting = world.submit(Lane::Slow, || "slow").unwrap();
        for number in 0..100 {
            let mut quick = world.submit(Lane::Quick, move || number).unwrap();
            assert_eq!(world.wait(&mut quick), Ok(number));
        }
        assert_eq!(waiting.take(), None, "the last thread is kept for quick jobs");
        drop(stalled);
        assert_eq!(world.wait(&mut waiting), Ok("slow"));
    }

    #[test]
    fn a_single_thread_runs_both_lanes_in_the_order_of_submission() {
        let world = World::new(1, 50, 50);
        let (release, _stalled) = world.stall(Lane::Slow);
        let (ran, order) = channel();
        let submit = |number: usize| {
            let ran = ran.clone();
            let lane = if number.is_multiple_of(3) { Lane::Slow } else { Lane::Quick };
            world.submit(lane, move || ran.send(number).unwrap()).unwrap()
        };
        let _tickets: Vec<_> = (0..60).map(submit).collect();
        drop(release);
        let order: Vec<usize> = (0..60).map(|_| order.recv_timeout(PATIENCE).unwrap()).collect();
        assert_eq!(order, (0..60).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_ends_its_job_and_not_its_thread() {
        let world = World::new(1, 8, 8);
        for lane in [Lane::Quick, Lane::Slow] {
            let mut dying = world.submit(lane, || -> u8 { panic!("a job that panics, on purpose") }).unwrap();
            assert_eq!(world.wait(&mut dying), Err(JobDied));
            let mut next = world.submit(lane, || thread::current().name().map(str::to_string)).unwrap();
            assert_eq!(world.wait(&mut next), Ok(Some("tidemill-io-0".to_string())));
        }
    }

    #[test]
    fn a_job_whose_ticket_is_gone_is_skipped_and_leaves_no_notice() {
        let world = World::new(1, 8, 8);
        let (release, stalled) = world.stall(Lane::Quick);
        let (ran, runs) = channel();
        let other = ran.clone();
        let abandoned = world.submit(Lane::Quick, move || ran.send("abandoned").unwrap()).unwrap();
        let mut wanted = world.submit(Lane::Quick, move || other.send("wanted").unwrap()).unwrap();
        drop((abandoned, stalled, release));
        assert_eq!(world.wait(&mut wanted), Ok(()));
        assert_eq!(runs.iter().collect::<Vec<_>>(), ["wanted"]);
    }

    #[test]
    fn abandoned_jobs_do_not_keep_others_out() {
        let world = World::new(1, 3, 1);
        let (release, _stalled) = world.stall(Lane::Quick);
        let mut first = world.submit(Lane::Quick, || 1).unwrap();
        for _ in 0..2 {
            drop(world.submit(Lane::Quick, || 0).unwrap());
        }
        let mut second = world.submit(Lane::Quick, || 2).unwrap();
        let mut third = world.submit(Lane::Quick, || 3).unwrap();
        assert!(world.submit(Lane::Quick, || 4).is_err(), "three are wanted");
        drop(release);
        let answers = [&mut first, &mut second, &mut third].map(|ticket| world.wait(ticket));
        assert_eq!(answers, [Ok(1), Ok(2), Ok(3)]);
    }

    #[test]
    fn the_numbers_say_since_when_the_longest_job_runs() {
        let world = World::new(3, 8, 8);
        assert_eq!(world.pool.numbers(), JobNumbers::default());
        let before = Instant::now();
        let (release, mut long) = world.stall(Lane::Slow);
        let between = Instant::now();
        let (_release, _stalled) = world.stall(Lane::Quick);
        let numbers = world.pool.numbers();
        let since = numbers.longest_since.unwrap();
        assert!(before <= since && since <= between, "the longest, not the last");
        assert_eq!(numbers.running.iter().sum::<u64>(), 2);
        drop(release);
        world.wait(&mut long).unwrap();
    }

    #[test]
    fn a_snapshot_names_what_runs_and_what_waits_behind_what() {
        let world = World::new(3, 8, 8);
        assert!(world.pool.snapshot(8).running.is_empty());
        let (_slow_gate, _slow) = world.stall(Lane::Slow);
        let (_other_gate, _other) = world.stall(Lane::Slow);
        let mut tickets = vec![world.submit(Lane::Slow, || ()).unwrap()];
        let snapshot = world.pool.snapshot(8);
        let holder =
            |snapshot: &JobsSnapshot, lane: Lane| snapshot.holders[lane as usize].as_ref().map(|job| job.thread);
        assert_eq!(snapshot.queued.len(), 1, "the last thread is kept for quick jobs");
        assert!(holder(&snapshot, Lane::Slow).is_some() && holder(&snapshot, Lane::Quick).is_none());
        let (_quick_gate, _quick) = world.stall(Lane::Quick);
        drop(world.submit(Lane::Quick, || ()).unwrap());
        tickets.push(world.pool.submit(name(Lane::Quick, "/b"), world.wakes.waker(KEY), || ()).unwrap());
        let snapshot = world.pool.snapshot(8);
        let queued: Vec<_> =
            snapshot.queued.iter().map(|job| (job.job.name.to_string(), job.ahead, job.is_wanted)).collect();
        let expected = [("list /a", 0, true), ("look-up /a", 0, false), ("look-up /b", 1, true)];
        assert_eq!(
            queued,
            expected.map(|(name, ahead, is_wanted)| (name.to_string(), ahead, is_wanted)),
            "oldest first"
        );
        assert!(snapshot.queued[0].since <= snapshot.queued[1].since);
        let oldest = snapshot.running.iter().min_by_key(|running| running.since).unwrap();
        assert_eq!(oldest.job.name.to_string(), "list /a");
        assert_eq!(holder(&snapshot, Lane::Quick), Some(oldest.thread), "that would also let a quick one run");
        assert_eq!(world.pool.snapshot(2).queued.len(), 2);
    }

    #[test]
    fn whoever_joins_is_woken_as_well_even_if_the_job_dies() {
        let world = World::new(1, 8, 8);
        let (release, _stalled) = world.stall(Lane::Quick);
        let dying = world.submit(Lane::Quick, || -> u8 { panic!("a job that panics, on purpose") }).unwrap();
        let other = WakeKey { stream: 5, ..KEY };
        dying.also_wake(world.wakes.waker(other));
        assert_eq!(world.pool.snapshot(1).queued[0].job.wakes(), [KEY, other]);
        drop(release);
        let mut woken = Vec::new();
        while !woken.contains(&other) {
            world.interrupts.recv_timeout(PATIENCE).unwrap();
            world.wakes.collect(&mut woken);
        }
    }

    #[test]
    fn the_watch_is_called_around_jobs_that_somebody_wants() {
        let (tell, told) = channel();
        let tell = Mutex::new(tell);
        let watch = move |name: &JobName, step| {
            let thread = thread::current().name().map(str::to_string);
            tell.lock().unwrap().send((name.to_string(), step, thread)).unwrap();
        };
        let limits = JobPoolLimits { threads: 1, quick_max: 8, slow_max: 8 };
        let pool = JobPool::watched(limits, Instant::now, watch).unwrap();
        let (sender, interrupts) = channel();
        let world = World { pool, wakes: Wakes::new(ChannelInterrupt(Mutex::new(sender))), interrupts };
        let (release, _stalled) = world.stall(Lane::Slow);
        drop(world.submit(Lane::Quick, || ()).unwrap());
        drop(release);
        let mut last = world.submit(Lane::Quick, || ()).unwrap();
        world.wait(&mut last).unwrap();
        let told: Vec<_> = (0..4).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
        let thread = Some("tidemill-io-0".to_string());
        let around =
            |name: &str| [JobStep::Begins, JobStep::Ended].map(|step| (name.to_string(), step, thread.clone()));
        assert_eq!(told, [around("list /a"), around("look-up /a")].concat());
    }

    #[test]
    fn long_jobs_and_long_waits_are_remembered() {
        static AHEAD_MS: AtomicU64 = AtomicU64::new(0);
        let clock = || Instant::now() + Duration::from_millis(AHEAD_MS.load(Ordering::Relaxed));
        let pool = JobPool::new(JobPoolLimits { threads: 1, quick_max: 99, slow_max: 1 }, clock).unwrap();
        let (sender, interrupts) = channel();
        let world = World { pool, wakes: Wakes::new(ChannelInterrupt(Mutex::new(sender))), interrupts };
        for long_ms in 1000..1000 + 2 * LONGEST_KEPT as u64 {
            let (release, mut stalled) = world.stall(Lane::Quick);
            let mut behind = world.submit(Lane::Slow, || ()).unwrap();
            AHEAD_MS.fetch_add(10 * long_ms, Ordering::Relaxed);
            drop(release);
            world.wait(&mut stalled).unwrap();
            world.wait(&mut behind).unwrap();
        }
        let mut last = world.submit(Lane::Quick, || ()).unwrap();
        world.wait(&mut last).unwrap();
        let (numbers, snapshot) = (world.pool.numbers(), world.pool.snapshot(0));
        let of = |counts: [u64; JobKind::COUNT]| (counts[JobKind::LookUp as usize], counts[JobKind::List as usize]);
        let all = 2 * LONGEST_KEPT as u64;
        assert_eq!((of(numbers.long), of(numbers.done).1, numbers.delayed), ((all, 0), all, all));
        assert_eq!(snapshot.longest.len(), LONGEST_KEPT);
        assert!(snapshot.longest.is_sorted_by(|one, other| one.took > other.took), "{:?}", snapshot.longest);
        let most = snapshot.most_delayed.unwrap();
        assert_eq!(most.job.name.kind, JobKind::List);
        assert!(most.took >= Duration::from_millis(10 * (1000 + all - 1)), "{most:?}");
    }

    #[test]
    fn the_last_handle_ends_the_threads_and_what_waits_dies() {
        let world = World::new(1, 8, 8);
        let clone = world.pool.clone();
        let (release, mut stalled) = world.stall(Lane::Quick);
        let (ran, runs) = channel();
        let mut queued = world.submit(Lane::Quick, move || ran.send(()).unwrap()).unwrap();
        let World { pool, wakes, interrupts } = world;
        drop(pool);
        assert_eq!(queued.take(), None, "one handle is left");
        drop(clone);
        assert_eq!(queued.take(), Some(Err(JobDied)), "without waiting for the job that runs");
        assert_eq!(queued.take(), None);
        assert!(runs.recv_timeout(PATIENCE).is_err(), "it never ran");
        drop(release);
        interrupts.recv_timeout(PATIENCE).unwrap();
        wakes.collect(&mut Vec::new());
        assert_eq!(stalled.take(), Some(Ok(())), "a job that runs is finished");
    }

    #[test]
    fn many_submitters_lose_nothing() {
        let world = World::new(4, 4000, 4000);
        let submit = |number: u64| {
            let lane = if number.is_multiple_of(2) { Lane::Quick } else { Lane::Slow };
            world.submit(lane, move || number).unwrap()
        };
        let tickets: Vec<_> = (0..4000).map(submit).collect();
        let sum: u64 = tickets.into_iter().map(|mut ticket| world.wait(&mut ticket).unwrap()).sum();
        assert_eq!(sum, 3999 * 4000 / 2);
    }
}
