//! A bounded table that remembers keys until a moment: the buckets of a rate limit, and passwords that were wrong.
//!
//! A key belongs to one set of eight entries and is looked for nowhere else, so that each call looks at eight entries,
//! whoever asks and however many there are. An entry whose moment has passed says no more than one that is missing. So a
//! new key takes the place of the entry whose moment comes first: it has passed, unless all eight are still needed.

/// Entries of a set.
const WAYS: usize = 8;

/// Pairs of a key and its moment. The moment 0 has passed: so a table begins as zeros, and the system gives no memory for the
/// pages of it that nobody has written to.
type Set = [(u64, u64); WAYS];

/// Moments by key. Keys are hashes with a secret key, so that nobody can choose which set is full. Moments are nanoseconds
/// since the owner began, which are later than 0.
#[derive(Debug)]
pub struct Expiries {
    sets: Vec<Set>,
    /// Entries that were looked at so far.
    #[cfg(test)]
    looks: std::cell::Cell<u64>,
}

impl Expiries {
    /// A table for at least so many keys: 16 bytes each.
    pub fn new(keys: usize) -> Expiries {
        let sets = vec![[(0, 0); WAYS]; keys.div_ceil(WAYS).next_power_of_two()];
        Expiries {
            sets,
            #[cfg(test)]
            looks: Default::default(),
        }
    }

    /// The moment of this key; 0 if it is not remembered.
    pub fn get(&self, key: u64) -> u64 {
        self.note_looks();
        let set = &self.sets[self.index(key)];
        set.iter().find(|(known, _)| *known == key).map_or(0, |(_, until)| *until)
    }

    /// Remembers the key until this moment, instead of the one that it was remembered until.
    pub fn put(&mut self, key: u64, until: u64) {
        self.note_looks();
        let index = self.index(key);
        // The entry of the key itself comes first, if there is one; then the earliest moment.
        let place = |(known, until): &(u64, u64)| if *known == key { (0, 0) } else { (1, *until) };
        if let Some(entry) = self.sets[index].iter_mut().min_by_key(|entry| place(entry)) {
            *entry = (key, until);
        }
    }

    fn index(&self, key: u64) -> usize {
        key as usize & (self.sets.len() - 1)
    }

    fn note_looks(&self) {
        #[cfg(test)]
        self.looks.set(self.looks.get() + WAYS as u64);
    }

    #[cfg(test)]
    pub fn looks(&self) -> u64 {
        self.looks.get()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_remembered_with_its_last_moment() {
        let mut table = Expiries::new(64);
        assert_eq!(table.get(5), 0);
        table.put(5, 70);
        table.put(6, 80);
        table.put(5, 60);
        assert_eq!((table.get(5), table.get(6), table.get(7)), (60, 80, 0));
    }

    #[test]
    fn in_a_full_set_the_earliest_moment_gives_way() {
        let mut table = Expiries::new(WAYS);
        for key in 0..8 {
            table.put(key, 100 + key);
        }
        table.put(50, 1000);
        assert_eq!((table.get(0), table.get(1), table.get(50)), (0, 101, 1000));
        table.put(7, 1);
        table.put(51, 2000);
        assert_eq!((table.get(7), table.get(1), table.get(51)), (0, 101, 2000));
    }

    #[test]
    fn a_flood_of_keys_costs_eight_looks_a_call_and_no_memory() {
        let mut table = Expiries::new(1024);
        let memory = table.sets.capacity();
        for key in 0..200_000_u64 {
            table.put(key.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1 + key);
            table.get(key);
        }
        assert_eq!(table.looks(), 200_000 * 2 * WAYS as u64);
        assert_eq!((table.sets.len() * WAYS, table.sets.capacity()), (1024, memory));
    }

    proptest! {
        /// As long as no set is full it is a map.
        #[test]
        fn it_is_a_map_while_there_is_room(calls in prop::collection::vec((0..8_u64, 1..1000_u64), 0..50)) {
            let (mut table, mut oracle) = (Expiries::new(1), HashMap::new());
            for (key, until) in calls {
                table.put(key, until);
                oracle.insert(key, until);
                for key in 0..8 {
                    prop_assert_eq!(table.get(key), oracle.get(&key).copied().unwrap_or(0));
                }
            }
        }

        /// Whoever is forgotten has the earliest moment of its set.
        #[test]
        fn nobody_is_forgotten_for_somebody_earlier(calls in prop::collection::vec((0..40_u64, 1..1000_u64), 0..100)) {
            let mut table = Expiries::new(16);
            for (key, until) in calls {
                let index = table.index(key);
                let before = table.sets[index];
                table.put(key, until);
                let gone = before.iter().find(|(known, _)| *known != key && !table.sets[index].iter().any(|(k, _)| k == known));
                if let Some((_, earliest)) = gone {
                    prop_assert!(before.iter().all(|(_, moment)| moment >= earliest));
                    prop_assert!(before.iter().all(|(known, _)| *known != key));
                }
            }
        }
    }
}
