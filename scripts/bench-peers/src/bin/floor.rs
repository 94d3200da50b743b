//! The floor: what an answer over TCP costs on this kernel if nothing is parsed and nothing decided.
//!
//! ```text
//! floor [--listen ADDR]                  a constant of the size and with the fields of tidemill's /plaintext
//! floor close [--listen ADDR]            the same once a connection, which is then closed
//! floor memory FILE [--listen ADDR]      a head and the file's bytes from memory, in one writev
//! floor sendfile FILE [--listen ADDR]    a head, then the file by sendfile
//! ```
//!
//! One thread, one edge-triggered epoll loop, one buffer for all connections. A blank line is a request, wherever it
//! stands and however it arrives; what comes in one read is answered in one write. It prints
//! `listening on http://127.0.0.1:PORT/` and runs until it is killed.

use memchr::memmem;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::net::{SendFlags, send, sockopt};
use std::error::Error;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

const USAGE: &str = "usage: floor [close | memory FILE | sendfile FILE] [--listen ADDR]";

const BLANK_LINE: &[u8; 4] = b"\r\n\r\n";

/// As long as tidemill's head, with a name of as many letters.
const PLAINTEXT: &str = "HTTP/1.1 200 OK\r\nServer: thefloor\r\nDate: Sat, 21 Nov 2026 09:46:39 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

/// How many answers lie ready to be written at once.
const BATCH: usize = 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let address = listen_address(&mut arguments)?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Floor::new(Constant::new(PLAINTEXT), false).run(address)?,
        ["close"] => Floor::new(Constant::new(&closing(PLAINTEXT)), true).run(address)?,
        ["memory", file] => Floor::new(Memory::read(file)?, false).run(address)?,
        ["sendfile", file] => Floor::new(Stored::open(file)?, false).run(address)?,
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

fn closing(response: &str) -> String {
    response.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)
}

/// With the fields of tidemill's answer, and as long.
fn file_head(length: u64) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nServer: thefloor\r\nDate: Sat, 21 Nov 2026 09:48:13 GMT\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\
         Last-Modified: Sat, 21 Nov 2026 09:46:39 GMT\r\nETag: \"6b01687f.1c189731-{length:x}-a36399\"\r\n\
         Accept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
}

/// What every request is answered with.
trait Answer {
    /// In bytes.
    fn size(&self) -> u64;

    /// Writes once (a head and its file: at most twice) from the next of these bytes that are owed, at least one; says
    /// how many it wrote.
    fn write(&self, stream: &TcpStream, owed: u64) -> io::Result<usize>;

    /// Where in the answer the next byte is, if so many are owed.
    fn position(&self, owed: u64) -> usize {
        (self.size() - 1 - (owed - 1) % self.size()) as usize
    }
}

/// The same few bytes, many times over.
struct Constant {
    size: u64,
    repeated: Vec<u8>,
}

impl Constant {
    fn new(response: &str) -> Self {
        Self { size: response.len() as u64, repeated: response.as_bytes().repeat(BATCH) }
    }
}

impl Answer for Constant {
    fn size(&self) -> u64 {
        self.size
    }

    fn write(&self, mut stream: &TcpStream, owed: u64) -> io::Result<usize> {
        let rest = &self.repeated[self.position(owed)..];
        stream.write(&rest[..rest.len().min(owed as usize)])
    }
}

/// A head and a file's bytes.
struct Memory {
    head: Vec<u8>,
    content: Vec<u8>,
}

impl Memory {
    fn read(file: &str) -> io::Result<Self> {
        let content = std::fs::read(file)?;
        Ok(Self { head: file_head(content.len() as u64).into(), content })
    }
}

impl Answer for Memory {
    fn size(&self) -> u64 {
        (self.head.len() + self.content.len()) as u64
    }

    fn write(&self, mut stream: &TcpStream, owed: u64) -> io::Result<usize> {
        let position = self.position(owed);
        match position.checked_sub(self.head.len()) {
            None => stream.write_vectored(&[IoSlice::new(&self.head[position..]), IoSlice::new(&self.content)]),
            Some(sent) => stream.write(&self.content[sent..]),
        }
    }
}

/// A head and a file that is not read.
struct Stored {
    head: Vec<u8>,
    file: File,
    length: u64,
}

impl Stored {
    fn open(file: &str) -> io::Result<Self> {
        let file = File::open(file)?;
        let length = file.metadata()?.len();
        Ok(Self { head: file_head(length).into(), file, length })
    }
}

impl Answer for Stored {
    fn size(&self) -> u64 {
        self.head.len() as u64 + self.length
    }

    fn write(&self, stream: &TcpStream, owed: u64) -> io::Result<usize> {
        let position = self.position(owed);
        let Some(head) = self.head.get(position..).filter(|head| !head.is_empty()) else {
            return self.send_file(stream, (position - self.head.len()) as u64);
        };
        let sent = send(stream, head, SendFlags::MORE | SendFlags::NOSIGNAL)?;
        match if sent == head.len() { self.send_file(stream, 0) } else { Ok(0) } {
            Ok(count) => Ok(sent + count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(sent),
            Err(error) => Err(error),
        }
    }
}

impl Stored {
    fn send_file(&self, stream: &TcpStream, mut offset: u64) -> io::Result<usize> {
        let left = (self.length - offset) as usize;
        match rustix::fs::sendfile(stream, &self.file, Some(&mut offset), left)? {
            0 if left > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

/// A connection: which bytes of the blank line it has had so far, and what it is owed.
struct Connection {
    stream: TcpStream,
    matched: u8,
    is_armed_for_writing: bool,
    /// In bytes.
    owed: u64,
}

/// The server. A connection's place is its file descriptor.
struct Floor<A> {
    answer: A,
    closes: bool,
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
    blank_line: memmem::Finder<'static>,
}

/// Whether a connection lives on.
type IsOpen = bool;

impl<A: Answer> Floor<A> {
    fn new(answer: A, closes: bool) -> Self {
        let blank_line = memmem::Finder::new(BLANK_LINE);
        Self { answer, closes, connections: Vec::new(), buffer: vec![0; 64 * 1024], blank_line }
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
            self.connections[place] = Some(Connection { stream, matched: 0, is_armed_for_writing: false, owed: 0 });
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
            if !connection.flush(&self.answer, registry)? {
                return Ok(true);
            }
            let count = match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) => return would_block(error).map(|()| true),
            };
            let requests = blank_lines(&self.blank_line, &mut connection.matched, &self.buffer[..count]);
            connection.owed += requests * self.answer.size();
            let is_flushed = connection.flush(&self.answer, registry)?;
            if self.closes && requests > 0 && is_flushed {
                return Ok(false);
            }
            // A short read has emptied the socket, unless the end of the input came with it.
            if count < self.buffer.len() && !is_ended {
                return Ok(true);
            }
        }
    }
}

impl Connection {
    /// Writes what is owed; whether that was all. If not, an event will tell when there is room again.
    fn flush(&mut self, answer: &impl Answer, registry: &Registry) -> io::Result<bool> {
        while self.owed > 0 {
            match answer.write(&self.stream, self.owed) {
                Ok(count) => self.owed -= count as u64,
                Err(error) => {
                    would_block(error)?;
                    self.arm_for_writing(registry)?;
                    return Ok(false);
                }
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

/// How many blank lines end in these bytes. `matched` says how much of one the bytes before them and they end with.
fn blank_lines(finder: &memmem::Finder, matched: &mut u8, bytes: &[u8]) -> u64 {
    let (mut count, mut start) = (0, 0);
    while *matched > 0 && start < bytes.len() {
        *matched = match bytes[start] {
            byte if byte == BLANK_LINE[usize::from(*matched)] => *matched + 1,
            byte => u8::from(byte == BLANK_LINE[0]),
        };
        if usize::from(*matched) == BLANK_LINE.len() {
            (*matched, count) = (0, 1);
        }
        start += 1;
    }
    while let Some(at) = finder.find(&bytes[start..]) {
        start += at + BLANK_LINE.len();
        count += 1;
    }
    if start < bytes.len() {
        *matched = beginning(&bytes[start..]);
    }
    count
}

/// How much of a blank line these bytes end with.
fn beginning(bytes: &[u8]) -> u8 {
    (1..=3).rev().find(|length| bytes.ends_with(&BLANK_LINE[..usize::from(*length)])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_blank_line_counts_however_it_arrives() {
        let finder = memmem::Finder::new(BLANK_LINE);
        let inputs: [(&[u8], u64); 6] = [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
            (b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /", 2),
            (b"\r\r\n\r\r\n\r\n", 1),
            (b"\r\n\r\n\r\n\r\n", 2),
            (b"\r\n\n\r\r\n\n", 0),
            (b"", 0),
        ];
        for (input, expected) in inputs {
            for piece in 1..=input.len() {
                let mut matched = 0;
                let found: u64 = input.chunks(piece).map(|bytes| blank_lines(&finder, &mut matched, bytes)).sum();
                assert_eq!(found, expected, "in pieces of {piece}: {input:?}");
            }
        }
    }

    #[test]
    fn what_is_owed_says_which_byte_is_next() {
        let answer = Constant::new("abc");
        let positions: Vec<usize> = (1..=6).map(|owed| answer.position(owed)).collect();
        assert_eq!(positions, [2, 1, 0, 2, 1, 0]);
    }
}
