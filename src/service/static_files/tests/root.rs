//! The root itself is replaced.

use std::os::unix::fs::symlink;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;

/// `current` is a link to `releases/1`, and `root` a link to `current`.
fn released() -> Scene {
    let scene = Scene::new();
    fs::remove_dir(scene.beside("root")).expect("it is empty");
    for release in ["1", "2"] {
        let folder = scene.beside("releases").join(release);
        fs::create_dir_all(&folder).expect("there is room");
        for (name, len) in [("page.txt", 4), ("large.txt", LARGE)] {
            fs::write(folder.join(name), letters(release.as_bytes()[0], len)).expect("there is room");
            touch(&folder.join(name), BUILD_SECS);
        }
        fs::write(folder.join(format!("only-{release}.txt")), "x").expect("there is room");
    }
    symlink("releases/1", scene.beside("current")).expect("there is room");
    symlink("current", scene.beside("root")).expect("there is room");
    scene
}

/// As `ln -sfn` in two steps does, so that there is never no link.
fn point(scene: &Scene, release: &str) {
    let new = scene.beside("new-link");
    symlink(format!("releases/{release}"), &new).expect("there is room");
    fs::rename(new, scene.beside("current")).expect("it is there");
}

#[test]
fn a_link_to_another_release_is_noticed_within_a_second() {
    let scene = released();
    let mut world = World::new(&scene);
    world.settle();
    for (path, len) in [("/page.txt", 4), ("/large.txt", LARGE)] {
        point(&scene, "1");
        world.pass(1_000);
        let before = world.get(path);
        assert!(before.content == letters(b'1', len));
        point(&scene, "2");
        world.pass(999);
        assert!(world.get(path).content == letters(b'1', len), "it may be as old as that");
        world.pass(1);
        let after = world.ask(path, &[("If-None-Match", before.etag())]);
        assert!(after.status == 200 && after.content == letters(b'2', len), "{path}");
    }
    assert_eq!(world.get("/only-1.txt").status, 404, "what is not kept is never old");
    assert_eq!(world.get("/only-2.txt").status, 200);
}

#[test]
fn an_answer_that_has_begun_is_of_the_release_it_began_with() {
    let scene = released();
    let mut world = World::new(&scene);
    let (files, request) = (Rc::clone(&world.files.shared), "/large.txt");
    let before = world.get(request);
    let hit = files.hot.known(&files.store, &resolve(request.as_bytes(), false).expect("a path"), &world.cx());
    let Known::Fresh(hit) = hit else { panic!("it was just served") };
    point(&scene, "2");
    fs::remove_dir_all(scene.beside("releases/1")).expect("it is there");
    let representation::FormContent::File(file) = &hit.representation.original().1.content else {
        panic!("it is large")
    };
    let content = file.read_all(LARGE).expect("it can be read").expect("it has not grown");
    assert!(content == before.content);
}

#[test]
fn a_folder_that_is_made_anew_is_served() {
    let scene = Scene::new();
    scene.write("page.txt", "old");
    let mut world = World::with(&scene, |site| site.browse = true);
    assert_eq!(world.get("/page.txt").content, b"old");
    fs::remove_dir_all(scene.beside("root")).expect("it is there");
    world.pass(1_000);
    for path in ["/page.txt", "/", "/other"] {
        assert_eq!(world.get(path).status, 404, "{path}");
    }
    fs::create_dir(scene.beside("root")).expect("there is room");
    assert_eq!((world.get("/page.txt").status, world.get("/").status), (404, 200));
    scene.write("page.txt", "new");
    assert_eq!(world.get("/page.txt").content, b"new");
    // A file in its place is no root.
    fs::remove_dir_all(scene.beside("root")).expect("it is there");
    fs::write(scene.beside("root"), "a file").expect("there is room");
    world.pass(1_000);
    assert_eq!(world.get("/page.txt").status, 404);
}

#[test]
fn a_root_that_is_exchanged_or_moved_away_is_noticed() {
    let scene = Scene::new();
    scene.write("page.txt", "one");
    fs::create_dir(scene.beside("other")).expect("there is room");
    fs::write(scene.beside("other/page.txt"), "two").expect("there is room");
    let mut world = World::new(&scene);
    assert_eq!(world.get("/page.txt").content, b"one");
    let exchange = || {
        let (root, other) = (scene.beside("root"), scene.beside("other"));
        renameat_with(CWD, root, CWD, other, RenameFlags::EXCHANGE).expect("the file system can");
    };
    for expected in [b"two", b"one"] {
        exchange();
        world.pass(1_000);
        assert_eq!(world.get("/page.txt").content, expected);
    }
    fs::rename(scene.beside("root"), scene.beside("away")).expect("it is there");
    world.pass(1_000);
    assert_eq!(world.get("/page.txt").status, 404);
    fs::rename(scene.beside("other"), scene.beside("root")).expect("it is there");
    assert_eq!(world.get("/page.txt").content, b"two");
}

#[test]
fn the_new_root_keeps_paths_beneath_itself() {
    let scene = released();
    fs::write(scene.beside("secret"), "outside").expect("there is room");
    symlink("../../secret", scene.beside("releases/2/leak")).expect("there is room");
    symlink("../1/page.txt", scene.beside("releases/2/back")).expect("there is room");
    let mut world = World::new(&scene);
    assert_eq!(world.get("/leak").status, 404);
    point(&scene, "2");
    for path in ["/leak", "/back", "/leak/x"] {
        assert_eq!(world.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_relative_root_is_found_again_by_the_path_it_had() {
    // The working directory of a test is everybody's: a relative path to the scene is made, and not a new directory.
    let scene = Scene::new();
    scene.write("page.txt", "old");
    let here = std::env::current_dir().expect("there is one");
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = up.join(scene.beside("root").strip_prefix("/").expect("it is absolute"));
    let mut world = World::with(&scene, |site| {
        site.root = RootPath::new(&relative, Links::Beneath).expect("the root is there");
    });
    assert_eq!(world.get("/page.txt").content, b"old");
    fs::rename(scene.beside("root"), scene.beside("away")).expect("it is there");
    scene.write("page.txt", "new");
    world.pass(1_000);
    assert_eq!(world.get("/page.txt").content, b"new");
}
