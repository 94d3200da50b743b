//! Sites and their routes: what answers a request, by the host that it names and by what it is like.
//!
//! [`Sites`] finds the site (`hosts`), the site finds the route (`matcher`), and the route answers (`route`). Everything here is
//! made when the configuration is read, and never changed: a request that is in flight keeps the route that it was given.

pub mod answers;
pub mod error_pages;
mod explain;
pub mod hosts;
mod last;
pub mod matcher;
pub mod route;
mod table;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use crate::base::listener_id::ListenerId;
use crate::http::message::{RequestHead, Response};
use crate::http::method::Method;
use crate::http::status::Status;
use crate::service::errors;
use crate::service::proxy::path::{NormalPath, is_plain};
use crate::service::static_files::other_spelling;
use hosts::{HostPattern, Hosts};
use last::Last;
use matcher::first_segment;
use route::{Public, Route, Target};
use table::Table;

/// All sites.
#[derive(Default)]
pub struct Sites {
    /// Which site has which hosts, where that depends on no listener.
    hosts: Hosts,
    /// The same for each listener that a site belongs to; empty if all sites belong to all of them.
    by_listener: Vec<(ListenerId, Hosts)>,
    sites: Vec<Site>,
    last: Last,
}

/// What requests for some hosts get.
pub struct Site {
    /// How it is called in explanations.
    name: Box<str>,
    /// The first that takes a request answers it.
    routes: Vec<Rc<Route>>,
    /// What answers requests that have none of them: 404, with all that the site says of its answers.
    rest: Rc<Route>,
    /// The places of those that may take a path with this first segment.
    by_segment: Table<Box<[usize]>>,
    /// The places of those that may take a path with any other.
    general: Box<[usize]>,
    /// A bit for the first byte of each of these segments: most paths begin with none of them.
    first_bytes: u64,
}

/// Why a request has no site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSite {
    /// None has its host.
    Host,
    /// In the TLS handshake the client has asked for the name of another one.
    ServerName,
}

/// Why a request has no route of its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoRoute {
    /// None takes it.
    Path,
    /// In another spelling its path has a route that it must not be led past.
    OtherSpelling,
}

impl NoSite {
    /// What the client gets.
    pub fn response(self) -> Response {
        match self {
            // RFC 9110 §15.5.20: the server does not answer for this authority.
            NoSite::Host => errors::refuse(
                Status::MISDIRECTED_REQUEST,
                "no site of this server has the host that the request names",
                "RFC 9110 §15.5.20",
            ),
            // The client may send it again over a connection of its own, and does not break anything off.
            NoSite::ServerName => errors::refuse(
                Status::MISDIRECTED_REQUEST,
                "the connection was made for the name of another site",
                "RFC 9110 §15.5.20",
            ),
        }
    }
}

impl Sites {
    /// The one site of all hosts, with one route.
    pub fn one(route: Route) -> Sites {
        let mut sites = Sites { sites: vec![Site::new("", vec![route])], ..Sites::default() };
        // There is no other site that could have them.
        let (Ok(()) | Err(_)) = sites.hosts.insert(None, 0);
        sites
    }

    /// From now on which site has which hosts may depend on these listeners. To be said before sites are added.
    pub fn tell_apart(&mut self, listeners: impl IntoIterator<Item = ListenerId>) {
        self.by_listener = listeners.into_iter().map(|listener| (listener, Hosts::default())).collect();
    }

    /// Adds a site for these hosts; for none of them it is the default site, which has all that no other one has. It belongs to
    /// these listeners, or to all.
    ///
    /// # Errors
    /// The pattern that another site has already; `None`: there is a default site already.
    pub fn add<'h>(
        &mut self,
        hosts: &'h [HostPattern],
        listeners: Option<&[ListenerId]>,
        site: Site,
    ) -> Result<(), Option<&'h HostPattern>> {
        let place = self.sites.len();
        self.sites.push(site);
        let has = |listener: &ListenerId| listeners.is_none_or(|listeners| listeners.contains(listener));
        let of_listeners = self.by_listener.iter_mut().filter(|(listener, _)| has(listener)).map(|(_, hosts)| hosts);
        let of_all = listeners.is_none().then_some(&mut self.hosts);
        for table in of_listeners.chain(of_all) {
            match hosts {
                [] => table.insert(None, place).map_err(|_| None)?,
                _ => hosts.iter().try_for_each(|host| table.insert(Some(host), place).map_err(|_| Some(host)))?,
            }
        }
        Ok(())
    }

    /// Which site has which hosts at this listener.
    #[inline]
    fn hosts_at(&self, listener: ListenerId) -> &Hosts {
        let mut by_listener = self.by_listener.iter();
        by_listener.find(|(other, _)| *other == listener).map_or(&self.hosts, |(_, hosts)| hosts)
    }

    /// The place of the site of a request.
    #[inline]
    fn site_of(&self, request: &RequestHead<'_>, listener: ListenerId) -> Option<usize> {
        let hosts = self.hosts_at(listener);
        match &self.sites[..] {
            [_] if hosts.is_for_all() => Some(0),
            _ => hosts.find(request.authority()).map(|(place, _)| place),
        }
    }

    /// Whether a site has the host of a request that comes through this listener.
    pub fn have(&self, request: &RequestHead<'_>, listener: ListenerId) -> bool {
        self.site_of(request, listener).is_some()
    }

    /// The route of a request that has come through this `listener`, over TLS perhaps with this server name. If no route of its
    /// site takes it, it is the one that says 404.
    ///
    /// # Errors
    /// It has no site.
    #[inline]
    pub fn route_of(
        &self,
        request: &RequestHead<'_>,
        listener: ListenerId,
        server_name: Option<&str>,
    ) -> Result<&Rc<Route>, NoSite> {
        match &self.sites[..] {
            // Most servers have one site and one folder: nothing is looked up.
            [Site { routes, .. }] if self.hosts.is_for_all() && routes.len() == 1 && routes[0].takes_all() => {
                Ok(&routes[0])
            }
            _ => self.look_up(request, listener, server_name),
        }
    }

    fn look_up(
        &self,
        request: &RequestHead<'_>,
        listener: ListenerId,
        server_name: Option<&str>,
    ) -> Result<&Rc<Route>, NoSite> {
        let (authority, path) = (request.authority().unwrap_or_default(), request.target.path);
        // OPTIONS may be for no path at all.
        let is_for_path = request.method != Method::Options;
        let known = if is_for_path { self.last.get(listener, authority, path) } else { None };
        let site = match known {
            Some((site, _)) => site,
            None => self.site_of(request, listener).ok_or(NoSite::Host)?,
        };
        if server_name.is_some_and(|name| !self.is_for(name, authority, site, listener)) {
            return Err(NoSite::ServerName);
        }
        if let Some((site, route)) = known {
            return Ok(&self.sites[site].routes[route]);
        }
        if !is_for_path || !is_plain(path) {
            let site = &self.sites[site];
            return Ok(site.route_of_any(request).unwrap_or(&site.rest));
        }
        let Some(found) = self.sites[site].find(request, path) else { return Ok(&self.sites[site].rest) };
        if found.is_by_path {
            self.last.set(listener, authority, path, (site, found.place));
        }
        Ok(&self.sites[site].routes[found.place])
    }

    /// Whether the server name is that of the site, whose certificate was shown, then. A client may use one connection for
    /// several hosts of a site.
    fn is_for(&self, server_name: &str, authority: &[u8], site: usize, listener: ListenerId) -> bool {
        let is_same =
            authority.strip_prefix(server_name.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b':', ..]));
        is_same || self.hosts_at(listener).find(Some(server_name.as_bytes())).is_some_and(|(place, _)| place == site)
    }
}

/// A route that was found.
struct Found {
    place: usize,
    /// Whether every request for this path has it, whatever its method and its fields.
    is_by_path: bool,
}

/// The bit of the first byte behind the first slash of a path.
fn first_byte_of(path: &[u8]) -> u64 {
    1 << (path.get(1).copied().unwrap_or_default() & 63)
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
        let by_segment = segments.iter().flatten().map(|segment| (segment.as_slice(), places(Some(segment))));
        let first_bytes = segments.iter().flatten().map(|segment| first_byte_of(&[b"/", &segment[..]].concat()));
        Site {
            name: name.into(),
            by_segment: by_segment.collect(),
            first_bytes: first_bytes.fold(0, |bits, bit| bits | bit),
            general: places(None),
            routes: routes.into_iter().map(Rc::new).collect(),
            rest: Rc::new(Route::new(Target::Content(None, Public::Nothing))),
        }
    }

    /// What answers requests that no route takes, with all that is to go with a 404.
    pub fn set_rest(&mut self, rest: Route) {
        self.rest = Rc::new(rest);
    }

    /// The places of the routes that may take this path.
    fn candidates(&self, path: &[u8]) -> &[usize] {
        match self.first_bytes & first_byte_of(path) {
            0 => &self.general,
            _ => self.by_segment.get(first_segment(path)).unwrap_or(&self.general),
        }
    }

    /// The route of a request whose path may mean another one.
    fn route_of_any(&self, request: &RequestHead<'_>) -> Result<&Rc<Route>, NoRoute> {
        let path = NormalPath::of_request(request);
        let found = self.find(request, path.as_bytes()).ok_or(NoRoute::Path)?;
        let route = &self.routes[found.place];
        // A folder looks at the path as it came, and an upstream gets the normalised one. Two slashes in front of `..` make a
        // difference: `/a//../b` is `/a/b` (RFC 3986 §5.2.4), and a folder takes it for `/b`.
        let leads_past = |path: &[u8]| self.route_past(route, request, path).is_some();
        if leads_past(path.as_bytes()) || leads_past(request.target.path) {
            return Err(NoRoute::OtherSpelling);
        }
        Ok(route)
    }

    /// The first route that takes a request, whose normalised path this is.
    fn find(&self, request: &RequestHead<'_>, path: &[u8]) -> Option<Found> {
        let mut is_by_path = true;
        for place in self.candidates(path) {
            let matcher = &self.routes[*place].matcher;
            if !matcher.path.takes(path) {
                continue;
            }
            is_by_path &= matcher.is_by_path();
            if matcher.unfit(request, path).is_none() {
                return Some(Found { place: *place, is_by_path });
            }
        }
        None
    }

    /// The route that a request has in another spelling of its path, and that it must not be led past.
    ///
    /// A folder takes `%2F` for a slash and two slashes for one, and so do some upstreams. Such a spelling must not lead to the
    /// files of another route, nor past one that asks for a password.
    fn route_past(&self, route: &Rc<Route>, request: &RequestHead<'_>, path: &[u8]) -> Option<&Rc<Route>> {
        let other = other_spelling(path)?;
        let other = NormalPath::new(&other);
        let meant = &self.routes[self.find(request, other.as_bytes())?.place];
        let has_upstream =
            |route: &Route, path: &[u8]| route.proxy().is_some_and(|proxy| proxy.has_route(path, request));
        let is_another = !Rc::ptr_eq(meant, route) && (route.has_files() || meant.is_guarded());
        // Upstreams that stand beside a folder in one route.
        let is_upstreams =
            route.has_files() && has_upstream(meant, other.as_bytes()) && !has_upstream(route, request.target.path);
        (is_another || is_upstreams).then_some(meant)
    }
}
