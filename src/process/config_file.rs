//! The configuration file: settings in TOML, under the names of their flags. It says nothing that flags cannot say, and what
//! is right for a flag is right here: each entry becomes words of a command line, which are read as all others are.

mod value;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::site_settings;
use super::usage::{Refusal, condense, legible, name_here, nearest_name};
pub use value::{Toml, key, line, word_of};

/// The flag that names the file. It has no place in the file.
pub const ID: &str = "config";

/// The key of the sites, and that of the routes of a site.
const SITE: &str = "site";
const ROUTE: &str = "route";

/// What a route before all sites is told.
const ROUTE_FIRST: &str = "a route belongs to the [[site]] before it, and none comes before this one";

/// What other servers call tables and keys of a site and of a route, and how that is written here.
const NAMES_ELSEWHERE: [(&[&str], &str); 14] = [
    (&["sites", "server", "servers", "vhost", "virtualhost", "virtual-host"], "a site is [[site]]"),
    (
        &["routes", "location", "locations", "handle", "rule", "rules"],
        "a route is [[site.route]], behind the [[site]] it belongs to",
    ),
    (
        &["host", "server_name", "server-name", "servername", "domain", "domains", "names"],
        "the names of a site are 'hosts'",
    ),
    (
        &["ssl_certificate", "ssl-certificate", "tls-certificate", "certificate", "cert"],
        "the certificate of a site is 'tls-cert'",
    ),
    (
        &["ssl_certificate_key", "ssl-certificate-key", "tls-certificate-key", "key"],
        "the key of the certificate is 'tls-key'",
    ),
    (&["proxy_pass", "proxy-pass", "reverse_proxy", "upstream", "backend"], "requests are passed on by 'proxy'"),
    (&["return", "code"], "an answer that is always the same is 'respond'; another address is 'redirect'"),
    (&["content", "text"], "the content of a fixed answer is 'body'"),
    (
        &["rewrite", "redirect-to", "redir"],
        "another address is 'redirect'; the path of the route is taken off by 'strip'",
    ),
    (&["prefix", "match", "uri", "pattern"], "the paths of a route are 'path'"),
    (&["add_header", "headers"], "fields are added by 'header'"),
    (&["error_page", "error-page"], "pages for errors are in the folder 'error-pages'"),
    (
        &["autoindex", "alias", "try_files", "try-files"],
        "folders are served by 'root', with 'browse', 'spa' and 'try-html'",
    ),
    (&["include", "import"], "all settings are in one file"),
];

/// What a file says, in its order.
#[derive(Debug, Default)]
pub struct ConfigFile {
    /// Whether it has been read, and says nothing.
    is_empty: bool,
    entries: Vec<Entry>,
    sites: Vec<SiteTable>,
}

/// A `[[site]]`.
#[derive(Debug)]
pub struct SiteTable {
    /// What it says of itself, and what its routes begin with.
    pub entries: Vec<Entry>,
    /// Its routes.
    pub routes: Vec<RouteTable>,
    /// Where it begins.
    pub place: Place,
}

/// A `[[site.route]]`.
#[derive(Debug)]
pub struct RouteTable {
    /// What it says.
    pub entries: Vec<Entry>,
    /// Where it begins.
    pub place: Place,
}

/// A setting in the file.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The argument's id.
    pub id: String,
    /// What would say the same on a command line.
    pub words: Vec<OsString>,
    /// Where it stands.
    pub place: Place,
}

/// Where something stands: `FILE:LINE:COLUMN`, both counted from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    file: Rc<str>,
    line: usize,
    column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl ConfigFile {
    /// Reads the file at `path`, whose settings are arguments of `command`, which has been built.
    ///
    /// # Errors
    /// All that is wrong with it, a line each, in the order of the file.
    pub fn read(path: &Path, command: &Command) -> Result<ConfigFile, Vec<String>> {
        let unreadable = |problem: String| vec![format!("cannot read {}: {problem}", path.display())];
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => unreadable("there is no such file".into()),
            _ => unreadable(super::cause(&error)),
        })?;
        let absolute = std::path::absolute(path).map_err(|error| unreadable(super::cause(&error)))?;
        ConfigFile::parse(&bytes, path, absolute.parent().unwrap_or(&absolute), command)
    }

    /// Reads the `bytes` of the file at `path`. Relative paths in it begin in the `folder`.
    fn parse(bytes: &[u8], path: &Path, folder: &Path, command: &Command) -> Result<ConfigFile, Vec<String>> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            vec![format!("{}: this is not UTF-8", Source::new(path, before).place(before.len()))]
        })?;
        let server = Keys::new(command.clone());
        let (site, route) = (Keys::new(site_settings::site_keys()), Keys::new(site_settings::route_keys()));
        Reader { source: Source::new(path, text), folder, server, site, route }.read()
    }

    /// Whether it has been read, and has no settings: nothing, or comments alone.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// The sites, in their order.
    pub fn sites(&self) -> &[SiteTable] {
        &self.sites
    }

    /// The `words` of a command line, its first word being the program, with those of the file for all that the command
    /// line and the environment leave open. The others are forgotten.
    pub fn complete(&mut self, words: &[OsString], is_given: impl Fn(&str) -> bool) -> Vec<OsString> {
        self.entries.retain(|entry| !is_given(&entry.id));
        let mut flags = Vec::new();
        let mut last = Vec::new();
        for entry in &self.entries {
            // ROOT stands behind the words of commands that have others before it.
            let all = if entry.id == value::ROOT { &mut last } else { &mut flags };
            all.extend(entry.words.iter().cloned());
        }
        let (program, others) = words.split_at(words.len().min(1));
        [program, &flags[..], others, &last[..]].concat()
    }

    /// Where the argument with this `id` is set, if it is.
    pub fn place_of(&self, id: &str) -> Option<&Place> {
        self.entries.iter().find(|entry| entry.id == id).map(|entry| &entry.place)
    }

    /// What to tell the user of an error that only shows in all words together; `None` if it is about none of the file's.
    pub fn refusal(&self, error: &clap::Error, command: &Command) -> Option<Refusal> {
        let culprit = |kind| match error.get(kind) {
            Some(ContextValue::String(culprit)) => {
                let argument = command.get_arguments().find(|argument| argument.to_string() == *culprit)?;
                self.place_of(argument.get_id().as_str())
            }
            _ => None,
        };
        let place = culprit(ContextKind::InvalidArg).or_else(|| culprit(ContextKind::PriorArg))?;
        Some(Refusal::File(vec![format!("{place}: {}", legible(&condense(&error.render().to_string(), true)))]))
    }
}

/// The line about keys of one table that do not go together: at the later of the two, or at the `table` if none of them stands
/// in the file.
pub fn conflict<'p>(
    error: &clap::Error,
    command: &Command,
    place_of: impl Fn(&str) -> Option<&'p Place>,
    table: &'p Place,
) -> String {
    let mut problem = condense(&error.render().to_string(), true);
    let mut places = Vec::new();
    for argument in command.get_arguments() {
        let name = format!("'{argument}'");
        if let Some(key) = key(argument).filter(|_| problem.contains(&name)) {
            problem = problem.replace(&name, &format!("'{key}'"));
            places.extend(place_of(argument.get_id().as_str()));
        }
    }
    let place = places.into_iter().max_by_key(|place| (place.line, place.column)).unwrap_or(table);
    format!("{place}: {}", legible(&problem.replace("the argument ", "")))
}

/// The text of a file.
struct Source<'t> {
    file: Rc<str>,
    text: &'t str,
    /// Where its lines begin, in bytes.
    lines: Vec<usize>,
}

impl<'t> Source<'t> {
    fn new(path: &Path, text: &'t str) -> Source<'t> {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = [0].into_iter().chain(newlines.map(|(at, _)| at + 1)).collect();
        Source { file: path.display().to_string().into(), text, lines }
    }

    /// Where this byte is.
    fn place(&self, at: usize) -> Place {
        let at = self.text.floor_char_boundary(at);
        let line = self.lines.partition_point(|start| *start <= at);
        let before = &self.text[self.lines[line - 1]..at];
        let column = 1 + before.trim_start_matches('\u{feff}').chars().count();
        Place { file: Rc::clone(&self.file), line, column }
    }
}

/// Whether this is what `[[site.route]]` before all sites leads to: a table that has routes and nothing else.
fn is_of_routes(site: &DeValue<'_>) -> bool {
    let is_route = |(key, routes): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        key.get_ref() == ROUTE && matches!(routes.get_ref(), DeValue::Array(_))
    };
    matches!(site, DeValue::Table(table) if !table.is_empty() && table.iter().all(is_route))
}

struct Reader<'t> {
    source: Source<'t>,
    /// Relative paths begin here.
    folder: &'t Path,
    server: Keys,
    site: Keys,
    route: Keys,
}

/// What a table may say.
struct Keys {
    command: Command,
    /// The command for one setting alone: variables were read before, and what the command itself needs is no matter of the
    /// file.
    alone: Command,
}

impl Keys {
    fn new(mut command: Command) -> Keys {
        command.build();
        let alone = command.clone().mut_args(|argument| argument.env(None::<&str>).required(false));
        Keys { command, alone }
    }
}

/// What is wrong, and at which byte.
type Problem = (usize, String);

type Pair<'r, 't> = (&'r Spanned<DeString<'t>>, &'r Spanned<DeValue<'t>>);

/// The pairs in the order of the file.
fn in_order<'r, 't>(table: &'r DeTable<'t>) -> Vec<Pair<'r, 't>> {
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    pairs
}

impl Reader<'_> {
    fn read(&self) -> Result<ConfigFile, Vec<String>> {
        let (table, errors) = DeTable::parse_recoverable(self.source.text);
        if !errors.is_empty() {
            return Err(self.syntax_errors(&errors, table.get_ref()));
        }
        let (mut file, mut problems) = (ConfigFile::default(), Vec::new());
        for (key, value) in in_order(table.get_ref()) {
            if key.get_ref() == SITE {
                for (place, table) in self.tables(key, value, &mut problems) {
                    file.sites.push(self.site(place, table, &mut problems));
                }
            } else {
                file.entries
                    .extend(self.entry(&self.server, key, value).map_err(|problem| problems.push(problem)).ok());
            }
        }
        // A table may stand before a key of another one that has more to it.
        problems.sort();
        file.is_empty = table.get_ref().is_empty();
        let line = |(at, problem): (usize, String)| format!("{}: {}", self.source.place(at), legible(&problem));
        if problems.is_empty() { Ok(file) } else { Err(problems.into_iter().map(line).collect()) }
    }

    /// A table that may stand several times, each with where it begins.
    fn tables<'r, 't>(
        &self,
        key: &Spanned<DeString<'t>>,
        value: &'r Spanned<DeValue<'t>>,
        problems: &mut Vec<Problem>,
    ) -> Vec<(usize, &'r DeTable<'t>)> {
        let DeValue::Array(values) = value.get_ref() else {
            if key.get_ref() == SITE && is_of_routes(value.get_ref()) {
                problems.push((key.span().start, ROUTE_FIRST.into()));
                return Vec::new();
            }
            let name = if key.get_ref() == SITE { SITE.to_owned() } else { format!("{SITE}.{ROUTE}") };
            problems.push((key.span().start, format!("'{}' is written with two brackets: [[{name}]]", key.get_ref())));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for value in values.iter() {
            match value.get_ref() {
                DeValue::Table(table) => tables.push((value.span().start, table)),
                _ => problems.push((value.span().start, format!("'{}' is a list of tables", key.get_ref()))),
            }
        }
        tables
    }

    fn site(&self, at: usize, table: &DeTable<'_>, problems: &mut Vec<Problem>) -> SiteTable {
        let mut site = SiteTable { entries: Vec::new(), routes: Vec::new(), place: self.source.place(at) };
        for (key, value) in in_order(table) {
            if key.get_ref() == ROUTE {
                for (at, table) in self.tables(key, value, problems) {
                    let entry = |(key, value)| {
                        self.entry(&self.route, key, value).map_err(|problem| problems.push(problem)).ok()
                    };
                    let entries = in_order(table).into_iter().filter_map(entry).collect();
                    site.routes.push(RouteTable { entries, place: self.source.place(at) });
                }
            } else {
                site.entries.extend(self.entry(&self.site, key, value).map_err(|problem| problems.push(problem)).ok());
            }
        }
        site
    }

    /// The part of the text that an error is about.
    fn spanned(&self, error: &toml::de::Error) -> &str {
        error.span().and_then(|span| self.source.text.get(span)).unwrap_or_default()
    }

    /// What the parser says, and more where its words are too few.
    fn syntax_error(&self, error: &toml::de::Error) -> String {
        let name = self.spanned(error);
        match (error.message(), name) {
            ("duplicate key", SITE | ROUTE) => format!(
                "'{name}' is there already in another form: sites are written [[site]], and behind each its routes, [[site.route]]"
            ),
            ("duplicate key", _) => format!("'{name}' is there already"),
            (message, _) => message.replace('\n', ", "),
        }
    }

    /// The first error of each line. The parser goes on behind an error, and finds others there that are none.
    /// The `table` is what it has found.
    fn syntax_errors(&self, errors: &[toml::de::Error], table: &DeTable<'_>) -> Vec<String> {
        let place =
            |error: &toml::de::Error| self.source.place(error.span().map_or(self.source.text.len(), |span| span.start));
        let first_route = table.iter().find(|(key, site)| key.get_ref() == SITE && is_of_routes(site.get_ref()));
        // Each site behind such a route is there already for the parser, which is no error of the site.
        let is_site_again = |error: &toml::de::Error| error.message() == "duplicate key" && self.spanned(error) == SITE;
        let own = errors.iter().filter(|error| first_route.is_none() || !is_site_again(error));
        let mut errors: Vec<_> = own.map(|error| (place(error), self.syntax_error(error))).collect();
        errors.extend(first_route.map(|(key, _)| (self.source.place(key.span().start), ROUTE_FIRST.into())));
        errors.sort_by_key(|(place, _)| (place.line, place.column));
        errors.dedup_by_key(|(place, _)| place.line);
        errors.iter().map(|(place, problem)| format!("{place}: {}", legible(problem))).collect()
    }

    /// One setting. What is wrong comes with where: at the key or at the value.
    fn entry(&self, keys: &Keys, key: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) -> Result<Entry, Problem> {
        let name = key.get_ref();
        let argument = self.argument(keys, name).map_err(|problem| (key.span().start, problem))?;
        let wrong_type = |(at, problem)| (at, format!("'{name}' {problem}"));
        let mut words = Vec::new();
        for (at, word) in value::words(argument, value, self.folder).map_err(wrong_type)? {
            keys.check(argument, &word).map_err(|problem| (at, problem))?;
            words.push(word);
        }
        let place = self.source.place(key.span().start);
        Ok(Entry { id: argument.get_id().to_string(), words, place })
    }

    /// The argument that a key with this `name` means.
    fn argument<'k>(&self, keys: &'k Keys, name: &str) -> Result<&'k Arg, String> {
        keys.find(name).ok_or_else(|| {
            if name == ID {
                return "a configuration file cannot name another one".into();
            }
            if name == ROUTE {
                return "'route' stands in a site: [[site.route]]".into();
            }
            let elsewhere = |(names, hint): &(&[&str], &'static str)| names.contains(&name).then_some(*hint);
            let in_site = !std::ptr::eq(keys, &self.server);
            if let Some(place) = self.place_elsewhere(keys, name) {
                return format!("there is no setting '{name}' here: it stands {place}");
            }
            match (name_here(&format!("--{name}")), NAMES_ELSEWHERE.iter().find_map(elsewhere)) {
                (Some((value::ROOT, _)), _) => {
                    return format!("there is no setting '{name}'; the folder to serve is 'root'");
                }
                (Some(_), hint) if hint.is_none() || !in_site => {
                    let place = if in_site { ", in a [[site]] or at the top of the file" } else { "" };
                    return format!("there is no setting '{name}'; where to listen is 'listen'{place}");
                }
                (_, Some(hint)) => return format!("there is no setting '{name}'; {hint}"),
                _ => {}
            }
            let others = keys.command.get_arguments().filter(|argument| argument.get_id() != ID).filter_map(key);
            match nearest_name(name, others) {
                Some(near) => format!("there is no setting '{name}'; '{near}' is one"),
                None => format!("there is no setting '{name}'"),
            }
        })
    }

    /// Where a setting stands that does not belong among these `keys`, if there is one with this name.
    fn place_elsewhere(&self, keys: &Keys, name: &str) -> Option<&'static str> {
        let is_among = |other: &Keys| !std::ptr::eq(keys, other) && other.find(name).is_some();
        match (is_among(&self.server), is_among(&self.site), is_among(&self.route)) {
            (_, true, true) => Some("in a [[site]] or in a [[site.route]]"),
            (_, true, false) => Some("in a [[site]]"),
            (_, false, true) => Some("in a [[site.route]]"),
            (true, ..) => Some("at the top of the file, before all sites"),
            (false, ..) => None,
        }
    }
}

impl Keys {
    fn find(&self, name: &str) -> Option<&Arg> {
        let is_meant = |argument: &&Arg| argument.get_id() != ID && key(argument).as_deref() == Some(name);
        self.command.get_arguments().find(is_meant)
    }

    /// Whether the argument takes this word.
    fn check(&self, argument: &Arg, word: &OsString) -> Result<(), String> {
        self.alone.clone().try_get_matches_from([&OsString::new(), word]).map(|_| ()).map_err(|error| {
            let key = key(argument).unwrap_or_default();
            condense(&error.render().to_string(), true).replace(&argument.to_string(), &key)
        })
    }
}

#[cfg(test)]
mod tests;
