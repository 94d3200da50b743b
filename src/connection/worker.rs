//! What all connections of one event loop share.

use std::fmt;
use std::time::{Instant, SystemTime};

use crate::base::job_pool::JobPool;
use crate::base::lease::Lease;
use crate::base::limits::Limits;
use crate::base::notice::Notices;
use crate::base::slots::Token;
use crate::base::throttle::{LogThrottle, Permit};
use crate::http::date::DateCache;
use crate::net::marks::Marks;
use crate::protocol::h1::server::Scratch;
use crate::service::Cx;

/// The service, the limits, the clock of the turn, and memory that is lent from connection to connection.
pub struct Worker<V> {
    /// What answers requests.
    pub service: V,
    /// The limits in force.
    pub limits: Limits,
    /// The time of this turn.
    pub now: Instant,
    /// When the server was told to stop, if it was.
    pub draining: Option<Instant>,
    /// What strace is shown between system calls, if anything.
    pub marks: Marks,
    pub(super) notices: Notices,
    pub(super) jobs: JobPool,
    pub(super) inboxes: Lease,
    pub(super) outboxes: Lease,
    pub(super) scratch: Scratch,
    /// Where a response head is encoded before it is copied to an outbox.
    pub(super) head: Vec<u8>,
    pub(super) date: DateCache,
    date_good_until: Instant,
    complaints: LogThrottle,
    /// For what is wrong with the server: no flood of bad requests may hide it.
    alarms: LogThrottle,
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
    pub fn new(
        service: V,
        limits: Limits,
        notices: Notices,
        jobs: JobPool,
        now: Instant,
        wall: SystemTime,
    ) -> Worker<V> {
        let mut date = DateCache::new(wall);
        let date_good_until = now + date.refresh(wall);
        Worker {
            inboxes: Lease::new(limits.inbox_bytes.max(limits.head_bytes_max), Self::RINGS_KEPT),
            outboxes: Lease::new(limits.outbox_bytes.max(Self::OUTBOX_BYTES_MIN), Self::RINGS_KEPT),
            scratch: Scratch::default(),
            head: Vec::new(),
            complaints: LogThrottle::new(Self::COMPLAINTS_PER_SECOND),
            alarms: LogThrottle::new(Self::COMPLAINTS_PER_SECOND),
            draining: None,
            marks: Marks::default(),
            service,
            limits,
            now,
            notices,
            jobs,
            date,
            date_good_until,
        }
    }

    /// Starts a turn at `now`; `wall` is only asked when the cached date may have become wrong.
    pub fn on_turn(&mut self, now: Instant, wall: impl FnOnce() -> SystemTime) {
        self.now = now;
        if now >= self.date_good_until {
            self.date_good_until = now + self.date.refresh(wall());
        }
    }

    /// Logs something that a peer can provoke, but not more of it than a log can take.
    pub fn complain(&mut self, level: log::Level, what: fmt::Arguments<'_>) {
        let throttle = if level <= log::Level::Warn { &mut self.alarms } else { &mut self.complaints };
        if let Permit::Log { suppressed } = throttle.allow(self.now) {
            if suppressed > 0 {
                log::log!(level, "{suppressed} lines were left out before the next one");
            }
            log::log!(level, "{what}");
        }
    }

    /// The service, and what it may know about the request it is called for.
    pub(super) fn service_and_cx(&mut self, token: Token) -> (&mut V, &mut Scratch, Cx<'_>) {
        let cx = Cx {
            now: self.now,
            date_secs: self.date.second(),
            limits: &self.limits,
            notices: &self.notices,
            jobs: &self.jobs,
            token,
        };
        (&mut self.service, &mut self.scratch, cx)
    }

    /// What an exchange may know about the request it answers.
    pub(super) fn cx(&self, token: Token) -> Cx<'_> {
        Cx {
            now: self.now,
            date_secs: self.date.second(),
            limits: &self.limits,
            notices: &self.notices,
            jobs: &self.jobs,
            token,
        }
    }
}
