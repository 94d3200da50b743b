//! The request target (RFC 9112 §3.2): its four forms, its path and query, and percent-decoding (RFC 3986 §2.1).

use std::borrow::Cow;

/// A request target as it arrived, taken apart but not decoded. Bytes, never text: a path need not be UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Which of the four forms it came in.
    pub form: TargetForm,
    /// The whole target as sent.
    pub raw: &'a [u8],
    /// `host[:port]` of an absolute- or authority-form target. It takes precedence over Host (RFC 9112 §3.2.2).
    pub authority: Option<&'a [u8]>,
    /// The path, starting with `/`; `/` if an absolute-form target had none; `*` in asterisk-form; empty in
    /// authority-form.
    pub path: &'a [u8],
    /// What follows the first `?`, without it.
    pub query: Option<&'a [u8]>,
}

/// The form of a request target (RFC 9112 §3.2.1 to §3.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port`, for CONNECT only.
    Authority,
    /// `*`, for OPTIONS only.
    Asterisk,
}

impl<'a> Target<'a> {
    /// The still encoded value of the first query parameter called `name` (`name=value` pairs joined by `&`).
    pub fn query_parameter(&self, name: &str) -> Option<&'a [u8]> {
        let pairs = self.query?.split(|byte| *byte == b'&');
        pairs.map(split_pair).find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }
}

fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, b""),
    }
}

/// `encoded` with every `%XX` replaced, once; borrowed when there is nothing to replace. `None` when a `%` is not
/// followed by two hexadecimal digits.
pub fn percent_decode(encoded: &[u8]) -> Option<Cow<'_, [u8]>> {
    // Most paths are short and have nothing to decode.
    let Some(first) = encoded.iter().position(|byte| *byte == b'%') else { return Some(Cow::Borrowed(encoded)) };
    let mut decoded = encoded[..first].to_vec();
    let mut rest = &encoded[first..];
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return None };
        decoded.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
        rest = tail;
    }
    Some(Cow::Owned(decoded))
}

/// Appends `path` with every byte escaped that is neither unreserved (RFC 3986 §2.3) nor a slash.
pub fn percent_encode(path: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in path {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(byte),
            _ => out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
        }
    }
}

/// The value of one hexadecimal digit.
pub fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a [u8]> {
        let (raw, query) = (b"".as_slice(), Some(query.as_bytes()));
        Target { form: TargetForm::Origin, raw, authority: None, path: b"/", query }.query_parameter(name)
    }

    #[test]
    fn the_first_parameter_of_a_name_counts() {
        assert_eq!(parameter("a=1&b=2&a=3", "a"), Some(&b"1"[..]));
        assert_eq!(parameter("aa=1&b=x=y", "b"), Some(&b"x=y"[..]));
        assert_eq!(parameter("a&b=", "a"), Some(&b""[..]));
        assert_eq!(parameter("a&b=", "b"), Some(&b""[..]));
        assert_eq!(parameter("aa=1&A=2", "a"), None);
        assert_eq!(parameter("", "a"), None);
    }

    #[test]
    fn escapes_are_decoded_once_and_broken_ones_refused() {
        assert!(matches!(percent_decode(b"/plain"), Some(Cow::Borrowed(b"/plain"))));
        assert_eq!(percent_decode(b"%41%7a%2F%00%fF").as_deref(), Some(&b"Az/\0\xff"[..]));
        assert_eq!(percent_decode(b"%2541").as_deref(), Some(&b"%41"[..]));
        for broken in [&b"%"[..], b"%4", b"a%4", b"%g0", b"%0g", b"%%41", b"%+1"] {
            assert_eq!(percent_decode(broken), None, "{}", String::from_utf8_lossy(broken));
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(bytes: Vec<u8>, escape: Vec<bool>) {
            let must = |byte: u8| byte == b'%';
            let encode = |(index, byte): (usize, &u8)| match must(*byte) || escape.get(index) == Some(&true) {
                true => format!("%{byte:02x}").into_bytes(),
                false => vec![*byte],
            };
            let encoded: Vec<u8> = bytes.iter().enumerate().flat_map(encode).collect();
            let decoded = percent_decode(&encoded);
            prop_assert_eq!(decoded.as_deref(), Some(&bytes[..]));
        }
    }
}
