//! For people who watch a server at work: one line a request, the same things in the same places.

use std::fmt::{self, Display};
use std::time::Duration;

use super::json::relative;
use super::sentence::sentence;
use super::time_text::TimeText;
use super::{Line, escape, put};
use crate::base::listener_role::ListenerRole;
use crate::base::tls_facts::TlsStatus;
use crate::base::upstream_facts::UpstreamFacts;
use crate::observe::delay::Delay;
use crate::observe::request_record::{NOT_UNDERSTOOD, RequestRecord};
use crate::observe::timers::{Part, some};

/// Columns kept for method and target; longer ones push the rest of their line to the right.
const REQUEST_COLUMNS: usize = 32;
/// A part of a request's time that is shorter than this is not worth a word. It is what can be printed.
const PART_MIN: Duration = Duration::from_micros(100);
/// The same for what the server itself takes, which is a part of each request.
const OWN_PART_MIN: Duration = Duration::from_millis(5);

pub(super) fn line(line: &Line<'_>, time: &TimeText, colours: bool, lines: &mut Vec<u8>) {
    let (record, paint) = (line.record, Paint { colours });
    put(lines, format_args!("{}{}{} ", paint.faint(), time.of_day(), paint.end()));
    put_status(line.status(), &paint, lines);
    request(line, lines);
    let (bytes, took) = (Size(record.content_bytes()), Span(record.time_to_last_byte().unwrap_or_default()));
    put(lines, format_args!(" {bytes:>9} {took:>8}  {}c={}", paint.faint(), line.connection));
    match record.stream {
        0 => put(lines, format_args!(" r={}", record.ordinal)),
        stream => put(lines, format_args!(" s={stream}")),
    }
    put(lines, format_args!(" rx={} tx={}", relative(&record.rx), relative(&record.tx)));
    if !record.id().is_empty() {
        lines.extend_from_slice(b" id=");
        escape::plain(record.id(), lines);
    }
    lines.extend_from_slice(paint.end().as_bytes());
    if let Some(client) = record.client {
        put(lines, format_args!("  for {client}"));
    }
    backpressure(record, &paint, lines);
    if let Some(facts) = &record.upstream {
        upstream(facts, &paint, lines);
    }
    if let Some(delay) = &record.behind {
        behind(delay, &paint, lines);
    }
    if let Some(farewell) = &record.farewell {
        lines.extend_from_slice(b"  ");
        escape::plain(farewell.as_bytes(), lines);
    }
    if let Some(disturbance) = &record.disturbance {
        put(lines, format_args!("  {}{}{}", paint.alarm(), sentence(record, disturbance), paint.end()));
    }
    if let Some(status) = line.tls {
        tls(status, &paint, lines);
    }
    if line.role == ListenerRole::Admin {
        put(lines, format_args!("  {}admin{}", paint.faint(), paint.end()));
    }
}

fn put_status(status: Option<u16>, paint: &Paint, lines: &mut Vec<u8>) {
    match status {
        Some(code) => put(lines, format_args!("{}{code:03}{} ", paint.status_colour(code), paint.end())),
        None => put(lines, format_args!("{}---{} ", paint.alarm(), paint.end())),
    }
}

/// Method and target, in their columns.
fn request(line: &Line<'_>, lines: &mut Vec<u8>) {
    let Some(method) = line.record.method else {
        return put(lines, format_args!("{NOT_UNDERSTOOD:REQUEST_COLUMNS$}"));
    };
    let target = line.target().unwrap_or(b"-");
    put(lines, format_args!("{method} "));
    escape::plain(target, lines);
    let columns = method.as_str().len() + 1 + escape::plain_len(target);
    put(lines, format_args!("{:1$}", "", REQUEST_COLUMNS.saturating_sub(columns)));
}

/// Whether a part of the time is worth a word. The blocked time has one of its own, whatever the reason was.
fn is_told((part, time): &(Part, Duration)) -> bool {
    match part {
        Part::Queue | Part::Work => *time >= OWN_PART_MIN,
        Part::Blocked => false,
        _ => *time >= PART_MIN,
    }
}

/// What held the request up, and for how long, if anything did.
fn backpressure(record: &RequestRecord, paint: &Paint, lines: &mut Vec<u8>) {
    let times = [("blocked", record.blocked_time()), ("paused", record.paused_time())];
    let is_of_network = times.iter().any(|(_, time)| !time.is_zero());
    let parts = some(record.part_times(record.began)).filter(is_told).map(|(part, time)| (part.name(), time));
    let mut all = times.into_iter().filter(|(_, time)| !time.is_zero()).chain(parts).peekable();
    if all.peek().is_none() {
        return;
    }
    put(lines, format_args!(" {}", paint.warning()));
    for (name, time) in all {
        put(lines, format_args!(" {name} {}", Span(time)));
    }
    if is_of_network {
        put(lines, format_args!(" peak {}", Size(record.queued_max)));
    }
    lines.extend_from_slice(paint.end().as_bytes());
}

/// Which connection the request had to wait for. The text of that one's request is escaped already.
fn behind(delay: &Delay, paint: &Paint, lines: &mut Vec<u8>) {
    let Delay { took, connection, request } = delay;
    put(lines, format_args!("  {}behind {} c={connection} {request}{}", paint.warning(), Span(*took), paint.end()));
}

/// Which upstream has served it over which connection, and what that took.
fn upstream(facts: &UpstreamFacts, paint: &Paint, lines: &mut Vec<u8>) {
    let Some(attempt) = facts.attempt() else { return };
    put(lines, format_args!("  {}upstream={}", paint.faint(), attempt.address));
    if let Some(connection) = attempt.connection {
        put(lines, format_args!(" c={connection}"));
    }
    match (attempt.served_before, attempt.connected) {
        (0, Some(connected)) => put(lines, format_args!(" connect {}", Span(connected.since(attempt.dialled)))),
        (0, None) => {}
        (served, _) => {
            put(lines, format_args!(" reused {served} age {}", Span(attempt.began.since(attempt.dialled))));
        }
    }
    for (name, from, to) in [
        ("tls", attempt.connected, attempt.secured),
        ("first", Some(attempt.began), attempt.first_byte),
        ("all", Some(attempt.began), attempt.over),
    ] {
        if let (Some(from), Some(to)) = (from, to) {
            put(lines, format_args!(" {name} {}", Span(to.since(from))));
        }
    }
    if let Some((_, phase)) = attempt.failed {
        put(lines, format_args!(" failed={phase}"));
    }
    if let Some(proof) = facts.retry() {
        put(lines, format_args!(" retry={proof}"));
    }
    lines.extend_from_slice(paint.end().as_bytes());
}

/// What was agreed on, what the handshake took, and how much ciphertext has passed so far.
fn tls(status: &TlsStatus, paint: &Paint, lines: &mut Vec<u8>) {
    let TlsStatus { session, waited, read, written } = status;
    put(lines, format_args!("  {}{}", paint.faint(), session.version.unwrap_or("TLS")));
    for value in [session.suite, session.group].into_iter().flatten() {
        put(lines, format_args!(" {value}"));
    }
    for (name, value) in [("sni", session.name.as_deref()), ("alpn", session.protocol)] {
        if let Some(value) = value {
            put(lines, format_args!(" {name}="));
            escape::plain(value.as_bytes(), lines);
        }
    }
    if let Some(waited) = waited {
        let kind = if session.is_resumed { "resumed" } else { "full" };
        put(lines, format_args!(" {kind} handshake wait {} cpu {}", Span(*waited), Span(session.worked)));
    }
    if let Some(client) = &session.client {
        lines.extend_from_slice(b" client \"");
        escape::plain(client.subject.as_bytes(), lines);
        put(lines, format_args!("\" sha256 {}", client.fingerprint));
    }
    put(lines, format_args!(" ciphertext {read} in {written} out{}", paint.end()));
}

/// The colours of a terminal, or none.
struct Paint {
    colours: bool,
}

impl Paint {
    fn code(&self, code: &'static str) -> &'static str {
        if self.colours { code } else { "" }
    }

    fn status_colour(&self, status: u16) -> &'static str {
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
pub(super) struct Size(pub(super) u64);

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
pub(super) struct Span(pub(super) Duration);

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
