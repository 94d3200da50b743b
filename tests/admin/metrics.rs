//! `/metrics` is what Prometheus expects, and counts what happened.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Server, has_tool, status, wait_until};
use crate::{ask, server};

/// Samples by name and labels, as written.
pub fn samples(server: &Server) -> HashMap<String, f64> {
    let (head, text) = ask(server, "/metrics");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.into(), value.parse().unwrap()))
        .collect()
}

fn get(server: &Server, target: &str) -> String {
    server.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
}

#[test]
fn every_line_belongs_to_a_family_that_was_introduced() {
    let server = server(&[]);
    get(&server, "/plaintext");
    let (_, text) = ask(&server, "/metrics");
    let (mut name, mut kind) = ("", "");
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["#", "HELP", family, ..] => (name, kind) = (family, ""),
            ["#", "TYPE", family, is] => {
                assert_eq!(family, name, "HELP and TYPE are of the same family");
                kind = is;
            }
            _ => assert_sample(line, name, kind),
        }
    }
}

fn assert_sample(line: &str, family: &str, kind: &str) {
    let (metric, value) = line.rsplit_once(' ').unwrap();
    assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
    let name = metric.split('{').next().unwrap();
    let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
    assert!(suffixes.iter().any(|suffix| *name == format!("{family}{suffix}")), "{line} in {family}");
    assert_eq!(kind == "counter", family.ends_with("_total"), "{family} is a {kind}");
}

#[test]
fn promtool_is_content() {
    if !has_tool("promtool") {
        return;
    }
    let server = server(&[]);
    get(&server, "/plaintext");
    let (_, text) = ask(&server, "/metrics");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn requests_and_ends_are_counted_by_kind() {
    let server = server(&["--header-timeout", "100ms"]);
    for (target, code) in [("/plaintext", "200"), ("/nowhere", "404"), ("/nowhere", "404")] {
        assert_eq!(status(&get(&server, target)), code);
    }
    let mut slow = server.connect();
    slow.send("GET / HT");
    assert!(slow.read_to_end().starts_with("HTTP/1.1 408 "));
    drop(slow);
    let mut counted = HashMap::new();
    wait_until("everything is counted", || {
        counted = samples(&server);
        counted["tidemill_connections_closed_total{by=\"timeout\"}"] == 1.0
            && counted["tidemill_requests_total{class=\"4xx\"}"] == 3.0
    });
    assert_eq!(counted["tidemill_timeouts_total{wait=\"client-slow-head\"}"], 1.0);
    assert!(
        !counted.iter().any(|(name, count)| name.starts_with("tidemill_connections{") && *count > 0.0),
        "{counted:?}"
    );
    assert_eq!(counted["tidemill_requests_total{class=\"4xx\"}"], 3.0, "two of nowhere, one too slow");
    // Those of the admin count as well: the last one is not over yet.
    let answered = counted["tidemill_requests_total{class=\"2xx\"}"];
    let accepted = counted["tidemill_connections_accepted_total"];
    assert_eq!(answered + 3.0 + 1.0, accepted, "a connection for each");
    assert_eq!(counted["tidemill_request_duration_seconds_count"], answered + 3.0);
    assert_eq!(counted["tidemill_request_duration_seconds_bucket{le=\"+Inf\"}"], answered + 3.0);
    assert!(counted["tidemill_sent_bytes_total"] > 0.0);
    assert!(counted["tidemill_syscalls_total{call=\"accept\"}"] >= accepted);
}

#[test]
fn verdicts_are_those_on_connections_for_everyone() {
    let server = server(&[]);
    get(&server, "/plaintext");
    let sum = |family: &str| {
        let samples = samples(&server);
        let of_family = samples.iter().filter(|(name, _)| name.starts_with(family));
        of_family.map(|(_, count)| count).sum::<f64>()
    };
    wait_until("it has ended", || sum("tidemill_connection_verdicts_total{") >= 1.0);
    for _ in 0..3 {
        sum("tidemill_first_fins_total{");
    }
    assert_eq!(sum("tidemill_connection_verdicts_total{"), 1.0, "who asks the admin listener is not counted");
    assert_eq!(sum("tidemill_first_fins_total{"), 1.0);
    assert!(sum("tidemill_connections_closed_total{") > 4.0, "there they are counted");
}

#[test]
fn buckets_only_grow() {
    let server = server(&[]);
    for _ in 0..20 {
        get(&server, "/plaintext");
    }
    let (_, text) = ask(&server, "/metrics");
    let buckets = text.lines().filter_map(|line| line.strip_prefix("tidemill_request_duration_seconds_bucket"));
    let counts: Vec<u64> = buckets.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    assert!(counts.is_sorted() && *counts.last().unwrap() >= 20, "{counts:?}");
}
