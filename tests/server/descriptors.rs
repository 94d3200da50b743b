//! Running out of descriptors or of allowed connections: nobody spins, nobody is forgotten.

use std::fs::File;
use std::net::TcpStream;
use std::process::Command;

use crate::files::Site;
use crate::support::{Client, Server, field, status, wait_until};

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

/// A folder with so many files that the kernel's buffers do not hold, and a server for it with so many descriptors.
fn with_descriptors(descriptors: u32, files: usize, arguments: &[&str]) -> (Site, Server) {
    let site = Site::new();
    for number in 0..files {
        // Larger than all buffers, and without blocks on the disk.
        File::create(site.root.join(format!("{number}.bin"))).unwrap().set_len(64 << 20).unwrap();
    }
    let mut command = Command::new("prlimit");
    command.args([
        &format!("--nofile={descriptors}:{descriptors}"),
        env!("CARGO_BIN_EXE_tidemill"),
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    command.args(arguments).arg(&site.root);
    (site, Server::spawn(command))
}

fn ask_for_file(client: &mut Client, number: usize) {
    client.send(format!("GET /{number}.bin HTTP/1.1\r\nHost: a\r\n\r\n"));
}

/// The admin's pages, each on a connection of its own. One of them asks the kernel, which takes a descriptor.
fn assert_admin_answers(server: &Server) {
    for target in ["/healthz", "/connections", "/loop", "/metrics"] {
        let mut admin = Client::new(TcpStream::connect(server.admin()).unwrap());
        admin.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        let (head, content) = admin.read_response();
        assert_eq!(status(&head), "200", "{target}: {head}");
        // On a slow machine the kernel's explanation may be late and missing, but not for want of a descriptor.
        assert!(!content.contains("Too many open files"), "{content}");
    }
}

#[test]
fn with_few_descriptors_slow_clients_wait_for_a_place_and_all_get_their_files() {
    const CLIENTS: usize = 40;
    let (_site, server) = with_descriptors(64, CLIENTS, &[]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        ask_for_file(client, number);
    }
    server.wait_for_log("all connections allowed are in use: new ones wait (ulimit -n 64 is enough for 11)");
    for mut client in clients {
        assert_admin_answers(&server);
        assert_eq!(status(&client.read_head()), "200");
    }
    assert!(!server.log().contains("503") && !server.log().contains("cannot accept"), "{}", server.log());
}

#[test]
fn more_slow_clients_than_files_can_be_open_get_503_and_the_log_says_why() {
    let (_site, server) = with_descriptors(64, 20, &["--max-connections", "60"]);
    server.wait_for_log("--max-connections 60: 64 open files are allowed, which is enough for 20 connections");
    let (mut clients, mut statuses) = (Vec::new(), Vec::new());
    for number in 0..20 {
        // Whoever is connected and silent meanwhile would be closed for that.
        let mut client = server.connect();
        ask_for_file(&mut client, number);
        let head = client.read_head();
        statuses.push(status(&head).to_owned());
        let retry = field(&head, "Retry-After");
        assert!(if statuses[number] == "200" { retry.is_none() } else { retry == Some("1") }, "{head}");
        clients.push(client);
        assert_admin_answers(&server);
    }
    let (served, refused): (Vec<_>, Vec<_>) = statuses.iter().partition(|status| *status == "200");
    assert!(served.len() >= 10 && !refused.is_empty() && refused.iter().all(|status| *status == "503"), "{statuses:?}");
    server.wait_for_log("503 for GET /19.bin: as many files are open as there are descriptors for besides the");
    assert!(server.log().contains("connections (ulimit -n)"), "{}", server.log());
    // Whoever leaves gives the descriptor of its file back.
    drop(clients);
    wait_until("a file can be opened again", || {
        let mut client = server.connect();
        ask_for_file(&mut client, 19);
        status(&client.read_head()) == "200"
    });
}

#[test]
fn large_files_that_were_served_do_not_take_the_descriptors_of_others() {
    let (_site, server) = with_descriptors(64, 100, &[]);
    for number in 0..100 {
        let mut client = server.connect();
        ask_for_file(&mut client, number);
        assert_eq!(status(&client.read_head()), "200", "{number}: {}", server.log());
    }
    assert_admin_answers(&server);
    assert_eq!(server.log(), "");
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

#[test]
fn so_few_descriptors_that_files_may_not_be_served_are_said_at_the_start() {
    let (_site, server) = with_descriptors(23, 1, &[]);
    server.wait_for_log("23 open files are allowed (ulimit -n): files may get 503; allow at least 24");
    let (_site, server) = with_descriptors(24, 1, &[]);
    let mut client = server.connect();
    ask_for_file(&mut client, 0);
    assert_eq!(status(&client.read_head()), "200");
    assert!(!server.log().contains("open files are allowed"), "{}", server.log());
}
