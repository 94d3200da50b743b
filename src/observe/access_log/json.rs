//! One JSON object a line.

use std::fmt::{self, Display};
use std::ops::Range;

use super::sentence::sentence;
use super::time_text::TimeText;
use super::{Line, put};
use crate::base::json::{Millis, quote_bytes};
use crate::base::listener_role::ListenerRole;
use crate::base::tls_facts::TlsStatus;
use crate::base::upstream_facts::UpstreamFacts;
use crate::observe::delay::Delay;
use crate::observe::request_record::RequestRecord;
use crate::observe::timers::some;
use crate::observe::verdict::Disturbance;

pub(super) fn object(line: &Line<'_>, time: &TimeText, lines: &mut Vec<u8>) {
    let record = line.record;
    put(lines, format_args!("{{\"time\":\"{}\"", time.rfc3339()));
    put(lines, format_args!(",\"connection\":{}", line.connection));
    if record.stream > 0 {
        put(lines, format_args!(",\"stream\":{}", record.stream));
    }
    put(lines, format_args!(",\"request\":{}", record.ordinal));
    if !record.id().is_empty() {
        lines.extend_from_slice(b",\"request_id\":");
        quote_bytes(lines, record.id());
    }
    put(lines, format_args!(",\"peer\":\"{}\"", line.peer));
    if let Some(client) = record.client {
        put(lines, format_args!(",\"client\":\"{client}\""));
    }
    if let Some(terms) = &record.terms {
        lines.extend_from_slice(b",\"route\":");
        quote_bytes(lines, terms.route.as_bytes());
    }
    if let Some(user) = record.user() {
        lines.extend_from_slice(b",\"user\":");
        quote_bytes(lines, user);
    }
    if line.role == ListenerRole::Admin {
        lines.extend_from_slice(b",\"listener\":\"admin\"");
    }
    request_line(line, lines);
    put(lines, format_args!(",\"status\":{},\"bytes\":{}", or_null(line.status()), record.content_bytes()));
    put(lines, format_args!(",\"head_ms\":{}", Millis(record.time_to_head())));
    put(lines, format_args!(",\"first_byte_ms\":{}", or_null(record.time_to_first_byte().map(Millis))));
    put(lines, format_args!(",\"last_byte_ms\":{}", or_null(record.time_to_last_byte().map(Millis))));
    // The words for a reason are the server's own: nothing in them has to be escaped.
    put(lines, format_args!(",\"close\":{}", or_null(record.cut().map(quoted))));
    put(lines, format_args!(",\"verdict\":\"{}\"", record.verdict()));
    if let Some(farewell) = &record.farewell {
        lines.extend_from_slice(b",\"farewell\":");
        quote_bytes(lines, farewell.as_bytes());
    }
    if let Some(disturbance) = &record.disturbance {
        disturbed(record, disturbance, lines);
    }
    put(lines, format_args!(",\"paused_ms\":{}", Millis(record.paused_time())));
    put(lines, format_args!(",\"blocked_ms\":{}", Millis(record.blocked_time())));
    timers(record, lines);
    put(lines, format_args!(",\"early_ms\":{},\"ahead\":{}", Millis(record.time_before_turn()), record.ahead));
    if let Some(acknowledged) = record.acknowledged() {
        put(lines, format_args!(",\"acknowledged\":{acknowledged}"));
    }
    put(lines, format_args!(",\"queued_max\":{}", record.queued_max));
    put(lines, format_args!(",\"rx\":\"{}\",\"tx\":\"{}\"", relative(&record.rx), relative(&record.tx)));
    if let Some(delay) = &record.behind {
        behind(delay, lines);
    }
    if let Some(facts) = &record.upstream {
        upstream(facts, lines);
    }
    if let Some(status) = line.tls {
        tls(status, lines);
    }
    for (name, value) in [("referer", record.referer()), ("user_agent", record.user_agent())] {
        if !value.is_empty() {
            put(lines, format_args!(",\"{name}\":"));
            quote_bytes(lines, value);
        }
    }
    lines.push(b'}');
}

fn request_line(line: &Line<'_>, lines: &mut Vec<u8>) {
    let method = line.record.method;
    for (name, value) in [
        ("method", method.as_ref().map(|method| method.as_str().as_bytes())),
        ("target", method.and_then(|_| line.target())),
        ("version", method.map(|_| line.version().as_bytes())),
    ] {
        put(lines, format_args!(",\"{name}\":"));
        text_or_null(value, lines);
    }
}

/// What has disturbed the request, and what became of its response.
fn disturbed(record: &RequestRecord, disturbance: &Disturbance, lines: &mut Vec<u8>) {
    let Disturbance { at, left_over, acknowledged, was_reset, .. } = *disturbance;
    put(lines, format_args!(",\"disturbed\":{{\"after_ms\":{}", Millis(at.since(record.began))));
    put(lines, format_args!(",\"left_over\":{left_over},\"acknowledged\":{}", or_null(acknowledged)));
    put(lines, format_args!(",\"reset\":{was_reset},\"text\":\"{}\"}}", sentence(record, disturbance)));
}

/// Where the time went: parts that add up to the whole.
fn timers(record: &RequestRecord, lines: &mut Vec<u8>) {
    lines.extend_from_slice(b",\"timers_ms\":{");
    for (index, (part, time)) in some(record.part_times(record.began)).enumerate() {
        let comma = if index > 0 { "," } else { "" };
        put(lines, format_args!("{comma}\"{}\":{}", part.name(), Millis(time)));
    }
    lines.push(b'}');
}

fn behind(delay: &Delay, lines: &mut Vec<u8>) {
    put(lines, format_args!(",\"behind\":{{\"ms\":{},\"connection\":{}", Millis(delay.took), delay.connection));
    lines.extend_from_slice(b",\"request\":");
    quote_bytes(lines, delay.request.as_bytes());
    lines.push(b'}');
}

/// Which upstream has served it over which connection, and what that took. What did not happen is left out.
fn upstream(facts: &UpstreamFacts, lines: &mut Vec<u8>) {
    let Some(attempt) = facts.attempt() else { return };
    put(lines, format_args!(",\"upstream\":{{\"address\":\"{}\"", attempt.address));
    if let Some(connection) = attempt.connection {
        put(lines, format_args!(",\"connection\":{connection},\"served_before\":{}", attempt.served_before));
    }
    let age = (attempt.served_before > 0).then_some((attempt.dialled, attempt.began));
    let connect = attempt.connected.filter(|_| attempt.served_before == 0);
    for (name, times) in [
        ("age_ms", age),
        ("connect_ms", connect.map(|at| (attempt.dialled, at))),
        ("tls_ms", attempt.connected.zip(attempt.secured)),
        ("first_byte_ms", attempt.first_byte.map(|at| (attempt.began, at))),
        ("all_ms", attempt.over.map(|at| (attempt.began, at))),
    ] {
        if let Some((from, to)) = times {
            put(lines, format_args!(",\"{name}\":{}", Millis(to.since(from))));
        }
    }
    for (name, word) in [("failed_in", attempt.failed.map(|(_, phase)| phase)), ("retry", facts.retry())] {
        if let Some(word) = word {
            put(lines, format_args!(",\"{name}\":\"{word}\""));
        }
    }
    lines.push(b'}');
}

/// What was not agreed on, or is not known, is left out.
fn tls(status: &TlsStatus, lines: &mut Vec<u8>) {
    let TlsStatus { session, waited, read, written } = status;
    put(lines, format_args!(",\"tls\":{{\"read\":{read},\"written\":{written}"));
    for (name, value) in [
        ("version", session.version),
        ("cipher", session.suite),
        ("group", session.group),
        ("sni", session.name.as_deref()),
        ("alpn", session.protocol),
    ] {
        if let Some(value) = value {
            put(lines, format_args!(",\"{name}\":"));
            quote_bytes(lines, value.as_bytes());
        }
    }
    if let Some(waited) = waited {
        let (wait, cpu) = (Millis(*waited), Millis(session.worked));
        let resumed = session.is_resumed;
        put(lines, format_args!(",\"resumed\":{resumed},\"handshake_wait_ms\":{wait},\"handshake_cpu_ms\":{cpu}"));
    }
    if let Some(client) = &session.client {
        lines.extend_from_slice(b",\"client_subject\":");
        quote_bytes(lines, client.subject.as_bytes());
        put(lines, format_args!(",\"client_sha256\":\"{}\"", client.fingerprint));
    }
    lines.push(b'}');
}

fn quoted(text: impl Display) -> impl Display {
    fmt::from_fn(move |f| write!(f, "\"{text}\""))
}

fn text_or_null(text: Option<&[u8]>, lines: &mut Vec<u8>) {
    match text {
        Some(text) => quote_bytes(lines, text),
        None => lines.extend_from_slice(b"null"),
    }
}

fn or_null(value: Option<impl Display>) -> impl Display {
    fmt::from_fn(move |f| match &value {
        Some(value) => value.fmt(f),
        None => f.write_str("null"),
    })
}

/// A range as tcpdump prints it with relative sequence numbers: the SYN is number 0, so that the first byte is 1.
pub(super) fn relative(range: &Range<u64>) -> impl Display {
    let (first, end) = (range.start + 1, range.end + 1);
    fmt::from_fn(move |f| write!(f, "{first}:{end}"))
}
