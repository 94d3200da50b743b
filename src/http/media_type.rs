//! Media types (RFC 9110 §8.3.1): which one a file's name stands for, and which of them are worth compressing.

use std::cmp::Ordering;
use std::fmt;

use super::fields::{FieldValue, is_tchar, trim_ows};

/// What is not known to be anything else: bytes.
pub const OCTET_STREAM: FieldValue = FieldValue::from_static("application/octet-stream");

/// Where our table differs from `mime_guess`: types that were registered since, and names that mean something else on
/// the web. In the order of the extensions.
static CORRECTIONS: [(&str, &str); 17] = [
    ("br", "application/octet-stream"),
    ("cjs", "text/javascript"),
    ("ico", "image/vnd.microsoft.icon"),
    ("jsonl", "application/jsonl"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("map", "application/json"),
    ("mjs", "text/javascript"),
    ("mts", "video/mp2t"),
    ("ndjson", "application/x-ndjson"),
    ("otf", "font/otf"),
    ("tgz", "application/gzip"),
    ("toml", "application/toml"),
    ("ts", "video/mp2t"),
    ("woff", "font/woff"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zst", "application/zstd"),
];

/// Text types that are asked for all the time, with their charset; others are put together when they are.
static COMMON_TEXT: [(&str, FieldValue); 6] = [
    ("text/html", FieldValue::from_static("text/html; charset=utf-8")),
    ("text/css", FieldValue::from_static("text/css; charset=utf-8")),
    ("text/javascript", FieldValue::from_static("text/javascript; charset=utf-8")),
    ("text/plain", FieldValue::from_static("text/plain; charset=utf-8")),
    ("text/markdown", FieldValue::from_static("text/markdown; charset=utf-8")),
    ("text/csv", FieldValue::from_static("text/csv; charset=utf-8")),
];

/// Finds the media type for a file by its name.
#[derive(Debug, Clone, Default)]
pub struct MediaTypes {
    /// The user's own, by lower-case extension, sorted.
    overrides: Vec<(String, FieldValue)>,
}

impl MediaTypes {
    /// The built-in table, with the types of a `mime.types` file's `text` taking precedence: lines of a type and the
    /// extensions it is for, without dots; `#` begins a comment. A later line takes an extension from an earlier one.
    pub fn with_overrides(text: &str) -> Result<MediaTypes, MimeTypesError> {
        let mut overrides = Vec::new();
        for (index, line) in text.lines().enumerate() {
            add_line(&mut overrides, line).map_err(|problem| MimeTypesError { line: index + 1, problem })?;
        }
        // The sort is stable: the last of the same extension stays the last, and the only one to be kept.
        overrides.reverse();
        overrides.sort_by(|(one, _), (other, _)| one.cmp(other));
        overrides.dedup_by(|(later, _), (kept, _)| later == kept);
        Ok(MediaTypes { overrides })
    }

    /// The `Content-Type` for a file of this name (without its folders): what its last extension, whatever its case,
    /// stands for. Allocates for an override and for rare kinds of text only.
    pub fn for_file_name(&self, name: &[u8]) -> FieldValue {
        let Some(extension) = extension(name) else { return OCTET_STREAM };
        self.overridden(extension).or_else(|| built_in(extension)).unwrap_or(OCTET_STREAM)
    }

    fn overridden(&self, extension: &[u8]) -> Option<FieldValue> {
        let found = self.overrides.binary_search_by(|(known, _)| compare(known, extension)).ok()?;
        Some(self.overrides[found].1.clone())
    }
}

/// What follows the last dot. The dot that hides a file begins no extension.
fn extension(name: &[u8]) -> Option<&[u8]> {
    let dot = memchr::memrchr(b'.', name).filter(|dot| *dot > 0)?;
    Some(&name[dot + 1..])
}

/// Compares a lower-case extension with one in any case.
fn compare(known: &str, extension: &[u8]) -> Ordering {
    known.bytes().cmp(extension.iter().map(u8::to_ascii_lowercase))
}

fn built_in(extension: &[u8]) -> Option<FieldValue> {
    let corrected = CORRECTIONS.binary_search_by(|(known, _)| compare(known, extension));
    let media_type = match corrected {
        Ok(at) => CORRECTIONS[at].1,
        Err(_) => mime_guess::from_ext(std::str::from_utf8(extension).ok()?).first_raw()?,
    };
    Some(with_charset(media_type))
}

/// Text is UTF-8 unless it says so itself: XML declares its encoding, and a parameter would overrule it (RFC 7303 §3),
/// so neither `text/xml` nor SVG get one. JSON is always UTF-8 and has no such parameter (RFC 8259 §11).
fn with_charset(media_type: &'static str) -> FieldValue {
    if !takes_charset(media_type) {
        return FieldValue::from_static(media_type);
    }
    let common = COMMON_TEXT.iter().find(|(known, _)| *known == media_type);
    common.map_or_else(|| utf8_text(media_type), |(_, value)| value.clone())
}

fn takes_charset(media_type: &str) -> bool {
    let is_text = media_type.starts_with("text/") || media_type == "application/javascript";
    is_text && media_type != "text/xml" && !media_type.ends_with("+xml") && !media_type.contains(';')
}

fn utf8_text(media_type: &str) -> FieldValue {
    FieldValue::new(format!("{media_type}; charset=utf-8")).expect("a media type has no control characters")
}

/// A line of a `mime.types` file that means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MimeTypesError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl fmt::Display for MimeTypesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for MimeTypesError {}

fn add_line(overrides: &mut Vec<(String, FieldValue)>, line: &str) -> Result<(), String> {
    let content = line.split('#').next().unwrap_or_default();
    let mut words = content.split_whitespace();
    let Some(media_type) = words.next() else { return Ok(()) };
    let value = media_type_value(media_type)?;
    for extension in words {
        overrides.push((checked_extension(extension)?, value.clone()));
    }
    Ok(())
}

fn media_type_value(text: &str) -> Result<FieldValue, String> {
    let text = text.to_ascii_lowercase();
    if !is_media_type(essence(text.as_bytes())) {
        return Err(format!("{text:?} is not a media type; write type/subtype, such as text/plain"));
    }
    if takes_charset(&text) {
        return Ok(utf8_text(&text));
    }
    FieldValue::new(text).map_err(|invalid| invalid.to_string())
}

fn is_media_type(essence: &[u8]) -> bool {
    let is_token = |part: &[u8]| !part.is_empty() && part.iter().copied().all(is_tchar);
    let mut parts = essence.split(|byte| *byte == b'/');
    parts.next().is_some_and(is_token) && parts.next().is_some_and(is_token) && parts.next().is_none()
}

fn checked_extension(text: &str) -> Result<String, String> {
    if text.contains(['.', '/', ';']) {
        return Err(format!("{text:?} is not an extension; write what follows the last dot of a name, such as html"));
    }
    Ok(text.to_ascii_lowercase())
}

/// A media type without its parameters.
fn essence(media_type: &[u8]) -> &[u8] {
    trim_ows(media_type.split(|byte| *byte == b';').next().unwrap_or_default())
}

/// Types that are worth compressing and that neither `text/` nor a suffix tells of.
static COMPRESSIBLE: [&str; 26] = [
    "application/ecmascript",
    "application/font-sfnt",
    "application/javascript",
    "application/json",
    "application/jsonl",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-font-ttf",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/x-sql",
    "application/x-yaml",
    "application/xml",
    "application/xml-dtd",
    "application/yaml",
    "font/collection",
    "font/otf",
    "font/sfnt",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
    "image/x-icon",
];

/// Whether content of this type usually gets smaller when it is compressed: text in all its forms, and what has no
/// compression inside.
pub fn is_compressible(content_type: &FieldValue) -> bool {
    let essence = essence(content_type.as_bytes());
    has_prefix(essence, "text/")
        || ["+json", "+xml", "+text", "+yaml"].iter().any(|suffix| has_suffix(essence, suffix))
        || COMPRESSIBLE.binary_search_by(|known| compare(known, essence)).is_ok()
}

fn has_prefix(bytes: &[u8], prefix: &str) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

fn has_suffix(bytes: &[u8], suffix: &str) -> bool {
    let start = bytes.len().checked_sub(suffix.len());
    start.is_some_and(|start| bytes[start..].eq_ignore_ascii_case(suffix.as_bytes()))
}
