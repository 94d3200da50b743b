//! What upstreams need while the loop turns, besides their connections: the names that lead to them are resolved, by jobs, the
//! files of TLS are looked at, and those are asked that are to be asked whether they are well.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::earliest;
use super::tls_upkeep::TlsUpkeep;
use crate::base::job_name::{JobKind, JobName};
use crate::base::job_pool::{JobPool, Ticket};
use crate::base::moment::Moment;
use crate::base::resolved::Resolved;
use crate::base::wake::{WakeKey, Wakes};
use crate::net::tls::{Fault, Session, UpstreamTls};
use crate::service::proxy::checks::Checks;
use crate::service::proxy::hub::Hub;
use crate::service::proxy::link::Link;
use crate::service::proxy::names::{NameId, Names, Resolve};
use crate::service::proxy::route::UpstreamHost;
use crate::service::proxy::target::Target;

/// The upstreams of a loop.
pub(super) struct UpstreamUpkeep {
    pub(super) hub: Rc<Hub>,
    pub(super) tls: Option<TlsUpkeep<UpstreamTls>>,
    resolve: Resolve,
    names: Names,
    checks: Checks,
    users: Vec<NameUser>,
    /// Names that are being resolved.
    lookups: Vec<(NameId, Ticket<Result<Resolved, String>>)>,
}

/// An upstream that is known by its name.
struct NameUser {
    name: NameId,
    target: Rc<Target>,
    /// Its place in the route of the target.
    upstream: usize,
    port: u16,
}

impl UpstreamUpkeep {
    /// For the upstreams of this hub. Those that have TLS get it with `tls`, and `resolve` finds the addresses of a name.
    pub(super) fn new(hub: Rc<Hub>, tls: Option<UpstreamTls>, resolve: Resolve, now: Moment) -> UpstreamUpkeep {
        let tls = tls.map(|tls| TlsUpkeep::new(Arc::new(tls), now));
        let (names, checks, users, lookups) = (Names::default(), Checks::default(), Vec::new(), Vec::new());
        let mut upkeep = UpstreamUpkeep { hub, tls, resolve, names, checks, users, lookups };
        upkeep.follow_routes(now);
        upkeep
    }

    /// Looks after the targets of the routes that are in force now. Of the others, those stay for which requests wait until the
    /// name has addresses.
    fn follow_routes(&mut self, now: Moment) {
        self.hub.take_changed();
        self.forget_unused();
        let known: HashSet<*const Target> = self.users.iter().map(|user| Rc::as_ptr(&user.target)).collect();
        for target in self.hub.targets().into_iter().filter(|target| !known.contains(&Rc::as_ptr(target))) {
            for (index, upstream) in target.route().upstreams.iter().enumerate() {
                if let UpstreamHost::Name(host) = &upstream.host {
                    let name = self.names.add(host, now);
                    let user = NameUser { name, target: Rc::clone(&target), upstream: index, port: upstream.port };
                    self.tell(&user, !self.names.addresses(name).is_empty(), now);
                    self.users.push(user);
                }
            }
        }
        // Now, so that a name which only goes from one route to another is not asked for anew.
        let used: HashSet<NameId> = self.users.iter().map(|user| user.name).collect();
        self.names.retain(|name| used.contains(&name));
        self.lookups.retain(|(name, _)| used.contains(name));
    }

    /// Lets go of targets of earlier routes, but for those whose requests wait for addresses.
    fn forget_unused(&mut self) {
        self.users.retain(|user| !user.target.is_retired() || user.target.awaits_addresses(user.upstream));
    }

    /// What is known of its name.
    fn tell(&self, user: &NameUser, has_changed: bool, now: Moment) {
        if has_changed {
            let addresses = self.names.addresses(user.name).iter().map(|ip| SocketAddr::new(*ip, user.port));
            self.hub.set_addresses(&user.target, user.upstream, &addresses.collect::<Vec<_>>(), now);
        }
        if let Some(failing) = self.names.failing(user.name) {
            self.hub.set_unresolved(&user.target, user.upstream, &failing.error);
        }
    }

    /// When the loop is to look at what has changed, the next name is to be resolved, the next check is to begin or has taken too long, or the files of TLS are to be looked
    /// at, if anything is.
    pub(super) fn due(&self) -> Option<Moment> {
        if self.hub.has_changed() {
            return Some(Moment::default());
        }
        let files = self.tls.as_ref().map(TlsUpkeep::due);
        earliest(earliest(files, self.names.due_at()), earliest(self.hub.next_check_at(), self.checks.due()))
    }

    /// Passes on the addresses that were found, and begins to look for those that are due; and so with checks and files.
    pub(super) fn look(&mut self, now: Moment, jobs: &JobPool, wakes: &Wakes) {
        if self.hub.has_changed() {
            self.follow_routes(now);
        }
        if !self.lookups.is_empty() {
            self.take_answers(now);
        }
        if let Some(tls) = &mut self.tls {
            tls.look(now, jobs, wakes);
        }
        self.checks.look(&self.hub, &wakes.local_waker(WakeKey::NOBODY), now);
        while let Some(id) = self.names.take_due(now) {
            let (host, resolve) = (Arc::clone(self.names.host(id)), Arc::clone(&self.resolve));
            let name = JobName::new(JobKind::Resolve, host.as_bytes(), None);
            match jobs.submit(name, wakes.waker(WakeKey::NOBODY), move || resolve(&host)) {
                Ok(ticket) => self.lookups.push((id, ticket)),
                Err(full) => self.on_answer(id, Err(full.to_string()), now),
            }
        }
    }

    fn take_answers(&mut self, now: Moment) {
        for (id, mut ticket) in std::mem::take(&mut self.lookups) {
            match ticket.take() {
                Some(answer) => self.on_answer(id, answer.unwrap_or_else(|died| Err(died.to_string())), now),
                None => self.lookups.push((id, ticket)),
            }
        }
    }

    fn on_answer(&mut self, id: NameId, answer: Result<Resolved, String>, now: Moment) {
        let answered = self.names.on_answer(id, answer, now);
        if let Some((level, line)) = answered.news {
            log::log!(level, "{line}");
        }
        self.users.iter().filter(|user| user.name == id).for_each(|user| self.tell(user, answered.has_changed, now));
        if self.users.iter().any(|user| user.name == id && user.target.is_retired()) {
            self.follow_routes(now);
        }
    }

    /// The TLS session of a new connection, if there is to be one.
    pub(super) fn session_to(&self, link: &Link) -> Result<Option<Session>, Fault> {
        let upstream = &link.target.route().upstreams[link.upstream];
        match &self.tls {
            _ if !upstream.is_secured => Ok(None),
            Some(tls) => tls.config().session(&upstream.host.to_string()).map(Some),
            // Never without: what is meant for https does not go out in the clear.
            None => Err(Fault::not_set_up()),
        }
    }
}
