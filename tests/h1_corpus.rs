//! The cases in `tests/corpus/h1`: each is received whole, byte by byte and cut in two at every place, and must always
//! say the same. `tests/corpus/h1/README.md` describes the format.

mod corpus_text;
mod h1_driver;

use std::collections::BTreeMap;

use corpus_text::{Section, escaped, sections, unescaped};
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

fn escaped_lines(lines: &[Vec<u8>]) -> String {
    lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n")
}

fn corpus() -> Vec<Case> {
    sections("h1").iter().map(read_case).collect()
}

fn read_case(section: &Section) -> Case {
    let place = &section.place;
    let limits = section.block("limits").map_or_else(Limits::default, |lines| read_limits(place, lines));
    let input = section.block("http").unwrap_or_else(|| panic!("{place}: no http block"));
    let expected = section.block("events").unwrap_or_else(|| panic!("{place}: no events block"));
    Case {
        title: section.title().to_owned(),
        prose: section.prose(),
        limits,
        input: input.iter().flat_map(|line| input_line(place, line)).collect(),
        expected: expected.iter().map(|line| unescaped(place, line)).collect(),
        place: place.clone(),
    }
}

fn read_limits(place: &str, lines: &[String]) -> Limits {
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
