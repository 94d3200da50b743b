//! How the fields of a block are represented (RFC 7541 §6): for people who want to see it. Nothing is decoded here.

use super::{
    CompressionError, INDEXED, LITERAL, LITERAL_INDEXED, LITERAL_NEVER_INDEXED, SIZE_UPDATE, STRING, STRING_HUFFMAN,
    TRUNCATED, integer,
};

/// One representation: a field, or a change of the table's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Representation {
    /// Name and value are at this index (§6.1).
    Indexed(u32),
    /// The value is a literal, and the name is one, too, or at an index (§6.2).
    Literal {
        /// What becomes of the field.
        kind: LiteralKind,
        /// Where the name is; 0 if it is a literal.
        name: u32,
        /// Whether the value is in Huffman code (§5.2).
        is_huffman: bool,
    },
    /// The dynamic table has so many bytes from now on (§6.3).
    TableSize(u32),
}

/// What becomes of a literal field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiteralKind {
    /// It is added to the dynamic table (§6.2.1).
    Added,
    /// It is not added (§6.2.2).
    NotAdded,
    /// Nobody may ever add it to a table (§6.2.3).
    NeverIndexed,
}

impl Representation {
    /// Takes one off the front of `block`.
    ///
    /// # Errors
    /// The block ends within it, or an integer is too large.
    pub fn take(block: &mut &[u8]) -> Result<Representation, CompressionError> {
        let first = *block.first().ok_or(TRUNCATED)?;
        let kind = match first {
            _ if first & INDEXED.bits != 0 => {
                return integer::decode(block, INDEXED.prefix).map(Representation::Indexed);
            }
            _ if first & LITERAL_INDEXED.bits != 0 => LiteralKind::Added,
            _ if first & SIZE_UPDATE.bits != 0 => {
                return integer::decode(block, SIZE_UPDATE.prefix).map(Representation::TableSize);
            }
            _ if first & LITERAL_NEVER_INDEXED.bits != 0 => LiteralKind::NeverIndexed,
            _ => LiteralKind::NotAdded,
        };
        let pattern = if kind == LiteralKind::Added { LITERAL_INDEXED } else { LITERAL };
        let name = integer::decode(block, pattern.prefix)?;
        if name == 0 {
            skip_string(block)?;
        }
        let is_huffman = skip_string(block)?;
        Ok(Representation::Literal { kind, name, is_huffman })
    }
}

/// Says whether the string was in Huffman code.
fn skip_string(block: &mut &[u8]) -> Result<bool, CompressionError> {
    let is_huffman = block.first().ok_or(TRUNCATED)? & STRING_HUFFMAN.bits != 0;
    let length = integer::decode(block, STRING.prefix)? as usize;
    *block = block.get(length..).ok_or(TRUNCATED)?;
    Ok(is_huffman)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541 §C.2, §C.4, and a table size of §6.3.
    #[test]
    fn the_representations_of_the_rfc_are_told_apart() {
        let literal = |kind, name, is_huffman| Representation::Literal { kind, name, is_huffman };
        let mut block = [
            &b"\x3f\xe1\x1f"[..],
            b"\x40\x0acustom-key\x0dcustom-header",
            b"\x04\x0c/sample/path",
            b"\x10\x08password\x06secret",
            b"\x82",
            b"\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
        ]
        .concat();
        block.push(0xff);
        let mut rest = &block[..];
        let taken: Vec<_> = std::iter::from_fn(|| Representation::take(&mut rest).ok()).collect();
        let expected = [
            Representation::TableSize(4096),
            literal(LiteralKind::Added, 0, false),
            literal(LiteralKind::NotAdded, 4, false),
            literal(LiteralKind::NeverIndexed, 0, false),
            Representation::Indexed(2),
            literal(LiteralKind::Added, 1, true),
        ];
        assert_eq!(taken, expected);
        assert_eq!(Representation::take(&mut &b"\x04\x0c/sample"[..]), Err(TRUNCATED));
    }
}
