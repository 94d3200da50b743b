//! A request whose password is being checked.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::checker::PasswordCheck;
use super::{Access, Rule};
use crate::base::held::User;
use crate::base::tls_facts::ClientCertificate;
use crate::base::upstream_facts::UpstreamFacts;
use crate::http::body::{Failure, Wait};
use crate::http::exchange::{Cx, Decision, Exchange, Reply, Taker};
use crate::http::fields::{FieldName, Fields, OwnedFields};
use crate::http::message::{OwnedHead, RequestHead};

/// A check that has not been done by then is given up. As many as may wait, each of a second, are done by two threads within
/// that time.
const CHECK_TIMEOUT: Duration = Duration::from_secs(40);

/// A request whose password is being checked.
#[must_use = "a check that nobody waits for is cancelled"]
pub struct Check {
    pub(super) access: Access,
    pub(super) check: PasswordCheck,
    pub(super) user: Rc<User>,
}

impl Check {
    /// Waits for the check, and then answers 401, or as `then` does. No content is taken before: whoever answers takes it.
    /// `then` is what calls the service; it is called once, and only if the password is right.
    pub fn then(
        self,
        request: &RequestHead<'_>,
        cx: &Cx<'_>,
        then: impl FnOnce(&RequestHead<'_>, &mut Cx<'_>) -> Result<Reply, Failure> + 'static,
    ) -> Box<dyn Exchange> {
        let kept = Kept {
            head: request.to_owned(),
            certificate: cx.certificate.cloned(),
            identifier: cx.identifier.map(|(name, value)| (name.clone(), value.into())),
        };
        let until = cx.now + CHECK_TIMEOUT;
        Box::new(Waiting { state: State::Checking(Box::new((self, kept))), then: Some(then), end: None, until })
    }
}

/// What a service gets when it is called, and an exchange does not.
struct Kept {
    head: OwnedHead,
    certificate: Option<ClientCertificate>,
    identifier: Option<(FieldName, Box<[u8]>)>,
}

struct Waiting<F> {
    state: State,
    /// `None` once it was called.
    then: Option<F>,
    /// The end of the request's content, if it came before anybody was there to be told.
    end: Option<Option<OwnedFields>>,
    until: Instant,
}

enum State {
    Checking(Box<(Check, Kept)>),
    /// The password is right, and this decides.
    Passed(Box<dyn Exchange>),
    /// Only while it is asked.
    Asked,
}

impl<F> Taker for Waiting<F> {
    fn take(&mut self, _content: &[u8], _cx: &mut Cx<'_>) -> Result<usize, Failure> {
        Ok(0)
    }

    fn end(&mut self, trailers: Fields<'_>, _cx: &mut Cx<'_>) -> Result<(), Failure> {
        self.end = Some((!trailers.is_empty()).then(|| trailers.to_owned()));
        Ok(())
    }

    fn kept_bytes(&self) -> usize {
        let trailers = self.end.as_ref().and_then(Option::as_ref);
        trailers.map_or(0, OwnedFields::memory_bytes)
    }
}

impl<F> Exchange for Waiting<F>
where
    F: FnOnce(&RequestHead<'_>, &mut Cx<'_>) -> Result<Reply, Failure> + 'static,
{
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        if !matches!(self.state, State::Passed(_)) {
            return Some(self);
        }
        if let State::Passed(exchange) = &mut self.state { exchange.taker() } else { None }
    }

    fn ends_with_client(&self) -> bool {
        if let State::Passed(exchange) = &self.state { exchange.ends_with_client() } else { false }
    }

    fn upstream(&self) -> Option<Rc<UpstreamFacts>> {
        if let State::Passed(exchange) = &self.state { exchange.upstream() } else { None }
    }

    fn respond(mut self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        let exchange = match std::mem::replace(&mut self.state, State::Asked) {
            State::Passed(exchange) => exchange,
            State::Checking(checking) => {
                let result = match checking.0.check.result(cx.now) {
                    None if cx.now < self.until => {
                        self.state = State::Checking(checking);
                        let until = self.until;
                        return Ok(Decision::Pending(self, Wait::Job(until)));
                    }
                    result => result,
                };
                let (Check { access, user, .. }, kept) = *checking;
                let refused = match result {
                    Some(Ok(true)) => None,
                    Some(Ok(false)) => Some((Rule::Password, "the user or the password is wrong")),
                    Some(Err(_)) => return Err(Failure::new("a check of a password died")),
                    None => Some((Rule::Checks, "the check of the password took too long")),
                };
                if let Some((rule, why)) = refused {
                    return Ok(Decision::Respond(access.refuse(rule, why, cx)));
                }
                user.confirm();
                match self.pass(kept, cx)? {
                    Reply::Respond(mut response) => {
                        self.tell_end(response.body.taker(), cx)?;
                        return Ok(Decision::Respond(response));
                    }
                    Reply::Upgrade(tunnel) => return Ok(Decision::Upgrade(tunnel)),
                    Reply::Decide(exchange) => exchange,
                }
            }
            State::Asked => return Err(Failure::new("an exchange decides once")),
        };
        self.ask(exchange, cx)
    }
}

impl<F> Waiting<F>
where
    F: FnOnce(&RequestHead<'_>, &mut Cx<'_>) -> Result<Reply, Failure> + 'static,
{
    /// Calls the service, as it would have been called before.
    fn pass(&mut self, kept: Kept, cx: &Cx<'_>) -> Result<Reply, Failure> {
        let then = self.then.take().ok_or_else(|| Failure::new("a service is called once"))?;
        let identifier = kept.identifier.as_ref().map(|(name, value)| (name, &**value));
        let mut cx = Cx { certificate: kept.certificate.as_ref(), identifier, ..*cx };
        then(&kept.head.as_head(), &mut cx)
    }

    /// Asks the exchange that decides, and tells it about the end of the content if that came before it was there.
    fn ask(mut self: Box<Self>, exchange: Box<dyn Exchange>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        let decision = match exchange.respond(cx)? {
            Decision::Pending(mut exchange, _) if self.end.is_some() => {
                self.tell_end(exchange.taker(), cx)?;
                exchange.respond(cx)?
            }
            decision => decision,
        };
        Ok(match decision {
            Decision::Pending(exchange, wait) => {
                self.state = State::Passed(exchange);
                Decision::Pending(self, wait)
            }
            Decision::Interim(exchange, status, fields) => {
                self.state = State::Passed(exchange);
                Decision::Interim(self, status, fields)
            }
            Decision::Respond(mut response) => {
                self.tell_end(response.body.taker(), cx)?;
                Decision::Respond(response)
            }
            Decision::Upgrade(tunnel) => Decision::Upgrade(tunnel),
        })
    }

    /// The content has ended before whoever takes it was there.
    fn tell_end(&mut self, taker: Option<&mut dyn Taker>, cx: &mut Cx<'_>) -> Result<(), Failure> {
        let (Some(trailers), Some(taker)) = (self.end.take(), taker) else { return Ok(()) };
        taker.end(trailers.as_ref().map_or(Fields::default(), OwnedFields::as_fields), cx)
    }
}
