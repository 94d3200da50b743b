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
    let Some(first) = memchr::memchr(b'%', encoded) else { return Some(Cow::Borrowed(encoded)) };
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
    use super::*;

    #[test]
    fn percent_encoding_is_decoded_once_and_only_where_there_is_some() {
        assert!(matches!(percent_decode(b"/a+b"), Some(Cow::Borrowed(b"/a+b"))));
        assert_eq!(percent_decode(b"%2Fa%2525%00%fFb").as_deref(), Some(&b"/a%25\0\xffb"[..]));
        for broken in [&b"%"[..], b"a%2", b"%2g", b"%%41", b"%+1"] {
            assert_eq!(percent_decode(broken), None, "{}", broken.escape_ascii());
        }
    }

    #[test]
    fn the_first_query_parameter_of_a_name_counts() {
        let raw = b"/";
        let query = Some(&b"a=1&b&a=2&=x&c==d"[..]);
        let target = Target { form: TargetForm::Origin, raw, authority: None, path: raw, query };
        let parameters = ["a", "b", "", "c", "d"].map(|name| target.query_parameter(name));
        assert_eq!(parameters, [Some(&b"1"[..]), Some(b""), Some(b"x"), Some(b"=d"), None]);
        assert_eq!(Target { query: None, ..target }.query_parameter("a"), None);
    }
}
