//! The cases in `tests/corpus/h1`: each is received whole, byte by byte and cut in two at every place, and must always
//! say the same. `tests/corpus/h1/README.md` describes the format.

mod h1_driver;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use h1_driver::{Event, Head, Lines, events};
use tidemill::base::limits::Limits;
use tidemill::http::message::{Announced, Version};

/// Longer input is not cut at every place: its first and last bytes and some in between say enough.
const CUT_EVERYWHERE_MAX: usize = 1500;

#[test]
fn every_case_of_the_corpus_says_what_it_should_however_it_is_cut() {
    let cases = corpus();
    let failures: Vec<String> = cases.iter().filter_map(|case| case.check().err()).collect();
    assert!(failures.is_empty(), "{} of {} cases fail\n\n{}", failures.len(), cases.len(), failures.join("\n\n"));
    assert!(cases.len() >= 150, "only {} cases were found", cases.len());
}

#[test]
fn every_case_has_its_own_title_and_names_its_rule() {
    let mut titles = BTreeMap::new();
    for case in corpus() {
        assert!(case.prose.contains("RFC "), "{}: no RFC section in {:?}", case.place, case.prose);
        if let Some(other) = titles.insert(case.title.clone(), case.place.clone()) {
            panic!("{}: the title {:?} is taken by {other}", case.place, case.title);
        }
    }
}

struct Case {
    /// file:line
    place: String,
    title: String,
    prose: String,
    limits: Limits,
    input: Vec<u8>,
    expected: Vec<Vec<u8>>,
}

impl Case {
    fn check(&self) -> Result<(), String> {
        let whole = events([&self.input[..]], &self.limits);
        self.compare("whole", &whole)?;
        self.compare("byte by byte", &events(self.input.chunks(1), &self.limits))?;
        for at in self.cuts() {
            let (front, back) = self.input.split_at(at);
            self.compare(&format!("cut in two at {at}"), &events([front, back], &self.limits))?;
        }
        Ok(())
    }

    fn cuts(&self) -> impl Iterator<Item = usize> {
        let len = self.input.len();
        let everywhere = len <= CUT_EVERYWHERE_MAX;
        (1..len).filter(move |at| everywhere || *at < 64 || *at > len - 64 || at % 997 == 0)
    }

    fn compare(&self, how: &str, events: &[Event]) -> Result<(), String> {
        let actual: Vec<Vec<u8>> = events.iter().flat_map(rendered).collect();
        if actual == self.expected {
            return Ok(());
        }
        Err(format!(
            "{} {:?}, {how}\nexpected:\n{}\nactual:\n{}",
            self.place,
            self.title,
            escaped_lines(&self.expected),
            escaped_lines(&actual)
        ))
    }
}

fn rendered(event: &Event) -> Vec<Vec<u8>> {
    match event {
        Event::Head(head) => rendered_head(head),
        Event::Content(content) => vec![[b"content \"", &content[..], b"\""].concat()],
        Event::End(trailers) if trailers.is_empty() => vec![b"end".to_vec()],
        Event::End(trailers) => vec![[b"end ", &rendered_lines(trailers)[..]].concat()],
        Event::Error(error) => vec![format!("error {} {error}", error.status.code()).into_bytes()],
        Event::Close => vec![b"close".to_vec()],
        Event::EofOk => vec![b"eof-ok".to_vec()],
        Event::EofError => vec![b"eof-error".to_vec()],
    }
}

fn rendered_head(head: &Head) -> Vec<Vec<u8>> {
    let version = match head.version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::Http2 => panic!("HTTP/1 gave a request of HTTP/2"),
    };
    let mut line = [format!("head {} ", head.method).as_bytes(), &head.target, b" ", version.as_bytes()].concat();
    line.extend([b" ", &rendered_lines(&head.fields)[..]].concat());
    match head.announced {
        Announced::Nothing => {}
        Announced::Length(length) => line.extend(format!(" length {length}").bytes()),
        Announced::Unknown => line.extend_from_slice(b" chunked"),
    }
    if head.expects_continue {
        line.extend_from_slice(b" expects-continue");
    }
    let mut lines = vec![line];
    if head.path != head.target {
        lines.push(rendered_target(head));
    }
    lines
}

/// Only if there is more to a target than a path.
fn rendered_target(head: &Head) -> Vec<u8> {
    let mut line = format!("target {:?}", head.form).to_ascii_lowercase().into_bytes();
    let parts = [("authority", &head.authority), ("path", &Some(head.path.clone())), ("query", &head.query)];
    for (name, part) in parts {
        if let Some(part) = part {
            line.extend([b" ", name.as_bytes(), b"=", &part[..]].concat());
        }
    }
    line
}

fn rendered_lines(lines: &Lines) -> Vec<u8> {
    let lines: Vec<Vec<u8>> = lines.iter().map(|(name, value)| [&name[..], b": ", value].concat()).collect();
    [b"[", &lines.join(&b"; "[..])[..], b"]"].concat()
}

fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/h1");
    let entries = fs::read_dir(&folder).expect("the corpus");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "md") && !path.ends_with("README.md"));
    files.sort();
    files.iter().flat_map(|path| read_file(path)).collect()
}

fn read_file(path: &Path) -> Vec<Case> {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let text = fs::read_to_string(path).expect("UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    let mut starts: Vec<usize> = (0..lines.len()).filter(|index| is_title(&lines, *index)).collect();
    starts.push(lines.len());
    starts.windows(2).map(|range| read_case(&name, range[0], &lines[range[0]..range[1]])).collect()
}

/// A line that starts with `## ` outside a block; within one it would be part of a request, which never looks so.
fn is_title(lines: &[&str], index: usize) -> bool {
    lines[index].starts_with("## ")
}

fn read_case(file: &str, index: usize, lines: &[&str]) -> Case {
    let place = format!("{file}:{}", index + 1);
    let limits = block(lines, "limits").map_or_else(Limits::default, |lines| read_limits(&place, lines));
    let input = block(lines, "http").unwrap_or_else(|| panic!("{place}: no http block"));
    let expected = block(lines, "events").unwrap_or_else(|| panic!("{place}: no events block"));
    Case {
        title: lines[0].trim_start_matches("## ").to_owned(),
        prose: lines[1..].iter().take_while(|line| !line.starts_with("```")).copied().collect(),
        limits,
        input: input.iter().flat_map(|line| input_line(&place, line)).collect(),
        expected: expected.iter().map(|line| unescaped(&place, line)).collect(),
        place,
    }
}

fn block<'a>(lines: &'a [&'a str], kind: &str) -> Option<&'a [&'a str]> {
    let start = lines.iter().position(|line| line.strip_prefix("```") == Some(kind))? + 1;
    let len = lines[start..].iter().position(|line| *line == "```")?;
    Some(&lines[start..start + len])
}

fn read_limits(place: &str, lines: &[&str]) -> Limits {
    let mut limits = Limits::default();
    for line in lines {
        let (name, value) = line.split_once(' ').unwrap_or_else(|| panic!("{place}: {line}"));
        let value: usize = value.parse().unwrap_or_else(|_| panic!("{place}: {line}"));
        match name {
            "head_bytes_max" => limits.head_bytes_max = value,
            "target_bytes_max" => limits.target_bytes_max = value,
            "fields_max" => limits.fields_max = value,
            "inbox_bytes" => limits.inbox_bytes = value,
            _ => panic!("{place}: no limit is called {name}"),
        }
    }
    limits
}

/// The bytes of a line of input: CRLF at its end goes without saying, a single backslash says there is none.
fn input_line(place: &str, line: &str) -> Vec<u8> {
    let backslashes = line.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if backslashes % 2 == 1 {
        return unescaped(place, &line[..line.len() - 1]);
    }
    [&unescaped(place, line)[..], b"\r\n"].concat()
}

fn unescaped(place: &str, line: &str) -> Vec<u8> {
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

fn escaped_lines(lines: &[Vec<u8>]) -> String {
    lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n")
}

/// As it would stand in a file of the corpus, long runs of one character shortened.
fn escaped(bytes: &[u8]) -> String {
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
