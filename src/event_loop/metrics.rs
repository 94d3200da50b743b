//! Everything that is counted, as families of metrics. Names and units follow the advice of Prometheus
//! (<https://prometheus.io/docs/practices/naming/>).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::EventLoop;
use super::access_log::AccessLog;
use super::inspect::Tally;
use super::phases::Phase;
use super::tls_upkeep::TlsUpkeep;
use crate::base::job_name::{JobKind, Lane};
use crate::net::Reactor;
use crate::net::tls::LiveConfig;
use crate::observe::http2::{Http2Now, add};
use crate::observe::keep_alive_race::Goodbye;
use crate::observe::report::{Buckets, ConfigStatus, Family, Kind, Metrics, Samples};
use crate::observe::tls::Failure;
use crate::observe::verdict::{FirstFin, Verdict, VerdictCounts};
use crate::observe::wait_reason::WaitReason;
use crate::service::Service;
use crate::service::access::{Refusals, Rule};
use crate::service::proxy::hub::Hub;
use crate::service::proxy::metrics::families;

/// What may be spoken on connections.
const PROTOCOLS: [&str; 4] = ["http/1", "http/2", "tcp-echo", "line-echo"];

/// Classes of status codes, in the order of `Counters::requests`; a request without a response has none.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Requests that were refused.
fn refused(refusals: &Refusals) -> Family {
    Family::counters(
        "tidemill_access_refused_total",
        "Requests that were refused, by the rule of access.",
        "rule",
        Rule::ALL.into_iter().map(Rule::name).zip(refusals.counts()),
    )
}

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// Everything.
    pub(super) fn metrics(&self) -> Metrics {
        let build = Family::gauges(
            "tidemill_build_info",
            "The version that runs; always 1.",
            "version",
            [(env!("CARGO_PKG_VERSION"), 1)],
        );
        let tally = self.tally();
        let groups = [
            vec![build],
            self.reloading.status.as_ref().map_or(Vec::new(), config_families),
            self.connection_families(&tally),
            self.request_families(),
            self.refusals.iter().map(|refusals| refused(refusals)).collect(),
            self.http2_families(tally.http2),
            self.loop_families(),
            self.tls.as_ref().map_or(Vec::new(), |tls| self.tls_families(tls)),
            self.thread_families(),
            self.upstreams.as_ref().map_or(Vec::new(), |upstreams| self.upstream_families(&upstreams.hub)),
        ];
        Metrics { families: groups.into_iter().flatten().collect(), queues: self.accept_queues.statuses() }
    }

    fn connection_families(&self, tally: &Tally) -> Vec<Family> {
        let stats = &self.context.counters;
        let closed = [
            ("client", stats.closed_by_client),
            ("server", stats.closed_by_server),
            ("broken", stats.broken),
            ("cut_short", stats.cut_short),
            ("timeout", stats.timeouts.total()),
        ];
        vec![
            Family::gauges(
                "tidemill_connections",
                "Open connections of clients by what they wait for.",
                "wait",
                tally.waits.by_reason().filter(|(wait, _)| !wait.is_of_upstreams()).map(by_name),
            ),
            Family::gauges(
                "tidemill_upstream_connections",
                "Open connections to upstreams by what they wait for.",
                "wait",
                tally.upstream_waits.by_reason().filter(|(wait, _)| wait.is_of_upstreams()).map(by_name),
            ),
            Family::gauges(
                "tidemill_protocol_connections",
                "Open connections by what is spoken on them.",
                "protocol",
                PROTOCOLS.map(|protocol| (protocol, tally.protocols.get(protocol).copied().unwrap_or(0))),
            ),
            Family::gauge(
                "tidemill_connections_limit",
                "Connections that there may be at a time.",
                self.context.environment.limits.connections_max as u64,
            ),
            Family::gauge("tidemill_reading_paused", "Connections on which reading is paused.", tally.paused),
            Family::gauge("tidemill_writing_blocked", "Connections whose client has to read first.", tally.blocked),
            Family::counter("tidemill_connections_accepted_total", "Connections accepted.", self.accepted()),
            Family::counters(
                "tidemill_connections_closed_total",
                "Connections closed, by who ended them.",
                "by",
                closed,
            ),
            verdicts(
                "tidemill_connection_verdicts_total",
                "Connections closed, by who ended them, how and in which phase.",
                &stats.verdicts,
            ),
            Family::counters(
                "tidemill_first_fins_total",
                "Connections closed, by who ended its direction first: whose socket was left in TIME_WAIT.",
                "side",
                FirstFin::NAMES.into_iter().zip(stats.first_fins),
            ),
            Family::counters(
                "tidemill_keep_alive_races_total",
                "Requests that came when the server had ended an idle connection, by how it had said so.",
                "after",
                Goodbye::LABELS.into_iter().zip(stats.keep_alive_races),
            ),
            Family::counters(
                "tidemill_timeouts_total",
                "Waits that lasted too long.",
                "wait",
                stats.timeouts.by_reason().filter(|(wait, _)| !wait.is_of_upstreams()).map(by_name),
            ),
            Family::counter(
                "tidemill_accept_pauses_total",
                "Times that accepting was put off, for want of descriptors mostly.",
                self.acceptor.rests(),
            ),
        ]
    }

    fn request_families(&self) -> Vec<Family> {
        let stats = &self.context.counters;
        vec![
            Family::counters(
                "tidemill_requests_total",
                "Requests that are over, by the class of their status.",
                "class",
                CLASSES.into_iter().zip(stats.requests),
            ),
            verdicts(
                "tidemill_request_verdicts_total",
                "Requests that were disturbed, by who did it, how and in which phase.",
                &stats.request_verdicts,
            ),
            Family::counter("tidemill_received_bytes_total", "Bytes read from connections.", stats.read_bytes),
            Family::counter("tidemill_sent_bytes_total", "Bytes written to connections.", stats.written_bytes),
            Family::counter(
                "tidemill_upstream_received_bytes_total",
                "Bytes read from upstreams.",
                stats.upstream_read_bytes,
            ),
            Family::counter(
                "tidemill_upstream_sent_bytes_total",
                "Bytes written to upstreams.",
                stats.upstream_written_bytes,
            ),
            Family::histogram(
                "tidemill_request_duration_seconds",
                "From a request's first byte to the last of its response.",
                Buckets::of(&self.context.times.latency()),
            ),
            Family::histogram(
                "tidemill_request_client_duration_seconds",
                "The same from when the request was readable in the kernel: an estimate of what the client sees.",
                Buckets::of(&self.context.times.client_latency()),
            ),
            Family::histogram(
                "tidemill_first_byte_duration_seconds",
                "From a request's first byte to the first of its response.",
                Buckets::of(&self.context.times.first_byte()),
            ),
            Family::gauge(
                "tidemill_response_queued_max_bytes",
                "The most that one response had waiting to be sent.",
                stats.queued_max,
            ),
        ]
    }

    /// Families of HTTP/2. What nobody has run into has no sample.
    fn http2_families(&self, now: Http2Now) -> Vec<Family> {
        let counts = &self.context.counters.http2;
        let mut misbehaviour = counts.misbehaviour.clone();
        now.misbehaviour.into_iter().for_each(|(kind, count)| add(&mut misbehaviour, kind, count));
        let resets = [("client", &counts.reset_by_client), ("server", &counts.reset_by_server)];
        let resets = resets.into_iter().flat_map(|(by, codes)| {
            let labels = move |code: &str| vec![("by", by.to_owned()), ("code", code.to_owned())];
            codes.iter().map(move |(code, count)| (labels(code), *count as f64))
        });
        vec![
            Family::counter(
                "tidemill_http2_connections_total",
                "Connections that have begun to speak HTTP/2.",
                counts.connections,
            ),
            Family::counter("tidemill_http2_streams_total", "Streams that have begun.", counts.streams),
            Family::gauge("tidemill_http2_streams", "Streams that live.", now.streams),
            Family::counter(
                "tidemill_http2_streams_delayed_total",
                "Streams that were delayed, because their client had reset too many.",
                counts.delayed,
            ),
            Family {
                name: "tidemill_http2_resets_total",
                help: "Streams that were reset, by who has done it and by the error code.",
                samples: Samples::Labelled(Kind::Counter, resets.collect()),
            },
            Family::counters(
                "tidemill_http2_goaways_total",
                "Connections that have ended and to which GOAWAY was sent, by its last error code.",
                "code",
                counts.goaways.clone(),
            ),
            Family::counters(
                "tidemill_http2_misbehaviour_total",
                "What clients have done that costs more than it should, by kind.",
                "kind",
                misbehaviour,
            ),
            Family::gauge(
                "tidemill_http2_content_bytes",
                "Content of requests that has arrived on streams, and that nobody has taken.",
                now.content_bytes,
            ),
        ]
    }

    fn loop_families(&self) -> Vec<Family> {
        let phases = &self.phases;
        vec![
            Family::histograms(
                "tidemill_loop_phase_seconds",
                "Time in each phase of a turn.",
                "phase",
                Phase::ALL.iter().map(|phase| (phase.name(), Buckets::of(&phases.time_of(*phase)))),
            ),
            Family::histogram("tidemill_loop_turn_seconds", "A turn without its poll.", Buckets::of(&phases.turns)),
            Family::histogram(
                "tidemill_loop_lag_seconds",
                "How late the loop woke for its own deadlines.",
                Buckets::of(&phases.lag),
            ),
            Family::histogram("tidemill_drive_seconds", "One drive of one connection.", Buckets::of(&phases.drives)),
            Family::counter("tidemill_loop_events_total", "Events from the kernel.", phases.events),
            Family::counters(
                "tidemill_syscalls_total",
                "System calls of the loop.",
                "call",
                self.context.counters.syscalls.by_kind(),
            ),
        ]
    }

    /// Families of TLS, where a listener has it. What nobody has run into has no sample.
    fn tls_families(&self, tls: &TlsUpkeep<LiveConfig>) -> Vec<Family> {
        let (counts, times) = (&self.context.counters.tls, &self.context.times);
        let done = counts.done().map(|((kind, version), count)| {
            (vec![("kind", kind.to_owned()), ("version", version.to_owned())], count as f64)
        });
        let failures = |failures: &BTreeMap<Failure, u64>| {
            let labels =
                |failure: &Failure| vec![("side", failure.side().to_owned()), ("reason", failure.reason().to_owned())];
            failures.iter().map(|(failure, count)| (labels(failure), *count as f64)).collect()
        };
        let tickets = tls.config().tickets();
        let certificates = tls.config().certificates().into_iter().map(|facts| {
            let until = facts.not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
            (vec![("file", facts.file.display().to_string()), ("subject", facts.subject)], until.as_secs() as f64)
        });
        let labelled = |name, help, kind, samples| Family { name, help, samples: Samples::Labelled(kind, samples) };
        vec![
            labelled("tidemill_tls_handshakes_total", "TLS handshakes that are done.", Kind::Counter, done.collect()),
            labelled(
                "tidemill_tls_handshake_failures_total",
                "TLS handshakes that failed: by the alert and who has sent it (ours, theirs), or without one (none).",
                Kind::Counter,
                failures(&counts.failed),
            ),
            labelled(
                "tidemill_tls_connection_failures_total",
                "Connections that TLS has ended after the handshake, in the same way.",
                Kind::Counter,
                failures(&counts.broken),
            ),
            Family::histogram(
                "tidemill_tls_handshake_duration_seconds",
                "From accepting a connection to the end of its TLS handshake.",
                Buckets::of(&times.handshakes),
            ),
            Family::histogram(
                "tidemill_tls_handshake_work_seconds",
                "How long a TLS handshake kept the loop busy.",
                Buckets::of(&times.handshake_work),
            ),
            Family::counters(
                "tidemill_tls_tickets_total",
                "Tickets with which clients wanted to resume TLS sessions: those that could be read, and others.",
                "outcome",
                [("hit", tickets.hits), ("miss", tickets.misses)],
            ),
            labelled(
                "tidemill_tls_certificate_not_after_seconds",
                "The last second in which a certificate in use is valid, since 1970.",
                Kind::Gauge,
                certificates.collect(),
            ),
        ]
    }

    /// Families of upstreams, where there are any.
    fn upstream_families(&self, hub: &Hub) -> Vec<Family> {
        let mut all = families(&hub.statuses(self.context.moment));
        all.push(Family::gauge(
            "tidemill_upstream_connections_limit",
            "Connections to upstreams that there may be at a time.",
            hub.connections_max() as u64,
        ));
        all
    }

    /// Families of the job threads and of the access log's thread.
    fn thread_families(&self) -> Vec<Family> {
        let jobs = self.context.jobs();
        let kinds = |counts: [u64; JobKind::COUNT]| JobKind::ALL.map(JobKind::name).into_iter().zip(counts);
        let longest = jobs.longest_since.map(|since| self.context.environment.now.saturating_duration_since(since));
        vec![
            Family::gauges(
                "tidemill_jobs_queued",
                "Jobs that wait for a thread.",
                "lane",
                Lane::ALL.map(Lane::name).into_iter().zip(
                    [jobs.quick_queued, jobs.slow_queued, jobs.names_queued, jobs.passwords_queued]
                        .map(|queued| queued as u64),
                ),
            ),
            Family::gauges("tidemill_jobs_running", "Jobs that run, by what they do.", "kind", kinds(jobs.running)),
            Family::counters("tidemill_jobs_total", "Jobs that were run, by what they do.", "kind", kinds(jobs.done)),
            Family::counters(
                "tidemill_jobs_long_total",
                "Jobs that ran for a second or longer, by what they do.",
                "kind",
                kinds(jobs.long),
            ),
            Family::counter(
                "tidemill_jobs_delayed_total",
                "Jobs that waited for a thread for a second or longer.",
                jobs.delayed,
            ),
            Family::seconds(
                "tidemill_job_longest_seconds",
                "For how long the longest of them has been running.",
                longest.unwrap_or(Duration::ZERO),
            ),
            Family::counter(
                "tidemill_access_log_dropped_total",
                "Lines of the access log that nobody took in time.",
                self.access_log().map_or(0, AccessLog::dropped),
            ),
            Family::counter(
                "tidemill_capture_packets_total",
                "Packets of the capture, dropped ones included.",
                self.reactor.captured().map_or(0, |captured| captured.seen),
            ),
            Family::counter(
                "tidemill_capture_dropped_total",
                "Packets of the capture that memory or the disk had no room for.",
                self.reactor.captured().map_or(0, |captured| captured.dropped),
            ),
        ]
    }
}

fn by_name((reason, count): (WaitReason, u64)) -> (&'static str, u64) {
    (reason.name(), count)
}

/// Counts by the letters of verdicts, and by what each of the letters means.
fn verdicts(name: &'static str, help: &'static str, counts: &VerdictCounts) -> Family {
    let labels = |verdict: Verdict| {
        vec![
            ("verdict", verdict.to_string()),
            ("side", verdict.side.meaning().to_owned()),
            ("means", verdict.means.meaning().to_owned()),
            ("phase", verdict.phase.meaning().to_owned()),
        ]
    };
    let samples = counts.iter().map(|(verdict, count)| (labels(verdict), count as f64)).collect();
    Family { name, help, samples: Samples::Labelled(Kind::Counter, samples) }
}

/// Families of the configuration. A moment that never was is 0.
fn config_families(status: &ConfigStatus) -> Vec<Family> {
    let seconds = |at: Option<SystemTime>| {
        at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
    };
    vec![
        Family::gauge(
            "tidemill_config_generation",
            "Which configuration is in force: 1 is that of the start.",
            status.generation,
        ),
        Family::gauge(
            "tidemill_config_last_success_timestamp_seconds",
            "When the configuration in force was taken, in seconds since 1970.",
            seconds(status.succeeded_at),
        ),
        Family::gauge(
            "tidemill_config_last_failure_timestamp_seconds",
            "When a configuration was refused last, in seconds since 1970; 0: none was.",
            seconds(status.failed.as_ref().map(|(at, _)| *at)),
        ),
    ]
}
