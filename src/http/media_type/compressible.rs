//! Which media types are worth compressing.

use super::{compare, essence};
use crate::http::fields::FieldValue;

/// Types that are worth compressing, without those that begin with `text/` or have a suffix such as `+json`.
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

/// Whether content of this type usually gets smaller when it is compressed: all text, and formats that are not
/// compressed themselves.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::media_type::MediaTypes;

    #[test]
    fn text_is_compressible_and_pictures_are_not() {
        let names = [
            ("a.html", true),
            ("a.css", true),
            ("a.js", true),
            ("a.json", true),
            ("a.svg", true),
            ("a.xml", true),
            ("a.wasm", true),
            ("a.ttf", true),
            ("a.otf", true),
            ("a.webmanifest", true),
            ("a.md", true),
            ("a.ico", true),
            ("a.yaml", true),
            ("a.rss", true),
            ("a.geojson", true),
            ("a.eot", true),
            ("a.map", true),
            ("a.bmp", true),
            ("a.png", false),
            ("a.jpg", false),
            ("a.mp4", false),
            ("a.woff", false),
            ("a.woff2", false),
            ("a.gz", false),
            ("a.zip", false),
            ("a.br", false),
            ("a.zst", false),
            ("a.pdf", false),
            ("a", false),
            ("a.webp", false),
        ];
        for (name, expected) in names {
            assert_eq!(is_compressible(&MediaTypes::default().for_file_name(name.as_bytes())), expected, "{name}");
        }
        for text in
            ["Text/HTML", "application/JSON ; x=y", "application/vnd.x+JSON", "text/event-stream", "image/SVG+xml"]
        {
            assert!(is_compressible(&FieldValue::from_static(text)), "{text}");
        }
        for text in ["", "text", "application/json5000", "+jso", "image/png;x=text/html", "application/x+zip"] {
            assert!(!is_compressible(&FieldValue::from_static(text)), "{text}");
        }
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(COMPRESSIBLE.is_sorted_by(|one, other| one < other));
    }
}
