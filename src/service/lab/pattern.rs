//! So many bytes: `/bytes`, `/stream` and `/drip`.
//!
//! Byte `i` of the content is byte `i % 64` of one line of text, however the content was cut on its way, so that
//! whoever receives it can check it.

use std::time::{Duration, Instant};

use super::arguments::{Argument, or_refusal};
use crate::base::ring::Room;
use crate::http::body::{Body, Failure, Pull, Wait};
use crate::http::exchange::{Cx, Reply, Source};
use crate::http::fields::FieldValue;
use crate::http::media_type::{OCTET_STREAM, TEXT};
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::router::Params;

/// What the content repeats.
const LINE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-\n";

/// Many lines in one piece, so that few copies fill a room.
static BLOCK: [u8; 8192] = block();

/// The shortest time between two wake-ups for the same drip.
const DRIP_STEP_MIN: Duration = Duration::from_millis(1);

const fn block() -> [u8; 8192] {
    let mut block = [0; 8192];
    let mut index = 0;
    while index < block.len() {
        block[index] = LINE[index % LINE.len()];
        index += 1;
    }
    block
}

/// `GET /bytes/{n}`: n bytes with a Content-Length.
pub fn bytes(_: &RequestHead<'_>, params: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    or_refusal(pour(params, |total| Pour { pattern: Pattern::default(), total, length: Some(total) }))
}

/// `GET /stream/{n}`: n bytes whose number is not told beforehand.
pub fn stream(_: &RequestHead<'_>, params: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    or_refusal(pour(params, |total| Pour { pattern: Pattern::default(), total, length: None }))
}

fn pour(params: &Params<'_>, source: impl FnOnce(u64) -> Pour) -> Result<Reply, Response> {
    let total = Argument::path(params, "n").number(0..=u64::MAX)?;
    Ok(ok(OCTET_STREAM, source(total)))
}

/// `GET /drip?bytes=10&over=2s`: so many bytes, evenly spread over that time.
pub fn drip(request: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
    or_refusal(leak(request, cx.now))
}

fn leak(request: &RequestHead<'_>, start: Instant) -> Result<Reply, Response> {
    let total = Argument::query(request, "bytes", "10").number(0..=u64::MAX)?;
    let over = Argument::query(request, "over", "2s").duration()?;
    Ok(ok(TEXT, Drip { pattern: Pattern::default(), total, start, over }))
}

fn ok(content_type: FieldValue, source: impl Source + 'static) -> Reply {
    Reply::Respond(Response::new(Status::OK).with_content(content_type, Body::Source(Box::new(source))))
}

/// The content, and how much of it has been put.
#[derive(Default)]
struct Pattern {
    position: u64,
}

impl Pattern {
    /// Puts what fits of the content before byte `end`.
    fn flow(&mut self, room: &mut Room<'_>, end: u64) {
        while self.position < end && !room.is_full() {
            let from = (self.position % BLOCK.len() as u64) as usize;
            let piece = &BLOCK[from..];
            let wanted = usize::try_from(end - self.position).unwrap_or(usize::MAX);
            self.position += room.put(&piece[..piece.len().min(wanted)]) as u64;
        }
    }
}

/// All of it as fast as it is read.
struct Pour {
    pattern: Pattern,
    total: u64,
    length: Option<u64>,
}

impl Source for Pour {
    fn length(&self) -> Option<u64> {
        self.length
    }

    fn pull(&mut self, room: &mut Room<'_>, _cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        self.pattern.flow(room, self.total);
        Ok(if self.pattern.position == self.total { Pull::End } else { Pull::More })
    }
}

/// Byte k, counted from 1, is due when k/total of the time has passed.
struct Drip {
    pattern: Pattern,
    total: u64,
    start: Instant,
    over: Duration,
}

impl Drip {
    /// How many bytes are due by `now`.
    fn due(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start);
        if elapsed >= self.over {
            return self.total;
        }
        // Both fit: an hour is 2^42 ns. The quotient is less than `total` because `elapsed` is less than `over`.
        (u128::from(self.total) * elapsed.as_nanos() / self.over.as_nanos()) as u64
    }

    /// When the next byte is due, or a little later: bytes that are due closer together than a timer can tell them
    /// apart come together.
    fn next(&self, now: Instant) -> Instant {
        let nanos = (self.over.as_nanos() * u128::from(self.pattern.position + 1)).div_ceil(u128::from(self.total));
        let due = self.start + Duration::from_nanos(nanos as u64);
        due.max(now + DRIP_STEP_MIN)
    }
}

impl Source for Drip {
    fn length(&self) -> Option<u64> {
        Some(self.total)
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        let due = self.due(cx.now);
        self.pattern.flow(room, due);
        match self.pattern.position {
            position if position == self.total => Ok(Pull::End),
            position if position < due => Ok(Pull::More),
            _ => Ok(Pull::Pending(Wait::Until(self.next(cx.now)))),
        }
    }
}
