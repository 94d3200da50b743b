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
use std::time::Instant;

use super::wake::Waker;

/// How long a job may be expected to take. There is always a thread that runs no slow job (if there is more than
/// one), so that whatever the slow ones wait for, quick ones get on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Microseconds, or one access to a disk: open a file, look at it, read a piece.
    Quick,
    /// Milliseconds and more: list a directory, compress a file.
    Slow,
}

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
    /// Jobs that run.
    pub running: usize,
    /// Since when the longest of these has been running. Far in the past means that a disk is stalled.
    pub longest_since: Option<Instant>,
}

/// The claim to a job's result. Dropping it before the job has started cancels the job.
#[derive(Debug)]
#[must_use = "a job whose ticket is dropped is skipped"]
pub struct Ticket<T> {
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
    /// Starts the threads. `clock` is read when a job starts, for [`numbers`](JobPool::numbers). Fails if the system
    /// has no threads left.
    pub fn new(limits: JobPoolLimits, clock: fn() -> Instant) -> io::Result<JobPool> {
        let owner = Owner { shared: Arc::new(Shared::new(limits, clock)) };
        for number in 0..limits.threads.max(1) {
            let shared = Arc::clone(&owner.shared);
            // Nobody joins it: a thread that a disk holds must not hold the end of the process.
            thread::Builder::new().name(format!("tidemill-io-{number}")).spawn(move || shared.work(number))?;
        }
        Ok(JobPool(Some(Arc::new(owner))))
    }

    /// A pool that runs each job when it is submitted, for worlds in which nothing may depend on threads.
    pub fn without_threads() -> JobPool {
        JobPool(None)
    }

    /// Puts a job into its lane's queue. When it is done, `waker` leaves a wake and the ticket has the result.
    pub fn submit<T: Send + 'static>(
        &self,
        lane: Lane,
        waker: Waker,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Ticket<T>, QueueFull> {
        let answer = Arc::new(Mutex::new(None));
        let order = Order { job, answer: Arc::downgrade(&answer), waker };
        let order: Box<dyn Job> = Box::new(order);
        match &self.0 {
            Some(owner) => owner.shared.enqueue(lane, order)?,
            None => order.run(),
        }
        Ok(Ticket { answer: Some(answer) })
    }

    /// What the pool is doing now.
    pub fn numbers(&self) -> JobNumbers {
        let Some(owner) = &self.0 else { return JobNumbers::default() };
        let queues = owner.shared.lock();
        JobNumbers {
            quick_queued: queues.quick.waiting.len(),
            slow_queued: queues.slow.waiting.len(),
            running: queues.running.iter().flatten().count(),
            longest_since: queues.running.iter().flatten().min().copied(),
        }
    }
}

impl<T> Ticket<T> {
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
}

struct Queues {
    quick: Queue,
    slow: Queue,
    /// How many slow jobs may run at a time.
    slow_running_max: usize,
    slow_running: usize,
    /// For each thread, since when it has been running its job.
    running: Vec<Option<Instant>>,
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
    job: Box<dyn Job>,
}

impl Shared {
    fn new(limits: JobPoolLimits, clock: fn() -> Instant) -> Shared {
        let threads = limits.threads.max(1);
        let queues = Queues {
            quick: Queue::new(limits.quick_max),
            slow: Queue::new(limits.slow_max),
            slow_running_max: (threads - 1).max(1),
            slow_running: 0,
            running: vec![None; threads],
            submitted: 0,
            closing: false,
        };
        Shared { queues: Mutex::new(queues), changed: Condvar::new(), clock }
    }

    /// Jobs run outside the lock, so nothing that panics can leave the queues half changed.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, lane: Lane, job: Box<dyn Job>) -> Result<(), QueueFull> {
        let mut queues = self.lock();
        let ordinal = queues.submitted;
        queues.submitted += 1;
        let queue = queues.queue(lane);
        let skipped = queue.make_room();
        if queue.is_full() {
            return Err(QueueFull);
        }
        queue.waiting.push_back(Waiting { ordinal, job });
        drop(queues);
        self.changed.notify_one();
        // What a job owns may take its time to be dropped; not under the lock.
        drop(skipped);
        Ok(())
    }

    /// What a thread does, from its start to its end.
    fn work(&self, thread: usize) {
        while let Some((lane, job)) = self.next(thread) {
            job.run();
            self.done(thread, lane);
        }
    }

    /// Waits for a job. `None`: there will be none.
    fn next(&self, thread: usize) -> Option<(Lane, Box<dyn Job>)> {
        let mut queues = self.lock();
        loop {
            if queues.closing {
                return None;
            }
            if let Some((lane, job)) = queues.pop() {
                queues.running[thread] = Some((self.clock)());
                return Some((lane, job));
            }
            queues = self.changed.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, thread: usize, lane: Lane) {
        let mut queues = self.lock();
        queues.running[thread] = None;
        if lane == Lane::Slow {
            // Whoever waits for this needs no wake-up: this thread looks for a slow job next.
            queues.slow_running -= 1;
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
    fn pop(&mut self) -> Option<(Lane, Box<dyn Job>)> {
        let lane = self.next_lane()?;
        let waiting = self.queue(lane).waiting.pop_front()?;
        self.slow_running += usize::from(lane == Lane::Slow);
        Some((lane, waiting.job))
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
}

impl Queue {
    fn new(max: usize) -> Queue {
        Queue { waiting: VecDeque::new(), max }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= self.max
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
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.job.is_wanted());
        self.waiting = wanted;
        skipped
    }
}

/// A job with its result's way back, whatever the result is.
trait Job: Send {
    /// Whether somebody still holds the ticket.
    fn is_wanted(&self) -> bool;

    /// Runs it if it is wanted. Never panics.
    fn run(self: Box<Self>);
}

struct Order<T, F> {
    job: F,
    /// Weak, so that each side sees when the other has gone.
    answer: Weak<Mutex<Option<JobResult<T>>>>,
    waker: Waker,
}

impl<T: Send, F: FnOnce() -> T + Send> Job for Order<T, F> {
    fn is_wanted(&self) -> bool {
        self.answer.strong_count() > 0
    }

    fn run(self: Box<Self>) {
        if !self.is_wanted() {
            return;
        }
        let Order { job, answer, waker } = *self;
        // Nothing that the job has seen half changed is used again: it owned what it used, or shares it through locks.
        let result = catch_unwind(AssertUnwindSafe(job)).map_err(|_| JobDied);
        let Some(answer) = answer.upgrade() else { return };
        *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
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
            job: impl FnOnce() -> T + Send + 'static,
        ) -> Result<Ticket<T>, QueueFull> {
            self.pool.submit(lane, self.wakes.waker(KEY), job)
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
        assert_eq!((numbers.quick_queued, numbers.slow_queued, numbers.running), (2, 1, 1));
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
        assert_eq!(numbers.running, 2);
        drop(release);
        world.wait(&mut long).unwrap();
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
