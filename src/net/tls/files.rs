//! The files that TLS is made of, as they were at one moment.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::provider::sha256;
use crate::base::regular_file;

/// A larger file is none of ours. The longest chains have some 20 kB.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How often files are read until none has changed meanwhile.
const TRIES_MAX: usize = 3;
/// A file that changed so shortly before it was read may change again without another time.
const COARSE_TIME: Duration = Duration::from_secs(1);

/// Files that were read together.
pub(super) struct Files(Vec<ReadFile>);

struct ReadFile {
    path: PathBuf,
    stamp: Stamp,
    content: Result<Vec<u8>, String>,
}

/// By what a file is known to have changed. `None`: there is none.
pub(super) type Stamp = Option<FileStamp>;

/// What tells two states of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileStamp {
    file: (u64, u64),
    size: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    fn new(metadata: &Metadata) -> FileStamp {
        FileStamp {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Files {
    /// Reads all of `paths`. Who replaces files does so one after the other: it is tried again if one of them has changed
    /// before the last was read. Says whether they stood still in the end.
    pub(super) fn read(paths: &[&Path]) -> (Files, bool) {
        let mut tries = 0;
        loop {
            tries += 1;
            let read_file =
                |path: &&Path| ReadFile { path: path.to_path_buf(), stamp: stamp(path), content: read(path) };
            let files = Files(paths.iter().map(read_file).collect());
            let stood_still = files.stamps() == stamps(paths);
            if stood_still || tries == TRIES_MAX {
                return (files, stood_still);
            }
        }
    }

    /// The content of one of them.
    ///
    /// # Errors
    /// Why it could not be read, in a few words.
    pub(super) fn content(&self, path: &Path) -> Result<&[u8], String> {
        let file = self.0.iter().find(|file| file.path == path);
        let content =
            file.map_or(Err("it was not read".into()), |file| file.content.as_ref().map_err(String::clone))?;
        Ok(content)
    }

    /// Whether every user of the machine may read a file.
    pub(super) fn is_open_to_all(&self, path: &Path) -> bool {
        let stamp = self.0.iter().find(|file| file.path == path).and_then(|file| file.stamp);
        stamp.is_some_and(|stamp| stamp.mode & 0o004 != 0)
    }

    /// By what it is seen whether they have changed since.
    pub(super) fn stamps(&self) -> Vec<Stamp> {
        self.0.iter().map(|file| file.stamp).collect()
    }

    /// Whether one of them may have changed again, just before `now`, without that its stamp tells.
    pub(super) fn are_fresh(&self, now: SystemTime) -> bool {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let settled = since_epoch.saturating_sub(COARSE_TIME).as_secs();
        self.0
            .iter()
            .filter_map(|file| file.stamp)
            .any(|stamp| u64::try_from(stamp.changed.0).is_ok_and(|at| at >= settled))
    }

    /// A hash of all contents: the same hash is the same contents.
    pub(super) fn hash(&self) -> [u8; 32] {
        let hashes = self.0.iter().flat_map(|file| sha256(file.content.as_deref().unwrap_or_default()));
        sha256(&hashes.collect::<Vec<u8>>())
    }
}

/// The stamps of files as they are now.
pub(super) fn stamps(paths: &[&Path]) -> Vec<Stamp> {
    paths.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    fs::metadata(path).ok().map(|metadata| FileStamp::new(&metadata))
}

/// The content of a small regular file.
///
/// # Errors
/// The system's, in words.
fn read(file: &Path) -> Result<Vec<u8>, String> {
    regular_file::read(file, FILE_BYTES_MAX).map_err(|error| cause(&error))
}

fn cause(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}
