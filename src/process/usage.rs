//! What a user is told if the server does not start: help, the version, or in one line what is wrong.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

/// A command line that does not lead to a running server.
#[derive(Debug)]
pub enum Refusal {
    /// The text that was asked for, for stdout; exit code 0.
    Answer(String),
    /// What is wrong, in one line for stderr; exit code 2.
    Usage(String),
}

impl Refusal {
    /// A usage error. Control characters, which a value may have brought, are made visible.
    pub fn usage(line: String) -> Refusal {
        Refusal::Usage(line.chars().flat_map(visible).collect())
    }

    /// Condenses clap's page about an error to one line, and names the environment variable that a wrong value came
    /// from.
    pub fn from_clap(error: &clap::Error, mut command: Command, arguments: &[OsString]) -> Refusal {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Refusal::Answer(error.render().to_string());
        }
        // An argument that has not been built cannot be printed.
        command.build();
        let mut line = condense(&error.render().to_string());
        if let Some(variable) = wrong_variable(error, &command, arguments) {
            line.push_str(&format!(" (set by {variable})"));
        }
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
                super::complain(line);
                ExitCode::from(super::EXIT_USAGE)
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Refusal::Answer(text) | Refusal::Usage(text)) = self;
        f.write_str(text)
    }
}

/// The first line is the error. Tips follow, of which a name that was nearly right is worth repeating, and then usage,
/// which `--help` is for.
fn condense(page: &str) -> String {
    let lines = page.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut lines = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let mut condensed = lines.next().unwrap_or_default().trim_start_matches("error: ").to_string();
    for line in lines {
        match line.strip_prefix("tip: ") {
            Some(tip) if tip.contains("similar") => condensed.push_str(&format!(" ({tip})")),
            Some(_) => (),
            None => condensed.push_str(&format!(" {line}")),
        }
    }
    condensed
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
        assert_eq!(condense(page), "unexpected argument '--x' found (a similar argument exists: '--xy')");
        assert_eq!(condense(""), "");
    }

    #[test]
    fn control_characters_are_shown_not_sent() {
        let refusal = Refusal::usage("invalid value 'a\nb\u{1b}[31m'".into());
        assert_eq!(refusal.to_string(), "invalid value 'a\\nb\\u{1b}[31m'");
    }
}
