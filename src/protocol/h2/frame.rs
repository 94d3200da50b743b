//! Frames (RFC 9113 §4, §6): the nine bytes in front of each, and what is wrong with one that can be told from these.

use super::error::Fault;

/// Length of a frame's head in bytes (RFC 9113 §4.1).
pub const FRAME_HEAD_BYTES: usize = 9;
/// The largest payload that every endpoint must accept, in bytes (RFC 9113 §4.2).
pub const FRAME_BYTES_MAX_LEAST: u32 = 16_384;
/// The largest payload that any frame can have, in bytes.
pub const FRAME_BYTES_MAX_MOST: u32 = 16_777_215;

/// END_STREAM of DATA and HEADERS: nothing follows on this stream.
pub const END_STREAM: u8 = 0x1;
/// ACK of SETTINGS and PING.
pub const ACK: u8 = 0x1;
/// END_HEADERS of HEADERS and CONTINUATION: the field block is complete.
pub const END_HEADERS: u8 = 0x4;
/// PADDED of DATA and HEADERS: a length of padding comes first, and the padding last.
pub const PADDED: u8 = 0x8;
/// PRIORITY of HEADERS: a dependency and a weight stand in front of the field block.
pub const PRIORITY: u8 = 0x20;

/// What a frame is (RFC 9113 §6; RFC 9218 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Content.
    Data,
    /// A field section begins.
    Headers,
    /// A dependency; ignored (RFC 9113 §5.3.2).
    Priority,
    /// A stream ends at once.
    RstStream,
    /// Parameters of the sender.
    Settings,
    /// Only servers send it, and this one does not.
    PushPromise,
    /// A question whether the other side is there.
    Ping,
    /// The sender takes no new streams.
    GoAway,
    /// More may be sent.
    WindowUpdate,
    /// A field section goes on.
    Continuation,
    /// The priority of a stream has changed (RFC 9218 §7.1).
    PriorityUpdate,
    /// Ignored (RFC 9113 §4.1).
    Unknown(u8),
}

impl Kind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Kind {
        match number {
            0x0 => Kind::Data,
            0x1 => Kind::Headers,
            0x2 => Kind::Priority,
            0x3 => Kind::RstStream,
            0x4 => Kind::Settings,
            0x5 => Kind::PushPromise,
            0x6 => Kind::Ping,
            0x7 => Kind::GoAway,
            0x8 => Kind::WindowUpdate,
            0x9 => Kind::Continuation,
            0x10 => Kind::PriorityUpdate,
            _ => Kind::Unknown(number),
        }
    }

    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Kind::Data => 0x0,
            Kind::Headers => 0x1,
            Kind::Priority => 0x2,
            Kind::RstStream => 0x3,
            Kind::Settings => 0x4,
            Kind::PushPromise => 0x5,
            Kind::Ping => 0x6,
            Kind::GoAway => 0x7,
            Kind::WindowUpdate => 0x8,
            Kind::Continuation => 0x9,
            Kind::PriorityUpdate => 0x10,
            Kind::Unknown(number) => number,
        }
    }
}

/// The head of a frame (RFC 9113 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of payload, 24 bits.
    pub length: u32,
    /// What it is.
    pub kind: Kind,
    /// What they mean depends on the kind; those without a meaning are ignored.
    pub flags: u8,
    /// The stream, 31 bits; 0 is the connection. The reserved bit in front of it is ignored.
    pub stream: u32,
}

impl FrameHead {
    /// Reads it.
    pub fn from_bytes(bytes: [u8; FRAME_HEAD_BYTES]) -> FrameHead {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes;
        FrameHead {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: Kind::from_number(kind),
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        }
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; FRAME_HEAD_BYTES] {
        let [_, l0, l1, l2] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, self.kind.number(), self.flags, s0, s1, s2, s3]
    }

    /// Whether one of these flags is set.
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What ends the connection already now, whatever the payload. A PRIORITY of a wrong length ends its stream only, and
    /// is not found here. `frame_bytes_max` is our SETTINGS_MAX_FRAME_SIZE.
    pub fn check(self, frame_bytes_max: u32) -> Result<(), Fault> {
        // This could be the error of a stream for some kinds (§4.2). But whoever ignores this limit can hardly be right
        // about anything else, and all of such a frame would have to be read first.
        if self.length > frame_bytes_max {
            return Err(Fault::frame_size("a frame is larger than SETTINGS_MAX_FRAME_SIZE", "RFC 9113 §4.2"));
        }
        self.check_stream()?;
        self.check_length()
    }

    /// Frames of streams must name one, and frames of the connection must not (RFC 9113 §6).
    fn check_stream(self) -> Result<(), Fault> {
        let is_of_connection = self.stream == 0;
        let fault = match self.kind {
            Kind::Data if is_of_connection => Fault::protocol("DATA on stream 0", "RFC 9113 §6.1"),
            Kind::Headers if is_of_connection => Fault::protocol("HEADERS on stream 0", "RFC 9113 §6.2"),
            Kind::Priority if is_of_connection => Fault::protocol("PRIORITY on stream 0", "RFC 9113 §6.3"),
            Kind::RstStream if is_of_connection => Fault::protocol("RST_STREAM on stream 0", "RFC 9113 §6.4"),
            Kind::Settings if !is_of_connection => Fault::protocol("SETTINGS on a stream", "RFC 9113 §6.5"),
            Kind::PushPromise => Fault::protocol("PUSH_PROMISE from a client", "RFC 9113 §8.4"),
            Kind::Ping if !is_of_connection => Fault::protocol("PING on a stream", "RFC 9113 §6.7"),
            Kind::GoAway if !is_of_connection => Fault::protocol("GOAWAY on a stream", "RFC 9113 §6.8"),
            Kind::Continuation if is_of_connection => Fault::protocol("CONTINUATION on stream 0", "RFC 9113 §6.10"),
            Kind::PriorityUpdate if !is_of_connection => {
                Fault::protocol("PRIORITY_UPDATE on a stream", "RFC 9218 §7.1")
            }
            _ => return Ok(()),
        };
        Err(fault)
    }

    /// Frames that must have a certain length, or at least some (RFC 9113 §4.2, §6).
    fn check_length(self) -> Result<(), Fault> {
        let length = self.length;
        let fault = match self.kind {
            Kind::Data if length < self.bytes_in_front() => {
                Fault::frame_size("DATA has no room for the length of its padding", "RFC 9113 §4.2")
            }
            Kind::Headers if length < self.bytes_in_front() => {
                Fault::frame_size("HEADERS has no room for what its flags announce", "RFC 9113 §4.2")
            }
            Kind::RstStream if length != 4 => Fault::frame_size("RST_STREAM is not 4 bytes", "RFC 9113 §6.4"),
            Kind::Settings if self.has(ACK) && length != 0 => {
                Fault::frame_size("an acknowledgement of SETTINGS has a payload", "RFC 9113 §6.5")
            }
            Kind::Settings if !length.is_multiple_of(6) => {
                Fault::frame_size("SETTINGS is not a multiple of 6 bytes", "RFC 9113 §6.5")
            }
            Kind::Ping if length != 8 => Fault::frame_size("PING is not 8 bytes", "RFC 9113 §6.7"),
            Kind::GoAway if length < 8 => Fault::frame_size("GOAWAY is shorter than 8 bytes", "RFC 9113 §6.8"),
            Kind::WindowUpdate if length != 4 => Fault::frame_size("WINDOW_UPDATE is not 4 bytes", "RFC 9113 §6.9"),
            Kind::PriorityUpdate if length < 4 => {
                Fault::frame_size("PRIORITY_UPDATE is shorter than 4 bytes", "RFC 9218 §7.1")
            }
            _ => return Ok(()),
        };
        Err(fault)
    }

    /// How many bytes stand in front of the content of DATA or the field block of HEADERS: the length of the padding, and
    /// the dependency.
    pub fn bytes_in_front(self) -> u32 {
        let padded = u32::from(self.has(PADDED));
        match self.kind {
            Kind::Data => padded,
            Kind::Headers => padded + if self.has(PRIORITY) { 5 } else { 0 },
            _ => 0,
        }
    }
}

/// The stream that a PRIORITY frame or the flag of the same name wants to depend on (RFC 9113 §5.3). The rest of it,
/// exclusive and weight, means nothing any more.
pub fn dependency(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::error::ErrorCode;
    use super::*;

    fn head(kind: u8, length: u32, flags: u8, stream: u32) -> FrameHead {
        FrameHead { length, kind: Kind::from_number(kind), flags, stream }
    }

    /// Every rule of §4.2 and §6 that the head alone decides: kind, length, flags, stream, and the code.
    #[test]
    fn a_wrong_stream_or_length_ends_the_connection_with_the_right_code() {
        let cases = [
            (0x0, 1, 0, 0, ErrorCode::PROTOCOL_ERROR, "§6.1"),
            (0x1, 1, 0, 0, ErrorCode::PROTOCOL_ERROR, "§6.2"),
            (0x2, 5, 0, 0, ErrorCode::PROTOCOL_ERROR, "§6.3"),
            (0x3, 4, 0, 0, ErrorCode::PROTOCOL_ERROR, "§6.4"),
            (0x4, 0, 0, 1, ErrorCode::PROTOCOL_ERROR, "§6.5"),
            (0x5, 4, 0, 1, ErrorCode::PROTOCOL_ERROR, "§8.4"),
            (0x6, 8, 0, 1, ErrorCode::PROTOCOL_ERROR, "§6.7"),
            (0x7, 8, 0, 1, ErrorCode::PROTOCOL_ERROR, "§6.8"),
            (0x9, 1, 0, 0, ErrorCode::PROTOCOL_ERROR, "§6.10"),
            (0x10, 4, 0, 1, ErrorCode::PROTOCOL_ERROR, "§7.1"),
            (0x0, 0, PADDED, 1, ErrorCode::FRAME_SIZE_ERROR, "§4.2"),
            (0x1, 0, PADDED, 1, ErrorCode::FRAME_SIZE_ERROR, "§4.2"),
            (0x1, 4, PRIORITY, 1, ErrorCode::FRAME_SIZE_ERROR, "§4.2"),
            (0x1, 5, PRIORITY | PADDED, 1, ErrorCode::FRAME_SIZE_ERROR, "§4.2"),
            (0x3, 3, 0, 1, ErrorCode::FRAME_SIZE_ERROR, "§6.4"),
            (0x3, 5, 0, 1, ErrorCode::FRAME_SIZE_ERROR, "§6.4"),
            (0x4, 6, ACK, 0, ErrorCode::FRAME_SIZE_ERROR, "§6.5"),
            (0x4, 7, 0, 0, ErrorCode::FRAME_SIZE_ERROR, "§6.5"),
            (0x6, 7, 0, 0, ErrorCode::FRAME_SIZE_ERROR, "§6.7"),
            (0x6, 9, ACK, 0, ErrorCode::FRAME_SIZE_ERROR, "§6.7"),
            (0x7, 7, 0, 0, ErrorCode::FRAME_SIZE_ERROR, "§6.8"),
            (0x8, 3, 0, 0, ErrorCode::FRAME_SIZE_ERROR, "§6.9"),
            (0x8, 5, 0, 1, ErrorCode::FRAME_SIZE_ERROR, "§6.9"),
            (0x10, 3, 0, 0, ErrorCode::FRAME_SIZE_ERROR, "§7.1"),
            (0x0, 16_385, 0, 1, ErrorCode::FRAME_SIZE_ERROR, "§4.2"),
            (0x1, 16_385, 0, 1, ErrorCode::FRAME_SIZE_ERROR, "§4.2"),
            (0x4, 16_386, 0, 0, ErrorCode::FRAME_SIZE_ERROR, "§4.2"),
            (0xbb, 16_385, 0, 1, ErrorCode::FRAME_SIZE_ERROR, "§4.2"),
        ];
        for (kind, length, flags, stream, code, section) in cases {
            let fault = head(kind, length, flags, stream).check(FRAME_BYTES_MAX_LEAST).expect_err("a fault");
            assert_eq!(fault.code, code, "{kind:#x} of {length}: {fault}");
            assert!(fault.section.ends_with(section), "{kind:#x} of {length}: {fault}");
        }
    }

    #[test]
    fn what_is_right_passes() {
        let cases = [
            (0x0, 0, 0, 1),
            (0x0, 16_384, 0, 1),
            (0x0, 1, PADDED, 1),
            (0x1, 6, PADDED | PRIORITY, 1),
            (0x1, 0, 0, 2),
            (0x2, 4, 0, 1),
            (0x3, 4, 0xff, 1),
            (0x4, 0, ACK, 0),
            (0x4, 12, 0, 0),
            (0x6, 8, 0, 0),
            (0x7, 8, 0, 0),
            (0x7, 900, 0, 0),
            (0x8, 4, 0, 0),
            (0x8, 4, 0, 9),
            (0x9, 0, 0, 1),
            (0x10, 4, 0, 0),
            (0x11, 0, 0, 0),
            (0xff, 16_384, 0xff, 0x7fff_ffff),
        ];
        for (kind, length, flags, stream) in cases {
            assert_eq!(head(kind, length, flags, stream).check(FRAME_BYTES_MAX_LEAST), Ok(()), "{kind:#x} of {length}");
        }
    }

    proptest! {
        #[test]
        fn a_head_is_read_as_it_was_written(length in 0..1_u32 << 24, kind: u8, flags: u8, stream in 0..1_u32 << 31) {
            let head = head(kind, length, flags, stream);
            let mut bytes = head.to_bytes();
            prop_assert_eq!(FrameHead::from_bytes(bytes), head);
            bytes[5] |= 0x80;
            prop_assert_eq!(FrameHead::from_bytes(bytes), head, "the reserved bit is ignored");
        }
    }
}
