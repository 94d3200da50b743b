//! Media types (RFC 9110 §8.3.1): which one a file's name stands for, and which of them are worth compressing.

mod compressible;
mod mime_types;
mod names;
mod table;

use std::cmp::Ordering;

pub use self::compressible::is_compressible;
use self::mime_types::Entry;
pub use self::mime_types::{MimeTypesError, parse_media_type};
pub use self::names::coding_of_name;
use self::table::TABLE;
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
    extensions: Vec<(String, FieldValue)>,
    /// The user's own, by whole name with a slash in front. The last one that fits counts.
    names: Vec<(String, FieldValue)>,
    /// For files of unknown type.
    fallback: Option<FieldValue>,
}

impl MediaTypes {
    /// The same with the types in the `text` of a `mime.types` file, which take precedence. Each line has a type and its
    /// extensions without the dot in front; what begins with a slash is a whole name or the end of a path. `#` begins a
    /// comment. If several lines have the same extension, or a name that fits, the last one counts.
    ///
    /// # Errors
    /// The first line that is something else.
    pub fn with_overrides(self, text: &str) -> Result<MediaTypes, MimeTypesError> {
        let (mut extensions, mut names) = (Vec::new(), Vec::new());
        for (entry, value) in mime_types::read(text)? {
            match entry {
                Entry::Extension(extension) => extensions.push((extension, value)),
                Entry::Name(name) => names.push((name, value)),
            }
        }
        // The sort is stable, so that the last line of each extension comes first now, and is the one that is kept.
        extensions.reverse();
        extensions.sort_by(|(one, _), (other, _)| one.cmp(other));
        extensions.dedup_by(|(later, _), (kept, _)| later == kept);
        Ok(MediaTypes { extensions, names, ..self })
    }

    /// The same with this type for files of unknown type, which is otherwise [`OCTET_STREAM`].
    pub fn with_default(self, media_type: FieldValue) -> MediaTypes {
        MediaTypes { fallback: Some(media_type), ..self }
    }

    /// The `Content-Type` for the file at `path`, relative to the root. Its name decides, or the longest extension that
    /// is known, in any case. Allocates only for overrides and rare text types.
    pub fn for_path(&self, path: &[u8]) -> FieldValue {
        self.known_for_path(path).unwrap_or_else(|| self.fallback.clone().unwrap_or(OCTET_STREAM))
    }

    /// The same, but `None` if the name says nothing.
    pub fn known_for_path(&self, path: &[u8]) -> Option<FieldValue> {
        let name = last_segment(path);
        self.overridden(path, name)
            .or_else(|| names::built_in(path).or_else(|| extensions(name).find_map(built_in)).map(with_charset))
    }

    fn overridden(&self, path: &[u8], name: &[u8]) -> Option<FieldValue> {
        let named = || self.names.iter().rev().find(|(known, _)| names::is_path_end(known, path));
        let extended = |extension| {
            let found = self.extensions.binary_search_by(|(known, _)| compare(known, extension)).ok()?;
            Some(&self.extensions[found])
        };
        let (_, value) = named().or_else(|| extensions(name).find_map(extended))?;
        Some(value.clone())
    }
}

fn last_segment(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// What follows each of the dots, from the first to the last: the extensions that a name may have. A dot at the beginning
/// of a name hides the file and does not begin an extension.
fn extensions(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let dots = memchr::memchr_iter(b'.', name).filter(|dot| *dot > 0);
    dots.map(|dot| &name[dot + 1..])
}

/// Compares a lower-case extension with one in any case.
fn compare(known: &str, extension: &[u8]) -> Ordering {
    known.bytes().cmp(extension.iter().map(u8::to_ascii_lowercase))
}

fn built_in(extension: &[u8]) -> Option<&'static str> {
    let found = TABLE.binary_search_by(|(known, _)| compare(known, extension)).ok()?;
    Some(TABLE[found].1)
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

    fn type_of(path: &str) -> String {
        of(&MediaTypes::default(), path)
    }

    fn of(types: &MediaTypes, path: &str) -> String {
        String::from_utf8(types.for_path(path.as_bytes()).as_bytes().to_vec()).unwrap()
    }

    fn overridden(text: &str) -> MediaTypes {
        MediaTypes::default().with_overrides(text).unwrap()
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
            ("a.rpm", "application/x-redhat-package-manager"),
            ("a.deb", "application/vnd.debian.binary-package"),
            ("a.stl", "model/stl"),
            ("a.obj", "model/obj"),
            ("a.usdz", "model/vnd.usdz+zip"),
            ("a.ktx2", "image/ktx2"),
            ("a.m4s", "video/iso.segment"),
            ("a.tsx", "text/tsx; charset=utf-8"),
            ("a.diff", "text/plain; charset=utf-8"),
            ("a.py", "text/plain; charset=utf-8"),
            ("a.flac", "audio/flac"),
            ("a.svgz", "image/svg+xml"),
            ("a.vcf", "text/vcard; charset=utf-8"),
            ("a.sarif.json", "application/sarif+json"),
            ("a.b.json", "application/json"),
        ];
        for (name, expected) in types {
            assert_eq!(type_of(name), expected, "{name}");
            assert_eq!(type_of(&name.to_uppercase()), expected, "{name}");
        }
    }

    #[test]
    fn what_has_no_known_extension_is_bytes() {
        let names =
            ["", ".", "..", "NOTES", ".html", ".bashrc", "a.", "a.html.", "html", "a.nosuch", "a.html~", "a. html"];
        for name in names {
            assert_eq!(type_of(name), "application/octet-stream", "{name}");
        }
        assert_eq!(type_of(".hidden.html"), "text/html; charset=utf-8");
        assert_eq!(MediaTypes::default().for_path(b"a.\xff\xfe"), OCTET_STREAM);
        assert_eq!(MediaTypes::default().for_path(b"\xff.css").as_bytes(), b"text/css; charset=utf-8");
        assert_eq!(type_of("a.css/b"), "application/octet-stream", "the extension of a folder");
    }

    #[test]
    fn the_default_type_is_for_what_is_not_known() {
        let types = overridden("application/x-own own").with_default(parse_media_type("text/plain").unwrap());
        for name in ["", "a", "a.nosuch", ".html", "a.exe"] {
            assert_eq!(of(&types, name), "text/plain; charset=utf-8", "{name}");
        }
        assert_eq!(of(&types, "a.own"), "application/x-own");
        assert_eq!(of(&types, "a.png"), "image/png");
        assert_eq!(of(&types, "apple-app-site-association"), "application/json");
        let types = overridden("application/octet-stream html").with_default(TEXT);
        assert_eq!(of(&types, "a.html"), "application/octet-stream", "what the user says is known");
    }

    #[test]
    fn of_several_extensions_the_longest_known_one_counts() {
        let types = overridden("a/one json\na/two tar.gz\na/three b.c.d");
        for (name, expected) in [
            ("x.json", "a/one"),
            ("x.sarif.json", "a/one"),
            ("x.tar.gz", "a/two"),
            ("x.gz", "application/gzip"),
            (".tar.gz", "application/gzip"),
            ("x..tar.gz", "a/two"),
            ("x.b.c.d", "a/three"),
            ("x.c.d", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(of(&types, name), expected, "{name}");
        }
    }

    #[test]
    fn the_users_types_come_first() {
        let text = "# comment\n\ntext/x-log LOG out # and more\r\napplication/x-own\tCSS\nvideo/mp4\n\
                    application/x-a out\napplication/x-name /apple-app-site-association\n";
        let types = overridden(text);
        assert_eq!(of(&types, "a.log"), "text/x-log; charset=utf-8");
        assert_eq!(of(&types, "a.Out"), "application/x-a", "the later line");
        assert_eq!(of(&types, "a.css"), "application/x-own");
        assert_eq!(of(&types, "a.html"), "text/html; charset=utf-8");
        assert_eq!(of(&types, "apple-app-site-association"), "application/x-name");
        assert_eq!(of(&overridden(""), "a.png"), "image/png");
    }

    #[test]
    fn the_tables_are_in_order() {
        assert!(TABLE.is_sorted_by(|(one, _), (other, _)| one < other));
        for (extension, media_type) in TABLE {
            assert_eq!(extension.to_ascii_lowercase(), extension);
            let value = parse_media_type(media_type).unwrap();
            assert_eq!(with_charset(media_type), value, "{extension}");
        }
        for (media_type, value) in &COMMON_TEXT {
            assert_eq!(*value, utf8_text(media_type));
        }
    }

    proptest! {
        #[test]
        fn overrides_are_a_map(lines in prop::collection::vec(("[ab]/[cd]", prop::collection::vec("[xyXY]{1,2}", 0..4)), 0..8)) {
            let text: String = lines.iter().map(|(kind, extensions)| format!("{kind} {}\n", extensions.join("  "))).collect();
            let types = overridden(&text);
            for extension in ["x", "y", "xx", "xy", "yx", "yy", "Xy"] {
                let names = |it: &&(String, Vec<String>)| it.1.iter().any(|other| other.eq_ignore_ascii_case(extension));
                let last = lines.iter().rev().find(names).map(|(kind, _)| kind.as_bytes().to_vec());
                let found = types.overridden(b"", format!("a.{extension}").as_bytes()).map(|value| value.as_bytes().to_vec());
                prop_assert_eq!(found, last);
            }
        }

        #[test]
        fn every_name_has_a_type(name: Vec<u8>, extension in "\\.[a-z0-9]{1,4}") {
            let types = MediaTypes::default();
            prop_assert!(types.for_path(&name).as_bytes().contains(&b'/'));
            prop_assert!(types.for_path(extension.as_bytes()) == OCTET_STREAM, "a dot file");
        }
    }
}
