//! What Linux has and others do not: everything that asks for the operating system is in this file.

pub(super) use os::{ANCHOR, can_open_beneath, is_unchanged, open_beneath, read_resident, stat_beneath};

#[cfg(target_os = "linux")]
mod os {
    use std::fs::File;
    use std::io::{self, IoSliceMut};
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, StatxFlags, StatxTimestamp, openat2, statx};
    use rustix::io::{Errno, ReadWriteFlags, preadv2, retry_on_intr};

    use super::super::{FileMeta, Links, Residency, Timestamp, or_dot, tally};

    /// How directories are held: good for opening what is in them, which needs the permission to search and not to
    /// read.
    pub(in super::super) const ANCHOR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

    /// How often openat2 is asked again while others keep renaming things.
    const TRIES: usize = 4;

    /// Whether openat2 exists (since Linux 5.6) and is allowed.
    pub(in super::super) fn can_open_beneath(root: BorrowedFd<'_>) -> bool {
        !matches!(open_beneath(root, b"", ANCHOR, Links::Beneath), Err(Errno::NOSYS | Errno::PERM))
    }

    /// Opens what `path` leads to without ever leaving the root. Links that are no real links (`/proc/self/root`) are
    /// refused as well.
    pub(in super::super) fn open_beneath(
        root: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        links: Links,
    ) -> Result<OwnedFd, Errno> {
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        resolve.set(ResolveFlags::NO_SYMLINKS, links == Links::Refuse);
        let open = || {
            tally::count(|calls| calls.open += 1);
            retry_on_intr(|| openat2(root, or_dot(path), flags, Mode::empty(), resolve))
        };
        (1..TRIES).map(|_| open()).find(|opened| !matches!(opened, Err(Errno::AGAIN))).unwrap_or_else(open)
    }

    /// Looks at what `path` leads to; O_PATH touches nothing but the name.
    pub(in super::super) fn stat_beneath(root: BorrowedFd<'_>, path: &[u8], links: Links) -> Result<Stat, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let opened = open_beneath(root, path, flags, links)?;
        tally::count(|calls| calls.stat += 1);
        rustix::fs::fstat(opened)
    }

    /// Compares what can change while a file is open. AT_STATX_DONT_SYNC: a network file system answers from what it
    /// knows, too.
    pub(in super::super) fn is_unchanged(file: &File, meta: &FileMeta) -> bool {
        tally::count(|calls| calls.look += 1);
        let wanted = StatxFlags::SIZE | StatxFlags::MTIME | StatxFlags::CTIME;
        let time = |time: StatxTimestamp| Timestamp { secs: time.tv_sec, nanos: time.tv_nsec };
        statx(file, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, wanted).is_ok_and(|now| {
            (now.stx_size, time(now.stx_mtime), time(now.stx_ctime)) == (meta.len, meta.modified, meta.changed)
        })
    }

    /// One read that does not wait for a disk.
    pub(in super::super) fn read_resident(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<Residency> {
        tally::count(|calls| calls.read_resident += 1);
        let read = || preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT);
        match retry_on_intr(read) {
            Ok(n) => Ok(Residency::Read(n)),
            Err(Errno::AGAIN) => Ok(Residency::Cold),
            // Not every file system can tell.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(Residency::Unknown),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use std::fs::File;
    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::fs::{OFlags, Stat};
    use rustix::io::Errno;

    use super::super::{FileMeta, Links, Residency};

    /// How directories are held.
    pub(in super::super) const ANCHOR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

    pub(in super::super) fn can_open_beneath(_: BorrowedFd<'_>) -> bool {
        false
    }

    pub(in super::super) fn open_beneath(_: BorrowedFd<'_>, _: &[u8], _: OFlags, _: Links) -> Result<OwnedFd, Errno> {
        Err(Errno::NOSYS)
    }

    pub(in super::super) fn stat_beneath(_: BorrowedFd<'_>, _: &[u8], _: Links) -> Result<Stat, Errno> {
        Err(Errno::NOSYS)
    }

    pub(in super::super) fn is_unchanged(file: &File, meta: &FileMeta) -> bool {
        rustix::fs::fstat(file).is_ok_and(|stat| FileMeta::from_stat(&stat) == *meta)
    }

    pub(in super::super) fn read_resident(_: &File, _: &mut [u8], _: u64) -> io::Result<Residency> {
        Ok(Residency::Unknown)
    }
}
