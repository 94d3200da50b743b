//! What a case of either corpus of HTTP/1 has, and how it is checked. `tests/corpus/h1/README.md` describes the format.

use std::collections::BTreeMap;

use tidemill::base::limits::Limits;

use crate::corpus_text::{Section, escaped, input_line, unescaped};

/// Longer input is not cut at every place: its first and last bytes and some in between say enough.
const CUT_EVERYWHERE_MAX: usize = 1500;

pub struct Case {
    /// file:line
    place: String,
    title: String,
    prose: String,
    pub limits: Limits,
    input: Vec<u8>,
    expected: Vec<Vec<u8>>,
}

impl Case {
    pub fn read(section: &Section) -> Case {
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

    /// Whether `events` gives the expected lines for the input whole, byte by byte and cut in two at every place.
    pub fn check(&self, events: impl Fn(&[&[u8]]) -> Vec<Vec<u8>>) -> Result<(), String> {
        self.compare("whole", events(&[&self.input]))?;
        self.compare("byte by byte", events(&self.input.chunks(1).collect::<Vec<_>>()))?;
        for at in self.cuts() {
            let (front, back) = self.input.split_at(at);
            self.compare(&format!("cut in two at {at}"), events(&[front, back]))?;
        }
        Ok(())
    }

    fn cuts(&self) -> impl Iterator<Item = usize> {
        let len = self.input.len();
        let everywhere = len <= CUT_EVERYWHERE_MAX;
        (1..len).filter(move |at| everywhere || *at < 64 || *at > len - 64 || at % 997 == 0)
    }

    fn compare(&self, how: &str, actual: Vec<Vec<u8>>) -> Result<(), String> {
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

/// Fails if not every case has its own title and names its rule.
pub fn check_titles<'a>(cases: impl Iterator<Item = &'a Case>) {
    let mut titles = BTreeMap::new();
    for case in cases {
        assert!(case.prose.contains("RFC "), "{}: no RFC section in {:?}", case.place, case.prose);
        if let Some(other) = titles.insert(case.title.clone(), case.place.clone()) {
            panic!("{}: the title {:?} is taken by {other}", case.place, case.title);
        }
    }
}

/// Names and values as they stand in an event.
pub fn rendered_lines(lines: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let lines: Vec<Vec<u8>> = lines.iter().map(|(name, value)| [&name[..], b": ", value].concat()).collect();
    [b"[", &lines.join(&b"; "[..])[..], b"]"].concat()
}

fn escaped_lines(lines: &[Vec<u8>]) -> String {
    lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n")
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
