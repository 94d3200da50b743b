//! A value of the file as words of a command line, and the other way round.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::builder::ValueParser;
use clap::{Arg, ArgAction};
use toml::Spanned;
use toml::de::DeValue;

use crate::process::settings::switch;
use crate::process::site_settings::SITES;

/// The id, and the key, of the one setting that is no flag.
pub const ROOT: &str = "root";

/// Flags that have several values in one, with commas between them.
const LISTS_IN_ONE: [&str; 1] = ["cors"];
/// Flags with or without a value that is a path, which their type does not show.
const CHOSEN_PATHS: [&str; 2] = ["access_log", "tls_self_signed"];
/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";

/// A word of a command line, and where in the file it comes from.
pub type Word = (usize, OsString);

/// What a setting's value is in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Switch,
    /// A switch that is on or off, whatever its default.
    Boolean,
    /// A flag that may stand alone: true, false or a value.
    SwitchOrText,
    Number,
    /// A number of bytes, or a text with a unit.
    NumberOrText,
    Text,
}

/// The key of an argument: the name of its flag; `None` for what is no setting.
pub fn key(argument: &Arg) -> Option<String> {
    let is_setting = !matches!(argument.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::Version);
    let name = argument.get_long().or((argument.get_id() == ROOT).then_some(ROOT));
    let is_in_files = argument.get_env().is_some() || argument.get_help_heading() == Some(SITES);
    name.filter(|_| is_setting && is_in_files).map(String::from)
}

/// What says the same on a command line as `raw`, which another one has said; `None` if that is a word for false.
pub fn word_of(argument: &Arg, raw: &OsStr) -> Option<OsString> {
    match kind(argument) {
        Kind::Switch => (switch(&raw.to_string_lossy()) == Ok(true)).then(|| flag(argument)),
        _ => Some(word(argument, raw.to_owned())),
    }
}

fn kind(argument: &Arg) -> Kind {
    let value_name = argument.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    let may_stand_alone = argument.get_num_args().is_some_and(|range| range.min_values() == 0);
    match (argument.get_action(), value_name) {
        (ArgAction::SetTrue, _) => Kind::Switch,
        (_, "BOOL") => Kind::Boolean,
        _ if may_stand_alone => Kind::SwitchOrText,
        (_, "N") => Kind::Number,
        (_, "SIZE" | "ADDR") => Kind::NumberOrText,
        _ => Kind::Text,
    }
}

/// Whether there may be several values.
fn is_list(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append) || LISTS_IN_ONE.contains(&argument.get_id().as_str())
}

/// What says the same on a command line, a word for each value, with where that stands. Relative paths begin in `folder`.
///
/// # Errors
/// Where it has the wrong type, and what would be right.
pub fn words(argument: &Arg, value: &Spanned<DeValue<'_>>, folder: &Path) -> Result<Vec<Word>, (usize, String)> {
    let kind = kind(argument);
    let one = |value: &Spanned<DeValue<'_>>| {
        let at = value.span().start;
        match text(kind, value.get_ref()) {
            Some(text) => Ok((at, at_home(argument, text, folder))),
            None => Err((at, format!("is {}: expected {}", TypeOf(value.get_ref()), Expected(argument)))),
        }
    };
    let mut texts = match value.get_ref() {
        DeValue::Array(values) if is_list(argument) => values.iter().map(one).collect::<Result<Vec<_>, _>>()?,
        _ => vec![one(value)?],
    };
    if kind == Kind::Switch {
        texts.retain(|(_, text)| text == "true");
        return Ok(texts.into_iter().map(|(at, _)| (at, flag(argument))).collect());
    }
    if LISTS_IN_ONE.contains(&argument.get_id().as_str()) && !texts.is_empty() {
        let all: Vec<_> = texts.iter().map(|(_, text)| text.as_os_str()).collect();
        texts = vec![(value.span().start, all.join(OsStr::new(",")))];
    }
    Ok(texts.into_iter().map(|(at, text)| (at, word(argument, text))).collect())
}

fn flag(argument: &Arg) -> OsString {
    format!("--{}", argument.get_long().unwrap_or_default()).into()
}

fn word(argument: &Arg, text: OsString) -> OsString {
    if argument.get_id() == ROOT {
        return text;
    }
    let mut word = flag(argument);
    word.push("=");
    word.push(text);
    word
}

/// A setting as a line of a file says it, with where it comes from. `words` are those of a command line.
pub fn line(argument: &Arg, words: &[OsString], origin: &str) -> String {
    let key = key(argument).unwrap_or_default();
    let beginning = [flag(argument).as_bytes(), b"="].concat();
    let text = |word: &OsString| match kind(argument) {
        Kind::Switch => OsString::from("true"),
        _ => OsStr::from_bytes(word.as_bytes().strip_prefix(&beginning[..]).unwrap_or(word.as_bytes())).to_owned(),
    };
    let texts: Vec<OsString> = match (kind(argument), words) {
        (Kind::Switch, []) => vec!["false".into()],
        _ => words.iter().map(text).collect(),
    };
    format!("{key} = {}  # {origin}\n", Toml { argument, texts: &texts })
}

/// The text that stands for one value; `None` if it has the wrong type.
fn text(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    match (kind, value) {
        (Kind::Switch | Kind::Boolean | Kind::SwitchOrText, DeValue::Boolean(is_on)) => Some(is_on.to_string()),
        (Kind::SwitchOrText | Kind::NumberOrText | Kind::Text, DeValue::String(text)) => Some(text.to_string()),
        (Kind::Number | Kind::NumberOrText, DeValue::Integer(number)) => {
            // What is too large for any setting is refused with the range that is right.
            let read = i128::from_str_radix(number.as_str(), number.radix());
            Some(read.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        _ => None,
    }
}

/// The text, with a relative path in it made one from the `folder`.
fn at_home(argument: &Arg, text: String, folder: &Path) -> OsString {
    let is_path = argument.get_value_parser().type_id() == ValueParser::path_buf().type_id();
    let is_chosen = CHOSEN_PATHS.contains(&argument.get_id().as_str()) && switch(&text).is_err() && text != "-";
    if is_path || is_chosen {
        return folder.join(text).into_os_string();
    }
    match text.split_once(UNIX).filter(|_| matches!(argument.get_id().as_str(), "listen" | "admin")) {
        Some((before, path)) => {
            let mut whole = OsString::from(format!("{before}{UNIX}"));
            whole.push(folder.join(PathBuf::from(path)));
            whole
        }
        None => text.into(),
    }
}

/// What a type is called.
struct TypeOf<'v>(&'v DeValue<'v>);

impl Display for TypeOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(true) => "true",
            DeValue::Boolean(false) => "false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        })
    }
}

/// What would be right, with an example where the setting has a default.
struct Expected<'a>(&'a Arg);

impl Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let argument = self.0;
        f.write_str(match kind(argument) {
            Kind::Switch | Kind::Boolean => "true or false",
            Kind::SwitchOrText => "true, false or a string",
            Kind::Number => "a whole number",
            Kind::NumberOrText => "a whole number or a string",
            Kind::Text => "a string",
        })?;
        if is_list(argument) {
            f.write_str(", or a list of them")?;
        }
        match argument.get_default_values().first() {
            Some(default) if kind(argument) != Kind::Switch => {
                write!(f, ", such as {} = {}", key(argument).unwrap_or_default(), Toml { argument, texts: &[default] })
            }
            _ => Ok(()),
        }
    }
}

/// The texts of a setting as its value in TOML.
pub struct Toml<'a, T> {
    /// The setting.
    pub argument: &'a Arg,
    /// What a command line would say.
    pub texts: &'a [T],
}

impl<T: AsRef<OsStr>> Display for Toml<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = kind(self.argument);
        let one = |text: &T| {
            let text = text.as_ref().to_string_lossy();
            match (kind, switch(&text)) {
                (Kind::Switch | Kind::Boolean | Kind::SwitchOrText, Ok(is_on)) if text != "0" && text != "1" => {
                    is_on.to_string()
                }
                (Kind::Number, _) => text.into_owned(),
                // The escapes of JSON are escapes of TOML, too.
                _ => serde_json::Value::from(text).to_string(),
            }
        };
        match (self.texts, matches!(self.argument.get_action(), ArgAction::Append)) {
            ([text], false) => f.write_str(&one(text)),
            (texts, _) => write!(f, "[{}]", texts.iter().map(one).collect::<Vec<_>>().join(", ")),
        }
    }
}
