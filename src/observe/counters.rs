//! What has happened on all connections so far.

use super::close_reason::CloseReason;
use super::histogram::Syscalls;
use super::request_record::RequestRecord;
use super::wait_reason::WaitCounts;

/// Counters of one event loop, from its start.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// System calls of the loop.
    pub syscalls: Syscalls,
    /// Requests by the class of their status, 1xx first; those at 0 had no response.
    pub requests: [u64; 6],
    /// Those of them that ended with their connection, before their response had left.
    pub cut: u64,
    /// Those of them that came through the admin's entrance.
    pub admin_requests: u64,
    /// Bytes read from connections, and bytes written, as they move.
    pub read_bytes: u64,
    /// See above.
    pub written_bytes: u64,
    /// The most that one response had waiting to be sent, in bytes.
    pub queued_max: u64,
    /// Connections that ended, by who ended them.
    pub closed_by_client: u64,
    /// See above.
    pub closed_by_server: u64,
    /// Failed reads and writes: usually a reset.
    pub broken: u64,
    /// Cut in the middle of a response.
    pub cut_short: u64,
    /// Waits that ended their connections, having lasted too long.
    pub timeouts: WaitCounts,
}

impl Counters {
    /// Requests that are over, of all classes.
    pub fn requests_over(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// Counts a connection that has ended.
    pub fn count_close(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::ByClient => self.closed_by_client += 1,
            CloseReason::ByServer => self.closed_by_server += 1,
            CloseReason::Broken(_) => self.broken += 1,
            CloseReason::CutShort => self.cut_short += 1,
            CloseReason::Timeout(reason) => self.timeouts.count(reason),
        }
    }

    /// Counts a request that is over.
    pub fn count_request(&mut self, record: &RequestRecord) {
        let class = record.status.map_or(0, |status| usize::from(status.code() / 100));
        self.requests[class.min(5)] += 1;
        self.cut += u64::from(record.cut.is_some());
        self.queued_max = self.queued_max.max(record.queued_max);
    }
}
