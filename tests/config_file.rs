//! Wrong configuration files, and what the server says of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// Each file in tests/corpus/config is wrong, and ends with comments that say what `tidemill check` says of it: line, column,
/// what is wrong, and what would be right. `./` stands for the folder.
#[test]
fn wrong_files_are_refused_with_their_places() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/config");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 350, "{} files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let comments = text.lines().rev().map_while(|line| line.strip_prefix("# "));
        let mut expected: Vec<_> = comments.map(String::from).collect();
        expected.reverse();
        assert!(!expected.is_empty(), "{}: nothing is expected", file.display());
        let output = check(&[&format!("--config={}", file.display())], &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        let prefix = format!("tidemill: {}:", file.display());
        let said: Vec<_> = said
            .lines()
            .map(|line| line.replace(&prefix, "").replace(&format!("{}/", folder.display()), "./"))
            .collect();
        if (output.status.code(), &said) != (Some(2), &expected) || !output.stdout.is_empty() {
            wrong.push(format!("{}:\n  expected {expected:#?}\n  said {said:#?}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// However long a value or a key is, a message about it can be read.
#[test]
fn long_values_are_cut_in_messages() {
    let folder = Folder::with_file("long", "");
    let long = "x".repeat(100_000);
    for (number, text) in [
        format!("listen = ['{long}']"),
        format!("header-timeout = '{long}'"),
        format!("root = '/{long}'"),
        format!("'{long}' = 1"),
        format!("{long} = ["),
        format!("[[site]]\nhosts = ['{long}..']\nrespond = 200"),
        format!("[[site]]\nrespond = 200\nheader = ['{long}']"),
        format!("[[site]]\nrespond = 200\nerror-pages = '{long}'"),
        format!("[[site]]\nrespond = 200\nbasic-auth = '{long}'"),
        format!("[[site]]\n[[site.route]]\npath = '{long}'\nrespond = 200"),
        format!("[[site]]\n[[site.route]]\npath = '/'\nproxy = '{long}'"),
        format!("[[site]]\n[[site.route]]\npath = '/'\nredirect = '{{{long}}}'"),
        format!("[[site]]\nrespond = 200\ncors = '{long}'"),
        format!("[[site]]\nrespond = 200\nallow = '{long}'"),
        format!("[[site]]\nrespond = 200\nrate-limit = '{long}'"),
    ]
    .iter()
    .enumerate()
    {
        let file = folder.0.join(format!("{number}.toml"));
        fs::write(&file, text).unwrap();
        let output = check(&[&format!("--config={}", file.display())], &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_ne!(output.status.code(), Some(0), "{number}");
        assert!(!said.is_empty() && said.len() < 1100, "{number}: {} bytes, {:.600}", said.len(), said);
    }
}

/// `tidemill check` with these flags and variables, and with none of whoever runs the tests.
fn check(flags: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEMILL_")) {
        command.env_remove(name);
    }
    command.arg("check").args(flags).envs(variables.iter().copied()).output().unwrap()
}

/// What `tidemill check` prints. Its notices on stderr do not matter: of a file with all defaults some have no effect.
fn in_force(flags: &[&str], variables: &[(&str, &str)]) -> String {
    let output = check(flags, variables);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder for one test, and a configuration file in it.
struct Folder(PathBuf);

impl Folder {
    fn with_file(name: &str, text: &str) -> Folder {
        let folder = env::temp_dir().join(format!("tidemill-{}-config-{name}", std::process::id()));
        fs::create_dir_all(folder.join("site")).unwrap();
        fs::write(folder.join("t.toml"), text).unwrap();
        Folder(folder)
    }

    fn file(&self) -> String {
        self.0.join("t.toml").display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn the_command_line_comes_before_the_environment_and_that_before_the_file() {
    let text = "backlog = 1\nmax-headers = 1\nio-threads = 1\nlab = true\nroot = 'site'\n";
    let folder = Folder::with_file("precedence", text);
    let variables = [("TIDEMILL_MAX_HEADERS", "2"), ("TIDEMILL_BACKLOG", "2"), ("TIDEMILL_CONFIG", &folder.file())];
    let said = in_force(&["--backlog=3"], &variables);
    let file = folder.file();
    for line in [
        "backlog = 3  # command line",
        "max-headers = 2  # TIDEMILL_MAX_HEADERS",
        &format!("io-threads = 1  # {file}:3:1"),
        &format!("lab = true  # {file}:4:1"),
        &format!("root = \"{}\"  # {file}:5:1", folder.0.join("site").display()),
        "header-timeout = \"10s\"  # default",
    ] {
        assert!(said.lines().any(|other| other == line), "{line}\n{said}");
    }
}

/// What is printed is a file that says the same, so that a command line can be made into a file.
#[test]
fn what_is_in_force_can_be_read_again() {
    let folder = Folder::with_file("round-trip", "");
    let site = folder.0.join("site").display().to_string();
    let flags = [
        &site,
        "--listen=127.0.0.1:0,[::1]:0",
        "--header=X-A: \"b\"\\",
        "--header=*.css X-C: d",
        "--try-html",
        "--lab",
        "--server-timing=X-T",
        "--cors=https://a.example,https://b.example",
        "--max-header-size=64k",
        "--hsts=false",
        "--proxy=/a/=http://127.0.0.1:1 strip",
        "--access-log=é.log",
        "--trusted-proxy=unix,10.0.0.0/8",
    ];
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.rsplit_once("  # ").map_or(line, |(setting, _)| setting).to_owned()).collect()
    };
    let before = values(&in_force(&flags, &[]));
    fs::write(folder.file(), in_force(&flags, &[])).unwrap();
    let after = values(&in_force(&["--config", &folder.file()], &[]));
    // A relative path begins in the folder of the file now.
    let folder = format!("{}/", folder.0.display());
    assert_eq!(after.iter().map(|line| line.replace(&format!("{folder}é"), "é")).collect::<Vec<_>>(), before);
}

/// What routes have from their site stands in the site, and in the routes as comments; what they have from the top stands there alone.
#[test]
fn sites_in_force_can_be_read_again() {
    let text = r#"
cache-control = "max-age=60"
listen = ["127.0.0.1:8080", "https:127.0.0.1:8443"]

[[site]]
hosts = ["a.example", "*.A.Example."]
listen = ["https:127.0.0.1:8443"]
tls-cert = "CORPUS/ec.pem"
tls-key = "CORPUS/ec-sec1-key.pem"
root = "site"
error-pages = "pages"
header = ["X-A: \"b\"\\", "*.css X-C: d"]
log = false

[[site.route]]
path = "/api/"
methods = ["GET", "PROPFIND"]
field = ["X-Canary: yes", "Authorization"]
proxy = ["http://127.0.0.1:1,http://127.0.0.1:2 balance=least-conn", "/api/x/=http://127.0.0.1:3"]
strip = true
compress = true
log = true

[[site.route]]
path = "=/down"
respond = 503
body = "two\nlines"
content-type = "text/html"
retry-after = "2m"
cors = ["https://a.example", "https://b.example"]

[[site.route]]
path = "*.php"
redirect = "https://b.example{uri}"
status = 301

[[site]]
[[site.route]]
path = "/lab/"
lab = true
strip = true
browse = false

[[site.route]]
path = "/admin/"
admin = true
"#;
    let folder = Folder::with_file("sites-round-trip", "");
    fs::create_dir(folder.0.join("pages")).unwrap();
    fs::write(folder.0.join("pages/404.html"), "gone").unwrap();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/tls");
    fs::write(folder.file(), text.replace("CORPUS", &corpus.display().to_string())).unwrap();
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.rsplit_once("  # ").map_or(line, |(setting, _)| setting).to_owned()).collect()
    };
    let said = in_force(&["--config", &folder.file()], &[]);
    let before = values(&said);
    fs::write(folder.file(), &said).unwrap();
    let after = values(&in_force(&["--config", &folder.file()], &[]));
    assert_eq!(after, before);
    for (line, count) in [
        ("[[site]]", 2),
        ("[[site.route]]", 5),
        ("cache-control = \"max-age=60\"", 1),
        ("log = false", 1),
        ("# log = false", 2),
        ("methods = [\"GET\", \"PROPFIND\"]", 1),
        ("body = \"two\\nlines\"", 1),
        (&format!("root = \"{}\"", folder.0.join("site").display()), 1),
        ("hosts = [\"a.example\", \"*.A.Example.\"]", 1),
    ] {
        assert_eq!(before.iter().filter(|other| *other == line).count(), count, "{line}\n{said}");
    }
}

/// One realm for all routes that ask for a password, next to others that ask for none.
#[test]
fn a_realm_may_stand_where_routes_have_it_from() {
    let folder = Folder::with_file("realm", "");
    fs::write(folder.0.join("tokens"), "0123456789abcdef\n").unwrap();
    let fails = |text: &str| {
        fs::write(folder.file(), text).unwrap();
        let output = check(&["--config", &folder.file()], &[]);
        (!output.status.success()).then(|| String::from_utf8(output.stderr).unwrap())
    };
    let routes = "[[site.route]]\npath = '/a/'\nrespond = 200\nbearer-tokens = 'tokens'\n\
                  [[site.route]]\npath = '/b/'\nrespond = 200\n";
    assert_eq!(fails(&format!("realm = 'r'\n[[site]]\n{routes}")), None);
    assert_eq!(fails(&format!("[[site]]\nrealm = 'r'\n{routes}")), None);
    for text in ["realm = 'r'\n".into(), format!("[[site]]\n{routes}realm = 'r'\n")] {
        let said = fails(&text).unwrap();
        assert!(said.contains("needs --basic-auth or --bearer-tokens"), "{said}");
    }
}

/// An example in the documentation served the folder in which its users were.
#[test]
fn secrets_in_a_folder_that_is_served_are_warned_of() {
    let text = "basic-auth = 'site/users'\n[[site]]\nroot = 'site'\n[[site.route]]\npath = '/a'\nbasic-auth = 'users'\nroot = 'site'\n";
    let folder = Folder::with_file("exposed", text);
    let user = "anna:$2y$04$f0fDyDyuj7fOvO8PxTPqL.jE6oqZhlOs9T0GJxsr5tU2tM3yYW2Wy\n";
    for file in ["site/users", "users", "site/.users"] {
        fs::write(folder.0.join(file), user).unwrap();
    }
    let warned = |text: &str| {
        fs::write(folder.file(), text).unwrap();
        let output = check(&["--config", &folder.file()], &[]);
        String::from_utf8(output.stderr).unwrap().matches("lies in a folder that is served").count()
    };
    assert_eq!(warned(text), 1, "once for all routes");
    assert_eq!(warned(&text.replace("site/users", "site/.users")), 0, "hidden");
    assert_eq!(warned(&text.replace("site/users", "site/.users").replace("[[site]]", "hidden = true\n[[site]]")), 1);
    assert_eq!(warned(&text.replace("site/users", "users")), 0);
}
