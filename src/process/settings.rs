//! What can be set, by flag or environment variable. Help, defaults and checks come from this one table.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use log::LevelFilter;

use super::access_settings::AccessSettings;
use super::capture_settings::CaptureSettings;
use super::choice::{ALONE, Choice, choice};
use super::descriptors::{self, Needs, Shares};
use super::exposed;
use super::file_settings::{DiskSettings, FileSettings};
use super::http2_settings::Http2Settings;
use super::log_settings::LogSettings;
use super::proxy_settings::ProxySettings;
use super::quantity::{duration, format_duration, format_size, length, number, size};
use super::site_settings::{self, RouteSettings, SiteSettings};
use super::telling_settings::TellingSettings;
use super::tls_settings::TlsSettings;
use super::usage::{self, Given, Objection, Refusal};
use crate::base::limits::{Limits, WS_MESSAGE_BYTES_LIMIT};
use crate::base::listener_role::ListenerRole;
use crate::http::forwarded::TrustedProxy;
use crate::net::listener::{Address, ListenAddress};
use crate::net::tls::TlsOptions;
use crate::net::torture::Faults;
use crate::service::cors::Cors;
use crate::service::proxy::route::Route;
use crate::service::websocket::{InvalidOrigin, Origin};

/// The shortest and the longest of all timeouts.
pub(super) const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where to listen if nobody says anything.
const DEFAULT_PORT: u16 = 8080;

const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
/// The most that `--max-upload-size` can be, in bytes.
pub(super) const UPLOAD_BYTES_MAX: u64 = 1024 * GIB;

/// The input ring, unless heads may be larger than that.
const INBOX_BYTES_MIN: usize = 16 * 1024;

/// Headings in the help.
const LIMITS: &str = "Limits and timeouts";
const WEBSOCKETS: &str = "WebSockets";
pub(super) const INSPECTING: &str = "Inspecting";

/// The HTTP server you can see through.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "tidemill",
    version,
    max_term_width = 100,
    after_help = "Durations: 10s, 500ms, 2m, 1.5h. Sizes: 4096, 64k, 1MiB (k, m, g and KiB, MiB, GiB count in 1024s; \
                  KB, MB, GB in 1000s).\n\
                  Every flag has an environment variable, such as TIDEMILL_HEADER_TIMEOUT, and ROOT has TIDEMILL_ROOT; \
                  the command line wins, and a file given with --config comes last. RUST_LOG, if set, wins over --log-level.\n\
                  tidemill explain 'GET /path' [ROOT] tells how a request would be answered, and why.\n\
                  tidemill ask says what is wrong with a running server, and tidemill ask c=17 what it knows of a connection.\n\
                  tidemill probe URL checks whether a server is well, without curl.\n\
                  tidemill generate man, bash, zsh or fish writes manual pages and completions."
)]
pub struct Settings {
    /// Directory to serve, or a single file; without it: the built-in demo site and the lab endpoints
    #[arg(value_name = "ROOT", env = "TIDEMILL_ROOT", hide_env = true)]
    pub root: Option<PathBuf>,

    /// Configuration file with any of these settings in TOML, under the names of their flags: max-connections = 1000
    #[arg(short = 'c', long, value_name = "FILE", env = "TIDEMILL_CONFIG", hide_env = true)]
    pub config: Option<PathBuf>,

    /// Where to listen
    #[arg(
        short,
        long,
        help = "Where to listen: 8080 | :8080 | 127.0.0.1:8080 | [::1]:8080 | localhost:8080 | unix:/path; port 0 picks \
                one. A scheme in front of the address says what is served there: http: (the default) | https: (needs \
                a certificate) | tcp-echo: (every byte comes back) | line-echo: (every line comes back). Repeatable, \
                or separated by commas [default: what systemd passes, or :PORT if the variable PORT is set, or \
                127.0.0.1:8080]",
        value_name = "ADDR",
        env = "TIDEMILL_LISTEN",
        hide_env = true,
        value_delimiter = ','
    )]
    pub listen: Vec<ListenAddress>,

    /// Permissions of the files of unix: sockets, such as 0660 [default: what the umask leaves]
    #[arg(long, value_name = "MODE", env = "TIDEMILL_UNIX_MODE", hide_env = true, value_parser = mode)]
    pub unix_mode: Option<u32>,

    /// Proxies that may name the client of a request
    #[arg(
        long,
        help = "Proxies whose Forwarded or X-Forwarded-For names the client of a request: ADDRESS | 10.0.0.0/8 | unix \
                (whoever connects to a Unix socket); repeatable, or separated by commas [default: none]",
        value_name = "CIDR",
        env = "TIDEMILL_TRUSTED_PROXY",
        hide_env = true,
        value_delimiter = ','
    )]
    pub trusted_proxy: Vec<TrustedProxy>,

    /// Sites whose scripts may read what is served
    #[arg(
        long,
        help = "Sites whose scripts may read what is served, such as https://example.org, separated by commas; without \
                them, all may, but without credentials [default: none]",
        value_name = "ORIGIN",
        env = "TIDEMILL_CORS",
        hide_env = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ALONE,
        value_parser = choice("*", cors)
    )]
    pub cors: Option<Choice<Cors>>,

    /// Mount the lab endpoints next to ROOT; the demo page is not among them
    #[arg(long, env = "TIDEMILL_LAB", hide_env = true, value_parser = switch)]
    pub lab: bool,

    /// How ROOT is served.
    #[command(flatten)]
    pub files: FileSettings,

    /// What all folders share.
    #[command(flatten)]
    pub disk: DiskSettings,

    /// What is passed on to other servers.
    #[command(flatten)]
    pub proxy: ProxySettings,

    /// Who may ask.
    #[command(flatten)]
    pub access: AccessSettings,

    /// HTTPS.
    #[command(flatten)]
    pub tls: TlsSettings,

    /// HTTP/2.
    #[command(flatten)]
    pub http2: Http2Settings,

    /// The access log.
    #[command(flatten)]
    pub log: LogSettings,

    /// Connections at a time, 1 to 1000000 [default: as many as open files allow]
    #[arg(
        long, help_heading = LIMITS, value_name = "N", env = "TIDEMILL_MAX_CONNECTIONS", hide_env = true,
        value_parser = number(1..=1_000_000)
    )]
    pub max_connections: Option<u32>,

    /// Connections the kernel holds until they are accepted, 1 to 65535
    #[arg(
        long, help_heading = LIMITS, value_name = "N", env = "TIDEMILL_BACKLOG", hide_env = true,
        default_value = "4096", value_parser = number(1..=65_535)
    )]
    pub backlog: u32,

    /// Time for a whole request head, 1ms to 24h
    #[arg(
        long, help_heading = LIMITS, value_name = "DURATION", env = "TIDEMILL_HEADER_TIMEOUT", hide_env = true,
        default_value = "10s", value_parser = duration(MS..=DAY)
    )]
    pub header_timeout: Duration,

    /// Time from connecting to the end of the TLS handshake, 1ms to 24h
    #[arg(
        long, help_heading = LIMITS, value_name = "DURATION", env = "TIDEMILL_TLS_HANDSHAKE_TIMEOUT", hide_env = true,
        default_value = "10s", value_parser = duration(MS..=DAY)
    )]
    pub tls_handshake_timeout: Duration,

    /// Full TLS handshakes begun in one turn of the loop, 1 to 64: each keeps the others waiting for 0.1 to 0.4 ms
    #[arg(
        long, help_heading = LIMITS, value_name = "N", env = "TIDEMILL_TLS_HANDSHAKES_PER_TURN", hide_env = true,
        default_value = "8", value_parser = number(1..=64)
    )]
    pub tls_handshakes_per_turn: u32,

    /// Time from connecting to the first byte of a request, 1ms to 24h
    #[arg(
        long, help_heading = LIMITS, value_name = "DURATION", env = "TIDEMILL_FIRST_BYTE_TIMEOUT", hide_env = true,
        default_value = "5s", value_parser = duration(MS..=DAY)
    )]
    pub first_byte_timeout: Duration,

    /// Time without progress while a request's content arrives, 1ms to 24h
    #[arg(
        long, help_heading = LIMITS, value_name = "DURATION", env = "TIDEMILL_BODY_TIMEOUT", hide_env = true,
        default_value = "30s", value_parser = duration(MS..=DAY)
    )]
    pub body_timeout: Duration,

    /// Time without progress while a client does not read its response, 1ms to 24h
    #[arg(
        long, help_heading = LIMITS, value_name = "DURATION", env = "TIDEMILL_SEND_TIMEOUT", hide_env = true,
        default_value = "60s", value_parser = duration(MS..=DAY)
    )]
    pub send_timeout: Duration,

    /// Stop a handler when its client ends its direction before the response is complete; otherwise the response is sent, for
    /// clients that have only said all they had to say
    #[arg(long, help_heading = LIMITS, env = "TIDEMILL_ABORT_ON_CLOSE", hide_env = true)]
    pub abort_on_close: bool,

    /// Time a connection may idle between two requests, 1ms to 24h
    #[arg(
        long, help_heading = LIMITS, value_name = "DURATION", env = "TIDEMILL_KEEP_ALIVE_TIMEOUT", hide_env = true,
        default_value = "75s", value_parser = duration(MS..=DAY)
    )]
    pub keep_alive_timeout: Duration,

    /// Tell clients of HTTP/1 in `Keep-Alive: timeout=` how long they may reuse an idle connection, 1s to 24h in whole
    /// seconds
    #[arg(
        long, help_heading = LIMITS, value_name = "DURATION", env = "TIDEMILL_KEEP_ALIVE_FIELD", hide_env = true,
        help = "Tell clients of HTTP/1 in Keep-Alive: timeout= how long they may reuse an idle connection, 1s to the \
                --keep-alive-timeout, in whole seconds. A little less than that keeps them from using one that closes",
        value_parser = duration(SECOND..=DAY)
    )]
    pub keep_alive_field: Option<Duration>,

    /// Size of a request head, 512 to 1MiB
    #[arg(
        long, help_heading = LIMITS, value_name = "SIZE", env = "TIDEMILL_MAX_HEADER_SIZE", hide_env = true,
        default_value = "16KiB", value_parser = size(512..=MIB)
    )]
    pub max_header_size: usize,

    /// Number of fields in a request head, 1 to 10000
    #[arg(
        long, help_heading = LIMITS, value_name = "N", env = "TIDEMILL_MAX_HEADERS", hide_env = true,
        default_value = "100", value_parser = number(1..=10_000)
    )]
    pub max_headers: u32,

    /// Size of a request target, 64 to the size of a head [default: 8KiB, or what a head may have]
    #[arg(
        long, help_heading = LIMITS, value_name = "SIZE", env = "TIDEMILL_MAX_TARGET_SIZE", hide_env = true,
        value_parser = size(64..=MIB)
    )]
    pub max_target_size: Option<usize>,

    /// Size of request content that must be held in memory, 1 to 1GiB; content that streams through is not limited
    #[arg(
        long, help_heading = LIMITS, value_name = "SIZE", env = "TIDEMILL_MAX_BODY_SIZE", hide_env = true,
        default_value = "1MiB", value_parser = size(1..=GIB)
    )]
    pub max_body_size: usize,

    /// Size of request content, whatever becomes of it, 1 to 1024GiB [default: any]
    #[arg(
        long, help_heading = LIMITS, value_name = "SIZE", env = "TIDEMILL_MAX_UPLOAD_SIZE", hide_env = true,
        value_parser = length(1..=UPLOAD_BYTES_MAX)
    )]
    pub max_upload_size: Option<u64>,

    /// Pages that may open WebSockets, such as `https://example.org`, or `*` for all [default: any for /ws/echo, those
    /// of the same host for /ws/chat]
    #[arg(
        long,
        help_heading = WEBSOCKETS,
        help = "Pages that may open WebSockets, such as https://example.org, or * for all; repeatable, or separated by \
                commas [default: any for /ws/echo, those of the same host for /ws/chat]",
        value_name = "ORIGIN",
        env = "TIDEMILL_WS_ORIGIN",
        hide_env = true,
        value_delimiter = ','
    )]
    pub ws_origin: Vec<Origin>,

    /// Silence after which a WebSocket is asked for a sign of life, and closed after as long again, 1ms to 24h; 0s: never
    #[arg(
        long, help_heading = WEBSOCKETS, value_name = "DURATION", env = "TIDEMILL_WS_PING_INTERVAL", hide_env = true,
        default_value = "30s", value_parser = duration(Duration::ZERO..=DAY)
    )]
    pub ws_ping_interval: Duration,

    /// Size of a WebSocket message that must be held in memory, 1 to 32KiB; messages that stream through are not limited
    #[arg(
        long, help_heading = WEBSOCKETS, value_name = "SIZE", env = "TIDEMILL_WS_MAX_MESSAGE", hide_env = true,
        default_value = "16KiB", value_parser = size(1..=WS_MESSAGE_BYTES_LIMIT as u64)
    )]
    pub ws_max_message: usize,

    /// WebSockets at a time that may use permessage-deflate, each with up to 350KiB of memory, 0 to 1000000
    #[arg(
        long, help_heading = WEBSOCKETS, value_name = "N", env = "TIDEMILL_WS_COMPRESSED", hide_env = true,
        default_value = "256", value_parser = number(0..=1_000_000)
    )]
    pub ws_compressed: u32,

    /// Address of the admin listener: unix:PATH, or an address of this machine alone
    #[arg(
        long,
        help_heading = INSPECTING,
        help = "Address of the admin listener, which tells what connections wait for, and has metrics and a live page: \
                unix:/path | 127.0.0.1:PORT | [::1]:PORT | localhost:PORT",
        value_name = "ADDR",
        env = "TIDEMILL_ADMIN",
        hide_env = true
    )]
    pub admin: Option<Address>,

    /// Requests and connections that the admin listener still knows when they are over, and a fourth as many of the slowest
    /// and of the failed requests for longer, 0 to 10000; each takes 0.5 to 4KiB
    #[arg(
        long, help_heading = INSPECTING, value_name = "N", env = "TIDEMILL_PAST", hide_env = true,
        default_value = "1024", value_parser = number(0..=10_000)
    )]
    pub past: u32,

    /// Answer /healthz and /readyz on the public listeners, too
    #[arg(long, help_heading = INSPECTING, env = "TIDEMILL_HEALTH", hide_env = true, value_parser = switch)]
    pub health: bool,

    /// What responses tell about their requests.
    #[command(flatten)]
    pub telling: TellingSettings,

    /// Time for requests in flight after the order to stop, 0s to 24h
    #[arg(
        long, help_heading = LIMITS, value_name = "DURATION", env = "TIDEMILL_DRAIN_TIMEOUT", hide_env = true,
        default_value = "30s", value_parser = duration(Duration::ZERO..=DAY)
    )]
    pub drain_timeout: Duration,

    /// What to log on stderr: off, error, warn, info, debug or trace
    #[arg(
        long, help_heading = INSPECTING, value_name = "LEVEL", env = "TIDEMILL_LOG_LEVEL", hide_env = true,
        default_value = "info", value_parser = level
    )]
    pub log_level: LevelFilter,

    /// Print a report on stderr when the server stops. On a terminal, Ctrl-C is enough
    #[arg(long, help_heading = INSPECTING, env = "TIDEMILL_REPORT", hide_env = true, value_parser = switch)]
    pub report: bool,

    /// The capture.
    #[command(flatten)]
    pub capture: CaptureSettings,

    /// Show in strace what the server does, by system calls that fail and whose path is a message
    #[arg(long, help_heading = INSPECTING, env = "TIDEMILL_MARK_SYSCALLS", hide_env = true, value_parser = switch)]
    pub mark_syscalls: bool,

    /// Split and defer reads and writes at random, for tests: seed=7,short-read,short-write,would-block=0.1
    #[arg(long, help_heading = INSPECTING, value_name = "FAULTS", env = "TIDEMILL_TORTURE", hide_env = true)]
    pub torture: Option<Faults>,

    /// The sites, if a configuration file has any. Nothing else answers, then.
    #[arg(skip)]
    pub sites: Vec<SiteSettings>,

    /// What was said of those settings that only count at the start: their names, and what a command line would say.
    #[arg(skip)]
    pub(super) at_start: Vec<(&'static str, Vec<OsString>)>,

    /// Whether there is a configuration file that says nothing.
    #[arg(skip)]
    pub(super) has_empty_file: bool,

    /// The variable PORT of a platform, if it is set and `listen` is empty.
    #[arg(skip)]
    pub port: Option<u16>,

    /// What the sockets are for that another process has passed.
    #[arg(skip)]
    pub passed: Vec<ListenerRole>,

    /// What the user should know about these settings although they are accepted, a line each.
    #[arg(skip)]
    pub notices: Vec<String>,
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        // An empty variable is one that is not set, as from `${NAME:-}`.
        "false" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

fn mode(text: &str) -> Result<u32, String> {
    let is_octal = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or_else(|| "expected an octal mode from 0 to 0777, such as 0660".into())
}

fn level(text: &str) -> Result<LevelFilter, String> {
    text.parse().map_err(|_| "expected off, error, warn, info, debug or trace".into())
}

/// The help's heading of the settings that shape how ROOT is served.
pub(super) const SERVING_ROOT: &str = "Serving ROOT";
/// Those of them that mean something without ROOT, too: how many threads there are, and what they may keep.
const ALSO_WITHOUT_ROOT: [&str; 2] = ["io_threads", "file_cache"];
/// Settings that count at the start alone: a configuration that is read later does not change them.
const AT_START: [&str; 11] = [
    "backlog",
    "io_threads",
    "log_level",
    "mark_syscalls",
    "past",
    "pcapng",
    "pcapng_size",
    "report",
    "tls_key_log",
    "torture",
    "unix_mode",
];

/// Settings that mean nothing for a single file.
const FOR_FOLDERS: [&str; 3] = ["browse", "index", "spa"];

pub(super) fn cors(origins: OsString) -> Result<Cors, String> {
    let origins = origins.to_string_lossy();
    let read = |origin: &str| origin.parse().map_err(|error: InvalidOrigin| error.to_string());
    origins.split(',').map(read).collect::<Result<Vec<Origin>, String>>().map(Cors::new)
}

impl Settings {
    /// Reads the command line, its first word being the program, and the environment.
    ///
    /// # Errors
    /// What to tell the user instead of running: help, the version, or what is wrong.
    pub fn read(arguments: Vec<OsString>) -> Result<Settings, Refusal> {
        let mut settings: Settings = usage::read(&arguments, Settings::check)?;
        if settings.listen.is_empty() {
            settings.port = platform_port(std::env::var_os("PORT"))?;
        }
        Ok(settings)
    }

    /// How many sockets are opened to listen, at most: `localhost` has two addresses, as a rule.
    fn sockets_max(&self) -> usize {
        let listen = self.addresses();
        let addresses = listen.iter().map(|listen| &listen.address).chain(&self.admin);
        addresses.map(|address| if matches!(address, Address::Localhost(_)) { 2 } else { 1 }).sum()
    }

    /// Whether there is a listener for the admin.
    pub fn has_admin(&self) -> bool {
        self.admin.is_some() || self.passed.contains(&ListenerRole::Admin)
    }

    /// Whether anybody can ask about the loop, through a listener for the admin or through a route.
    pub fn answers_admins(&self) -> bool {
        self.has_admin() || self.site_routes().any(|route| route.answers.admin)
    }

    /// What the sockets are for that somebody has asked for, or that were passed.
    fn asked_roles(&self) -> impl Iterator<Item = ListenerRole> {
        let of_sites = self.sites.iter().flat_map(|site| &site.listen);
        self.listen.iter().chain(of_sites).map(|listen| listen.role).chain(self.passed.iter().copied())
    }

    /// Whether there is a listener for HTTPS.
    pub fn has_https(&self) -> bool {
        self.asked_roles().any(|role| role == ListenerRole::Https)
    }

    /// The settings that count at the start alone and are others in `next`, by the names of their flags.
    pub(super) fn changed_at_start(&self, next: &Settings) -> Vec<String> {
        let said = |settings: &Settings, id: &str| settings.at_start.iter().find(|(other, _)| *other == id).cloned();
        let has_changed = |id: &&str| said(self, id) != said(next, id);
        AT_START.into_iter().filter(has_changed).map(|id| id.replace('_', "-")).collect()
    }

    /// All routes of all sites.
    pub fn site_routes(&self) -> impl Iterator<Item = &RouteSettings> {
        self.sites.iter().flat_map(|site| &site.routes)
    }

    /// Whether any folder is served.
    pub fn has_folders(&self) -> bool {
        self.root.is_some() || self.site_routes().any(|route| route.root().is_some())
    }

    /// Whether there is something to read again when that is asked for: the configuration file, or users and tokens.
    pub fn can_be_read_anew(&self) -> bool {
        self.config.is_some() || self.access.asks_for_credentials()
    }

    /// All routes to upstreams.
    pub fn upstream_routes(&self) -> Vec<Route> {
        let of_sites = self.site_routes().flat_map(|route| &route.upstreams);
        self.proxy.routes().into_iter().chain(of_sites.cloned()).collect()
    }

    /// Whether requests are passed on to upstreams.
    pub fn has_upstreams(&self) -> bool {
        !self.upstream_routes().is_empty()
    }

    /// Whether any upstream speaks TLS.
    pub fn has_secured_upstreams(&self) -> bool {
        self.upstream_routes().iter().flat_map(|route| &route.upstreams).any(|upstream| upstream.is_secured)
    }

    fn has_http(&self) -> bool {
        let listen = self.addresses().into_iter().map(|listen| listen.role);
        listen.chain(self.passed.iter().copied()).any(|role| role == ListenerRole::Http)
    }

    /// Notes what is passed, which only the process that runs knows, and what follows from it.
    ///
    /// # Errors
    /// A socket that was passed needs settings that are not there.
    pub fn take_passed(&mut self, roles: Vec<ListenerRole>) -> Result<(), Refusal> {
        self.passed = roles;
        if self.passed.contains(&ListenerRole::Https) {
            self.tls.check_is_there().map_err(|problem| Refusal::usage(format!("a socket named https {problem}")))?;
        }
        if !self.has_https() {
            let line = |flag| format!("--{flag} has no effect: there is no https: listener");
            self.notices.extend(self.tls.flags_of_listeners().into_iter().map(line));
            if self.tls.has_key_log() && !self.has_secured_upstreams() {
                self.notices.push(line("tls-key-log") + ", and no https: upstream");
            }
        } else if self.tls.https_redirect && !self.has_http() {
            self.notices.push("--https-redirect has no effect: there is no http: listener".into());
        }
        Ok(())
    }

    /// Where to listen beside the sockets that were passed: as told, or, if none of them is for everyone, at every address
    /// on the port that a platform has chosen, or at the default.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        let alone = |ip: IpAddr, port| {
            let address = Address::Tcp((ip, port).into());
            vec![ListenAddress { role: ListenerRole::Http, address }]
        };
        let mut asked = self.listen.clone();
        for address in self.sites.iter().flat_map(|site| &site.listen) {
            if !asked.contains(address) {
                asked.push(address.clone());
            }
        }
        match (asked.is_empty(), self.port) {
            (true, _) if self.passed.iter().any(|role| role.is_for_everyone()) => Vec::new(),
            (true, Some(port)) => alone(Ipv6Addr::UNSPECIFIED.into(), port),
            (true, None) => alone(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT),
            (false, _) => asked,
        }
    }

    /// What no single value shows. What has no effect, or none yet, is left in `notices`.
    pub(super) fn check(&mut self, given: &Given<'_>) -> Result<(), Objection> {
        if let Some(admin) = self.admin.as_ref().filter(|admin| !admin.is_local()) {
            let problem = "expected unix:PATH or a loopback address: what it tells is not for everyone";
            return Err(Objection::new("admin", admin, problem));
        }
        if let Some(target) = self.max_target_size.filter(|target| *target > self.max_header_size) {
            let (target, head) = (format_size(target as u64), format_size(self.max_header_size as u64));
            let problem = format!("expected at most {head}, the --max-header-size");
            return Err(Objection::new("max_target_size", target, problem));
        }
        if let Some(told) = self.keep_alive_field.filter(|told| *told > self.keep_alive_timeout) {
            let (told, timeout) = (format_duration(told), format_duration(self.keep_alive_timeout));
            let problem = format!("expected at most {timeout}, the --keep-alive-timeout");
            return Err(Objection::new("keep_alive_field", told, problem));
        }
        self.sites = site_settings::read(given).map_err(Objection::to_sites)?;
        self.tls.of_sites = self.sites.iter().flat_map(|site| site.pairs.iter().cloned()).collect();
        self.files.check()?;
        if self.sites.is_empty() {
            self.access.check_alone()?
        } else {
            self.access.check()?
        }
        self.proxy.check()?;
        self.http2.check()?;
        let of_sites = self.sites.iter().flat_map(|site| &site.listen);
        let https = self.listen.iter().chain(of_sites).find(|listen| listen.role == ListenerRole::Https);
        self.tls.check(https).map_err(|objection| site_settings::at_its_site(objection, given))?;
        match &self.root {
            _ if !self.sites.is_empty() => check_beside_sites(given)?,
            Some(root) => check_root(root, given)?,
            None => check_without_root(given)?,
        }
        let said = |id: &'static str| given.words_of(id).map(|(words, _)| (id, words));
        self.at_start = AT_START.into_iter().filter_map(said).collect();
        self.has_empty_file = given.has_empty_file();
        self.notices.extend(given.unknown_variables(std::env::vars_os().map(|(name, _)| name)));
        self.notices.extend(self.without_effect(given));
        self.notices.extend(exposed::notices(self));
        self.notices.extend(self.root.iter().flat_map(|root| self.files.missing(root, given)));
        Ok(())
    }

    fn without_effect(&self, given: &Given<'_>) -> Vec<String> {
        let mut notices = Vec::new();
        let mut note = |id: &str, why: &str| {
            let flag = given.arguments().find(|argument| argument.get_id() == id).and_then(clap::Arg::get_long);
            notices.extend(flag.map(|flag| format!("--{flag} has no effect: {why}")));
        };
        if self.log.place().is_none() {
            note("log_format", "there is no access log without --access-log");
        }
        if !self.answers_admins() {
            note("past", "nobody can ask without --admin");
        }
        if !self.capture.is_on() {
            note("pcapng_size", "there is no capture without --pcapng");
        }
        let of_sites = self.sites.iter().flat_map(|site| &site.listen);
        let addresses = self.listen.iter().chain(of_sites).map(|listen| &listen.address).chain(&self.admin);
        if !addresses.into_iter().any(|address| matches!(address, Address::Unix(_))) {
            note("unix_mode", "no listener is a unix: socket");
        }
        if self.root.as_ref().is_some_and(|root| root.is_file()) {
            FOR_FOLDERS.iter().for_each(|id| note(id, "ROOT is a single file"));
        }
        let without_effect = self.proxy.without_effect().filter(|_| !self.has_secured_upstreams());
        notices.extend(without_effect.map(|(flag, why)| format!("--{flag} has no effect: {why}")));
        let line = |flag| format!("--{flag} has no effect: --no-http2 does without HTTP/2");
        notices.extend(self.http2.without_effect(given).into_iter().map(line));
        notices
    }

    /// Whether any listener speaks HTTP/2.
    pub(super) fn offers_http2(&self) -> bool {
        self.http2.is_in_alpn()
    }

    /// What TLS is made of.
    pub(super) fn tls_options(&self) -> TlsOptions {
        TlsOptions { offers_http2: self.http2.is_in_alpn(), ..self.tls.options() }
    }

    /// Who needs descriptors.
    fn needs(&self) -> Needs {
        Needs {
            asked: self.max_connections,
            listeners: self.passed.len() + self.sockets_max(),
            admin: self.answers_admins(),
            capture: self.capture.is_on(),
            proxy: self.has_upstreams(),
            file_threads: if self.has_folders() { self.disk.io_threads as usize } else { 0 },
        }
    }

    /// What `descriptors` are for by these settings.
    pub fn shares(&self, descriptors: u64) -> Shares {
        descriptors::share(descriptors, &self.needs())
    }

    /// The limits these settings mean on a system that grants so many `descriptors`. The log says if these are too few.
    pub fn limits(&self, descriptors: u64) -> Limits {
        let defaults = Limits::default();
        let shares = self.shares(descriptors);
        descriptors::warn_if_too_few(&shares, &self.needs(), descriptors);
        Limits {
            first_byte_timeout: self.first_byte_timeout,
            handshake_timeout: self.tls_handshake_timeout,
            handshakes_per_turn: self.tls_handshakes_per_turn as usize,
            header_timeout: self.header_timeout,
            body_timeout: self.body_timeout,
            send_timeout: self.send_timeout,
            keep_alive_timeout: self.keep_alive_timeout,
            abort_on_close: self.abort_on_close,
            idle_told_secs: self.keep_alive_field.and_then(|told| u32::try_from(told.as_secs()).ok()),
            drain_timeout: self.drain_timeout,
            ws_ping_interval: self.ws_ping_interval,
            ws_message_bytes_max: self.ws_max_message,
            head_bytes_max: self.max_header_size,
            target_bytes_max: self.max_target_size.unwrap_or(defaults.target_bytes_max).min(self.max_header_size),
            fields_max: self.max_headers as usize,
            content_bytes_max: self.max_upload_size.unwrap_or(u64::MAX),
            gathered_bytes_max: self.max_body_size,
            coded_streams_max: if self.disk.file_cache == 0 { 0 } else { defaults.coded_streams_max },
            inbox_bytes: self.max_header_size.max(INBOX_BYTES_MIN),
            http2: self.http2.limits(),
            connections_max: shares.connections,
            connections_bound: shares.bound,
            admins_max: shares.admins,
            ..defaults
        }
    }
}

/// What a platform says in `PORT` (Cloud Run, Heroku and others).
fn platform_port(variable: Option<OsString>) -> Result<Option<u16>, Refusal> {
    let Some(text) = variable.filter(|text| !text.is_empty()) else { return Ok(None) };
    let port =
        text.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok());
    let wrong =
        || format!("invalid value '{}' for PORT: expected a port from 0 to 65535 (--listen wins)", text.display());
    port.map(Some).ok_or_else(|| Refusal::usage(wrong()))
}

fn check_root(root: &Path, given: &Given<'_>) -> Result<(), Objection> {
    let problem = match fs::metadata(root) {
        // A log or a page that is meant for a flag must not be served by mistake.
        Ok(found) if found.is_file() && given.may_be_value(root.as_os_str()) => {
            "expected a directory, or a file that does not stand behind a flag".into()
        }
        Ok(found) if found.is_dir() || found.is_file() => return Ok(()),
        Ok(_) => "expected a directory or a file: it is neither".into(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            "expected a directory or a file that exists".into()
        }
        Err(error) => format!("expected a directory or a file that can be looked at: {}", super::cause(&error)),
    };
    Err(Objection::new("root", root.display(), problem))
}

/// Where there are sites, they say what answers.
fn check_beside_sites(given: &Given<'_>) -> Result<(), Objection> {
    let problem = "belongs into a [[site]], since there are some; one without 'hosts' has all that no other has";
    match ["root", "proxy", "lab"].into_iter().find(|id| given.has(id)) {
        Some(id) => Err(Objection::to_argument(id, problem)),
        None => Ok(()),
    }
}

/// Settings for a folder cannot work without one. Rather than guess that the current folder is meant for everyone to
/// see, the server says how to ask for it.
fn check_without_root(given: &Given<'_>) -> Result<(), Objection> {
    let of_root = |argument: &&clap::Arg| argument.get_help_heading() == Some(SERVING_ROOT);
    let mut without = given.arguments().filter(of_root);
    let without = without.find(|argument| !ALSO_WITHOUT_ROOT.contains(&argument.get_id().as_str()));
    match without {
        Some(setting) => {
            let problem = "needs ROOT, such as '.' for the current directory";
            Err(Objection::to_argument(setting.get_id().as_str(), problem))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
