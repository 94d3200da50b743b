//! What is wrong with the server just now, or was in the last minute: the answer before the numbers, worst first.
//!
//! Findings are a pure function of what `/connections`, `/loop` and the counters say, so the live page, `/now` and
//! `tidemill ask` say the same.

mod clients;
mod requests;
mod server;
mod upstreams;

use super::durations::short;
use crate::base::json::Object;
use crate::base::log_key::RequestKey;
use crate::observe::report::{KernelReport, Overview};

pub use clients::{Culprit, culprits};

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Clients are turned away, or get errors.
    Alarm,
    /// Somebody is held up.
    Warning,
    /// It is good to know.
    Notice,
}

impl Severity {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Alarm => "alarm",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, out of a closed set. Of each there is one at most, but for what concerns one of several things.
    pub kind: &'static str,
    /// Whether it was in the last minute, and not just now.
    pub is_over: bool,
    /// What there is to say, with a number and a name.
    pub text: String,
    /// The connection to look at, and the request on it, if there is one.
    pub about: Option<(u64, Option<RequestKey>)>,
    /// What to do, if that is known.
    pub advice: Option<String>,
}

impl Finding {
    fn new(severity: Severity, kind: &'static str, text: String) -> Finding {
        Finding { severity, kind, is_over: false, text, about: None, advice: None }
    }

    fn over(self) -> Finding {
        Finding { is_over: true, ..self }
    }

    fn about(self, connection: u64, request: Option<RequestKey>) -> Finding {
        Finding { about: Some((connection, request)), ..self }
    }

    fn advice(self, advice: impl Into<String>) -> Finding {
        Finding { advice: Some(advice.into()), ..self }
    }

    /// The keys of the connection and the request to look at, as `tidemill ask` takes them.
    pub fn keys(&self) -> Option<String> {
        let (connection, request) = self.about?;
        Some(match request {
            Some(request) => format!("c={connection} {request}"),
            None => format!("c={connection}"),
        })
    }
}

/// All that is wrong, worst first. Of what is equally bad, what holds now comes before what is over.
pub fn findings(overview: &Overview, kernel: &KernelReport) -> Vec<Finding> {
    let mut findings = Vec::new();
    server::examine(overview, kernel, &mut findings);
    upstreams::examine(overview, &mut findings);
    requests::examine(overview, &mut findings);
    clients::examine(overview, kernel, &mut findings);
    server::examine_bounds(overview, kernel, &mut findings);
    // A stable sort: equally bad ones stay in the order in which they were looked for.
    findings.sort_by_key(|finding| (finding.severity, finding.is_over));
    findings
}

/// The answer in one sentence: the worst finding, or what says that there is none. Notices alone are no trouble.
pub fn headline(overview: &Overview, findings: &[Finding]) -> String {
    match findings.first().filter(|finding| finding.severity < Severity::Notice) {
        Some(finding) => capitalised(&finding.text),
        None => all_is_well(overview),
    }
}

fn all_is_well(overview: &Overview) -> String {
    let (connections, minute) = (counted(overview.connections as u64, "connection"), &overview.minute);
    match minute.tallies.requests_over() {
        0 => format!("Nothing is held up: {connections}, no request in the last minute"),
        _ => {
            let p99 = short(minute.tallies.latency.quantile(0.99));
            format!("Nothing is held up: {connections}, {} requests/s, p99 {p99}", pace(minute.requests_per_second()))
        }
    }
}

/// A finding as an object.
pub fn object(finding: &Finding) -> String {
    let object = Object::new()
        .text("severity", finding.severity.name())
        .text("kind", finding.kind)
        .text("text", &finding.text)
        .optional_text("advice", finding.advice.as_deref());
    let Some((connection, request)) = finding.about else { return object.finish() };
    let object = object.number("connection", connection);
    match request {
        Some(RequestKey::Ordinal(ordinal)) => object.number("request", ordinal),
        Some(RequestKey::Stream(stream)) => object.raw("stream", stream),
        None => object,
    }
    .finish()
}

/// A rate: with a digit behind the point if it is small.
pub(super) fn pace(per_second: f64) -> String {
    if per_second < 10.0 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

/// A number with its noun, which has an `s` if there are several.
fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// `3 × this, 1 × that`: the most frequent ones.
fn times(counts: impl Iterator<Item = (String, u64)>) -> String {
    const NAMED: usize = 3;
    let mut named: Vec<String> = counts.map(|(name, count)| format!("{count} × {name}")).collect();
    if named.len() > NAMED {
        named.truncate(NAMED);
        named.push("others".into());
    }
    named.join(", ")
}

fn capitalised(text: &str) -> String {
    // Keys such as `c=20` are as they are in the logs.
    let mut letters = text.chars();
    match letters.next().filter(|_| !text.starts_with("c=")) {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
