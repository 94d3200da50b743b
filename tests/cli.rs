//! The real binary, as a user meets it: flags, environment, exit codes, and exactly one line about what is wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(30);

fn tidemill(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    tidemill(arguments).output().unwrap()
}

/// The one line that a failed start leaves on stderr, without the program's name and, if the usage was wrong, without
/// where to read on. Nothing goes to stdout.
#[track_caller]
fn failure(output: Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    let line = stderr.strip_suffix('\n').unwrap_or_else(|| panic!("no whole line: {stderr:?}"));
    assert!(!line.contains('\n'), "more than one line: {stderr}");
    let line = line.strip_prefix("tidemill: ").unwrap_or_else(|| panic!("nameless: {line}"));
    match code {
        2 => line.strip_suffix("; see --help").unwrap_or_else(|| panic!("without a way on: {line}")).into(),
        _ => line.into(),
    }
}

#[track_caller]
fn usage(arguments: &[&str]) -> String {
    failure(output(arguments), 2)
}

#[test]
#[cfg(feature = "tls")]
fn a_file_for_upstreams_that_cannot_be_read_ends_the_start_before_anybody_is_told_that_it_listens() {
    let route = "--proxy=/=https://127.0.0.1:1";
    let problem = failure(output(&["--listen", "127.0.0.1:0", route, "--upstream-ca", "/none.pem"]), 1);
    assert!(problem.starts_with("cannot use --upstream-ca /none.pem: "), "{problem}");
}

#[test]
fn help_and_version_are_answers_not_errors() {
    let help = output(&["--help"]);
    assert_eq!((help.status.code(), help.stderr.as_slice()), (Some(0), b"".as_slice()));
    // How lines break is the terminal's affair.
    let text = String::from_utf8(help.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    for flag in [
        "ROOT",
        "-l, --listen",
        "--lab",
        "--max-connections",
        "--backlog",
        "--header-timeout",
        "--first-byte-timeout",
        "--body-timeout",
        "--send-timeout",
        "--keep-alive-timeout",
        "--max-header-size",
        "--max-headers",
        "--max-target-size",
        "--max-body-size",
        "--drain-timeout",
        "--log-level",
        "--access-log",
        "--log-format",
        "--report",
        "--mark-syscalls",
        "--torture <FAULTS>",
        "--pcapng <FILE>",
        "--pcapng-size <SIZE>",
        "-h, --help",
        "-V, --version",
        "TIDEMILL_HEADER_TIMEOUT",
        "[default: 10s]",
        "or 127.0.0.1:8080]",
        "--unix-mode",
        "--keep-alive-field",
        "--http2-streams",
        "--http2-small-data",
        "TIDEMILL_ROOT",
    ] {
        assert!(text.contains(flag), "{flag} is missing from:\n{text}");
    }
    let version = output(&["-V"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(String::from_utf8(version.stdout).unwrap(), concat!("tidemill ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn an_unknown_flag_is_named_and_the_right_one_suggested() {
    assert_eq!(
        usage(&["--header-timeouts", "1s"]),
        "unexpected argument '--header-timeouts' found (a similar argument exists: '--header-timeout')"
    );
    assert_eq!(usage(&["-x"]), "unexpected argument '-x' found");
}

#[test]
fn what_other_servers_call_differently_is_translated() {
    for words in [&["--port", "8080"][..], &["--port=8080"], &["-p", "8080"], &["-p8080"], &["--host", "0.0.0.0"]] {
        let flag = words[0].split('=').next().unwrap().trim_end_matches("8080");
        assert_eq!(
            usage(words),
            format!("unexpected argument '{flag}' found: where to listen is said like this: --listen 8080")
        );
    }
    let line = usage(&["--root", "site"]);
    assert_eq!(line, "unexpected argument '--root' found: the folder to serve is said like this: tidemill ./site");
}

#[test]
fn a_value_that_needs_an_equals_sign_is_not_taken_for_the_root() {
    let scratch = Scratch::new("equals");
    std::fs::write(scratch.0.join("access.log"), "secret").unwrap();
    let line = |words: &[&str]| failure(tidemill(words).current_dir(&scratch.0).output().unwrap(), 2);
    let log = "(--access-log takes its value behind an equals sign: --access-log=access.log)";
    let one = line(&["--access-log", "access.log"]);
    assert!(one.starts_with("invalid value 'access.log' for '[ROOT]': ") && one.ends_with(log), "{one}");
    let one = line(&["--access-log", "missing.log"]);
    assert!(one.contains("that exists (--access-log takes its value") && one.ends_with("=missing.log)"), "{one}");
    assert_eq!(
        line(&["--spa", "x.html", "."]),
        "unexpected argument '.' found (--spa takes its value behind an equals sign: --spa=x.html)"
    );
    assert_eq!(line(&["--lab", "true", "."]), "unexpected argument '.' found (--lab stands alone: it takes no value)");
    assert_eq!(line(&[".", "access.log"]), "unexpected argument 'access.log' found");
}

#[test]
fn settings_for_a_folder_need_one() {
    for (words, flag) in [
        (&["--browse"][..], "--browse"),
        (&["-b"], "--browse"),
        (&["--spa"], "--spa[=<FILE>]"),
        (&["--index", "a.html"], "--index <NAME>"),
        (&["--hidden"], "--hidden"),
        (&["--header", "A: b"], "--header <[PATTERN ]NAME: VALUE>"),
        (&["--cache-control", "no-store", "--lab"], "--cache-control <VALUE>"),
    ] {
        assert_eq!(usage(words), format!("'{flag}' needs ROOT, such as '.' for the current directory"));
    }
    let line = failure(tidemill(&[]).env("TIDEMILL_BROWSE", "yes").output().unwrap(), 2);
    assert_eq!(line, "'--browse' needs ROOT, such as '.' for the current directory (set by TIDEMILL_BROWSE)");
    let mut command = tidemill(&["-l", "127.0.0.1:0", "--io-threads", "2", "--file-cache", "1MiB"]);
    let server = Server::start(command.env("TIDEMILL_BROWSE", "no").env("TIDEMILL_SPA", "false"));
    assert!(server.line().starts_with("listening on "));
}

#[test]
fn what_has_no_effect_is_said_at_the_start() {
    let scratch = Scratch::new("effects");
    let file = scratch.0.join("one.html");
    std::fs::write(&file, "one").unwrap();
    let (folder, file) = (scratch.0.to_str().unwrap(), file.to_str().unwrap());
    let said = |words: &[&str], variables: &[(&str, &str)]| {
        let mut command = tidemill(&["-l", "127.0.0.1:0"]);
        command.args(words).envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let server = Server::watch(child);
        server.line();
        assert_eq!(server.stop(Signal::TERM).code(), Some(0));
        let lines = BufReader::new(stderr).lines().map(Result::unwrap).filter(|line| line.contains(" WARN ] "));
        lines.map(|line| line.split_once(" WARN ] ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(said(&[folder], &[("TIDEMILL_SPA", "no"), ("TIDEMILL_IO_THREADS", "1"), ("TIDE", "x")]), [""; 0]);
    for (variable, nearest) in [
        ("TIDEMILL_HEADR_TIMEOUT", "; TIDEMILL_HEADER_TIMEOUT is one"),
        ("TIDEMILL_PORT", "; TIDEMILL_LISTEN is one"),
        ("TIDEMILL_DIR", "; TIDEMILL_ROOT is one"),
        ("TIDEMILL_ACESS_LOG", "; TIDEMILL_ACCESS_LOG is one"),
        ("TIDEMILL_XYZZY", ""),
        // Many letters in common with TIDEMILL_REPORT and TIDEMILL_HEADER, and nothing else.
        ("TIDEMILL_PROT", ""),
        ("TIDEMILL_ADDR", ""),
        ("TIDEMILL_", ""),
    ] {
        let expected = format!("{variable} has no effect: there is no such setting{nearest}");
        assert_eq!(said(&[], &[(variable, "1")]), [expected]);
    }
    assert_eq!(
        said(&["--spa=nope.html", folder], &[]),
        ["--spa: ROOT has no file nope.html: paths that do not exist get 404"]
    );
    assert_eq!(
        said(&[folder], &[("TIDEMILL_SPA", "true")]),
        ["--spa: ROOT has no file index.html: paths that do not exist get 404"]
    );
    assert_eq!(said(&["--index", "a,b", folder], &[]), ["--index: ROOT has no file a or b: its path / gets 404"]);
    assert_eq!(said(&["--index", "a,one.html", folder], &[]), [""; 0]);
    assert_eq!(
        said(&["--log-format", "json"], &[]),
        ["--log-format has no effect: there is no access log without --access-log"]
    );
    assert_eq!(said(&["--no-http2"], &[]), [""; 0]);
    assert_eq!(said(&["--http2-streams", "7"], &[("TIDEMILL_NO_HTTP2", "no")]), [""; 0]);
    assert_eq!(
        said(&["--no-http2", "--http2-streams", "7"], &[("TIDEMILL_HTTP2_GLITCHES", "9")]),
        ["http2-streams", "http2-glitches"]
            .map(|flag| format!("--{flag} has no effect: --no-http2 does without HTTP/2"))
    );
    if cfg!(feature = "_tls") {
        let (certificate, key) = (pem("ec.pem"), pem("ec-sec1-key.pem"));
        assert_eq!(
            said(
                &["--tls-cert", &certificate, "--tls-key", &key, "--tls-strict-sni", "--hsts", "--https-redirect"],
                &[]
            ),
            ["tls-cert", "tls-strict-sni", "hsts", "https-redirect"]
                .map(|flag| format!("--{flag} has no effect: there is no https: listener"))
        );
        let no_effect = "--tls-key-log has no effect: there is no https: listener, and no https: upstream";
        assert_eq!(said(&["--tls-key-log", "keys", "--proxy", "/=http://127.0.0.1:1"], &[]), [no_effect]);
    }
    assert_eq!(
        said(&["--browse", "--index", "x", file], &[]),
        ["--browse has no effect: ROOT is a single file", "--index has no effect: ROOT is a single file"]
    );
}

#[test]
fn a_wrong_value_is_named_with_what_would_be_right() {
    for (flag, value, expected) in [
        ("--header-timeout", "10", "expected a duration such as 10s or 500ms"),
        ("--send-timeout", "0s", "expected 1ms to 24h"),
        ("--max-header-size", "2MiB", "expected 512 to 1MiB"),
        ("--max-body-size", "much", "expected a size such as 64k or 1MiB"),
        ("--max-connections", "0", "expected a number from 1 to 1000000"),
        ("--torture", "sleep", "expected faults such as seed=7,short-read,short-write,would-block=0.1"),
        ("--torture", "would-block=1", "expected would-block=0 to would-block=0.9"),
        ("--log-level", "loud", "expected off, error, warn, info, debug or trace"),
        ("--listen", "example.org:80", "expected an address such as 8080"),
        ("--listen", "ftp:127.0.0.1:21", "http:, https:, tcp-echo: or line-echo: and an address"),
        ("--listen", "tcp-ech:7007", "http:, https:, tcp-echo: or line-echo: and an address"),
        ("--listen", "https://example.org:443", "expected an address such as 8080"),
        ("--listen", "tcp-echo:example.org:80", "expected an address such as 8080"),
        ("--listen", "line-echo:99999", "expected a port from 0 to 65535"),
        ("--listen", "localhost:x", "expected an address such as 8080"),
        ("--unix-mode", "rw", "expected an octal mode from 0 to 0777, such as 0660"),
        ("--unix-mode", "0o660", "expected an octal mode from 0 to 0777, such as 0660"),
        ("--listen", "99999", "expected a port from 0 to 65535"),
        ("--http2-frame-size", "16383", "expected 16KiB to 16777215"),
        ("--http2-stream-window", "2GiB", "expected 1KiB to 2147483647"),
        ("--http2-connection-window", "1000", "expected 65535 to 2147483647"),
        ("--http2-connection-window", "65535", "expected at least 64KiB, the --http2-stream-window"),
    ] {
        let line = usage(&[flag, value]);
        assert!(line.starts_with(&format!("invalid value '{value}' for '{flag} <")), "{line}");
        assert!(line.contains(expected), "{line}");
    }
}

/// A file in tests/corpus/tls.
fn pem(name: &str) -> String {
    format!("{}/tests/corpus/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
#[cfg(not(feature = "_tls"))]
fn a_build_without_tls_says_so() {
    let words = ["-l", "https:0", "--tls-cert", &pem("ec.pem"), "--tls-key", &pem("ec-sec1-key.pem")];
    let expected = "invalid value 'https:127.0.0.1:0' for '--listen <ADDR>': cannot be served: this build has no TLS";
    assert_eq!(usage(&words), expected);
    assert_eq!(usage(&words[..2]), expected);
}

#[test]
#[cfg(feature = "_tls")]
fn https_needs_a_certificate_that_can_be_used() {
    let (certificate, key) = (pem("ec.pem"), pem("ec-sec1-key.pem"));
    let line = |words: &[&str]| usage(&[&["-l", "https:0"], words].concat());
    let needs = "needs a certificate: --tls-cert FILE --tls-key FILE, or --tls-self-signed for development";
    assert_eq!(line(&[]), format!("invalid value 'https:127.0.0.1:0' for '--listen <ADDR>': {needs}"));
    assert_eq!(
        line(&["--tls-self-signed"]),
        "'--tls-self-signed[=<DIR>]' needs a directory, as in --tls-self-signed=DIR: neither XDG_STATE_HOME nor HOME is set"
    );
    assert_eq!(
        line(&["--tls-cert", &certificate]),
        "'--tls-cert <FILE>' needs its pair: there are 1 of --tls-cert and 0 of --tls-key"
    );
    assert_eq!(
        line(&["--tls-cert", &certificate, "--tls-key", &format!("{key},{key}")]),
        "'--tls-key <FILE>' needs its pair: there are 1 of --tls-cert and 2 of --tls-key"
    );
    let encrypted = pem("ec-encrypted-key.pem");
    let wrong = line(&["--tls-cert", &certificate, "--tls-key", &encrypted]);
    assert!(
        wrong.starts_with(&format!("invalid value '{encrypted}' for '--tls-key <FILE>': the key is encrypted")),
        "{wrong}"
    );
    let wrong = line(&["--tls-cert", &key, "--tls-key", &certificate]);
    assert!(wrong.starts_with(&format!("invalid value '{key}' for '--tls-cert <FILE>': it has a key")), "{wrong}");
    let words = ["--tls-cert", &certificate, "--tls-key", &key];
    let wrong = line(&[&words[..], &["--tls-client-ca", "/no/such/file"]].concat());
    assert_eq!(wrong, "invalid value '/no/such/file' for '--tls-client-ca <FILE>': there is no such file");
    assert_eq!(line(&["--tls-self-signed=/no/such", "--tls-client-ca", "/no/such/file"]), wrong);
    let wrong = line(&[&words[..], &["--tls-client", "optional"]].concat());
    assert_eq!(wrong, "'--tls-client <HOW>' needs --tls-client-ca, which says whose certificates count");
    let wrong = line(&[&words[..], &["--tls-client", "perhaps"]].concat());
    assert_eq!(wrong, "invalid value 'perhaps' for '--tls-client <HOW>': expected optional or required");
    let wrong = line(&[&words[..], &["--hsts=soon"]].concat());
    assert!(
        wrong.starts_with("invalid value 'soon' for '--hsts[=<MAX-AGE>]': expected a duration such as 24h"),
        "{wrong}"
    );
    let key_log = [&["-l", "https:0"], &words[..], &["--tls-key-log", "/dev/null"]].concat();
    assert_eq!(failure(output(&key_log), 1), "/dev/null: it is no regular file");
    let mut command = tidemill(&["-l", "https:0", "--tls-cert", &certificate]);
    let wrong = failure(command.env("TIDEMILL_TLS_KEY", pem("rsa-pkcs1-key.pem")).output().unwrap(), 2);
    assert!(wrong.contains("the key does not fit") && wrong.ends_with(" (set by TIDEMILL_TLS_KEY)"), "{wrong}");
}

#[test]
#[cfg(feature = "_tls")]
fn it_says_that_it_listens_for_https() {
    let words = ["-l", "https://127.0.0.1:0,http://127.0.0.1:0", "--tls-cert", &pem("ec.pem"), "--tls-key"];
    let server = Server::start(tidemill(&words).arg(pem("ec-sec1-key.pem")));
    let urls = [server.line(), server.line()];
    assert!(urls[0].starts_with("listening on https://127.0.0.1:") && urls[0].ends_with('/'), "{urls:?}");
    assert!(urls[1].starts_with("listening on http://127.0.0.1:"), "{urls:?}");
    assert_eq!(server.stop(Signal::TERM).code(), Some(0));
}

#[test]
#[cfg(feature = "_tls")]
fn a_certificate_for_development_is_made_once_and_told_how_to_trust() {
    let scratch = Scratch::new("self-signed");
    let mut command = tidemill(&["-l", "https:127.0.0.1:0", "--tls-self-signed"]);
    let started = |command: &mut Command| {
        let server = Server::start(command);
        let lines = [server.line(), server.line(), server.line()];
        assert_eq!(server.stop(Signal::TERM).code(), Some(0));
        lines
    };
    let [url, certificate, curl] = started(command.env("HOME", &scratch.0));
    let file = scratch.0.join(".local/state/tidemill/cert.pem");
    let url = url.strip_prefix("listening on ").unwrap().replace("127.0.0.1", "localhost");
    assert_eq!(curl, format!("curl --cacert {} {url}", file.display()));
    let expected = format!("self-signed certificate {}, SHA-256 ", file.display());
    let fingerprint = certificate.strip_prefix("new ").and_then(|line| line.strip_prefix(&expected)).unwrap();
    assert_eq!((fingerprint.len(), fingerprint.split(':').count()), (32 * 3 - 1, 32));
    assert_eq!(started(&mut command)[1], format!("{expected}{fingerprint}"), "it is kept");
    let [_, elsewhere, _] = started(command.env("TIDEMILL_TLS_SELF_SIGNED", scratch.0.join("here")));
    assert!(elsewhere.starts_with(&expected), "the command line wins: {elsewhere}");
    // A file of the user's is left alone.
    std::fs::copy(pem("ec.pem"), &file).unwrap();
    let line = failure(command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap(), 1);
    let way_on = "was not made by --tls-self-signed: name another directory, or remove it";
    assert_eq!(line, format!("{} {way_on}", file.display()));
}

#[test]
#[cfg(feature = "_tls")]
fn hup_reads_certificates_again() {
    let scratch = Scratch::new("hup");
    let (certificate, key) = (scratch.0.join("cert.pem"), scratch.0.join("key.pem"));
    let put = |name: &str, to: &PathBuf| std::fs::copy(pem(name), to).unwrap();
    put("ec.pem", &certificate);
    put("ec-sec1-key.pem", &key);
    let mut command = tidemill(&["-l", "https:127.0.0.1:0", "--tls-cert", certificate.to_str().unwrap(), "--tls-key"]);
    let mut child = command.arg(&key).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let server = Server::watch(child);
    assert!(server.line().starts_with("listening on https://"));
    let mut after_hup = || {
        kill_process(server.pid, Signal::HUP).unwrap();
        said.find(|line| line.contains("TLS: ")).unwrap()
    };
    let line = after_hup();
    assert!(line.ends_with("INFO ] TLS: the files were read again and are those in use"), "{line}");
    put("rsa.pem", &certificate);
    let line = after_hup();
    let problem = "the key does not fit the certificate";
    assert!(line.contains("ERROR] TLS: the files in use stay in use: ") && line.contains(problem), "{line}");
    put("rsa-pkcs1-key.pem", &key);
    let line = after_hup();
    assert!(line.ends_with("INFO ] TLS: new handshakes get what was read again: CN=rsa.example"), "{line}");
    assert_eq!(server.stop(Signal::TERM).code(), Some(0));
}

#[test]
fn a_value_cannot_break_the_line() {
    let line = usage(&["--backlog", "1\n2\u{1b}[31m"]);
    assert!(line.starts_with("invalid value '1 2") && !line.contains('\u{1b}'), "{line}");
    let line = usage(&["/no/such\nplace"]);
    assert!(line.starts_with("invalid value '/no/such\\nplace'"), "{line}");
}

#[test]
fn a_wrong_variable_is_named() {
    let line = failure(tidemill(&[]).env("TIDEMILL_BODY_TIMEOUT", "soon").output().unwrap(), 2);
    assert!(line.starts_with("invalid value 'soon' for '--body-timeout <DURATION>': expected a duration"), "{line}");
    assert!(line.ends_with("(set by TIDEMILL_BODY_TIMEOUT)"), "{line}");

    let line = failure(tidemill(&[]).env("TIDEMILL_LAB", "perhaps").output().unwrap(), 2);
    assert_eq!(line, "invalid value 'perhaps' for '--lab': expected true or false (set by TIDEMILL_LAB)");

    let line = failure(tidemill(&["--lab"]).env("TIDEMILL_LISTEN", "0,nowhere").output().unwrap(), 2);
    assert!(line.contains("'nowhere'") && line.ends_with("(set by TIDEMILL_LISTEN)"), "{line}");
}

#[test]
fn the_command_line_wins_over_the_environment() {
    let line = failure(tidemill(&["--backlog", "x"]).env("TIDEMILL_BACKLOG", "y").output().unwrap(), 2);
    assert!(line.starts_with("invalid value 'x'") && !line.contains("TIDEMILL"), "{line}");
}

#[test]
fn booleans_in_the_environment_mean_what_they_say() {
    let scratch = Scratch::new("booleans");
    std::fs::write(scratch.0.join("index.html"), "the page").unwrap();
    for (word, is_on) in [
        ("true", true),
        ("1", true),
        ("Yes", true),
        ("on", true),
        ("false", false),
        ("0", false),
        ("NO", false),
        ("off", false),
        ("", false),
    ] {
        let mut command = tidemill(&["-l", "127.0.0.1:0", "."]);
        for switch in ["LAB", "ACCESS_LOG", "SPA", "HEALTH", "REPORT", "BROWSE", "HIDDEN"] {
            command.env(format!("TIDEMILL_{switch}"), word);
        }
        let server = Server::start(command.current_dir(&scratch.0));
        let address = server.address();
        let lab = ask(&address, "/plaintext");
        assert_eq!(lab.ends_with("Hello, World!"), is_on, "{word}: {lab}");
        let spa = ask(&address, "/not/there");
        assert_eq!((spa.starts_with("HTTP/1.1 200"), spa.ends_with("the page")), (is_on, is_on), "{word}: {spa}");
        assert_eq!(ask(&address, "/healthz").starts_with("HTTP/1.1 200"), is_on, "{word}");
        assert_eq!(server.stop_with_lines().iter().any(|line| line.contains("/healthz")), is_on, "{word}: logged");
        let files: Vec<_> = std::fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, ["index.html"], "{word}: no file of that name was made");
    }
    for switch in ["LAB", "HEALTH", "REPORT", "MARK_SYSCALLS", "BROWSE", "HIDDEN", "FOLLOW_SYMLINKS", "NO_SYMLINKS"] {
        for word in ["2", "ja", " ", "truee"] {
            let variable = format!("TIDEMILL_{switch}");
            let line = failure(tidemill(&["."]).env(&variable, word).output().unwrap(), 2);
            assert!(line.contains(&format!("(set by {variable})")), "{line}");
        }
    }
}

#[test]
fn a_target_larger_than_the_head_is_a_contradiction() {
    assert_eq!(
        usage(&["--max-header-size", "4k", "--max-target-size", "8k"]),
        "invalid value '8KiB' for '--max-target-size <SIZE>': expected at most 4KiB, the --max-header-size"
    );
}

#[test]
fn clients_are_not_told_to_stay_longer_than_they_may() {
    let line = usage(&["--keep-alive-timeout", "10s", "--keep-alive-field", "11s"]);
    let expected = "expected at most 10s, the --keep-alive-timeout";
    assert_eq!(line, format!("invalid value '11s' for '--keep-alive-field <DURATION>': {expected}"));
    let line = failure(tidemill(&[]).env("TIDEMILL_KEEP_ALIVE_FIELD", "76s").output().unwrap(), 2);
    assert!(line.ends_with("the --keep-alive-timeout (set by TIDEMILL_KEEP_ALIVE_FIELD)"), "{line}");
    assert!(usage(&["--keep-alive-field", "500ms"]).ends_with("expected 1s to 24h"));
}

#[test]
fn a_root_must_be_a_directory_or_a_file() {
    let expected = "for '[ROOT]': expected a directory or a file";
    for (word, why) in
        [("/no/such/place", "that exists"), ("Cargo.toml/x", "that exists"), ("Cargo.toml/", "that exists")]
    {
        assert_eq!(usage(&[word]), format!("invalid value '{word}' {expected} {why}"));
    }
    assert_eq!(usage(&["/dev/null"]), format!("invalid value '/dev/null' {expected}: it is neither"));
    for address in ["8080", ":8080", "127.0.0.1:8080"] {
        let hint = format!("(to listen there: --listen {address})");
        assert_eq!(usage(&[address]), format!("invalid value '{address}' {expected} that exists {hint}"));
    }
    let line = usage(&[&"x".repeat(300)]);
    assert!(line.contains(&format!("{expected} that can be looked at: ")), "{line}");
    let line = failure(tidemill(&[]).env("TIDEMILL_ROOT", "/nowhere").output().unwrap(), 2);
    assert_eq!(line, format!("invalid value '/nowhere' {expected} that exists (set by TIDEMILL_ROOT)"));
}

#[test]
fn settings_for_files_are_checked_before_anything_is_served() {
    let cases = [
        (["--cache-control", "hased"], "'--cache-control <VALUE>': expected a value such as 'max-age=3600', or hashed"),
        (
            ["--header", "Content-Length: 1"],
            "'--header <[PATTERN ]NAME: VALUE>': expected another field: Content-Length is set by",
        ),
        (
            ["--header", "no colon"],
            "'--header <[PATTERN ]NAME: VALUE>': expected a field such as 'X-Frame-Options: DENY'",
        ),
        (
            ["--header", "A: b\r\nC: d"],
            "'--header <[PATTERN ]NAME: VALUE>': expected a field such as 'X-Frame-Options: DENY'",
        ),
        (["--index", "../up"], "'--index <NAME>': expected a file beneath ROOT, such as index.html"),
        (["--index", "a,"], "invalid value '' for '--index <NAME>': expected a file beneath ROOT, such as index.html"),
        (["--spa=/etc/passwd", "."], "'--spa[=<FILE>]': expected a file beneath ROOT, such as index.html"),
        (["--mime-types", "/no/such/file"], "'--mime-types <FILE>': cannot read it"),
        (["--mime-types", "/etc/passwd"], "'--mime-types <FILE>': line 1: "),
        (["--default-type", "plain"], "'--default-type <TYPE>': \"plain\" is not a media type; write type/subtype"),
        (["--file-cache", "much"], "'--file-cache <SIZE>'"),
        (["--io-threads", "0"], "'--io-threads <N>'"),
    ];
    for (arguments, expected) in cases {
        let line = usage(&arguments);
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn an_address_in_use_is_a_runtime_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_eq!(failure(output(&["-l", &address]), 1), format!("cannot listen on {address}: address already in use"));
}

#[test]
fn a_file_in_the_place_of_a_unix_socket_is_a_runtime_failure() {
    let scratch = Scratch::new("file");
    std::fs::write(scratch.socket(), "precious").unwrap();
    let address = format!("unix:{}", scratch.socket().display());
    assert_eq!(
        failure(output(&["-l", &address]), 1),
        format!("cannot listen on {address}: the file exists and is not a socket")
    );
    let nowhere = format!("unix:{}/no/socket", scratch.0.display());
    assert_eq!(failure(output(&["-l", &nowhere]), 1), format!("cannot listen on {nowhere}: no such directory"));
}

#[test]
fn it_says_where_it_listens_answers_there_and_stops_when_told() {
    let server = Server::start(tidemill(&["-l", "0", "-l", "127.0.0.1:0"]));
    let urls = [server.line(), server.line()];
    for url in &urls {
        let authority = url.strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix('/')).unwrap();
        assert!(authority.starts_with("127.0.0.1:") && !authority.ends_with(":0"), "{url}");
        let client = TcpStream::connect(authority).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(exchange(client).starts_with("HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(server.stop(Signal::TERM).code(), Some(0));
}

#[test]
fn it_says_what_each_listener_serves_in_the_order_given() {
    let scratch = Scratch::new("roles");
    let unix = format!("unix:{}", scratch.socket().display());
    let line_unix = format!("line-echo:{unix}");
    let listen = ["-l", "tcp-echo:127.0.0.1:0,http://127.0.0.1:0", "-l", "line-echo:0", "-l", &line_unix];
    let server = Server::start(tidemill(&listen));
    for scheme in ["tcp-echo://127.0.0.1:", "http://127.0.0.1:", "line-echo://127.0.0.1:"] {
        let url = server.line();
        let rest = url.strip_prefix("listening on ").and_then(|url| url.strip_prefix(scheme));
        let port = rest.unwrap_or_else(|| panic!("{url} instead of {scheme}"));
        assert_eq!(port.ends_with('/'), scheme.starts_with("http"), "{url}");
        let port: u16 = port.trim_end_matches('/').parse().unwrap();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }
    assert_eq!(server.line(), format!("listening on {line_unix}"));
    assert_eq!(server.stop(Signal::TERM).code(), Some(0));
    assert!(!scratch.socket().exists());
}

#[test]
fn it_serves_a_unix_socket_and_leaves_nothing_behind() {
    let scratch = Scratch::new("serves");
    let address = format!("unix:{}", scratch.socket().display());
    let server = Server::start(tidemill(&["-l", &address]));
    assert_eq!(server.line(), format!("listening on {address}"));
    let client = UnixStream::connect(scratch.socket()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(exchange(client).ends_with("Hello, World!"));
    assert_eq!(server.stop(Signal::INT).code(), Some(0));
    assert!(!scratch.socket().exists());
}

#[test]
fn torture_is_announced_with_all_that_it_takes_to_repeat_it() {
    let scratch = Scratch::new("torture");
    let mut command = tidemill(&["-l", &format!("unix:{}", scratch.socket().display())]);
    command.env("TIDEMILL_TORTURE", "short-read,would-block=0.5,seed=42");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("WARN ] reads and writes are tortured: seed=42,short-read,would-block=0.5"), "{first}");
    let server = Server::watch(child);
    assert!(exchange(UnixStream::connect(scratch.socket()).unwrap()).ends_with("Hello, World!"));
    assert_eq!(server.stop(Signal::TERM).code(), Some(0));
    assert_eq!(
        failure(tidemill(&[]).env("TIDEMILL_TORTURE", "seed=1").output().unwrap(), 2),
        "invalid value 'seed=1' for '--torture <FAULTS>': expected a fault besides the seed: short-read, short-write or \
         would-block=0.1 (set by TIDEMILL_TORTURE)"
    );
}

#[test]
fn signals_without_a_purpose_and_a_closed_stdout_do_not_end_it() {
    let mut command = tidemill(&["-l", "127.0.0.1:0"]);
    command.env("TIDEMILL_LOG_LEVEL", "info");
    let server = Server::start(command);
    let url = server.line();
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        kill_process(server.pid, signal).unwrap();
    }
    let authority = url.strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix('/')).unwrap();
    assert!(exchange(TcpStream::connect(authority).unwrap()).ends_with("Hello, World!"));
    assert_eq!(server.stop(Signal::QUIT).code(), Some(0));

    // Nobody reads what it says: the pipe's other end is closed before it starts.
    let scratch = Scratch::new("deaf");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = tidemill(&["-l", &format!("unix:{}", scratch.socket().display())]);
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("cannot write to stdout"), "{first}");
    let server = Server::watch(child);
    assert!(exchange(UnixStream::connect(scratch.socket()).unwrap()).ends_with("Hello, World!"));
    assert_eq!(server.stop(Signal::TERM).code(), Some(0));
}

/// Asks for `/plaintext` and reads the whole answer.
fn exchange(mut client: impl Read + Write) -> String {
    client.write_all(b"GET /plaintext HTTP/1.1\r\nHost: mill\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// Asks for this path and reads the whole answer.
fn ask(address: &str, path: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: mill\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// A running server. It is killed if the test leaves it behind.
struct Server {
    pid: Pid,
    lines: Receiver<String>,
    exit: Receiver<ExitStatus>,
    is_gone: bool,
}

impl Server {
    fn start(mut command: impl std::borrow::BorrowMut<Command>) -> Server {
        Server::watch(command.borrow_mut().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Reads its lines and waits for its end on threads, so that neither can keep a test waiting for ever.
    fn watch(mut child: Child) -> Server {
        let pid = Pid::from_child(&child);
        let ((line, lines), (ended, exit)) = (channel(), channel());
        let stdout = child.stdout.take();
        std::thread::spawn(move || {
            for text in stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
                if line.send(text.unwrap()).is_err() {
                    return;
                }
            }
        });
        std::thread::spawn(move || ended.send(child.wait().unwrap()));
        Server { pid, lines, exit, is_gone: false }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line on stdout")
    }

    /// Where it listens, as it says next.
    fn address(&self) -> String {
        let url = self.line();
        let address = url.strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix('/'));
        address.unwrap_or_else(|| panic!("{url}")).to_owned()
    }

    /// Stops it, and returns what else it has said on stdout.
    fn stop_with_lines(mut self) -> Vec<String> {
        kill_process(self.pid, Signal::TERM).unwrap();
        assert_eq!(self.exit.recv_timeout(PATIENCE).expect("the server stopped").code(), Some(0));
        self.is_gone = true;
        self.lines.iter().collect()
    }

    fn stop(mut self, signal: Signal) -> ExitStatus {
        kill_process(self.pid, signal).unwrap();
        let status = self.exit.recv_timeout(PATIENCE).expect("the server stopped");
        self.is_gone = true;
        status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.is_gone && self.exit.try_recv().is_err() {
            // It may have ended by itself just now; a second panic would hide the first.
            kill_process(self.pid, Signal::KILL).unwrap_or_else(|error| eprintln!("cannot kill the server: {error}"));
        }
    }
}

/// A directory of its own for one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let directory = std::env::temp_dir().join(format!("tidemill-cli-{}-{name}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        Scratch(directory)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}
