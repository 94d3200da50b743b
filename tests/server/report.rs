//! The report at the end: its numbers against what the clients did, and when it is given.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::support::{Client, Server, has_tool, status, wait_until};

/// Said in the last line of every report on a server that was asked for anything.
const LAST: &str = "Transfer/sec:";

/// A client, and how many bytes went to and fro.
struct Metered {
    client: Client,
    sent: usize,
    received: usize,
}

impl Metered {
    fn new(server: &Server) -> Metered {
        Metered { client: server.connect(), sent: 0, received: 0 }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.sent += bytes.as_ref().len();
        self.client.send(bytes);
    }

    fn head(&mut self) -> String {
        let head = self.client.read_head();
        self.received += head.len();
        head
    }

    fn exactly(&mut self, n: usize) -> Vec<u8> {
        self.received += n;
        self.client.read_exactly(n)
    }

    fn response(&mut self) -> String {
        let (head, content) = self.client.read_response();
        self.received += head.len() + content.len();
        head
    }

    fn until_end(&mut self) -> String {
        let rest = self.client.read_to_end();
        self.received += rest.len();
        rest
    }

    /// Ends the connection in order.
    fn close(mut self) -> [usize; 2] {
        self.client.finish();
        assert_eq!(self.until_end(), "");
        [self.sent, self.received]
    }

    /// Ends it with a reset.
    fn reset(self) -> [usize; 2] {
        socket2::SockRef::from(&self.client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        [self.sent, self.received]
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Stops the server and returns its report.
fn report(server: &mut Server, signal: &str, code: i32) -> String {
    server.signal(signal);
    assert_eq!(server.wait().code(), Some(code));
    server.wait_for_log(LAST);
    server.log()
}

#[track_caller]
fn assert_says(report: &str, lines: &[&str]) {
    for line in lines {
        assert!(report.lines().any(|said| said.starts_with(line)), "{line:?} is missing from:\n{report}");
    }
}

#[test]
fn the_numbers_are_those_that_the_clients_count() {
    let mut server = Server::start(&["--report", "--header-timeout", "400ms", "--first-byte-timeout", "300ms"]);
    let bytes = [
        keep_alive_and_pipelined(&server),
        closed_as_asked(&server),
        silent(&server),
        slow_head(&server),
        reset_in_an_echo(&server),
        websocket(&server),
        half_closed(&server),
    ];
    let [read, written] = [0, 1].map(|side| bytes.iter().map(|both| both[side]).sum::<usize>());
    let report = report(&mut server, "TERM", 0);
    assert_says(
        &report,
        &[
            "Served for ",
            "  7 connections, ",
            "  15 requests in ",
            "  Status: 1xx 1, 2xx 12, 4xx 2",
            "  Requests cut off: 1",
            "  Closed by: client 2, server 2, reset 1, cut short 0, timeout 2 (client-silent 1, client-slow-head 1)",
            "  Time: poll ",
            "  Turns: ",
            "Requests/sec: ",
        ],
    );
    let transferred = format!(", {} written, {} read", bytes_as_told(written), bytes_as_told(read));
    assert!(report.contains(&transferred), "{transferred:?} is missing from:\n{report}");
    for absent in ["no response", "Cut at the end", "Accept pauses", "dropped", "admin", "\x1b"] {
        assert!(!report.contains(absent), "{absent:?} in:\n{report}");
    }
}

#[test]
fn a_long_drive_is_named_with_what_it_computed_and_waited() {
    let mut server = Server::start(&["--report", "--max-body-size", "16MiB"]);
    let mut json = b"[".to_vec();
    json.extend(b"1234567,".repeat(1_000_000));
    let mut client = server.connect();
    client.send(format!("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", json.len()));
    client.send(json);
    assert_eq!(status(&client.read_response().0), "400");
    let report = report(&mut server, "TERM", 0);
    let drive = report.lines().find(|line| line.ends_with("  c=1 POST /users")).expect(&report);
    let columns: Vec<&str> = drive.split_whitespace().collect();
    assert_eq!(columns.len(), 7, "when it ended, how long it took, on the CPU and off it, who: {drive}");
    assert!(columns[1..4].iter().all(|time| time.ends_with('s')), "{drive}");
    assert!(!report.contains("Jobs that"), "there was none:\n{report}");
}

fn bytes_as_told(n: usize) -> String {
    if n < 1024 { format!("{n}B") } else { format!("{:.2}KB", n as f64 / 1024.0) }
}

/// Three requests one by one, HEAD, four at once, 404, 204 without content: 10 requests; the client closes.
fn keep_alive_and_pipelined(server: &Server) -> [usize; 2] {
    let mut client = Metered::new(server);
    for _ in 0..3 {
        client.send(get("/plaintext"));
        client.response();
    }
    client.send(get("/plaintext").replace("GET", "HEAD"));
    client.head();
    client.send(get("/plaintext").repeat(4));
    for _ in 0..4 {
        client.response();
    }
    client.send(get("/nowhere"));
    assert_eq!(status(&client.response()), "404");
    client.send(get("/status/204"));
    assert_eq!(status(&client.head()), "204");
    client.close()
}

/// The server closes, since the client asked it to.
fn closed_as_asked(server: &Server) -> [usize; 2] {
    let mut client = Metered::new(server);
    client.send(get("/plaintext").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    assert!(client.until_end().ends_with("Hello, World!"));
    [client.sent, client.received]
}

/// The client closes first, although the server would have closed after this answer.
fn half_closed(server: &Server) -> [usize; 2] {
    let mut client = Metered::new(server);
    client.send(get("/delay/50").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    client.client.finish();
    assert_eq!(status(&client.until_end()), "200");
    [client.sent, client.received]
}

fn silent(server: &Server) -> [usize; 2] {
    let mut client = Metered::new(server);
    assert_eq!(client.until_end(), "");
    [client.sent, client.received]
}

/// Its answer is 408, and yet it is a timeout.
fn slow_head(server: &Server) -> [usize; 2] {
    let mut client = Metered::new(server);
    client.send("GET /plaintext HTTP/1.1\r\n");
    assert_eq!(status(&client.until_end()), "408");
    [client.sent, client.received]
}

/// Half of the content comes back, and then the client resets the connection.
fn reset_in_an_echo(server: &Server) -> [usize; 2] {
    let mut client = Metered::new(server);
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    assert_eq!(status(&client.head()), "200");
    assert_eq!(client.exactly(5), b"hello");
    client.reset()
}

/// A message there and back, and the closing handshake, after which the server closes.
fn websocket(server: &Server) -> [usize; 2] {
    let mut client = Metered::new(server);
    client.send(
        "GET /ws/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(status(&client.head()), "101");
    // One byte, which cannot come back in two frames.
    client.send(b"\x81\x81\0\0\0\0h");
    assert_eq!(client.exactly(3), b"\x81\x01h");
    client.send(b"\x88\x82\0\0\0\0\x03\xe8");
    assert_eq!(client.exactly(4), b"\x88\x02\x03\xe8");
    assert_eq!(client.until_end(), "");
    client.close()
}

#[test]
fn system_calls_are_told_by_request_and_idle_connections_are_the_servers_to_close() {
    let mut server = Server::start_untortured(&["--report"]);
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for client in &mut clients {
        for _ in 0..5 {
            client.send(get("/plaintext"));
            client.read_response();
        }
    }
    let report = report(&mut server, "INT", 0);
    assert_says(
        &report,
        &[
            "  4 connections, 4 at most at a time",
            "  20 requests in ",
            "  Closed by: client 0, server 4, reset 0, cut short 0, timeout 0",
            "  Peak buffers: 16.00KB in, 64.00KB out; 0B left waiting by one response",
        ],
    );
    // Behind them there may be a look at the CPU clock, which depends on how long a drive took.
    assert!(report.contains(", read 1.00, write 1.00, close 0.20"), "{report}");
}

#[test]
fn requests_through_the_admin_listener_are_told_apart() {
    let socket = std::env::temp_dir().join(format!("tidemill-report-{}.socket", std::process::id()));
    let mut server = Server::start(&["--report", "--admin", &format!("unix:{}", socket.display())]);
    for _ in 0..2 {
        let mut admin = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        admin.write_all(get("/metrics").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut metrics = String::new();
        admin.read_to_string(&mut metrics).unwrap();
        assert_eq!(status(&metrics), "200");
    }
    server.ask(&get("/plaintext").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    let report = report(&mut server, "TERM", 0);
    assert_says(&report, &["  3 requests in ", "  Of these through the admin listener: 2"]);
}

#[test]
fn accepts_are_counted_as_strace_counts_them() {
    if !has_tool("strace") {
        return;
    }
    let trace = std::env::temp_dir().join(format!("tidemill-report-{}.strace", std::process::id()));
    let mut command = Command::new("strace");
    command.args(["-f", "-e", "trace=accept4", "-o"]).arg(&trace).arg(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--listen", "127.0.0.1:0", "--report", "--drain-timeout", "10s"]).env_remove("TIDEMILL_TORTURE");
    let mut server = Server::spawn(command);
    let mut client = server.connect();
    for _ in 0..10 {
        client.send(get("/plaintext"));
        client.read_response();
    }
    // strace takes no such signal for itself: the server is its child.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap();
    let stopped = Command::new("kill").args(["-s", "TERM", children.trim()]).status().unwrap();
    assert!(stopped.success());
    assert_eq!(server.wait().code(), Some(0));
    server.wait_for_log(LAST);
    let accepts = std::fs::read_to_string(&trace).unwrap().matches("accept4(").count();
    std::fs::remove_file(&trace).unwrap();
    let told = format!(", accept {:.2}, ", accepts as f64 / 10.0);
    assert!(server.log().contains(&told), "{told:?} is missing from:\n{}", server.log());
}

#[test]
fn who_is_cut_at_the_end_is_counted_after_the_drain_deadline_and_after_a_second_interrupt() {
    for (drain_timeout, interrupts) in [("200ms", 1), ("1h", 2)] {
        let mut server = Server::start(&["--report", "--drain-timeout", drain_timeout]);
        let mut slow = server.connect();
        slow.send(get("/drip?bytes=100&over=10m"));
        assert_eq!(status(&slow.read_head()), "200");
        server.signal("INT");
        server.wait_for_log("stopping");
        if interrupts == 2 {
            server.signal("INT");
        }
        assert_eq!(server.wait().code(), Some(3));
        server.wait_for_log(LAST);
        assert_says(&server.log(), &["  1 request in ", "  Requests cut off: 1", "  Cut at the end: 1 connection"]);
    }
}

/// The server as its own child, without anybody to read what it says until it has ended.
fn spawn(arguments: &[&str], stderr: impl Into<Stdio>) -> (Child, String, BufReader<ChildStdout>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--listen", "127.0.0.1:0", "--log-level", "off"]).args(arguments).env_remove("RUST_LOG");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let address = line.trim_end().trim_start_matches("listening on http://").trim_end_matches('/').to_owned();
    (child, address, stdout)
}

fn ask_and_stop(child: &mut Child, address: &str, signal: &str) {
    let mut client = Client::new(std::net::TcpStream::connect(address).unwrap());
    client.send(get("/plaintext"));
    client.read_response();
    client.stream.shutdown(Shutdown::Both).unwrap();
    assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
    let mut code = None;
    wait_until("the server has ended", || {
        code = child.try_wait().unwrap().map(|status| status.code());
        code.is_some()
    });
    assert_eq!(code, Some(Some(0)));
}

#[test]
fn without_the_flag_and_without_a_terminal_nothing_is_said() {
    for (arguments, signal, expected) in [(&[][..], "INT", 0), (&[], "TERM", 0), (&["--report"], "TERM", 1)] {
        let (mut child, address, mut stdout) = spawn(arguments, Stdio::piped());
        ask_and_stop(&mut child, &address, signal);
        let (mut said, mut on_stdout) = (String::new(), String::new());
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        stdout.read_to_string(&mut on_stdout).unwrap();
        let said = said.lines().filter(|line| !line.contains("tortured")).collect::<String>();
        assert_eq!((said.matches(LAST).count(), said.is_empty()), (expected, expected == 0), "{said}");
        assert_eq!(on_stdout, "", "stdout is for the listeners and the access log");
    }
}

#[test]
fn a_reader_that_has_gone_or_does_not_read_keeps_nobody() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (mut child, address, _stdout) = spawn(&["--report"], writer);
    ask_and_stop(&mut child, &address, "TERM");

    let (_reader, mut writer) = std::io::pipe().unwrap();
    fill(&mut writer);
    let (mut child, address, _stdout) = spawn(&["--report"], writer);
    ask_and_stop(&mut child, &address, "TERM");
}

/// Fills a pipe, whose capacity is a whole number of pages.
fn fill(pipe: &mut std::io::PipeWriter) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    while poll(&mut [PollFd::new(&*pipe, PollFlags::OUT)], Some(&at_once)).unwrap() > 0 {
        pipe.write_all(&[0; 4096]).unwrap();
    }
}

#[test]
fn on_a_terminal_an_interrupt_is_answered_with_the_report() {
    if !has_tool("script") {
        return;
    }
    for (no_color, coloured) in [(None, true), (Some("1"), false)] {
        let said = interrupted_on_a_terminal(no_color);
        assert!(said.contains("  1 request in ") && said.contains(LAST), "{said}");
        assert_eq!(said.contains("\x1b[1m"), coloured, "{said:?}");
    }
}

/// Runs the server on a pseudo-terminal, asks for one page and types Ctrl-C. Returns all that was shown.
fn interrupted_on_a_terminal(no_color: Option<&str>) -> String {
    let server = format!("exec {} --listen 127.0.0.1:0 --log-level off", env!("CARGO_BIN_EXE_tidemill"));
    let mut command = Command::new("script");
    command.args(["-qec", &server, "/dev/null"]).env_remove("NO_COLOR").env_remove("RUST_LOG");
    command.envs(no_color.map(|value| ("NO_COLOR", value)));
    let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut shown = BufReader::new(script.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("listening on ") {
        line.clear();
        assert!(shown.read_line(&mut line).unwrap() > 0, "it did not listen");
    }
    let address = line.trim_end().trim_start_matches("listening on http://").trim_end_matches('/');
    let mut client = Client::new(std::net::TcpStream::connect(address).unwrap());
    client.send(get("/plaintext"));
    client.read_response();
    let mut keyboard = script.stdin.take().unwrap();
    keyboard.write_all(b"\x03").unwrap();
    let mut said = String::new();
    shown.read_to_string(&mut said).unwrap();
    assert_eq!(script.wait().unwrap().code(), Some(0), "{said}");
    said
}
