//! FIFOs, sockets and devices.

use std::os::unix::net::UnixListener;

use rustix::fs::mkfifoat;

use super::*;

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
fn a_device_in_a_files_place_is_seen_by_its_own_descriptor() {
    let null = rustix::fs::open("/dev/null", READ, Mode::empty()).unwrap();
    assert!(matches!(opened_file(null), Err(NotServed::NotAFile)));
    let directory = rustix::fs::open("/", READ, Mode::empty()).unwrap();
    assert!(matches!(opened_file(directory), Err(NotServed::NotAFile)));
}
