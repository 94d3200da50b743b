//! Load at a constant rate that does not wait for the server.
//!
//! Every request has a time at which it is due, and its latency runs from there until the whole answer has come. If the
//! server, or a busy connection, makes it late, that counts: nothing is omitted because something before it was slow.
//! Connections take turns. The thread never sleeps, since the kernel would wake it up later than it is asked to.

use crate::Failure;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long the last answers may take.
const GRACE: Duration = Duration::from_secs(5);

/// What is sent, and how often.
pub struct Load<'a> {
    pub address: SocketAddr,
    pub request: &'a [u8],
    /// In bytes; all answers are as long.
    pub answer_bytes: usize,
    pub connections: usize,
    /// Requests per second over all connections.
    pub rate: f64,
    pub duration: Duration,
}

impl Load<'_> {
    /// Latencies in microseconds, in no order; an error if not every request was answered well.
    pub fn run(&self) -> Result<Vec<f64>, Failure> {
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
        let mut lanes = Vec::new();
        for place in 0..self.connections {
            let mut stream = TcpStream::from_std(connect(self.address)?);
            poll.registry().register(&mut stream, Token(place), Interest::READABLE)?;
            lanes.push(Lane { stream, next: place, is_busy: false, received: 0 });
        }
        let mut run = Run { load: self, start: Instant::now(), latencies_us: Vec::with_capacity(self.requests()) };
        let mut due = 0;
        while run.latencies_us.len() < self.requests() {
            let elapsed = run.start.elapsed();
            if elapsed > self.duration + GRACE {
                return Err(format!("{} of {} requests answered", run.latencies_us.len(), self.requests()).into());
            }
            while due < self.requests() && self.due(due) <= elapsed {
                run.send_if_due(&mut lanes[due % self.connections], elapsed)?;
                due += 1;
            }
            poll.poll(&mut events, Some(Duration::ZERO))?;
            for event in &events {
                run.receive(&mut lanes[event.token().0])?;
            }
        }
        Ok(run.latencies_us)
    }

    fn requests(&self) -> usize {
        (self.rate * self.duration.as_secs_f64()) as usize
    }

    /// When this request is due, from the start.
    fn due(&self, request: usize) -> Duration {
        Duration::from_secs_f64(request as f64 / self.rate)
    }
}

fn connect(address: SocketAddr) -> io::Result<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// A connection and the requests that fall to it: every so many-th.
struct Lane {
    stream: TcpStream,
    /// The request under way, if it is busy; otherwise the next.
    next: usize,
    is_busy: bool,
    /// How many bytes of the answer have come.
    received: usize,
}

struct Run<'a> {
    load: &'a Load<'a>,
    start: Instant,
    latencies_us: Vec<f64>,
}

impl Run<'_> {
    fn send_if_due(&self, lane: &mut Lane, elapsed: Duration) -> Result<(), Failure> {
        if lane.is_busy || lane.next >= self.load.requests() || self.load.due(lane.next) > elapsed {
            return Ok(());
        }
        lane.is_busy = true;
        match lane.stream.write(self.load.request)? {
            count if count == self.load.request.len() => Ok(()),
            count => Err(format!("{count} bytes of a request fit into an empty connection").into()),
        }
    }

    /// Reads once: there is no more than one answer to come, it fits, and if some of it is missing, an event will tell.
    fn receive(&mut self, lane: &mut Lane) -> Result<(), Failure> {
        let mut buffer = [0; 4096];
        debug_assert!(self.load.answer_bytes <= buffer.len(), "a longer answer needs a loop");
        let count = match lane.stream.read(&mut buffer) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if lane.received == 0 && !buffer[..count].starts_with(b"HTTP/1.1 200 ") {
            return Err(format!("an answer is {}", String::from_utf8_lossy(&buffer[..count])).into());
        }
        lane.received += count;
        if lane.received < self.load.answer_bytes {
            return Ok(());
        }
        let elapsed = self.start.elapsed();
        self.latencies_us.push((elapsed - self.load.due(lane.next)).as_secs_f64() * 1e6);
        (lane.is_busy, lane.received) = (false, 0);
        lane.next += self.load.connections;
        self.send_if_due(lane, elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const PAUSE: Duration = Duration::from_millis(100);

    /// A server of one connection that pauses once, before its first answer.
    fn slow_once(listener: TcpListener) -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut request = [0; 4];
        stream.read_exact(&mut request)?;
        std::thread::sleep(PAUSE);
        while stream.write_all(ANSWER).and_then(|()| stream.read_exact(&mut request)).is_ok() {}
        Ok(())
    }

    #[test]
    fn what_waits_behind_a_slow_answer_is_late_too() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let server = std::thread::spawn(|| slow_once(listener));
        let (request, duration) = (b"\r\n\r\n".as_slice(), Duration::from_millis(200));
        let load = Load { address, request, answer_bytes: ANSWER.len(), connections: 1, rate: 100.0, duration };
        let latencies_us = load.run().expect("all are answered");
        server.join().expect("no panic").expect("no error");
        assert_eq!(latencies_us.len(), 20);
        // Ten were due during the pause: the first waited all of it, the fifth at least the half.
        let late = latencies_us.iter().filter(|us| **us >= 50e3).count();
        assert!(late >= 5, "{late} late: {latencies_us:?}");
    }
}
