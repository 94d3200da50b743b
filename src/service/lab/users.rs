//! `/users`: the smallest useful JSON in both directions.

use super::arguments::{Argument, or_refusal};
use crate::base::json::{self, Invalid, Object};
use crate::http::body::{Body, Failure};
use crate::http::exchange::{Cx, Reply};
use crate::http::media_type::JSON;
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::errors::{self, Detail};
use crate::service::gather::gather;
use crate::service::router::Params;

/// `GET /users/{id}`: the id as it is meant, percent-decoded, in JSON.
pub fn show(_: &RequestHead<'_>, params: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    let id = Argument::path(params, "id");
    or_refusal(id.text().map(|id| ok(Object::new().text("user_id", id))).map(Reply::Respond))
}

/// `POST /users`: JSON in, `{"received":…}` out.
pub fn receive(request: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
    Ok(gather(request, cx.limits.gathered_bytes_max, |content, _| Ok(received(content))))
}

/// The value goes back exactly as it was written: no number loses digits, no member its place.
fn received(content: &[u8]) -> Response {
    match json::check(content) {
        Ok(_) => ok(Object::new().raw("received", String::from_utf8_lossy(content).trim_ascii())),
        Err(invalid) => refusal(&invalid),
    }
}

fn refusal(invalid: &Invalid) -> Response {
    let details = [
        ("detail", Detail::Text(&invalid.detail)),
        ("line", Detail::Number(invalid.line)),
        ("column", Detail::Number(invalid.column)),
    ];
    errors::bad_request("invalid_json", details)
}

fn ok(object: Object) -> Response {
    Response::new(Status::OK).with_content(JSON, Body::from(object.finish())).as_it_is()
}
