//! What a client sees on its own clock, and what the server notes of the same requests.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::logged::Logged;
use crate::support::{DEADLINE, field, read, wait_until};

/// When a request was sent and its response arrived, on the client's monotonic clock.
#[derive(Debug, Clone)]
pub struct Timed {
    /// Just before the first byte of the request was written.
    pub sent: Instant,
    /// The first byte of the response arrived.
    pub first_byte: Instant,
    /// The last byte of the response arrived.
    pub last_byte: Instant,
    pub response: String,
}

impl Timed {
    /// From the first byte of the request to the first byte of the response.
    pub fn first_byte_ms(&self) -> f64 {
        milliseconds(self.first_byte - self.sent)
    }

    /// From the first byte of the request to the last byte of the response.
    pub fn last_byte_ms(&self) -> f64 {
        milliseconds(self.last_byte - self.sent)
    }
}

/// A client with a clock; one request at a time.
pub struct TimedClient {
    pub stream: TcpStream,
}

impl TimedClient {
    pub fn connect(logged: &Logged) -> TimedClient {
        let stream = logged.connect().stream;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        TimedClient { stream }
    }

    /// Sends a request and reads its response, which has a Content-Length.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Timed {
        let sent = Instant::now();
        self.stream.write_all(request.as_ref()).unwrap();
        self.response_to(sent)
    }

    /// Reads the response to the request whose first byte was sent at `sent`.
    pub fn response_to(&mut self, sent: Instant) -> Timed {
        let (mut first_byte, mut response) = (None, Vec::new());
        let mut piece = [0; 16 * 1024];
        while !is_whole(&response) {
            let n = read(&mut self.stream, &mut piece).unwrap();
            assert!(n > 0, "the server closed after {:?}", String::from_utf8_lossy(&response));
            first_byte.get_or_insert_with(Instant::now);
            response.extend_from_slice(&piece[..n]);
        }
        let (last_byte, response) = (Instant::now(), String::from_utf8(response).unwrap());
        Timed { sent, first_byte: first_byte.unwrap(), last_byte, response }
    }

    /// Waits, without reading, until the server resets the connection.
    pub fn wait_for_reset(&self) {
        wait_until("the connection is reset", || match self.stream.take_error().unwrap() {
            Some(error) => error.kind() == ErrorKind::ConnectionReset,
            None => false,
        });
    }
}

fn is_whole(response: &[u8]) -> bool {
    let Some(end) = response.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&response[..end + 4]);
    let length: usize = field(&head, "Content-Length").unwrap().parse().unwrap();
    response.len() >= end + 4 + length
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A time in a line of the access log, in milliseconds.
pub fn noted(line: &Value, name: &str) -> f64 {
    line[name].as_f64().unwrap_or_else(|| panic!("{name} is missing from {line}"))
}

/// A recorded time must be what the client saw, up to 20 % and 5 ms.
#[track_caller]
pub fn assert_agrees(line: &Value, name: &str, seen: f64) {
    let noted = noted(line, name);
    assert!((noted - seen).abs() <= 0.2 * seen + 5.0, "{name} is {noted} and the client saw {seen:.1} ms: {line}");
}
