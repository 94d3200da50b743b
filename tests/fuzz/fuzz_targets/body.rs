//! Any bytes behind the head of a chunked request: the same content and the same end whole and in pieces, as the naive
//! reader finds them, however little of the offered content is taken at a time.

#![no_main]

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../h1_driver/mod.rs"]
mod h1_driver;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../h1_naive/mod.rs"]
mod h1_naive;

use h1_driver::{Event, events};
use h1_naive::{Said, read};
use libfuzzer_sys::fuzz_target;
use tidemill::base::limits::Limits;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fuzz_target!(|bytes: &[u8]| {
    let [piece, body @ ..] = bytes else { return };
    let limits = Limits { inbox_bytes: 256, head_bytes_max: 256, fields_max: 4, ..Limits::default() };
    let input = [HEAD, body].concat();
    let whole = events([&input[..]], &limits);
    assert_eq!(content_and_trailers(&whole), naive(&read(&input, &limits)));
    assert_eq!(events(input.chunks(1), &limits), whole);
    assert_eq!(events(input.chunks(usize::from(*piece) + 1), &limits), whole);
    let tiny = Limits { inbox_bytes: HEAD.len(), ..limits };
    assert_eq!(events(input.chunks(usize::from(*piece) + 1), &tiny), events([&input[..]], &tiny));
});

type Body = (Vec<u8>, Option<Vec<(Vec<u8>, Vec<u8>)>>);

/// The first request's content, and its trailers if it is complete.
fn content_and_trailers(events: &[Event]) -> Body {
    let content = events.iter().take_while(|event| !matches!(event, Event::End(_))).find_map(|event| match event {
        Event::Content(content) => Some(content.clone()),
        _ => None,
    });
    let trailers = events.iter().find_map(|event| match event {
        Event::End(trailers) => Some(trailers.clone()),
        _ => None,
    });
    (content.unwrap_or_default(), trailers)
}

fn naive(said: &[Said]) -> Body {
    let content = said.iter().take_while(|said| !matches!(said, Said::End(_))).find_map(|said| match said {
        Said::Content(content) => Some(content.clone()),
        _ => None,
    });
    let trailers = said.iter().find_map(|said| match said {
        Said::End(trailers) => Some(trailers.clone()),
        _ => None,
    });
    (content.unwrap_or_default(), trailers)
}
