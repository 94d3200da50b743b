//! Files and directories beneath a root, and nothing else: whatever a path says, and however links and directories are
//! swapped while it is resolved.
//!
//! On Linux the kernel keeps paths beneath the root (`openat2`); where it cannot, `walk.rs` goes component by component.
//! All calls may block. They belong into jobs, except those that say otherwise.

mod directory;
mod file;
mod files;
mod kernel;
mod root_path;
#[cfg(test)]
pub mod stage;
mod tally;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

pub use directory::{DirectoryEntry, Entries, EntryKind, OpenDirectory};
pub use file::{FileMeta, OpenFile, Residency, Timestamp};
use files::Files;
pub use root_path::RootPath;
pub use tally::{Calls, take_calls};

/// A longer path is not looked for: no system opens one in one call (`PATH_MAX`).
const PATH_BYTES_MAX: usize = 4095;

/// How regular files are opened. Should something else have taken a file's place since it was looked at, opening it
/// does not wait for a writer and gives us no terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Why a file is not opened although the system would open it.
const NO_PLACE: &str = "as many files are open as there are descriptors for besides the connections (ulimit -n)";

/// Which symbolic links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Those that stay beneath the root, whole way: an absolute one never does.
    Beneath,
    /// All.
    Follow,
    /// None.
    Refuse,
}

/// A directory that files are served from. A handle: clones share the descriptor.
///
/// It is the directory that was found when it was opened. If another takes its place, [`RootPath::open`] finds that one.
#[derive(Debug, Clone)]
pub struct Root {
    anchor: Arc<OwnedFd>,
    files: Files,
    links: Links,
    way: Way,
}

/// Who keeps paths beneath the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Kernel,
    Walk,
}

/// What a path leads to.
#[derive(Debug)]
pub enum Found {
    /// A regular file, open for reading.
    File(OpenFile),
    /// A directory, not necessarily a readable one.
    Directory(OpenDirectory),
}

/// What a path leads to, without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A regular file, not necessarily a readable one.
    File(FileMeta),
    /// A directory.
    Directory(FileMeta),
}

/// Why there is nothing to serve.
#[derive(Debug)]
pub enum NotServed {
    /// There is nothing of that name beneath the root, or it is reached by a link that is not followed.
    NotFound,
    /// There is something, and this process may not read it.
    Forbidden,
    /// A FIFO, a socket or a device.
    NotAFile,
    /// This process or the system has no descriptor or memory left. Later it may. Says what is missing, and which setting
    /// bounds it.
    Exhausted(&'static str),
    /// The system failed otherwise.
    Failed(io::Error),
}

impl fmt::Display for NotServed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotServed::NotFound => f.write_str("not found"),
            NotServed::Forbidden => f.write_str("permission denied"),
            NotServed::NotAFile => f.write_str("neither a regular file nor a directory"),
            NotServed::Exhausted(what) => f.write_str(what),
            NotServed::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotServed {}

impl From<Errno> for NotServed {
    fn from(errno: Errno) -> NotServed {
        match errno {
            // XDEV is how openat2 says that a path leaves the root. INVAL and ILSEQ: a file system that does not
            // allow such a name has no such file.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => NotServed::NotFound,
            Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => NotServed::NotFound,
            Errno::ACCESS | Errno::PERM => NotServed::Forbidden,
            // What opening sockets and devices without a driver says.
            Errno::NXIO | Errno::NODEV => NotServed::NotAFile,
            Errno::MFILE => NotServed::Exhausted("this process may have no more descriptors (ulimit -n)"),
            Errno::NFILE => NotServed::Exhausted("the system may have no more open files (sysctl fs.file-max)"),
            Errno::NOMEM => NotServed::Exhausted("the system has no memory left"),
            errno => NotServed::Failed(errno.into()),
        }
    }
}

impl Root {
    /// Opens the directory at `path`; links on the way to it are followed.
    pub fn open(path: &Path, links: Links) -> io::Result<Root> {
        let root = Root::open_by(path, links, Way::Walk)?;
        let way = if kernel::can_open_beneath(root.anchor.as_fd()) { Way::Kernel } else { Way::Walk };
        Ok(Root { way, ..root })
    }

    fn open_by(path: &Path, links: Links, way: Way) -> Result<Root, Errno> {
        tally::count(|calls| calls.root += 1);
        let anchor = retry_on_intr(|| rustix::fs::openat(CWD, path, kernel::ANCHOR, Mode::empty()))?;
        Ok(Root { anchor: Arc::new(anchor), files: Files::new(usize::MAX), links, way })
    }

    /// The same root, of which at most so many files are open at a time.
    pub fn with_files_max(self, files_max: usize) -> Root {
        Root { files: Files::new(files_max), ..self }
    }

    /// The same root, whose paths are resolved component by component even if the kernel could do it in one call: to
    /// compare the two.
    pub fn walking(self) -> Root {
        Root { way: Way::Walk, ..self }
    }

    /// Opens what `path` leads to: components of any bytes, parted by single slashes, none at the ends. Empty means the
    /// root itself. Components that are empty, `.` or `..`, and NUL, are not found.
    ///
    /// Only what has been seen to be a regular file is opened for reading, so that no FIFO, tape or terminal is touched.
    pub fn find(&self, path: &[u8]) -> Result<Found, NotServed> {
        match self.meta(path)? {
            Seen::File(_) => {
                let place = self.files.take_place().ok_or(NotServed::Exhausted(NO_PLACE))?;
                let (file, meta) = opened_file(self.open_beneath(path, READ)?)?;
                Ok(Found::File(OpenFile::new(file, meta, path, place)))
            }
            Seen::Directory(meta) => {
                let directory = self.open_beneath(path, kernel::ANCHOR)?;
                Ok(Found::Directory(OpenDirectory::new(directory, meta, self.clone(), path)))
            }
        }
    }

    /// Looks at what `path` leads to, by the same rules, without opening it for reading.
    pub fn meta(&self, path: &[u8]) -> Result<Seen, NotServed> {
        Seen::from_stat(&self.stat_beneath(path)?)
    }

    fn open_beneath(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, NotServed> {
        check(path)?;
        let root = self.anchor.as_fd();
        let opened = match (self.links, self.way) {
            (Links::Follow, _) => follow(root, path, flags),
            (links, Way::Kernel) => match kernel::open_beneath(root, path, flags, links) {
                Err(errno) if is_for_the_walk(errno) => walk::open(root, path, flags, links),
                opened => opened,
            },
            (links, Way::Walk) => walk::open(root, path, flags, links),
        };
        Ok(opened?)
    }

    fn stat_beneath(&self, path: &[u8]) -> Result<Stat, NotServed> {
        check(path)?;
        let root = self.anchor.as_fd();
        let stat = match (self.links, self.way) {
            (Links::Follow, _) => {
                tally::count(|calls| calls.stat += 1);
                rustix::fs::statat(root, or_dot(path), rustix::fs::AtFlags::empty())
            }
            (links, Way::Kernel) => match kernel::stat_beneath(root, path, links) {
                Err(errno) if is_for_the_walk(errno) => walk::stat(root, path, links),
                stat => stat,
            },
            (links, Way::Walk) => walk::stat(root, path, links),
        };
        Ok(stat?)
    }
}

impl Seen {
    fn from_stat(stat: &Stat) -> Result<Seen, NotServed> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Seen::File(FileMeta::from_stat(stat))),
            FileType::Directory => Ok(Seen::Directory(FileMeta::from_stat(stat))),
            _ => Err(NotServed::NotAFile),
        }
    }
}

/// openat2 asks to be called again when something was renamed while it resolved a `..` (AGAIN, after some tries); old
/// kernels do not have it (NOSYS), and sandboxes that do not know it forbid it (PERM).
fn is_for_the_walk(errno: Errno) -> bool {
    matches!(errno, Errno::AGAIN | Errno::NOSYS | Errno::PERM)
}

/// The path has no `..`; everything else is allowed.
fn follow(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    tally::count(|calls| calls.open += 1);
    retry_on_intr(|| rustix::fs::openat(root, or_dot(path), flags, Mode::empty()))
}

/// What was opened may not be what was looked at before; its own descriptor tells what it is.
fn opened_file(descriptor: OwnedFd) -> Result<(File, FileMeta), NotServed> {
    tally::count(|calls| calls.stat += 1);
    match Seen::from_stat(&rustix::fs::fstat(&descriptor)?)? {
        Seen::File(meta) => Ok((File::from(descriptor), meta)),
        Seen::Directory(_) => Err(NotServed::NotAFile),
    }
}

/// No component may be empty, `.` or `..`. Callers have removed these; this is a second check.
fn check(path: &[u8]) -> Result<(), NotServed> {
    let is_odd = |component: &[u8]| matches!(component, b"" | b"." | b"..") || component.contains(&0);
    let is_refused = !path.is_empty() && path.split(|byte| *byte == b'/').any(is_odd);
    if is_refused || path.len() > PATH_BYTES_MAX { Err(NotServed::NotFound) } else { Ok(()) }
}

/// The system's name for an empty path.
fn or_dot(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}
