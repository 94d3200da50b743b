//! A running server takes another configuration: it is read by a job thread, and taken between two turns of the loop. What is
//! in flight goes on with what it has begun with.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::admin::KernelSubjects;
use super::plan::{self, FolderKey, Kept, Makings, Parts};
use super::settings::Settings;
use super::tls;
use super::{cause, jobs, trusted_proxies};
use crate::base::job_name::JobKind;
use crate::base::job_pool::Ticket;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::event_loop::{EventLoop, ReloadRequest};
use crate::net::Reactor;
use crate::net::dns;
use crate::net::listener::{ListenAddress, ListenOptions, Listener};
use crate::net::listener_changes::ListenerChanges;
use crate::net::marks::Marks;
use crate::net::mio_reactor::MioReactor;
use crate::net::tls::{LiveConfig, NextConfig, SessionKeys, UpstreamTls};
use crate::observe::report::{ConfigStatus, ReloadOutcome};
use crate::service::front::Front;
use crate::service::proxy::hub::Hub;
use crate::service::status::Admin;
use crate::service::status::inspection_queue::InspectionQueue;

/// The configuration in force, and what the next one is made with.
pub(super) struct Reloader {
    /// The command line, its first word being the program.
    pub(super) arguments: Vec<OsString>,
    pub(super) settings: Settings,
    /// How many descriptors the system grants.
    pub(super) descriptors: u64,
    /// Where the listeners are that were passed.
    pub(super) passed: Vec<ListenAddress>,
    /// All listeners, each with the address that was asked for.
    pub(super) listeners: Vec<(ListenerId, ListenAddress)>,
    pub(super) hub: Rc<Hub>,
    /// Whether the loop makes connections to upstreams.
    pub(super) reaches_upstreams: bool,
    pub(super) tls: Option<Arc<LiveConfig>>,
    pub(super) keys: SessionKeys,
    pub(super) admin: Admin,
    pub(super) inspections: Rc<InspectionQueue>,
    pub(super) kernel_subjects: KernelSubjects,
    pub(super) kept: Kept,
    pub(super) status: ConfigStatus,
    /// The one that is being read, and who waits for it.
    pub(super) reading: Option<(Ticket<Result<Next, String>>, ReloadRequest)>,
}

/// A configuration that was read, and is not in force yet. What may fail or block is done.
pub(super) struct Next {
    settings: Settings,
    parts: Parts,
    changes: ListenerChanges,
    /// New listeners, in the order of `changes`.
    opened: Vec<(Listener, ListenAddress)>,
    tls: Option<NextTls>,
    upstream_tls: Option<UpstreamTls>,
}

/// What listeners with TLS get.
enum NextTls {
    /// There were none so far.
    First(Arc<LiveConfig>),
    Next(Box<NextConfig>),
}

/// What the thread that reads needs to know of what is in force.
struct InForce {
    arguments: Vec<OsString>,
    /// The configuration file.
    config: Option<PathBuf>,
    /// Whether it says nothing.
    has_empty_file: bool,
    passed: Vec<ListenAddress>,
    descriptors: u64,
    listeners: Vec<(ListenerId, ListenAddress)>,
    tls: Option<Arc<LiveConfig>>,
    keys: SessionKeys,
    folders: Vec<FolderKey>,
    /// The file of `--upstream-ca`, if connections to upstreams can have TLS.
    upstream_ca: Option<Option<PathBuf>>,
}

impl Reloader {
    /// Begins to read the configuration if that was ordered, and takes it when it was read. To be called after each turn.
    #[inline]
    pub(super) fn on_turn(&mut self, event_loop: &mut EventLoop<MioReactor, Front>) {
        if self.reading.is_some() || event_loop.is_reload_ordered() {
            self.go_on(event_loop);
        }
    }

    #[cold]
    fn go_on(&mut self, event_loop: &mut EventLoop<MioReactor, Front>) {
        if let Some((mut ticket, request)) = self.reading.take() {
            if event_loop.is_stopping() {
                return request.refuse();
            }
            match ticket.take() {
                Some(read) => {
                    let read = read.unwrap_or_else(|_| Err("the thread that read it has failed".into()));
                    self.end(read, request, event_loop);
                }
                None => self.reading = Some((ticket, request)),
            }
        }
        // Who orders meanwhile may mean a file that was written after it was read: it is read once more.
        if self.reading.is_none()
            && let Some(request) = event_loop.take_reload_request()
        {
            let in_force = self.in_force();
            match event_loop.run_job(JobKind::Configuration, b"", move || in_force.read()) {
                Ok(ticket) => self.reading = Some((ticket, request)),
                Err(_) => self.end(Err("too many jobs wait for a thread".into()), request, event_loop),
            }
        }
    }

    fn in_force(&self) -> InForce {
        InForce {
            arguments: self.arguments.clone(),
            config: self.settings.config.clone(),
            has_empty_file: self.settings.has_empty_file,
            passed: self.passed.clone(),
            descriptors: self.descriptors,
            listeners: self.listeners.clone(),
            tls: self.tls.clone(),
            keys: self.keys.clone(),
            folders: self.kept.known(),
            upstream_ca: (self.settings.has_secured_upstreams() && self.reaches_upstreams)
                .then(|| self.settings.proxy.upstream_ca().map(Into::into)),
        }
    }

    /// Takes what was read, or says why not.
    fn end(
        &mut self,
        read: Result<Next, String>,
        request: ReloadRequest,
        event_loop: &mut EventLoop<MioReactor, Front>,
    ) {
        let outcome: ReloadOutcome = read.and_then(|next| self.take(next, event_loop));
        match &outcome {
            Ok(text) => log::info!("{text}"),
            Err(problem) => {
                log::error!("the configuration is not taken, and nothing has changed: {problem}");
                self.status.failed = Some((SystemTime::now(), problem.clone()));
            }
        }
        event_loop.set_config_status(self.status.clone());
        request.answer(&outcome);
    }

    /// Puts a configuration in force.
    ///
    /// # Errors
    /// A new listener cannot be watched, or the access log cannot be opened. Nothing has changed, then.
    fn take(&mut self, next: Next, event_loop: &mut EventLoop<MioReactor, Front>) -> ReloadOutcome {
        let Next { settings, parts, changes, opened, tls, upstream_tls } = next;
        // What may fail comes first.
        let access_log = if settings.log == self.settings.log { None } else { Some(settings.log.open()?) };
        let mut new = Vec::new();
        for (listener, asked) in opened {
            let address = listener.url(asked.role);
            match event_loop.add_listener(listener, asked.role) {
                Ok(id) => {
                    log::info!("listening on {address}");
                    new.push((id, asked));
                }
                Err(error) => {
                    new.iter().for_each(|(id, _)| event_loop.remove_listener(*id));
                    return Err(format!("cannot listen on {asked}: {}", cause(&error)));
                }
            }
        }
        settings.notices.iter().for_each(|notice| log::warn!("{notice}"));
        for name in self.settings.changed_at_start(&settings) {
            log::warn!("{name} has changed: it counts at the next start");
        }
        match tls {
            Some(NextTls::First(config)) => {
                event_loop.keep_tls(Arc::clone(&config));
                self.tls = Some(config);
            }
            Some(NextTls::Next(next)) => {
                if let Some(config) = &self.tls {
                    config.take(*next);
                }
            }
            None => {}
        }
        self.change_listeners(&changes, new, event_loop);
        let limits = settings.limits(self.descriptors);
        for setting in event_loop.replace_limits(limits.clone()) {
            log::warn!("{setting} stays as it was: it counts at the next start");
        }
        if let Err(error) = event_loop.use_threads(|| jobs(&settings, Marks::default()).map_err(std::io::Error::other))
        {
            log::error!("cannot start threads: {error}");
        }
        if settings.has_upstreams() {
            // Otherwise none has a share, and what was begun with the last upstreams still needs one.
            self.hub.set_connections_max(settings.shares(self.descriptors).upstreams);
        }
        let now = event_loop.reactor().moment();
        let makings = Makings {
            settings: &settings,
            limits: &limits,
            hub: &self.hub,
            now,
            instant: Instant::now(),
            listeners: &self.listeners,
            admin: &self.admin,
        };
        let mut plan = makings.plan(parts, &mut self.kept);
        let reactor = event_loop.reactor();
        let bound =
            |(id, asked): &(ListenerId, ListenAddress)| Some((reactor.listener(*id)?.local_address(), asked.role));
        // The kernel may have chosen the port.
        let bound: Vec<_> = self.listeners.iter().filter_map(bound).collect();
        plan.https_redirect = tls::redirect(&settings, bound.into_iter());
        if settings.has_upstreams() && !self.reaches_upstreams {
            event_loop.reach_upstreams(Rc::clone(&self.hub), upstream_tls, Arc::new(dns::resolve));
            self.reaches_upstreams = true;
        } else if let Some(tls) = upstream_tls {
            event_loop.secure_upstreams(tls);
        }
        let front = event_loop.service();
        front.plan = plan;
        front.admin = settings.has_admin().then(|| self.admin.clone());
        if settings.answers_admins() {
            event_loop.answer_inspections(Rc::clone(&self.inspections));
        }
        event_loop.insist_on_https(settings.tls.hsts());
        event_loop.trust_proxies(trusted_proxies(&settings));
        event_loop.tell(settings.telling.telling());
        if let Some(access_log) = access_log {
            event_loop.keep_access_log(access_log);
        }
        self.status.generation += 1;
        self.status.succeeded_at = Some(SystemTime::now());
        let text = format!(
            "configuration {} is in force: {}, {}, listeners: {} open, {} new, {} closed",
            self.status.generation,
            counted(settings.sites.len(), "site"),
            counted(settings.site_routes().count(), "route"),
            self.listeners.len(),
            changes.open.len(),
            changes.close.len(),
        );
        self.settings = settings;
        Ok(text)
    }

    fn change_listeners(
        &mut self,
        changes: &ListenerChanges,
        new: Vec<(ListenerId, ListenAddress)>,
        event_loop: &mut EventLoop<MioReactor, Front>,
    ) {
        for (id, role) in &changes.turn {
            event_loop.set_listener_role(*id, *role);
            for (_, asked) in self.listeners.iter_mut().filter(|(other, _)| other == id) {
                asked.role = *role;
                log::info!("{asked}: from now on this is served here");
            }
        }
        for id in &changes.close {
            for (_, asked) in self.listeners.iter().filter(|(other, _)| other == id) {
                log::info!("{asked}: this is closed");
            }
            event_loop.remove_listener(*id);
        }
        self.listeners.retain(|(id, _)| !changes.close.contains(id));
        self.listeners.extend(new);
        self.kernel_subjects.set(event_loop.reactor().bound());
    }
}

/// So many of them: `1 site`, `2 sites`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

impl InForce {
    /// Reads the configuration and all that it names. The error is one line, or more if there is more to say.
    fn read(self) -> Result<Next, String> {
        // A start may read a pipe, as of `--config <(...)`. There is nothing in it for a second reader.
        let is_other = |file: &&PathBuf| fs::metadata(file).is_ok_and(|metadata| !metadata.is_file());
        if let Some(file) = self.config.as_ref().filter(is_other) {
            return Err(format!(
                "cannot read {}: it is no regular file, and only a start reads others",
                file.display()
            ));
        }
        let mut settings = Settings::read(self.arguments.clone()).map_err(|refusal| refusal.to_string())?;
        // An editor empties a file before it writes it. With all defaults, listeners would close that somebody uses.
        if let Some(file) = settings.config.as_ref().filter(|_| settings.has_empty_file && !self.has_empty_file) {
            let file = file.display();
            return Err(format!("{file} is empty, as a file that is being written is; a restart takes it as it is"));
        }
        let passed = self.passed.iter().map(|passed| passed.role).collect();
        settings.take_passed(passed).map_err(|refusal| refusal.to_string())?;
        let shares = settings.shares(self.descriptors);
        let parts = plan::read(&settings, &shares, &self.folders)?;
        let upstream_tls = self.upstream_tls(&settings)?;
        let changes = ListenerChanges::new(&self.listeners, &self.wanted(&settings));
        let opened = open(&settings, &changes)?;
        let tls = self.next_tls(&settings, &changes, &opened)?;
        Ok(Next { settings, parts, changes, opened, tls, upstream_tls })
    }

    /// Where the server is to listen: at what was passed, and as told.
    fn wanted(&self, settings: &Settings) -> Vec<ListenAddress> {
        let admin = settings.admin.iter();
        let admin = admin.map(|address| ListenAddress { role: ListenerRole::Admin, address: address.clone() });
        self.passed.iter().cloned().chain(settings.addresses()).chain(admin).collect()
    }

    /// With what connections to upstreams get TLS, if that is something else than so far.
    fn upstream_tls(&self, settings: &Settings) -> Result<Option<UpstreamTls>, String> {
        let authorities = settings.proxy.upstream_ca();
        match &self.upstream_ca {
            Some(known) if known.as_deref() == authorities => Ok(None),
            _ => tls::upstreams(settings, self.keys.clone()),
        }
    }

    /// What listeners with TLS get, if there are any.
    fn next_tls(
        &self,
        settings: &Settings,
        changes: &ListenerChanges,
        opened: &[(Listener, ListenAddress)],
    ) -> Result<Option<NextTls>, String> {
        let stay = self.listeners.iter().filter(|(id, _)| !changes.close.contains(id)).map(|(id, asked)| {
            let turned = changes.turn.iter().find(|(other, _)| other == id);
            (&asked.address, turned.map_or(asked.role, |(_, role)| *role))
        });
        let opened = opened.iter().map(|(listener, asked)| (listener.local_address(), asked.role));
        let listeners: Vec<_> = stay.chain(opened).collect();
        let Some((options, _)) = tls::options(settings, &listeners, self.keys.clone())? else { return Ok(None) };
        let warn = &mut |line: String| log::warn!("{line}");
        let next = match &self.tls {
            Some(config) => config.prepare(options, warn).map(Box::new).map(NextTls::Next),
            None => LiveConfig::load(options, warn).map(Arc::new).map(NextTls::First),
        };
        next.map(Some).map_err(|mistake| mistake.to_string())
    }
}

/// Opens the new listeners.
fn open(settings: &Settings, changes: &ListenerChanges) -> Result<Vec<(Listener, ListenAddress)>, String> {
    let options = ListenOptions { backlog: settings.backlog, unix_mode: settings.unix_mode };
    let mut opened = Vec::new();
    for listen in &changes.open {
        let bound = Listener::bind(&listen.address, &options);
        let bound = bound.map_err(|error| format!("cannot listen on {listen}: {}", cause(&error)))?;
        opened.extend(bound.into_iter().map(|listener| (listener, listen.clone())));
    }
    Ok(opened)
}
