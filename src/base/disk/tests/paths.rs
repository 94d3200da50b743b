//! What a path leads to, and why it may lead to nothing.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use super::directories::entries;
use super::*;

#[test]
fn the_kernels_way_is_used_where_there_is_one() {
    let site = Site::new();
    let way = site.root(Links::Beneath).way;
    if way == Way::Walk {
        eprintln!("notice: no openat2 here; these tests compare the walk with itself");
    }
    assert_eq!(site.root(Links::Beneath).walking().way, Way::Walk);
}

#[test]
fn files_and_directories_are_found() {
    let site = Site::new();
    site.file("index.html", "home");
    site.file("a/b/c.txt", "deep");
    for links in [Links::Beneath, Links::Follow, Links::Refuse] {
        assert_found(&site, links, "index.html", "home");
        assert_found(&site, links, "a/b/c.txt", "deep");
        assert_found(&site, links, "a/b", "(directory)");
        assert_found(&site, links, "", "(directory)");
        assert_found(&site, links, "missing", NOT_FOUND);
        assert_found(&site, links, "a/missing/c.txt", NOT_FOUND);
        assert_found(&site, links, "index.html/c.txt", NOT_FOUND);
    }
}

#[test]
fn what_a_resolver_should_have_removed_is_not_found() {
    let site = Site::new();
    site.file("a/b.txt", "inside");
    let odd = ["/", "/a", "a/", "a//b.txt", ".", "..", "a/.", "a/..", "./a", "../secret", "a/../../secret"];
    for links in [Links::Beneath, Links::Follow, Links::Refuse] {
        for path in odd {
            assert_found(&site, links, path, NOT_FOUND);
        }
        for path in [&b"\0"[..], b"a/b.txt\0", b"a\0/b.txt", b"a/b.txt\0.html"] {
            assert_found(&site, links, path, NOT_FOUND);
        }
        assert_found(&site, links, "x".repeat(256), NOT_FOUND);
        assert_found(&site, links, "x/".repeat(2048) + "x", NOT_FOUND);
        assert_found(&site, links, "x/".repeat(100_000) + "x", NOT_FOUND);
    }
}

#[test]
fn names_are_bytes() {
    let site = Site::new();
    let names =
        [&b"with space"[..], b"100%", b"what?", b"#", b"line\nbreak", b"\xff\xfe", b"...", b"\\", b"*", b"caf\xe9"];
    for name in names {
        site.file(OsStr::from_bytes(name), "odd");
        assert_found(&site, Links::Beneath, name, "odd");
    }
    let listed: BTreeSet<Vec<u8>> =
        entries(&site.root(Links::Beneath), b"").into_iter().map(|entry| entry.name).collect();
    assert_eq!(listed, names.iter().map(|name| name.to_vec()).collect());
}

#[test]
fn what_may_not_be_read_is_forbidden() {
    let site = Site::new();
    let file = site.file("file", "inside");
    site.file("closed/file", "inside");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(site.path("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&file).is_ok() {
        eprintln!("notice: skipped, because this user may read everything");
        return;
    }
    for root in site.both(Links::Beneath) {
        assert!(matches!(root.find(b"file"), Err(NotServed::Forbidden)));
        assert!(matches!(root.meta(b"file"), Ok(Seen::File(_))));
        assert!(matches!(root.find(b"closed/file"), Err(NotServed::Forbidden)));
    }
    // Searching needs another permission than listing.
    fs::set_permissions(site.path("closed"), fs::Permissions::from_mode(0o111)).unwrap();
    for root in site.both(Links::Beneath) {
        assert_eq!(outcome(root.find(b"closed/file")), "inside");
        let Ok(Found::Directory(closed)) = root.find(b"closed") else { panic!("not a directory") };
        assert!(matches!(closed.entries(), Err(NotServed::Forbidden)));
    }
    fs::set_permissions(site.path("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn errors_are_told_apart() {
    let told = |errno| NotServed::from(errno);
    assert!(matches!(told(Errno::XDEV), NotServed::NotFound));
    assert!(matches!(told(Errno::NAMETOOLONG), NotServed::NotFound));
    assert!(matches!(told(Errno::ACCESS), NotServed::Forbidden));
    for (errno, setting) in [(Errno::MFILE, "ulimit -n"), (Errno::NFILE, "fs.file-max"), (Errno::NOMEM, "memory")] {
        assert!(matches!(told(errno), NotServed::Exhausted(what) if what.contains(setting)), "{errno}");
    }
    assert!(matches!(told(Errno::NXIO), NotServed::NotAFile));
    let NotServed::Failed(error) = told(Errno::IO) else { panic!("an error of the disk is a failure") };
    assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
}

#[test]
fn the_walk_takes_over_where_the_kernel_cannot_or_gives_up() {
    for errno in [Errno::AGAIN, Errno::NOSYS, Errno::PERM] {
        assert!(is_for_the_walk(errno), "{errno:?}");
    }
    for errno in [Errno::NOENT, Errno::XDEV, Errno::LOOP, Errno::ACCESS, Errno::MFILE] {
        assert!(!is_for_the_walk(errno), "{errno:?}");
    }
}

#[test]
fn a_root_must_be_a_directory() {
    let site = Site::new();
    let file = site.file("file", "inside");
    assert_eq!(Root::open(&file, Links::Beneath).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    assert_eq!(Root::open(&site.path("x"), Links::Beneath).unwrap_err().kind(), io::ErrorKind::NotFound);
    symlink("root", site.0.join("current")).unwrap();
    let root = Root::open(&site.0.join("current"), Links::Refuse).unwrap();
    assert_eq!(outcome(root.find(b"file")), "inside", "the way to the root is the operator's");
}
