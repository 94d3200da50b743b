//! Methods that a path does not have: the same answers for files, the lab and the admin.

use std::net::TcpStream;

use crate::support::{Client, Server, field, status};

/// The status and Allow of the answer to this request at this address.
fn ask(address: &str, method: &str, path: &str) -> (String, Option<String>) {
    let mut client = Client::new(TcpStream::connect(address).unwrap());
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    let head = client.read_head();
    (status(&head).into(), field(&head, "Allow").map(Into::into))
}

#[test]
fn a_registered_method_that_a_path_does_not_have_is_405_with_allow_and_any_other_is_501() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let (lab, files) = (Server::start(&["--admin", "127.0.0.1:0", "--health"]), Server::start(&["--lab", folder]));
    const READ: &str = "GET, HEAD, OPTIONS";
    for (address, path, allow) in [
        (&files.address[..], "/", READ),
        (&files.address, "/files.md", READ),
        (&files.address, "/decisions", READ),
        (&files.address, "/echo", "POST, PUT, OPTIONS"),
        (&lab.address, "/", READ),
        (&lab.address, "/users/7", READ),
        (&lab.address, "/ws/chat", "GET, OPTIONS"),
        (&lab.address, "/healthz", READ),
        (lab.admin(), "/connections", READ),
        (lab.admin(), "/", READ),
    ] {
        for method in ["PROPFIND", "MKCOL", "LOCK", "VERSION-CONTROL", "QUERY", "TRACE", "DELETE"] {
            assert_eq!(ask(address, method, path), ("405".into(), Some(allow.into())), "{method} {path}");
        }
        for method in ["BREW", "propfind", "PURGE", "PROPFIND2"] {
            assert_eq!(ask(address, method, path), ("501".into(), None), "{method} {path}");
        }
    }
    for (address, path) in [(&lab.address[..], "/nothing"), (lab.admin(), "/nothing")] {
        for (method, expected) in [("PROPFIND", "404"), ("GET", "404"), ("BREW", "501")] {
            assert_eq!(ask(address, method, path), (expected.into(), None), "{method} {path}");
        }
    }
}
