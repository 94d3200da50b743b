//! Masking (RFC 6455 §5.3): every frame of a client is XORed with four bytes of its own.

/// The masking key, rotated so that its first byte is for the next byte of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask([u8; 4]);

impl Mask {
    /// The key as it stands in a frame's head.
    pub fn new(key: [u8; 4]) -> Mask {
        Mask(key)
    }

    /// Unmasks the next bytes of the frame, and rotates the key for those behind them.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let [a, b, c, d] = self.0;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.0.iter().cycle()) {
            *byte ^= key;
        }
        *self = self.turned(bytes.len());
    }

    /// The key behind `n` more bytes.
    pub fn turned(mut self, n: usize) -> Mask {
        self.0.rotate_left(n % 4);
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_of_any_size_are_unmasked_as_the_formula_says(
            key: [u8; 4],
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
        ) {
            let masked = pieces.concat();
            // RFC 6455 §5.3: transformed-octet-i = original-octet-i XOR masking-key-octet-(i MOD 4)
            let expected: Vec<u8> = masked.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
            let mut mask = Mask::new(key);
            let unmasked: Vec<u8> = pieces.into_iter().flat_map(|mut piece| { mask.apply(&mut piece); piece }).collect();
            prop_assert_eq!(unmasked, expected);
        }
    }
}
