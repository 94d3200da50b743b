//! Any bytes as the answer to a request of any kind: the client says the same about them whole and in pieces, agrees with the
//! naive reader, and never panics.
//!
//! The first three bytes choose the request, the pieces and the size of the inbox.

#![no_main]

#[path = "../../h1_client/driver.rs"]
mod driver;
#[allow(dead_code, reason = "the tests of the server use more of it")]
#[path = "../../h1_naive/mod.rs"]
mod h1_naive;
#[path = "../../h1_client/naive.rs"]
mod naive;

use driver::{Asked, events};
use libfuzzer_sys::fuzz_target;
use naive::{read, said};
use tidemill::base::limits::Limits;

fuzz_target!(|bytes: &[u8]| {
    let [kind, piece, inbox, input @ ..] = bytes else { return };
    let unfinished = kind & 4 != 0;
    let asked = Asked { head: kind & 1 != 0 && !unfinished, upgrade: kind & 2 != 0, unfinished };
    let limits = Limits { inbox_bytes: 512, head_bytes_max: 512, fields_max: 8, ..Limits::default() };
    let whole = events(asked, [input], &limits);
    assert_eq!(said(&whole), read(asked, input, &limits));
    assert_eq!(events(asked, input.chunks(1), &limits), whole);
    assert_eq!(events(asked, input.chunks(usize::from(*piece) + 1), &limits), whole);

    let small = Limits { inbox_bytes: usize::from(*inbox) + 1, ..limits };
    let whole = events(asked, [input], &small);
    assert_eq!(events(asked, input.chunks(usize::from(*piece) + 1), &small), whole);
});
