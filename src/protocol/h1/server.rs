//! One connection's HTTP/1 as a value: `Receiving × Sending × persistent`, with one joint transition, `cycle`.

use crate::base::limits::Limits;
use crate::base::ring::{RingBuffer, Room};
use crate::http::date::DateCache;
use crate::http::fields::{FieldSpan, Fields};
use crate::http::message::{Announced, RequestHead, Response};
use crate::protocol::ProtocolError;

/// Memory for the spans of the head that is being looked at; one for a whole event loop.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Spans of the field lines, reused from head to head.
    pub spans: Vec<FieldSpan>,
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
/// [`room`](Server::room), [`seal`](Server::seal), [`finish`](Server::finish). Both: [`cycle`](Server::cycle).
#[derive(Debug)]
pub struct Server {}

impl Server {
    /// A connection on which nothing has happened yet.
    pub fn new() -> Server {
        todo!()
    }

    /// Looks at the front of the inbox and says what it is.
    ///
    /// After an error the connection does not persist and nothing more is received; the caller sends the answer.
    pub fn receive<'a>(
        &mut self,
        _inbox: &'a mut RingBuffer,
        _scratch: &'a mut Scratch,
        _limits: &Limits,
    ) -> Result<Step<'a>, ProtocolError> {
        todo!()
    }

    /// Consumes the bytes of the head or trailers that `receive` just returned.
    pub fn release(&mut self, _inbox: &mut RingBuffer) {
        todo!()
    }

    /// Consumes the first `n` of the content bytes that `receive` just returned.
    pub fn taken(&mut self, _inbox: &mut RingBuffer, _n: usize) {
        todo!()
    }

    /// The peer has ended its direction and the inbox holds nothing that `receive` could still use: an error inside a
    /// head or content (RFC 9112 §8), fine anywhere else.
    pub fn on_eof(&mut self) -> Result<(), ProtocolError> {
        todo!()
    }

    /// Whether the client waits for `100 Continue` before it sends the content (RFC 9110 §10.1.1). False once
    /// the interim response was sent, a byte of the content has arrived, or the final response has begun.
    pub fn expects_continue(&self) -> bool {
        todo!()
    }

    /// Writes the interim response `100 Continue`; false if there was no room.
    pub fn send_continue(&mut self, _outbox: &mut RingBuffer) -> bool {
        todo!()
    }

    /// Encodes a final response's head to the end of `head` and decides the content's framing and whether the
    /// connection persists. `length` is that of the response's content, if known. `last` ends the connection after
    /// this response.
    pub fn send_head(
        &mut self,
        _response: &Response,
        _length: Option<u64>,
        _last: bool,
        _date: &DateCache,
        _head: &mut Vec<u8>,
    ) {
        todo!()
    }

    /// Room for content, within the announced length and behind space for its framing; `None` while the outbox is too
    /// full for a useful piece.
    pub fn room<'a>(&self, _outbox: &'a mut RingBuffer) -> Option<Room<'a>> {
        todo!()
    }

    /// Frames and adds the first `written` bytes that were put into [`room`](Server::room).
    pub fn seal(&mut self, _outbox: &mut RingBuffer, _written: usize) {
        todo!()
    }

    /// Ends the content; false if there was no room for the last chunk. Fewer bytes than announced make the
    /// connection unusable: the error says so and it must be cut.
    pub fn finish(&mut self, _outbox: &mut RingBuffer) -> Result<bool, ShortContent> {
        todo!()
    }

    /// When request and response are both complete and the connection persists: makes ready for the next request.
    pub fn cycle(&mut self) -> bool {
        todo!()
    }

    /// Where receiving stands.
    pub fn receiving(&self) -> Receiving {
        todo!()
    }

    /// Where sending stands. `Done` right after `send_head` when the response has no content on the wire (HEAD,
    /// 204, 304, length 0).
    pub fn sending(&self) -> Sending {
        todo!()
    }

    /// What is still to come of the request's content.
    pub fn content_to_come(&self) -> Announced {
        todo!()
    }

    /// Whether the connection can serve another request after this one.
    pub fn persists(&self) -> bool {
        todo!()
    }
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
