//! The page that is printed: a line for each step, and the head of the response.

use std::fmt::{self, Display, Write};

use super::rehearsal::{End, Rehearsal};
use super::response::{self, FinalResponse};
use super::witness::Watched;
use super::words;
use crate::base::disk::Calls;
use crate::http::message::{Announced, OwnedHead, RequestHead};
use crate::http::method::Method;
use crate::http::target::{Target, percent_decode};
use crate::observe::close_reason::CloseReason;
use crate::observe::wait_reason::WaitReason;
use crate::protocol::ProtocolError;
use crate::service::explanation::{Explanation, printable};

/// Width of the labels.
const LABEL: usize = 14;

/// What the protocol made of the head.
pub type Understood = Option<Result<OwnedHead, ProtocolError>>;

/// The whole page. `before` is what comes before the request can be sent. `again` is the same request while the answer is hot, if that makes a difference.
pub fn text(
    head: &[u8],
    understood: &Understood,
    before: &Explanation,
    watched: &Watched,
    first: &Rehearsal,
    again: Option<&Rehearsal>,
) -> String {
    let mut page = Page::default();
    page.request(head, understood);
    for step in before.steps.iter().chain(&watched.explanation.steps) {
        page.line(step.label, &step.text);
    }
    page.answer(understood, watched, first);
    page.calls(watched, first, again);
    page.heads(&first.paper.sent);
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

    fn request(&mut self, head: &[u8], understood: &Understood) {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        self.line("request", format_args!("{}, {} bytes of head", printable(line), head.len()));
        match understood {
            Some(Ok(request)) => self.understood(&request.as_head()),
            Some(Err(error)) => self.line("refused", error),
            None => self.line("refused", "the head is not complete"),
        }
    }

    fn understood(&mut self, request: &RequestHead<'_>) {
        self.line("target", target_text(&request.target));
        match request.announced {
            Announced::Nothing => {}
            Announced::Length(length) => self.line("content", format_args!("{length} bytes to come (RFC 9112 §6.2)")),
            Announced::Unknown => self.line("content", "to come in chunks (RFC 9112 §7.1)"),
        }
    }

    fn answer(&mut self, understood: &Understood, watched: &Watched, first: &Rehearsal) {
        if let Some(failure) = &watched.failure {
            self.line("failure", failure);
        }
        if !first.waited.is_zero() {
            self.line("waits", format_args!("{:?} for the clock before it answers", first.waited));
        }
        let Some(answer) = FinalResponse::of(&first.paper) else {
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

    fn calls(&mut self, watched: &Watched, first: &Rehearsal, again: Option<&Rehearsal>) {
        self.line("on the loop", LoopCalls(first));
        if first.end == End::Sends {
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
    matches!(rehearsal.end, End::Waits(WaitReason::Idle) | End::Closed(CloseReason::ByServer) | End::Sends)
}

fn target_text(target: &Target<'_>) -> String {
    let (form, section) = words::form(target.form);
    let decoded = percent_decode(target.path).filter(|decoded| **decoded != *target.path);
    let path = (!target.path.is_empty()).then(|| format!(", path {}", printable(target.path)));
    let means = decoded.map(|decoded| format!(", which is {}", printable(&decoded)));
    let query = target.query.map(|query| format!(", query {}", printable(query)));
    let authority = target.authority.map(|authority| format!(", authority {}", printable(authority)));
    let parts: String = [authority, path, means, query].into_iter().flatten().collect();
    format!("{form}{parts} ({section})")
}

fn end_text(end: End) -> String {
    match end {
        End::Waits(WaitReason::Idle) => "kept for the next request (RFC 9112 §9.3)".into(),
        End::Waits(WaitReason::Lingering) => {
            "ended by the server, which still reads for a while (RFC 9112 §9.6)".into()
        }
        End::Closed(CloseReason::ByServer) => "ended by the server (RFC 9112 §9.6)".into(),
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
