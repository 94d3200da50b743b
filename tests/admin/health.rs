//! Health: alive, and taking new work or not.

use crate::support::{Client, Server, status, wait_until};
use crate::{ask, server};

#[test]
fn readiness_ends_as_soon_as_draining_starts() {
    let mut server = server(&["--health", "--drain-timeout", "20s"]);
    let mut open = server.connect();
    open.send("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(open.read_response().1, "ready\n");
    assert_eq!(ask(&server, "/readyz").1, "ready\n");
    // Something to wait for, so that the server does not end at once.
    let mut slow = server.connect();
    slow.send("GET /bytes/100000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&slow.read_head()), "200");
    server.signal("TERM");
    wait_until("the admin listener says that it drains", || status(&ask(&server, "/readyz").0) == "503");
    let (head, content) = ask(&server, "/healthz");
    assert_eq!((status(&head), &content[..]), ("200", "ok\n"), "it is alive all the same");
    // Its admin does not keep it from ending.
    let _watching = Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
    drop(slow);
    assert!(server.wait().code().is_some());
}

#[test]
fn everyone_may_ask_if_the_server_says_so() {
    let server = Server::start(&["--health"]);
    for (path, content) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let (head, said) = client.read_response();
        assert_eq!((status(&head), &said[..]), ("200", content));
        assert!(head.contains("Cache-Control: no-store\r\n"), "{head}");
    }
}
