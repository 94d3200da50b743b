//! The floor: what an answer over TCP costs on this kernel if nothing is parsed and nothing decided.
//!
//! ```text
//! floor [--listen ADDR]                  a constant of the size and with the fields of tidemill's /plaintext
//! floor close [--listen ADDR]            the same once a connection, which is then closed
//! floor memory FILE [--listen ADDR]      a head and the file's bytes from memory, in one writev
//! floor sendfile FILE [--listen ADDR]    a head, then the file by sendfile
//! floor http2 FILE [--listen ADDR]       over HTTP/2: fields and the file's bytes from memory
//! ```
//!
//! One thread, one edge-triggered epoll loop, one buffer for all connections. What comes in one read is answered in one
//! write. It prints `listening on http://127.0.0.1:PORT/` and runs until it is killed.

mod http1;
mod http2;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::net::sockopt;
use std::error::Error;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

const USAGE: &str = "usage: floor [close | memory FILE | sendfile FILE | http2 FILE] [--listen ADDR]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let address = listen_address(&mut arguments)?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Floor::new(http1::plaintext(false)).run(address)?,
        ["close"] => Floor::new(http1::plaintext(true)).run(address)?,
        ["memory", file] => Floor::new(http1::memory(file)?).run(address)?,
        ["sendfile", file] => Floor::new(http1::stored(file)?).run(address)?,
        ["http2", file] => Floor::new(http2::memory(file)?).run(address)?,
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// Takes `--listen ADDR` from the arguments; without it the kernel chooses a port.
fn listen_address(arguments: &mut Vec<String>) -> Result<SocketAddr, Box<dyn Error>> {
    let Some(flag) = arguments.iter().position(|argument| argument == "--listen") else {
        return Ok(([127, 0, 0, 1], 0).into());
    };
    let address = arguments.get(flag + 1).ok_or(USAGE)?.parse()?;
    arguments.drain(flag..flag + 2);
    Ok(address)
}

/// What the bytes of a connection mean.
trait Protocol {
    /// What is known of a connection.
    type State: Default;

    /// Takes what came in one read.
    fn receive(&self, state: &mut Self::State, bytes: &[u8]);

    /// Whether something is to be written.
    fn has_output(&self, state: &Self::State) -> bool;

    /// Writes once (a head and its file: at most twice).
    fn write(&self, state: &mut Self::State, stream: &TcpStream) -> io::Result<()>;

    /// Whether the connection ends once everything is written.
    fn is_over(&self, state: &Self::State) -> bool;
}

struct Connection<S> {
    stream: TcpStream,
    is_armed_for_writing: bool,
    state: S,
}

/// The server. A connection's place is its file descriptor.
struct Floor<P: Protocol> {
    protocol: P,
    connections: Vec<Option<Connection<P::State>>>,
    buffer: Vec<u8>,
}

/// Whether a connection lives on.
type IsOpen = bool;

impl<P: Protocol> Floor<P> {
    fn new(protocol: P) -> Self {
        Self { protocol, connections: Vec::new(), buffer: vec![0; 64 * 1024] }
    }

    fn run(&mut self, address: SocketAddr) -> io::Result<()> {
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
        let mut listener = TcpListener::bind(address)?;
        sockopt::set_tcp_nodelay(&listener, true)?; // accepted sockets inherit it
        let listening = Token(listener.as_raw_fd() as usize);
        poll.registry().register(&mut listener, listening, Interest::READABLE)?;
        println!("listening on http://{}/", listener.local_addr()?);
        loop {
            match poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue, // as by attaching strace
                result => result?,
            }
            for event in &events {
                if event.token() == listening {
                    self.accept_all(&listener, poll.registry())?;
                } else {
                    self.turn(event, poll.registry());
                }
            }
        }
    }

    fn accept_all(&mut self, listener: &TcpListener, registry: &Registry) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let place = stream.as_raw_fd() as usize;
            registry.register(&mut stream, Token(place), Interest::READABLE)?;
            if place >= self.connections.len() {
                self.connections.resize_with(place + 1, || None);
            }
            self.connections[place] =
                Some(Connection { stream, is_armed_for_writing: false, state: P::State::default() });
        }
    }

    /// Serves one connection as far as it goes; one that fails or has ended is closed. Load that was not answered is
    /// for whoever made it to report.
    fn turn(&mut self, event: &Event, registry: &Registry) {
        let Token(place) = event.token();
        if !self.serve(place, event.is_read_closed(), registry).unwrap_or(false) {
            self.connections[place] = None;
        }
    }

    fn serve(&mut self, place: usize, is_ended: bool, registry: &Registry) -> io::Result<IsOpen> {
        let Some(connection) = &mut self.connections[place] else { return Ok(false) };
        loop {
            if !connection.flush(&self.protocol, registry)? {
                return Ok(true);
            }
            let count = match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) => return would_block(error).map(|()| true),
            };
            self.protocol.receive(&mut connection.state, &self.buffer[..count]);
            let is_flushed = connection.flush(&self.protocol, registry)?;
            if is_flushed && self.protocol.is_over(&connection.state) {
                return Ok(false);
            }
            // A short read has emptied the socket, unless the end of the input came with it.
            if count < self.buffer.len() && !is_ended {
                return Ok(true);
            }
        }
    }
}

impl<S: Default> Connection<S> {
    /// Writes what is owed; whether that was all. If not, an event will tell when there is room again.
    fn flush(&mut self, protocol: &impl Protocol<State = S>, registry: &Registry) -> io::Result<bool> {
        while protocol.has_output(&self.state) {
            if let Err(error) = protocol.write(&mut self.state, &self.stream) {
                would_block(error)?;
                self.arm_for_writing(registry)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Once and for good, so that this is the only `epoll_ctl` after the first.
    fn arm_for_writing(&mut self, registry: &Registry) -> io::Result<()> {
        if !self.is_armed_for_writing {
            let place = Token(self.stream.as_raw_fd() as usize);
            registry.reregister(&mut self.stream, place, Interest::READABLE | Interest::WRITABLE)?;
            self.is_armed_for_writing = true;
        }
        Ok(())
    }
}

fn would_block(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) }
}
