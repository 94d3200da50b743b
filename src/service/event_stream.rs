//! Server-sent events (WHATWG HTML §9.2).

use crate::http::body::Body;
use crate::http::fields::{CACHE_CONTROL, FieldValue};
use crate::http::message::Response;
use crate::http::status::Status;

const EVENT_STREAM: FieldValue = FieldValue::from_static("text/event-stream");
const NO_CACHE: FieldValue = FieldValue::from_static("no-cache");

/// The response whose content is a stream of events; it must not be cached.
pub fn event_stream(events: Body) -> Response {
    Response::new(Status::OK).with_content(EVENT_STREAM, events).with_field(CACHE_CONTROL, NO_CACHE)
}
