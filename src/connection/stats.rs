//! What has happened on all connections so far.

use std::time::Instant;

use super::ledger::Ledger;
use super::{CloseReason, WaitReason};
use crate::base::stats::{Histogram, Syscalls};

/// Counters of one event loop, from its start.
#[derive(Debug, Default)]
pub struct Stats {
    /// System calls for connections.
    pub syscalls: Syscalls,
    /// Requests by the class of their status, 1xx first; those at 0 had no response.
    pub requests: [u64; 6],
    /// From the first byte of a request to the last byte of its response.
    pub latency: Histogram,
    /// From the first byte of a request to the first of its response.
    pub first_byte: Histogram,
    /// Bytes from clients, and to clients, of requests that are over.
    pub received_bytes: u64,
    /// See above.
    pub sent_bytes: u64,
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
    /// Waits that lasted too long, in the order of `WaitReason::ALL`.
    pub timeouts: [u64; WaitReason::ALL.len()],
}

impl Stats {
    pub(super) fn count_close(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::ByClient => self.closed_by_client += 1,
            CloseReason::ByServer => self.closed_by_server += 1,
            CloseReason::Broken(_) => self.broken += 1,
            CloseReason::CutShort => self.cut_short += 1,
            CloseReason::Timeout(reason) => {
                let index = WaitReason::ALL.iter().position(|known| *known == reason).unwrap_or(0);
                self.timeouts[index] += 1;
            }
        }
    }

    pub(super) fn count_request(&mut self, ledger: &Ledger, now: Instant) {
        let class = ledger.status.map_or(0, |status| usize::from(status.code() / 100));
        self.requests[class.min(5)] += 1;
        self.received_bytes += ledger.rx.end - ledger.rx.start;
        self.sent_bytes += ledger.tx.end - ledger.tx.start;
        self.queued_max = self.queued_max.max(ledger.queued_max);
        if ledger.cut.is_none() {
            self.latency.record(now.saturating_duration_since(ledger.began));
            let first = ledger.first_byte_at.unwrap_or(now);
            self.first_byte.record(first.saturating_duration_since(ledger.began));
        }
    }
}
