//! What all connections of one event loop share.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use crate::base::buffer_pool::BufferPool;
use crate::base::held::Held;
use crate::base::job_pool::{JobNumbers, JobPool};
use crate::base::limits::Limits;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::log_key::RequestKey;
use crate::base::moment::Moment;
use crate::base::peer::Node;
use crate::base::terms::Terms;
use crate::base::throttle::Complaints;
use crate::base::wake::{WakeKey, Wakes};
use crate::http::date::DateCache;
use crate::http::exchange::Cx;
use crate::http::fields::FieldName;
use crate::http::forwarded::TrustedProxies;
use crate::net::capture::live::LiveCaptures;
use crate::net::marks::Marks;
use crate::observe::arrivals::Arrivals;
use crate::observe::counters::Counters;
use crate::observe::delay::LongDrives;
use crate::observe::past::{Past, PastRequest};
use crate::observe::request_record::{RecordPool, RecordQueue, RequestRecord};
use crate::observe::times::Times;
use crate::protocol::h1::hsts::Hsts;
use crate::protocol::h1::spans::Scratch;
use crate::protocol::h2;

use super::Identity;
use super::h2::TotalBytes;
use super::secured::{CiphertextRings, Secured};
use super::telling::{self, Telling};

/// The limits, the clock of the turn, memory that connections use in turn, and what is counted.
pub struct LoopContext {
    /// What a service may know about.
    pub environment: Environment,
    /// The time of this turn, for what is counted.
    pub moment: Moment,
    /// When the present drive began, which is later than the turn if others were driven before.
    pub drive_began: Moment,
    /// Drives so long that others were held up by them.
    pub long_drives: LongDrives,
    /// When the requests of this turn may have arrived.
    pub arrivals: Arrivals,
    began: Instant,
    /// Captures of connections that somebody has asked for, if there are any.
    pub live_captures: Option<Box<LiveCaptures>>,
    /// What strace is shown between system calls, if anything.
    pub marks: Marks,
    pub(super) inboxes: BufferPool,
    pub(super) outboxes: BufferPool,
    /// Rings for what TLS has encrypted or is to decrypt.
    pub(super) ciphertexts: CiphertextRings,
    /// So many full TLS handshakes may still be begun in this turn.
    pub(super) handshakes_left: usize,
    /// Connections that were idle and are over, but for a request that may still come.
    pub idle_lingerers: usize,
    /// A request is over that was blocked for so long that the kernel may say why.
    pub(super) asks_why: bool,
    /// The kernel may still be asked so often in this turn what became of a response.
    pub(super) fates_left: usize,
    pub(super) scratch: Scratch,
    pub(super) http2: h2::session::Scratch,
    /// Memory for content of HTTP/2 that nobody has taken yet.
    pub(super) held: TotalBytes,
    /// Memory for content of HTTP/2 that handlers have taken and still keep.
    pub(super) kept: TotalBytes,
    /// What the windows of streams of HTTP/2 have grown by.
    pub(super) grown: TotalBytes,
    /// Where a response head is encoded before it is copied to an outbox.
    pub(super) head: Vec<u8>,
    /// What has happened so far.
    pub counters: Counters,
    /// How long it took.
    pub times: Times,
    /// The part of the admin listener in both. Only requests, ends of connections and bytes are told apart.
    pub admin: Box<AdminPart>,
    /// Requests that are over, until the event loop has logged them.
    pub finished: RecordQueue,
    pub(super) records: RecordPool,
    /// What is over and still known, if anybody may ask.
    pub past: Option<Box<Past>>,
    /// Whether the log wants to know who sent a request, and from where.
    pub notes_fields: bool,
    date_good_until: Moment,
}

/// What the admin listener has its part in.
#[derive(Debug, Default)]
pub struct AdminPart {
    /// Its requests, its connections that are over, and the bytes of those.
    pub counters: Counters,
    /// How long its requests took.
    pub times: Times,
    /// Connections that were accepted there.
    pub accepted: u64,
}

/// The environment of every connection: what a service may know.
pub struct Environment {
    /// What the service that was called has left for its request. Whoever has called it takes it at once.
    pub(super) held: Cell<Option<Box<Held>>>,
    /// The limits in force.
    pub limits: Limits,
    /// The time of this turn.
    pub now: Instant,
    /// The same, as a moment.
    moment: Moment,
    /// When the server was told to stop, if it was.
    pub draining: Option<Moment>,
    /// The proxies that may name the client of a request.
    pub trusted_proxies: TrustedProxies,
    /// What responses over TLS tell browsers, if anything.
    pub hsts: Option<Hsts>,
    /// What responses tell about their requests, if anything.
    pub telling: Option<Box<Telling>>,
    pub(super) wakes: Wakes,
    /// Threads for what may block.
    pub jobs: JobPool,
    pub(super) date: DateCache,
    complaints: Complaints,
    /// Those of the present turn, until they are counted.
    file_looks: Cell<u64>,
    /// What the service that was called has left for its request. Whoever has called it takes it at once.
    pub(super) terms: Cell<Option<Rc<Terms>>>,
}

impl Environment {
    /// The most that a head tells about its request, in bytes.
    pub(super) fn told_bytes_max(&self) -> usize {
        if self.telling.is_some() { telling::BYTES_MAX } else { 0 }
    }

    /// The identifier of a request and its field, if requests have one: for the service that is called.
    #[inline]
    pub(super) fn identifier<'a>(&'a self, record: &'a RequestRecord) -> Option<(&'a FieldName, &'a [u8])> {
        let ids = self.telling.as_ref()?.request_ids.as_ref()?;
        // Requests that came before there were identifiers have none.
        (!record.id().is_empty()).then(|| (ids.field(), record.id()))
    }

    /// What a service may know about the `request` it answers: whom a trusted proxy has `named` as its sender, if so, and what
    /// TLS tells, if the connection has it and a service is called.
    pub(super) fn cx<'a>(
        &'a self,
        who: &Identity,
        role: ListenerRole,
        request: RequestKey,
        named: Option<&'a Node>,
        secured: Option<&'a Secured>,
    ) -> Cx<'a> {
        Cx {
            now: self.now,
            moment: self.moment,
            date_secs: self.date.second(),
            limits: &self.limits,
            wakes: &self.wakes,
            jobs: &self.jobs,
            complaints: &self.complaints,
            key: WakeKey { token: who.token, stream: request.stream() },
            connection: who.id,
            request,
            peer: who.peer,
            named,
            certificate: secured.and_then(Secured::client_certificate),
            server_name: secured.and_then(Secured::server_name),
            identifier: None,
            listener: ListenerId::NONE,
            role,
            held: &self.held,
            draining: self.draining.is_some(),
            file_looks: &self.file_looks,
            terms: &self.terms,
        }
    }
}

impl LoopContext {
    /// To ask takes about 20 us.
    const FATES_PER_TURN: usize = 8;
    /// Rings that are kept for the next connection when nobody needs them. A ring is in use only while its connection
    /// has bytes to hold, so few are needed at a time. What a rush needs beyond them goes back to the allocator.
    const RINGS_KEPT: usize = 16;
    /// The smallest outbox: any error response's head fits in it.
    const OUTBOX_BYTES_MIN: usize = 1024;
    /// Lines a second that peers can provoke in the log: so many of each throttle.
    const COMPLAINTS_PER_SECOND: u32 = 20;

    /// A context whose moments begin at `now`.
    pub fn new(limits: Limits, wakes: Wakes, jobs: JobPool, now: Instant, wall: SystemTime) -> LoopContext {
        let mut date = DateCache::new(wall);
        let date_good_until = Moment::default() + date.refresh(wall);
        LoopContext {
            inboxes: BufferPool::new(limits.inbox_bytes.max(limits.head_bytes_max), Self::RINGS_KEPT),
            outboxes: BufferPool::new(limits.outbox_bytes.max(Self::OUTBOX_BYTES_MIN), Self::RINGS_KEPT),
            ciphertexts: CiphertextRings::new(Self::RINGS_KEPT),
            handshakes_left: limits.handshakes_per_turn,
            idle_lingerers: 0,
            asks_why: false,
            fates_left: Self::FATES_PER_TURN,
            scratch: Scratch::default(),
            http2: h2::session::Scratch::default(),
            held: TotalBytes::default(),
            kept: TotalBytes::default(),
            grown: TotalBytes::default(),
            head: Vec::new(),
            counters: Counters::default(),
            times: Times::default(),
            admin: Box::default(),
            finished: RecordQueue::new(),
            records: RecordPool::default(),
            past: None,
            notes_fields: false,
            live_captures: None,
            marks: Marks::default(),
            moment: Moment::default(),
            drive_began: Moment::default(),
            long_drives: LongDrives::default(),
            arrivals: Arrivals::default(),
            began: now,
            date_good_until,
            environment: Environment {
                limits,
                now,
                moment: Moment::default(),
                held: Cell::default(),
                draining: None,
                trusted_proxies: TrustedProxies::default(),
                hsts: None,
                telling: None,
                wakes,
                jobs,
                date,
                complaints: Complaints::new(Self::COMPLAINTS_PER_SECOND),
                file_looks: Cell::default(),
                terms: Cell::default(),
            },
        }
    }

    /// From now on these limits hold, as far as they can be changed. Returns whether any has changed, and the settings that stay as
    /// they were.
    pub fn replace_limits(&mut self, limits: Limits) -> (bool, Vec<&'static str>) {
        let (next, kept) = self.environment.limits.changed_to(limits, self.inboxes.capacity());
        let has_changed = next != self.environment.limits;
        self.environment.limits = next;
        (has_changed, kept)
    }

    /// Starts a turn at `now`; `wall` is only asked when the cached date may have become wrong. Returns whether it was: it is
    /// once a second while the loop turns.
    pub fn on_turn(&mut self, now: Moment, wall: impl FnOnce() -> SystemTime) -> bool {
        (self.environment.now, self.environment.moment) = (self.instant_of(now), now);
        self.moment = now;
        self.drive_began = now;
        self.handshakes_left = self.environment.limits.handshakes_per_turn;
        self.fates_left = Self::FATES_PER_TURN;
        self.counters.syscalls.look += self.environment.file_looks.take();
        let is_next_second = now >= self.date_good_until;
        if is_next_second {
            self.date_good_until = now + self.environment.date.refresh(wall());
        }
        is_next_second
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
        self.environment.jobs.numbers()
    }

    /// Counts a request that is over. Its record is kept to be asked for, or else for another request.
    pub fn close_record(
        &mut self,
        mut record: Box<RequestRecord>,
        who: &Identity,
        role: ListenerRole,
        log: impl FnOnce(&RequestRecord),
    ) {
        self.counters.count_request(&record, role.is_for_everyone());
        self.times.count_request(&record);
        log(&record);
        // The record may be kept for long.
        record.held = None;
        let unused = match &mut self.past {
            Some(past) if role.is_for_everyone() => {
                past.add_request(PastRequest { connection: who.id, peer: who.peer, record }, self.moment)
            }
            _ => Some(record),
        };
        if let Some(record) = unused {
            self.records.give_back(record);
        }
    }

    /// Nobody is asked about captures while there are none.
    pub fn forget_captures(&mut self) {
        self.live_captures.take_if(|live| live.is_empty());
    }

    /// Counts a request that came through the admin listener and that is about to be counted with all others.
    #[cold]
    pub fn count_admin_request(&mut self, record: &RequestRecord) {
        self.counters.admin_requests += 1;
        self.admin.counters.count_request(record, false);
        self.admin.times.count_request(record);
    }

    /// The most memory that was in use for input at a time, and for output, in bytes.
    pub fn lent_bytes_max(&self) -> (u64, u64) {
        (self.inboxes.lent_bytes_max(), self.outboxes.lent_bytes_max())
    }

    /// Content of HTTP/2 that nobody has taken, and such that handlers have taken and keep, in bytes.
    pub fn content_bytes(&self) -> (usize, usize) {
        (self.held.get(), self.kept.get())
    }

    /// Logs something that a peer can provoke, but not more of it than a log can take.
    pub fn complain(&self, level: log::Level, what: fmt::Arguments<'_>) {
        self.environment.complaints.log(self.environment.now, level, what);
    }
}
