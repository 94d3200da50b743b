//! For people who watch a server at work: one line a request, the same things in the same places.

use std::fmt::{self, Display};
use std::time::Duration;

use super::json::relative;
use super::moment::Moment;
use super::{Entry, escape, put};

/// Columns kept for method and target; longer ones push the rest of their line to the right.
const REQUEST_COLUMNS: usize = 32;

pub(super) fn line(entry: &Entry<'_>, moment: &Moment, colours: bool, lines: &mut Vec<u8>) {
    let paint = Paint { colours };
    put(lines, format_args!("{}{}{} ", paint.faint(), moment.of_day(), paint.end()));
    status(entry.status, &paint, lines);
    request(entry, lines);
    let (bytes, took) = (Size(entry.content_bytes), Span(entry.last_byte));
    put(lines, format_args!(" {bytes:>9} {took:>8}  {}c={} r={}", paint.faint(), entry.connection, entry.ordinal));
    put(lines, format_args!(" rx={} tx={}{}", relative(&entry.rx), relative(&entry.tx), paint.end()));
    backpressure(entry, &paint, lines);
    if let Some(close) = entry.close {
        put(lines, format_args!("  {}{close}{}", paint.alarm(), paint.end()));
    }
}

fn status(status: Option<u16>, paint: &Paint, lines: &mut Vec<u8>) {
    match status {
        Some(code) => put(lines, format_args!("{}{code:03}{} ", paint.status(code), paint.end())),
        None => put(lines, format_args!("{}---{} ", paint.alarm(), paint.end())),
    }
}

/// Method and target, in their columns.
fn request(entry: &Entry<'_>, lines: &mut Vec<u8>) {
    let Some(line) = &entry.line else {
        return put(lines, format_args!("{:REQUEST_COLUMNS$}", "(not understood)"));
    };
    put(lines, format_args!("{} ", line.method));
    escape::plain(line.target, lines);
    let columns = line.method.as_str().len() + 1 + escape::plain_len(line.target);
    put(lines, format_args!("{:1$}", "", REQUEST_COLUMNS.saturating_sub(columns)));
}

/// What held the request up, if anything did.
fn backpressure(entry: &Entry<'_>, paint: &Paint, lines: &mut Vec<u8>) {
    if entry.blocked.is_zero() && entry.paused.is_zero() {
        return;
    }
    put(lines, format_args!(" {}", paint.warning()));
    for (name, time) in [("blocked", entry.blocked), ("paused", entry.paused)] {
        if !time.is_zero() {
            put(lines, format_args!(" {name} {}", Span(time)));
        }
    }
    put(lines, format_args!(" peak {}{}", Size(entry.queued_max), paint.end()));
}

/// The colours of a terminal, or none.
struct Paint {
    colours: bool,
}

impl Paint {
    fn code(&self, code: &'static str) -> &'static str {
        if self.colours { code } else { "" }
    }

    fn status(&self, status: u16) -> &'static str {
        self.code(match status / 100 {
            2 => "\x1b[32m",
            3 => "\x1b[36m",
            4 => "\x1b[33m",
            5 => "\x1b[1;31m",
            _ => "\x1b[34m",
        })
    }

    fn faint(&self) -> &'static str {
        self.code("\x1b[2m")
    }

    fn warning(&self) -> &'static str {
        self.code("\x1b[33m")
    }

    fn alarm(&self) -> &'static str {
        self.code("\x1b[31m")
    }

    fn end(&self) -> &'static str {
        self.code("\x1b[0m")
    }
}

/// A number of bytes in three or four digits: `13B`, `64KiB`, `1.5MiB`.
struct Size(u64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        match UNITS.into_iter().find(|(_, shift)| self.0 >> shift > 0) {
            Some((unit, shift)) => pad(f, &Scaled(self.0, 1 << shift, unit)),
            None => pad(f, &Scaled(self.0, 1, "B")),
        }
    }
}

/// A time in three or four digits: `0.2ms`, `64ms`, `1.2s`.
struct Span(Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        if micros < 1_000_000 { pad(f, &Scaled(micros, 1_000, "ms")) } else { pad(f, &Scaled(micros, 1_000_000, "s")) }
    }
}

/// An amount, counted in so many: with one digit behind the point where that is not 0 and the rest is short.
struct Scaled(u64, u64, &'static str);

impl Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scaled(amount, scale, unit) = *self;
        let (whole, tenth) = (amount / scale, amount % scale * 10 / scale);
        if tenth > 0 && whole < 10 { write!(f, "{whole}.{tenth}{unit}") } else { write!(f, "{whole}{unit}") }
    }
}

/// Right-aligns a short text without allocating, as `f.pad` does for strings.
fn pad(f: &mut fmt::Formatter<'_>, text: &impl Display) -> fmt::Result {
    let mut short = Short { bytes: [0; 32], len: 0 };
    fmt::Write::write_fmt(&mut short, format_args!("{text}"))?;
    let text = std::str::from_utf8(&short.bytes[..short.len]).map_err(|_| fmt::Error)?;
    f.pad(text)
}

/// A text of at most 32 bytes.
struct Short {
    bytes: [u8; 32],
    len: usize,
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}
