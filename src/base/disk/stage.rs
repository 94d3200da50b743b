//! Lets a test do something at the exact step where it hurts: after a file was read, before anything else is asked.

use std::cell::RefCell;

type Act = Box<dyn FnMut()>;

thread_local! {
    static ACT: RefCell<Option<Act>> = const { RefCell::new(None) };
}

/// Does this after each read of a file on this thread, until the result is dropped.
#[must_use]
pub fn act_after_reads(act: impl FnMut() + 'static) -> Acting {
    ACT.set(Some(Box::new(act)));
    Acting
}

/// Ends the act when it is dropped.
pub struct Acting;

impl Drop for Acting {
    fn drop(&mut self) {
        ACT.set(None);
    }
}

pub(super) fn after_read() {
    // Taken out meanwhile, so that an act that reads does not act on itself.
    if let Some(mut act) = ACT.take() {
        act();
        ACT.set(Some(act));
    }
}
