//! What has happened on all connections so far.

use std::time::Duration;

use super::ledger::Ledger;
use super::{CloseReason, WaitCounts};
use crate::base::moment::Moment;
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
    busy: Option<(Moment, Moment)>,
    /// How many ended in the busiest second.
    pub pace: Pace,
    /// From a request's first byte to the last of its response, if that left in one piece.
    at_once: Histogram,
    /// The same, if it left in several.
    in_pieces: Histogram,
    /// From a request's first byte to the first of a response that left in several pieces.
    first_of_pieces: Histogram,
    /// Requests that have been seen to end by the end of a turn.
    seen: u64,
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

impl Stats {
    /// From the beginning of the first request to the end of the last one.
    pub fn busy_time(&self) -> Duration {
        self.busy.map_or(Duration::ZERO, |(first, last)| last.since(first))
    }

    pub(super) fn count_close(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::ByClient => self.closed_by_client += 1,
            CloseReason::ByServer => self.closed_by_server += 1,
            CloseReason::Broken(_) => self.broken += 1,
            CloseReason::CutShort => self.cut_short += 1,
            CloseReason::Timeout(reason) => self.timeouts.count(reason),
        }
    }

    pub(super) fn count_request(&mut self, ledger: &Ledger, now: Moment) {
        let class = ledger.status.map_or(0, |status| usize::from(status.code() / 100));
        self.requests[class.min(5)] += 1;
        self.cut += u64::from(ledger.cut.is_some());
        let (first, _) = self.busy.unwrap_or((ledger.began, now));
        self.busy = Some((first.min(ledger.began), now));
        self.queued_max = self.queued_max.max(ledger.queued_max);
        if ledger.cut.is_none() {
            self.count_times(ledger, now);
        }
    }

    fn count_times(&mut self, ledger: &Ledger, now: Moment) {
        let is_upgrade = ledger.status == Some(Status::SWITCHING_PROTOCOLS);
        let whole = now.nanos_since(ledger.began);
        match ledger.first_byte_at {
            None if !is_upgrade => self.at_once.record_nanos(whole),
            first => {
                self.first_of_pieces.record_nanos(first.unwrap_or(now).nanos_since(ledger.began));
                if !is_upgrade {
                    self.in_pieces.record_nanos(whole);
                }
            }
        }
    }

    /// A turn has ended at `now`.
    pub fn end_turn(&mut self, now: Moment) {
        let ended = self.requests.iter().sum();
        if ended > self.seen {
            self.pace.count(ended - self.seen, now);
            self.seen = ended;
        }
    }

    /// From the first byte of a request to the last byte of its response; conversations after an upgrade do not count.
    pub fn latency(&self) -> Histogram {
        self.at_once.plus(&self.in_pieces)
    }

    /// From the first byte of a request to the first of its response.
    pub fn first_byte(&self) -> Histogram {
        self.at_once.plus(&self.first_of_pieces)
    }
}
