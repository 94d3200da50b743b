//! Promises with a number, at both sides of the number.

use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::base::job_name::JobKind;
use crate::base::job_pool::JobPoolLimits;

/// A file that was served at age 0, and is another one since.
fn changed() -> (Scene, World) {
    let scene = Scene::new();
    scene.write("page.txt", "old");
    let mut world = World::new(&scene);
    world.settle();
    assert_eq!(world.get("/page.txt").content, b"old");
    scene.replace("page.txt", "new");
    (scene, world)
}

#[test]
fn what_is_kept_is_served_for_less_than_a_second() {
    // Asked for once in 0.49 s, 0.499 s and so on: only an age of half a second makes the server look again.
    for (ages, expected) in
        [(&[0][..], "old"), (&[499], "old"), (&[1_000], "new"), (&[1_001], "new"), (&[86_400_000], "new")]
    {
        let (_scene, mut world) = changed();
        for age in ages {
            world.pass(*age);
        }
        assert_eq!(world.get("/page.txt").content, expected.as_bytes(), "{ages:?} ms");
    }
}

/// A world whose jobs wait until the gate is dropped.
fn hold(world: &mut World) -> std::sync::mpsc::Sender<()> {
    let (gate, held) = channel::<()>();
    let limits = JobPoolLimits { threads: 1, quick_max: 100, slow_max: 100, ..JobPoolLimits::default() };
    world.jobs = JobPool::new(limits, Instant::now).expect("there is a thread");
    let (begin, begun) = channel::<()>();
    let held = Mutex::new((held, begin));
    let wait = move || {
        let (held, begin) = &*held.lock().unwrap_or_else(PoisonError::into_inner);
        begin.send(()).expect("the test waits for it");
        held.recv().is_err()
    };
    let ticket = world.cx().submit(JobKind::Read, b"/", wait).expect("the queue is empty");
    begun.recv_timeout(Duration::from_secs(20)).expect("there is a thread");
    drop(ticket);
    gate
}

#[test]
fn while_the_disk_does_not_answer_the_old_is_served_until_the_second_is_over() {
    let (_scene, mut world) = changed();
    let gate = hold(&mut world);
    for (ms, age) in [(500, 500), (490, 990), (9, 999)] {
        world.pass(ms);
        let answer = world.begin("/page.txt", &[]).unwrap_or_else(|_| panic!("it is fresh at {age} ms"));
        assert_eq!(answer.content, b"old", "{age} ms");
    }
    world.pass(1);
    let exchange = world.begin("/page.txt", &[]).expect_err("at 1,000 ms it is stale");
    let exchange = world.finish(exchange).expect_err("the disk has not answered");
    drop(gate);
    assert_eq!(wait_for(&world, exchange).content, b"new");
}

fn wait_for(world: &World, mut exchange: Box<dyn Exchange>) -> Answer {
    let started = Instant::now();
    loop {
        match world.finish(exchange) {
            Ok(answer) => return answer,
            Err(pending) => exchange = pending,
        }
        assert!(started.elapsed() < Duration::from_secs(20), "no answer");
        // A thread has to get on; there is nobody here who would be woken.
        std::thread::yield_now();
    }
}

#[test]
fn a_hundred_requests_cause_one_look() {
    let (_scene, mut world) = changed();
    let gate = hold(&mut world);
    world.pass(500);
    for n in 0..100 {
        world.pass(4);
        assert!(world.begin("/page.txt", &[]).is_ok(), "request {n} does not wait");
    }
    assert_eq!(world.jobs.numbers().quick_queued, 1);
    drop(gate);
}

#[test]
fn before_half_a_second_nobody_looks() {
    let (_scene, mut world) = changed();
    for (ms, expected) in [(499, 0), (1, 1)] {
        world.pass(ms);
        assert_eq!(world.look_ups(|world| drop(world.get("/page.txt"))), expected);
    }
}

#[test]
fn a_look_that_finds_the_same_makes_it_young_again() {
    let scene = Scene::new();
    scene.write("page.txt", "same");
    let mut world = World::new(&scene);
    world.settle();
    let start = world.now;
    let looks = world.look_ups(|world| {
        for _ in 0..300 {
            world.pass(10);
            if world.begin("/page.txt", &[]).is_err() {
                assert_eq!(world.now - start, Duration::from_millis(10), "only the first one waits");
                world.get("/page.txt");
            }
        }
    });
    // At 10 ms, and then at 510, 1010, ...: what a look finds is as old as its beginning.
    assert_eq!(looks, 6);
}

#[test]
fn a_file_that_stays_is_never_waited_for_and_never_too_old() {
    let scene = Scene::new();
    scene.write("page.txt", "v0");
    let mut world = World::new(&scene);
    world.settle();
    world.get("/page.txt");
    let (mut version, mut written) = (0, world.now);
    for n in 1..=600 {
        world.pass(5);
        if n % 120 == 0 {
            (version, written) = (version + 1, world.now);
            scene.replace("page.txt", format!("v{version}"));
        }
        let answer = world.begin("/page.txt", &[]).unwrap_or_else(|_| panic!("request {n} waits"));
        let is_new = answer.content == format!("v{version}").as_bytes();
        assert!(is_new || world.now - written < Duration::from_secs(1), "request {n} got what was replaced long ago");
    }
}

#[test]
fn who_joins_a_look_gets_nothing_older_than_a_second() {
    let (_scene, mut world) = changed();
    world.files.shared.hot.forget(&resolve(b"/page.txt", false).expect("a path"));
    let gate = hold(&mut world);
    let early = world.begin("/page.txt", &[]).expect_err("nothing is known");
    let early = world.finish(early).expect_err("the disk has not answered");
    world.pass(999);
    let joins = world.begin("/page.txt", &[]).expect_err("nothing is known");
    let joins = world.finish(joins).expect_err("the disk has not answered");
    assert_eq!(world.jobs.numbers().quick_queued, 1, "it waits for the same look");
    world.pass(1);
    let looks = world.begin("/page.txt", &[]).expect_err("nothing is known");
    let looks = world.finish(looks).expect_err("the disk has not answered");
    assert_eq!(world.jobs.numbers().quick_queued, 2, "the look is a second old: it may have seen what was there then");
    drop(gate);
    for exchange in [early, joins, looks] {
        assert_eq!(wait_for(&world, exchange).content, b"new");
    }
}

#[test]
fn what_a_look_finds_is_as_old_as_its_beginning_whenever_it_arrives() {
    let (scene, mut world) = changed();
    world.files.shared.hot.forget(&resolve(b"/page.txt", false).expect("a path"));
    let gate = hold(&mut world);
    let exchange = world.begin("/page.txt", &[]).expect_err("nothing is known");
    let exchange = world.finish(exchange).expect_err("the disk has not answered");
    drop(gate);
    wait_until_idle(&world);
    world.pass(999);
    assert_eq!(wait_for(&world, exchange).content, b"new");
    scene.replace("page.txt", "newer");
    world.pass(1);
    assert!(world.begin("/page.txt", &[]).is_err(), "it was looked at a second ago");
}

fn wait_until_idle(world: &World) {
    let started = Instant::now();
    let is_busy = || world.jobs.numbers().longest_since.is_some() || world.jobs.numbers().quick_queued > 0;
    while is_busy() {
        assert!(started.elapsed() < Duration::from_secs(20), "it is busy for ever");
        std::thread::yield_now();
    }
}

/// What is being made of one file is not taken for what is made of another, nor one coding for another.
#[test]
fn forms_that_are_made_at_the_same_time_are_kept_apart() {
    let scene = Scene::new();
    for (name, letter) in [("a.txt", b'a'), ("b.txt", b'b')] {
        scene.write(name, letters(letter, LARGE));
    }
    let mut world = World::new(&scene);
    world.settle();
    // Where nothing slow may wait, both are found and kept without anything being made of them.
    let limits = JobPoolLimits { threads: 1, quick_max: 10, slow_max: 0, ..JobPoolLimits::default() };
    world.jobs = JobPool::new(limits, Instant::now).expect("there is a thread");
    for path in ["/a.txt", "/b.txt"] {
        let exchange = world.begin(path, &[]).expect_err("nothing is known");
        assert_eq!(wait_for(&world, exchange).field("ETag"), None);
    }
    let gate = hold(&mut world);
    let asked =
        [("/a.txt", "identity"), ("/a.txt", "gzip"), ("/a.txt", "zstd"), ("/b.txt", "identity"), ("/b.txt", "gzip")];
    let waiting: Vec<_> = asked
        .iter()
        .map(|(path, coding)| {
            let exchange = world.begin(path, &[("Accept-Encoding", coding)]).expect_err("it is to be made");
            world.finish(exchange).expect_err("nothing can be made now")
        })
        .collect();
    assert_eq!(world.jobs.numbers().slow_queued, asked.len());
    drop(gate);
    for ((path, coding), exchange) in asked.iter().zip(waiting) {
        let answer = wait_for(&world, exchange);
        assert!(decoded(&answer) == letters(path.as_bytes()[1], LARGE), "{path} {coding}");
        assert_eq!(answer.field("Content-Encoding").unwrap_or("identity"), *coding);
        assert_eq!(answer, world.ask(path, &[("Accept-Encoding", coding)]));
    }
}

#[test]
fn what_an_old_look_finds_does_not_replace_what_a_later_one_found() {
    let scene = Scene::new();
    scene.write("page.txt", "old");
    let mut world = World::new(&scene);
    world.settle();
    let resolved = resolve(b"/page.txt", false).expect("a path").into_owned();
    let early = world.now;
    let wanted = lookup::Wanted::new(&resolved, world.date_secs, None);
    let lookup::Looked::File(old) = lookup::look_up(&world.files.shared.store, &wanted) else { panic!("a file") };
    scene.replace("page.txt", "new");
    world.pass(100);
    assert_eq!(world.get("/page.txt").content, b"new");
    let hit = world.files.shared.hot.keep(&resolved, old, early);
    assert_eq!(hit.representation.original().1.length, 3);
    assert_eq!(world.get("/page.txt").content, b"new");
}

#[test]
fn what_is_not_there_is_looked_for_each_time() {
    let scene = Scene::new();
    let mut world = World::new(&scene);
    for expected in [404, 404] {
        assert_eq!(world.look_ups(|world| assert_eq!(world.get("/page.txt").status, expected)), 1);
    }
    scene.write("page.txt", "here");
    assert_eq!(world.get("/page.txt").content, b"here", "at once");
    fs::remove_file(scene.path("page.txt")).expect("it is there");
    assert_eq!(world.get("/page.txt").status, 200, "within the second");
    world.pass(1_000);
    assert_eq!(world.get("/page.txt").status, 404);
}

#[test]
fn a_refresh_that_finds_nothing_forgets_the_file() {
    let (scene, mut world) = changed();
    fs::remove_file(scene.path("page.txt")).expect("it is there");
    world.pass(500);
    assert_eq!(world.get("/page.txt").content, b"old", "the look is on its way");
    assert_eq!(world.get("/page.txt").status, 404, "it has found that there is nothing");
}
