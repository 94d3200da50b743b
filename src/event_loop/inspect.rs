//! Answers to questions about the loop and its connections, given between two phases: nobody is being driven then.

use std::rc::Rc;
use std::time::Duration;

use super::EventLoop;
use super::phases::Phase;
use crate::base::stats::Histogram;
use crate::connection::{Connection, WaitReason};
use crate::net::Reactor;
use crate::service::Service;
use crate::service::status::desk::{Desk, Topic};
use crate::service::status::report::{
    Buckets, ConnectionStatus, Family, LongestDrive, LoopStatus, Overview, Report, Samples, Spread,
};

/// Connections that the overview names.
const SLOWEST: usize = 10;
/// Upper bounds of the histograms, in microseconds.
const BOUNDS_US: [u64; 16] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 1_000_000, 5_000_000, 30_000_000,
];

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// From now on questions on this desk are answered.
    pub fn watch_desk(&mut self, desk: Rc<Desk>) {
        self.desk = Some(desk);
    }

    pub(super) fn answer_questions(&mut self) {
        let Some(desk) = &self.desk else { return };
        for asked in desk.take() {
            let report = self.report(asked.topic);
            asked.answer(report);
        }
    }

    fn report(&self, topic: Topic) -> Report {
        match topic {
            Topic::Connections(limit) => Report::Connections(self.longest_waits(limit, |_| true)),
            Topic::Metrics => Report::Metrics(self.families()),
            Topic::Loop => Report::Loop(Box::new(self.loop_status())),
            Topic::Overview => Report::Overview(Box::new(self.overview())),
        }
    }

    /// The connections that have waited longest, longest first.
    fn longest_waits(&self, limit: usize, wanted: impl Fn(&Connection<R::Socket>) -> bool) -> Vec<ConnectionStatus> {
        let connections = self.connections.iter().map(|(_, connection)| connection);
        let mut chosen: Vec<_> = connections.filter(|connection| wanted(connection)).collect();
        chosen.sort_unstable_by_key(|connection| (connection.waits_since(), connection.id()));
        chosen.truncate(limit);
        chosen.into_iter().map(|connection| connection.status(&self.worker)).collect()
    }

    fn loop_status(&self) -> LoopStatus {
        let (now, phases) = (self.worker.now, &self.phases);
        let longest = phases.longest(now).map(|drive| LongestDrive {
            ago: now.saturating_duration_since(drive.at),
            took: drive.took,
            connection: drive.connection,
            request: drive.request.clone(),
        });
        LoopStatus {
            uptime: now.saturating_duration_since(phases.began()),
            phases: Phase::ALL.iter().map(|phase| (phase.name(), spread(phases.time_of(*phase)))).collect(),
            turns: spread(&phases.turns),
            drives: spread(&phases.drives),
            lag: spread(&phases.lag),
            events: phases.events,
            events_max: phases.events_max,
            longest: longest.collect(),
            syscalls: self.worker.stats.syscalls.by_kind().to_vec(),
        }
    }

    fn overview(&self) -> Overview {
        let stats = &self.worker.stats;
        let count = |wanted: fn(&Connection<R::Socket>) -> bool| {
            self.connections.iter().filter(|(_, connection)| wanted(connection)).count()
        };
        Overview {
            turn: self.loop_status(),
            requests: stats.requests.iter().sum(),
            sent_bytes: stats.sent_bytes,
            latency: spread(&stats.latency),
            waits: self.waits().into_iter().filter(|(_, count)| *count > 0).collect(),
            paused: count(|connection| connection.is_paused()),
            blocked: count(|connection| connection.is_blocked()),
            slowest: self.longest_waits(SLOWEST, |connection| connection.waits_for_client()),
            draining: self.shutdown.is_some(),
        }
    }

    /// How many connections wait for what.
    fn waits(&self) -> Vec<(&'static str, usize)> {
        let mut waits: Vec<_> = WaitReason::ALL.iter().map(|reason| (reason.name(), 0)).collect();
        for (_, connection) in self.connections.iter() {
            let index = WaitReason::ALL.iter().position(|reason| *reason == connection.wait_reason());
            waits[index.unwrap_or(0)].1 += 1;
        }
        waits
    }

    fn families(&self) -> Vec<Family> {
        let (stats, phases) = (&self.worker.stats, &self.phases);
        let one = |number: u64| vec![("", number as f64)];
        let counter = |name, help, label, samples| Family { name, help, samples: Samples::Counter(label, samples) };
        let histogram = |name, help, histogram: &Histogram| Family {
            name,
            help,
            samples: Samples::Histogram(None, vec![("", buckets(histogram))]),
        };
        let classes = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
        let requests = classes.into_iter().zip(stats.requests).map(|(class, count)| (class, count as f64)).collect();
        let waits = self.waits().into_iter().map(|(wait, count)| (wait, count as f64)).collect();
        let ended = [
            ("client", stats.closed_by_client),
            ("server", stats.closed_by_server),
            ("broken", stats.broken),
            ("cut_short", stats.cut_short),
            ("timeout", stats.timeouts.iter().sum()),
        ];
        let timeouts = WaitReason::ALL.iter().zip(stats.timeouts).map(|(reason, count)| (reason.name(), count as f64));
        let syscalls = stats.syscalls.by_kind().into_iter().map(|(kind, count)| (kind, count as f64)).collect();
        let times = Phase::ALL.iter().map(|phase| (phase.name(), buckets(phases.time_of(*phase)))).collect();
        vec![
            Family {
                name: "tidemill_connections",
                help: "Open connections by what they wait for.",
                samples: Samples::Gauge(Some("wait"), waits),
            },
            counter("tidemill_connections_accepted_total", "Connections accepted.", None, one(self.accepted)),
            counter(
                "tidemill_connections_closed_total",
                "Connections closed, by who ended them.",
                Some("by"),
                ended.into_iter().map(|(by, count)| (by, count as f64)).collect(),
            ),
            counter("tidemill_timeouts_total", "Waits that lasted too long.", Some("wait"), timeouts.collect()),
            counter("tidemill_accept_pauses_total", "Rests of the listeners.", None, one(self.acceptor.rests())),
            counter("tidemill_requests_total", "Requests by the class of their status.", Some("class"), requests),
            counter("tidemill_received_bytes_total", "Bytes of requests.", None, one(stats.received_bytes)),
            counter("tidemill_sent_bytes_total", "Bytes of responses.", None, one(stats.sent_bytes)),
            histogram(
                "tidemill_request_duration_seconds",
                "From a request's first byte to its response's last.",
                &stats.latency,
            ),
            histogram(
                "tidemill_first_byte_duration_seconds",
                "From a request's first byte to its response's first.",
                &stats.first_byte,
            ),
            Family {
                name: "tidemill_loop_phase_seconds",
                help: "Time in each phase of a turn.",
                samples: Samples::Histogram(Some("phase"), times),
            },
            histogram("tidemill_loop_turn_seconds", "A turn without its poll.", &phases.turns),
            histogram("tidemill_loop_lag_seconds", "How late the loop woke for its own deadlines.", &phases.lag),
            histogram("tidemill_drive_seconds", "One drive of one connection.", &phases.drives),
            counter("tidemill_loop_events_total", "Events from the kernel.", None, one(phases.events)),
            counter("tidemill_syscalls_total", "System calls of the loop.", Some("call"), syscalls),
        ]
    }
}

/// A histogram in short.
pub(super) fn spread(histogram: &Histogram) -> Spread {
    Spread {
        count: histogram.count(),
        total: histogram.sum(),
        p50: histogram.quantile(0.5),
        p99: histogram.quantile(0.99),
        p999: histogram.quantile(0.999),
        max: histogram.max(),
    }
}

fn buckets(histogram: &Histogram) -> Buckets {
    let up_to = BOUNDS_US.iter().map(|us| {
        let bound = Duration::from_micros(*us);
        (bound.as_secs_f64(), histogram.count_up_to(bound))
    });
    Buckets { up_to: up_to.collect(), count: histogram.count(), sum: histogram.sum().as_secs_f64() }
}
