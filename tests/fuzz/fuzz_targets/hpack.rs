//! Any bytes as field blocks of one connection: fields or an error, within the limits, and no panic. What was decoded
//! is encoded again, and then decoded to the same.
//!
//! The first three bytes choose the limits and the length of the blocks.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill::protocol::h2::fields::{FieldList, ListLimits};
use tidemill::protocol::h2::hpack::decoder::{Decoded, Decoder};
use tidemill::protocol::h2::hpack::encoder::Encoder;

/// Twice the table, since memory grows by doubling.
const TABLE_MEMORY_MAX: usize = 8192;

fuzz_target!(|bytes: &[u8]| {
    let [bytes_max, fields_max, len, blocks @ ..] = bytes else { return };
    let limits = ListLimits { bytes_max: usize::from(*bytes_max) * 16, fields_max: usize::from(*fields_max) };
    let (mut decoder, mut list) = (Decoder::default(), FieldList::default());
    let (mut encoder, mut mirror, mut copy) = (Encoder::default(), Decoder::default(), FieldList::default());
    for block in blocks.chunks(usize::from(*len) + 1) {
        let decoded = decoder.decode(block, limits, &mut list);
        assert!(list.size() <= limits.bytes_max && list.fields(0).len() <= limits.fields_max);
        assert!(decoder.memory_bytes() <= TABLE_MEMORY_MAX);
        list.fields(0).iter().for_each(|(name, value)| assert!(name.len() + value.len() + 32 <= limits.bytes_max));
        if decoded.is_err() {
            return;
        }
        // The table is as large as the block is long, now and then.
        if block.len() % 7 == 0 {
            encoder.set_table_size(block.len() * 8);
            mirror.set_table_size(block.len() * 8);
        }
        let mut out = Vec::new();
        let mut encoding = encoder.block(&mut out);
        list.fields(0).iter().for_each(|(name, value)| encoding.field(name, value));
        assert_eq!(mirror.decode(&out, limits, &mut copy), Ok(Decoded::All));
        let same = |((name, value), (copied_name, copied_value)): ((&[u8], &[u8]), (&[u8], &[u8]))| {
            assert_eq!((name.to_ascii_lowercase().as_slice(), value), (copied_name, copied_value));
        };
        assert_eq!(list.fields(0).len(), copy.fields(0).len());
        list.fields(0).iter().zip(copy.fields(0).iter()).for_each(same);
    }
});
