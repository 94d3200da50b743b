//! What all connections of one event loop share.

use std::fmt;
use std::time::{Instant, SystemTime};

use crate::base::buffer_pool::BufferPool;
use crate::base::job_pool::{JobNumbers, JobPool};
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::slots::Token;
use crate::base::throttle::Complaints;
use crate::base::wake::Wakes;
use crate::http::date::DateCache;
use crate::net::marks::Marks;
use crate::observe::counters::Counters;
use crate::observe::request_record::{RecordPool, RecordQueue, RequestRecord};
use crate::observe::times::Times;
use crate::protocol::h1::server::Scratch;
use crate::service::Cx;

/// The service, the limits, the clock of the turn, and memory that is lent from connection to connection.
pub struct Worker<V> {
    /// What answers requests.
    pub service: V,
    /// What a service may know about.
    pub around: Surroundings,
    /// The time of this turn, for what is counted.
    pub moment: Moment,
    began: Instant,
    /// What strace is shown between system calls, if anything.
    pub marks: Marks,
    pub(super) inboxes: BufferPool,
    pub(super) outboxes: BufferPool,
    pub(super) scratch: Scratch,
    /// Where a response head is encoded before it is copied to an outbox.
    pub(super) head: Vec<u8>,
    /// What has happened so far.
    pub stats: Counters,
    /// How long it took.
    pub times: Times,
    /// Requests that are over, until the event loop has noted them.
    pub finished: RecordQueue,
    pub(super) records: RecordPool,
    /// Whether anybody wants to know who sent a request, and from where.
    pub notes_fields: bool,
    date_good_until: Instant,
}

/// What every connection finds around it.
pub struct Surroundings {
    /// The limits in force.
    pub limits: Limits,
    /// The time of this turn.
    pub now: Instant,
    /// When the server was told to stop, if it was.
    pub draining: Option<Moment>,
    pub(super) wakes: Wakes,
    pub(super) jobs: JobPool,
    pub(super) date: DateCache,
    complaints: Complaints,
}

impl Surroundings {
    /// What a service may know about the request it answers.
    pub(super) fn cx(&self, token: Token, peer: Peer, role: ListenerRole) -> Cx<'_> {
        Cx {
            now: self.now,
            date_secs: self.date.second(),
            limits: &self.limits,
            wakes: &self.wakes,
            jobs: &self.jobs,
            complaints: &self.complaints,
            token,
            peer,
            role,
            draining: self.draining.is_some(),
        }
    }
}

impl<V> Worker<V> {
    /// Rings that are kept for the next connection when nobody needs them. A ring is in use only while its connection
    /// has bytes to hold, so few are needed at a time; what a rush needs beyond them goes back to the allocator.
    const RINGS_KEPT: usize = 16;
    /// The smallest outbox: any error response's head fits in it.
    const OUTBOX_BYTES_MIN: usize = 1024;
    /// Lines a second that peers can provoke in the log: so many of each throttle.
    const COMPLAINTS_PER_SECOND: u32 = 20;

    /// A worker whose time starts at `now`.
    pub fn new(service: V, limits: Limits, wakes: Wakes, jobs: JobPool, now: Instant, wall: SystemTime) -> Worker<V> {
        let mut date = DateCache::new(wall);
        let date_good_until = now + date.refresh(wall);
        Worker {
            inboxes: BufferPool::new(limits.inbox_bytes.max(limits.head_bytes_max), Self::RINGS_KEPT),
            outboxes: BufferPool::new(limits.outbox_bytes.max(Self::OUTBOX_BYTES_MIN), Self::RINGS_KEPT),
            scratch: Scratch::default(),
            head: Vec::new(),
            stats: Counters::default(),
            times: Times::default(),
            finished: RecordQueue::new(),
            records: RecordPool::default(),
            notes_fields: false,
            marks: Marks::default(),
            service,
            moment: Moment::default(),
            began: now,
            date_good_until,
            around: Surroundings {
                limits,
                now,
                draining: None,
                wakes,
                jobs,
                date,
                complaints: Complaints::new(Self::COMPLAINTS_PER_SECOND),
            },
        }
    }

    /// Starts a turn at `now`; `wall` is only asked when the cached date may have become wrong.
    pub fn on_turn(&mut self, now: Instant, wall: impl FnOnce() -> SystemTime) {
        self.around.now = now;
        self.moment = self.moment_of(now);
        if now >= self.date_good_until {
            self.date_good_until = now + self.around.date.refresh(wall());
        }
    }

    /// A moment as it is counted.
    pub fn moment_of(&self, at: Instant) -> Moment {
        Moment::new(self.began, at)
    }

    /// The other way round.
    pub fn instant_of(&self, moment: Moment) -> Instant {
        self.began + moment.since(Moment::default())
    }

    /// What the job threads are doing.
    pub fn jobs(&self) -> JobNumbers {
        self.around.jobs.numbers()
    }

    /// Notes a request that is over, its last byte having left by `now`, and keeps its record for another one.
    pub fn close_record(&mut self, mut record: Box<RequestRecord>, now: Moment, note: impl FnOnce(&RequestRecord)) {
        record.last_byte_at = Some(now);
        // What began to leave in this turn left after the turn's work on it, and not when the turn began.
        if record.first_byte_at.is_some_and(|at| at >= self.moment) {
            record.first_byte_at = Some(now);
        }
        self.stats.count_request(&record);
        self.times.count_request(&record, now);
        note(&record);
        self.records.give_back(record);
    }

    /// The most memory that was on loan for input at a time, and for output, in bytes.
    pub fn lent_bytes_max(&self) -> (u64, u64) {
        (self.inboxes.lent_bytes_max(), self.outboxes.lent_bytes_max())
    }

    /// Logs something that a peer can provoke, but not more of it than a log can take.
    pub fn complain(&self, level: log::Level, what: fmt::Arguments<'_>) {
        self.around.complaints.log(self.around.now, level, what);
    }
}
