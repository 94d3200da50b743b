//! The connections of one client on which something is answered.

use super::*;
use crate::frames::{RST_STREAM, frame};
use crate::http2_client::head;
use crate::support::wait_until;

const ONE: &str = "--max-connections-per-client=1";
const NEVER: &str = "GET /delay/600000 HTTP/1.1\r\nHost: a\r\n\r\n";

fn is_refused(server: &Server) -> bool {
    let response = get(server, "/plaintext", "");
    match status(&response) {
        "200" => false,
        "503" => {
            assert_eq!(field(&response, "Retry-After"), Some("1"), "{response}");
            true
        }
        _ => panic!("{response}"),
    }
}

/// The server has read what this connection has sent when it has answered what another one has sent later, and the lab delays
/// no request before it is there.
fn wait_until_refused(server: &Server) {
    wait_until("another connection is refused", || is_refused(server));
}

#[test]
fn a_connection_counts_until_its_request_is_over() {
    let server = Server::start(&[ONE, "--abort-on-close", "--admin", "127.0.0.1:0"]);
    let mut idle = server.connect();
    idle.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&idle.read_response().0), "200");
    assert!(!is_refused(&server), "an idle connection does not count");
    idle.send(NEVER);
    wait_until_refused(&server);
    server.wait_for_log("refused by the rule connections: max-connections-per-client: 1 are there already");
    assert!(refused(&server, "connections") >= 1);
    drop(idle);
    wait_until("its end frees the place", || !is_refused(&server));
    assert!(!is_refused(&server), "and what was answered since takes none");
}

#[test]
fn a_connection_counts_until_its_response_has_left() {
    let server = Server::start(&[ONE, "--abort-on-close"]);
    let mut reader = server.connect();
    reader.send("GET /bytes/30000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let length: usize = field(&reader.read_head(), "Content-Length").unwrap().parse().unwrap();
    for _ in 0..3 {
        assert!(is_refused(&server), "most of the response is still here");
    }
    reader.read_exactly(length);
    // The last byte is read when the server may still be in the turn that has sent it.
    assert!(!is_refused(&server), "the response is over, and its connection stays");
    // Requests that were sent at once have one place.
    reader.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5) + NEVER);
    for _ in 0..5 {
        assert_eq!(status(&reader.read_response().0), "200");
    }
    wait_until_refused(&server);
}

#[test]
fn a_connection_of_http_2_counts_once_and_until_its_last_stream() {
    let server = Server::start(&[ONE, "--abort-on-close"]);
    let mut client = Http2::new(server.connect(), 65535);
    for stream in [1, 3] {
        client.ask(stream, END_STREAM, &head("GET", "/delay/600000"));
    }
    client.ask(5, END_STREAM, &head("GET", "/plaintext"));
    client.read_until(|frame| {
        frame.stream == 5 && frame.kind == crate::frames::DATA && frame.payload == b"Hello, World!"
    });
    assert!(is_refused(&server));
    for stream in [1, 3] {
        assert!(is_refused(&server));
        client.client.send(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    wait_until("the last stream frees the place", || !is_refused(&server));
}

#[test]
fn a_tunnel_counts_until_it_ends() {
    let server = Server::start(&[ONE, "--abort-on-close"]);
    let mut client = server.connect();
    client.send(
        "GET /ws/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(status(&client.read_head()), "101");
    assert!(is_refused(&server) && is_refused(&server));
    drop(client);
    wait_until("its end frees the place", || !is_refused(&server));
}

/// Behind a password a request counts from when it is there, and as long as any other.
#[test]
fn a_request_whose_password_was_checked_counts_as_well() {
    let files = Files::new();
    let server = Server::start(&[
        "--abort-on-close",
        "--max-connections-per-client=2",
        &format!("--basic-auth={}", files.path("users.htpasswd")),
    ]);
    let mut waiting = [server.connect(), server.connect()];
    for client in &mut waiting {
        client.send(NEVER.replace("\r\n\r\n", &format!("\r\n{ALICE}\r\n")));
    }
    let asked = || status(&get(&server, "/plaintext", ALICE)).to_owned();
    wait_until("both count", || asked() == "503");
    // By now the password is known, or will be soon, and the lab has the requests.
    wait_until("the password is known and both still count", || {
        server.log().matches("refused by the rule connections").count() >= 5 || asked() != "503"
    });
    assert_eq!(asked(), "503");
    drop(waiting);
    wait_until("their end frees the places", || asked() == "200");
}
