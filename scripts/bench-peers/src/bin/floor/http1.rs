//! HTTP/1: a blank line is a request, wherever it stands and however it arrives.

use crate::Protocol;
use memchr::memmem;
use mio::net::TcpStream;
use rustix::net::{SendFlags, send};
use std::fs::File;
use std::io::{self, IoSlice, Write};

const BLANK_LINE: &[u8; 4] = b"\r\n\r\n";

/// As long as tidemill's head, with a name of as many letters.
const PLAINTEXT: &str = "HTTP/1.1 200 OK\r\nServer: thefloor\r\nDate: Sat, 21 Nov 2026 09:46:39 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

/// How many answers lie ready to be written at once.
const BATCH: usize = 1024;

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
pub trait Answer {
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

/// Answers every blank line the same.
pub struct Http1<A> {
    answer: A,
    closes: bool,
    blank_line: memmem::Finder<'static>,
}

/// The constant of `/plaintext`. The server closes after it, if it is told to.
pub fn plaintext(closes: bool) -> Http1<Constant> {
    let response = if closes { closing(PLAINTEXT) } else { PLAINTEXT.to_string() };
    Http1::new(Constant::new(&response), closes)
}

/// A file's bytes.
pub fn memory(file: &str) -> io::Result<Http1<Memory>> {
    Ok(Http1::new(Memory::read(file)?, false))
}

/// A file that is sent without being read.
pub fn stored(file: &str) -> io::Result<Http1<Stored>> {
    Ok(Http1::new(Stored::open(file)?, false))
}

/// Which bytes of the blank line a connection has had so far, and what it is owed.
#[derive(Default)]
pub struct State {
    matched: u8,
    /// In bytes.
    owed: u64,
    had_request: bool,
}

impl<A> Http1<A> {
    fn new(answer: A, closes: bool) -> Self {
        Self { answer, closes, blank_line: memmem::Finder::new(BLANK_LINE) }
    }
}

impl<A: Answer> Protocol for Http1<A> {
    type State = State;

    fn receive(&self, state: &mut State, bytes: &[u8]) {
        let requests = blank_lines(&self.blank_line, &mut state.matched, bytes);
        state.owed += requests * self.answer.size();
        state.had_request |= requests > 0;
    }

    fn has_output(&self, state: &State) -> bool {
        state.owed > 0
    }

    fn write(&self, state: &mut State, stream: &TcpStream) -> io::Result<()> {
        state.owed -= self.answer.write(stream, state.owed)? as u64;
        Ok(())
    }

    fn is_over(&self, state: &State) -> bool {
        self.closes && state.had_request
    }
}

/// The same few bytes, many times over.
pub struct Constant {
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
pub struct Memory {
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
pub struct Stored {
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
