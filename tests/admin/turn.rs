//! `/loop`: where the time goes, and who kept the loop busy.

use std::thread;
use std::time::Duration;

use crate::support::{Server, field, status};
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

/// A request whose last drive takes long: 8 MB of JSON that turns out to be invalid only at its end.
fn long_request() -> Vec<u8> {
    let mut json = b"[".to_vec();
    json.extend(b"1234567,".repeat(1_000_000));
    let head = format!("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", json.len());
    [head.as_bytes(), &json].concat()
}

/// Of the drives of the last hour the one for this request, in microseconds: all of it, on the CPU, off it.
fn remembered(server: &Server) -> [u64; 3] {
    let turn = ask_json(server, "/loop?format=json");
    let drives = turn["longest_of_hour"].as_array().unwrap();
    let drive = drives.iter().find(|drive| drive["line"] == "POST /users").expect("it is remembered");
    assert_eq!(drive["connection"], 1, "{turn}");
    let ended = drive["ended"].as_str().unwrap();
    assert!(ended.starts_with("20") && ended.ends_with('Z'), "{ended}");
    let times = ["took_us", "on_cpu_us", "off_cpu_us"];
    let [took, on_cpu, off_cpu] = times.map(|name| drive[name].as_u64().expect("it was long enough to look"));
    assert!(took.abs_diff(on_cpu + off_cpu) <= 1, "{drive}");
    [took, on_cpu, off_cpu]
}

#[test]
fn a_drive_that_computed_is_remembered_with_its_cpu_time() {
    let server = server(&["--max-body-size", "16MiB"]);
    let mut client = server.connect();
    client.send(long_request());
    assert_eq!(status(&client.read_response().0), "400");
    let [took, on_cpu, off_cpu] = remembered(&server);
    assert!(on_cpu >= 5_000, "checking the content takes longer than that: {took} {on_cpu} {off_cpu}");
    let (_, text) = ask(&server, "/loop");
    let (_, hour) = text.split_once("the longest drive of each minute of the last hour, in UTC:\n").expect(&text);
    assert!(hour.lines().any(|line| line.ends_with("  c=1 POST /users")), "{text}");
}

#[test]
fn a_drive_during_which_the_process_was_stopped_is_told_apart() {
    let server = server(&["--max-body-size", "16MiB"]);
    let mut client = server.connect();
    client.send(long_request());
    // It is stopped again and again, so that the drive is hit wherever it is.
    client.stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    while client.stream.peek(&mut [0]).is_err() {
        server.signal("STOP");
        // The time in which it is stopped is what is measured.
        thread::sleep(Duration::from_millis(50));
        server.signal("CONT");
    }
    let [took, on_cpu, off_cpu] = remembered(&server);
    assert!(off_cpu > on_cpu && off_cpu >= 50_000, "it was stopped most of the time: {took} {on_cpu} {off_cpu}");
}
