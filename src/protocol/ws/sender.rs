//! Puts messages into frames.

use super::Kind;
use super::close::CloseCode;
use super::deflate::{Agreement, Deflater};
use super::frame::{CONTROL_BYTES_MAX, Opcode, put_head};

/// The sending half of a WebSocket.
pub struct Sender {
    /// Whether a message has begun and not ended.
    in_message: bool,
    /// Whether a frame of that message has been sent.
    continues: bool,
    deflater: Option<Deflater>,
}

impl Sender {
    /// The sender of a WebSocket that was just opened; without an agreement nothing is compressed.
    pub fn new(deflate: Option<Agreement>) -> Sender {
        Sender { in_message: false, continues: false, deflater: deflate.map(Deflater::new) }
    }

    /// How much memory compression takes now, in bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.deflater.as_ref().map_or(0, Deflater::memory_bytes)
    }

    /// Adds the next piece of a message to `out`, as a frame of its own. All pieces of a message are of one kind;
    /// `end`: the last one, which may be empty.
    pub fn put_piece(&mut self, out: &mut Vec<u8>, kind: Kind, content: &[u8], end: bool) {
        match &mut self.deflater {
            Some(deflater) => {
                let compressed = deflater.deflate(content, end);
                self.put_frame(out, kind, true, &compressed, end);
            }
            None => self.put_frame(out, kind, false, content, end),
        }
    }

    /// RFC 6455 §5.4: the first frame has the kind, and the mark of compression (RFC 7692 §6.1); the others continue.
    fn put_frame(&mut self, out: &mut Vec<u8>, kind: Kind, compressed: bool, payload: &[u8], end: bool) {
        self.in_message = !end;
        if payload.is_empty() && !end {
            return;
        }
        let opcode = if self.continues { Opcode::Continuation } else { kind.opcode() };
        put_head(out, end, compressed && !self.continues, opcode, payload.len());
        out.extend_from_slice(payload);
        self.continues = !end;
    }

    /// Whether a message has begun and not ended.
    pub fn in_message(&self) -> bool {
        self.in_message
    }
}

impl Kind {
    fn opcode(self) -> Opcode {
        match self {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        }
    }
}

/// A whole message as one frame that is not compressed. It can be sent on every WebSocket that is not inside a message.
pub fn frame(kind: Kind, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 10);
    put_head(&mut out, true, false, kind.opcode(), content.len());
    out.extend_from_slice(content);
    out
}

/// Adds a Ping.
pub fn put_ping(out: &mut Vec<u8>) {
    put_head(out, true, false, Opcode::Ping, 0);
}

/// Adds a Pong with a Ping's payload, at most 125 bytes (RFC 6455 §5.5.3).
pub fn put_pong(out: &mut Vec<u8>, payload: &[u8]) {
    put_head(out, true, false, Opcode::Pong, payload.len());
    out.extend_from_slice(payload);
}

/// Adds a Close with this code and reason, or one without (RFC 6455 §5.5.1). A reason that is too long is cut.
pub fn put_close(out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str) {
    let Some(code) = code else { return put_head(out, true, false, Opcode::Close, 0) };
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    put_head(out, true, false, Opcode::Close, 2 + reason.len());
    out.extend_from_slice(&code.number().to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(deflate: Option<Agreement>, pieces: &[(&[u8], bool)]) -> Vec<u8> {
        let (mut sender, mut out) = (Sender::new(deflate), Vec::new());
        for (piece, end) in pieces {
            sender.put_piece(&mut out, Kind::Text, piece, *end);
        }
        out
    }

    #[test]
    fn the_examples_of_the_standard() {
        // RFC 6455 §5.7
        assert_eq!(sent(None, &[(b"Hello", true)]), b"\x81\x05Hello");
        assert_eq!(sent(None, &[(b"Hel", false), (b"lo", true)]), b"\x01\x03Hel\x80\x02lo");
        assert_eq!(frame(Kind::Binary, &[7; 256])[..5], [0x82, 0x7e, 0x01, 0x00, 7]);
        assert_eq!(frame(Kind::Binary, &[7; 65536])[..11], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0, 7]);
        // RFC 7692 §7.2.3.1
        let agreement = Agreement::of([&b"permessage-deflate"[..]].into_iter());
        let compressed = sent(agreement, &[(b"Hello", true)]);
        assert_eq!(compressed, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
    }

    #[test]
    fn pieces_without_content_are_frames_only_at_the_end() {
        assert_eq!(sent(None, &[(b"", false), (b"a", false), (b"", false), (b"", true)]), b"\x01\x01a\x80\x00");
        assert_eq!(sent(None, &[(b"", false), (b"", true), (b"b", true)]), b"\x81\x00\x81\x01b");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        put_close(&mut out, Some(CloseCode::TOO_BIG), &"é".repeat(70));
        assert_eq!((out[1], &out[2..4]), (124, &[0x03, 0xf1][..]));
        assert_eq!(str::from_utf8(&out[4..]).unwrap(), "é".repeat(61));
    }
}
