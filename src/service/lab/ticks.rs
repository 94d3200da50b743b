//! Lines that come with the clock: `/sheep` and `/sse`.

use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

use super::arguments::{Argument, or_refusal};
use crate::base::ring::Room;
use crate::http::body::{Body, Failure, Pull, Wait};
use crate::http::exchange::{Cx, Reply, Source};
use crate::http::media_type::TEXT;
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::event_stream::event_stream;
use crate::service::router::Params;

/// The longest line, or event, in bytes.
const LINE_BYTES_MAX: usize = 128;

/// `GET /sheep?n=100&every=1s`: the numbers from 0, one a line and one a tick.
pub fn sheep(request: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
    or_refusal(flock(request, cx.now).map(Reply::Respond))
}

fn flock(request: &RequestHead<'_>, now: Instant) -> Result<Response, Response> {
    let total = Argument::query(request, "n", "100").number(0..=u64::MAX)?;
    let every = Argument::query(request, "every", "1s").duration()?;
    let source = Ticks::new(every, total, now, |line: &mut Line, tick, _| line.write(format_args!("{tick}\n")));
    Ok(Response::new(Status::OK).with_content(TEXT, Body::Source(Box::new(source))))
}

/// `GET /sse?every=1s`: server-sent events without an end, each with its number and the age of the stream.
pub fn events(request: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
    or_refusal(numbered_events(request, cx.now).map(Reply::Respond))
}

fn numbered_events(request: &RequestHead<'_>, start: Instant) -> Result<Response, Response> {
    let every = Argument::query(request, "every", "1s").duration()?;
    let source = Ticks::new(every, u64::MAX, start, move |line: &mut Line, tick, now: Instant| {
        let uptime_ms = now.saturating_duration_since(start).as_millis();
        line.write(format_args!("id: {tick}\ndata: {{\"tick\":{tick},\"uptime_ms\":{uptime_ms}}}\n\n"));
    });
    Ok(event_stream(Body::Source(Box::new(source))))
}

/// One line a tick. The first tick is at once, each other one `every` after the one before it was written: a reader who
/// was slow gets the late line and then the usual pace, never a burst of what was missed.
struct Ticks<F> {
    every: Duration,
    next: Instant,
    tick: u64,
    total: u64,
    line: Line,
    write: F,
}

impl<F: FnMut(&mut Line, u64, Instant)> Ticks<F> {
    fn new(every: Duration, total: u64, now: Instant, write: F) -> Ticks<F> {
        Ticks { every, next: now, tick: 0, total, line: Line::new(), write }
    }

    fn write_line(&mut self, now: Instant) {
        (self.write)(&mut self.line, self.tick, now);
        self.tick += 1;
        self.next = now + self.every;
    }
}

impl<F: FnMut(&mut Line, u64, Instant)> Source for Ticks<F> {
    fn length(&self) -> Option<u64> {
        None
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        loop {
            self.line.flow(room);
            match () {
                () if !self.line.is_empty() => return Ok(Pull::More),
                () if self.tick == self.total => return Ok(Pull::End),
                // A server that stops waits for no tick: they would go on for longer than anybody waits for the server.
                () if cx.now < self.next && cx.draining => return Ok(Pull::End),
                () if cx.now < self.next => return Ok(Pull::Pending(Wait::Until(self.next))),
                () if room.is_full() => return Ok(Pull::More),
                () => self.write_line(cx.now),
            }
        }
    }
}

/// A line on its way out: what of it does not fit in one room comes first in the next.
struct Line {
    bytes: [u8; LINE_BYTES_MAX],
    start: usize,
    end: usize,
}

impl Line {
    fn new() -> Line {
        Line { bytes: [0; LINE_BYTES_MAX], start: 0, end: 0 }
    }

    /// Replaces the line, of which nothing may be left.
    fn write(&mut self, text: fmt::Arguments<'_>) {
        debug_assert!(self.is_empty(), "a line is written out before the next one begins");
        let mut free = &mut self.bytes[..];
        free.write_fmt(text).expect("lines are made of a few numbers and fit");
        (self.start, self.end) = (0, LINE_BYTES_MAX - free.len());
    }

    fn flow(&mut self, room: &mut Room<'_>) {
        self.start += room.put(&self.bytes[self.start..self.end]);
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }
}
