//! One connection's HTTP/1 as a value. Receiving and sending have a state each; `cycle` leads both to the next request.

use super::decode::{Decoder, Found};
use super::encode::{self, ConnectionLines};
use super::framing::{is_framing, response_framing};
use super::head::{self, Terms};
use super::output::Output;
use super::scan::{HeadScan, RequestLine};
use super::spans::{Scratch, Spans};
use super::{BARE_CR, Receiving, Sending, bad_request};
use crate::base::limits::Limits;
use crate::base::ring::{RingBuffer, Room};
use crate::http::date::DateCache;
use crate::http::fields::{FieldSet, Fields};
use crate::http::message::{Announced, RequestHead, Response, Version};
use crate::http::method::Method;
use crate::http::status::Status;
use crate::protocol::{ProtocolError, ShortContent};

/// Empty lines that are ignored before a request line (RFC 9112 §2.2): some clients send one behind the content.
const EMPTY_LINES_MAX: u8 = 4;

/// What is at the front of the inbox.
#[derive(Debug)]
#[must_use]
pub enum Step<'a> {
    /// The head of a request. Its bytes stay in the inbox until [`Server::release`].
    Head(RequestHead<'a>),
    /// So many bytes of content, at least one. They stay in the inbox until [`Server::taken`].
    Content(usize),
    /// The content has ended, with these trailers. Also follows a head without content. Their bytes stay in the inbox
    /// until [`Server::release`].
    End(Fields<'a>),
    /// Nothing more before more bytes arrive.
    NeedBytes,
    /// Nothing more is received until [`Server::cycle`], or ever, if the connection does not persist.
    Paused,
}

/// Server side of one HTTP/1 connection.
///
/// Receiving: [`receive`](Server::receive), [`release`](Server::release), [`taken`](Server::taken),
/// [`on_eof`](Server::on_eof). Sending: [`send_continue`](Server::send_continue), [`interim`](Server::interim),
/// [`send_head`](Server::send_head), [`put_all`](Server::put_all), or [`room`](Server::room), [`seal`](Server::seal),
/// [`pass_by`](Server::pass_by) and [`finish`](Server::finish). Both: [`cycle`](Server::cycle).
#[derive(Debug)]
pub struct Server {
    intake: Intake,
    output: Output,
    terms: Terms,
    /// Bytes of the head or trailers at the front of the inbox that were returned and not released.
    held: u32,
}

/// The parts of a request line that is well-formed. Its target may nevertheless be invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedLine<'a> {
    /// The method.
    pub method: Method,
    /// The target as sent.
    pub target: &'a [u8],
    /// The version to treat the request as.
    pub version: Version,
}

/// What is expected at the front of the inbox.
#[derive(Debug, Clone, Copy)]
enum Intake {
    /// The first byte of a request, behind so many empty lines.
    Idle { empty_lines: u8 },
    /// The second half of an empty line, behind so many others.
    HalfEmptyLine { empty_lines: u8 },
    /// The rest of a head.
    Head(HeadScan),
    /// Content, or its framing.
    Content(Decoder),
    /// Nothing: the request is complete, but [`Step::End`] has not been returned.
    Ended,
    /// Nothing: the request is complete. Bytes that follow are not read before `cycle`.
    Done,
    /// Nothing: the input was refused. If the request line was complete before that, this is it.
    Refused(RequestLine),
}

impl Server {
    /// A connection that has just been opened.
    pub fn new() -> Server {
        Server { intake: Intake::Idle { empty_lines: 0 }, output: Output::Idle, terms: Terms::default(), held: 0 }
    }

    /// Reads the front of the inbox and returns what it is. What an earlier call returned is released first. Inbox and
    /// limits must stay the same for the whole of a request.
    ///
    /// After an error the connection does not persist and nothing more is received. The caller sends the response.
    pub fn receive<'a>(
        &mut self,
        inbox: &'a mut RingBuffer,
        scratch: &'a mut Scratch,
        limits: &Limits,
    ) -> Result<Step<'a>, ProtocolError> {
        self.release(inbox);
        let spans = &mut scratch.spans;
        let step = match self.intake {
            Intake::Idle { .. } | Intake::HalfEmptyLine { .. } | Intake::Head(_) => {
                self.receive_head(inbox, spans, limits)
            }
            Intake::Content(_) => self.receive_content(inbox, spans, limits),
            Intake::Ended => {
                self.intake = Intake::Done;
                Ok(Step::End(Fields::default()))
            }
            Intake::Done | Intake::Refused(_) => Ok(Step::Paused),
        };
        if step.is_err() {
            self.refuse();
        }
        step
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

    /// Switches to another protocol behind the head that was just received (RFC 9110 §7.8): all bytes are content until
    /// the connection ends. Only for a request without content, and only if the response is 101.
    pub fn upgrade(&mut self) {
        let has_ended = matches!(self.intake, Intake::Ended | Intake::Done);
        debug_assert!(has_ended, "a request with content cannot be upgraded");
        self.intake = Intake::Content(Decoder::UntilClose);
    }

    /// Leaves out [`Step::End`] for a request without content, if nobody has to be told that it has ended.
    pub fn skip_end(&mut self) {
        if let Intake::Ended = self.intake {
            self.intake = Intake::Done;
        }
    }

    /// The peer has ended its direction, and `receive` has read all of the inbox. In a tunnel this is the end of the
    /// content: true, and `receive` will return it. Inside a head or other content it is an error (RFC 9112 §8).
    /// Between requests it has no effect.
    pub fn on_eof(&mut self) -> Result<bool, ProtocolError> {
        let cut = match self.intake {
            Intake::HalfEmptyLine { .. } | Intake::Head(_) => {
                bad_request("the connection ended inside a request head", "RFC 9112 §8")
            }
            Intake::Content(Decoder::UntilClose) => {
                self.intake = Intake::Ended;
                return Ok(true);
            }
            Intake::Content(_) => bad_request("the connection ended inside a request's content", "RFC 9112 §8"),
            Intake::Idle { .. } | Intake::Ended | Intake::Done | Intake::Refused(_) => return Ok(false),
        };
        self.refuse();
        Err(cut)
    }

    /// Whether the client waits for `100 Continue` before it sends the content (RFC 9110 §10.1.1). False once
    /// the interim response was sent, a byte of the content has arrived, or the final response has begun.
    pub fn expects_continue(&self) -> bool {
        self.terms.expects_continue
    }

    /// Writes the interim response `100 Continue` if the client waits for it; false if there was no room.
    pub fn send_continue(&mut self, outbox: &mut RingBuffer) -> bool {
        if self.terms.expects_continue && !self.interim(Status::CONTINUE, &FieldSet::EMPTY, outbox) {
            return false;
        }
        self.terms.expects_continue = false;
        true
    }

    /// Writes an interim response (RFC 9110 §15.2); false if there was no room for all of it. Only between a request's
    /// head and the final response. An HTTP/1.0 client does not know interim responses: nothing is written for it.
    pub fn interim(&mut self, status: Status, fields: &FieldSet, outbox: &mut RingBuffer) -> bool {
        debug_assert!(
            status.is_interim() && status != Status::SWITCHING_PROTOCOLS,
            "{status} is not an interim response"
        );
        debug_assert!(matches!(self.output, Output::Idle), "an interim response comes before the final one");
        debug_assert!(!fields.iter().any(|(name, _)| is_framing(name)), "an interim response has no content");
        let is_understood = self.terms.version > Version::Http10;
        !is_understood || encode::interim(outbox, status, fields)
    }

    /// Encodes a final response's head to the end of `head` and decides the content's framing and whether the
    /// connection persists. `length` is that of the response's content, if known. `last` ends the connection after
    /// this response. If it persists, `idle_secs` tells the client how long it may keep it idle, in seconds.
    pub fn send_head(
        &mut self,
        response: &Response,
        length: Option<u64>,
        last: bool,
        idle_secs: Option<u32>,
        date: &DateCache,
        head: &mut Vec<u8>,
    ) {
        debug_assert!(matches!(self.output, Output::Idle), "one final response to a request");
        let is_upgrade = matches!(self.intake, Intake::Content(Decoder::UntilClose));
        debug_assert!(!response.status.is_interim() || is_upgrade, "an interim response is not a response");
        let framing = response_framing(response.status, self.terms.to_head, self.terms.version, length);
        self.terms.persists &= !last && !framing.ends_with_connection;
        self.terms.expects_continue = false;
        self.output = Output::behind_head(framing.wire);
        let Terms { persists, version, .. } = self.terms;
        let connection = ConnectionLines::new(response.status, persists, version, idle_secs);
        encode::head(head, response, framing.field, connection, date);
    }

    /// Room for content, behind space for its framing, and no larger than what is left of the announced length; `None`
    /// while the outbox is too full for a useful amount. The outbox must not change until [`seal`](Server::seal).
    pub fn room<'a>(&self, outbox: &'a mut RingBuffer) -> Option<Room<'a>> {
        self.output.room(outbox)
    }

    /// Frames and adds the first `written` bytes that were put into [`room`](Server::room).
    pub fn seal(&mut self, outbox: &mut RingBuffer, written: usize) {
        self.output.seal(outbox, written);
    }

    /// Adds all the content at once, if its length is the announced one and there is room for it. The response is then
    /// complete.
    pub fn put_all(&mut self, outbox: &mut RingBuffer, content: &[u8]) -> bool {
        self.output.put_all(outbox, content)
    }

    /// Counts `n` bytes of content with a length that the caller sends past the outbox.
    pub fn pass_by(&mut self, n: u64) {
        self.output.pass_by(n);
    }

    /// Whether all the content that was announced has been written. Only the end is missing.
    pub fn has_all_content(&self) -> bool {
        self.output.has_all_content()
    }

    /// Ends the content; false if there was no room for the last chunk. If fewer bytes than announced were written, it
    /// is an error, and the connection must be cut.
    ///
    /// The trailers go into the last chunk if the content is chunked, and nowhere otherwise (RFC 9112 §7.1.2): a client
    /// may drop them, and so may we. Fields that trailers must not have are left out (RFC 9110 §6.5.1).
    pub fn finish(&mut self, outbox: &mut RingBuffer, trailers: Option<&FieldSet>) -> Result<bool, ShortContent> {
        let finished = self.output.finish(outbox, trailers);
        self.terms.persists &= finished.is_ok();
        finished
    }

    /// When request and response are both complete and the connection persists: makes ready for the next request.
    pub fn cycle(&mut self) -> bool {
        let ready = self.receiving() == Receiving::Done && self.sending() == Sending::Done && self.terms.persists;
        if ready {
            // Bytes that are still held are in the inbox. The next `receive` releases them.
            *self = Server { held: self.held, ..Server::new() };
        }
        ready
    }

    /// The state of receiving.
    pub fn receiving(&self) -> Receiving {
        match self.intake {
            Intake::Idle { .. } => Receiving::Idle,
            // Half an empty line has a deadline like half a head.
            Intake::HalfEmptyLine { .. } | Intake::Head(_) => Receiving::Head,
            Intake::Content(_) => Receiving::Content,
            Intake::Ended | Intake::Done | Intake::Refused(_) => Receiving::Done,
        }
    }

    /// Whether all of the request has been returned: `receive` would return only [`Step::Paused`].
    pub fn has_received_all(&self) -> bool {
        matches!(self.intake, Intake::Done | Intake::Refused(_))
    }

    /// The state of sending. `Done` right after `send_head` when the response has no content on the wire (HEAD,
    /// 204, 304, length 0).
    pub fn sending(&self) -> Sending {
        self.output.sending()
    }

    /// The request line at the front of the inbox, as soon as all of it has arrived: of a head that is not complete, of
    /// one that was refused for a later line or has come too late, and of one that was returned and not released. The
    /// inbox must be as `receive` left it.
    pub fn request_line<'a>(&self, inbox: &'a mut RingBuffer) -> Option<ReceivedLine<'a>> {
        let line = match &self.intake {
            Intake::Head(scan) => scan.request_line(),
            Intake::Refused(line) => *line,
            // What is held before the request is complete is its head and not its trailers.
            Intake::Content(_) | Intake::Ended if self.held > 0 => {
                RequestLine::of(inbox.contiguous(self.held as usize))?
            }
            _ => return None,
        };
        if !line.is_complete() || line.bytes() > inbox.len() {
            return None;
        }
        let bytes = inbox.contiguous(line.bytes());
        let method = Method::from_token(line.method(bytes))?;
        Some(ReceivedLine { method, target: line.target(bytes), version: line.version() })
    }

    /// How much of the request's content is still to come.
    pub fn content_to_come(&self) -> Announced {
        match &self.intake {
            Intake::Content(decoder) => decoder.left(),
            _ => Announced::Nothing,
        }
    }

    /// How much of the response's content is still to be added, if its length was announced.
    pub fn response_left(&self) -> Option<u64> {
        self.output.left()
    }

    /// The version of the present request.
    pub fn version(&self) -> Version {
        self.terms.version
    }

    /// Whether the connection can serve another request after this one.
    pub fn persists(&self) -> bool {
        self.terms.persists
    }

    fn receive_head<'a>(
        &mut self,
        inbox: &'a mut RingBuffer,
        spans: &'a mut Spans,
        limits: &Limits,
    ) -> Result<Step<'a>, ProtocolError> {
        if let Intake::Idle { empty_lines } | Intake::HalfEmptyLine { empty_lines } = self.intake {
            if !self.skip_empty_lines(empty_lines, inbox)? {
                return Ok(Step::NeedBytes);
            }
            self.intake = Intake::Head(HeadScan::default());
        }
        let Intake::Head(scan) = &mut self.intake else { return Ok(Step::Paused) };
        let most = limits.head_bytes_max.min(inbox.capacity());
        let available = inbox.len().min(most);
        let bytes = inbox.contiguous(available);
        let end = scan.advance(bytes, available == most, spans, limits);
        let line = scan.request_line();
        // This must be known even if the head is refused: no response to HEAD has content (RFC 9110 §9.3.2).
        self.terms.to_head = line.is_head(bytes);
        let Some(len) = end? else { return Ok(Step::NeedBytes) };
        let (head, terms) = head::parse(line, &bytes[..len], spans)?;
        self.begin_content(head.announced, terms, len);
        Ok(Step::Head(head))
    }

    fn receive_content<'a>(
        &mut self,
        inbox: &'a mut RingBuffer,
        spans: &'a mut Spans,
        limits: &Limits,
    ) -> Result<Step<'a>, ProtocolError> {
        let Intake::Content(decoder) = &mut self.intake else { return Ok(Step::Paused) };
        // A client that sends content does not wait for 100 Continue any more.
        self.terms.expects_continue &= inbox.is_empty();
        match decoder.advance(inbox, spans, limits)? {
            Found::Content(n) => Ok(Step::Content(n)),
            Found::NeedBytes => Ok(Step::NeedBytes),
            Found::End(len) => {
                self.intake = Intake::Done;
                self.held = len as u32;
                Ok(Step::End(Fields::new(inbox.contiguous(len), if len == 0 { &[] } else { spans })))
            }
        }
    }

    /// Consumes empty lines; true if other bytes follow.
    fn skip_empty_lines(&mut self, mut empty_lines: u8, inbox: &mut RingBuffer) -> Result<bool, ProtocolError> {
        while inbox.get(0) == Some(b'\r') {
            match inbox.get(1) {
                Some(b'\n') if empty_lines < EMPTY_LINES_MAX => inbox.consume(2),
                Some(b'\n') => return Err(bad_request("too many empty lines before a request", "RFC 9112 §2.2")),
                Some(_) => return Err(BARE_CR),
                None => {
                    self.intake = Intake::HalfEmptyLine { empty_lines };
                    return Ok(false);
                }
            }
            empty_lines += 1;
        }
        self.intake = Intake::Idle { empty_lines };
        Ok(!inbox.is_empty())
    }

    /// A head of `len` bytes is complete.
    fn begin_content(&mut self, announced: Announced, terms: Terms, len: usize) {
        self.intake = Decoder::of_request(announced).map_or(Intake::Ended, Intake::Content);
        self.terms = terms;
        self.held = len as u32;
    }

    /// Nothing more is received, and the connection ends with the answer.
    #[cold]
    fn refuse(&mut self) {
        let line = if let Intake::Head(scan) = &self.intake { scan.request_line() } else { RequestLine::default() };
        self.intake = Intake::Refused(line);
        self.terms.persists = false;
        self.terms.expects_continue = false;
    }
}

impl Default for Server {
    fn default() -> Server {
        Server::new()
    }
}

#[cfg(test)]
mod tests;
