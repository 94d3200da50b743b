//! Checks passwords on job threads, and remembers for a while what came of it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::client::ClientKey;
use super::credentials::UserPass;
use super::expiries::Expiries;
use super::secret::Secret;
use super::users::{Account, Users};
use crate::base::job_name::JobKind;
use crate::base::job_pool::JobDied;
use crate::http::exchange::Cx;
use crate::service::flights::{Flights, Joined};

/// For so long a right password is not checked again.
pub const RIGHT_FOR: Duration = Duration::from_secs(60);
/// For so long a wrong one is not.
pub const WRONG_FOR: Duration = Duration::from_secs(5);
/// So many wrong ones are remembered. A right one is remembered for each user.
const WRONG_MAX: usize = 1024;
/// So many passwords of one client may wait to be checked: a quarter of what may wait in all (`JobPoolLimits`), so that one
/// client does not keep all others out.
const CHECKS_PER_CLIENT_MAX: usize = 16;

/// Checks that have not been done, by client. Each job has a part in the token of its client, so that it counts until it is
/// done or skipped.
#[derive(Debug, Default)]
pub struct CheckingClients(HashMap<ClientKey, Weak<()>>);

impl CheckingClients {
    /// A place for one more check of this client, if it may have one.
    fn enter(&mut self, client: ClientKey) -> Option<Arc<()>> {
        // As many live ones as there may be jobs: what this looks at is bounded.
        if self.0.len() >= 256 {
            self.0.retain(|_, token| token.strong_count() > 0);
        }
        let known = self.0.get(&client).and_then(Weak::upgrade);
        // One of the strong ones is ours.
        if known.as_ref().is_some_and(|token| Arc::strong_count(token) > CHECKS_PER_CLIENT_MAX) {
            return None;
        }
        Some(known.unwrap_or_else(|| {
            let token = Arc::new(());
            self.0.insert(client, Arc::downgrade(&token));
            token
        }))
    }
}

/// Checks the passwords of one file of users.
#[derive(Debug)]
pub struct Checker {
    users: Arc<Users>,
    secret: Rc<Secret>,
    began: Instant,
    /// The last right password of each user, as its hash, and until when it is not checked again. A flood of wrong ones takes
    /// nothing away from here.
    right: RefCell<Vec<Option<(Tag, Instant)>>>,
    wrong: RefCell<Expiries>,
    flights: Flights<bool>,
    clients: Rc<RefCell<CheckingClients>>,
}

/// A user and a password, hashed with our secret: no password stays in memory.
type Tag = [u8; 32];

/// What is known of a password.
pub enum Checked {
    /// It is right, or wrong.
    Known(bool),
    /// It is being checked.
    Later(PasswordCheck),
    /// As many as may wait are waiting.
    Full,
}

/// A password that is being checked.
#[derive(Debug)]
pub struct PasswordCheck {
    checker: Rc<Checker>,
    tag: Tag,
    account: Account,
    joined: Joined<bool>,
}

impl Checker {
    /// Nothing was checked so far.
    pub fn new(users: Arc<Users>, secret: Rc<Secret>, clients: Rc<RefCell<CheckingClients>>, now: Instant) -> Checker {
        let right = RefCell::new(vec![None; users.count()]);
        let wrong = RefCell::new(Expiries::new(WRONG_MAX));
        Checker { users, secret, began: now, right, wrong, flights: Flights::default(), clients }
    }

    /// Whether the password is right, if that is known, or else the job that checks it. Those who ask about the same user and
    /// password meanwhile wait for the same job.
    pub fn check(self: &Rc<Checker>, pair: &UserPass, client: ClientKey, cx: &Cx<'_>) -> Checked {
        let tag = self.secret.hash(&[pair.user(), pair.password()]);
        let account = self.users.account(pair.user(), number(&self.secret.hash(&[pair.user()])));
        if let Account::Known(user) = account
            && self.right.borrow()[user].is_some_and(|(right, until)| right == tag && cx.now < until)
        {
            return Checked::Known(true);
        }
        if self.wrong.borrow().get(number(&tag)) > self.nanos(cx.now) {
            return Checked::Known(false);
        }
        let joined = match self.flights.joined(&tag, cx) {
            Some(joined) => joined,
            None => match self.start(tag, account, pair, client, cx) {
                Some(joined) => joined,
                None => return Checked::Full,
            },
        };
        Checked::Later(PasswordCheck { checker: Rc::clone(self), tag, account, joined })
    }

    fn start(
        &self,
        tag: Tag,
        account: Account,
        pair: &UserPass,
        client: ClientKey,
        cx: &Cx<'_>,
    ) -> Option<Joined<bool>> {
        let place = self.clients.borrow_mut().enter(client)?;
        let (users, password) = (Arc::clone(&self.users), pair.password().to_vec());
        let job = move || {
            let is_right = users.verify(account, &password);
            drop(place);
            is_right
        };
        self.flights.join(&tag, (JobKind::Password, b""), cx, job).ok()
    }

    fn nanos(&self, now: Instant) -> u64 {
        // From 1: the moment 0 is none.
        1 + now.saturating_duration_since(self.began).as_nanos() as u64
    }

    fn remember(&self, tag: Tag, account: Account, is_right: bool, now: Instant) {
        match account {
            Account::Known(user) if is_right => self.right.borrow_mut()[user] = Some((tag, now + RIGHT_FOR)),
            _ => self.wrong.borrow_mut().put(number(&tag), self.nanos(now + WRONG_FOR)),
        }
    }
}

/// The first bytes of a hash, as a number.
fn number(tag: &Tag) -> u64 {
    tag.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl PasswordCheck {
    /// Whether the password is right, if that is known by now.
    pub fn result(&self, now: Instant) -> Option<Result<bool, JobDied>> {
        let result = self.joined.result()?;
        if let Ok(is_right) = result {
            self.checker.remember(self.tag, self.account, is_right, now);
        }
        Some(result)
    }
}
