//! Where the access log is to be found.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

    /// Opens it for appending; a file that does not exist is created.
    pub fn open(&self) -> io::Result<File> {
        match self {
            Place::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
            Place::File(path) => open_file(path),
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o644).open(path)
}
