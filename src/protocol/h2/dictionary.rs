//! Dictionaries of structured fields (RFC 9651 §4.2.2), as far as the Priority field needs them: members that are integers
//! and booleans are returned, all others are only checked.

/// The value of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// An integer.
    Integer(i64),
    /// `?0` or `?1`; a key alone is true.
    Boolean(bool),
    /// Anything else.
    Other,
}

/// Calls `member` with each key and its value, in order; a later one replaces an earlier one of the same key. False if
/// `text` is no dictionary: then nothing counts of what was said.
pub fn read(text: &[u8], mut member: impl FnMut(&[u8], Item)) -> bool {
    let mut rest = Rest(text);
    rest.skip(|byte| byte == b' ');
    if rest.0.is_empty() {
        return true;
    }
    loop {
        let Some((key, item)) = rest.member() else { return false };
        member(key, item);
        rest.skip(is_ows);
        if rest.0.is_empty() {
            return true;
        }
        if !rest.take(b',') {
            return false;
        }
        rest.skip(is_ows);
    }
}

fn is_ows(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// What has not been read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn member(&mut self) -> Option<(&'a [u8], Item)> {
        let key = self.key()?;
        let item = match self.take(b'=') {
            true if self.0.first() == Some(&b'(') => self.inner_list()?,
            true => self.bare_item()?,
            false => Item::Boolean(true),
        };
        self.parameters()?;
        Some((key, item))
    }

    /// ( lcalpha / "*" ) *( lcalpha / DIGIT / "_" / "-" / "." / "*" )
    fn key(&mut self) -> Option<&'a [u8]> {
        self.0.first().filter(|byte| matches!(byte, b'a'..=b'z' | b'*'))?;
        Some(self.skip(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')))
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip(|byte| byte == b' ');
            self.key()?;
            if self.take(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn inner_list(&mut self) -> Option<Item> {
        self.take(b'(');
        loop {
            self.skip(|byte| byte == b' ');
            if self.take(b')') {
                return Some(Item::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.0.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn bare_item(&mut self) -> Option<Item> {
        match self.0.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'?' => self.boolean(),
            b'"' => self.string(),
            b':' => self.byte_sequence(),
            b'@' => {
                self.take(b'@');
                self.number().filter(|date| *date != Item::Other)?;
                Some(Item::Other)
            }
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => {
                self.skip(|byte| crate::http::fields::is_tchar(byte) || matches!(byte, b':' | b'/'));
                Some(Item::Other)
            }
            _ => None,
        }
    }

    /// An integer of at most 15 digits, or a decimal of at most 12 and 3.
    fn number(&mut self) -> Option<Item> {
        let is_negative = self.take(b'-');
        let digits = self.skip(|byte| byte.is_ascii_digit());
        if self.take(b'.') {
            let fraction = self.skip(|byte| byte.is_ascii_digit());
            return ((1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len())).then_some(Item::Other);
        }
        if !(1..=15).contains(&digits.len()) {
            return None;
        }
        let number = digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        Some(Item::Integer(if is_negative { -number } else { number }))
    }

    fn boolean(&mut self) -> Option<Item> {
        self.take(b'?');
        match self.0.split_first()? {
            (digit @ (b'0' | b'1'), rest) => {
                self.0 = rest;
                Some(Item::Boolean(*digit == b'1'))
            }
            _ => None,
        }
    }

    fn string(&mut self) -> Option<Item> {
        self.take(b'"');
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => return Some(Item::Other),
                b'\\' if self.take(b'"') || self.take(b'\\') => {}
                b'\\' => return None,
                b' '..=b'~' => {}
                _ => return None,
            }
        }
    }

    fn byte_sequence(&mut self) -> Option<Item> {
        self.take(b':');
        self.skip(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
        self.take(b':').then_some(Item::Other)
    }

    /// Skips this byte; false if it is not the next one.
    fn take(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// Skips bytes of a kind, and returns them.
    fn skip(&mut self, is_wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !is_wanted(*byte)).unwrap_or(self.0.len());
        let (skipped, rest) = self.0.split_at(end);
        self.0 = rest;
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Option<Vec<(String, Item)>> {
        let mut members = Vec::new();
        let add = |key: &[u8], item| members.push((String::from_utf8_lossy(key).into_owned(), item));
        read(text.as_bytes(), add).then_some(members)
    }

    #[test]
    fn members_of_every_type_are_read() {
        for (text, item) in [
            ("a", Item::Boolean(true)),
            ("a=?0", Item::Boolean(false)),
            ("a=-15", Item::Integer(-15)),
            ("a=999999999999999;x=?0;*y", Item::Integer(999_999_999_999_999)),
            ("a=1.125", Item::Other),
            ("a=\"x, \\\" \\\\ y\"", Item::Other),
            ("a=tok/en:x", Item::Other),
            ("a=:aGVsbG8=:", Item::Other),
            ("a=@1659578233", Item::Other),
            ("a=()", Item::Other),
            ("a=( 1  \"b\";c=1 );d", Item::Other),
        ] {
            assert_eq!(members(text), Some(vec![("a".to_string(), item)]), "{text}");
        }
        assert_eq!(members("   "), Some(vec![]));
        assert_eq!(members(" a ,\t b ").map(|members| members.len()), Some(2));
    }

    #[test]
    fn what_is_no_dictionary_is_refused() {
        for text in [
            "a,",
            ",a",
            "a b",
            "A",
            "1",
            "a=",
            "a=?2",
            "a=?",
            "a=-",
            "a=1.",
            "a=1.2345",
            "a=1234567890123456",
            "a=\"x",
            "a=\"\\x\"",
            "a=\"\u{e9}\"",
            "a=(1",
            "a=(1\"b\")",
            "a=:x",
            "a=:!:",
            "a=@1.5",
            "a;B",
            "a;b=",
            "a=%x",
            "a\t;b",
        ] {
            assert_eq!(members(text), None, "{text}");
        }
    }
}
