//! The Huffman code of strings (RFC 7541 §5.2, Appendix B).
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols, and longer codes
//! follow shorter ones. The lengths alone therefore determine it. The compiler makes all tables of them.

use super::{CompressionError, error};

#[cfg(test)]
mod tests;

const EOS_IN_STRING: CompressionError = error("a string has the symbol EOS", "RFC 7541 §5.2");
const BAD_PADDING: CompressionError = error("the padding of a string is not at most 7 bits, all 1", "RFC 7541 §5.2");

/// Symbols: the 256 bytes, and EOS.
const SYMBOLS: usize = 257;
/// EOS. Only its first bits are ever sent, as padding.
const EOS: u16 = 256;
/// The longest code, in bits.
const LEN_MAX: usize = 30;
/// Codes up to this length are found by one look-up. All letters, digits and most signs have one.
const SHORT: u32 = 8;

/// The length of each symbol's code in bits (Appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The code, as it is needed in both directions. "Aligned" numbers have 32 bits, and the code stands in the highest.
struct Tables {
    /// The code of each byte, in the lowest bits.
    codes: [u32; SYMBOLS],
    /// All symbols in the order of their codes.
    ordered: [u16; SYMBOLS],
    /// For each length: the first code, aligned.
    first: [u32; LEN_MAX + 1],
    /// For each length: the place of its first symbol in `ordered`.
    place: [u16; LEN_MAX + 1],
    /// For each length: aligned bits below this begin with a code of at most this length.
    limit: [u64; LEN_MAX + 1],
    /// For each value of the next 8 bits: the symbol, and the length of its code. 0: the code is longer.
    short: [(u8, u8); 1 << SHORT],
}

static TABLES: Tables = Tables::of(&LENGTHS);

impl Tables {
    const fn of(lengths: &[u8; SYMBOLS]) -> Tables {
        let mut tables = Tables {
            codes: [0; SYMBOLS],
            ordered: [0; SYMBOLS],
            first: [0; LEN_MAX + 1],
            place: [0; LEN_MAX + 1],
            limit: [0; LEN_MAX + 1],
            short: [(0, 0); 1 << SHORT],
        };
        let (mut code, mut place, mut len) = (0_u64, 0, 1);
        while len <= LEN_MAX {
            let shift = 32 - len as u32;
            code <<= 1;
            tables.first[len] = (code << shift) as u32;
            tables.place[len] = place as u16;
            let mut symbol = 0;
            while symbol < SYMBOLS {
                if lengths[symbol] as usize == len {
                    tables.codes[symbol] = code as u32;
                    tables.ordered[place] = symbol as u16;
                    tables.add_short(symbol as u8, code, len as u32);
                    code += 1;
                    place += 1;
                }
                symbol += 1;
            }
            tables.limit[len] = code << shift;
            len += 1;
        }
        assert!(code == 1 << LEN_MAX, "every series of bits begins with a code");
        tables
    }

    /// If the code is short, enters it for all bits that may follow it.
    const fn add_short(&mut self, symbol: u8, code: u64, len: u32) {
        if len > SHORT {
            return;
        }
        let mut bits = code << (SHORT - len);
        while bits < (code + 1) << (SHORT - len) {
            self.short[bits as usize] = (symbol, len as u8);
            bits += 1;
        }
    }

    /// The symbol whose code these aligned bits begin with, and the length of the code.
    #[inline]
    fn symbol(&self, aligned: u32) -> (u16, u32) {
        let (symbol, len) = self.short[(aligned >> (32 - SHORT)) as usize];
        if len != 0 { (symbol.into(), len.into()) } else { self.long_symbol(aligned) }
    }

    fn long_symbol(&self, aligned: u32) -> (u16, u32) {
        let mut len = SHORT as usize + 1;
        while u64::from(aligned) >= self.limit[len] {
            len += 1;
        }
        let nth = (aligned - self.first[len]) >> (32 - len);
        (self.ordered[usize::from(self.place[len]) + nth as usize], len as u32)
    }
}

/// How many bytes a string has in Huffman code.
pub fn encoded_len(bytes: impl Iterator<Item = u8>) -> usize {
    let bits: usize = bytes.map(|byte| usize::from(LENGTHS[usize::from(byte)])).sum();
    bits.div_ceil(8)
}

/// Adds the code of a string to `out`.
pub fn encode(bytes: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    // The lowest `count` bits of `bits` are not in `out` yet. There are fewer than 32 when a symbol is added.
    let (mut bits, mut count) = (0_u64, 0_u32);
    for byte in bytes {
        let len = u32::from(LENGTHS[usize::from(byte)]);
        bits = bits << len | u64::from(TABLES.codes[usize::from(byte)]);
        count += len;
        if count >= 32 {
            count -= 32;
            out.extend_from_slice(&((bits >> count) as u32).to_be_bytes());
        }
    }
    // The padding is the beginning of EOS: all bits are 1.
    let padded = (bits << 32 | u64::from(u32::MAX)) >> count;
    out.extend_from_slice(&(padded as u32).to_be_bytes()[..count.div_ceil(8) as usize]);
}

/// Adds the string with this code to `out`, but at most its first `max` bytes. Returns the length of the whole string: it
/// is read to its end in any case, so that an error is found wherever it is.
///
/// # Errors
/// When there is EOS in it, when the padding has more than 7 bits, and when these are not all 1 (§5.2).
pub fn decode(mut code: &[u8], out: &mut Vec<u8>, max: usize) -> Result<usize, CompressionError> {
    let start = out.len();
    // No code has fewer than 5 bits.
    out.resize(start + (code.len() * 8 / 5).min(max), 0);
    let mut len = 0;
    // The highest `count` bits of `bits` come next; all others are 0.
    let (mut bits, mut count) = (0_u64, 0_u32);
    loop {
        if count < LEN_MAX as u32 {
            refill(&mut code, &mut bits, &mut count);
        }
        let (symbol, symbol_len) = TABLES.symbol((bits >> 32) as u32);
        if symbol_len > count {
            break;
        }
        if symbol == EOS {
            return Err(EOS_IN_STRING);
        }
        if let Some(byte) = out.get_mut(start + len) {
            *byte = symbol as u8;
        }
        len += 1;
        bits <<= symbol_len;
        count -= symbol_len;
    }
    out.truncate(start + len);
    // What is left is no whole code.
    let is_padding = count < 8 && bits.leading_ones() >= count;
    if is_padding { Ok(len) } else { Err(BAD_PADDING) }
}

/// Moves four bytes of `code` into `bits`, or as many as there are. `count` is less than 32.
#[inline]
fn refill(code: &mut &[u8], bits: &mut u64, count: &mut u32) {
    if let Some((four, rest)) = code.split_first_chunk() {
        *bits |= u64::from(u32::from_be_bytes(*four)) << (32 - *count);
        *count += 32;
        *code = rest;
        return;
    }
    for byte in *code {
        *bits |= u64::from(*byte) << (56 - *count);
        *count += 8;
    }
    *code = &[];
}
