//! Blocks that are wrong or hostile: each ends in fields or in an error, within the limits.

use proptest::prelude::*;

use super::*;

/// What a request may have by default.
const LIMITS: ListLimits = ListLimits { bytes_max: 32 << 10, fields_max: 100 };

/// Decodes with a decoder that may have seen other blocks, and checks what must hold whatever the block is.
fn attack(decoder: &mut Decoder, block: &[u8], limits: ListLimits) -> Result<Decoded, DecodeError> {
    let mut list = FieldList::default();
    let decoded = decoder.decode(block, limits, &mut list);
    assert!(list.size() <= limits.bytes_max && list.fields(0).len() <= limits.fields_max);
    // A field that is not stored may have been in the buffer for the table.
    let bytes_max = limits.bytes_max + 2 * DEFAULT_TABLE_BYTES;
    assert!(list.bytes.capacity() <= 2 * bytes_max, "{} bytes", list.bytes.capacity());
    assert!(decoder.table.size() <= decoder.table.size_max());
    assert!(decoder.memory_bytes() <= 2 * DEFAULT_TABLE_BYTES);
    decoded
}

#[test]
fn a_reference_of_one_byte_counts_for_its_whole_entry() {
    let mut decoder = Decoder::default();
    let entry = literal("bomb", &"v".repeat(4000));
    let per_list = LIMITS.bytes_max / (4 + 4000 + 32);
    let fits = [&entry[..], &vec![0xbe; per_list - 1]].concat();
    assert_eq!(attack(&mut decoder, &fits, LIMITS), Ok(Decoded::All));
    assert_eq!(attack(&mut decoder, &vec![0xbe; per_list], LIMITS), Ok(Decoded::All));
    assert_eq!(attack(&mut decoder, &vec![0xbe; per_list + 1], LIMITS), Ok(Decoded::TooLarge));
    assert_eq!(attack(&mut decoder, &vec![0xbe; 16 << 10], LIMITS), Err(DecodeError::Excessive));
}

#[test]
fn empty_fields_count_as_well() {
    let empty = |fields: usize| [0x00, 0x00, 0x00].repeat(fields);
    let mut decoder = Decoder::default();
    assert_eq!(attack(&mut decoder, &empty(100), LIMITS), Ok(Decoded::All));
    assert_eq!(attack(&mut decoder, &empty(101), LIMITS), Ok(Decoded::TooLarge));
    let many = ListLimits { fields_max: 1 << 20, ..LIMITS };
    assert_eq!(attack(&mut decoder, &empty(1024), many), Ok(Decoded::All), "32 bytes each");
    assert_eq!(attack(&mut decoder, &empty(1025), many), Ok(Decoded::TooLarge));
    assert_eq!(attack(&mut decoder, &empty(16 * 1024), many), Ok(Decoded::TooLarge));
    assert_eq!(attack(&mut decoder, &empty(16 * 1024 + 1), many), Err(DecodeError::Excessive));
}

#[test]
fn crumbs_of_a_cookie_count_one_by_one() {
    let crumb = [&[0x60, 0x03][..], b"a=b"].concat();
    let crumbs = |count: usize| [&crumb[..], &vec![0xbe; count - 1]].concat();
    assert_eq!(attack(&mut Decoder::default(), &crumbs(100), LIMITS), Ok(Decoded::All));
    assert_eq!(attack(&mut Decoder::default(), &crumbs(101), LIMITS), Ok(Decoded::TooLarge));
}

#[test]
fn a_string_may_not_be_longer_than_the_block() {
    for length in [&[0x7f, 0xff, 0xff, 0xff, 0xff, 0x0e][..], &[0x7f, 0x00], &[0x05]] {
        for huffman in [0x00, 0x80] {
            let mut block = [&[0x40], length, b"abcd"].concat();
            block[1] |= huffman;
            assert_eq!(attack(&mut Decoder::default(), &block, LIMITS), Err(TRUNCATED.into()));
        }
    }
}

#[test]
fn a_huffman_string_longer_than_the_list_is_not_stored() {
    // 5 bits a symbol: 40,000 bytes of code are 64,000 of text.
    let mut block = vec![0x00, 0x01, b'a'];
    integer::encode(&mut block, STRING_HUFFMAN, 40_000);
    block.resize(block.len() + 40_000, 0);
    assert_eq!(attack(&mut Decoder::default(), &block, LIMITS), Ok(Decoded::TooLarge));
}

#[test]
fn long_names_used_again_and_again_end_the_connection() {
    // Each reference of two bytes copies a name of 4,000 into the table.
    let block = [literal(&"n".repeat(4000), ""), [0x7e, 0x00].repeat(8 << 10)].concat();
    assert_eq!(attack(&mut Decoder::default(), &block, LIMITS), Err(DecodeError::Excessive));
}

/// Blocks of all kinds.
fn corpus() -> Vec<Vec<u8>> {
    let examples = vectors::SERIES.iter().flat_map(|series| series.steps).map(|(block, ..)| vectors::bytes(block));
    let mut corpus: Vec<_> = examples.collect();
    corpus.push([size_update(0), size_update(200), literal("x", "y"), vec![0xbe, 0xbe]].concat());
    corpus.push([literal("large", &"v".repeat(250)), vec![0x10, 0x01, b's', 0x82, 0x64, 0x02]].concat());
    corpus
}

/// A decoder that has some entries.
fn warm() -> Decoder {
    let mut decoder = Decoder::default();
    let block = [literal("first", "1"), literal("second", "22"), literal("third", &"3".repeat(100))].concat();
    assert!(decode(&mut decoder, &block).is_ok());
    decoder
}

#[test]
fn every_truncation_and_every_bit_flip_ends_within_the_limits() {
    let small = ListLimits { bytes_max: 150, fields_max: 4 };
    for block in corpus() {
        for end in 0..block.len() {
            attack(&mut warm(), &block[..end], LIMITS).ok();
            attack(&mut warm(), &block[..end], small).ok();
        }
        for bit in 0..block.len() * 8 {
            let mut flipped = block.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            attack(&mut warm(), &flipped, LIMITS).ok();
            attack(&mut warm(), &flipped, small).ok();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn any_bytes_end_within_the_limits(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..6),
        bytes_max in 0..400_usize,
        fields_max in 0..6_usize,
    ) {
        let mut decoder = warm();
        for block in blocks {
            if attack(&mut decoder, &block, ListLimits { bytes_max, fields_max }).is_err() {
                break;
            }
        }
    }

    /// The limits decide what is stored in the list, and nothing else.
    #[test]
    fn limits_do_not_change_the_table(
        blocks in prop::collection::vec(prop::collection::vec((0..4_u8, 0..90_usize, 0..90_usize), 0..6), 1..6),
        table_bytes in 0..400_usize,
        bytes_max in 50..400_usize,
    ) {
        let (mut narrow, mut wide) = (Decoder::default(), Decoder::default());
        for decoder in [&mut narrow, &mut wide] {
            decoder.table.set_size_max(table_bytes);
        }
        let (mut some, mut all) = (FieldList::default(), FieldList::default());
        for fields in blocks {
            let block = block_of(&fields);
            let limits = ListLimits { bytes_max, fields_max: 4 };
            match (wide.decode(&block, WIDE, &mut all), narrow.decode(&block, limits, &mut some)) {
                (Ok(_), Ok(decoded)) => {
                    let (some, all) = (pairs(&some), pairs(&all));
                    prop_assert_eq!(&some[..], &all[..some.len()]);
                    prop_assert_eq!(decoded == Decoded::All, some.len() == all.len());
                }
                (Ok(_), Err(error)) => {
                    prop_assert_eq!(error, DecodeError::Excessive);
                    break;
                }
                (wide, narrow) => {
                    prop_assert_eq!(wide, narrow);
                    break;
                }
            }
            prop_assert_eq!(entries(&narrow), entries(&wide));
        }
    }
}

/// References to entries, of which some may not exist, and literals.
fn block_of(fields: &[(u8, usize, usize)]) -> Vec<u8> {
    let representation = |(kind, name_len, value_len): &(u8, usize, usize)| match kind {
        0 => vec![0x80 | (61 + name_len % 4) as u8],
        _ => literal(&"n".repeat(*name_len), &"v".repeat(*value_len)),
    };
    fields.iter().flat_map(representation).collect()
}

fn entries(decoder: &Decoder) -> Vec<Vec<u8>> {
    let text = |(name, value): (Text<'_>, Text<'_>)| {
        let mut text = Vec::new();
        name.append_to(&mut text, usize::MAX);
        text.extend_from_slice(b": ");
        value.append_to(&mut text, usize::MAX);
        text
    };
    (0..).map_while(|nth| decoder.table.get(nth)).map(text).collect()
}
