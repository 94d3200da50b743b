//! Running out of descriptors or of allowed connections: nobody spins, nobody is forgotten.

use std::process::Command;

use crate::support::{Client, Server, status, wait_until};

const REQUEST: &str = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";

fn ask(client: &mut Client) {
    client.send(REQUEST);
    assert_eq!(client.read_response().1, "Hello, World!");
}

#[test]
fn descriptors_that_ran_out_are_waited_for_without_spinning() {
    // The server allows itself no more connections than it may have descriptors; what takes them away from it here is
    // somebody else, as it is in life when the whole system runs out.
    let server = Server::start(&[]);
    let few = Command::new("prlimit").args(["--nofile=32:32", "--pid", &server.pid().to_string()]).status().unwrap();
    assert!(few.success());
    let mut clients: Vec<Client> = (0..40).map(|_| server.connect()).collect();
    server.wait_for_log("cannot accept");

    let busy_from = server.cpu_ticks();
    for client in &mut clients[..10] {
        ask(client);
    }
    let pause = std::time::Instant::now();
    wait_until("half a second has passed", || pause.elapsed().as_millis() > 500);
    assert!(server.cpu_ticks() - busy_from < 10, "the loop spun while it had no descriptors");

    // Those in the backlog are served as soon as others leave.
    let mut late = clients.split_off(39);
    clients.truncate(10);
    ask(&mut late[0]);
    let logged = server.log().matches("cannot accept").count();
    assert_eq!(logged, 1, "one episode, one line:\n{}", server.log());
}

/// Sets the limit on the server's open files, from outside.
fn allow_files(server: &Server, soft: u32) {
    let limit = format!("--nofile={soft}:");
    let status = Command::new("prlimit").args([&limit, "--pid", &server.pid().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_shortage_that_ends_by_itself_leaves_the_loop_asleep() {
    // Nobody leaves here: descriptors come back from outside, as they do when the whole system had run out.
    let server = Server::start(&[]);
    allow_files(&server, 16);
    let mut clients: Vec<Client> = (0..30).map(|_| server.connect()).collect();
    server.wait_for_log("cannot accept");
    allow_files(&server, 256);
    server.wait_for_log("descriptors are available again");
    clients.iter_mut().for_each(ask);

    let busy_from = server.cpu_ticks();
    clients[0].send("GET /delay/500 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&clients[0].read_response().0), "200");
    let busy = server.cpu_ticks() - busy_from;
    assert!(busy < 10, "the loop spun for {busy} ticks although there was nothing to do");
}

#[test]
fn the_connection_limit_leaves_the_rest_in_the_backlog() {
    let server = Server::start(&["--max-connections", "3"]);
    let mut allowed: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    allowed.iter_mut().for_each(ask);
    let mut fourth = server.connect();
    fourth.send(REQUEST);
    server.wait_for_log("all connections allowed are in use");
    ask(&mut allowed[1]);
    drop(allowed);
    assert_eq!(status(&fourth.read_head()), "200");
}

#[test]
fn churn_at_the_connection_limit_does_not_fill_the_log() {
    let server = Server::start(&["--max-connections", "1"]);
    for _ in 0..20 {
        let (mut first, mut second) = (server.connect(), server.connect());
        ask(&mut first);
        drop(first);
        ask(&mut second);
    }
    let lines = server.log().lines().count();
    assert!(lines <= 1, "{lines} lines:\n{}", server.log());
}

#[test]
fn an_idle_connection_costs_less_than_a_kibibyte() {
    let server = Server::start(&[]);
    // What the first requests bring in once is not what a connection costs.
    for _ in 0..10 {
        ask(&mut server.connect());
    }
    let before = server.memory_kib("RssAnon");
    let mut clients: Vec<Client> = (0..500).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(ask);
    let each = (server.memory_kib("RssAnon").saturating_sub(before)) * 1024 / 500;
    assert!(each <= 1024, "an idle connection costs {each} bytes");
    clients.iter_mut().for_each(ask);
}

#[test]
fn clients_that_reset_while_a_handler_waits_leave_at_once() {
    // Nothing was asked of the kernel about a connection whose inbox is full, or whose client has ended its direction,
    // and so nothing was told when it was reset: its slot and descriptor were kept until the handler was asked again.
    let server = Server::start(&[]);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let before = open();
    let mut dead = Vec::new();
    for number in 0..20 {
        let mut client = server.connect();
        client.send("GET /sse?every=60m HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(status(&client.read_head()), "200");
        if number % 2 == 0 {
            client.send([b'x'; 60_000]);
        } else {
            client.finish();
        }
        dead.push(client);
    }
    assert_eq!(open(), before + 20);
    // Closing with unread input (the events that have arrived since the head) is a reset.
    for client in dead {
        socket2::SockRef::from(&client.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
    wait_until("all of them have left", || open() == before);
}
