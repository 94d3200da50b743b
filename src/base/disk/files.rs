//! How many files may be open at a time: descriptors are shared with connections, and no side may take all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Places for open files. A handle: clones share them.
#[derive(Debug, Clone)]
pub struct Files(Arc<AtomicUsize>);

/// A place that one open file takes, until it is closed.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Files {
    /// So many places, all of them free.
    pub fn new(places: usize) -> Files {
        Files(Arc::new(AtomicUsize::new(places)))
    }

    /// Takes a place, if one is free.
    pub fn take_place(&self) -> Option<Place> {
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1));
        taken.ok().map(|_| Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
