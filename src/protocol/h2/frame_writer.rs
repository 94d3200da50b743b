//! The bytes of frames to be sent (RFC 9113 §6). Each function gives one whole frame, or puts all of it or nothing.

use super::error::ErrorCode;
use super::frame::{ACK, END_HEADERS, END_STREAM, FRAME_HEAD_BYTES, FrameHead, Kind};
use crate::base::ring::RingBuffer;

/// The head of a frame.
pub fn head(kind: Kind, flags: u8, stream: u32, length: usize) -> [u8; FRAME_HEAD_BYTES] {
    FrameHead { length: length as u32, kind, flags, stream }.to_bytes()
}

/// The head of a DATA frame (§6.1).
pub fn data_head(stream: u32, length: usize, is_last: bool) -> [u8; FRAME_HEAD_BYTES] {
    head(Kind::Data, if is_last { END_STREAM } else { 0 }, stream, length)
}

/// SETTINGS with these identifiers and values (§6.5).
pub fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let mut frame = head(Kind::Settings, 0, 0, parameters.len() * 6).to_vec();
    for (identifier, value) in parameters {
        frame.extend_from_slice(&identifier.to_be_bytes());
        frame.extend_from_slice(&value.to_be_bytes());
    }
    frame
}

/// The acknowledgement of SETTINGS (§6.5.3).
pub fn settings_ack() -> [u8; FRAME_HEAD_BYTES] {
    head(Kind::Settings, ACK, 0, 0)
}

/// PING, or the answer to one (§6.7).
pub fn ping(payload: [u8; 8], is_ack: bool) -> [u8; 17] {
    joined(head(Kind::Ping, if is_ack { ACK } else { 0 }, 0, 8), payload)
}

/// RST_STREAM (§6.4).
pub fn rst_stream(stream: u32, code: ErrorCode) -> [u8; 13] {
    joined(head(Kind::RstStream, 0, stream, 4), code.0.to_be_bytes())
}

/// WINDOW_UPDATE of a stream, or of the connection if `stream` is 0 (§6.9).
pub fn window_update(stream: u32, increment: u32) -> [u8; 13] {
    joined(head(Kind::WindowUpdate, 0, stream, 4), increment.to_be_bytes())
}

/// GOAWAY (§6.8). `debug` says why in words.
pub fn go_away(last_stream: u32, code: ErrorCode, debug: &str) -> Vec<u8> {
    let mut frame = head(Kind::GoAway, 0, 0, 8 + debug.len()).to_vec();
    frame.extend_from_slice(&last_stream.to_be_bytes());
    frame.extend_from_slice(&code.0.to_be_bytes());
    frame.extend_from_slice(debug.as_bytes());
    frame
}

/// How many bytes a field block of `length` bytes takes in frames of at most `frame_bytes_max` bytes.
pub fn field_block_bytes(length: usize, frame_bytes_max: usize) -> usize {
    length + length.div_ceil(frame_bytes_max).max(1) * FRAME_HEAD_BYTES
}

/// Puts a field block into HEADERS and, if it is longer than a frame, CONTINUATION frames (§6.2, §6.10); false if there is
/// no room for all of it, and then nothing is put.
pub fn put_field_block(out: &mut RingBuffer, stream: u32, block: &[u8], is_last: bool, frame_bytes_max: usize) -> bool {
    if out.free() < field_block_bytes(block.len(), frame_bytes_max) {
        return false;
    }
    let mut kind = Kind::Headers;
    let mut rest = block;
    loop {
        let (fragment, behind) = rest.split_at(rest.len().min(frame_bytes_max));
        let mut flags = if kind == Kind::Headers && is_last { END_STREAM } else { 0 };
        flags |= if behind.is_empty() { END_HEADERS } else { 0 };
        out.put(&head(kind, flags, stream, fragment.len()));
        out.put(fragment);
        (kind, rest) = (Kind::Continuation, behind);
        if rest.is_empty() {
            return true;
        }
    }
}

/// A head and a short payload as one array.
fn joined<const PAYLOAD: usize, const FRAME: usize>(
    head: [u8; FRAME_HEAD_BYTES],
    payload: [u8; PAYLOAD],
) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[..FRAME_HEAD_BYTES].copy_from_slice(&head);
    frame[FRAME_HEAD_BYTES..].copy_from_slice(&payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_bytes_of_the_rfc() {
        assert_eq!(settings(&[(3, 100), (4, 65_536)]), b"\0\0\x0c\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\x01\0\0");
        assert_eq!(settings_ack(), *b"\0\0\0\x04\x01\0\0\0\0");
        assert_eq!(ping(*b"12345678", true), *b"\0\0\x08\x06\x01\0\0\0\x0012345678");
        assert_eq!(ping(*b"12345678", false), *b"\0\0\x08\x06\0\0\0\0\x0012345678");
        assert_eq!(rst_stream(3, ErrorCode::CANCEL), *b"\0\0\x04\x03\0\0\0\0\x03\0\0\0\x08");
        assert_eq!(window_update(0, 0x0102_0304), *b"\0\0\x04\x08\0\0\0\0\0\x01\x02\x03\x04");
        assert_eq!(go_away(7, ErrorCode::NO_ERROR, "bye"), b"\0\0\x0b\x07\0\0\0\0\0\0\0\0\x07\0\0\0\0bye");
        assert_eq!(data_head(5, 258, true), *b"\0\x01\x02\0\x01\0\0\0\x05");
    }

    #[test]
    fn a_field_block_is_cut_into_frames_of_the_peers_size() {
        let put = |block: &[u8], is_last| {
            let mut out = RingBuffer::new(100);
            assert!(put_field_block(&mut out, 1, block, is_last, 4));
            assert_eq!(out.len(), field_block_bytes(block.len(), 4));
            out.readable().concat()
        };
        assert_eq!(put(b"", true), b"\0\0\0\x01\x05\0\0\0\x01");
        assert_eq!(put(b"abcd", false), b"\0\0\x04\x01\x04\0\0\0\x01abcd");
        assert_eq!(
            put(b"abcdefghi", true),
            b"\0\0\x04\x01\x01\0\0\0\x01abcd\0\0\x04\x09\0\0\0\0\x01efgh\0\0\x01\x09\x04\0\0\0\x01i"
        );
    }

    #[test]
    fn a_field_block_without_room_is_not_begun() {
        let mut out = RingBuffer::new(13 + 10 - 1);
        assert!(!put_field_block(&mut out, 1, b"abcde", true, 4));
        assert!(out.is_empty());
    }
}
