//! The page that is printed: a line for each step, and the head of the response.

use std::fmt::{self, Display, Write};

use super::frames::{self, Answer, Printer};
use super::order::Asked;
use super::rehearsal::{End, Rehearsal};
use super::response::{self, FinalResponse};
use super::witness::Watched;
use super::words;
use crate::base::disk::Calls;
use crate::http::message::{Announced, OwnedHead, RequestHead};
use crate::http::method::Method;
use crate::http::target::{Target, percent_decode};
use crate::http::upstream::OutgoingRequest;
use crate::observe::close_reason::CloseReason;
use crate::observe::wait_reason::WaitReason;
use crate::protocol::h1::client::Client;
use crate::service::explanation::{Explanation, printable};

/// Width of the labels.
const LABEL: usize = 14;

/// Who answers, if an upstream does.
const OF_UPSTREAM: &str = "the upstream's, or 502, 503 or 504 if there is none (RFC 9110 §15.6)";

/// What the protocol made of the head, or why it is refused; `None` if it asks for more bytes.
pub type Understood = Option<Result<OwnedHead, String>>;

/// The whole page. `before` is what comes before the request can be sent. `again` is the same request while the answer is hot, if that makes a difference.
pub fn text(
    asked: &Asked,
    understood: &Understood,
    before: &Explanation,
    watched: &Watched,
    first: &Rehearsal,
    again: Option<&Rehearsal>,
) -> String {
    let mut page = Page::default();
    page.request(asked, understood);
    for step in before.steps.iter().chain(&watched.explanation.steps) {
        page.line(step.label, &step.text);
    }
    match asked {
        Asked::Http1(_) => page.answer(understood, watched, first),
        Asked::Http2(_) => page.answer_in_frames(watched, first),
    }
    page.calls(watched, first, again);
    if let Some(outgoing) = &watched.explanation.outgoing {
        page.outgoing(outgoing);
    }
    match asked {
        Asked::Http1(_) => page.heads(&first.paper.sent),
        Asked::Http2(bytes) => page.frames(bytes, &first.paper.sent),
    }
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, label: &str, text: impl Display) {
        writeln!(self.text, "{label:LABEL$}{text}").expect("a String takes everything");
    }

    fn request(&mut self, asked: &Asked, understood: &Understood) {
        match asked {
            Asked::Http1(head) => {
                let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
                self.line("request", format_args!("{}, {} bytes of head", printable(line), head.len()));
            }
            Asked::Http2(bytes) => {
                let (line, bytes) = (printable(&frames::request_line(bytes)), bytes.len());
                self.line("request", format_args!("{line}, HTTP/2 by prior knowledge (RFC 9113 §3.3), {bytes} bytes"));
            }
        }
        match understood {
            Some(Ok(request)) => self.understood(asked, &request.as_head()),
            Some(Err(error)) => self.line("refused", error),
            None => self.line("refused", "the head is not complete"),
        }
    }

    fn understood(&mut self, asked: &Asked, request: &RequestHead<'_>) {
        let section = matches!(asked, Asked::Http2(_)).then_some("RFC 9113 §8.3.1");
        self.line("target", target_text(&request.target, section));
        match request.announced {
            Announced::Nothing => {}
            Announced::Length(length) if matches!(asked, Asked::Http2(_)) => {
                self.line("content", format_args!("{length} bytes to come in DATA frames (RFC 9113 §8.1.1)"));
            }
            Announced::Length(length) => self.line("content", format_args!("{length} bytes to come (RFC 9112 §6.2)")),
            Announced::Unknown => self.line("content", "to come in chunks (RFC 9112 §7.1)"),
        }
    }

    fn answer(&mut self, understood: &Understood, watched: &Watched, first: &Rehearsal) {
        self.why(watched, first);
        let Some(answer) = FinalResponse::of(&first.paper) else {
            if watched.explanation.outgoing.is_some() {
                return self.line("answer", OF_UPSTREAM);
            }
            return self.line("answer", format_args!("none yet: {}", end_text(first.end)));
        };
        let rule = words::status_section(answer.status).map_or(String::new(), |section| format!(" ({section})"));
        self.line("answer", format_args!("{}{rule}", answer.status));
        let method = understood.as_ref().and_then(|read| Some(read.as_ref().ok()?.as_head().method));
        self.line("framing", answer.framing(method == Some(Method::Head)));
        self.line("connection", end_text(first.end));
        match &watched.content {
            _ if answer.content_bytes == 0 => self.line("send path", "the head alone"),
            Some(content) if answer.status == watched.status.unwrap_or(answer.status) => {
                self.line("send path", content)
            }
            _ => self.line("send path", format_args!("from memory, {} bytes", answer.content_bytes)),
        }
    }

    fn answer_in_frames(&mut self, watched: &Watched, first: &Rehearsal) {
        self.why(watched, first);
        let answer = frames::answer(&first.paper.sent);
        let end = end_text_of_stream(first.end, &answer);
        match (answer.status, answer.error) {
            (None, Some(error)) => return self.line("answer", format_args!("none: {error}")),
            (None, None) if watched.explanation.outgoing.is_some() => return self.line("answer", OF_UPSTREAM),
            (None, None) => return self.line("answer", format_args!("none yet: {end}")),
            (Some(status), _) => {
                let rule = words::status_section(status).map_or(String::new(), |section| format!(" ({section})"));
                self.line("answer", format_args!("{status}{rule}"));
            }
        }
        let length =
            answer.length.map_or(String::new(), |length| format!(", content-length: {length} (RFC 9113 §8.1.1)"));
        let frame = if answer.content_bytes > 0 { "DATA" } else { "HEADERS" };
        match answer.has_ended {
            true => self.line("framing", format_args!("END_STREAM on the last {frame} (RFC 9113 §8.1){length}")),
            false => self.line("framing", format_args!("END_STREAM is to come (RFC 9113 §8.1){length}")),
        }
        self.line("stream", end);
        match &watched.content {
            _ if answer.content_bytes == 0 && answer.has_ended => self.line("send path", "the head alone"),
            Some(content) if answer.status == watched.status => self.line("send path", content),
            _ => self.line("send path", format_args!("from memory, {} bytes", answer.content_bytes)),
        }
    }

    /// Both directions, frame by frame.
    fn frames(&mut self, asked: &[u8], sent: &[u8]) {
        self.text.push('\n');
        let mut printer = Printer::new(&mut self.text);
        printer.client(asked);
        printer.server(sent);
    }

    /// Why there is no answer, or why it takes so long.
    fn why(&mut self, watched: &Watched, first: &Rehearsal) {
        if let Some(failure) = &watched.failure {
            self.line("failure", failure);
        }
        if !first.waited.is_zero() {
            self.line("waits", format_args!("{:?} for the clock before it answers", first.waited));
        }
    }

    fn calls(&mut self, watched: &Watched, first: &Rehearsal, again: Option<&Rehearsal>) {
        self.line("on the loop", LoopCalls(first));
        if watched.explanation.outgoing.is_some() {
            self.line("", "and what the connection to the upstream takes");
        } else if first.end == End::Sends {
            self.line("", "and so on");
        } else if first.paper.calls.iter().any(|(call, _)| *call == "sendfile") {
            self.line("", "one sendfile more whenever the socket takes less than it is given");
        }
        if watched.needs_jobs() {
            self.line("on a thread", format_args!("{}: {}", watched.explanation.jobs.join(", "), JobCalls(first.disk)));
            self.line("", format_args!("write ×{} to wake the loop", watched.explanation.jobs.len()));
        }
        if let Some(again) = again.filter(|again| again.disk.open == 0 && is_kept(again)) {
            self.line("while hot", format_args!("{}, and no thread", LoopCalls(again)));
        }
    }

    /// The head that the upstream gets, as its connection would send it.
    fn outgoing(&mut self, request: &OutgoingRequest) {
        let mut head = Vec::new();
        Client::new().send_head(request, &mut head);
        self.text.push_str("\nthe upstream gets\n");
        for line in response::lines(&head) {
            writeln!(self.text, "  {}", printable(line)).expect("a String takes everything");
        }
    }

    fn heads(&mut self, sent: &[u8]) {
        for head in response::heads(sent) {
            self.text.push('\n');
            for line in response::lines(head) {
                self.text.push_str(&printable(line));
                self.text.push('\n');
            }
        }
    }
}

/// Whether the connection got as far as an answer that it need not wait for.
fn is_kept(rehearsal: &Rehearsal) -> bool {
    matches!(rehearsal.end, End::Waits(WaitReason::Idle) | End::Closed(CloseReason::ByServer(_)) | End::Sends)
}

/// `section` is where the target is defined, if that is not RFC 9112.
fn target_text(target: &Target<'_>, section: Option<&str>) -> String {
    let (form, of_http1) = words::form(target.form);
    let section = section.unwrap_or(of_http1);
    let decoded = percent_decode(target.path).filter(|decoded| **decoded != *target.path);
    let path = (!target.path.is_empty()).then(|| format!(", path {}", printable(target.path)));
    let means = decoded.map(|decoded| format!(", which is {}", printable(&decoded)));
    let query = target.query.map(|query| format!(", query {}", printable(query)));
    let authority = target.authority.map(|authority| format!(", authority {}", printable(authority)));
    let parts: String = [authority, path, means, query].into_iter().flatten().collect();
    format!("{form}{parts} ({section})")
}

fn end_text_of_stream(end: End, answer: &Answer) -> String {
    match end {
        End::Waits(WaitReason::Idle) if answer.has_ended => {
            "closed; the connection is kept for more (RFC 9113 §5.1)".into()
        }
        End::Waits(WaitReason::Window) => {
            format!(
                "its window is shut after {} bytes, until the client opens it (RFC 9113 §6.9)",
                answer.content_bytes
            )
        }
        end => end_text(end),
    }
}

fn end_text(end: End) -> String {
    match end {
        End::Waits(WaitReason::Idle) => "kept for the next request (RFC 9112 §9.3)".into(),
        End::Waits(WaitReason::Lingering) => {
            "ended by the server, which still reads for a while (RFC 9112 §9.6)".into()
        }
        End::Closed(CloseReason::ByServer(_)) => "ended by the server (RFC 9112 §9.6)".into(),
        End::Closed(reason) => reason.to_string(),
        End::Waits(WaitReason::SlowBody) => "it waits for the request's content".into(),
        End::Waits(WaitReason::Timer) => "goes on when the clock says so".into(),
        End::Waits(WaitReason::Conversation) => "a conversation, in which either side may speak".into(),
        End::Waits(reason) => format!("it waits: {reason}"),
        End::Sends => "goes on sending".into(),
    }
}

/// Calls that the loop's thread makes: for the socket, and to see whether a file has changed and its bytes are in memory.
struct LoopCalls<'a>(&'a Rehearsal);

impl Display for LoopCalls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closes = u64::from(matches!(self.0.end, End::Closed(_)));
        let others = [("statx", self.0.disk.look), ("preadv2", self.0.disk.read_resident), ("close", closes)];
        list(f, self.0.paper.calls.iter().copied().chain(others))
    }
}

/// Calls that a job thread makes.
struct JobCalls(Calls);

impl Display for JobCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Calls { root, open, stat, read, .. } = self.0;
        list(f, [("openat", root), ("openat2", open), ("fstat", stat), ("pread64", read)])
    }
}

fn list(f: &mut fmt::Formatter<'_>, calls: impl IntoIterator<Item = (&'static str, u64)>) -> fmt::Result {
    let made = calls.into_iter().filter(|(_, count)| *count > 0);
    for (index, (call, count)) in made.enumerate() {
        write!(f, "{}{call} ×{count}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}
