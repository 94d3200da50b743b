//! The times that the server records, against those that its clients see.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use tidemill::net::sock_diag;

use crate::logged::Logged;
use crate::support::{Server, status, wait_until};
use crate::timed::{TimedClient, assert_agrees, milliseconds, noted};

/// The server may have to gather this much before it answers.
const LARGE: &[&str] = &["--max-body-size", "16MiB"];

/// 8 MB of JSON that turns out to be invalid only at its end, so that one drive takes long.
fn invalid_json() -> Vec<u8> {
    let mut json = b"[".to_vec();
    json.extend(b"1234567,".repeat(1_000_000));
    json
}

/// `POST /users` with that content, and more fields in its head.
fn post(fields: &str) -> Vec<u8> {
    let content = invalid_json();
    let head = format!("POST /users HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), &content].concat()
}

#[test]
fn a_request_whose_drive_is_long_is_noted_with_the_times_that_its_client_sees() {
    for fields in ["Connection: close\r\n", ""] {
        let logged = Logged::start_untortured("json", LARGE);
        let seen = TimedClient::connect(&logged).ask(post(fields));
        assert_eq!(status(&seen.response), "400", "{}", seen.response);
        let line = &logged.objects(1)[0];
        assert_agrees(line, "last_byte_ms", seen.last_byte_ms());
        assert_agrees(line, "first_byte_ms", seen.first_byte_ms());
    }
}

#[test]
fn short_requests_on_connections_of_their_own_have_a_latency_in_the_report() {
    let mut server = Server::start(&["--report"]);
    for _ in 0..200 {
        let answer = server.ask("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&answer), "200");
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    server.wait_for_log("Transfer/sec:");
    let report = server.log();
    for name in ["Latency", "First byte"] {
        let line = report.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        let p50 = line.trim_start().trim_start_matches(name).split_whitespace().next().unwrap();
        let number = p50.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        assert!(number.parse::<f64>().unwrap() > 0.0, "{line:?} in\n{report}");
    }
}

#[test]
fn a_connection_that_answered_one_request_says_so_when_it_closes() {
    let server = Server::start(&["--log-level", "debug"]);
    for fields in ["Connection: close\r\n", ""] {
        let mut client = server.connect();
        let name = client.stream.local_addr().unwrap();
        client.send(format!("GET /plaintext HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(status(&client.read_response().0), "200");
        client.finish();
        assert_eq!(client.read_to_end(), "");
        let mut line = None;
        wait_until("the log says that the connection has closed", || {
            let is_its_end = |line: &&str| line.contains(&format!("{name} c=")) && line.contains(" after ");
            line = server.log().lines().find(is_its_end).map(str::to_owned);
            line.is_some()
        });
        let line = line.unwrap();
        assert!(line.contains("after 1 request"), "{line}");
    }
}

#[test]
fn a_request_whose_head_does_not_become_complete_is_noted_by_its_request_line() {
    let logged = Logged::start("json", &["--header-timeout", "200ms"]);
    let answer = logged.server.ask("GET /late?a=1 HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    assert_eq!(status(&answer), "408");
    let line = &logged.objects(1)[0];
    assert_eq!((line["method"].as_str(), line["target"].as_str()), (Some("GET"), Some("/late?a=1")), "{line}");
    assert_eq!(line["status"], 408);
}

#[test]
fn a_client_that_reads_nothing_is_cut_after_the_send_timeout_and_not_later() {
    thread::scope(|scope| {
        for seconds in [1, 2, 3] {
            scope.spawn(move || {
                let logged = Logged::start_untortured("json", &["--send-timeout", &format!("{seconds}s")]);
                let mut client = TimedClient::connect(&logged);
                let asked = Instant::now();
                client.stream.write_all(b"GET /stream/1000000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                client.wait_for_reset();
                let (lasted, timeout) = (asked.elapsed(), Duration::from_secs(seconds));
                assert!(lasted >= timeout, "cut after {lasted:?} of {timeout:?}");
                assert!(lasted <= timeout + Duration::from_millis(250), "cut after {lasted:?} of {timeout:?}");
            });
        }
    });
}

/// How many bytes of this client wait in the server's kernel.
fn unread(client: &TimedClient) -> Option<u32> {
    let (client, server) = (client.stream.local_addr().unwrap(), client.stream.peer_addr().unwrap());
    let sockets = sock_diag::connections(&[server.port()], 100).unwrap().sockets;
    sockets.iter().find(|socket| socket.peer == client).map(|socket| socket.rqueue)
}

/// How many bytes of this client wait in its own kernel until they are acknowledged.
fn unsent(client: &TimedClient) -> Option<u32> {
    let (client, server) = (client.stream.local_addr().unwrap(), client.stream.peer_addr().unwrap());
    let sockets = sock_diag::connections(&[client.port()], 100).unwrap().sockets;
    sockets.iter().find(|socket| socket.peer == server).map(|socket| socket.wqueue)
}

#[test]
fn a_request_that_waited_for_the_drive_of_another_connection_is_noted_as_behind_it() {
    if let Err(error) = sock_diag::connections(&[1], 1) {
        return eprintln!("skipped: sock_diag is not available here: {error}");
    }
    let logged = Logged::start_untortured("json", LARGE);
    let (mut long, mut short) = (TimedClient::connect(&logged), TimedClient::connect(&logged));
    // Both connections have been accepted.
    let ping = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";
    [&mut long, &mut short].into_iter().for_each(|client| assert_eq!(status(&client.ask(ping).response), "200"));
    let sent = Instant::now();
    long.stream.write_all(&post("")).unwrap();
    // The drive that reads the last byte checks the whole content, too.
    // What the client's kernel still holds is not in the server's queue yet.
    wait_until("the client's kernel has sent the content", || unsent(&long) == Some(0));
    wait_until("the server has read the content", || unread(&long) == Some(0));
    let began = Instant::now();
    let waited = short.ask("GET /plaintext?waited HTTP/1.1\r\nHost: a\r\n\r\n");
    let seen = long.response_to(sent);
    let drive = seen.first_byte - began;
    assert!(drive >= Duration::from_millis(80), "the drive was too short to wait for: {drive:?}");
    assert!(waited.first_byte + Duration::from_millis(10) > seen.first_byte, "the request overtook the drive");
    let lines = logged.objects(4);
    let by_target = |target| lines.iter().find(|line| line["target"] == target).unwrap();
    let (line, cause) = (by_target("/plaintext?waited"), by_target("/users"));
    let behind = &line["behind"];
    assert_eq!(
        (&behind["connection"], behind["request"].as_str()),
        (&cause["connection"], Some("POST /users")),
        "{line}"
    );
    let latency = milliseconds(waited.first_byte - waited.sent);
    // The client itself may have waited for a busy machine.
    assert!(noted(behind, "ms") >= 0.95 * latency - 10.0, "the client waited {latency:.1} ms: {line}");
}
