//! The client's own idea of WebSocket frames (RFC 6455 §5, RFC 7692): naive, strict, and sharing no line with the
//! server.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// More content of a message of the tests than there is.
const CONTENT_BYTES_MAX: usize = 1 << 20;
/// What a compressed message ends in, and is sent without (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;

pub const FIN: u8 = 0x80;
pub const RSV1: u8 = 0x40;

/// A client's frame with this first byte.
pub fn masked(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        0..=125 => bytes.push(0x80 | payload.len() as u8),
        126..=0xffff => bytes.extend([&[0xfe][..], &(payload.len() as u16).to_be_bytes()].concat()),
        _ => bytes.extend([&[0xff][..], &(payload.len() as u64).to_be_bytes()].concat()),
    }
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// The payload of a Close.
pub fn closing(code: Option<u16>) -> Vec<u8> {
    code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec())
}

/// A frame of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether it is the last of its message.
    pub fin: bool,
    /// Whether its message is compressed.
    pub rsv1: bool,
    /// What it is.
    pub opcode: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of a Close, if it has one.
    pub fn code(&self) -> Option<u16> {
        self.payload.first_chunk().map(|code| u16::from_be_bytes(*code))
    }
}

/// Takes a server's bytes apart.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Adds what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether no byte of a next frame has arrived.
    pub fn is_between(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next complete frame.
    pub fn next(&mut self) -> Result<Option<Frame>, String> {
        let [first, second, rest @ ..] = &self.bytes[..] else { return Ok(None) };
        if second & 0x80 != 0 {
            return Err("the server masks (RFC 6455 §5.1)".to_owned());
        }
        let (length, head) = match second & 0x7f {
            126 => match rest.first_chunk() {
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(length) => (u64::from_be_bytes(*length), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if (head == 4 && length < 126) || (head == 10 && length < 0x1_0000) {
            return Err("a length is not minimal (RFC 6455 §5.2)".to_owned());
        }
        let frame = (*first, length as usize);
        check(frame.0, length)?;
        let Some(payload) = self.bytes.get(head..head + frame.1) else { return Ok(None) };
        let payload = payload.to_vec();
        self.bytes.drain(..head + frame.1);
        Ok(Some(Frame { fin: frame.0 & FIN != 0, rsv1: frame.0 & RSV1 != 0, opcode: frame.0 & 0xf, payload }))
    }
}

fn check(first: u8, length: u64) -> Result<(), String> {
    let (opcode, fin) = (first & 0xf, first & FIN != 0);
    match () {
        () if first & 0x30 != 0 => Err(format!("reserved bits in {first:#x}")),
        () if !matches!(opcode, 0..=2 | 8..=10) => Err(format!("a reserved opcode in {first:#x}")),
        () if opcode & 0x8 != 0 && (!fin || length > 125 || first & RSV1 != 0) => {
            Err(format!("a control frame {first:#x} of {length} bytes (RFC 6455 §5.5)"))
        }
        () => Ok(()),
    }
}

/// Both directions of permessage-deflate with context takeover.
pub struct Deflate {
    out: Compress,
    back: Decompress,
}

impl Deflate {
    /// As agreed on without parameters.
    pub fn new() -> Deflate {
        Deflate { out: Compress::new(Compression::fast(), false), back: Decompress::new(false) }
    }

    /// Compresses a whole message.
    pub fn compress(&mut self, content: &[u8]) -> Vec<u8> {
        let mut compressed = Vec::with_capacity(content.len() * 2 + 100);
        let status = self.out.compress_vec(content, &mut compressed, FlushCompress::Sync);
        assert!(status.is_ok() && compressed.len() < compressed.capacity(), "there is room for all of it");
        match compressed.strip_suffix(&TAIL) {
            Some(rest) => rest.to_vec(),
            // Nothing was to be flushed (RFC 7692 §7.2.3.6).
            None => vec![0],
        }
    }

    /// Decompresses a whole message.
    pub fn decompress(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let mut content = Vec::with_capacity(CONTENT_BYTES_MAX);
        let (before, payload) = (self.back.total_in(), [payload, &TAIL].concat());
        let status = self.back.decompress_vec(&payload, &mut content, FlushDecompress::Sync);
        match status {
            Ok(_) if self.back.total_in() - before == payload.len() as u64 => Ok(content),
            _ => Err("a message is not compressed well".to_owned()),
        }
    }
}
