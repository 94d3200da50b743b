//! Answers that show the request, or what it asked to see: `/headers`, `/status/{code}`.

use std::fmt::Display;

use super::arguments::{Argument, or_refusal};
use crate::base::json::{Object, quote};
use crate::base::tls_facts::ClientCertificate;
use crate::http::body::{Body, Failure};
use crate::http::exchange::{Cx, Reply};
use crate::http::media_type::JSON;
use crate::http::message::{RequestHead, Response, Version};
use crate::http::status::Status;
use crate::service::router::Params;

/// `GET /status/{code}`: a response with that status.
pub fn status(_: &RequestHead<'_>, params: &Params<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
    or_refusal(wanted_status(&Argument::path(params, "code")).map(|status| Reply::Respond(with_status(status))))
}

fn wanted_status(code: &Argument<'_>) -> Result<Status, Response> {
    // 1xx is out: an interim response is never the only one (RFC 9110 §15.2).
    let number = code.number(200..=599).ok().and_then(|number| u16::try_from(number).ok());
    let status = number.and_then(Status::from_code);
    status.ok_or_else(|| code.refusal("invalid_status", "a final status code from 200 to 599"))
}

fn with_status(status: Status) -> Response {
    // RFC 9110 §15.3.6: 205 has no content either, although its framing could carry some.
    if !status.allows_content() || status == Status::RESET_CONTENT {
        return Response::new(status);
    }
    let object = Object::new().number("status", u64::from(status.code())).text("reason", status.reason());
    Response::new(status).with_content(JSON, Body::from(object.finish()))
}

/// `GET /headers`: the request's head as the server understood it, its fields in the order they arrived.
/// Over TLS, the certificate of the client stands beside it.
pub fn headers(request: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
    let mut object = Object::new()
        .text("method", request.method.as_str())
        .text("target", &String::from_utf8_lossy(request.target.raw))
        .text("version", version(request.version))
        .raw("fields", field_pairs(request));
    if let Some(ClientCertificate { subject, fingerprint }) = cx.certificate {
        let certificate = Object::new().text("subject", subject).text("fingerprint", fingerprint);
        object = object.raw("client_certificate", certificate.finish());
    }
    Ok(Reply::Respond(Response::new(Status::OK).with_content(JSON, Body::from(object.finish())).as_it_is()))
}

fn version(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::Http2 => "HTTP/2.0",
    }
}

fn field_pairs(request: &RequestHead<'_>) -> impl Display {
    let mut json = String::from("[");
    for (name, value) in request.fields.iter() {
        json.push_str(if json.len() > 1 { ",[" } else { "[" });
        quote(&mut json, &String::from_utf8_lossy(name));
        json.push(',');
        quote(&mut json, &String::from_utf8_lossy(value));
        json.push(']');
    }
    json.push(']');
    json
}
