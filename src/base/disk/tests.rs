//! Against a real file system, by the kernel's way and by the walk.
//!
//! What is unwrapped in the modules below is a scene being set or an answer being read: if that fails there is nothing
//! left to test, and the panic says where.

mod agreement;
mod directories;
mod files;
mod links;
mod no_files;
mod paths;
mod races;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// Why nothing can be tested otherwise.
const SET: &str = "the scene can be set";

/// A directory that is removed with everything in it. What is served is `root` in it; what is beside that is outside.
struct Site(PathBuf);

impl Site {
    fn new() -> Site {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let site = Site(std::env::temp_dir().join(format!("tidemill-{}-disk-{number}", std::process::id())));
        fs::create_dir_all(site.0.join("root")).expect(SET);
        fs::write(site.0.join("secret"), "outside").expect(SET);
        site
    }

    fn path(&self, path: impl AsRef<OsStr>) -> PathBuf {
        self.0.join("root").join(path.as_ref())
    }

    fn file(&self, path: impl AsRef<OsStr>, content: &str) -> PathBuf {
        let path = self.place(path);
        fs::write(&path, content).expect(SET);
        path
    }

    fn link(&self, path: &str, target: impl AsRef<Path>) {
        symlink(target, self.place(path)).expect(SET);
    }

    /// Where something is to be, in a directory that is there.
    fn place(&self, path: impl AsRef<OsStr>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is in the site")).expect(SET);
        path
    }

    fn root(&self, links: Links) -> Root {
        Root::open(&self.path(""), links).expect("the root is a directory")
    }

    /// Both ways of resolving.
    fn both(&self, links: Links) -> [Root; 2] {
        [self.root(links), self.root(links).walking()]
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the scene can be cleared");
    }
}

/// What a path leads to, in a word.
fn outcome(found: Result<Found, NotServed>) -> String {
    match found {
        Ok(Found::File(file)) => text(&file),
        Ok(Found::Directory(_)) => "(directory)".to_string(),
        Err(error) => format!("({error})"),
    }
}

fn text(file: &OpenFile) -> String {
    let content = file.read_all(1000).expect("the file can be read").expect("the files of a scene are short");
    String::from_utf8(content).expect("the files of a scene are text")
}

const NOT_FOUND: &str = "(not found)";
const NOT_A_FILE: &str = "(neither a regular file nor a directory)";

#[track_caller]
fn assert_found(site: &Site, links: Links, path: impl AsRef<[u8]>, expected: &str) {
    for root in site.both(links) {
        let path = path.as_ref();
        assert_eq!(outcome(root.find(path)), expected, "{} {:?}", path.escape_ascii(), root.way);
        let kind = match root.meta(path) {
            Ok(Seen::File(_)) => "file",
            Ok(Seen::Directory(_)) => "(directory)",
            Err(error) => &format!("({error})"),
        };
        let is_same = kind == expected || kind == "file" && !expected.starts_with('(');
        assert!(is_same, "{} {:?}: find says {expected}, meta says {kind}", path.escape_ascii(), root.way);
    }
}
