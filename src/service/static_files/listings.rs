//! How many bytes the listings on their way out may hold together.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::listing::{Entry, Form, Listing, ListingSource, Order};
use crate::base::disk::{EntryKind, Found, NotServed, Seen};
use crate::base::ring::Room;
use crate::http::body::{Failure, Pull};
use crate::http::exchange::{Cx, Source};
use crate::service::static_files::Site;
use crate::service::static_files::resolve::is_hidden;

/// What one listing may hold, in bytes: about half a million entries.
const LISTING_BYTES_MAX: usize = 24 * 1024 * 1024;
/// What all of them may hold.
const LISTINGS_BYTES_MAX: usize = 48 * 1024 * 1024;

/// How much memory the listings on their way out take.
#[derive(Debug, Clone, Default)]
pub struct Listings(Rc<Cell<usize>>);

impl Listings {
    /// Whether one more can be made.
    pub fn have_room(&self) -> bool {
        self.0.get() < LISTINGS_BYTES_MAX
    }

    /// The content that a listing is sent as. Its bytes count until it is dropped.
    pub fn source(&self, listing: Listing, form: Form, path: &[u8]) -> impl Source + use<> {
        let bytes = listing.bytes();
        self.0.set(self.0.get() + bytes);
        Counted { source: ListingSource::new(Arc::new(listing), form, path), bytes, listings: self.clone() }
    }
}

struct Counted {
    source: ListingSource,
    bytes: usize,
    listings: Listings,
}

impl Source for Counted {
    fn length(&self) -> Option<u64> {
        self.source.length()
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        self.source.pull(room, cx)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.listings.0.set(self.listings.0.get() - self.bytes);
    }
}

/// Reads a directory. What cannot be served is not listed. May block, for long.
pub fn read(site: &Site, path: &[u8], order: Order) -> Result<Listing, NotServed> {
    // A file may have taken its place since it was looked up.
    let Found::Directory(directory) = site.root.open()?.find(path)? else { return Err(NotServed::NotFound) };
    let entries = directory.entries()?;
    let shown = entries.filter_map(|entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        if (is_hidden(&entry.name) && !site.show_hidden) || entry.kind == EntryKind::Other {
            return None;
        }
        let (meta, is_directory) = match directory.meta_of(&entry).ok()? {
            Seen::File(meta) => (meta, false),
            Seen::Directory(meta) => (meta, true),
        };
        let modified_secs = u64::try_from(meta.modified.secs).ok();
        Some(Ok(Entry { name: entry.name, is_directory, len: meta.len, modified_secs }))
    });
    Listing::build(shown, order, LISTING_BYTES_MAX).map_err(NotServed::Failed)
}
