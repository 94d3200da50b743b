//! Which media types are worth compressing.

use super::{compare, essence};

/// Suffixes of types that are text (RFC 6839, RFC 8091, RFC 9512 §2.2).
const SUFFIXES: [&str; 5] = ["+json", "+json-seq", "+text", "+xml", "+yaml"];

/// Types that are worth compressing, without those that begin with `text/` or `chemical/`, or have one of the suffixes.
static COMPRESSIBLE: [&str; 77] = [
    "application/dart",
    "application/ecmascript",
    "application/fits",
    "application/font-sfnt",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/json-seq",
    "application/json5",
    "application/jsonl",
    "application/mathematica",
    "application/mbox",
    "application/n-quads",
    "application/n-triples",
    "application/node",
    "application/postscript",
    "application/rtf",
    "application/sparql-query",
    "application/sparql-update",
    "application/sql",
    "application/toml",
    "application/trig",
    "application/vnd.dart",
    "application/vnd.ms-fontobject",
    "application/vnd.sqlite3",
    "application/wasm",
    "application/x-cpio",
    "application/x-csh",
    "application/x-font-pcf",
    "application/x-font-ttf",
    "application/x-httpd-php",
    "application/x-javascript",
    "application/x-latex",
    "application/x-ndjson",
    "application/x-ns-proxy-autoconfig",
    "application/x-perl",
    "application/x-plist",
    "application/x-sh",
    "application/x-sql",
    "application/x-subrip",
    "application/x-tar",
    "application/x-tcl",
    "application/x-tex",
    "application/x-texinfo",
    "application/x-virtualbox-vbox",
    "application/x-yaml",
    "application/xml",
    "application/xml-dtd",
    "application/xml-external-parsed-entity",
    "application/yaml",
    "font/collection",
    "font/otf",
    "font/sfnt",
    "font/ttf",
    "image/bmp",
    "image/vnd.adobe.photoshop",
    "image/vnd.dxf",
    "image/vnd.microsoft.icon",
    "image/vnd.ms-dds",
    "image/x-icon",
    "image/x-ms-bmp",
    "image/x-portable-anymap",
    "image/x-portable-bitmap",
    "image/x-portable-graymap",
    "image/x-portable-pixmap",
    "image/x-xbitmap",
    "image/x-xpixmap",
    "message/rfc822",
    "model/gltf-binary",
    "model/iges",
    "model/mtl",
    "model/obj",
    "model/step",
    "model/stl",
    "model/vnd.usda",
    "model/vrml",
    "model/x3d-vrml",
];

/// Whether content of this type usually gets smaller when it is compressed: all text, and formats that are not
/// compressed themselves.
pub fn is_compressible(content_type: &[u8]) -> bool {
    let essence = essence(content_type);
    has_prefix(essence, "text/")
        || has_prefix(essence, "chemical/")
        || SUFFIXES.iter().any(|suffix| has_suffix(essence, suffix))
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
            ("a.obj", true),
            ("a.step", true),
            ("a.ndjson", true),
            ("a.tar", true),
            ("a.srt", true),
            ("a.nt", true),
            ("a.pdb", false),
            ("a.mol", true),
            ("a.tgz", false),
            ("a.tar.gz", false),
            ("a.usdz", false),
            ("a.xz", false),
            ("a.7z", false),
            ("a.docx", false),
            ("a.epub", false),
            ("a.jar", false),
            ("a.apk", false),
            ("a.deb", false),
            ("a.rpm", false),
            ("a.pkg", false),
            ("a.avif", false),
            ("a.heic", false),
            ("a.jxl", false),
            ("a.mp3", false),
            ("a.webm", false),
            ("a.m4s", false),
            ("a.ts", false),
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
            assert_eq!(is_compressible(MediaTypes::default().for_path(name.as_bytes()).as_bytes()), expected, "{name}");
        }
        for text in
            ["Text/HTML", "application/JSON ; x=y", "application/vnd.x+JSON", "text/event-stream", "image/SVG+xml"]
        {
            assert!(is_compressible(text.as_bytes()), "{text}");
        }
        for text in ["", "text", "application/json5000", "+jso", "image/png;x=text/html", "application/x+zip"] {
            assert!(!is_compressible(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(COMPRESSIBLE.is_sorted_by(|one, other| one < other));
    }
}
