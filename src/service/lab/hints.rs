//! `GET /hints`: an interim response before the final one.

use crate::http::body::{Body, Failure};
use crate::http::exchange::{Cx, Decision, Exchange, Reply};
use crate::http::fields::{FieldName, FieldSet, FieldValue};
use crate::http::media_type::TEXT;
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::router::Params;

const LINK: FieldName = FieldName::from_static("Link");
const STYLE: FieldValue = FieldValue::from_static("</style.css>; rel=preload; as=style");

/// `GET /hints`: 103 Early Hints (RFC 8297) with a Link, and then 200.
pub fn hints(_: &RequestHead<'_>, _: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    Ok(Reply::Decide(Box::new(Hints { given: false })))
}

struct Hints {
    given: bool,
}

impl Exchange for Hints {
    fn respond(mut self: Box<Self>, _cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        if !self.given {
            self.given = true;
            return Ok(Decision::Interim(self, Status::EARLY_HINTS, FieldSet::new([(LINK, &STYLE)])));
        }
        let text = Body::from_static(b"103 Early Hints came before this.\n");
        Ok(Decision::Respond(Response::new(Status::OK).with_content(TEXT, text)))
    }
}
