use std::collections::HashSet;

use clap::{CommandFactory, FromArgMatches};

use super::*;
use crate::process::settings::Settings;

fn command() -> Command {
    let mut command = Settings::command();
    command.build();
    command
}

/// Reads this text as a file.
fn parse(text: &str) -> Result<ConfigFile, Vec<String>> {
    ConfigFile::parse(text.as_bytes(), Path::new("t.toml"), Path::new("/etc/t"), &command())
}

/// The words that it means, without the program.
fn words(text: &str) -> Vec<String> {
    let words = parse(text).unwrap().complete(&["tidemill".into()], |_| false);
    words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect()
}

fn problems(text: &str) -> Vec<String> {
    parse(text).expect_err("problems")
}

#[test]
fn a_file_says_what_flags_say() {
    assert_eq!(words(""), [""; 0]);
    assert_eq!(words("backlog = 1_000\nlab = true\nhealth = false"), ["--backlog=1000", "--lab"]);
    assert_eq!(words("max-header-size = 65536\nfile-cache = '1MiB'"), ["--max-header-size=65536", "--file-cache=1MiB"]);
    assert_eq!(
        words("listen = [8080, 'https:8443']\nws-origin = '*'"),
        ["--listen=8080", "--listen=https:8443", "--ws-origin=*"]
    );
    assert_eq!(
        words("spa = true\nhsts = false\nserver-timing = 'X-T'"),
        ["--spa=true", "--hsts=false", "--server-timing=X-T"]
    );
    assert_eq!(words("cors = ['https://a', 'https://b']"), ["--cors=https://a,https://b"]);
    assert_eq!(words("backlog = 0x10"), ["--backlog=16"]);
    assert_eq!(words("index = []"), [""; 0]);
}

#[test]
fn paths_begin_in_the_folder_of_the_file() {
    assert_eq!(words("root = 'site'"), ["/etc/t/site"]);
    assert_eq!(words("root = '/srv'\nmime-types = '../types'"), ["--mime-types=/etc/t/../types", "/srv"]);
    assert_eq!(
        words("access-log = 'log'\ntls-self-signed = 'd'"),
        ["--access-log=/etc/t/log", "--tls-self-signed=/etc/t/d"]
    );
    assert_eq!(words("access-log = '-'"), ["--access-log=-"]);
    assert_eq!(words("access-log = true"), ["--access-log=true"]);
    assert_eq!(words("listen = 'unix:s'\nadmin = 'unix:/run/s'"), ["--listen=unix:/etc/t/s", "--admin=unix:/run/s"]);
    // These are names beneath ROOT.
    assert_eq!(words("index = 'a.html'\nspa = 'b.html'"), ["--index=a.html", "--spa=b.html"]);
}

#[test]
fn the_command_line_and_the_environment_win() {
    let mut file = parse("root = 'site'\nbacklog = 10\nlab = true").unwrap();
    let line = ["tidemill", "--backlog=5"].map(OsString::from);
    assert_eq!(file.complete(&line, |id| id == "backlog"), ["tidemill", "--lab", "--backlog=5", "/etc/t/site"]);
    assert_eq!((file.place_of("backlog"), file.place_of("lab").map(|place| place.line)), (None, Some(3)));
}

#[test]
fn what_is_wrong_is_said_with_where_and_what_would_be_right() {
    for (text, problem) in [
        ("backlog = 'many'", "t.toml:1:11: 'backlog' is a string: expected a whole number, such as backlog = 4096"),
        ("backlog = 0", "t.toml:1:11: invalid value '0' for 'backlog': expected a number from 1 to 65535"),
        ("\n  bakclog = 1", "t.toml:2:3: there is no setting 'bakclog'; 'backlog' is one"),
        ("max_connections = 1", "t.toml:1:1: there is no setting 'max_connections'; 'max-connections' is one"),
        ("port = 80", "t.toml:1:1: there is no setting 'port'; where to listen is 'listen'"),
        ("dir = '.'", "t.toml:1:1: there is no setting 'dir'; the folder to serve is 'root'"),
        ("colour = 1", "t.toml:1:1: there is no setting 'colour'"),
        ("config = 'a'", "t.toml:1:1: a configuration file cannot name another one"),
        ("help = true", "t.toml:1:1: there is no setting 'help'"),
        ("lab = 'yes'", "t.toml:1:7: 'lab' is a string: expected true or false"),
        ("root = ['a']", "t.toml:1:8: 'root' is a list: expected a string"),
        (
            "listen = [8080, true]",
            "t.toml:1:17: 'listen' is true: expected a whole number or a string, or a list of them",
        ),
        (
            "header-timeout = 10",
            "t.toml:1:18: 'header-timeout' is a whole number: expected a string, such as header-timeout = \"10s\"",
        ),
    ] {
        assert_eq!(problems(text), [problem], "{text}");
    }
    assert_eq!(problems("a = 1\nb = 1\nc = 1").len(), 3);
    assert!(
        problems("backlog = 1\nbacklog = 2")[0].starts_with("t.toml:2:1: "),
        "{:?}",
        problems("backlog = 1\nbacklog = 2")
    );
    assert!(problems("backlog = ")[0].starts_with("t.toml:1:11: "), "{:?}", problems("backlog = "));
    let not_utf8 = ConfigFile::parse(b"lab = true\n# \xe9", Path::new("t.toml"), Path::new("/"), &command());
    assert_eq!(not_utf8.map(|_| ()), Err(vec!["t.toml:2:3: this is not UTF-8".to_owned()]));
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        problems("index = ['\u{e9}\u{1f600}', 1]"),
        [
            "t.toml:1:16: 'index' is a whole number: expected a string, or a list of them, such as index = [\"index.html\"]"
        ]
    );
    assert!(problems("\u{feff}x = 1")[0].starts_with("t.toml:1:1: "));
}

/// Values of each type of TOML.
const ALL_TYPES: [(&str, &str); 7] = [
    ("a string", "'no such value'"),
    ("a whole number", "7"),
    ("a number with a point", "1.5"),
    ("true", "true"),
    ("a date", "2026-01-31"),
    ("a list", "[[]]"),
    ("a table", "{ a = 1 }"),
];

/// Each setting takes its default from the file, and refuses each type that it cannot have, at the place of the value.
#[test]
fn every_setting_can_be_said_and_refuses_wrong_types() {
    let mut kinds = HashSet::new();
    let command = command();
    let settings = keys(&command);
    assert!(settings.len() > 80, "{}", settings.len());
    for (key, argument) in settings {
        let default: Vec<_> = argument.get_default_values().iter().collect();
        if !default.is_empty() {
            let text = format!("{key} = {}", Toml { argument, texts: &default });
            let words = words(&text);
            Settings::from_arg_matches(
                &Settings::command().get_matches_from([vec!["tidemill".to_owned()], words].concat()),
            )
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        let refused = wrong_types_refused("", &key);
        assert!(refused >= 4, "{key}");
        kinds.insert(refused);
    }
    assert!(kinds.len() > 1, "all settings have the same types: {kinds:?}");
}

/// The keys of a table that this command has, with their arguments.
fn keys(command: &Command) -> Vec<(String, &Arg)> {
    let arguments = command.get_arguments().filter(|argument| argument.get_id() != ID);
    arguments.filter_map(|argument| Some((key(argument)?, argument))).collect()
}

/// Says the `key` behind this `beginning` with a value of each type. What is refused is refused at the place of the value, with
/// its name. How many types are wrong, whatever the value.
fn wrong_types_refused(beginning: &str, key: &str) -> usize {
    let mut refused = 0;
    for (name, value) in ALL_TYPES {
        if let Err(problems) = parse(&format!("{beginning}\n{key} = {value}")) {
            let (line, at) = (beginning.matches('\n').count() + 2, key.len() + 4);
            let within = if name == "a list" { 0..=2 } else { 0..=0 };
            let is_right = |problem: &String| {
                within.clone().any(|more| problem.starts_with(&format!("t.toml:{line}:{}: ", at + more)))
            };
            assert!(problems.len() == 1 && is_right(&problems[0]), "{problems:?}");
            assert!(problems[0].contains(&format!("'{key}'")), "{problems:?}");
            refused += usize::from(problems[0].contains(" is a") || problems[0].contains(" is true: "));
        }
    }
    refused
}

/// A right value of each key of a site and of a route that is no flag.
const RIGHT: [(&str, &str); 32] = [
    ("hosts", "['a.example', '*.a.example', '[::1]']"),
    ("listen", "[8080, 'https:8443']"),
    ("tls-cert", "'a.pem'"),
    ("tls-key", "['a.key', 'b.key']"),
    ("path", "'/a/'"),
    ("methods", "['GET', 'PROPFIND']"),
    ("field", "'X-A: b'"),
    ("root", "'.'"),
    ("proxy", "['http://127.0.0.1:1 max=3', '/b/=https://b.example']"),
    ("redirect", "'https://{host}{uri}'"),
    ("status", "301"),
    ("respond", "0o771"),
    ("body", "\"two\\nlines\""),
    ("body-file", "'b.html'"),
    ("content-type", "'text/html'"),
    ("retry-after", "'2m'"),
    ("lab", "true"),
    ("admin", "false"),
    ("strip", "true"),
    ("error-pages", "'errors'"),
    ("compress", "false"),
    ("log", "false"),
    ("cors", "['https://a.example']"),
    ("body-timeout", "'5s'"),
    ("send-timeout", "'5s'"),
    ("abort-on-close", "true"),
    ("max-upload-size", "'1GiB'"),
    ("max-body-size", "4096"),
    ("index", "['a.html', 'b.html']"),
    ("spa", "true"),
    ("header", "['X-A: b', '*.css X-C: d']"),
    ("cache-control", "'hashed'"),
];

/// Each key of a site and of a route is read there, refuses each type that it cannot have, and is unknown elsewhere.
#[test]
fn every_key_of_a_site_and_of_a_route_can_be_said_and_refuses_wrong_types() {
    let (site, route) = (site_settings::site_keys(), site_settings::route_keys());
    let tables = [("[[site]]", &site, &route), ("[[site]]\n[[site.route]]", &route, &site)];
    let mut said = HashSet::new();
    for (beginning, command, other) in tables {
        let keys = keys(command);
        assert!(keys.len() > 20, "{beginning}");
        for (key, argument) in &keys {
            assert!(wrong_types_refused(beginning, key) >= 4, "{key}");
            let default: Vec<_> = argument.get_default_values().iter().collect();
            let right = RIGHT.iter().find(|(name, _)| name == key).map(|(_, value)| value.to_string());
            let right = right.or_else(|| (!default.is_empty()).then(|| Toml { argument, texts: &default }.to_string()));
            let is_switch = matches!(argument.get_action(), clap::ArgAction::SetTrue);
            let right = right.or_else(|| is_switch.then(|| "true".into()));
            // What flags have as well is said by the tests of flags.
            let Some(right) = right.or_else(|| argument.get_env().map(|_| String::new())) else {
                panic!("RIGHT has nothing for '{key}'");
            };
            if !right.is_empty() {
                let file = parse(&format!("{beginning}\n{key} = {right}")).unwrap_or_else(|lines| panic!("{lines:?}"));
                let site = &file.sites()[0];
                let entries = if site.routes.is_empty() { &site.entries } else { &site.routes[0].entries };
                assert_eq!(entries[0].id, argument.get_id().as_str(), "{key} = {right}");
                said.insert(key.clone());
            }
        }
        let of_other = other.get_arguments().filter_map(super::key);
        for key in of_other.filter(|key| !keys.iter().any(|(other, _)| other == key)) {
            let lines = problems(&format!("{beginning}\n{key} = 1"));
            assert!(lines[0].contains(&format!("there is no setting '{key}' here: it stands ")), "{lines:?}");
        }
    }
    for (key, _) in RIGHT {
        assert!(said.contains(key), "there is no key '{key}' any more");
    }
}
