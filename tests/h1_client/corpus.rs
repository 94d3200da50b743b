//! The cases in `tests/corpus/h1-responses`: each is received whole, byte by byte and cut in two at every place, and must
//! always say the same. The README there describes the format.

use tidemill::http::message::Version;
use tidemill::http::upstream::ResponseContent;

use crate::corpus_text::{Section, sections};
use crate::driver::{Asked, Event, Head, events};
use crate::h1_case::{Case, check_titles, rendered_lines};

/// So many cases there are at least, so that none is lost unnoticed.
const CASES_MIN: usize = 110;

#[test]
fn every_case_of_the_corpus_says_what_it_should_however_it_is_cut() {
    let cases = corpus();
    let said = |(asked, case): &(Asked, Case), pieces: &[&[u8]]| {
        events(*asked, pieces.iter().copied(), &case.limits).iter().map(rendered).collect()
    };
    let failures: Vec<String> =
        cases.iter().filter_map(|case| case.1.check(|pieces| said(case, pieces)).err()).collect();
    assert!(failures.is_empty(), "{} of {} cases fail\n\n{}", failures.len(), cases.len(), failures.join("\n\n"));
    assert!(cases.len() >= CASES_MIN, "only {} cases were found", cases.len());
}

#[test]
fn every_case_has_its_own_title_and_names_its_rule() {
    check_titles(corpus().iter().map(|(_, case)| case));
}

fn corpus() -> Vec<(Asked, Case)> {
    sections("h1-responses").iter().map(|section| (read_asked(section), Case::read(section))).collect()
}

fn read_asked(section: &Section) -> Asked {
    let mut asked = Asked::default();
    for line in section.block("request").unwrap_or_default() {
        match &line[..] {
            "HEAD" => asked.head = true,
            "upgrade" => asked.upgrade = true,
            "unfinished" => asked.unfinished = true,
            _ => panic!("{}: {line} is not known of a request", section.place),
        }
    }
    asked
}

fn rendered(event: &Event) -> Vec<u8> {
    match event {
        Event::Interim(head) => [b"interim ", &rendered_head(head)[..]].concat(),
        Event::Head(head) => [b"head ", &rendered_head(head)[..], rendered_content(head).as_bytes()].concat(),
        Event::Content(content) => [b"content \"", &content[..], b"\""].concat(),
        Event::End(trailers) if trailers.is_empty() => b"end".to_vec(),
        Event::End(trailers) => [b"end ", &rendered_lines(trailers)[..]].concat(),
        Event::Error(error) => format!("error {error}").into_bytes(),
        Event::Reusable(None) => b"reusable".to_vec(),
        Event::Reusable(Some(secs)) => format!("reusable for {secs} s").into_bytes(),
        Event::Close => b"close".to_vec(),
    }
}

fn rendered_head(head: &Head) -> Vec<u8> {
    let version = match head.version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::Http2 => panic!("HTTP/1 gave a response of HTTP/2"),
    };
    [format!("{version} {} ", head.status.code()).as_bytes(), &rendered_lines(&head.fields)[..]].concat()
}

fn rendered_content(head: &Head) -> String {
    match head.content {
        ResponseContent::Nothing(None) => String::new(),
        ResponseContent::Nothing(Some(length)) => format!(" length {length} to GET"),
        ResponseContent::Length(length) => format!(" length {length}"),
        ResponseContent::Chunked => " chunked".to_owned(),
        ResponseContent::UntilClose => " until-close".to_owned(),
        ResponseContent::Tunnel => " tunnel".to_owned(),
    }
}
