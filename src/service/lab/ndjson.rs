//! `POST /ndjson`: one JSON value a line, checked line by line as the content arrives.

use crate::base::json::{self, Kind, Object};
use crate::http::body::{Body, Failure, Wait};
use crate::http::exchange::{Cx, Decision, Exchange, Reply, Taker};
use crate::http::fields::Fields;
use crate::http::media_type::JSON;
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::errors::{self, Detail};
use crate::service::router::Params;

/// `POST /ndjson`: counts what came, or says which line was not JSON as soon as that line is complete.
pub fn ndjson(_: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
    Ok(Reply::Decide(Box::new(Ndjson::new(cx.limits.gathered_bytes_max))))
}

struct Ndjson {
    /// What has arrived of the line that is not complete yet, without its end.
    line: Vec<u8>,
    line_bytes_max: usize,
    /// Number of that line, from 1, blank lines counted.
    line_number: u64,
    values: u64,
    objects: u64,
    bytes: u64,
    refusal: Option<Response>,
    ended: bool,
}

impl Ndjson {
    fn new(line_bytes_max: usize) -> Ndjson {
        Ndjson {
            line: Vec::new(),
            line_bytes_max,
            line_number: 1,
            values: 0,
            objects: 0,
            bytes: 0,
            refusal: None,
            ended: false,
        }
    }

    /// Takes `content` up to the end of the first line in it, or all of it, and returns what is left. Of a line that is
    /// too long it takes as much as a line may have.
    fn take_line<'c>(&mut self, content: &'c [u8]) -> &'c [u8] {
        let end = memchr::memchr(b'\n', content);
        let (part, rest) = content.split_at(end.unwrap_or(content.len()));
        let room = self.line_bytes_max - self.line.len();
        if part.len() > room {
            self.refusal = Some(self.line_too_long());
            return &content[room..];
        }
        self.line.extend_from_slice(part);
        if end.is_some() {
            self.check_line();
            self.line_number += 1;
        }
        rest.get(1..).unwrap_or_default()
    }

    /// The line in the buffer is complete.
    fn check_line(&mut self) {
        if !self.line.trim_ascii().is_empty() {
            match json::check(&self.line) {
                Ok(kind) => self.count(kind),
                Err(invalid) => self.refusal = Some(self.invalid_line(&invalid.detail)),
            }
        }
        self.line.clear();
    }

    fn count(&mut self, kind: Kind) {
        self.values += 1;
        self.objects += u64::from(kind == Kind::Object);
    }

    fn summary(&self) -> Response {
        let object = Object::new();
        let object = object.number("lines", self.values).number("objects", self.objects).number("bytes", self.bytes);
        Response::new(Status::OK).with_content(JSON, Body::from(object.finish()))
    }

    fn invalid_line(&self, detail: &str) -> Response {
        let details = [("line", Detail::Number(self.line_number)), ("detail", Detail::Text(detail))];
        errors::bad_request("invalid_json", details)
    }

    fn line_too_long(&self) -> Response {
        let limit = Detail::Number(self.line_bytes_max as u64);
        let details = [("line", Detail::Number(self.line_number)), ("limit", limit)];
        errors::error(Status::CONTENT_TOO_LARGE, "line_too_long", details)
    }
}

impl Taker for Ndjson {
    fn take(&mut self, content: &[u8], _cx: &mut Cx<'_>) -> Result<usize, Failure> {
        let mut rest = content;
        while !rest.is_empty() && self.refusal.is_none() {
            rest = self.take_line(rest);
        }
        let taken = content.len() - rest.len();
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn end(&mut self, _trailers: Fields<'_>, _cx: &mut Cx<'_>) -> Result<(), Failure> {
        if self.refusal.is_none() {
            self.check_line();
        }
        self.ended = true;
        Ok(())
    }

    fn kept_bytes(&self) -> usize {
        self.line.capacity()
    }
}

impl Exchange for Ndjson {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        Some(self)
    }

    fn respond(mut self: Box<Self>, _cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        match (self.refusal.take(), self.ended) {
            (Some(refusal), _) => Ok(Decision::Respond(refusal)),
            (None, true) => Ok(Decision::Respond(self.summary())),
            (None, false) => Ok(Decision::Pending(self, Wait::Content)),
        }
    }
}
