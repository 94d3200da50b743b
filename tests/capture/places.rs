//! Where the capture is, and how it is begun anew.

use std::fs;
use std::process::Command;

use crate::logged::Scratch;
use crate::support::{Server, wait_until};
use crate::{Captured, tshark};

fn refusal(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.env_remove("RUST_LOG").args(["--listen", "127.0.0.1:0"]).args(arguments);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_file_that_cannot_be_made_is_one_line_at_the_start() {
    let scratch = Scratch::new();
    let (folder, fifo) = (scratch.path(""), scratch.fifo());
    for (path, why) in [
        (scratch.path("missing/x"), "no such directory"),
        (folder, "it is a directory"),
        (fifo, "it is no regular file"),
    ] {
        let path = path.display().to_string();
        let (code, said) = refusal(&["--pcapng", &path]);
        assert_eq!(code, Some(1), "{said}");
        assert_eq!(said, format!("tidemill: cannot write the capture {path}: {why}\n"));
    }
    // Where everybody could fetch it, with the keys.
    fs::create_dir(scratch.path("root")).unwrap();
    let (root, path) = (scratch.path("root"), scratch.path("root/../root/x"));
    let (code, said) = refusal(&["--pcapng", &path.display().to_string(), &root.display().to_string()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.ends_with("x: it would be served, because it is in ROOT\n") && !path.exists(), "{said}");
    let (code, said) = refusal(&["--pcapng", "x", "--pcapng-size", "1KiB"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--pcapng-size") && said.contains("1MiB"), "{said}");
}

#[test]
fn a_size_without_a_capture_has_no_effect_and_that_is_said() {
    let server = Server::start(&["--pcapng-size", "2MiB"]);
    server.wait_for_log("--pcapng-size has no effect: there is no capture without --pcapng");
}

#[test]
fn usr1_begins_the_file_anew() {
    let Some(mut captured) = Captured::start(&[]) else { return };
    let (file, former) = (captured.path(), captured.logged.scratch.path("x.pcapng.1"));
    let mut client = captured.logged.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_response();
    captured.logged.server.signal("USR1");
    wait_until("the file was begun anew", || former.exists());
    client.send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_response();
    drop(client);
    captured.stop();
    let uris = |file| tshark(file, "http.request", &["http.request.uri", "tcp.seq"]);
    assert_eq!(uris(&former), [["/plaintext", "1"]]);
    let second = uris(&file);
    assert_eq!(second[0][0], "/nothing");
    assert!(second[0][1].parse::<u32>().unwrap() > 1, "positions go on: {second:?}");
    let log = captured.logged.server.log();
    assert!(log.contains("it gets what all connections say"), "{log}");
    assert!(!log.contains("dropped") && !log.contains("anew"), "nothing was lost: {log}");
}

#[test]
fn the_file_is_for_its_user_alone_and_others_are_told_of() {
    let Some(mut captured) = Captured::start(&[]) else { return };
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(captured.path()).unwrap().permissions().mode() & 0o777, 0o600);
    captured.stop();
    fs::set_permissions(captured.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let server = Server::start(&["--pcapng", &captured.path().display().to_string()]);
    server.wait_for_log("other users of this machine may read or write it (chmod 600 forbids it)");
}

/// What the admin is asked is not what users do.
#[test]
fn the_admin_is_not_captured() {
    let Some(mut captured) = Captured::start(&["--admin", "127.0.0.1:0"]) else { return };
    let stream = std::net::TcpStream::connect(captured.logged.server.admin()).unwrap();
    let mut client = crate::support::Client::new(stream);
    client.send("GET /metrics HTTP/1.0\r\n\r\n");
    client.read_to_end();
    captured.logged.connect().finish();
    captured.stop();
    let ports = tshark(&captured.path(), "tcp.flags.syn == 1 && tcp.flags.ack == 0", &["tcp.dstport"]);
    assert_eq!(ports, [[captured.port()]]);
}
