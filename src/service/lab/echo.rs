//! `POST /echo`: the request's content streamed back as it arrives, in constant memory whatever its size.

use crate::base::ring::{RingBuffer, Room};
use crate::http::body::{Body, Failure, Pull, Wait};
use crate::http::exchange::{Cx, Decision, Exchange, Reply, Source, Taker};
use crate::http::fields::{FieldValue, Fields};
use crate::http::media_type::OCTET_STREAM;
use crate::http::message::{Announced, RequestHead, Response};
use crate::http::status::Status;
use crate::service::router::Params;

/// Content on its way through, in bytes.
const RING_BYTES: usize = 16 * 1024;

/// `POST /echo`: answers with the first content that arrives; the media type and, if it is known, the length are kept.
pub fn echo(request: &RequestHead<'_>, _: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    let content_type = content_type(request);
    let length = match request.announced {
        Announced::Nothing => return Ok(Reply::Respond(response(content_type, Body::Empty))),
        Announced::Length(length) => Some(length),
        Announced::Unknown => None,
    };
    Ok(Reply::Decide(Box::new(Echo { content_type, length, ring: None, ended: false })))
}

fn content_type(request: &RequestHead<'_>) -> FieldValue {
    let sent = request.fields.first("Content-Type").filter(|value| !value.is_empty());
    sent.and_then(|value| FieldValue::new(value).ok()).unwrap_or(OCTET_STREAM)
}

fn response(content_type: FieldValue, body: Body) -> Response {
    Response::new(Status::OK).with_content(content_type, body).as_it_is()
}

struct Echo {
    content_type: FieldValue,
    length: Option<u64>,
    /// `None` until there is content: a request that only announces some costs little.
    ring: Option<RingBuffer>,
    ended: bool,
}

impl Taker for Echo {
    fn take(&mut self, content: &[u8], _cx: &mut Cx<'_>) -> Result<usize, Failure> {
        Ok(self.ring.get_or_insert_with(|| RingBuffer::new(RING_BYTES)).put(content))
    }

    fn end(&mut self, _trailers: Fields<'_>, _cx: &mut Cx<'_>) -> Result<(), Failure> {
        self.ended = true;
        Ok(())
    }

    fn kept_bytes(&self) -> usize {
        self.ring.as_ref().map_or(0, RingBuffer::capacity)
    }
}

impl Exchange for Echo {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        Some(self)
    }

    /// Content that is malformed from its beginning can still be refused.
    fn respond(self: Box<Self>, _cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        if self.ring.is_none() && !self.ended {
            return Ok(Decision::Pending(self, Wait::Content));
        }
        Ok(Decision::Respond(response(self.content_type.clone(), Body::Source(self))))
    }
}

impl Source for Echo {
    fn length(&self) -> Option<u64> {
        self.length
    }

    fn pull(&mut self, room: &mut Room<'_>, _cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        if let Some(ring) = &mut self.ring {
            let moved: usize = ring.readable().into_iter().map(|piece| room.put(piece)).sum();
            ring.consume(moved);
            if !ring.is_empty() {
                return Ok(Pull::More);
            }
        }
        Ok(if self.ended { Pull::End } else { Pull::Pending(Wait::Content) })
    }

    fn taker(&mut self) -> Option<&mut dyn Taker> {
        Some(self)
    }
}
