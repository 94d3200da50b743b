//! Drives the server side of HTTP/1 over given pieces of input and writes down what it says. Every request is answered
//! with an empty 204 as soon as it is complete, so that the next one is received.

use std::time::UNIX_EPOCH;

use tidemill::base::limits::Limits;
use tidemill::base::ring::RingBuffer;
use tidemill::http::date::DateCache;
use tidemill::http::fields::Fields;
use tidemill::http::message::{Announced, RequestHead, Response, Version};
use tidemill::http::method::Method;
use tidemill::http::status::Status;
use tidemill::http::target::TargetForm;
use tidemill::protocol::ProtocolError;
use tidemill::protocol::h1::server::{Server, Step};
use tidemill::protocol::h1::spans::Scratch;
use tidemill::protocol::h1::{Receiving, Sending};

/// Names and values, in order.
pub type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// What was said about the input, in an order that must not depend on how it was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Head(Head),
    /// All content of a request, or all of it before an error.
    Content(Vec<u8>),
    End(Lines),
    /// Nothing comes after this.
    Error(ProtocolError),
    /// The connection does not persist; what follows is not looked at.
    Close,
    /// The input has ended, and might have.
    EofOk,
    /// The input has ended inside a request.
    EofError,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub method: Method,
    pub form: TargetForm,
    pub target: Vec<u8>,
    pub authority: Option<Vec<u8>>,
    pub path: Vec<u8>,
    pub query: Option<Vec<u8>>,
    pub version: Version,
    pub fields: Lines,
    pub announced: Announced,
    pub expects_continue: bool,
}

impl Head {
    fn new(head: &RequestHead<'_>) -> Head {
        let target = head.target;
        Head {
            method: head.method,
            form: target.form,
            target: target.raw.to_vec(),
            authority: target.authority.map(<[u8]>::to_vec),
            path: target.path.to_vec(),
            query: target.query.map(<[u8]>::to_vec),
            version: head.version,
            fields: lines(head.fields),
            announced: head.announced,
            expects_continue: false,
        }
    }
}

fn lines(fields: Fields<'_>) -> Lines {
    fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// What is said about `pieces` as they arrive, up to an error, the end of the connection or the end of the input.
pub fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Vec<Event> {
    let mut driver = Driver::new(limits);
    for piece in pieces {
        if driver.feed(piece, limits) {
            return driver.events;
        }
    }
    let at_end = if driver.server.on_eof().is_ok() { Event::EofOk } else { Event::EofError };
    driver.events.push(at_end);
    driver.events
}

struct Driver {
    server: Server,
    inbox: RingBuffer,
    scratch: Scratch,
    date: DateCache,
    events: Vec<Event>,
}

impl Driver {
    fn new(limits: &Limits) -> Driver {
        Driver {
            server: Server::new(),
            inbox: RingBuffer::new(limits.inbox_bytes),
            scratch: Scratch::default(),
            date: DateCache::new(UNIX_EPOCH),
            events: Vec::new(),
        }
    }

    /// True if nothing more is to be received.
    fn feed(&mut self, mut piece: &[u8], limits: &Limits) -> bool {
        while !piece.is_empty() {
            let n = self.inbox.put(piece);
            assert!(n > 0, "the inbox is full and the server still asks for more");
            piece = &piece[n..];
            if self.receive_all(limits) {
                return true;
            }
        }
        false
    }

    fn receive_all(&mut self, limits: &Limits) -> bool {
        loop {
            let content = match self.server.receive(&mut self.inbox, &mut self.scratch, limits) {
                Ok(Step::Head(head)) => {
                    self.events.push(Event::Head(Head::new(&head)));
                    self.note_expectation();
                    0
                }
                Ok(Step::Content(n)) => n,
                Ok(Step::End(trailers)) => {
                    self.events.push(Event::End(lines(trailers)));
                    0
                }
                Ok(Step::NeedBytes) => return false,
                Ok(Step::Paused) => match self.answer() {
                    true => 0,
                    false => return self.say(Event::Close),
                },
                Err(error) => return self.refused(error),
            };
            self.take(content);
        }
    }

    fn note_expectation(&mut self) {
        if let Some(Event::Head(head)) = self.events.last_mut() {
            head.expects_continue = self.server.expects_continue();
        }
    }

    fn take(&mut self, n: usize) {
        let content = &self.inbox.readable().concat()[..n];
        match self.events.last_mut() {
            _ if n == 0 => {}
            Some(Event::Content(earlier)) => earlier.extend_from_slice(content),
            _ => self.events.push(Event::Content(content.to_vec())),
        }
        self.server.taken(&mut self.inbox, n);
    }

    /// False if the connection does not persist.
    fn answer(&mut self) -> bool {
        assert_eq!(self.server.receiving(), Receiving::Done);
        let response = Response::new(Status::NO_CONTENT);
        self.server.send_head(&response, Some(0), false, None, &self.date, &mut Vec::new());
        assert_eq!(self.server.sending(), Sending::Done);
        self.server.cycle()
    }

    fn refused(&mut self, error: ProtocolError) -> bool {
        assert!(!self.server.persists(), "nothing is served after an error");
        assert_eq!(self.server.receiving(), Receiving::Done);
        self.say(Event::Error(error))
    }

    fn say(&mut self, last: Event) -> bool {
        self.events.push(last);
        true
    }
}
