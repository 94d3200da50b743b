//! Where the rules are written.

use crate::http::status::Status;
use crate::http::target::TargetForm;

/// Where the meaning of a status is defined; `None` for one that no standard of HTTP's own defines.
pub fn status_section(status: Status) -> Option<&'static str> {
    Some(match status {
        Status::SWITCHING_PROTOCOLS => "RFC 9110 §15.2.2",
        Status::OK => "RFC 9110 §15.3.1",
        Status::CREATED => "RFC 9110 §15.3.2",
        Status::ACCEPTED => "RFC 9110 §15.3.3",
        Status::NO_CONTENT => "RFC 9110 §15.3.5",
        Status::PARTIAL_CONTENT => "RFC 9110 §15.3.7",
        Status::MOVED_PERMANENTLY => "RFC 9110 §15.4.2",
        Status::PERMANENT_REDIRECT => "RFC 9110 §15.4.9",
        Status::NOT_MODIFIED => "RFC 9110 §15.4.5",
        Status::BAD_REQUEST => "RFC 9110 §15.5.1",
        Status::FORBIDDEN => "RFC 9110 §15.5.4",
        Status::NOT_FOUND => "RFC 9110 §15.5.5",
        Status::METHOD_NOT_ALLOWED => "RFC 9110 §15.5.6",
        Status::NOT_ACCEPTABLE => "RFC 9110 §15.5.7",
        Status::PRECONDITION_FAILED => "RFC 9110 §15.5.13",
        Status::CONTENT_TOO_LARGE => "RFC 9110 §15.5.14",
        Status::URI_TOO_LONG => "RFC 9110 §15.5.15",
        Status::RANGE_NOT_SATISFIABLE => "RFC 9110 §15.5.17",
        Status::EXPECTATION_FAILED => "RFC 9110 §15.5.18",
        Status::UPGRADE_REQUIRED => "RFC 9110 §15.5.22",
        Status::REQUEST_HEADER_FIELDS_TOO_LARGE => "RFC 6585 §5",
        Status::INTERNAL_SERVER_ERROR => "RFC 9110 §15.6.1",
        Status::NOT_IMPLEMENTED => "RFC 9110 §15.6.2",
        Status::BAD_GATEWAY => "RFC 9110 §15.6.3",
        Status::SERVICE_UNAVAILABLE => "RFC 9110 §15.6.4",
        Status::GATEWAY_TIMEOUT => "RFC 9110 §15.6.5",
        Status::HTTP_VERSION_NOT_SUPPORTED => "RFC 9110 §15.6.6",
        Status::LOOP_DETECTED => "RFC 5842 §7.2",
        _ => return None,
    })
}

/// The form of a target, and where it is defined.
pub fn form(form: TargetForm) -> (&'static str, &'static str) {
    match form {
        TargetForm::Origin => ("origin-form", "RFC 9112 §3.2.1"),
        TargetForm::Absolute => ("absolute-form", "RFC 9112 §3.2.2"),
        TargetForm::Authority => ("authority-form", "RFC 9112 §3.2.3"),
        TargetForm::Asterisk => ("asterisk-form", "RFC 9112 §3.2.4"),
    }
}
