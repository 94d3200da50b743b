//! Fields: the names and values of a head or trailer section (RFC 9110 §5).
//!
//! Received fields are borrowed from the bytes they arrived in ([`Fields`]); fields to be sent are checked once, when
//! they are made ([`FieldName`], [`FieldValue`]), so that no value can end its line early.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

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

/// A copy of received fields, for whoever needs them after their bytes have been consumed.
#[derive(Debug, Clone)]
pub struct OwnedFields {
    section: Box<[u8]>,
    spans: Box<[FieldSpan]>,
}

impl OwnedFields {
    /// How much memory they take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.section.len() + size_of_val(&*self.spans)
    }

    /// The fields as they arrived.
    pub fn as_fields(&self) -> Fields<'_> {
        Fields::new(&self.section, &self.spans)
    }
}

impl<'a> Fields<'a> {
    /// Fields whose `spans` point into `section`.
    pub fn new(section: &'a [u8], spans: &'a [FieldSpan]) -> Fields<'a> {
        Fields { section, spans }
    }

    /// Every field line as (name, value), in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
        self.spans.iter().map(move |span| (self.name(span), self.value(span)))
    }

    /// The values of all lines with this name (ASCII case-insensitive, RFC 9110 §5.1), in order.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.spans.iter().filter_map(move |span| {
            let same = span.name_len as usize == name.len() && self.name(span).eq_ignore_ascii_case(name.as_bytes());
            same.then(|| self.value(span))
        })
    }

    /// The value of the first line with the name `Host`, which is asked for once for each request where there are sites.
    pub fn host(self) -> Option<&'a [u8]> {
        const HOST: u32 = u32::from_le_bytes(*b"host");
        /// In a letter, this bit is its case. Of the other bytes that a name has (RFC 9110 §5.6.2), none becomes one of these
        /// letters with it.
        const CASE: u32 = 0x2020_2020;
        let is_host = |span: &&FieldSpan| {
            span.name_len == 4
                && self.name(span).first_chunk().is_some_and(|name| u32::from_le_bytes(*name) | CASE == HOST)
        };
        self.spans.iter().find(is_host).map(|span| self.value(span))
    }

    /// The value of the first line with this name.
    pub fn first(self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The bytes the spans point into, and the spans.
    /// A copy that does not depend on the bytes they arrived in.
    pub fn to_owned(self) -> OwnedFields {
        OwnedFields { section: self.section.into(), spans: self.spans.into() }
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

/// A field that has a single value and not a list. If it has several lines, they cannot be joined (RFC 9110 §5.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Line<'a> {
    /// There is none.
    #[default]
    Absent,
    /// Its value.
    Once(&'a [u8]),
    /// More than one.
    Several,
}

impl<'a> Line<'a> {
    /// One more line.
    pub fn add(&mut self, value: &'a [u8]) {
        *self = if *self == Line::Absent { Line::Once(value) } else { Line::Several };
    }
}

/// The members of a comma-separated list (RFC 9110 §5.6.1), trimmed; empty members are skipped as §5.6.1.2 asks.
/// Only for fields whose members cannot be quoted strings.
pub fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim_ows).filter(|member| !member.is_empty())
}

/// As [`list_members`], for fields whose members may have quoted strings (RFC 9110 §5.6.4). A comma in a quoted string
/// does not end the member.
pub fn quoted_list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split_unquoted(value, b',').map(trim_ows).filter(|member| !member.is_empty())
}

/// The pieces of `value` between separators that are not within quotes (RFC 9110 §5.6.4), empty ones too.
pub fn split_unquoted(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return *byte == separator && !quoted,
        }
        false
    })
}

/// The text of a token, or of a quoted string without its quotes and backslashes (RFC 9110 §5.6.4). `None` if `value` is
/// neither.
pub fn token_or_quoted_string(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    if is_token(value) {
        return Some(Cow::Borrowed(value));
    }
    let quoted = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter().copied();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'\\' => bytes.next()?,
            b'"' => return None,
            _ => byte,
        });
    }
    text.iter().copied().all(is_field_value_byte).then_some(Cow::Owned(text))
}

/// Whether `value` is a token (RFC 9110 §5.6.2).
pub fn is_token(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().copied().all(is_tchar)
}

/// Whether a value of Cache-Control has the directive with this `name` and without an argument (RFC 9111 §5.2).
pub fn has_directive(cache_control: &[u8], name: &str) -> bool {
    quoted_list_members(cache_control).any(|directive| directive.eq_ignore_ascii_case(name.as_bytes()))
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

/// The name of a field to be sent. It was checked when it was made: it is a token (RFC 9110 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldName(Cow<'static, str>);

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
        FieldName(Cow::Borrowed(name))
    }

    /// A name from text known only now.
    pub fn new(name: impl Into<String>) -> Result<FieldName, InvalidFieldName> {
        let name = name.into();
        let is_token = !name.is_empty() && name.bytes().all(is_tchar);
        if is_token { Ok(FieldName(Cow::Owned(name))) } else { Err(InvalidFieldName) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both name the same field: case does not matter (RFC 9110 §5.1).
    pub fn is(&self, other: &FieldName) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

/// `Accept-Ranges` (RFC 9110 §14.3).
pub const ACCEPT_RANGES: FieldName = FieldName::from_static("Accept-Ranges");
/// `Allow` (RFC 9110 §10.2.1).
pub const ALLOW: FieldName = FieldName::from_static("Allow");
/// `Cache-Control` (RFC 9111 §5.2).
pub const CACHE_CONTROL: FieldName = FieldName::from_static("Cache-Control");
/// `Content-Encoding` (RFC 9110 §8.4).
pub const CONTENT_ENCODING: FieldName = FieldName::from_static("Content-Encoding");
/// `Content-Range` (RFC 9110 §14.4).
pub const CONTENT_RANGE: FieldName = FieldName::from_static("Content-Range");
/// `Content-Security-Policy` (W3C CSP Level 3).
pub const CONTENT_SECURITY_POLICY: FieldName = FieldName::from_static("Content-Security-Policy");
/// `Content-Type` (RFC 9110 §8.3).
pub const CONTENT_TYPE: FieldName = FieldName::from_static("Content-Type");
/// `ETag` (RFC 9110 §8.8.3).
pub const ETAG: FieldName = FieldName::from_static("ETag");
/// `Last-Modified` (RFC 9110 §8.8.2).
pub const LAST_MODIFIED: FieldName = FieldName::from_static("Last-Modified");
/// `Location` (RFC 9110 §10.2.2).
pub const LOCATION: FieldName = FieldName::from_static("Location");
/// `Retry-After` (RFC 9110 §10.2.3).
pub const RETRY_AFTER: FieldName = FieldName::from_static("Retry-After");
/// `Upgrade` (RFC 9110 §7.8).
pub const UPGRADE: FieldName = FieldName::from_static("Upgrade");
/// `Vary` (RFC 9110 §12.5.5).
pub const VARY: FieldName = FieldName::from_static("Vary");
/// `X-Content-Type-Options`, which tells browsers not to guess (WHATWG Fetch, "nosniff").
pub const X_CONTENT_TYPE_OPTIONS: FieldName = FieldName::from_static("X-Content-Type-Options");

/// The value of a field to be sent. Its bytes were checked when it was made: it has no CR, LF, NUL or other control
/// byte (RFC 9110 §5.5). A client can therefore not inject field lines through a value.
#[derive(Debug, PartialEq, Eq)]
pub struct FieldValue(Cow<'static, [u8]>);

impl Clone for FieldValue {
    /// Each response copies its media type. Most values are literals, and a copy of one is two words: that is not worth the
    /// call of a function, which the derived code makes.
    #[inline]
    fn clone(&self) -> FieldValue {
        FieldValue(match &self.0 {
            Cow::Borrowed(value) => Cow::Borrowed(value),
            Cow::Owned(value) => Cow::Owned(value.clone()),
        })
    }
}

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

    /// A value from bytes known only now. Surrounding whitespace is not part of a value and is removed.
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

/// Hashes a field, whatever the case of its name (RFC 9110 §5.1). Fields with the same hash need not be the same.
#[inline]
pub fn field_hash(name: &[u8], value: &[u8]) -> u32 {
    /// 2^64 divided by the golden ratio: its bits look random.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    /// In a letter of a name, this bit is its case. In other bytes it makes no difference that matters.
    const CASE: u64 = 0x2020_2020_2020_2020;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(FACTOR).rotate_left(23);
    let mix_all = |hash: u64, bytes: &[u8], ignored: u64| {
        let (words, rest) = bytes.as_chunks();
        let last = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let words = words.iter().map(|word| u64::from_le_bytes(*word)).chain([last]);
        words.fold(mix(hash, bytes.len() as u64), |hash, word| mix(hash, word | ignored))
    };
    (mix_all(mix_all(0, name, CASE), value, 0) >> 32) as u32
}

/// Fields to be sent that were made once, to be sent many times. A clone shares them.
///
/// What the set means is [`iter`](FieldSet::iter). The lines of text are made beforehand as well, because HTTP/1 can
/// copy them as they are; other versions of HTTP do not use them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet(Option<Arc<FieldLines>>);

/// The lines of a field set that is not empty. One allocation is shared, so a clone costs one count.
#[derive(Debug, PartialEq, Eq)]
struct FieldLines {
    /// `name: value`, and CRLF behind each.
    text: Box<[u8]>,
    /// Where the names and values lie in the text.
    spans: Box<[FieldSpan]>,
    /// The hash of each field.
    hashes: Box<[u32]>,
}

/// The lines of a set that is being made.
#[derive(Default)]
struct NewLines {
    text: Vec<u8>,
    spans: Vec<FieldSpan>,
    hashes: Vec<u32>,
}

impl NewLines {
    fn add(&mut self, name: &[u8], value: &[u8]) {
        let name_start = self.text.len() as u32;
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(b": ");
        let value_start = self.text.len() as u32;
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(b"\r\n");
        let (name_len, value_len) = (name.len() as u32, value.len() as u32);
        self.spans.push(FieldSpan { name_start, name_len, value_start, value_len });
        self.hashes.push(field_hash(name, value));
    }

    fn into_set(self) -> FieldSet {
        let NewLines { text, spans, hashes } = self;
        let is_empty = spans.is_empty();
        let lines = || FieldLines { text: text.into(), spans: spans.into(), hashes: hashes.into() };
        FieldSet((!is_empty).then(|| Arc::new(lines())))
    }
}

/// How long a field line is, with its CRLF.
fn line_bytes(name: &[u8], value: &[u8]) -> usize {
    name.len() + b": ".len() + value.len() + b"\r\n".len()
}

impl FieldSet {
    /// A set without fields.
    pub const EMPTY: FieldSet = FieldSet(None);

    /// A set of these fields, in this order.
    pub fn new<N: Borrow<FieldName>, V: Borrow<FieldValue>>(fields: impl IntoIterator<Item = (N, V)>) -> FieldSet {
        let mut lines = NewLines::default();
        for (name, value) in fields {
            lines.add(name.borrow().as_str().as_bytes(), value.borrow().as_bytes());
        }
        lines.into_set()
    }

    /// A set of fields that were received, in this order. Each name is a token and each value has no control character,
    /// because a parser of this server has checked them. However many they are, there are four allocations.
    pub fn of_parsed<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> FieldSet {
        let add = |(count, bytes), (name, value): (&[u8], &[u8])| (count + 1, bytes + line_bytes(name, value));
        let (count, bytes) = fields.clone().fold((0, 0), add);
        let mut lines = NewLines {
            text: Vec::with_capacity(bytes),
            spans: Vec::with_capacity(count),
            hashes: Vec::with_capacity(count),
        };
        for (name, value) in fields {
            debug_assert!(is_token(name) && value.iter().copied().all(is_field_value_byte), "a parser has checked it");
            lines.add(name, value);
        }
        lines.into_set()
    }

    /// Every field as (name, value), in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let fields = self.0.as_deref().map(|lines| Fields::new(&lines.text, &lines.spans));
        fields.unwrap_or_default().iter()
    }

    /// Every field as (hash, name, value), in order. HTTP/2 looks fields up by their [hash](field_hash).
    pub fn hashed(&self) -> impl Iterator<Item = (u32, &[u8], &[u8])> {
        let hashes = self.0.as_deref().map_or(&[][..], |lines| &lines.hashes);
        hashes.iter().zip(self.iter()).map(|(hash, (name, value))| (*hash, name, value))
    }

    /// The field lines as HTTP/1 sends them (RFC 9112 §5): each is `name: value` and CRLF.
    pub fn as_lines(&self) -> &[u8] {
        self.0.as_deref().map_or(&[], |lines| &lines.text)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.as_deref().map_or(0, |lines| lines.spans.len())
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How much memory all clones of it share, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let bytes = |lines: &FieldLines| {
            size_of::<FieldLines>() + lines.text.len() + size_of_val(&*lines.spans) + size_of_val(&*lines.hashes)
        };
        self.0.as_deref().map_or(0, bytes)
    }
}

/// Whether a field called `name` may stand in a trailer section. It must not if a recipient needs it before the
/// content: for framing, routing, modifying or authenticating the request, controlling the response, or finding out how
/// to process the content (RFC 9110 §6.5.1). Fields that concern a connection (§7.6.1) must not either.
pub fn is_allowed_in_trailers(name: &[u8]) -> bool {
    !NOT_IN_TRAILERS.iter().any(|excluded| name.eq_ignore_ascii_case(excluded.as_bytes()))
}

static NOT_IN_TRAILERS: [&str; 47] = [
    // Framing (RFC 9112 §6), and what concerns a connection (RFC 9110 §7.6.1, §7.8).
    "Content-Length",
    "Transfer-Encoding",
    "Trailer",
    "TE",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Upgrade",
    "HTTP2-Settings",
    // Routing (RFC 9110 §7.2, §7.6.2, §7.6.3; RFC 7239).
    "Host",
    "Max-Forwards",
    "Via",
    "Forwarded",
    // Request modifiers: controls and conditions (RFC 9110 §10.1, §13.1, §14.2).
    "Expect",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
    "Range",
    // Authentication and cookies (RFC 9110 §11.6, §11.7; RFC 6265). Authentication-Info may be one (§11.6.3).
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Cookie",
    "Set-Cookie",
    // Control of the response (RFC 9110 §6.6.1, §10.2, §12.5.5; RFC 9111 §5).
    "Age",
    "Allow",
    "Cache-Control",
    "Clear-Site-Data",
    "Date",
    "Expires",
    "Location",
    "Pragma",
    "Retry-After",
    "Vary",
    // How to process the content (RFC 9110 §8, §14.4; RFC 6266). ETag (§8.8.3) and Accept-Ranges (§14.3) may be there.
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Location",
    "Content-Range",
    "Content-Type",
    // What a browser enforces while it reads the content.
    "Access-Control-Allow-Origin",
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
];

/// A field name was refused because it is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidFieldName;

impl fmt::Display for InvalidFieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name must be a token (RFC 9110 §5.1)")
    }
}

impl std::error::Error for InvalidFieldName {}

/// A field value was refused because it has a control character.
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
    fn names_are_compared_without_case_and_lines_keep_their_order() {
        let section = b"Host: a\r\nX: 1\r\nhost: b\r\n";
        let span = |name_start, name_len, value_start| FieldSpan { name_start, name_len, value_start, value_len: 1 };
        let spans = [span(0, 4, 6), span(9, 1, 12), span(15, 4, 21)];
        let fields = Fields::new(section, &spans);
        assert_eq!(fields.all("HOST").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(fields.first("x"), Some(&b"1"[..]));
        assert_eq!(fields.first("Hos"), None);
        assert_eq!(fields.iter().map(|(name, _)| name.len()).collect::<Vec<_>>(), [4, 1, 4]);
        assert_eq!((fields.len(), fields.is_empty(), Fields::default().is_empty()), (3, false, true));
    }

    #[test]
    fn list_members_are_trimmed_and_empty_ones_skipped() {
        let members: Vec<&[u8]> = list_members(b" a ,, b\tc ,\t, ").collect();
        assert_eq!(members, [&b"a"[..], b"b\tc"]);
        assert_eq!(list_members(b"").count(), 0);
    }

    #[test]
    fn a_comma_in_quotes_separates_nothing() {
        let members = |value: &'static str| -> Vec<&str> {
            quoted_list_members(value.as_bytes()).map(|member| std::str::from_utf8(member).unwrap()).collect()
        };
        assert_eq!(members(" a ,, b\tc ,\t, "), ["a", "b\tc"]);
        assert_eq!(members(r#"a; x="1, 2", b"#), [r#"a; x="1, 2""#, "b"]);
        assert_eq!(members(r#"a="\",", b\", c"#), [r#"a="\",""#, r#"b\", c"#]);
        assert_eq!(members(r#"a, "b, c"#), ["a", r#""b, c"#], "a quote that does not end");
        assert_eq!(members(",").len() + members("").len(), 0);
    }

    #[test]
    fn a_quoted_string_is_its_text_and_a_token_is_itself() {
        let text = |value: &'static str| token_or_quoted_string(value.as_bytes()).map(|text| text.into_owned());
        for (value, expected) in [("a-b", "a-b"), (r#""""#, ""), (r#""a, \"b\" \\""#, r#"a, "b" \"#), ("\"\t\"", "\t")]
        {
            assert_eq!(text(value).as_deref(), Some(expected.as_bytes()), "{value}");
        }
        for value in ["", "a b", "\"", r#""a"#, r#"a""#, r#""a"b""#, r#""a\""#, r#""\"#, "\"\0\""] {
            assert_eq!(text(value), None, "{value:?}");
        }
    }

    #[test]
    fn no_value_can_end_its_line() {
        for byte in 0..=u8::MAX {
            let allowed = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            assert_eq!(FieldValue::new(vec![b'a', byte, b'b']).is_ok(), allowed, "{byte:#04x}");
            // Whitespace around a value is dropped, but a line break is not whitespace.
            assert_eq!(FieldValue::new(vec![b' ', byte]).is_ok(), allowed, "{byte:#04x}");
        }
    }

    #[test]
    fn whitespace_around_a_value_is_not_part_of_it() {
        assert_eq!(FieldValue::new(" \ta b\t ").unwrap(), FieldValue::from_static("a b"));
        assert_eq!(FieldValue::new(" ").unwrap().as_bytes(), b"");
    }

    #[test]
    fn a_name_is_a_token() {
        assert_eq!(FieldName::new("ETag"), Ok(ETAG));
        for bad in ["", "a b", "a:", "a\r\n", "\u{fc}"] {
            assert_eq!(FieldName::new(bad), Err(InvalidFieldName), "{bad:?}");
        }
    }

    #[test]
    fn a_set_has_its_fields_as_pairs_and_as_lines() {
        let fields = [(ETAG, FieldValue::from_static("\"1\"")), (VARY, FieldValue::from_static(""))];
        let set = FieldSet::new(fields.iter().map(|(name, value)| (name, value)));
        assert_eq!(set.iter().collect::<Vec<_>>(), [(&b"ETag"[..], &b"\"1\""[..]), (b"Vary", b"")]);
        assert_eq!(set.as_lines(), b"ETag: \"1\"\r\nVary: \r\n");
        assert_eq!((set.is_empty(), &set.clone(), FieldSet::new(fields)), (false, &set, set.clone()));
        assert_eq!(size_of::<FieldSet>(), size_of::<usize>(), "a response with it is no larger than it must be");
    }

    #[test]
    fn a_set_of_parsed_fields_is_that_of_checked_ones() {
        let fields = [(ETAG, FieldValue::from_static("\"1\"")), (VARY, FieldValue::from_static(""))];
        let parsed = FieldSet::of_parsed([(&b"ETag"[..], &b"\"1\""[..]), (b"Vary", b"")].into_iter());
        assert_eq!(parsed, FieldSet::new(fields));
        assert_eq!(FieldSet::of_parsed([].into_iter()), FieldSet::EMPTY);
        let hashes: Vec<u32> = parsed.hashed().map(|(hash, ..)| hash).collect();
        assert_eq!(hashes, [field_hash(b"etag", b"\"1\""), field_hash(b"vary", b"")]);
    }

    #[test]
    fn an_empty_set_has_no_lines() {
        let set = FieldSet::new([(); 0].map(|()| (ETAG, FieldValue::from_static(""))));
        assert_eq!((set.iter().count(), set.as_lines(), set.is_empty()), (0, &b""[..], true));
        assert_eq!(set, FieldSet::EMPTY);
    }

    #[test]
    fn trailers_have_no_field_that_is_needed_before_the_content() {
        for name in ["content-length", "TRANSFER-ENCODING", "Host", "te", "Set-Cookie", "Cache-Control", "Content-Type"]
        {
            assert!(!is_allowed_in_trailers(name.as_bytes()), "{name}");
        }
        for name in ["Server-Timing", "Content-Digest", "grpc-status", "X-Checksum", "ETag"] {
            assert!(is_allowed_in_trailers(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn tokens_are_what_the_grammar_says() {
        let tchars = (0..=u8::MAX).filter(|byte| is_tchar(*byte)).count();
        assert_eq!(tchars, 15 + 10 + 26 + 26);
        assert!(b"()<>@,;:\\\"/[]?={} \t\x7f\x80".iter().all(|byte| !is_tchar(*byte)));
    }
}
