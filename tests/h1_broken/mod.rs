//! Ways to cut and to break what arrives, for the properties of HTTP/1.

use proptest::prelude::*;
use proptest::sample::select;

/// `input` in pieces of these lengths, over and over.
pub fn pieces<'a>(mut input: &'a [u8], cuts: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = cuts.iter().cycle();
    std::iter::from_fn(move || {
        let (piece, rest) = input.split_at(input.len().min(*lengths.next()?));
        input = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// One way to break input. Places are parts of its length, in 65536ths.
#[derive(Debug, Clone)]
pub enum Mutation {
    Replace(u16, u8),
    Insert(u16, u8),
    Remove(u16, u8),
    Repeat(u16, u8),
    Truncate(u16),
}

impl Mutation {
    pub fn apply(&self, input: &mut Vec<u8>) {
        let place = |at: &u16| input.len() * usize::from(*at) / 65_536;
        match self {
            Mutation::Insert(at, byte) => input.insert(place(at), *byte),
            _ if input.is_empty() => {}
            Mutation::Replace(at, byte) => {
                let at = place(at);
                input[at] = *byte;
            }
            Mutation::Remove(at, len) => {
                let at = place(at);
                input.drain(at..input.len().min(at + usize::from(*len)));
            }
            Mutation::Repeat(at, len) => {
                let at = place(at);
                let repeated = input[at..input.len().min(at + usize::from(*len))].to_vec();
                input.splice(at..at, repeated);
            }
            Mutation::Truncate(at) => input.truncate(place(at)),
        }
    }
}

pub fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = || prop_oneof![3 => select(b"\r\n\r\n \t:;,0123af/#%[]\0\x7f\x80".to_vec()), 1 => any::<u8>()];
    prop_oneof![
        4 => (any::<u16>(), byte()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        4 => (any::<u16>(), byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        4 => (any::<u16>(), 1u8..4).prop_map(|(at, len)| Mutation::Remove(at, len)),
        2 => (any::<u16>(), 1u8..60).prop_map(|(at, len)| Mutation::Repeat(at, len)),
        1 => any::<u16>().prop_map(Mutation::Truncate),
    ]
}
