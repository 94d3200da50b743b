//! `/now`: what is wrong, and the last minute in numbers. The live page is drawn from the same object.

use std::fmt::Write;

use super::durations::{short, spread_object};
use super::findings::{self, Culprit, Finding, culprits, findings, headline, pace};
use super::{connections, turn};
use crate::base::json::{Object, array};
use crate::observe::access_log::time_text::rfc3339;
use crate::observe::histogram::Histogram;
use crate::observe::minute::{Counts, Minute, Second, Tallies};
use crate::observe::report::{ConfigStatus, DisturbedStatus, KernelReport, KernelTopic, Overview};
use crate::observe::verdict::Verdict;

/// Connections that are named as culprits.
const CULPRITS: usize = 12;

/// Classes of status codes, in the order of `Tallies::requests`.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The connections that are listed, and the accept queues.
pub fn kernel_topic(overview: &Overview) -> KernelTopic {
    KernelTopic::All(overview.listed.iter().filter_map(connections::ends).collect())
}

/// The answer in one sentence, the findings, and some numbers.
pub fn text(overview: &Overview, kernel: &KernelReport) -> String {
    let mut out = String::new();
    write_text(&mut out, overview, kernel).expect("writing to a String cannot fail");
    out
}

fn write_text(out: &mut String, overview: &Overview, kernel: &KernelReport) -> std::fmt::Result {
    let findings = findings(overview, kernel);
    writeln!(out, "{}\n", headline(overview, &findings))?;
    if let Some(config) = &overview.config {
        writeln!(out, "{}\n", config_line(config))?;
    }
    findings.iter().try_for_each(|finding| write_finding(out, finding))?;
    if !findings.is_empty() {
        writeln!(out)?;
    }
    write_minute(out, overview)
}

fn write_finding(out: &mut String, finding: &Finding) -> std::fmt::Result {
    writeln!(out, "{:<8} {}", finding.severity.name(), finding.text)?;
    if let Some(advice) = &finding.advice {
        writeln!(out, "         {advice}")?;
    }
    finding.keys().map_or(Ok(()), |keys| writeln!(out, "         tidemill ask {keys}"))
}

fn write_minute(out: &mut String, overview: &Overview) -> std::fmt::Result {
    let (minute, tallies) = (&overview.minute, &overview.minute.tallies);
    let waits: String = overview.waits.iter().map(|(wait, count)| format!(", {count} {wait}")).collect();
    writeln!(out, "connections   {} of {}{waits}", overview.connections, overview.connections_max)?;
    if !overview.upstreams.is_empty() {
        let waits = overview.upstream_waits.iter().map(|(wait, count)| format!(", {count} {wait}"));
        let total: u64 = overview.upstream_waits.iter().map(|(_, count)| count).sum();
        writeln!(out, "to upstreams  {total}{}", waits.collect::<String>())?;
    }
    writeln!(out, "the last {}", short(minute.span))?;
    let classes = CLASSES.into_iter().zip(tallies.requests).filter(|(_, count)| *count > 0);
    let classes: String = classes.map(|(class, count)| format!(", {count} × {class}")).collect();
    writeln!(out, "  requests    {}, {}/s{classes}", tallies.requests_over(), pace(minute.requests_per_second()))?;
    let spread = tallies.latency.spread();
    let times =
        [("p50", spread.p50), ("p90", spread.p90), ("p99", spread.p99), ("p99.9", spread.p999), ("max", spread.max)];
    let times: Vec<String> = times.iter().map(|(name, time)| format!("{name} {}", short(*time))).collect();
    writeln!(out, "  latency     {}", times.join(", "))?;
    writeln!(out, "  bytes       {} received, {} sent", tallies.received, tallies.sent)?;
    writeln!(out, "  loop        at work for {:.1}%", minute.busy() * 100.0)
}

/// All of it as an object.
pub fn json(overview: &Overview, kernel: &KernelReport) -> String {
    let findings = findings(overview, kernel);
    let draining = overview.draining.map(|(since, left)| {
        Object::new().raw("since_ms", since.as_millis()).raw("left_ms", left.as_millis()).finish()
    });
    let all = culprits(overview, kernel);
    turn::object(&overview.turn, kernel)
        .text("at", &rfc3339(overview.wall))
        .text("headline", &headline(overview, &findings))
        .raw("findings", array(findings.iter().map(findings::object)))
        .raw("culprits_total", all.len())
        .raw("culprits", array(all.iter().take(CULPRITS).map(culprit_object)))
        .raw("minute", minute_object(&overview.minute))
        .number("requests", overview.requests)
        .number("received_bytes", overview.received_bytes)
        .number("sent_bytes", overview.sent_bytes)
        .raw("latency", spread_object(&overview.latency))
        .raw("connections", overview.connections)
        .raw("connections_max", overview.connections_max)
        .raw("waits", connections::waits_object(&overview.waits))
        .raw("upstream_waits", connections::waits_object(&overview.upstream_waits))
        .raw("paused", overview.paused)
        .raw("blocked", overview.blocked)
        .raw("disturbed", array(overview.disturbed.iter().map(disturbed_object)))
        .raw("draining", draining.as_deref().unwrap_or("null"))
        .raw("config", overview.config.as_ref().map_or_else(|| "null".into(), config_object))
        .optional_text("kernel_missing", kernel.missing.as_deref())
        .finish()
}

/// How the configuration stands, in a line.
fn config_line(config: &ConfigStatus) -> String {
    let since = config.succeeded_at.map_or_else(String::new, |at| format!(", since {}", rfc3339(at)));
    let failed =
        config.failed.as_ref().map_or_else(String::new, |(at, why)| format!("; refused at {}: {why}", rfc3339(*at)));
    format!("configuration {}{since}{failed}", config.generation)
}

fn config_object(config: &ConfigStatus) -> String {
    let failed = config.failed.as_ref().map(|(at, why)| (rfc3339(*at), why));
    Object::new()
        .number("generation", config.generation)
        .optional_text("succeeded_at", config.succeeded_at.map(rfc3339).as_deref())
        .optional_text("failed_at", failed.as_ref().map(|(at, _)| at.as_str()))
        .optional_text("failure", failed.as_ref().map(|(_, why)| why.as_str()))
        .finish()
}

/// `request` and `line` are left out if it is a connection.
fn disturbed_object(disturbed: &DisturbedStatus) -> String {
    let (request, line) = disturbed.request.as_ref().map(|(key, line)| (key.to_string(), line.as_str())).unzip();
    Object::new()
        .raw("ago_ms", disturbed.ago.as_millis())
        .number("connection", disturbed.connection)
        .text("peer", &disturbed.peer.to_string())
        .optional_text("request", request.as_deref())
        .optional_text("line", line)
        .text("verdict", &disturbed.verdict.to_string())
        .text("text", &disturbed.text)
        .finish()
}

/// What `/connections` says of it, and what holds it up.
fn culprit_object(culprit: &Culprit<'_>) -> String {
    let object = Object::new()
        .text("cause", culprit.cause.name())
        .raw("held_ms", culprit.waited.as_millis())
        .raw("on", connections::object(culprit.connection, culprit.kernel));
    match culprit.kernel {
        Some(kernel) => object.text("kernel", &connections::health(kernel)),
        None => object,
    }
    .finish()
}

fn minute_object(minute: &Minute) -> String {
    let tallies = &minute.tallies;
    let classes = counts(CLASSES.into_iter().zip(tallies.requests).map(|(class, count)| (class.to_owned(), count)));
    ledgers(Object::new(), tallies)
        .raw("span_ms", minute.span.as_millis())
        .raw("requests", tallies.requests_over())
        .raw("per_second", format!("{:.3}", minute.requests_per_second()))
        .raw("classes", classes)
        .raw("latency", latency_object(&tallies.latency))
        .number("received_bytes", tallies.received)
        .number("sent_bytes", tallies.sent)
        .number("accepted", tallies.accepted)
        .raw("busy", format!("{:.4}", minute.busy()))
        .raw("seconds", array(minute.seconds.iter().map(second_object)))
        .finish()
}

/// What went wrong, by kind.
fn ledgers(object: Object, tallies: &Tallies) -> Object {
    let codes =
        |codes: &mut dyn Iterator<Item = (&'static str, u64)>| counts(codes.map(|(code, n)| (code.to_owned(), n)));
    let timeouts = tallies.timeouts.iter().map(|(reason, count)| (reason.name().to_owned(), count));
    let http2 = Object::new()
        .raw("goaways", codes(&mut tallies.goaways.iter()))
        .raw("resets_by_client", codes(&mut tallies.resets_by_client.iter()))
        .raw("resets_by_server", codes(&mut tallies.resets_by_server.iter()))
        .number("delayed_streams", tallies.delayed_streams);
    let tls = Object::new().number("handshakes", tallies.handshakes).raw(
        "failures",
        counts(tallies.handshake_failures.iter().map(|(failure, count)| (failure.to_string(), count))),
    );
    object
        .raw("timeouts", counts(timeouts))
        .raw("disturbed", verdicts(&tallies.disturbed))
        .raw("closed", verdicts(&tallies.closed))
        .raw("tls", tls.finish())
        .raw("http2", http2.finish())
}

/// Each verdict with what its letters mean.
fn verdicts(counts: &Counts<Verdict>) -> String {
    array(counts.iter().map(|(verdict, count)| {
        let (side, means, phase) = (verdict.side.meaning(), verdict.means.meaning(), verdict.phase.meaning());
        Object::new()
            .text("verdict", &verdict.to_string())
            .text("means", &format!("{side}: {means}, {phase}"))
            .number("count", count)
            .finish()
    }))
}

fn counts(counts: impl Iterator<Item = (String, u64)>) -> String {
    counts.fold(Object::new(), |object, (name, count)| object.number(&name, count)).finish()
}

fn latency_object(latency: &Histogram) -> String {
    let spread = latency.spread();
    Object::new()
        .number("count", spread.count)
        .raw("p50_us", spread.p50.as_micros())
        .raw("p90_us", spread.p90.as_micros())
        .raw("p99_us", spread.p99.as_micros())
        .raw("p999_us", spread.p999.as_micros())
        .raw("max_us", spread.max.as_micros())
        .finish()
}

fn second_object(second: &Second) -> String {
    Object::new()
        .raw("ago_ms", second.ago.as_millis())
        .raw("lasted_ms", second.lasted.as_millis())
        .number("requests", second.requests)
        .number("errors", second.errors)
        .number("sent_bytes", second.sent)
        .raw("p99_us", second.p99.as_micros())
        .raw("busy", format!("{:.4}", second.busy))
        .finish()
}
