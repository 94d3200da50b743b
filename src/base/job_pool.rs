//! Threads for what may block, or takes long: opening files, reading what may be cold, listing, compressing, asking name
//! servers, checking passwords.
//!
//! The event loop submits a job and goes on. When the job is done, it wakes the exchange that asked, whose ticket then gives
//! the result. Nothing here ever waits for a job, not even the end of the process.

mod told;

pub use told::{JobNumbers, JobsSnapshot, LongJob, QueuedJob, RunningJob};

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::job_name::{JobKind, JobName, Lane};
use super::wake::{WakeKey, Waker};
use told::Past;

/// A job that takes so long, or waits so long for a thread, is remembered: a disk was stalled, or there is too much to do.
pub const LONG: Duration = Duration::from_secs(1);

/// A pool's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobPoolLimits {
    /// How many threads run quick and slow jobs, at least 1. All but one of them may run slow jobs (a single one runs both).
    pub threads: usize,
    /// How many quick jobs may wait.
    pub quick_max: usize,
    /// How many slow jobs may wait.
    pub slow_max: usize,
    /// How many threads there may be that run the jobs about names, at least 1. Each is made when a job comes and none of
    /// them is idle. So as many names whose servers are silent delay no other name, and no file.
    pub name_threads_max: usize,
    /// How many jobs about names may wait.
    pub names_max: usize,
    /// How many threads there may be that check passwords, at least 1. They are made as those for names are, and on Linux
    /// they give way to all other threads: what they do takes nothing but the processor.
    pub password_threads_max: usize,
    /// How many passwords may wait to be checked.
    pub passwords_max: usize,
}

impl Default for JobPoolLimits {
    fn default() -> JobPoolLimits {
        JobPoolLimits {
            threads: 4,
            quick_max: 1024,
            slow_max: 256,
            name_threads_max: 8,
            names_max: 256,
            password_threads_max: 2,
            passwords_max: 64,
        }
    }
}

/// A bounded number of threads that run jobs, the oldest first. A handle: clones share the threads, which end with the
/// last of them, each after the job it is running.
///
/// The threads take signals like any other. That does no harm: handlers are for the whole process, only set a flag, and
/// restart the calls that they interrupt.
#[derive(Clone)]
pub struct JobPool(Runner);

/// Who runs the jobs of a pool.
#[derive(Clone)]
enum Runner {
    /// Its threads.
    Threads(Arc<Owner>),
    /// Whoever submits one.
    Submitter,
    /// Whoever takes them from here.
    Holder(HeldJobs),
}

/// Jobs that were submitted and are not run by anybody, until they are taken from here.
#[derive(Clone, Default)]
pub struct HeldJobs(Arc<Mutex<VecDeque<HeldJob>>>);

/// A job that waits until it is run.
pub struct HeldJob {
    job: Arc<Job>,
    work: Box<dyn Work>,
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

/// A job was not accepted: as many as may wait in its lane are waiting already, or the system has no thread for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many jobs are waiting")
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
            spawn(shared, Crew::Files, number)?;
        }
        Ok(JobPool(Runner::Threads(Arc::new(owner))))
    }

    /// A pool that runs each job when it is submitted, for worlds in which nothing may depend on threads.
    pub fn without_threads() -> JobPool {
        JobPool(Runner::Submitter)
    }

    /// A pool that runs nothing by itself, for worlds in which it is decided elsewhere when a job is done: whoever has the
    /// held jobs runs them.
    pub fn held() -> (JobPool, HeldJobs) {
        let held = HeldJobs::default();
        (JobPool(Runner::Holder(held.clone())), held)
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
            Runner::Threads(owner) => owner.shared.enqueue(Arc::clone(&job), order)?,
            Runner::Submitter => order.run(None),
            Runner::Holder(held) => held.lock().push_back(HeldJob { job: Arc::clone(&job), work: order }),
        }
        Ok(Ticket { job, answer: Some(answer) })
    }

    /// Whether threads of its own run the jobs.
    pub fn has_threads(&self) -> bool {
        !matches!(self.0, Runner::Submitter)
    }

    /// What the pool is doing now, in numbers.
    pub fn numbers(&self) -> JobNumbers {
        let Runner::Threads(owner) = &self.0 else { return JobNumbers::default() };
        let queues = owner.shared.lock();
        let mut running = [0; JobKind::COUNT];
        queues.all_running().for_each(|running_job| running[running_job.job.name.kind as usize] += 1);
        JobNumbers {
            quick_queued: queues.queued(Lane::Quick),
            slow_queued: queues.queued(Lane::Slow),
            names_queued: queues.queued(Lane::Names),
            passwords_queued: queues.queued(Lane::Passwords),
            running,
            longest_since: queues.all_running().map(|running| running.since).min(),
            done: queues.past.done,
            long: queues.past.long,
            delayed: queues.past.delayed,
        }
    }

    /// What the pool is doing now, job by job, with at most `queued_max` of those that wait.
    pub fn snapshot(&self, queued_max: usize) -> JobsSnapshot {
        let Runner::Threads(owner) = &self.0 else { return JobsSnapshot::default() };
        let queues = owner.shared.lock();
        JobsSnapshot {
            running: queues.all_running().cloned().collect(),
            queued: queues.oldest_waiting(queued_max),
            holders: Lane::ALL.map(|lane| queues.holder(lane).cloned()),
            longest: queues.past.longest.clone(),
            most_delayed: queues.past.most_delayed.clone(),
        }
    }
}

impl HeldJobs {
    /// The job that has waited longest, if one waits.
    pub fn take(&self) -> Option<HeldJob> {
        self.lock().pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<HeldJob>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldJob {
    /// What it is called.
    pub fn name(&self) -> &JobName {
        &self.job.name
    }

    /// Does it, if it is still wanted.
    pub fn run(self) {
        self.work.run(None);
    }
}

impl Job {
    /// Whom it wakes when it is done.
    pub fn wakes(&self) -> Vec<WakeKey> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        [self.waker.key()].into_iter().chain(others.iter().map(Waker::key)).collect()
    }

    /// It is done, and had a thread since `began`, if it had one of its own.
    fn wake_all(&self, began: Option<Instant>) {
        let others = std::mem::take(&mut *self.others.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in [&self.waker].into_iter().chain(&others) {
            began.map_or_else(|| waker.wake(), |began| waker.wake_for_job(began));
        }
    }
}

/// Which jobs a thread runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crew {
    /// Quick ones and slow ones.
    Files,
    /// Those about names.
    Names,
    /// Those that check passwords.
    Passwords,
}

impl Crew {
    /// How many there are.
    const COUNT: usize = 3;

    /// Who runs the jobs of this lane.
    fn of(lane: Lane) -> Crew {
        match lane {
            Lane::Quick | Lane::Slow => Crew::Files,
            Lane::Names => Crew::Names,
            Lane::Passwords => Crew::Passwords,
        }
    }

    /// The lane of jobs whose threads are made when a job comes and none of them is idle; `None`: its threads are there from
    /// the beginning.
    fn own_lane(self) -> Option<Lane> {
        match self {
            Crew::Files => None,
            Crew::Names => Some(Lane::Names),
            Crew::Passwords => Some(Lane::Passwords),
        }
    }

    fn thread_name(self, number: usize) -> String {
        match self {
            Crew::Files => format!("tidemill-io-{number}"),
            Crew::Names => format!("tidemill-dns-{number}"),
            Crew::Passwords => format!("tidemill-pw-{number}"),
        }
    }
}

/// Starts a thread. Nobody joins it: one that a disk or a name server holds must not hold the end of the process.
fn spawn(shared: Arc<Shared>, crew: Crew, number: usize) -> io::Result<()> {
    let work = move || {
        if crew == Crew::Passwords {
            give_way();
        }
        shared.work(crew, number);
    };
    thread::Builder::new().name(crew.thread_name(number)).spawn(work).map(drop)
}

/// Lets the threads that serve have the processor first. On Linux alone this is about the calling thread, and not about the
/// whole process.
fn give_way() {
    // At 10, Linux gives it a tenth of what it gives to others that want the processor as well (sched(7)).
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(10) {
        log::debug!("threads that check passwords do not give way: {error}");
    }
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
        let abandoned = queues.waiting.each_mut().map(|queue| std::mem::take(&mut queue.waiting));
        drop(queues);
        self.shared.changed.iter().for_each(Condvar::notify_all);
        drop(abandoned);
    }
}

struct Shared {
    queues: Mutex<Queues>,
    /// For each crew: a job was queued that it runs, or the pool ends.
    changed: [Condvar; Crew::COUNT],
    clock: fn() -> Instant,
    watch: Watch,
}

struct Queues {
    /// Jobs that wait, by lane.
    waiting: [Queue; Lane::ALL.len()],
    /// How many slow jobs may run at a time.
    slow_running_max: usize,
    slow_running: usize,
    /// For each thread that has been made, by crew, the job that it runs.
    running: [Vec<Option<RunningJob>>; Crew::COUNT],
    /// How many threads each crew may have.
    threads_max: [usize; Crew::COUNT],
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

impl Shared {
    fn new(limits: JobPoolLimits, clock: fn() -> Instant, watch: Watch) -> Shared {
        let threads = limits.threads.max(1);
        let queued_max = [limits.quick_max, limits.slow_max, limits.names_max, limits.passwords_max];
        let queues = Queues {
            waiting: queued_max.map(Queue::new),
            slow_running_max: (threads - 1).max(1),
            slow_running: 0,
            running: [vec![None; threads], Vec::new(), Vec::new()],
            threads_max: [threads, limits.name_threads_max.max(1), limits.password_threads_max.max(1)],
            past: Past::default(),
            submitted: 0,
            closing: false,
        };
        Shared { queues: Mutex::new(queues), changed: Default::default(), clock, watch }
    }

    /// Jobs run outside the lock, so nothing that panics can leave the queues half changed.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(self: &Arc<Shared>, job: Arc<Job>, work: Box<dyn Work>) -> Result<(), QueueFull> {
        let since = (self.clock)();
        let mut queues = self.lock();
        let ordinal = queues.submitted;
        queues.submitted += 1;
        let lane = job.name.kind.lane();
        let crew = Crew::of(lane);
        let queue = queues.queue(lane);
        let skipped = queue.make_room();
        if queue.is_full() || !queues.has_thread(crew, self) {
            return Err(QueueFull);
        }
        queues.queue(lane).waiting.push_back(Waiting { ordinal, since, job, work });
        drop(queues);
        self.changed[crew as usize].notify_one();
        // What a job owns may take its time to be dropped; not under the lock.
        drop(skipped);
        Ok(())
    }

    /// What a thread does, from its start to its end.
    fn work(&self, crew: Crew, thread: usize) {
        while let Some((job, work, began)) = self.next(crew, thread) {
            let is_wanted = work.is_wanted();
            if is_wanted {
                (self.watch)(&job.name, JobStep::Begins);
                work.run(Some(began));
                (self.watch)(&job.name, JobStep::Ended);
            } else {
                drop(work);
            }
            self.done(crew, thread, is_wanted);
        }
    }

    /// Waits for a job, and says when it begins. `None`: there will be none.
    fn next(&self, crew: Crew, thread: usize) -> Option<(Arc<Job>, Box<dyn Work>, Instant)> {
        let mut queues = self.lock();
        loop {
            if queues.closing {
                return None;
            }
            if let Some(Waiting { since, job, work, .. }) = queues.pop(crew) {
                let now = (self.clock)();
                if work.is_wanted() {
                    queues.past.count_wait(&job, now.saturating_duration_since(since), now);
                }
                queues.running[crew as usize][thread] = Some(RunningJob { job: Arc::clone(&job), since: now, thread });
                return Some((job, work, now));
            }
            queues = self.changed[crew as usize].wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, crew: Crew, thread: usize, was_wanted: bool) {
        let now = (self.clock)();
        let mut queues = self.lock();
        let Some(RunningJob { job, since, .. }) = queues.running[crew as usize][thread].take() else { return };
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
        &mut self.waiting[lane as usize]
    }

    /// How many jobs of a lane wait.
    fn queued(&self, lane: Lane) -> usize {
        self.waiting[lane as usize].waiting.len()
    }

    /// When the oldest job that waits in a lane was queued, as an ordinal.
    fn oldest(&self, lane: Lane) -> Option<u64> {
        self.waiting[lane as usize].waiting.front().map(|waiting| waiting.ordinal)
    }

    /// All jobs that run.
    fn all_running(&self) -> impl Iterator<Item = &RunningJob> {
        self.running.iter().flatten().flatten()
    }

    /// Makes a thread for one more job of a crew, if none of those that there are will be idle for it and there may be more.
    /// Without the thread, those that there are have to do. Says whether there is any.
    fn has_thread(&mut self, crew: Crew, shared: &Arc<Shared>) -> bool {
        let Some(lane) = crew.own_lane() else { return true };
        let queued = self.queued(lane);
        let running = &mut self.running[crew as usize];
        let idle = running.iter().filter(|running| running.is_none()).count();
        let number = running.len();
        if idle <= queued && number < self.threads_max[crew as usize] {
            match spawn(Arc::clone(shared), crew, number) {
                Ok(()) => running.push(None),
                Err(error) => log::warn!("cannot start the thread {}: {error}", crew.thread_name(number)),
            }
        }
        !running.is_empty()
    }

    /// The oldest job that this crew may run now. By age and not by lane: neither lane starves the other.
    fn pop(&mut self, crew: Crew) -> Option<Waiting> {
        let lane = self.next_lane(crew)?;
        let waiting = self.queue(lane).waiting.pop_front()?;
        self.slow_running += usize::from(lane == Lane::Slow);
        Some(waiting)
    }

    fn next_lane(&self, crew: Crew) -> Option<Lane> {
        if let Some(lane) = crew.own_lane() {
            return self.oldest(lane).map(|_| lane);
        }
        let slow = self.oldest(Lane::Slow).filter(|_| self.slow_running < self.slow_running_max);
        match (self.oldest(Lane::Quick), slow) {
            (Some(quick), Some(slow)) if slow < quick => Some(Lane::Slow),
            (Some(_), _) => Some(Lane::Quick),
            (None, Some(_)) => Some(Lane::Slow),
            (None, None) => None,
        }
    }

    /// So many of the jobs that wait, oldest first.
    fn oldest_waiting(&self, max: usize) -> Vec<QueuedJob> {
        let mut lanes = self.waiting.each_ref().map(|queue| queue.told().peekable());
        let merged = std::iter::from_fn(|| {
            let oldest = lanes.iter_mut().filter_map(|lane| Some((lane.peek()?.0, lane)));
            oldest.min_by_key(|(ordinal, _)| *ordinal)?.1.next()
        });
        merged.take(max).map(|(_, queued)| queued).collect()
    }

    /// Why a job of this lane has to wait, if it has to: the job that has run longest of those whose thread it could have.
    fn holder(&self, lane: Lane) -> Option<&RunningJob> {
        let crew = Crew::of(lane);
        let threads = &self.running[crew as usize];
        let slow_threads_are_busy = lane == Lane::Slow && self.slow_running >= self.slow_running_max;
        let may_have_another = threads.len() < self.threads_max[crew as usize] || threads.iter().any(Option::is_none);
        if !slow_threads_are_busy && may_have_another {
            return None;
        }
        let running = threads.iter().flatten();
        let in_the_way = running.filter(|running| !slow_threads_are_busy || running.job.name.kind.lane() == Lane::Slow);
        in_the_way.min_by_key(|running| running.since)
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

    /// Does it, if it is wanted. `began`: since when it has a thread, if it has one of its own. Never panics.
    fn run(self: Box<Self>, began: Option<Instant>);
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

    fn run(self: Box<Self>, began: Option<Instant>) {
        if !self.is_wanted() {
            return;
        }
        let Order { work, answer, job } = *self;
        // Nothing that the job has seen half changed is used again: it owned what it used, or shares it through locks.
        let result = catch_unwind(AssertUnwindSafe(work)).map_err(|_| JobDied);
        let Some(answer) = answer.upgrade() else { return };
        *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        job.wake_all(began);
    }
}

#[cfg(test)]
mod tests;
