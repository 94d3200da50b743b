//! A path resolved component by component, where the kernel cannot keep it beneath the root.
//!
//! No call here lets the kernel follow a link: links are read, and their targets walked like the rest of the path. The
//! directories between the root and the present one stay open, so `..` goes back to where the walk came from and never
//! above the root, whatever is renamed meanwhile.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::{Errno, retry_on_intr};

use super::{Links, kernel, or_dot};

/// How many links one path may lead over; the kernel's own number.
const LINKS_MAX: usize = 40;

/// How deep beneath the root a walk may go; each level holds a descriptor.
const DEPTH_MAX: usize = 256;

/// Opens what `path` leads to.
pub(super) fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW;
    let open = |directory: BorrowedFd<'_>, name: &[u8]| {
        retry_on_intr(|| openat(directory, name, flags, Mode::empty())).map_err(may_be_a_link)
    };
    Walk::new(root, path, links).last(open)
}

/// Looks at what `path` leads to.
pub(super) fn stat(root: BorrowedFd<'_>, path: &[u8], links: Links) -> Result<Stat, Errno> {
    let stat = |directory: BorrowedFd<'_>, name: &[u8]| {
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        if is_link { Err(Errno::LOOP) } else { Ok(stat) }
    };
    Walk::new(root, path, links).last(stat)
}

/// What opening a link without following it says differs between systems and flags.
fn may_be_a_link(errno: Errno) -> Errno {
    if matches!(errno, Errno::NOTDIR | Errno::MLINK) { Errno::LOOP } else { errno }
}

struct Walk<'r> {
    root: BorrowedFd<'r>,
    /// The directories beneath the root down to the present one.
    entered: Vec<OwnedFd>,
    /// What is still to be walked, the last component first.
    ahead: Vec<Vec<u8>>,
    links: Links,
    links_left: usize,
}

impl<'r> Walk<'r> {
    fn new(root: BorrowedFd<'r>, path: &[u8], links: Links) -> Walk<'r> {
        let mut walk = Walk { root, entered: Vec::new(), ahead: Vec::new(), links, links_left: LINKS_MAX };
        walk.push(or_dot(path));
        walk
    }

    /// Goes to the last component and uses it. `last` says LOOP if it may be a link.
    fn last<T>(mut self, last: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>) -> Result<T, Errno> {
        while let Some(component) = self.ahead.pop() {
            match component.as_slice() {
                b"" | b"." => {}
                b".." => self.leave()?,
                name if self.ahead.is_empty() => match last(self.here(), name) {
                    Err(Errno::LOOP) => self.follow(name)?,
                    used => return used,
                },
                name => self.enter(name)?,
            }
        }
        last(self.here(), b".")
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.entered.last().map_or(self.root, |directory| directory.as_fd())
    }

    /// Back to the directory the present one was entered from.
    fn leave(&mut self) -> Result<(), Errno> {
        self.entered.pop().map(drop).ok_or(Errno::XDEV)
    }

    fn enter(&mut self, name: &[u8]) -> Result<(), Errno> {
        let flags = kernel::ANCHOR | OFlags::NOFOLLOW;
        let opened = retry_on_intr(|| openat(self.here(), name, flags, Mode::empty())).map_err(may_be_a_link);
        match opened {
            Err(Errno::LOOP) => return self.follow(name),
            Ok(_) if self.entered.len() == DEPTH_MAX => return Err(Errno::NAMETOOLONG),
            opened => self.entered.push(opened?),
        }
        Ok(())
    }

    /// Puts a link's target in the place of its name. What is no link after all is no directory either.
    fn follow(&mut self, name: &[u8]) -> Result<(), Errno> {
        let no_link = |errno| if errno == Errno::INVAL { Errno::NOTDIR } else { errno };
        let target = retry_on_intr(|| readlinkat(self.here(), name, Vec::new())).map_err(no_link)?.into_bytes();
        self.links_left = self.links_left.checked_sub(1).ok_or(Errno::LOOP)?;
        match target.first() {
            _ if self.links == Links::Refuse => return Err(Errno::LOOP),
            None => return Err(Errno::NOENT),
            Some(b'/') => return Err(Errno::XDEV),
            Some(_) => self.push(&target),
        }
        Ok(())
    }

    fn push(&mut self, path: &[u8]) {
        self.ahead.extend(path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
    }
}
