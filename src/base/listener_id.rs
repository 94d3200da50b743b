//! Which of the listeners.

use std::fmt;

/// Names a listener for as long as the server runs. Listeners are numbered in the order in which they are opened, from 0 on, and
/// no number is given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ListenerId(u32);

impl ListenerId {
    /// That of connections which no listener has accepted.
    pub const NONE: ListenerId = ListenerId(u32::MAX);

    /// The listener with this number.
    pub const fn new(number: u32) -> ListenerId {
        ListenerId(number)
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener {}", self.0)
    }
}
