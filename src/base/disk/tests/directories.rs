//! Directories and their entries.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use rustix::fs::mkfifoat;

use super::*;

fn directory(root: &Root, path: &[u8]) -> OpenDirectory {
    let Ok(Found::Directory(directory)) = root.find(path) else { panic!("{} is no directory", path.escape_ascii()) };
    directory
}

pub(super) fn entries(root: &Root, path: &[u8]) -> Vec<DirectoryEntry> {
    directory(root, path).entries().unwrap().map(|entry| entry.unwrap()).collect()
}

#[test]
fn entries_say_what_they_are_and_where_links_lead() {
    let site = Site::new();
    site.file("in/file", "inside");
    site.file("in/directory/x", "");
    site.file("other", "other content");
    site.link("in/to-file", "../other");
    site.link("in/to-directory", "directory");
    site.link("in/out", "../../secret");
    site.link("in/dangling", "missing");
    mkfifoat(CWD, site.path("in/fifo"), Mode::RUSR).unwrap();
    for root in site.both(Links::Beneath) {
        let directory = directory(&root, b"in");
        assert_eq!(directory.meta.inode, fs::metadata(site.path("in")).unwrap().ino());
        let told = |entry: io::Result<DirectoryEntry>| {
            let entry = entry.unwrap();
            let led = match directory.meta_of(&entry) {
                Ok(Seen::File(meta)) => format!("file of {}", meta.len),
                Ok(Seen::Directory(_)) => "directory".to_string(),
                Err(error) => error.to_string(),
            };
            (String::from_utf8(entry.name).unwrap(), format!("{:?}: {led}", entry.kind))
        };
        let told: Vec<_> = BTreeSet::from_iter(directory.entries().unwrap().map(told)).into_iter().collect();
        let expected = [
            ("dangling", "Link: not found"),
            ("directory", "Directory: directory"),
            ("fifo", "Other: neither a regular file nor a directory"),
            ("file", "File: file of 6"),
            ("out", "Link: not found"),
            ("to-directory", "Link: directory"),
            ("to-file", "Link: file of 13"),
        ];
        assert_eq!(told, expected.map(|(name, text)| (name.to_string(), text.to_string())));
    }
}

#[test]
fn all_names_of_a_large_directory_are_read_and_can_be_read_again() {
    let site = Site::new();
    for number in 0..3000 {
        fs::write(site.path(format!("{number:0200}")), "").unwrap();
    }
    let root = site.root(Links::Beneath);
    let directory = directory(&root, b"");
    for _ in 0..2 {
        let names: BTreeSet<_> = directory.entries().unwrap().map(|entry| entry.unwrap().name).collect();
        assert_eq!(names.len(), 3000);
    }
}

#[test]
fn an_entry_that_has_gone_is_not_found() {
    let site = Site::new();
    site.file("file", "");
    let root = site.root(Links::Beneath);
    let directory = directory(&root, b"");
    let entry = directory.entries().unwrap().next().unwrap().unwrap();
    fs::remove_file(site.path("file")).unwrap();
    assert!(matches!(directory.meta_of(&entry), Err(NotServed::NotFound)));
}
