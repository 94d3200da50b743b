//! A client of HTTP/2 that sends frames in the words of `tests/corpus/h2/README.md`, and reads them in the same words.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};

use super::script::{Item, items};
use super::sent;
use crate::support::{DEADLINE, Server, read};

/// The bytes of these frames, one a line.
pub fn bytes(words: &str) -> Vec<u8> {
    let lines = words.lines().map(str::trim_start).filter(|line| !line.is_empty());
    let bytes = lines.flat_map(|line| items(line, line)).flat_map(|item| match item {
        Item::Bytes(bytes) => bytes,
        Item::Act(_) => panic!("a client does nothing but send"),
    });
    bytes.collect()
}

/// The same frames for each of so many streams: `#` stands for its number.
pub fn on_streams(streams: usize, words: &str) -> Vec<u8> {
    let ids = (1..).step_by(2).take(streams);
    ids.flat_map(|id| bytes(&words.replace('#', &id.to_string()))).collect()
}

pub struct Client {
    pub stream: TcpStream,
    reader: sent::Client,
    /// Frames that have arrived and were not looked at.
    frames: VecDeque<String>,
}

impl Client {
    /// A connection on which the client has said nothing yet.
    pub fn silent(server: &Server) -> Client {
        let stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, reader: sent::Client::default(), frames: VecDeque::new() }
    }

    /// A connection with both prefaces behind it, and our SETTINGS acknowledged.
    pub fn connect(server: &Server) -> Client {
        let mut client = Client::silent(server);
        client.send("preface\nSETTINGS ack");
        client.until("SETTINGS ack");
        client
    }

    /// Sends these frames, one a line.
    pub fn send(&mut self, words: &str) {
        self.send_bytes(&bytes(words));
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Ends the client's direction.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next frame; `None` when the server has ended the connection.
    pub fn next(&mut self) -> Option<String> {
        while self.frames.is_empty() {
            let mut piece = [0; 16 * 1024];
            let n = match read(&mut self.stream, &mut piece) {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
                read => read.unwrap(),
            };
            if n == 0 {
                return None;
            }
            self.frames.extend(self.reader.read(&piece[..n]));
        }
        self.frames.pop_front()
    }

    /// The frames up to the first one that begins so, with it.
    pub fn until(&mut self, beginning: &str) -> Vec<String> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next() {
            frames.push(frame);
            if frames.last().is_some_and(|frame| frame.starts_with(beginning)) {
                return frames;
            }
        }
        panic!("the server ended before {beginning:?}: {frames:#?}");
    }

    /// All frames until the server ends the connection.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The frames up to the one that ends this stream; frames of the connection are left out.
    pub fn response(&mut self, stream: u32) -> Vec<String> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("the server ended after {frames:#?}"));
            let is_of_stream = frame.split(' ').nth(1) == Some(&stream.to_string());
            if !is_of_stream || frame.starts_with("WINDOW_UPDATE") {
                continue;
            }
            let is_last = frame.starts_with("RST_STREAM") || frame.split(' ').nth(2) == Some("end");
            frames.push(frame);
            if is_last {
                return frames;
            }
        }
    }
}
