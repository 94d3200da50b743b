//! Integers (RFC 7541 §5.1): some bits of a byte, and further bytes if the value does not fit into these.

use super::{CompressionError, Pattern, TRUNCATED, error};

/// Bytes behind the first one. Five have 35 bits, which is more than any length, index or size that is accepted.
const CONTINUATION_MAX: usize = 5;

const TOO_LARGE: CompressionError = error("an integer is too large", "RFC 7541 §5.1");

/// Takes an integer off the front of `block`. `prefix` is how many bits of the first byte belong to it, 1 to 8.
///
/// # Errors
/// When the block ends within it, when it has more than five further bytes, and when it exceeds 32 bits. §5.1 wants the
/// latter two to be decoding errors.
#[inline]
pub fn decode(block: &mut &[u8], prefix: u32) -> Result<u32, CompressionError> {
    let (first, rest) = block.split_first().ok_or(TRUNCATED)?;
    *block = rest;
    let all_ones = (1_u32 << prefix) - 1;
    let value = u32::from(*first) & all_ones;
    if value < all_ones { Ok(value) } else { continued(block, value) }
}

fn continued(block: &mut &[u8], prefix_value: u32) -> Result<u32, CompressionError> {
    let mut value = u64::from(prefix_value);
    for index in 0..CONTINUATION_MAX {
        let byte = *block.get(index).ok_or(TRUNCATED)?;
        value += u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *block = &block[index + 1..];
            return u32::try_from(value).map_err(|_| TOO_LARGE);
        }
    }
    Err(TOO_LARGE)
}

/// Adds an integer to `out`, behind the bits of `pattern`.
#[inline]
pub fn encode(out: &mut Vec<u8>, pattern: Pattern, value: u32) {
    let all_ones = (1_u32 << pattern.prefix) - 1;
    if value < all_ones {
        out.push(pattern.bits | value as u8);
        return;
    }
    out.push(pattern.bits | all_ones as u8);
    let mut rest = value - all_ones;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(prefix: u32, value: u32) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, Pattern { bits: 0, prefix }, value);
        out
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // Appendix C.1.
        for (prefix, value, bytes) in [(5, 10, &[0b01010][..]), (5, 1337, &[0b11111, 0x9a, 0x0a]), (8, 42, &[42])] {
            assert_eq!(encoded(prefix, value), bytes);
            assert_eq!(decode(&mut &bytes[..], prefix), Ok(value));
        }
    }

    #[test]
    fn an_integer_has_at_most_five_further_bytes_and_32_bits() {
        let decoded = |bytes: &[u8]| decode(&mut &bytes[..], 7);
        assert_eq!(decoded(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x00]), Ok(127), "zeros in front may stand there");
        assert_eq!(decoded(&[0x7f, 0x80, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
        assert_eq!(decoded(&[0x7f, 0x81, 0xff, 0xff, 0xff, 0x0f]), Err(TOO_LARGE));
        assert_eq!(decoded(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0x7f]), Err(TOO_LARGE));
        assert_eq!(decoded(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Err(TOO_LARGE));
        assert_eq!(decoded(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80]), Err(TOO_LARGE), "the sixth byte is not waited for");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(prefix in 1..=8_u32, value: u32, behind: [u8; 2]) {
            let integer = encoded(prefix, value);
            let block = [&integer[..], &behind].concat();
            let mut rest = &block[..];
            prop_assert_eq!(decode(&mut rest, prefix), Ok(value));
            prop_assert_eq!(rest, &behind[..]);
            for end in 0..integer.len() {
                prop_assert_eq!(decode(&mut &integer[..end], prefix), Err(TRUNCATED));
            }
        }
    }
}
