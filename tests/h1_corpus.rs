//! The cases in `tests/corpus/h1`: each is received whole, byte by byte and cut in two at every place, and must always
//! say the same. `tests/corpus/h1/README.md` describes the format.

mod corpus_text;
mod h1_case;
mod h1_driver;

use corpus_text::sections;
use h1_case::{Case, check_titles, rendered_lines};
use h1_driver::{Event, Head, events};
use tidemill::http::message::{Announced, Version};

#[test]
fn every_case_of_the_corpus_says_what_it_should_however_it_is_cut() {
    let cases = corpus();
    let said = |case: &Case, pieces: &[&[u8]]| {
        events(pieces.iter().copied(), &case.limits).iter().flat_map(rendered).collect()
    };
    let failures: Vec<String> = cases.iter().filter_map(|case| case.check(|pieces| said(case, pieces)).err()).collect();
    assert!(failures.is_empty(), "{} of {} cases fail\n\n{}", failures.len(), cases.len(), failures.join("\n\n"));
    assert!(cases.len() >= 150, "only {} cases were found", cases.len());
}

#[test]
fn every_case_has_its_own_title_and_names_its_rule() {
    check_titles(corpus().iter());
}

fn corpus() -> Vec<Case> {
    sections("h1").iter().map(Case::read).collect()
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
