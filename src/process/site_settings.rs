//! What can be set about one site and one route: only in a configuration file, and what of it a flag has says what all sites
//! begin with.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Args, Command, CommandFactory, FromArgMatches, Parser};

use super::access_settings::{AccessSettings, Scopes};
use super::choice::{ALONE, Choice, choice};
use super::config_file::{self, Entry, Place, SiteTable};
use super::file_settings::FileSettings;
use super::proxy_settings::route_of;
use super::quantity::{duration, length, size};
use super::settings::{DAY, GIB, MS, UPLOAD_BYTES_MAX, cors, switch};
use super::usage::{Given, Objection};
use crate::base::limits::Limits;
use crate::base::terms::Terms;
use crate::http::fields::FieldValue;
use crate::http::media_type::parse_media_type;
use crate::http::method::Method;
use crate::http::status::Status;
use crate::net::listener::ListenAddress;
use crate::net::tls::PairFiles;
use crate::service::cors::Cors;
use crate::service::proxy::route::Route;
use crate::service::sites::answers::Redirect;
use crate::service::sites::hosts::HostPattern;
use crate::service::sites::matcher::{FieldMatch, Matcher, PathMatch};

/// The heading of keys that are no flags.
pub const SITES: &str = "Sites and routes";

/// Keys that say what answers. Who says one of them says all: the others are not inherited.
const TARGETS: [&str; 6] = ["root", "proxy", "redirect", "respond", "lab", "admin"];
/// Keys that say more of one of those, and which one. They are inherited with it alone.
const OF_TARGETS: [(&str, &str); 5] = [
    ("status", "redirect"),
    ("body", "respond"),
    ("body_file", "respond"),
    ("content_type", "respond"),
    ("retry_after", "respond"),
];

/// What requests get, in a site and in a route.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = SITES)]
pub struct AnswerSettings {
    /// Folder to serve, or a single file
    #[arg(value_name = "ROOT")]
    pub root: Option<PathBuf>,

    /// Where to pass requests on
    #[arg(
        long,
        help = "Where to pass requests on: URL[,URL...][ OPTION...] for all that the route takes, with the options of \
                --proxy, or the same behind /PATH/= for some of them",
        value_name = "URL",
        value_parser = passed_on
    )]
    pub proxy: Vec<String>,

    /// Address to redirect to; {host}, {path}, {query}, {uri} (path and query) and {rest} (what the path has behind that of the
    /// route) stand for those of the request
    #[arg(long, value_name = "URL", value_parser = Redirect::new)]
    pub redirect: Option<Redirect>,

    /// Status of the redirect: 301, 302, 303, 307 or 308 [default: 308]
    #[arg(long, value_name = "N", value_parser = redirect_status)]
    pub status: Option<Status>,

    /// Status of an answer that is always the same, 200 to 599; not 206 and 3xx, which need more than content
    #[arg(long, value_name = "N", value_parser = fixed_status)]
    pub respond: Option<Status>,

    /// Content of that answer
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    pub body: Option<String>,

    /// File with the content of that answer, which is read at the start
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,

    /// Media type of that answer [default: that of the name of the file, or text/plain]
    #[arg(long, value_name = "TYPE", value_parser = parse_media_type)]
    pub content_type: Option<FieldValue>,

    /// What Retry-After says in that answer, 1s to 24h
    #[arg(long, value_name = "DURATION", value_parser = duration(Duration::from_secs(1)..=DAY))]
    pub retry_after: Option<Duration>,

    /// Serve the lab endpoints, next to a folder or alone
    #[arg(long)]
    pub lab: bool,

    /// Serve what the admin listener serves; who may see it is for allow and basic-auth to say
    #[arg(long)]
    pub admin: bool,

    /// Take the path of the route off before files, the lab or upstreams look at it
    #[arg(long)]
    pub strip: bool,

    /// Folder with pages for errors that are found here: 404.html, 5xx.html
    #[arg(long, value_name = "FOLDER")]
    pub error_pages: Option<PathBuf>,

    /// Whether content is compressed for those who accept it; without it files and what is produced here are, and what
    /// upstreams send is not
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = switch
    )]
    pub compress: Option<bool>,

    /// Whether requests stand in the access log
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "true", value_parser = switch, action = clap::ArgAction::Set
    )]
    pub log: bool,

    /// Time without progress while a request's content arrives, 1ms to 24h
    #[arg(long, value_name = "DURATION", value_parser = duration(MS..=DAY))]
    pub body_timeout: Option<Duration>,

    /// Time without progress while a client does not read its response, 1ms to 24h
    #[arg(long, value_name = "DURATION", value_parser = duration(MS..=DAY))]
    pub send_timeout: Option<Duration>,

    /// Whether a handler stops when its client ends its direction before the response is complete
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = switch
    )]
    pub abort_on_close: Option<bool>,

    /// Size of request content, whatever becomes of it, 1 to 1024GiB
    #[arg(long, value_name = "SIZE", value_parser = length(1..=UPLOAD_BYTES_MAX))]
    pub max_upload_size: Option<u64>,

    /// Size of request content that must be held in memory, 1 to 1GiB
    #[arg(long, value_name = "SIZE", value_parser = size(1..=GIB))]
    pub max_body_size: Option<usize>,

    /// Sites whose scripts may read what is answered: true for all, or a list
    #[arg(
        long, value_name = "ORIGIN", num_args = 0..=1, require_equals = true, default_missing_value = ALONE,
        value_parser = choice("*", cors)
    )]
    pub cors: Option<Choice<Cors>>,

    /// Who may ask.
    #[command(flatten)]
    pub access: AccessSettings,

    /// How a folder is served.
    #[command(flatten)]
    pub files: FileSettings,
}

/// What a site says of itself.
#[derive(Debug, Clone, Parser)]
#[command(disable_help_flag = true, next_help_heading = SITES)]
struct SiteKeys {
    /// Hosts of the site: a name, *.NAME for all beneath it, or an address; none: all that no other site has
    #[arg(long, value_name = "HOST", value_parser = HostPattern::new)]
    hosts: Vec<HostPattern>,

    /// Where the site is served: addresses as --listen has them, which are listened on with all others; none: everywhere
    #[arg(long, value_name = "ADDR")]
    listen: Vec<ListenAddress>,

    /// Certificate of the site, with its chain, in PEM; clients get it if they ask for a name that it has
    #[arg(long, value_name = "FILE")]
    tls_cert: Vec<PathBuf>,

    /// Key of the certificate, in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Vec<PathBuf>,

    /// What its routes begin with, and what answers requests that none of them takes.
    #[command(flatten)]
    answers: AnswerSettings,
}

/// Which requests a route takes, and what they get.
#[derive(Debug, Clone, Parser)]
#[command(disable_help_flag = true, next_help_heading = SITES)]
struct RouteKeys {
    /// Paths that it takes: /api/ for itself and all beneath it, =/api for itself alone, or a pattern such as *.php; /: all
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = PathMatch::new)]
    path: PathMatch,

    /// Methods that it takes; none: all. GET stands for HEAD, too
    #[arg(long, value_name = "METHOD", value_parser = method)]
    methods: Vec<Method>,

    /// Fields that requests must have: NAME, or NAME: VALUE
    #[arg(long, value_name = "FIELD", value_parser = FieldMatch::new)]
    field: Vec<FieldMatch>,

    #[command(flatten)]
    answers: AnswerSettings,
}

/// The keys of a `[[site]]`.
pub fn site_keys() -> Command {
    static KEYS: LazyLock<Command> = LazyLock::new(|| built(SiteKeys::command().name("site")));
    KEYS.clone()
}

/// The keys of a `[[site.route]]`.
pub fn route_keys() -> Command {
    static KEYS: LazyLock<Command> = LazyLock::new(|| built(RouteKeys::command().name("route")));
    KEYS.clone()
}

/// An argument that has not been built cannot be printed.
fn built(mut command: Command) -> Command {
    command.build();
    command
}

/// What its route makes of it shows in `checked`.
fn passed_on(text: &str) -> Result<String, String> {
    route_of(text, b"", false, None).map(|_| text.into())
}

fn redirect_status(text: &str) -> Result<Status, String> {
    let status = text.parse().ok().filter(|code| Redirect::STATUSES.contains(code)).and_then(Status::from_code);
    status.ok_or_else(|| "expected 301, 302, 303, 307 or 308".into())
}

fn fixed_status(text: &str) -> Result<Status, String> {
    let code: u16 = text.parse().unwrap_or_default();
    match code {
        300..=399 => {
            Err("expected another status: an answer that leads elsewhere is written redirect = ADDRESS".into())
        }
        206 => Err("expected another status: 206 is for a part of something (RFC 9110 §15.3.7)".into()),
        _ => Status::from_code(code)
            .filter(|status| !status.is_interim())
            .ok_or_else(|| "expected a status from 200 to 599".into()),
    }
}

fn method(text: &str) -> Result<Method, String> {
    let is_upper = !text.bytes().any(|byte| byte.is_ascii_lowercase());
    Method::from_token(text.as_bytes())
        .filter(|_| is_upper)
        .ok_or_else(|| "expected a method such as GET or POST".into())
}

/// A site.
#[derive(Debug, Clone)]
pub struct SiteSettings {
    /// Its first host, or that it has none.
    pub name: String,
    /// Its hosts; none: all that no other site has.
    pub hosts: Vec<HostPattern>,
    /// What it says, as a configuration file says it, a line each.
    in_force: Vec<String>,
    /// Where it is served; none: everywhere.
    pub listen: Vec<ListenAddress>,
    /// Its certificates.
    pub pairs: Vec<PairFiles>,
    /// Its routes. What the site itself says stands last, if it says what answers.
    pub routes: Vec<RouteSettings>,
    /// What goes with the answer to requests that have no route, which is 404; `None`: what is wrong with it was said.
    pub rest: Option<RouteSettings>,
}

/// A route.
#[derive(Debug, Clone)]
pub struct RouteSettings {
    /// Where it stands, and what its path is.
    pub name: String,
    /// Which requests it takes.
    pub matcher: Matcher,
    /// What they get.
    pub answers: AnswerSettings,
    /// The routes to upstreams, with the hosts of none.
    pub upstreams: Vec<Route>,
    /// Where its rules are written that count requests and connections.
    pub scopes: Scopes,
    /// What is in force, is no default and does not stand at the top, as a configuration file says it, a line each. What it has
    /// from its site is a comment.
    in_force: Vec<String>,
    /// Whether it stands in a table of its own, and is not what the site says.
    has_table: bool,
}

/// What is in force for a key, and where it was said.
struct Inherited<'f> {
    words: Vec<OsString>,
    origin: String,
    place: Option<&'f Place>,
    /// Whether it stands at the top, for all sites.
    is_from_top: bool,
}

/// Reads the sites of a configuration file.
///
/// # Errors
/// All that is wrong, a line each.
pub fn read(given: &Given<'_>) -> Result<Vec<SiteSettings>, Vec<String>> {
    let (mut sites, mut problems) = (Vec::new(), Vec::new());
    // Each with where its site is served, and where it stands.
    let mut hosts: Vec<(String, Vec<ListenAddress>, &Place)> = Vec::new();
    for table in given.sites() {
        let own = table.entries.iter().filter(|entry| !is_answer(&entry.id));
        let words = own.flat_map(|entry| entry.words.iter().cloned());
        let keys = match SiteKeys::try_parse_from([OsString::new()].into_iter().chain(words)) {
            Ok(keys) => keys,
            Err(error) => {
                problems.push(config_file::conflict(&error, &site_keys(), |_| None, &table.place));
                continue;
            }
        };
        let place_of =
            |id: &str| table.entries.iter().find(|entry| entry.id == id).map_or(&table.place, |entry| &entry.place);
        let names: Vec<String> = match &keys.hosts[..] {
            [] => vec!["the default site".into()],
            hosts => hosts.iter().map(ToString::to_string).collect(),
        };
        for name in &names {
            let is_there = |(other, listen, _): &&(String, Vec<ListenAddress>, &Place)| {
                let is_apart = |address: &ListenAddress| !listen.contains(address);
                let are_apart = !listen.is_empty() && !keys.listen.is_empty() && keys.listen.iter().all(is_apart);
                other == name && !are_apart
            };
            if let Some((.., other)) = hosts.iter().find(is_there) {
                let what = if keys.hosts.is_empty() { "a site without 'hosts'" } else { name };
                let problem = match *other == &table.place {
                    true => format!("'hosts' has {what} twice"),
                    false => format!("{what} is there already, at {other}"),
                };
                problems.push(format!("{}: {problem}", place_of("hosts")));
            }
            hosts.push((name.clone(), keys.listen.clone(), &table.place));
        }
        for (id, target) in OF_TARGETS {
            let said = |id: &str| table.entries.iter().find(|entry| entry.id == id);
            if let (Some(entry), None) = (said(id), said(target)) {
                let key = id.replace('_', "-");
                problems.push(format!("{}: '{key}' needs '{target}' in the same table", entry.place));
            }
        }
        if keys.tls_cert.len() != keys.tls_key.len() {
            let problem = "'tls-cert' and 'tls-key' belong together, as many of one as of the other";
            problems.push(format!(
                "{}: {problem}",
                place_of(if keys.tls_cert.is_empty() { "tls_key" } else { "tls_cert" })
            ));
        }
        for (id, files) in [("tls_cert", &keys.tls_cert), ("tls_key", &keys.tls_key)] {
            if let Some(file) = files.iter().find(|file| !file.is_file()) {
                let objection = Objection::new(id, file.display(), "expected a file that exists");
                problems.push(objection.line(place_of(id), &id.replace('_', "-")));
            }
        }
        let pairs = keys.tls_cert.into_iter().zip(keys.tls_key);
        let mut site = SiteSettings {
            name: names[0].clone(),
            hosts: keys.hosts,
            in_force: site_lines(table),
            listen: keys.listen,
            pairs: pairs.map(|(certificate, key)| PairFiles { certificate, key }).collect(),
            routes: Vec::new(),
            rest: None,
        };
        for route in &table.routes {
            match RouteSettings::read(&route.entries, &route.place, (&names[0], &table.entries), given) {
                Ok(read) if read.answers_nothing() => {
                    let problem = "the route says nothing that answers: expected 'root', 'proxy', 'redirect', \
                                   'respond', 'lab' or 'admin', here or in the site";
                    problems.push(format!("{}: {problem}", route.place));
                }
                Ok(read) => {
                    if let Some(earlier) = site.routes.iter().find(|earlier| earlier.matcher.covers(&read.matcher)) {
                        let name = &earlier.name;
                        problems
                            .push(format!("{}: no request comes here: {name} takes them all before it", route.place));
                    }
                    site.routes.push(read);
                }
                Err(found) => problems.extend(found),
            }
        }
        if table.entries.iter().any(says_target) {
            match RouteSettings::read(&[], &table.place, (&names[0], &table.entries), given) {
                Ok(route) => site.routes.push(RouteSettings { has_table: false, ..route }),
                Err(found) => problems.extend(found),
            }
        } else if table.routes.is_empty() {
            let problem = "the site says nothing that answers: expected 'root', 'proxy', 'redirect', 'respond', \
                           'lab' or 'admin', or a [[site.route]]";
            problems.push(format!("{}: {problem}", table.place));
        }
        let says_answer = |id: &str| TARGETS.contains(&id) || id == "strip" || OF_TARGETS.iter().any(|of| of.0 == id);
        let beside: Vec<_> = table.entries.iter().filter(|entry| !says_answer(&entry.id)).cloned().collect();
        match RouteSettings::read(&[], &table.place, (&names[0], &beside), given) {
            Ok(rest) => site.rest = Some(RouteSettings { name: format!("no route at {}", table.place), ..rest }),
            Err(found) => problems.extend(found),
        }
        sites.push(site);
    }
    // What routes have from their site is wrong in each of them.
    let mut said = HashSet::new();
    problems.retain(|problem| said.insert(problem.clone()));
    if problems.is_empty() { Ok(sites) } else { Err(problems) }
}

/// What is wrong with a file that a site names, at the place where it does.
pub fn at_its_site(objection: Objection, given: &Given<'_>) -> Objection {
    let is_meant = |entry: &&Entry| {
        let value = objection.value().map(|value| format!("={value}"));
        let ends = |word: &OsString| value.as_ref().is_some_and(|value| word.to_string_lossy().ends_with(value));
        entry.id == objection.id() && entry.words.iter().any(ends)
    };
    match given.sites().iter().flat_map(|site| &site.entries).find(is_meant) {
        Some(entry) => Objection::to_sites(vec![objection.line(&entry.place, &entry.id.replace('_', "-"))]),
        None => objection,
    }
}

/// Whether a site and a route have the key with this id in common.
fn is_answer(id: &str) -> bool {
    static IDS: LazyLock<Vec<clap::Id>> = LazyLock::new(|| {
        let command = AnswerSettings::augment_args(Command::new(""));
        command.get_arguments().map(|argument| argument.get_id().clone()).collect()
    });
    IDS.iter().any(|other| other == id)
}

/// Whether it says what answers. A word for false says nothing.
fn says_target(entry: &Entry) -> bool {
    TARGETS.contains(&entry.id.as_str()) && !entry.words.is_empty()
}

impl SiteSettings {
    /// The site as a configuration file says it. What a route has from the site stands in the route as a comment: a rate that is
    /// written there would be another one.
    pub fn in_force(&self) -> String {
        let mut text = format!("\n[[site]]\n{}", self.in_force.concat());
        for route in self.routes.iter().filter(|route| route.has_table) {
            text.push_str("\n[[site.route]]\n");
            text.push_str(&route.in_force.concat());
        }
        text
    }
}

impl RouteSettings {
    /// The route of these entries, in a site with others of its own.
    fn read(
        own: &[Entry],
        place: &Place,
        (site_name, site): (&str, &[Entry]),
        given: &Given<'_>,
    ) -> Result<RouteSettings, Vec<String>> {
        let mut in_force: BTreeMap<&str, Inherited<'_>> = BTreeMap::new();
        let command = route_keys();
        // From the outside to the inside: the innermost wins.
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            if !TARGETS.contains(&id)
                && is_answer(id)
                && let Some((words, origin)) = given.words_of(id)
            {
                let said = Inherited { words, origin, place: given.place_of(id), is_from_top: true };
                in_force.insert(argument.get_id().as_str(), said);
            }
        }
        let inherits_target = !own.iter().any(says_target);
        let inherited = site.iter().filter(|entry| is_answer(&entry.id));
        let is_inherited = |entry: &&Entry| match OF_TARGETS.iter().find(|(id, _)| *id == entry.id) {
            Some((_, target)) => inherits_target && site.iter().any(|entry| entry.id == *target),
            None => inherits_target || !TARGETS.contains(&entry.id.as_str()),
        };
        let inherited = inherited.filter(is_inherited);
        for Entry { id, words, place } in inherited.chain(own) {
            let (words, origin) = (words.clone(), place.to_string());
            let said = Inherited { words, origin, place: Some(place), is_from_top: false };
            in_force.insert(id, said);
        }
        let place_of = |id: &str| in_force.get(id).and_then(|said| said.place).unwrap_or(place);
        let mut words = vec![OsString::new()];
        let mut last = Vec::new();
        for (id, said) in &in_force {
            if *id == "root" {
                last.extend(said.words.iter().cloned())
            } else {
                words.extend(said.words.iter().cloned())
            }
        }
        let keys = match command.clone().try_get_matches_from(words.iter().chain(&last)) {
            Ok(matches) => RouteKeys::from_arg_matches(&matches).map_err(|error| vec![format!("{place}: {error}")])?,
            Err(error) => {
                let place_of = |id: &str| in_force.get(id).and_then(|said| said.place);
                return Err(vec![config_file::conflict(&error, &command, place_of, place)]);
            }
        };
        let path = keys.path.to_string();
        let scope_of = |id: &str| match () {
            () if own.iter().any(|entry| entry.id == id) => format!("{site_name} {path}"),
            () if site.iter().any(|entry| entry.id == id) => site_name.to_owned(),
            () => String::new(),
        };
        let matcher = Matcher { path: keys.path, methods: keys.methods, fields: keys.field };
        let route = RouteSettings {
            name: format!("{} at {place}", matcher.path),
            upstreams: Vec::new(),
            scopes: Scopes { rate: scope_of("rate_limit"), connections: scope_of("max_connections_per_client") },
            in_force: route_lines(&command, &in_force, own),
            has_table: true,
            matcher,
            answers: keys.answers,
        };
        let says_realm = own.iter().any(|entry| entry.id == "realm");
        let access = if says_realm { route.answers.access.check_alone() } else { route.answers.access.check() };
        access.and_then(|()| route.checked()).map_err(|objection| {
            let argument = command.get_arguments().find(|argument| argument.get_id() == objection.id());
            vec![objection.line(place_of(objection.id()), &argument.and_then(config_file::key).unwrap_or_default())]
        })
    }

    /// What no single key shows.
    fn checked(mut self) -> Result<RouteSettings, Objection> {
        let answers = &self.answers;
        let is_proxy = !answers.proxy.is_empty();
        let said = [
            ("root", answers.root.is_some()),
            ("redirect", answers.redirect.is_some()),
            ("respond", answers.respond.is_some()),
            ("admin", answers.admin),
        ];
        let mut said = said.iter().filter(|(_, is_said)| *is_said).map(|(id, _)| *id);
        match (said.next(), said.next()) {
            (Some(first), Some(second)) => {
                return Err(Objection::to_argument(
                    second,
                    format!("cannot stand beside '{first}': each answers all requests"),
                ));
            }
            (Some(other @ ("redirect" | "respond" | "admin")), None) if is_proxy || answers.lab => {
                let id = if is_proxy { "proxy" } else { "lab" };
                return Err(Objection::to_argument(
                    id,
                    format!("cannot stand beside '{other}', which answers all requests"),
                ));
            }
            _ => {}
        }
        for ((id, target), is_said) in OF_TARGETS.into_iter().zip([
            answers.status.is_some(),
            answers.body.is_some(),
            answers.body_file.is_some(),
            answers.content_type.is_some(),
            answers.retry_after.is_some(),
        ]) {
            let is_there = if target == "redirect" { answers.redirect.is_some() } else { answers.respond.is_some() };
            if is_said && !is_there {
                return Err(Objection::to_argument(id, format!("needs '{target}'")));
            }
        }
        if let Some(status) = answers.respond.filter(|status| matches!(status.code(), 204 | 205))
            && (answers.body.is_some() || answers.body_file.is_some())
        {
            let id = if answers.body.is_some() { "body" } else { "body_file" };
            return Err(Objection::to_argument(
                id,
                format!("cannot stand beside respond = {}, which has no content", status.code()),
            ));
        }
        if let Some(folder) = answers.error_pages.as_deref().filter(|folder| !folder.is_dir()) {
            return Err(Objection::new("error_pages", folder.display(), "expected a folder that exists"));
        }
        if let Some(file) = answers.body_file.as_deref().filter(|file| !file.is_file()) {
            return Err(Objection::new("body_file", file.display(), "expected a file that exists"));
        }
        if let Some(root) = answers.root.as_deref().filter(|root| !root.is_dir() && !root.is_file()) {
            return Err(Objection::new("root", root.display(), "expected a directory or a file that exists"));
        }
        if answers.strip && self.matcher.path.prefix().is_empty() {
            return Err(Objection::to_argument("strip", "needs a 'path' such as /api/: there is nothing to take off"));
        }
        answers.files.check()?;
        for text in &answers.proxy {
            let route = route_of(text, self.matcher.path.prefix(), answers.strip, answers.compress);
            self.upstreams.push(route.map_err(|problem| Objection::new("proxy", text, problem))?);
        }
        Ok(self)
    }

    fn answers_nothing(&self) -> bool {
        let answers = &self.answers;
        let is_elsewhere = answers.redirect.is_some() || answers.respond.is_some() || answers.admin || answers.lab;
        answers.root.is_none() && answers.proxy.is_empty() && !is_elsewhere
    }

    /// What holds for its requests, if these are the limits of all.
    pub fn terms(&self, of_all: &Limits) -> Terms {
        let own = &self.answers;
        let limits = Limits {
            body_timeout: own.body_timeout.unwrap_or(of_all.body_timeout),
            send_timeout: own.send_timeout.unwrap_or(of_all.send_timeout),
            abort_on_close: own.abort_on_close.unwrap_or(of_all.abort_on_close),
            content_bytes_max: own.max_upload_size.unwrap_or(of_all.content_bytes_max),
            gathered_bytes_max: own.max_body_size.unwrap_or(of_all.gathered_bytes_max),
            ..of_all.clone()
        };
        Terms { route: self.name.as_str().into(), is_logged: own.log, limits }
    }

    /// Whether it serves a folder.
    pub fn root(&self) -> Option<&Path> {
        self.answers.root.as_deref()
    }
}

/// What a site says, as a configuration file says it.
fn site_lines(table: &SiteTable) -> Vec<String> {
    let command = site_keys();
    let line = |argument: &clap::Arg| {
        let entry = table.entries.iter().find(|entry| entry.id == argument.get_id().as_str())?;
        Some(config_file::line(argument, &entry.words, &entry.place.to_string()))
    };
    command.get_arguments().filter_map(line).collect()
}

/// What is in force in a route that says the entries `own`, and does not stand at the top, as a configuration file says it.
fn route_lines(command: &Command, in_force: &BTreeMap<&str, Inherited<'_>>, own: &[Entry]) -> Vec<String> {
    let line = |argument: &clap::Arg| {
        let id = argument.get_id().as_str();
        let said = in_force.get(id).filter(|said| !said.is_from_top)?;
        let line = config_file::line(argument, &said.words, &said.origin);
        Some(if own.iter().any(|entry| entry.id == id) { line } else { format!("# {line}") })
    };
    command.get_arguments().filter_map(line).collect()
}
