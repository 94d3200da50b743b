//! What the job threads do, told with the numbers of the connections that wait.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::EventLoop;
use crate::base::job_name::{JobKind, Requester};
use crate::base::job_pool::{Job, JobNumbers, JobsSnapshot, LongJob, QueuedJob, RunningJob};
use crate::base::slots::Token;
use crate::base::wake::WakeKey;
use crate::net::Reactor;
use crate::observe::jobs::{JobPlace, JobStatus, JobWait, JobsStatus, LongJobStatus, LongJobs};
use crate::observe::report::ConnectionStatus;
use crate::observe::timers::job_runs;
use crate::observe::wait_reason::WaitReason;
use crate::service::Service;

/// Jobs that are listed of those that wait for a thread.
const QUEUED_TOLD: usize = 20;

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// What the job threads do now, and what took long so far.
    pub(super) fn jobs_status(&self) -> JobsStatus {
        let (numbers, snapshot, now) = (self.context.jobs(), self.jobs_snapshot(QUEUED_TOLD), self.job_clock());
        JobsStatus {
            quick_queued: numbers.quick_queued,
            slow_queued: numbers.slow_queued,
            names_queued: numbers.names_queued,
            passwords_queued: numbers.passwords_queued,
            running: snapshot.running.iter().map(|running| self.running_status(running, now)).collect(),
            queued: snapshot.queued.iter().map(|queued| self.queued_status(queued, now)).collect(),
            past: self.long_jobs(snapshot, &numbers),
        }
    }

    fn jobs_snapshot(&self, queued_max: usize) -> JobsSnapshot {
        self.context.environment.jobs.snapshot(queued_max)
    }

    /// The time as far as the loop has looked at the clock; jobs have begun meanwhile.
    fn job_clock(&self) -> Instant {
        self.context.instant_of(self.phases.mark())
    }

    fn long_jobs(&self, snapshot: JobsSnapshot, numbers: &JobNumbers) -> LongJobs {
        let (now, wall) = (self.job_clock(), self.reactor.wall());
        let told = |LongJob { job, took, ended }: LongJob| {
            let ended = wall.checked_sub(now.saturating_duration_since(ended)).unwrap_or(wall);
            LongJobStatus { name: job.name.clone(), took, ended }
        };
        let ran = JobKind::ALL.into_iter().map(JobKind::name).zip(numbers.long);
        LongJobs {
            ran: ran.filter(|(_, count)| *count > 0).collect(),
            longest: snapshot.longest.into_iter().map(told).collect(),
            delayed: numbers.delayed,
            most_delayed: snapshot.most_delayed.map(told),
        }
    }

    /// All jobs that somebody waits for, whether they run or not.
    pub(super) fn awaited_jobs(&self) -> AwaitedJobs {
        let mut snapshot = self.jobs_snapshot(usize::MAX);
        snapshot.running.sort_by_key(|running| running.since);
        let mut by_key = HashMap::new();
        let running = snapshot.running.iter().map(|running| &running.job).enumerate();
        let running = running.map(|(index, job)| (job, Place::Running(index)));
        let queued = snapshot.queued.iter().enumerate().filter(|(_, queued)| queued.is_wanted);
        let queued = queued.map(|(index, queued)| (&queued.job, Place::Queued(index)));
        // A request waits for the last job that it has asked for.
        for (job, place) in running.chain(queued).filter(|(job, _)| job.name.kind.is_waited_for()) {
            by_key.extend(job.wakes().into_iter().map(|key| (key, place)));
        }
        AwaitedJobs { snapshot, by_key }
    }

    /// Adds to what is told about the connection with this token which job it waits for, and its streams.
    pub(super) fn add_jobs(&self, status: &mut ConnectionStatus, token: Token, jobs: &AwaitedJobs) {
        let job = |stream| self.job_wait(WakeKey { token, stream }, jobs).map(Box::new);
        if is_for_job(status.wait) {
            // On HTTP/2 it is a stream that waits, and no stream has this number.
            status.job = job(0);
            if let (Some(ran), Some(record)) = (ran(status.job.as_deref()), &mut status.record) {
                record.note_job_began(self.context.moment.earlier(ran));
            }
        }
        let streams = status.http2.iter_mut().flat_map(|http2| &mut http2.streams);
        for stream in streams.filter(|stream| is_for_job(stream.wait)) {
            stream.job = job(stream.id);
            if let (Some(ran), Some(parts)) = (ran(stream.job.as_deref()), &mut stream.parts) {
                job_runs(parts, ran);
            }
        }
    }

    fn job_wait(&self, key: WakeKey, jobs: &AwaitedJobs) -> Option<JobWait> {
        let now = self.job_clock();
        Some(match *jobs.by_key.get(&key)? {
            Place::Running(index) => {
                JobWait { job: self.running_status(&jobs.snapshot.running[index], now), behind: None }
            }
            Place::Queued(index) => {
                let queued = &jobs.snapshot.queued[index];
                let holder = jobs.snapshot.holders[queued.job.name.kind.lane() as usize].as_ref();
                let behind = holder.map(|holder| self.running_status(holder, now));
                JobWait { job: self.queued_status(queued, now), behind }
            }
        })
    }

    fn running_status(&self, running: &RunningJob, now: Instant) -> JobStatus {
        self.job_status(&running.job, JobPlace::Running(running.thread_name()), running.since, now)
    }

    fn queued_status(&self, queued: &QueuedJob, now: Instant) -> JobStatus {
        let QueuedJob { job, since, is_wanted, ahead } = queued;
        self.job_status(job, JobPlace::Queued { ahead: *ahead, is_wanted: *is_wanted }, *since, now)
    }

    fn job_status(&self, job: &Job, place: JobPlace, since: Instant, now: Instant) -> JobStatus {
        let keys = if job.name.kind.is_waited_for() { job.wakes() } else { Vec::new() };
        let waiting = keys.into_iter().filter_map(|WakeKey { token, stream }| {
            self.connections.get(token).map(|connection| Requester { connection: connection.who().id, stream })
        });
        let since = now.saturating_duration_since(since);
        JobStatus { name: job.name.clone(), place, since, waiting: waiting.collect() }
    }
}

/// For how long a job has run, if it runs. It tells that when it is done, and who asks before is told now.
fn ran(job: Option<&JobWait>) -> Option<Duration> {
    job.filter(|wait| matches!(wait.job.place, JobPlace::Running(_))).map(|wait| wait.job.since)
}

/// Whether the connection, or one of its streams, waits for a job.
pub(super) fn waits_for_job(status: &ConnectionStatus) -> bool {
    let mut streams = status.http2.iter().flat_map(|http2| &http2.streams);
    is_for_job(status.wait) || streams.any(|stream| is_for_job(stream.wait))
}

fn is_for_job(wait: &str) -> bool {
    wait == WaitReason::Job.name()
}

/// Jobs by whom they wake when they are done.
pub(super) struct AwaitedJobs {
    snapshot: JobsSnapshot,
    by_key: HashMap<WakeKey, Place>,
}

/// Where in a snapshot a job is.
#[derive(Clone, Copy)]
enum Place {
    Running(usize),
    Queued(usize),
}
