//! Where the access log is to be found.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Why a FIFO is refused: every line would be lost.
const UNREAD: &str = "nobody reads from this pipe";

/// Where the log is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Standard output.
    Stdout,
    /// A file, to which lines are appended.
    File(PathBuf),
}

impl Place {
    /// As it is called in messages.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Place::Stdout => "on stdout".into(),
            Place::File(path) => path.to_string_lossy(),
        }
    }

    /// Opens it for appending; a file that does not exist is created. Waits for nobody: a FIFO must have a reader.
    pub fn open(&self) -> io::Result<File> {
        match self {
            Place::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
            Place::File(path) => open_file(path),
        }
    }
}

/// O_NONBLOCK, or open(2) would wait for somebody to read from a FIFO. It stays set for writing, where it says when a
/// FIFO is full; a regular file does not know it.
fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o644).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options.open(path).map_err(|error| if is_unread(path, &error) { io::Error::other(UNREAD) } else { error })
}

/// Whether this is open(2)'s answer to whoever wants to write to a FIFO from which nobody reads.
fn is_unread(path: &Path, error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NXIO.raw_os_error())
        && path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo())
}
