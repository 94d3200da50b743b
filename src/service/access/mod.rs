//! What a route asks of a request before it is answered.
//!
//! [`Rules`] are what is written for a route. They are made when the server starts, or on a job thread when its configuration is
//! read anew. The [`Desk`] makes an [`Access`] of them on the loop's thread. It knows the buckets, counts and outcomes of the
//! rules that were there before: a configuration that is read anew gives nobody a new burst, and checks no password again.
//!
//! The cheapest rule comes first: addresses, connections, the rate, and then credentials, so that a password is guessed no
//! faster than the rate allows.

pub mod addresses;
mod checker;
pub mod client;
pub mod connections;
pub mod credentials;
mod expiries;
pub mod lines;
pub mod rate_limit;
pub mod rule;
pub mod secret;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod users;
mod waiting;

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;

use self::addresses::{AddressRules, Verdict};
use self::checker::{Checked, Checker, CheckingClients};
use self::client::{Client, ClientKey};
use self::connections::Connections;
use self::credentials::Credentials;
use self::rate_limit::{Limiter, RateLimit};
pub use self::rule::{Refusals, Rule};
use self::secret::Secret;
use self::tokens::Tokens;
use self::users::Users;
pub use self::waiting::Check;
use crate::base::held::{Held, User};
use crate::http::exchange::Cx;
use crate::http::fields::{FieldName, FieldValue, RETRY_AFTER};
use crate::http::forwarded::TrustedProxies;
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::errors;
use crate::service::explanation::Explanation;

const WWW_AUTHENTICATE: FieldName = FieldName::from_static("WWW-Authenticate");
const RATE_LIMIT: FieldName = FieldName::from_static("RateLimit");
const RATE_LIMIT_POLICY: FieldName = FieldName::from_static("RateLimit-Policy");
/// When somebody may come again for whom there was no place, in seconds.
const SOON: u64 = 1;

/// What is written for a route. Nothing of it: everybody may ask.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// `allow` and `deny`.
    pub addresses: Option<Arc<AddressRules>>,
    /// `max-connections-per-client`.
    pub connections_max: Option<Scoped<u32>>,
    /// `rate-limit`.
    pub rate: Option<Scoped<RateLimit>>,
    /// `basic-auth`. With `tokens`, either is enough.
    pub users: Option<Arc<Users>>,
    /// `bearer-tokens`.
    pub tokens: Option<Arc<Tokens>>,
    /// `realm`.
    pub realm: Realm,
}

/// A rule that counts, and where it is written. What has the same scope counts together: a limit that routes inherit is one
/// limit, before and after the configuration is read anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scoped<T> {
    /// Such as `example.org /api/`, or nothing for what holds for the whole server.
    pub scope: Arc<str>,
    /// The rule.
    pub rule: T,
}

/// What browsers show when they ask for a password: printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm(String);

impl Default for Realm {
    fn default() -> Realm {
        Realm("restricted".into())
    }
}

impl std::str::FromStr for Realm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Realm, &'static str> {
        let is_printable = !text.is_empty() && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if is_printable { Ok(Realm(text.into())) } else { Err("a realm has printable ASCII characters, at least one") }
    }
}

/// What counts over all routes and generations of the configuration. One for the loop.
#[derive(Debug, Default)]
pub struct Desk {
    refusals: Rc<Refusals>,
    secret: Rc<Secret>,
    checking: Rc<RefCell<CheckingClients>>,
    limiters: Known<(Arc<str>, RateLimit), Limiter>,
    connections: Known<Arc<str>, Connections>,
    /// By the fingerprint of their file.
    checkers: Known<[u8; 32], Checker>,
}

/// What is used somewhere, by its key.
#[derive(Debug)]
struct Known<K, V>(HashMap<K, Weak<V>>);

impl<K, V> Default for Known<K, V> {
    fn default() -> Known<K, V> {
        Known(HashMap::new())
    }
}

impl<K: Hash + Eq, V> Known<K, V> {
    /// What is known by this key, or a new one.
    fn get(&mut self, key: K, make: impl FnOnce() -> V) -> Rc<V> {
        if let Some(known) = self.0.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        // Looked through whenever it would grow: so it takes twice as much as is used, at most.
        if self.0.len() == self.0.capacity() {
            self.0.retain(|_, known| known.strong_count() > 0);
        }
        let made = Rc::new(make());
        self.0.insert(key, Rc::downgrade(&made));
        made
    }
}

impl Desk {
    /// What these rules ask of requests that come directly or through these proxies.
    pub fn open(&mut self, rules: &Rules, proxies: &Rc<TrustedProxies>, now: Instant) -> Access {
        let limiter = rules.rate.as_ref().map(|Scoped { scope, rule }| {
            self.limiters.get((Arc::clone(scope), rule.clone()), || Limiter::new(rule.clone(), now))
        });
        let connections = rules
            .connections_max
            .as_ref()
            .map(|Scoped { scope, rule }| (self.connections.get(Arc::clone(scope), Connections::default), *rule));
        let checker = rules.users.as_ref().map(|users| {
            let (secret, checking) = (Rc::clone(&self.secret), Rc::clone(&self.checking));
            let make = || Checker::new(Arc::clone(users), secret, checking, now);
            self.checkers.get(users.fingerprint(), make)
        });
        Access(Rc::new(Gate {
            refusals: Rc::clone(&self.refusals),
            proxies: Rc::clone(proxies),
            limiter,
            connections,
            checker,
            rules: rules.clone(),
        }))
    }

    /// Requests that were refused so far, by rule.
    pub fn refusals(&self) -> &Rc<Refusals> {
        &self.refusals
    }
}

/// What a route asks. A handle: clones share it.
#[derive(Debug, Clone)]
pub struct Access(Rc<Gate>);

#[derive(Debug)]
struct Gate {
    rules: Rules,
    proxies: Rc<TrustedProxies>,
    refusals: Rc<Refusals>,
    limiter: Option<Rc<Limiter>>,
    connections: Option<(Rc<Connections>, u32)>,
    checker: Option<Rc<Checker>>,
}

/// What becomes of a request.
pub enum Admission {
    /// Nothing is against it.
    Passed,
    /// It is refused with this response, by this rule. That is counted and logged.
    Refused(Response, Rule),
    /// Its password is being checked.
    Checking(Check),
}

/// Who has sent a request.
enum Identified {
    /// Somebody who may ask; with the user if it was a password that told.
    As(Option<Rc<User>>),
    /// This user, if the password is right.
    Later(checker::PasswordCheck, Rc<User>),
}

impl Access {
    /// Whether this request is answered. If connections are counted, its own counts until the request is over, also while its
    /// password is checked: the request holds what is counted.
    pub fn admit(&self, request: &RequestHead<'_>, cx: &Cx<'_>) -> Admission {
        let refused = |rule, why: &str| Admission::Refused(self.refuse(rule, why, cx), rule);
        let gate = &*self.0;
        let client = Client::of(request.fields, cx, &gate.proxies);
        let key = ClientKey::of(client, cx.peer);
        if let Some((Verdict::Deny, reason)) = gate.rules.addresses.as_ref().map(|rules| rules.judge(client)) {
            return refused(Rule::Address, &addresses::words(Verdict::Deny, reason));
        }
        let mut presence = None;
        if let Some((connections, max)) = &gate.connections {
            presence = connections.enter(key, cx.connection, *max);
            if presence.is_none() {
                return refused(Rule::Connections, &format!("max-connections-per-client: {max} are there already"));
            }
        }
        if let Some(limiter) = &gate.limiter
            && let Err(wait) = limiter.take(request.fields, key, cx.now)
        {
            return Admission::Refused(self.too_many(limiter.limit(), wait, cx), Rule::Rate);
        }
        let (admission, user) = match self.identify(request, key, cx) {
            Ok(Identified::As(user)) => (Admission::Passed, user),
            Ok(Identified::Later(check, user)) => {
                let check = Check { access: self.clone(), check, user: Rc::clone(&user) };
                (Admission::Checking(check), Some(user))
            }
            Err((rule, why)) => return refused(rule, why),
        };
        if presence.is_some() || user.is_some() {
            let place = presence.map(|presence| -> Box<dyn Any> { Box::new(presence) });
            cx.held.set(Some(Box::new(Held { place, user })));
        }
        admission
    }

    /// Whether the credentials of a request are enough, or the check that tells.
    fn identify(
        &self,
        request: &RequestHead<'_>,
        key: ClientKey,
        cx: &Cx<'_>,
    ) -> Result<Identified, (Rule, &'static str)> {
        let gate = &*self.0;
        if gate.checker.is_none() && gate.rules.tokens.is_none() {
            return Ok(Identified::As(None));
        }
        match (Credentials::of(request.fields), &gate.checker, &gate.rules.tokens) {
            (Credentials::Basic(pair), Some(checker), _) => match checker.check(&pair, key, cx) {
                Checked::Known(true) => {
                    let user = User::new(pair.user());
                    user.confirm();
                    Ok(Identified::As(Some(Rc::new(user))))
                }
                Checked::Known(false) => Err((Rule::Password, "the user or the password is wrong")),
                Checked::Later(check) => Ok(Identified::Later(check, Rc::new(User::new(pair.user())))),
                Checked::Full => Err((Rule::Checks, "too many passwords wait to be checked")),
            },
            (Credentials::Bearer(token), _, Some(tokens)) => match tokens.find(token) {
                Some(_) => Ok(Identified::As(None)),
                None => Err((Rule::Token, "the token is not known")),
            },
            (Credentials::None(why), _, _) => Err((Rule::Credentials, why)),
            (Credentials::Basic(_), None, _) => Err((Rule::Credentials, "Basic is not asked for, but Bearer")),
            (Credentials::Bearer(_), _, None) => Err((Rule::Credentials, "Bearer is not asked for, but Basic")),
        }
    }

    /// The response of a refusal, which is counted and logged.
    fn refuse(&self, rule: Rule, why: &str, cx: &Cx<'_>) -> Response {
        self.0.refusals.count(rule);
        cx.complain(Level::Info, format_args!("refused by the rule {}: {why}", rule.name()));
        match rule {
            Rule::Address => errors::error(Status::FORBIDDEN, "forbidden", []),
            Rule::Credentials | Rule::Password | Rule::Token => self.challenge(rule),
            Rule::Connections => retry(errors::error(Status::SERVICE_UNAVAILABLE, "too_many_connections", []), SOON),
            Rule::Checks => retry(errors::error(Status::SERVICE_UNAVAILABLE, "too_many_password_checks", []), SOON),
            Rule::Rate => errors::error(Status::TOO_MANY_REQUESTS, "too_many_requests", []),
        }
    }

    /// 429 (RFC 6585 §4), which says when to come again.
    fn too_many(&self, limit: &RateLimit, wait: Duration, cx: &Cx<'_>) -> Response {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let response = self.refuse(Rule::Rate, &format!("rate-limit: {limit}"), cx);
        retry(response, seconds)
            .with_field(RATE_LIMIT_POLICY, limit.policy())
            .with_field(RATE_LIMIT, limit.nothing_left(seconds))
    }

    /// 401, with a challenge for each scheme that would be enough (RFC 9110 §11.6.1).
    fn challenge(&self, rule: Rule) -> Response {
        let gate = &*self.0;
        let realm = gate.rules.realm.0.replace('\\', "\\\\").replace('"', "\\\"");
        let mut response = errors::error(Status::UNAUTHORIZED, "unauthorized", []);
        let mut challenge = |text: String| {
            response.fields.extend(FieldValue::new(text).ok().map(|value| (WWW_AUTHENTICATE, value)));
        };
        if gate.checker.is_some() {
            // RFC 7617 §2.1: names and passwords are compared as UTF-8.
            challenge(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
        }
        if gate.rules.tokens.is_some() {
            // RFC 6750 §3.1: a request that has no token is told of no error.
            let error = if rule == Rule::Token { ", error=\"invalid_token\"" } else { "" };
            challenge(format!("Bearer realm=\"{realm}\"{error}"));
        }
        response
    }

    /// Tells what becomes of a request, and by which rule. Takes no token, counts nothing, and may block to check a password.
    /// Says whether the request is answered.
    pub fn explain(&self, request: &RequestHead<'_>, cx: &Cx<'_>, explanation: &mut Explanation) -> bool {
        let gate = &*self.0;
        let client = Client::of(request.fields, cx, &gate.proxies);
        let key = ClientKey::of(client, cx.peer);
        if let Some((verdict, reason)) = gate.rules.addresses.as_ref().map(|rules| rules.judge(client)) {
            let outcome = if verdict == Verdict::Deny { ": 403" } else { "" };
            explanation.note("address", format!("{}{outcome}", addresses::words(verdict, reason)));
            if verdict == Verdict::Deny {
                return false;
            }
        }
        if let Some((connections, max)) = &gate.connections {
            let there = connections.of(key);
            explanation.note("connections", format!("max-connections-per-client: {max}, {there} there; more get 503"));
        }
        if let Some(limiter) = &gate.limiter {
            let wait = limiter.wait(request.fields, key, cx.now);
            let now = if wait.is_zero() { String::new() } else { format!(", now 429 for {wait:.1?}") };
            explanation.note("rate", format!("rate-limit: {}{now}; more get 429", limiter.limit()));
        }
        if gate.checker.is_none() && gate.rules.tokens.is_none() {
            return true;
        }
        let (answered, told) = match (Credentials::of(request.fields), &gate.rules.users, &gate.rules.tokens) {
            (Credentials::Basic(pair), Some(users), _) => {
                match users.verify(users.account(pair.user(), 0), pair.password()) {
                    true => (true, "basic-auth: the user and the password are right".into()),
                    false => (false, "basic-auth: the user or the password is wrong: 401".into()),
                }
            }
            (Credentials::Bearer(token), _, Some(tokens)) => match tokens.find(token) {
                Some(Some(name)) => (true, format!("bearer-tokens: the token of {name:?}")),
                Some(None) => (true, "bearer-tokens: the token is known".into()),
                None => (false, "bearer-tokens: the token is not known: 401".into()),
            },
            (Credentials::None(why), _, _) => (false, format!("{why}: 401")),
            (Credentials::Basic(_), None, _) => (false, "Basic is not asked for, but Bearer: 401".into()),
            (Credentials::Bearer(_), _, None) => (false, "Bearer is not asked for, but Basic: 401".into()),
        };
        explanation.note("credentials", told);
        answered
    }
}

/// The same response, which says in how many seconds to come again.
fn retry(response: Response, seconds: u64) -> Response {
    let value = FieldValue::new(seconds.to_string()).unwrap_or(FieldValue::from_static("1"));
    response.with_field(RETRY_AFTER, value)
}
