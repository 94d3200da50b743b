//! Whether the server is alive, and whether it takes new work.

use super::fresh;
use crate::http::body::{Body, Failure};
use crate::http::exchange::{Cx, Reply};
use crate::http::media_type::TEXT_UTF8;
use crate::http::message::RequestHead;
use crate::http::status::Status;
use crate::service::router::{Params, Router};

/// Adds `/healthz` and `/readyz`.
pub fn health(router: Router) -> Router {
    router.get("/healthz", healthz).get("/readyz", readyz)
}

/// `GET /healthz`: 200 for as long as the loop turns.
fn healthz(_: &RequestHead<'_>, _: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    Ok(answer(Status::OK, "ok\n"))
}

/// `GET /readyz`: 503 as soon as the server was told to stop.
fn readyz(_: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
    Ok(if cx.draining { answer(Status::SERVICE_UNAVAILABLE, "draining\n") } else { answer(Status::OK, "ready\n") })
}

fn answer(status: Status, text: &'static str) -> Reply {
    Reply::Respond(fresh(status, TEXT_UTF8, Body::from_static(text.as_bytes())))
}
