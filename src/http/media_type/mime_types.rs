//! Reading `mime.types` files: a line has a type and its extensions.

use std::fmt;

use super::{essence, takes_charset, utf8_text};
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

pub(super) fn add_line(overrides: &mut Vec<(String, FieldValue)>, line: &str) -> Result<(), String> {
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
    if text.contains(['.', '/', ';', '=']) {
        return Err(format!("{text:?} is not an extension; write what follows the last dot of a name, such as html"));
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use crate::http::media_type::MediaTypes;

    fn problem(text: &str) -> String {
        MediaTypes::with_overrides(text).expect_err("not a mime.types file").to_string()
    }

    #[test]
    fn an_error_names_its_line_and_what_would_be_right() {
        assert_eq!(
            problem("# a\ntext/plain a\ntextplain b\n"),
            "line 3: \"textplain\" is not a media type; write type/subtype, such as text/plain"
        );
        assert_eq!(
            problem("text/plain .txt"),
            "line 1: \".txt\" is not an extension; write what follows the last dot of a name, such as html"
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
            problem("text/plain;a=\u{1} a"),
            "line 1: a field value must not contain control characters (RFC 9110 §5.5)"
        );
    }
}
