//! permessage-deflate (RFC 7692): its negotiation, and the two directions of a compressed WebSocket.

use std::fmt;
use std::str;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Violation;
use crate::http::fields::quoted_list_members;

/// The last bytes of a flushed DEFLATE stream. The sender removes them and the receiver adds them again (RFC 7692
/// §7.2.1, §7.2.2).
pub const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The name under which the extension is negotiated.
const NAME: &str = "permessage-deflate";
/// How much is compressed or decompressed at a time, in bytes.
const STEP: usize = 4096;
/// The window of a stream without an agreed limit: 2^15 bytes.
const WINDOW_BITS_MAX: u8 = 15;
/// The smallest window that our compressor can keep to.
const WINDOW_BITS_MIN: u8 = 9;

/// What both sides agree on (RFC 7692 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// We compress each message by itself.
    pub server_no_context_takeover: bool,
    /// The client compresses each message by itself.
    pub client_no_context_takeover: bool,
    /// Our window, 9 to 15 bits; `None` if the client did not limit it, which means 15.
    pub server_max_window_bits: Option<u8>,
}

impl Agreement {
    /// The first acceptable offer among those in the values of `Sec-WebSocket-Extensions` (RFC 6455 §9.1).
    pub fn of<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Agreement> {
        values.flat_map(quoted_list_members).find_map(accept)
    }
}

impl fmt::Display for Agreement {
    /// The value of `Sec-WebSocket-Extensions` in the response.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        Ok(())
    }
}

/// One offer, if it is of this extension and acceptable. Unknown, repeated and invalid parameters decline it
/// (RFC 7692 §7).
fn accept(offer: &[u8]) -> Option<Agreement> {
    let mut parts = str::from_utf8(offer).ok()?.split(';').map(trim);
    if !parts.next()?.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let mut seen = Vec::new();
    let mut agreement = Agreement {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: None,
    };
    for part in parts {
        let (name, value) = parameter(part);
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        agreement = agreement.with(name, value)?;
    }
    Some(agreement)
}

/// A parameter's name and value; the value may be quoted (RFC 6455 §9.1).
fn parameter(part: &str) -> (&str, Option<&str>) {
    let Some((name, value)) = part.split_once('=') else { return (part, None) };
    let value = trim(value);
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    (trim(name), Some(unquoted.unwrap_or(value)))
}

/// `text` without spaces and tabs around it (OWS, RFC 9110 §5.6.3).
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

impl Agreement {
    fn with(self, name: &str, value: Option<&str>) -> Option<Agreement> {
        match (name, value) {
            ("server_no_context_takeover", None) => Some(Agreement { server_no_context_takeover: true, ..self }),
            ("client_no_context_takeover", None) => Some(Agreement { client_no_context_takeover: true, ..self }),
            ("server_max_window_bits", Some(value)) => {
                let bits = window_bits(value).filter(|bits| *bits >= WINDOW_BITS_MIN)?;
                Some(Agreement { server_max_window_bits: Some(bits), ..self })
            }
            // Only a hint: our window of 15 bits can decompress what every smaller one has compressed.
            ("client_max_window_bits", None) => Some(self),
            ("client_max_window_bits", Some(value)) => window_bits(value).map(|_| self),
            _ => None,
        }
    }
}

/// 8 to 15, without a leading zero (RFC 7692 §7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    ["8", "9", "10", "11", "12", "13", "14", "15"].contains(&value).then(|| value.parse().ok())?
}

/// What decompressing takes, in bytes: a window of 32 KiB and tables.
const INFLATER_BYTES: usize = 40 * 1024;
/// What compressing takes, in bytes.
const DEFLATER_BYTES: usize = 300 * 1024;

/// The client's direction. Owns memory, about 40 KiB of it, from the first compressed message on, or only within one.
pub struct Inflater {
    stream: Option<Box<Decompress>>,
    takeover: bool,
}

impl Inflater {
    /// As agreed.
    pub fn new(agreement: Agreement) -> Inflater {
        Inflater { stream: None, takeover: !agreement.client_no_context_takeover }
    }

    /// Decompresses `input` to the end of `out`, up to a length of `max`, and says how much of it was used. If `out` is
    /// then full, there may be more, even without input.
    pub fn inflate(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<usize, Violation> {
        let stream = self.stream.get_or_insert_with(|| Box::new(Decompress::new(false)));
        let mut used = 0;
        while out.len() < max {
            let (start, room) = (out.len(), STEP.min(max - out.len()));
            out.resize(start + room, 0);
            let (before_in, before_out) = (stream.total_in(), stream.total_out());
            let status =
                stream.decompress(&input[used..], &mut out[start..], FlushDecompress::Sync).map_err(|_| NOT_DEFLATE)?;
            let produced = (stream.total_out() - before_out) as usize;
            used += (stream.total_in() - before_in) as usize;
            out.truncate(start + produced);
            if status == Status::StreamEnd {
                // A block with BFINAL ends its stream and not the message (RFC 7692 §7.2.3.4).
                stream.reset(false);
            }
            if produced < room && (used == input.len() || status != Status::StreamEnd) {
                break;
            }
        }
        Ok(used)
    }

    /// How much memory it owns now, in bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.stream.as_ref().map_or(0, |_| INFLATER_BYTES)
    }

    /// A message has ended.
    pub fn end_message(&mut self) {
        self.stream.take_if(|_| !self.takeover);
    }
}

/// Our direction. Owns memory, about 300 KiB of it, from the first message on, or only within one.
pub struct Deflater {
    stream: Option<Box<Compress>>,
    takeover: bool,
    window_bits: u8,
}

impl Deflater {
    /// As agreed.
    pub fn new(agreement: Agreement) -> Deflater {
        Deflater {
            stream: None,
            takeover: !agreement.server_no_context_takeover,
            window_bits: agreement.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX),
        }
    }

    /// How much memory it owns now, in bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.stream.as_ref().map_or(0, |_| DEFLATER_BYTES)
    }

    /// Compresses a piece of a message; `end`: the last one, perhaps empty. What comes out may be empty before that.
    pub fn deflate(&mut self, bytes: &[u8], end: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let bits = self.window_bits;
        let stream = self
            .stream
            .get_or_insert_with(|| Box::new(Compress::new_with_window_bits(Compression::fast(), false, bits)));
        run(stream, bytes, if end { FlushCompress::Sync } else { FlushCompress::None }, &mut out);
        if end {
            cut_tail(&mut out);
            self.stream.take_if(|_| !self.takeover);
        }
        out
    }
}

fn run(stream: &mut Compress, bytes: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
    let mut used = 0;
    loop {
        let start = out.len();
        out.resize(start + STEP, 0);
        let (before_in, before_out) = (stream.total_in(), stream.total_out());
        let status = stream.compress(&bytes[used..], &mut out[start..], flush);
        debug_assert!(status.is_ok(), "compressing cannot fail");
        let produced = (stream.total_out() - before_out) as usize;
        used += (stream.total_in() - before_in) as usize;
        out.truncate(start + produced);
        if produced < STEP {
            return;
        }
    }
}

/// Removes the tail that the receiver adds again. A stream that had nothing to flush gives an empty block instead
/// (RFC 7692 §7.2.3.6).
fn cut_tail(out: &mut Vec<u8>) {
    match out.strip_suffix(&TAIL) {
        Some(rest) => out.truncate(rest.len()),
        None => out.push(0),
    }
}

const NOT_DEFLATE: Violation = Violation::content("compressed content that is not DEFLATE", "RFC 7692 §7.2.2");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(offers: &[&str]) -> Option<String> {
        Agreement::of(offers.iter().map(|offer| offer.as_bytes())).map(|agreement| agreement.to_string())
    }

    #[test]
    fn offers_are_answered_with_what_they_ask_for() {
        let accepted = [
            ("permessage-deflate", "permessage-deflate"),
            ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
            ("PerMessage-Deflate;client_max_window_bits=8", "permessage-deflate"),
            (
                "permessage-deflate; server_max_window_bits = \"10\"; server_no_context_takeover",
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
            ),
            ("permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
            (
                "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=8, permessage-deflate",
                "permessage-deflate",
            ),
        ];
        for (offer, expected) in accepted {
            assert_eq!(answer(&[offer]).as_deref(), Some(expected), "{offer}");
        }
        assert_eq!(answer(&["other", "permessage-deflate"]).as_deref(), Some("permessage-deflate"));
    }

    #[test]
    fn offers_that_cannot_be_kept_are_declined() {
        let declined = [
            "",
            "permessage-bzip2",
            "other; x=\"a, permessage-deflate, b\"",
            "permessage-deflate;\u{a0}server_no_context_takeover",
            "permessage-deflate; mystery",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        ];
        for offer in declined {
            assert_eq!(answer(&[offer]), None, "{offer}");
        }
    }

    fn agreement(server_no_context_takeover: bool, bits: Option<u8>) -> Agreement {
        Agreement {
            server_no_context_takeover,
            client_no_context_takeover: server_no_context_takeover,
            server_max_window_bits: bits,
        }
    }

    /// Decompresses a whole message in outputs of at most `max` bytes.
    fn inflated(inflater: &mut Inflater, compressed: &[u8], max: usize) -> Result<Vec<u8>, Violation> {
        let (message, mut content, mut used) = ([compressed, &TAIL].concat(), Vec::new(), 0);
        loop {
            let mut out = Vec::new();
            used += inflater.inflate(&message[used..], &mut out, max)?;
            content.extend_from_slice(&out);
            if out.len() < max {
                assert_eq!(used, message.len(), "input was left although there was room");
                inflater.end_message();
                return Ok(content);
            }
        }
    }

    proptest! {
        #[test]
        fn messages_survive_in_any_pieces(
            messages in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(0..4_u8, 0..3000), 0..4), 1..4),
            alone: bool, bits in proptest::option::of(9..16_u8), max in 1..9000_usize,
        ) {
            let (mut deflater, mut inflater) = (Deflater::new(agreement(alone, bits)), Inflater::new(agreement(alone, bits)));
            for pieces in messages {
                let mut compressed: Vec<u8> = pieces.iter().flat_map(|piece| deflater.deflate(piece, false)).collect();
                compressed.extend(deflater.deflate(b"", true));
                prop_assert_eq!(inflated(&mut inflater, &compressed, max).unwrap(), pieces.concat());
            }
        }
    }

    /// Decompresses a message that arrives in these pieces.
    fn inflated_in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, Violation> {
        let (mut inflater, mut content) = (Inflater::new(agreement(false, None)), Vec::new());
        for piece in pieces.into_iter().chain([&TAIL[..]]) {
            let used = inflater.inflate(piece, &mut content, usize::MAX)?;
            assert_eq!(used, piece.len(), "input was left although there was room");
        }
        Ok(content)
    }

    #[test]
    fn a_message_is_the_same_whole_byte_by_byte_and_at_every_split() {
        // RFC 7692 §7.2.3: compressed, stored, with BFINAL, in two blocks, and empty.
        let good: [&[u8]; 5] = [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
            &[0x00],
        ];
        let long = Deflater::new(agreement(false, None)).deflate(&b"a wheel within a wheel; ".repeat(40), true);
        // A block of a type that there is not, and a stored one whose length is not its complement's.
        for message in good.into_iter().chain([&long[..], &[0x06, 0x00], &[0x00, 0x05, 0x00, 0xfa, 0xfe, 0x48]]) {
            let whole = inflated_in_pieces([message]);
            assert_eq!(inflated_in_pieces(message.chunks(1)), whole, "byte by byte: {message:02x?}");
            for split in 0..=message.len() {
                let (front, back) = message.split_at(split);
                assert_eq!(inflated_in_pieces([front, back]), whole, "split at {split}: {message:02x?}");
            }
        }
    }

    #[test]
    fn an_empty_message_is_one_byte_even_after_a_flush() {
        let mut deflater = Deflater::new(agreement(false, None));
        assert!(deflater.deflate(b"Hello", true).len() > 1);
        for _ in 0..2 {
            assert_eq!(deflater.deflate(b"", true), [0]);
        }
    }

    /// The examples of RFC 7692 §7.2.3.
    #[test]
    fn the_examples_of_the_standard_are_read() {
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let mut inflater = Inflater::new(agreement(false, None));
        assert_eq!(inflated(&mut inflater, &hello, 100).unwrap(), b"Hello");
        // §7.2.3.2: the window is shared.
        assert_eq!(inflated(&mut inflater, &[0xf2, 0x00, 0x11, 0x00, 0x00], 100).unwrap(), b"Hello");
        // §7.2.3.3: a block without compression.
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        assert_eq!(inflated(&mut inflater, &stored, 100).unwrap(), b"Hello");
        // §7.2.3.4: BFINAL, and a byte of padding.
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        for _ in 0..2 {
            assert_eq!(inflated(&mut inflater, &last, 100).unwrap(), b"Hello");
        }
        // §7.2.3.5: two blocks.
        let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflated(&mut inflater, &two, 100).unwrap(), b"Hello");
        // §7.2.3.6: empty.
        assert_eq!(inflated(&mut inflater, &[0], 100).unwrap(), b"");
    }

    #[test]
    fn what_refers_to_a_window_that_is_not_there_is_refused() {
        let mut inflater = Inflater::new(agreement(true, None));
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflated(&mut inflater, &hello, 100).unwrap(), b"Hello");
        assert_eq!(inflated(&mut inflater, &[0xf2, 0x00, 0x11, 0x00, 0x00], 100), Err(NOT_DEFLATE));
    }
}
