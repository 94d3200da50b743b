//! Small content, gathered before it is answered.

use super::{Cx, Decision, Exchange, Reply, errors};
use crate::base::ring::Room;
use crate::http::body::{Failure, Pull, Wait};
use crate::http::fields::Fields;
use crate::http::message::{Announced, RequestHead, Response};

/// Space reserved before anything has arrived, in bytes. More is a matter of what does arrive: to announce is free.
const INITIAL_BYTES_MAX: usize = 4 * 1024;

/// Gathers the request's content up to `limit` bytes and answers with what `then` makes of it. Content that is longer
/// is answered with 413: before any of it is read if its length was announced, or else as soon as it is.
pub fn gather(
    request: &RequestHead<'_>,
    limit: usize,
    then: impl FnOnce(&[u8], &mut Cx<'_>) -> Result<Response, Failure> + 'static,
) -> Reply {
    let announced = match request.announced {
        Announced::Nothing => 0,
        Announced::Length(length) if length > limit as u64 => return Reply::Respond(errors::content_too_large(limit)),
        Announced::Length(length) => length as usize,
        Announced::Unknown => INITIAL_BYTES_MAX.min(limit),
    };
    let content = Vec::with_capacity(announced.min(INITIAL_BYTES_MAX));
    Reply::Converse(Box::new(Gathering { content, limit, state: State::Gathering, then: Some(then) }))
}

struct Gathering<F> {
    content: Vec<u8>,
    limit: usize,
    state: State,
    then: Option<F>,
}

#[derive(PartialEq)]
enum State {
    Gathering,
    TooLarge,
    Complete,
}

impl<F> Exchange for Gathering<F>
where
    F: FnOnce(&[u8], &mut Cx<'_>) -> Result<Response, Failure>,
{
    fn take(&mut self, content: &[u8], _cx: &mut Cx<'_>) -> Result<usize, Failure> {
        if content.len() > self.limit - self.content.len() {
            self.state = State::TooLarge;
            self.content = Vec::new();
        }
        if self.state == State::TooLarge {
            return Ok(0);
        }
        self.content.extend_from_slice(content);
        Ok(content.len())
    }

    fn end(&mut self, _trailers: Fields<'_>, _cx: &mut Cx<'_>) -> Result<(), Failure> {
        if self.state == State::Gathering {
            self.state = State::Complete;
        }
        Ok(())
    }

    fn respond(&mut self, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        match self.state {
            State::Gathering => Ok(Decision::Pending(Wait::Content)),
            State::TooLarge => Ok(Decision::Respond(errors::content_too_large(self.limit))),
            State::Complete => {
                let then = self.then.take().ok_or_else(|| Failure::new("asked for a second response"))?;
                then(&self.content, cx).map(Decision::Respond)
            }
        }
    }

    fn pull(&mut self, _room: &mut Room<'_>, _cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        Err(Failure::new("pulled from an exchange that only gathers"))
    }
}
