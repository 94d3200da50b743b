//! Drives an HTTP/2 session over given pieces of input, and writes down what it says and what it sends, in order.

pub mod script;
mod sent;

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use crate::corpus_text;
use script::{Action, Item};
use sent::Client;
use tidemill::base::limits::Limits;
use tidemill::base::moment::Moment;
use tidemill::base::ring::RingBuffer;
use tidemill::http::body::{Body, Bytes};
use tidemill::http::date::DateCache;
use tidemill::http::fields::{FieldSet, Fields};
use tidemill::http::message::{Announced, RequestHead, Response};
use tidemill::protocol::h2::error::ErrorCode;
use tidemill::protocol::h2::session::{Added, Scratch, Session, Step};
use tidemill::protocol::h2::streams::Output;

/// What is said about `items`, whose bytes arrive in pieces of at most `piece` bytes; the first piece has `first` bytes.
pub fn events(items: &[Item], limits: &Limits, first: usize, piece: usize, outbox_bytes: usize) -> Vec<String> {
    let mut driver = Driver::new(limits, outbox_bytes);
    let mut until_cut = first;
    for item in items {
        match item {
            Item::Bytes(bytes) => {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(rest.len().min(until_cut));
                    driver.feed(now);
                    until_cut = if now.len() == until_cut { piece } else { until_cut - now.len() };
                    rest = later;
                }
            }
            Item::Act(action) => driver.act(action),
        }
    }
    driver.settle();
    driver.events
}

struct Driver<'a> {
    session: Session,
    inbox: RingBuffer,
    outbox: RingBuffer,
    scratch: Scratch,
    limits: &'a Limits,
    now: Duration,
    date: DateCache,
    client: Client,
    events: Vec<String>,
    /// Content that was not written down yet: its stream and bytes.
    content: Option<(u32, Vec<u8>)>,
    /// What responses have still to send.
    to_send: BTreeMap<u32, Vec<u8>>,
    /// Whether streams consume what they get.
    is_consumed: bool,
    has_failed: bool,
}

impl<'a> Driver<'a> {
    fn new(limits: &'a Limits, outbox_bytes: usize) -> Driver<'a> {
        let mut driver = Driver {
            session: Session::new(limits),
            inbox: RingBuffer::new(limits.inbox_bytes),
            outbox: RingBuffer::new(outbox_bytes),
            scratch: Scratch::default(),
            limits,
            now: Duration::ZERO,
            date: DateCache::new(UNIX_EPOCH),
            client: Client::default(),
            events: Vec::new(),
            content: None,
            to_send: BTreeMap::new(),
            is_consumed: true,
            has_failed: false,
        };
        driver.session.begin(&mut driver.outbox, limits);
        driver.write_down_sent();
        driver
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !self.has_failed {
            bytes = &bytes[self.inbox.put(bytes)..];
            let needs_bytes = self.receive();
            if bytes.is_empty() && needs_bytes {
                return;
            }
        }
    }

    /// Receives one step; true if more bytes are needed for the next.
    fn receive(&mut self) -> bool {
        let now = Moment::from_millis(self.now.as_millis() as u64);
        let step = self.session.receive(&mut self.inbox, &mut self.outbox, &mut self.scratch, self.limits, now);
        let event = match step {
            Ok(Step::NeedBytes) => None,
            Ok(Step::Content { stream, bytes }) => {
                let content = self.inbox.contiguous(bytes).to_vec();
                self.session.taken(&mut self.inbox, bytes);
                self.on_content(stream, &content);
                return false;
            }
            Ok(Step::Head { stream, head, is_tunnel, is_delayed }) => {
                let marks = [(is_tunnel, " tunnel"), (is_delayed, " delayed")];
                let marks: String = marks.iter().filter(|(is_set, _)| *is_set).map(|(_, mark)| *mark).collect();
                Some(format!("head {stream} {}{marks}", rendered_head(&head)))
            }
            Ok(Step::Refused { stream, error, .. }) => {
                Some(format!("refused {stream} {} {error}", error.status.code()))
            }
            Ok(Step::Rejected { stream, fault, .. }) if fault.code == ErrorCode::REFUSED_STREAM => {
                Some(format!("rejected {stream} {fault}"))
            }
            Ok(Step::Rejected { stream, fault, .. }) => Some(format!("malformed {stream} {fault}")),
            Ok(Step::End { stream, trailers }) if trailers.is_empty() => Some(format!("end {stream}")),
            Ok(Step::End { stream, trailers }) => Some(format!("end {stream} {}", rendered_fields(trailers))),
            Ok(Step::Reset { stream, code, fault: None }) => Some(format!("reset {stream} {code}")),
            Ok(Step::Reset { stream, fault: Some(fault), .. }) => Some(format!("reset {stream} {fault}")),
            Ok(Step::GoAway(code)) => Some(format!("goaway {code}")),
            Ok(Step::Paused) => Some("paused".to_string()),
            Err(fault) => {
                self.has_failed = true;
                Some(format!("error {fault}"))
            }
        };
        // Frames that were sent before this step was found answer what stands before it in the input.
        self.settle_content(event.is_some() || !self.outbox.is_empty());
        let needs_bytes = event.is_none();
        self.events.extend(event);
        needs_bytes || self.has_failed
    }

    fn on_content(&mut self, stream: u32, bytes: &[u8]) {
        if self.content.as_ref().is_some_and(|(other, _)| *other != stream) || !self.outbox.is_empty() {
            self.settle_content(true);
        }
        self.content.get_or_insert((stream, Vec::new())).1.extend_from_slice(bytes);
    }

    /// Writes down the content that has come so far, and consumes it: at places that do not depend on how input is cut.
    fn settle_content(&mut self, is_over: bool) {
        if !is_over {
            return;
        }
        if let Some((stream, content)) = self.content.take() {
            self.events.push(format!("content {stream} \"{}\"", corpus_text::escaped(&content)));
            self.write_down_sent();
            if self.is_consumed {
                self.session.consumed(stream, content.len(), &mut self.outbox, self.limits);
            }
        }
        self.write_down_sent();
    }

    fn act(&mut self, action: &Action) {
        if self.has_failed {
            return;
        }
        self.settle_content(true);
        match action {
            Action::Respond { stream, status, content } => {
                let mut response = Response::new(*status);
                response.body = Body::Bytes(Bytes::Owned(content.clone()));
                self.respond(*stream, &response, content);
            }
            Action::Stream { stream, status, content } => self.respond_unknown(*stream, *status, content),
            Action::Finish(stream, trailers) => {
                self.pump();
                let end = self.session.finish(*stream, trailers, &mut self.outbox, &mut self.scratch);
                self.events.extend(end.err().map(|short| format!("short {stream} {}", short.missing)));
            }
            Action::Interim(stream, status) => {
                let (out, scratch) = (&mut self.outbox, &mut self.scratch);
                self.session.interim(*stream, *status, &FieldSet::EMPTY, out, scratch);
            }
            Action::Reset(stream, code) => self.session.reset(*stream, *code, &mut self.outbox),
            Action::Wait(ms) => self.now += Duration::from_millis(*ms),
            Action::Consume(is_consumed) => self.is_consumed = *is_consumed,
            Action::Consumed(stream, bytes) => {
                self.session.consumed(*stream, *bytes, &mut self.outbox, self.limits);
            }
            Action::Announce => self.session.announce_shutdown(&mut self.outbox),
            Action::ShutDown => {
                let now = Moment::from_millis(self.now.as_millis() as u64);
                self.session.shut_down(&mut self.outbox, ErrorCode::NO_ERROR, "bye", now);
            }
        }
        self.settle();
    }

    /// Whether the stream lives and has not been answered.
    fn is_open(&self, stream: u32) -> bool {
        self.session.streams().any(|live| live.id == stream && live.output == Output::Idle)
    }

    fn respond(&mut self, stream: u32, response: &Response, content: &[u8]) {
        if !self.is_open(stream) {
            return;
        }
        let (out, scratch) = (&mut self.outbox, &mut self.scratch);
        let length = Some(content.len() as u64);
        if self.session.send_head(
            stream,
            response,
            length,
            Added { date: &self.date, field: None, told: &[] },
            out,
            scratch,
        ) {
            self.to_send.insert(stream, content.to_vec());
            self.session.has_content(stream, true);
        }
    }

    fn respond_unknown(&mut self, stream: u32, status: tidemill::http::status::Status, content: &[u8]) {
        if !self.is_open(stream) {
            return;
        }
        let response = Response::new(status);
        let (out, scratch) = (&mut self.outbox, &mut self.scratch);
        if self.session.send_head(
            stream,
            &response,
            None,
            Added { date: &self.date, field: None, told: &[] },
            out,
            scratch,
        ) {
            self.to_send.insert(stream, content.to_vec());
            self.session.has_content(stream, true);
        }
    }

    /// Sends what can be sent, in turns, and writes down what was sent.
    fn settle(&mut self) {
        self.settle_content(true);
        self.pump();
        self.session.put_control(&mut self.outbox);
        self.write_down_sent();
    }

    fn pump(&mut self) {
        while let Some(turn) = self.session.next_turn() {
            let Some(left) = self.to_send.get_mut(&turn.stream).filter(|left| !left.is_empty()) else {
                self.session.has_content(turn.stream, false);
                continue;
            };
            let Some(mut room) = self.session.room(turn.stream, &mut self.outbox) else { break };
            let n = room.put(left);
            left.drain(..n);
            self.session.seal(turn.stream, &mut self.outbox, n);
            self.write_down_sent();
        }
    }

    fn write_down_sent(&mut self) {
        let bytes = self.outbox.readable().concat();
        self.outbox.clear();
        self.events.extend(self.client.read(&bytes).into_iter().map(|frame| format!("> {frame}")));
    }
}

fn rendered_head(head: &RequestHead<'_>) -> String {
    let target = head.target;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let authority = target.authority.map(text).unwrap_or_default();
    let announced = match head.announced {
        Announced::Nothing => String::new(),
        Announced::Length(length) => format!(" length {length}"),
        Announced::Unknown => " open".to_string(),
    };
    let raw = text(target.raw);
    format!("{} {authority} {raw} {}{announced}", head.method, rendered_fields(head.fields))
}

fn rendered_fields(fields: Fields<'_>) -> String {
    let line = |(name, value)| format!("{}: {}", corpus_text::escaped(name), corpus_text::escaped(value));
    format!("[{}]", fields.iter().map(line).collect::<Vec<_>>().join(" | "))
}
