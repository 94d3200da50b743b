//! Takes a message's content out of its framing (RFC 9112 §6, §7), at the front of the inbox.

use super::scan::FieldScan;
use super::spans::Spans;
use super::{BARE_CR, BARE_LF, bad_request};
use crate::base::limits::Limits;
use crate::base::ring::RingBuffer;
use crate::http::fields::is_field_value_byte;
use crate::http::message::Announced;
use crate::http::target::hex_digit;
use crate::http::upstream::ResponseContent;
use crate::protocol::ProtocolError;

/// Longest line in front of a chunk, in bytes, with its CRLF. Extensions are skipped, but only up to this limit.
const CHUNK_LINE_BYTES_MAX: u16 = 1024;
/// Most digits of a chunk's size: as many as 64 bits need.
const SIZE_DIGITS_MAX: u16 = 16;

/// What the front of the inbox is a part of.
#[derive(Debug, Clone, Copy)]
pub enum Decoder {
    /// Content with a length, of which so many bytes are still to come.
    Length(u64),
    /// The line in front of a chunk.
    ChunkLine(ChunkLine),
    /// A chunk's content, of which so many bytes are still to come, at least one.
    Chunk(u64),
    /// The CRLF behind a chunk's content.
    ChunkCr,
    /// The LF of that CRLF.
    ChunkLf,
    /// The trailers behind the last chunk.
    Trailers(FieldScan),
    /// Everything until the peer ends its direction: another protocol, or a response of unknown length.
    UntilClose,
}

/// What the front of the inbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// So many bytes of content, at least one.
    Content(usize),
    /// A trailer section of so many bytes; the content has ended.
    End(usize),
    /// Nothing yet: more bytes are needed.
    NeedBytes,
}

impl Decoder {
    /// For a request's content; `None` if there is none.
    pub fn of_request(announced: Announced) -> Option<Decoder> {
        match announced {
            Announced::Nothing => None,
            Announced::Length(length) => Some(Decoder::Length(length)),
            Announced::Unknown => Some(Decoder::ChunkLine(ChunkLine::default())),
        }
    }

    /// For a response's content; `None` if there is none.
    pub fn of_response(content: ResponseContent) -> Option<Decoder> {
        match content {
            ResponseContent::Nothing(_) | ResponseContent::Length(0) => None,
            ResponseContent::Length(length) => Some(Decoder::Length(length)),
            ResponseContent::Chunked => Some(Decoder::ChunkLine(ChunkLine::default())),
            ResponseContent::UntilClose | ResponseContent::Tunnel => Some(Decoder::UntilClose),
        }
    }

    /// Consumes framing, and returns what is behind it.
    pub fn advance(
        &mut self,
        inbox: &mut RingBuffer,
        spans: &mut Spans,
        limits: &Limits,
    ) -> Result<Found, ProtocolError> {
        self.consume_framing(inbox)?;
        match self {
            Decoder::Length(0) => Ok(Found::End(0)),
            Decoder::Length(left) | Decoder::Chunk(left) if !inbox.is_empty() => {
                Ok(Found::Content(usize::try_from(*left).unwrap_or(usize::MAX).min(inbox.len())))
            }
            Decoder::UntilClose if !inbox.is_empty() => Ok(Found::Content(inbox.len())),
            Decoder::Trailers(scan) => read_trailers(scan, inbox, spans, limits),
            _ => Ok(Found::NeedBytes),
        }
    }

    /// `n` bytes of the content at the front have been consumed.
    pub fn taken(&mut self, n: usize) {
        if let Decoder::Length(left) | Decoder::Chunk(left) = self {
            debug_assert!(n as u64 <= *left, "content was taken that was not offered");
            *left = left.saturating_sub(n as u64);
        }
        if let Decoder::Chunk(0) = self {
            *self = Decoder::ChunkCr;
        }
    }

    /// What is left of the content, as far as is known.
    pub fn left(&self) -> Announced {
        match self {
            Decoder::Length(0) => Announced::Nothing,
            Decoder::Length(left) => Announced::Length(*left),
            _ => Announced::Unknown,
        }
    }

    fn consume_framing(&mut self, inbox: &mut RingBuffer) -> Result<(), ProtocolError> {
        let mut consumed = 0;
        while let Some(byte) = inbox.get(consumed)
            && self.is_in_framing()
        {
            *self = self.after(byte)?;
            consumed += 1;
        }
        inbox.consume(consumed);
        Ok(())
    }

    fn is_in_framing(&self) -> bool {
        matches!(self, Decoder::ChunkLine(_) | Decoder::ChunkCr | Decoder::ChunkLf)
    }

    /// The state after one more byte of framing.
    fn after(&self, byte: u8) -> Result<Decoder, ProtocolError> {
        match (self, byte) {
            (Decoder::ChunkCr, b'\r') => Ok(Decoder::ChunkLf),
            (Decoder::ChunkLf, b'\n') => Ok(Decoder::ChunkLine(ChunkLine::default())),
            (Decoder::ChunkCr | Decoder::ChunkLf, _) => Err(JUNK_BEHIND_CHUNK),
            (Decoder::ChunkLine(line), byte) => line.after(byte),
            (other, _) => Ok(*other),
        }
    }
}

/// chunk-size [ chunk-ext ] CRLF (RFC 9112 §7.1). Extensions are skipped: none has a meaning (§7.1.1).
#[derive(Debug, Clone, Copy, Default)]
pub struct ChunkLine {
    size: u64,
    len: u16,
    part: ChunkLinePart,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ChunkLinePart {
    #[default]
    Size,
    /// Whitespace behind the size, which only an extension may follow.
    Space,
    Extension,
    Lf,
}

impl ChunkLine {
    fn after(&self, byte: u8) -> Result<Decoder, ProtocolError> {
        let line = ChunkLine { len: self.len + 1, ..*self };
        if line.len > CHUNK_LINE_BYTES_MAX {
            return Err(bad_request("the line in front of a chunk is too long", "RFC 9112 §7.1.1"));
        }
        match (self.part, byte) {
            (ChunkLinePart::Lf, b'\n') => Ok(line.behind()),
            (ChunkLinePart::Lf, _) => Err(BARE_CR),
            (ChunkLinePart::Size, _) if hex_digit(byte).is_some() => line.with_digit(byte),
            (ChunkLinePart::Size, _) if self.len == 0 => Err(NO_SIZE),
            (ChunkLinePart::Size | ChunkLinePart::Space, b' ' | b'\t') => Ok(line.in_part(ChunkLinePart::Space)),
            (ChunkLinePart::Size | ChunkLinePart::Space, b';') => Ok(line.in_part(ChunkLinePart::Extension)),
            (ChunkLinePart::Size | ChunkLinePart::Extension, b'\r') => Ok(line.in_part(ChunkLinePart::Lf)),
            (_, b'\n') => Err(BARE_LF),
            (ChunkLinePart::Extension, _) if is_field_value_byte(byte) => Ok(Decoder::ChunkLine(line)),
            (ChunkLinePart::Extension, _) => Err(CONTROL_IN_EXTENSION),
            (ChunkLinePart::Size | ChunkLinePart::Space, _) => Err(JUNK_BEHIND_SIZE),
        }
    }

    fn with_digit(self, digit: u8) -> Result<Decoder, ProtocolError> {
        if self.len > SIZE_DIGITS_MAX {
            return Err(bad_request("a chunk size of more than 16 digits", "RFC 9112 §7.1"));
        }
        let value = u64::from(hex_digit(digit).unwrap_or_default());
        Ok(Decoder::ChunkLine(ChunkLine { size: self.size << 4 | value, ..self }))
    }

    fn in_part(self, part: ChunkLinePart) -> Decoder {
        Decoder::ChunkLine(ChunkLine { part, ..self })
    }

    /// What stands behind this line.
    fn behind(&self) -> Decoder {
        match self.size {
            0 => Decoder::Trailers(FieldScan::starting_at(0)),
            size => Decoder::Chunk(size),
        }
    }
}

fn read_trailers(
    scan: &mut FieldScan,
    inbox: &mut RingBuffer,
    spans: &mut Spans,
    limits: &Limits,
) -> Result<Found, ProtocolError> {
    let most = limits.head_bytes_max.min(inbox.capacity());
    let available = inbox.len().min(most);
    let end = scan.advance(inbox.contiguous(available), 0, available == most, spans, limits.fields_max)?;
    Ok(end.map_or(Found::NeedBytes, Found::End))
}

const NO_SIZE: ProtocolError = bad_request("a chunk must begin with its size", "RFC 9112 §7.1");
const JUNK_BEHIND_SIZE: ProtocolError = bad_request("junk behind a chunk's size", "RFC 9112 §7.1");
const JUNK_BEHIND_CHUNK: ProtocolError = bad_request("a chunk must end in CRLF where its size says", "RFC 9112 §7.1");
const CONTROL_IN_EXTENSION: ProtocolError = bad_request("a chunk extension has a control character", "RFC 9112 §7.1.1");
