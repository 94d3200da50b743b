//! Text is checked as it streams, so that a message is refused at its first bad byte (RFC 6455 §8.1).

use std::str;

/// A check that can stop between any two bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8 {
    /// The beginning of a character whose end has not arrived.
    partial: [u8; 4],
    len: u8,
}

/// The text cannot become UTF-8 any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

impl Utf8 {
    /// Checks the next bytes of the text.
    pub fn check(&mut self, mut bytes: &[u8]) -> Result<(), Invalid> {
        while self.len > 0 {
            let [next, rest @ ..] = bytes else { return Ok(()) };
            self.complete(*next)?;
            bytes = rest;
        }
        match str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            // Only the end is missing, so far.
            Err(error) if error.error_len().is_none() => {
                let tail = &bytes[error.valid_up_to()..];
                self.partial[..tail.len()].copy_from_slice(tail);
                self.len = tail.len() as u8;
                Ok(())
            }
            Err(_) => Err(Invalid),
        }
    }

    /// Whether the text may end here.
    pub fn is_complete(&self) -> bool {
        self.len == 0
    }

    /// One more byte of the character that has begun.
    fn complete(&mut self, byte: u8) -> Result<(), Invalid> {
        self.partial[usize::from(self.len)] = byte;
        self.len += 1;
        match str::from_utf8(&self.partial[..usize::from(self.len)]) {
            Ok(_) => self.len = 0,
            Err(error) if error.error_len().is_none() => {}
            Err(_) => return Err(Invalid),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many bytes are taken before the text is refused, byte by byte; `None` if it is not.
    fn refused_at(text: &[u8]) -> Option<usize> {
        let mut utf8 = Utf8::default();
        text.iter().position(|byte| utf8.check(&[*byte]).is_err())
    }

    #[test]
    fn a_character_is_refused_at_the_first_byte_that_cannot_belong_to_it() {
        assert_eq!(refused_at(b"\xce\xba\xe1\xbd\xb9"), None);
        assert_eq!(refused_at(b"\xf4\x90\x80\x80"), Some(1), "above U+10FFFF");
        assert_eq!(refused_at(b"\xed\xa0\x80"), Some(1), "a surrogate");
        assert_eq!(refused_at(b"\xc0\x80"), Some(0), "overlong");
        assert_eq!(refused_at(b"\xe0\x80"), Some(1), "overlong");
        assert_eq!(refused_at(b"ab\x80"), Some(2), "a continuation of nothing");
        assert_eq!(refused_at(b"\xe1a"), Some(1), "cut short by another character");
    }

    #[test]
    fn half_a_character_is_no_error_and_no_end() {
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.check(b"a\xf0\x9f"), Ok(()));
        assert!(!utf8.is_complete());
        assert_eq!(utf8.check(b"\x8c\x8a!"), Ok(()));
        assert!(utf8.is_complete());
    }

    proptest! {
        #[test]
        fn every_split_and_every_byte_alone_give_what_the_whole_gives(
            text in proptest::collection::vec(
                prop_oneof![4 => Just(b'a'), 4 => 0x80..0xc0_u8, 4 => 0xc0..=0xff_u8, 1 => any::<u8>()], 0..12),
        ) {
            let whole = str::from_utf8(&text);
            let splits = (0..=text.len()).map(|cut| vec![&text[..cut], &text[cut..]]);
            for pieces in splits.chain([text.chunks(1).collect()]) {
                let mut utf8 = Utf8::default();
                let checked = pieces.iter().try_for_each(|piece| utf8.check(piece));
                prop_assert_eq!(checked.is_ok() && utf8.is_complete(), whole.is_ok());
                prop_assert_eq!(checked.is_err(), whole.is_err_and(|error| error.error_len().is_some()));
            }
        }
    }
}
