//! What was counted in the last minute, without the admin listener's own part.

use std::collections::BTreeMap;
use std::time::Duration;

use super::EventLoop;
use super::access_log::AccessLog;
use crate::base::moment::Moment;
use crate::base::slots::Token;
use crate::connection::Connection;
use crate::net::Reactor;
use crate::observe::counters::Counters;
use crate::observe::histogram::Histogram;
use crate::observe::minute::{Minute, Tallies};
use crate::observe::past::PastRequest;
use crate::observe::report::Failures;
use crate::service::Service;

/// Failures of the last minute are told by the request that failed; so many different ones.
const FAILURES_MAX: usize = 50;

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// Notes the counters as they have been since the last turn: the loop wakes at `now`.
    #[cold]
    pub(super) fn look_at_counters(&mut self, now: Moment) {
        let mut last_minute = std::mem::take(&mut self.last_minute);
        last_minute.look(self.phases.mark(), now, |tallies| self.write_tallies(tallies));
        self.last_minute = last_minute;
    }

    /// What happened in the last minute.
    pub(super) fn minute(&self) -> Minute {
        let mut tallies = Tallies::default();
        self.write_tallies(&mut tallies);
        self.last_minute.until(self.context.moment, &tallies)
    }

    fn write_tallies(&self, tallies: &mut Tallies) {
        let (counters, admin) = (&self.context.counters, &self.context.admin.counters);
        let (received, sent) = self.bytes_of_everyone();
        tallies.requests = std::array::from_fn(|class| counters.requests[class].saturating_sub(admin.requests[class]));
        self.context.times.write_latency(&mut tallies.latency);
        tallies.latency.take_out(&self.context.admin.times.latency());
        (tallies.received, tallies.sent) = (received, sent);
        tallies.accepted = self.accepted() - self.context.admin.accepted;
        tallies.work_nanos = u64::try_from(self.phases.turns.sum().as_nanos()).unwrap_or(u64::MAX);
        tallies.timeouts.set_without(counters.timeouts.by_reason(), |reason| {
            admin.timeouts.by_reason().find(|(other, _)| *other == reason).map_or(0, |(_, count)| count)
        });
        tallies.disturbed.set(counters.request_verdicts.iter());
        tallies.lost.set(counters.lost.iter());
        tallies.closed.set(counters.verdicts.iter());
        tallies.races = counters.keep_alive_races.iter().sum();
        tallies.handshakes = counters.tls.done_total();
        tallies.handshake_failures.set(copied(&counters.tls.failed));
        tallies.goaways.set(copied(&counters.http2.goaways));
        tallies.resets_by_client.set(copied(&counters.http2.reset_by_client));
        tallies.resets_by_server.set(copied(&counters.http2.reset_by_server));
        tallies.delayed_streams = counters.http2.delayed;
        tallies.drops.clear();
        tallies.drops.extend(self.accept_queues.drops());
        tallies.accept_pauses = self.acceptor.rests();
        tallies.dropped_lines = self.access_log().map_or(0, AccessLog::dropped);
        tallies.dropped_packets = self.reactor.captured().map_or(0, |captured| captured.dropped);
    }

    /// Bytes that were received and sent, without those of the admin listener.
    pub(super) fn bytes_of_everyone(&self) -> (u64, u64) {
        let (counters, admin) = (&self.context.counters, &self.context.admin.counters);
        let open = self.admins.iter().filter_map(|token| self.connections.get(*token)).map(Connection::bytes);
        let (received, sent) = open.fold((admin.read_bytes, admin.written_bytes), |(received, sent), bytes| {
            (received + bytes.0, sent + bytes.1)
        });
        (counters.read_bytes.saturating_sub(received), counters.written_bytes.saturating_sub(sent))
    }

    /// From the first byte of a request to the last of its response, without those of the admin listener.
    pub(super) fn latency_of_everyone(&self) -> Histogram {
        let mut latency = self.context.times.latency();
        latency.take_out(&self.context.admin.times.latency());
        latency
    }

    /// A connection of the admin listener is over.
    pub(super) fn forget_admin(&mut self, token: Token, connection: &Connection<R::Socket>) {
        self.admins.retain(|admin| *admin != token);
        let admin: &mut Counters = &mut self.context.admin.counters;
        let (received, sent) = connection.bytes();
        (admin.read_bytes, admin.written_bytes) = (admin.read_bytes + received, admin.written_bytes + sent);
        if let Some(reason) = connection.close_reason() {
            admin.count_close(reason, None);
        }
    }

    /// The failures that are still known of this time before now, the most frequent first.
    pub(super) fn failures(&self, span: Duration) -> Vec<Failures> {
        let now = self.context.moment;
        let from = Moment::default() + now.since(Moment::default()).saturating_sub(span);
        let mut groups: BTreeMap<_, Failures> = BTreeMap::new();
        for request in self.context.past.iter().flat_map(|past| past.failures_since(from)) {
            let failure = failure(request);
            let key = (failure.status, failure.verdict, failure.is_lost, failure.request.clone());
            let group = groups.entry(key).or_insert(failure);
            group.count += 1;
            (group.connection, group.key) = (request.connection, request.record.key());
        }
        let mut failures: Vec<_> = groups.into_values().collect();
        failures.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.request.cmp(&other.request)));
        failures.truncate(FAILURES_MAX);
        failures
    }
}

/// Such a request, with a count of none.
fn failure(request: &PastRequest) -> Failures {
    let record = &request.record;
    let status = record.status.map(|status| status.code()).filter(|code| *code >= 500);
    Failures {
        status,
        verdict: record.disturbance.as_ref().map(|disturbance| disturbance.verdict),
        is_lost: record.disturbance.as_ref().is_some_and(|disturbance| !disturbance.may_be_whole()),
        request: record.request(),
        count: 0,
        connection: request.connection,
        key: record.key(),
    }
}

fn copied<K: Copy>(counts: &BTreeMap<K, u64>) -> impl Iterator<Item = (K, u64)> {
    counts.iter().map(|(key, count)| (*key, *count))
}
