//! Regular files, and whether reading them would wait for a disk.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::Stat;

use super::files::Place;
use super::{kernel, tally};

/// How much is read at a time to bring pages into the cache, in bytes.
const WARM_BYTES: usize = 64 * 1024;

/// A regular file, open for reading. Reading moves no position, so any number of readers may share it.
#[derive(Debug)]
pub struct OpenFile {
    /// The file itself, for `sendfile`.
    pub file: File,
    /// What it was when it was opened or last looked at.
    pub meta: FileMeta,
    path: Box<[u8]>,
    /// Given up when the file is closed: fields are dropped in order.
    _place: Place,
}

/// What tells one version of a file from another: whoever changes the content or puts another file in this one's place
/// changes one of these. All but `changed` can be set back to what it was; `changed` is the file system's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileMeta {
    /// Length in bytes.
    pub len: u64,
    /// When the content was last changed, or what somebody has set for that.
    pub modified: Timestamp,
    /// When the content, a name, the time of modification or the permissions were last changed.
    pub changed: Timestamp,
    /// The file's number in its file system.
    pub inode: u64,
    /// The file system's number.
    pub device: u64,
}

/// A point in time as file systems have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970, negative before.
    pub secs: i64,
    /// Nanoseconds after that second, less than 10⁹.
    pub nanos: u32,
}

/// What a read that does not wait found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Residency {
    /// So many bytes were read. Fewer than asked for: there the file ends, or what follows is not in memory. 0: there
    /// is nothing at this offset.
    Read(usize),
    /// The first byte is not in memory.
    Cold,
    /// The system cannot tell for this file.
    Unknown,
}

impl FileMeta {
    #[allow(clippy::unnecessary_cast, reason = "the types of these numbers differ between systems")]
    pub(super) fn from_stat(stat: &Stat) -> FileMeta {
        let modified = Timestamp { secs: stat.st_mtime as i64, nanos: stat.st_mtime_nsec as u32 };
        let changed = Timestamp { secs: stat.st_ctime as i64, nanos: stat.st_ctime_nsec as u32 };
        FileMeta { len: stat.st_size as u64, modified, changed, inode: stat.st_ino as u64, device: stat.st_dev as u64 }
    }
}

impl OpenFile {
    pub(super) fn new(file: File, meta: FileMeta, path: &[u8], place: Place) -> OpenFile {
        OpenFile { file, meta, path: path.into(), _place: place }
    }

    /// By which path beneath the root it was opened, without a slash in front.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The whole content as it is now; `None` if that is more than `max` bytes. May block.
    pub fn read_all(&self, max: usize) -> io::Result<Option<Vec<u8>>> {
        let expected = usize::try_from(self.meta.len).unwrap_or(usize::MAX);
        // One more than expected tells the end from a file that has grown.
        let mut content = vec![0; expected.min(max).saturating_add(1)];
        let mut len = 0;
        loop {
            len += self.read_at(&mut content[len..], len as u64)?;
            if len > max {
                return Ok(None);
            }
            if len < content.len() {
                content.truncate(len);
                return Ok(Some(content));
            }
            content.resize(len.saturating_mul(2).min(max).saturating_add(1), 0);
        }
    }

    /// Fills `buffer` from `offset` on; fewer bytes only if the file ends there. May block.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut len = 0;
        while len < buffer.len() {
            tally::count(|calls| calls.read += 1);
            match self.file.read_at(&mut buffer[len..], offset.saturating_add(len as u64)) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        #[cfg(test)]
        super::stage::after_read();
        Ok(len)
    }

    /// What the open file is now: its length and time may have changed, which file it is cannot. To see whether another
    /// file has taken its name, ask [`Root::meta`](super::Root::meta).
    pub fn meta_now(&self) -> io::Result<FileMeta> {
        tally::count(|calls| calls.stat += 1);
        Ok(FileMeta::from_stat(&rustix::fs::fstat(&self.file)?))
    }

    /// Whether the open file is still what it was when `meta` was noted, as far as the system knows without asking a disk
    /// or another machine. Never waits, so the event loop may call it. Adds the number of its system calls to `calls`.
    pub fn is_unchanged(&self, calls: &Cell<u64>) -> bool {
        calls.set(calls.get() + 1);
        kernel::is_unchanged(&self.file, &self.meta)
    }

    /// Brings `meta` up to date; says whether it changed.
    pub fn refresh_meta(&mut self) -> io::Result<bool> {
        let now = self.meta_now()?;
        let before = std::mem::replace(&mut self.meta, now);
        Ok(before != self.meta)
    }

    /// Reads what is in memory already. Never waits for a disk, so the event loop may call it.
    pub fn read_resident(&self, buffer: &mut [u8], offset: u64) -> io::Result<Residency> {
        kernel::read_resident(&self.file, buffer, offset)
    }

    /// Whether `len` bytes from `offset` on are likely to be in memory: the first and the last of them are. What lies
    /// between may have been evicted and may be evicted at any time, so a `sendfile` that follows may wait after all;
    /// for pieces of about the size that the kernel reads ahead (128 KiB) that is rare. False if the system cannot tell.
    /// Never waits for a disk. Adds the number of its system calls to `calls`.
    pub fn is_resident(&self, offset: u64, len: u64, calls: &mut u64) -> io::Result<bool> {
        let last = offset.saturating_add(len.max(1) - 1);
        Ok(self.is_byte_resident(offset, calls)? && (last == offset || self.is_byte_resident(last, calls)?))
    }

    fn is_byte_resident(&self, offset: u64, calls: &mut u64) -> io::Result<bool> {
        *calls += 1;
        // Nothing at this offset (`Read(0)`) is nothing to wait for.
        Ok(matches!(self.read_resident(&mut [0], offset)?, Residency::Read(_)))
    }

    /// Brings `len` bytes from `offset` on into memory, by reading them. Blocks for as long as that takes.
    pub fn warm(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut scratch = vec![0; WARM_BYTES];
        let end = offset.saturating_add(len);
        let mut at = offset;
        while at < end {
            let piece = usize::try_from(end - at).unwrap_or(WARM_BYTES).min(WARM_BYTES);
            match self.read_at(&mut scratch[..piece], at)? {
                0 => break,
                n => at += n as u64,
            }
        }
        Ok(())
    }
}
