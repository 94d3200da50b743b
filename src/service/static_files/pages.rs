//! What people see when a file cannot be served: a page where HTML is preferred, else a line of text.

use super::error_page::error_page;
use super::listing::CONTENT_SECURITY_POLICY;
use super::locate::{Address, PAGE_EXTENSION};
use crate::http::body::Body;
use crate::http::fields::{
    ALLOW, CONTENT_SECURITY_POLICY as POLICY, FieldValue, LOCATION, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use crate::http::media_type::{HTML, TEXT_UTF8};
use crate::http::message::{RequestHead, Response};
use crate::http::method::Method;
use crate::http::negotiate::Accept;
use crate::http::status::Status;
use crate::http::target::{percent_decode, percent_encode};

const ACCEPT: FieldValue = FieldValue::from_static("Accept");
pub static NOSNIFF: FieldValue = FieldValue::from_static("nosniff");
const METHODS: FieldValue = FieldValue::from_static("GET, HEAD, OPTIONS");
const ONE_SECOND: FieldValue = FieldValue::from_static("1");

/// An error, in the form that the client prefers.
pub fn error(request: &RequestHead<'_>, status: Status) -> Response {
    in_preferred_form(request, status, None)
}

/// The form depends on Accept, also for caches (RFC 9110 §12.5.5). A page repeats the path, and so is never compressed.
fn in_preferred_form(request: &RequestHead<'_>, status: Status, location: Option<&[u8]>) -> Response {
    let response = Response::new(status).with_field(X_CONTENT_TYPE_OPTIONS, NOSNIFF.clone()).with_field(VARY, ACCEPT);
    match Accept::of(request.fields).prefers_html() {
        true => response
            .with_content(HTML, Body::from(error_page(request, status, location)))
            .with_field(POLICY, CONTENT_SECURITY_POLICY)
            .as_it_is(),
        false => response.with_content(TEXT_UTF8, Body::from(format!("{status}\n"))),
    }
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

/// 301 to `address`, so that a page has one, and relative links in a directory work; the query is kept. `path` is what the
/// request was resolved to.
///
/// The reference is relative (RFC 9110 §10.2.2), so that it holds as well behind a proxy that takes a prefix off the path.
pub fn redirect(request: &RequestHead<'_>, address: Address, path: &[u8]) -> Response {
    let mut location = relative(request.target.path, address).unwrap_or_else(|| {
        let mut absolute = vec![b'/'];
        percent_encode(path, &mut absolute);
        absolute
    });
    if let Some(query) = request.target.query {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    match FieldValue::new(location) {
        Ok(location) => in_preferred_form(request, Status::MOVED_PERMANENTLY, Some(location.as_bytes()))
            .with_field(LOCATION, location),
        Err(_) => error(request, Status::NOT_FOUND),
    }
}

/// A reference from the path of a request to another address of the same. `None` for a page if the path ends in more than a
/// name and a slash.
fn relative(path: &[u8], address: Address) -> Option<Vec<u8>> {
    if address == Address::WithoutSlash {
        let name = last_segment(path.strip_suffix(b"/")?);
        let is_name = !matches!(name.rsplit(|byte| *byte == b'/').next(), None | Some(b"" | b"." | b".."));
        return is_name.then(|| [b"../", &escaped(&name)[..]].concat());
    }
    let segment = last_segment(path);
    Some(match address {
        Address::WithoutExtension => escaped(segment.strip_suffix(PAGE_EXTENSION).unwrap_or(&segment)),
        Address::OfDirectory => match segment.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => escaped(&segment[..=slash]),
            None => b"./".to_vec(),
        },
        Address::WithSlash | Address::WithoutSlash => [&escaped(&segment)[..], b"/"].concat(),
    })
}

/// The last segment of a path, decoded. There may be slashes in it, which were escaped.
fn last_segment(path: &[u8]) -> Vec<u8> {
    let segment = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    percent_decode(segment).unwrap_or_default().into_owned()
}

/// A segment of a reference: everything that is not unreserved is escaped in it, also `:`, `\` and a slash. So nobody can
/// take it for a scheme, or for the name of another host.
fn escaped(segment: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(segment.len());
    for (number, piece) in segment.split(|byte| *byte == b'/').enumerate() {
        escaped.extend_from_slice(if number > 0 { b"%2F" } else { b"" });
        percent_encode(piece, &mut escaped);
    }
    escaped
}
