//! What stands in front: which of the services a request is for.

use super::Service;
use super::explanation::Explanation;
use super::router::Router;
use super::static_files::StaticFiles;
use super::status::Admin;
use crate::base::listener_role::ListenerRole;
use crate::http::body::Failure;
use crate::http::exchange::{Cx, Reply};
use crate::http::message::RequestHead;

/// The service of the whole server.
pub struct Front {
    /// What everyone gets.
    pub public: Public,
    /// What comes before it, if anything does: `/healthz` and `/readyz`.
    pub health: Option<Router>,
    /// What the admin's entrance leads to.
    pub admin: Option<Admin>,
}

/// What everyone gets.
pub enum Public {
    /// The demo site and the lab.
    Lab(Router),
    /// Files; the lab's paths come first if it is there.
    Files(StaticFiles, Option<Router>),
}

impl Front {
    /// For everyone, and with nothing else.
    pub fn new(public: Public) -> Front {
        Front { public, health: None, admin: None }
    }
}

/// The one that a request is for.
enum Part<'a> {
    Admin(&'a mut Admin),
    /// Routes, and whose they are.
    Routes(&'static str, &'a mut Router),
    Files(&'a mut StaticFiles),
}

impl Front {
    fn part(&mut self, role: ListenerRole, path: &[u8]) -> Part<'_> {
        match (role, &mut self.admin, &mut self.health) {
            (ListenerRole::Admin, Some(admin), _) => Part::Admin(admin),
            (_, _, Some(health)) if health.knows(path) => Part::Routes("health", health),
            _ => self.public.part(path),
        }
    }

    /// Tells how a request that comes through the door for everyone is decided. May block.
    pub fn explain(&mut self, request: &RequestHead<'_>, now_secs: u64, explanation: &mut Explanation) {
        match self.part(ListenerRole::Http, request.target.path) {
            Part::Admin(_) => {}
            Part::Routes(whose, router) => router.explain(whose, request, explanation),
            Part::Files(files) => files.explain(request, now_secs, explanation),
        }
    }
}

impl Public {
    fn part(&mut self, path: &[u8]) -> Part<'_> {
        match self {
            Public::Lab(lab) => Part::Routes("lab", lab),
            Public::Files(_, Some(lab)) if lab.knows(path) => Part::Routes("lab", lab),
            Public::Files(files, _) => Part::Files(files),
        }
    }
}

impl Service for Front {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        match self.part(cx.role, request.target.path) {
            Part::Admin(admin) => admin.call(request, cx),
            Part::Routes(_, router) => router.call(request, cx),
            Part::Files(files) => files.call(request, cx),
        }
    }
}
