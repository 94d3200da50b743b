use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::protocol::h2::fields::{FieldList, ListLimits};
use crate::protocol::h2::hpack::decoder::{Decoded, Decoder};

const NOW_SECS: u64 = 1_700_000_000;

fn date(second: u64) -> DateCache {
    DateCache::new(UNIX_EPOCH + Duration::from_secs(NOW_SECS + second))
}

/// An encoder, and the decoder of its peer.
#[derive(Default)]
struct Pair {
    encoder: Encoder,
    decoder: Decoder,
}

impl Pair {
    /// The bytes of the block that `write` writes. What the peer reads in it must be `expected`.
    fn send(&mut self, write: impl FnOnce(&mut Block<'_>), expected: &[(&str, &str)]) -> Vec<u8> {
        let (mut out, mut list) = (Vec::new(), FieldList::default());
        write(&mut self.encoder.block(&mut out));
        let limits = ListLimits { bytes_max: 1 << 16, fields_max: 100 };
        assert_eq!(self.decoder.decode(&out, limits, &mut list), Ok(Decoded::All));
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let fields: Vec<_> = list.fields(0).iter().map(|(name, value)| (text(name), text(value))).collect();
        assert_eq!(fields, expected);
        out
    }

    fn field(&mut self, name: &str, value: &str) -> Vec<u8> {
        let lower = name.to_ascii_lowercase();
        self.send(|block| block.field(name.as_bytes(), value.as_bytes()), &[(&lower, value)])
    }

    fn date(&mut self, second: u64) -> Vec<u8> {
        let date = date(second);
        let text = std::str::from_utf8(date.as_bytes()).unwrap();
        self.send(|block| block.date(&date), &[("date", text)])
    }
}

fn first_bits(block: &[u8]) -> Pattern {
    match block[0] {
        0x80.. => INDEXED,
        0x40.. => LITERAL_INDEXED,
        0x20.. => SIZE_UPDATE,
        0x10.. => LITERAL_NEVER_INDEXED,
        _ => LITERAL,
    }
}

#[test]
fn a_response_in_steady_state_has_20_bytes_at_most() {
    let (mut pair, now) = (Pair::default(), date(0));
    let date_text = std::str::from_utf8(now.as_bytes()).unwrap().to_string();
    let mut response = |length: u64| {
        let digits = length.to_string();
        let write = |block: &mut Block<'_>| {
            block.status(Status::OK);
            block.known(StaticName::of("server"), b"tidemill");
            block.date(&now);
            block.field(b"Content-Type", b"text/html; charset=utf-8");
            block.content_length(length);
            block.field(b"ETag", b"\"5f2c7a10-3e8\"");
            block.field(b"Last-Modified", b"Mon, 21 Oct 2013 20:13:21 GMT");
            block.field(b"X-Content-Type-Options", b"nosniff");
        };
        let expected = [
            (":status", "200"),
            ("server", "tidemill"),
            ("date", &date_text),
            ("content-type", "text/html; charset=utf-8"),
            ("content-length", &digits),
            ("etag", "\"5f2c7a10-3e8\""),
            ("last-modified", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("x-content-type-options", "nosniff"),
        ];
        pair.send(write, &expected).len()
    };
    let sizes: Vec<usize> = (0..4).map(|nth| response(1000 + nth)).collect();
    assert!(sizes[0] > 100 && sizes[1] > 80, "{sizes:?}");
    assert_eq!(sizes[2..], [13, 13]);
    assert!(pair.encoder.memory_bytes() < 1024, "{}", pair.encoder.memory_bytes());
}

#[test]
fn a_date_is_added_when_a_second_response_has_it() {
    let mut pair = Pair::default();
    let blocks = [0, 0, 0, 1, 1, 1, 1, 2, 3].map(|second| first_bits(&pair.date(second)));
    let (first, second, later) = (LITERAL, LITERAL_INDEXED, INDEXED);
    assert_eq!(blocks, [first, second, later, first, second, later, later, first, first]);
    assert_eq!(pair.encoder.table.len(), 2, "one response a second adds nothing");
}

#[test]
fn dates_do_not_fill_the_table() {
    let mut pair = Pair::default();
    for second in 0..1000 {
        pair.field("server", "tidemill");
        for _ in 0..3 {
            pair.date(second);
        }
        let dates = pair.encoder.tags.iter().filter(|tag| **tag == DATE_TAG).count();
        assert!(dates <= usize::from(DATES_MAX), "{dates} dates");
        assert!(pair.encoder.memory_bytes() < 2048, "{}", pair.encoder.memory_bytes());
    }
}

#[test]
fn a_date_that_was_evicted_is_added_again() {
    let mut pair = Pair::default();
    for _ in 0..3 {
        pair.date(0);
    }
    for nth in 0..200 {
        pair.field("vary", &format!("some-field-{nth}"));
    }
    assert_eq!([0; 2].map(|second| first_bits(&pair.date(second))), [LITERAL_INDEXED, INDEXED]);
}

#[test]
fn what_repeats_is_added_and_what_does_not_is_not() {
    let mut pair = Pair::default();
    for (name, value) in [("Server", "a"), ("vary", "Origin"), ("content-type", "text/plain"), ("allow", "GET")] {
        assert_eq!(
            [(); 3].map(|()| first_bits(&pair.field(name, value))),
            [LITERAL_INDEXED, INDEXED, INDEXED],
            "{name}"
        );
    }
    for (name, value) in [("etag", "\"1\""), ("X-Own", "1"), ("content-type", "multipart/byteranges; boundary=1")] {
        let expected = [LITERAL, LITERAL_INDEXED, INDEXED];
        assert_eq!([(); 3].map(|()| first_bits(&pair.field(name, value))), expected, "{name}");
    }
    for name in ["content-length", "location", "content-range", "age"] {
        assert_eq!([(); 3].map(|()| first_bits(&pair.field(name, "1"))), [LITERAL; 3], "{name}");
    }
    let entries = pair.encoder.table.len();
    for nth in 0..500 {
        pair.field("etag", &format!("\"{nth}\""));
        pair.field("x-request-id", &format!("{nth:x}"));
        // More entities than are remembered, in turn.
        pair.field("last-modified", &format!("{}", nth % 20));
    }
    assert_eq!(pair.encoder.table.len(), entries, "values of their own");
}

#[test]
fn secrets_are_never_indexed() {
    let mut pair = Pair::default();
    for name in ["authorization", "Proxy-Authorization", "Set-Cookie", "cookie"] {
        for _ in 0..3 {
            assert_eq!(first_bits(&pair.field(name, "a=secret")), LITERAL_NEVER_INDEXED, "{name}");
        }
    }
    assert_eq!(pair.encoder.memory_bytes(), 0);
    let long = "session=0123456789abcdef";
    assert_eq!([(); 2].map(|()| first_bits(&pair.field("cookie", long))), [LITERAL, LITERAL_INDEXED]);
}

#[test]
fn status_codes_of_the_static_table_take_a_byte() {
    let mut pair = Pair::default();
    for (status, code) in [(Status::OK, "200"), (Status::NO_CONTENT, "204"), (Status::NOT_FOUND, "404")] {
        assert_eq!(pair.send(|block| block.status(status), &[(":status", code)]).len(), 1);
    }
    let sizes = [(); 2].map(|()| pair.send(|block| block.status(Status::EARLY_HINTS), &[(":status", "103")]).len());
    assert_eq!(sizes, [4, 1]);
}

#[test]
fn numbers_have_all_their_digits() {
    let mut pair = Pair::default();
    for length in [0, 9, 10, 12345, u64::MAX] {
        pair.send(|block| block.content_length(length), &[("content-length", &length.to_string())]);
    }
}

#[test]
fn a_changed_setting_is_answered_by_the_smallest_and_the_last_size() {
    let updates_of = |mut encoder: Encoder, settings: &[usize]| -> Vec<u32> {
        let mut out = Vec::new();
        for bytes in settings {
            encoder.set_table_size(*bytes);
        }
        encoder.block(&mut out).status(Status::OK);
        assert_eq!(out.pop(), Some(0x88));
        encoder.block(&mut out).status(Status::OK);
        assert_eq!(out.pop(), Some(0x88), "once is enough");
        let (mut block, mut sizes) = (&out[..], Vec::new());
        while !block.is_empty() {
            assert_eq!(first_bits(block), SIZE_UPDATE);
            sizes.push(integer::decode(&mut block, SIZE_UPDATE.prefix).unwrap());
        }
        sizes
    };
    let updates = |settings: &[usize]| updates_of(Encoder::default(), settings);
    assert!(updates(&[]).is_empty());
    assert!(updates(&[4096]).is_empty());
    assert!(updates(&[65536]).is_empty(), "no more than 4096 is used");
    assert_eq!(updates(&[65536, 8192]), [4096], "a smaller setting wants an answer (RFC 9113 §4.3.1)");
    assert_eq!(updates(&[100]), [100]);
    assert_eq!(updates(&[0, 65536]), [0, 4096]);
    assert_eq!(updates(&[200, 100, 300, 250]), [100, 250]);
    let updates = |table_bytes_max, settings: &[usize]| updates_of(Encoder::new(table_bytes_max), settings);
    assert_eq!(updates(1000, &[]), [1000], "the peer expects 4096");
    assert_eq!(updates(1000, &[65536]), [1000]);
    assert_eq!(updates(1000, &[500, 65536]), [500, 1000]);
    assert_eq!(updates(0, &[]), [0]);
    assert!(updates(65536, &[]).is_empty(), "no more than the peer allows");
    assert_eq!(updates(65536, &[20_000]), [20_000]);
    assert_eq!(updates(65536, &[100_000]), [65536]);
}

#[test]
fn a_smaller_table_evicts_and_none_holds_nothing() {
    let mut pair = Pair::default();
    for value in ["1", "2", "3"] {
        pair.field("vary", value);
    }
    for bytes in [80, 0] {
        pair.encoder.set_table_size(bytes);
        pair.decoder.set_table_size(bytes);
        for _ in 0..3 {
            pair.field("vary", "3");
            pair.date(0);
        }
        assert!(pair.encoder.table.size() <= bytes);
        assert_eq!(pair.encoder.tags.len(), pair.encoder.table.len());
    }
}

#[test]
fn a_large_field_does_not_evict_all_others() {
    let mut pair = Pair::default();
    pair.field("server", "tidemill");
    for _ in 0..3 {
        assert_eq!(first_bits(&pair.field("vary", &"v".repeat(3000))), LITERAL);
    }
    assert_eq!(first_bits(&pair.field("server", "tidemill")), INDEXED);
}

#[test]
fn fields_with_the_same_hash_are_told_apart() {
    let mut pair = Pair::default();
    pair.field("vary", "a");
    let other = field_hash(b"vary", b"b") | 1;
    pair.encoder.tags[0] = other;
    assert_eq!(first_bits(&pair.field("vary", "b")), LITERAL_INDEXED);
    assert_eq!(first_bits(&pair.field("vary", "b")), INDEXED);
}

#[test]
fn a_string_is_sent_as_it_is_if_its_code_is_not_shorter() {
    let mut pair = Pair::default();
    let block = pair.field("etag", "\"<{}>\"");
    assert!(block.ends_with(b"\x06\"<{}>\""), "{block:?}");
    let block = pair.field("X-Up", "www.example.com");
    assert!(block.len() < 20, "{block:?}");
}
