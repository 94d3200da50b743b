//! The last request that had a route, and which one.
//!
//! Clients ask for the same things again and again. What was found by host and path alone is found again by comparing these.

use std::cell::RefCell;

use crate::base::listener_id::ListenerId;

/// Longer ones are not kept, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// The place of a route: that of its site, and its own there.
pub type Place = (usize, usize);

/// The last request.
#[derive(Debug, Default)]
pub struct Last(RefCell<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The authority and the path, one behind the other.
    texts: Vec<u8>,
    authority_len: usize,
    listener: ListenerId,
    place: Option<Place>,
}

impl Last {
    /// The place of the route of a request through this listener for this authority and this path, if the last one was for the same.
    #[inline]
    pub fn get(&self, listener: ListenerId, authority: &[u8], path: &[u8]) -> Option<Place> {
        let known = self.0.borrow();
        let (known_authority, known_path) = known.texts.split_at_checked(known.authority_len)?;
        let is_same = known_path == path && known_authority == authority && known.listener == listener;
        if is_same { known.place } else { None }
    }

    /// That is the place of the route.
    pub fn set(&self, listener: ListenerId, authority: &[u8], path: &[u8], place: Place) {
        if authority.len() + path.len() <= TEXT_BYTES_MAX {
            let known = &mut *self.0.borrow_mut();
            known.texts.clear();
            known.texts.extend_from_slice(authority);
            known.texts.extend_from_slice(path);
            (known.authority_len, known.listener, known.place) = (authority.len(), listener, Some(place));
        }
    }
}
