//! What has happened on all connections so far.

use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::{CloseReason, WaitReason};
use crate::base::stats::{Histogram, Pace, Syscalls};
use crate::http::status::Status;

/// Counters of one event loop, from its start.
#[derive(Debug, Default)]
pub struct Stats {
    /// System calls for connections.
    pub syscalls: Syscalls,
    /// Requests by the class of their status, 1xx first; those at 0 had no response.
    pub requests: [u64; 6],
    /// Those of them that ended with their connection, before their response had left.
    pub cut: u64,
    /// Those of them that came through the admin's entrance.
    pub admin_requests: u64,
    /// When the first of them began, and when the last one so far ended.
    pub busy: Option<(Instant, Instant)>,
    /// How many ended in the busiest second.
    pub pace: Pace,
    /// From the first byte of a request to the last byte of its response; conversations after an upgrade do not count.
    pub latency: Histogram,
    /// From the first byte of a request to the first of its response.
    pub first_byte: Histogram,
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
    /// Connections that ended because a wait lasted too long, with or without an answer that says so, in the order of `WaitReason::ALL`.
    pub timeouts: [u64; WaitReason::ALL.len()],
}

impl Stats {
    /// From the beginning of the first request to the end of the last one.
    pub fn busy_time(&self) -> Duration {
        self.busy.map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first))
    }

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
        self.cut += u64::from(ledger.cut.is_some());
        self.pace.count(now);
        let (first, last) = self.busy.unwrap_or((ledger.began, now));
        self.busy = Some((first.min(ledger.began), last.max(now)));
        self.queued_max = self.queued_max.max(ledger.queued_max);
        if ledger.cut.is_none() {
            if ledger.status != Some(Status::SWITCHING_PROTOCOLS) {
                self.latency.record(now.saturating_duration_since(ledger.began));
            }
            let first = ledger.first_byte_at.unwrap_or(now);
            self.first_byte.record(first.saturating_duration_since(ledger.began));
        }
    }
}
