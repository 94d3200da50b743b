//! Field sections made in tests.

use super::fields::{FieldSpan, Fields};

/// The bytes of a section and where its lines lie, as a received head would have them.
#[derive(Debug, Default)]
pub struct Section {
    bytes: Vec<u8>,
    spans: Vec<FieldSpan>,
}

impl Section {
    /// A section of these lines.
    pub fn of<V: AsRef<[u8]>>(lines: &[(&str, V)]) -> Section {
        let mut section = Section::default();
        for (name, value) in lines {
            section.push(name, value.as_ref());
        }
        section
    }

    /// Its lines, as a head would have them.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(&self.bytes, &self.spans)
    }

    /// Adds a line.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let name_start = self.append(name.as_bytes());
        self.append(b": ");
        let value_start = self.append(value);
        self.append(b"\r\n");
        let (name_len, value_len) = (name.len() as u32, value.len() as u32);
        self.spans.push(FieldSpan { name_start, name_len, value_start, value_len });
    }

    fn append(&mut self, bytes: &[u8]) -> u32 {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        start
    }
}
