//! The process around the loop: settings, log, descriptors, listeners, exit codes.

mod access_settings;
mod admin;
mod ask;
mod capture_settings;
mod check;
mod choice;
mod config_file;
mod cpu;
pub mod descriptors;
mod explain;
mod exposed;
mod file_settings;
mod final_report;
mod generate;
mod http2_settings;
mod log_file;
mod log_settings;
mod notify;
mod patient_stderr;
mod plan;
mod probe;
mod proxy_settings;
pub mod quantity;
mod reload;
mod reloader;
pub mod settings;
pub mod site_settings;
mod telling_settings;
mod tls;
pub mod tls_settings;
pub mod usage;

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use env_logger::{Env, Target, WriteStyle};
use log::LevelFilter;

use crate::base::accept_queue::ListenCounters;
use crate::base::job_pool::JobPool;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::wake::Wakes;
use crate::event_loop::{EventLoop, Outcome, Totals};
use crate::http::forwarded::TrustedProxies;
use crate::net::capture::{Capture, Tap};
use crate::net::dns;
use crate::net::listen_counters;
use crate::net::listener::{ListenAddress, ListenOptions, Listener};
use crate::net::marks::Marks;
use crate::net::mio_reactor::MioReactor;
use crate::net::passed::{self, Passed};
use crate::net::tls::SessionKeys;
use crate::observe::report::ConfigStatus;
use crate::service::front::Front;
use crate::service::proxy::hub::Hub;
use crate::service::status::{self, inspection_queue::InspectionQueue};
use admin::KernelSubjects;
use final_report::FinalReport;
use notify::ServiceManager;
use patient_stderr::PatientStderr;
use plan::Kept;
use reloader::Reloader;
use settings::Settings;

/// Something outside our power failed: an address is in use, the kernel refuses.
const EXIT_FAILURE: u8 = 1;
/// The command line or the environment is wrong.
const EXIT_USAGE: u8 = 2;
/// The server stopped, and had to cut connections that were still at work.
const EXIT_CUT: u8 = 3;

type Table = fn() -> clap::Command;
type Run = fn(&[OsString]) -> ExitCode;
/// What is done in the place of serving if the first argument is such a word: its table of arguments, and doing it. The
/// arguments begin with the word.
const COMMANDS: [(&str, Table, Run); 6] = [
    (explain::NAME, explain::command, explain::run),
    (check::NAME, check::command, check::run),
    (ask::NAME, ask::command, ask::run),
    (reload::NAME, reload::command, reload::run),
    (probe::NAME, probe::command, probe::run),
    (generate::NAME, generate::command, generate::run),
];

/// The whole program: reads the settings, serves until told to stop, and says how that ended. Or runs a command.
pub fn run() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let command = COMMANDS.iter().find(|(name, ..)| arguments.get(1).is_some_and(|word| word == name));
    if let Some((.., run)) = command {
        return run(&arguments[1..]);
    }
    let mut settings = match Settings::read(arguments.clone()) {
        Ok(settings) => settings,
        Err(refusal) => return refusal.report(),
    };
    let passed = passed::take();
    if let Err(refusal) = settings.take_passed(passed.listeners.iter().map(|(_, role)| *role).collect()) {
        return refusal.report();
    }
    start_log(settings.log_level);
    settings.notices.iter().for_each(|notice| log::warn!("{notice}"));
    match serve(arguments, settings, passed) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Cut(_)) => ExitCode::from(EXIT_CUT),
        Err(failure) => {
            complain(&failure);
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn start_log(level: LevelFilter) {
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    env_logger::Builder::from_env(Env::default().default_filter_or(level.as_str()))
        .format_target(false)
        .write_style(if colours { WriteStyle::Always } else { WriteStyle::Never })
        .target(Target::Pipe(Box::new(PatientStderr::new())))
        .init();
}

/// Serves until a signal ends it. The error is one line for the user.
fn serve(arguments: Vec<OsString>, settings: Settings, passed: Passed) -> Result<Outcome, String> {
    let descriptors = descriptors::raise_limit();
    let limits = settings.limits(descriptors);
    let access_log = settings.log.open()?;
    let listen_before = listen_counters::read().ok();
    let at_passed = |(listener, role): &Bound| ListenAddress { role: *role, address: listener.local_address().clone() };
    let at_passed = passed.listeners.iter().map(at_passed).collect();
    let (listeners, asked): (Vec<_>, Vec<_>) = listeners(&settings, passed)?.into_iter().unzip();
    // They are numbered in their order.
    let asked: Vec<_> = (0..).map(ListenerId::new).zip(asked).collect();
    // It goes after the loop, whose end it records.
    let has_upstreams = settings.has_upstreams();
    let capture = settings.capture.start(&listeners, has_upstreams, settings.root.as_deref())?;
    let tap = capture.as_ref().map(Capture::tap);
    let has_tls = settings.has_https() || settings.has_secured_upstreams();
    let keys = if has_tls { settings.tls.session_keys(tap.clone())? } else { SessionKeys::default() };
    let tls = tls::start(&settings, &listeners, keys.clone())?;
    // Before anybody is told that we listen: a file that cannot be read ends the start.
    let upstream_tls = tls::upstreams(&settings, keys.clone())?;
    let shares = settings.shares(descriptors);
    let parts = plan::read(&settings, &shares, &[])?;
    let https_redirect =
        tls::redirect(&settings, listeners.iter().map(|(listener, role)| (listener.local_address(), *role)));
    let (of_everyone, of_admin): (Vec<_>, Vec<_>) = listeners.iter().partition(|(_, role)| role.is_for_everyone());
    let urls = |listeners: Vec<&Bound>| -> Vec<String> {
        listeners.into_iter().map(|(listener, role)| listener.url(*role)).collect()
    };
    let (urls, admin_urls) = (urls(of_everyone), urls(of_admin));
    let reactor =
        reactor(listeners, &settings, tap.clone()).map_err(|error| format!("cannot set up the event loop: {error}"))?;
    let kernel_subjects = KernelSubjects::default();
    kernel_subjects.set(reactor.bound());
    let ask_kernel = kernel_subjects.asked(listen_before);
    announce(&urls, &admin_urls, tls.as_ref().map_or(&[], |tls| &tls.lines));
    let wakes = Wakes::new(reactor.waker());
    let marks = marks(&settings, tap)?;
    let jobs = jobs(&settings, marks)?;
    let inspections = Rc::new(InspectionQueue::default());
    let hub = Rc::new(Hub::new(shares.upstreams));
    let admin = status::service(&inspections, &ask_kernel);
    let makings = plan::Makings {
        settings: &settings,
        limits: &limits,
        hub: &hub,
        now: Moment::default(),
        instant: Instant::now(),
        listeners: &asked,
        admin: &admin,
    };
    let mut kept = Kept::default();
    let mut plan = makings.plan(parts, &mut kept);
    plan.https_redirect = https_redirect;
    let mut front = Front::new(plan);
    front.admin = settings.has_admin().then(|| admin.clone());
    let mut event_loop = EventLoop::new(reactor, front, limits, wakes, jobs);
    if settings.answers_admins() {
        event_loop.answer_inspections(Rc::clone(&inspections));
        if settings.past > 0 {
            event_loop.keep_past(settings.past as usize);
        }
    }
    let tls = tls.map(|tls| tls.config);
    if let Some(config) = &tls {
        event_loop.keep_tls(Arc::clone(config));
    }
    event_loop.insist_on_https(settings.tls.hsts());
    event_loop.trust_proxies(trusted_proxies(&settings));
    event_loop.tell(settings.telling.telling());
    event_loop.keep_access_log(access_log);
    if has_upstreams {
        event_loop.reach_upstreams(Rc::clone(&hub), upstream_tls, Arc::new(dns::resolve));
    }
    event_loop.mark(marks);
    let manager = ServiceManager::from_environment();
    manager.tell(notify::READY);
    let reports = settings.report;
    let status = ConfigStatus { generation: 1, succeeded_at: Some(SystemTime::now()), failed: None };
    event_loop.set_config_status(status.clone());
    if settings.can_be_read_anew() {
        event_loop.accept_reloads();
    }
    event_loop.tell_refusals(Rc::clone(kept.refusals()));
    let mut reloader = Reloader {
        arguments,
        settings,
        descriptors,
        passed: at_passed,
        listeners: asked,
        hub,
        reaches_upstreams: has_upstreams,
        tls,
        keys,
        admin,
        inspections,
        kernel_subjects,
        kept,
        status,
        reading: None,
    };
    let outcome = turn_to_the_end(&mut event_loop, &manager, &mut reloader)?;
    if reports || (event_loop.was_interrupted() && io::stderr().is_terminal()) {
        let listen = listen_before.zip(listen_counters::read().ok()).map(|(before, now)| now.since(before));
        report(&event_loop.sum_up(), listen, &urls);
    }
    Ok(outcome)
}

/// Turns the loop until it has ended, and tells the service manager when that begins.
fn turn_to_the_end(
    event_loop: &mut EventLoop<MioReactor, Front>,
    manager: &ServiceManager,
    reloader: &mut Reloader,
) -> Result<Outcome, String> {
    let mut is_told = false;
    loop {
        event_loop.turn().map_err(|error| format!("the event loop failed: {error}"))?;
        reloader.on_turn(event_loop);
        if event_loop.is_stopping() && !is_told {
            manager.tell(notify::STOPPING);
            is_told = true;
        }
        if let Some(outcome) = event_loop.outcome() {
            return Ok(outcome);
        }
    }
}

fn marks(settings: &Settings, capture: Option<Tap>) -> Result<Marks, String> {
    match settings.mark_syscalls || capture.is_some() {
        true => {
            Marks::new(settings.mark_syscalls, capture).map_err(|error| format!("cannot mark system calls: {error}"))
        }
        false => Ok(Marks::default()),
    }
}

/// Threads for what may block: the disk, questions to the kernel about sockets, passwords, and files that are read anew. The lab
/// alone needs none, and is easier to watch with strace without them.
fn jobs(settings: &Settings, marks: Marks) -> Result<JobPool, String> {
    let has_files = settings.has_folders() || settings.can_be_read_anew();
    match has_files || settings.answers_admins() || settings.has_https() || settings.has_upstreams() {
        true => JobPool::watched(settings.disk.job_limits(), Instant::now, move |name, step| marks.job(name, step)),
        false => Ok(JobPool::without_threads()),
    }
    .map_err(|error| format!("cannot start threads: {error}"))
}

fn trusted_proxies(settings: &Settings) -> TrustedProxies {
    settings.trusted_proxy.iter().copied().collect()
}

/// A listening socket and what it is for.
type Bound = (Listener, ListenerRole);

/// All listeners, each with the address that was asked for: those that were passed, then in the order given; the admin's come
/// last. Passed ones take the place of the default, and stand beside those that are asked for.
fn listeners(settings: &Settings, passed: Passed) -> Result<Vec<(Bound, ListenAddress)>, String> {
    passed.unused.iter().for_each(|line| log::warn!("{line}"));
    let passed = passed.listeners.into_iter().map(|(listener, role)| {
        let asked = ListenAddress { role, address: listener.local_address().clone() };
        ((listener, role), asked)
    });
    let mut listeners: Vec<_> = passed.collect();
    let admin =
        settings.admin.iter().map(|address| ListenAddress { role: ListenerRole::Admin, address: address.clone() });
    let options = ListenOptions { backlog: settings.backlog, unix_mode: settings.unix_mode };
    for listen in settings.addresses().into_iter().chain(admin) {
        let bound = Listener::bind(&listen.address, &options);
        let bound = bound.map_err(|error| format!("cannot listen on {listen}: {}", cause(&error)))?;
        listeners.extend(bound.into_iter().map(|listener| ((listener, listen.role), listen.clone())));
    }
    listeners.sort_by_key(|((_, role), _)| !role.is_for_everyone());
    Ok(listeners)
}

/// Signals are watched before anybody is told that we listen: from then on a signal finds us ready for it.
fn reactor(listeners: Vec<Bound>, settings: &Settings, tap: Option<Tap>) -> io::Result<MioReactor> {
    let mut reactor = MioReactor::new(listeners)?;
    if let Some(tap) = tap {
        reactor.capture(tap);
    }
    reactor.watch_signals()?;
    if let Some(faults) = settings.torture {
        log::warn!("reads and writes are tortured: {faults}");
        reactor.torture(faults);
    }
    Ok(reactor)
}

/// The usual causes in words, without the system's error number.
fn cause(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "address already in use".into(),
        ErrorKind::AddrNotAvailable => "this machine does not have this address".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        ErrorKind::NotFound => "no such directory".into(),
        ErrorKind::IsADirectory => "it is a directory".into(),
        _ => error.to_string(),
    }
}

/// One line on stdout for each listener, and then those that tell how to trust the certificate. A reader that has gone must not take the server with it.
fn announce(urls: &[String], admin_urls: &[String], trust: &[String]) {
    let listening = urls.iter().map(|url| format!("listening on {url}\n"));
    let watching = admin_urls.iter().map(|url| format!("admin on {url}\n"));
    let trusting = trust.iter().map(|line| format!("{line}\n"));
    let text: String = listening.chain(watching).chain(trusting).collect();
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        log::warn!("cannot write to stdout: {error}");
    }
}

/// Prints the report. If stderr does not take it, it is lost.
fn report(totals: &Totals, listen: Option<ListenCounters>, urls: &[String]) {
    let is_terminal = io::stderr().is_terminal();
    let report = FinalReport {
        totals,
        urls,
        listen,
        cpu: cpu::used(),
        colours: is_terminal && std::env::var_os("NO_COLOR").is_none(),
        // The terminal's cursor stands behind the `^C` that it has shown.
        begins_anew: is_terminal,
    };
    patient_stderr::say_at_last(&report.to_string()).unwrap_or(());
}

/// One line on stderr. If that is closed too, the exit code says the rest.
fn complain(line: &str) {
    writeln!(io::stderr(), "tidemill: {line}").unwrap_or(());
}
