//! Cases in Markdown: a title, prose that names the rule, and blocks. Both corpora are read with this.

use std::fs;
use std::path::{Path, PathBuf};

/// One case, as text.
pub struct Section {
    /// file:line
    pub place: String,
    /// The title and everything up to the next one.
    lines: Vec<String>,
}

impl Section {
    pub fn title(&self) -> &str {
        self.lines[0].trim_start_matches("## ")
    }

    pub fn prose(&self) -> String {
        self.lines[1..].iter().take_while(|line| !line.starts_with("```")).map(String::as_str).collect()
    }

    /// The lines of the block of this kind.
    pub fn block(&self, kind: &str) -> Option<&[String]> {
        let start = self.lines.iter().position(|line| line.strip_prefix("```") == Some(kind))? + 1;
        let len = self.lines[start..].iter().position(|line| *line == "```")?;
        Some(&self.lines[start..start + len])
    }
}

/// All cases in a folder of `tests/corpus`.
pub fn sections(folder: &str) -> Vec<Section> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let entries = fs::read_dir(&folder).expect("the corpus");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "md") && !path.ends_with("README.md"));
    files.sort();
    files.iter().flat_map(|path| read_file(path)).collect()
}

fn read_file(path: &Path) -> Vec<Section> {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let text = fs::read_to_string(path).expect("UTF-8");
    let lines: Vec<String> = text.lines().map(str::to_string).collect();
    // Within a block a line that starts so would be part of a request, which never looks so.
    let mut starts: Vec<usize> = (0..lines.len()).filter(|index| lines[*index].starts_with("## ")).collect();
    starts.push(lines.len());
    let section = |range: &[usize]| Section {
        place: format!("{name}:{}", range[0] + 1),
        lines: lines[range[0]..range[1]].to_vec(),
    };
    starts.windows(2).map(section).collect()
}

/// The bytes of a line of input: CRLF at its end goes without saying, a single backslash says there is none.
#[allow(dead_code, reason = "not each test has input in lines")]
pub fn input_line(place: &str, line: &str) -> Vec<u8> {
    let backslashes = line.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if backslashes % 2 == 1 {
        return unescaped(place, &line[..line.len() - 1]);
    }
    [&unescaped(place, line)[..], b"\r\n"].concat()
}

/// Bytes of a text with backslashes.
pub fn unescaped(place: &str, line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let (escaped, len) = escape(rest).unwrap_or_else(|| panic!("{place}: escape in {line:?}"));
        bytes.extend(escaped);
        rest = &rest[len..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// What stands behind a backslash: the bytes it means, and its own length.
fn escape(text: &str) -> Option<(Vec<u8>, usize)> {
    match text.as_bytes().first()? {
        b'r' => Some((vec![b'\r'], 1)),
        b'n' => Some((vec![b'\n'], 1)),
        b't' => Some((vec![b'\t'], 1)),
        b's' => Some((vec![b' '], 1)),
        b'\\' => Some((vec![b'\\'], 1)),
        b'x' => Some((vec![u8::from_str_radix(text.get(1..3)?, 16).ok()?], 3)),
        b'{' => {
            let end = text.find('}')?;
            let (repeated, times) = text[1..end].rsplit_once('*')?;
            Some((unescaped("a repetition", repeated).repeat(times.parse().ok()?), end + 1))
        }
        _ => None,
    }
}

/// As it would stand in a file of the corpus, long runs of one character shortened.
pub fn escaped(bytes: &[u8]) -> String {
    let chunks = bytes.utf8_chunks();
    chunks.map(|chunk| escaped_text(chunk.valid()) + &chunk.invalid().escape_ascii().to_string()).collect()
}

fn escaped_text(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let runs = chars.chunk_by(|one, other| one == other);
    runs.map(|run| match (run.len(), escaped_char(run[0])) {
        (0..32, char) => char.repeat(run.len()),
        (times, char) => format!("\\{{{char}*{times}}}"),
    })
    .collect()
}

fn escaped_char(char: char) -> String {
    match char {
        '\r' => "\\r".into(),
        '\n' => "\\n".into(),
        '\t' => "\\t".into(),
        '\\' => "\\\\".into(),
        char if char.is_ascii_control() => format!("\\x{:02x}", u32::from(char)),
        char => char.into(),
    }
}
