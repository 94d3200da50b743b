//! What has disturbed a request, as a sentence: who, how, when, in which phase, and what became of the response.

use std::fmt::{self, Display};

use super::json::relative;
use super::pretty::{Size, Span};
use crate::observe::close_reason::{CloseReason, Cut};
use crate::observe::request_record::RequestRecord;
use crate::observe::verdict::{Disturbance, Means, Side, UNDISTURBED};

/// The sentence, behind the verdict's letters.
pub fn sentence<'a>(record: &'a RequestRecord, disturbance: &'a Disturbance) -> impl Display + 'a {
    fmt::from_fn(move |f| {
        let verdict = disturbance.verdict;
        let who = match verdict.side {
            Side::Client => "client left",
            Side::Network => "network broke it",
            Side::Upstream => "upstream failed",
            Side::Server => "server ended it",
            Side::Operator => "operator ended it",
        };
        write!(f, "{verdict} {who} ({}) after {}", how(disturbance), Span(disturbance.at.since(record.began)))?;
        write!(f, " {}", verdict.phase.meaning())?;
        if let Some(at) = disturbance.half_closed {
            write!(f, ", the client's direction ended after {}", Span(at.since(record.began)))?;
        }
        fate(record, disturbance, f)
    })
}

/// A request that is over, in one line: which one, its status, where it stood in the two streams, and its verdict.
pub fn summary(record: &RequestRecord) -> impl Display {
    fmt::from_fn(|f| {
        match record.stream {
            0 => write!(f, "r={}", record.ordinal)?,
            stream => write!(f, "s={stream}")?,
        }
        match record.status {
            Some(status) => write!(f, " over {}", status.code())?,
            None => f.write_str(" over ---")?,
        }
        write!(f, " rx={} tx={} verdict ", relative(&record.rx), relative(&record.tx))?;
        match &record.disturbance {
            Some(disturbance) => sentence(record, disturbance).fmt(f),
            None => f.write_str(UNDISTURBED),
        }
    })
}

/// The means, and what more is known of it.
fn how(disturbance: &Disturbance) -> impl Display {
    fmt::from_fn(move |f| match (disturbance.verdict.means, disturbance.cut) {
        (Means::StreamReset, Some(Cut::ResetByClient(code) | Cut::ResetByServer(code))) => {
            write!(f, "RST_STREAM {code}")
        }
        (Means::Timeout, Some(Cut::Connection(CloseReason::Timeout(wait)))) => write!(f, "timeout: {wait}"),
        (Means::Timeout, Some(Cut::Connection(CloseReason::Vanished(wait)))) => {
            write!(f, "the peer has vanished, timeout: {wait}")
        }
        (Means::Timeout | Means::Error, Some(Cut::Connection(CloseReason::Broken(kind)))) => write!(f, "{kind}"),
        (means, _) => f.write_str(means.meaning()),
    })
}

/// What became of the response, if there was one.
fn fate(record: &RequestRecord, disturbance: &Disturbance, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Disturbance { left_over, acknowledged, was_reset, .. } = *disturbance;
    let written = record.response_bytes();
    if record.status.is_none() {
        return f.write_str("; no answer");
    }
    write!(f, "; {} of the answer written", Size(written))?;
    if left_over > 0 {
        write!(f, ", {} left over", Size(left_over))?;
    }
    match acknowledged {
        Some(all) if all == written => f.write_str(", all acknowledged")?,
        Some(some) => write!(f, ", {} acknowledged", Size(some))?,
        None => {}
    }
    if was_reset { f.write_str(", reset, never read to its end") } else { Ok(()) }
}
