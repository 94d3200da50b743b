//! A running server to talk to, and a client that says exactly what it is told.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// No test waits longer than this for anything that should happen.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A server process of this test's own, on a port of its own. It is killed when the test ends.
pub struct Server {
    child: Child,
    pub address: String,
    addresses: Vec<String>,
    admin: Option<String>,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts the binary with these arguments, on a free port of 127.0.0.1.
    pub fn start(arguments: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        Server::spawn(command)
    }

    /// Starts the binary with its reads and writes as they are, whatever the environment says: for tests that count
    /// system calls, which torture multiplies.
    pub fn start_untortured(arguments: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).env_remove("TIDEMILL_TORTURE");
        Server::spawn(command)
    }

    /// Starts a command that becomes the server, and waits until it listens.
    pub fn spawn(command: Command) -> Server {
        let listening = command.get_args().filter(|argument| ["--listen", "-l"].iter().any(|flag| argument == flag));
        let listening = listening.count().max(1);
        Server::spawn_with(command, listening)
    }

    /// The same, if its configuration file names so many listeners.
    pub fn spawn_with(mut command: Command, listening: usize) -> Server {
        let mut child = command
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().unwrap();
        let sink = Arc::clone(&log);
        thread::spawn(move || {
            // That torture is on is no news to a test that runs under it, and others assert that the log is silent.
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            for line in lines.filter(|line| !line.contains("reads and writes are tortured")) {
                let mut log = sink.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut announced = |how: &str| {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            let url = line.trim_end().strip_prefix(how);
            let url = url.unwrap_or_else(|| panic!("not {how:?}: {line:?}; stderr: {}", log.lock().unwrap()));
            url.trim_start_matches("http://").trim_start_matches("https://").trim_end_matches('/').to_owned()
        };
        let addresses: Vec<String> = (0..listening).map(|_| announced("listening on ")).collect();
        let address = addresses[0].clone();
        let admin = command.get_args().any(|argument| argument == "--admin").then(|| announced("admin on "));
        Server { child, address, addresses, admin, log }
    }

    /// Where a listener is, in the order they were asked for.
    pub fn listener(&self, index: usize) -> &str {
        &self.addresses[index]
    }

    /// Where the admin listener is.
    pub fn admin(&self) -> &str {
        self.admin.as_deref().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(&self.address).unwrap())
    }

    /// One request on a connection of its own; the whole of what comes back.
    pub fn ask(&self, request: &str) -> String {
        let mut client = self.connect();
        client.send(request);
        client.read_to_end()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log contains `text`.
    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("the log says {text:?}"), || self.log().contains(text));
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the process to end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the server has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// The most memory that the server had of its own, in KiB. Pages of the program's file are not part of it: of a build for
    /// debugging there are 14 MiB. What of them came after the peak is missing from the result.
    pub fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM").saturating_sub(self.memory_kib("RssFile"))
    }

    /// A line of /proc/PID/status, in KiB, such as `VmHWM` (peak resident memory).
    pub fn memory_kib(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// User and system time used so far, in clock ticks of 10 ms.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let after_name = stat.rsplit(')').next().unwrap();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server can be waited for");
    }
}

/// Polls a condition until it holds; fails when it does not within the deadline.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let give_up = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < give_up, "waited in vain until {what}");
        // Between two looks only: no event tells when a condition of another process has come true.
        thread::sleep(Duration::from_millis(2));
    }
}

/// A client connection with a deadline on everything it reads.
pub struct Client {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, unread: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Everything until the server ends the connection.
    pub fn read_to_end(&mut self) -> String {
        let mut all = std::mem::take(&mut self.unread);
        self.stream.read_to_end(&mut all).unwrap();
        String::from_utf8_lossy(&all).into_owned()
    }

    /// One response with a Content-Length, and nothing beyond it: head and content.
    pub fn read_response(&mut self) -> (String, String) {
        let head = self.read_head();
        let length = field(&head, "Content-Length").unwrap_or("0").parse().unwrap();
        let content = self.read_exactly(length);
        (head, String::from_utf8_lossy(&content).into_owned())
    }

    /// Up to and including the next blank line.
    pub fn read_head(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..at + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            self.read_more();
        }
    }

    /// A line, without its end.
    pub fn read_line(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(2).position(|window| window == b"\r\n") {
                let line = self.unread.drain(..at + 2).take(at).collect();
                return String::from_utf8(line).unwrap();
            }
            self.read_more();
        }
    }

    pub fn read_exactly(&mut self, n: usize) -> Vec<u8> {
        while self.unread.len() < n {
            self.read_more();
        }
        self.unread.drain(..n).collect()
    }

    fn read_more(&mut self) {
        let mut piece = [0; 16 * 1024];
        let n = read(&mut self.stream, &mut piece).unwrap();
        assert!(n > 0, "the server closed after {:?}", String::from_utf8_lossy(&self.unread));
        self.unread.extend_from_slice(&piece[..n]);
    }

    /// Reads once more into `all`; whether the connection is over, by an orderly end or a reset.
    pub fn is_closed_by_server_into(&mut self, all: &mut Vec<u8>) -> bool {
        all.append(&mut self.unread);
        let mut piece = [0; 16 * 1024];
        match read(&mut self.stream, &mut piece) {
            Ok(n) => {
                all.extend_from_slice(&piece[..n]);
                n == 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
            Err(error) => panic!("the server did not close: {error}"),
        }
    }

    /// Whether the connection is over, by an orderly end or a reset; discards what else arrives.
    pub fn is_closed_by_server(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        loop {
            match read(&mut self.stream, &mut piece) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return true,
                Err(error) => panic!("the server did not close: {error}"),
            }
        }
    }
}

/// Reads some bytes, at most as many as fit into `piece`. A stop of the whole process interrupts a read that has a
/// deadline, and the system does not begin it again (signal(7)). `read_exact` and `read_to_end` do that themselves.
pub fn read(stream: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// A stream whose reads and writes are begun again in the same way, for a client that does not do so itself.
pub struct Uninterrupted<S>(pub S);

impl<S: Read> Read for Uninterrupted<S> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        read(&mut self.0, piece)
    }
}

impl<S: Write> Write for Uninterrupted<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The value of a field in a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The status code of a response.
pub fn status(response: &str) -> &str {
    response.get(9..12).unwrap_or_else(|| panic!("no status line: {response:?}"))
}

/// Whether a tool can be run; prints a notice when a test is skipped for want of it.
pub fn has_tool(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().unwrap().status.success();
    if !found {
        eprintln!("notice: skipped, {tool} is not installed");
    }
    found
}
