//! Upstreams with TLS: whom we trust, and who gets the keys.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Server, status, wait_until};

/// A folder of this test, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A server for https: with a certificate of its own, which is in `folder` then.
fn upstream(folder: &Path) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--listen", "https:127.0.0.1:0"]).arg(format!("--tls-self-signed={}", folder.display()));
    Server::spawn(command)
}

fn ask(server: &Server) -> String {
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    status(&client.read_response().0).to_owned()
}

#[test]
fn hup_reads_the_authorities_anew_and_the_keys_are_logged() {
    let folder = Folder::new("upstream-ca");
    let (ours, other) = (folder.path("ours"), folder.path("other"));
    let application = upstream(&ours);
    drop(upstream(&other));
    let (authorities, keys) = (folder.path("ca.pem"), folder.path("keys"));
    fs::copy(other.join("cert.pem"), &authorities).unwrap();
    let route = format!("/=https://{} idle-timeout=0s", application.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--listen", "127.0.0.1:0", "--proxy", &route]);
    command.arg("--upstream-ca").arg(&authorities).arg("--tls-key-log").arg(&keys);
    let server = Server::spawn(command);
    assert_eq!(ask(&server), "502");
    fs::copy(ours.join("cert.pem"), &authorities).unwrap();
    server.signal("HUP");
    server.wait_for_log("TLS to upstreams: new handshakes get what was read again: 1 authority");
    assert_eq!(ask(&server), "200");
    fs::write(&authorities, "nothing").unwrap();
    server.signal("HUP");
    server.wait_for_log("TLS to upstreams: the files in use stay in use: ");
    assert_eq!(ask(&server), "200");
    // Of the session that failed there are those of the handshake alone.
    wait_until("the keys are written", || {
        fs::read_to_string(&keys).unwrap().matches("CLIENT_TRAFFIC_SECRET_0 ").count() == 2
    });
    assert!(!server.log().contains("has no effect"), "{}", server.log());
}

/// `https://` in front of a port of HTTP is a mistake that many make. Our alert meets a socket that is closed already.
#[test]
fn an_upstream_that_does_not_speak_tls_is_told_from_one_that_does_not_answer() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(&["--proxy", &format!("/=https://{}", upstream.local_addr().unwrap())]);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // No byte of the request is written, so it is tried once more.
    for _ in 0..2 {
        let (mut stream, _) = upstream.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        // Nothing is read before the socket is closed.
        server.signal("STOP");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        drop(stream);
        server.signal("CONT");
    }
    let (head, content) = client.read_response();
    assert_eq!(status(&head), "502");
    assert!(content.contains(r#""phase":"tls","why":"TLS: "#), "{content}");
}
