//! Changes at the exact step where they hurt.

use super::lookup::{Looked, Wanted, look_up};
use super::representation::{FormContent, Representation};
use super::serving::made;
use super::*;
use crate::base::disk::stage::act_after_reads;
use crate::http::negotiate::Coding;

fn found(world: &World, path: &str, known: Option<&Arc<Representation>>) -> Arc<Representation> {
    let resolved = resolve(path.as_bytes(), false).expect("a path");
    let wanted = Wanted::new(&resolved, world.date_secs, known.cloned());
    match look_up(&world.files.shared.store, &wanted) {
        Looked::File(found) => found,
        other => panic!("{other:?}"),
    }
}

/// Does something after the first read, and nothing after the others.
fn once(act: impl FnOnce() + 'static) -> impl FnMut() {
    let mut act = Some(act);
    move || {
        if let Some(act) = act.take() {
            act();
        }
    }
}

#[test]
fn a_file_that_changes_between_its_read_and_its_stat_is_read_again() {
    let scene = Scene::new();
    let path = scene.write("page.txt", "old");
    touch(&path, BUILD_SECS);
    let mut world = World::new(&scene);
    world.settle();
    let acting = act_after_reads(once(move || {
        fs::write(&path, "new").expect("there is room");
        touch(&path, BUILD_SECS);
    }));
    let answer = world.get("/page.txt");
    drop(acting);
    assert_eq!(answer.content, b"new");
    assert_eq!(world.get("/page.txt"), answer);
}

#[test]
fn a_file_that_never_rests_is_not_kept_and_has_no_tag() {
    let scene = Scene::new();
    let path = scene.write("page.txt", "0");
    let mut world = World::new(&scene);
    world.settle();
    let mut count = 0;
    let acting = act_after_reads(move || {
        count += 1;
        fs::write(&path, format!("{count}")).expect("there is room");
    });
    let answer = world.get("/page.txt");
    drop(acting);
    assert_eq!((answer.status, answer.field("ETag")), (200, None));
    // As soon as it rests, it has one, even within the second.
    let rested = world.get("/page.txt");
    assert!(rested.field("ETag").is_some() && !rested.content.is_empty());
}

#[test]
fn a_large_file_that_changes_while_it_is_hashed_has_no_tag_of_both() {
    let scene = Scene::new();
    let path = scene.write("page.bin", letters(b'a', LARGE));
    let mut world = World::new(&scene);
    world.settle();
    let changing = path.clone();
    let acting = act_after_reads(once(move || {
        fs::write(&changing, letters(b'b', LARGE)).expect("there is room");
        touch(&changing, BUILD_SECS);
    }));
    let answer = world.get("/page.bin");
    drop(acting);
    assert!(answer.content == letters(b'b', LARGE));
    let other = Scene::new();
    other.write("page.bin", letters(b'b', LARGE));
    assert_eq!(answer.etag(), World::new(&other).get("/page.bin").etag(), "it is hashed anew");
}

#[test]
fn what_changes_between_look_up_and_compression_is_not_compressed() {
    for act in [
        |path: &Path| {
            fs::write(path, letters(b'b', LARGE)).expect("there is room");
            touch(path, BUILD_SECS);
        },
        |path: &Path| {
            fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(9)).expect("it is there")
        },
        |path: &Path| fs::write(path, letters(b'a', LARGE + 1)).expect("there is room"),
    ] {
        let scene = Scene::new();
        let path = scene.write("page.txt", letters(b'a', LARGE));
        touch(&path, BUILD_SECS);
        let mut world = World::new(&scene);
        world.settle();
        let representation = found(&world, "/page.txt", None);
        act(&path);
        for coding in Coding::ALL {
            let form = made(&world.files.shared.store, &representation, coding, world.date_secs);
            assert!(form.is_none(), "{coding:?}");
        }
    }
}

#[test]
fn what_changes_while_it_is_compressed_is_not_compressed() {
    let scene = Scene::new();
    let path = scene.write("page.txt", letters(b'a', LARGE));
    let mut world = World::new(&scene);
    world.settle();
    let changing = path.clone();
    let acting = act_after_reads(once(move || {
        fs::write(&changing, letters(b'b', LARGE)).expect("there is room");
    }));
    let answer = world.ask("/page.txt", &[("Accept-Encoding", "gzip")]);
    drop(acting);
    assert!(decoded(&answer) == letters(b'b', LARGE));
}

#[test]
fn a_coded_form_alone_that_changes_while_it_is_decoded_is_decoded_anew() {
    let (old, new) = (noise(1, LARGE), noise(2, LARGE));
    let coded = |content: &[u8]| zstd::bulk::compress(content, 3).expect("there is memory");
    let scene = Scene::new();
    let path = scene.write("page.bin.zst", coded(&old));
    touch(&path, BUILD_SECS);
    let mut world = World::new(&scene);
    world.settle();
    let changed = coded(&new);
    // Its tag is made first: this is the read for decoding.
    assert!(world.ask("/page.bin", &[("Accept-Encoding", "zstd")]).content == coded(&old));
    let changing = path.clone();
    let acting = act_after_reads(once(move || {
        fs::write(&changing, changed).expect("there is room");
        touch(&changing, BUILD_SECS);
    }));
    let answer = world.ask("/page.bin", &[("Accept-Encoding", "identity")]);
    drop(acting);
    assert_eq!(answer.status, 200);
    assert!(answer.content == new);
    let other = Scene::new();
    other.write("page.bin", &new);
    assert_eq!(answer.etag(), World::new(&other).get("/page.bin").etag(), "the tag of its own bytes");
}

#[test]
fn a_file_that_is_written_in_place_within_the_second_is_not_sent_under_the_old_tag() {
    for act in [
        |path: &Path| fs::write(path, letters(b'b', LARGE)).expect("there is room"),
        |path: &Path| fs::write(path, letters(b'b', LARGE / 2)).expect("there is room"),
        |path: &Path| fs::write(path, letters(b'b', LARGE * 2)).expect("there is room"),
        |path: &Path| fs::write(path, "small").expect("there is room"),
    ] {
        let scene = Scene::new();
        let path = scene.write("page.bin", letters(b'a', LARGE));
        touch(&path, BUILD_SECS);
        let mut world = World::new(&scene);
        world.settle();
        let before = world.get("/page.bin");
        act(&path);
        touch(&path, BUILD_SECS);
        let after = world.get("/page.bin");
        assert!(after.content == fs::read(&path).expect("it is there"));
        assert_ne!(after.etag(), before.etag());
        let rest = world.ask("/page.bin", &[("Range", "bytes=2-"), ("If-Range", before.etag())]);
        assert_eq!(rest.status, 200);
    }
}

#[test]
fn a_log_that_grows_with_each_look_is_sent_as_it_is() {
    let scene = Scene::new();
    let path = scene.write("access.log", letters(b'a', LARGE));
    let mut world = World::new(&scene);
    world.settle();
    let acting = act_after_reads(move || {
        let mut log = fs::OpenOptions::new().append(true).open(&path).expect("it is there");
        std::io::Write::write_all(&mut log, b"a").expect("there is room");
    });
    let mut answer = None;
    let looks = world.look_ups(|world| answer = Some(world.get("/access.log")));
    drop(acting);
    let answer = answer.expect("it was asked for");
    assert_eq!((answer.status, answer.field("ETag"), looks), (200, None, 4));
    assert!(answer.content.len() >= LARGE);
}

#[test]
fn what_is_sent_as_it_is_promises_nothing() {
    let scene = Scene::new();
    scene.write("page.txt", "small");
    scene.write("page.txt.gz", "smaller");
    let world = World::new(&scene);
    let untagged = found(&world, "/page.txt", None).without_tags();
    for form in untagged.forms.iter().flatten() {
        let names = |fields: &crate::http::fields::FieldSet| fields.iter().any(|(name, _)| name == b"ETag");
        assert!(form.etag.is_none() && !names(&form.fields) && !names(&form.not_modified_fields));
    }
    assert!(untagged.form(Coding::Gzip).is_some());
}

#[test]
fn two_changes_at_the_same_time_are_told_apart_by_their_content() {
    // The file system's clock may stand still between two changes. Here it is made to: what was found is given the
    // versions of what is there now.
    for len in [4, LARGE] {
        let scene = Scene::new();
        let path = scene.write("page.txt", letters(b'a', len));
        let world = World::new(&scene);
        let known = found(&world, "/page.txt", None);
        assert!(!known.is_settled(), "it was changed a moment ago");
        fs::write(&path, letters(b'b', len)).expect("there is room");
        let known = as_if_unchanged(&known, &found(&world, "/page.txt", None));
        let now = found(&world, "/page.txt", Some(&known));
        assert!(!Arc::ptr_eq(&known, &now), "{len}: another content was taken for the same");
        assert!(bytes(&now) == letters(b'b', len));
    }
}

/// What is known, as if the file system had noted nothing of the change since.
fn as_if_unchanged(known: &Representation, now: &Representation) -> Arc<Representation> {
    let mut forms: representation::Forms = Default::default();
    for (coding, form) in Coding::ALL.into_iter().zip(&known.forms) {
        forms[coding as usize] = form.as_ref().zip(now.form(coding)).map(|(form, now)| {
            let (content, etag) = (form.content.clone(), form.etag.clone());
            Arc::new(representation::Form::new(coding, form.length, content, now.version, etag, &known.common))
        });
    }
    let (content_type, common) = (known.content_type.clone(), known.common.clone());
    Arc::new(Representation::new(&known.path, content_type, forms, common, known.compressible, known.is_settled()))
}

fn bytes(representation: &Representation) -> Vec<u8> {
    match &representation.original().1.content {
        FormContent::Memory(bytes) => bytes.to_vec(),
        FormContent::File(file) => file.read_all(2 * LARGE).expect("it can be read").expect("it is short"),
    }
}

#[test]
fn what_rests_is_read_once_more_and_then_never_again() {
    let scene = Scene::new();
    scene.write("page.txt", "same");
    let mut world = World::new(&scene);
    let known = found(&world, "/page.txt", None);
    let reads = |world: &World| {
        take_calls();
        let again = found(world, "/page.txt", Some(&known));
        assert!(Arc::ptr_eq(&known, &again), "it keeps what has been made of it");
        take_calls().read > 0
    };
    assert!(reads(&world) && reads(&world), "it may be changed once more in the same tick");
    world.date_secs += 2;
    assert!(reads(&world), "now it is known what it was after that");
    assert!(!reads(&world) && !reads(&world));
}
