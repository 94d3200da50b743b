//! What stands in front: which of the services a request is for.

use super::router::Router;
use super::static_files::StaticFiles;
use super::{Cx, Reply, Service};
use crate::http::body::Failure;
use crate::http::message::RequestHead;

/// The service of the whole server.
pub enum Front {
    /// The demo site and the lab.
    Lab(Router),
    /// Files; the lab's paths come first if it is there.
    Files(StaticFiles, Option<Router>),
}

impl Service for Front {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        match self {
            Front::Lab(lab) => lab.call(request, cx),
            Front::Files(_, Some(lab)) if lab.knows(request.target.path) => lab.call(request, cx),
            Front::Files(files, _) => files.call(request, cx),
        }
    }
}
