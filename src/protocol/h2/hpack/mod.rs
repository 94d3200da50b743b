//! HPACK: header compression for HTTP/2 (RFC 7541).
//!
//! A field block is a series of representations (§6). Each is an index into the static and the dynamic table, or a
//! literal, or changes the size of the dynamic table. `integer` and `huffman` read and write their parts, `table` has
//! both tables, and `decoder` and `encoder` are one direction of a connection each.

pub mod decoder;
pub mod encoder;
mod huffman;
mod integer;
pub mod representation;
mod table;

#[cfg(test)]
mod tests;

use std::fmt;

pub use table::StaticName;

/// A field block that cannot be decoded. Both sides no longer have the same dynamic table, so the connection must end
/// with COMPRESSION_ERROR (RFC 9113 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionError {
    /// What was wrong, for the log and for GOAWAY's debug data.
    pub reason: &'static str,
    /// The rule that was broken, such as `RFC 7541 §5.2`.
    pub section: &'static str,
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.section)
    }
}

impl std::error::Error for CompressionError {}

const fn error(reason: &'static str, section: &'static str) -> CompressionError {
    CompressionError { reason, section }
}

/// A block, a string or an integer is cut short.
const TRUNCATED: CompressionError = error("a field block ends within a field", "RFC 9113 §4.3");

/// How a field is represented (RFC 7541 §6): the bits in front of an integer, and how many bits of the same byte the
/// integer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pattern {
    /// The first byte without the integer.
    bits: u8,
    /// How many bits of the first byte belong to the integer: N in §5.1.
    prefix: u32,
}

/// Indexed field (§6.1).
const INDEXED: Pattern = Pattern { bits: 0b1000_0000, prefix: 7 };
/// Literal field that is added to the dynamic table (§6.2.1).
const LITERAL_INDEXED: Pattern = Pattern { bits: 0b0100_0000, prefix: 6 };
/// Size of the dynamic table (§6.3).
const SIZE_UPDATE: Pattern = Pattern { bits: 0b0010_0000, prefix: 5 };
/// Literal field that nobody may ever add to a table (§6.2.3).
const LITERAL_NEVER_INDEXED: Pattern = Pattern { bits: 0b0001_0000, prefix: 4 };
/// Literal field that is not added to the dynamic table (§6.2.2).
const LITERAL: Pattern = Pattern { bits: 0, prefix: 4 };
/// String in Huffman code (§5.2).
const STRING_HUFFMAN: Pattern = Pattern { bits: 0b1000_0000, prefix: 7 };
/// String as it is (§5.2).
const STRING: Pattern = Pattern { bits: 0, prefix: 7 };
