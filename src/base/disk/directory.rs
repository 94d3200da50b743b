//! Directories and what is in them.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::{Errno, retry_on_intr};

use super::{FileMeta, NotServed, Root, Seen};

/// A directory beneath a root.
#[derive(Debug)]
pub struct OpenDirectory {
    /// What it was when it was opened.
    pub meta: FileMeta,
    descriptor: OwnedFd,
    root: Root,
    path: Vec<u8>,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Any bytes but NUL and slash; never `.` or `..`.
    pub name: Vec<u8>,
    /// What it names.
    pub kind: EntryKind,
}

/// What a name stands for, before any link is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A FIFO, a socket or a device.
    Other,
}

/// The names in a directory, in no order, read in pieces of a bounded size. Each may block.
#[derive(Debug)]
pub struct Entries(Dir);

impl OpenDirectory {
    pub(super) fn new(descriptor: OwnedFd, meta: FileMeta, root: Root, path: &[u8]) -> OpenDirectory {
        OpenDirectory { meta, descriptor, root, path: path.to_vec() }
    }

    /// The names in it. Fails if this process may search the directory but not read it.
    pub fn entries(&self) -> Result<Entries, NotServed> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = retry_on_intr(|| openat(&self.descriptor, ".", flags, Mode::empty()))?;
        Ok(Entries(Dir::new(readable)?))
    }

    /// Looks at what an entry leads to. A link is followed by the root's rules: one that leaves the root is not found.
    pub fn meta_of(&self, entry: &DirectoryEntry) -> Result<Seen, NotServed> {
        let stat = statat(&self.descriptor, entry.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            // Where it leads is told from the root, since it may lead up and down again.
            FileType::Symlink => self.root.meta(&self.path_of(entry)),
            _ => Seen::from_stat(&stat),
        }
    }

    fn path_of(&self, entry: &DirectoryEntry) -> Vec<u8> {
        match self.path.is_empty() {
            true => entry.name.clone(),
            false => [self.path.as_slice(), &entry.name].join(&b'/'),
        }
    }
}

impl Iterator for Entries {
    type Item = io::Result<DirectoryEntry>;

    fn next(&mut self) -> Option<io::Result<DirectoryEntry>> {
        loop {
            let entry = match self.0.read()? {
                Ok(entry) => entry,
                Err(errno) => return Some(Err(errno.into())),
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => self.kind_of(name),
                told => Ok(EntryKind::of(told)),
            };
            match kind {
                // Gone since its name was read.
                Err(Errno::NOENT) => continue,
                kind => {
                    return Some(Ok(DirectoryEntry { name: name.to_vec(), kind: kind.unwrap_or(EntryKind::Other) }));
                }
            }
        }
    }
}

impl Entries {
    /// For file systems that do not keep it with the names.
    fn kind_of(&self, name: &[u8]) -> Result<EntryKind, Errno> {
        let stat = statat(self.0.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(EntryKind::of(FileType::from_raw_mode(stat.st_mode)))
    }
}

impl EntryKind {
    fn of(file_type: FileType) -> EntryKind {
        match file_type {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Link,
            _ => EntryKind::Other,
        }
    }
}
