//! What `tidemill explain` tells, against what the real server does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod answers;
mod calls;
#[path = "../sim/h2/frames.rs"]
#[allow(dead_code, reason = "shared with the simulator")]
mod frames;
mod http2;
#[path = "../http2_client/mod.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod http2_client;
mod pages;
mod proxy;
mod site;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod support;
#[cfg(feature = "_tls")]
mod tls;

use std::process::{Command, Output};

/// A request as it is given on the command line.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    request: &'a str,
    fields: &'a [&'a str],
}

impl Asked<'_> {
    /// The arguments that ask for an explanation.
    fn arguments<'a>(&'a self, others: &[&'a str]) -> Vec<&'a str> {
        let fields = self.fields.iter().flat_map(|field| ["-H", field]);
        ["explain", self.request].into_iter().chain(fields).chain(others.iter().copied()).collect()
    }

    /// The bytes that ask the server.
    fn head(&self) -> String {
        let version = if self.request.matches(' ').count() == 1 { " HTTP/1.1" } else { "" };
        let fields: String = self.fields.iter().map(|field| format!("{field}\r\n")).collect();
        format!("{}{version}\r\nHost: localhost\r\n{fields}\r\n", self.request)
    }
}

/// What the page says.
struct Page(String);

impl Page {
    fn of(asked: Asked<'_>, others: &[&str]) -> Page {
        let output = tidemill(&asked.arguments(others));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stderr, b"");
        Page(String::from_utf8(output.stdout).unwrap())
    }

    /// What the line with this label says.
    fn line(&self, label: &str) -> Option<&str> {
        let lines = self.0.lines().take_while(|line| !line.is_empty());
        lines.filter_map(|line| line.split_at_checked(14)).find(|(name, _)| name.trim() == label).map(|(_, text)| text)
    }

    #[track_caller]
    fn assert_line(&self, label: &str, part: &str) {
        let line = self.line(label);
        assert!(line.is_some_and(|line| line.contains(part)), "no {part:?} in {label}: {line:?}\n{}", self.0);
    }

    /// The heads of the responses, each with its blank line.
    fn heads(&self) -> Vec<String> {
        let sections = self.0.split("\n\n").skip(1);
        sections.map(|head| format!("{}\n\n", head.trim_end()).replace('\n', "\r\n")).collect()
    }
}

fn tidemill(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidemill")).args(arguments).env_remove("RUST_LOG").output().unwrap()
}
