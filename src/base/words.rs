//! Searching short texts, eight bytes at a time: a loop over bytes is slower, and so is the start of a vectorised search.
//!
//! The first byte of a word is the lowest.

/// 1 in each of eight bytes.
const EACH: u64 = u64::MAX / 0xff;

/// Sets the top bit of each byte that is below `bound` (at most 0x80): subtracting `bound` from it needs a borrow. The
/// borrow changes the next byte, so only the first byte found is certain.
pub fn below(bound: u8, word: u64) -> u64 {
    word.wrapping_sub(EACH * u64::from(bound)) & !word
}

/// Sets the top bit of each byte that equals `byte`: after the XOR it is 0, which is the only byte below 1.
pub fn equal_to(byte: u8, word: u64) -> u64 {
    below(1, word ^ (EACH * u64::from(byte)))
}

/// Which byte is the first whose top bit is set.
pub fn first(found: u64) -> Option<usize> {
    let found = found & (EACH * 0x80);
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// Where the first byte of `bytes` stands that equals `byte`.
#[inline]
pub fn find_byte(byte: u8, bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk() {
        match first(equal_to(byte, u64::from_le_bytes(*word))) {
            None => at += size_of::<u64>(),
            Some(offset) => return Some(at + offset),
        }
    }
    bytes[at..].iter().position(|other| *other == byte).map(|offset| at + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_is_found_wherever_it_stands() {
        for len in 0..40 {
            for at in 0..len {
                for other in [0, b'.', b'0', 0x80 | b'/', 0xff] {
                    let mut text = vec![other; len];
                    text[at..].fill(b'/');
                    assert_eq!(find_byte(b'/', &text), Some(at), "{text:?}");
                }
            }
            assert_eq!(find_byte(b'/', &vec![b'.'; len]), None);
        }
    }
}
