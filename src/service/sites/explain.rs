//! Tells which site and which route a request has, and why no earlier route takes it.

use std::rc::Rc;
use std::time::Duration;

use super::hosts::HostFit;
use super::matcher::Unfit;
use super::route::{Public, Route, Target};
use super::{NoRoute, NoSite, Site, Sites};
use crate::base::limits::Limits;
use crate::base::terms::Terms;
use crate::http::exchange::Cx;
use crate::http::message::RequestHead;
use crate::service::explanation::{Explanation, printable};
use crate::service::proxy::path::NormalPath;

impl Sites {
    /// Tells which route a request has, if it has one. Where there is only one site with one route, there is nothing to tell.
    pub fn explain(&self, request: &RequestHead<'_>, cx: &Cx<'_>, explanation: &mut Explanation) -> Option<&Rc<Route>> {
        let hosts = self.hosts_at(cx.listener);
        if !hosts.is_for_all() {
            let host = request.authority().map_or_else(|| "no host".into(), printable);
            match hosts.find(request.authority()) {
                None => explanation.note("site", format_args!("none has {host}, and there is no default site: 421")),
                Some((place, fit)) => {
                    let name = &self.sites[place].name;
                    let why = match fit {
                        HostFit::Name => "it has this name",
                        HostFit::Wildcard => "one of its patterns has this name",
                        HostFit::Default => "it has all that no other site has",
                    };
                    explanation.note("site", format_args!("{name}, for {host}: {why}"));
                }
            }
        }
        let site = &self.sites[self.site_of(request, cx.listener)?];
        let path = NormalPath::of_request(request);
        if site.routes.len() > 1 {
            site.explain_earlier(request, path.as_bytes(), explanation);
        }
        let route = match self.route_of(request, cx.listener, cx.server_name) {
            Ok(route) => route,
            Err(NoSite::Host) => return None,
            Err(NoSite::ServerName) => {
                explanation.note("route", "none: over TLS the client has asked for the name of another site: 421");
                return None;
            }
        };
        match site.route_of_any(request) {
            Ok(_) => {}
            Err(NoRoute::Path) => explanation.note("route", "none takes it, and the site has nothing for all others"),
            Err(NoRoute::OtherSpelling) => {
                let why = "none: files of ROOT that have this path, or what a route guards, belong to another route";
                explanation.note("route", why);
            }
        }
        Some(route)
    }
}

impl Site {
    fn explain_earlier(&self, request: &RequestHead<'_>, path: &[u8], explanation: &mut Explanation) {
        let unfit = |route: &Rc<Route>| route.matcher.unfit(request, path).map(|unfit| unfit_text(route, unfit));
        let earlier: Vec<_> = self.routes.iter().map_while(unfit).collect();
        let names = self.routes.iter().map(|route| &route.name);
        let lines = names.zip(&earlier).map(|(name, why)| format!("not {name}: {why}"));
        explanation.note_lines("routes", lines);
        if let Some(route) = self.routes.get(earlier.len()) {
            explanation
                .note(if earlier.is_empty() { "routes" } else { "" }, format_args!("{}: it takes it", route.name));
        }
    }
}

fn unfit_text(route: &Route, unfit: Unfit<'_>) -> String {
    match unfit {
        Unfit::Path => format!("the path is not {}", route.matcher.path),
        Unfit::Method => {
            let methods: Vec<_> = route.matcher.methods.iter().map(|method| method.as_str()).collect();
            format!("the method is not {}", methods.join(" or "))
        }
        Unfit::Field(field) => format!("the request has no {field}"),
    }
}

/// What a route says of its requests that does not hold for all.
fn own_limits(terms: &Terms, of_all: &Limits) -> impl Iterator<Item = String> {
    let own = &terms.limits;
    let time = |name, own: Duration, of_all| (own != of_all).then(|| format!("{name} {own:?}"));
    let size = |name, own: u64, of_all| match own {
        _ if own == of_all => None,
        u64::MAX => Some(format!("no {name}")),
        bytes => Some(format!("{name} {bytes} bytes")),
    };
    let abort = match own.abort_on_close {
        true => "abort-on-close",
        false => "no abort-on-close",
    };
    let lines = [
        time("body-timeout", own.body_timeout, of_all.body_timeout),
        time("send-timeout", own.send_timeout, of_all.send_timeout),
        size("max-upload-size", own.content_bytes_max, of_all.content_bytes_max),
        size("max-body-size", own.gathered_bytes_max as u64, of_all.gathered_bytes_max as u64),
        (own.abort_on_close != of_all.abort_on_close).then(|| abort.to_string()),
        (!terms.is_logged).then(|| "not in the access log".to_string()),
    ];
    lines.into_iter().flatten()
}

impl Route {
    /// Tells how a request that it takes is answered. May block.
    pub fn explain(&self, request: &RequestHead<'_>, cx: &Cx<'_>, explanation: &mut Explanation) {
        if self.access.as_ref().is_some_and(|access| !access.explain(request, cx, explanation)) {
            return;
        }
        if let Some(terms) = &self.terms {
            explanation.note_lines("limits", own_limits(terms, cx.limits));
        }
        let limits = self.terms.as_ref().map_or(cx.limits, |terms| &terms.limits);
        if self.proxy().is_some_and(|proxy| proxy.explain(request, cx, limits, explanation)) {
            return;
        }
        let normal = NormalPath::of_request(request);
        match normal.as_bytes().strip_prefix(self.matcher.path.prefix()).filter(|_| self.strips) {
            Some(b"") => explanation.note("redirect", "to the same address with a slash at its end (strip)"),
            Some(rest) => {
                let mut beneath = *request;
                beneath.target.path = rest;
                explanation.note("path", format_args!("{}, without {} (strip)", printable(rest), self.matcher.path));
                self.explain_here(&beneath, cx, explanation);
            }
            None => self.explain_here(request, cx, explanation),
        }
    }

    fn explain_here(&self, request: &RequestHead<'_>, cx: &Cx<'_>, explanation: &mut Explanation) {
        match &self.target {
            Target::Content(_, public) => match (public.router(request.target.path), public) {
                (Some(router), _) => router.explain("lab", request, explanation),
                (None, Public::Files(files, _)) => files.explain(request, cx.date_secs, explanation),
                (None, _) => explanation.note("route", "nothing is behind it: 404"),
            },
            Target::Redirect(..) => explanation.note("route", "a redirect"),
            Target::Fixed(answer) => explanation.note("route", format_args!("always {}", answer.status)),
            Target::Admin(_) => explanation.note("route", "the admin's pages"),
        }
    }
}
