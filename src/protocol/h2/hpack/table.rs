//! The static and the dynamic table (RFC 7541 §2.3).

use std::collections::VecDeque;

use crate::protocol::h2::fields::FIELD_OVERHEAD_BYTES;

#[cfg(test)]
mod tests;

/// The size of a dynamic table until a setting changes it, in bytes (RFC 9113 §6.5.2: SETTINGS_HEADER_TABLE_SIZE).
pub const DEFAULT_TABLE_BYTES: usize = 4096;

/// The static table (RFC 7541 Appendix A). Its first entry has the index 1.
#[rustfmt::skip]
static STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// How many entries the static table has. The newest entry of the dynamic table has the next index (§2.3.3).
pub const STATIC_LEN: usize = STATIC.len();

/// The entry of the static table with this index, from 1 on.
pub fn static_entry(index: usize) -> Option<(&'static [u8], &'static [u8])> {
    let (name, value) = STATIC.get(index.checked_sub(1)?)?;
    Some((name.as_bytes(), value.as_bytes()))
}

/// A name of the static table: the first index at which it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticName(u8);

impl StaticName {
    /// The one that is called so. A name that is not in the table does not compile in a `const`.
    pub const fn of(name: &str) -> StaticName {
        match StaticName::find(name.as_bytes()) {
            Some(found) => found,
            None => panic!("the static table has no such name"),
        }
    }

    /// The one that is called so, in any case.
    #[inline]
    pub const fn find(name: &[u8]) -> Option<StaticName> {
        if name.is_empty() {
            return None;
        }
        let index = NAMES[slot(name)];
        if index == 0 || !STATIC[index as usize - 1].0.as_bytes().eq_ignore_ascii_case(name) {
            return None;
        }
        Some(StaticName(index))
    }

    /// Its index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The name, in lower case.
    pub fn as_bytes(self) -> &'static [u8] {
        STATIC[self.index() - 1].0.as_bytes()
    }

    /// The index of the static entry that has this name and this value. No name is there for empty values.
    #[inline]
    pub fn with_value(self, value: &[u8]) -> Option<usize> {
        let first = self.index();
        let entries =
            STATIC[first - 1..].iter().take_while(|(name, has)| *name == STATIC[first - 1].0 && !has.is_empty());
        (first..).zip(entries).find(|(_, (_, has))| has.as_bytes() == value).map(|(index, _)| index)
    }
}

/// For each slot the first index of the name that belongs there, or 0. No two names share one: the factors in `slot` were
/// chosen for that, and the compiler checks it.
static NAMES: [u8; 128] = {
    let mut names = [0; 128];
    let mut index = STATIC.len();
    while index > 0 {
        let name = STATIC[index - 1].0.as_bytes();
        let slot = slot(name);
        let same = names[slot] == 0 || STATIC[names[slot] as usize - 1].0.as_bytes().eq_ignore_ascii_case(name);
        assert!(same, "two names share a slot");
        names[slot] = index as u8;
        index -= 1;
    }
    names
};

/// A number below 128 that depends on the length of a name and on its first and last byte in lower case.
const fn slot(name: &[u8]) -> usize {
    let first = name[0].to_ascii_lowercase() as usize;
    let last = name[name.len() - 1].to_ascii_lowercase() as usize;
    (name.len() * 3 + first * 54 + last * 59) % 128
}

/// A dynamic table (§2.3.2): first in, first out, bounded by the size of its entries.
///
/// It has no memory until there is an entry. The memory then grows with what it holds, up to twice as much.
#[derive(Debug)]
pub struct DynamicTable {
    /// The newest first, as they are counted.
    entries: VecDeque<Entry>,
    /// Name and value of all entries, the oldest first.
    text: VecDeque<u8>,
    /// How many bytes of text have been evicted, modulo 2^32.
    evicted: u32,
    size: usize,
    size_max: usize,
}

/// Where an entry lies in all the text that has ever been added, modulo 2^32.
#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    name_len: u32,
    value_len: u32,
    /// Name and value keep the rules for fields.
    is_right: bool,
}

impl DynamicTable {
    /// An empty table for entries of at most `size_max` bytes in all.
    pub fn new(size_max: usize) -> DynamicTable {
        DynamicTable { entries: VecDeque::new(), text: VecDeque::new(), evicted: 0, size: 0, size_max }
    }

    /// Changes the maximum size, and evicts the oldest entries until the rest fits (§4.3).
    pub fn set_size_max(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.evict_down_to(size_max);
    }

    /// Adds an entry, for which the oldest ones make room. `is_right`: it keeps the rules for fields. An entry that is larger than the table empties it and is not
    /// added; that is no error (§4.4).
    pub fn insert(&mut self, name: &[u8], value: &[u8], is_right: bool) {
        let size = entry_size(name.len(), value.len());
        self.evict_down_to(self.size_max.saturating_sub(size));
        if size > self.size_max {
            return;
        }
        let start = self.evicted.wrapping_add(self.text.len() as u32);
        self.text.extend(name);
        self.text.extend(value);
        self.entries.push_front(Entry { start, name_len: name.len() as u32, value_len: value.len() as u32, is_right });
        self.size += size;
    }

    /// As [`insert`](DynamicTable::insert), with the name in lower case. The field keeps the rules.
    pub fn insert_lower_case(&mut self, name: &[u8], value: &[u8]) {
        self.insert(name, value, true);
        let end = self.text.len().saturating_sub(value.len());
        self.text.range_mut(end.saturating_sub(name.len())..end).for_each(|byte| byte.make_ascii_lowercase());
    }

    fn evict_down_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else { return };
            let len = oldest.name_len + oldest.value_len;
            self.text.drain(..len as usize);
            self.evicted = self.evicted.wrapping_add(len);
            self.size -= entry_size(oldest.name_len as usize, oldest.value_len as usize);
        }
    }

    /// Whether an entry was found to keep the rules for fields when it was added.
    #[inline]
    pub fn is_right(&self, nth: usize) -> bool {
        self.entries.get(nth).is_some_and(|entry| entry.is_right)
    }

    /// The name and the value of an entry; the newest one is at 0.
    #[inline]
    pub fn get(&self, nth: usize) -> Option<(Text<'_>, Text<'_>)> {
        let entry = self.entries.get(nth)?;
        let start = entry.start.wrapping_sub(self.evicted) as usize;
        let value_start = start + entry.name_len as usize;
        Some((self.text(start, entry.name_len as usize), self.text(value_start, entry.value_len as usize)))
    }

    fn text(&self, start: usize, len: usize) -> Text<'_> {
        let (front, back) = self.text.as_slices();
        let end = start + len;
        let in_front = &front[start.min(front.len())..end.min(front.len())];
        let in_back = &back[start.saturating_sub(front.len())..end.saturating_sub(front.len())];
        Text([in_front, in_back])
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The size of all entries as §4.1 counts it, in bytes.
    #[cfg(test)]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The most that `size` may be.
    pub fn size_max(&self) -> usize {
        self.size_max
    }

    /// How much memory its entries take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.text.capacity()
    }
}

/// What an entry counts for in the size of a table, in bytes (§4.1).
pub fn entry_size(name_len: usize, value_len: usize) -> usize {
    name_len + value_len + FIELD_OVERHEAD_BYTES
}

/// A name or a value in a table. It is in two pieces if it wraps around the end of the memory.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a>([&'a [u8]; 2]);

impl<'a> Text<'a> {
    /// Text that is in one piece.
    pub fn whole(text: &'a [u8]) -> Text<'a> {
        Text([text, &[]])
    }

    /// The number of bytes.
    pub fn len(self) -> usize {
        self.0[0].len() + self.0[1].len()
    }

    /// Adds the first `max` bytes to `out`, or all if there are fewer.
    pub fn append_to(self, out: &mut Vec<u8>, max: usize) {
        let [front, back] = self.0;
        let from_front = front.len().min(max);
        out.extend_from_slice(&front[..from_front]);
        out.extend_from_slice(&back[..back.len().min(max - from_front)]);
    }

    /// Whether these are its bytes.
    #[inline]
    pub fn is(self, other: &[u8]) -> bool {
        let [front, back] = self.0;
        other.split_at_checked(front.len()).is_some_and(|(first, rest)| first == front && rest == back)
    }

    /// Whether these are its bytes but for the case of letters.
    pub fn is_ignoring_case(self, other: &[u8]) -> bool {
        let [front, back] = self.0;
        let split = other.split_at_checked(front.len());
        split.is_some_and(|(first, rest)| first.eq_ignore_ascii_case(front) && rest.eq_ignore_ascii_case(back))
    }
}
