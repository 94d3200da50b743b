//! Drives the client side of HTTP/1 over given pieces of a response and writes down what it says.

use tidemill::base::limits::Limits;
use tidemill::base::ring::RingBuffer;
use tidemill::http::fields::Fields;
use tidemill::http::message::{Announced, Version};
use tidemill::http::method::Method;
use tidemill::http::status::Status;
use tidemill::http::upstream::{OutgoingRequest, ResponseContent, ResponseHead};
use tidemill::protocol::h1::client::{Client, Received, ResponseError};
use tidemill::protocol::h1::spans::Scratch;
use tidemill::protocol::h1::{Receiving, Sending};

/// Names and values, in order.
pub type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// What is sent before the response arrives.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    pub head: bool,
    /// Another protocol.
    pub upgrade: bool,
    /// A request whose content has not ended.
    pub unfinished: bool,
}

/// What was said about the input, in an order that must not depend on how it was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Interim(Head),
    Head(Head),
    /// All content of the response, or all of it before an error.
    Content(Vec<u8>),
    End(Lines),
    /// Nothing comes after this.
    Error(ResponseError),
    /// The connection can carry another request; for so many idle seconds, if that was said.
    Reusable(Option<u32>),
    /// It cannot.
    Close,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub status: Status,
    pub version: Version,
    pub fields: Lines,
    pub content: ResponseContent,
}

impl Head {
    fn new(head: &ResponseHead<'_>) -> Head {
        Head { status: head.status, version: head.version, fields: lines(head.fields), content: head.content }
    }
}

fn lines(fields: Fields<'_>) -> Lines {
    fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// What is said about `pieces`, which answer this request as they arrive, up to an error or the end of the input. The
/// upstream ends the connection behind the input if that says something.
pub fn events<'a>(asked: Asked, pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Vec<Event> {
    let mut driver = Driver::new(asked, limits);
    for piece in pieces {
        if driver.feed(piece, limits) {
            return driver.events;
        }
    }
    driver.end(limits);
    driver.events
}

struct Driver {
    client: Client,
    inbox: RingBuffer,
    scratch: Scratch,
    events: Vec<Event>,
}

impl Driver {
    fn new(asked: Asked, limits: &Limits) -> Driver {
        let mut client = Client::new();
        client.send_head(&request(asked), &mut Vec::new());
        assert_eq!(client.sending(), if asked.unfinished { Sending::Content } else { Sending::Done });
        Driver { client, inbox: RingBuffer::new(limits.inbox_bytes), scratch: Scratch::default(), events: Vec::new() }
    }

    /// True if nothing more is to be received.
    fn feed(&mut self, mut piece: &[u8], limits: &Limits) -> bool {
        while !piece.is_empty() {
            let n = self.inbox.put(piece);
            assert!(n > 0, "the inbox is full and the client still asks for more");
            piece = &piece[n..];
            if self.receive_all(limits) {
                return true;
            }
        }
        false
    }

    /// True if there was an error, or if the connection is of no further use.
    fn receive_all(&mut self, limits: &Limits) -> bool {
        loop {
            let event = match self.client.receive(&mut self.inbox, &mut self.scratch, limits) {
                Ok(Received::Interim(head)) => Event::Interim(Head::new(&head)),
                Ok(Received::Head(head)) => Event::Head(Head::new(&head)),
                Ok(Received::Content(n)) => {
                    self.take(n);
                    continue;
                }
                Ok(Received::End(trailers)) => Event::End(lines(trailers)),
                Ok(Received::NeedBytes) => return false,
                Ok(Received::Paused) if self.client.cycle() => continue,
                Ok(Received::Paused) => Event::Close,
                Err(error) => {
                    assert!(!self.client.persists(), "nothing is sent after an error");
                    assert_eq!(self.client.receiving(), Receiving::Done);
                    // Behind a complete response it does not matter what follows: nothing should.
                    let is_behind = matches!(self.events.last(), Some(Event::End(_)));
                    if is_behind { Event::Close } else { Event::Error(error) }
                }
            };
            let is_last = matches!(event, Event::Close | Event::Error(_));
            self.events.push(event);
            if is_last {
                return true;
            }
        }
    }

    /// The input has ended.
    fn end(&mut self, limits: &Limits) {
        if matches!(self.events.last(), Some(Event::End(_))) {
            assert!(self.client.persists() && self.client.receiving() == Receiving::Idle);
            self.events.push(Event::Reusable(self.client.keep_alive_secs()));
            assert_eq!(self.client.on_eof(), Ok(false));
            assert!(!self.client.persists(), "the connection has ended");
            return;
        }
        match self.client.on_eof() {
            Ok(true) => assert!(self.receive_all(limits), "a connection that has ended does not persist"),
            Ok(false) => panic!("there is no response, and no error"),
            Err(error) => self.events.push(Event::Error(error)),
        }
    }

    fn take(&mut self, n: usize) {
        let content = &self.inbox.readable().concat()[..n];
        match self.events.last_mut() {
            Some(Event::Content(earlier)) => earlier.extend_from_slice(content),
            _ => self.events.push(Event::Content(content.to_vec())),
        }
        self.client.taken(&mut self.inbox, n);
    }
}

fn request(asked: Asked) -> OutgoingRequest {
    OutgoingRequest {
        method: match asked {
            Asked { head: true, .. } => Method::Head,
            Asked { unfinished: true, .. } => Method::Post,
            _ => Method::Get,
        },
        target: b"/".to_vec(),
        host: b"a".to_vec(),
        lines: Vec::new(),
        content: if asked.unfinished { Announced::Length(1) } else { Announced::Nothing },
        expects_continue: false,
        upgrade: asked.upgrade.then(|| b"websocket".to_vec()),
        takes_trailers: true,
    }
}
