//! From fields to field blocks (RFC 7541 §2.3, §6).
//!
//! Which fields are added to the dynamic table decides how short the blocks become. A field that comes again and again
//! costs one byte there. But an entry evicts others, so a field with a value of its own in each response must not be
//! added. Most fields are therefore added when they come for the second time. Some are added at once because they are
//! known to repeat, some never because they are known not to, and secrets never because they must not
//! ([`Indexing`]).

use std::collections::VecDeque;

use super::table::{self, DEFAULT_TABLE_BYTES, DynamicTable, STATIC_LEN, StaticName};
use super::{
    INDEXED, LITERAL, LITERAL_INDEXED, LITERAL_NEVER_INDEXED, Pattern, SIZE_UPDATE, STRING, STRING_HUFFMAN, huffman,
    integer,
};
use crate::http::date::DateCache;
use crate::http::fields::field_hash;
use crate::http::status::Status;

#[cfg(test)]
mod tests;

/// How many of the last fields that were not added are remembered.
const SEEN_MAX: usize = 16;
/// Dates that the table may have. Then it is emptied, and what still repeats is added again.
const DATES_MAX: u8 = 8;
/// A shorter cookie can be guessed, and its length tells whether the guess was right (RFC 7541 §7.1.3).
const COOKIE_LEN_MIN: usize = 20;

const STATUS: StaticName = StaticName::of(":status");
const DATE: StaticName = StaticName::of("date");
const CONTENT_TYPE: StaticName = StaticName::of("content-type");
const CONTENT_LENGTH: StaticName = StaticName::of("content-length");
const COOKIE: StaticName = StaticName::of("cookie");

/// Marks the entries that are dates. Those of other fields are odd.
const DATE_TAG: u32 = 0;

/// What becomes of a field that is not in the dynamic table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Indexing {
    /// It is added: it is the same in most responses.
    Always,
    /// It is added if it came a short while ago.
    IfRepeated,
    /// It is not added: its value is hardly ever the same.
    Without,
    /// It is not added, and nobody who passes it on may add it (§6.2.3): it is a secret. Somebody who can have his own
    /// fields compressed in the same table would otherwise see by their length whether he guessed it (§7.1).
    Never,
}

/// What is known about the names of the static table. The others are added if they repeat.
static INDEXING: [(Indexing, &[StaticName]); 3] = [
    (
        Indexing::Always,
        &[
            STATUS,
            StaticName::of("accept-ranges"),
            StaticName::of("access-control-allow-origin"),
            StaticName::of("allow"),
            StaticName::of("cache-control"),
            StaticName::of("content-encoding"),
            StaticName::of("content-language"),
            CONTENT_TYPE,
            StaticName::of("server"),
            StaticName::of("strict-transport-security"),
            StaticName::of("vary"),
        ],
    ),
    (
        Indexing::Without,
        &[
            CONTENT_LENGTH,
            StaticName::of(":path"),
            StaticName::of("age"),
            StaticName::of("content-location"),
            StaticName::of("content-range"),
            StaticName::of("expires"),
            StaticName::of("location"),
        ],
    ),
    (
        Indexing::Never,
        &[StaticName::of("authorization"), StaticName::of("proxy-authorization"), StaticName::of("set-cookie")],
    ),
];

/// `INDEXING` by the index of the name.
static INDEXING_BY_NAME: [Indexing; STATIC_LEN + 1] = {
    let mut by_name = [Indexing::IfRepeated; STATIC_LEN + 1];
    let mut group = 0;
    while group < INDEXING.len() {
        let (indexing, names) = INDEXING[group];
        let mut nth = 0;
        while nth < names.len() {
            by_name[names[nth].index()] = indexing;
            nth += 1;
        }
        group += 1;
    }
    by_name
};

/// The sending direction of a connection.
#[derive(Debug)]
pub struct Encoder {
    table: DynamicTable,
    /// A hash of each entry of the table, the newest first.
    tags: VecDeque<u32>,
    /// The hashes of the last fields that were not added.
    seen: [u32; SEEN_MAX],
    /// Which of them is the oldest.
    seen_oldest: u8,
    /// How many dates have been added since the table was empty.
    dates: u8,
    /// The date that was sent last.
    date: LastDate,
    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    setting: usize,
    /// The table never becomes larger than this, whatever the peer allows, in bytes.
    table_bytes_max: usize,
    /// The next block begins with a change of the table's size. This is the smallest size since the last block.
    smallest: Option<usize>,
}

/// The date that was sent last.
#[derive(Debug, Default)]
struct LastDate {
    /// Since 1970.
    second: u64,
    /// It has been added to the table. It may have been evicted since.
    is_indexed: bool,
}

impl Default for Encoder {
    /// One whose table is as large as any peer allows until it has said something.
    fn default() -> Encoder {
        Encoder::new(DEFAULT_TABLE_BYTES)
    }
}

impl Encoder {
    /// One whose table never becomes larger than `table_bytes_max`, whatever the peer allows.
    pub fn new(table_bytes_max: usize) -> Encoder {
        let mut encoder = Encoder {
            table: DynamicTable::new(DEFAULT_TABLE_BYTES),
            tags: VecDeque::new(),
            seen: [DATE_TAG; SEEN_MAX],
            seen_oldest: 0,
            dates: 0,
            date: LastDate::default(),
            setting: DEFAULT_TABLE_BYTES,
            table_bytes_max,
            smallest: None,
        };
        // The first block says so if it is smaller than the peer expects (RFC 7541 §4.2).
        encoder.set_table_size(DEFAULT_TABLE_BYTES);
        encoder
    }

    /// The peer has set SETTINGS_HEADER_TABLE_SIZE, in bytes. The next block says how much of it is used (RFC 7541 §4.2).
    pub fn set_table_size(&mut self, bytes: usize) {
        let size = bytes.min(self.table_bytes_max);
        // A smaller setting is answered even if the table had been smaller all the time (RFC 9113 §4.3.1).
        if bytes < self.setting || size != self.table.size_max() {
            self.shrink(size);
        }
        self.setting = bytes;
    }

    /// Evicts what does not fit into `size` bytes, which the next block will say.
    fn shrink(&mut self, size: usize) {
        let smallest = self.smallest.map_or(size, |smallest| smallest.min(size));
        self.smallest = Some(smallest);
        self.table.set_size_max(smallest);
        self.tags.truncate(self.table.len());
    }

    /// Begins a field block, which is added to `out`. All of it must be sent, and blocks must be sent in the order in which
    /// they were begun, because the peer's table follows them.
    pub fn block<'e>(&'e mut self, out: &'e mut Vec<u8>) -> Block<'e> {
        if self.dates >= DATES_MAX {
            // Dates that are over would fill the table, and evict what still repeats. They cannot be removed alone.
            self.shrink(0);
            self.dates = 0;
        }
        if let Some(smallest) = self.smallest.take() {
            let size = self.setting.min(self.table_bytes_max);
            if smallest < size {
                integer::encode(out, SIZE_UPDATE, smallest as u32);
            }
            integer::encode(out, SIZE_UPDATE, size as u32);
            self.table.set_size_max(size);
        }
        Block { encoder: self, out }
    }

    /// The place of a field in the dynamic table; the newest is at 0.
    #[inline]
    fn find(&self, tag: u32, name: &[u8], value: &[u8]) -> Option<usize> {
        let is_it = |nth: usize| {
            self.table.get(nth).is_some_and(|(has_name, has)| has.is(value) && has_name.is_ignoring_case(name))
        };
        self.tagged(tag, is_it)
    }

    /// The place of the newest entry with this tag for which `is_it` holds.
    #[inline]
    fn tagged(&self, tag: u32, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        // Slices are searched several tags at a time.
        let (front, back) = self.tags.as_slices();
        [(0, front), (front.len(), back)].into_iter().find_map(|(start, tags)| {
            let mut from = 0;
            while let Some(at) = tags[from..].iter().position(|has| *has == tag) {
                let nth = start + from + at;
                if is_it(nth) {
                    return Some(nth);
                }
                from += at + 1;
            }
            None
        })
    }

    /// Whether a field with this hash came a short while ago and was not added. It did from now on.
    fn was_seen(&mut self, tag: u32) -> bool {
        let was_seen = self.seen.contains(&tag);
        if !was_seen {
            self.seen[usize::from(self.seen_oldest)] = tag;
            self.seen_oldest = (self.seen_oldest + 1) % SEEN_MAX as u8;
        }
        was_seen
    }

    fn insert(&mut self, tag: u32, name: Name<'_>, value: &[u8]) {
        match name {
            Name::Static(name) => self.table.insert(name.as_bytes(), value, true),
            Name::Other(name) => self.table.insert_lower_case(name, value),
        }
        self.tags.push_front(tag);
        self.tags.truncate(self.table.len());
    }

    /// How much memory the dynamic table takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.tags.capacity() * size_of::<u32>()
    }
}

/// A name, in any case. It is sent in lower case (RFC 9113 §8.2).
#[derive(Debug, Clone, Copy)]
enum Name<'a> {
    Static(StaticName),
    Other(&'a [u8]),
}

impl Name<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Name::Static(name) => name.as_bytes(),
            Name::Other(name) => name,
        }
    }
}

/// A field block that is being written. Pseudo-fields must come first (RFC 9113 §8.3).
#[derive(Debug)]
pub struct Block<'e> {
    encoder: &'e mut Encoder,
    out: &'e mut Vec<u8>,
}

impl Block<'_> {
    /// Adds `:status` (RFC 9113 §8.3.2).
    pub fn status(&mut self, status: Status) {
        if status == Status::OK {
            return self.indexed(STATUS.index());
        }
        let mut digits = [0; DECIMAL_LEN_MAX];
        self.known(STATUS, decimal(&mut digits, status.code().into()));
    }

    /// Adds `content-length` (RFC 9110 §8.6).
    pub fn content_length(&mut self, length: u64) {
        let mut digits = [0; DECIMAL_LEN_MAX];
        self.known(CONTENT_LENGTH, decimal(&mut digits, length));
    }

    /// Adds `date` (RFC 9110 §6.6.1). The first response of a second has it as a literal, the second one adds it to the
    /// table, and those that follow refer to it. A connection with one response a second adds none.
    pub fn date(&mut self, date: &DateCache) {
        let is_last = date.second() == self.encoder.date.second;
        if !is_last {
            self.encoder.date = LastDate { second: date.second(), is_indexed: false };
            return self.literal(LITERAL, Name::Static(DATE), date.as_bytes());
        }
        // The newest date in the table is the last one that was added.
        let newest = self.encoder.tagged(DATE_TAG, |_| true);
        if let (true, Some(nth)) = (self.encoder.date.is_indexed, newest) {
            return self.indexed(STATIC_LEN + 1 + nth);
        }
        if self.add(DATE_TAG, Name::Static(DATE), date.as_bytes()) {
            self.encoder.date.is_indexed = true;
            self.encoder.dates += 1;
        }
    }

    /// Adds a field. `name` may be in any case. Neither is checked here: use it for what comes from `FieldName` and
    /// `FieldValue`.
    pub fn field(&mut self, name: &[u8], value: &[u8]) {
        self.hashed_field(field_hash(name, value), name, value);
    }

    /// The same, if the [hash](field_hash) of the field is known.
    pub fn hashed_field(&mut self, hash: u32, name: &[u8], value: &[u8]) {
        let tag = hash | 1;
        if let Some(nth) = self.encoder.find(tag, name, value) {
            return self.indexed(STATIC_LEN + 1 + nth);
        }
        match StaticName::find(name) {
            Some(name) => self.missing(tag, name, value),
            None => self.add_if(Indexing::IfRepeated, tag, Name::Other(name), value),
        }
    }

    /// Adds a field whose value hardly ever comes again: it takes no place in the table. As for [`field`](Self::field),
    /// nothing is checked.
    pub fn passing_field(&mut self, name: &[u8], value: &[u8]) {
        self.literal(LITERAL, Name::Other(name), value);
    }

    /// Adds a field whose name is in the static table.
    pub fn known(&mut self, name: StaticName, value: &[u8]) {
        let tag = field_hash(name.as_bytes(), value) | 1;
        match self.encoder.find(tag, name.as_bytes(), value) {
            Some(nth) => self.indexed(STATIC_LEN + 1 + nth),
            None => self.missing(tag, name, value),
        }
    }

    /// Adds a field whose name is in the static table, and which is not in the dynamic one.
    fn missing(&mut self, tag: u32, name: StaticName, value: &[u8]) {
        let indexing = match INDEXING_BY_NAME[name.index()] {
            _ if name == COOKIE && value.len() < COOKIE_LEN_MIN => Indexing::Never,
            // Its boundary may be another one each time (RFC 2046 §5.1.1).
            _ if name == CONTENT_TYPE && value.starts_with(b"multipart/") => Indexing::IfRepeated,
            indexing => indexing,
        };
        if indexing == Indexing::Never {
            return self.literal(LITERAL_NEVER_INDEXED, Name::Static(name), value);
        }
        match name.with_value(value) {
            Some(index) => self.indexed(index),
            None if indexing == Indexing::Without => self.literal(LITERAL, Name::Static(name), value),
            None => self.add_if(indexing, tag, Name::Static(name), value),
        }
    }

    /// Adds a field, and also adds it to the table if it will repeat.
    fn add_if(&mut self, indexing: Indexing, tag: u32, name: Name<'_>, value: &[u8]) {
        if indexing == Indexing::Always || self.encoder.was_seen(tag) {
            self.add(tag, name, value);
        } else {
            self.literal(LITERAL, name, value);
        }
    }

    /// Adds a literal field to the block, and also to the table unless that would cost most of its other entries. Says
    /// whether the table has it.
    fn add(&mut self, tag: u32, name: Name<'_>, value: &[u8]) -> bool {
        let size = table::entry_size(name.as_bytes().len(), value.len());
        let fits = size <= self.encoder.table.size_max() / 2;
        self.literal(if fits { LITERAL_INDEXED } else { LITERAL }, name, value);
        if fits {
            self.encoder.insert(tag, name, value);
        }
        fits
    }

    fn indexed(&mut self, index: usize) {
        integer::encode(self.out, INDEXED, index as u32);
    }

    fn literal(&mut self, pattern: Pattern, name: Name<'_>, value: &[u8]) {
        match name {
            Name::Static(name) => integer::encode(self.out, pattern, name.index() as u32),
            Name::Other(name) => {
                integer::encode(self.out, pattern, 0);
                self.string(name.iter().map(u8::to_ascii_lowercase));
            }
        }
        self.string(value.iter().copied());
    }

    /// A string, in Huffman code if that is shorter (§5.2).
    fn string(&mut self, text: impl ExactSizeIterator<Item = u8> + Clone) {
        let (len, code_len) = (text.len(), huffman::encoded_len(text.clone()));
        if code_len < len {
            integer::encode(self.out, STRING_HUFFMAN, code_len as u32);
            huffman::encode(text, self.out);
        } else {
            integer::encode(self.out, STRING, len as u32);
            self.out.extend(text);
        }
    }
}

/// The digits of `u64::MAX`.
const DECIMAL_LEN_MAX: usize = 20;

/// The decimal digits of a number, at the end of `digits`.
fn decimal(digits: &mut [u8; DECIMAL_LEN_MAX], mut number: u64) -> &[u8] {
    let mut start = DECIMAL_LEN_MAX;
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}
