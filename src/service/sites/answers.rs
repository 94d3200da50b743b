//! Answers that a route has by itself: a redirect, or one that is always the same.

use std::sync::Arc;

use crate::http::authority;
use crate::http::body::{Body, Bytes};
use crate::http::fields::{ALLOW, FieldValue, LOCATION, RETRY_AFTER};
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::errors;

/// Sends clients to another address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    parts: Vec<Part>,
}

/// A piece of the address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    /// The host that the client has asked, without a port.
    Host,
    /// The path.
    Path,
    /// What stands behind the route's prefix and a slash.
    Rest,
    /// The query with its `?`, or nothing.
    Query,
}

/// The words in braces, and what they stand for.
const PLACEHOLDERS: [(&str, &[Part]); 5] = [
    ("{host}", &[Part::Host]),
    ("{path}", &[Part::Path]),
    ("{rest}", &[Part::Rest]),
    ("{query}", &[Part::Query]),
    ("{uri}", &[Part::Path, Part::Query]),
];

impl Redirect {
    /// Statuses that a redirect may have (RFC 9110 §15.4).
    pub const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

    /// A redirect to the address that `text` means. In it, `{host}`, `{path}`, `{query}` and `{uri}`, which is both of these,
    /// stand for those of the request, and `{rest}` for what its path has behind the route's prefix.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn new(text: &str) -> Result<Redirect, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let text_len = rest.find('{').unwrap_or(rest.len());
            let (before, behind) = rest.split_at(text_len);
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            rest = match PLACEHOLDERS.iter().find(|(word, _)| behind.starts_with(word)) {
                _ if behind.is_empty() => behind,
                Some((word, stands_for)) => {
                    parts.extend_from_slice(stands_for);
                    &behind[word.len()..]
                }
                None => {
                    let words: Vec<_> = PLACEHOLDERS.iter().map(|(word, _)| *word).collect();
                    return Err(format!("expected one of {} where a {{ stands", words.join(", ")));
                }
            };
        }
        // It is written into a field as it stands.
        let is_reference = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`|}".contains(&byte);
        let is_path = text.starts_with('/') && !text.starts_with("//");
        if !is_path && !text.starts_with("http://") && !text.starts_with("https://") {
            return Err(
                "expected an address such as https://www.example.org{uri}, or a path such as /new/{rest}".into()
            );
        }
        if parts.iter().any(|part| matches!(part, Part::Text(text) if !text.bytes().all(is_reference))) {
            return Err("expected an address as it stands in a URL: other bytes are escaped, such as %20".into());
        }
        if !text.starts_with('/') && !names_host(&parts) {
            return Err("expected a host and a slash before what the client has sent, such as \
                        https://www.example.org/{rest}: without them the client chooses the host"
                .into());
        }
        Ok(Redirect { parts })
    }

    /// The answer to a request whose normalised `path` is `prefix`, or lies beneath it.
    pub fn answer(&self, status: Status, request: &RequestHead<'_>, path: &[u8], prefix: &[u8]) -> Response {
        // `OPTIONS *` and CONNECT have none.
        let path = if path.starts_with(b"/") { path } else { b"" };
        let mut location = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => location.extend_from_slice(text.as_bytes()),
                Part::Host => match authority::host(request.authority().unwrap_or_default()) {
                    Some(host) => location.extend_from_slice(host.as_bytes()),
                    None => {
                        let hint = "a redirect to this address needs the name of the host";
                        return errors::bad_request("no_host", [("hint", errors::Detail::Text(hint))]);
                    }
                },
                Part::Path => location.extend_from_slice(path),
                Part::Rest => {
                    let rest = path.strip_prefix(prefix).unwrap_or(path);
                    location.extend_from_slice(rest.strip_prefix(b"/").unwrap_or(rest));
                }
                Part::Query => {
                    if let Some(query) = request.target.query {
                        location.push(b'?');
                        location.extend_from_slice(query);
                    }
                }
            }
        }
        // With two slashes it begins with a host (RFC 3986 §4.2), and the client has chosen it.
        if location.starts_with(b"/") {
            let slashes = location.iter().take_while(|byte| **byte == b'/').count();
            location.drain(1..slashes);
        }
        match FieldValue::new(location) {
            Ok(location) => Response::new(status).with_field(LOCATION, location),
            Err(_) => errors::bad_request("no_location", []),
        }
    }
}

/// Whether the host of an absolute address stands there as a whole before anything of the client's that could be more of it: all
/// of a path begins with a slash and a query with a `?`, and these end it, but `{rest}` does not (RFC 3986 §3.2). The host that
/// the client has asked is one by itself.
fn names_host(parts: &[Part]) -> bool {
    let mut len = 0;
    for part in parts {
        match part {
            Part::Text(text) => {
                let behind_scheme = text.find("://").filter(|_| len == 0).map_or(&**text, |at| &text[at + 3..]);
                match behind_scheme.find(['/', '?', '#']) {
                    Some(end) => return len + end > 0,
                    None => len += behind_scheme.len(),
                }
            }
            Part::Host => len += 1,
            Part::Path => return len > 0,
            // There may be none, and what stands behind it is next to the host then.
            Part::Query => {}
            Part::Rest => return false,
        }
    }
    len > 0
}

/// An answer that is always the same.
#[derive(Debug, Clone)]
pub struct FixedAnswer {
    /// Its status, 200 to 599.
    pub status: Status,
    /// Its content, with the media type; `None`: it has none.
    pub content: Option<(FieldValue, Arc<[u8]>)>,
    /// What `Retry-After` says, if anything.
    pub retry_after: Option<FieldValue>,
}

impl FixedAnswer {
    /// The answer.
    pub fn answer(&self) -> Response {
        let mut response = Response::new(self.status);
        if let Some((media_type, content)) = &self.content {
            let content = Bytes::Shared(Arc::clone(content), 0..content.len());
            response = response.with_content(media_type.clone(), Body::Bytes(content));
        }
        if let Some(value) = &self.retry_after {
            response = response.with_field(RETRY_AFTER, value.clone());
        }
        // RFC 9110 §15.5.6: a 405 says which methods there are. This place has none.
        if self.status == Status::METHOD_NOT_ALLOWED {
            response = response.with_field(ALLOW, FieldValue::from_static(""));
        }
        response
    }
}
