//! What is known of one request: when it came and went, where it stood in the two byte streams, what held it up.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::close_reason::CloseReason;
use super::delay::Delay;
use crate::base::moment::Moment;
use crate::http::message::{RequestHead, Version};
use crate::http::method::Method;
use crate::http::status::Status;

/// As much of a target as is kept, in bytes.
const TARGET_BYTES_MAX: usize = 512;
/// As much of another field's value as is kept, in bytes.
const FIELD_BYTES_MAX: usize = 512;
/// Records that are kept for the next requests.
const KEPT_MAX: usize = 64;

/// The account of one request. Records are used again, so that keeping them costs no allocation in the long run.
#[derive(Debug)]
pub struct RequestRecord {
    /// The request's number on its connection, from 1.
    pub ordinal: u64,
    /// The request line; no method if it was not understood.
    pub method: Option<Method>,
    /// Its version.
    pub version: Version,
    /// Target, `Referer` and `User-Agent`, one behind the other.
    texts: Vec<u8>,
    target_end: usize,
    referer_end: usize,
    /// The status of its response, as soon as there is one.
    pub status: Option<Status>,
    /// When its first byte was noticed to be readable: the beginning of that turn.
    pub began: Moment,
    /// When the drive began in which its head was complete.
    pub head_at: Moment,
    /// Behind whom it was before that drive, if it was held up by another connection's.
    pub behind: Option<Box<Delay>>,
    /// When the drive was over in which the first byte of the response left.
    pub first_byte_at: Option<Moment>,
    /// When the drive was over in which the last byte left, or in which the connection ended.
    pub last_byte_at: Option<Moment>,
    /// Where it stands in the stream from the client, in bytes from its beginning.
    pub rx: Range<u64>,
    /// Where the response stands in the stream to the client, in bytes from its beginning.
    pub tx: Range<u64>,
    /// Length of the response's head in bytes.
    pub head_bytes: u64,
    /// How long nothing was read, since nobody took what was there.
    pub paused: Stopwatch,
    /// How long there was something to send that the kernel had no room for.
    pub blocked: Stopwatch,
    /// The most that waited to be sent, in bytes.
    pub queued_max: u64,
    /// How the connection ended, if that ended the request.
    pub cut: Option<CloseReason>,
    /// The next one in the chain that this one is in.
    next: Option<Box<RequestRecord>>,
}

/// Adds up the time in which something was so.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stopwatch {
    total: Duration,
    since: Option<Moment>,
}

impl Stopwatch {
    /// It is so now, or it is not.
    pub fn set(&mut self, on: bool, now: Moment) {
        match (on, self.since) {
            (true, None) => self.since = Some(now),
            (false, Some(since)) => {
                self.total += now.since(since);
                self.since = None;
            }
            _ => {}
        }
    }

    /// How long it was so until `now`.
    pub fn total(&self, now: Moment) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| now.since(since))
    }
}

impl RequestRecord {
    fn new(now: Moment) -> RequestRecord {
        RequestRecord {
            ordinal: 0,
            method: None,
            version: Version::Http11,
            texts: Vec::new(),
            target_end: 0,
            referer_end: 0,
            status: None,
            began: now,
            head_at: now,
            behind: None,
            first_byte_at: None,
            last_byte_at: None,
            rx: 0..0,
            tx: 0..0,
            head_bytes: 0,
            paused: Stopwatch::default(),
            blocked: Stopwatch::default(),
            queued_max: 0,
            cut: None,
            next: None,
        }
    }

    /// Notes the request line, and the fields that are wanted.
    pub fn note_head(&mut self, request: &RequestHead<'_>, with_fields: bool) {
        self.method = Some(request.method);
        self.version = request.version;
        self.texts.clear();
        self.target_end = self.add_text(request.target.raw, TARGET_BYTES_MAX);
        self.referer_end = self.target_end;
        if with_fields {
            let field = |name| request.fields.first(name).unwrap_or_default();
            self.referer_end = self.add_text(field("Referer"), FIELD_BYTES_MAX);
            self.add_text(field("User-Agent"), FIELD_BYTES_MAX);
        }
    }

    fn add_text(&mut self, text: &[u8], bytes_max: usize) -> usize {
        self.texts.extend_from_slice(&text[..text.len().min(bytes_max)]);
        self.texts.len()
    }

    /// The request's target, perhaps only the beginning of it.
    pub fn target(&self) -> &[u8] {
        &self.texts[..self.target_end]
    }

    /// `Referer`, or empty.
    pub fn referer(&self) -> &[u8] {
        &self.texts[self.target_end..self.referer_end]
    }

    /// `User-Agent`, or empty.
    pub fn user_agent(&self) -> &[u8] {
        &self.texts[self.referer_end..]
    }

    /// Method and target, to be printed: bytes that are not printable are escaped.
    pub fn request(&self) -> String {
        let mut text = String::new();
        self.write_request(&mut text);
        text
    }

    /// The same, at the end of `text`.
    pub fn write_request(&self, text: &mut String) {
        text.push_str(self.method.map_or("-", Method::as_str));
        text.push(' ');
        text.extend(self.target().escape_ascii().map(char::from));
    }

    /// What follows the response's head on the wire, in bytes, as far as it has left.
    pub fn content_bytes(&self) -> u64 {
        (self.tx.end - self.tx.start).saturating_sub(self.head_bytes)
    }

    fn clear(&mut self, now: Moment) {
        let mut texts = std::mem::take(&mut self.texts);
        texts.clear();
        *self = RequestRecord { texts, ..RequestRecord::new(now) };
    }
}

/// Several of them, oldest first. A record goes from hand to hand all its life: only its address is copied.
pub type RecordQueue = VecDeque<Box<RequestRecord>>;

/// Records that nobody uses just now, the last one given back in front: it is still in the cache.
#[derive(Debug, Default)]
pub struct RecordPool {
    first: Option<Box<RequestRecord>>,
    len: usize,
}

impl RecordPool {
    fn take(&mut self, now: Moment) -> Box<RequestRecord> {
        match self.first.take() {
            Some(mut record) => {
                self.first = record.next.take();
                self.len -= 1;
                record.clear(now);
                record
            }
            None => Box::new(RequestRecord::new(now)),
        }
    }

    /// Keeps a record that nobody needs any more for another request.
    pub fn give_back(&mut self, mut record: Box<RequestRecord>) {
        if self.len < KEPT_MAX {
            record.next = self.first.take();
            self.first = Some(record);
            self.len += 1;
        }
    }
}

/// The requests of one connection that are not over: the one being answered, and those whose responses have not left.
///
/// These are a queue made of two chains, so that an idle connection owns no memory for it, and the oldest is at hand
/// however many there are.
#[derive(Debug, Default)]
pub struct Records {
    current: Option<Box<RequestRecord>>,
    /// Complete responses, the oldest first: it is the one that is being sent.
    leaving: Option<Box<RequestRecord>>,
    /// Those behind them, the newest first.
    behind: Option<Box<RequestRecord>>,
}

impl Records {
    /// The request being received or answered.
    pub fn current(&self) -> Option<&RequestRecord> {
        self.current.as_deref()
    }

    /// The request being received or answered.
    pub fn current_mut(&mut self) -> Option<&mut RequestRecord> {
        self.current.as_deref_mut()
    }

    /// The request whose response is on its way: the oldest one, complete or not.
    pub fn sending(&self) -> Option<&RequestRecord> {
        let behind = || std::iter::successors(self.behind.as_deref(), |record| record.next.as_deref());
        self.leaving.as_deref().or_else(|| behind().last()).or(self.current())
    }

    /// The same.
    pub fn sending_mut(&mut self) -> Option<&mut RequestRecord> {
        self.move_up();
        self.leaving.as_deref_mut().or(self.current.as_deref_mut())
    }

    /// Opens the record of the next request, if it is not open already.
    pub fn open(&mut self, pool: &mut RecordPool, now: Moment) -> &mut RequestRecord {
        self.current.get_or_insert_with(|| pool.take(now))
    }

    /// The response is complete: what is left is to send it.
    pub fn complete(&mut self) {
        match self.current.take() {
            Some(record) if self.leaving.is_none() && self.behind.is_none() => self.leaving = Some(record),
            Some(mut record) => {
                record.next = self.behind.take();
                self.behind = Some(record);
            }
            None => {}
        }
    }

    /// When nobody is left in front, those behind take their place.
    #[inline]
    fn move_up(&mut self) {
        if self.leaving.is_none() && self.behind.is_some() {
            self.turn_round();
        }
    }

    #[inline(never)]
    fn turn_round(&mut self) {
        while let Some(mut record) = self.behind.take() {
            self.behind = record.next.take();
            record.next = self.leaving.take();
            self.leaving = Some(record);
        }
    }

    /// Moves those whose response has left, `sent` bytes of all, to `finished`.
    pub fn retire(&mut self, sent: u64, finished: &mut RecordQueue) {
        self.move_up();
        while let Some(mut record) = self.leaving.take_if(|record| record.tx.end <= sent) {
            self.leaving = record.next.take();
            finished.push_back(record);
            self.move_up();
        }
    }

    /// All of them: the connection is over.
    pub fn cut(&mut self, reason: CloseReason, sent: u64, finished: &mut RecordQueue) {
        if let Some(record) = &mut self.current {
            // Where its response would have ended, nobody knows.
            record.tx = if record.status.is_some() { record.tx.start..u64::MAX } else { sent..sent };
            record.cut = Some(reason);
        }
        self.complete();
        let start = finished.len();
        self.retire(u64::MAX, finished);
        for record in finished.iter_mut().skip(start) {
            if record.tx.end > sent {
                record.cut = Some(reason);
                record.tx = record.tx.start.min(sent)..sent;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of so many complete responses of 10 bytes each, none of which has left.
    fn complete(count: u64, pool: &mut RecordPool) -> Records {
        let mut records = Records::default();
        for ordinal in 1..=count {
            let record = records.open(pool, Moment::default());
            (record.ordinal, record.status, record.tx) = (ordinal, Some(Status::OK), (ordinal - 1) * 10..ordinal * 10);
            records.complete();
        }
        records
    }

    fn ordinals(finished: &RecordQueue) -> Vec<u64> {
        finished.iter().map(|record| record.ordinal).collect()
    }

    #[test]
    fn the_oldest_is_the_one_on_its_way_and_they_leave_in_order() {
        let (mut pool, mut finished) = (RecordPool::default(), RecordQueue::new());
        let mut records = complete(5, &mut pool);
        assert_eq!(records.sending().map(|record| record.ordinal), Some(1));
        records.retire(25, &mut finished);
        assert_eq!(ordinals(&finished), [1, 2]);
        records.open(&mut pool, Moment::default()).ordinal = 6;
        assert_eq!(records.sending_mut().map(|record| record.ordinal), Some(3));
        assert_eq!(records.sending().map(|record| record.ordinal), Some(3), "and not the one that is being answered");
        records.cut(CloseReason::ByClient, 35, &mut finished);
        assert_eq!(ordinals(&finished), [1, 2, 3, 4, 5, 6]);
        assert!(finished.iter().take(3).all(|record| record.cut.is_none()));
        assert_eq!((finished[3].cut, finished[3].tx.clone()), (Some(CloseReason::ByClient), 30..35));
        assert_eq!((finished[5].cut, finished[5].tx.clone()), (Some(CloseReason::ByClient), 35..35));
    }
}
