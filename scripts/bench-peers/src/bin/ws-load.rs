//! Load for a WebSocket echo server: `ws-load URL SECONDS BYTES [CONNECTIONS]`.
//!
//! One thread keeps one binary message in flight on each connection (64 unless told), for so many seconds, and prints
//! how many echoes came and how many that is a second. The frame is built and masked once for all; an echo costs one
//! read and one write here. Every byte of every echo is compared, and one that differs ends the run as an error.

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::error::Error;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

type Failure = Box<dyn Error>;

const USAGE: &str = "usage: ws-load ws://HOST:PORT/PATH SECONDS BYTES [CONNECTIONS]";

/// The key that RFC 6455 §1.3 takes as its example, and what a server answers to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (url, seconds, bytes, connections) = match arguments.as_slice() {
        [url, seconds, bytes] => (url, seconds, bytes, "64"),
        [url, seconds, bytes, connections] => (url, seconds, bytes, connections.as_str()),
        _ => return Err(USAGE.into()),
    };
    let message: Vec<u8> = (0..bytes.parse()?).map(|index: usize| (index % 251) as u8).collect();
    let frame = masked_frame(&message);
    let conversations = (0..connections.parse()?).map(|_| Conversation::open(url)).collect::<Result<_, _>>()?;
    let mut load = Load { conversations, frame, message };
    let (echoes, elapsed) = load.run(Duration::from_secs_f64(seconds.parse()?))?;
    println!("{echoes} {:.0}", echoes as f64 / elapsed.as_secs_f64());
    Ok(())
}

/// The message as one binary frame from a client (RFC 6455 §5.2).
fn masked_frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match message.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(message.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

struct Load {
    conversations: Vec<Conversation>,
    frame: Vec<u8>,
    message: Vec<u8>,
}

impl Load {
    /// The echoes that came, and the time from the first message to the last echo counted.
    fn run(&mut self, window: Duration) -> Result<(u64, Duration), Failure> {
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
        for (place, conversation) in self.conversations.iter_mut().enumerate() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut conversation.stream, Token(place), interest)?;
        }
        let mut buffer = vec![0; 256 * 1024];
        let start = Instant::now();
        loop {
            let elapsed = start.elapsed();
            if elapsed >= window {
                return Ok((self.echoes()?, elapsed));
            }
            poll.poll(&mut events, Some(window - elapsed))?;
            for event in &events {
                self.conversations[event.token().0].turn(&self.frame, &self.message, &mut buffer)?;
            }
        }
    }

    /// All echoes so far; an error if a connection had none, for then the figure would be one of fewer connections.
    fn echoes(&self) -> Result<u64, Failure> {
        match self.conversations.iter().filter(|conversation| conversation.echoes == 0).count() {
            0 => Ok(self.conversations.iter().map(|conversation| conversation.echoes).sum()),
            silent => Err(format!("{silent} connections had no echo").into()),
        }
    }
}

/// One connection, with one message under way.
struct Conversation {
    stream: TcpStream,
    /// How much of the frame is written.
    sent: usize,
    echo: Echo,
    echoes: u64,
}

impl Conversation {
    /// Connects and shakes hands, which blocks.
    fn open(url: &str) -> Result<Self, Failure> {
        let (host, path) = url.strip_prefix("ws://").and_then(|rest| rest.split_once('/')).ok_or(USAGE)?;
        let mut stream = std::net::TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(
            stream,
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        )?;
        let answer = head(&mut stream)?;
        if !answer.starts_with("HTTP/1.1 101 ") || !answer.contains(ACCEPT) {
            return Err(format!("no WebSocket at {url}: {answer}").into());
        }
        stream.set_nonblocking(true)?;
        Ok(Self { stream: TcpStream::from_std(stream), sent: 0, echo: Echo::default(), echoes: 0 })
    }

    /// Writes what is left of the frame; reads the echo; if it is whole, sends the frame again.
    ///
    /// It does not read until the socket would block: after a whole echo the server owes nothing, and the next one is
    /// an event of its own.
    fn turn(&mut self, frame: &[u8], message: &[u8], buffer: &mut [u8]) -> Result<(), Failure> {
        self.write(frame)?;
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if self.echo.is_whole_after(&buffer[..count], message)? {
                self.echoes += 1;
                self.sent = 0;
                return Ok(self.write(frame)?);
            }
        }
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        while self.sent < frame.len() {
            match self.stream.write(&frame[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The head of an answer, read byte by byte so that no frame after it is taken along.
fn head(stream: &mut std::net::TcpStream) -> Result<String, Failure> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head)?)
}

/// Where in the echo the bytes from the server are. It may come in any number of fragments.
#[derive(Default)]
struct Echo {
    /// The frame's head as far as it is there.
    head: Vec<u8>,
    /// How much of the frame's payload is to come, once its head is there.
    payload: Option<u64>,
    /// How much of the message is there.
    received: usize,
}

impl Echo {
    /// Takes these bytes; whether they complete the echo of `message`.
    fn is_whole_after(&mut self, mut bytes: &[u8], message: &[u8]) -> Result<bool, Failure> {
        let mut is_whole = false;
        while !bytes.is_empty() {
            match self.payload {
                None => bytes = self.take_head(bytes)?,
                Some(left) => {
                    let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    self.take_payload(&bytes[..count], message)?;
                    self.payload = Some(left - count as u64);
                    bytes = &bytes[count..];
                }
            }
            if self.payload == Some(0) && self.is_last_after_frame(message)? {
                if is_whole {
                    return Err("two echoes of one message".into());
                }
                is_whole = true;
            }
        }
        Ok(is_whole)
    }

    /// Takes a byte of the frame's head; returns the bytes after it.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Failure> {
        self.head.push(bytes[0]);
        self.payload = match self.head.as_slice() {
            [first, ..] if first & 0x0f == 8 => return Err("the server sent a close frame".into()),
            [_, second, ..] if second & 0x80 != 0 => return Err("the server masks its frames".into()),
            [_, 126, high, low] => Some(u64::from(u16::from_be_bytes([*high, *low]))),
            [_, 127, length @ ..] => <[u8; 8]>::try_from(length).ok().map(u64::from_be_bytes),
            [_, 126, ..] => None,
            [_, length] => Some(u64::from(*length)),
            _ => None,
        };
        Ok(&bytes[1..])
    }

    fn take_payload(&mut self, bytes: &[u8], message: &[u8]) -> Result<(), Failure> {
        if self.is_control() {
            return Ok(());
        }
        let end = self.received + bytes.len();
        if message.get(self.received..end) != Some(bytes) {
            return Err(format!("the echo differs from the message after {} bytes", self.received).into());
        }
        self.received = end;
        Ok(())
    }

    /// Forgets the frame; whether it was the last of the message.
    fn is_last_after_frame(&mut self, message: &[u8]) -> Result<bool, Failure> {
        let is_last = !self.is_control() && self.head[0] & 0x80 != 0;
        self.head.clear();
        self.payload = None;
        if !is_last {
            return Ok(false);
        }
        match std::mem::take(&mut self.received) {
            received if received == message.len() => Ok(true),
            received => Err(format!("an echo of {received} bytes of {}", message.len()).into()),
        }
    }

    fn is_control(&self) -> bool {
        self.head[0] & 0x08 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdicts on bytes that come in pieces of this size: how many whole echoes, or what is wrong.
    fn echoes(bytes: &[u8], piece: usize) -> Result<usize, String> {
        let mut echo = Echo::default();
        let verdicts = bytes.chunks(piece).map(|piece| echo.is_whole_after(piece, b"Hello"));
        let whole: Vec<bool> = verdicts.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        Ok(whole.into_iter().filter(|is_whole| *is_whole).count())
    }

    #[test]
    fn an_echo_is_whole_with_its_final_frame_however_it_arrives() {
        let fragments = b"\x02\x03Hel\x89\x02hi\x00\x00\x80\x7e\x00\x02lo";
        for piece in 1..=fragments.len() {
            assert_eq!(echoes(fragments, piece), Ok(1), "in pieces of {piece}");
        }
        assert_eq!(echoes(&fragments[..fragments.len() - 1], 1), Ok(0));
        assert_eq!(echoes(b"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x05Hello\x82\x05Hello", 1), Ok(2));
    }

    #[test]
    fn what_is_no_echo_is_an_error() {
        let wrong: [(&[u8], &str); 7] = [
            (b"\x82\x05Hallo", "the echo differs from the message after 0 bytes"),
            (b"\x02\x02He\x80\x03lla", "the echo differs from the message after 2 bytes"),
            (b"\x82\x04Hell", "an echo of 4 bytes of 5"),
            (b"\x82\x06Hello!", "the echo differs from the message after 0 bytes"),
            (b"\x82\x85", "the server masks its frames"),
            (b"\x88\x00", "the server sent a close frame"),
            (b"\x82\x05Hello\x82\x05Hello", "two echoes of one message"),
        ];
        for (bytes, error) in wrong {
            assert_eq!(echoes(bytes, bytes.len()), Err(error.to_string()));
        }
    }

    #[test]
    fn a_frame_is_masked_and_says_its_length_in_the_fewest_bytes() {
        let heads: [(usize, &[u8]); 4] = [
            (125, b"\x82\xfd"),
            (126, b"\x82\xfe\x00\x7e"),
            (65535, b"\x82\xfe\xff\xff"),
            (65536, b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00"),
        ];
        for (length, head) in heads {
            let frame = masked_frame(&vec![0; length]);
            assert_eq!(frame.len(), head.len() + MASK.len() + length);
            assert!(frame.starts_with(head));
            assert!(frame[head.len()..].iter().zip(MASK.iter().cycle()).all(|(byte, mask)| byte == mask));
        }
    }
}
