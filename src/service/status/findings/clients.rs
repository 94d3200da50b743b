//! Connections that hold a request up, and who or what is to blame as far as the kernel tells.

use std::time::Duration;

use super::Finding;
use super::Severity::{Notice, Warning};
use super::counted;
use crate::base::log_key::RequestKey;
use crate::observe::report::{ConnectionStatus, KernelReport, KernelSocket, Overview, PeerHealth, StreamStatus};
use crate::service::status::connections::{held, kernel_of};
use crate::service::status::durations::short;

/// A wait that is worth a finding.
const LONG: Duration = Duration::from_secs(1);
/// When so much of what a budget of HTTP/2 bears is spent, the connection will soon be ended. In percent.
const SPENT: u32 = 80;

/// What holds a connection up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Its peer answers nothing: it has vanished, or the network has gone.
    Vanished,
    /// The program at the other end does not read.
    Reader,
    /// The client opens no window of HTTP/2.
    Window,
    /// The network takes no more.
    Network,
    /// Our send buffer is too small for this path.
    SendBuffer,
    /// We are done, and the client has not read what the kernel has for it.
    Unread,
    /// The client is slow to send a head.
    Head,
    /// The client is slow to send a line.
    Line,
    /// The client is slow to send the content of its request.
    Content,
    /// The TLS handshake is not over.
    Handshake,
    /// A job thread.
    Job,
}

impl Cause {
    /// As programs know it.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Vanished => "vanished",
            Cause::Reader => "reader",
            Cause::Window => "window",
            Cause::Network => "network",
            Cause::SendBuffer => "send-buffer",
            Cause::Unread => "unread",
            Cause::Head => "head",
            Cause::Line => "line",
            Cause::Content => "content",
            Cause::Handshake => "handshake",
            Cause::Job => "job",
        }
    }
}

/// A connection that is held up.
#[derive(Debug)]
pub struct Culprit<'a> {
    /// The connection.
    pub connection: &'a ConnectionStatus,
    /// What the kernel says of it.
    pub kernel: Option<&'a KernelSocket>,
    /// What holds it up.
    pub cause: Cause,
    /// For how long.
    pub waited: Duration,
    /// The stream that is held up, with HTTP/2.
    pub stream: Option<&'a StreamStatus>,
}

/// Who holds a request up, in the order in which connections are listed: the longest wait first.
pub fn culprits<'a>(overview: &'a Overview, kernel: &'a KernelReport) -> Vec<Culprit<'a>> {
    let culprit = |connection| culprit(connection, kernel_of(connection, kernel));
    let mut culprits: Vec<_> = overview.listed.iter().filter_map(culprit).collect();
    culprits.sort_by_key(|culprit| std::cmp::Reverse(culprit.waited));
    culprits
}

fn culprit<'a>(connection: &'a ConnectionStatus, kernel: Option<&'a KernelSocket>) -> Option<Culprit<'a>> {
    let held = held(connection, kernel);
    let whole = |cause| Culprit { connection, kernel, cause, waited: held, stream: None };
    if let Some(kernel) = kernel.filter(|kernel| kernel.health() == PeerHealth::Silent) {
        return Some(Culprit { waited: kernel.last_acknowledgement, ..whole(Cause::Vanished) });
    }
    let shut = longest_shut(connection);
    let cause = match connection.wait {
        // Whoever gets on holds nothing up.
        "client-slow-read" if held >= LONG => blocked_by(connection, kernel),
        "client-window" => Cause::Window,
        "client-slow-head" => Cause::Head,
        "client-slow-line" => Cause::Line,
        "client-slow-body" if held >= LONG => Cause::Content,
        "tls-handshake" => Cause::Handshake,
        "job-pool" => Cause::Job,
        // With HTTP/2 one stream may be held up while the connection goes on.
        _ if shut.is_some() => Cause::Window,
        "client-idle" if held >= LONG && kernel.is_some_and(|kernel| kernel.notsent > 0) => Cause::Unread,
        _ => return None,
    };
    Some(match (cause, shut) {
        (Cause::Window, Some(stream)) => Culprit { waited: stream.waited, stream: Some(stream), ..whole(cause) },
        _ => whole(cause),
    })
}

/// The stream that has waited longest for a window.
fn longest_shut(connection: &ConnectionStatus) -> Option<&StreamStatus> {
    let streams = connection.http2.iter().flat_map(|http2| &http2.streams);
    let shut = streams.filter(|stream| matches!(stream.wait, "stream-window" | "connection-window"));
    // The oldest of those that have waited equally long.
    shut.max_by_key(|stream| (stream.waited, std::cmp::Reverse(stream.id)))
}

/// Who does not take what is to be sent. Without the kernel's word it is the reader, as most often.
fn blocked_by(connection: &ConnectionStatus, kernel: Option<&KernelSocket>) -> Cause {
    let Some(kernel) = kernel else { return Cause::Reader };
    let much = connection.waited / 2;
    match () {
        () if kernel.health() == PeerHealth::WindowShut || kernel.rwnd_limited >= much => Cause::Reader,
        () if kernel.sndbuf_limited >= much => Cause::SendBuffer,
        () => Cause::Network,
    }
}

/// One finding for each cause, about the connection that it has held up longest. What waits for a job is told with the jobs.
pub(super) fn examine(overview: &Overview, kernel: &KernelReport, findings: &mut Vec<Finding>) {
    let mut culprits = culprits(overview, kernel);
    culprits.retain(|culprit| culprit.cause != Cause::Job && culprit.waited >= LONG);
    culprits.sort_by_key(|culprit| culprit.cause);
    for same in culprits.chunk_by(|one, other| one.cause == other.cause) {
        if let Some(worst) = same.iter().max_by_key(|culprit| culprit.waited) {
            findings.push(finding(worst, same.len() - 1));
        }
    }
    findings.extend(overview.listed.iter().filter_map(spent));
}

fn finding(culprit: &Culprit<'_>, others: usize) -> Finding {
    let severity = match culprit.cause {
        Cause::Unread | Cause::Head | Cause::Line | Cause::Content | Cause::Handshake => Notice,
        _ => Warning,
    };
    let others = match others {
        0 => String::new(),
        1 => "; so is 1 other".into(),
        others => format!("; so are {others} others"),
    };
    let finding = Finding::new(severity, culprit.cause.name(), format!("{}{others}", sentence(culprit)));
    finding.about(culprit.connection.id, key(culprit))
}

fn key(culprit: &Culprit<'_>) -> Option<RequestKey> {
    let stream = culprit.stream.map(|stream| RequestKey::Stream(stream.id));
    stream.or(culprit.connection.record.as_ref().map(|record| record.key()))
}

/// What there is to say of one connection.
fn sentence(culprit: &Culprit<'_>) -> String {
    let Culprit { connection: c, kernel, .. } = culprit;
    let (id, waited, request) = (c.id, short(culprit.waited), request(culprit));
    let in_kernel = kernel.map_or(0, |kernel| kernel.notsent);
    match culprit.cause {
        Cause::Vanished => {
            let (tries, what) = kernel.map_or((0, "retransmit"), |kernel| match kernel.retransmits {
                0 => (kernel.probes, "probe"),
                retransmits => (retransmits, "retransmit"),
            });
            let tries = counted(tries.into(), what);
            format!("c={id} has vanished: silent for {waited}, {tries} without an answer{request}")
        }
        Cause::Reader => format!("c={id} is blocked for {waited} by its reader, who takes nothing or little{request}"),
        Cause::Network => {
            let unacked = kernel.map_or(0, |kernel| kernel.unacked);
            let unacked = counted(unacked.into(), "segment");
            format!("c={id} is blocked for {waited} by the network: {unacked} not acknowledged{request}")
        }
        Cause::SendBuffer => {
            format!("c={id} is blocked for {waited} by our send buffer, too small for its path{request}")
        }
        Cause::Window => {
            let which = culprit.stream.map_or("window", |stream| match stream.wait {
                "connection-window" => "window of the connection",
                _ => "window of the stream",
            });
            format!("c={id} is blocked for {waited} by its client, who opens no {which}{request}")
        }
        Cause::Unread => {
            let idle = "whose answer is complete for us";
            format!("c={id} is held for {waited} by its reader, {idle}: {in_kernel} bytes wait in the kernel")
        }
        Cause::Head => {
            let got = c.inbox.0;
            format!(
                "c={id} is held for {waited} by its client, who has sent {got} bytes of a head; cut in {}",
                short(c.left)
            )
        }
        Cause::Line => {
            format!("c={id} is held for {waited} by its client, who has not ended its line; cut in {}", short(c.left))
        }
        Cause::Content => format!("c={id} is held for {waited} by its client, who sends no more content{request}"),
        Cause::Handshake => {
            format!("c={id} is held for {waited} by its client in the TLS handshake; cut in {}", short(c.left))
        }
        Cause::Job => format!("c={id} is held for {waited} by a job{request}"),
    }
}

/// `: GET /big`, if there is a request.
fn request(culprit: &Culprit<'_>) -> String {
    match (culprit.stream, &culprit.connection.record) {
        (Some(stream), _) => format!(": s={} {}", stream.id, stream.request),
        (None, Some(record)) => format!(": {}", record.request()),
        (None, None) => String::new(),
    }
}

/// A connection of HTTP/2 whose client has used most of what is borne.
fn spent(connection: &ConnectionStatus) -> Option<Finding> {
    let budgets = &connection.http2.as_ref()?.budgets;
    let (name, percent) =
        budgets.iter().filter(|(_, percent)| *percent >= SPENT).max_by_key(|(_, percent)| *percent)?;
    let id = connection.id;
    let text = format!("c={id} has used {percent}% of what is borne of it ({name}); then come delays, or GOAWAY");
    Some(Finding::new(Notice, "ledger", text).about(id, None))
}
