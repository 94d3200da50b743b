//! The commands of the real binary that do something other than serving: `tidemill generate` and `tidemill probe`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;

fn tidemill(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

/// The exit code and the line on stderr, without the program's name; nothing goes to stdout.
fn said(output: &Output) -> (i32, String) {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let line = stderr.strip_prefix("tidemill: ").unwrap_or(&stderr).trim_end();
    assert!(!line.contains('\n'), "more than one line: {stderr}");
    (output.status.code().unwrap(), line.to_owned())
}

/// A directory of its own for one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let directory = std::env::temp_dir().join(format!("tidemill-commands-{}-{name}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        Scratch(directory)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A server that goes with its value.
struct Server(Child, BufReader<ChildStdout>);

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let mut child = tidemill(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Server(child, stdout)
    }

    /// The URL that it announces next, without the slash at its end.
    fn url(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim_end().strip_prefix("listening on ").unwrap().trim_end_matches('/').to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn generate_writes_files_or_to_standard_output() {
    let scratch = Scratch::new("generate");
    let directory = scratch.file("");
    for what in ["man", "markdown", "bash", "zsh", "fish"] {
        let output = tidemill(&["generate", what, &directory]).output().unwrap();
        assert_eq!(said(&output), (0, String::new()));
    }
    let mut names: Vec<_> = fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let commands = ["ask", "check", "explain", "generate", "probe", "reload"];
    let pages = commands.map(|command| format!("tidemill-{command}.1"));
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    let expected =
        [&["_tidemill", "settings.md"], &pages[..], &["tidemill.1", "tidemill.bash", "tidemill.fish"]].concat();
    assert_eq!(names, expected);
    for (what, name) in [("man", "tidemill.1"), ("bash", "tidemill.bash")] {
        let output = tidemill(&["generate", what]).output().unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(0), fs::read(scratch.0.join(name)).unwrap()));
    }
    let output = tidemill(&["generate", "man", "/dev/null/x"]).output().unwrap();
    assert_eq!(said(&output), (1, "cannot write /dev/null/x/tidemill.1: Not a directory (os error 20)".into()));
    let (code, line) = said(&tidemill(&["generate", "powershell"]).output().unwrap());
    assert!(code == 2 && line.starts_with("invalid value 'powershell' for '<WHAT>'"), "{line}");
}

#[test]
fn bash_completes_what_the_files_say() {
    let scratch = Scratch::new("bash");
    assert_eq!(said(&tidemill(&["generate", "bash", &scratch.file("")]).output().unwrap()).0, 0);
    let complete = |words: &str| {
        let script = format!(
            "source '{}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _tidemill tidemill \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[*]}}\"",
            scratch.file("tidemill.bash")
        );
        let Ok(output) = Command::new("bash").args(["-c", &script]).output() else {
            eprintln!("skipped: there is no bash");
            return None;
        };
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        Some(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
    };
    for (words, expected) in [
        ("tidemill --header-t", "--header-timeout"),
        ("tidemill pro", "probe"),
        ("tidemill probe --ins", "--insecure"),
        ("tidemill generate z", "zsh"),
    ] {
        let Some(completed) = complete(words) else { return };
        assert_eq!(completed, expected, "{words}");
    }
}

#[test]
fn a_probe_of_a_server_that_is_well_is_silent() {
    let scratch = Scratch::new("probe");
    fs::create_dir(scratch.0.join("folder")).unwrap();
    let socket = scratch.file("socket");
    let listen = format!("127.0.0.1:0,unix:{socket}");
    let mut server = Server::start(&["--health", "-l", &listen, &scratch.file("")]);
    let (url, _) = (server.url(), server.url());
    let probe = |url: &str| said(&tidemill(&["probe", url]).output().unwrap());
    let healthy = (0, String::new());
    assert_eq!(probe(&format!("{url}/healthz")), healthy);
    assert_eq!(probe(&format!("{url}/folder")), healthy, "a redirect is an answer");
    assert_eq!(probe(&format!("unix:{socket}:/readyz")), healthy);
    assert_eq!(probe(&format!("{url}/missing")), (1, format!("{url}/missing: 404 Not Found")));
    assert_eq!(probe(&format!("unix:{socket}")), (1, format!("unix:{socket}: 404 Not Found")));
}

#[test]
fn a_probe_says_why_there_is_no_answer() {
    let scratch = Scratch::new("no-answer");
    let probe = |arguments: &[&str]| said(&tidemill(&[&["probe"], arguments].concat()).output().unwrap());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let late = "no answer within 200ms (while waiting for the response)";
    assert_eq!(probe(&[&url, "--timeout", "200ms"]), (1, format!("{url}: {late}")));
    drop(silent);
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    assert_eq!(probe(&[&url]), (1, format!("{url}: {address}: connection refused")));
    let nowhere = format!("unix:{}", scratch.file("nowhere"));
    assert_eq!(probe(&[&nowhere]), (1, format!("{nowhere}: there is no such socket")));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 16]).unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH\r\n").unwrap();
    });
    let line = "what answers there does not speak HTTP/1: \"SSH-2.0-OpenSSH\"";
    assert_eq!(probe(&[&url]), (1, format!("{url}: {line}")));
    peer.join().unwrap();
    let wrong = "'--insecure' needs a URL that begins with https://; see --help";
    assert_eq!(probe(&["http://127.0.0.1:1/", "--insecure"]), (2, wrong.into()));
    let (code, line) = probe(&["127.0.0.1:1"]);
    assert!(code == 2 && line.starts_with("invalid value '127.0.0.1:1' for '<URL>': expected a URL such as"), "{line}");
}

#[test]
#[cfg(feature = "_tls")]
fn a_probe_over_https_wants_to_know_who_answers() {
    let scratch = Scratch::new("https");
    let own = format!("--tls-self-signed={}", scratch.file(""));
    let mut server = Server::start(&["--health", "-l", "https:127.0.0.1:0", &own]);
    let url = format!("{}/healthz", server.url());
    let probe = |arguments: &[&str]| said(&tidemill(&[&["probe", &url], arguments].concat()).output().unwrap());
    assert_eq!(probe(&["--insecure"]), (0, String::new()));
    assert_eq!(probe(&["--ca", &scratch.file("cert.pem")]), (0, String::new()));
    let other = format!("{}/tests/corpus/tls/ec.pem", env!("CARGO_MANIFEST_DIR"));
    let (code, line) = probe(&["--ca", &other]);
    assert!(code == 1 && line.starts_with(&format!("{url}: ")) && line.contains("certificate"), "{line}");
    let (code, line) = probe(&["--ca", "/no/such"]);
    assert_eq!((code, line), (1, format!("{url}: cannot use --ca /no/such: there is no such file")));
    let plain = url.replace("https:", "http:");
    let (code, line) = said(&tidemill(&["probe", &plain]).output().unwrap());
    assert!(code == 1 && line.starts_with(&plain), "{line}");
    let mut server = Server::start(&["-l", "127.0.0.1:0"]);
    let secured = server.url().replace("http:", "https:");
    let (code, line) = said(&tidemill(&["probe", &secured, "--insecure"]).output().unwrap());
    let expected = "the upstream does not answer with TLS: perhaps it speaks plain HTTP on this port";
    assert_eq!((code, line), (1, format!("{secured}: {expected}")));
}

#[test]
#[cfg(not(feature = "_tls"))]
fn a_build_without_tls_says_so() {
    let url = "https://127.0.0.1:1/";
    let said = said(&tidemill(&["probe", url, "--insecure"]).output().unwrap());
    assert_eq!(said, (1, format!("{url}: this build has no TLS")));
}
