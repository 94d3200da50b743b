use proptest::prelude::*;

use super::*;

fn owned(text: Text<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    text.append_to(&mut out, usize::MAX);
    out
}

fn entries(table: &DynamicTable) -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..).map_while(|nth| table.get(nth)).map(|(name, value)| (owned(name), owned(value))).collect()
}

#[test]
fn every_static_name_is_found_in_any_case_at_its_first_index() {
    for index in 1..=STATIC_LEN {
        let (name, value) = static_entry(index).unwrap();
        let found = StaticName::find(name).unwrap();
        let first = STATIC.iter().position(|(other, _)| other.as_bytes() == name).unwrap() + 1;
        assert_eq!((found.index(), found.as_bytes()), (first, name));
        assert_eq!(StaticName::find(&name.to_ascii_uppercase()), Some(found));
        assert_eq!(found.with_value(value), (!value.is_empty()).then_some(index));
        assert_eq!(found.with_value(b"no"), None);
    }
    for other in ["", "x", "dat", "dates", "server-timing", ":Statu", "content-tipe"] {
        assert_eq!(StaticName::find(other.as_bytes()), None, "{other}");
    }
    assert_eq!((static_entry(0), static_entry(STATIC_LEN + 1)), (None, None));
}

#[test]
fn the_static_table_is_that_of_the_rfc() {
    // Appendix A: the ends, and what stands at the indices by which others are known.
    let some = [
        (1, ":authority", ""),
        (2, ":method", "GET"),
        (8, ":status", "200"),
        (14, ":status", "500"),
        (16, "accept-encoding", "gzip, deflate"),
        (28, "content-length", ""),
        (33, "date", ""),
        (54, "server", ""),
        (61, "www-authenticate", ""),
    ];
    for (index, name, value) in some {
        assert_eq!(static_entry(index), Some((name.as_bytes(), value.as_bytes())));
    }
}

#[test]
fn entries_leave_in_the_order_they_came() {
    let mut table = DynamicTable::new(70);
    table.insert(b"a", b"1", true);
    table.insert(b"b", b"2", true);
    assert_eq!((table.len(), table.size()), (2, 68));
    table.insert(b"c", b"3333", true);
    assert_eq!(entries(&table), [(b"c".to_vec(), b"3333".to_vec())], "37 bytes need the room of both");
    table.set_size_max(37);
    assert_eq!(table.len(), 1);
    table.set_size_max(36);
    assert_eq!((table.len(), table.size()), (0, 0));
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut table = DynamicTable::new(40);
    table.insert(b"a", b"1", true);
    table.insert(b"b", &[b'2'; 7], true);
    assert_eq!(table.len(), 1, "it fits exactly");
    table.insert(b"c", &[b'3'; 8], true);
    assert_eq!((table.len(), table.size()), (0, 0));
}

#[test]
fn an_empty_table_has_no_memory_and_a_full_one_is_bounded() {
    let mut table = DynamicTable::new(DEFAULT_TABLE_BYTES);
    assert_eq!(table.memory_bytes(), 0);
    for round in 0..1000_usize {
        table.insert(&[b'n'; 20][..round % 21], &[b'v'; 4000][..round * round % 4001], true);
        assert!(table.memory_bytes() <= 2 * DEFAULT_TABLE_BYTES, "{}", table.memory_bytes());
    }
}

#[test]
fn text_is_compared_and_cut_across_its_pieces() {
    let text = Text([b"con", b"tent"]);
    assert!(text.is(b"content") && text.is_ignoring_case(b"ConTent"));
    for other in [&b"con"[..], b"", b"conten", b"contents", b"xontent", b"contenx"] {
        assert!(!text.is(other) && !text.is_ignoring_case(other));
    }
    for max in 0..9 {
        let mut out = Vec::new();
        text.append_to(&mut out, max);
        assert_eq!(out, b"content"[..max.min(7)]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Against a list of owned pairs.
    #[test]
    fn a_table_is_a_list_cut_at_its_size(
        steps in prop::collection::vec((0..8_usize, 0..40_usize, 0..200_usize), 0..60),
    ) {
        let (mut table, mut naive, mut max) = (DynamicTable::new(300), Vec::new(), 300);
        for (number, (kind, name_len, len)) in steps.into_iter().enumerate() {
            if kind == 0 {
                max = len * 2;
                table.set_size_max(max);
            } else {
                let text = |len: usize| (0..len).map(|at| (number * 7 + at) as u8).collect::<Vec<_>>();
                table.insert(&text(name_len), &text(len), true);
                naive.insert(0, (text(name_len), text(len)));
            }
            let mut size = 0;
            naive.truncate(naive.iter().take_while(|(name, value)| {
                size += name.len() + value.len() + 32;
                size <= max
            }).count());
            prop_assert_eq!(entries(&table), &naive[..]);
        }
    }
}
