//! IPv4, IPv6 and Unix sockets, several at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::support::DEADLINE;

#[test]
fn all_listeners_serve_at_once() {
    let socket = std::env::temp_dir().join(format!("tidemill-listeners-{}.sock", std::process::id()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", &format!("unix:{}", socket.display())])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().take(3).map(Result::unwrap).collect();
    let tcp = |line: &str| {
        let address = line.trim_start_matches("listening on http://").trim_end_matches('/');
        TcpStream::connect(address).unwrap()
    };
    let v4 = tcp(&lines[0]);
    let v6 = tcp(&lines[1]);
    v4.set_read_timeout(Some(DEADLINE)).unwrap();
    v6.set_read_timeout(Some(DEADLINE)).unwrap();
    let unix = UnixStream::connect(&socket).unwrap();
    unix.set_read_timeout(Some(DEADLINE)).unwrap();
    for mut stream in [Box::new(v4) as Box<dyn ReadWrite>, Box::new(v6), Box::new(unix)] {
        stream.write_all(b"GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("Hello, World!"), "{answer}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(&socket).unwrap();
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[test]
fn localhost_is_every_address_of_the_name_on_one_port() {
    use std::net::{SocketAddr, ToSocketAddrs};

    let mut of_name: Vec<_> = ("localhost", 0).to_socket_addrs().unwrap().map(|address| address.ip()).collect();
    of_name.dedup();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["--listen", "localhost:0", "--listen", "tcp-echo:localhost:0", "--admin", "localhost:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    for what in ["listening on http://", "listening on tcp-echo://", "admin on http://"] {
        let addresses: Vec<SocketAddr> = (0..of_name.len())
            .map(|_| {
                let line = lines.next().unwrap();
                line.strip_prefix(what).unwrap_or_else(|| panic!("{line}")).trim_end_matches('/').parse().unwrap()
            })
            .collect();
        assert_eq!(addresses.iter().map(SocketAddr::ip).collect::<Vec<_>>(), of_name, "in the order of the system");
        for address in &addresses {
            assert_eq!(address.port(), addresses[0].port());
            TcpStream::connect(address).unwrap();
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_file_of_a_socket_has_the_mode_that_was_asked_for() {
    use std::os::unix::fs::PermissionsExt;

    let socket = std::env::temp_dir().join(format!("tidemill-mode-{}.sock", std::process::id()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["--listen", &format!("unix:{}", socket.display()), "--unix-mode", "0620"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o620);
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(&socket).unwrap();
}
