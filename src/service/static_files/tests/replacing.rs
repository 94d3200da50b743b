//! Every way in which a user without the raw disk can change what a path leads to. Length and time of modification are the
//! same before and after, as after a build that sets times: only what the file system itself notes tells the versions
//! apart.

use std::io::{Seek, Write};
use std::os::unix::fs::symlink;
use std::process::Command;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;

/// A way to put `content` at `path`, where something else was.
type Way = (&'static str, fn(&Scene, &str, &[u8]));

const WAYS: [Way; 16] = [
    ("written in place", |scene, path, content| {
        let mut file = fs::OpenOptions::new().write(true).open(scene.path(path)).expect("it is there");
        file.write_all(content).expect("there is room");
    }),
    ("truncated and written", |scene, path, content| {
        fs::write(scene.path(path), content).expect("there is room");
    }),
    ("one byte at a time", |scene, path, content| {
        let mut file = fs::OpenOptions::new().write(true).open(scene.path(path)).expect("it is there");
        for half in content.chunks(content.len().div_ceil(2)) {
            file.write_all(half).expect("there is room");
            file.flush().expect("there is room");
        }
        file.rewind().expect("it is a file");
    }),
    ("renamed over", |scene, path, content| scene.replace(path, content)),
    ("as rsync -t does", |scene, path, content| {
        let new = scene.write(".page.tmp.Xy12", content);
        touch(&new, BUILD_SECS);
        fs::rename(new, scene.path(path)).expect("both are there");
    }),
    ("cp -p", |scene, path, content| {
        fs::write(scene.beside("source"), content).expect("there is room");
        touch(&scene.beside("source"), BUILD_SECS);
        run(Command::new("cp").arg("-p").arg(scene.beside("source")).arg(scene.path(path)));
    }),
    ("cp --remove-destination", |scene, path, content| {
        fs::write(scene.beside("source"), content).expect("there is room");
        run(Command::new("cp").args(["-p", "--remove-destination"]).arg(scene.beside("source")).arg(scene.path(path)));
    }),
    ("removed and made again", |scene, path, content| {
        fs::remove_file(scene.path(path)).expect("it is there");
        scene.write(path, content);
    }),
    ("a hard link in its place", |scene, path, content| {
        fs::write(scene.beside("source"), content).expect("there is room");
        touch(&scene.beside("source"), BUILD_SECS);
        fs::remove_file(scene.path(path)).expect("it is there");
        fs::hard_link(scene.beside("source"), scene.path(path)).expect("it is the same file system");
    }),
    ("written through another hard link", |scene, path, content| {
        fs::hard_link(scene.path(path), scene.beside("other-name")).expect("it is the same file system");
        fs::write(scene.beside("other-name"), content).expect("there is room");
        touch(&scene.beside("other-name"), BUILD_SECS);
    }),
    ("exchanged with another", |scene, path, content| {
        let other = scene.write("other", content);
        touch(&other, BUILD_SECS);
        renameat_with(CWD, other, CWD, scene.path(path), RenameFlags::EXCHANGE).expect("the file system can");
    }),
    ("its folder replaced", |scene, path, content| {
        let other = scene.write("other/page.txt", content);
        touch(&other, BUILD_SECS);
        let folder = scene.path(path).parent().expect("it is in a folder").to_path_buf();
        fs::rename(&folder, scene.path("away")).expect("it is there");
        fs::rename(scene.path("other"), folder).expect("it is there");
    }),
    ("its folder exchanged", |scene, path, content| {
        let other = scene.write("other/page.txt", content);
        touch(&other, BUILD_SECS);
        let folder = scene.path(path).parent().expect("it is in a folder").to_path_buf();
        renameat_with(CWD, scene.path("other"), CWD, folder, RenameFlags::EXCHANGE).expect("the file system can");
    }),
    ("a link in its place", |scene, path, content| {
        let other = scene.write("other.txt", content);
        touch(&other, BUILD_SECS);
        fs::remove_file(scene.path(path)).expect("it is there");
        symlink("../other.txt", scene.path(path)).expect("there is room");
    }),
    ("a link's target replaced", |scene, path, content| {
        let away = scene.path("target.txt");
        fs::rename(scene.path(path), &away).expect("it is there");
        symlink("../target.txt", scene.path(path)).expect("there is room");
        scene.replace("target.txt", content);
        touch(&away, BUILD_SECS);
    }),
    ("through a mapping", |scene, path, content| {
        let program = "import mmap,sys\nf=open(sys.argv[1],'r+b')\nm=mmap.mmap(f.fileno(),0)\n\
                       m[:]=open(sys.argv[2],'rb').read()\nm.flush()\nm.close()\n";
        fs::write(scene.beside("source"), content).expect("there is room");
        let mut python = Command::new("python3");
        python.args(["-c", program]).arg(scene.path(path)).arg(scene.beside("source"));
        match python.status() {
            Ok(status) => assert!(status.success()),
            Err(_) => {
                eprintln!("notice: written without a mapping, python3 is not installed");
                fs::write(scene.path(path), content).expect("there is room");
            }
        }
    }),
];

fn run(command: &mut Command) {
    assert!(command.status().expect("the program is installed").success());
}

/// Does it, and sets the time back.
fn change(way: &Way, scene: &Scene, content: &[u8]) {
    (way.1)(scene, "d/page.txt", content);
    touch(&scene.path("d/page.txt"), BUILD_SECS);
    let meta = fs::metadata(scene.path("d/page.txt")).expect("it is there");
    assert_eq!((meta.mtime(), meta.len()), (BUILD_SECS, content.len() as u64), "{}: the test tests nothing", way.0);
}

#[test]
fn every_way_to_change_a_file_is_noticed() {
    for way in &WAYS {
        for len in [4, 2_000, LARGE] {
            let scene = Scene::new();
            touch(&scene.write("d/page.txt", letters(b'a', len)), BUILD_SECS);
            let mut world = World::new(&scene);
            world.settle();
            let before = world.get("/d/page.txt");
            let coded = world.ask("/d/page.txt", &[("Accept-Encoding", "gzip")]);
            assert!(before.content == letters(b'a', len) && decoded(&coded) == letters(b'a', len), "{}", way.0);

            change(way, &scene, &letters(b'b', len));
            world.pass(1_000);
            let about = format!("{}, {len} bytes", way.0);
            let old = [("If-None-Match", before.etag())];
            let after = world.ask("/d/page.txt", &old);
            assert!(after.status == 200 && after.content == letters(b'b', len), "{about}: {}", after.status);
            assert_ne!(after.etag(), before.etag(), "{about}");
            let recoded = world.ask("/d/page.txt", &[("Accept-Encoding", "gzip"), ("If-None-Match", coded.etag())]);
            assert!(recoded.status == 200 && decoded(&recoded) == letters(b'b', len), "{about}, compressed");
            let rest = [("Range", "bytes=2-"), ("If-Range", before.etag())];
            let rest = world.ask("/d/page.txt", &rest);
            assert!(rest.status == 200 && rest.content == letters(b'b', len), "{about}: parts of two versions");
        }
    }
}

#[test]
fn a_date_that_two_versions_have_is_not_told_any_more() {
    for len in [4, LARGE] {
        let scene = Scene::new();
        touch(&scene.write("page.txt", letters(b'a', len)), BUILD_SECS);
        let mut world = World::new(&scene);
        world.settle();
        let date = world.get("/page.txt").field("Last-Modified").expect("nothing speaks against it").to_owned();
        scene.replace("page.txt", letters(b'b', len));
        touch(&scene.path("page.txt"), BUILD_SECS);
        world.pass(1_000);
        let since = [("If-Modified-Since", date.as_str())];
        for ms in [0, 500, 0, 1_000, 5_000] {
            world.pass(ms);
            let answer = world.ask("/page.txt", &since);
            assert_eq!((answer.status, answer.field("Last-Modified")), (200, None), "{len}");
        }
        // What leaves the content alone does not bring it back.
        fs::hard_link(scene.path("page.txt"), scene.beside("other-name")).expect("it is the same file system");
        world.pass(1_000);
        assert_eq!(world.ask("/page.txt", &since).status, 200, "{len}");
        // A third one with a date of its own has it.
        scene.replace("page.txt", letters(b'c', len));
        touch(&scene.path("page.txt"), BUILD_SECS + 1);
        world.pass(1_000);
        assert!(world.get("/page.txt").field("Last-Modified").is_some());
        assert_eq!(world.ask("/page.txt", &since).status, 200);
    }
}

#[test]
fn a_date_survives_what_leaves_the_content_alone() {
    let scene = Scene::new();
    let path = scene.write("page.txt", "same");
    touch(&path, BUILD_SECS);
    let mut world = World::new(&scene);
    world.settle();
    let before = world.get("/page.txt");
    fs::hard_link(&path, scene.beside("other-name")).expect("it is the same file system");
    world.pass(1_000);
    assert_eq!(world.get("/page.txt"), before);
}

#[test]
fn a_date_never_says_that_parts_fit() {
    let scene = Scene::new();
    touch(&scene.write("page.bin", letters(b'a', LARGE)), BUILD_SECS);
    let mut world = World::new(&scene);
    world.settle();
    let date = world.get("/page.bin").field("Last-Modified").expect("it has one").to_owned();
    let answer = world.ask("/page.bin", &[("Range", "bytes=5-"), ("If-Range", &date)]);
    assert_eq!((answer.status, answer.content.len()), (200, LARGE));
}

#[test]
fn replicas_and_restarts_have_the_same_tags() {
    for len in [0, 4, 2_000, LARGE, 3 << 20] {
        let scenes = [Scene::new(), Scene::new()];
        touch(&scenes[0].write("page.txt", letters(b'a', len)), BUILD_SECS);
        let mut copy = Command::new("cp");
        run(copy.arg("-a").arg(scenes[0].path("page.txt")).arg(scenes[1].path("page.txt")));
        let worlds = [&scenes[0], &scenes[1], &scenes[0]].map(World::new);
        let tags = worlds.map(|mut world| {
            let plain = world.get("/page.txt");
            assert!(!plain.etag().starts_with("W/"), "strong");
            let same = world.ask("/page.txt", &[("If-None-Match", plain.etag())]);
            assert_eq!(same.status, 304);
            let coded = world.ask("/page.txt", &[("Accept-Encoding", "gzip")]);
            (plain.etag().to_owned(), coded.etag().to_owned())
        });
        assert_eq!(tags[0], tags[1], "{len}");
        assert_eq!(tags[0], tags[2], "{len}");
        assert_ne!(inode(&scenes[0].path("page.txt")), inode(&scenes[1].path("page.txt")));
    }
}
