//! What everyone gets, by the settings.

use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::access_settings::{ReadFiles, Scopes};
use super::choice::Choice;
use super::descriptors::Shares;
use super::file_settings::FileSettings;
use super::settings::Settings;
use super::site_settings::RouteSettings;
use super::trusted_proxies;
use super::usage::legible;
use crate::base::limits::Limits;
use crate::base::listener_id::ListenerId;
use crate::base::moment::Moment;
use crate::base::regular_file;
use crate::http::fields::FieldValue;
use crate::http::forwarded::TrustedProxies;
use crate::http::media_type::{MediaTypes, TEXT_UTF8};
use crate::http::status::Status;
use crate::net::listener::ListenAddress;
use crate::service::access::{Access, Desk, Refusals, Rules};
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
use crate::service::static_files::field_rules::FieldRules;
use crate::service::static_files::{self, StaticFiles};
use crate::service::status::{self, Admin};
use crate::service::websocket::{Origin, Policy};

/// The longest content of an answer that is always the same, in bytes: it is kept in memory.
const FIXED_BYTES_MAX: u64 = 1 << 20;

/// What was read from the disk for a plan: what may block is done, and all of it may go to another thread.
pub(super) struct Parts {
    /// Of the one site that flags make.
    root: Option<Folder>,
    access: Option<Rules>,
    /// Those of all routes.
    folders: Vec<Folder>,
    /// Of each route of each site, and of what it has for all others, which stands last.
    routes: Vec<Vec<RouteParts>>,
}

/// How a folder is served. What is learnt about its files is kept from one plan to the next for as long as this stays the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FolderKey {
    root: PathBuf,
    files: FileSettings,
    compresses: bool,
    /// What the file of media types has.
    mime_types: Option<Vec<u8>>,
    cache_bytes_max: usize,
    cached_files_max: usize,
}

/// A folder.
struct Folder {
    key: FolderKey,
    /// `None`: it is served already.
    site: Option<static_files::Site>,
}

/// The content of a fixed answer, with its media type.
type FixedContent = (FieldValue, Arc<[u8]>);

/// What was read for one route.
#[derive(Default)]
struct RouteParts {
    /// The place of its folder among all.
    folder: Option<usize>,
    access: Option<Rules>,
    error_pages: Option<ErrorPages>,
    content: Option<FixedContent>,
}

impl Folder {
    /// The folder `root`, with its share of what there is for so many `folders`.
    fn read(
        root: &Path,
        (files, compresses): (&FileSettings, bool),
        (settings, shares): (&Settings, &Shares),
        folders: usize,
        known: &[FolderKey],
    ) -> Result<Folder, String> {
        let failure = |error: io::Error| format!("cannot serve {}: {error}", root.display());
        let key = FolderKey {
            root: root.to_owned(),
            files: files.clone(),
            compresses,
            mime_types: files.mime_types_file().map_err(failure)?,
            cache_bytes_max: settings.disk.file_cache / folders,
            cached_files_max: shares.cached_files / folders,
        };
        let shares = Shares { cached_files: key.cached_files_max, ..*shares };
        let site = match known.contains(&key) {
            true => None,
            false => {
                let site = files.site(root, &shares, key.cache_bytes_max).map_err(failure)?;
                Some(static_files::Site { compresses, ..site })
            }
        };
        Ok(Folder { key, site })
    }
}

/// Reads what the settings name. Folders that are `known` are served already. May block. The error is one line for the user.
pub(super) fn read(settings: &Settings, shares: &Shares, known: &[FolderKey]) -> Result<Parts, String> {
    read_named(settings, shares, known).map_err(|problem| legible(&problem))
}

fn read_named(settings: &Settings, shares: &Shares, known: &[FolderKey]) -> Result<Parts, String> {
    let read = |root: &Path, files, folders| Folder::read(root, files, (settings, shares), folders, known);
    let root = settings.root.as_deref().map(|root| read(root, (&settings.files, true), 1)).transpose()?;
    let mut files = ReadFiles::default();
    let access = settings.access.read(&Scopes::default(), &mut files)?;
    // Routes with the same folder, served in the same way, share what is learnt about its files.
    let mut folders: Vec<(&PathBuf, (&FileSettings, bool))> = Vec::new();
    let mut routes = Vec::new();
    for site in &settings.sites {
        let mut of_site = Vec::new();
        for route in site.routes.iter().chain(&site.rest) {
            let answers = &route.answers;
            let folder = answers.root.as_ref().map(|root| {
                let folder = (root, (&answers.files, answers.compress != Some(false)));
                folders.iter().position(|other| *other == folder).unwrap_or_else(|| {
                    folders.push(folder);
                    folders.len() - 1
                })
            });
            let unreadable = |path: &Path, error: &io::Error| format!("cannot read {}: {error}", path.display());
            let pages = answers.error_pages.as_deref();
            let error_pages = pages.map(|path| ErrorPages::read(path).map_err(|error| unreadable(path, &error)));
            let content = content(route).map_err(|(path, error)| unreadable(path, &error))?;
            let access = answers.access.read(&route.scopes, &mut files)?;
            of_site.push(RouteParts { folder, access, error_pages: error_pages.transpose()?, content });
        }
        routes.push(of_site);
    }
    let folders = folders.iter().map(|(root, files)| read(root, *files, folders.len())).collect::<Result<_, _>>()?;
    Ok(Parts { root, access, routes, folders })
}

/// The content of an answer that is always the same.
fn content(route: &RouteSettings) -> Result<Option<FixedContent>, (&Path, io::Error)> {
    let answers = &route.answers;
    let media_type = |default: FieldValue| answers.content_type.clone().unwrap_or(default);
    if let Some(path) = &answers.body_file {
        let content = regular_file::read(path, FIXED_BYTES_MAX).map_err(|error| (path.as_path(), error))?;
        let name = path.as_os_str().as_encoded_bytes();
        return Ok(Some((media_type(MediaTypes::default().for_path(name)), content.into())));
    }
    Ok(answers.body.as_ref().map(|text| (media_type(TEXT_UTF8), text.as_bytes().into())))
}

/// What goes on from one plan to the next.
#[derive(Default)]
pub(super) struct Kept {
    folders: Vec<(FolderKey, StaticFiles)>,
    lab: Option<Lab>,
    coders: Coders,
    desk: Desk,
}

/// The lab, whose chat has members and whose users are there in the next plan, too.
#[derive(Clone)]
struct Lab {
    origins: Vec<Origin>,
    compressed_max: u32,
    with_demo: Rc<Router>,
    endpoints: Rc<Router>,
}

impl Kept {
    /// Requests that were refused so far, by rule.
    pub(super) fn refusals(&self) -> &Rc<Refusals> {
        self.desk.refusals()
    }

    /// The folders that are served.
    pub(super) fn known(&self) -> Vec<FolderKey> {
        self.folders.iter().map(|(key, _)| key.clone()).collect()
    }

    fn lab(&mut self, settings: &Settings) -> Lab {
        let is_same = |lab: &Lab| lab.origins == settings.ws_origin && lab.compressed_max == settings.ws_compressed;
        self.lab.take_if(|lab| !is_same(lab));
        let make = || {
            let policy = Policy::new(settings.ws_origin.clone(), settings.ws_compressed as usize);
            Lab {
                origins: settings.ws_origin.clone(),
                compressed_max: settings.ws_compressed,
                with_demo: Rc::new(lab::service(policy.clone())),
                endpoints: Rc::new(lab::endpoints(policy)),
            }
        };
        self.lab.get_or_insert_with(make).clone()
    }

    /// Those who serve these folders. Others are forgotten.
    fn serve(&mut self, folders: impl IntoIterator<Item = Folder>) -> Vec<StaticFiles> {
        let before = mem::take(&mut self.folders);
        let known = |key: &FolderKey| before.iter().find(|(other, _)| other == key).map(|(_, files)| files.clone());
        for Folder { key, site } in folders {
            let made = site.map(|site| StaticFiles::with_coders(site, self.coders.clone()));
            self.folders.extend(made.or_else(|| known(&key)).map(|files| (key, files)));
        }
        self.folders.iter().map(|(_, files)| files.clone()).collect()
    }
}

/// What a plan is made with, on the thread of the loop.
pub(super) struct Makings<'m> {
    pub(super) settings: &'m Settings,
    /// Where upstreams are found.
    pub(super) hub: &'m Rc<Hub>,
    pub(super) now: Moment,
    /// The same.
    pub(super) instant: Instant,
    /// The listeners, each with the address that was asked for.
    pub(super) listeners: &'m [(ListenerId, ListenAddress)],
    /// The limits in force.
    pub(super) limits: &'m Limits,
    /// What the admin listener serves, for routes that do as well.
    pub(super) admin: &'m Admin,
}

impl Makings<'_> {
    /// The plan.
    pub(super) fn plan(&self, parts: Parts, kept: &mut Kept) -> Plan {
        let lab = kept.lab(self.settings);
        let trusted = Rc::new(trusted_proxies(self.settings));
        let (root, folders) = (parts.root.is_some(), parts.root.into_iter().chain(parts.folders));
        let folders = kept.serve(folders);
        let coders = kept.coders.clone();
        let proxies = self.proxies().into_iter();
        let mut builder = Builder { makings: self, proxies, coders, lab, folders, trusted, desk: &mut kept.desk };
        let sites = match self.settings.sites.is_empty() {
            true => Sites::one(builder.only_route(root, parts.access)),
            false => builder.sites(parts.routes),
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
    lab: Lab,
    folders: Vec<StaticFiles>,
    trusted: Rc<TrustedProxies>,
    desk: &'m mut Desk,
}

impl<P: Iterator<Item = Proxy>> Builder<'_, P> {
    /// The next way to upstreams, if it leads to any.
    fn next_proxy(&mut self) -> Option<Proxy> {
        self.proxies.next().filter(|proxy| !proxy.is_empty())
    }

    /// What is asked of requests by these rules.
    fn access(&mut self, rules: Option<Rules>) -> Option<Access> {
        rules.map(|rules| self.desk.open(&rules, &self.trusted, self.makings.instant))
    }

    /// What flags say: the demo site and the lab, or a folder with or without the lab next to it.
    fn only_route(&mut self, has_root: bool, access: Option<Rules>) -> Route {
        let settings = self.makings.settings;
        let public = match self.folders.first().filter(|_| has_root) {
            None => Public::Lab(Rc::clone(&self.lab.with_demo)),
            Some(files) => Public::Files(files.clone(), settings.lab.then(|| Rc::clone(&self.lab.endpoints))),
        };
        let mut route = Route::new(Target::Content(self.next_proxy(), public));
        route.cors = settings.cors.as_ref().and_then(Choice::value).cloned();
        route.coders = Some(self.coders.clone());
        route.access = self.access(access);
        route
    }

    fn sites(&mut self, parts: Vec<Vec<RouteParts>>) -> Sites {
        let of_flags = self.next_proxy();
        debug_assert!(of_flags.is_none(), "the settings were checked");
        let mut sites = Sites::default();
        if self.makings.settings.sites.iter().any(|site| !site.listen.is_empty()) {
            sites.tell_apart(self.makings.listeners.iter().map(|(id, _)| *id));
        }
        for (settings, mut parts) in self.makings.settings.sites.iter().zip(parts) {
            let has_hosts = !settings.hosts.is_empty();
            let rest = settings.rest.as_ref().zip(parts.split_off(settings.routes.len()).pop());
            let routes = settings.routes.iter().zip(parts);
            let routes = routes.map(|(route, parts)| {
                let proxy = self.next_proxy();
                self.route(route, parts, proxy, has_hosts)
            });
            let routes = routes.collect();
            let mut site = Site::new(&settings.name, routes);
            if let Some((rest, parts)) = rest {
                site.set_rest(self.route(rest, parts, None, has_hosts));
            }
            let is_for = |(_, address): &&(ListenerId, ListenAddress)| settings.listen.contains(address);
            let listeners: Vec<ListenerId> = self.makings.listeners.iter().filter(is_for).map(|(id, _)| *id).collect();
            let listeners = (!settings.listen.is_empty()).then_some(&listeners[..]);
            let added = sites.add(&settings.hosts, listeners, site);
            debug_assert!(added.is_ok(), "the settings were checked");
        }
        sites
    }

    fn route(&mut self, settings: &RouteSettings, parts: RouteParts, proxy: Option<Proxy>, has_hosts: bool) -> Route {
        let answers = &settings.answers;
        let has_files = parts.folder.is_some();
        let says_content = parts.content.is_some();
        let target = match (&answers.redirect, answers.respond) {
            (Some(redirect), _) => {
                Target::Redirect(redirect.clone(), answers.status.unwrap_or(Status::PERMANENT_REDIRECT))
            }
            (None, Some(status)) => {
                let seconds = answers.retry_after.map(|after| after.as_secs().to_string());
                let retry_after = seconds.and_then(|seconds| FieldValue::new(seconds).ok());
                Target::Fixed(FixedAnswer { status, content: parts.content, retry_after })
            }
            (None, None) if answers.admin => {
                Target::Admin(self.makings.admin.for_route(has_hosts || answers.access.asks_for_credentials()))
            }
            (None, None) => {
                let public = match parts.folder.map(|place| self.folders[place].clone()) {
                    Some(files) => Public::Files(files, answers.lab.then(|| Rc::clone(&self.lab.endpoints))),
                    None if answers.lab => Public::Lab(Rc::clone(&self.lab.with_demo)),
                    None => Public::Nothing,
                };
                Target::Content(proxy, public)
            }
        };
        let mut route = Route::new(target);
        route.name = settings.name.as_str().into();
        route.terms = Some(Rc::new(settings.terms(self.makings.limits)));
        route.matcher = settings.matcher.clone();
        route.cors = answers.cors.as_ref().and_then(Choice::value).cloned();
        route.fields = if has_files { FieldRules::default() } else { answers.files.field_rules() };
        // What an answer says that is always the same stays.
        let error_pages = parts.error_pages.filter(|_| !says_content);
        route.error_pages = error_pages.map(Rc::new);
        route.access = self.access(parts.access);
        // Redirects and answers that are always the same have their own way with the path, or none.
        route.strips = answers.strip && matches!(route.target, Target::Content(..) | Target::Admin(_));
        route.coders = (answers.compress != Some(false)).then(|| self.coders.clone());
        route
    }
}
