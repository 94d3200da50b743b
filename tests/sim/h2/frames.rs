//! The client's own idea of HTTP/2 frames (RFC 9113 §4, §6): naive, and sharing no line with the server.

pub const DATA: u8 = 0x0;
pub const HEADERS: u8 = 0x1;
pub const RST_STREAM: u8 = 0x3;
pub const SETTINGS: u8 = 0x4;
pub const PING: u8 = 0x6;
pub const GOAWAY: u8 = 0x7;
pub const WINDOW_UPDATE: u8 = 0x8;
pub const CONTINUATION: u8 = 0x9;
pub const PRIORITY_UPDATE: u8 = 0x10;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length of a frame's head in bytes.
const HEAD_BYTES: usize = 9;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: u8,
    /// What they mean depends on the kind.
    pub flags: u8,
    /// The stream; 0 is the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether this flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The number of 32 bits that begins at this byte of the payload.
    pub fn number(&self, at: usize) -> Result<u32, String> {
        let bytes = self.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_be_bytes).ok_or_else(|| format!("a frame of type {} is too short", self.kind))
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = (self.payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    Frame { kind, flags, stream, payload: payload.to_vec() }.to_bytes()
}

/// SETTINGS with these identifiers and values.
pub fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let pair =
        |(identifier, value): &(u16, u32)| [identifier.to_be_bytes().to_vec(), value.to_be_bytes().to_vec()].concat();
    frame(SETTINGS, 0, 0, &parameters.iter().flat_map(pair).collect::<Vec<u8>>())
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
    pub fn next(&mut self) -> Option<Frame> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *self.bytes.first_chunk::<HEAD_BYTES>()?;
        let end = HEAD_BYTES + u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let payload = self.bytes.get(HEAD_BYTES..end)?.to_vec();
        self.bytes.drain(..end);
        Some(Frame { kind, flags, stream: u32::from_be_bytes([s0, s1, s2, s3]), payload })
    }
}
