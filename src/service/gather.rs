//! Small content, gathered before it is answered.

use super::errors;
use crate::http::body::{Failure, Wait};
use crate::http::exchange::{Cx, Decision, Exchange, Reply, Taker};
use crate::http::fields::Fields;
use crate::http::message::{Announced, RequestHead, Response};

/// Space reserved when the first content arrives, in bytes. More is reserved only for content that is there, because
/// announcing it costs a client nothing.
const INITIAL_BYTES_MAX: usize = 4 * 1024;

/// Gathers the request's content up to `limit` bytes and answers with what `then` makes of it. Content that is longer
/// is answered with 413: before any of it is read if its length was announced, or else when the byte behind the limit
/// arrives. That byte is not taken.
pub fn gather(
    request: &RequestHead<'_>,
    limit: usize,
    then: impl FnOnce(&[u8], &mut Cx<'_>) -> Result<Response, Failure> + 'static,
) -> Reply {
    let announced = match request.announced {
        Announced::Nothing => 0,
        Announced::Length(length) if length > limit as u64 => {
            return Reply::Respond(errors::content_too_large(limit as u64));
        }
        Announced::Length(length) => length as usize,
        Announced::Unknown => INITIAL_BYTES_MAX.min(limit),
    };
    let expected = announced.min(INITIAL_BYTES_MAX);
    Reply::Decide(Box::new(Gathering { content: Vec::new(), expected, limit, state: State::Gathering, then }))
}

struct Gathering<F> {
    content: Vec<u8>,
    /// Space to reserve at least, in bytes.
    expected: usize,
    limit: usize,
    state: State,
    then: F,
}

#[derive(PartialEq)]
enum State {
    Gathering,
    TooLarge,
    Complete,
}

impl<F> Taker for Gathering<F> {
    fn take(&mut self, content: &[u8], _cx: &mut Cx<'_>) -> Result<usize, Failure> {
        let room = self.limit - self.content.len();
        let taken = &content[..content.len().min(room)];
        if self.content.capacity() - self.content.len() < taken.len() {
            // Doubling would waste up to half of the memory.
            let spare = self.expected.saturating_sub(taken.len()).max(self.content.len() / 4);
            self.content.reserve_exact(taken.len() + spare);
        }
        self.content.extend_from_slice(taken);
        if taken.len() < content.len() {
            self.state = State::TooLarge;
        }
        Ok(taken.len())
    }

    fn end(&mut self, _trailers: Fields<'_>, _cx: &mut Cx<'_>) -> Result<(), Failure> {
        if self.state == State::Gathering {
            self.state = State::Complete;
        }
        Ok(())
    }

    fn kept_bytes(&self) -> usize {
        self.content.capacity()
    }
}

impl<F> Exchange for Gathering<F>
where
    F: FnOnce(&[u8], &mut Cx<'_>) -> Result<Response, Failure> + 'static,
{
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        Some(self)
    }

    fn respond(self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        match self.state {
            State::Gathering => Ok(Decision::Pending(self, Wait::Content)),
            State::TooLarge => Ok(Decision::Respond(errors::content_too_large(self.limit as u64))),
            State::Complete => (self.then)(&self.content, cx).map(Decision::Respond),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::body::Body;
    use crate::http::media_type::JSON;
    use crate::http::status::Status;
    use crate::service::lab::harness::{Played, Request, World};

    /// What became of these pieces, gathered up to `limit` and answered with themselves.
    fn gathered(announced: Announced, limit: usize, pieces: &[&[u8]]) -> Played {
        let request = Request::post("/", announced);
        let answer = |content: &[u8], _: &mut Cx<'_>| {
            Ok(Response::new(Status::OK).with_content(JSON, Body::from(content.to_vec())))
        };
        let reply = gather(&request.head(), limit, answer);
        World::new().finish(reply, pieces, &[64]).unwrap()
    }

    #[test]
    fn an_announced_length_beyond_the_limit_is_refused_unread() {
        let request = Request::post("/", Announced::Length(9));
        let reply = gather(&request.head(), 8, |_, _| panic!("there is nothing to answer"));
        assert!(matches!(reply, Reply::Respond(_)));
        let answer = gathered(Announced::Length(9), 8, &[b"123456789"]);
        assert_eq!((answer.status, answer.taken), (413, 0));
        assert_eq!(answer.text(), r#"{"error":"content_too_large","limit":8}"#);
        assert_eq!(gathered(Announced::Length(u64::MAX), 8, &[]).status, 413);
    }

    #[test]
    fn content_that_was_not_announced_is_refused_when_it_passes_the_limit() {
        assert_eq!(gathered(Announced::Unknown, 8, &[b"1234", b"5678"]).text(), "12345678");
        let answer = gathered(Announced::Unknown, 8, &[b"1234", b"5678", b"9", b"never taken"]);
        assert_eq!((answer.status, answer.taken), (413, 8));
        let answer = gathered(Announced::Unknown, 8, &[b"12345", b"6789"]);
        assert_eq!((answer.status, answer.taken), (413, 8));
    }

    #[test]
    fn no_content_is_content_of_no_length() {
        assert_eq!(gathered(Announced::Nothing, 8, &[]).text(), "");
        assert_eq!(gathered(Announced::Unknown, 0, &[]).text(), "");
        assert_eq!(gathered(Announced::Unknown, 0, &[b"1"]).status, 413);
    }

    #[test]
    fn a_failure_of_the_answer_is_passed_on() {
        let request = Request::post("/", Announced::Nothing);
        let reply = gather(&request.head(), 8, |_, _| Err(Failure::new("the cause")));
        assert_eq!(World::new().finish(reply, &[], &[64]).unwrap_err().cause, "the cause");
    }

    proptest! {
        #[test]
        fn pieces_arrive_as_one(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..10)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let whole = pieces.concat();
            let answer = gathered(Announced::Unknown, 64, &pieces);
            prop_assert_eq!(answer.status, if whole.len() > 64 { 413 } else { 200 });
            prop_assert!(whole.len() > 64 || answer.content == whole);
            prop_assert_eq!(answer.taken, whole.len().min(64), "the cut decides nothing");
        }
    }
}
