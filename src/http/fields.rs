//! Fields: the names and values of a head or trailer section (RFC 9110 §5).
//!
//! Received fields are borrowed from the bytes they arrived in ([`Fields`]); fields to be sent are checked once, when
//! they are made ([`FieldValue`]), so that no value can break out of its line.

use std::borrow::Cow;
use std::fmt;

/// Where one received field line lies in its section's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldSpan {
    /// First byte of the name.
    pub name_start: u32,
    /// Length of the name in bytes.
    pub name_len: u32,
    /// First byte of the value, after optional whitespace.
    pub value_start: u32,
    /// Length of the value in bytes, without trailing optional whitespace.
    pub value_len: u32,
}

/// The fields of a received section, in the order they arrived.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields<'a> {
    section: &'a [u8],
    spans: &'a [FieldSpan],
}

impl<'a> Fields<'a> {
    /// Fields whose `spans` point into `section`.
    pub fn new(section: &'a [u8], spans: &'a [FieldSpan]) -> Fields<'a> {
        Fields { section, spans }
    }

    /// Every field line as (name, value), in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.spans.iter().map(move |span| (self.name(span), self.value(span)))
    }

    /// The values of all lines with this name (ASCII case-insensitive, RFC 9110 §5.1), in order.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.spans.iter().filter_map(move |span| {
            let same = span.name_len as usize == name.len() && self.name(span).eq_ignore_ascii_case(name.as_bytes());
            same.then(|| self.value(span))
        })
    }

    /// The value of the first line with this name.
    pub fn first(self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// How many field lines there are.
    pub fn len(self) -> usize {
        self.spans.len()
    }

    /// Whether there is no field line at all.
    pub fn is_empty(self) -> bool {
        self.spans.is_empty()
    }

    fn name(self, span: &FieldSpan) -> &'a [u8] {
        &self.section[span.name_start as usize..][..span.name_len as usize]
    }

    fn value(self, span: &FieldSpan) -> &'a [u8] {
        &self.section[span.value_start as usize..][..span.value_len as usize]
    }
}

/// The members of a comma-separated list (RFC 9110 §5.6.1), trimmed; empty members are skipped as §5.6.1.2 asks.
/// Only for fields whose members cannot be quoted strings.
pub fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim_ows).filter(|member| !member.is_empty())
}

/// `value` without leading and trailing optional whitespace (OWS, RFC 9110 §5.6.3).
pub fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2).
pub const fn is_tchar(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// Whether `byte` may stand in a field value: VCHAR, obs-text, space or tab (RFC 9110 §5.5).
pub const fn is_field_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..=0xff)
}

/// The name of a field to be sent: a token known when the program is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldName(&'static str);

impl FieldName {
    /// A name from a literal; anything but a token does not compile in a `const`.
    pub const fn from_static(name: &'static str) -> FieldName {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty(), "a field name is not empty");
        let mut index = 0;
        while index < bytes.len() {
            assert!(is_tchar(bytes[index]), "a field name is a token (RFC 9110 §5.1)");
            index += 1;
        }
        FieldName(name)
    }

    /// The name as text.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// `Allow` (RFC 9110 §10.2.1).
pub const ALLOW: FieldName = FieldName::from_static("Allow");
/// `Cache-Control` (RFC 9111 §5.2).
pub const CACHE_CONTROL: FieldName = FieldName::from_static("Cache-Control");
/// `Content-Type` (RFC 9110 §8.3).
pub const CONTENT_TYPE: FieldName = FieldName::from_static("Content-Type");
/// `Location` (RFC 9110 §10.2.2).
pub const LOCATION: FieldName = FieldName::from_static("Location");
/// `Retry-After` (RFC 9110 §10.2.3).
pub const RETRY_AFTER: FieldName = FieldName::from_static("Retry-After");

/// The value of a field to be sent. Its bytes were checked when it was made: no CR, LF, NUL or other control byte can
/// be in it (RFC 9110 §5.5), so header injection is impossible by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldValue(Cow<'static, [u8]>);

impl FieldValue {
    /// A value from a literal; a control character does not compile in a `const`.
    pub const fn from_static(value: &'static str) -> FieldValue {
        let bytes = value.as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            assert!(is_field_value_byte(bytes[index]), "not a field value (RFC 9110 §5.5)");
            index += 1;
        }
        FieldValue(Cow::Borrowed(bytes))
    }

    /// A value from bytes known only now; surrounding whitespace is not part of a value and is dropped.
    pub fn new(value: impl Into<Vec<u8>>) -> Result<FieldValue, InvalidFieldValue> {
        let mut value = value.into();
        if !value.iter().copied().all(is_field_value_byte) {
            return Err(InvalidFieldValue);
        }
        if trim_ows(&value).len() != value.len() {
            value = trim_ows(&value).to_vec();
        }
        Ok(FieldValue(Cow::Owned(value)))
    }

    /// The checked bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A field value was refused because it has a byte that could end or corrupt its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidFieldValue;

impl fmt::Display for InvalidFieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field value must not contain control characters (RFC 9110 §5.5)")
    }
}

impl std::error::Error for InvalidFieldValue {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_list_are_trimmed_and_empty_ones_are_skipped() {
        let members: Vec<&[u8]> = list_members(b" a,, \tb c\t ,").collect();
        assert_eq!(members, [&b"a"[..], b"b c"]);
        assert_eq!(list_members(b" ,\t, ").count(), 0);
    }

    #[test]
    fn a_value_with_a_byte_that_could_end_its_line_is_refused() {
        for byte in 0..=255u8 {
            let is_control = byte.is_ascii_control() && byte != b'\t';
            assert_eq!(FieldValue::new([b'a', byte, b'b']).is_err(), is_control, "{byte:#04x}");
        }
        assert_eq!(FieldValue::new(" \t a b\t").expect("a value").as_bytes(), b"a b");
    }

    #[test]
    fn received_fields_are_found_by_name_in_any_case_and_in_order() {
        let section = b"A: 1\r\nb:2\r\na: 3\r\n";
        let span = |name_start, value_start| FieldSpan { name_start, name_len: 1, value_start, value_len: 1 };
        let spans = [span(0, 3), span(6, 8), span(11, 14)];
        let fields = Fields::new(section, &spans);
        assert_eq!(fields.all("a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!((fields.first("B"), fields.first("c"), fields.len()), (Some(&b"2"[..]), None, 3));
    }
}
