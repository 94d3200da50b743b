//! `GET /trailers`: fields that are known only when the content has been sent.

use crate::base::ring::Room;
use crate::http::body::{Body, Failure, Pull};
use crate::http::exchange::{Cx, Reply, Source};
use crate::http::fields::{FieldName, FieldSet, FieldValue};
use crate::http::media_type::TEXT;
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::router::Params;

const X_LINES: FieldName = FieldName::from_static("X-Lines");
const X_BYTES: FieldName = FieldName::from_static("X-Bytes");

/// The content.
const TEXT_LINES: &[u8] = b"one\ntwo\nthree\n";

/// `GET /trailers`: three lines of unknown length, and then how many lines and bytes they were.
pub fn trailers(_: &RequestHead<'_>, _: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    let source = Body::Source(Box::new(CountedLines { sent: 0 }));
    Ok(Reply::Respond(Response::new(Status::OK).with_content(TEXT, source)))
}

struct CountedLines {
    /// In bytes.
    sent: usize,
}

impl Source for CountedLines {
    fn length(&self) -> Option<u64> {
        None
    }

    fn pull(&mut self, room: &mut Room<'_>, _cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        self.sent += room.put(&TEXT_LINES[self.sent..]);
        Ok(if self.sent == TEXT_LINES.len() { Pull::End } else { Pull::More })
    }

    fn trailers(&mut self) -> Option<FieldSet> {
        let lines = TEXT_LINES[..self.sent].iter().filter(|byte| **byte == b'\n').count();
        Some(FieldSet::new([(X_LINES, &number(lines)), (X_BYTES, &number(self.sent))]))
    }
}

fn number(number: usize) -> FieldValue {
    FieldValue::new(number.to_string()).expect("digits are a field value")
}
