//! Requests that come when an idle connection has been ended by the server.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Client, Server, read, status, wait_until};

const LATE: &str = "GET /late HTTP/1.1\r\nHost: a\r\n\r\n";

/// A page of the admin listener.
fn page(server: &Server, path: &str) -> String {
    let mut admin = Client::new(TcpStream::connect(server.admin()).unwrap());
    admin.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    admin.read_response().1
}

/// Waits until the connection is over and returns what `/ask` says of it.
fn ended(server: &Server, connection: u64) -> String {
    let mut told = String::new();
    wait_until("the connection is over", || {
        told = page(server, &format!("/ask?c={connection}"));
        told.contains(" ended ")
    });
    told
}

fn races(server: &Server, after: &str) -> bool {
    page(server, "/metrics").contains(&format!("tidemill_keep_alive_races_total{{after=\"{after}\"}} 1\n"))
}

#[test]
fn a_request_that_crosses_our_fin_is_reset_counted_and_told() {
    let mut server =
        Server::start(&["--keep-alive-timeout", "200ms", "--admin", "127.0.0.1:0", "--access-log", "--report"]);
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    // It is idle until the FIN comes, and then asks once more, as a client does that has not looked.
    assert!(client.read_to_end().ends_with("Hello, World!"));
    client.send(LATE);
    let error = read(&mut client.stream, &mut [0]).map_err(|error| error.kind());
    assert!(matches!(error, Err(ErrorKind::ConnectionReset) | Ok(0)), "{error:?}");
    server.wait_for_log("STI timeout: client-idle between requests after 1 request; a request came ");
    assert!(server.log().contains(" ms after our FIN of "), "{}", server.log());
    let told = ended(&server, 1);
    assert!(told.contains("; a request came ") && told.contains(" ms after our FIN of "), "{told}");
    assert!(page(&server, "/ask?c=1&format=json").contains("\"late\":{\"after\":\"FIN\",\"requests\":1,\"first_ms\":"));
    assert!(races(&server, "fin"));
    assert!(!server.log().contains("/late"), "it was not looked at: {}", server.log());
    server.signal("TERM");
    server.wait();
    server.wait_for_log("Requests that came too late: 1 after our FIN, 0 after GOAWAY");
}

/// The two ends of a Unix socket are told apart by the same calls.
#[test]
fn a_preconnection_that_is_used_too_late_is_the_same_on_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("tidemill-race-{}", std::process::id()));
    let listen = format!("unix:{}", path.display());
    let server = Server::start(&["--listen", &listen, "--first-byte-timeout", "100ms", "--admin", "127.0.0.1:0"]);
    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
    assert_eq!(read(&mut client, &mut [0]).unwrap(), 0);
    client.write_all(LATE.as_bytes()).unwrap();
    let told = ended(&server, 1);
    assert!(told.contains("STA timeout: client-silent") && told.contains("; a request came "), "{told}");
    assert!(races(&server, "fin"));
}

#[test]
fn who_does_not_ask_again_is_left_after_a_second_and_nothing_is_counted() {
    let server = Server::start(&["--keep-alive-timeout", "100ms", "--admin", "127.0.0.1:0"]);
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.read_to_end().ends_with("Hello, World!"));
    let fin = Instant::now();
    assert!(page(&server, "/connections").contains("  lingering  lingering for "));
    assert!(!ended(&server, 1).contains(" came "));
    assert!(fin.elapsed() > Duration::from_millis(900));
    assert!(page(&server, "/metrics").contains("tidemill_keep_alive_races_total{after=\"fin\"} 0\n"));
}

/// With one slot, it goes to whoever wants to come in, at once.
#[test]
fn a_slot_is_not_held_for_a_request_that_may_come_too_late() {
    let server = Server::start(&["--keep-alive-timeout", "300ms", "--max-connections", "1"]);
    let mut first = server.connect();
    first.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(first.read_response().1, "Hello, World!");
    let mut second = server.connect();
    second.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    let asked = Instant::now();
    assert_eq!(status(&second.read_response().0), "200");
    assert!(asked.elapsed() < Duration::from_millis(1250), "{:?}", asked.elapsed());
}

/// A stop does not wait for what may still come.
#[test]
fn a_stop_ends_it_at_once() {
    let mut server = Server::start(&["--keep-alive-timeout", "100ms", "--log-level", "debug"]);
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.read_to_end().ends_with("Hello, World!"));
    let told = Instant::now();
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(told.elapsed() < Duration::from_millis(900), "{:?}", told.elapsed());
    server.wait_for_log("STI timeout: client-idle between requests after 1 request\n");
}

#[test]
fn a_stream_behind_goaway_is_counted_and_goaway_is_not_lost() {
    let server = Server::start(&["--keep-alive-timeout", "200ms", "--admin", "127.0.0.1:0"]);
    let mut client = crate::http2::client::Client::connect(&server);
    client.send("GET 1 /plaintext");
    client.until("GOAWAY 1 NO_ERROR");
    client.send("GET 3 /late");
    let told = {
        wait_until("it is seen", || page(&server, "/connections").contains("  late     a request came "));
        drop(client);
        ended(&server, 1)
    };
    assert!(told.contains("STI timeout: client-idle") && told.contains(" ms after our GOAWAY of "), "{told}");
    assert!(races(&server, "goaway"));
}
