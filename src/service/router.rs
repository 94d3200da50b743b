//! Which handler answers which path and method.
//!
//! A pattern is a path whose segments are literal text, a parameter `{name}` that stands for exactly one segment that
//! is not empty, or, at the end only, `{*name}` that stands for whatever is left, however many segments, even none.
//! Where several patterns fit, a literal beats a parameter and a parameter beats a rest, segment by segment from the
//! left. The path alone decides which pattern it is; only then is the method looked at.

use std::borrow::Cow;
use std::fmt;

use super::Service;
use super::errors::{self, Detail};
use super::explanation::{Explanation, printable};
use crate::base::words::find_byte;
use crate::http::body::Failure;
use crate::http::exchange::{Cx, Reply};
use crate::http::fields::{ALLOW, FieldValue};
use crate::http::message::{RequestHead, Response, Version};
use crate::http::method::Method;
use crate::http::status::Status;
use crate::http::target::{TargetForm, percent_decode};

/// Parameters a pattern may have.
const PARAMETERS_MAX: usize = 8;

/// The methods that can have a handler of their own, in the order `Allow` lists them.
const METHODS: [Method; 7] =
    [Method::Get, Method::Head, Method::Post, Method::Put, Method::Patch, Method::Delete, Method::Options];

/// `Allow` where no path is named: everything the server implements.
const ALLOW_ALL: FieldValue = FieldValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Why a path is none.
const INVALID_ESCAPE: &str = "a % in the path is not followed by two hexadecimal digits (RFC 3986 §2.1)";

/// Answers one kind of request.
pub trait Handler {
    /// Decides what becomes of this request. Must not block.
    fn call(&self, request: &RequestHead<'_>, params: &Params<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure>;
}

impl<F> Handler for F
where
    F: Fn(&RequestHead<'_>, &Params<'_>, &mut Cx<'_>) -> Result<Reply, Failure>,
{
    fn call(&self, request: &RequestHead<'_>, params: &Params<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        self(request, params, cx)
    }
}

/// A service that finds the handler for a request: a trie of path segments.
///
/// Patterns are program text, so a bad one or two that contradict each other stop the program when it starts.
#[derive(Default)]
pub struct Router {
    root: Node,
}

impl Router {
    /// A router that knows no path.
    pub fn new() -> Router {
        Router::default()
    }

    /// Answers `GET pattern`, and with it HEAD and OPTIONS.
    ///
    /// # Panics
    /// As [`route`](Router::route) does.
    pub fn get(self, pattern: &str, handler: impl Handler + 'static) -> Router {
        self.route(Method::Get, pattern, handler)
    }

    /// Answers requests for a tunnel at `pattern`, and with them OPTIONS: GET in HTTP/1, CONNECT in HTTP/2. There is no
    /// content that a HEAD could ask about.
    ///
    /// # Panics
    /// As [`route`](Router::route) does.
    pub fn upgrade(self, pattern: &str, handler: impl Handler + 'static) -> Router {
        self.must_insert(Method::Get, pattern, Box::new(handler), GetIs::Tunnel)
    }

    /// Answers `POST pattern`.
    ///
    /// # Panics
    /// As [`route`](Router::route) does.
    pub fn post(self, pattern: &str, handler: impl Handler + 'static) -> Router {
        self.route(Method::Post, pattern, handler)
    }

    /// Answers `method pattern`. HEAD is answered by the GET handler and OPTIONS by the router unless they get handlers
    /// of their own.
    ///
    /// # Panics
    /// When the pattern cannot be understood, contradicts an earlier one, or has a handler for this method already.
    pub fn route(self, method: Method, pattern: &str, handler: impl Handler + 'static) -> Router {
        self.must_insert(method, pattern, Box::new(handler), GetIs::Content)
    }

    fn must_insert(mut self, method: Method, pattern: &str, handler: Box<dyn Handler>, get: GetIs) -> Router {
        if let Err(error) = self.insert(method, pattern, handler, get) {
            panic!("the route {method} {pattern}: {error}");
        }
        self
    }

    fn insert(
        &mut self,
        method: Method,
        pattern: &str,
        handler: Box<dyn Handler>,
        get: GetIs,
    ) -> Result<(), PatternError> {
        if !METHODS.contains(&method) {
            return Err(PatternError::Method);
        }
        let segments = parse_pattern(pattern)?;
        let names: Vec<&str> = segments.iter().filter_map(Segment::name).collect();
        check_names(&names)?;
        let route = self.root.route_mut(&segments)?;
        route.pattern = pattern.into();
        if method == Method::Get {
            route.get = get;
        }
        route.add(method, &names, handler)
    }

    fn answer(&self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        let path = request.target.path;
        let mut spans = Spans::default();
        let route = match self.find(path, &mut spans) {
            Ok(Some(route)) => route,
            Ok(None) => return respond(errors::not_found()),
            Err(InvalidEscape) => {
                return respond(errors::bad_request("invalid_escape", [("detail", Detail::Text(INVALID_ESCAPE))]));
            }
        };
        let Some(handler) = route.handler(request.method, request.version) else {
            return respond(route.without_handler(request));
        };
        handler.call(request, &Params { path, names: &route.names, spans: &spans }, cx)
    }

    /// Whether there is a route for this path, whatever the method.
    pub fn knows(&self, path: &[u8]) -> bool {
        matches!(self.find(path, &mut Spans::default()), Ok(Some(_)))
    }

    /// Tells which pattern a request fits, what its parameters are, and whether anybody answers its method. `whose`
    /// routes these are.
    pub fn explain(&self, whose: &str, request: &RequestHead<'_>, explanation: &mut Explanation) {
        let path = request.target.path;
        let mut spans = Spans::default();
        let nowhere = match request.target.form {
            TargetForm::Asterisk => "the server as a whole, no resource (RFC 9110 §9.3.7)",
            TargetForm::Authority => "a way to another host, no resource (RFC 9110 §9.3.6)",
            _ => match self.find(path, &mut spans) {
                Ok(Some(route)) => return route.explain(whose, request, &spans, explanation),
                Ok(None) => "no pattern fits this path",
                Err(InvalidEscape) => INVALID_ESCAPE,
            },
        };
        explanation.note("route", format_args!("{whose}: {nowhere}"));
    }

    fn find(&self, path: &[u8], spans: &mut Spans) -> Result<Option<&Route>, InvalidEscape> {
        let start = if path.starts_with(b"/") { Some(1) } else { return Ok(None) };
        match self.root.find(Path { bytes: path, escaped: false }, start, spans) {
            // Nearly every path is a literal one, sent as it stands in its pattern.
            Some(route) if spans.count == 0 => Ok(Some(route)),
            route if !path.contains(&b'%') => Ok(route),
            _ if percent_decode(path).is_none() => Err(InvalidEscape),
            _ => {
                spans.count = 0;
                Ok(self.root.find(Path { bytes: path, escaped: true }, start, spans))
            }
        }
    }
}

impl Service for Router {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        self.respond_to(request, cx)
    }
}

impl Router {
    /// Decides what becomes of this request.
    pub fn respond_to(&self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        match (&request.method, request.target.form) {
            // RFC 9110 §9.1: a method that is not recognised at all, whatever the target.
            (method, _) if !method.is_registered() => respond(errors::not_implemented()),
            // RFC 9110 §9.3.7: `OPTIONS *` asks about the server and not about a resource.
            (Method::Options, TargetForm::Asterisk) => respond(options(ALLOW_ALL)),
            // RFC 9112 §3.2.3: only CONNECT comes with an authority, and it names no resource.
            (_, TargetForm::Authority) => respond(errors::method_not_allowed(ALLOW_ALL)),
            _ => self.answer(request, cx),
        }
    }
}

fn respond(response: Response) -> Result<Reply, Failure> {
    Ok(Reply::Respond(response))
}

fn options(allow: FieldValue) -> Response {
    Response::new(Status::NO_CONTENT).with_field(ALLOW, allow)
}

/// A `%` that begins no escape.
struct InvalidEscape;

/// A path that is looked for.
#[derive(Clone, Copy)]
struct Path<'a> {
    bytes: &'a [u8],
    /// Whether escapes in it are to be decoded.
    escaped: bool,
}

impl<'a> Path<'a> {
    /// RFC 3986 §6.2.2.2: an escaped letter is the letter. It was split before it was decoded, so that %2F stays inside
    /// its segment (§2.2).
    fn segment(self, range: Range) -> Cow<'a, [u8]> {
        let raw = &self.bytes[range];
        let decoded = if self.escaped { percent_decode(raw) } else { None };
        decoded.unwrap_or(Cow::Borrowed(raw))
    }
}

/// What the parameters of a pattern stood for in this request's path.
#[derive(Debug, Clone, Copy)]
pub struct Params<'a> {
    path: &'a [u8],
    names: &'a [Box<str>],
    spans: &'a Spans,
}

impl<'a> Params<'a> {
    /// The parameter's part of the path as it was sent, percent-encoded. Empty if the pattern has no such parameter,
    /// which is a mistake in the program.
    pub fn raw(&self, name: &str) -> &'a [u8] {
        let index = self.names.iter().position(|known| **known == *name);
        debug_assert!(index.is_some(), "the pattern has no parameter {{{name}}}");
        index.map(|index| self.spans.ends[index]).map_or(b"", |(start, end)| &self.path[start as usize..end as usize])
    }

    /// The parameter's part of the path, percent-decoded once: its bytes need not be UTF-8, and a rest may have a `/`
    /// more than it had before.
    pub fn decoded(&self, name: &str) -> Cow<'a, [u8]> {
        let raw = self.raw(name);
        // A path with an invalid escape never gets as far as a handler.
        percent_decode(raw).unwrap_or(Cow::Borrowed(raw))
    }
}

/// Where the parameters found so far start and end in the path.
#[derive(Debug, Clone, Copy, Default)]
struct Spans {
    ends: [(u32, u32); PARAMETERS_MAX],
    count: usize,
}

impl Spans {
    fn push(&mut self, start: usize, end: usize) {
        self.ends[self.count] = (start as u32, end as u32);
        self.count += 1;
    }
}

/// One place in the trie: what may come as the next segment.
#[derive(Default)]
struct Node {
    literals: Vec<(Box<[u8]>, Node)>,
    parameter: Option<(Box<str>, Box<Node>)>,
    rest: Option<(Box<str>, Route)>,
    /// Patterns that end here.
    route: Option<Route>,
}

impl Node {
    /// The place of the route with these segments, made if it is new.
    fn route_mut(&mut self, segments: &[Segment<'_>]) -> Result<&mut Route, PatternError> {
        match segments {
            [] => Ok(self.route.get_or_insert_default()),
            [Segment::Literal(text), others @ ..] => self.literal_mut(text.as_bytes()).route_mut(others),
            [Segment::Parameter(name), others @ ..] => {
                let (known, node) = self.parameter.get_or_insert_with(|| ((*name).into(), Box::default()));
                same_name(known, name)?;
                node.route_mut(others)
            }
            [Segment::Rest(name), ..] => {
                let (known, route) = self.rest.get_or_insert_with(|| ((*name).into(), Route::default()));
                same_name(known, name)?;
                Ok(route)
            }
        }
    }

    fn literal_mut(&mut self, text: &[u8]) -> &mut Node {
        let index = self.literals.iter().position(|(known, _)| **known == *text).unwrap_or_else(|| {
            self.literals.push((text.into(), Node::default()));
            self.literals.len() - 1
        });
        &mut self.literals[index].1
    }

    /// The route for what is left of `path` from `start`; `None` there when no segment is left. A node is reached by
    /// one way only, so backtracking visits each node at most once, whatever the path.
    #[inline]
    fn find(&self, path: Path<'_>, start: Option<usize>, spans: &mut Spans) -> Option<&Route> {
        match start {
            None => self.route.as_ref(),
            Some(start) => self.find_segment(path, start, spans),
        }
    }

    fn find_segment(&self, path: Path<'_>, start: usize, spans: &mut Spans) -> Option<&Route> {
        let slash = find_byte(b'/', &path.bytes[start..]);
        let end = slash.map_or(path.bytes.len(), |length| start + length);
        let next = (end < path.bytes.len()).then_some(end + 1);
        self.find_literal(path, start..end, next, spans)
            .or_else(|| self.find_parameter(path, start..end, next, spans))
            .or_else(|| self.find_rest(path, start, spans))
    }

    fn find_literal(&self, path: Path<'_>, segment: Range, next: Option<usize>, spans: &mut Spans) -> Option<&Route> {
        let (_, node) = {
            let segment = path.segment(segment);
            self.literals.iter().find(|(literal, _)| **literal == *segment)?
        };
        node.find(path, next, spans)
    }

    fn find_parameter(&self, path: Path<'_>, segment: Range, next: Option<usize>, spans: &mut Spans) -> Option<&Route> {
        let (_, node) = self.parameter.as_ref().filter(|_| !segment.is_empty())?;
        let count = spans.count;
        spans.push(segment.start, segment.end);
        let route = node.find(path, next, spans);
        if route.is_none() {
            spans.count = count;
        }
        route
    }

    fn find_rest(&self, path: Path<'_>, start: usize, spans: &mut Spans) -> Option<&Route> {
        let (_, route) = self.rest.as_ref()?;
        spans.push(start, path.bytes.len());
        Some(route)
    }
}

type Range = std::ops::Range<usize>;

/// What the handler for GET answers with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum GetIs {
    /// Content. HEAD means the same without it, and the protocol leaves it out (RFC 9110 §9.3.2).
    #[default]
    Content,
    /// A tunnel. HEAD means nothing, and GET is another method in some versions ([`Version::tunnel_method`]).
    Tunnel,
}

/// The handlers of one pattern.
#[derive(Default)]
struct Route {
    pattern: Box<str>,
    get: GetIs,
    names: Vec<Box<str>>,
    handlers: Vec<(Method, Box<dyn Handler>)>,
}

impl Route {
    fn add(&mut self, method: Method, names: &[&str], handler: Box<dyn Handler>) -> Result<(), PatternError> {
        if self.own_handler(&method).is_some() {
            return Err(PatternError::Duplicate);
        }
        self.names = names.iter().map(|name| (*name).into()).collect();
        self.handlers.push((method, handler));
        Ok(())
    }

    fn handler(&self, method: Method, version: Version) -> Option<&dyn Handler> {
        match (self.get, method) {
            (GetIs::Tunnel, Method::Get | Method::Connect) if method == version.tunnel_method() => {
                self.own_handler(&Method::Get)
            }
            (GetIs::Tunnel, Method::Get | Method::Connect) => None,
            (GetIs::Content, Method::Head) => self.own_handler(&method).or_else(|| self.own_handler(&Method::Get)),
            _ => self.own_handler(&method),
        }
    }

    fn own_handler(&self, method: &Method) -> Option<&dyn Handler> {
        self.handlers.iter().find(|(known, _)| known == method).map(|(_, handler)| &**handler)
    }

    fn explain(&self, whose: &str, request: &RequestHead<'_>, spans: &Spans, explanation: &mut Explanation) {
        explanation.note("route", format_args!("{whose}: {}", self.pattern));
        let params = Params { path: request.target.path, names: &self.names, spans };
        for name in &self.names {
            explanation.note("parameter", format_args!("{name} = {}", printable(&params.decoded(name))));
        }
        if self.handler(request.method, request.version).is_none() {
            let (method, allowed) = (request.method, self.allowed(request.version));
            explanation.note("method", format_args!("{method} has no handler here, but {allowed} (RFC 9110 §9.1)"));
        }
    }

    fn without_handler(&self, request: &RequestHead<'_>) -> Response {
        let allow = FieldValue::new(self.allowed(request.version)).expect("method names are tokens");
        if request.method == Method::Options { options(allow) } else { errors::method_not_allowed(allow) }
    }

    /// The methods that have an answer in this version, as `Allow` lists them.
    fn allowed(&self, version: Version) -> String {
        let answered = |method: &&Method| **method == Method::Options || self.handler(**method, version).is_some();
        let methods = [Method::Connect].iter().chain(&METHODS).filter(answered).map(Method::as_str);
        methods.collect::<Vec<_>>().join(", ")
    }
}

/// One segment of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment<'p> {
    Literal(&'p str),
    Parameter(&'p str),
    Rest(&'p str),
}

impl<'p> Segment<'p> {
    fn parse(text: &'p str) -> Result<Segment<'p>, PatternError> {
        let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        match name.map(|name| (name, name.strip_prefix('*'))) {
            Some((_, Some(name))) if is_name(name) => Ok(Segment::Rest(name)),
            Some((name, None)) if is_name(name) => Ok(Segment::Parameter(name)),
            None if !text.contains(['{', '}', '%', '?', '#']) => Ok(Segment::Literal(text)),
            _ => Err(PatternError::Segment(text.to_owned())),
        }
    }

    fn name(&self) -> Option<&'p str> {
        match self {
            Segment::Literal(_) => None,
            Segment::Parameter(name) | Segment::Rest(name) => Some(name),
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn parse_pattern(pattern: &str) -> Result<Vec<Segment<'_>>, PatternError> {
    let path = pattern.strip_prefix('/').ok_or(PatternError::Relative)?;
    let segments = path.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
    let before_last = &segments[..segments.len() - 1];
    if before_last.iter().any(|segment| matches!(segment, Segment::Rest(_))) {
        return Err(PatternError::RestInside);
    }
    Ok(segments)
}

fn check_names(names: &[&str]) -> Result<(), PatternError> {
    if names.len() > PARAMETERS_MAX {
        return Err(PatternError::TooManyParameters);
    }
    let repeated = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
    repeated.map_or(Ok(()), |(_, name)| Err(PatternError::Repeated((*name).to_owned())))
}

fn same_name(known: &str, name: &str) -> Result<(), PatternError> {
    if known == name { Ok(()) } else { Err(PatternError::Renamed { known: known.to_owned(), name: name.to_owned() }) }
}

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PatternError {
    Method,
    Relative,
    Segment(String),
    RestInside,
    TooManyParameters,
    Repeated(String),
    Renamed { known: String, name: String },
    Duplicate,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::Method => f.write_str("this method cannot be routed"),
            PatternError::Relative => f.write_str("a pattern starts with /"),
            PatternError::Segment(text) => write!(f, "{text:?} is neither {{name}}, {{*name}} nor plain, decoded text"),
            PatternError::RestInside => f.write_str("{*name} can only come last"),
            PatternError::TooManyParameters => write!(f, "more than {PARAMETERS_MAX} parameters"),
            PatternError::Repeated(name) => write!(f, "the parameter {name} occurs twice"),
            PatternError::Renamed { known, name } => write!(f, "{name} is called {known} in another pattern"),
            PatternError::Duplicate => f.write_str("there is a handler for it already"),
        }
    }
}

#[cfg(test)]
mod tests;
