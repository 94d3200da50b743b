//! What a service manager passes in and is told: listening sockets, and how far the server is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::{DEADLINE, wait_until};

/// A server with descriptors 3 and 4 passed by a shell, which becomes the server. Its log is on its stdout, too.
struct Activated {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Activated {
    /// `variables` are set for the server alone. `$$` in them is its process.
    fn start(variables: &str, descriptors: [OwnedFd; 2], arguments: &[&str]) -> Activated {
        let script = format!("exec 3<&0 4<&2 2>&1 0</dev/null; {variables} exec \"$0\" \"$@\"");
        let [third, fourth] = descriptors;
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_tidemill")]).args(arguments);
        command.env_remove("TIDEMILL_TORTURE").env_remove("PORT").env_remove("RUST_LOG");
        command.stdin(third).stderr(fourth).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Activated { child, output }
    }

    /// What it says next, without the time and level of a line of its log.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().rsplit("WARN ] ").next().unwrap().to_owned()
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server can be waited for");
    }
}

fn tcp() -> (OwnedFd, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener.into(), address)
}

/// Something that nobody can be accepted from.
fn useless() -> OwnedFd {
    UdpSocket::bind("127.0.0.1:0").unwrap().into()
}

fn ask(mut client: impl Read + Write, path: &str) -> String {
    client
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

fn connect(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client
}

/// A path for a socket of this test's own. The file is removed with it.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> SocketPath {
        SocketPath(std::env::temp_dir().join(format!("tidemill-systemd-{name}-{}", std::process::id())))
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn sockets_that_were_passed_take_the_place_of_the_default() {
    let ((tcp, address), path) = (tcp(), SocketPath::new("unix"));
    let unix = UnixListener::bind(&path.0).unwrap().into();
    let variables = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=tidemill.socket:http";
    let mut server = Activated::start(variables, [tcp, unix], &[]);
    assert_eq!(server.line(), format!("listening on http://{address}/"));
    assert_eq!(server.line(), format!("listening on unix:{}", path.0.display()));
    assert!(ask(connect(&address), "/plaintext").ends_with("Hello, World!"));
    let client = UnixStream::connect(&path.0).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    assert!(ask(client, "/plaintext").ends_with("Hello, World!"));
    let stopped = Command::new("kill").arg(server.child.id().to_string()).status().unwrap();
    assert!(stopped.success());
    wait_until("the server has ended", || server.child.try_wait().unwrap().is_some());
    assert!(path.0.exists(), "the file is the service manager's");
}

#[test]
fn names_of_passed_sockets_give_them_roles() {
    let ((admin, admin_address), (echo, echo_address)) = (tcp(), tcp());
    let variables = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=admin:tcp-echo";
    let mut server = Activated::start(variables, [admin, echo], &["--listen", "127.0.0.1:0"]);
    assert_eq!(server.line(), format!("listening on tcp-echo://{echo_address}"));
    let asked_for = server.line();
    let own = asked_for.trim_start_matches("listening on http://").trim_end_matches('/');
    assert_eq!(server.line(), format!("admin on http://{admin_address}/"));
    assert!(ask(connect(own), "/plaintext").ends_with("Hello, World!"), "--listen stands beside them");
    let metrics = ask(connect(&admin_address), "/metrics");
    assert!(metrics.contains("tidemill_"), "{metrics}");
    assert!(ask(connect(own), "/metrics").starts_with("HTTP/1.1 404"));
    let mut client = connect(&echo_address);
    client.write_all(b"tide").unwrap();
    let mut echoed = [0; 4];
    client.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"tide");
}

#[test]
fn what_is_passed_and_not_used_is_said() {
    let listen = ["--listen", "127.0.0.1:0"];
    let (connected, _other) = UnixStream::pair().unwrap();
    let variables = "LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=udp:talk";
    let mut server = Activated::start(variables, [useless(), connected.into()], &listen);
    for (number, name) in [(3, "udp"), (4, "talk"), (5, "")] {
        let line = server.line();
        assert_eq!(
            line,
            format!("descriptor {number}, {name:?}, was passed and is not used: it is no stream socket that listens")
        );
    }
    assert!(server.line().starts_with("listening on http://127.0.0.1:"));

    let mut server = Activated::start("LISTEN_PID=1 LISTEN_FDS=2", [tcp().0, useless()], &listen);
    let line = server.line();
    assert!(line.starts_with("LISTEN_FDS=2 is for process 1 and not for this one, "), "{line}");
    assert!(server.line().starts_with("listening on "));

    for count in ["-1", "many", "257", "2147483647"] {
        let mut server = Activated::start(&format!("LISTEN_FDS={count}"), [tcp().0, useless()], &listen);
        assert_eq!(server.line(), format!("LISTEN_FDS={count} is no number from 0 to 256"));
        assert!(server.line().starts_with("listening on "));
    }

    let everyone = TcpListener::bind("0.0.0.0:0").unwrap();
    let variables = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=admin";
    let mut server = Activated::start(variables, [everyone.into(), useless()], &listen);
    let line = server.line();
    assert!(line.ends_with("is not used: the admin's address must be one of this machine alone"), "{line}");
}

#[test]
fn the_port_of_a_platform_counts_unless_listeners_are_given() {
    let start = |listen: &[&str]| Activated::start("PORT=0", [useless(), useless()], listen);
    let mut server = start(&[]);
    let line = server.line();
    let port = line.strip_prefix("listening on http://[::]:").unwrap_or_else(|| panic!("{line}")).trim_end_matches('/');
    assert!(ask(connect(&format!("127.0.0.1:{port}")), "/plaintext").ends_with("Hello, World!"));
    assert!(start(&["--listen", "127.0.0.1:0"]).line().starts_with("listening on http://127.0.0.1:"));
    let mut server = Activated::start("PORT=http", [useless(), useless()], &[]);
    let wrong = "invalid value 'http' for PORT: expected a port from 0 to 65535 (--listen wins); see --help";
    assert_eq!(server.line(), format!("tidemill: {wrong}"));
}

/// Starts a server that tells `manager`, at `name`, how far it is, and stops it while a request is in flight.
fn assert_told(name: &str, manager: &UnixDatagram) {
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let told = || {
        let mut datagram = [0; 100];
        let n = manager.recv(&mut datagram).unwrap();
        String::from_utf8(datagram[..n].to_vec()).unwrap()
    };
    let listen = ["--listen", "127.0.0.1:0"];
    let mut server = Activated::start(&format!("NOTIFY_SOCKET='{name}'"), [useless(), useless()], &listen);
    assert_eq!(told(), "READY=1");
    let line = server.line();
    let address = line.trim_start_matches("listening on http://").trim_end_matches('/');
    let mut client = connect(address);
    // A request in flight keeps the server from ending before it has said that it stops.
    client.write_all(b"GET /stream/100000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 12]).unwrap();
    Command::new("kill").arg(server.child.id().to_string()).status().unwrap();
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(server.child.try_wait().unwrap(), None, "told when it begins to stop, and not at its end");
    client.read_to_end(&mut Vec::new()).unwrap();
    wait_until("the server has ended", || server.child.try_wait().unwrap().is_some());
    manager.set_nonblocking(true).unwrap();
    assert!(manager.recv(&mut [0; 100]).is_err(), "each is said once");
}

#[test]
fn the_service_manager_is_told_when_it_is_ready_and_when_it_stops() {
    let path = SocketPath::new("notify");
    assert_told(path.0.to_str().unwrap(), &UnixDatagram::bind(&path.0).unwrap());
    let name = format!("tidemill-notify-{}", std::process::id());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    assert_told(&format!("@{name}"), &manager);
}

#[test]
fn a_service_manager_that_cannot_be_told_does_not_keep_it_from_serving() {
    let listen = ["--listen", "127.0.0.1:0"];
    for (name, why) in [
        ("/no/such/socket", "cannot tell the service manager READY=1: "),
        (
            "vsock:2:1234",
            "cannot tell the service manager at NOTIFY_SOCKET=\"vsock:2:1234\": expected a path, or @ and a name",
        ),
    ] {
        let mut server = Activated::start(&format!("NOTIFY_SOCKET={name}"), [useless(), useless()], &listen);
        let line = server.line();
        let address = line.trim_start_matches("listening on http://").trim_end_matches('/').to_owned();
        let warning = server.line();
        assert!(warning.starts_with(why), "{warning}");
        assert!(ask(connect(&address), "/plaintext").ends_with("Hello, World!"));
    }
}
