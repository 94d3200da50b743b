//! The server's own service, watched: what it was asked, what it replied, and how it would tell its reasons.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::disk;
use crate::base::ring::Room;
use crate::http::body::{Body, Bytes, Failure, Piece, Pull};
use crate::http::fields::Fields;
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::explanation::Explanation;
use crate::service::front::Front;
use crate::service::{Cx, Decision, Exchange, Reply, Service};

/// What was seen of the first request.
#[derive(Debug, Default)]
pub struct Watched {
    /// How the service says it decides.
    pub explanation: Explanation,
    /// The status of its response.
    pub status: Option<Status>,
    /// Where the content comes from.
    pub content: Option<String>,
    /// Why a handler failed, if one did.
    pub failure: Option<String>,
    was_asked: bool,
}

impl Watched {
    /// Whether job threads work for an answer that is not hot.
    pub fn needs_jobs(&self) -> bool {
        !self.explanation.jobs.is_empty()
    }

    fn note<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        result.inspect_err(|failure| self.failure = Some(failure.to_string()))
    }

    fn note_response(&mut self, response: &Response) {
        self.status = Some(response.status);
        self.content = content_text(&response.body);
    }
}

/// A service that does what `front` does.
pub struct Witness {
    front: Front,
    /// What it has seen.
    pub watched: Rc<RefCell<Watched>>,
}

impl Witness {
    /// Watches `front`.
    pub fn new(front: Front) -> Witness {
        Witness { front, watched: Rc::default() }
    }
}

impl Service for Witness {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        let watched = &mut *self.watched.borrow_mut();
        if !std::mem::replace(&mut watched.was_asked, true) {
            self.front.explain(request, cx.date_secs, &mut watched.explanation);
            // What it took to tell is no part of what it takes to answer.
            disk::take_calls();
        }
        let reply = watched.note(self.front.call(request, cx))?;
        Ok(match reply {
            Reply::Respond(response) => {
                watched.note_response(&response);
                Reply::Respond(response)
            }
            Reply::Converse(exchange) => Reply::Converse(self.watch(exchange)),
            Reply::Upgrade(response, exchange) => {
                watched.note_response(&response);
                Reply::Upgrade(response, self.watch(exchange))
            }
        })
    }
}

impl Witness {
    fn watch(&self, exchange: Box<dyn Exchange>) -> Box<dyn Exchange> {
        Box::new(WatchedExchange { exchange, watched: Rc::clone(&self.watched) })
    }
}

struct WatchedExchange {
    exchange: Box<dyn Exchange>,
    watched: Rc<RefCell<Watched>>,
}

impl Exchange for WatchedExchange {
    fn take(&mut self, content: &[u8], cx: &mut Cx<'_>) -> Result<usize, Failure> {
        self.watched.borrow_mut().note(self.exchange.take(content, cx))
    }

    fn end(&mut self, trailers: Fields<'_>, cx: &mut Cx<'_>) -> Result<(), Failure> {
        self.watched.borrow_mut().note(self.exchange.end(trailers, cx))
    }

    fn respond(&mut self, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        let watched = &mut *self.watched.borrow_mut();
        let decision = watched.note(self.exchange.respond(cx))?;
        if let Decision::Respond(response) = &decision {
            watched.note_response(response);
        }
        Ok(decision)
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        self.watched.borrow_mut().note(self.exchange.pull(room, cx))
    }
}

/// Where content comes from; `None`: there is none.
fn content_text(body: &Body) -> Option<String> {
    Some(match body {
        Body::Empty => return None,
        Body::Bytes(bytes) => format!("{}, {} bytes", bytes_text(bytes), bytes.as_slice().len()),
        Body::File(part) => {
            format!("from the page cache to the socket: {} bytes of the file, from {} on", part.length, part.offset)
        }
        Body::Pieces(pieces) => {
            let files = pieces.iter().filter(|piece| matches!(piece, Piece::File(_))).count();
            let from =
                if files > 0 { "parts of the file from the page cache to the socket" } else { "all from memory" };
            format!("{} pieces: {from}", pieces.len())
        }
        Body::Source(_) | Body::Exchange(_) => {
            let length = body.length().map_or("of unknown length".into(), |length| format!("{length} bytes"));
            format!("made while it is sent, as far as the client takes it, {length}")
        }
    })
}

fn bytes_text(bytes: &Bytes) -> &'static str {
    match bytes {
        Bytes::Static(_) => "from memory, part of the program",
        Bytes::Owned(_) => "from memory, made for this response",
        Bytes::Shared(..) => "from memory, where the file is kept",
    }
}
