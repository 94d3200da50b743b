//! The service of the whole server: decides which of the services answers a request.

use std::mem;

use super::Service;
use super::coding::Coders;
use super::cors::Cors;
use super::explanation::Explanation;
use super::https_redirect::HttpsRedirect;
use super::proxy::Proxy;
use super::router::Router;
use super::static_files::{self, StaticFiles};
use super::status::Admin;
use crate::base::listener_role::ListenerRole;
use crate::http::body::Failure;
use crate::http::exchange::{Cx, Decision, Exchange, Reply, concluded};
use crate::http::message::{RequestHead, Response};

/// The service of the whole server.
pub struct Front {
    /// What everyone gets.
    pub public: Public,
    /// What comes before it, if anything does: `/healthz` and `/readyz`.
    pub health: Option<Router>,
    /// What the admin listener serves. It is never coded: it has paths that anybody may have asked for next to those of
    /// others, and its listener is not reached from afar.
    pub admin: Option<Admin>,
    /// Which scripts of other sites may read what everyone gets; `None`: no other site's.
    pub cors: Option<Cors>,
    /// What plain listeners answer, if everything is to go over HTTPS.
    pub https_redirect: Option<HttpsRedirect>,
    /// What upstreams answer, if anything. It comes before files and the lab.
    pub proxy: Option<Proxy>,
    coders: Coders,
}

/// What everyone gets.
pub enum Public {
    /// The demo site and the lab.
    Lab(Router),
    /// Files; the lab's paths come first if it is there.
    Files(StaticFiles, Option<Router>),
}

impl Front {
    /// A front with the public service alone.
    pub fn new(public: Public) -> Front {
        let coders = match &public {
            Public::Lab(_) => Coders::default(),
            Public::Files(files, _) => files.coders().clone(),
        };
        Front { public, health: None, admin: None, cors: None, https_redirect: None, proxy: None, coders }
    }
}

/// The service that answers a request through a public listener.
enum Destination<'a> {
    /// Routes, and the name of the group they belong to.
    Routes(&'static str, &'a mut Router),
    Files(&'a mut StaticFiles),
}

impl Front {
    fn destination(&mut self, path: &[u8]) -> Destination<'_> {
        match &mut self.health {
            Some(health) if health.knows(path) => Destination::Routes("health", health),
            _ => self.public.destination(path),
        }
    }

    /// Tells how a request that comes through a public listener is decided. May block.
    pub fn explain(&mut self, request: &RequestHead<'_>, cx: &Cx<'_>, explanation: &mut Explanation) {
        if self.cors.as_ref().is_some_and(|cors| cors.preflight(request).is_some()) {
            return explanation.note("cors", "a preflight, which --cors answers whatever the path (Fetch §3.2.2)");
        }
        if self.https_redirect.is_some_and(|redirect| self.redirect(redirect, request).is_some()) {
            return explanation.note("redirect", "plain listeners send everything to https: (--https-redirect)");
        }
        let asks_for_health = self.asks_for_health(request);
        if !asks_for_health && self.proxy.as_ref().is_some_and(|proxy| proxy.explain(request, cx, explanation)) {
            return;
        }
        let is_taken = self.is_taken_by_a_route(request);
        match self.destination(request.target.path) {
            Destination::Routes(whose, router) => router.explain(whose, request, explanation),
            Destination::Files(_) if is_taken => {
                explanation
                    .note("route", "none: files beneath ROOT that have this path belong to a route of --proxy: 404");
            }
            Destination::Files(files) => files.explain(request, cx.date_secs, explanation),
        }
    }
}

impl Public {
    fn destination(&mut self, path: &[u8]) -> Destination<'_> {
        match self {
            Public::Lab(lab) => Destination::Routes("lab", lab),
            Public::Files(_, Some(lab)) if lab.knows(path) => Destination::Routes("lab", lab),
            Public::Files(files, _) => Destination::Files(files),
        }
    }
}

impl Service for Front {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        if cx.role == ListenerRole::Admin
            && let Some(admin) = &mut self.admin
        {
            return admin.call(request, cx);
        }
        let mut reply = self.answer(request, cx);
        match &mut reply {
            Ok(Reply::Respond(response)) => self.conclude(request, response, cx),
            Ok(Reply::Decide(exchange)) => self.conclude_later(request, exchange),
            Ok(Reply::Upgrade(_)) | Err(_) => {}
        }
        reply
    }
}

impl Front {
    fn answer(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        if let Some(preflight) = self.cors.as_ref().and_then(|cors| cors.preflight(request)) {
            return Ok(Reply::Respond(preflight));
        }
        if let Some(redirect) = self.https_redirect
            && cx.role == ListenerRole::Http
            && let Some(response) = self.redirect(redirect, request)
        {
            return Ok(Reply::Respond(response));
        }
        let asks_for_health = self.asks_for_health(request);
        if let Some(proxy) = self.proxy.as_ref().filter(|_| !asks_for_health)
            && let Some(reply) = proxy.call(request, cx)
        {
            return Ok(reply);
        }
        let is_taken = self.is_taken_by_a_route(request);
        match self.destination(request.target.path) {
            Destination::Routes(_, router) => router.call(request, cx),
            Destination::Files(files) if is_taken => Ok(Reply::Respond(files.not_found(request))),
            Destination::Files(files) => files.call(request, cx),
        }
    }

    /// The redirect of a request on a plain listener, unless it asks how the server is.
    #[cold]
    fn redirect(&self, redirect: HttpsRedirect, request: &RequestHead<'_>) -> Option<Response> {
        if self.asks_for_health(request) { None } else { redirect.answer(request) }
    }

    fn asks_for_health(&self, request: &RequestHead<'_>) -> bool {
        self.health.as_ref().is_some_and(|health| health.knows(request.target.path))
    }

    /// Whether a folder reads the path, which has no route as it was sent, as one that has: it takes `%2F` for a slash and two
    /// slashes for one. Otherwise such a spelling would lead to files past a route that asks for a password.
    fn is_taken_by_a_route(&self, request: &RequestHead<'_>) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| {
            static_files::other_spelling(request.target.path).is_some_and(|path| proxy.has_route(&path, request))
        })
    }

    /// Does what is done with every public response: codes its content, and says which scripts may read it.
    #[inline]
    fn conclude(&self, request: &RequestHead<'_>, response: &mut Response, cx: &mut Cx<'_>) {
        self.coders.recode(request, response, cx.limits);
        if let Some(cors) = &self.cors {
            cors.grant(request.fields).add_to(response);
        }
    }

    #[cold]
    fn conclude_later(&self, request: &RequestHead<'_>, exchange: &mut Box<dyn Exchange>) {
        let mut decided = self.coders.recode_later(request, mem::replace(exchange, Box::new(Taken)));
        if let Some(cors) = &self.cors {
            let grant = cors.grant(request.fields);
            decided = concluded(decided, move |response, _| grant.add_to(response));
        }
        *exchange = decided;
    }
}

/// Stands where an exchange was, while that is taken.
struct Taken;

impl Exchange for Taken {
    fn respond(self: Box<Self>, _: &mut Cx<'_>) -> Result<Decision, Failure> {
        Err(Failure::new("an exchange that was taken is asked"))
    }
}
