//! What HTTP/2 header compression allocates in steady state: nothing for an exchange.

use std::time::{Duration, UNIX_EPOCH};

use allocation_counter::measure;
use tidemill::http::date::DateCache;
use tidemill::http::status::Status;
use tidemill::protocol::h2::fields::{FieldList, ListLimits};
use tidemill::protocol::h2::hpack::decoder::{Decoded, Decoder};
use tidemill::protocol::h2::hpack::encoder::Encoder;

const LIMITS: ListLimits = ListLimits { bytes_max: 32 << 10, fields_max: 100 };
/// A time that is long enough for the table of the encoder to be filled with dates many times.
const SECONDS: u64 = 200;

/// A request for one of several paths.
fn request(encoder: &mut Encoder, second: u64, out: &mut Vec<u8>) {
    out.clear();
    let mut block = encoder.block(out);
    block.field(b":method", b"GET");
    block.field(b":path", [&b"/plaintext"[..], b"/json"][second as usize % 2]);
    block.field(b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64)");
    block.field(b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8");
}

fn response(encoder: &mut Encoder, second: u64, date: &mut DateCache, out: &mut Vec<u8>) {
    let _ = date.refresh(UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second));
    out.clear();
    let mut block = encoder.block(out);
    block.status(Status::OK);
    block.field(b"server", b"tidemill");
    block.date(date);
    block.field(b"Content-Type", b"application/json");
    block.content_length(27 + second);
    block.field(b"X-Content-Type-Options", b"nosniff");
}

#[test]
fn field_blocks_in_steady_state_allocate_nothing() {
    let (mut client, mut server) = (Encoder::default(), Encoder::default());
    let (mut decoder, mut list, mut date) = (Decoder::default(), FieldList::default(), DateCache::new(UNIX_EPOCH));
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let mut second_of_three = |second| {
        for _ in 0..3 {
            request(&mut client, second, &mut asked);
            assert_eq!(decoder.decode(&asked, LIMITS, &mut list), Ok(Decoded::All));
            response(&mut server, second, &mut date, &mut answered);
        }
    };
    (0..SECONDS).for_each(&mut second_of_three);
    let allocated = measure(|| (SECONDS..2 * SECONDS).for_each(&mut second_of_three)).count_total;
    assert_eq!(allocated, 0, "allocations in {} exchanges", 3 * SECONDS);
}
