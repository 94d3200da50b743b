//! Files of users and tokens: a line each, comments behind `#`, empty lines between them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::regular_file;

/// The longest file, in bytes: it is kept in memory. A million users take some 80 MB.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A line that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    /// Which line, from 1; 0: the file as a whole.
    pub line: usize,
    /// What is wrong with it, and what would be right. It never repeats a secret.
    pub what: String,
}

/// A file that cannot be used.
#[derive(Debug)]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub fault: Fault,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub enum Fault {
    /// It could not be read.
    Io(io::Error),
    /// One of its lines is wrong.
    Line(LineError),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            Fault::Io(error) => write!(f, "cannot read {path}: {error}"),
            Fault::Line(LineError { line: 0, what }) => write!(f, "{path}: {what}"),
            Fault::Line(LineError { line, what }) => write!(f, "{path}:{line}: {what}"),
        }
    }
}

impl std::error::Error for FileError {}

/// What `parse` makes of the file. Blocks.
pub fn read<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, LineError>) -> Result<T, FileError> {
    let bytes = regular_file::read(path, FILE_BYTES_MAX).map_err(Fault::Io);
    let parsed = bytes.and_then(|bytes| parse(&bytes).map_err(Fault::Line));
    parsed.map_err(|fault| FileError { path: path.to_owned(), fault })
}

/// What some editors write in front of UTF-8 (RFC 3629 §6).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a file that say something, with their numbers, without the blanks around them.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = Result<(usize, &str), LineError>> {
    let numbered = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).split(|byte| *byte == b'\n').enumerate();
    numbered.filter_map(|(index, line)| {
        let number = index + 1;
        match std::str::from_utf8(line).map(str::trim) {
            Ok(line) if line.is_empty() || line.starts_with('#') => None,
            Ok(line) => Some(Ok((number, line))),
            Err(_) => Some(Err(LineError { line: number, what: "this is not UTF-8".into() })),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_ends_of_lines_and_a_byte_order_mark_say_nothing() {
        let said = |bytes: &'static [u8]| lines(bytes).collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(said(b"\xef\xbb\xbfa b \r\n\r\n\t# c\r\n \x0bd\xc2\xa0\n"), [(1, "a b"), (4, "d")]);
        assert_eq!(said(b"\xef\xbb\xbf# a\r\n\xef\xbb\xbf"), [(2, "\u{feff}")], "elsewhere it is no mark");
        assert_eq!(said(b"\xef\xbb\xbf"), []);
    }
}
