//! What everyone gets, by the settings.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::choice::Choice;
use super::descriptors::Shares;
use super::file_settings::FileSettings;
use super::settings::Settings;
use super::site_settings::RouteSettings;
use super::trusted_proxies;
use crate::base::listener_id::ListenerId;
use crate::base::moment::Moment;
use crate::http::fields::FieldValue;
use crate::http::media_type::{MediaTypes, TEXT_UTF8};
use crate::net::listener::ListenAddress;
use crate::service::coding::Coders;
use crate::service::front::Plan;
use crate::service::lab;
use crate::service::proxy::Proxy;
use crate::service::proxy::hub::Hub;
use crate::service::proxy::route::Routes;
use crate::service::router::Router;
use crate::service::sites::answers::FixedAnswer;
use crate::service::sites::error_pages::ErrorPages;
use crate::service::sites::route::{Public, Route, Target};
use crate::service::sites::{Site, Sites};
use crate::service::static_files::{self, StaticFiles};
use crate::service::status::{self, Admin};
use crate::service::websocket::Policy;

/// The longest content of an answer that is always the same, in bytes: it is kept in memory.
const FIXED_BYTES_MAX: u64 = 1 << 20;

/// What was read from the disk for a plan: what may block is done, and all of it may go to another thread.
pub(super) struct Parts {
    /// Of the one site that flags make.
    root: Option<static_files::Site>,
    /// Of each route of each site.
    routes: Vec<Vec<RouteParts>>,
    folders: Vec<static_files::Site>,
}

/// What was read for one route.
#[derive(Default)]
struct RouteParts {
    /// The place of its folder among all.
    folder: Option<usize>,
    error_pages: Option<ErrorPages>,
    content: Option<(FieldValue, Arc<[u8]>)>,
}

/// Reads what the settings name. May block. The error is one line for the user.
pub(super) fn read(settings: &Settings, shares: &Shares) -> Result<Parts, String> {
    let site = |root: &Path, files: &FileSettings, folders: usize| {
        let cache_bytes_max = settings.disk.file_cache / folders;
        let shares = Shares { cached_files: shares.cached_files / folders, ..*shares };
        let site = files.site(root, &shares, cache_bytes_max);
        site.map_err(|error| format!("cannot serve {}: {error}", root.display()))
    };
    let root = settings.root.as_deref().map(|root| site(root, &settings.files, 1)).transpose()?;
    // Routes with the same folder, served in the same way, share what is learnt about its files.
    let mut known: Vec<(&PathBuf, &FileSettings)> = Vec::new();
    let mut routes = Vec::new();
    for of_site in &settings.sites {
        let mut of_this = Vec::new();
        for route in &of_site.routes {
            let answers = &route.answers;
            let folder = answers.root.as_ref().map(|root| {
                let folder = (root, &answers.files);
                known.iter().position(|other| *other == folder).unwrap_or_else(|| {
                    known.push(folder);
                    known.len() - 1
                })
            });
            let unreadable = |path: &Path, error: &io::Error| format!("cannot read {}: {error}", path.display());
            let pages = answers.error_pages.as_deref();
            let error_pages = pages.map(|path| ErrorPages::read(path).map_err(|error| unreadable(path, &error)));
            let content = content(route).map_err(|(path, error)| unreadable(path, &error))?;
            of_this.push(RouteParts { folder, error_pages: error_pages.transpose()?, content });
        }
        routes.push(of_this);
    }
    let folders = known.iter().map(|(root, files)| site(root, files, known.len())).collect::<Result<_, _>>()?;
    Ok(Parts { root, routes, folders })
}

/// The content of an answer that is always the same.
fn content(route: &RouteSettings) -> Result<Option<(FieldValue, Arc<[u8]>)>, (&Path, io::Error)> {
    let answers = &route.answers;
    let media_type = |default: FieldValue| answers.content_type.clone().unwrap_or(default);
    if let Some(path) = &answers.body_file {
        let read = || {
            if fs::metadata(path)?.len() > FIXED_BYTES_MAX {
                return Err(io::Error::other("expected a file of at most 1 MiB: it is kept in memory"));
            }
            fs::read(path)
        };
        let content = read().map_err(|error| (path.as_path(), error))?;
        let name = path.as_os_str().as_encoded_bytes();
        return Ok(Some((media_type(MediaTypes::default().for_path(name)), content.into())));
    }
    Ok(answers.body.as_ref().map(|text| (media_type(TEXT_UTF8), text.as_bytes().into())))
}

/// What a plan is made with, on the thread of the loop.
pub(super) struct Makings<'m> {
    pub(super) settings: &'m Settings,
    /// Where upstreams are found.
    pub(super) hub: &'m Rc<Hub>,
    pub(super) now: Moment,
    /// The listeners, each with the address that was asked for.
    pub(super) listeners: &'m [(ListenerId, ListenAddress)],
    /// What the admin listener serves, for routes that do as well.
    pub(super) admin: &'m Admin,
}

impl Makings<'_> {
    /// The plan.
    pub(super) fn plan(&self, parts: Parts) -> Plan {
        let coders = Coders::default();
        let mut builder = Builder { makings: self, proxies: self.proxies().into_iter(), coders };
        let sites = match self.settings.sites.is_empty() {
            true => Sites::one(builder.only_route(parts.root)),
            false => builder.sites(parts),
        };
        let mut plan = Plan::new(sites);
        plan.health = self.settings.health.then(|| status::health(Router::new()));
        plan
    }

    /// The ways to upstreams of all routes that have some, in their order. The hub gets them all at once, and forgets others.
    fn proxies(&self) -> Vec<Proxy> {
        let of_flags = [self.settings.proxy.routes()];
        let of_sites = self.settings.site_routes().map(|route| route.upstreams.clone());
        let all: Vec<Routes> =
            of_flags.into_iter().chain(of_sites).map(|routes| routes.into_iter().collect()).collect();
        let mut targets = self.hub.replace(all.iter().flat_map(Routes::iter), self.now).into_iter();
        let proxy = |routes: Routes| {
            let targets = targets.by_ref().take(routes.iter().count()).collect();
            Proxy::new(routes, targets, Rc::clone(self.hub), trusted_proxies(self.settings))
        };
        all.into_iter().map(proxy).collect()
    }
}

struct Builder<'m, P> {
    makings: &'m Makings<'m>,
    proxies: P,
    coders: Coders,
}

impl<P: Iterator<Item = Proxy>> Builder<'_, P> {
    /// The next way to upstreams, if it leads to any.
    fn next_proxy(&mut self) -> Option<Proxy> {
        self.proxies.next().filter(|proxy| !proxy.is_empty())
    }

    fn websockets(&self) -> Policy {
        let settings = self.makings.settings;
        Policy::new(settings.ws_origin.clone(), settings.ws_compressed as usize)
    }

    /// What flags say: the demo site and the lab, or a folder with or without the lab next to it.
    fn only_route(&mut self, root: Option<static_files::Site>) -> Route {
        let settings = self.makings.settings;
        let public = match root {
            None => Public::Lab(lab::service(self.websockets())),
            Some(site) => {
                let lab = settings.lab.then(|| lab::endpoints(self.websockets()));
                Public::Files(StaticFiles::with_coders(site, self.coders.clone()), lab)
            }
        };
        let mut route = Route::new(Target::Content(self.next_proxy(), public));
        route.cors = settings.cors.as_ref().and_then(Choice::value).cloned();
        route.coders = Some(self.coders.clone());
        route
    }

    fn sites(&mut self, parts: Parts) -> Sites {
        let folder = |site| StaticFiles::with_coders(site, self.coders.clone());
        let folders: Vec<StaticFiles> = parts.folders.into_iter().map(folder).collect();
        let _of_flags = self.next_proxy();
        let mut sites = Sites::default();
        if self.makings.settings.sites.iter().any(|site| !site.listen.is_empty()) {
            sites.tell_apart(self.makings.listeners.iter().map(|(id, _)| *id));
        }
        for (settings, parts) in self.makings.settings.sites.iter().zip(parts.routes) {
            let routes = settings.routes.iter().zip(parts);
            let routes = routes.map(|(settings, parts)| self.route(settings, parts, &folders)).collect();
            let is_for = |(_, address): &&(ListenerId, ListenAddress)| settings.listen.contains(address);
            let listeners: Vec<ListenerId> = self.makings.listeners.iter().filter(is_for).map(|(id, _)| *id).collect();
            let listeners = (!settings.listen.is_empty()).then_some(&listeners[..]);
            let added = sites.add(&settings.hosts, listeners, Site::new(&settings.name, routes));
            debug_assert!(added.is_ok(), "the settings were checked");
        }
        sites
    }

    fn route(&mut self, settings: &RouteSettings, parts: RouteParts, folders: &[StaticFiles]) -> Route {
        let answers = &settings.answers;
        let proxy = self.next_proxy();
        let has_files = parts.folder.is_some();
        let target = match (&settings.redirect, answers.respond) {
            (Some(redirect), _) => Target::Redirect(redirect.clone()),
            (None, Some(status)) => {
                let seconds = answers.retry_after.map(|after| after.as_secs().to_string());
                let retry_after = seconds.and_then(|seconds| FieldValue::new(seconds).ok());
                Target::Fixed(FixedAnswer { status, content: parts.content, retry_after })
            }
            (None, None) if answers.admin => Target::Admin(self.makings.admin.clone()),
            (None, None) => {
                let public = match parts.folder.map(|place| folders[place].clone()) {
                    Some(files) => Public::Files(files, answers.lab.then(|| lab::endpoints(self.websockets()))),
                    None if answers.lab => Public::Lab(lab::service(self.websockets())),
                    None => Public::Nothing,
                };
                Target::Content(proxy, public)
            }
        };
        let mut route = Route::new(target);
        route.name = settings.name.as_str().into();
        route.matcher = settings.matcher.clone();
        route.cors = answers.cors.as_ref().and_then(Choice::value).cloned();
        route.fields = if has_files { Default::default() } else { answers.files.field_rules() };
        route.error_pages = parts.error_pages.map(Rc::new);
        // For upstreams their own route says it.
        route.strips = answers.strip && settings.upstreams.is_empty();
        route.coders = (answers.compress != Some(false)).then(|| self.coders.clone());
        route
    }
}
