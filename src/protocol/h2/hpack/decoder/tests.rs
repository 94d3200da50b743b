use super::*;

mod attacks;
mod vectors;

/// Far more than any test needs.
const WIDE: ListLimits = ListLimits { bytes_max: 1 << 20, fields_max: 1000 };

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs(list: &FieldList) -> Pairs {
    list.fields(0).iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

fn owned(fields: &[(&str, &str)]) -> Pairs {
    fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Pairs, DecodeError> {
    let mut list = FieldList::default();
    assert_eq!(decoder.decode(block, WIDE, &mut list)?, Decoded::All);
    Ok(pairs(&list))
}

fn refusal(block: &[u8]) -> CompressionError {
    match decode(&mut Decoder::default(), block) {
        Err(DecodeError::Compression(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// `name: value` as a literal that is added to the table, without Huffman code.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![LITERAL_INDEXED.bits];
    for text in [name, value] {
        integer::encode(&mut block, STRING, text.len() as u32);
        block.extend_from_slice(text.as_bytes());
    }
    block
}

fn size_update(size: u32) -> Vec<u8> {
    let mut block = Vec::new();
    integer::encode(&mut block, SIZE_UPDATE, size);
    block
}

#[test]
fn an_index_needs_an_entry() {
    assert_eq!(refusal(&[0x80]), INDEX_ZERO);
    assert_eq!(refusal(&[0x80 | 62]), NO_ENTRY);
    assert_eq!(refusal(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x07]), NO_ENTRY);
    // As a name.
    assert_eq!(refusal(&[0x7f, 0x00, 0x01, b'a']), NO_ENTRY);
    assert_eq!(refusal(&[0x0f, 0x2f, 0x01, b'a']), NO_ENTRY);
    let mut decoder = Decoder::default();
    let block = [literal("a", "b"), vec![0x80 | 62]].concat();
    assert_eq!(decode(&mut decoder, &block), Ok(owned(&[("a", "b"), ("a", "b")])));
    assert_eq!(decode(&mut decoder, &[0x80 | 63]), Err(NO_ENTRY.into()));
}

#[test]
fn table_size_updates_stand_in_front_and_there_are_at_most_two() {
    let update = size_update(100);
    assert_eq!(decode(&mut Decoder::default(), &update), Ok(vec![]));
    assert_eq!(decode(&mut Decoder::default(), &update.repeat(2)), Ok(vec![]));
    assert_eq!(refusal(&update.repeat(3)), TOO_MANY_UPDATES);
    assert_eq!(refusal(&[&[0x82], &update[..]].concat()), LATE_UPDATE);
    assert_eq!(refusal(&[&update[..], &[0x82], &update].concat()), LATE_UPDATE);
    assert_eq!(refusal(&size_update(4097)), UPDATE_TOO_LARGE);
    assert_eq!(decode(&mut Decoder::default(), &size_update(4096)), Ok(vec![]));
}

#[test]
fn a_table_size_update_evicts() {
    let mut decoder = Decoder::default();
    let block = [literal("a", "1"), literal("b", "2")].concat();
    assert!(decode(&mut decoder, &block).is_ok());
    assert_eq!(decode(&mut decoder, &[size_update(34), vec![0xbe]].concat()), Ok(owned(&[("b", "2")])));
    assert_eq!(decode(&mut decoder, &[0xbf]), Err(NO_ENTRY.into()));
    let mut decoder = Decoder::default();
    assert!(decode(&mut decoder, &block).is_ok());
    let emptied = [size_update(0), size_update(4096), vec![0xbe]].concat();
    assert_eq!(decode(&mut decoder, &emptied), Err(NO_ENTRY.into()));
}

#[test]
fn a_smaller_setting_must_be_followed_by_an_update() {
    let mut decoder = Decoder::default();
    decoder.set_table_size(100);
    assert_eq!(decode(&mut decoder, &[0x82]), Err(UPDATE_MISSING.into()));
    let mut decoder = Decoder::default();
    decoder.set_table_size(100);
    assert_eq!(decode(&mut decoder, &[size_update(101), vec![0x82]].concat()), Err(UPDATE_TOO_LARGE.into()));
    let mut decoder = Decoder::default();
    decoder.set_table_size(100);
    let block = [size_update(100), vec![0x82]].concat();
    assert_eq!(decode(&mut decoder, &block), Ok(owned(&[(":method", "GET")])));
    assert_eq!(decode(&mut decoder, &[0x82]), Ok(owned(&[(":method", "GET")])), "once is enough");
    decoder.set_table_size(4096);
    assert_eq!(decode(&mut decoder, &[0x82]), Ok(owned(&[(":method", "GET")])), "a larger one need not be used");
    assert_eq!(decoder.table.size_max(), 100);
}

#[test]
fn a_block_ends_with_a_field() {
    let block = [literal("name", "value"), vec![0x82], literal("x", "")].concat();
    let whole_fields = [0, 12, 13, 17];
    for end in 0..=block.len() {
        let decoded = decode(&mut Decoder::default(), &block[..end]);
        match whole_fields.iter().position(|whole| *whole == end) {
            Some(fields) => assert_eq!(decoded.map(|fields| fields.len()), Ok(fields)),
            None => assert_eq!(decoded, Err(TRUNCATED.into()), "{end} bytes"),
        }
    }
}

#[test]
fn a_name_may_be_that_of_an_entry_that_is_evicted_for_it() {
    // §4.4: the new entry needs the room of the one whose name it has.
    let mut decoder = Decoder::default();
    let value = "v".repeat(4000);
    assert!(decode(&mut decoder, &literal("name", &value)).is_ok());
    let mut block = vec![LITERAL_INDEXED.bits | 62];
    integer::encode(&mut block, STRING, 4000);
    block.extend_from_slice(value.as_bytes());
    block.push(0xbe);
    assert_eq!(decode(&mut decoder, &block), Ok(owned(&[("name", &value), ("name", &value)])));
    assert_eq!(decoder.table.len(), 1);
}

#[test]
fn the_list_has_room_for_exactly_what_it_may() {
    let block = [literal("name", "value"), vec![0xbe]].concat();
    let decoded = |bytes_max, fields_max| {
        let mut list = FieldList::default();
        let decoded = Decoder::default().decode(&block, ListLimits { bytes_max, fields_max }, &mut list);
        (decoded, list.fields(0).len(), list.size(), list.bytes.len())
    };
    assert_eq!(decoded(82, 2), (Ok(Decoded::All), 2, 82, 18));
    assert_eq!(decoded(81, 2), (Ok(Decoded::TooLarge), 1, 41, 9));
    assert_eq!(decoded(82, 1), (Ok(Decoded::TooLarge), 1, 41, 9));
    assert_eq!(decoded(40, 2), (Ok(Decoded::TooLarge), 0, 0, 0));
}

#[test]
fn the_table_stays_right_when_the_list_is_too_large() {
    let limits = ListLimits { bytes_max: 100, fields_max: 10 };
    let (mut decoder, mut list) = (Decoder::default(), FieldList::default());
    let long = "v".repeat(300);
    let block = [literal("first", "1"), literal("long", &long), literal("last", "2"), vec![0x82]].concat();
    assert_eq!(decoder.decode(&block, limits, &mut list), Ok(Decoded::TooLarge));
    assert_eq!(pairs(&list), owned(&[("first", "1")]), "a small field behind a large one is not in it either");
    assert!(list.bytes.capacity() < 1024);
    assert_eq!(decode(&mut decoder, &[0xbe, 0xbf, 0xc0]), Ok(owned(&[("last", "2"), ("long", &long), ("first", "1")])));
    // Larger than the table: it is empty then, as that of the peer (§4.4).
    let block = [literal("large", &"v".repeat(4060)), literal("last", "3")].concat();
    assert_eq!(decoder.decode(&block, ListLimits { bytes_max: 1000, ..limits }, &mut list), Ok(Decoded::TooLarge));
    assert_eq!(decode(&mut decoder, &[0xbe]), Ok(owned(&[("last", "3")])));
    assert_eq!(decoder.table.len(), 1);
}

#[test]
fn an_idle_decoder_has_no_memory_of_its_own() {
    let mut decoder = Decoder::default();
    assert_eq!(decode(&mut decoder, &[0x82, 0x86, 0x84]).map(|fields| fields.len()), Ok(3));
    assert_eq!(decoder.memory_bytes(), 0, "static entries need none");
}
