//! Against a real file system, by the kernel's way and by the walk.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rustix::fs::{RenameFlags, mkfifoat, renameat_with};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
/// A race that has shown all it should need not last longer.
const ENOUGH: Duration = Duration::from_secs(2);

/// A directory that is removed with everything in it. What is served is `root` in it; what is beside that is outside.
struct Site(PathBuf);

impl Site {
    fn new() -> Site {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let site = Site(std::env::temp_dir().join(format!("tidemill-{}-disk-{number}", std::process::id())));
        fs::create_dir_all(site.0.join("root")).unwrap();
        fs::write(site.0.join("secret"), "outside").unwrap();
        site
    }

    fn path(&self, path: impl AsRef<OsStr>) -> PathBuf {
        self.0.join("root").join(path.as_ref())
    }

    fn file(&self, path: impl AsRef<OsStr>, content: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn link(&self, path: &str, target: impl AsRef<Path>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn root(&self, links: Links) -> Root {
        Root::open(&self.path(""), links).unwrap()
    }

    /// Both ways of resolving.
    fn both(&self, links: Links) -> [Root; 2] {
        [self.root(links), self.root(links).walking()]
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// What a path leads to, in a word.
fn outcome(found: Result<Found, NotServed>) -> String {
    match found {
        Ok(Found::File(file)) => String::from_utf8(file.read_all(1000).unwrap().unwrap()).unwrap(),
        Ok(Found::Directory(_)) => "(directory)".to_string(),
        Err(error) => format!("({error})"),
    }
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
fn links_that_stay_beneath_the_root_are_followed() {
    let site = Site::new();
    site.file("a/b/c.txt", "inside");
    site.link("file", "a/b/c.txt");
    site.link("directory", "a/b/");
    site.link("a/up", "../a/b");
    site.link("a/b/here", ".");
    site.link("a/b/top", "../..");
    site.link("chain", "directory/../up/here/./here//c.txt");
    for path in ["file", "directory/c.txt", "a/up/c.txt", "a/b/here/here/c.txt", "a/b/top/a/b/c.txt", "chain"] {
        assert_found(&site, Links::Beneath, path, "inside");
        assert_found(&site, Links::Follow, path, "inside");
        assert_found(&site, Links::Refuse, path, NOT_FOUND);
    }
    for path in ["directory", "a/up", "a/b/here", "a/b/top"] {
        assert_found(&site, Links::Beneath, path, "(directory)");
        assert_found(&site, Links::Refuse, path, NOT_FOUND);
    }
}

#[test]
fn links_that_leave_the_root_are_refused() {
    let site = Site::new();
    site.file("a/b.txt", "inside");
    fs::create_dir(site.0.join("beside")).unwrap();
    fs::write(site.0.join("beside/secret"), "outside").unwrap();
    site.link("final", "../secret");
    site.link("a/final", "../../secret");
    site.link("absolute", site.0.join("secret"));
    site.link("intermediate", "../beside");
    site.link("absolute-intermediate", site.0.join("beside"));
    site.link("twice", "a/../final");
    site.link("through", "a/../intermediate");
    // Taken as relative, this one would be inside.
    site.link("slash", "/a/b.txt");
    assert_found(&site, Links::Beneath, "slash", NOT_FOUND);
    let ways_out = ["final", "a/final", "absolute", "intermediate/secret", "absolute-intermediate/secret", "twice"];
    for path in ways_out.into_iter().chain(["through/secret"]) {
        assert_found(&site, Links::Beneath, path, NOT_FOUND);
        assert_found(&site, Links::Refuse, path, NOT_FOUND);
        assert_found(&site, Links::Follow, path, "outside");
    }
    // Out and in again is out.
    site.link("again", "../root/a/b.txt");
    site.link("absolute-again", site.path("a/b.txt"));
    for path in ["again", "absolute-again"] {
        assert_found(&site, Links::Beneath, path, NOT_FOUND);
        assert_found(&site, Links::Follow, path, "inside");
    }
}

#[test]
fn links_may_lead_nowhere_and_in_circles() {
    let site = Site::new();
    site.file("file", "inside");
    site.link("dangling", "missing");
    site.link("itself", "itself");
    site.link("ping", "pong");
    site.link("pong", "ping");
    site.link("growing", "growing/x");
    site.link("no-directory", "file/");
    for path in ["dangling", "itself", "ping", "pong/x", "growing", "no-directory"] {
        for links in [Links::Beneath, Links::Follow, Links::Refuse] {
            assert_found(&site, links, path, NOT_FOUND);
        }
    }
}

#[test]
fn a_path_may_lead_over_forty_links() {
    let site = Site::new();
    site.file("0", "inside");
    for number in 1..=41 {
        site.link(&number.to_string(), (number - 1).to_string());
    }
    assert_found(&site, Links::Beneath, "40", "inside");
    assert_found(&site, Links::Beneath, "41", NOT_FOUND);
}

#[test]
fn a_walk_has_a_greatest_depth() {
    let site = Site::new();
    let depth = |levels: usize| "d/".repeat(levels) + "file";
    site.file(depth(257), "too deep");
    site.file(depth(256), "deep");
    let walking = site.root(Links::Beneath).walking();
    assert_eq!(outcome(walking.find(depth(256).as_bytes())), "deep");
    assert_eq!(outcome(walking.find(depth(257).as_bytes())), NOT_FOUND);
}

#[test]
#[cfg(target_os = "linux")]
fn magic_links_are_no_way_out() {
    let site = Site::new();
    site.link("process", "/proc/self/root/etc/passwd");
    assert_found(&site, Links::Beneath, "process", NOT_FOUND);
    let [kernel, walk] = [(), ()].map(|()| Root::open(Path::new("/proc/self"), Links::Beneath).unwrap());
    for root in [kernel, walk.walking()] {
        for path in ["root/etc/passwd", "cwd/Cargo.toml", "fd/0", "exe", "ns/net", "task/../root"] {
            assert_eq!(outcome(root.find(path.as_bytes())), NOT_FOUND, "{path} {:?}", root.way);
        }
    }
}

#[test]
fn what_is_no_file_is_refused_without_waiting() {
    let site = Site::new();
    mkfifoat(CWD, site.path("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    let _socket = UnixListener::bind(site.path("socket")).unwrap();
    site.link("to-fifo", "fifo");
    for links in [Links::Beneath, Links::Follow, Links::Refuse] {
        assert_found(&site, links, "fifo", NOT_A_FILE);
        assert_found(&site, links, "socket", NOT_A_FILE);
        assert_found(&site, links, "fifo/x", NOT_FOUND);
    }
    assert_found(&site, Links::Beneath, "to-fifo", NOT_A_FILE);
    let devices = Root::open(Path::new("/dev"), Links::Beneath).unwrap();
    for root in [devices.clone(), devices.walking()] {
        for device in ["null", "zero", "tty"] {
            assert_eq!(outcome(root.find(device.as_bytes())), NOT_A_FILE, "{device} {:?}", root.way);
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_no_file_is_not_even_opened() {
    use rustix::fs::inotify;
    let site = Site::new();
    mkfifoat(CWD, site.path("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    site.file("file", "inside");
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, site.path("fifo"), inotify::WatchFlags::OPEN).unwrap();
    let opened = || rustix::io::read(&watch, &mut [0; 4096]).is_ok();
    assert_found(&site, Links::Beneath, "fifo", NOT_A_FILE);
    assert!(!opened());
    inotify::add_watch(&watch, site.path("file"), inotify::WatchFlags::OPEN).unwrap();
    assert_found(&site, Links::Beneath, "file", "inside");
    assert!(opened(), "the watch works");
}

#[test]
fn opening_does_not_rely_on_having_looked() {
    let site = Site::new();
    site.file("file", "inside");
    site.link("in", "file");
    site.link("out", "../secret");
    site.link("loop", "loop");
    for root in site.both(Links::Beneath) {
        let open = |path: &[u8]| root.open_beneath(path, READ).and_then(opened_file).map(|(file, _)| file);
        assert_eq!(io::read_to_string(open(b"in").unwrap()).unwrap(), "inside");
        assert!(matches!(open(b"out"), Err(NotServed::NotFound)), "{:?}", root.way);
        assert!(matches!(open(b"loop"), Err(NotServed::NotFound)), "{:?}", root.way);
    }
    for root in site.both(Links::Refuse) {
        assert!(matches!(root.open_beneath(b"in", READ), Err(NotServed::NotFound)), "{:?}", root.way);
    }
}

#[test]
fn a_device_in_a_files_place_is_seen_by_its_own_descriptor() {
    let null = rustix::fs::open("/dev/null", READ, Mode::empty()).unwrap();
    assert!(matches!(opened_file(null), Err(NotServed::NotAFile)));
    let directory = rustix::fs::open("/", READ, Mode::empty()).unwrap();
    assert!(matches!(opened_file(directory), Err(NotServed::NotAFile)));
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
        assert_eq!(closed.entries().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
    fs::set_permissions(site.path("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn errors_are_told_apart() {
    let told = |errno| NotServed::from(errno);
    assert!(matches!(told(Errno::XDEV), NotServed::NotFound));
    assert!(matches!(told(Errno::NAMETOOLONG), NotServed::NotFound));
    assert!(matches!(told(Errno::ACCESS), NotServed::Forbidden));
    assert!(matches!(told(Errno::MFILE), NotServed::OutOfDescriptors));
    assert!(matches!(told(Errno::NFILE), NotServed::OutOfDescriptors));
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

// Directories

fn directory(root: &Root, path: &[u8]) -> OpenDirectory {
    let Ok(Found::Directory(directory)) = root.find(path) else { panic!("{} is no directory", path.escape_ascii()) };
    directory
}

fn entries(root: &Root, path: &[u8]) -> Vec<DirectoryEntry> {
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

// Files

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

// Races

/// Runs `disturb` over and over in another thread while `look` looks, until `look` says that it has seen everything it
/// should and has looked `times`.
fn race(times: usize, disturb: impl Fn() + Sync, mut look: impl FnMut() -> bool) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                disturb();
            }
        });
        // Also when `look` panics: the scope waits for the thread.
        let _over = SetOnDrop(&over);
        let began = Instant::now();
        let mut looked = 0;
        let mut seen_all = false;
        while !(seen_all && (looked >= times || began.elapsed() > ENOUGH)) {
            assert!(began.elapsed() < PATIENCE, "not everything was seen");
            seen_all |= look();
            looked += 1;
        }
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// There and back again.
#[cfg(target_os = "linux")]
fn exchange_twice(one: &Path, other: &Path) {
    for _ in 0..2 {
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn swapping_a_directory_with_a_link_to_etc_shows_nothing_of_etc() {
    let site = Site::new();
    site.file("dir/passwd", "inside");
    site.link("evil", "/etc");
    site.link("via", "dir/../dir/passwd");
    for root in site.both(Links::Beneath) {
        for path in [&b"dir/passwd"[..], b"via"] {
            let mut seen = BTreeSet::new();
            race(
                10_000,
                || exchange_twice(&site.path("dir"), &site.path("evil")),
                || {
                    let outcome = outcome(root.find(path));
                    assert!(outcome == "inside" || outcome == NOT_FOUND, "{:?}: {outcome}", root.way);
                    seen.insert(outcome);
                    seen.len() == 2
                },
            );
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn swapping_a_file_with_links_fifos_and_directories_shows_only_files_of_the_root() {
    let site = Site::new();
    site.file("name", "inside");
    site.link("out", "../secret");
    mkfifoat(CWD, site.path("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    fs::create_dir(site.path("directory")).unwrap();
    for root in site.both(Links::Beneath) {
        for other in ["out", "fifo", "directory"] {
            let mut seen = BTreeSet::new();
            race(
                5_000,
                || exchange_twice(&site.path("name"), &site.path(other)),
                || {
                    let outcome = outcome(root.find(b"name"));
                    assert_ne!(outcome, "outside", "{:?}", root.way);
                    seen.insert(outcome);
                    seen.len() >= 2 && seen.contains("inside")
                },
            );
        }
    }
}

#[test]
fn a_directory_that_is_moved_out_of_the_root_leads_nowhere() {
    let site = Site::new();
    site.file("in/deep/x", "");
    site.file("in/secret", "inside");
    site.link("up", "in/deep/../secret");
    let (inside, outside) = (site.path("in/deep"), site.0.join("deep"));
    for root in site.both(Links::Beneath) {
        let mut seen = BTreeSet::new();
        race(
            10_000,
            || {
                fs::rename(&inside, &outside).unwrap();
                fs::rename(&outside, &inside).unwrap();
            },
            || {
                let outcome = outcome(root.find(b"up"));
                assert!(outcome == "inside" || outcome == NOT_FOUND, "{:?}: {outcome}", root.way);
                seen.insert(outcome);
                seen.len() == 2
            },
        );
    }
}

// The two ways agree.

fn component() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "a", "b", "c", "..", ".", ""])
}

fn target() -> impl Strategy<Value = String> {
    prop::collection::vec(component(), 1..6).prop_map(|components| components.join("/"))
}

#[derive(Debug, Clone)]
enum Node {
    File,
    Directory(Vec<(&'static str, Node)>),
    Link(String),
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![1 => Just(Node::File), 3 => target().prop_map(Node::Link)];
    leaf.prop_recursive(3, 20, 3, |inner| {
        let named = |name| inner.clone().prop_map(move |node| (name, node));
        (named("a"), named("b"), named("c")).prop_map(|(a, b, c)| Node::Directory(vec![a, b, c]))
    })
}

fn plant(path: &Path, node: &Node) {
    match node {
        Node::File => fs::write(path, "x").unwrap(),
        Node::Link(target) if target.is_empty() => symlink(".", path).unwrap(),
        Node::Link(target) => symlink(target, path).unwrap(),
        Node::Directory(nodes) => {
            fs::create_dir(path).unwrap();
            nodes.iter().for_each(|(name, node)| plant(&path.join(name), node));
        }
    }
}

fn seen(root: &Root, path: &str) -> String {
    root.meta(path.as_bytes()).map_or_else(|error| error.to_string(), |seen| format!("{seen:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn the_walk_finds_what_the_kernel_finds(
        nodes in (node(), node(), node()),
        paths in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..6), 60),
    ) {
        let site = Site::new();
        for (name, node) in [("a", &nodes.0), ("b", &nodes.1), ("c", &nodes.2)] {
            plant(&site.path(name), node);
        }
        for path in paths.iter().map(|components| components.join("/")) {
            let [kernel, walk] = site.both(Links::Beneath).map(|root| seen(&root, &path));
            prop_assert_eq!(&kernel, &walk, "{}", path);
            let [refusing, walking] = site.both(Links::Refuse).map(|root| seen(&root, &path));
            prop_assert_eq!(&refusing, &walking, "{}", path);
            // An oracle that follows everything: what is found beneath the root is what it finds, and lies there.
            let followed = seen(&site.root(Links::Follow), &path);
            if kernel != "not found" {
                prop_assert_eq!(&kernel, &followed, "{}", path);
                let real = fs::canonicalize(site.path(&path)).unwrap();
                prop_assert!(real.starts_with(fs::canonicalize(site.path("")).unwrap()), "{}", path);
            }
        }
    }
}
