//! How long requests took, and how close together they came.

use std::time::Duration;

use super::histogram::{Histogram, Pace};
use super::request_record::RequestRecord;
use crate::base::moment::Moment;
use crate::http::status::Status;

/// The times of all requests of one event loop that are over.
#[derive(Debug, Default)]
pub struct Times {
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
}

impl Times {
    /// From the beginning of the first request to the end of the last one.
    pub fn busy_time(&self) -> Duration {
        self.busy.map_or(Duration::ZERO, |(first, last)| last.since(first))
    }

    /// Counts a request that was over at `now`.
    pub fn count_request(&mut self, record: &RequestRecord, now: Moment) {
        let (first, _) = self.busy.unwrap_or((record.began, now));
        self.busy = Some((first.min(record.began), now));
        if record.cut.is_none() {
            self.count_times(record, now);
        }
    }

    fn count_times(&mut self, record: &RequestRecord, now: Moment) {
        let is_upgrade = record.status == Some(Status::SWITCHING_PROTOCOLS);
        let whole = now.nanos_since(record.began);
        match record.first_byte_at {
            None if !is_upgrade => self.at_once.record_nanos(whole),
            first => {
                self.first_of_pieces.record_nanos(first.unwrap_or(now).nanos_since(record.began));
                if !is_upgrade {
                    self.in_pieces.record_nanos(whole);
                }
            }
        }
    }

    /// A turn has ended at `now`, by which so many requests were over.
    pub fn end_turn(&mut self, over: u64, now: Moment) {
        if over > self.seen {
            self.pace.count(over - self.seen, now);
            self.seen = over;
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
