//! `GET /delay/{ms}`: an answer that takes its time.

use std::time::{Duration, Instant};

use super::arguments::{Argument, or_refusal};
use crate::base::json::Object;
use crate::http::body::{Body, Failure, Wait};
use crate::http::exchange::{Cx, Decision, Exchange, Reply};
use crate::http::media_type::JSON;
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::router::Params;

/// The longest delay, in milliseconds: ten minutes.
const DELAY_MS_MAX: u64 = 600_000;

/// `GET /delay/{ms}`: answers after that many milliseconds.
pub fn delay(_: &RequestHead<'_>, params: &Params<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
    let delay_ms = Argument::path(params, "ms").number(0..=DELAY_MS_MAX);
    or_refusal(delay_ms.map(|delay_ms| {
        let until = cx.now + Duration::from_millis(delay_ms);
        Reply::Decide(Box::new(Delay { delay_ms, until }))
    }))
}

struct Delay {
    delay_ms: u64,
    until: Instant,
}

impl Exchange for Delay {
    fn respond(self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        if cx.now < self.until {
            let until = self.until;
            return Ok(Decision::Pending(self, Wait::Until(until)));
        }
        let content = Object::new().number("delayed_ms", self.delay_ms).finish();
        Ok(Decision::Respond(Response::new(Status::OK).with_content(JSON, Body::from(content))))
    }
}
