//! What people see when a file cannot be served: a small page where HTML is preferred, else a line of text.

use crate::http::body::Body;
use crate::http::fields::{ALLOW, FieldValue, LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use crate::http::media_type::{HTML, TEXT_UTF8};
use crate::http::message::{RequestHead, Response};
use crate::http::method::Method;
use crate::http::negotiate::Accept;
use crate::http::status::Status;
use crate::http::target::{percent_decode, percent_encode};

const NOSNIFF: FieldValue = FieldValue::from_static("nosniff");
const METHODS: FieldValue = FieldValue::from_static("GET, HEAD, OPTIONS");
const ONE_SECOND: FieldValue = FieldValue::from_static("1");

/// An error, in the form that the client prefers.
pub fn error(request: &RequestHead<'_>, status: Status) -> Response {
    let html = Accept::of(request.fields).prefers_html();
    let (media_type, text) = if html { (HTML, html_page(status)) } else { (TEXT_UTF8, format!("{status}\n")) };
    Response::new(status).with_content(media_type, Body::from(text)).with_field(X_CONTENT_TYPE_OPTIONS, NOSNIFF)
}

fn html_page(status: Status) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{status}</title>\n<style>\n:root {{ color-scheme: light dark }}\n\
         body {{ display: grid; place-content: center; min-height: 90vh; margin: 0; font: 1.1rem system-ui, sans-serif; \
         text-align: center }}\nb {{ display: block; font: 600 4rem Georgia, serif; opacity: .35 }}\n</style>\n\
         <p><b>{}</b> {}\n</html>\n",
        status.code(),
        status.reason()
    )
}

/// 503: too much is waiting for the disk already (RFC 9110 §15.6.4).
pub fn busy(request: &RequestHead<'_>) -> Response {
    error(request, Status::SERVICE_UNAVAILABLE).with_field(RETRY_AFTER, ONE_SECOND)
}

/// The answer to a method that files do not have, or to OPTIONS; `None` for GET and HEAD.
pub fn for_method(request: &RequestHead<'_>) -> Option<Response> {
    match request.method {
        Method::Get | Method::Head => None,
        Method::Options => Some(Response::new(Status::NO_CONTENT).with_field(ALLOW, METHODS)),
        // RFC 9110 §9.1: not recognised at all.
        method if !method.is_registered() => Some(error(request, Status::NOT_IMPLEMENTED)),
        _ => Some(error(request, Status::METHOD_NOT_ALLOWED).with_field(ALLOW, METHODS)),
    }
}

/// 301 to the same with a slash behind it, for a directory, so that relative links in it work; the query is kept.
///
/// The reference is relative (RFC 9110 §10.2.2): the last segment and a slash. So it holds as well behind a proxy that
/// takes a prefix off the path. Everything that is not unreserved is escaped in it, also `:`, `\` and an escaped slash:
/// nobody can take the segment for a scheme, or for the name of another host.
pub fn to_directory(request: &RequestHead<'_>) -> Response {
    let path = request.target.path;
    let segment = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let mut location = Vec::with_capacity(segment.len() + 1);
    for (number, piece) in percent_decode(segment).unwrap_or_default().split(|byte| *byte == b'/').enumerate() {
        location.extend_from_slice(if number > 0 { b"%2F" } else { b"" });
        percent_encode(piece, &mut location);
    }
    location.push(b'/');
    if let Some(query) = request.target.query {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    match FieldValue::new(location) {
        Ok(location) => error(request, Status::MOVED_PERMANENTLY).with_field(LOCATION, location),
        Err(_) => error(request, Status::NOT_FOUND),
    }
}
