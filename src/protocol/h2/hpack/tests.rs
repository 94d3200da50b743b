//! Against another implementation, in both directions. It reads what ours writes, and ours reads what it writes.

use std::time::{Duration, UNIX_EPOCH};

use httlib_hpack::{Decoder as OtherDecoder, Encoder as OtherEncoder};
use proptest::prelude::*;

use super::decoder::{Decoded, Decoder};
use super::encoder::{Block, Encoder};
use crate::http::date::DateCache;
use crate::http::status::Status;
use crate::protocol::h2::fields::{FieldList, ListLimits};

const WIDE: ListLimits = ListLimits { bytes_max: 1 << 20, fields_max: 1000 };

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn decode(decoder: &mut Decoder, block: &[u8]) -> Pairs {
    let mut list = FieldList::default();
    assert_eq!(decoder.decode(block, WIDE, &mut list), Ok(Decoded::All), "{block:02x?}");
    list.fields(0).iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

const KNOWN: [&str; 8] =
    ["content-type", "etag", "set-cookie", "vary", "server", "authorization", "location", "cookie"];
const OWN: [&str; 3] = ["x-one", "x-two", "x-content-type-options"];

/// Names of both tables and of none. Few, so that they repeat.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::sample::select(&KNOWN).prop_map(|name| name.as_bytes().to_vec()),
        2 => prop::sample::select(&OWN).prop_map(|name| name.as_bytes().to_vec()),
        1 => "[a-z-]{1,40}".prop_map(String::into_bytes),
    ]
}

/// Values of all lengths and bytes. Some repeat.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::sample::select(&["", "1", "text/html", "a value of some length, with a comma"])
            .prop_map(|value| value.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
        1 => (300..5000_usize).prop_map(|len| vec![b'v'; len]),
    ]
}

/// What our side does next.
#[derive(Debug, Clone)]
enum Ours {
    Field(Vec<u8>, Vec<u8>),
    Date,
    Status(u16),
    Length(u64),
    /// The present block ends; the clock goes on by so many seconds.
    NextBlock(u64),
    /// The peer changes its setting, and this begins a block, too.
    Setting(usize),
}

fn ours() -> impl Strategy<Value = Ours> {
    prop_oneof![
        8 => (name(), value()).prop_map(|(name, value)| Ours::Field(name, value)),
        3 => Just(Ours::Date),
        1 => (100..600_u16).prop_map(Ours::Status),
        1 => any::<u64>().prop_map(Ours::Length),
        4 => (0..2_u64).prop_map(Ours::NextBlock),
        1 => prop_oneof![0..300_usize, 0..10_000_usize].prop_map(Ours::Setting),
    ]
}

fn write(block: &mut Block<'_>, step: &Ours, date: &DateCache, expected: &mut Pairs) {
    let mut expect = |name: &str, value: &[u8]| expected.push((name.as_bytes().to_vec(), value.to_vec()));
    match step {
        Ours::Field(name, value) => {
            block.field(&name.to_ascii_uppercase(), value);
            expected.push((name.clone(), value.clone()));
        }
        Ours::Date => {
            block.date(date);
            expect("date", date.as_bytes());
        }
        Ours::Status(code) => {
            block.status(Status::from_code(*code).expect("a code"));
            expect(":status", code.to_string().as_bytes());
        }
        Ours::Length(length) => {
            block.content_length(*length);
            expect("content-length", length.to_string().as_bytes());
        }
        Ours::NextBlock(_) | Ours::Setting(_) => {}
    }
}

/// What the other side does next. The flags say how a field is represented.
#[derive(Debug, Clone)]
enum Theirs {
    Field(Vec<u8>, Vec<u8>, u8),
    NextBlock,
    /// It uses a table of this size from the next block on.
    TableSize(u32),
}

fn theirs() -> impl Strategy<Value = Theirs> {
    let indexing = prop::sample::select(&[0, OtherEncoder::WITH_INDEXING, OtherEncoder::NEVER_INDEXED]);
    let flags = (indexing, any::<[bool; 3]>()).prop_map(|(indexing, [name, value, best])| {
        let one = |on: bool, flag: u8| if on { flag } else { 0 };
        indexing
            | one(name, OtherEncoder::HUFFMAN_NAME)
            | one(value, OtherEncoder::HUFFMAN_VALUE)
            | one(best, OtherEncoder::BEST_FORMAT)
    });
    prop_oneof![
        8 => (name(), value(), flags).prop_map(|(name, value, flags)| Theirs::Field(name, value, flags)),
        2 => Just(Theirs::NextBlock),
        1 => prop_oneof![0..300_u32, 0..4097_u32].prop_map(Theirs::TableSize),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_ours_writes_both_read(
        table_bytes_max in prop::sample::select(&[4096, 0, 100, 65536]),
        steps in prop::collection::vec(ours(), 0..60),
    ) {
        let (mut encoder, mut decoder, mut other) =
            (Encoder::new(table_bytes_max), Decoder::default(), OtherDecoder::default());
        // It takes any setting. Ours checks that none is exceeded.
        other.set_max_dynamic_size(65536);
        let mut second = 1_700_000_000;
        for steps in steps.split_inclusive(|step| matches!(step, Ours::NextBlock(_) | Ours::Setting(_))) {
            let date = DateCache::new(UNIX_EPOCH + Duration::from_secs(second));
            let (mut out, mut expected) = (Vec::new(), Vec::new());
            let mut block = encoder.block(&mut out);
            for step in steps {
                write(&mut block, step, &date, &mut expected);
            }
            prop_assert_eq!(&decode(&mut decoder, &out), &expected);
            let mut fields = Vec::new();
            other.decode(&mut out, &mut fields).expect("it decodes");
            for (name, value, flags) in &fields {
                let is_secret = match &name[..] {
                    b"cookie" => value.len() < 20,
                    name => matches!(name, b"set-cookie" | b"authorization" | b"proxy-authorization"),
                };
                prop_assert_eq!(flags & OtherEncoder::NEVER_INDEXED != 0, is_secret);
            }
            prop_assert_eq!(fields.into_iter().map(|(name, value, _)| (name, value)).collect::<Pairs>(), expected);
            match steps.last() {
                Some(Ours::NextBlock(seconds)) => second += seconds,
                Some(Ours::Setting(bytes)) => {
                    encoder.set_table_size(*bytes);
                    decoder.set_table_size(*bytes);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn what_the_other_writes_ours_reads(steps in prop::collection::vec(theirs(), 0..60)) {
        let (mut encoder, mut decoder) = (OtherEncoder::default(), Decoder::default());
        let (mut block, mut expected) = (Vec::new(), Vec::new());
        for step in steps.into_iter().chain([Theirs::NextBlock]) {
            if !matches!(step, Theirs::Field(..)) {
                prop_assert_eq!(decode(&mut decoder, &block), std::mem::take(&mut expected));
                block.clear();
            }
            match step {
                Theirs::Field(name, value, flags) => {
                    encoder.encode((name.clone(), value.clone(), flags), &mut block).expect("it encodes");
                    expected.push((name, value));
                }
                Theirs::TableSize(bytes) => {
                    encoder.update_max_dynamic_size(bytes, &mut block).expect("it encodes");
                }
                Theirs::NextBlock => {}
            }
        }
    }
}
