//! What is true of a channel or is not, in one byte: each connection has these.

/// What may be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Flag {
    /// A read may move something, as far as the kernel has said, and no read has refuted it since.
    Readable = 1 << 0,
    /// The same for a write.
    Writable = 1 << 1,
    /// The kernel has told that the peer has ended its direction.
    HungUp = 1 << 2,
    /// The kernel has told of an error, which nobody has asked for since.
    Failed = 1 << 3,
    /// The peer has ended its direction, and all of it was read.
    InputEnded = 1 << 4,
    /// The kernel may hold as much unsent as it likes.
    HoldsUnsent = 1 << 5,
    /// The close resets the connection.
    Aborted = 1 << 6,
}

/// What is true. Nothing is, at first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags(u8);

impl Flags {
    #[inline]
    pub(super) fn has(self, flag: Flag) -> bool {
        self.0 & flag as u8 != 0
    }

    #[inline]
    pub(super) fn set(&mut self, flag: Flag, is_true: bool) {
        self.0 = if is_true { self.0 | flag as u8 } else { self.0 & !(flag as u8) };
    }

    /// It is true from now on, if it was not and this is.
    #[inline]
    pub(super) fn add(&mut self, flag: Flag, is_true: bool) {
        self.0 |= if is_true { flag as u8 } else { 0 };
    }

    /// Whether it was true. It is not any more.
    #[inline]
    pub(super) fn take(&mut self, flag: Flag) -> bool {
        let was_true = self.has(flag);
        self.set(flag, false);
        was_true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_stands_for_itself() {
        let all = [
            Flag::Readable,
            Flag::Writable,
            Flag::HungUp,
            Flag::Failed,
            Flag::InputEnded,
            Flag::HoldsUnsent,
            Flag::Aborted,
        ];
        for flag in all {
            let mut flags = Flags::default();
            flags.set(flag, true);
            assert_eq!(all.map(|other| flags.has(other)), all.map(|other| other == flag));
            flags.set(flag, true);
            all.into_iter().for_each(|other| flags.add(other, other == flag));
            assert_eq!(all.map(|other| flags.has(other)), all.map(|other| other == flag));
            assert!(flags.take(flag) && !flags.has(flag) && !flags.take(flag));
        }
    }
}
