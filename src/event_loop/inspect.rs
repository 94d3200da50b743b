//! Answers to questions about the loop and its connections, given at the end of a turn: nobody is being driven then.

use std::cell::LazyCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::EventLoop;
use super::jobs::waits_for_job;
use super::phases::Phase;
use crate::base::listener_role::ListenerRole;
use crate::connection::Connection;
use crate::net::Reactor;
use crate::net::capture::live::{LIVE_MAX, LiveCaptures};
use crate::observe::access_log::sentence;
use crate::observe::http2::{Http2Now, add};
use crate::observe::past::{Disturbed, Past, PastRequest};
use crate::observe::report::{
    CaptureOrder, CaptureRefusal, CaptureStream, ConnectionStatus, Connections, DisturbedStatus, HalfStatus, Known,
    LoopStatus, MemoryBound, Overview, PastRecord, Subject,
};
use crate::observe::request_record::RequestRecord;
use crate::observe::upstream::GroupStatus;
use crate::observe::wait_reason::{WaitCounts, WaitReason};
use crate::service::Service;
use crate::service::status::inspection_queue::{Asked, InspectionQueue};

/// Questions that are answered in one turn: everybody else waits for as long.
const ANSWERS_PER_TURN: usize = 4;
/// Streams that are listed in one answer, on all connections together.
const STREAMS_MAX: usize = 1000;
/// Requests that are listed of one connection.
const REQUESTS_MAX: usize = 100;
/// Connections that the overview lists. The kernel is asked about these alone.
const LISTED: usize = 100;
/// Requests and connections that the overview names because they were disturbed.
const DISTURBED: usize = 10;

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// From now on the questions in this queue are answered.
    pub fn answer_inspections(&mut self, inspections: Rc<InspectionQueue>) {
        self.inspections = Some(inspections);
    }

    /// From now on so many requests and connections are kept to be asked for when they are over, and some for longer.
    pub fn keep_past(&mut self, max: usize) {
        self.context.past = Some(Box::new(Past::new(max)));
    }

    /// Answers what has been asked, if anything was.
    pub(super) fn answer_questions(&mut self) -> bool {
        let Some(inspections) = self.inspections.as_ref().filter(|inspections| !inspections.is_empty()) else {
            return false;
        };
        let asked = inspections.take(ANSWERS_PER_TURN);
        asked.into_iter().for_each(|asked| self.answer(asked));
        true
    }

    /// Begins a capture of a connection.
    fn capture(&mut self, order: CaptureOrder) -> Result<CaptureStream, CaptureRefusal> {
        let is_meant = |open: &&Connection<R::Socket>| open.who().id == order.connection && !open.is_closed();
        let connection = self.connections_but_admins().find(is_meant);
        let connection = connection.ok_or(CaptureRefusal::NotOpen)?;
        let (beginning, key) = (connection.capture_beginning(), connection.who().log_key(None));
        let live = self.context.live_captures.get_or_insert_default();
        let file = live.begin(&beginning, order.bytes_max).ok_or(CaptureRefusal::TooMany(LIVE_MAX))?;
        log::info!("{key}: what it says is captured from now on, for somebody who has asked the admin listener");
        Ok(CaptureStream { file, sign_of_life: LiveCaptures::sign_of_life() })
    }

    fn answer(&mut self, asked: Asked) {
        match asked {
            Asked::Connections(limit, answer) => answer.give(self.list(limit)),
            Asked::Metrics(answer) => answer.give(self.metrics()),
            Asked::Loop(answer) => answer.give(self.loop_status()),
            Asked::Overview(answer) => answer.give(self.overview()),
            Asked::Upstreams(answer) => answer.give(self.groups_of_upstreams()),
            Asked::Subject(subject, answer) => answer.give(self.known(subject)),
            Asked::Capture(order, answer) => answer.give(self.capture(order)),
            Asked::Reload(answer) => self.on_reload_asked(answer),
        }
    }

    /// How the upstreams stand; none if there is no route.
    pub(super) fn groups_of_upstreams(&self) -> Vec<GroupStatus> {
        self.upstreams.as_ref().map_or(Vec::new(), |upstreams| upstreams.hub.statuses(self.context.moment))
    }

    fn list(&self, limit: usize) -> Connections {
        let tally = self.tally();
        let waits = tally.waits.some_by_name().chain(tally.upstream_waits.some_by_name());
        Connections {
            total: self.connections.len() - self.admins.len(),
            upstreams: self.upstreams_open,
            waits: waits.collect(),
            listed: self.longest_waits(limit, |_| true),
        }
    }

    /// All connections but those of the admin listener, which nobody asks about.
    fn connections_but_admins(&self) -> impl Iterator<Item = &Connection<R::Socket>> {
        let connections = self.connections.iter().map(|(_, connection)| connection);
        connections.filter(|connection| connection.role() != ListenerRole::Admin)
    }

    /// So many of the connections: those that hold something up first; among these, the longest wait first.
    fn longest_waits(&self, limit: usize, wanted: impl Fn(&Connection<R::Socket>) -> bool) -> Vec<ConnectionStatus> {
        let mut chosen: Vec<_> = self.connections_but_admins().filter(|connection| wanted(connection)).collect();
        let order = |c: &&Connection<R::Socket>| (rank(c.wait_reason()), c.waits_since(), c.who().id);
        // A full sort of everything would take longer than anybody should be kept waiting for an answer.
        if limit < chosen.len() {
            chosen.select_nth_unstable_by_key(limit, order);
            chosen.truncate(limit);
        }
        chosen.sort_unstable_by_key(order);
        let mut streams_left = STREAMS_MAX;
        let (jobs, wall) = (LazyCell::new(|| self.awaited_jobs()), self.reactor.wall());
        let halves = LazyCell::new(|| self.upstream_halves());
        let with_streams = chosen.into_iter().map(|connection| {
            let mut status = connection.status(streams_left, &self.context, wall);
            streams_left -= status.http2.as_ref().map_or(0, |http2| http2.streams.len());
            if waits_for_job(&status) {
                self.add_jobs(&mut status, connection.who().token, &jobs);
            }
            let streams = status.http2.iter_mut().flat_map(|http2| &mut http2.streams);
            for half in status.upstream.iter_mut().chain(streams.filter_map(|stream| stream.upstream.as_mut())) {
                half.connection = half.serving().and_then(|id| halves.get(&id).copied());
            }
            status
        });
        with_streams.collect()
    }

    /// How the connections to upstreams stand, by their numbers.
    fn upstream_halves(&self) -> HashMap<u64, HalfStatus> {
        let connections = self.connections.iter().map(|(_, connection)| connection);
        let to_upstreams = connections.filter(|connection| connection.role() == ListenerRole::Upstream);
        to_upstreams.map(|connection| (connection.who().id, connection.half_status(self.context.moment))).collect()
    }

    /// All that is known of a connection, or of a request on it.
    pub(super) fn known(&self, subject: Subject) -> Known {
        let Subject { connection, request, .. } = subject;
        let now = self.context.moment;
        let ids = self.context.environment.telling.as_ref().and_then(|telling| telling.request_ids.as_ref());
        // Numbers of another run name other connections here.
        let is_this_run = subject.run.as_ref().is_none_or(|run| ids.is_some_and(|ids| ids.start() == &**run));
        let past = self.context.past.as_deref().filter(|_| is_this_run);
        let mut kept = past.map_or(Vec::new(), |past| past.requests(connection));
        kept.retain(|past| request.is_none_or(|key| past.record.is_named_by(key)));
        let more = kept.len().saturating_sub(REQUESTS_MAX);
        // Its stopwatches have counted up to its end, and not to now.
        let snapshot = |record: &RequestRecord| record.snapshot(record.last_byte_at.unwrap_or(now));
        let requests = kept[more..].iter().map(|past| PastRecord { peer: past.peer, record: snapshot(&past.record) });
        Known {
            subject,
            now,
            wall: self.reactor.wall(),
            open: self.longest_waits(1, |open| is_this_run && open.who().id == connection).pop(),
            ended: past.and_then(|past| past.connection(connection)).cloned(),
            requests: requests.collect(),
            more,
        }
    }

    /// One look at every connection.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for connection in self.connections_but_admins() {
            let is_client = connection.role() != ListenerRole::Upstream;
            let waits = if is_client { &mut tally.waits } else { &mut tally.upstream_waits };
            waits.count(connection.wait_reason());
            if !is_client {
                continue;
            }
            tally.paused += u64::from(connection.is_paused());
            tally.blocked += u64::from(connection.is_blocked());
            add(&mut tally.protocols, connection.protocol(), 1);
            connection.add_to(&mut tally.http2);
        }
        tally
    }

    fn loop_status(&self) -> LoopStatus {
        let (now, phases) = (self.context.moment, &self.phases);
        LoopStatus {
            now,
            phases: Phase::ALL.iter().map(|phase| (phase.name(), phases.time_of(*phase).spread())).collect(),
            turns: phases.turns.spread(),
            drives: phases.drives.spread(),
            lag: phases.lag.spread(),
            events: phases.events,
            events_max: phases.events_max,
            longest: phases.longest_of_seconds(now).cloned().collect(),
            longest_of_hour: phases.longest_of_minutes(now).cloned().collect(),
            jobs: self.jobs_status(),
            syscalls: self.context.counters.syscalls.by_kind().to_vec(),
            queues: self.accept_queues.statuses(),
        }
    }

    fn overview(&self) -> Overview {
        let (tally, minute, limits) = (self.tally(), self.minute(), &self.context.environment.limits);
        let (received_bytes, sent_bytes) = self.bytes_of_everyone();
        let failures = if minute.has_failures() { self.failures(minute.span) } else { Vec::new() };
        Overview {
            turn: self.loop_status(),
            wall: self.reactor.wall(),
            config: self.reloading.status.clone(),
            requests: self.context.counters.requests_over() - self.context.admin.counters.requests_over(),
            received_bytes,
            sent_bytes,
            latency: self.latency_of_everyone().spread(),
            minute,
            failures,
            connections: self.clients(),
            connections_max: limits.connections_max,
            connections_bound: limits.connections_bound,
            accept_fails: self.acceptor.fails(),
            waits: tally.waits.some_by_name().collect(),
            upstreams: self.groups_of_upstreams(),
            upstream_waits: tally.upstream_waits.some_by_name().collect(),
            paused: tally.paused,
            blocked: tally.blocked,
            listed: self.longest_waits(LISTED, |connection| connection.role().is_for_everyone()),
            disturbed: self.disturbed(),
            draining: self.shutdown.as_ref().zip(self.context.environment.draining).map(|(shutdown, since)| {
                let now = self.context.environment.now;
                (self.context.moment.since(since), shutdown.deadline().saturating_duration_since(now))
            }),
            memory: self.memory(),
            certificates: self.tls.as_ref().map_or(Vec::new(), |tls| {
                let certificates = tls.config().certificates().into_iter();
                certificates.map(|facts| (facts.subject, facts.not_after)).collect()
            }),
        }
    }

    /// The last requests and connections that were disturbed, if what is over is kept.
    pub(super) fn disturbed(&self) -> Vec<DisturbedStatus> {
        let disturbed = self.context.past.as_deref().map_or(Vec::new(), |past| past.disturbed(DISTURBED));
        let status = |disturbed: Disturbed<'_>| {
            let ago = self.context.moment.since(disturbed.ended_at());
            match disturbed {
                Disturbed::Request(&PastRequest { connection, peer, ref record, .. }) => {
                    let disturbance = record.disturbance.as_ref()?;
                    let (request, text) =
                        (Some((record.key(), record.request())), sentence(record, disturbance).to_string());
                    Some(DisturbedStatus { ago, connection, peer, request, verdict: disturbance.verdict, text })
                }
                Disturbed::Connection(ended) => {
                    let (connection, peer, verdict) = (ended.id, ended.peer, ended.verdict);
                    let text = ended.sentence().to_string();
                    Some(DisturbedStatus { ago, connection, peer, request: None, verdict, text })
                }
            }
        };
        disturbed.into_iter().filter_map(status).collect()
    }

    /// Memory that all connections share.
    fn memory(&self) -> Vec<MemoryBound> {
        let limits = &self.context.environment.limits.http2;
        let (held, kept) = self.context.content_bytes();
        let bound = |flag, purpose, used: usize, max: u32| MemoryBound {
            flag,
            purpose,
            used: used as u64,
            max: u64::from(max),
        };
        vec![
            bound("--http2-held", "content of HTTP/2 that nobody has taken", held, limits.held_bytes_max),
            bound("--http2-kept", "content of HTTP/2 that handlers keep", kept, limits.kept_bytes_max),
        ]
    }
}

/// Connections, counted. But for `upstream_waits`, those of clients.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) waits: WaitCounts,
    pub(super) upstream_waits: WaitCounts,
    pub(super) paused: u64,
    pub(super) blocked: u64,
    /// By what is spoken on them.
    pub(super) protocols: BTreeMap<&'static str, u64>,
    pub(super) http2: Http2Now,
}

/// Who is looked at first: clients that keep a request from being over, then whatever else is under way, then those who
/// want nothing just now.
fn rank(reason: WaitReason) -> u8 {
    match reason {
        WaitReason::TlsHandshake
        | WaitReason::SlowHead
        | WaitReason::SlowLine
        | WaitReason::SlowBody
        | WaitReason::SlowRead
        | WaitReason::Window
        | WaitReason::Connecting
        | WaitReason::UpstreamSilent
        | WaitReason::UpstreamSlowRead => 0,
        WaitReason::Timer
        | WaitReason::Job
        | WaitReason::Upstream
        | WaitReason::Conversation
        | WaitReason::Relay
        | WaitReason::Lingering => 1,
        WaitReason::FirstByte | WaitReason::Idle | WaitReason::Pooled => 2,
    }
}
