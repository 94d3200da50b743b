//! `/ask`: what is known of one connection, or of one request on it, also some time after it has ended.

use std::fmt::Write;
use std::time::Duration;

use super::connections::{self, kernel_of, tls_object, write_paragraph};
use super::durations::short;
use crate::base::json::{Object, array};
use crate::base::listener_role::ListenerRole;
use crate::base::log_key::RequestKey;
use crate::http::target::Target;
use crate::observe::access_log::{Format, Formatter, Line};
use crate::observe::past::PastConnection;
use crate::observe::report::{KernelReport, KernelTopic, Known, PastRecord, Subject};

/// What is answered to a question about nothing that could be known.
pub const EXPECTED: &str =
    "expected /ask?c=N, and perhaps &r=N (a request) or &s=N (a stream of HTTP/2) and &run=START of an identifier\n";

/// What a request asks about; `None` if that cannot be told.
pub fn subject(target: &Target<'_>) -> Option<Subject> {
    let number = |name| match target.query_parameter(name) {
        None => Some(None),
        Some(digits) => std::str::from_utf8(digits).ok()?.parse::<u64>().ok().map(Some),
    };
    let request = match (number("r")?, number("s")?) {
        (None, None) => None,
        (Some(ordinal), None) => Some(RequestKey::Ordinal(ordinal)),
        (None, Some(stream)) => Some(RequestKey::Stream(u32::try_from(stream).ok()?)),
        (Some(_), Some(_)) => return None,
    };
    let run = target.query_parameter("run").map(|run| std::str::from_utf8(run).map(Box::from));
    Some(Subject { run: run.transpose().ok()?, connection: number("c")??, request })
}

/// The connection, if it is open.
pub fn kernel_topic(known: &Known) -> KernelTopic {
    KernelTopic::Connections(known.open.iter().filter_map(connections::ends).collect())
}

/// Whether there is anything to tell.
pub fn is_anything_known(known: &Known) -> bool {
    known.open.is_some() || known.ended.is_some() || !known.requests.is_empty()
}

/// A paragraph about the connection, and one about each request that is over.
pub fn text(known: &Known, kernel: &KernelReport) -> String {
    let mut out = String::new();
    write_text(&mut out, known, kernel).expect("writing to a String cannot fail");
    out
}

fn write_text(out: &mut String, known: &Known, kernel: &KernelReport) -> std::fmt::Result {
    let connection = known.subject.connection;
    match (&known.open, &known.ended) {
        (Some(open), _) => {
            if let Some(missing) = &kernel.missing {
                writeln!(out, "the kernel's explanation is missing: {missing}")?;
            }
            write_paragraph(out, open, kernel_of(open, kernel))?;
        }
        (None, Some(ended)) => write_ended(out, ended, known)?,
        (None, None) if known.requests.is_empty() => {
            let other = if known.subject.run.is_some() { ", or in another run of the server" } else { "" };
            return writeln!(out, "nothing is known of c={connection}: it was not there, or it is too long ago{other}");
        }
        (None, None) => writeln!(out, "c={connection} is over; more is not kept of it")?,
    }
    if known.more > 0 {
        writeln!(out, "\n{} older requests are kept (r=N or s=N)", known.more)?;
    }
    if let (Some(request), true) = (known.subject.request, known.requests.is_empty()) {
        return writeln!(out, "\n{request} is not kept: it has not begun, is not over, or is too long ago");
    }
    let mut formatter = Formatter::new(Format::Pretty, false);
    known.requests.iter().try_for_each(|request| write_request(out, request, known, &mut formatter))
}

fn write_ended(out: &mut String, ended: &PastConnection, known: &Known) -> std::fmt::Result {
    let PastConnection { id, peer, protocol, requests, .. } = ended;
    let ago = short(known.now.since(ended.ended_at));
    writeln!(out, "c={id} {peer}  {protocol}  ended {ago} ago: {}, requests: {requests}", ended.sentence())?;
    writeln!(out, "  bytes    {} received, {} sent", ended.received, ended.sent)?;
    ended.tls.as_ref().map_or(Ok(()), |tls| writeln!(out, "  tls      {tls}"))
}

fn write_request(out: &mut String, request: &PastRecord, known: &Known, formatter: &mut Formatter) -> std::fmt::Result {
    let record = &request.record;
    let ended_at = record.last_byte_at.unwrap_or(record.began);
    writeln!(out, "\n{}", line(request, known, formatter).trim_end())?;
    let first_byte = record.time_to_first_byte().map_or("never".to_owned(), short);
    let (head, last_byte) = (short(record.time_to_head()), record.time_to_last_byte().map_or("-".to_owned(), short));
    writeln!(out, "  times    head {head}, first byte {first_byte}, end {last_byte}, which was {} ago", {
        short(known.now.since(ended_at))
    })?;
    writeln!(out, "  timers   {}", connections::timers(record.part_times(ended_at)))?;
    if !record.time_before_turn().is_zero() {
        writeln!(out, "  before   {} in the kernel, an estimate", short(record.time_before_turn()))?;
    }
    for (name, value) in [("referer", record.referer()), ("agent", record.user_agent())] {
        if !value.is_empty() {
            writeln!(out, "  {name:8} {}", value.escape_ascii())?;
        }
    }
    Ok(())
}

/// The line of the access log, whether there is one or not.
fn line(request: &PastRecord, known: &Known, formatter: &mut Formatter) -> String {
    let mut lines = Vec::new();
    let age = known.now.since(request.record.began);
    formatter.write(
        &Line {
            began: known.wall.checked_sub(age).unwrap_or(known.wall),
            connection: known.subject.connection,
            peer: request.peer,
            role: ListenerRole::Http,
            tls: None,
            record: &request.record,
        },
        &mut lines,
    );
    String::from_utf8_lossy(&lines).into_owned()
}

/// The same as an object. The requests are the objects of the access log.
pub fn json(known: &Known, kernel: &KernelReport) -> String {
    let mut formatter = Formatter::new(Format::Json, false);
    let requests = known.requests.iter().map(|request| line(request, known, &mut formatter).trim_end().to_owned());
    let open = known.open.as_ref().map(|open| connections::object(open, kernel_of(open, kernel)));
    let ended = known.ended.as_ref().map(|ended| ended_object(ended, known.now.since(ended.ended_at)));
    Object::new()
        .number("connection", known.subject.connection)
        .optional_text("kernel_missing", kernel.missing.as_deref())
        .raw("open", open.as_deref().unwrap_or("null"))
        .raw("ended", ended.as_deref().unwrap_or("null"))
        .raw("requests", array(requests))
        .raw("older_requests", known.more)
        .finish()
}

fn ended_object(ended: &PastConnection, ago: Duration) -> String {
    let object = Object::new()
        .raw("ago_ms", ago.as_millis())
        .text("peer", &ended.peer.to_string())
        .text("protocol", ended.protocol)
        .text("verdict", &ended.verdict.to_string())
        .text("close", &ended.reason.to_string())
        .text("phase", ended.verdict.phase.meaning())
        .number("requests", ended.requests)
        .number("received", ended.received)
        .number("sent", ended.sent);
    let object = match &ended.race {
        Some(race) => object.raw("late", race.object()),
        None => object,
    };
    match &ended.tls {
        Some(tls) => object.raw("tls", tls_object(tls)),
        None => object,
    }
    .finish()
}
