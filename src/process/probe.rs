//! `tidemill probe URL`: whether a server is well, for the health checks of containers that have no curl.

mod url;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Command, CommandFactory, Parser};

use super::quantity::{duration, format_duration};
use super::settings::MS;
use super::usage::{self, Objection};
use super::{EXIT_FAILURE, cause, complain};
use crate::net::tls::BlockingClient;
use url::{Place, ProbeUrl};

/// The word that asks for it.
pub const NAME: &str = "probe";

const HOUR: Duration = Duration::from_secs(60 * 60);
/// What is read of an answer at most, in bytes: interim responses, and the status line of the final one.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Asks a server for one response.
#[derive(Debug, Parser)]
#[command(
    name = "tidemill probe",
    about = "Ask a server for URL with GET, over HTTP/1.1: exit code 0 if the status is 2xx or 3xx, otherwise 1 and a \
             line on stderr that says why",
    after_help = "URL is http://HOST[:PORT]/PATH, https://HOST[:PORT]/PATH, or unix:/SOCKET:/PATH. In a Dockerfile: \
                  HEALTHCHECK CMD [\"tidemill\", \"probe\", \"http://127.0.0.1:8080/healthz\"] (--health of the server)."
)]
struct Order {
    /// What to ask for
    #[arg(value_name = "URL")]
    url: ProbeUrl,

    /// Time for all of it, from looking up the name to the status, 1ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration(MS..=HOUR))]
    timeout: Duration,

    /// Accept every certificate
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,

    /// Certificates of those who may have issued the server's certificate, in PEM [default: those that the system trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Order {
    fn check(&mut self) -> Result<(), Objection> {
        let given = [("insecure", self.insecure), ("ca", self.ca.is_some())];
        match given.into_iter().find(|(_, is_given)| *is_given && !self.url.is_secured()) {
            Some((id, _)) => Err(Objection::to_argument(id, "needs a URL that begins with https://")),
            None => Ok(()),
        }
    }
}

/// The command of this module.
pub fn command() -> Command {
    Order::command()
}

/// Asks the server that the `arguments`, the first of them being [`NAME`], name.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let program = [OsString::from("tidemill probe")];
    let arguments: Vec<OsString> = program.iter().chain(arguments.iter().skip(1)).cloned().collect();
    let order = match usage::read(&arguments, |order: &mut Order, _| order.check()) {
        Ok(order) => order,
        Err(refusal) => return refusal.report(),
    };
    let url = order.url.to_string();
    match within_time(order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            complain(&format!("{url}: {problem}"));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// How far the probe is.
enum Step {
    /// This has begun.
    Begun(String),
    /// It is over. The error is for the user.
    Done(Result<(), String>),
}

/// Probes in a thread of its own. Looking up a name has no timeout, so the thread is left behind when the time is over, and ends
/// with the process.
fn within_time(order: Order) -> Result<(), String> {
    let deadline = Instant::now() + order.timeout;
    let timeout = format_duration(order.timeout);
    let (steps, progress) = channel();
    let probing = thread::Builder::new().spawn(move || {
        let outcome = probe(&order, &steps);
        // Nobody listens any more if the time is over.
        steps.send(Step::Done(outcome)).unwrap_or(());
    });
    probing.map_err(|error| format!("cannot start a thread: {error}"))?;
    let mut doing = String::from("while starting");
    loop {
        match progress.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Step::Begun(step)) => doing = step,
            Ok(Step::Done(outcome)) => return outcome,
            Err(RecvTimeoutError::Timeout) => return Err(format!("no answer within {timeout} ({doing})")),
            Err(RecvTimeoutError::Disconnected) => return Err("the probe has failed".into()),
        }
    }
}

/// The error is for the user.
fn probe(order: &Order, steps: &Sender<Step>) -> Result<(), String> {
    let begin = |what: String| steps.send(Step::Begun(what)).unwrap_or(());
    let status = match &order.url.place {
        Place::Unix(path) => {
            begin("while connecting".into());
            let mut stream = UnixStream::connect(path).map_err(|error| reason(&error))?;
            begin("while waiting for the response".into());
            ask(&mut stream, &order.url)
        }
        Place::Tcp { host, port, is_secured } => {
            let tls = if *is_secured { Some(tls(order)?) } else { None };
            let mut stream = connect(host, *port, begin)?;
            match tls {
                None => {
                    begin("while waiting for the response".into());
                    ask(&mut stream, &order.url)
                }
                Some(tls) => {
                    begin("during the TLS handshake".into());
                    let mut stream = tls.connect(host, stream).map_err(|error| reason(&error))?;
                    begin("while waiting for the response".into());
                    ask(&mut stream, &order.url)
                }
            }
        }
    };
    match status.map_err(|error| reason(&error))? {
        (200..=399, _) => Ok(()),
        (_, line) => Err(line),
    }
}

fn tls(order: &Order) -> Result<BlockingClient, String> {
    if order.insecure {
        return BlockingClient::trusting_everyone();
    }
    BlockingClient::trusting(order.ca.as_deref()).map_err(|problem| match &order.ca {
        Some(file) => format!("cannot use --ca {}: {problem}", file.display()),
        None => problem,
    })
}

/// A connection to the first address of this name that takes one.
fn connect(host: &str, port: u16, begin: impl Fn(String)) -> Result<TcpStream, String> {
    begin(format!("while looking up {host}"));
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let addresses = (bare, port).to_socket_addrs().map_err(|error| format!("cannot look up {host}: {error}"))?;
    let mut problem = format!("{host} has no address");
    for address in addresses {
        begin(format!("while connecting to {address}"));
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) => problem = format!("{address}: {}", reason(&error)),
        }
    }
    Err(problem)
}

/// The status of the response, and what it says of itself.
fn ask(stream: &mut (impl Read + Write), url: &ProbeUrl) -> io::Result<(u16, String)> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tidemill\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        url.target, url.authority
    );
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    loop {
        let line = line(&mut answer)?;
        let (status, text) = status_of(&line).ok_or_else(|| no_http(&line))?;
        // RFC 9110 §15.2: interim responses come before the final one. 101 is the last that is HTTP.
        if !matches!(status, 100..=199) || status == 101 {
            return Ok((status, text));
        }
        while !self::line(&mut answer)?.is_empty() {}
    }
}

/// The next line, without its end.
fn line(answer: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    answer.read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(match line.is_empty() {
            true => io::Error::new(ErrorKind::UnexpectedEof, "the connection ended before the response"),
            false => no_http(&line),
        });
    }
    line.pop();
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

/// HTTP/1.x SP 3DIGIT SP [ reason ] (RFC 9112 §4): the status, and all behind the version. The reason may be missing together with
/// its space, as some servers have it.
fn status_of(line: &[u8]) -> Option<(u16, String)> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let rest = rest.strip_prefix(b"1 ").or_else(|| rest.strip_prefix(b"0 "))?;
    let (digits, reason) = rest.split_at_checked(3)?;
    let is_status = digits.iter().all(u8::is_ascii_digit) && matches!(reason.first(), None | Some(b' '));
    let status = str::from_utf8(digits).ok()?.parse().ok()?;
    is_status.then(|| (status, rest.escape_ascii().to_string().trim_end().to_owned()))
}

fn no_http(line: &[u8]) -> io::Error {
    let beginning = line[..line.len().min(40)].escape_ascii();
    io::Error::new(ErrorKind::InvalidData, format!("what answers there does not speak HTTP/1: \"{beginning}\""))
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::ConnectionReset => "connection reset".into(),
        ErrorKind::NotFound => "there is no such socket".into(),
        _ => cause(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// What comes back, and where to put what goes out.
    struct Peer(Cursor<&'static [u8]>, Vec<u8>);

    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answer(bytes: &'static [u8]) -> Result<(u16, String), String> {
        let url = "http://a.example:81/b?c".parse().unwrap();
        let mut peer = Peer(Cursor::new(bytes), Vec::new());
        let answer = ask(&mut peer, &url).map_err(|error| error.to_string());
        assert!(peer.1.starts_with(b"GET /b?c HTTP/1.1\r\nHost: a.example:81\r\n") && peer.1.ends_with(b"\r\n\r\n"));
        answer
    }

    #[test]
    fn the_final_status_counts() {
        let of = |bytes| answer(bytes).map(|(status, _)| status);
        assert_eq!(of(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(200));
        assert_eq!(of(b"HTTP/1.0 302\n"), Ok(302));
        assert_eq!(of(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 \r\n\r\nHTTP/1.1 503 No\r\n"), Ok(503));
        assert_eq!(of(b"HTTP/1.1 101 Switching Protocols\r\n"), Ok(101));
        assert_eq!(answer(b"HTTP/1.1 404 \x1b[31m\r\n").unwrap().1, "404 \\x1b[31m");
    }

    #[test]
    fn what_is_no_answer_is_no_success() {
        let wrong = |bytes| answer(bytes).unwrap_err();
        let ended = "the connection ended before the response";
        assert_eq!(wrong(b""), ended);
        assert_eq!(wrong(b"HTTP/1.1 100 Continue\r\n\r\n"), ended);
        for (bytes, beginning) in [
            (&b"SSH-2.0-OpenSSH\r\n"[..], "SSH-2.0-OpenSSH"),
            (b"HTTP/1.1 200", "HTTP/1.1 200"),
            (b"HTTP/2 200\r\n", "HTTP/2 200"),
            (b"HTTP/1.1 2000 OK\r\n", "HTTP/1.1 2000 OK"),
            (b"HTTP/1.1 +20 OK\r\n", "HTTP/1.1 +20 OK"),
            (b"\x15\x03\x03\n", "\\x15\\x03\\x03"),
        ] {
            assert_eq!(wrong(bytes), format!("what answers there does not speak HTTP/1: \"{beginning}\""));
        }
        let endless: &'static [u8] = vec![b'x'; 1 << 20].leak();
        assert!(wrong(endless).starts_with("what answers there does not speak HTTP/1"));
        let interim: &'static [u8] = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000).leak();
        assert!(answer(interim).is_err());
    }
}
