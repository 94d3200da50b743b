//! What stands in front: which of the services a request is for.

use super::router::Router;
use super::static_files::StaticFiles;
use super::status::Admin;
use super::{Cx, Entrance, Reply, Service};
use crate::http::body::Failure;
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

impl Service for Front {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        match (cx.entrance, &mut self.admin, &mut self.health) {
            (Entrance::Admin, Some(admin), _) => admin.call(request, cx),
            (_, _, Some(health)) if health.knows(request.target.path) => health.call(request, cx),
            _ => self.public.call(request, cx),
        }
    }
}

impl Service for Public {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        match self {
            Public::Lab(lab) => lab.call(request, cx),
            Public::Files(_, Some(lab)) if lab.knows(request.target.path) => lab.call(request, cx),
            Public::Files(files, _) => files.call(request, cx),
        }
    }
}
