//! Verdicts: who ended a connection or a request, how, and in which phase. Three letters that can be searched for and counted.

use std::fmt;
use std::io::ErrorKind;

use crate::base::moment::Moment;
use crate::base::upstream_facts::UpstreamEnd;

use super::close_reason::{ClientEnd, CloseReason, Cut, Fault, Why};
use super::wait_reason::WaitReason;

/// Makes a part of the verdict: its values, all of them, their letters and their meanings from one list.
macro_rules! letters {
    ($(#[$doc:meta])* $name:ident { $($value:ident $letter:literal $meaning:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $(#[doc = $meaning] $value,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$value),*];

            /// Its letter.
            pub fn letter(self) -> char {
                match self {
                    $($name::$value => $letter,)*
                }
            }

            /// What the letter means, in words that the sentence of a verdict is made of.
            pub fn meaning(self) -> &'static str {
                match self {
                    $($name::$value => $meaning,)*
                }
            }
        }
    };
}

letters! {
    /// Who ended it.
    Side {
        Client 'C' "client";
        Server 'S' "server";
        Network 'N' "network";
        Upstream 'U' "upstream";
        Operator 'O' "operator";
    }
}

letters! {
    /// How it was ended.
    Means {
        Fin 'F' "FIN";
        CloseNotify 'N' "close_notify";
        Reset 'R' "reset";
        StreamReset 'S' "RST_STREAM";
        GoAway 'G' "GOAWAY";
        Asked 'A' "as the client asked";
        Http10 '0' "as HTTP/1.0 ends";
        Conversation 'W' "end of the conversation";
        Timeout 'T' "timeout";
        Limit 'L' "limit";
        Refusal 'X' "refusal";
        Handler 'H' "fault of the handler";
        Drain 'D' "stop of the server";
        Deadline 'K' "deadline of the stop";
        Error 'E' "error";
    }
}

letters! {
    /// What was going on.
    Phase {
        Silent 'A' "before its first byte";
        Handshake 'T' "in the TLS handshake";
        Idle 'I' "between requests";
        Head 'H' "in the head";
        Content 'B' "in the content";
        Handler 'W' "while the handler worked";
        Sending 'S' "while sending";
        Conversation 'C' "in the conversation";
    }
}

/// What is printed for a request that nothing has ended before its end.
pub const UNDISTURBED: &str = "---";

/// Who ended it, how, and in which phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verdict {
    /// Who ended it.
    pub side: Side,
    /// How.
    pub means: Means,
    /// In which phase.
    pub phase: Phase,
}

impl Verdict {
    /// The verdict on a connection that ended for this reason in this phase.
    pub fn on_connection(reason: CloseReason, phase: Phase) -> Verdict {
        let (side, means) = match reason {
            CloseReason::ByClient(ClientEnd::Fin) => (Side::Client, Means::Fin),
            CloseReason::ByClient(ClientEnd::CloseNotify) => (Side::Client, Means::CloseNotify),
            CloseReason::ByClient(ClientEnd::GoAway) => (Side::Client, Means::GoAway),
            CloseReason::ByClient(ClientEnd::Alert) => (Side::Client, Means::Refusal),
            CloseReason::ByServer(Why::Asked) => (Side::Server, Means::Asked),
            CloseReason::ByServer(Why::Http10) => (Side::Server, Means::Http10),
            CloseReason::ByServer(Why::Conversation) => (Side::Server, Means::Conversation),
            CloseReason::ByServer(Why::Refusal) => (Side::Server, Means::Refusal),
            CloseReason::ByServer(Why::Limit) => (Side::Server, Means::Limit),
            CloseReason::ByServer(Why::GoAway) => (Side::Server, Means::GoAway),
            CloseReason::ByServer(Why::Unneeded) => (Side::Server, Means::Asked),
            CloseReason::ByServer(Why::Drain) => (Side::Operator, Means::Drain),
            reason if reason.is_reset() => (Side::Client, Means::Reset),
            // The kernel has sent it again and again, and nobody has acknowledged it (RFC 9293 §3.8.3).
            CloseReason::Broken(ErrorKind::TimedOut) => (Side::Network, Means::Timeout),
            CloseReason::Broken(_) => (Side::Network, Means::Error),
            CloseReason::Timeout(_) => (Side::Server, Means::Timeout),
            CloseReason::Vanished(_) => (Side::Network, Means::Timeout),
            CloseReason::CutShort(Fault::Handler) => (Side::Server, Means::Handler),
            CloseReason::CutShort(Fault::Request) => (Side::Server, Means::Refusal),
            CloseReason::CutShort(Fault::Deadline) => (Side::Operator, Means::Deadline),
        };
        let phase = match reason {
            // What was waited for says more than what else was going on.
            CloseReason::Timeout(wait) | CloseReason::Vanished(wait) => phase_of(wait, phase),
            CloseReason::ByServer(Why::Conversation) => Phase::Conversation,
            _ => phase,
        };
        Verdict { side, means, phase }
    }

    /// The verdict on a connection to an upstream, which is where clients are elsewhere.
    pub fn on_upstream_connection(reason: CloseReason, phase: Phase) -> Verdict {
        use WaitReason::{Connecting, UpstreamSilent, UpstreamSlowRead};
        let verdict = Verdict::on_connection(reason, phase);
        match (verdict.side, reason) {
            (_, CloseReason::Broken(ErrorKind::ConnectionRefused)) => {
                Verdict { side: Side::Upstream, means: Means::Refusal, ..verdict }
            }
            (_, CloseReason::Timeout(Connecting | UpstreamSilent | UpstreamSlowRead)) | (Side::Client, _) => {
                Verdict { side: Side::Upstream, ..verdict }
            }
            _ => verdict,
        }
    }

    /// The verdict with the reason in words, for the line of a connection's end.
    pub fn with_reason(self, reason: CloseReason) -> impl fmt::Display {
        fmt::from_fn(move |f| match reason {
            CloseReason::ByClient(_) => {
                write!(f, "{self} closed by the {} {}", self.side.meaning(), self.phase.meaning())
            }
            _ => write!(f, "{self} {reason} {}", self.phase.meaning()),
        })
    }

    /// Whether the end of a connection is one that is worth a look: not one of a client that has said all and got all, nor one
    /// by the server as it was asked, after a time without requests, or because it stops.
    pub fn is_disturbance(self) -> bool {
        let between = matches!(self.phase, Phase::Silent | Phase::Idle | Phase::Conversation);
        match (self.side, self.means) {
            (Side::Client | Side::Upstream, Means::Fin | Means::CloseNotify) | (Side::Server, Means::Timeout) => {
                !between
            }
            (Side::Server, Means::Asked | Means::Http10 | Means::Conversation) | (Side::Operator, Means::Drain) => {
                false
            }
            _ => true,
        }
    }

    /// The verdict on a request whose client ended its direction before it had the whole response.
    pub fn on_client_end(end: ClientEnd, phase: Phase) -> Verdict {
        Verdict::on_connection(CloseReason::ByClient(end), phase)
    }

    /// The verdict on a request whose upstream has failed like this.
    pub fn on_upstream(end: UpstreamEnd, phase: Phase) -> Verdict {
        let (side, means) = match end {
            UpstreamEnd::Refused => (Side::Upstream, Means::Refusal),
            UpstreamEnd::Timeout => (Side::Upstream, Means::Timeout),
            UpstreamEnd::Fin => (Side::Upstream, Means::Fin),
            UpstreamEnd::Reset => (Side::Upstream, Means::Reset),
            UpstreamEnd::Malformed => (Side::Upstream, Means::Error),
            UpstreamEnd::Network => (Side::Network, Means::Error),
            UpstreamEnd::NoSocket => (Side::Server, Means::Limit),
        };
        Verdict { side, means, phase }
    }

    /// The verdict on a request that ended before its response was complete.
    pub fn on_request(cut: Cut, phase: Phase) -> Verdict {
        match cut {
            Cut::Connection(reason) => {
                let verdict = Verdict::on_connection(reason, phase);
                // The connection may have waited for something that was not about this request.
                let is_of_another =
                    matches!(verdict.phase, Phase::Silent | Phase::Handshake | Phase::Idle | Phase::Head);
                Verdict { phase: if is_of_another { phase } else { verdict.phase }, ..verdict }
            }
            Cut::ResetByClient(_) => Verdict { side: Side::Client, means: Means::StreamReset, phase },
            Cut::ResetByServer(_) => Verdict { side: Side::Server, means: Means::StreamReset, phase },
        }
    }
}

/// How often there was each verdict.
#[derive(Debug, Clone)]
pub struct VerdictCounts(Box<[u64; VERDICTS]>);

/// So many verdicts can be told apart, although not all of them occur.
const VERDICTS: usize = Side::ALL.len() * Means::ALL.len() * Phase::ALL.len();

impl Default for VerdictCounts {
    fn default() -> VerdictCounts {
        VerdictCounts(Box::new([0; VERDICTS]))
    }
}

impl VerdictCounts {
    /// Counts a verdict.
    pub fn count(&mut self, verdict: Verdict) {
        let Verdict { side, means, phase } = verdict;
        self.0[(side as usize * Means::ALL.len() + means as usize) * Phase::ALL.len() + phase as usize] += 1;
    }

    /// The verdicts that there were, in their order, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (Verdict, u64)> {
        let means = Side::ALL.iter().flat_map(|side| Means::ALL.iter().map(move |means| (*side, *means)));
        let all = means.flat_map(|(side, means)| Phase::ALL.iter().map(move |phase| (side, means, *phase)));
        let verdicts = all.map(|(side, means, phase)| Verdict { side, means, phase });
        verdicts.zip(self.0.iter().copied()).filter(|(_, count)| *count > 0)
    }
}

/// Who ended its direction of a connection first. Whoever does so has the socket in TIME_WAIT afterwards (RFC 9293 §3.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstFin {
    /// The client.
    Client,
    /// We.
    Server,
    /// The connection was reset before anybody did, or the kernel has given it up.
    Nobody,
}

impl FirstFin {
    /// All of them, in the order of their numbers, as they are printed.
    pub const NAMES: [&str; 3] = ["client", "server", "nobody"];
}

/// What has disturbed a request, and what became of its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disturbance {
    /// Who did it, how, and in which phase. The first to do so is the one that counts.
    pub verdict: Verdict,
    /// When that was known.
    pub at: Moment,
    /// When the client had ended its direction, if it did so before and then waited.
    pub half_closed: Option<Moment>,
    /// Why the request ended before its response was complete, if it did. A client that has ended its direction may
    /// have got all of it.
    pub cut: Option<Cut>,
    /// What of the response was produced and has not left, in bytes.
    pub left_over: u64,
    /// What the peer's kernel had acknowledged of the response when the connection ended, in bytes, if that is known.
    pub acknowledged: Option<u64>,
    /// The client has reset the connection when it was sent the response.
    pub was_reset: bool,
}

impl Disturbance {
    /// Whether the client may have got the whole response: all of it has left, and nobody is known to have lost it. So it is
    /// with a client that has ended its direction and reads on, and with a 500 for a handler that has failed.
    pub fn may_be_whole(&self) -> bool {
        self.cut.is_none() && self.left_over == 0 && !self.was_reset && self.verdict.side != Side::Network
    }
}

fn phase_of(wait: WaitReason, phase: Phase) -> Phase {
    match wait {
        WaitReason::FirstByte => Phase::Silent,
        WaitReason::Idle => Phase::Idle,
        WaitReason::SlowHead | WaitReason::SlowLine => Phase::Head,
        WaitReason::SlowBody => Phase::Content,
        WaitReason::SlowRead | WaitReason::Window => Phase::Sending,
        WaitReason::Timer | WaitReason::Job | WaitReason::Upstream => Phase::Handler,
        WaitReason::Connecting => Phase::Silent,
        WaitReason::UpstreamSilent => Phase::Handler,
        WaitReason::UpstreamSlowRead => Phase::Sending,
        WaitReason::Pooled => Phase::Idle,
        WaitReason::Conversation => Phase::Conversation,
        WaitReason::TlsHandshake | WaitReason::Lingering | WaitReason::Relay => phase,
    }
}

/// Its three letters.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.side.letter(), self.means.letter(), self.phase.letter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ss -K` and the like end a socket with ECONNABORTED. ENOTCONN is all that is left of a socket after a reset.
    #[test]
    fn what_the_kernel_ends_is_not_the_clients_doing() {
        for (kind, verdict) in [
            (ErrorKind::ConnectionAborted, "NES"),
            (ErrorKind::HostUnreachable, "NES"),
            (ErrorKind::TimedOut, "NTS"),
            (ErrorKind::ConnectionReset, "CRS"),
            (ErrorKind::BrokenPipe, "CRS"),
            (ErrorKind::NotConnected, "CRS"),
        ] {
            assert_eq!(Verdict::on_connection(CloseReason::Broken(kind), Phase::Sending).to_string(), verdict);
        }
    }

    #[test]
    fn a_conversation_ends_in_the_conversation_whatever_its_handler_says() {
        let verdict = |why, phase| Verdict::on_connection(CloseReason::ByServer(why), phase).to_string();
        assert_eq!(verdict(Why::Conversation, Phase::Content), "SWC");
        assert_eq!(verdict(Why::Limit, Phase::Content), "SLB");
    }

    /// The page is where people look the letters up.
    #[test]
    fn each_letter_and_each_reason_stands_on_its_page() {
        let verdicts = include_str!("../../docs/verdicts.md");
        let letters = [
            Side::ALL.iter().map(|side| side.letter()).collect::<Vec<_>>(),
            Means::ALL.iter().map(|means| means.letter()).collect(),
            Phase::ALL.iter().map(|phase| phase.letter()).collect(),
        ];
        for (ordinal, letters) in ["1st", "2nd", "3rd"].into_iter().zip(letters) {
            let table = verdicts.split(&format!("| {ordinal} |")).nth(1).unwrap().split("\n\n").next().unwrap();
            let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.chars().next());
            let (mut rows, mut letters) = (rows.collect::<Vec<_>>(), letters);
            rows.sort_unstable();
            letters.sort_unstable();
            assert_eq!(rows, letters, "the {ordinal} letters");
        }
        let inspecting = include_str!("../../docs/inspecting.md");
        for reason in WaitReason::ALL {
            assert!(inspecting.contains(&format!("`{reason}`")), "{reason} is missing in docs/inspecting.md");
        }
    }
}
