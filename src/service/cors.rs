//! Cross-origin resource sharing: which scripts of other sites may read what is served (WHATWG Fetch §3.2).

use super::websocket::Origin;
use crate::http::fields::{FieldName, FieldValue, Fields, VARY, is_tchar, list_members};
use crate::http::message::{RequestHead, Response};
use crate::http::method::Method;
use crate::http::status::Status;

const ALLOW_ORIGIN: FieldName = FieldName::from_static("Access-Control-Allow-Origin");
const ALLOW_CREDENTIALS: FieldName = FieldName::from_static("Access-Control-Allow-Credentials");
const ALLOW_METHODS: FieldName = FieldName::from_static("Access-Control-Allow-Methods");
const ALLOW_HEADERS: FieldName = FieldName::from_static("Access-Control-Allow-Headers");
const EXPOSE_HEADERS: FieldName = FieldName::from_static("Access-Control-Expose-Headers");
const MAX_AGE: FieldName = FieldName::from_static("Access-Control-Max-Age");

const ANY: FieldValue = FieldValue::from_static("*");
const TRUE: FieldValue = FieldValue::from_static("true");
const ORIGIN: FieldValue = FieldValue::from_static("Origin");
/// The answer to a preflight depends on these, too.
const PREFLIGHT_FIELDS: FieldValue =
    FieldValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers");
/// What is served has handlers for these.
const METHODS: FieldValue = FieldValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// What scripts need to read ranges and to ask again, beside the few that they may always see. A star would not do: with
/// credentials it means nothing.
const EXPOSED: FieldValue = FieldValue::from_static(
    "Accept-Ranges, Content-Encoding, Content-Length, Content-Range, Date, ETag, Link, Location, Retry-After, Server",
);
/// A day, in seconds. Browsers keep it for two hours or a day at most.
const ONE_DAY: FieldValue = FieldValue::from_static("86400");

/// Who may read what is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// Scripts of any site, without credentials.
    AnyOrigin,
    /// Scripts of these sites, also with cookies and passwords.
    Origins(Vec<Origin>),
}

/// What is added to the response for one request. It is known before the request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The value of `Access-Control-Allow-Origin`, if there is to be one.
    origin: Option<FieldValue>,
    /// Whether another origin would have got another answer.
    varies: bool,
}

impl Cors {
    /// Scripts of these sites may read. If all are among them, none is named, and so none gets credentials.
    pub fn new(origins: Vec<Origin>) -> Cors {
        if origins.iter().any(Origin::is_any) { Cors::AnyOrigin } else { Cors::Origins(origins) }
    }

    /// What the response to this request says.
    pub fn grant(&self, fields: Fields<'_>) -> Grant {
        match self {
            // Also without Origin: a cache may give the same response to a script later.
            Cors::AnyOrigin => Grant { origin: Some(ANY), varies: false },
            Cors::Origins(allowed) => {
                let is_allowed = |origin: &&[u8]| allowed.iter().any(|allowed| allowed.admits(origin));
                let origin = fields.first("origin").filter(is_allowed);
                Grant { origin: origin.and_then(|origin| FieldValue::new(origin).ok()), varies: true }
            }
        }
    }

    /// The answer to a preflight, in which a browser asks whether it may send a request (Fetch §3.2.2); `None` for any
    /// other request. If its origin may not send the request, nothing is said, and the browser does not send it. The grant
    /// is added to this as to every response.
    pub fn preflight(&self, request: &RequestHead<'_>) -> Option<Response> {
        let asks = |name| request.fields.first(name);
        if request.method != Method::Options || asks("origin").is_none() {
            return None;
        }
        asks("access-control-request-method")?;
        let mut response = Response::new(Status::NO_CONTENT);
        if self.grant(request.fields).origin.is_some() {
            response = response.with_field(ALLOW_METHODS, METHODS).with_field(MAX_AGE, ONE_DAY);
            response.fields.extend(asked_headers(request.fields).map(|headers| (ALLOW_HEADERS, headers)));
        }
        Some(response.with_field(VARY, PREFLIGHT_FIELDS))
    }
}

impl Grant {
    /// Adds what a response says about it, whatever its status.
    pub fn add_to(&self, response: &mut Response) {
        if let Some(origin) = &self.origin {
            response.fields.push((ALLOW_ORIGIN, origin.clone()));
            response.fields.push((EXPOSE_HEADERS, EXPOSED));
            // Never for all: whoever sends credentials has to be named.
            response.fields.extend(self.varies.then_some((ALLOW_CREDENTIALS, TRUE)));
        }
        response.fields.extend(self.varies.then_some((VARY, ORIGIN)));
    }
}

/// The names of the fields that the request will have: all may be sent. What is no list of names is not repeated.
fn asked_headers(fields: Fields<'_>) -> Option<FieldValue> {
    let mut names: Vec<&[u8]> = fields.all("access-control-request-headers").flat_map(list_members).collect();
    names.retain(|name| name.iter().copied().all(is_tchar));
    (!names.is_empty()).then(|| FieldValue::new(names.join(&b", "[..])).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::lab::harness::Request;

    fn cors(origins: &[&str]) -> Cors {
        Cors::new(origins.iter().map(|origin| origin.parse().unwrap()).collect())
    }

    fn lines(response: &Response) -> Vec<String> {
        let line = |(name, value): &(FieldName, FieldValue)| {
            let value = if *value == EXPOSED { "EXPOSED".into() } else { String::from_utf8_lossy(value.as_bytes()) };
            format!("{}: {value}", name.as_str())
        };
        response.fields.iter().map(line).collect()
    }

    /// What is added to the answer to a request with this origin, without what is exposed.
    fn added(cors: &Cors, origin: Option<&str>) -> Vec<String> {
        let mut request = Request::get("/");
        if let Some(origin) = origin {
            request = request.field("oRigin", origin.as_bytes());
        }
        let mut response = Response::new(Status::NOT_FOUND);
        cors.grant(request.head().fields).add_to(&mut response);
        lines(&response).into_iter().filter(|line| !line.starts_with("Access-Control-Expose-Headers: ")).collect()
    }

    #[test]
    fn all_may_read_without_credentials() {
        for cors in [cors(&["*"]), cors(&["https://a.example", "*"])] {
            for origin in [None, Some("https://b.example"), Some("null")] {
                assert_eq!(added(&cors, origin), ["Access-Control-Allow-Origin: *"]);
            }
        }
    }

    #[test]
    fn those_that_are_named_may_read_with_credentials_and_nobody_else() {
        let cors = cors(&["https://a.example", "http://localhost:3000"]);
        for origin in ["https://a.example", "http://localhost:3000"] {
            let allowed = [
                format!("Access-Control-Allow-Origin: {origin}"),
                "Access-Control-Allow-Credentials: true".to_owned(),
                "Vary: Origin".to_owned(),
            ];
            assert_eq!(added(&cors, Some(origin)), allowed);
        }
        let others = [
            "http://a.example",
            "https://a.example.evil.net",
            "https://evil.net/https://a.example",
            "http://localhost:3001",
            "null",
            "*",
            "",
        ];
        for origin in others.map(Some).into_iter().chain([None]) {
            assert_eq!(added(&cors, origin), ["Vary: Origin"], "{origin:?}");
        }
    }

    #[test]
    fn a_preflight_is_told_what_may_be_sent() {
        let request = Request::new(Method::Options, "/")
            .field("Origin", b"https://a.example")
            .field("Access-Control-Request-Method", b"PUT")
            .field("Access-Control-Request-Headers", b"content-type,, x-own ,b\xffd,a b")
            .field("Access-Control-Request-Headers", b"x-more");
        let answer = |cors: Cors| {
            let mut response = cors.preflight(&request.head()).unwrap();
            cors.grant(request.head().fields).add_to(&mut response);
            response
        };
        let allowed = answer(cors(&["https://a.example"]));
        assert_eq!(allowed.status, Status::NO_CONTENT);
        assert_eq!(
            lines(&allowed),
            [
                "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
                "Access-Control-Max-Age: 86400",
                "Access-Control-Allow-Headers: content-type, x-own, x-more",
                "Vary: Access-Control-Request-Method, Access-Control-Request-Headers",
                "Access-Control-Allow-Origin: https://a.example",
                "Access-Control-Expose-Headers: EXPOSED",
                "Access-Control-Allow-Credentials: true",
                "Vary: Origin",
            ]
        );
        let refused = answer(cors(&["https://b.example"]));
        assert_eq!(
            lines(&refused),
            ["Vary: Access-Control-Request-Method, Access-Control-Request-Headers", "Vary: Origin"]
        );
    }

    #[test]
    fn other_requests_are_no_preflights() {
        let origin = |request: Request| request.field("Origin", b"https://a.example");
        let asks = |request: Request| request.field("Access-Control-Request-Method", b"GET");
        let options = || Request::new(Method::Options, "/");
        for request in [options(), origin(options()), asks(options()), asks(origin(Request::get("/")))] {
            assert_eq!(cors(&["*"]).preflight(&request.head()).map(|response| response.status), None);
        }
        assert!(cors(&["*"]).preflight(&asks(origin(options())).head()).is_some());
    }
}
