//! What happened in a world, for people.

use std::fmt::{self, Write as _};
use std::time::Duration;

/// A record of a world's life. Off unless somebody wants to read it: worlds are replayed from their seed for that.
#[derive(Debug, Default)]
pub struct Timeline {
    entries: Option<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    who: Option<usize>,
    what: String,
}

impl Timeline {
    /// A timeline that records, or one that does not.
    pub fn new(record: bool) -> Timeline {
        Timeline { entries: record.then(Vec::new) }
    }

    /// Records that `what` happened `at` this time, on connection `who`.
    pub fn note(&mut self, at: Duration, who: Option<usize>, what: impl FnOnce() -> String) {
        if let Some(entries) = &mut self.entries {
            entries.push(Entry { at, who, what: what() });
        }
    }

    /// The last `n` entries, a line each.
    pub fn tail(&self, n: usize) -> String {
        let entries = self.entries.as_deref().unwrap_or_default();
        let mut text = String::new();
        for entry in &entries[entries.len().saturating_sub(n)..] {
            writeln!(text, "{entry}").expect("a string takes everything");
        }
        text
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12.6} s ", self.at.as_secs_f64())?;
        match self.who {
            Some(who) => write!(f, "#{who:<3}")?,
            None => f.write_str("loop")?,
        }
        write!(f, " {}", self.what)
    }
}

/// The beginning of `bytes`, printable.
pub fn excerpt(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(48)];
    format!("\"{}\"{}", shown.escape_ascii(), if shown.len() < bytes.len() { "..." } else { "" })
}
