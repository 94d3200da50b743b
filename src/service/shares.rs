//! Permissions that are limited in number, each given back when it is dropped: they bound what some of the responses, or
//! WebSockets, may cost beyond all others.

use std::cell::Cell;
use std::rc::Rc;

/// How many permissions are held. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Shares(Rc<Cell<usize>>);

/// A permission.
#[derive(Debug)]
pub struct Share(Rc<Cell<usize>>);

impl Shares {
    /// One more permission, unless `max` are held already.
    pub fn take(&self, max: usize) -> Option<Share> {
        let held = self.held();
        (held < max).then(|| {
            self.0.set(held + 1);
            Share(Rc::clone(&self.0))
        })
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.0.get()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_may_are_given_and_counted_together() {
        let shares = Shares::default();
        let (first, second) = (shares.take(2), shares.clone().take(2));
        assert!(first.is_some() && second.is_some() && shares.take(2).is_none());
        drop(first);
        assert_eq!(shares.held(), 1);
        assert!(shares.take(2).is_some() && shares.take(0).is_none());
    }
}
