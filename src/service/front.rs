//! The service of the whole server: what the admin listener serves, and what everyone gets.

use std::mem;
use std::rc::Rc;

use log::Level;

use super::Service;
use super::errors;
use super::explanation::Explanation;
use super::https_redirect::HttpsRedirect;
use super::router::Router;
use super::sites::Sites;
use super::sites::route::{Public, Route, Target};
use super::status::Admin;
use crate::base::listener_role::ListenerRole;
use crate::http::body::Failure;
use crate::http::exchange::{Cx, Decision, Exchange, Reply};
use crate::http::message::{Announced, RequestHead, Response};
use crate::http::status::Status;

/// The service of the whole server.
pub struct Front {
    /// What the admin listener serves. It is never coded: it has paths that anybody may have asked for next to those of
    /// others, and its listener is not reached from afar.
    pub admin: Option<Admin>,
    /// What everyone gets.
    pub plan: Plan,
}

/// What everyone gets, as one reading of the configuration says.
pub struct Plan {
    /// What comes before everything else, if anything does: `/healthz` and `/readyz`.
    pub health: Option<Router>,
    /// What plain listeners answer, if everything is to go over HTTPS.
    pub https_redirect: Option<HttpsRedirect>,
    /// All the rest.
    pub sites: Sites,
}

impl Plan {
    /// These sites alone.
    pub fn new(sites: Sites) -> Plan {
        Plan { health: None, https_redirect: None, sites }
    }

    fn health_for(&self, request: &RequestHead<'_>) -> Option<&Router> {
        self.health.as_ref().filter(|health| health.knows(request.target.path))
    }

    /// The redirect of a request on a plain listener, unless it asks how the server is.
    fn redirect(&self, request: &RequestHead<'_>, cx: &Cx<'_>) -> Option<Response> {
        let redirect = self.https_redirect.filter(|_| cx.role == ListenerRole::Http)?;
        if self.health_for(request).is_some() { None } else { redirect.answer(request) }
    }

    /// What a route answers, or what comes before all routes, unless it is a preflight.
    fn answer(&self, route: &Rc<Route>, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        if let Some(response) = self.redirect(request, cx) {
            return Ok(Reply::Respond(response));
        }
        match self.health_for(request) {
            Some(health) => health.respond_to(request, cx),
            None => route.answer(request, cx),
        }
    }

    /// What is answered to a request that has no site.
    #[cold]
    fn answer_without_site(
        &self,
        response: Response,
        request: &RequestHead<'_>,
        cx: &mut Cx<'_>,
    ) -> Result<Reply, Failure> {
        match self.health_for(request) {
            Some(health) => health.respond_to(request, cx),
            None => Ok(Reply::Respond(response)),
        }
    }

    /// Tells how a request that comes through a public listener is decided. May block.
    fn explain(&self, request: &RequestHead<'_>, cx: &Cx<'_>, explanation: &mut Explanation) {
        let route = self.sites.explain(request, cx, explanation);
        if route.is_some_and(|route| route.cors.as_ref().is_some_and(|cors| cors.preflight(request).is_some())) {
            return explanation.note("cors", "a preflight, which --cors answers whatever the path (Fetch §3.2.2)");
        }
        if self.redirect(request, cx).is_some() {
            return explanation.note("redirect", "plain listeners send everything to https: (--https-redirect)");
        }
        match (self.health_for(request), route) {
            (Some(health), _) => health.explain("health", request, explanation),
            (None, Some(route)) => route.explain(request, cx, explanation),
            (None, None) => {}
        }
    }
}

impl Front {
    /// A front with what everyone gets alone.
    pub fn new(plan: Plan) -> Front {
        Front { admin: None, plan }
    }

    /// A front that has this for all requests.
    pub fn of(public: Public) -> Front {
        Front::new(Plan::new(Sites::one(Route::new(Target::Content(None, public)))))
    }

    /// Tells how a request that comes through a public listener is decided. May block.
    pub fn explain(&self, request: &RequestHead<'_>, cx: &Cx<'_>, explanation: &mut Explanation) {
        self.plan.explain(request, cx, explanation);
    }
}

impl Service for Front {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        if cx.role == ListenerRole::Admin
            && let Some(admin) = &self.admin
        {
            return admin.respond_to(request, cx);
        }
        let route = match self.plan.sites.route_of(request, cx.listener, cx.server_name) {
            Ok(route) => route,
            Err(none) => return self.plan.answer_without_site(none.response(), request, cx),
        };
        if let Some(terms) = &route.terms {
            cx.terms.set(Some(Rc::clone(terms)));
        }
        let mut reply = match route.cors.as_ref().and_then(|cors| cors.preflight(request)) {
            Some(preflight) => Ok(Reply::Respond(preflight)),
            None => match excess(route, request, cx) {
                Some(length_max) => Ok(Reply::Respond(refuse_length(length_max, cx))),
                None => self.plan.answer(route, request, cx),
            },
        };
        match &mut reply {
            Ok(Reply::Respond(response)) => route.conclude(request, response, cx),
            Ok(Reply::Decide(exchange)) => {
                *exchange = route.conclude_later(request, mem::replace(exchange, Box::new(Taken)));
            }
            Ok(Reply::Upgrade(_)) | Err(_) => {}
        }
        reply
    }
}

/// The length that the content of a request may have in its route, in bytes, if it announces more.
#[inline]
fn excess(route: &Route, request: &RequestHead<'_>, cx: &Cx<'_>) -> Option<u64> {
    let Announced::Length(length) = request.announced else { return None };
    let length_max = route.limits(cx.limits).content_bytes_max;
    (length > length_max).then_some(length_max)
}

/// RFC 9110 §15.5.14. As nobody takes the content, it is not asked for with 100 (Continue) either (§10.1.1).
#[cold]
fn refuse_length(length_max: u64, cx: &Cx<'_>) -> Response {
    let status = Status::CONTENT_TOO_LARGE;
    cx.complain(
        Level::Info,
        format_args!("{status}: the content is longer than {length_max} bytes (RFC 9110 §15.5.14)"),
    );
    errors::content_too_large(length_max)
}

/// Stands where an exchange was, while that is taken.
struct Taken;

impl Exchange for Taken {
    fn respond(self: Box<Self>, _: &mut Cx<'_>) -> Result<Decision, Failure> {
        Err(Failure::new("an exchange that was taken is asked"))
    }
}
