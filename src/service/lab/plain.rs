//! Answers that are known at once: `/`, `/plaintext`, `/json`, `/health`, `/error`.

use crate::base::json::Object;
use crate::http::body::{Body, Failure};
use crate::http::exchange::{Cx, Reply};
use crate::http::fields::FieldValue;
use crate::http::media_type::{HTML, JSON, TEXT};
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::router::Params;

/// `GET /`: the demo page.
pub fn demo(_: &RequestHead<'_>, _: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    ok(HTML, Body::from_static(include_bytes!("demo.html")))
}

/// `GET /plaintext`: the plaintext test of the TechEmpower benchmarks.
pub fn plaintext(_: &RequestHead<'_>, _: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    ok(TEXT, Body::from_static(b"Hello, World!"))
}

/// `GET /json`: the JSON test of the TechEmpower benchmarks, whose rules want the object written anew each time.
pub fn json(_: &RequestHead<'_>, _: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    ok(JSON, Body::from(Object::new().text("message", "Hello, World!").finish()))
}

/// `GET /health`: whether the server answers at all.
pub fn health(_: &RequestHead<'_>, _: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    ok(JSON, Body::from_static(br#"{"status":"up"}"#))
}

/// `GET /error`: a handler that fails. The client gets a 500 that says nothing, the log gets the cause.
pub fn error(_: &RequestHead<'_>, _: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    Err(Failure::new("the lab's /error fails on purpose"))
}

fn ok(content_type: FieldValue, body: Body) -> Result<Reply, Failure> {
    Ok(Reply::Respond(Response::of_content(Status::OK, content_type, body)))
}
