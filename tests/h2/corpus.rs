//! The cases in `tests/corpus/h2`: each is received whole, byte by byte and cut in two at every place, and must always say
//! and send the same. `tests/corpus/h2/README.md` describes the format.

use std::collections::BTreeMap;

use crate::corpus_text::{Section, sections};
use crate::driver::events;
use crate::driver::script::{Item, items};
use tidemill::base::limits::Limits;

/// Longer input is not cut at every place: its first and last bytes and some in between say enough.
const CUT_EVERYWHERE_MAX: usize = 600;

#[test]
fn every_case_of_the_corpus_says_what_it_should_however_it_is_cut() {
    let cases = corpus();
    let failures: Vec<String> = cases.iter().filter_map(|case| case.check().err()).collect();
    assert!(failures.is_empty(), "{} of {} cases fail\n\n{}", failures.len(), cases.len(), failures.join("\n\n"));
    assert!(cases.len() >= CASES_MIN, "only {} cases were found", cases.len());
}

/// So many cases there are at least, so that none is lost unnoticed.
const CASES_MIN: usize = 180;

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
    outbox_bytes: usize,
    /// Whether the preface, and what it is answered with, is part of the case.
    is_bare: bool,
    input: Vec<Item>,
    expected: Vec<String>,
}

impl Case {
    fn check(&self) -> Result<(), String> {
        let len: usize =
            self.input.iter().map(|item| if let Item::Bytes(bytes) = item { bytes.len() } else { 0 }).sum();
        self.compare("whole", usize::MAX, usize::MAX)?;
        self.compare("byte by byte", 1, 1)?;
        let is_chosen = |at: &usize| len <= CUT_EVERYWHERE_MAX || *at < 64 || *at > len - 64 || at.is_multiple_of(997);
        for at in (1..len).filter(is_chosen) {
            self.compare(&format!("cut in two at {at}"), at, usize::MAX)?;
        }
        Ok(())
    }

    fn compare(&self, how: &str, first: usize, piece: usize) -> Result<(), String> {
        let mut actual = events(&self.input, &self.limits, first, piece, self.outbox_bytes);
        if !self.is_bare {
            // Our SETTINGS, the window of the connection, and the acknowledgement of the client's SETTINGS.
            actual.drain(..3);
        }
        let actual = counted(&actual);
        if actual == self.expected {
            return Ok(());
        }
        let (expected, actual) = (self.expected.join("\n"), actual.join("\n"));
        Err(format!("{} {:?}, {how}\nexpected:\n{expected}\nactual:\n{actual}", self.place, self.title))
    }
}

/// Equal lines in a row as one.
fn counted(lines: &[String]) -> Vec<String> {
    let runs = lines.chunk_by(|one, other| one == other);
    runs.map(|run| if run.len() == 1 { run[0].clone() } else { format!("{} times {}", run.len(), run[0]) }).collect()
}

fn corpus() -> Vec<Case> {
    sections("h2").iter().map(read_case).collect()
}

fn read_case(section: &Section) -> Case {
    let place = &section.place;
    let lines = section.block("frames").unwrap_or_else(|| panic!("{place}: no frames block"));
    let is_bare = lines.first().is_some_and(|line| line == "bare");
    let first = if is_bare { vec![] } else { items(place, "preface") };
    let rest = lines[usize::from(is_bare)..].iter().flat_map(|line| items(place, line));
    let (mut limits, mut outbox_bytes) = (Limits::default(), 64 * 1024);
    for line in section.block("limits").unwrap_or_default() {
        set_limit(place, line, &mut limits, &mut outbox_bytes);
    }
    Case {
        title: section.title().to_owned(),
        prose: section.prose(),
        limits,
        outbox_bytes,
        is_bare,
        input: first.into_iter().chain(rest).collect(),
        expected: section.block("events").unwrap_or_else(|| panic!("{place}: no events block")).to_vec(),
        place: place.clone(),
    }
}

fn set_limit(place: &str, line: &str, limits: &mut Limits, outbox_bytes: &mut usize) {
    let (name, value) = line.split_once(' ').unwrap_or_else(|| panic!("{place}: {line}"));
    let value: usize = value.parse().unwrap_or_else(|_| panic!("{place}: {line}"));
    let http2 = &mut limits.http2;
    match name {
        "inbox_bytes" => limits.inbox_bytes = value,
        "outbox_bytes" => *outbox_bytes = value,
        "fields_max" => limits.fields_max = value,
        "target_bytes_max" => limits.target_bytes_max = value,
        "streams_max" => http2.streams_max = value as u32,
        "stream_window_bytes" => http2.stream_window_bytes = value as u32,
        "upload_window_bytes_max" => http2.upload_window_bytes_max = value as u32,
        "connection_window_bytes" => http2.connection_window_bytes = value as u32,
        "header_list_bytes_max" => http2.header_list_bytes_max = value as u32,
        "continuations_max" => http2.continuations_max = value as u32,
        "frame_bytes_max" => http2.frame_bytes_max = value as u32,
        "header_table_bytes" => http2.header_table_bytes = value as u32,
        "output_bytes_max" => http2.output_bytes_max = value as u32,
        "glitches_max" => http2.glitches_max = value as u32,
        "glitches_per_second" => http2.glitches_per_second = value as u32,
        "small_data_bytes_max" => http2.small_data_bytes_max = value as u32,
        _ => panic!("{place}: no limit is called {name}"),
    }
}
