//! `POST /reload`: the configuration is read again, and the answer says what came of it.

use std::time::Duration;

use super::fresh;
use super::inspection_queue::Question;
use crate::http::body::{Body, Failure, Wait};
use crate::http::exchange::{Cx, Decision, Exchange};
use crate::http::media_type::TEXT_UTF8;
use crate::http::status::Status;
use crate::observe::report::ReloadOutcome;

/// When an unanswered order is looked at again; in practice the answer always comes earlier.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request that waits for the outcome: 200 if the configuration was taken, 409 if it was refused.
pub struct Reload(pub Question<ReloadOutcome>);

impl Exchange for Reload {
    fn respond(self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        let (status, text) = match self.0.answer() {
            None => return Ok(Decision::Pending(self, Wait::Until(cx.now + PATIENCE))),
            Some(Ok(text)) => (Status::OK, text),
            Some(Err(text)) => (Status::CONFLICT, text),
        };
        Ok(Decision::Respond(fresh(status, TEXT_UTF8, Body::from(format!("{text}\n")))))
    }
}
