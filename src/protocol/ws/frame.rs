//! The head of a frame (RFC 6455 §5.2).

use super::Violation;
use super::mask::Mask;

/// The longest payload of a control frame, in bytes (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
/// The longest head of a client's frame: two bytes, a length of eight, a masking key.
pub const HEAD_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;
const MASKED: u8 = 0x80;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that has begun.
    Continuation,
    /// The beginning of a text message.
    Text,
    /// The beginning of a binary message.
    Binary,
    /// The closing handshake.
    Close,
    /// Asks for a Pong.
    Ping,
    /// Answers a Ping, or shows without one that the sender is alive.
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Opcode> {
        match bits {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xa => Some(Opcode::Pong),
            _ => None,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xa,
        }
    }

    /// Whether this is about the connection and not about a message.
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// The head of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// The first reserved bit, to which an extension may give a meaning.
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// Length of the payload in bytes, at most 2^63 - 1.
    pub length: u64,
    /// The masking key.
    pub mask: Mask,
}

impl FrameHead {
    /// Reads the head at the front of `bytes` and returns how long it is; `None` if more bytes are needed. Fails at the
    /// first byte that is invalid.
    pub fn parse(bytes: &[u8]) -> Result<Option<(FrameHead, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, opcode) = parse_first(first)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(UNMASKED);
        }
        let short = second & !MASKED;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(LONG_CONTROL);
        }
        let Some((length, behind)) = parse_length(short, &bytes[2..])? else { return Ok(None) };
        let Some(key) = behind.first_chunk() else { return Ok(None) };
        let head = FrameHead { fin, rsv1: first & RSV1 != 0, opcode, length, mask: Mask::new(*key) };
        Ok(Some((head, bytes.len() - behind.len() + key.len())))
    }
}

fn parse_first(first: u8) -> Result<(bool, Opcode), Violation> {
    if first & RSV2_AND_3 != 0 {
        return Err(RESERVED_BITS);
    }
    let (fin, opcode) = (first & FIN != 0, Opcode::from_bits(first & 0x0f).ok_or(RESERVED_OPCODE)?);
    if opcode.is_control() && !fin {
        return Err(FRAGMENTED_CONTROL);
    }
    Ok((fin, opcode))
}

/// The payload's length, from the 7 bits of it in the head and the bytes behind them, and what follows; `None` if bytes
/// are missing. The shortest encoding is the only one.
fn parse_length(short: u8, behind: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    match short {
        126 => match behind.split_first_chunk() {
            Some((bytes, _)) if u16::from_be_bytes(*bytes) < 126 => Err(LENGTH_NOT_MINIMAL),
            Some((bytes, rest)) => Ok(Some((u64::from(u16::from_be_bytes(*bytes)), rest))),
            None => Ok(None),
        },
        127 if behind.first().is_some_and(|first| first & 0x80 != 0) => Err(NEGATIVE_LENGTH),
        127 => match behind.split_first_chunk() {
            Some((bytes, _)) if u64::from_be_bytes(*bytes) <= u64::from(u16::MAX) => Err(LENGTH_NOT_MINIMAL),
            Some((bytes, rest)) => Ok(Some((u64::from_be_bytes(*bytes), rest))),
            None => Ok(None),
        },
        short => Ok(Some((u64::from(short), behind))),
    }
}

/// Adds the head of a frame of ours, which is not masked (RFC 6455 §5.1).
pub fn put_head(out: &mut Vec<u8>, fin: bool, rsv1: bool, opcode: Opcode, length: usize) {
    let fin = if fin { FIN } else { 0 };
    let rsv1 = if rsv1 { RSV1 } else { 0 };
    out.push(fin | rsv1 | opcode.bits());
    match length {
        0..=125 => out.push(length as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

const UNMASKED: Violation = Violation::protocol("a client's frame without a mask", "RFC 6455 §5.1");
const RESERVED_BITS: Violation = Violation::protocol("a reserved bit is set", "RFC 6455 §5.2");
const RESERVED_OPCODE: Violation = Violation::protocol("a reserved opcode", "RFC 6455 §5.2");
const LENGTH_NOT_MINIMAL: Violation = Violation::protocol("a length in more bytes than it needs", "RFC 6455 §5.2");
const NEGATIVE_LENGTH: Violation = Violation::protocol("a length with its highest bit set", "RFC 6455 §5.2");
const LONG_CONTROL: Violation = Violation::protocol("a control frame of more than 125 bytes", "RFC 6455 §5.5");
const FRAGMENTED_CONTROL: Violation = Violation::protocol("a fragmented control frame", "RFC 6455 §5.5");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    /// A client's frame head, written by the rules of §5.2 and by nothing else.
    fn written(first: u8, length: u64) -> Vec<u8> {
        let mut bytes = vec![first];
        match length {
            0..=125 => bytes.push(0x80 | length as u8),
            126..=0xffff => bytes.extend([&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat()),
            _ => bytes.extend([&[0x80 | 127][..], &length.to_be_bytes()].concat()),
        }
        bytes.extend(KEY);
        bytes
    }

    /// The violation that a head is refused for, and after how many bytes.
    fn refused(bytes: &[u8]) -> Option<(Violation, usize)> {
        (0..=bytes.len()).find_map(|n| FrameHead::parse(&bytes[..n]).err().map(|violation| (violation, n)))
    }

    proptest! {
        #[test]
        fn a_head_is_read_as_it_was_written_and_not_before_its_last_byte(
            fin: bool, rsv1: bool, bits in prop_oneof![Just(0u8), Just(1), Just(2)],
            length in prop_oneof![0..126_u64, 126..70_000_u64, 0..=i64::MAX as u64],
        ) {
            let bytes = written(u8::from(fin) << 7 | u8::from(rsv1) << 6 | bits, length);
            for n in 0..bytes.len() {
                prop_assert_eq!(FrameHead::parse(&bytes[..n]), Ok(None));
            }
            let opcode = [Opcode::Continuation, Opcode::Text, Opcode::Binary][usize::from(bits)];
            let head = FrameHead { fin, rsv1, opcode, length, mask: Mask::new(KEY) };
            prop_assert_eq!(FrameHead::parse(&bytes), Ok(Some((head, bytes.len()))));
        }

        #[test]
        fn our_heads_are_those_of_clients_without_mask(
            fin: bool, rsv1: bool, length in prop_oneof![0..126_usize, 126..70_000_usize],
        ) {
            let mut ours = Vec::new();
            put_head(&mut ours, fin, rsv1, Opcode::Binary, length);
            let mut theirs = written(u8::from(fin) << 7 | u8::from(rsv1) << 6 | 2, length as u64);
            theirs[1] &= !MASKED;
            prop_assert_eq!(&ours[..], &theirs[..theirs.len() - KEY.len()]);
        }
    }

    #[test]
    fn a_bad_head_is_refused_at_its_first_bad_byte() {
        assert_eq!(refused(&[0xa1]), Some((RESERVED_BITS, 1)));
        assert_eq!(refused(&[0x91]), Some((RESERVED_BITS, 1)));
        for bits in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            assert_eq!(refused(&[0x80 | bits]), Some((RESERVED_OPCODE, 1)));
        }
        for bits in [8, 9, 0xa] {
            assert_eq!(refused(&[bits]), Some((FRAGMENTED_CONTROL, 1)));
            assert_eq!(refused(&[0x80 | bits, 0x80 | 126]), Some((LONG_CONTROL, 2)));
        }
        assert_eq!(refused(&[0x81, 0x05]), Some((UNMASKED, 2)));
        assert_eq!(refused(&[0x82, 0xfe, 0, 125]), Some((LENGTH_NOT_MINIMAL, 4)));
        assert_eq!(refused(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Some((LENGTH_NOT_MINIMAL, 10)));
        assert_eq!(refused(&[0x82, 0xff, 0x80]), Some((NEGATIVE_LENGTH, 3)));
    }
}
