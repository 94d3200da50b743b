//! One connection's HTTP/1 as a value: `Receiving × Sending × persistent`, with one joint transition, `cycle`.

use super::decode::{Decoder, Piece};
use super::encode::{self, ChunkPrefix};
use super::framing::{Wire, response_framing};
use super::head::{self, Terms};
use super::scan::HeadScan;
use super::spans::Spans;
use super::{BARE_CR, bad_request};
use crate::base::limits::Limits;
use crate::base::ring::{RingBuffer, Room};
use crate::http::date::DateCache;
use crate::http::fields::Fields;
use crate::http::message::{Announced, RequestHead, Response};
use crate::protocol::ProtocolError;

/// Empty lines tolerated before a request line (RFC 9112 §2.2): some clients end content with one too many.
const EMPTY_LINES_MAX: u8 = 4;
/// Less room than this is not worth asking a source for content, if there will be more.
const USEFUL_ROOM: usize = 512;

/// Memory for the spans of the head that is being looked at; one for a whole event loop.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Spans of the field lines, reused from head to head.
    pub spans: Spans,
}

/// What the front of the inbox is.
#[derive(Debug)]
#[must_use]
pub enum Step<'a> {
    /// The head of a request. Its bytes stay in the inbox until [`Server::release`].
    Head(RequestHead<'a>),
    /// So many bytes (at least one) of content stand at the front of the inbox, until [`Server::taken`].
    Content(usize),
    /// The content has ended, with these trailers. Also follows a head without content. Their bytes stay in the inbox
    /// until [`Server::release`].
    End(Fields<'a>),
    /// Everything that can be said about the bytes in the inbox has been said.
    NeedBytes,
    /// Nothing more is received until [`Server::cycle`], or ever, if the connection does not persist.
    Paused,
}

/// Where receiving stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiving {
    /// Between two requests: no byte of the next head has been seen.
    Idle,
    /// A head has begun.
    Head,
    /// A head has been received, its content has not ended.
    Content,
    /// The request is complete, or nothing more will be accepted after an error.
    Done,
}

/// Where sending stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// No final response has begun.
    Idle,
    /// The head is out, content is to follow.
    Content,
    /// The response is complete.
    Done,
}

/// Server side of one HTTP/1 connection.
///
/// Receiving: [`receive`](Server::receive), [`release`](Server::release), [`taken`](Server::taken),
/// [`on_eof`](Server::on_eof). Sending: [`send_continue`](Server::send_continue), [`send_head`](Server::send_head),
/// [`put_all`](Server::put_all), or [`room`](Server::room), [`seal`](Server::seal), [`pass_by`](Server::pass_by) and
/// [`finish`](Server::finish). Both: [`cycle`](Server::cycle).
#[derive(Debug)]
pub struct Server {
    intake: Intake,
    output: Output,
    terms: Terms,
    /// Bytes of the head or trailers at the front of the inbox that were returned and not released.
    held: u32,
    empty_lines: u8,
}

/// What the front of the inbox is expected to be.
#[derive(Debug, Clone, Copy)]
enum Intake {
    /// The first byte of a request.
    Idle,
    /// The rest of a head.
    Head(HeadScan),
    /// Content, or its framing.
    Content(Decoder),
    /// Nothing: the request is complete and that has not been said yet.
    Ended,
    /// Nothing that would be looked at.
    Done,
}

/// What follows in the outbox.
#[derive(Debug, Clone, Copy)]
enum Output {
    /// A response.
    Idle,
    /// Content, framed like this.
    Content(Wire),
    /// Nothing.
    Done,
}

impl Server {
    /// A connection on which nothing has happened yet.
    pub fn new() -> Server {
        Server { intake: Intake::Idle, output: Output::Idle, terms: Terms::default(), held: 0, empty_lines: 0 }
    }

    /// Looks at the front of the inbox and says what it is. What an earlier call returned is released first. Inbox and
    /// limits stay the same for the whole of a request.
    ///
    /// After an error the connection does not persist and nothing more is received; the caller sends the answer.
    pub fn receive<'a>(
        &mut self,
        inbox: &'a mut RingBuffer,
        scratch: &'a mut Scratch,
        limits: &Limits,
    ) -> Result<Step<'a>, ProtocolError> {
        self.release(inbox);
        let spans = &mut scratch.spans;
        let step = match self.intake {
            Intake::Idle | Intake::Head(_) => self.receive_head(inbox, spans, limits),
            Intake::Content(_) => self.receive_content(inbox, spans, limits),
            Intake::Ended => {
                self.intake = Intake::Done;
                Ok(Step::End(Fields::default()))
            }
            Intake::Done => Ok(Step::Paused),
        };
        if step.is_err() {
            self.refuse();
        }
        step
    }

    /// Consumes the bytes of the head or trailers that `receive` just returned, and says how many they were.
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

    /// Hands everything behind the head that was just received to another protocol (RFC 9110 §7.8): it is content
    /// until the connection ends. Only for a request without content, and only to answer it with 101.
    pub fn upgrade(&mut self) {
        debug_assert!(matches!(self.intake, Intake::Ended), "a request with content cannot be upgraded");
        self.intake = Intake::Content(Decoder::Tunnel);
    }

    /// The peer has ended its direction and the inbox holds nothing that `receive` could still use: the end of a
    /// tunnel's content (true: `receive` will say so), an error inside a head or other content (RFC 9112 §8), and
    /// nothing anywhere else.
    pub fn on_eof(&mut self) -> Result<bool, ProtocolError> {
        let cut = match self.intake {
            Intake::Head(_) => bad_request("the connection ended inside a request head", "RFC 9112 §8"),
            Intake::Content(Decoder::Tunnel) => {
                self.intake = Intake::Ended;
                return Ok(true);
            }
            Intake::Content(_) => bad_request("the connection ended inside a request's content", "RFC 9112 §8"),
            Intake::Idle | Intake::Ended | Intake::Done => return Ok(false),
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
        if self.terms.expects_continue && !put_whole(outbox, encode::CONTINUE) {
            return false;
        }
        self.terms.expects_continue = false;
        true
    }

    /// Encodes a final response's head to the end of `head` and decides the content's framing and whether the
    /// connection persists. `length` is that of the response's content, if known. `last` ends the connection after
    /// this response.
    pub fn send_head(
        &mut self,
        response: &Response,
        length: Option<u64>,
        last: bool,
        date: &DateCache,
        head: &mut Vec<u8>,
    ) {
        debug_assert!(matches!(self.output, Output::Idle), "one final response to a request");
        let is_upgrade = matches!(self.intake, Intake::Content(Decoder::Tunnel));
        debug_assert!(!response.status.is_interim() || is_upgrade, "an interim response is not a response");
        let framing = response_framing(response.status, self.terms.to_head, self.terms.version, length);
        self.terms.persists &= !last && !framing.ends_with_connection;
        self.terms.expects_continue = false;
        self.output = if framing.wire == Wire::Nothing { Output::Done } else { Output::Content(framing.wire) };
        let connection = encode::connection_line(response.status, self.terms.persists, self.terms.version);
        encode::head(head, response, framing.field, connection, date);
    }

    /// Room for content, within the announced length and behind space for its framing; `None` while the outbox is too
    /// full for a useful piece. The outbox must stay as it is until [`seal`](Server::seal).
    pub fn room<'a>(&self, outbox: &'a mut RingBuffer) -> Option<Room<'a>> {
        let (gap, size) = self.placement(outbox)?;
        let is_all = matches!(self.output, Output::Content(Wire::Length(left)) if left == size as u64);
        let is_useful = size >= USEFUL_ROOM || is_all || outbox.is_empty();
        (size > 0 && is_useful).then(|| outbox.room(gap, size))
    }

    /// Frames and adds the first `written` bytes that were put into [`room`](Server::room).
    pub fn seal(&mut self, outbox: &mut RingBuffer, written: usize) {
        let Some((gap, size)) = self.placement(outbox) else { return };
        debug_assert!(written <= size, "more was written than there was room for");
        match &mut self.output {
            // A chunk of size 0 would end the content.
            _ if written == 0 => {}
            Output::Content(Wire::Chunked) => {
                outbox.seal(gap, ChunkPrefix::new(written).as_bytes(), written);
                let whole = put_whole(outbox, encode::CRLF);
                debug_assert!(whole, "room for it was left");
            }
            Output::Content(Wire::Length(left)) => {
                outbox.commit(written);
                *left -= written as u64;
            }
            _ => outbox.commit(written),
        }
    }

    /// Adds all the content at once, if that is what was announced and there is room for it; the response is then
    /// complete.
    pub fn put_all(&mut self, outbox: &mut RingBuffer, content: &[u8]) -> bool {
        let is_all = matches!(self.output, Output::Content(Wire::Length(left)) if left == content.len() as u64);
        let put = is_all && put_whole(outbox, content);
        if put {
            self.output = Output::Done;
        }
        put
    }

    /// Declares that `n` bytes of content with a length go to the socket without passing through here.
    pub fn pass_by(&mut self, n: u64) {
        if let Output::Content(Wire::Length(left)) = &mut self.output {
            debug_assert!(n <= *left, "more than was announced");
            *left = left.saturating_sub(n);
        }
    }

    /// Whether all the content that was announced has been sealed: there is room for no more, only for the end.
    pub fn has_all_content(&self) -> bool {
        matches!(self.output, Output::Content(Wire::Length(0)))
    }

    /// Ends the content; false if there was no room for the last chunk. Fewer bytes than announced make the
    /// connection unusable: the error says so and it must be cut.
    pub fn finish(&mut self, outbox: &mut RingBuffer) -> Result<bool, ShortContent> {
        debug_assert!(!matches!(self.output, Output::Idle), "content ends after a head");
        match self.output {
            Output::Content(Wire::Length(missing)) if missing > 0 => {
                self.terms.persists = false;
                return Err(ShortContent { missing });
            }
            Output::Content(Wire::Chunked) if !put_whole(outbox, encode::LAST_CHUNK) => return Ok(false),
            _ => self.output = Output::Done,
        }
        Ok(true)
    }

    /// When request and response are both complete and the connection persists: makes ready for the next request.
    pub fn cycle(&mut self) -> bool {
        let ready = self.receiving() == Receiving::Done && self.sending() == Sending::Done && self.terms.persists;
        if ready {
            // What is still held stands in the inbox and is released later.
            *self = Server { held: self.held, ..Server::new() };
        }
        ready
    }

    /// Where receiving stands.
    pub fn receiving(&self) -> Receiving {
        match self.intake {
            Intake::Idle => Receiving::Idle,
            Intake::Head(_) => Receiving::Head,
            Intake::Content(_) => Receiving::Content,
            Intake::Ended | Intake::Done => Receiving::Done,
        }
    }

    /// Whether all of the request has been returned: `receive` would say no more than [`Step::Paused`].
    pub fn has_received_all(&self) -> bool {
        matches!(self.intake, Intake::Done)
    }

    /// Where sending stands. `Done` right after `send_head` when the response has no content on the wire (HEAD,
    /// 204, 304, length 0).
    pub fn sending(&self) -> Sending {
        match self.output {
            Output::Idle => Sending::Idle,
            Output::Content(_) => Sending::Content,
            Output::Done => Sending::Done,
        }
    }

    /// What is still to come of the request's content.
    pub fn content_to_come(&self) -> Announced {
        match &self.intake {
            Intake::Content(decoder) => decoder.left(),
            _ => Announced::Nothing,
        }
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
        if !matches!(&self.intake, Intake::Head(scan) if !scan.is_fresh()) {
            if !self.skip_empty_lines(inbox)? {
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
        // Even a refusal has to know this: no answer to HEAD has content (RFC 9110 §9.3.2).
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
        // Who sends content does not wait for permission any more.
        self.terms.expects_continue &= inbox.is_empty();
        match decoder.advance(inbox, spans, limits)? {
            Piece::Content(n) => Ok(Step::Content(n)),
            Piece::NeedBytes => Ok(Step::NeedBytes),
            Piece::End(len) => {
                self.intake = Intake::Done;
                self.held = len as u32;
                Ok(Step::End(Fields::new(inbox.contiguous(len), if len == 0 { &[] } else { spans })))
            }
        }
    }

    /// Consumes empty lines; true if something else stands behind them.
    fn skip_empty_lines(&mut self, inbox: &mut RingBuffer) -> Result<bool, ProtocolError> {
        while inbox.get(0) == Some(b'\r') {
            match inbox.get(1) {
                Some(b'\n') if self.empty_lines < EMPTY_LINES_MAX => inbox.consume(2),
                Some(b'\n') => return Err(bad_request("too many empty lines before a request", "RFC 9112 §2.2")),
                Some(_) => return Err(BARE_CR),
                // Half an empty line has a deadline like half a head.
                None => {
                    self.intake = Intake::Head(HeadScan::default());
                    return Ok(false);
                }
            }
            self.empty_lines += 1;
        }
        self.intake = Intake::Idle;
        Ok(!inbox.is_empty())
    }

    /// A head of `len` bytes is complete.
    fn begin_content(&mut self, announced: Announced, terms: Terms, len: usize) {
        self.intake = Decoder::of(announced).map_or(Intake::Ended, Intake::Content);
        self.terms = terms;
        self.held = len as u32;
    }

    /// Nothing more is received, and the connection ends with the answer.
    fn refuse(&mut self) {
        self.intake = Intake::Done;
        self.terms.persists = false;
        self.terms.expects_continue = false;
    }

    /// Where content may stand behind the end of the outbox: the gap in front of it, and how much; `None` if there is
    /// no content to send.
    fn placement(&self, outbox: &RingBuffer) -> Option<(usize, usize)> {
        match self.output {
            Output::Content(Wire::Chunked) => Some(encode::chunk_room(outbox.free())),
            Output::Content(Wire::Length(left)) => {
                Some((0, outbox.free().min(usize::try_from(left).unwrap_or(usize::MAX))))
            }
            Output::Content(_) => Some((0, outbox.free())),
            Output::Idle | Output::Done => None,
        }
    }
}

/// Adds all of `bytes`, or nothing.
fn put_whole(outbox: &mut RingBuffer, bytes: &[u8]) -> bool {
    outbox.free() >= bytes.len() && outbox.put(bytes) == bytes.len()
}

impl Default for Server {
    fn default() -> Server {
        Server::new()
    }
}

/// A response's source ended before it had produced as much as was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortContent {
    /// How many bytes are missing.
    pub missing: u64,
}

#[cfg(test)]
mod tests;
