//! Behind a proxy that is trusted, and in front of clients that are not.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::logged::Logged;
use crate::support::{Client, Server, status, wait_until};

/// A request with these further lines, after which the connection ends.
fn request(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n")
}

/// The host that the access log has for a request with these lines.
fn logged_host(arguments: &[&str], fields: &str) -> String {
    let logged = Logged::start("common", arguments);
    assert_eq!(status(&logged.server.ask(&request("/plaintext", fields))), "200");
    let line = logged.lines(1).remove(0);
    line.split(' ').next().unwrap().to_owned()
}

#[test]
fn without_the_option_the_fields_change_nothing() {
    for fields in ["X-Forwarded-For: 192.0.2.1\r\n", "Forwarded: for=192.0.2.1\r\n"] {
        assert_eq!(logged_host(&[], fields), "127.0.0.1");
        assert_eq!(
            logged_host(&["--trusted-proxy", "192.0.2.0/24,unix,::1"], fields),
            "127.0.0.1",
            "it is somebody else"
        );
    }
}

#[test]
fn a_trusted_proxy_names_the_client_in_the_log() {
    for trusted in ["127.0.0.1", "10.0.0.0/8,127.0.0.0/8", "::ffff:127.0.0.0/104"] {
        let host = |fields| logged_host(&["--trusted-proxy", trusted], fields);
        assert_eq!(host("X-Forwarded-For: 9.9.9.9, 192.0.2.1, 127.0.0.1\r\n"), "192.0.2.1", "{trusted}");
        assert_eq!(host("Forwarded: for=9.9.9.9, for=\"[2001:db8::1]:80\"\r\n"), "2001:db8::1", "{trusted}");
        assert_eq!(host("Forwarded: for=9.9.9.9, for=_hidden\r\n"), "127.0.0.1", "{trusted}");
    }
}

#[test]
fn a_proxy_on_a_unix_socket_is_trusted_if_that_is_said() {
    let path = std::env::temp_dir().join(format!("tidemill-proxy-{}.sock", std::process::id()));
    for (trusted, client) in [("unix", Some("\"client\":\"192.0.2.1\"")), ("127.0.0.1", None)] {
        let listen = format!("unix:{}", path.display());
        let logged = Logged::start("json", &["--listen", &listen, "--trusted-proxy", trusted]);
        let mut proxy = UnixStream::connect(&path).unwrap();
        std::io::Write::write_all(&mut proxy, request("/plaintext", "X-Forwarded-For: 192.0.2.1\r\n").as_bytes())
            .unwrap();
        assert!(std::io::read_to_string(proxy).unwrap().starts_with("HTTP/1.1 200 "));
        let line = logged.lines(1).remove(0);
        assert!(line.contains("\"peer\":\"unix:\""), "{line}");
        assert!(client.map_or(!line.contains("\"client\""), |client| line.contains(client)), "{line}");
    }
}

#[test]
fn connections_and_the_log_name_the_client_too() {
    let server = Server::start(&["--trusted-proxy", "127.0.0.1", "--admin", "127.0.0.1:0"]);
    let mut client = server.connect();
    client.send(request("/delay/600000", "Forwarded: for=192.0.2.1\r\n"));
    wait_until("/connections names the client", || {
        let mut admin = Client::new(TcpStream::connect(server.admin()).unwrap());
        // Nobody can make the admin's own pages believe in another peer.
        admin.send(request("/connections", "X-Forwarded-For: 192.0.2.2\r\n"));
        admin.read_response().1.contains("  client   192.0.2.1, as a trusted proxy says\n")
    });
    let asks = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Connection: Upgrade\r\nOrigin: http://evil.example\r\nX-Forwarded-For: 192.0.2.3\r\n";
    assert_eq!(status(&server.ask(&request("/ws/chat", asks))), "403");
    wait_until("the log names the client, and where the request is to be found", || {
        let log = server.log();
        let line = log.lines().find_map(|line| line.split_once("192.0.2.3 through 127.0.0.1:"));
        line.is_some_and(|(_, rest)| rest.contains(" c=") && rest.contains(" r=1: WebSocket refused with 403: "))
    });
}
