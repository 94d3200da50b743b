//! Any bytes as the response of a name server: an answer or an error, within the limits, and no panic. Names that were read
//! are read again from what they are sent as.
//!
//! The first byte chooses the query. The id and the question of a response are put in front of the rest, because hardly
//! any input would have them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill::protocol::dns::{ADDRESSES_MAX, AddressType, Answer, Name, Query};

fuzz_target!(|bytes: &[u8]| {
    let [choice, rest @ ..] = bytes else { return };
    let address_type = if choice & 1 == 0 { AddressType::A } else { AddressType::Aaaa };
    let Ok(name) = Name::parse("a.example") else { return };
    let query = Query { id: 7, name, address_type, has_edns: choice & 2 == 0 };
    let _ = query.read(rest);
    let [high, low, counts @ ..] = rest else { return };
    let Some((counts, records)) = counts.split_at_checked(6) else { return };
    let question = &query.encode()[12..12 + query.name.wire().len() + 4];
    let message = [&[0, 7, *high, *low, 0, 1], counts, question, records].concat();
    match query.read(&message) {
        Ok(Answer::Addresses(addresses, ttl)) => {
            assert!((1..=ADDRESSES_MAX).contains(&addresses.len()) && ttl <= i32::MAX as u32);
            assert!(addresses.is_sorted());
        }
        Ok(Answer::NoSuchName(name)) => {
            if let Ok(again) = Name::parse(&name.to_string()) {
                assert_eq!(again, name);
            }
        }
        _ => {}
    }
});
