//! What is found while somebody else changes the tree.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{RenameFlags, mkfifoat, renameat_with};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
/// A race that has shown all it should need not last longer.
const ENOUGH: Duration = Duration::from_secs(2);

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
