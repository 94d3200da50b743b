//! `tidemill generate`: manual pages, completions for shells, and the reference of all settings. They come from the table that
//! reads the command line, so they say what the server does.

mod manual;
mod markdown;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser, ValueEnum};
use clap_complete::Generator;
use clap_complete::aot::{Bash, Fish, Zsh};

use super::settings::Settings;
use super::usage::{self, Refusal};
use super::{COMMANDS, EXIT_FAILURE, complain};

/// The word that asks for it.
pub const NAME: &str = "generate";

/// Writes what is made from the table of all settings.
#[derive(Debug, Parser)]
#[command(
    name = "tidemill generate",
    about = "Write manual pages, completions for shells, or the reference of all settings",
    override_usage = "tidemill generate <WHAT> [DIR]",
    after_help = "Without DIR it goes to standard output: of the manual pages that is tidemill(1) alone."
)]
struct Order {
    /// What to write
    #[arg(value_name = "WHAT")]
    what: What,

    /// Directory for the files, under their usual names: tidemill.1 and the pages of the commands, tidemill.bash, _tidemill,
    /// tidemill.fish, settings.md
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Manual pages
    Man,
    /// The reference of all settings, in Markdown
    Markdown,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

/// Writes what the `arguments`, the first of them being [`NAME`], ask for.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let program = [OsString::from("tidemill generate")];
    let arguments: Vec<OsString> = program.iter().chain(arguments.iter().skip(1)).cloned().collect();
    let order = match usage::read(&arguments, |_: &mut Order, _| Ok(())) {
        Ok(order) => order,
        Err(refusal) => return refusal.report(),
    };
    let Some(directory) = order.directory else {
        let first = order.what.files().into_iter().next();
        return Refusal::Answer(first.map(|(_, text)| text).unwrap_or_default()).report();
    };
    match write(&order.what.files(), &directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err((file, error)) => {
            complain(&format!("cannot write {}: {}", file.display(), super::cause(&error)));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// The command of this module.
pub fn command() -> Command {
    Order::command()
}

/// A file's name and its text.
type Named = (String, String);

impl What {
    /// What is to be written. The first file is what standard output gets.
    fn files(self) -> Vec<Named> {
        match self {
            What::Man => manual::pages(&whole()),
            What::Markdown => vec![("settings.md".into(), markdown::reference(&whole()))],
            What::Bash => vec![completions(Bash)],
            What::Zsh => vec![completions(Zsh)],
            What::Fish => vec![completions(Fish)],
        }
    }
}

fn write(files: &[Named], directory: &Path) -> Result<(), (PathBuf, io::Error)> {
    files.iter().try_for_each(|(name, text)| {
        let file = directory.join(name);
        fs::write(&file, text).map_err(|error| (file, error))
    })
}

/// The server's settings, and beneath them all commands.
fn whole() -> Command {
    let commands = COMMANDS.iter().map(|(name, command, _)| command().name(*name));
    let mut whole = Settings::command().disable_help_subcommand(true).subcommands(commands);
    whole = whole.subcommand_help_heading("COMMANDS");
    whole.build();
    whole
}

fn completions(shell: impl Generator) -> Named {
    let mut text = Vec::new();
    let name = shell.file_name("tidemill");
    clap_complete::generate(shell, &mut whole(), "tidemill", &mut text);
    (name, String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{config_file, site_settings};

    fn text(what: What) -> String {
        what.files().into_iter().next().unwrap().1
    }

    #[test]
    fn everything_is_in_all_of_them() {
        let whole = whole();
        let longs = |command: &Command| {
            let longs = command.get_arguments().filter_map(clap::Arg::get_long).filter(|long| *long != "help");
            longs.map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(longs(&whole).len() > 80);
        let commands: Vec<_> = whole.get_subcommands().collect();
        assert_eq!(commands.len(), COMMANDS.len());
        let manual = What::Man.files();
        for what in [What::Markdown, What::Bash, What::Zsh, What::Fish] {
            let text = text(what);
            for long in commands.iter().copied().chain([&whole]).flat_map(longs) {
                assert!(text.contains(&long) || (what, &*long) == (What::Markdown, "version"), "{what:?}: --{long}");
            }
            for command in &commands {
                assert!(text.contains(command.get_name()), "{what:?}: {}", command.get_name());
            }
        }
        // What has no flag stands in the pages that have room for it.
        let (site, route) = (site_settings::site_keys(), site_settings::route_keys());
        for key in site.get_arguments().chain(route.get_arguments()).filter_map(config_file::key) {
            assert!(text(What::Markdown).contains(&format!("`{key}`")), "markdown: {key}");
            assert!(manual[0].1.replace("\\-", "-").contains(&key), "man: {key}");
        }
        let unescaped = |page: usize| manual[page].1.replace("\\-", "-");
        longs(&whole).iter().for_each(|long| assert!(unescaped(0).contains(&format!("--{long}")), "man: --{long}"));
        for (page, command) in (1..).zip(&commands) {
            assert_eq!(manual[page].0, format!("tidemill-{}.1", command.get_name()));
            assert!(unescaped(0).contains(&format!("tidemill-{}(1)", command.get_name())));
        }
        assert_eq!(manual.len(), 1 + commands.len());
    }

    #[test]
    fn docs_say_what_the_table_says() {
        let docs = include_str!("../../docs/configuration.md");
        let reference = text(What::Markdown);
        let way = "sed -i '/^## All settings/,$d' docs/configuration.md; \
                   cargo run -- generate markdown >> docs/configuration.md";
        let is_there = docs.strip_suffix(&reference).is_some_and(|before| before.ends_with("\n\n"));
        assert!(is_there, "docs/configuration.md is out of date; this makes it anew:\n{way}");
    }
}
