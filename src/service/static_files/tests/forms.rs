//! What is said about a file, in each of its forms.

use std::os::unix::fs::symlink;

use super::field_rules::FieldRule;
use super::*;
use crate::http::negotiate::Coding;

const PAGE: &str = "<p>the same again and again</p>\n";

#[test]
fn a_304_says_what_guides_a_cache() {
    let scene = Scene::new();
    scene.write("page.html", PAGE.repeat(100));
    scene.write("large.html", PAGE.repeat(5_000));
    scene.write("small.bin", "no other form");
    let mut world = World::with(&scene, |site| {
        let rules = ["Cache-Control: no-cache", "X-Odd: 1"];
        site.field_rules.extend(rules.map(|rule| FieldRule::new(rule).expect("a rule")));
    });
    for (path, varies) in [("/page.html", true), ("/large.html", true), ("/small.bin", false)] {
        for coding in ["identity", "gzip", "zstd"] {
            let whole = world.ask(path, &[("Accept-Encoding", coding)]);
            let etag = whole.etag().to_owned();
            let not_modified = world.ask(path, &[("Accept-Encoding", coding), ("If-None-Match", &etag)]);
            assert_eq!((not_modified.status, not_modified.content.len()), (304, 0), "{path} {coding}");
            for name in ["ETag", "Vary", "Cache-Control", "X-Odd"] {
                assert_eq!(not_modified.field(name), whole.field(name), "{path} {coding}: {name}");
            }
            assert_eq!(whole.field("Vary").is_some(), varies, "{path} {coding}");
            for name in ["Content-Type", "Content-Encoding", "Last-Modified", "Accept-Ranges"] {
                assert_eq!(not_modified.field(name), None, "{path} {coding}: {name}");
            }
        }
    }
}

#[test]
fn siblings_are_part_of_the_version() {
    let (gzip, other) = (("Accept-Encoding", "gzip"), ("Accept-Encoding", "zstd"));
    for len in [300, LARGE] {
        let scene = Scene::new();
        let siblings = |letter| scene.write("page.css.gz", letters(letter, len));
        touch(&scene.write("page.css", letters(b'i', len)), BUILD_SECS);
        touch(&siblings(b'1'), BUILD_SECS);
        let mut world = World::new(&scene);
        world.settle();
        let before = world.ask("/page.css", &[gzip]);
        assert_eq!((before.field("Content-Encoding"), before.content[0]), (Some("gzip"), b'1'));
        // The same length and time, in place.
        touch(&siblings(b'2'), BUILD_SECS);
        world.pass(1_000);
        let after = world.ask("/page.css", &[gzip, ("If-None-Match", before.etag())]);
        assert_eq!((after.status, after.content[0]), (200, b'2'), "{len}");
        // Gone, and another one there.
        fs::remove_file(scene.path("page.css.gz")).expect("it is there");
        scene.write("page.css.zst", letters(b'3', len));
        world.pass(1_000);
        assert!(decoded(&world.ask("/page.css", &[gzip])) == letters(b'i', len), "compressed here");
        assert_eq!(world.ask("/page.css", &[other]).content[0], b'3');
        // The same bytes in two codings are two representations.
        scene.write("page.css.zst", letters(b'i', len));
        world.pass(1_000);
        assert_ne!(world.ask("/page.css", &[other]).etag(), world.get("/page.css").etag());
    }
}

#[test]
fn pages_for_what_is_missing_are_fresh_too() {
    for len in [10, LARGE] {
        let scene = Scene::new();
        let page = |letter| {
            scene.replace("404.html", letters(letter, len));
            scene.replace("app.html", letters(letter, len));
            touch(&scene.path("404.html"), BUILD_SECS);
            touch(&scene.path("app.html"), BUILD_SECS);
        };
        page(b'1');
        let mut missing = World::new(&scene);
        let mut app = World::with(&scene, |site| site.spa = Some(b"app.html".to_vec()));
        app.settle();
        assert_eq!((missing.get("/a/b").status, missing.get("/a/b").content[0]), (404, b'1'));
        let before = app.get("/a/b");
        assert_eq!((before.status, before.content[0]), (200, b'1'));
        page(b'2');
        assert_eq!(missing.get("/a/b").content[0], b'2', "at once");
        app.pass(1_000);
        let after = app.ask("/a/b", &[("If-None-Match", before.etag())]);
        assert_eq!((after.status, after.content[0]), (200, b'2'));
        // A file that comes into being hides the page.
        scene.write("a/b", "a file");
        app.pass(1_000);
        assert_eq!(app.get("/a/b").content, b"a file");
        fs::remove_dir_all(scene.path("a")).expect("it is there");
        app.pass(1_000);
        assert_eq!(app.get("/a/b").content[0], b'2');
    }
}

#[test]
fn another_name_for_the_page_of_a_site_has_its_own_type() {
    let scene = Scene::new();
    scene.write("app.html", "app");
    let mut world = World::with(&scene, |site| site.spa = Some(b"app.html".to_vec()));
    world.settle();
    let has_type = |world: &mut World, expected| {
        let answer = world.ask("/new.css", &[("Accept", "text/html")]);
        answer.field("Content-Type").is_some_and(|value| value.starts_with(expected))
    };
    assert!(has_type(&mut world, "text/html"));
    symlink("app.html", scene.path("new.css")).expect("there is room");
    world.pass(1_000);
    assert!(has_type(&mut world, "text/css"));
}

#[test]
fn every_byte_of_a_large_file_counts() {
    let scene = Scene::new();
    let mut world = World::new(&scene);
    let mut tags = Vec::new();
    let len = 600_000;
    for (name, at) in
        [("none.bin", None), ("first.bin", Some(0)), ("middle.bin", Some(300_000)), ("last.bin", Some(len - 1))]
    {
        let mut content = letters(b'a', len);
        at.into_iter().for_each(|at: usize| content[at] = b'b');
        scene.write(name, content);
        tags.push(world.get(&format!("/{name}")).etag().to_owned());
    }
    scene.write("longer.bin", letters(b'a', len + 1));
    tags.push(world.get("/longer.bin").etag().to_owned());
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 5);
}

#[test]
fn an_index_that_comes_and_goes_is_noticed() {
    let scene = Scene::new();
    scene.write("d/x", "x");
    let mut world = World::with(&scene, |site| site.browse = true);
    assert_eq!((world.get("/d").status, world.get("/d/").content), (301, b"(a listing)".to_vec()));
    scene.write("d/index.html", "one");
    assert_eq!(world.get("/d/").content, b"one");
    scene.replace("d/index.html", "two");
    world.pass(1_000);
    assert_eq!(world.get("/d/").content, b"two");
    fs::remove_file(scene.path("d/index.html")).expect("it is there");
    symlink("x", scene.path("d/index.html")).expect("there is room");
    world.pass(1_000);
    assert_eq!(world.get("/d/").content, b"x");
    fs::remove_file(scene.path("d/index.html")).expect("it is there");
    world.pass(1_000);
    assert_eq!(world.get("/d/").content, b"(a listing)");
}

#[test]
fn a_large_file_is_hashed_once_for_each_version() {
    let scene = Scene::new();
    let path = scene.write("page.bin", letters(b'a', LARGE));
    for cache_bytes_max in [32 << 20, 0] {
        let mut world = World::with(&scene, |site| site.cache_bytes_max = cache_bytes_max);
        world.settle();
        let reads = |world: &mut World| {
            take_calls();
            for ms in [0, 10, 500, 0, 1_000, 60_000] {
                world.pass(ms);
                world.ask("/page.bin", &[("Range", "bytes=0-0")]);
            }
            // Each part is read once by the test, with one call.
            take_calls().read - 6
        };
        assert!(reads(&mut world) > 0, "the first one needs the tag");
        assert_eq!(reads(&mut world), 0);
        fs::write(&path, letters(b'b', LARGE)).expect("there is room");
        assert!(reads(&mut world) > 0, "{cache_bytes_max}");
        assert_eq!(reads(&mut world), 0);
    }
}

#[test]
fn what_is_kept_takes_no_more_memory_than_it_may() {
    let scene = Scene::new();
    let paths: Vec<String> = (0..10).map(|number| format!("/{number}.bin")).collect();
    paths.iter().for_each(|path| drop(scene.write(&path[1..], letters(b'a', 30_000))));
    let mut world = World::with(&scene, |site| site.cache_bytes_max = 100_000);
    let fetch_all = |world: &mut World| paths.iter().for_each(|path| drop(world.get(path)));
    fetch_all(&mut world);
    assert!(world.look_ups(fetch_all) >= 7, "no more than three fit");
    // What is made of a version that was replaced meanwhile takes no room of the new one.
    let world = World::new(&scene);
    let (hot, store) = (&world.files.shared.hot, &world.files.shared.store);
    let resolved = resolve(b"/0.bin", false).expect("a path").into_owned();
    let keep = |ms| {
        let wanted = lookup::Wanted::new(&resolved, world.date_secs, None);
        let lookup::Looked::File(found) = lookup::look_up(store, &wanted) else { panic!("a file") };
        hot.keep(&resolved, found, world.now + Duration::from_millis(ms))
    };
    let (old, new) = (keep(0), keep(1));
    let kept = hot.kept_bytes();
    let form = Arc::clone(old.representation.original().1);
    hot.keep_form(&resolved, &old, Coding::Gzip, Some(Arc::clone(&form)));
    assert_eq!(hot.kept_bytes(), kept);
    hot.keep_form(&resolved, &new, Coding::Gzip, Some(form));
    assert!(hot.kept_bytes() > kept + 30_000);
}

#[test]
fn a_very_large_file_has_a_tag_that_needs_no_reading() {
    let scene = Scene::new();
    let path = scene.write("disk.img", "");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("it is there");
    let len = tag::HASHED_BYTES_MAX + 1;
    file.set_len(len).expect("holes take no room");
    let first = [("Range", "bytes=0-0")];
    let mut world = World::new(&scene);
    let fresh = world.ask("/disk.img", &first);
    assert_eq!((fresh.status, fresh.field("ETag")), (206, None), "it may change once more in the same tick");
    world.settle();
    world.pass(1_000);
    take_calls();
    let settled = world.ask("/disk.img", &first);
    assert_eq!(take_calls().read, 1, "the one of the test");
    let part = |world: &mut World, tag: &str| world.ask("/disk.img", &[first[0], ("If-Range", tag)]).status;
    assert_eq!(part(&mut world, settled.etag()), 206);
    let mut restarted = World::new(&scene);
    restarted.settle();
    assert_eq!(part(&mut restarted, settled.etag()), 206, "downloads go on after a restart");
    // At exactly the limit it is hashed.
    file.set_len(len - 1).expect("it can be cut");
    world.pass(1_000);
    assert_eq!(restarted.ask("/disk.img", &first).etag(), world.ask("/disk.img", &first).etag());
    assert_ne!(world.ask("/disk.img", &first).etag(), settled.etag());
}

#[test]
fn a_full_queue_costs_the_tag_and_not_the_answer() {
    use crate::base::job_name::JobKind;
    use crate::base::job_pool::JobPoolLimits;
    let scene = Scene::new();
    scene.write("page.bin", letters(b'a', LARGE));
    let mut world = World::new(&scene);
    world.settle();
    let limits = JobPoolLimits { threads: 1, quick_max: 10, slow_max: 0, ..JobPoolLimits::default() };
    world.jobs = JobPool::new(limits, Instant::now).expect("there is a thread");
    let started = Instant::now();
    let mut exchange = world.begin("/page.bin", &[]).expect_err("nothing is known");
    let answer = loop {
        match world.finish(exchange) {
            Ok(answer) => break answer,
            Err(pending) => exchange = pending,
        }
        assert!(started.elapsed() < Duration::from_secs(20), "no answer");
        std::thread::yield_now();
    };
    assert_eq!((answer.status, answer.field("ETag"), answer.content.len()), (200, None, LARGE));
    assert!(world.cx().submit(JobKind::List, b"/", || ()).is_err(), "the queue is full");
}
