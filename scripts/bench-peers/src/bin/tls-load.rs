//! Full TLS handshakes, 64 at a time, each on a connection of its own.
//!
//! `tls-load ADDRESS SECONDS CERTIFICATE [PATH]`. With a path a request follows each handshake and asks the server to
//! close the connection after its answer; without, the client closes it. When the time is over, what is under way is
//! finished, so that every handshake that a server paid for counts. Prints how many there were, and how many a second.
//!
//! wrk is no load for this: with `Connection: close` it resumes the session of the connection before.

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use rustls::{ClientConfig, ClientConnection};
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_bench::tls::{self, Signature};

type Failure = Box<dyn Error>;

const LANES: usize = 64;

/// How long nothing at all may happen.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, seconds, certificate, path) = match arguments.as_slice() {
        [address, seconds, certificate] => (address, seconds, certificate, None),
        [address, seconds, certificate, path] => (address, seconds, certificate, Some(path)),
        _ => return Err("usage: tls-load ADDRESS SECONDS CERTIFICATE [PATH]".into()),
    };
    let address = address.parse()?;
    let request = path.map(|path| format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"));
    let config = tls::client_config(Path::new(certificate), Signature::Ignored)?;
    let load = Load { address, request, config, duration: Duration::from_secs(seconds.parse()?) };
    let (handshakes, elapsed) = load.run()?;
    println!("{handshakes} {}", handshakes as f64 / elapsed.as_secs_f64());
    Ok(())
}

struct Load {
    address: SocketAddr,
    /// What is sent after the handshake, if anything is.
    request: Option<String>,
    config: Arc<ClientConfig>,
    duration: Duration,
}

impl Load {
    /// How many handshakes there were, and how long they took in all. An error if one of them failed.
    fn run(&self) -> Result<(u64, Duration), Failure> {
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(LANES));
        let (start, mut handshakes) = (Instant::now(), 0);
        let lanes = (0..LANES).map(|place| Lane::connect(self, poll.registry(), Token(place)).map(Some));
        let mut lanes = lanes.collect::<Result<Vec<_>, _>>()?;
        while lanes.iter().any(Option::is_some) {
            poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                return Err(format!("no answer for {} s", PATIENCE.as_secs()).into());
            }
            for event in &events {
                let lane = &mut lanes[event.token().0];
                let is_over = lane.as_mut().map_or(Ok(false), |lane| lane.advance(self.request.as_deref()))?;
                if is_over {
                    handshakes += 1;
                    // Closes it, so that its event of a moment ago cannot be taken for one of the next.
                    *lane = None;
                    if start.elapsed() < self.duration {
                        *lane = Some(Lane::connect(self, poll.registry(), event.token())?);
                    }
                }
            }
        }
        Ok((handshakes, start.elapsed()))
    }
}

/// A connection.
struct Lane {
    stream: TcpStream,
    tls: ClientConnection,
    /// Once the request, or the close, was sent.
    is_handshake_over: bool,
    /// As much of the answer as it takes to know its status.
    answer: Vec<u8>,
}

const ANSWER: &[u8] = b"HTTP/1.1 200 ";

impl Lane {
    fn connect(load: &Load, registry: &Registry, token: Token) -> Result<Self, Failure> {
        let mut stream = TcpStream::connect(load.address)?;
        stream.set_nodelay(true)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let tls = tls::client(&load.config)?;
        Ok(Self { stream, tls, is_handshake_over: false, answer: Vec::new() })
    }

    /// Goes on as far as it can; says whether the server has closed the connection, and all was well.
    fn advance(&mut self, request: Option<&str>) -> Result<bool, Failure> {
        loop {
            self.flush()?;
            if !self.is_handshake_over && !self.tls.is_handshaking() {
                self.is_handshake_over = true;
                self.end_or_ask(request)?;
                continue;
            }
            match self.tls.read_tls(&mut self.stream) {
                Ok(0) => return self.finish(request),
                Ok(_) => self.receive()?,
                Err(error) if is_no_progress(&error) => return Ok(false),
                // The server closed before it had read that we do.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return self.finish(request),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if is_no_progress(&error) => break,
                // Whether that is too early is said where the end is read.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn end_or_ask(&mut self, request: Option<&str>) -> Result<(), Failure> {
        tls::require_full_handshake(&self.tls)?;
        if let Some(request) = request {
            self.tls.writer().write_all(request.as_bytes())?;
            return Ok(());
        }
        self.tls.send_close_notify();
        self.flush()?;
        match self.stream.shutdown(Shutdown::Write) {
            // The server has closed already.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            result => Ok(result?),
        }
    }

    fn receive(&mut self) -> Result<(), Failure> {
        let state = self.tls.process_new_packets()?;
        let mut buffer = [0; 4096];
        let mut missing = state.plaintext_bytes_to_read();
        while missing > 0 {
            let count = self.tls.reader().read(&mut buffer)?;
            missing -= count;
            let kept = count.min(ANSWER.len() - self.answer.len());
            self.answer.extend_from_slice(&buffer[..kept]);
        }
        Ok(())
    }

    fn finish(&self, request: Option<&str>) -> Result<bool, Failure> {
        match self.is_handshake_over && (request.is_none() || self.answer == ANSWER) {
            true => Ok(true),
            false => Err(format!("closed early, after {:?}", String::from_utf8_lossy(&self.answer)).into()),
        }
    }
}

/// Whether there is nothing to do until the next event.
fn is_no_progress(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::process::Command;

    #[test]
    fn a_server_that_closes_before_the_handshake_is_over_is_an_error() {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: openssl is missing");
            return;
        }
        let folder = std::env::temp_dir().join(format!("tidemill-bench-load-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let identity = tls::Identity::in_folder(&folder);
        identity.make().expect("openssl makes a certificate");
        let config = tls::client_config(&identity.certificate, Signature::Ignored).expect("a configuration");
        std::fs::remove_dir_all(folder).expect("it is there");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        // Ends with the first connection; the kernel closes the others with the listener.
        let server = std::thread::spawn(move || listener.accept().map(drop));
        let load = Load { address, request: None, config, duration: Duration::from_millis(10) };
        assert!(load.run().is_err());
        server.join().expect("no panic").expect("a connection");
    }
}
