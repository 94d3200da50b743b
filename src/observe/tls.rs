//! TLS in numbers: which handshakes were done, and why others were not.

use std::collections::BTreeMap;
use std::fmt;

use crate::base::tls_facts::SessionFacts;

/// TLS of one event loop, from its start.
#[derive(Debug, Clone, Default)]
pub struct TlsCounts {
    /// Handshakes that are done, as `KINDS` has them.
    done: [u64; KINDS.len()],
    /// Handshakes that were not done. The keys are out of a closed set.
    pub failed: BTreeMap<Failure, u64>,
    /// Connections that TLS ended after the handshake.
    pub broken: BTreeMap<Failure, u64>,
}

/// Kinds of handshakes: what was done, and with which version.
const KINDS: [(&str, &str); 4] =
    [("full", "TLSv1.2"), ("full", "TLSv1.3"), ("resumed", "TLSv1.2"), ("resumed", "TLSv1.3")];

/// Why TLS ended a connection. The texts are names out of closed sets: those of alerts (RFC 8446 §6), or of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The server has sent this alert.
    Ours(&'static str),
    /// The client has.
    Theirs(&'static str),
    /// Nobody has sent an alert, for this reason.
    Silent(&'static str),
}

impl TlsCounts {
    /// Counts a handshake that is done.
    pub fn count_done(&mut self, session: &SessionFacts) {
        let kind = if session.is_resumed { "resumed" } else { "full" };
        let at = KINDS.iter().position(|(of, version)| *of == kind && Some(*version) == session.version);
        self.done[at.unwrap_or_default()] += 1;
    }

    /// Handshakes that are done, by kind and version.
    pub fn done(&self) -> impl Iterator<Item = ((&'static str, &'static str), u64)> {
        KINDS.into_iter().zip(self.done)
    }

    /// All of them.
    pub fn done_total(&self) -> u64 {
        self.done.iter().sum()
    }

    /// Those that have resumed an earlier session.
    pub fn resumed_total(&self) -> u64 {
        self.done().filter(|((kind, _), _)| *kind == "resumed").map(|(_, count)| count).sum()
    }
}

impl Failure {
    /// Who has sent an alert: `ours`, `theirs` or `none`.
    pub fn side(self) -> &'static str {
        match self {
            Failure::Ours(_) => "ours",
            Failure::Theirs(_) => "theirs",
            Failure::Silent(_) => "none",
        }
    }

    /// The alert, or the reason.
    pub fn reason(self) -> &'static str {
        match self {
            Failure::Ours(text) | Failure::Theirs(text) | Failure::Silent(text) => text,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Ours(alert) => write!(f, "our alert {alert}"),
            Failure::Theirs(alert) => write!(f, "the client's alert {alert}"),
            Failure::Silent(reason) => f.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_counted_by_kind_and_version() {
        let mut counts = TlsCounts::default();
        for (version, is_resumed) in [("TLSv1.3", true), ("TLSv1.2", false), ("TLSv1.3", true), ("TLSv1.2", true)] {
            counts.count_done(&SessionFacts { version: Some(version), is_resumed, ..SessionFacts::default() });
        }
        let done: Vec<u64> = counts.done().map(|(_, count)| count).collect();
        assert_eq!((done, counts.done_total(), counts.resumed_total()), (vec![1, 0, 1, 2], 4, 3));
    }
}
