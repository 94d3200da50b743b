//! Error responses: JSON for what a service refuses, plain text for what the protocol refuses.

use crate::base::json::Object;
use crate::http::body::Body;
use crate::http::fields::{ALLOW, FieldValue};
use crate::http::media_type::{JSON, TEXT_UTF8};
use crate::http::message::Response;
use crate::http::status::Status;

/// One more member of an error object.
#[derive(Debug, Clone, Copy)]
pub enum Detail<'a> {
    /// A string.
    Text(&'a str),
    /// A number.
    Number(u64),
}

/// A JSON error `{"error":code,…}` with these further members, in this order. They may quote the request.
pub fn error<'a>(
    status: Status,
    code: &str,
    details: impl IntoIterator<Item = (&'static str, Detail<'a>)>,
) -> Response {
    let object = details.into_iter().fold(Object::new().text("error", code), |object, (name, detail)| match detail {
        Detail::Text(text) => object.text(name, text),
        Detail::Number(number) => object.number(name, number),
    });
    Response::new(status).with_content(JSON, Body::from(object.finish())).as_it_is()
}

/// 400 with a JSON error.
pub fn bad_request<'a>(code: &str, details: impl IntoIterator<Item = (&'static str, Detail<'a>)>) -> Response {
    error(Status::BAD_REQUEST, code, details)
}

/// 404: nothing answers for this path.
pub fn not_found() -> Response {
    fixed(Status::NOT_FOUND, br#"{"error":"not_found"}"#)
}

/// 405: this path answers other methods, listed in `allow` (RFC 9110 §15.5.6).
pub fn method_not_allowed(allow: FieldValue) -> Response {
    fixed(Status::METHOD_NOT_ALLOWED, br#"{"error":"method_not_allowed"}"#).with_field(ALLOW, allow)
}

/// 413: the content is longer than the `limit` in bytes up to which it would have been taken.
pub fn content_too_large(limit: u64) -> Response {
    error(Status::CONTENT_TOO_LARGE, "content_too_large", [("limit", Detail::Number(limit))])
}

/// 500: a handler failed. What went wrong is for the log and never part of the answer.
pub fn internal_error() -> Response {
    fixed(Status::INTERNAL_SERVER_ERROR, br#"{"error":"internal_error"}"#)
}

/// 501: the server has no meaning for this method (RFC 9110 §9.1).
pub fn not_implemented() -> Response {
    fixed(Status::NOT_IMPLEMENTED, br#"{"error":"not_implemented"}"#)
}

/// What the protocol refuses, for people who look at the wire: one line of text with the status, the reason, and the
/// `section` of the standard that asks for it (empty: none does).
pub fn refuse(status: Status, reason: &str, section: &str) -> Response {
    let line = match section {
        "" => format!("{status}: {reason}\n"),
        section => format!("{status}: {reason} ({section})\n"),
    };
    Response::new(status).with_content(TEXT_UTF8, Body::from(line))
}

fn fixed(status: Status, json: &'static [u8]) -> Response {
    Response::new(status).with_content(JSON, Body::from_static(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: &Response) -> &str {
        match &response.body {
            Body::Bytes(bytes) => std::str::from_utf8(bytes.as_slice()).unwrap(),
            other => panic!("{other:?} is not text"),
        }
    }

    #[test]
    fn the_protocol_says_what_and_why_and_where_it_is_written() {
        let response = refuse(Status::BAD_REQUEST, "a line ended with LF alone", "RFC 9112 §2.2");
        assert_eq!(text(&response), "400 Bad Request: a line ended with LF alone (RFC 9112 §2.2)\n");
        let response = refuse(Status::REQUEST_TIMEOUT, "the head took too long", "");
        assert_eq!(text(&response), "408 Request Timeout: the head took too long\n");
    }

    #[test]
    fn details_follow_the_code_in_order_and_escaped() {
        let response = bad_request("wrong", [("z", Detail::Text("\"\r\n")), ("a", Detail::Number(7))]);
        assert_eq!(text(&response), r#"{"error":"wrong","z":"\"\r\n","a":7}"#);
    }

    #[test]
    fn an_internal_error_says_nothing_more() {
        let response = internal_error();
        assert_eq!((response.status.code(), text(&response)), (500, r#"{"error":"internal_error"}"#));
    }
}
