//! A bounded map from paths to what was found there; what has not been asked for lately goes first.

use std::collections::HashMap;

use slab::Slab;

/// Values by path, within a number of bytes and of open files.
///
/// The clock algorithm decides which entry is removed: a hit sets the entry's flag; a hand goes round, clears the flags that
/// it passes, and removes the first entry without one.
#[derive(Debug)]
pub struct Cache<V> {
    index: HashMap<Box<[u8]>, usize>,
    entries: Slab<Entry<V>>,
    hand: usize,
    bytes: usize,
    bytes_max: usize,
    files: usize,
    files_max: usize,
}

#[derive(Debug)]
struct Entry<V> {
    path: Box<[u8]>,
    value: V,
    bytes: usize,
    files: usize,
    asked_for: bool,
}

impl<V> Cache<V> {
    /// An empty cache of at most `bytes_max` bytes and `files_max` open files. With 0 bytes it keeps nothing.
    pub fn new(bytes_max: usize, files_max: usize) -> Cache<V> {
        Cache { index: HashMap::new(), entries: Slab::new(), hand: 0, bytes: 0, bytes_max, files: 0, files_max }
    }

    /// Whether anything can be kept at all.
    pub fn is_enabled(&self) -> bool {
        self.bytes_max > 0
    }

    /// What is kept for `path`.
    pub fn get(&mut self, path: &[u8]) -> Option<&mut V> {
        let entry = &mut self.entries[*self.index.get(path)?];
        entry.asked_for = true;
        Some(&mut entry.value)
    }

    /// Keeps `value`, which takes `bytes` and so many open `files`, in place of what was kept for `path`. What is too large
    /// for the whole cache is not kept.
    pub fn insert(&mut self, path: &[u8], value: V, bytes: usize, files: usize) {
        self.remove(path);
        if bytes > self.bytes_max || files > self.files_max {
            return;
        }
        let path: Box<[u8]> = path.into();
        let key = self.entries.insert(Entry { path: path.clone(), value, bytes, files, asked_for: true });
        self.index.insert(path, key);
        self.bytes += bytes;
        self.files += files;
        self.evict();
    }

    /// Says that what is kept for `path` takes `bytes` more than before.
    pub fn grow(&mut self, path: &[u8], bytes: usize) {
        if let Some(key) = self.index.get(path) {
            self.entries[*key].bytes += bytes;
            self.bytes += bytes;
            self.evict();
        }
    }

    /// Forgets `path`.
    pub fn remove(&mut self, path: &[u8]) -> Option<V> {
        let entry = self.entries.remove(self.index.remove(path)?);
        self.bytes -= entry.bytes;
        self.files -= entry.files;
        Some(entry.value)
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn evict(&mut self) {
        while self.bytes > self.bytes_max || self.files > self.files_max {
            self.hand = if self.hand + 1 < self.entries.capacity() { self.hand + 1 } else { 0 };
            let Some(entry) = self.entries.get_mut(self.hand) else { continue };
            if !std::mem::take(&mut entry.asked_for) {
                let path = std::mem::take(&mut entry.path);
                self.remove(&path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_asked_for_stays_longer() {
        let mut cache = Cache::new(100, 10);
        for path in [b"a", b"b", b"c"] {
            cache.insert(path, path[0], 30, 0);
        }
        // The first round clears all flags; the next insertion finds entries without one.
        cache.insert(b"d", b'd', 30, 0);
        assert_eq!(cache.bytes(), 90);
        let left: Vec<u8> = b"abcd".iter().copied().filter(|path| cache.get(&[*path]).is_some()).collect();
        assert_eq!(left.len(), 3);
    }

    #[test]
    fn an_entry_that_grows_makes_room_for_itself() {
        let mut cache = Cache::new(100, 10);
        cache.insert(b"a", 1, 40, 0);
        cache.insert(b"b", 2, 40, 0);
        cache.grow(b"a", 30);
        assert!(cache.bytes() <= 100);
        cache.grow(b"nobody", 1000);
        assert!(cache.bytes() <= 100);
    }

    #[test]
    fn a_cache_of_no_bytes_keeps_nothing() {
        let mut cache = Cache::new(0, 10);
        cache.insert(b"a", 1, 1, 0);
        assert_eq!(cache.get(b"a"), None);
        assert!(!cache.is_enabled());
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_what_is_found_is_what_was_put(
            steps in proptest::collection::vec((0u8..20, 1usize..60, 0usize..6, 0u8..4), 0..200))
        {
            let mut cache = Cache::new(100, 4);
            let mut model: HashMap<u8, usize> = HashMap::new();
            for (path, bytes, files, what) in steps {
                match what {
                    0 => { cache.remove(&[path]); model.remove(&path); }
                    1 => cache.grow(&[path], bytes),
                    _ => { cache.insert(&[path], bytes, bytes, files); model.insert(path, bytes); }
                }
                prop_assert!(cache.bytes() <= 100 && cache.files <= 4);
                prop_assert_eq!(cache.entries.iter().map(|(_, entry)| entry.files).sum::<usize>(), cache.files);
                prop_assert_eq!(cache.index.len(), cache.entries.len());
                prop_assert_eq!(cache.entries.iter().map(|(_, entry)| entry.bytes).sum::<usize>(), cache.bytes());
                if let Some(found) = cache.get(&[path]) {
                    prop_assert_eq!(Some(&*found), model.get(&path));
                }
            }
        }
    }
}
