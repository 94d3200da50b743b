//! One JSON object a line.

use std::fmt::{self, Display};
use std::ops::Range;
use std::time::Duration;

use super::moment::Moment;
use super::{Entry, put};
use crate::base::json::quote_bytes;

pub(super) fn object(entry: &Entry<'_>, moment: &Moment, lines: &mut Vec<u8>) {
    put(lines, format_args!("{{\"time\":\"{}\"", moment.rfc3339()));
    put(lines, format_args!(",\"connection\":{},\"request\":{}", entry.connection, entry.ordinal));
    put(lines, format_args!(",\"peer\":\"{}\"", entry.peer));
    request_line(entry, lines);
    put(lines, format_args!(",\"status\":{},\"bytes\":{}", or_null(entry.status), entry.content_bytes));
    put(lines, format_args!(",\"head_ms\":{}", Millis(entry.head)));
    put(lines, format_args!(",\"first_byte_ms\":{}", or_null(entry.first_byte.map(Millis))));
    put(lines, format_args!(",\"last_byte_ms\":{},\"close\":", Millis(entry.last_byte)));
    text_or_null(entry.close.map(str::as_bytes), lines);
    put(lines, format_args!(",\"paused_ms\":{}", Millis(entry.paused)));
    put(lines, format_args!(",\"blocked_ms\":{}", Millis(entry.blocked)));
    put(lines, format_args!(",\"queued_max\":{}", entry.queued_max));
    put(lines, format_args!(",\"rx\":\"{}\",\"tx\":\"{}\"", relative(&entry.rx), relative(&entry.tx)));
    for (name, value) in [("referer", entry.referer), ("user_agent", entry.user_agent)] {
        if !value.is_empty() {
            put(lines, format_args!(",\"{name}\":"));
            quote_bytes(lines, value);
        }
    }
    lines.push(b'}');
}

fn request_line(entry: &Entry<'_>, lines: &mut Vec<u8>) {
    let line = entry.line.as_ref();
    for (name, value) in [
        ("method", line.map(|line| line.method.as_str().as_bytes())),
        ("target", line.map(|line| line.target)),
        ("version", line.map(|line| line.version().as_bytes())),
    ] {
        put(lines, format_args!(",\"{name}\":"));
        text_or_null(value, lines);
    }
}

fn text_or_null(text: Option<&[u8]>, lines: &mut Vec<u8>) {
    match text {
        Some(text) => quote_bytes(lines, text),
        None => lines.extend_from_slice(b"null"),
    }
}

fn or_null(number: Option<impl Display>) -> impl Display {
    fmt::from_fn(move |f| match &number {
        Some(number) => number.fmt(f),
        None => f.write_str("null"),
    })
}

/// A range as tcpdump prints it with relative sequence numbers: the SYN is number 0, so that the first byte is 1.
pub(super) fn relative(range: &Range<u64>) -> impl Display {
    let (first, end) = (range.start + 1, range.end + 1);
    fmt::from_fn(move |f| write!(f, "{first}:{end}"))
}

/// Milliseconds, with microseconds behind the point.
struct Millis(Duration);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}
