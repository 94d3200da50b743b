//! From field blocks to fields (RFC 7541 §3, §6).
//!
//! A block is decoded as a whole. The caller gathers it, within a bound, if it arrives in several frames. That is rare:
//! most blocks have some hundred bytes and stand in one frame in the inbox, from which they are decoded without a copy.
//! A decoder that took pieces would have to keep the fields so far for each connection, which are larger than the block,
//! and the state within a string. So an idle connection has only its dynamic table.

use super::table::{self, DEFAULT_TABLE_BYTES, DynamicTable, STATIC_LEN, Text};
use super::{
    CompressionError, INDEXED, LITERAL, LITERAL_INDEXED, SIZE_UPDATE, STRING, STRING_HUFFMAN, TRUNCATED, error,
    huffman, integer,
};
use crate::protocol::h2::fields::{FieldList, ListLimits, check_field};

#[cfg(test)]
mod tests;

/// A peer may announce the smallest and the last of several changes in one block (RFC 7541 §4.2).
const SIZE_UPDATES_MAX: usize = 2;
/// How many times larger than its limit a list may be. Up to there it is read to its end, so that the next blocks can
/// be understood. Beyond it a few bytes have become far too many, and reading on would only serve an attack.
const EXCESS_MAX: usize = 16;

const NO_ENTRY: CompressionError = error("an index without an entry", "RFC 7541 §2.3.3");
const INDEX_ZERO: CompressionError = error("the index 0", "RFC 7541 §6.1");
const LATE_UPDATE: CompressionError = error("a table size update behind a field", "RFC 7541 §4.2");
const TOO_MANY_UPDATES: CompressionError = error("more than two table size updates", "RFC 7541 §4.2");
const UPDATE_TOO_LARGE: CompressionError = error("a table size update above the setting", "RFC 7541 §6.3");
const UPDATE_MISSING: CompressionError = error("no table size update behind a smaller setting", "RFC 9113 §4.3.1");

/// Whether all fields of a block are in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Decoded {
    /// They are.
    All,
    /// The list exceeds a limit. It has the fields in front of the one that was too much. The stream is answered with
    /// 431; the connection goes on, because the dynamic table is as the peer thinks it is.
    TooLarge,
}

/// Why the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The block is wrong: COMPRESSION_ERROR.
    Compression(CompressionError),
    /// The list is more than 16 times as large as it may be, and was not read to its end: ENHANCE_YOUR_CALM.
    Excessive,
}

impl From<CompressionError> for DecodeError {
    fn from(error: CompressionError) -> DecodeError {
        DecodeError::Compression(error)
    }
}

/// The receiving direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: DynamicTable,
    /// Our SETTINGS_HEADER_TABLE_SIZE as far as the peer has acknowledged it.
    setting: usize,
    /// The setting has become smaller than the table. The next block must say that the peer has noticed.
    update_is_due: bool,
}

impl Default for Decoder {
    fn default() -> Decoder {
        let table = DynamicTable::new(DEFAULT_TABLE_BYTES);
        Decoder { table, setting: DEFAULT_TABLE_BYTES, update_is_due: false }
    }
}

impl Decoder {
    /// The peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE, in bytes. Before that the default of 4096 holds.
    pub fn set_table_size(&mut self, bytes: usize) {
        self.setting = bytes;
        self.update_is_due = bytes < self.table.size_max();
    }

    /// Decodes a whole field block: the fragments of HEADERS and of its CONTINUATION frames in one piece. `list` is
    /// emptied first. The limits are checked while decoding: what exceeds them is not stored.
    ///
    /// # Errors
    /// When the connection must end. The decoder must not be used after that.
    pub fn decode(
        &mut self,
        mut block: &[u8],
        limits: ListLimits,
        list: &mut FieldList,
    ) -> Result<Decoded, DecodeError> {
        list.clear();
        self.take_size_updates(&mut block)?;
        let mut section = Section { list, limits, is_too_large: false, size: 0 };
        while let Some(first) = block.first() {
            match first {
                0x80.. => self.take_indexed(&mut block, &mut section)?,
                0x40.. => self.take_literal(&mut block, LITERAL_INDEXED.prefix, true, &mut section)?,
                0x20.. => return Err(LATE_UPDATE.into()),
                // Whether a literal may be indexed elsewhere makes no difference here (§6.2.2, §6.2.3).
                _ => self.take_literal(&mut block, LITERAL.prefix, false, &mut section)?,
            }
            if section.size > limits.bytes_max.saturating_mul(EXCESS_MAX) {
                return Err(DecodeError::Excessive);
            }
        }
        Ok(if section.is_too_large { Decoded::TooLarge } else { Decoded::All })
    }

    /// Changes of the table's size (§6.3), which may stand only in front of the first field (§4.2).
    fn take_size_updates(&mut self, block: &mut &[u8]) -> Result<(), CompressionError> {
        let mut updates = 0;
        while let Some(0x20..=0x3f) = block.first() {
            updates += 1;
            if updates > SIZE_UPDATES_MAX {
                return Err(TOO_MANY_UPDATES);
            }
            let size = integer::decode(block, SIZE_UPDATE.prefix)? as usize;
            if size > self.setting {
                return Err(UPDATE_TOO_LARGE);
            }
            self.table.set_size_max(size);
            self.update_is_due = false;
        }
        if self.update_is_due { Err(UPDATE_MISSING) } else { Ok(()) }
    }

    /// A field that is an entry of a table (§6.1). It is a byte here, and may be thousands in the list: what it counts for
    /// is compared with the limit before anything is copied.
    fn take_indexed(&mut self, block: &mut &[u8], section: &mut Section<'_>) -> Result<(), CompressionError> {
        let index = integer::decode(block, INDEXED.prefix)?;
        let (name, value) = self.entry(index)?;
        if section.count(name.len(), value.len()) {
            name.append_to(&mut section.list.bytes, usize::MAX);
            value.append_to(&mut section.list.bytes, usize::MAX);
            let is_right = (index as usize).checked_sub(STATIC_LEN + 1).is_none_or(|nth| self.table.is_right(nth));
            section.list.push_last(name.len(), value.len(), is_right);
        }
        Ok(())
    }

    /// A field whose value is a string, and its name an entry of a table or a string as well (§6.2).
    fn take_literal(
        &mut self,
        block: &mut &[u8],
        prefix: u32,
        is_indexed: bool,
        section: &mut Section<'_>,
    ) -> Result<(), CompressionError> {
        let start = section.list.bytes.len();
        // What fits neither into the list nor into the table need not be stored.
        let room = section.room().max(if is_indexed { self.table.size_max() } else { 0 });
        let index = integer::decode(block, prefix)?;
        let name_len = if index == 0 {
            take_string(block, &mut section.list.bytes, room)?
        } else {
            let (name, _) = self.entry(index)?;
            name.append_to(&mut section.list.bytes, room);
            name.len()
        };
        let value_start = section.list.bytes.len();
        let value_len = take_string(block, &mut section.list.bytes, room.saturating_sub(name_len))?;
        let mut is_right = false;
        if is_indexed {
            // A field that is cut fills `room` and so, with its overhead, is larger than the table all the same.
            let (name, value) = section.list.bytes[start..].split_at(value_start - start);
            is_right = check_field(name, value).is_ok();
            self.table.insert(name, value, is_right);
        }
        if section.count(name_len, value_len) {
            section.list.push_last(name_len, value_len, is_right);
        } else {
            section.list.bytes.truncate(start);
        }
        Ok(())
    }

    /// The entry with this index: the static table comes first, then the dynamic one (§2.3.3).
    #[inline]
    fn entry(&self, index: u32) -> Result<(Text<'_>, Text<'_>), CompressionError> {
        let index = index as usize;
        if let Some((name, value)) = table::static_entry(index) {
            return Ok((Text::whole(name), Text::whole(value)));
        }
        let nth = index.checked_sub(STATIC_LEN + 1).ok_or(INDEX_ZERO)?;
        self.table.get(nth).ok_or(NO_ENTRY)
    }

    /// How much memory the dynamic table takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
    }
}

/// The section that is being decoded.
struct Section<'l> {
    list: &'l mut FieldList,
    limits: ListLimits,
    is_too_large: bool,
    /// The size of all fields, also of those that are not in the list.
    size: usize,
}

impl Section<'_> {
    /// How many bytes the next field may count for to be stored.
    fn room(&self) -> usize {
        if self.is_too_large { 0 } else { self.list.room(self.limits) }
    }

    /// Counts a field, and says whether it fits into the list.
    fn count(&mut self, name_len: usize, value_len: usize) -> bool {
        let size = table::entry_size(name_len, value_len);
        self.size += size;
        self.is_too_large |= size > self.room();
        !self.is_too_large
    }
}

/// A string (§5.2), of which the first `max` bytes are added to `out`. Returns its whole length.
fn take_string(block: &mut &[u8], out: &mut Vec<u8>, max: usize) -> Result<usize, CompressionError> {
    let is_huffman = block.first().is_some_and(|first| first & STRING_HUFFMAN.bits != 0);
    let len = integer::decode(block, STRING.prefix)? as usize;
    let (string, rest) = block.split_at_checked(len).ok_or(TRUNCATED)?;
    *block = rest;
    if is_huffman {
        return huffman::decode(string, out, max);
    }
    out.extend_from_slice(&string[..len.min(max)]);
    Ok(len)
}
