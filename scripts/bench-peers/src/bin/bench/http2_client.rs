//! As much of an HTTP/2 client (RFC 9113) as the bench needs.
//!
//! It opens all windows at the start, sends requests without content, and decodes nothing of a response's fields but the
//! status 200, which every server sends by its index in the static table.

use crate::Failure;
use crate::client::{Answer, Stream};
use std::io::{BufReader, Read, Write};
use std::net::SocketAddr;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Of a frame: length, type, flags, stream (§4.1).
const HEAD_BYTES: usize = 9;

/// Without a setting of ours, the longest payload (§6.5.2).
const PAYLOAD_MAX: usize = 16384;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;
/// The largest window, and the one with which a connection begins (§6.9.1, §6.9.2).
const WINDOW_MAX: u32 = (1 << 31) - 1;
const WINDOW_AT_FIRST: u32 = 65_535;

/// What a server has sent.
pub struct Frame {
    kind: u8,
    flags: u8,
    pub stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// Of a response; none if it is another frame.
    pub fn content(&self) -> Option<&[u8]> {
        (self.kind == DATA).then_some(&self.payload)
    }

    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    fn acknowledges(&self, kind: u8) -> bool {
        self.kind == kind && self.flags & ACK != 0
    }

    /// An error if these are fields of a response whose status is not 200.
    fn check_status(&self) -> Result<(), Failure> {
        // By its index (RFC 7541 appendix A).
        match self.kind != HEADERS || after_table_sizes(&self.payload).first() == Some(&0x88) {
            true => Ok(()),
            false => Err(format!("not the status 200: {:02x?}", self.payload).into()),
        }
    }
}

/// A block of fields may begin with new sizes of the dynamic table (RFC 7541 §4.2, §6.3).
fn after_table_sizes(mut block: &[u8]) -> &[u8] {
    while let [first @ 0x20..=0x3f, rest @ ..] = block {
        let is_long = *first == 0x3f;
        let end = rest.iter().position(|byte| byte & 0x80 == 0).map_or(rest.len(), |last| last + 1);
        block = if is_long { &rest[end..] } else { rest };
    }
    block
}

/// A connection both of whose sides have acknowledged the other's settings.
pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    /// `:scheme` by its index in the static table.
    scheme: u8,
    authority: String,
    next_stream: u32,
}

impl Connection {
    pub fn open(stream: Box<dyn Stream>, scheme: &str, address: SocketAddr) -> Result<Self, Failure> {
        let scheme = if scheme == "https" { 0x87 } else { 0x86 };
        let stream = BufReader::with_capacity(1 << 16, stream);
        let mut connection = Self { stream, scheme, authority: address.to_string(), next_stream: 1 };
        let window = [&INITIAL_WINDOW.to_be_bytes()[..], &WINDOW_MAX.to_be_bytes()].concat();
        let increment = (WINDOW_MAX - WINDOW_AT_FIRST).to_be_bytes();
        let settings = frame(SETTINGS, 0, 0, &window);
        connection.send(&[PREFACE, &settings, &frame(WINDOW_UPDATE, 0, 0, &increment)].concat())?;
        connection.greet()?;
        Ok(connection)
    }

    /// The server's preface is SETTINGS (§3.4); its acknowledgement of ours comes some time after it.
    fn greet(&mut self) -> Result<(), Failure> {
        let mut first = [0; HEAD_BYTES];
        self.stream.read_exact(&mut first)?;
        if first[3] != SETTINGS {
            return Err(format!("no HTTP/2, but {:?}", String::from_utf8_lossy(&first)).into());
        }
        let settings = self.read_payload(first)?;
        self.answer(&settings)?;
        while !self.next_frame()?.acknowledges(SETTINGS) {}
        Ok(())
    }

    /// Sends a request of these fields, by lower-case names; says on which stream.
    pub fn request(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<u32, Failure> {
        let mut block = vec![0x82, self.scheme]; // GET
        let path = format!("/{path}");
        literal(&mut block, 4, ":path", &path);
        literal(&mut block, 1, ":authority", &self.authority);
        fields.iter().for_each(|(name, value)| literal(&mut block, 0, name, value));
        let stream = self.next_stream;
        self.next_stream += 2;
        self.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block))?;
        Ok(stream)
    }

    /// Sends a request and reads the response to it.
    pub fn exchange(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Answer, Failure> {
        let stream = self.request(path, fields)?;
        let mut answer = Answer { is_ok: true, head: "HTTP/2 200".into(), content: Vec::new(), bytes: 0 };
        loop {
            let frame = self.next_frame()?;
            if frame.stream != stream {
                continue;
            }
            answer.bytes += HEAD_BYTES + frame.payload.len();
            answer.content.extend_from_slice(frame.content().unwrap_or_default());
            if frame.ends_stream() {
                return Ok(answer);
            }
        }
    }

    /// Returns once the server has looked at everything that was sent before: it answers a PING in its turn.
    pub fn ping(&mut self) -> Result<(), Failure> {
        self.send(&frame(PING, 0, 0, &[0; 8]))?;
        while !self.next_frame()?.acknowledges(PING) {}
        Ok(())
    }

    /// The next one, after what it asks for; an error if it ends a stream or the connection before its time.
    pub fn next_frame(&mut self) -> Result<Frame, Failure> {
        let mut head = [0; HEAD_BYTES];
        self.stream.read_exact(&mut head)?;
        let frame = self.read_payload(head)?;
        self.answer(&frame)?;
        Ok(frame)
    }

    fn read_payload(&mut self, head: [u8; HEAD_BYTES]) -> Result<Frame, Failure> {
        let [high, middle, low, kind, flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if length > PAYLOAD_MAX {
            return Err(format!("a frame of {length} bytes").into());
        }
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream) & WINDOW_MAX, payload })
    }

    fn answer(&mut self, received: &Frame) -> Result<(), Failure> {
        let Frame { kind, flags, stream, payload } = received;
        match *kind {
            SETTINGS if flags & ACK == 0 => self.send(&frame(SETTINGS, ACK, 0, &[])),
            PING if flags & ACK == 0 => self.send(&frame(PING, ACK, 0, payload)),
            HEADERS | DATA if flags & PADDED != 0 => Err("padding".into()),
            HEADERS if flags & PRIORITY != 0 => Err("a response with a priority".into()),
            RST_STREAM => Err(format!("stream {stream} was reset: {payload:?}").into()),
            GOAWAY => Err(format!("GOAWAY: {:?}", String::from_utf8_lossy(payload)).into()),
            _ => received.check_status(),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        Ok(stream.flush()?)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [.., high, middle, low] = payload.len().to_be_bytes();
    [&[high, middle, low, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// A field that goes into the dynamic table, as a browser sends it (RFC 7541 §6.2.1). Its name is in the static table
/// at this index, or at none.
fn literal(block: &mut Vec<u8>, index: u8, name: &str, value: &str) {
    block.push(0x40 | index);
    if index == 0 {
        string(block, name);
    }
    string(block, value);
}

/// Without Huffman's code (§5.2, §5.1).
fn string(block: &mut Vec<u8>, text: &str) {
    const PREFIX_MAX: usize = 127;
    if text.len() < PREFIX_MAX {
        block.push(text.len() as u8);
    } else {
        block.push(PREFIX_MAX as u8);
        let mut rest = text.len() - PREFIX_MAX;
        while rest >= 128 {
            block.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        block.push(rest as u8);
    }
    block.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// A server that has already said all it will say.
    struct Script {
        said: io::Cursor<Vec<u8>>,
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.said.read(buffer)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn connect(frames: &[Vec<u8>]) -> Result<Connection, String> {
        let said = io::Cursor::new(frames.concat());
        let address = ([127, 0, 0, 1], 80).into();
        Connection::open(Box::new(Script { said }), "http", address).map_err(|error| error.to_string())
    }

    /// What comes of a response of these frames.
    fn exchange(frames: &[Vec<u8>]) -> Result<(Vec<u8>, usize), String> {
        let greeting = [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])];
        let answer = connect(&[&greeting, frames].concat())?.exchange("", &[]).map_err(|error| error.to_string())?;
        Ok((answer.content, answer.bytes))
    }

    #[test]
    fn a_response_is_its_content_and_the_bytes_of_its_frames() {
        let frames = [
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]),
            frame(HEADERS, END_HEADERS, 1, &[0x3f, 0xe1, 0x1f, 0x88, 0x54]),
            frame(DATA, 0, 1, b"Hello, "),
            frame(DATA, END_STREAM, 1, b"World!"),
        ];
        assert_eq!(exchange(&frames), Ok((b"Hello, World!".to_vec(), 3 * 9 + 5 + 13)));
    }

    #[test]
    fn other_answers_are_errors() {
        let said = |frames: &[Vec<u8>]| exchange(frames).expect_err("an error");
        assert!(said(&[frame(HEADERS, END_HEADERS, 1, &[0x8d])]).starts_with("not the status 200"));
        assert!(said(&[frame(RST_STREAM, 0, 1, &[0, 0, 0, 7])]).starts_with("stream 1 was reset"));
        assert!(said(&[frame(GOAWAY, 0, 0, b"enough")]).contains("enough"));
        assert!(connect(&[b"HTTP/1.1 400 Bad Request\r\n".to_vec()]).is_err_and(|error| error.contains("HTTP/1.1 ")));
    }

    #[test]
    fn lengths_of_strings_take_as_many_bytes_as_they_need() {
        let coded = |length: usize| {
            let mut block = Vec::new();
            string(&mut block, &"a".repeat(length));
            block.truncate(block.len() - length);
            block
        };
        // 1337 with a prefix of 7 bits, as RFC 7541 C.1.2 has it with 5.
        assert_eq!([coded(126), coded(127), coded(255)], [vec![126], vec![127, 0], vec![127, 128, 1]]);
        assert_eq!(coded(1337), [127, 0xba, 0x09]);
    }
}
