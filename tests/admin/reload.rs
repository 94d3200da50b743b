//! `POST /reload` and `tidemill reload`.

use std::process::Command;

use super::{server, support};
use crate::support::status;

/// What is answered to this request of the admin listener.
fn answer(server: &support::Server, method: &str, fields: &str) -> (String, String) {
    let mut client = support::Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
    client.send(format!("{method} /reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"));
    client.read_response()
}

/// A server without a configuration file has nothing to read again, and says so at once.
#[test]
fn a_server_without_a_file_says_that_there_is_none() {
    let server = server(&[]);
    let (head, content) = answer(&server, "POST", "Content-Length: 0\r\n");
    assert_eq!((status(&head), content.contains("no configuration file")), ("409", true), "{head}{content}");
    let output =
        Command::new(env!("CARGO_BIN_EXE_tidemill")).args(["reload", "--admin", server.admin()]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("tidemill: nothing has changed: the server has no configuration file"), "{said}");
}

#[test]
fn only_a_post_of_this_site_is_an_order() {
    let server = server(&[]);
    assert_eq!(status(&answer(&server, "GET", "").0), "405");
    let cross_site = "Content-Length: 0\r\nSec-Fetch-Site: cross-site\r\n";
    assert_eq!(status(&answer(&server, "POST", cross_site).0), "403");
}

#[test]
fn who_cannot_be_asked_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let output = Command::new(env!("CARGO_BIN_EXE_tidemill")).args(["reload", "--admin", &address]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with(&format!("tidemill: cannot ask {address}: nobody listens there")), "{said}");
}
