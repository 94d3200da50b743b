//! How fast field blocks are decoded and encoded.
//!
//! `cargo bench --bench hpack`. "first" is the first block of a connection, in which everything is literal; "repeated"
//! is one like it later on, of which most is in the dynamic table.

use std::hint::black_box;
use std::time::{Duration, UNIX_EPOCH};

use divan::Bencher;
use tidemill::http::date::DateCache;
use tidemill::http::status::Status;
use tidemill::protocol::h2::fields::{FieldList, ListLimits};
use tidemill::protocol::h2::hpack::StaticName;
use tidemill::protocol::h2::hpack::decoder::Decoder;
use tidemill::protocol::h2::hpack::encoder::Encoder;

const LIMITS: ListLimits = ListLimits { bytes_max: 32 << 10, fields_max: 100 };
const SERVER: StaticName = StaticName::of("server");

fn main() {
    divan::main();
}

/// What a browser asks: pseudo-fields and 12 fields.
fn request(encoder: &mut Encoder, out: &mut Vec<u8>) {
    let mut block = encoder.block(out);
    let pseudo_fields =
        [(":method", "GET"), (":scheme", "https"), (":authority", "localhost:8443"), (":path", "/plaintext")];
    for (name, value) in pseudo_fields {
        block.field(name.as_bytes(), value.as_bytes());
    }
    for line in include_str!("../corpus/browser_fields.txt").lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").expect("a field line");
        block.field(name.as_bytes(), value.as_bytes());
    }
}

/// What a file is answered with.
fn response(encoder: &mut Encoder, date: &DateCache, out: &mut Vec<u8>) {
    let mut block = encoder.block(out);
    block.status(Status::OK);
    block.known(SERVER, b"tidemill");
    block.date(date);
    block.field(b"Content-Type", b"text/html; charset=utf-8");
    block.content_length(1024);
    block.field(b"ETag", b"\"5f2c7a10-3e8\"");
    block.field(b"Last-Modified", b"Mon, 21 Oct 2013 20:13:21 GMT");
}

fn now() -> DateCache {
    DateCache::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000))
}

#[divan::bench]
fn decode_first_request(bencher: Bencher) {
    let (mut block, mut list) = (Vec::new(), FieldList::default());
    request(&mut Encoder::default(), &mut block);
    bencher.bench_local(|| Decoder::default().decode(black_box(&block), LIMITS, &mut list));
}

#[divan::bench]
fn decode_repeated_request(bencher: Bencher) {
    let (mut encoder, mut decoder, mut list) = (Encoder::default(), Decoder::default(), FieldList::default());
    let mut block = Vec::new();
    for _ in 0..3 {
        block.clear();
        request(&mut encoder, &mut block);
        assert!(decoder.decode(&block, LIMITS, &mut list).is_ok());
    }
    bencher.bench_local(|| decoder.decode(black_box(&block), LIMITS, &mut list));
}

#[divan::bench]
fn encode_first_response(bencher: Bencher) {
    let (date, mut out) = (now(), Vec::new());
    bencher.bench_local(|| {
        out.clear();
        response(&mut Encoder::default(), black_box(&date), &mut out);
    });
}

#[divan::bench]
fn encode_repeated_response(bencher: Bencher) {
    let (date, mut out, mut encoder) = (now(), Vec::new(), Encoder::default());
    for _ in 0..3 {
        response(&mut encoder, &date, &mut out);
    }
    bencher.bench_local(|| {
        out.clear();
        response(&mut encoder, black_box(&date), &mut out);
    });
}
