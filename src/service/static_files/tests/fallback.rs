//! The page for paths that do not exist: what is kept of it answers each request by what that asks for.

use super::*;

const SCRIPT: [(&str, &str); 1] = [("Sec-Fetch-Dest", "script")];
const DOCUMENT: [(&str, &str); 1] = [("Sec-Fetch-Dest", "document")];
const DECIDING: Option<&str> = Some("Accept, Sec-Fetch-Dest");

fn world(scene: &Scene) -> World {
    scene.write("index.html", "app");
    scene.write("404.html", "own page");
    let mut world = World::with(scene, |site| site.spa = Some(b"index.html".to_vec()));
    world.settle();
    world
}

#[test]
fn whoever_asks_first_the_next_one_gets_its_own_answer() {
    for first_is_script in [false, true] {
        let scene = Scene::new();
        let mut world = world(&scene);
        for is_script in [first_is_script, !first_is_script, first_is_script, true, true, false, false] {
            let answer = world.ask("/app.js", if is_script { &SCRIPT } else { &DOCUMENT });
            let expected = if is_script { (404, &b"own page"[..]) } else { (200, &b"app"[..]) };
            assert_eq!((answer.status, &answer.content[..]), expected, "{first_is_script} {is_script}");
            assert_eq!(answer.field("Vary"), DECIDING, "{is_script}");
        }
    }
}

#[test]
fn a_refusal_leaves_the_page_where_it_is_kept() {
    let scene = Scene::new();
    let mut world = world(&scene);
    world.ask("/app.js", &DOCUMENT);
    assert_eq!(world.ask("/app.js", &SCRIPT).status, 404);
    assert_eq!(world.look_ups(|world| assert_eq!(world.ask("/app.js", &DOCUMENT).status, 200)), 0);
    world.pass(999);
    assert!(world.begin("/app.js", &DOCUMENT).is_ok(), "it is fresh");
}

#[test]
fn a_file_that_comes_is_for_everyone_and_one_that_goes_is_not() {
    let scene = Scene::new();
    let mut world = world(&scene);
    assert_eq!(world.ask("/app.js", &SCRIPT).status, 404);
    assert_eq!(world.ask("/app.js", &DOCUMENT).content, b"app");
    let path = scene.write("app.js", "script");
    world.pass(1000);
    for fields in [SCRIPT, DOCUMENT] {
        let answer = world.ask("/app.js", &fields);
        assert_eq!((&answer.content[..], answer.field("Vary")), (&b"script"[..], None));
    }
    fs::remove_file(path).expect("it is there");
    world.pass(1000);
    assert_eq!(world.ask("/app.js", &SCRIPT).content, b"own page");
    assert_eq!(world.ask("/app.js", &DOCUMENT).content, b"app");
}

/// The same file is for everyone at its own address, and for some at all others.
#[test]
fn the_page_at_its_own_address_does_not_depend_on_who_asks() {
    let scene = Scene::new();
    let mut world = world(&scene);
    for path in ["/index.html", "/", "/index.html"] {
        let answer = world.ask(path, &SCRIPT);
        assert_eq!((answer.status, answer.field("Vary")), (200, None), "{path}");
    }
    assert_eq!(world.ask("/other", &SCRIPT).status, 404);
    let before = world.ask("/other", &DOCUMENT);
    assert_eq!(before.etag(), world.get("/").etag());
    let revalidated = world.ask("/other", &[("Sec-Fetch-Dest", "document"), ("If-None-Match", before.etag())]);
    assert_eq!((revalidated.status, revalidated.field("Vary")), (304, DECIDING));
    let loaded = world.ask("/other", &[("Sec-Fetch-Dest", "script"), ("If-None-Match", before.etag())]);
    assert_eq!(loaded.status, 404, "what is not for the request has no validator");
}

#[test]
fn what_the_coding_depends_on_is_named_too() {
    let scene = Scene::new();
    let mut world = world(&scene);
    scene.write("index.html", letters(b'a', 1000));
    for fields in [&[("Accept-Encoding", "gzip")][..], &[], &[("Accept-Encoding", "*;q=0")]] {
        let answer = world.ask("/some/route", fields);
        let vary: Vec<&str> =
            answer.fields.iter().filter(|(name, _)| name == "Vary").flat_map(|(_, value)| value.split(", ")).collect();
        assert_eq!(vary, ["Accept", "Sec-Fetch-Dest", "Accept-Encoding"], "{} {fields:?}", answer.status);
    }
    let refused = world.ask("/favicon.ico", &[("Accept", "image/*")]);
    assert_eq!((refused.status, refused.field("Vary")), (404, DECIDING));
}

#[test]
fn without_a_page_nothing_depends_on_who_asks() {
    let scene = Scene::new();
    let mut world = World::new(&scene);
    scene.write("404.html", "own page");
    for fields in [SCRIPT, DOCUMENT] {
        let answer = world.ask("/app.js", &fields);
        assert_eq!((answer.status, answer.field("Vary")), (404, None));
    }
    let mut world = World::with(&scene, |site| site.spa = Some(b"not-there.html".to_vec()));
    assert_eq!(world.ask("/app.js", &DOCUMENT).status, 404);
}
