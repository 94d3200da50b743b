//! Media types (RFC 9110 §8.3.1): which one a file's name stands for, and which of them are worth compressing.

mod compressible;
mod mime_types;

use std::cmp::Ordering;

pub use self::compressible::is_compressible;
pub use self::mime_types::MimeTypesError;
use self::mime_types::add_line;
use super::fields::{FieldValue, trim_ows};

/// `text/html` in UTF-8
pub const HTML: FieldValue = FieldValue::from_static("text/html; charset=utf-8");
/// `text/plain`
pub const TEXT: FieldValue = FieldValue::from_static("text/plain");
/// `text/plain` in UTF-8
pub const TEXT_UTF8: FieldValue = FieldValue::from_static("text/plain; charset=utf-8");
/// `application/json`
pub const JSON: FieldValue = FieldValue::from_static("application/json");
/// `application/octet-stream`, for files of unknown type
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

/// Frequent text types with their charset. The values of others are made when they are needed.
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
    /// The built-in table, and the types in the `text` of a `mime.types` file, which take precedence. Each line has a
    /// type and its extensions without dots; `#` begins a comment. If several lines have an extension, the last one
    /// counts.
    pub fn with_overrides(text: &str) -> Result<MediaTypes, MimeTypesError> {
        let mut overrides = Vec::new();
        for (index, line) in text.lines().enumerate() {
            add_line(&mut overrides, line).map_err(|problem| MimeTypesError { line: index + 1, problem })?;
        }
        // The sort is stable, so that the last line of each extension comes first now, and is the one that is kept.
        overrides.reverse();
        overrides.sort_by(|(one, _), (other, _)| one.cmp(other));
        overrides.dedup_by(|(later, _), (kept, _)| later == kept);
        Ok(MediaTypes { overrides })
    }

    /// The `Content-Type` for a file of this name, without its directories. The last extension decides, in any case.
    /// Allocates only for overrides and rare text types.
    pub fn for_file_name(&self, name: &[u8]) -> FieldValue {
        let Some(extension) = extension(name) else { return OCTET_STREAM };
        self.overridden(extension).or_else(|| built_in(extension)).unwrap_or(OCTET_STREAM)
    }

    fn overridden(&self, extension: &[u8]) -> Option<FieldValue> {
        let found = self.overrides.binary_search_by(|(known, _)| compare(known, extension)).ok()?;
        Some(self.overrides[found].1.clone())
    }
}

/// What follows the last dot. A dot at the beginning of a name hides the file and does not begin an extension.
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

/// A media type without its parameters.
fn essence(media_type: &[u8]) -> &[u8] {
    trim_ows(media_type.split(|byte| *byte == b';').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn type_of(name: &str) -> String {
        of(&MediaTypes::default(), name)
    }

    fn of(types: &MediaTypes, name: &str) -> String {
        String::from_utf8(types.for_file_name(name.as_bytes()).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_web_has_its_types() {
        let types = [
            ("index.html", "text/html; charset=utf-8"),
            ("style.css", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("app.js.map", "application/json"),
            ("app.json", "application/json"),
            ("app.webmanifest", "application/manifest+json"),
            ("app.wasm", "application/wasm"),
            ("logo.svg", "image/svg+xml"),
            ("feed.xml", "text/xml"),
            ("feed.rss", "application/rss+xml"),
            ("page.xhtml", "application/xhtml+xml"),
            ("photo.jpg", "image/jpeg"),
            ("photo.png", "image/png"),
            ("photo.webp", "image/webp"),
            ("photo.avif", "image/avif"),
            ("favicon.ico", "image/vnd.microsoft.icon"),
            ("film.mp4", "video/mp4"),
            ("film.ts", "video/mp2t"),
            ("film.m3u8", "application/vnd.apple.mpegurl"),
            ("film.vtt", "text/vtt; charset=utf-8"),
            ("font.woff", "font/woff"),
            ("font.woff2", "font/woff2"),
            ("font.otf", "font/otf"),
            ("font.ttf", "font/ttf"),
            ("notes.txt", "text/plain; charset=utf-8"),
            ("notes.md", "text/markdown; charset=utf-8"),
            ("table.csv", "text/csv; charset=utf-8"),
            ("table.ics", "text/calendar; charset=utf-8"),
            ("book.pdf", "application/pdf"),
            ("a.tar.gz", "application/gzip"),
            ("a.tgz", "application/gzip"),
            ("a.zip", "application/zip"),
            ("a.zst", "application/zstd"),
            ("a.yaml", "application/yaml"),
        ];
        for (name, expected) in types {
            assert_eq!(type_of(name), expected, "{name}");
            assert_eq!(type_of(&name.to_uppercase()), expected, "{name}");
        }
    }

    #[test]
    fn what_has_no_known_extension_is_bytes() {
        let names =
            ["", ".", "..", "README", ".html", ".bashrc", "a.", "a.html.", "html", "a.nosuch", "a.html~", "a. html"];
        for name in names {
            assert_eq!(type_of(name), "application/octet-stream", "{name}");
        }
        assert_eq!(type_of(".hidden.html"), "text/html; charset=utf-8");
        assert_eq!(MediaTypes::default().for_file_name(b"a.\xff\xfe"), OCTET_STREAM);
        assert_eq!(MediaTypes::default().for_file_name(b"\xff.css").as_bytes(), b"text/css; charset=utf-8");
    }

    #[test]
    fn the_users_types_come_first() {
        let text = "# comment\n\ntext/x-log LOG out # and more\r\napplication/x-own\tCSS\nvideo/mp4\nTEXT/HTML;charset=latin1 htm\n\
                    application/x-a out\n";
        let types = MediaTypes::with_overrides(text).unwrap();
        assert_eq!(of(&types, "a.log"), "text/x-log; charset=utf-8");
        assert_eq!(of(&types, "a.Out"), "application/x-a", "the later line");
        assert_eq!(of(&types, "a.css"), "application/x-own");
        assert_eq!(of(&types, "a.htm"), "text/html;charset=latin1");
        assert_eq!(of(&types, "a.html"), "text/html; charset=utf-8");
        assert_eq!(of(&MediaTypes::with_overrides("").unwrap(), "a.png"), "image/png");
    }

    #[test]
    fn the_tables_are_in_order() {
        assert!(CORRECTIONS.is_sorted_by(|(one, _), (other, _)| one < other));
        for (media_type, value) in &COMMON_TEXT {
            assert_eq!(*value, utf8_text(media_type));
        }
        for (extension, corrected) in CORRECTIONS {
            let table = mime_guess::from_ext(extension).first_raw();
            assert_ne!(table, Some(corrected), "{extension} needs no correction");
        }
    }

    proptest! {
        #[test]
        fn overrides_are_a_map(lines in prop::collection::vec(("[ab]/[cd]", prop::collection::vec("[xyXY]{1,2}", 0..4)), 0..8)) {
            let text: String = lines.iter().map(|(kind, extensions)| format!("{kind} {}\n", extensions.join("  "))).collect();
            let types = MediaTypes::with_overrides(&text).unwrap();
            for extension in ["x", "y", "xx", "xy", "yx", "yy", "Xy"] {
                let names = |it: &&(String, Vec<String>)| it.1.iter().any(|other| other.eq_ignore_ascii_case(extension));
                let last = lines.iter().rev().find(names).map(|(kind, _)| kind.as_bytes().to_vec());
                let found = types.overridden(extension.as_bytes()).map(|value| value.as_bytes().to_vec());
                prop_assert_eq!(found, last);
            }
        }

        #[test]
        fn every_name_has_a_type(name: Vec<u8>, extension in "\\.[a-z0-9]{1,4}") {
            let types = MediaTypes::default();
            prop_assert!(types.for_file_name(&name).as_bytes().contains(&b'/'));
            prop_assert!(types.for_file_name(extension.as_bytes()) == OCTET_STREAM, "a dot file");
        }
    }
}
