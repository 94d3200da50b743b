//! Sites and their routes: what answers a request, by the host that it names and by what it is like.
//!
//! [`Sites`] finds the site (`hosts`), the site finds the route (`matcher`), and the route answers (`route`). Everything here is
//! made when the configuration is read, and never changed: a request that is in flight keeps the route that it was given.

pub mod answers;
pub mod error_pages;
mod explain;
pub mod hosts;
pub mod matcher;
pub mod route;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::rc::Rc;

use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::errors;
use crate::service::proxy::path::NormalPath;
use crate::service::static_files::other_spelling;
use hosts::{HostPattern, Hosts};
use matcher::first_segment;
use route::Route;

/// All sites.
#[derive(Default)]
pub struct Sites {
    hosts: Hosts,
    sites: Vec<Site>,
}

/// What requests for some hosts get.
pub struct Site {
    /// How it is called in explanations.
    name: Box<str>,
    /// The first that takes a request answers it.
    routes: Vec<Rc<Route>>,
    /// The places of those that may take a path with this first segment.
    by_segment: HashMap<Box<[u8]>, Box<[usize]>>,
    /// The places of those that may take a path with any other.
    general: Box<[usize]>,
}

/// Why a request has no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// No site has its host.
    Host,
    /// No route of the site takes it.
    Path,
    /// In another spelling its path has a route that it must not be led past.
    OtherSpelling,
}

impl NoRoute {
    /// What the client gets.
    pub fn response(self) -> Response {
        match self {
            // RFC 9110 §15.5.20: the server does not answer for this authority.
            NoRoute::Host => errors::refuse(
                Status::MISDIRECTED_REQUEST,
                "no site of this server has the host that the request names",
                "RFC 9110 §15.5.20",
            ),
            NoRoute::Path | NoRoute::OtherSpelling => errors::not_found(),
        }
    }
}

impl Sites {
    /// The one site of all hosts, with one route.
    pub fn one(route: Route) -> Sites {
        let mut sites = Sites { hosts: Hosts::default(), sites: vec![Site::new("", vec![route])] };
        // There is no other site that could have them.
        let (Ok(()) | Err(_)) = sites.hosts.insert(None, 0);
        sites
    }

    /// Adds a site for these hosts; for none of them it is the default site, which has all that no other one has.
    ///
    /// # Errors
    /// The pattern that another site has already; `None`: there is a default site already.
    pub fn add<'h>(&mut self, hosts: &'h [HostPattern], site: Site) -> Result<(), Option<&'h HostPattern>> {
        let place = self.sites.len();
        self.sites.push(site);
        match hosts {
            [] => self.hosts.insert(None, place).map_err(|_| None),
            _ => hosts.iter().try_for_each(|host| self.hosts.insert(Some(host), place).map_err(|_| Some(host))),
        }
    }

    /// All routes.
    pub fn routes(&self) -> impl Iterator<Item = &Rc<Route>> {
        self.sites.iter().flat_map(|site| &site.routes)
    }

    /// The site of a request.
    #[inline]
    fn site_of(&self, request: &RequestHead<'_>) -> Option<&Site> {
        match &self.sites[..] {
            [only] if self.hosts.is_for_all() => Some(only),
            sites => self.hosts.find(request.authority()).map(|(place, _)| &sites[place]),
        }
    }

    /// The route of a request.
    ///
    /// # Errors
    /// It has none.
    #[inline]
    pub fn route_of(&self, request: &RequestHead<'_>) -> Result<&Rc<Route>, NoRoute> {
        let site = self.site_of(request).ok_or(NoRoute::Host)?;
        match &site.routes[..] {
            // Most servers have one site and one folder: nothing is looked up.
            [only] if only.matcher.takes_all() && only.proxy().is_none() => Ok(only),
            _ => site.route_of(request),
        }
    }
}

impl Site {
    /// A site with these routes, in the order in which they are tried.
    pub fn new(name: &str, routes: Vec<Route>) -> Site {
        let segment_of = |route: &Route| route.matcher.path.first_segment().map(<[u8]>::to_vec);
        let segments: Vec<_> = routes.iter().map(segment_of).collect();
        let places = |segment: Option<&[u8]>| -> Box<[usize]> {
            let may_take = |(_, other): &(usize, &Option<Vec<u8>>)| other.is_none() || other.as_deref() == segment;
            segments.iter().enumerate().filter(may_take).map(|(place, _)| place).collect()
        };
        let by_segment = segments.iter().flatten().map(|segment| (segment.as_slice().into(), places(Some(segment))));
        Site {
            name: name.into(),
            by_segment: by_segment.collect(),
            general: places(None),
            routes: routes.into_iter().map(Rc::new).collect(),
        }
    }

    /// The places of the routes that may take this path.
    fn candidates(&self, path: &[u8]) -> &[usize] {
        self.by_segment.get(first_segment(path)).unwrap_or(&self.general)
    }

    fn route_of(&self, request: &RequestHead<'_>) -> Result<&Rc<Route>, NoRoute> {
        let path = NormalPath::of_request(request);
        let route = self.find(request, path.as_bytes()).ok_or(NoRoute::Path)?;
        match self.route_past(route, request, path.as_bytes()) {
            Some(_) => Err(NoRoute::OtherSpelling),
            None => Ok(route),
        }
    }

    /// The first route that takes a request, whose normalised path this is.
    fn find(&self, request: &RequestHead<'_>, path: &[u8]) -> Option<&Rc<Route>> {
        let mut routes = self.candidates(path).iter().map(|place| &self.routes[*place]);
        routes.find(|route| route.matcher.unfit(request, path).is_none())
    }

    /// The route that a request has in another spelling of its path, and that it must not be led past.
    ///
    /// A folder takes `%2F` for a slash and two slashes for one, and so do some upstreams. Such a spelling must not lead to the
    /// files of another route, nor past one that asks for a password.
    fn route_past(&self, route: &Rc<Route>, request: &RequestHead<'_>, path: &[u8]) -> Option<&Rc<Route>> {
        let other = other_spelling(path)?;
        let other = NormalPath::new(&other);
        let meant = self.find(request, other.as_bytes())?;
        let has_upstream =
            |route: &Route, path: &[u8]| route.proxy().is_some_and(|proxy| proxy.has_route(path, request));
        let is_another = !Rc::ptr_eq(meant, route) && (route.has_files() || meant.is_guarded());
        // Upstreams that stand beside a folder in one route.
        let is_upstreams =
            route.has_files() && has_upstream(meant, other.as_bytes()) && !has_upstream(route, request.target.path);
        (is_another || is_upstreams).then_some(meant)
    }
}
