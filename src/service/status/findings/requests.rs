//! What went wrong with requests in the last minute.

use std::collections::BTreeMap;

use super::Severity::{Alarm, Notice, Warning};
use super::{Finding, Severity, counted, times};
use crate::observe::minute::Tallies;
use crate::observe::report::{Failures, Overview};
use crate::observe::verdict::{Means, Side, Verdict};
use crate::observe::wait_reason::WaitReason;

/// So many failures are an alarm, or such a share of all requests.
const MANY: u64 = 10;
const MANY_OF_ALL: f64 = 0.01;
/// HTTP/2 says with this code that a client does too much of something (RFC 9113 §7).
const CALM: &str = "ENHANCE_YOUR_CALM";

/// What clients got, and what they did.
pub(super) fn examine(overview: &Overview, findings: &mut Vec<Finding>) {
    let tallies = &overview.minute.tallies;
    let from = findings.len();
    // In front of the errors that clients got for it.
    findings.extend(disturbed(overview, "upstream-failures", Of::All, |verdict| verdict.side == Side::Upstream));
    findings.extend(server_errors(overview));
    findings.extend(disturbed(overview, "faults", Of::Lost, is_fault));
    findings.extend(disturbed(overview, "requests-lost", Of::Lost, |verdict| verdict.side == Side::Network));
    findings.extend(timeouts(tallies));
    findings.extend(disturbed(overview, "clients-left", Of::Lost, |verdict| verdict.side == Side::Client));
    findings.extend(races(tallies));
    findings.extend(handshakes(tallies));
    findings.extend(http2(tallies));
    findings[from..].iter_mut().for_each(|finding| finding.is_over = true);
}

fn is_fault(verdict: Verdict) -> bool {
    verdict.side == Side::Server && verdict.means == Means::Handler
}

fn is_many(count: u64, tallies: &Tallies) -> bool {
    count >= MANY || count as f64 >= tallies.requests_over() as f64 * MANY_OF_ALL
}

fn server_errors(overview: &Overview) -> Option<Finding> {
    let tallies = &overview.minute.tallies;
    let count = tallies.requests[5];
    if count == 0 {
        return None;
    }
    let known = || overview.failures.iter().filter_map(|failures| Some((failures.status?, failures)));
    let mut codes: BTreeMap<u16, u64> = BTreeMap::new();
    known().for_each(|(status, failures)| *codes.entry(status).or_default() += failures.count);
    let mut codes: Vec<_> = codes.into_iter().collect();
    codes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    // Not all of them may be known by name any more.
    let of_known = codes.iter().map(|(_, count)| count).sum();
    let all = match of_known == count {
        true => times(codes.iter().map(|(code, count)| (code.to_string(), *count))),
        false => format!("{count} × 5xx"),
    };
    let most = known().map(|(_, failures)| failures).next();
    let text = format!("{all} in the last minute{}", most.map_or(String::new(), |most| often(most, of_known)));
    let severity = if is_many(count, tallies) { Alarm } else { Warning };
    Some(with_example(Finding::new(severity, "server-errors", text), most))
}

/// Of so many failures that are known, this is the most frequent request that failed.
fn often(most: &Failures, known: u64) -> String {
    match (most.count, known) {
        (_, 1) => format!(": {}", most.request),
        (count, known) if count == known => format!(", all of them {}", most.request),
        (count, known) => format!(", most often {} ({count} of {known})", most.request),
    }
}

fn with_example(finding: Finding, most: Option<&Failures>) -> Finding {
    match most {
        Some(most) => finding.about(most.connection, Some(most.key)),
        None => finding,
    }
}

/// Which requests that were disturbed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// All of them.
    All,
    /// Those whose clients have not got the whole response.
    Lost,
}

/// Requests that were disturbed in one of these ways.
fn disturbed(overview: &Overview, kind: &'static str, of: Of, is_one: impl Fn(Verdict) -> bool) -> Option<Finding> {
    let tallies = &overview.minute.tallies;
    let counts = if of == Of::Lost { &tallies.lost } else { &tallies.disturbed };
    let verdicts: Vec<_> = counts.iter().filter(|(verdict, _)| is_one(*verdict)).collect();
    let count = verdicts.iter().map(|(_, count)| count).sum();
    if count == 0 {
        return None;
    }
    let named = verdicts.iter().map(|(verdict, count)| {
        (format!("{verdict} ({}, {})", verdict.means.meaning(), verdict.phase.meaning()), *count)
    });
    let is_known = |failures: &&Failures| failures.verdict.is_some_and(&is_one) && (failures.is_lost || of == Of::All);
    let known = || overview.failures.iter().filter(is_known);
    let (most, of_known) = (known().next(), known().map(|failures| failures.count).sum());
    let (severity, what) = describe(kind, count, tallies);
    let text = format!(
        "{what} in the last minute: {}{}",
        times(named),
        most.map_or(String::new(), |most| often(most, of_known))
    );
    Some(with_example(Finding::new(severity, kind, text), most))
}

fn describe(kind: &'static str, count: u64, tallies: &Tallies) -> (Severity, String) {
    match (kind, count) {
        ("faults", _) => (Alarm, format!("{} cut by faults of handlers", counted(count, "answer"))),
        ("upstream-failures", _) => {
            let severity = if is_many(count, tallies) { Alarm } else { Warning };
            (severity, format!("{} failed by an upstream", counted(count, "request")))
        }
        ("requests-lost", _) => (Warning, format!("{} lost to the network", counted(count, "request"))),
        (_, 1) => (Notice, "1 client left before it had its answer".into()),
        (_, count) => {
            let severity = if count >= MANY && is_many(count, tallies) { Warning } else { Notice };
            (severity, format!("{count} clients left before they had their answers"))
        }
    }
}

/// That idle connections are closed is as it should be.
fn timeouts(tallies: &Tallies) -> Option<Finding> {
    let is_trouble = |reason| !matches!(reason, WaitReason::Idle | WaitReason::FirstByte | WaitReason::Lingering);
    let timeouts: Vec<_> = tallies.timeouts.iter().filter(|(reason, _)| is_trouble(*reason)).collect();
    let count = timeouts.iter().map(|(_, count)| count).sum();
    let named = timeouts.iter().map(|(reason, count)| (reason.name().to_owned(), *count));
    let text = format!("{} in the last minute: {}", counted(count, "timeout"), times(named));
    (count > 0).then(|| Finding::new(Warning, "timeouts", text))
}

/// Each of these requests has crossed our FIN or GOAWAY, and may have failed at its client.
fn races(tallies: &Tallies) -> Option<Finding> {
    let requests = counted(tallies.races, "request");
    let text = format!(
        "{requests} in the last minute came when the server had just ended its idle connection: the keep-alive race"
    );
    let severity = if tallies.races >= MANY { Warning } else { Notice };
    let finding = Finding::new(severity, "keep-alive-race", text);
    (tallies.races > 0).then(|| finding.advice("let clients give up idle connections before --keep-alive-timeout does"))
}

fn handshakes(tallies: &Tallies) -> Option<Finding> {
    let (failed, done) = (tallies.handshake_failures.total(), tallies.handshakes);
    let named = tallies.handshake_failures.iter().map(|(failure, count)| (failure.to_string(), count));
    let all = counted(failed + done, "TLS handshake");
    let text = format!("{failed} of {all} failed in the last minute: {}", times(named));
    let severity = if failed > done / 10 { Warning } else { Notice };
    (failed > 0).then(|| Finding::new(severity, "handshakes", text))
}

/// What HTTP/2 refuses to clients that do too much of something, and what it ends because of errors.
fn http2(tallies: &Tallies) -> Vec<Finding> {
    let named = |counts: &mut dyn Iterator<Item = (&'static str, u64)>| {
        times(counts.map(|(code, count)| (code.to_owned(), count)))
    };
    let mut findings = Vec::new();
    let goaways = || tallies.goaways.iter().filter(|(code, _)| *code != "NO_ERROR");
    if goaways().next().is_some() {
        let text = format!("GOAWAY to HTTP/2 clients in the last minute: {}", named(&mut goaways()));
        let is_calm = goaways().any(|(code, _)| code == CALM);
        findings.push(Finding::new(if is_calm { Warning } else { Notice }, "http2-goaway", text));
    }
    let refused = || tallies.resets_by_server.iter().filter(|(code, _)| *code != "NO_ERROR");
    if refused().next().is_some() {
        let text = format!("streams of HTTP/2 reset by the server in the last minute: {}", named(&mut refused()));
        let is_refusal = refused().any(|(code, _)| matches!(code, CALM | "REFUSED_STREAM"));
        findings.push(Finding::new(if is_refusal { Warning } else { Notice }, "http2-resets", text));
    }
    if tallies.delayed_streams > 0 {
        let streams = counted(tallies.delayed_streams, "stream");
        let text = format!("{streams} of HTTP/2 delayed in the last minute, because clients have reset too many");
        findings.push(Finding::new(Warning, "http2-delays", text).advice("--http2-resets says how many are borne"));
    }
    findings
}
