//! Any bytes: the server says the same about them whole and in pieces, agrees with the naive reader, and never panics.
//!
//! The first two bytes choose the pieces and the size of the inbox.

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

fuzz_target!(|bytes: &[u8]| {
    let [piece, inbox, input @ ..] = bytes else { return };
    let limits =
        Limits { inbox_bytes: 512, head_bytes_max: 512, target_bytes_max: 64, fields_max: 8, ..Limits::default() };
    let whole = events([input], &limits);
    assert_eq!(shape(&whole), naive_shape(&read(input, &limits)));
    assert_eq!(events(input.chunks(1), &limits), whole);
    assert_eq!(events(input.chunks(usize::from(*piece) + 1), &limits), whole);

    // No smaller than CRLF: an empty line must fit to be skipped.
    let small = Limits { inbox_bytes: usize::from(*inbox) + 2, ..limits };
    let whole = events([input], &small);
    assert_eq!(events(input.chunks(usize::from(*piece) + 1), &small), whole);
});

/// What happens, and how much content there is.
#[derive(Debug, PartialEq, Eq)]
enum Shape {
    Head(usize),
    Content(usize),
    End(usize),
    Rejected,
    Close,
    EndOfInput,
}

fn shape(events: &[Event]) -> Vec<Shape> {
    let shape = events.iter().map(|event| match event {
        Event::Head(head) => Shape::Head(head.fields.len()),
        Event::Content(content) => Shape::Content(content.len()),
        Event::End(trailers) => Shape::End(trailers.len()),
        Event::Error(_) | Event::EofError => Shape::Rejected,
        Event::Close => Shape::Close,
        Event::EofOk => Shape::EndOfInput,
    });
    shape.collect()
}

fn naive_shape(said: &[Said]) -> Vec<Shape> {
    let shape = said.iter().map(|said| match said {
        Said::Head { fields, .. } => Shape::Head(fields.len()),
        Said::Content(content) => Shape::Content(content.len()),
        Said::End(trailers) => Shape::End(trailers.len()),
        Said::Rejected => Shape::Rejected,
        Said::Close => Shape::Close,
        Said::EndOfInput => Shape::EndOfInput,
    });
    shape.collect()
}
