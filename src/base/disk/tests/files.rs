//! Open files: their metadata, their content, and what of it is in memory.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::*;

#[test]
fn no_more_files_are_open_than_may_be_and_a_closed_one_makes_room() {
    let site = Site::new();
    site.file("a", "a");
    site.file("folder/b", "b");
    for root in site.both(Links::Beneath) {
        let root = root.with_files_max(2);
        let shared = root.clone();
        let held = [root.find(b"a"), shared.find(b"folder/b")].map(Result::unwrap);
        for root in [&root, &shared] {
            assert!(matches!(root.find(b"a"), Err(NotServed::Exhausted(what)) if what.contains("ulimit -n")));
            assert_eq!(outcome(root.find(b"folder")), "(directory)", "that is no file");
            assert_eq!(outcome(root.find(b"nothing")), NOT_FOUND);
        }
        drop(held);
        assert_eq!(outcome(shared.find(b"a")), "a");
    }
}

fn opened(site: &Site, path: &str) -> OpenFile {
    let Ok(Found::File(file)) = site.root(Links::Beneath).find(path.as_bytes()) else { panic!("{path} is no file") };
    file
}

#[test]
fn metadata_are_those_of_the_file() {
    let site = Site::new();
    let path = site.file("file", "some content");
    let modified = std::time::UNIX_EPOCH + Duration::new(784_111_777, 250_000_000);
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    let expected = fs::metadata(&path).unwrap();
    let file = opened(&site, "file");
    assert_eq!((file.meta.len, file.meta.inode, file.meta.device), (12, expected.ino(), expected.dev()));
    assert_eq!(file.meta.modified, Timestamp { secs: 784_111_777, nanos: 250_000_000 });
    for root in site.both(Links::Beneath) {
        assert_eq!(root.meta(b"file").unwrap(), Seen::File(file.meta));
    }
}

#[test]
fn a_changed_and_a_replaced_file_are_noticed() {
    let site = Site::new();
    let path = site.file("file", "first");
    let mut file = opened(&site, "file");
    assert!(!file.refresh_meta().unwrap());
    fs::write(&path, "second version").unwrap();
    assert!(file.refresh_meta().unwrap());
    assert_eq!(file.meta.len, 14);
    let other = site.file("new", "third version!");
    fs::rename(other, &path).unwrap();
    assert_eq!(file.meta_now().unwrap().inode, file.meta.inode, "an open file stays what it is");
    let Seen::File(now) = site.root(Links::Beneath).meta(b"file").unwrap() else { panic!("a file") };
    assert_ne!(now.inode, file.meta.inode);
}

#[test]
fn reading_all_means_all_that_is_there_now() {
    let site = Site::new();
    let path = site.file("file", "0123456789");
    let file = opened(&site, "file");
    let read = |max| file.read_all(max).unwrap().map(|content| content.len());
    assert_eq!(
        [read(0), read(9), read(10), read(11), read(usize::MAX - 1)],
        [None, None, Some(10), Some(10), Some(10)]
    );
    fs::write(&path, [b'x'; 1000]).unwrap();
    assert_eq!([read(999), read(1000), read(5000)], [None, Some(1000), Some(1000)], "it has grown");
    fs::write(&path, "").unwrap();
    assert_eq!([read(0), read(5000)], [Some(0), Some(0)], "it has shrunk");
}

#[test]
fn reading_at_an_offset_stops_only_at_the_end() {
    let site = Site::new();
    site.file("file", "0123456789");
    let file = opened(&site, "file");
    let mut buffer = [0; 6];
    assert_eq!((file.read_at(&mut buffer, 2).unwrap(), &buffer), (6, b"234567"));
    assert_eq!((file.read_at(&mut buffer, 8).unwrap(), &buffer[..2]), (2, &b"89"[..]));
    assert_eq!(file.read_at(&mut buffer, 10).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, 1 << 40).unwrap(), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn cold_bytes_are_told_from_resident_ones_until_they_are_warmed() {
    const LEN: usize = 1 << 20;
    let site = Site::new();
    site.file("file", &"x".repeat(LEN));
    let file = opened(&site, "file");
    let mut buffer = [0; 4096];
    file.file.sync_all().unwrap();
    rustix::fs::fadvise(&file.file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    match file.read_resident(&mut buffer, 0).unwrap() {
        Residency::Cold => assert!(!file.is_resident(0, LEN as u64, &mut 0).unwrap()),
        other => eprintln!("notice: this file system does not evict, or cannot tell: {other:?}"),
    }
    file.warm(0, LEN as u64).unwrap();
    if file.read_resident(&mut buffer, 0).unwrap() == Residency::Unknown {
        assert!(!file.is_resident(0, 1, &mut 0).unwrap(), "what is not known is not promised");
        return;
    }
    assert_eq!(file.read_resident(&mut buffer, 8192).unwrap(), Residency::Read(4096));
    assert_eq!(buffer, [b'x'; 4096]);
    assert!(file.is_resident(0, LEN as u64, &mut 0).unwrap());
    assert_eq!(file.read_resident(&mut buffer, LEN as u64).unwrap(), Residency::Read(0), "the end");
    assert!(file.is_resident(LEN as u64, 1, &mut 0).unwrap(), "nothing is nothing to wait for");
}

#[test]
fn warming_past_the_end_ends() {
    let site = Site::new();
    site.file("file", "short");
    let file = opened(&site, "file");
    file.warm(0, u64::MAX).unwrap();
    file.warm(1 << 40, 10).unwrap();
    file.warm(3, 0).unwrap();
}
