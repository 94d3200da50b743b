//! How a request is decided, told to people: each service describes the values that it decides by.

use std::fmt;

use crate::http::fields::Fields;
use crate::http::upstream::OutgoingRequest;

/// The steps of a decision, in their order.
#[derive(Debug, Default)]
pub struct Explanation {
    /// What was asked, and what came of it.
    pub steps: Vec<Step>,
    /// What job threads have to do for it, if it is not hot.
    pub jobs: Vec<String>,
    /// What an upstream gets, if one is asked.
    pub outgoing: Option<OutgoingRequest>,
}

/// One step.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// What is decided.
    pub label: &'static str,
    /// How, and by which rule.
    pub text: String,
}

impl Explanation {
    /// Adds a step.
    pub fn note(&mut self, label: &'static str, text: impl fmt::Display) {
        self.steps.push(Step { label, text: text.to_string() });
    }

    /// Adds a step of several lines. Nothing if there are none.
    pub fn note_lines(&mut self, label: &'static str, lines: impl IntoIterator<Item = String>) {
        for (index, line) in lines.into_iter().enumerate() {
            self.note(if index == 0 { label } else { "" }, line);
        }
    }

    /// Adds what a job thread has to do.
    pub fn note_job(&mut self, what: impl fmt::Display) {
        self.jobs.push(what.to_string());
    }
}

/// What a request says about the codings that it accepts.
pub fn accepted_text(fields: Fields<'_>) -> String {
    let lines: Vec<String> = fields.all("accept-encoding").map(printable).collect();
    match lines.is_empty() {
        true => "no Accept-Encoding".into(),
        false => format!("Accept-Encoding: {}", lines.join(", ")),
    }
}

/// Bytes that a client or a file system chose, to be printed: control characters are escaped, and so is all that is no
/// text.
pub fn printable(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return bytes.escape_ascii().to_string() };
    text.chars().fold(String::with_capacity(text.len()), |mut printed, character| {
        match character.is_control() {
            true => printed.extend(character.escape_default()),
            false => printed.push(character),
        }
        printed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_text_and_nothing_else() {
        assert_eq!(printable("/a b\u{e9}".as_bytes()), "/a b\u{e9}");
        assert_eq!(printable(b"\x1b[31m\n"), "\\u{1b}[31m\\n");
        assert_eq!(printable(b"/\xff"), "/\\xff");
    }
}
