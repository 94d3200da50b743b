//! Wraps the server's service and notes what it was asked, what it replied, and its reasons.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::disk;
use crate::base::ring::Room;
use crate::base::upstream_facts::UpstreamFacts;
use crate::http::body::{Body, Bytes, ContentPart, Failure, Pull, Wait};
use crate::http::exchange::{Cx, Decision, Exchange, Reply, Source, Taker, Tunnel};
use crate::http::fields::{FieldSet, Fields};
use crate::http::message::{RequestHead, Response, Version};
use crate::http::status::Status;
use crate::service::Service;
use crate::service::explanation::Explanation;
use crate::service::front::Front;

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
    /// It came over HTTP/2.
    is_http2: bool,
}

impl Watched {
    /// Whether job threads work for an answer that is not hot.
    pub fn needs_jobs(&self) -> bool {
        !self.explanation.jobs.is_empty()
    }

    fn note<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        result.inspect_err(|failure| self.failure = Some(failure.to_string()))
    }

    fn note_tunnel(&mut self, tunnel: &Tunnel) {
        // RFC 8441 §5: there is no 101 in HTTP/2.
        self.status = Some(if self.is_http2 { Status::OK } else { Status::SWITCHING_PROTOCOLS });
        self.content = Some(source_text(tunnel.content.length()));
    }

    fn note_response(&mut self, response: &Response) {
        self.status = Some(response.status);
        self.content = content_text(&response.body, self.is_http2);
    }
}

/// A service that does what `front` does.
pub struct Witness {
    /// Who answers.
    pub front: Front,
    /// What the client asked for in a TLS handshake, if there was one and it did.
    pub server_name: Option<String>,
    /// What it has seen.
    pub watched: Rc<RefCell<Watched>>,
}

impl Witness {
    /// Watches `front`.
    pub fn new(front: Front) -> Witness {
        Witness { front, server_name: None, watched: Rc::default() }
    }
}

impl Service for Witness {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        let cx = &mut Cx { server_name: self.server_name.as_deref(), ..*cx };
        let watched = &mut *self.watched.borrow_mut();
        watched.is_http2 = request.version == Version::Http2;
        if !std::mem::replace(&mut watched.was_asked, true) {
            self.front.explain(request, cx, &mut watched.explanation);
            // Calls that only the explanation makes do not count as calls of the request.
            disk::take_calls();
        }
        let reply = watched.note(self.front.call(request, cx))?;
        Ok(match reply {
            Reply::Respond(response) => {
                watched.note_response(&response);
                Reply::Respond(watch_response(response, &self.watched))
            }
            Reply::Decide(exchange) => Reply::Decide(watch_exchange(exchange, &self.watched)),
            Reply::Upgrade(tunnel) => {
                watched.note_tunnel(&tunnel);
                Reply::Upgrade(Tunnel { content: watch_source(tunnel.content, &self.watched), ..tunnel })
            }
        })
    }
}

/// An exchange or a source, wrapped so that its failures are noted.
struct WatchedPart<T> {
    part: T,
    watched: Rc<RefCell<Watched>>,
}

fn watch_response(response: Response, watched: &Rc<RefCell<Watched>>) -> Response {
    let body = match response.body {
        Body::Source(source) => Body::Source(watch_source(source, watched)),
        body => body,
    };
    Response { body, ..response }
}

fn watch_exchange(exchange: Box<dyn Exchange>, watched: &Rc<RefCell<Watched>>) -> Box<dyn Exchange> {
    Box::new(WatchedPart { part: exchange, watched: Rc::clone(watched) })
}

fn watch_source(source: Box<dyn Source>, watched: &Rc<RefCell<Watched>>) -> Box<dyn Source> {
    Box::new(WatchedPart { part: source, watched: Rc::clone(watched) })
}

/// What may take the request's content.
trait MayTake {
    fn taker(&mut self) -> Option<&mut dyn Taker>;
}

impl MayTake for Box<dyn Exchange> {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        (**self).taker()
    }
}

impl MayTake for Box<dyn Source> {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        (**self).taker()
    }
}

impl<T: MayTake> WatchedPart<T> {
    fn inner_taker(&mut self) -> Result<&mut dyn Taker, Failure> {
        self.part.taker().ok_or_else(|| Failure::new("it takes content no longer"))
    }
}

impl<T: MayTake> Taker for WatchedPart<T> {
    fn take(&mut self, content: &[u8], cx: &mut Cx<'_>) -> Result<usize, Failure> {
        let taken = self.inner_taker().and_then(|taker| taker.take(content, cx));
        self.watched.borrow_mut().note(taken)
    }

    fn end(&mut self, trailers: Fields<'_>, cx: &mut Cx<'_>) -> Result<(), Failure> {
        let ended = self.inner_taker().and_then(|taker| taker.end(trailers, cx));
        self.watched.borrow_mut().note(ended)
    }
}

impl Exchange for WatchedPart<Box<dyn Exchange>> {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        self.part.taker().is_some().then_some(self as &mut dyn Taker)
    }

    fn ends_with_client(&self) -> bool {
        self.part.ends_with_client()
    }

    fn upstream(&self) -> Option<Rc<UpstreamFacts>> {
        self.part.upstream()
    }

    fn respond(self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        let WatchedPart { part, watched } = *self;
        let decision = watched.borrow_mut().note(part.respond(cx))?;
        Ok(match decision {
            Decision::Respond(response) => {
                watched.borrow_mut().note_response(&response);
                Decision::Respond(watch_response(response, &watched))
            }
            Decision::Pending(exchange, wait) => Decision::Pending(watch_exchange(exchange, &watched), wait),
            Decision::Interim(exchange, status, fields) => {
                Decision::Interim(watch_exchange(exchange, &watched), status, fields)
            }
            Decision::Upgrade(tunnel) => {
                watched.borrow_mut().note_tunnel(&tunnel);
                Decision::Upgrade(Tunnel { content: watch_source(tunnel.content, &watched), ..tunnel })
            }
        })
    }
}

impl Source for WatchedPart<Box<dyn Source>> {
    fn length(&self) -> Option<u64> {
        self.part.length()
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        self.watched.borrow_mut().note(self.part.pull(room, cx))
    }

    fn taker(&mut self) -> Option<&mut dyn Taker> {
        self.part.taker().is_some().then_some(self as &mut dyn Taker)
    }

    fn ends_with_client(&self) -> bool {
        self.part.ends_with_client()
    }

    fn listens(&mut self, cx: &mut Cx<'_>) -> Option<Wait> {
        self.part.listens(cx)
    }

    fn note_unsent(&mut self, is_unsent: bool) {
        self.part.note_unsent(is_unsent);
    }

    fn trailers(&mut self) -> Option<FieldSet> {
        self.part.trailers()
    }
}

/// Where content comes from; `None`: there is none.
fn content_text(body: &Body, is_http2: bool) -> Option<String> {
    // Each frame needs a head in front of it, so a file is read like everything else.
    let way = if is_http2 { "read from the page cache into frames" } else { "from the page cache to the socket" };
    Some(match body {
        Body::Empty => return None,
        Body::Bytes(bytes) => format!("{}, {} bytes", bytes_text(bytes), bytes.as_slice().len()),
        Body::File(part) => {
            format!("{way}: {} bytes of the file, from {} on", part.length, part.offset)
        }
        Body::Parts(parts) => {
            let files = parts.iter().filter(|part| matches!(part, ContentPart::File(_))).count();
            let from = if files > 0 { format!("parts of the file {way}") } else { "all from memory".into() };
            format!("{} pieces: {from}", parts.len())
        }
        Body::Source(source) => source_text(source.length()),
    })
}

fn source_text(length: Option<u64>) -> String {
    let length = length.map_or("of unknown length".into(), |length| format!("{length} bytes"));
    format!("made while it is sent, as far as the client takes it, {length}")
}

fn bytes_text(bytes: &Bytes) -> &'static str {
    match bytes {
        Bytes::Static(_) => "from memory, part of the program",
        Bytes::Owned(_) => "from memory, made for this response",
        Bytes::Shared(..) => "from memory, where the file is kept",
    }
}
