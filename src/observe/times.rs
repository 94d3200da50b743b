//! How long requests took, and how close together they came.

use std::time::Duration;

use super::histogram::{Histogram, Pace};
use super::request_record::RequestRecord;
use crate::base::moment::Moment;

/// The times of all requests of one event loop that are over.
#[derive(Debug, Default)]
pub struct Times {
    /// When the first request began, and when the last one so far ended.
    first_and_last: Option<(Moment, Moment)>,
    /// How many requests ended in each second; the busiest one is remembered.
    pub pace: Pace,
    /// Responses that left in one write: from the request's first byte to the response's last one. The first byte of the
    /// response left at the same time.
    one_write: Histogram,
    /// The same for requests that may have been readable in the kernel before their turn began.
    late_one_write: Histogram,
    /// The same, from then on.
    early_one_write: Histogram,
    /// Responses that left in several writes: from when the request was readable in the kernel to the response's last byte.
    early_several_writes: Histogram,
    /// Responses that left in several writes: from the request's first byte to the response's last one.
    several_writes: Histogram,
    /// Responses that left in several writes: from the request's first byte to the response's first one.
    first_of_several_writes: Histogram,
    /// From accepting a connection to the end of its TLS handshake.
    pub handshakes: Histogram,
    /// How long TLS handshakes kept the loop busy.
    pub handshake_work: Histogram,
    /// Requests that were over in this turn.
    over_in_turn: u64,
}

impl Times {
    /// From the beginning of the first request to the end of the last one.
    pub fn busy_time(&self) -> Duration {
        self.first_and_last.map_or(Duration::ZERO, |(first, last)| last.since(first))
    }

    /// Counts a request that is over.
    #[inline]
    pub fn count_request(&mut self, record: &RequestRecord) {
        self.over_in_turn += 1;
        let now = record.last_byte_at.unwrap_or(record.began);
        let (first, _) = self.first_and_last.unwrap_or((record.began, now));
        self.first_and_last = Some((first.min(record.began), now));
        let left_at_once = record.first_byte_at.is_none_or(|first| first == now) && record.readable_at == record.began;
        if left_at_once && record.disturbance.is_none() && !record.is_upgrade() {
            // Most are like this.
            self.one_write.record_nanos(now.nanos_since(record.began));
        } else if record.cut().is_none() {
            self.count_times(record, now);
        }
    }

    #[inline(never)]
    fn count_times(&mut self, record: &RequestRecord, now: Moment) {
        let is_upgrade = record.is_upgrade();
        let to_last_byte = now.nanos_since(record.began);
        match record.first_byte_at.filter(|first| *first != now) {
            None if !is_upgrade && record.readable_at == record.began => self.one_write.record_nanos(to_last_byte),
            None if !is_upgrade => {
                self.late_one_write.record_nanos(to_last_byte);
                self.early_one_write.record_nanos(now.nanos_since(record.readable_at));
            }
            first => {
                self.first_of_several_writes.record_nanos(first.unwrap_or(now).nanos_since(record.began));
                if !is_upgrade {
                    self.several_writes.record_nanos(to_last_byte);
                    self.early_several_writes.record_nanos(now.nanos_since(record.readable_at));
                }
            }
        }
    }

    /// A turn has ended at `now`.
    pub fn end_turn(&mut self, now: Moment) {
        if self.over_in_turn > 0 {
            self.pace.count(self.over_in_turn, now);
            self.over_in_turn = 0;
        }
    }

    /// From the first byte of a request to the last byte of its response; conversations after an upgrade do not count.
    pub fn latency(&self) -> Histogram {
        self.one_write.plus(&self.late_one_write).plus(&self.several_writes)
    }

    /// The same as its client sees it, as far as that can be estimated: from when the request was readable in the kernel.
    pub fn client_latency(&self) -> Histogram {
        self.one_write.plus(&self.early_one_write).plus(&self.early_several_writes)
    }

    /// Has `latency` become the same, in the memory that it has.
    pub fn write_latency(&self, latency: &mut Histogram) {
        latency.set(&self.one_write);
        latency.add(&self.late_one_write);
        latency.add(&self.several_writes);
    }

    /// From the first byte of a request to the first of its response.
    pub fn first_byte(&self) -> Histogram {
        self.one_write.plus(&self.late_one_write).plus(&self.first_of_several_writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::method::Method;
    use crate::http::status::Status;

    #[test]
    fn conversations_in_tunnels_have_a_first_byte_and_no_latency() {
        let at = Moment::from_millis;
        for (method, status, latencies) in [
            (Method::Get, Status::OK, 1),
            (Method::Get, Status::SWITCHING_PROTOCOLS, 0),
            (Method::Connect, Status::OK, 0),
            (Method::Connect, Status::NOT_FOUND, 1),
        ] {
            let (mut times, mut record) = (Times::default(), RequestRecord::new(at(10)));
            (record.method, record.status) = (Some(method), Some(status));
            (record.first_byte_at, record.last_byte_at) = (Some(at(20)), Some(at(9000)));
            times.count_request(&record);
            let counts = (times.latency().count(), times.first_byte().count());
            assert_eq!(counts, (latencies, 1), "{method} {status}");
        }
    }

    #[test]
    fn what_waited_in_the_kernel_counts_for_the_client_alone() {
        let (mut times, at) = (Times::default(), Moment::from_millis);
        for (readable, began, first, last) in [(40, 40, 45, 45), (20, 40, 50, 50), (10, 40, 50, 60)] {
            let mut record = RequestRecord::new(at(began));
            (record.readable_at, record.status) = (at(readable), Some(Status::OK));
            (record.first_byte_at, record.last_byte_at) = (Some(at(first)), Some(at(last)));
            times.count_request(&record);
        }
        let ms = |histogram: Histogram| (histogram.count(), histogram.sum().as_millis());
        assert_eq!((ms(times.latency()), ms(times.client_latency())), ((3, 5 + 10 + 20), (3, 5 + 30 + 50)));
        assert_eq!(ms(times.first_byte()), (3, 5 + 10 + 10));
        let mut latency = Histogram::default();
        times.write_latency(&mut latency);
        assert_eq!(ms(latency), (3, 5 + 10 + 20));
    }

    #[test]
    fn busy_time_begins_with_the_first_request_and_not_with_the_one_that_ended_first() {
        let (mut times, at) = (Times::default(), Moment::from_millis);
        assert_eq!(times.busy_time(), Duration::ZERO);
        for (began, ended) in [(40, 50), (10, 80), (85, 90)] {
            let mut record = RequestRecord::new(at(began));
            record.last_byte_at = Some(at(ended));
            times.count_request(&record);
        }
        assert_eq!(times.busy_time(), Duration::from_millis(80));
    }
}
