//! A table of names that the configuration chooses.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Names and what belongs to them. Clients add none, so they cannot choose names whose hashes are the same: the hash may be a
/// cheap one.
#[derive(Debug, Clone)]
pub struct Table<V>(HashMap<Name, V, BuildHasherDefault<NameHasher>>);

/// A name in a table.
type Name = Box<[u8]>;

impl<V> Default for Table<V> {
    fn default() -> Table<V> {
        Table(HashMap::default())
    }
}

impl<V> Table<V> {
    /// What belongs to this name, if it is there.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<&V> {
        self.0.get(name)
    }

    /// The value belongs to the name from now on. Returns what did before.
    pub fn insert(&mut self, name: &[u8], value: V) -> Option<V> {
        self.0.insert(name.into(), value)
    }

    /// Whether no name is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'n, V> FromIterator<(&'n [u8], V)> for Table<V> {
    fn from_iter<I: IntoIterator<Item = (&'n [u8], V)>>(names: I) -> Table<V> {
        Table(names.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

/// A multiplication for each eight bytes.
#[derive(Debug, Default)]
struct NameHasher(u64);

impl NameHasher {
    /// 2^64 divided by the golden ratio: its bits look random (Knuth, The Art of Computer Programming, 6.4).
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(Self::FACTOR).rotate_left(23);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            self.add(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn write_usize(&mut self, length: usize) {
        self.add(length as u64);
    }

    /// The table looks at the highest bits and at the lowest.
    fn finish(&self) -> u64 {
        self.0
    }
}
