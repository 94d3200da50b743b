//! `/connections` names whoever holds something up, and the kernel agrees.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Client, Server, wait_until};
use crate::{ask, ask_json, server};

/// From the moment a client misbehaves until it is named.
const NAMED_WITHIN: Duration = Duration::from_secs(1);

fn connections(server: &Server) -> Vec<Value> {
    ask_json(server, "/connections?format=json")["connections"].as_array().unwrap().clone()
}

/// The connection of this client as the server sees it, if it is listed.
fn of(client: &Client, connections: &[Value]) -> Option<Value> {
    let peer = client.stream.local_addr().unwrap().to_string();
    connections.iter().find(|connection| connection["peer"] == *peer).cloned()
}

/// What is said about this client once it is said to wait for this.
fn waits_for(server: &Server, client: &Client, wait: &str) -> Value {
    let mut found = Value::Null;
    wait_until(&format!("somebody is named for {wait}"), || {
        found = of(client, &connections(server)).unwrap_or_default();
        found["wait"] == wait
    });
    found
}

/// Without a bound on what is unsent the kernel took the last megabytes of a file at once. Whoever was still reading them
/// counted as idle then, and was closed as such.
#[test]
fn whoever_still_reads_the_end_of_a_large_file_is_not_idle() {
    const SIZE: usize = 3_500_000;
    let folder = std::env::temp_dir().join(format!("tidemill-{}-large-file", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("large.bin"), vec![b'x'; SIZE]).unwrap();
    let server = server(&[folder.to_str().unwrap()]);
    let mut reader = server.connect();
    reader.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    reader.read_head();
    wait_until("its kernel takes no more", || {
        of(&reader, &connections(&server)).is_some_and(|found| found["interest"] == "read write")
    });
    assert_eq!(of(&reader, &connections(&server)).unwrap()["wait"], "client-slow-read");
    reader.read_exactly(SIZE);
    waits_for(&server, &reader, "client-idle");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn whoever_never_reads_is_named_within_a_second_and_the_kernel_agrees() {
    let server = server(&[]);
    let mut idle = server.connect();
    idle.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    idle.read_response();
    let mut culprit = server.connect();
    let began = Instant::now();
    culprit.send("GET /bytes/200000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut named = waits_for(&server, &culprit, "client-slow-read");
    assert_eq!(named["line"], "GET /bytes/200000000");
    assert_eq!((&named["request"], &named["state"]), (&Value::from(1), &Value::from("sending")));
    wait_until("its kernel takes no more", || {
        named = of(&culprit, &connections(&server)).unwrap();
        named["interest"] == "read write"
    });
    assert!(began.elapsed() < NAMED_WITHIN, "{:?}", began.elapsed());
    assert!(named["outbox"].as_u64().unwrap() > 0, "{named}");
    assert!(named["sent"].as_u64().unwrap() > 0, "{named}");

    // Behind the first megabytes, the window of the client's kernel is shut.
    if cfg!(target_os = "linux") {
        wait_until("the kernel says so too", || {
            let kernel = of(&culprit, &connections(&server)).unwrap()["kernel"].take();
            let since = kernel["rwnd_limited_ms"].as_u64().unwrap() + kernel["sndbuf_limited_ms"].as_u64().unwrap();
            kernel["notsent"].as_u64().unwrap() > 0 && since > 0
        });
    }
    // The culprit comes first, although the other one has been waiting for longer.
    assert_eq!(connections(&server)[0]["line"], "GET /bytes/200000000");
    assert_eq!(of(&idle, &connections(&server)).unwrap()["wait"], "client-idle");
}

#[test]
fn whoever_sends_a_head_or_content_slowly_is_named_within_a_second() {
    let server = server(&[]);
    let (mut head, mut content) = (server.connect(), server.connect());
    let began = Instant::now();
    head.send("GET /plaintext HTTP/1.1\r\nHo");
    content.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    let mut slow_head = Value::Null;
    wait_until("all that there is of the head has arrived", || {
        slow_head = waits_for(&server, &head, "client-slow-head");
        slow_head["received"] == 27
    });
    let slow_content = waits_for(&server, &content, "client-slow-body");
    assert!(began.elapsed() < NAMED_WITHIN, "{:?}", began.elapsed());
    assert_eq!((&slow_head["state"], &slow_head["line"]), (&"receiving head".into(), &"".into()));
    assert_eq!(slow_head["interest"], "read");
    assert_eq!(slow_content["line"], "POST /echo");
    let left = slow_head["left_ms"].as_u64().unwrap();
    assert!((1..=10_000).contains(&left), "of the header timeout: {left}");
    if cfg!(target_os = "linux") {
        // Nothing of ours is on its way: it is not the network.
        assert_eq!((&slow_head["kernel"]["unacked"], &slow_head["kernel"]["notsent"]), (&0.into(), &0.into()));
    }
}

#[test]
fn people_get_text_and_programs_get_json() {
    let server = server(&[]);
    let mut slow = server.connect();
    slow.send("GET /slow HT");
    waits_for(&server, &slow, "client-slow-head");
    let (head, text) = ask(&server, "/connections");
    assert!(head.contains("Content-Type: text/plain; charset=utf-8\r\n"), "{head}");
    assert!(text.starts_with("connections: 1, 1 client-slow-head\n"), "{text}");
    assert!(text.contains("client-slow-head for "), "{text}");
    assert!(!text.contains("GET /connections"), "whoever asks is not what is asked about: {text}");

    let mut client = Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
    client.send("GET /connections HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n");
    let (head, json) = client.read_response();
    assert!(head.contains("Content-Type: application/json\r\n"), "{head}");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["total"], 1);
    assert_eq!(json["waits"]["client-slow-head"], 1);
}

#[test]
fn what_a_client_sends_cannot_forge_lines() {
    let server = server(&[]);
    let mut client = server.connect();
    client.send("GET /bytes/100000000?%0a\"'<b>\\ HTTP/1.1\r\nHost: a\r\n\r\n");
    waits_for(&server, &client, "client-slow-read");
    let (_, text) = ask(&server, "/connections");
    let line = text.lines().find(|line| line.contains("/bytes/")).unwrap();
    assert!(line.contains(r#"GET /bytes/100000000?%0a"#), "{line}");
    assert!(text.bytes().all(|byte| byte == b'\n' || !byte.is_ascii_control()), "{text:?}");
}

#[test]
fn no_more_are_listed_than_asked_for() {
    let server = server(&[]);
    let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET");
    }
    for client in &clients {
        waits_for(&server, client, "client-slow-head");
    }
    let answer = ask_json(&server, "/connections?format=json&limit=3");
    assert_eq!(answer["total"], 5);
    assert_eq!(answer["waits"]["client-slow-head"], 5);
    assert_eq!(answer["connections"].as_array().unwrap().len(), 3);
    let (_, text) = ask(&server, "/connections?limit=0");
    assert!(text.contains("... and 5 more"), "{text}");
    // What is no number is as good as nothing.
    assert_eq!(ask_json(&server, "/connections?format=json&limit=x")["connections"].as_array().unwrap().len(), 5);
}

#[test]
fn a_unix_socket_is_answered_without_the_kernel() {
    let directory = std::env::temp_dir().join(format!("tidemill-admin-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("admin");
    let server = Server::start(&["--admin", &format!("unix:{}", path.display())]);
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    // Whatever it is called: nobody gets here by name.
    std::io::Write::write_all(&mut stream, b"GET /connections HTTP/1.0\r\nHost: example.org\r\n\r\n").unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("connections: 0\n"), "{answer}");
    drop(server);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_response_that_is_complete_and_has_not_left_is_still_what_the_client_is_blamed_for() {
    // It was the next request that was named, or none: the record of the one being answered had moved on.
    let server = server(&[]);
    let mut size = 20_000_000;
    let stuck = (0..100).find_map(|_| match stuck_with_the_end_of(&server, size) {
        Ok((client, named)) => Some((client, size, named)),
        Err(taken) => {
            size = taken + 30_000;
            None
        }
    });
    let (_culprit, size, named) = stuck.expect("30 kB more than the kernel took is a little more than it takes");
    assert_eq!((&named["line"], &named["request"]), (&format!("GET /bytes/{size}").into(), &1.into()), "{named}");
    assert_eq!((&named["wait"], &named["state"]), (&"client-slow-read".into(), &"sending".into()), "{named}");
}

/// A client that asks for so much and for something that takes long, and reads nothing. What is said of it, if the end
/// of the first response is all that the server has left, and otherwise how much the kernel took.
fn stuck_with_the_end_of(server: &Server, size: u64) -> Result<(Client, Value), u64> {
    let mut client = server.connect();
    client.send(format!("GET /bytes/{size} HTTP/1.1\r\nHost: a\r\n\r\nGET /delay/10000 HTTP/1.1\r\nHost: a\r\n\r\n"));
    let mut named = Value::Null;
    // Each look takes the server a turn, in which it sends what it can, even if it is tortured.
    wait_until("it sends no more", || {
        let before = named["sent"].take();
        named = of(&client, &connections(server)).unwrap_or_default();
        named["sent"].as_u64() > Some(0) && named["sent"] == before
    });
    let (sent, outbox) = (named["sent"].as_u64().unwrap(), named["outbox"].as_u64().unwrap());
    if outbox > 0 && sent + outbox > size { Ok((client, named)) } else { Err(sent) }
}

#[test]
fn two_connections_from_one_port_are_not_taken_for_each_other() {
    if !cfg!(target_os = "linux") {
        return;
    }
    // What the kernel says was looked up by the client's address alone.
    let server = server(&["--listen", "127.0.0.2:0"]);
    let second = server.listener(1);
    let mut deaf = connect_from(0, &server.address);
    deaf.send("GET /bytes/200000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut slow = connect_from(deaf.stream.local_addr().unwrap().port(), second);
    slow.send("GET / HT");
    let explanation = |wait: &str| {
        let mut found = Value::Null;
        wait_until(&format!("the kernel tells of {wait}"), || {
            let all = connections(&server);
            found = all.into_iter().find(|one| one["wait"] == wait && !one["kernel"].is_null()).unwrap_or_default();
            !found.is_null()
        });
        found["kernel"]["notsent"].as_u64().unwrap()
    };
    wait_until("somebody does not read", || explanation("client-slow-read") > 0);
    assert_eq!(explanation("client-slow-head"), 0);
}

/// Connects from a port that another connection, to somewhere else, may use as well.
fn connect_from(port: u16, to: &str) -> Client {
    let (from, to): (SocketAddr, SocketAddr) = (([127, 0, 0, 1], port).into(), to.parse().unwrap());
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Client::new(socket.into())
}
