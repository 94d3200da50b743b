//! `/loop`: where the time goes, and who kept the loop busy.

use crate::support::{field, status};
use crate::{ask, ask_json, server};

#[test]
fn the_longest_drives_are_named_with_connection_and_route() {
    let server = server(&[]);
    let mut client = server.connect();
    client.send("GET /bytes/3000000?busy HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&client.read_response().0), "200");
    let turn = ask_json(&server, "/loop?format=json");
    let longest = turn["longest"].as_array().unwrap();
    assert!((1..=61).contains(&longest.len()), "one for each second: {turn}");
    for drive in longest {
        let who = (drive["connection"].as_u64().unwrap(), drive["line"].as_str().unwrap());
        assert!(
            [(1, "GET /bytes/3000000?busy"), (1, ""), (2, "GET /loop?format=json"), (2, "")].contains(&who),
            "{turn}"
        );
        assert!(drive["took_us"].as_u64() <= turn["drive"]["max_us"].as_u64(), "{turn}");
    }
    let sum = |name: &str| turn["phases"][name]["total_us"].as_u64().unwrap();
    let phases: u64 = ["poll", "collect", "run", "expire", "accept", "reap"].map(sum).iter().sum();
    let uptime = turn["uptime_ms"].as_u64().unwrap() * 1000;
    assert!(phases.abs_diff(uptime) < uptime / 10 + 10_000, "no time is lost: {phases} of {uptime} us, {turn}");
}

#[test]
fn accept_queues_are_told_with_their_limits() {
    let server = server(&["--backlog", "77"]);
    let (head, text) = ask(&server, "/loop");
    assert_eq!(field(&head, "Content-Type"), Some("text/plain; charset=utf-8"));
    assert!(text.contains("poll ") && text.contains("reap "), "{text}");
    if cfg!(target_os = "linux") {
        assert!(text.contains(&format!("accept queue of {}: 0 of 77, 0 dropped", server.address)), "{text}");
    }
}
