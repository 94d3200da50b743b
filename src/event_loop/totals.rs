//! The numbers of the whole run, taken when it is over.

use std::time::Duration;

use super::phases::Phase;
use super::{EventLoop, Outcome};
use crate::base::moment::Moment;
use crate::net::Reactor;
use crate::observe::accept_queue::QueueStatus;
use crate::observe::counters::Counters;
use crate::observe::histogram::Spread;
use crate::observe::jobs::JobsStatus;
use crate::observe::report::LongDrive;
use crate::service::Service;

/// The numbers of one event loop, from its beginning to its end. They include the connections of the admin listener.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Requests, bytes, system calls and ends of connections.
    pub counters: Counters,
    /// From the loop's beginning to its end.
    pub uptime: Duration,
    /// From the first byte of the first request to the end of the last one.
    pub busy: Duration,
    /// How many requests ended in the busiest second.
    pub busiest_second: u64,
    /// From a request's first byte to the last of its response.
    pub latency: Spread,
    /// From when a request was readable in the kernel, as far as that can be estimated, to the last byte of its response.
    pub client_latency: Spread,
    /// From a request's first byte to the first of its response.
    pub first_byte: Spread,
    /// The duration of a turn without its poll.
    pub turn: Spread,
    /// From accepting a connection to the end of its TLS handshake.
    pub handshakes: Spread,
    /// How late the loop woke for its own deadlines.
    pub lag: Spread,
    /// Turns of the loop.
    pub turns: u64,
    /// Events from the kernel in all turns together.
    pub events: u64,
    /// The most events in one turn.
    pub events_max: usize,
    /// Time in each phase of the turn, in order.
    pub phases: Vec<(&'static str, Duration)>,
    /// Connections accepted.
    pub accepted: u64,
    /// The most connections that were open at a time.
    pub connections_max: usize,
    /// Connections that still had a request when the server stopped waiting for them.
    pub cut_at_end: usize,
    /// The most memory in use for input buffers at a time, in bytes.
    pub inboxes_max: u64,
    /// The most memory in use for output buffers at a time, in bytes.
    pub outboxes_max: u64,
    /// The accept queues of all listeners but the admin's.
    pub queues: Vec<QueueStatus>,
    /// How often accepting failed and was put off.
    pub accept_pauses: u64,
    /// The longest drive of each minute of the last hour, oldest first.
    pub longest_drives: Vec<LongDrive>,
    /// Jobs that are not done, and those that took long.
    pub jobs: JobsStatus,
    /// Lines of the access log that were dropped.
    pub dropped_lines: u64,
    /// Packets of the capture that were dropped.
    pub dropped_packets: u64,
}

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// Whether an interrupt has ordered the loop to stop, or to hurry.
    pub fn was_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Ends the access log, and returns the numbers of the run. Only a loop that has an outcome has counted all its
    /// connections.
    pub fn sum_up(&mut self) -> Totals {
        let dropped_lines = self.access_log.as_mut().map_or(0, |log| {
            log.end();
            log.dropped()
        });
        let totals = Totals { dropped_lines, ..self.totals_of_connections() };
        let phases = &self.phases;
        Totals {
            uptime: phases.mark().since(Moment::default()),
            turn: phases.turns.spread(),
            lag: phases.lag.spread(),
            turns: phases.turns.count(),
            events: phases.events,
            events_max: phases.events_max,
            longest_drives: phases.longest_of_minutes(phases.mark()).cloned().collect(),
            jobs: self.jobs_status(),
            phases: Phase::ALL.iter().map(|phase| (phase.name(), phases.time_of(*phase).sum())).collect(),
            ..totals
        }
    }

    fn totals_of_connections(&self) -> Totals {
        let times = &self.context.times;
        let (inboxes_max, outboxes_max) = self.context.lent_bytes_max();
        Totals {
            counters: self.context.counters.clone(),
            busy: times.busy_time(),
            busiest_second: times.pace.busiest_second(),
            latency: times.latency().spread(),
            client_latency: times.client_latency().spread(),
            first_byte: times.first_byte().spread(),
            handshakes: times.handshakes.spread(),
            accepted: self.accepted(),
            connections_max: self.connections_max,
            cut_at_end: match self.outcome {
                Some(Outcome::Cut(left)) => left,
                Some(Outcome::Clean) | None => 0,
            },
            inboxes_max,
            outboxes_max,
            queues: self.accept_queues.statuses_of_everyone(),
            accept_pauses: self.acceptor.rests(),
            dropped_packets: self.reactor.captured().map_or(0, |captured| captured.dropped),
            ..Totals::default()
        }
    }
}
