//! What we ask of the kernel: a pure function of a connection's state, in this one place.
//!
//! | the direction does not move because | READ | WRITE | who moves it next |
//! |---|---|---|---|
//! | the kernel has nothing, or no room | on | on | the kernel |
//! | the inbox is full | **off** | – | our own progress |
//! | nothing to send | – | off | the other side |
//! | end of input seen | off for good | as needed | – |
//!
//! Not here: while the budget is what stopped a direction, the run queue moves it and the interest stays as it is.

use crate::net::Interest;

/// What the interest depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// The peer has ended its direction.
    pub(super) input_ended: bool,
    /// Nothing more can be received until something is consumed.
    pub(super) inbox_full: bool,
    /// There is something to send and the kernel has no room for it.
    pub(super) write_blocked: bool,
}

/// The interest that makes the kernel move what it alone can move. An ordinary keep-alive request leaves it at READ
/// throughout, so it costs no system call; WRITE exists only between a write that would block and the drain after it.
pub(super) fn interest(facts: Facts) -> Interest {
    Interest { read: !facts.input_ended && !facts.inbox_full, write: facts.write_blocked }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_is_armed_exactly_while_the_kernel_is_its_mover() {
        for bits in 0..8 {
            let facts = Facts { input_ended: bits & 1 != 0, inbox_full: bits & 2 != 0, write_blocked: bits & 4 != 0 };
            let interest = interest(facts);
            assert_eq!(interest.read, !(facts.input_ended || facts.inbox_full), "{facts:?}");
            assert_eq!(interest.write, facts.write_blocked, "{facts:?}");
        }
    }
}
