//! Which calls are made, for `tidemill explain`. Every thread has its own counters, so counting is an addition.

use std::cell::Cell;

/// System calls of one thread, by kind. Those that a `walk` needs where openat2 is missing, and those that read a
/// directory's entries, are not among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// `openat`: the root itself
    pub root: u64,
    /// `openat2`, or `openat` where all links are followed
    pub open: u64,
    /// `fstat`, `newfstatat`
    pub stat: u64,
    /// `pread64`
    pub read: u64,
    /// `preadv2`: reads that do not wait
    pub read_resident: u64,
    /// `statx`: whether an open file has changed, without waiting
    pub look: u64,
}

thread_local! {
    static CALLS: Cell<Calls> = const { Cell::new(Calls { root: 0, open: 0, stat: 0, read: 0, read_resident: 0, look: 0 }) };
}

/// The calls of this thread since it was last asked.
pub fn take_calls() -> Calls {
    CALLS.take()
}

/// Notes calls of this thread.
pub(super) fn count(add: impl FnOnce(&mut Calls)) {
    let mut calls = CALLS.get();
    add(&mut calls);
    CALLS.set(calls);
}
