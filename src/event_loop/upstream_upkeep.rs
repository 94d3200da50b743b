//! What upstreams need while the loop turns, besides their connections: the names that lead to them are resolved, by jobs, the
//! files of TLS are looked at, and those are asked that are to be asked whether they are well.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::earliest;
use super::tls_upkeep::TlsUpkeep;
use crate::base::job_name::{JobKind, JobName};
use crate::base::job_pool::{JobPool, Ticket};
use crate::base::moment::Moment;
use crate::base::resolved::Resolved;
use crate::base::slots::Token;
use crate::base::wake::{WakeKey, Wakes};
use crate::net::tls::{Fault, Session, UpstreamTls};
use crate::service::proxy::checks::Checks;
use crate::service::proxy::hub::Hub;
use crate::service::proxy::link::Link;
use crate::service::proxy::names::{NameId, Names, Resolve};
use crate::service::proxy::route::UpstreamHost;

/// No connection is woken when a job or a check is done: the loop looks at it in the turn that its wake begins.
const NOBODY: WakeKey = WakeKey { token: Token { index: u32::MAX, generation: u32::MAX }, stream: 0 };

/// The upstreams of a loop.
pub(super) struct UpstreamUpkeep {
    pub(super) hub: Rc<Hub>,
    pub(super) tls: Option<TlsUpkeep<UpstreamTls>>,
    resolve: Resolve,
    names: Names,
    checks: Checks,
    /// Who has which name: the places of the target and of the upstream in it, and the port.
    users: Vec<(NameId, usize, usize, u16)>,
    /// Names that are being resolved.
    lookups: Vec<(NameId, Ticket<Result<Resolved, String>>)>,
}

impl UpstreamUpkeep {
    /// For the upstreams of this hub. Those that have TLS get it with `tls`, and `resolve` finds the addresses of a name.
    pub(super) fn new(hub: Rc<Hub>, tls: Option<UpstreamTls>, resolve: Resolve, now: Moment) -> UpstreamUpkeep {
        let (mut names, mut users) = (Names::default(), Vec::new());
        for (target, route) in hub.routes().enumerate() {
            for (index, upstream) in route.upstreams.iter().enumerate() {
                if let UpstreamHost::Name(name) = &upstream.host {
                    users.push((names.add(name, now), target, index, upstream.port));
                }
            }
        }
        let tls = tls.map(|tls| TlsUpkeep::new(Arc::new(tls), now));
        UpstreamUpkeep { hub, tls, resolve, names, checks: Checks::default(), users, lookups: Vec::new() }
    }

    /// When the next name is to be resolved, the next check is to begin or has taken too long, or the files of TLS are to be looked
    /// at, if anything is.
    pub(super) fn due(&self) -> Option<Moment> {
        let files = self.tls.as_ref().map(TlsUpkeep::due);
        earliest(earliest(files, self.names.due_at()), earliest(self.hub.next_check_at(), self.checks.due()))
    }

    /// Passes on the addresses that were found, and begins to look for those that are due; and so with checks and files.
    pub(super) fn look(&mut self, now: Moment, jobs: &JobPool, wakes: &Wakes) {
        if !self.lookups.is_empty() {
            self.take_answers(now);
        }
        if let Some(tls) = &mut self.tls {
            tls.look(now, jobs, wakes);
        }
        self.checks.look(&self.hub, &wakes.local_waker(NOBODY), now);
        while let Some(id) = self.names.take_due(now) {
            let (host, resolve) = (Arc::clone(self.names.host(id)), Arc::clone(&self.resolve));
            let name = JobName::new(JobKind::Resolve, host.as_bytes(), None);
            match jobs.submit(name, wakes.waker(NOBODY), move || resolve(&host)) {
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
        let users = self.users.iter().filter(|(name, ..)| *name == id);
        for (_, target, upstream, port) in users {
            if answered.has_changed {
                let addresses = self.names.addresses(id).iter().map(|ip| SocketAddr::new(*ip, *port));
                self.hub.set_addresses(*target, *upstream, &addresses.collect::<Vec<_>>(), now);
            }
            if let Some(failing) = self.names.failing(id) {
                self.hub.set_unresolved(*target, *upstream, &failing.error);
            }
        }
    }

    /// The TLS session of a new connection, if there is to be one.
    pub(super) fn session_to(&self, link: &Link) -> Result<Option<Session>, Fault> {
        let upstream = &self.hub.route(link.target).upstreams[link.upstream];
        match &self.tls {
            Some(tls) if upstream.is_secured => tls.config().session(&upstream.host.to_string()).map(Some),
            _ => Ok(None),
        }
    }
}
