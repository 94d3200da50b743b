//! The client side of one connection's HTTP/1 as a value. One request is sent at a time.

use std::fmt;

use super::decode::{Decoder, Found};
use super::framing::{ControlFields, Wire, keep_alive_secs};
use super::output::Output;
use super::spans::{Scratch, Spans};
use super::status_line::{ResponseScan, version_and_status};
use super::{Receiving, Sending, encode};
use crate::base::limits::Limits;
use crate::base::ring::{RingBuffer, Room};
use crate::http::fields::{FieldSet, Fields};
use crate::http::message::Announced;
use crate::http::method::Method;
use crate::http::status::Status;
use crate::http::upstream::{OutgoingRequest, ResponseContent, ResponseHead};
use crate::protocol::{ProtocolError, ShortContent};

/// What is at the front of the inbox.
#[derive(Debug)]
#[must_use]
pub enum Received<'a> {
    /// The head of an interim response (RFC 9110 §15.2); a final one follows. Its bytes stay in the inbox until
    /// [`Client::release`]. How many of them are borne is the caller's decision.
    Interim(ResponseHead<'a>),
    /// The head of the final response. Its bytes stay in the inbox until [`Client::release`].
    Head(ResponseHead<'a>),
    /// So many bytes of content, at least one. They stay in the inbox until [`Client::taken`].
    Content(usize),
    /// The content has ended, with these trailers. Also follows a head without content. Their bytes stay in the inbox
    /// until [`Client::release`].
    End(Fields<'a>),
    /// Nothing more before more bytes arrive.
    NeedBytes,
    /// Nothing more is received until [`Client::cycle`], or ever, if the connection does not persist.
    Paused,
}

/// What an upstream sends breaks the protocol's rules or exceeds a limit. The connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseError {
    /// What was wrong, for the log and for the answer's content.
    pub reason: &'static str,
    /// The rule that was broken, such as `RFC 9112 §4`.
    pub section: &'static str,
}

/// Client side of one HTTP/1 connection.
///
/// Sending: [`send_head`](Client::send_head), [`room`](Client::room), [`seal`](Client::seal) and
/// [`finish`](Client::finish). Receiving: [`receive`](Client::receive), [`release`](Client::release),
/// [`taken`](Client::taken), [`on_eof`](Client::on_eof). Both: [`cycle`](Client::cycle).
///
/// Bytes that no request has asked for are never taken for a response. What stands behind a complete response makes
/// [`persists`](Client::persists) false. On an idle connection, `receive` refuses what arrives. A caller that reuses a
/// connection must therefore read it until there is nothing, and call `receive`, before the next `send_head`.
#[derive(Debug)]
pub struct Client {
    intake: Intake,
    output: Output,
    /// The request was HEAD: its response has no content, whatever the head says.
    to_head: bool,
    /// The request asked for another protocol.
    asks_for_upgrade: bool,
    /// The connection persists, as far as the responses, and errors, say.
    persists: bool,
    keep_alive_secs: Option<u32>,
    /// Bytes of the head or trailers at the front of the inbox that were returned and not released.
    held: u32,
}

/// What is expected at the front of the inbox.
#[derive(Debug, Clone, Copy)]
enum Intake {
    /// Nothing: no request has been sent.
    Idle,
    /// A head, or the rest of it.
    Head(ResponseScan),
    /// Content, or its framing.
    Content(Decoder),
    /// Nothing: the response is complete, but [`Received::End`] has not been returned.
    Ended,
    /// Nothing: the response is complete, or was refused.
    Done,
}

impl Client {
    /// A connection that has just been opened.
    pub fn new() -> Client {
        Client {
            intake: Intake::Idle,
            output: Output::Idle,
            to_head: false,
            asks_for_upgrade: false,
            persists: true,
            keep_alive_secs: None,
            held: 0,
        }
    }

    /// Encodes a request's head to the end of `head`. Only on an idle connection; the method is not CONNECT.
    pub fn send_head(&mut self, request: &OutgoingRequest, head: &mut Vec<u8>) {
        debug_assert!(matches!(self.intake, Intake::Idle), "one request at a time");
        debug_assert!(request.method != Method::Connect, "CONNECT is not sent");
        debug_assert!(request.lines.is_empty() || request.lines.ends_with(encode::CRLF), "the lines are whole");
        self.intake = Intake::Head(ResponseScan::new());
        self.output = Output::behind_head(match request.content {
            Announced::Nothing | Announced::Length(0) => Wire::Nothing,
            Announced::Length(length) => Wire::Length(length),
            Announced::Unknown => Wire::Chunked,
        });
        self.to_head = request.method == Method::Head;
        self.asks_for_upgrade = request.upgrade.is_some();
        encode::request_head(head, request);
    }

    /// Room for content, behind space for its framing, and no larger than what is left of the announced length; `None`
    /// while the outbox is too full for a useful amount. The outbox must not change until [`seal`](Client::seal).
    pub fn room<'a>(&self, outbox: &'a mut RingBuffer) -> Option<Room<'a>> {
        self.output.room(outbox)
    }

    /// Frames and adds the first `written` bytes that were put into [`room`](Client::room).
    pub fn seal(&mut self, outbox: &mut RingBuffer, written: usize) {
        self.output.seal(outbox, written);
    }

    /// Whether all the content that was announced has been written. Only the end is missing.
    pub fn has_all_content(&self) -> bool {
        self.output.has_all_content()
    }

    /// Ends the content; false if there was no room for the last chunk. If fewer bytes than announced were written, it
    /// is an error, and the connection must be cut. Behind an upgrade it ends our direction, and the caller says so with
    /// a FIN when the outbox is empty.
    ///
    /// The trailers go into the last chunk if the content is chunked, and nowhere otherwise (RFC 9112 §7.1.2). Fields that
    /// trailers must not have are left out (RFC 9110 §6.5.1).
    pub fn finish(&mut self, outbox: &mut RingBuffer, trailers: Option<&FieldSet>) -> Result<bool, ShortContent> {
        let finished = self.output.finish(outbox, trailers);
        self.persists &= finished.is_ok();
        finished
    }

    /// The state of sending. `Done` right after `send_head` when the request has no content, and `Content` again when an
    /// upgrade is accepted.
    pub fn sending(&self) -> Sending {
        self.output.sending()
    }

    /// The state of receiving. `Idle` also between a request, or an interim response, and the first byte that answers.
    pub fn receiving(&self) -> Receiving {
        match &self.intake {
            Intake::Idle => Receiving::Idle,
            Intake::Head(scan) if scan.has_begun() => Receiving::Head,
            Intake::Head(_) => Receiving::Idle,
            Intake::Content(_) => Receiving::Content,
            Intake::Ended | Intake::Done => Receiving::Done,
        }
    }

    /// Reads the front of the inbox and returns what it is. What an earlier call returned is released first. Inbox and
    /// limits must stay the same for the whole of a response.
    ///
    /// # Errors
    /// What arrived is not a response to the request, or there was no request. The connection does not persist, and nothing
    /// more is received.
    pub fn receive<'a>(
        &mut self,
        inbox: &'a mut RingBuffer,
        scratch: &'a mut Scratch,
        limits: &Limits,
    ) -> Result<Received<'a>, ResponseError> {
        self.release(inbox);
        let spans = &mut scratch.spans;
        let received = match self.intake {
            Intake::Idle if inbox.is_empty() => Ok(Received::NeedBytes),
            Intake::Idle => Err(UNASKED),
            Intake::Head(_) => self.receive_head(inbox, spans, limits),
            Intake::Content(_) => self.receive_content(inbox, spans, limits),
            Intake::Ended => {
                self.end(inbox, 0);
                Ok(Received::End(Fields::default()))
            }
            Intake::Done => Ok(Received::Paused),
        };
        if received.is_err() {
            self.refuse();
        }
        received
    }

    /// Consumes the bytes of the head or trailers that `receive` just returned, and returns how many they were.
    pub fn release(&mut self, inbox: &mut RingBuffer) -> usize {
        let released = std::mem::take(&mut self.held) as usize;
        inbox.consume(released);
        released
    }

    /// Consumes the first `n` of the content bytes that `receive` just returned.
    pub fn taken(&mut self, inbox: &mut RingBuffer, n: usize) {
        inbox.consume(n);
        if let Intake::Content(decoder) = &mut self.intake {
            decoder.taken(n);
            if let Decoder::Length(0) = decoder {
                self.intake = Intake::Ended;
            }
        }
    }

    /// The upstream has ended its direction, and `receive` has read all of the inbox. Content up to the end of the
    /// connection, and that of a tunnel, has ended: true, and `receive` will return it. On an idle connection, and behind a
    /// response, it only ends the connection. A connection that was reset is not at its end: such content is then cut off,
    /// and this must not be called.
    ///
    /// # Errors
    /// The response is cut off, or there is none: `receiving` was [`Receiving::Idle`] (RFC 9112 §8, §9.3.1).
    pub fn on_eof(&mut self) -> Result<bool, ResponseError> {
        self.persists = false;
        let (reason, section) = match &self.intake {
            Intake::Head(scan) if scan.has_begun() => ("the connection ended inside a response's head", "RFC 9112 §8"),
            Intake::Head(_) => ("the connection ended without a response", "RFC 9112 §9.3.1"),
            Intake::Content(Decoder::UntilClose) => {
                self.intake = Intake::Ended;
                return Ok(true);
            }
            Intake::Content(_) => ("the connection ended inside a response's content", "RFC 9112 §8"),
            Intake::Idle | Intake::Ended | Intake::Done => return Ok(false),
        };
        self.refuse();
        Err(ResponseError { reason, section })
    }

    /// Whether the connection can carry another request after this one. It cannot while the response is complete and the
    /// request is not (RFC 9112 §9.3).
    pub fn persists(&self) -> bool {
        let is_early = self.receiving() == Receiving::Done && self.sending() != Sending::Done;
        self.persists && !is_early
    }

    /// For how many seconds the upstream keeps the connection when it is idle, if a final response has said so:
    /// `Keep-Alive: timeout=` (RFC 9112 Appendix C.2.2). The last word counts.
    pub fn keep_alive_secs(&self) -> Option<u32> {
        self.keep_alive_secs
    }

    /// When request and response are both complete, [`Received::End`] was returned and the connection persists: makes ready
    /// for the next request.
    pub fn cycle(&mut self) -> bool {
        let ready = matches!(self.intake, Intake::Done) && self.sending() == Sending::Done && self.persists;
        if ready {
            // Bytes that are still held are in the inbox. The next `receive` releases them.
            *self = Client { held: self.held, keep_alive_secs: self.keep_alive_secs, ..Client::new() };
        }
        ready
    }

    fn receive_head<'a>(
        &mut self,
        inbox: &'a mut RingBuffer,
        spans: &'a mut Spans,
        limits: &Limits,
    ) -> Result<Received<'a>, ResponseError> {
        let Intake::Head(scan) = &mut self.intake else { return Ok(Received::Paused) };
        let most = limits.head_bytes_max.min(inbox.capacity());
        let available = inbox.len().min(most);
        let bytes = inbox.contiguous(available);
        let Some(len) = scan.advance(bytes, available == most, spans, limits)? else { return Ok(Received::NeedBytes) };
        let bytes = &bytes[..len];
        let (version, status) = version_and_status(bytes)?;
        let fields = Fields::new(bytes, spans);
        let control = ControlFields::of(fields);
        let content = control.response_content(status, self.to_head, version, fields)?;
        let head = ResponseHead { status, version, fields, content };
        self.held = len as u32;
        if status.is_interim() && control.announce_content(fields) {
            return Err(CONTENT_OF_INTERIM);
        }
        if status.is_interim() && status != Status::SWITCHING_PROTOCOLS {
            self.intake = Intake::Head(ResponseScan::new());
            return Ok(Received::Interim(head));
        }
        self.begin_content(head, &control)?;
        Ok(Received::Head(head))
    }

    /// The head of the final response is complete.
    fn begin_content(&mut self, head: ResponseHead<'_>, control: &ControlFields<'_>) -> Result<(), ResponseError> {
        let ResponseHead { status, version, fields, content } = head;
        if content == ResponseContent::Tunnel {
            self.begin_tunnel(fields)?;
        }
        let ends_with_connection = matches!(content, ResponseContent::UntilClose | ResponseContent::Tunnel);
        // A 204 ends with its head, whatever it announces (RFC 9112 §6.3). But what it announces may nevertheless arrive.
        let content_may_follow = status == Status::NO_CONTENT && control.announce_content(fields);
        self.persists &= !ends_with_connection && !content_may_follow && control.persistence(version);
        self.keep_alive_secs = keep_alive_secs(fields).or(self.keep_alive_secs);
        self.intake = Decoder::of_response(content).map_or(Intake::Ended, Intake::Content);
        Ok(())
    }

    /// The upstream switches to the protocol that was asked for (RFC 9110 §7.8).
    fn begin_tunnel(&mut self, fields: Fields<'_>) -> Result<(), ResponseError> {
        let is_right = self.asks_for_upgrade && fields.first("upgrade").is_some();
        // The upstream would read the rest of the request as the other protocol.
        let is_early = self.sending() != Sending::Done;
        match (is_right, is_early) {
            (false, _) => Err(UNASKED_UPGRADE),
            (true, true) => Err(EARLY_UPGRADE),
            (true, false) => {
                self.output = Output::Content(Wire::UntilClose);
                Ok(())
            }
        }
    }

    fn receive_content<'a>(
        &mut self,
        inbox: &'a mut RingBuffer,
        spans: &'a mut Spans,
        limits: &Limits,
    ) -> Result<Received<'a>, ResponseError> {
        let Intake::Content(decoder) = &mut self.intake else { return Ok(Received::Paused) };
        match decoder.advance(inbox, spans, limits)? {
            Found::Content(n) => Ok(Received::Content(n)),
            Found::NeedBytes => Ok(Received::NeedBytes),
            Found::End(len) => {
                self.end(inbox, len);
                Ok(Received::End(Fields::new(inbox.contiguous(len), if len == 0 { &[] } else { spans })))
            }
        }
    }

    /// The response is complete, with a trailer section of `len` bytes at the front of the inbox. Nothing may follow it.
    fn end(&mut self, inbox: &RingBuffer, len: usize) {
        self.intake = Intake::Done;
        self.held = len as u32;
        self.persists &= inbox.len() == len;
    }

    /// Nothing more is received.
    #[cold]
    fn refuse(&mut self) {
        self.intake = Intake::Done;
        self.persists = false;
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

impl From<ProtocolError> for ResponseError {
    fn from(error: ProtocolError) -> ResponseError {
        let section = match error.status {
            // That a client may refuse what is too long for it is said elsewhere.
            Status::REQUEST_HEADER_FIELDS_TOO_LARGE => "RFC 9110 §5.4",
            _ => error.section,
        };
        ResponseError { reason: error.reason, section }
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.section)
    }
}

impl std::error::Error for ResponseError {}

const UNASKED: ResponseError =
    ResponseError { reason: "the upstream sends something without a request", section: "RFC 9112 §9.2" };
const CONTENT_OF_INTERIM: ResponseError =
    ResponseError { reason: "an interim response with content", section: "RFC 9112 §6.1" };
const UNASKED_UPGRADE: ResponseError =
    ResponseError { reason: "101 without the upgrade that was asked for", section: "RFC 9110 §15.2.2" };
const EARLY_UPGRADE: ResponseError =
    ResponseError { reason: "101 before the request was complete", section: "RFC 9110 §7.8" };

#[cfg(test)]
mod tests;
