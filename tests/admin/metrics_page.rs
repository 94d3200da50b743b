//! docs/metrics.md is held to the server.

use std::fs;

use crate::{ask, server};

#[test]
fn waits_that_end_connections_are_those_of_the_page() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let (_, values) = page.split_once("Values of `wait`: ").unwrap();
    let values = values.split_once("\n\n").unwrap().0;
    let named: Vec<&str> = values.split('`').skip(1).step_by(2).collect();
    let (_, text) = ask(&server(&[]), "/metrics");
    for family in ["tidemill_timeouts_total", "tidemill_connections"] {
        let begin = format!("{family}{{wait=\"");
        let waits = text.lines().filter_map(|line| line.strip_prefix(begin.as_str()));
        let waits: Vec<&str> = waits.filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(waits, named, "{family}");
    }
}
