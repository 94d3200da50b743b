//! What a user is told if the server does not start: help, the version, or in one line what is wrong.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};

use super::config_file::{self, ConfigFile, Place, SiteTable};
use super::settings::switch;
use crate::net::listener::Address;

/// With this the variables of all settings begin.
const PREFIX: &str = "TIDEMILL_";

/// The longest quotation in a message, and the longest message, in characters.
const QUOTED_CHARS_MAX: usize = 80;
const MESSAGE_CHARS_MAX: usize = 1000;

/// What other servers call their flags, and what serves the purpose here: the argument's id, and an example.
const NAMES_ELSEWHERE: [(&[&str], &str, &str); 2] = [
    (&["--port", "-p", "--host", "--bind", "--address", "-a"], "listen", "--listen 8080"),
    (&["--root", "--dir", "--directory", "-d"], "root", "tidemill ./site"),
];

/// A command line that does not lead to a running server.
#[derive(Debug)]
pub enum Refusal {
    /// The text that was asked for, for stdout; exit code 0.
    Answer(String),
    /// What is wrong, in one line for stderr; exit code 2.
    Usage(String),
    /// What is wrong with the configuration file, in a line each for stderr; exit code 2.
    File(Vec<String>),
}

/// Something wrong with a value that only shows when all settings are known.
#[derive(Debug)]
pub struct Objection {
    id: String,
    /// `None` if it is not the value that is wrong.
    value: Option<String>,
    problem: String,
    /// What is wrong with the sites of a configuration file, a line each. The rest says nothing, then.
    of_sites: Vec<String>,
}

impl Objection {
    /// About the `value` of the argument with this `id`.
    pub fn new(id: &str, value: impl fmt::Display, problem: impl Into<String>) -> Objection {
        Objection { id: id.into(), value: Some(value.to_string()), problem: problem.into(), of_sites: Vec::new() }
    }

    /// About the argument with this `id`, whatever its value.
    pub fn to_argument(id: &str, problem: impl Into<String>) -> Objection {
        Objection { id: id.into(), value: None, problem: problem.into(), of_sites: Vec::new() }
    }

    /// About sites, in whole lines.
    pub fn to_sites(lines: Vec<String>) -> Objection {
        Objection { id: String::new(), value: None, problem: String::new(), of_sites: lines }
    }

    /// The id of the argument that it is about.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The value that is wrong, if it is one.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// What to tell the user if the file says it at this `place`, under this `key`; without a key, the table there is wrong.
    pub fn line(&self, place: &Place, key: &str) -> String {
        let problem = match &self.value {
            Some(value) => format!("invalid value '{value}' for '{key}': {}", self.problem),
            None if key.is_empty() => self.problem.clone(),
            None => format!("'{key}' {}", self.problem),
        };
        format!("{place}: {}", legible(&problem))
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => f.write_str(&legible(&format!("invalid value '{value}': {}", self.problem))),
            None => f.write_str(&legible(&self.problem)),
        }
    }
}

/// Reads a command line, its first word being the program, the environment, and the configuration file that one of them names.
/// `check` says what no single value shows.
///
/// # Errors
/// What to tell the user instead of going on: help, the version, or what is wrong.
pub fn read<T: CommandFactory + FromArgMatches>(
    arguments: &[OsString],
    check: impl FnOnce(&mut T, &Given<'_>) -> Result<(), Objection>,
) -> Result<T, Refusal> {
    let mut command = T::command();
    let refuse = |error: &clap::Error| Refusal::from_clap(error, T::command(), arguments);
    let mut matches = command.try_get_matches_from_mut(arguments).map_err(|error| refuse(&error))?;
    let mut file = ConfigFile::default();
    if let Ok(Some(path)) = matches.try_get_one::<PathBuf>(config_file::ID) {
        file = ConfigFile::read(path, &command).map_err(Refusal::File)?;
        let is_given = |id: &str| is_given(&matches, id);
        let completed = command.try_get_matches_from_mut(file.complete(arguments, is_given));
        matches = completed.map_err(|error| file.refusal(&error, &command).unwrap_or_else(|| refuse(&error)))?;
    }
    let mut settings = T::from_arg_matches(&matches).map_err(|error| refuse(&error))?;
    let given = Given { command: &command, matches: &matches, words: arguments, file: &file };
    check(&mut settings, &given).map_err(|objection| given.refusal(&objection))?;
    Ok(settings)
}

/// Whether the command line, the environment or, once it was read, the configuration file says something.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    !matches!(matches.value_source(id), None | Some(ValueSource::DefaultValue))
}

/// Where a value was given.
enum ValueOrigin<'a> {
    CommandLine,
    Variable(&'a OsStr),
    File(&'a Place),
}

impl fmt::Display for ValueOrigin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueOrigin::CommandLine => f.write_str("command line"),
            ValueOrigin::Variable(name) => name.display().fmt(f),
            ValueOrigin::File(place) => place.fmt(f),
        }
    }
}

/// Which settings were given, and where.
pub struct Given<'a> {
    command: &'a Command,
    matches: &'a ArgMatches,
    words: &'a [OsString],
    file: &'a ConfigFile,
}

impl<'a> Given<'a> {
    /// The arguments that the user gave a value other than a word for false, in the order of the help.
    pub fn arguments(&self) -> impl Iterator<Item = &Arg> {
        self.command.get_arguments().filter(|argument| self.has(argument.get_id().as_str()))
    }

    /// Where the value in force comes from; `None`: nobody has said anything.
    fn source_of(&self, argument: &'a Arg) -> Option<ValueOrigin<'a>> {
        let id = argument.get_id().as_str();
        if let Some(place) = self.file.place_of(id) {
            return Some(ValueOrigin::File(place));
        }
        match self.matches.value_source(id)? {
            ValueSource::CommandLine => Some(ValueOrigin::CommandLine),
            ValueSource::EnvVariable => Some(ValueOrigin::Variable(argument.get_env()?)),
            _ => None,
        }
    }

    /// Whether there is a configuration file that says nothing.
    pub fn has_empty_file(&self) -> bool {
        self.file.is_empty()
    }

    /// The sites that the file says.
    pub fn sites(&self) -> &'a [SiteTable] {
        self.file.sites()
    }

    /// Where the file says the argument with this id, if that is in force.
    pub fn place_of(&self, id: &str) -> Option<&'a Place> {
        self.file.place_of(id)
    }

    /// The words that say what is in force for the argument with this id, and where they come from; `None`: its default is.
    pub fn words_of(&self, id: &str) -> Option<(Vec<OsString>, String)> {
        let argument = self.command.get_arguments().find(|argument| argument.get_id() == id)?;
        let origin = self.source_of(argument)?;
        let raw = self.matches.get_raw(id)?;
        Some((raw.filter_map(|raw| config_file::word_of(argument, raw)).collect(), origin.to_string()))
    }

    /// All settings in force, as a configuration file that says where each comes from.
    pub fn in_force(&self) -> String {
        let mut parts: Vec<(&str, String)> = Vec::new();
        for argument in self.command.get_arguments().filter(|argument| argument.get_id() != config_file::ID) {
            let Some(key) = config_file::key(argument) else { continue };
            let Some(raw) = self.matches.get_raw(argument.get_id().as_str()) else { continue };
            let value = config_file::Toml { argument, texts: &raw.collect::<Vec<_>>() };
            let line = match self.source_of(argument) {
                Some(origin) => format!("{key} = {value}  # {origin}\n"),
                None => format!("{key} = {value}  # default\n"),
            };
            let heading = argument.get_help_heading().unwrap_or("General");
            match parts.iter_mut().find(|(other, _)| *other == heading) {
                Some((_, lines)) => lines.push_str(&line),
                None => parts.push((heading, line)),
            }
        }
        parts.iter().map(|(heading, lines)| format!("# {heading}\n{lines}")).collect::<Vec<_>>().join("\n")
    }

    /// Whether the user gave the argument with this id a value other than a word for false.
    pub fn has(&self, id: &str) -> bool {
        let is_off = |word: &OsStr| word.to_str().is_some_and(|word| switch(word) == Ok(false));
        is_given(self.matches, id) && !self.matches.get_raw(id).is_some_and(|mut words| words.all(is_off))
    }

    /// Whether the `word`, which was taken for ROOT, stands where it may be meant for a flag's value.
    pub fn may_be_value(&self, word: &OsStr) -> bool {
        detached_value(self.command, self.words, |other| other == word).is_some()
    }

    /// A line for each of the `variables` whose names begin like ours and are unknown.
    pub fn unknown_variables(&self, variables: impl Iterator<Item = OsString>) -> Vec<String> {
        let is_known = |name: &OsStr| self.command.get_arguments().any(|argument| argument.get_env() == Some(name));
        let ours = variables.filter(|name| name.to_string_lossy().starts_with(PREFIX));
        let mut unknown: Vec<_> = ours.filter(|name| !is_known(name)).collect();
        unknown.sort();
        let line = |name: OsString| {
            let name = legible(&name.to_string_lossy());
            match nearest_variable(&name, self.command) {
                Some(nearest) => format!("{name} has no effect: there is no such setting; {nearest} is one"),
                None => format!("{name} has no effect: there is no such setting"),
            }
        };
        unknown.into_iter().map(line).collect()
    }

    fn refusal(&self, objection: &Objection) -> Refusal {
        let Objection { id, value, problem, of_sites } = objection;
        if !of_sites.is_empty() {
            return Refusal::File(of_sites.clone());
        }
        let argument = self.command.get_arguments().find(|argument| argument.get_id() == id.as_str());
        if let Some((key, place)) = argument.and_then(config_file::key).zip(self.file.place_of(id)) {
            return Refusal::File(vec![objection.line(place, &key)]);
        }
        let name = argument.map(Arg::to_string).unwrap_or_default();
        let mut line = match value {
            Some(value) => format!("invalid value '{value}' for '{name}': {problem}"),
            None => format!("'{name}' {problem}"),
        };
        if self.matches.value_source(id) == Some(ValueSource::EnvVariable)
            && let Some(variable) = argument.and_then(Arg::get_env)
        {
            line.push_str(&format!(" (set by {})", variable.display()));
        }
        if let (Some(value), "root") = (value, id.as_str())
            && let Some(hint) = detached_value(self.command, self.words, |word| word.display().to_string() == *value)
        {
            line.push_str(&hint);
        }
        if let (Some(value), "root") = (value, id.as_str())
            && value.parse::<Address>().is_ok()
        {
            line.push_str(&format!(" (to listen there: --listen {value})"));
        }
        Refusal::usage(line)
    }
}

impl Refusal {
    /// A usage error. Control characters, which a value may have brought, are made visible.
    pub fn usage(line: String) -> Refusal {
        Refusal::Usage(legible(&line))
    }

    /// Condenses clap's page about an error to one line, and adds what it does not know: the environment variable that a
    /// wrong value came from, what a flag is called here, and that a value is missing its `=`.
    fn from_clap(error: &clap::Error, mut command: Command, arguments: &[OsString]) -> Refusal {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Refusal::Answer(error.render().to_string());
        }
        // An argument that has not been built cannot be printed.
        command.build();
        let is_misleading = match (error.get(ContextKind::InvalidArg), error.get(ContextKind::SuggestedArg)) {
            (Some(ContextValue::String(flag)), Some(ContextValue::String(similar))) => !is_near(flag, similar),
            _ => false,
        };
        let line = condense(&error.render().to_string(), is_misleading);
        let unknown = match (error.kind(), error.get(ContextKind::InvalidArg)) {
            (ErrorKind::UnknownArgument, Some(ContextValue::String(unknown))) => Some(unknown.as_str()),
            _ => None,
        };
        let line = match (unknown, unknown.and_then(name_here)) {
            (Some(unknown), Some((id, example))) => {
                let what = if id == "root" { "the folder to serve" } else { "where to listen" };
                format!("unexpected argument '{unknown}' found: {what} is said like this: {example}")
            }
            (Some(word), None) if !word.starts_with('-') => {
                let hint = detached_value(&command, arguments, |_| true);
                line + &hint.unwrap_or_default()
            }
            _ => match wrong_variable(error, &command, arguments) {
                Some(variable) => format!("{line} (set by {variable})"),
                None => line,
            },
        };
        Refusal::usage(line)
    }

    /// Says it, and returns the exit code.
    pub fn report(&self) -> ExitCode {
        match self {
            Refusal::Answer(text) => {
                match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(_) => ExitCode::from(super::EXIT_FAILURE),
                }
            }
            Refusal::Usage(line) => {
                super::complain(&format!("{line}; see --help"));
                ExitCode::from(super::EXIT_USAGE)
            }
            Refusal::File(lines) => {
                lines.iter().for_each(|line| super::complain(line));
                ExitCode::from(super::EXIT_USAGE)
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Answer(text) | Refusal::Usage(text) => f.write_str(text),
            Refusal::File(lines) => f.write_str(&lines.join("\n")),
        }
    }
}

/// The argument that serves the purpose of another server's `flag`, and an example.
pub(super) fn name_here(flag: &str) -> Option<(&'static str, &'static str)> {
    let known = NAMES_ELSEWHERE.iter().find(|(names, ..)| names.contains(&flag));
    known.map(|(_, id, example)| (*id, *example))
}

/// The variable that is probably meant by one of ours that does not exist: the one of the flag that clap suggests for a
/// flag of that name.
fn nearest_variable(variable: &str, command: &Command) -> Option<String> {
    let flag = format!("--{}", variable.strip_prefix(PREFIX)?.to_lowercase().replace('_', "-"));
    let of = |is_meant: &dyn Fn(&Arg) -> bool| {
        let argument = command.get_arguments().find(|argument| is_meant(argument))?;
        argument.get_env().map(|name| name.to_string_lossy().into_owned())
    };
    if let Some((id, _)) = name_here(&flag) {
        return of(&|argument| argument.get_id() == id);
    }
    let error = command.clone().try_get_matches_from(["tidemill", &flag]).err()?;
    let Some(ContextValue::String(similar)) = error.get(ContextKind::SuggestedArg) else { return None };
    of(&|argument| argument.get_long() == similar.strip_prefix("--") && is_near(&flag, similar))
}

/// The one of the `names` that is probably meant by a `name` that does not exist.
pub(super) fn nearest_name(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let near = names.filter(|other| is_near(name, other));
    near.min_by_key(|other| edits(name.as_bytes(), other.as_bytes()))
}

/// Whether one flag may be a misspelling of the other: at most two letters are wrong, and a third of them. clap takes for
/// similar what has many letters in common, such as `--prot` and `--report`.
fn is_near(flag: &str, other: &str) -> bool {
    let (flag, other) = (flag.trim_start_matches('-'), other.trim_start_matches('-'));
    if flag.len().abs_diff(other.len()) > 2 {
        return false;
    }
    let wrong = edits(flag.as_bytes(), other.as_bytes());
    wrong <= 2 && 3 * wrong <= flag.len()
}

/// How many bytes must be inserted, left out, replaced, or exchanged with their neighbours to make one word the other
/// (optimal string alignment).
fn edits(word: &[u8], other: &[u8]) -> usize {
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for (i, byte) in word.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, wanted) in other.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(byte != wanted);
            let mut least = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *byte == other[j - 1] && word[i - 1] == *wanted {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[word.len()][other.len()]
}

/// A hint, if a word that is `meant` stands behind a flag that takes no word as its value: a switch, or a flag whose
/// value must stand behind `=`.
fn detached_value(command: &Command, arguments: &[OsString], meant: impl Fn(&OsStr) -> bool) -> Option<String> {
    let words: Vec<&OsString> = arguments.iter().take_while(|word| *word != "--").collect();
    words.windows(2).find_map(|pair| {
        let (flag, word) = (pair[0].to_str()?, pair[1]);
        let argument = command.get_arguments().find(|argument| argument.get_long() == flag.strip_prefix("--"))?;
        let text = word.to_string_lossy();
        if text.starts_with('-') || !meant(word) || argument.get_long().is_none() {
            return None;
        }
        let is_switch = matches!(argument.get_action(), ArgAction::SetTrue);
        match (argument.is_require_equals_set(), is_switch && switch(&text).is_ok()) {
            (true, _) => Some(format!(" ({flag} takes its value behind an equals sign: {flag}={text})")),
            (_, true) => Some(format!(" ({flag} stands alone: it takes no value)")),
            _ => None,
        }
    })
}

/// The first line is the error. Tips follow, of which a name that was nearly right is worth repeating, and then usage,
/// which `--help` is for.
/// `is_misleading`: the name is left out.
pub(super) fn condense(page: &str, is_misleading: bool) -> String {
    let lines = page.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut lines = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let mut condensed = lines.next().unwrap_or_default().trim_start_matches("error: ").to_string();
    for line in lines {
        match line.strip_prefix("tip: ") {
            Some(tip) if tip.contains("similar") && !is_misleading => condensed.push_str(&format!(" ({tip})")),
            Some(_) => (),
            None => condensed.push_str(&format!(" {line}")),
        }
    }
    condensed
}

/// A message with its control characters made visible. What it quotes, and the whole of it, is cut to a length that somebody
/// reads.
pub(super) fn legible(message: &str) -> String {
    let (mut short, mut rest) = (String::new(), message);
    while let Some((before, quoted, behind)) = split_quoted(rest) {
        short.extend([before, "'", &shortened(quoted, QUOTED_CHARS_MAX), "'"]);
        rest = behind;
    }
    short.push_str(rest);
    shortened(&short, MESSAGE_CHARS_MAX).chars().flat_map(visible).collect()
}

/// What stands before the first quotation, the quotation, and what is behind it. An apostrophe within a word is none.
fn split_quoted(text: &str) -> Option<(&str, &str, &str)> {
    let is_outside = |character: Option<char>| character.is_none_or(|character| !character.is_alphanumeric());
    let marks = || text.match_indices('\'').map(|(at, _)| at);
    let begin = marks().find(|at| is_outside(text[..*at].chars().next_back()))?;
    let end = marks().find(|at| *at > begin && is_outside(text[at + 1..].chars().next()))?;
    Some((&text[..begin], &text[begin + 1..end], &text[end + 1..]))
}

/// The `text` with so many characters at most: the middle of a longer one is left out.
fn shortened(text: &str, chars_max: usize) -> Cow<'_, str> {
    // Where a character is that has this many before it.
    let at = |index| text.char_indices().nth(index).map(|(at, _)| at);
    if at(chars_max).is_none() {
        return text.into();
    }
    let tail = chars_max / 4;
    let head = at(chars_max - tail - 1).unwrap_or_default();
    let last = text.char_indices().rev().nth(tail - 1).map_or(head, |(at, _)| at);
    format!("{}…{}", &text[..head], &text[last..]).into()
}

fn visible(character: char) -> impl Iterator<Item = char> {
    let escaped = character.is_control().then(|| character.escape_default());
    let plain = escaped.is_none().then_some(character);
    escaped.into_iter().flatten().chain(plain)
}

/// The variable that the wrong value was read from: it has one, and the command line, which wins, does not name the
/// flag.
fn wrong_variable(error: &clap::Error, command: &Command, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidArg) else { return None };
    let argument = command.get_arguments().find(|argument| argument.to_string() == *wrong)?;
    let variable = argument.get_env()?;
    let is_set = std::env::var_os(variable).is_some();
    let is_on_command_line = arguments.iter().skip(1).any(|word| names(word, argument));
    (is_set && !is_on_command_line).then(|| variable.to_string_lossy().into_owned())
}

fn names(word: &OsString, argument: &Arg) -> bool {
    let word = word.to_string_lossy();
    match word.strip_prefix("--") {
        Some(rest) => argument.get_long() == rest.split('=').next(),
        None => argument.get_short().is_some_and(|short| word.starts_with(&format!("-{short}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_a_line() {
        let page = "error: unexpected argument '--x' found\n\n  tip: a similar argument exists: '--xy'\n\n\
                    Usage: tidemill [OPTIONS]\n\nFor more information, try '--help'.\n";
        assert_eq!(condense(page, false), "unexpected argument '--x' found (a similar argument exists: '--xy')");
        assert_eq!(condense(page, true), "unexpected argument '--x' found");
        assert_eq!(condense("", false), "");
    }

    #[test]
    fn a_name_is_near_if_few_letters_are_wrong() {
        for (flag, other) in
            [("--header-timeouts", "--header-timeout"), ("--lsiten", "--listen"), ("--browze", "--browse")]
        {
            assert!(is_near(flag, other), "{flag} {other}");
        }
        for (flag, other) in
            [("--prot", "--report"), ("--verbose", "--browse"), ("--daemon", "--admin"), ("--x", "--lab")]
        {
            assert!(!is_near(flag, other), "{flag} {other}");
        }
        for (word, other, n) in [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3)] {
            assert_eq!((edits(word.as_bytes(), other.as_bytes()), edits(other.as_bytes(), word.as_bytes())), (n, n));
        }
    }

    #[test]
    fn what_is_quoted_is_cut() {
        let long = "é".repeat(100_000);
        let short = format!("{}…{}", "é".repeat(59), "é".repeat(20));
        for (message, expected) in [
            (
                "invalid value 'X' for 'hosts': it's 'X', which is none",
                "invalid value 'S' for 'hosts': it's 'S', which is none",
            ),
            ("'X' is one ('X')", "'S' is one ('S')"),
            ("an open quote 'a", "an open quote 'a"),
            ("''", "''"),
        ] {
            let expected = expected.replace('S', &short);
            assert_eq!(legible(&message.replace('X', &long)), expected, "{message}");
        }
        let eighty = format!("'{}'", "a".repeat(80));
        assert_eq!(legible(&eighty), eighty);
        for long in [long, "' '".repeat(10_000), "'".repeat(10_000)] {
            let cut = legible(&long);
            assert!(cut.chars().count() <= 1000, "{}", cut.len());
        }
    }

    #[test]
    fn control_characters_are_shown_not_sent() {
        let refusal = Refusal::usage("invalid value 'a\nb\u{1b}[31m'".into());
        assert_eq!(refusal.to_string(), "invalid value 'a\\nb\\u{1b}[31m'");
    }
}
