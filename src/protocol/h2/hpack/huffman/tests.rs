use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn encoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(text.iter().copied(), &mut out);
    out
}

fn decoded(code: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut out = b"before".to_vec();
    let len = decode(code, &mut out, usize::MAX)?;
    assert_eq!(out.len(), 6 + len);
    Ok(out.split_off(6))
}

/// Reads bit by bit, until the bits are a code.
fn naively_decoded(code: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let codes: HashMap<_, _> = (0..SYMBOLS).map(|symbol| ((LENGTHS[symbol], TABLES.codes[symbol]), symbol)).collect();
    let (mut text, mut bits, mut len) = (Vec::new(), 0_u32, 0_u8);
    for byte in code {
        for bit in (0..8).rev() {
            bits = bits << 1 | u32::from(byte >> bit & 1);
            len += 1;
            match codes.get(&(len, bits)) {
                Some(256) => return Err(EOS_IN_STRING),
                Some(symbol) => {
                    text.push(*symbol as u8);
                    (bits, len) = (0, 0);
                }
                None => {}
            }
        }
    }
    if len < 8 && bits == (1 << len) - 1 { Ok(text) } else { Err(BAD_PADDING) }
}

#[test]
fn codes_are_those_of_the_rfc() {
    // Appendix B: some of each length, the first and the last where there are several.
    let some = [
        (48, 0x0),
        (116, 0x9),
        (32, 0x14),
        (117, 0x2d),
        (58, 0x5c),
        (122, 0x7b),
        (38, 0xf8),
        (90, 0xfd),
        (33, 0x3f8),
        (63, 0x3fc),
        (39, 0x7fa),
        (124, 0x7fc),
        (35, 0xffa),
        (62, 0xffb),
        (0, 0x1ff8),
        (126, 0x1ffd),
        (94, 0x3ffc),
        (125, 0x3ffd),
        (60, 0x7ffc),
        (123, 0x7ffe),
        (92, 0x7fff0),
        (208, 0x7fff2),
        (128, 0xfffe6),
        (226, 0xfffed),
        (153, 0x1fffdc),
        (230, 0x1fffe8),
        (129, 0x3fffd2),
        (233, 0x3fffeb),
        (1, 0x7fffd8),
        (239, 0x7ffff4),
        (9, 0xffffea),
        (237, 0xfffff5),
        (199, 0x1ffffec),
        (235, 0x1ffffef),
        (192, 0x3ffffe0),
        (255, 0x3ffffee),
        (203, 0x7ffffde),
        (254, 0x7fffff0),
        (2, 0xfffffe2),
        (249, 0xffffffe),
        (10, 0x3ffffffc),
        (256, 0x3fffffff),
    ];
    for (symbol, code) in some {
        assert_eq!(TABLES.codes[symbol], code, "symbol {symbol}");
    }
}

#[test]
fn the_strings_of_the_rfc() {
    // Appendix C.4 and C.6.
    let strings: [(&str, &[u8]); 5] = [
        ("www.example.com", &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]),
        ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
        ("custom-key", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f]),
        ("302", &[0x64, 0x02]),
        ("", &[]),
    ];
    for (text, code) in strings {
        assert_eq!(encoded(text.as_bytes()), code, "{text}");
        assert_eq!(decoded(code).as_deref(), Ok(text.as_bytes()), "{text}");
    }
}

#[test]
fn every_symbol_comes_back_alone_and_next_to_every_other() {
    for first in 0..=u8::MAX {
        for second in 0..=u8::MAX {
            let text = [first, second, first];
            assert_eq!(decoded(&encoded(&text)).as_deref(), Ok(&text[..]));
        }
    }
}

#[test]
fn padding_is_at_most_seven_bits_that_are_1() {
    // `0` has the code 00000.
    assert_eq!(decoded(&[0b0000_0111]).as_deref(), Ok(&b"0"[..]));
    for wrong in 0b000..0b111 {
        assert_eq!(decoded(&[wrong]), Err(BAD_PADDING), "{wrong:03b}");
    }
    // Codes of 8 bits need no padding; a byte of it is too much, however it looks.
    assert_eq!(decoded(&[0xf8]).as_deref(), Ok(&b"&"[..]));
    for padding in [0xff, 0xfe] {
        assert_eq!(decoded(&[0xf8, padding]), Err(BAD_PADDING), "{padding:02x}");
    }
    for padding in 1..4 {
        assert_eq!(decoded(&vec![0xff; padding]), Err(BAD_PADDING), "{padding} bytes");
    }
}

#[test]
fn eos_is_an_error_wherever_it_stands() {
    // 30 bits that are 1, and then padding.
    assert_eq!(decoded(&[0xff; 4]), Err(EOS_IN_STRING));
    // The two bits behind EOS do not matter.
    assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc]), Err(EOS_IN_STRING));
    assert_eq!(decoded(&[0xf8, 0xff, 0xff, 0xff, 0xff, 0xf8]), Err(EOS_IN_STRING));
}

#[test]
fn a_string_that_is_too_long_is_read_to_its_end() {
    let code = encoded(b"www.example.com");
    for max in 0..20 {
        let mut out = Vec::new();
        assert_eq!(decode(&code, &mut out, max), Ok(15));
        assert_eq!(out, b"www.example.com"[..max.min(15)]);
    }
    let eos_at_the_end = [&code[..], &[0xff; 4]].concat();
    assert_eq!(decode(&eos_at_the_end, &mut Vec::new(), 1), Err(EOS_IN_STRING));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_string_comes_back(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let code = encoded(&text);
        prop_assert_eq!(code.len(), encoded_len(text.iter().copied()));
        prop_assert_eq!(naively_decoded(&code), Ok(text.clone()));
        prop_assert_eq!(decoded(&code), Ok(text));
    }

    #[test]
    fn any_bits_mean_what_they_mean_bit_by_bit(
        code in prop::collection::vec(prop_oneof![3 => any::<u8>(), 2 => Just(0xff), 1 => Just(0xfe)], 0..24),
    ) {
        prop_assert_eq!(decoded(&code), naively_decoded(&code));
    }

    #[test]
    fn any_bits_mean_the_same_elsewhere(code in prop::collection::vec(any::<u8>(), 1..24)) {
        // The other implementation does not look at the padding: what we take, it reads in the same way.
        if let Ok(text) = decoded(&code) {
            prop_assert_eq!(elsewhere(&code), text);
        }
    }
}

/// What the other implementation makes of the code, which stands in a literal field with an empty name.
fn elsewhere(code: &[u8]) -> Vec<u8> {
    let mut block = vec![0x00, 0x00, 0x80 | code.len() as u8];
    block.extend_from_slice(code);
    let mut fields = Vec::new();
    httlib_hpack::Decoder::default().decode(&mut block, &mut fields).expect("it decodes");
    fields.remove(0).1
}
