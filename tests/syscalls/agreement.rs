//! The server's counters and strace agree, whatever is going on.

use std::io::Write;

use crate::client::{FIN, TEXT, WebSocket};
use crate::support::{status, wait_until};
use crate::trace::{KINDS, LOOK};
use crate::traced::{ACCOUNT_CALLS, Scratch, Traced, difference};

#[test]
fn an_account_costs_what_is_known_and_nothing_else() {
    let Some(mut server) = Traced::start(&[]) else { return };
    server.explain();
    server.explain();
    let window = server.between_accounts();
    let busy: Vec<_> = window.busy().into_iter().collect();
    assert_eq!(busy, [], "nothing is left of {ACCOUNT_CALLS:?}: {:#?}", window.calls);
}

#[test]
fn the_loop_is_described_with_the_same_counters() {
    let Some(mut server) = Traced::start(&[]) else { return };
    server.explain();
    let described = server.ask_admin("/loop?format=json");
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    let (trace, accounts) = server.finish();
    let calls = described["syscalls"].as_object().unwrap();
    let later = accounts[0].keys().map(|kind| (*kind, calls[*kind].as_u64().unwrap())).collect();
    assert_eq!(calls.len(), accounts[0].len(), "{calls:?}");
    let window = trace.between("GET /metrics", "GET /loop");
    assert_eq!(window.counts, difference(&later, &accounts[0]), "{:#?}", window.calls);
}

#[test]
fn every_kind_of_call_is_counted_whatever_clients_do() {
    let site = Scratch::new();
    std::fs::write(site.path("large.bin"), vec![b'x'; 3_000_000]).unwrap();
    let Some(mut server) = Traced::start(&["--lab", &site.path("").display().to_string()]) else { return };
    server.explain();
    refused_in_the_middle_of_a_request(&server);
    content_both_ways(&server);
    a_file_and_half_a_file(&server);
    let mut socket = WebSocket::open_on(server.connect(), "/ws/echo", "");
    socket.send(FIN | TEXT, "x".repeat(100_000));
    assert_eq!(socket.read_message().1.len(), 100_000);
    drop(socket);
    // What else happened in the turn of an account would be counted by the one side and not by the other.
    wait_until("only the admin is left", || server.open_connections() == 1);
    server.explain();
    let window = server.between_accounts();
    // A look at the CPU clock depends on how long a drive takes, FIONREAD is for a stop, and there are no upstreams.
    let expected = KINDS.into_iter().filter(|kind| !["clock_gettime", "ioctl", "connect"].contains(kind));
    let missing: Vec<_> = expected.filter(|kind| !window.counts.contains_key(kind)).collect();
    assert_eq!(missing, [""; 0], "{:#?}", window.calls);
}

/// A connection that has to linger.
fn refused_in_the_middle_of_a_request(server: &Traced) {
    let mut client = server.connect();
    client.send("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n{");
    assert_eq!(status(&client.read_to_end()), "413");
}

/// More than both rings hold, at odd sizes, so that they wrap.
fn content_both_ways(server: &Traced) {
    const SIZE: usize = 999_983;
    let mut client = server.connect();
    let mut sender = client.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        sender
            .write_all(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes())
            .unwrap();
        vec![b'x'; SIZE].chunks(7919).for_each(|piece| sender.write_all(piece).unwrap());
    });
    let (head, content) = client.read_response();
    writer.join().unwrap();
    assert_eq!((status(&head), content.len()), ("200", SIZE));
}

/// The second of them is left alone once the server has looked whether anybody reads it.
fn a_file_and_half_a_file(server: &Traced) {
    const REQUEST: &str = "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = server.connect();
    client.send(REQUEST);
    assert_eq!(client.read_response().1.len(), 3_000_000);
    client.send(REQUEST);
    client.read_head();
    wait_until("the server has looked", || server.text().contains(LOOK));
}
