//! Counters of requests, bytes and connections.

use super::close_reason::CloseReason;
use super::histogram::Syscalls;
use super::http2::Http2Counts;
use super::keep_alive_race::KeepAliveRace;
use super::request_record::RequestRecord;
use super::tls::TlsCounts;
use super::verdict::{FirstFin, Verdict, VerdictCounts};
use super::wait_reason::WaitCounts;
use crate::base::listener_role::ListenerRole;

/// Counters of one event loop, from its start. They include the connections of the admin listener.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// System calls of the loop.
    pub syscalls: Syscalls,
    /// Requests that are over, by the class of their status. Index 0: no response. Index 1 to 5: 1xx to 5xx.
    pub requests: [u64; 6],
    /// Requests whose connection ended before the whole response had left.
    pub cut: u64,
    /// Requests that came through the admin listener.
    pub admin_requests: u64,
    /// Bytes read from connections, but for those to upstreams.
    pub read_bytes: u64,
    /// Bytes written to connections, but for those to upstreams.
    pub written_bytes: u64,
    /// Bytes read from upstreams.
    pub upstream_read_bytes: u64,
    /// Bytes written to upstreams.
    pub upstream_written_bytes: u64,
    /// The most bytes that waited to be sent while one response was on its way.
    pub queued_max: u64,
    /// Connections that ended with [`CloseReason::ByClient`].
    pub closed_by_client: u64,
    /// Connections that ended with [`CloseReason::ByServer`].
    pub closed_by_server: u64,
    /// Connections that ended because a read or a write failed, usually by a reset.
    pub broken: u64,
    /// Connections that ended in the middle of a response because its handler failed, or the request was wrong.
    pub cut_short: u64,
    /// Connections that ended because a wait lasted too long, by what they waited for.
    pub timeouts: WaitCounts,
    /// The verdicts on connections that ended, those of the admin listener left out.
    pub verdicts: VerdictCounts,
    /// The same for requests that were disturbed.
    pub request_verdicts: VerdictCounts,
    /// The same for those of them whose clients have not got the whole response.
    pub lost: VerdictCounts,
    /// Who ended these connections first, by the number of [`FirstFin`].
    pub first_fins: [u64; 3],
    /// Requests that came when the server had ended an idle connection, by the number of
    /// [`Goodbye`](super::keep_alive_race::Goodbye).
    pub keep_alive_races: [u64; 2],
    /// Handshakes of TLS, and what became of them.
    pub tls: TlsCounts,
    /// HTTP/2.
    pub http2: Http2Counts,
}

impl Counters {
    /// Requests that are over, of all classes.
    pub fn requests_over(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// Counts a connection that has ended. `verdict` is `None` for one of the admin listener: whoever asks it again and again
    /// would be all that is seen.
    pub fn count_close(&mut self, reason: CloseReason, verdict: Option<(Verdict, FirstFin)>) {
        if let Some((verdict, first)) = verdict {
            self.verdicts.count(verdict);
            self.first_fins[first as usize] += 1;
        }
        match reason {
            CloseReason::ByClient(_) => self.closed_by_client += 1,
            CloseReason::ByServer(_) => self.closed_by_server += 1,
            CloseReason::Broken(_) => self.broken += 1,
            CloseReason::CutShort(_) => self.cut_short += 1,
            CloseReason::Timeout(reason) | CloseReason::Vanished(reason) => self.timeouts.count(reason),
        }
    }

    /// Counts requests that came too late on a connection that has ended.
    pub fn count_race(&mut self, race: &KeepAliveRace) {
        self.keep_alive_races[race.goodbye as usize] += u64::from(race.requests);
    }

    /// Counts `n` bytes that were read from a connection.
    #[inline]
    pub fn add_read(&mut self, role: ListenerRole, n: usize) {
        match role {
            ListenerRole::Upstream => self.upstream_read_bytes += n as u64,
            _ => self.read_bytes += n as u64,
        }
    }

    /// Counts `n` bytes that were written to a connection.
    #[inline]
    pub fn add_written(&mut self, role: ListenerRole, n: usize) {
        match role {
            ListenerRole::Upstream => self.upstream_written_bytes += n as u64,
            _ => self.written_bytes += n as u64,
        }
    }

    /// Counts a request that is over, and what disturbed it if it `is_for_everyone` and did not come through the admin listener.
    pub fn count_request(&mut self, record: &RequestRecord, is_for_everyone: bool) {
        let class = record.status.map_or(0, |status| usize::from(status.code() / 100));
        self.requests[class.min(5)] += 1;
        if let Some(disturbance) = record.disturbance.as_ref().filter(|_| is_for_everyone) {
            self.request_verdicts.count(disturbance.verdict);
            if !disturbance.may_be_whole() {
                self.lost.count(disturbance.verdict);
            }
        }
        self.cut += u64::from(record.cut().is_some());
        self.queued_max = self.queued_max.max(record.queued_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::moment::Moment;
    use crate::observe::close_reason::{ClientEnd, Cut};
    use crate::observe::verdict::{Disturbance, Means, Phase, Side};

    #[test]
    fn an_answer_is_lost_only_if_its_client_cannot_have_got_all_of_it() {
        let verdict = |side, means| Verdict { side, means, phase: Phase::Handler };
        let count = |verdict, change: fn(&mut Disturbance)| {
            let (mut counters, mut record) = (Counters::default(), RequestRecord::new(Moment::default()));
            change(record.note_verdict(verdict, Moment::default()));
            counters.count_request(&record, true);
            assert_eq!(counters.request_verdicts.iter().collect::<Vec<_>>(), [(verdict, 1)]);
            counters.lost.iter().map(|(_, count)| count).sum::<u64>()
        };
        let left = verdict(Side::Client, Means::Fin);
        assert_eq!(count(left, |_| {}), 0, "it has read on");
        assert_eq!(count(left, |disturbance| disturbance.left_over = 1), 1);
        assert_eq!(count(left, |disturbance| disturbance.was_reset = true), 1);
        let cut = |disturbance: &mut Disturbance| {
            disturbance.cut = Some(Cut::Connection(CloseReason::ByClient(ClientEnd::Fin)));
        };
        assert_eq!(count(left, cut), 1);
        assert_eq!(count(verdict(Side::Server, Means::Handler), |_| {}), 0, "the 500 is whole");
        assert_eq!(count(verdict(Side::Network, Means::Timeout), |_| {}), 1, "nobody has acknowledged it");
    }

    #[test]
    fn the_most_that_waited_is_that_of_any_request_and_not_of_the_last() {
        let mut counters = Counters::default();
        for queued_max in [5, 9, 2] {
            let mut record = RequestRecord::new(Moment::default());
            record.queued_max = queued_max;
            counters.count_request(&record, true);
        }
        assert_eq!((counters.queued_max, counters.requests_over()), (9, 3));
    }
}
