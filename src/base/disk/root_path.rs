//! The path of a root, and what is there whenever somebody looks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use super::files::Files;
use super::{Links, NotServed, Root, Way};

/// Where a root is. What is there may be replaced at any time: by a directory of the same name, or through a link on the
/// way to it. Whoever looks for something opens the root first, and stays with what was found for as long as it looks.
#[derive(Debug)]
pub struct RootPath {
    /// From the file system's own root on.
    path: PathBuf,
    /// Places for open files, of whatever directory was there.
    files: Files,
    links: Links,
    way: Way,
    /// The last one who looked found no directory. It decides only what is logged.
    is_gone: AtomicBool,
}

impl RootPath {
    /// The root at `path`, in which `links` are followed. A relative path begins at the present working directory, by the
    /// path that this has now. Fails if there is no directory now.
    pub fn new(path: &Path, links: Links) -> io::Result<RootPath> {
        let path = std::path::absolute(path)?;
        let way = Root::open(&path, links)?.way;
        Ok(RootPath { path, files: Files::new(usize::MAX), links, way, is_gone: AtomicBool::new(false) })
    }

    /// The same, with at most so many files open at a time.
    pub fn with_files_max(self, files_max: usize) -> RootPath {
        RootPath { files: Files::new(files_max), ..self }
    }

    /// The directory that is there now. May block. Logs once that it is gone, and once that it is back.
    pub fn open(&self) -> Result<Root, NotServed> {
        let opened = Root::open_by(&self.path, self.links, self.way);
        let path = self.path.display();
        match &opened {
            Ok(_) if self.is_gone.swap(false, Ordering::Relaxed) => log::info!("{path} is back and is served again"),
            // That says nothing about the root.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM) | Ok(_) => {}
            Err(errno) if !self.is_gone.swap(true, Ordering::Relaxed) => {
                log::warn!("{path} cannot be served: {errno}. It is looked for again with each request.");
            }
            Err(_) => {}
        }
        Ok(Root { files: self.files.clone(), ..opened? })
    }
}
