//! What the job threads do, as it is told: plain values.

use std::time::{Duration, SystemTime};

use crate::base::job_name::{JobName, Requester};

/// What the job threads do now, and what took long so far.
#[derive(Debug, Clone, Default)]
pub struct JobsStatus {
    /// Quick jobs that wait for a thread.
    pub quick_queued: usize,
    /// Slow jobs that wait for a thread.
    pub slow_queued: usize,
    /// Jobs about names that wait for a thread.
    pub names_queued: usize,
    /// Passwords that wait to be checked.
    pub passwords_queued: usize,
    /// Jobs that run, by thread.
    pub running: Vec<JobStatus>,
    /// Jobs that wait for a thread, oldest first; a bounded number of them.
    pub queued: Vec<JobStatus>,
    /// What took long so far.
    pub past: LongJobs,
}

/// Jobs that took long: a disk was stalled, or there was too much to do.
#[derive(Debug, Clone, Default)]
pub struct LongJobs {
    /// How many ran for a second or longer, by the name of their kind, with those kinds that there are.
    pub ran: Vec<(&'static str, u64)>,
    /// Those that ran longest, longest first; a few of them.
    pub longest: Vec<LongJobStatus>,
    /// How many waited for a thread for a second or longer.
    pub delayed: u64,
    /// The one that waited longest, if it waited so long.
    pub most_delayed: Option<LongJobStatus>,
}

/// A job that took long.
#[derive(Debug, Clone)]
pub struct LongJobStatus {
    /// What it is called, with who asked for it first.
    pub name: JobName,
    /// How long it ran, or waited for a thread.
    pub took: Duration,
    /// When that was over, as time of day.
    pub ended: SystemTime,
}

/// A job that is not done.
#[derive(Debug, Clone)]
pub struct JobStatus {
    /// What it is called, with who asked for it first.
    pub name: JobName,
    /// Where it is.
    pub place: JobPlace,
    /// For how long it has been there.
    pub since: Duration,
    /// Who waits for it, as far as their connections are open.
    pub waiting: Vec<Requester>,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobPlace {
    /// It runs on the thread with this name.
    Running(String),
    /// It waits for a thread.
    Queued {
        /// The jobs of its lane that wait in front of it.
        ahead: usize,
        /// Whether somebody still wants its result. Otherwise it is skipped.
        is_wanted: bool,
    },
}

/// The job that a request waits for.
#[derive(Debug, Clone)]
pub struct JobWait {
    /// The job.
    pub job: JobStatus,
    /// The job that has run longest of those that keep it waiting, if it waits for a thread.
    pub behind: Option<JobStatus>,
}
