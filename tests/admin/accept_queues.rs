//! Connections that wait to be accepted, and those that the kernel turns away: what the real server tells of them, against
//! what the kernel itself says.
#![cfg(target_os = "linux")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::Command;

use socket2::{Domain, Socket, Type};
use tidemill::net::{listen_counters, sock_diag};

use crate::metrics::samples;
use crate::support::{Client, Server, has_tool, status, wait_until};
use crate::{ADMIN, ask, ask_json};

/// With room for five connections that nobody has accepted.
const FEW: [&str; 5] = ["--backlog", "4", "--max-body-size", "16MiB", "--report"];

fn start(arguments: &[&str]) -> Server {
    Server::start_untortured(&[&ADMIN[..], arguments].concat())
}

/// The process is stopped: it runs no further until it is told to.
fn stop(server: &Server) {
    server.signal("STOP");
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('T')
    };
    wait_until("the server is stopped", state);
}

/// Clients that begin to connect, and do not wait for it.
fn connect(address: &str, clients: usize) -> Vec<Socket> {
    let address: SocketAddr = address.parse().unwrap();
    let begin = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let error = socket.connect(&address.into()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::INPROGRESS.raw_os_error()), "{error}");
        socket
    };
    (0..clients).map(begin).collect()
}

/// What `ss` says that the kernel has dropped at the listener.
fn drops(address: &str) -> u64 {
    let output = Command::new("ss").args(["-Hltm", "src", address]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let drops = text.split(",d").nth(1).and_then(|rest| rest.split(')').next());
    drops.and_then(|drops| drops.parse().ok()).unwrap_or_else(|| panic!("{text:?}"))
}

/// Connections in the accept queue, as `ss` sees them.
fn waiting(address: &str) -> u32 {
    let output = Command::new("ss").args(["-Hlt", "src", address]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A client whose request is being worked on, in one drive that takes long.
fn hold_the_loop(server: &Server) -> Client {
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&client.read_response().0), "200");
    // It turns out to be invalid only at its end.
    let content = format!("[{}", "1234567,".repeat(1_000_000));
    client.send(format!("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{content}", content.len()));
    let [ours, theirs] = [client.stream.local_addr().unwrap(), client.stream.peer_addr().unwrap()];
    let sockets = |local: SocketAddr| sock_diag::connections(&[local.port()], 100).unwrap().sockets;
    let ours_is_out = || sockets(ours).iter().any(|socket| socket.peer == theirs && socket.wqueue == 0);
    wait_until("the content has been sent", ours_is_out);
    let is_read = || sockets(theirs).iter().any(|socket| socket.peer == ours && socket.rqueue == 0);
    // The drive that reads the last byte checks the whole content.
    wait_until("the content has been read", is_read);
    client
}

/// The rest of the line that begins so.
fn line<'a>(text: &'a str, begin: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.trim_start().strip_prefix(begin));
    found.unwrap_or_else(|| panic!("{begin:?} is missing in\n{text}"))
}

#[test]
fn a_drive_that_holds_the_loop_lets_the_queue_overflow_and_every_report_says_so() {
    if !has_tool("ss") {
        return;
    }
    let before = listen_counters::read().unwrap();
    let mut server = start(&FEW);
    let address = server.address.clone();
    let mut client = hold_the_loop(&server);
    stop(&server);
    client.stream.set_nonblocking(true).unwrap();
    let answer = client.stream.peek(&mut [0]);
    assert_eq!(answer.map_err(|error| error.kind()), Err(ErrorKind::WouldBlock), "the drive was too short");
    client.stream.set_nonblocking(false).unwrap();
    let _clients = connect(&address, 12);
    wait_until("five wait and seven were turned away", || waiting(&address) == 5 && drops(&address) >= 7);
    server.signal("CONT");
    assert_eq!(status(&client.read_response().0), "400");
    server.wait_for_log("overflows");

    let dropped = drops(&address);
    let said = server.log();
    let warning = said.lines().find(|line| line.contains("overflows")).unwrap();
    let parts = [
        "dropped ",
        " packets",
        "since ",
        "c=1 POST /users; 5 waited, and there is room for 5",
        "--backlog",
        "somaxconn",
    ];
    parts.iter().for_each(|part| assert!(warning.contains(part), "{part:?}: {warning}"));
    assert!(warning.contains(&format!("{address}: the accept queue overflows")), "{warning}");

    let text = ask(&server, "/loop").1;
    assert_eq!(line(&text, &format!("accept queue of {address}: ")), format!("0 of 4, {dropped} dropped"));
    let most = line(&text, "at most 5, at ");
    assert!(most.contains(", behind ") && most.ends_with("c=1 POST /users"), "{most}");

    let turn = ask_json(&server, "/loop?format=json");
    let queue = &turn["accept_queues"][0];
    let high_water = &queue["high_water"];
    assert_eq!((queue["depth"].as_u64(), queue["limit"].as_u64()), (Some(0), Some(4)), "{turn}");
    assert_eq!((queue["drops"].as_u64(), high_water["depth"].as_u64()), (Some(dropped), Some(5)), "{turn}");
    assert_eq!(high_water["behind"]["request"].as_str(), Some("POST /users"), "{turn}");

    let now = ask_json(&server, "/now?format=json");
    let all = now["findings"].as_array().unwrap();
    let found = all.iter().find(|finding| finding["kind"] == "accept-queue").unwrap_or_else(|| panic!("{now}"));
    let text = found["text"].as_str().unwrap();
    assert!(
        text.starts_with(&format!("the accept queue of {address} overflows: ")) && text.ends_with("room for 5"),
        "{text}"
    );

    let counted = samples(&server);
    let of_listener = |name: &str| counted[&format!("tidemill_accept_queue_{name}{{listener=\"{address}\"}}")];
    assert_eq!(["connections", "limit", "max_connections"].map(of_listener), [0.0, 4.0, 5.0]);
    assert_eq!(of_listener("drops_total"), dropped as f64);
    // Others of this namespace may have overflown, too, and so before this server began.
    let since = listen_counters::read().unwrap().since(before);
    let (overflows, drops) = (counted["tidemill_listen_overflows_total"], counted["tidemill_listen_drops_total"]);
    assert!((dropped as f64..=since.overflows as f64).contains(&overflows), "{overflows} of {since:?}");
    assert!((dropped as f64..=since.drops as f64).contains(&drops), "{drops} of {since:?}");

    server.signal("TERM");
    server.wait();
    server.wait_for_log("Transfer/sec:");
    let report = server.log();
    let told = line(&report, &format!("Accept queue of {address}: 5 of 5 at "));
    assert!(told.contains(", behind c=1 POST /users for "), "{told}");
    assert!(told.ends_with(&format!("; {dropped} packets dropped")), "{told}");
    assert!(report.contains("  Listeners of this network: "), "{report}");
    assert_eq!(report.matches("the accept queue overflows").count(), 1, "{report}");
}

#[test]
fn a_process_that_was_stopped_has_no_drive_to_blame() {
    if !has_tool("ss") {
        return;
    }
    let server = start(&FEW);
    stop(&server);
    let _clients = connect(&server.address, 9);
    wait_until("four were turned away", || waiting(&server.address) == 5 && drops(&server.address) >= 4);
    server.signal("CONT");
    server.wait_for_log("overflows");
    assert!(server.log().contains("and no drive was long; 5 waited, and there is room for 5"), "{}", server.log());
    let turn = ask_json(&server, "/loop?format=json");
    assert_eq!(turn["accept_queues"][0]["high_water"]["depth"].as_u64(), Some(5), "{turn}");
    assert!(turn["accept_queues"][0]["high_water"]["behind"].is_null(), "{turn}");
}

#[test]
fn a_queue_that_was_long_and_had_room_is_no_overflow() {
    if !has_tool("ss") {
        return;
    }
    let server = start(&["--backlog", "300"]);
    stop(&server);
    let clients = connect(&server.address, 200);
    wait_until("all of them wait", || waiting(&server.address) == 200);
    server.signal("CONT");
    wait_until("all of them are accepted", || waiting(&server.address) == 0);
    drop(clients);
    let turn = ask_json(&server, "/loop?format=json");
    let queue = &turn["accept_queues"][0];
    assert_eq!((queue["high_water"]["depth"].as_u64(), queue["drops"].as_u64()), (Some(200), Some(0)), "{turn}");
    assert!(queue["dropped_at"].is_null(), "{turn}");
    assert_eq!(server.log(), "");
}

#[test]
fn a_unix_socket_has_a_queue_whose_drops_nobody_counts() {
    let path = std::env::temp_dir().join(format!("tidemill-admin-queue-{}.sock", std::process::id()));
    let unix = format!("unix:{}", path.display());
    let server = start(&["--listen", &unix, "--backlog", "77"]);
    stop(&server);
    let clients = [(); 3].map(|()| UnixStream::connect(&path).unwrap());
    server.signal("CONT");
    let text = ask(&server, "/loop").1;
    let told = line(&text, &format!("accept queue of {unix}: "));
    assert!(["0 of 77, drops not known", "not known, drops not known"].contains(&told), "{told}");
    let counted = samples(&server);
    assert_eq!(counted[&format!("tidemill_accept_queue_max_connections{{listener=\"{unix}\"}}")], 3.0);
    assert!(!counted.contains_key(&format!("tidemill_accept_queue_drops_total{{listener=\"{unix}\"}}")), "{counted:?}");
    drop(clients);
}

#[test]
fn when_every_connection_is_in_use_that_is_the_reason() {
    if !has_tool("ss") {
        return;
    }
    let server = start(&["--backlog", "4", "--max-connections", "1"]);
    let mut only = server.connect();
    only.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&only.read_response().0), "200");
    let _clients = connect(&server.address, 9);
    // Nothing happens on the server meanwhile: it looks by itself.
    server.wait_for_log("overflows");
    let said = server.log();
    let warning = said.lines().find(|line| line.contains("overflows")).unwrap();
    assert!(warning.contains("while all connections allowed are in use; 5 waited"), "{warning}");
    assert!(warning.ends_with("raise --max-connections"), "{warning}");
}
