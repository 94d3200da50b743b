//! Reading `mime.types` files: a line has a type and its extensions.

use std::fmt;

use super::{takes_charset, utf8_text};
use crate::http::fields::{FieldValue, is_tchar};

/// A line of a `mime.types` file that is invalid.
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

/// What a line says of one kind of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// Files with this extension, in lower case. There may be dots in it.
    Extension(String),
    /// The file with this path or whole name, with a slash in front.
    Name(String),
}

/// The entries of a `mime.types` file in the order of its lines.
pub(super) fn read(text: &str) -> Result<Vec<(Entry, FieldValue)>, MimeTypesError> {
    let mut entries = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        read_line(line, &mut entries).map_err(|problem| MimeTypesError { line: index + 1, problem })?;
    }
    Ok(entries)
}

fn read_line(line: &str, entries: &mut Vec<(Entry, FieldValue)>) -> Result<(), String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let (value, rest) = media_type(line)?;
    // A comment begins with a word: `#` may be part of a name.
    for word in rest.split_whitespace().take_while(|word| !word.starts_with('#')) {
        entries.push((entry(word)?, value.clone()));
    }
    Ok(())
}

/// A media type with its parameters, and nothing else: text without a charset gets UTF-8.
///
/// # Errors
/// If `text` is something else; what would be right.
pub fn parse_media_type(text: &str) -> Result<FieldValue, String> {
    match media_type(text.trim())? {
        (value, "") => Ok(value),
        (_, rest) => Err(format!("{:?} stands behind the media type", rest.trim_start())),
    }
}

/// The media type at the beginning of `text` (RFC 9110 §8.3.1), and what follows. Spaces may surround the semicolons.
fn media_type(text: &str) -> Result<(FieldValue, &str), String> {
    let (essence, mut rest) = split_at_first(text, |it| it.is_whitespace() || it == ';');
    if !is_media_type(essence) {
        return Err(format!("{essence:?} is not a media type; write type/subtype, such as text/plain"));
    }
    let mut value = essence.to_ascii_lowercase();
    while let Some(parameter) = rest.trim_start().strip_prefix(';') {
        let parameter = parameter.trim_start();
        let end = parameter_end(parameter).ok_or_else(|| {
            let (word, _) = split_at_first(parameter, char::is_whitespace);
            format!("{word:?} is not a parameter; write name=value, such as charset=utf-8")
        })?;
        value.push_str("; ");
        value.push_str(&parameter[..end]);
        rest = &parameter[end..];
    }
    if takes_charset(&value) {
        return Ok((utf8_text(&value), rest));
    }
    FieldValue::new(value).map(|value| (value, rest)).map_err(|invalid| invalid.to_string())
}

fn split_at_first(text: &str, is_end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(is_end).unwrap_or(text.len()))
}

fn is_media_type(essence: &str) -> bool {
    essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// Where the parameter at the beginning of `text` ends: a token or a quoted string follows its name (RFC 9110 §5.6.6).
fn parameter_end(text: &str) -> Option<usize> {
    let (name, value) = text.split_once('=').filter(|(name, _)| is_token(name))?;
    let length = match value.strip_prefix('"') {
        Some(quoted) => quoted_length(quoted)? + 1,
        None => value.bytes().position(|byte| !is_tchar(byte)).unwrap_or(value.len()),
    };
    (length > 0).then_some(name.len() + 1 + length)
}

/// The length of a quoted string behind its first quote, with the last one.
fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn entry(word: &str) -> Result<Entry, String> {
    if let Some(name) = word.strip_prefix('/') {
        let is_name = name.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
        return match is_name {
            true => Ok(Entry::Name(word.to_string())),
            false => Err(format!("{word:?} is not a name; write it with one slash in front, such as /LICENSE")),
        };
    }
    if word.starts_with('.') || word.contains(['/', ';', '=', '"']) {
        return Err(format!("{word:?} is not an extension; write what follows the dot of a name, such as html"));
    }
    Ok(Entry::Extension(word.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::parse_media_type;
    use crate::http::media_type::MediaTypes;

    fn problem(text: &str) -> String {
        MediaTypes::default().with_overrides(text).expect_err("not a mime.types file").to_string()
    }

    fn types(text: &str) -> MediaTypes {
        MediaTypes::default().with_overrides(text).unwrap()
    }

    fn of(types: &MediaTypes, path: &str) -> String {
        String::from_utf8(types.for_path(path.as_bytes()).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn each_kind_of_line_in_the_files_of_debian_alpine_and_apache_is_read() {
        // Lines as they stand there: types alone, tabs and runs of spaces, dots, capitals, a type twice, a comment that
        // names a type, and an extension twice.
        let text = "###\n#  MIME type\t\t\tExtensions\n\n# application/3gpp-ims+xml\napplication/activemessage\n\
                    application/A2L\t\t\t\t\ta2l\napplication/cwl+json\t\t\t\tcwl.json\n\
                    application/vnd.ieee.1905\t\t\t1905.1\napplication/x-font-pcf\t\tpcf pcf.Z\n\
                    application/vnd.lotus-1-2-3                     123 wk4\napplication/x-trash  ~ % bak\n\
                    application/x-trash old\ntext/x-c++src\tc++ cpp\nchemical/x-pdb\tpdb ent\napplication/vnd.palm\tpdb\n\
                    # video/vnd.vivo\t\tviv\nx-conference/x-cooltalk\t\t\tice";
        for text in [text.to_string(), text.replace('\n', "\r\n"), format!("\u{feff}{text}\n \t\n")] {
            let types = types(&text);
            for (path, expected) in [
                ("x.a2l", "application/a2l"),
                ("x.cwl.json", "application/cwl+json"),
                ("x.CWL.Json", "application/cwl+json"),
                ("x.json", "application/json"),
                ("x.1905.1", "application/vnd.ieee.1905"),
                ("x.pcf.z", "application/x-font-pcf"),
                ("x.123", "application/vnd.lotus-1-2-3"),
                ("x.%", "application/x-trash"),
                ("x.old", "application/x-trash"),
                ("x.c++", "text/x-c++src; charset=utf-8"),
                ("x.pdb", "application/vnd.palm"),
                ("x.ice", "x-conference/x-cooltalk"),
            ] {
                assert_eq!(of(&types, path), expected, "{path}");
            }
        }
    }

    #[test]
    fn the_file_of_this_system_is_read() {
        let Ok(text) = std::fs::read("/etc/mime.types") else {
            return eprintln!("skipped: there is no /etc/mime.types");
        };
        let types = types(&String::from_utf8_lossy(&text));
        assert_eq!(of(&types, "a.html"), "text/html; charset=utf-8");
        assert_eq!(of(&types, "a.png"), "image/png");
    }

    #[test]
    fn a_type_may_have_parameters() {
        let types = types(
            "text/html;charset=latin1 a\nTEXT/HTML ; charset=ISO-8859-1 b c # d\ntext/plain; format=flowed; charset=\"utf-8\" e\n\
             text/x;a=\"b \\\" ;c=d\" f\ntext/plain;format=flowed g\naudio/L16;rate=8000\th",
        );
        for (path, expected) in [
            ("x.a", "text/html; charset=latin1"),
            ("x.b", "text/html; charset=ISO-8859-1"),
            ("x.c", "text/html; charset=ISO-8859-1"),
            ("x.d", "text/plain; charset=utf-8"),
            ("x.e", "text/plain; format=flowed; charset=\"utf-8\""),
            ("x.f", "text/x; a=\"b \\\" ;c=d\""),
            ("x.g", "text/plain; format=flowed"),
            ("x.h", "audio/l16; rate=8000"),
        ] {
            assert_eq!(of(&types, path), expected, "{path}");
        }
    }

    #[test]
    fn a_slash_in_front_means_a_whole_name() {
        let types = types("application/x-one /LICENSE\ntext/html /docs/LICENSE a\napplication/x-two /LICENSE /b.css\n");
        for (path, expected) in [
            ("LICENSE", "application/x-two"),
            ("deep/LICENSE", "application/x-two"),
            ("docs/LICENSE", "application/x-two"),
            ("b.css", "application/x-two"),
            ("ab.css", "text/css; charset=utf-8"),
            ("license", "application/octet-stream"),
            ("LICENSE.a", "text/html; charset=utf-8"),
        ] {
            assert_eq!(of(&types, path), expected, "{path}");
        }
        let later = self::types("application/x-two /LICENSE\ntext/html /docs/LICENSE");
        assert_eq!(of(&later, "a/docs/LICENSE"), "text/html; charset=utf-8", "the later line");
        assert_eq!(of(&later, "adocs/LICENSE"), "application/x-two");
    }

    #[test]
    fn a_media_type_alone_is_nothing_else() {
        let parsed =
            |text: &str| parse_media_type(text).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        assert_eq!(parsed(" Text/Plain ").unwrap(), "text/plain; charset=utf-8");
        assert_eq!(parsed("text/plain; charset=latin1").unwrap(), "text/plain; charset=latin1");
        assert_eq!(parsed("application/x-own").unwrap(), "application/x-own");
        assert_eq!(parsed("text/plain log").unwrap_err(), "\"log\" stands behind the media type");
        for bad in ["", "text", "text/", "text/plain;", "text/plain;charset", "text/plain;a=", "text/plain;a=\"b"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_names_its_line_and_what_would_be_right() {
        assert_eq!(
            problem("# a\ntext/plain a\ntextplain b\n"),
            "line 3: \"textplain\" is not a media type; write type/subtype, such as text/plain"
        );
        assert_eq!(
            problem("text/plain .txt"),
            "line 1: \".txt\" is not an extension; write what follows the dot of a name, such as html"
        );
        for bad in [
            "types {",
            "text/ a",
            "/plain a",
            "text/plain/x a",
            "te\u{fc}t/plain a",
            "}",
            "text/html html;",
            "a/b\u{7f} a",
        ] {
            assert!(problem(bad).starts_with("line 1: "), "{bad}");
        }
        assert_eq!(
            problem("text/plain;a=\"\u{1}\" a"),
            "line 1: a field value must not contain control characters (RFC 9110 §5.5)"
        );
    }
}
