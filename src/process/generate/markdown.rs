//! The reference of all settings, in Markdown: the end of docs/configuration.md.

use clap::{Arg, ArgAction, Command};

use super::manual::without_settings;
use crate::process::config_file;
use crate::process::site_settings;

const BEGINNING: &str = "## All settings

<!-- Made by `tidemill generate markdown` from the table in src/process: change the help there, and make this anew. -->

DURATION is a time with a unit: `500ms`, `10s`, `2m`, `1.5h`. SIZE is in bytes, or with a unit: `4096`, `64k`, `1MiB`. N is a
number. A switch is off by default. \"alone\" is what a flag means that stands without its optional value. The bounds that a
meaning names are inclusive.
";

/// All flags of the server by heading, and then those of each command.
pub(super) fn reference(whole: &Command) -> String {
    let mut text = String::from(BEGINNING);
    let mut headings: Vec<Option<&str>> = vec![None];
    for argument in whole.get_arguments() {
        if !headings.contains(&argument.get_help_heading()) {
            headings.push(argument.get_help_heading());
        }
    }
    for heading in headings {
        text.push_str(&format!("\n### {}\n\n", heading.unwrap_or("What is served, and where")));
        let of_heading = whole.get_arguments().filter(|argument| argument.get_help_heading() == heading);
        table(&mut text, of_heading);
    }
    keys(&mut text);
    for command in whole.get_subcommands() {
        let command = without_settings(command, whole);
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("\n### tidemill {}\n\n{}.\n", command.get_name(), escaped(&about)));
        if command.get_arguments().any(is_shown) {
            text.push('\n');
            table(&mut text, command.get_arguments());
        }
    }
    text
}

fn table<'a>(text: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    text.push_str("| flag | variable | default | meaning |\n|---|---|---|---|\n");
    for argument in arguments.filter(|argument| is_shown(argument)) {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let (meaning, said) = split_default(&help);
        let variable = argument.get_env().map(|name| format!("`{}`", name.display())).unwrap_or_default();
        let default = default(argument, said);
        text.push_str(&format!("| {} | {variable} | {default} | {} |\n", flag(argument), escaped(meaning)));
    }
}

/// The keys of a site and of a route: those of both, and then those of each.
fn keys(text: &mut String) {
    let (site, route) = (site_settings::site_keys(), site_settings::route_keys());
    let has =
        |command: &Command, argument: &Arg| command.get_arguments().any(|other| other.get_id() == argument.get_id());
    text.push_str(
        "\n### Sites and routes\n\nThese keys stand in a [configuration file](config-file.md) alone: see \
         [sites and routes](sites.md).\n",
    );
    let parts = [
        ("In a `[[site]]` and in a `[[site.route]]`", &site, true),
        ("In a `[[site]]`", &site, false),
        ("In a `[[site.route]]`", &route, false),
    ];
    for (heading, command, is_common) in parts {
        let is_here = |argument: &&Arg| (has(&site, argument) && has(&route, argument)) == is_common;
        text.push_str(&format!("\n#### {heading}\n\n| key | default | meaning |\n|---|---|---|\n"));
        let mut flags = Vec::new();
        for argument in command.get_arguments().filter(is_here) {
            let Some(key) = config_file::key(argument) else { continue };
            if argument.get_env().is_some() {
                flags.push(format!("`{key}`"));
                continue;
            }
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let (meaning, said) = split_default(&help);
            let is_boolean = argument.get_value_names().is_some_and(|names| names == ["BOOL"]);
            let default = match argument.get_default_values().first() {
                Some(default) if is_boolean => format!("`{}`", default.display()),
                None if is_boolean => "neither".into(),
                _ => default(argument, said),
            };
            text.push_str(&format!("| `{key}` | {default} | {} |\n", escaped(meaning)));
        }
        if !flags.is_empty() {
            text.push_str(&format!("\nAnd, as the flags of these names: {}.\n", flags.join(", ")));
        }
    }
}

/// Not what all commands have.
fn is_shown(argument: &Arg) -> bool {
    !argument.is_hide_set() && !matches!(argument.get_long(), Some("help" | "version"))
}

/// As it stands on the command line: `-l`, `--listen ADDR`.
fn flag(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default().join(" ").replace('|', "\\|");
    let value = match (takes_value(argument), is_optional(argument)) {
        (false, _) => String::new(),
        (true, true) => format!("[={names}]"),
        (true, false) => format!(" {names}"),
    };
    let short = argument.get_short().map(|short| format!("-{short}"));
    match (short, argument.get_long()) {
        (Some(short), Some(long)) => format!("`{short}`, `--{long}{value}`"),
        (Some(short), None) => format!("`{short}{value}`"),
        (None, Some(long)) => format!("`--{long}{value}`"),
        (None, None) => format!("`{names}`"),
    }
}

fn takes_value(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
}

/// Whether the flag may stand without its value.
fn is_optional(argument: &Arg) -> bool {
    argument.get_num_args().is_some_and(|range| takes_value(argument) && range.min_values() == 0)
}

/// A help may end in what the value is if there is none: `[default: as many as open files allow]`. For a flag with an
/// optional value that is what it means alone, and its name may stand there: `[HEADER: X-Request-Id]`.
fn split_default(help: &str) -> (&str, Option<&str>) {
    let split = || {
        let (meaning, said) = help.strip_suffix(']')?.rsplit_once(" [")?;
        let (name, said) = said.split_once(": ")?;
        let is_name = name == "default" || name.bytes().all(|byte| byte.is_ascii_uppercase());
        is_name.then_some((meaning, said))
    };
    split().map_or((help, None), |(meaning, said)| (meaning, Some(said)))
}

fn default(argument: &Arg, said: Option<&str>) -> String {
    let values: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    match (takes_value(argument), is_optional(argument), said) {
        (false, ..) => "off".into(),
        (true, true, None | Some("none")) => "off".into(),
        (true, true, Some(alone)) => format!("off; alone: {}", escaped(alone)),
        (true, false, _) if !values.is_empty() => format!("`{}`", values.join(",")),
        (true, false, None) if argument.is_required_set() => "must be given".into(),
        (true, false, said) => escaped(said.unwrap_or("none")),
    }
}

/// What Markdown would take for markup is text.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if matches!(character, '|' | '*' | '<' | '[' | ']') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_help_is_its_default() {
        for (help, split) in [
            ("A [default: as many]", ("A", Some("as many"))),
            ("A [HEADER: X-Y]", ("A", Some("X-Y"))),
            ("A [b: c]", ("A [b: c]", None)),
            ("A [default: x] and", ("A [default: x] and", None)),
            ("[::1]:8080", ("[::1]:8080", None)),
            ("A | [::1]", ("A | [::1]", None)),
            ("", ("", None)),
        ] {
            assert_eq!(split_default(help), split, "{help}");
        }
    }

    #[test]
    fn text_is_no_markup() {
        assert_eq!(escaped("a|b *c* <d> [e]"), "a\\|b \\*c\\* \\<d> \\[e\\]");
    }

    #[test]
    fn each_kind_of_flag_has_its_default() {
        let mut command = Command::new("x")
            .arg(Arg::new("a").long("a").action(ArgAction::SetTrue))
            .arg(Arg::new("b").long("b").value_name("B").default_value("1s"))
            .arg(Arg::new("c").long("c").value_name("C").num_args(0..=1).require_equals(true).help("C [default: d]"))
            .arg(Arg::new("d").long("d").value_name("A|B").help("D [default: what the umask leaves]"))
            .arg(Arg::new("e").value_name("E").required(true))
            .arg(Arg::new("f").short('f').value_name("F"));
        let mut text = String::new();
        command.build();
        table(&mut text, command.get_arguments());
        let rows: Vec<_> = text.lines().skip(2).collect();
        let expected = [
            "| `--a` |  | off |  |",
            "| `--b B` |  | `1s` |  |",
            "| `--c[=C]` |  | off; alone: d | C |",
            "| `--d A\\|B` |  | what the umask leaves | D |",
            "| `E` |  | must be given |  |",
            "| `-f F` |  | none |  |",
        ];
        assert_eq!(rows, expected);
    }
}
