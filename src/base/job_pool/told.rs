//! What is told about a pool: plain values.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Crew, Job, LONG};
use crate::base::job_name::{JobKind, Lane};

/// Long jobs whose names are remembered.
pub(super) const LONGEST_KEPT: usize = 8;

/// What a pool is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobNumbers {
    /// Quick jobs that wait for a thread.
    pub quick_queued: usize,
    /// Slow jobs that wait for a thread.
    pub slow_queued: usize,
    /// Jobs about names that wait for a thread.
    pub names_queued: usize,
    /// Passwords that wait to be checked.
    pub passwords_queued: usize,
    /// Jobs that run, by `JobKind::ALL`.
    pub running: [u64; JobKind::COUNT],
    /// Since when the longest of these has been running. Far in the past means that a disk is stalled, or
    /// for some seconds a name server.
    pub longest_since: Option<Instant>,
    /// Jobs that were run, by `JobKind::ALL`.
    pub done: [u64; JobKind::COUNT],
    /// Of these, the jobs that ran for [`LONG`] or longer, by `JobKind::ALL`.
    pub long: [u64; JobKind::COUNT],
    /// Jobs that waited for a thread for [`LONG`] or longer.
    pub delayed: u64,
}

/// A job that a thread runs.
#[derive(Debug, Clone)]
pub struct RunningJob {
    /// Which job.
    pub job: Arc<Job>,
    /// Since when it runs.
    pub since: Instant,
    /// The number of its thread, among those that run the jobs of its lane.
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
    /// could have. By `Lane::ALL`.
    pub holders: [Option<RunningJob>; Lane::ALL.len()],
    /// The jobs that ran longest so far, longest first: a few of those that are done and took [`LONG`] or longer.
    pub longest: Vec<LongJob>,
    /// The job that waited longest for a thread so far, if that was [`LONG`] or longer.
    pub most_delayed: Option<LongJob>,
}

impl RunningJob {
    /// The name of its thread.
    pub fn thread_name(&self) -> String {
        Crew::of(self.job.name.kind.lane()).thread_name(self.thread)
    }
}

/// What was done so far.
#[derive(Default)]
pub(super) struct Past {
    pub(super) done: [u64; JobKind::COUNT],
    pub(super) long: [u64; JobKind::COUNT],
    pub(super) delayed: u64,
    pub(super) longest: Vec<LongJob>,
    pub(super) most_delayed: Option<LongJob>,
}

impl Past {
    /// A job has waited so long for a thread, and got one at `ended`.
    pub(super) fn count_wait(&mut self, job: &Arc<Job>, took: Duration, ended: Instant) {
        if took < LONG {
            return;
        }
        self.delayed += 1;
        if self.most_delayed.as_ref().is_none_or(|most| most.took < took) {
            self.most_delayed = Some(LongJob { job: Arc::clone(job), took, ended });
        }
    }

    /// A job has run for so long, until `ended`.
    pub(super) fn count_run(&mut self, job: Arc<Job>, took: Duration, ended: Instant) {
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
