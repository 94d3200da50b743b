//! Checks: requests of our own that ask an address whether it is well.
//!
//! A check is an exchange without a client, on a connection of its own: whether a new connection can be made is part of the
//! question. Status 2xx or 3xx in time is a good answer, whatever the content says. The content is thrown away, and the
//! connection is closed then: an upstream that serves one connection at a time must not be kept busy by checks.

use std::rc::Rc;

use super::group::{AddressId, Check};
use super::hub::Hub;
use super::message::Outgoing;
use super::relay::Relay;
use super::target::Target;
use crate::base::moment::Moment;
use crate::base::upstream_facts::UpstreamFacts;
use crate::base::wake::LocalWaker;
use crate::http::status::Status;
use crate::observe::upstream::Failure;

/// The checks that run: one for each address at most, because each is over before the next one is due.
#[derive(Default)]
pub struct Checks(Vec<Running>);

struct Running {
    target: Rc<Target>,
    id: AddressId,
    relay: Rc<Relay>,
    /// Without an answer until then the check has failed.
    until: Moment,
    /// What the check says is known, and its response is read to its end.
    is_answered: bool,
}

impl Checks {
    /// When the next of them has taken too long.
    pub fn due(&self) -> Option<Moment> {
        self.0.iter().map(|check| check.until).min()
    }

    /// Looks at those that run, and begins those that are due. `waker` has this called again when there is news.
    pub fn look(&mut self, hub: &Hub, waker: &LocalWaker, now: Moment) {
        self.0.retain_mut(|check| check.goes_on(hub, now));
        for (target, check) in hub.checks_due(now) {
            self.0.extend(begin(&target, &check, hub, waker, now));
        }
    }
}

fn begin(target: &Rc<Target>, check: &Check, hub: &Hub, waker: &LocalWaker, now: Moment) -> Option<Running> {
    let route = target.route();
    let (health, upstream) = (route.health.as_ref()?, &route.upstreams[check.upstream]);
    let outgoing = Rc::new(Outgoing::check(&health.target, route.host_for(upstream, None)));
    let facts = Rc::new(UpstreamFacts::default());
    facts.begin(check.address, now);
    let relay = Relay::new(outgoing, Rc::clone(route), &[], hub.rings(), waker.clone(), facts);
    // Without room it is put off until the next one is due.
    hub.dial_for_check(target, check, Rc::clone(&relay)).then_some(Running {
        target: Rc::clone(target),
        id: check.id,
        relay,
        until: check.until,
        is_answered: false,
    })
}

impl Running {
    /// Tells what it says as soon as that is known. False: it is over.
    fn goes_on(&mut self, hub: &Hub, now: Moment) -> bool {
        if self.target.is_retired() {
            // Nobody wants to know any more.
            self.relay.abandon();
            return false;
        }
        while self.relay.next_interim().is_some() {}
        self.relay.skip_response();
        let (is_late, failed) = (now >= self.until, self.relay.failure());
        if !self.is_answered {
            let result = match (self.relay.take_head(), &failed) {
                (Some(head), _) => Some(verdict(head.response.status)),
                // What fails on our side says nothing about the address.
                (None, Some(failed)) => failed.failure().map(Err),
                (None, None) => is_late.then(|| Err(self.late())),
            };
            if let Some(result) = result {
                self.is_answered = true;
                hub.on_check(&self.target, self.id, result, now);
            }
        }
        if is_late {
            self.relay.abandon();
        }
        !is_late && failed.is_none() && !self.relay.response_is_over()
    }

    /// How an address fails that has not answered in time.
    fn late(&self) -> Failure {
        let is_connected = self.relay.facts.attempt().is_some_and(|attempt| attempt.connected.is_some());
        if is_connected { Failure::Timeout } else { Failure::ConnectTimeout }
    }
}

fn verdict(status: Status) -> Result<(), Failure> {
    match status.code() {
        200..400 => Ok(()),
        code => Err(Failure::Status(code)),
    }
}
