//! A configuration that is wrong changes nothing, and why is said once.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use super::support::{status, wait_until};
use super::{Mill, ask, content, says};

/// Each is wrong in another place: the name, the text, and what is said of it.
fn wrong(taken: &str) -> Vec<(&'static str, String, String)> {
    let sites = |sites: &str| format!("listen = ['127.0.0.1:0']\n{sites}");
    let no_file = |name: &str| format!("{name}: it is no regular file");
    let with_tls = |pair: &str| format!("listen = ['127.0.0.1:0', 'https:127.0.0.1:0']\n{pair}{}", says("new"));
    let mut wrong = vec![
        ("TOML", sites("[[site]\n"), "t.toml:2:".into()),
        ("an empty file", String::new(), "t.toml is empty".into()),
        ("comments alone", "\n # listen = ['127.0.0.1:0']\n\t\r\n".into(), "t.toml is empty".into()),
        ("an unknown key", sites(&format!("{}respnd = 1\n", says("new"))), "respnd".into()),
        ("a missing folder", sites("[[site]]\nroot = 'nowhere'\n"), "nowhere".into()),
        ("missing users", sites(&format!("{}basic-auth = 'nobody'\n", says("new"))), "nobody".into()),
        ("wrong users", sites(&format!("{}basic-auth = 'users'\n", says("new"))), "users:2".into()),
        (
            "a port in use",
            format!("listen = ['127.0.0.1:0', 'unix:new.sock', '{taken}']\n{}", says("new")),
            taken.into(),
        ),
        ("a log that cannot be opened", format!("access-log = 'no/log'\n{}", sites(&says("new"))), "no/log".into()),
        ("no error pages", sites(&format!("{}error-pages = 'no-pages'\n", says("new"))), "no-pages".into()),
        ("users from a pipe", sites(&format!("{}basic-auth = 'pipe'\n", says("new"))), no_file("pipe")),
        ("tokens from a pipe", sites(&format!("{}bearer-tokens = 'pipe'\n", says("new"))), no_file("pipe")),
        ("a pipe among pages", sites(&format!("{}error-pages = 'pages'\n", says("new"))), no_file("404.html")),
        (
            "media types from a pipe",
            sites("[[site]]\nroot = '.'\nmime-types = 'pipe'\n"),
            "it is no regular file".into(),
        ),
        ("no content", sites("[[site]]\nrespond = 200\nbody-file = 'no-body'\n"), "no-body".into()),
    ];
    if cfg!(feature = "tls") {
        wrong.push((
            "a missing certificate",
            with_tls("tls-cert = 'none.pem'\ntls-key = 'none.pem'\n"),
            "none.pem".into(),
        ));
        wrong.push((
            "a certificate from a pipe",
            with_tls("tls-cert = 'pipe'\ntls-key = 'pipe'\n"),
            "it is no regular file".into(),
        ));
        wrong.push(("a wrong certificate", with_tls("tls-cert = 'users'\ntls-key = 'users'\n"), "users".into()));
    }
    wrong
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn whatever_is_wrong_nothing_changes() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("listen = ['127.0.0.1:0', 'unix:a.sock']\naccess-log = 'log'\n{}", says("old"));
    let mill = Mill::prepared("refused", &text, |folder| {
        fs::write(folder.join("users"), "# users\nbob:$apr1$x$y\n").unwrap();
        fs::create_dir(folder.join("pages")).unwrap();
        mkfifo(&folder.join("pipe"));
        mkfifo(&folder.join("pages/404.html"));
    });
    let mut client = mill.server.connect();
    assert_eq!(ask(&mut client, "/"), "old");
    let succeeded = mill.metric("tidemill_config_last_success_timestamp_seconds");
    for (name, wrong, expected) in wrong(&taken.local_addr().unwrap().to_string()) {
        let before = mill.server.log().len();
        let (code, said) = mill.try_take(&wrong);
        assert_eq!(code, 1, "{name}: {said}");
        assert!(said.starts_with("tidemill: nothing has changed: ") && said.contains(&expected), "{name}: {said}");
        let log = mill.log()[before..].to_owned();
        assert_eq!(log.matches("ERROR").count(), 1, "{name}: {log}");
        assert!(log.contains("the configuration is not taken, and nothing has changed: "), "{name}: {log}");
        assert!(log.contains(&expected), "{name}: {log}");
        assert_eq!([mill.content("/"), ask(&mut client, "/")], ["old", "old"], "{name}");
        assert_eq!(content(&mill.get_unix("a.sock", "/")), "old", "{name}");
        assert_eq!(mill.generation(), 1.0, "{name}");
        assert!(mill.metric("tidemill_config_last_failure_timestamp_seconds") >= succeeded.floor(), "{name}");
        assert_eq!(mill.metric("tidemill_config_last_success_timestamp_seconds"), succeeded, "{name}");
        assert!(!fs::exists(mill.path("new.sock")).unwrap(), "{name}: what was opened is closed");
    }
    // By a signal it is the same.
    let before = mill.times_in_log("ERROR");
    mill.write("t.toml", "no");
    mill.server.signal("HUP");
    wait_until("the log says why", || mill.times_in_log("ERROR") > before);
    // Nobody writes to it: who read it would wait for ever.
    mkfifo(Path::new(&mill.path("t.toml.new")));
    fs::rename(mill.path("t.toml.new"), mill.path("t.toml")).unwrap();
    let (code, said) = mill.reload();
    assert_eq!((code, said.contains("t.toml: it is no regular file")), (1, true), "{said}");
    let said = mill.take(&text.replace("old", "new"));
    assert!(said.contains("configuration 2 is in force"), "{said}");
    assert_eq!([mill.content("/"), ask(&mut client, "/")], ["new", "new"]);
    assert_eq!(mill.times_in_log("ERROR"), before + 2);
    let log = fs::read_to_string(mill.path("log")).unwrap();
    assert!(log.lines().filter(|line| line.contains("GET / ")).all(|line| line.contains(" 200 3 ")), "{log}");
}

/// With TLS, HUP is for the certificates as well: what is wrong with one is said once all the same.
#[cfg(feature = "tls")]
#[test]
fn a_certificate_that_is_gone_is_said_once() {
    let text = format!(
        "listen = ['127.0.0.1:0', 'https:127.0.0.1:0']\ntls-cert = 'pair.pem'\ntls-key = 'key.pem'\n{}",
        says("old")
    );
    let mill = Mill::prepared("gone", &text, |folder| {
        fs::copy(super::tls_client::corpus("ec.pem"), folder.join("pair.pem")).unwrap();
        fs::copy(super::tls_client::corpus("ec-sec1-key.pem"), folder.join("key.pem")).unwrap();
    });
    fs::remove_file(mill.path("pair.pem")).unwrap();
    mill.server.signal("HUP");
    mill.server.wait_for_log("the configuration is not taken");
    assert_eq!(mill.reload().0, 1);
    let log = mill.log();
    let about = log.lines().filter(|line| line.contains("pair.pem")).count();
    assert_eq!(about, 2, "once for each order: {log}");
    assert_eq!(status(&mill.get("/")), "200");
}

/// Whoever reads that the server listens may rely on it.
#[test]
fn a_start_that_fails_does_not_say_that_the_server_listens() {
    let text = format!("listen = ['127.0.0.1:0']\n{}basic-auth = 'nobody'\n", says("x"));
    let folder = super::Folder(std::env::temp_dir().join(format!("tidemill-reload-{}-start", std::process::id())));
    fs::create_dir(&folder.0).unwrap();
    fs::write(folder.0.join("t.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    let output = command.arg("--config").arg(folder.0.join("t.toml")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.contains("nobody")), (Some(1), true), "{said}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}
