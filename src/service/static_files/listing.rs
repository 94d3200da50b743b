//! Listings of folders: read once on a job thread, kept compactly, and streamed as a page or as JSON.

mod escape;
mod html;
mod json;
mod source;
#[cfg(test)]
mod tests;
mod utc;

use std::cmp::Ordering;
use std::io;

pub(super) use self::escape::{append, append_shortened, append_text};
pub use self::html::CONTENT_SECURITY_POLICY;
pub(super) use self::html::{Above, append_crumb, append_opening};
pub use self::source::{Form, ListingSource};
use crate::http::target::Target;

/// What a folder says about one of its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name: one path segment, any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// Whether it is a folder.
    pub is_directory: bool,
    /// Length in bytes; means nothing for a folder.
    pub len: u64,
    /// When it was last modified, in seconds since 1970, if that is known and not before.
    pub modified_secs: Option<u64>,
}

/// What a listing is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// The name, first without regard to ASCII case.
    Name,
    /// The length. Folders have none.
    Size,
    /// The time of the last modification; the unknown is older than everything.
    Time,
}

impl SortKey {
    /// All of them, as the columns of the page.
    pub const ALL: [SortKey; 3] = [SortKey::Name, SortKey::Size, SortKey::Time];

    /// How the query names it.
    pub fn as_str(self) -> &'static str {
        match self {
            SortKey::Name => "name",
            SortKey::Size => "size",
            SortKey::Time => "time",
        }
    }

    /// The order that is looked for first: names from A, but the largest and the newest on top.
    pub fn first_order(self) -> Order {
        Order { key: self, descending: self != SortKey::Name }
    }
}

/// How a listing is sorted. Folders come first in every order, and the name decides where the key does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub key: SortKey,
    /// Whether the greatest comes first.
    pub descending: bool,
}

impl Order {
    /// The order that `?sort=name|size|time&order=asc|desc` asks for; what is missing or unknown is left to us.
    pub fn asked(target: &Target<'_>) -> Order {
        let sort = target.query_parameter("sort");
        let key = SortKey::ALL.into_iter().find(|key| sort == Some(key.as_str().as_bytes())).unwrap_or(SortKey::Name);
        match target.query_parameter("order") {
            Some(b"asc") => Order { key, descending: false },
            Some(b"desc") => Order { key, descending: true },
            _ => key.first_order(),
        }
    }

    /// The same the other way round.
    pub fn reversed(self) -> Order {
        Order { descending: !self.descending, ..self }
    }

    fn directed(self, ordering: Ordering) -> Ordering {
        if self.descending { ordering.reverse() } else { ordering }
    }
}

/// A folder's members in order: all names behind one another, and 24 bytes for each member.
#[derive(Debug)]
pub struct Listing {
    names: Vec<u8>,
    records: Vec<Record>,
    order: Order,
    left_out: u64,
}

/// What is kept of an entry.
#[derive(Debug, Clone, Copy)]
struct Record {
    /// 0 for a folder.
    len: u64,
    /// `UNKNOWN` if it is not known.
    modified_secs: u64,
    name_start: u32,
    name_len: u16,
    is_directory: bool,
}

/// Stands for an unknown time. As a time it would lie half a billion millennia ahead.
const UNKNOWN: u64 = u64::MAX;

/// A member of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member<'a> {
    name: &'a [u8],
    is_directory: bool,
    len: u64,
    modified_secs: Option<u64>,
}

impl Listing {
    /// Takes all `entries`, which may block, and sorts them. Of what does not fit into `bytes_max` bytes (nor into
    /// 4 GiB) only the number is kept; while it grows, a listing may take twice that space. `.` and `..` are skipped.
    ///
    /// # Errors
    /// The first error among the entries: half a folder must not pass for a whole one.
    pub fn build(
        entries: impl IntoIterator<Item = io::Result<Entry>>,
        order: Order,
        bytes_max: usize,
    ) -> io::Result<Listing> {
        let mut listing = Listing { names: Vec::new(), records: Vec::new(), order, left_out: 0 };
        for entry in entries {
            let entry = entry?;
            if !matches!(&entry.name[..], b"." | b"..") && !listing.add(&entry, bytes_max) {
                listing.left_out += 1;
            }
        }
        listing.sort();
        listing.names.shrink_to_fit();
        listing.records.shrink_to_fit();
        Ok(listing)
    }

    /// Whether the entry fits and is now a member.
    fn add(&mut self, entry: &Entry, bytes_max: usize) -> bool {
        let (Ok(name_start), Ok(name_len)) = (u32::try_from(self.names.len()), u16::try_from(entry.name.len())) else {
            return false;
        };
        if self.bytes_used() + size_of::<Record>() + entry.name.len() > bytes_max {
            return false;
        }
        let len = if entry.is_directory { 0 } else { entry.len };
        let modified_secs = entry.modified_secs.unwrap_or(UNKNOWN);
        self.names.extend_from_slice(&entry.name);
        self.records.push(Record { len, modified_secs, name_start, name_len, is_directory: entry.is_directory });
        true
    }

    fn bytes_used(&self) -> usize {
        self.names.len() + self.records.len() * size_of::<Record>()
    }

    fn sort(&mut self) {
        let (names, order) = (&self.names[..], self.order);
        self.records.sort_unstable_by(|a, b| compare(order, &a.member(names), &b.member(names)));
    }

    /// How much memory this listing holds, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Listing>() + self.names.capacity() + self.records.capacity() * size_of::<Record>()
    }

    /// How many members are kept.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many members the folder has besides those.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How it is sorted.
    pub fn order(&self) -> Order {
        self.order
    }

    /// How many of the members are folders; they come first.
    fn folders(&self) -> usize {
        self.records.partition_point(|record| record.is_directory)
    }

    fn member(&self, index: usize) -> Member<'_> {
        self.records[index].member(&self.names)
    }
}

impl Record {
    fn member<'a>(&self, names: &'a [u8]) -> Member<'a> {
        let name = &names[self.name_start as usize..][..usize::from(self.name_len)];
        let modified_secs = (self.modified_secs != UNKNOWN).then_some(self.modified_secs);
        Member { name, is_directory: self.is_directory, len: self.len, modified_secs }
    }
}

fn compare(order: Order, a: &Member<'_>, b: &Member<'_>) -> Ordering {
    let by_key = || match order.key {
        SortKey::Name => compare_names(a.name, b.name),
        SortKey::Size => a.len.cmp(&b.len),
        SortKey::Time => a.modified_secs.cmp(&b.modified_secs),
    };
    let folders_first = b.is_directory.cmp(&a.is_directory);
    folders_first.then_with(|| order.directed(by_key())).then_with(|| compare_names(a.name, b.name))
}

fn compare_names(a: &[u8], b: &[u8]) -> Ordering {
    let without_case = a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase));
    without_case.then_with(|| a.cmp(b))
}
