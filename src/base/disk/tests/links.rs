//! Symbolic links: which are followed, and how far.

use super::*;

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
