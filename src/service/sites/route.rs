//! A route: which requests it takes, what must hold of them, and what answers them.

use std::rc::Rc;

use super::answers::{FixedAnswer, Redirect};
use super::error_pages::ErrorPages;
use super::matcher::{Matcher, PathMatch};
use crate::base::limits::Limits;
use crate::base::terms::Terms;
use crate::http::body::Failure;
use crate::http::exchange::{Cx, Exchange, Reply, concluded};
use crate::http::fields::{FieldValue, LOCATION};
use crate::http::message::{Origin, RequestHead, Response};
use crate::http::status::Status;
use crate::service::access::{Access, Admission};
use crate::service::coding::Coders;
use crate::service::cors::Cors;
use crate::service::errors::{self, Detail};
use crate::service::proxy::Proxy;
use crate::service::proxy::path::NormalPath;
use crate::service::router::Router;
use crate::service::static_files::StaticFiles;
use crate::service::static_files::field_rules::FieldRules;
use crate::service::status::Admin;

/// Requests of one kind, and what answers them.
pub struct Route {
    /// How it is called in explanations: its place in the configuration.
    pub name: Box<str>,
    /// What holds for its requests; `None`: what holds for all.
    pub terms: Option<Rc<Terms>>,
    /// Which requests it takes.
    pub matcher: Matcher,
    /// What it asks of them before it answers; `None`: nothing.
    pub access: Option<Access>,
    /// Which scripts of other sites may read what it answers; `None`: no other site's.
    pub cors: Option<Cors>,
    /// Fields that are added to what is not answered from a folder. A folder has its own.
    pub fields: FieldRules,
    /// Pages for errors that are found here.
    pub error_pages: Option<Rc<ErrorPages>>,
    /// Whether the prefix of the path is taken off before a folder, the lab or the admin looks at it.
    pub strips: bool,
    /// What it leads to.
    pub target: Target,
    /// Who codes what is produced; `None`: nobody.
    pub coders: Option<Coders>,
}

/// What answers.
pub enum Target {
    /// Upstreams for those requests that have a place there. Others go on to what is behind.
    Content(Option<Proxy>, Public),
    /// The client is sent to another address.
    Redirect(Redirect, Status),
    /// The same for all.
    Fixed(FixedAnswer),
    /// What the admin listener serves.
    Admin(Admin),
}

/// What answers requests that are not passed on.
pub enum Public {
    /// The demo site and the lab, or the lab alone.
    Lab(Rc<Router>),
    /// Files; the lab's paths come first if it is there.
    Files(StaticFiles, Option<Rc<Router>>),
    /// Nothing: 404.
    Nothing,
}

impl Public {
    /// The group of routes that has this path; `None`: files have it, or nothing has.
    pub(super) fn router(&self, path: &[u8]) -> Option<&Router> {
        match self {
            Public::Lab(lab) => Some(lab),
            Public::Files(_, Some(lab)) if lab.knows(path) => Some(lab),
            Public::Files(..) | Public::Nothing => None,
        }
    }
}

impl Route {
    /// A route for all requests, which asks for nothing and adds nothing.
    pub fn new(target: Target) -> Route {
        Route {
            name: "".into(),
            terms: None,
            matcher: Matcher::default(),
            access: None,
            cors: None,
            fields: FieldRules::default(),
            error_pages: None,
            strips: false,
            target,
            coders: Some(Coders::default()),
        }
    }

    /// Whether it asks for something before it answers, so that no other spelling of a path may lead past it.
    pub(super) fn is_guarded(&self) -> bool {
        self.access.is_some()
    }

    /// Whether it takes every request, and no other spelling of a path leads past anything.
    pub(super) fn takes_all(&self) -> bool {
        matches!(self.matcher.path, PathMatch::Any) && self.matcher.is_by_path() && self.proxy().is_none()
    }

    /// Whether its answers come from a folder, or may.
    pub(super) fn has_files(&self) -> bool {
        matches!(self.target, Target::Content(_, Public::Files(..)))
    }

    /// The upstreams of some of its requests, if it has any.
    pub fn proxy(&self) -> Option<&Proxy> {
        if let Target::Content(proxy, _) = &self.target { proxy.as_ref() } else { None }
    }

    /// The answer to a request that it takes, before it is concluded.
    #[inline]
    pub fn answer(self: &Rc<Self>, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        let is_simple = self.access.is_none() && self.terms.is_none() && self.proxy().is_none() && !self.strips;
        if is_simple { self.answer_here(request, cx) } else { self.answer_by_rules(request, cx) }
    }

    #[inline(never)]
    fn answer_by_rules(self: &Rc<Self>, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        match &self.access {
            None => self.answer_admitted(request, cx),
            Some(access) => self.answer_if_admitted(access, request, cx),
        }
    }

    fn answer_if_admitted(
        self: &Rc<Self>,
        access: &Access,
        request: &RequestHead<'_>,
        cx: &mut Cx<'_>,
    ) -> Result<Reply, Failure> {
        match access.admit(request, cx) {
            Admission::Passed => self.answer_admitted(request, cx),
            Admission::Refused(response, _) => Ok(Reply::Respond(response)),
            Admission::Checking(check) => {
                let route = Rc::clone(self);
                let then = check.then(request, cx, move |request, cx| route.answer_admitted(request, cx));
                Ok(Reply::Decide(then))
            }
        }
    }

    fn answer_admitted(&self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        match &self.terms {
            Some(terms) => self.answer_beneath(request, &mut Cx { limits: &terms.limits, ..*cx }),
            None => self.answer_beneath(request, cx),
        }
    }

    /// The limits of its requests, if those of all are `limits`.
    pub fn limits<'a>(&'a self, limits: &'a Limits) -> &'a Limits {
        self.terms.as_ref().map_or(limits, |terms| &terms.limits)
    }

    /// The same for the path that the target gets to see.
    fn answer_beneath(&self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        // Upstreams have options of their own that say what becomes of the path.
        if let Some(reply) = self.proxy().and_then(|proxy| proxy.call(request, cx)) {
            return Ok(reply);
        }
        if !self.strips {
            return self.answer_here(request, cx);
        }
        let normal = NormalPath::of_request(request);
        match normal.as_bytes().strip_prefix(self.matcher.path.prefix()) {
            // What the folder is called without its slash has another address, or relative links in its page were wrong.
            Some(b"") => Ok(Reply::Respond(with_slash(request, normal.as_bytes()))),
            Some(rest) => {
                let mut beneath = *request;
                beneath.target.path = rest;
                self.answer_here(&beneath, cx)
            }
            None => self.answer_here(request, cx),
        }
    }

    /// The same without upstreams, for a request whose path is what is looked for.
    fn answer_here(&self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        match &self.target {
            Target::Content(_, public) => match (public.router(request.target.path), public) {
                (Some(router), _) => router.respond_to(request, cx),
                (None, Public::Files(files, _)) => files.respond_to(request, cx),
                (None, _) => Ok(Reply::Respond(errors::not_found())),
            },
            Target::Redirect(redirect, status) => {
                let path = NormalPath::of_request(request);
                Ok(Reply::Respond(match path.defect() {
                    None => redirect.answer(*status, request, path.as_bytes(), self.matcher.path.prefix()),
                    Some(defect) => errors::bad_request("invalid_path", [("detail", Detail::Text(defect))]),
                }))
            }
            Target::Fixed(answer) => Ok(Reply::Respond(answer.answer())),
            Target::Admin(admin) => admin.respond_to(request, cx),
        }
    }

    /// Does what is done with every response of the route.
    #[inline]
    pub fn conclude(&self, request: &RequestHead<'_>, response: &mut Response, cx: &mut Cx<'_>) {
        if self.changes_responses() {
            Change::of(self, request).make(response);
        }
        if let Some(coders) = &self.coders {
            coders.recode(request, response, cx.limits);
        }
        if let Some(cors) = &self.cors {
            cors.grant(request.fields).add_to(response);
        }
    }

    /// The same for what `exchange` will decide.
    #[cold]
    pub fn conclude_later(&self, request: &RequestHead<'_>, mut exchange: Box<dyn Exchange>) -> Box<dyn Exchange> {
        if self.changes_responses() {
            let change = Change::of(self, request);
            exchange = concluded(exchange, move |response, _| change.make(response));
        }
        if let Some(coders) = &self.coders {
            exchange = coders.recode_later(request, exchange);
        }
        if let Some(cors) = &self.cors {
            let grant = cors.grant(request.fields);
            exchange = concluded(exchange, move |response, _| grant.add_to(response));
        }
        exchange
    }

    fn changes_responses(&self) -> bool {
        self.strips || self.error_pages.is_some() || !self.fields.is_empty()
    }
}

/// 308 to the same path with a slash at its end, and with the query. The reference is relative (RFC 9110 §10.2.2), so that it
/// holds as well behind a proxy that takes a prefix off the path.
fn with_slash(request: &RequestHead<'_>, path: &[u8]) -> Response {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let query = request.target.query.map(|query| [b"?", query].concat()).unwrap_or_default();
    // With the dot in front, a colon in the name makes no scheme of it (RFC 3986 §4.2).
    match FieldValue::new([b"./", name, b"/", &query].concat()) {
        Ok(location) => Response::new(Status::PERMANENT_REDIRECT).with_field(LOCATION, location),
        Err(_) => errors::not_found(),
    }
}

/// What a route does to one response.
struct Change {
    fields: FieldRules,
    error_pages: Option<Rc<ErrorPages>>,
    /// What was taken off the path.
    prefix: Option<Box<[u8]>>,
    path: Box<[u8]>,
}

impl Change {
    fn of(route: &Route, request: &RequestHead<'_>) -> Change {
        Change {
            fields: route.fields.clone(),
            error_pages: route.error_pages.clone(),
            prefix: route.strips.then(|| route.matcher.path.prefix().into()),
            path: request.target.path.into(),
        }
    }

    fn make(&self, response: &mut Response) {
        if let Some(pages) = &self.error_pages {
            pages.replace_content(response);
        }
        // What an upstream says of a place has been rewritten by the options of its own route.
        if let Some(prefix) = self.prefix.as_ref().filter(|_| response.origin == Origin::Here) {
            for (name, value) in &mut response.fields {
                // What is relative holds here as well. What begins with two slashes is another host.
                let is_path = value.as_bytes().starts_with(b"/") && !value.as_bytes().starts_with(b"//");
                if name.is(&LOCATION)
                    && is_path
                    && let Ok(whole) = FieldValue::new([prefix, value.as_bytes()].concat())
                {
                    *value = whole;
                }
            }
        }
        self.fields.add_to_produced(response, &self.path);
    }
}
