//! Writing small JSON objects, and checking JSON that came from outside without building anything from it.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON object being written, its members in the order they are given.
#[derive(Debug)]
pub struct Object(String);

impl Object {
    /// An object without members.
    pub fn new() -> Object {
        Object(String::from("{"))
    }

    /// One more member: a string.
    pub fn text(mut self, name: &str, value: &str) -> Object {
        self.name(name);
        quote(&mut self.0, value);
        self
    }

    /// One more member, if there is a value: a string.
    pub fn optional_text(self, name: &str, value: Option<&str>) -> Object {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// One more member: a number.
    pub fn number(self, name: &str, value: u64) -> Object {
        self.raw(name, value)
    }

    /// One more member whose value is written as it is: it must be JSON already.
    pub fn raw(mut self, name: &str, json: impl Display) -> Object {
        self.name(name);
        append(&mut self.0, json);
        self
    }

    /// The object as text.
    pub fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        quote(&mut self.0, name);
        self.0.push(':');
    }
}

impl Default for Object {
    fn default() -> Object {
        Object::new()
    }
}

/// A duration as a number: milliseconds, with microseconds behind the point.
#[derive(Debug, Clone, Copy)]
pub struct Millis(pub Duration);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

/// Objects as an array.
pub fn array(objects: impl Iterator<Item = String>) -> String {
    format!("[{}]", objects.collect::<Vec<_>>().join(","))
}

/// Appends `text` as a JSON string.
pub fn quote(json: &mut String, text: &str) {
    append(json, serde_json::Value::from(text));
}

/// Appends bytes that came from outside as a JSON string, without allocating. What is not UTF-8 becomes U+FFFD. What would
/// end a line or turn its direction is escaped, like all control characters, although JSON would allow it: the text is safe
/// to show on a terminal, and to split into lines.
pub fn quote_bytes(json: &mut Vec<u8>, text: &[u8]) {
    json.push(b'"');
    for chunk in text.utf8_chunks() {
        chunk.valid().chars().for_each(|character| quote_char(json, character));
        if !chunk.invalid().is_empty() {
            quote_char(json, char::REPLACEMENT_CHARACTER);
        }
    }
    json.push(b'"');
}

fn quote_char(json: &mut Vec<u8>, character: char) {
    match character {
        '"' | '\\' => json.extend_from_slice(&[b'\\', character as u8]),
        _ if character.is_control() || is_misleading(character) => {
            // All of them lie below U+10000.
            std::io::Write::write_fmt(json, format_args!("\\u{:04x}", u32::from(character)))
                .expect("writing to a Vec cannot fail");
        }
        _ => json.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Line and paragraph separators, and what changes the direction of writing (UAX #9).
fn is_misleading(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn append(text: &mut String, value: impl Display) {
    write!(text, "{value}").expect("writing to a String cannot fail");
}

/// What kind of JSON value a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// Anything else.
    Other,
}

/// Why and where a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong.
    pub detail: String,
    /// Line, from 1.
    pub line: u64,
    /// Byte within the line, from 1; 0 for the end of the line before.
    pub column: u64,
}

/// Checks that `text` is one JSON value (RFC 8259) in UTF-8, nested less than 128 deep, and says of which kind. No tree
/// is built: a tree can be a hundred times as large as the text.
pub fn check(text: &[u8]) -> Result<Kind, Invalid> {
    serde_json::from_slice::<Kind>(text).map_err(|error| {
        let message = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let detail = message.strip_suffix(&place).unwrap_or(&message).to_owned();
        Invalid { detail, line: error.line() as u64, column: error.column() as u64 }
    })
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

/// Looks at every part of a value and keeps nothing. Unlike `serde::de::IgnoredAny` it goes through the parser that
/// bounds the depth and checks strings and numbers.
struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Kind, A::Error> {
        while elements.next_element::<Kind>()?.is_some() {}
        Ok(Kind::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Kind, A::Error> {
        while members.next_entry::<Kind, Kind>()?.is_some() {}
        Ok(Kind::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_or_turns_a_line_is_escaped() {
        let mut json = Vec::new();
        quote_bytes(&mut json, "a\u{2028}b\u{202e}c\u{85}d\u{7f}é".as_bytes());
        assert_eq!(String::from_utf8(json).unwrap(), r#""a\u2028b\u202ec\u0085d\u007fé""#);
    }
}
