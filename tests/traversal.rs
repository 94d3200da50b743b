//! Paths that try to leave the root, against the resolver alone: whatever mistakes were made on the way from a request
//! target to a path, the resolver refuses them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use tidemill::base::disk::{Found, Links, Root};

const CORPUS: &str = include_str!("corpus/traversal.txt");

/// The request targets of the corpus.
fn targets() -> impl Iterator<Item = &'static [u8]> {
    let lines = CORPUS.lines().filter(|line| !line.is_empty() && *line != "#" && !line.starts_with("# "));
    lines.map(str::as_bytes)
}

/// The root that the corpus describes, removed when dropped.
struct Site {
    parent: PathBuf,
    /// The inodes of everything that may be found.
    inside: BTreeSet<u64>,
}

impl Site {
    fn new() -> Site {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let parent = std::env::temp_dir().join(format!("tidemill-{}-traversal-{number}", std::process::id()));
        let root = parent.join("root");
        fs::create_dir_all(root.join("sub/deep")).unwrap();
        fs::write(parent.join("secret.txt"), "outside").unwrap();
        for file in ["index.html", "sub/page.html", "sub/deep/leaf.html"] {
            fs::write(root.join(file), "inside").unwrap();
        }
        let inside = ["", "index.html", "sub", "sub/page.html", "sub/deep", "sub/deep/leaf.html"];
        let inside = inside.iter().map(|path| fs::metadata(root.join(path)).unwrap().ino()).collect();
        plant_links(&root);
        Site { parent, inside }
    }

    fn root(&self) -> PathBuf {
        self.parent.join("root")
    }

    /// Every way of resolving that must not leave the root.
    fn roots(&self) -> [Root; 4] {
        let open = |links| Root::open(&self.root(), links).unwrap();
        [open(Links::Beneath), open(Links::Beneath).walking(), open(Links::Refuse), open(Links::Refuse).walking()]
    }

    #[track_caller]
    fn assert_nothing_outside(&self, root: &Root, path: &[u8]) {
        let inode = match root.find(path) {
            Ok(Found::File(file)) => file.meta.inode,
            Ok(Found::Directory(directory)) => directory.meta.inode,
            Err(_) => return,
        };
        assert!(self.inside.contains(&inode), "{root:?} finds `{}` outside", path.escape_ascii());
    }

    /// What opening the path without any care would find.
    fn is_outside_to_the_careless(&self, path: &[u8]) -> bool {
        let path = self.root().join(Path::new(std::ffi::OsStr::from_bytes(path)));
        fs::metadata(path).is_ok_and(|found| found.is_file() && !self.inside.contains(&found.ino()))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.parent).unwrap();
    }
}

fn plant_links(root: &Path) {
    let links = [
        ("inside.txt", "index.html"),
        ("inside", "sub"),
        ("out.txt", "../secret.txt"),
        ("out", ".."),
        ("sub/up", "../.."),
        ("absolute.txt", "/etc/passwd"),
        ("absolute", "/"),
        ("chain.txt", "inside/up/secret.txt"),
        ("magic", "/proc/self/root"),
        ("loop", "loop"),
    ];
    for (name, target) in links {
        symlink(target, root.join(name)).unwrap();
    }
}

type Step = fn(&[u8]) -> Vec<u8>;

/// What a server might do to a target on its way to a path, rightly or wrongly.
const STEPS: [Step; 11] = [
    percent_decode,
    remove_dot_segments,
    without_leading_slashes,
    with_slashes_for_backslashes,
    with_overlong_forms_folded,
    without_query,
    without_parameters,
    without_scheme_and_authority,
    without_the_rest_after_nul,
    with_dots_and_slashes_deleted_once,
    without_empty_segments,
];

/// What becomes of `target` in up to `steps` steps, in any order.
fn variants(target: &[u8], steps: usize) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::from([target.to_vec()]);
    let mut last = all.clone();
    for _ in 0..steps {
        let next = last.iter().flat_map(|path| STEPS.map(|step| step(path)));
        last = next.filter(|path| !all.contains(path)).collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn percent_decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits
            .filter(|_| *first == b'%')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    decoded
}

/// RFC 3986 §5.2.4, for what matters here.
fn remove_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"." => {}
            b".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    kept.join(&b'/')
}

fn without_leading_slashes(path: &[u8]) -> Vec<u8> {
    path.iter().copied().skip_while(|byte| *byte == b'/').collect()
}

fn with_slashes_for_backslashes(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

/// As decoders do that take the low bits of overlong sequences.
fn with_overlong_forms_folded(path: &[u8]) -> Vec<u8> {
    let forms: [(&[u8], u8); 7] = [
        (b"\xc0\xae", b'.'),
        (b"\xe0\x80\xae", b'.'),
        (b"\xf0\x80\x80\xae", b'.'),
        (b"\xc0\xaf", b'/'),
        (b"\xe0\x80\xaf", b'/'),
        (b"\xf0\x80\x80\xaf", b'/'),
        (b"\xc1\x9c", b'/'),
    ];
    let mut folded = path.to_vec();
    for (form, byte) in forms {
        while let Some(at) = folded.windows(form.len()).position(|window| window == form) {
            folded.splice(at..at + form.len(), [byte]);
        }
    }
    folded
}

fn without_query(path: &[u8]) -> Vec<u8> {
    path.iter().copied().take_while(|byte| !matches!(byte, b'?' | b'#')).collect()
}

fn without_parameters(path: &[u8]) -> Vec<u8> {
    let name = |segment: &[u8]| segment.iter().copied().take_while(|byte| *byte != b';').collect::<Vec<u8>>();
    path.split(|byte| *byte == b'/').map(name).collect::<Vec<_>>().join(&b'/')
}

fn without_scheme_and_authority(path: &[u8]) -> Vec<u8> {
    let Some(at) = path.windows(3).position(|window| window == b"://") else { return path.to_vec() };
    path[at + 3..].iter().copied().skip_while(|byte| *byte != b'/').collect()
}

fn without_the_rest_after_nul(path: &[u8]) -> Vec<u8> {
    path.iter().copied().take_while(|byte| *byte != 0).collect()
}

/// The sanitizer that makes `../` of `....//`.
fn with_dots_and_slashes_deleted_once(path: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut rest = path;
    while let [first, after @ ..] = rest {
        if let Some(skipped) = rest.strip_prefix(b"../").or_else(|| rest.strip_prefix(b"..\\")) {
            rest = skipped;
        } else {
            kept.push(*first);
            rest = after;
        }
    }
    kept
}

fn without_empty_segments(path: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    path.dedup_by(|next, before| *next == b'/' && *before == b'/');
    path
}

#[test]
fn the_corpus_has_at_least_two_hundred_targets_and_none_twice() {
    let all: Vec<_> = targets().collect();
    assert!(all.len() >= 200, "{}", all.len());
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn the_corpus_is_dangerous_to_the_careless() {
    let site = Site::new();
    let dangerous = targets().filter(|target| {
        let paths = variants(target, 4);
        paths.iter().any(|path| site.is_outside_to_the_careless(path))
    });
    let dangerous = dangerous.count();
    assert!(dangerous >= 150, "only {dangerous} targets lead out of a root without doors");
}

#[test]
fn no_target_of_the_corpus_yields_anything_from_outside() {
    let site = Site::new();
    let roots = site.roots();
    let paths: BTreeSet<Vec<u8>> = targets().flat_map(|target| variants(target, 4)).collect();
    for path in &paths {
        for root in &roots {
            site.assert_nothing_outside(root, path);
        }
    }
    let found = paths.iter().filter(|path| roots[0].find(path).is_ok()).count();
    assert!(found >= 6, "what is inside is found: {found}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_composition_of_odd_pieces_yields_anything_from_outside(pieces in prop::collection::vec(piece(), 1..12)) {
        thread_local!(static SITE: (Site, [Root; 4]) = {
            let site = Site::new();
            let roots = site.roots();
            (site, roots)
        });
        SITE.with(|(site, roots)| {
            let path = pieces.concat();
            for root in roots {
                site.assert_nothing_outside(root, path.as_bytes());
            }
        });
    }
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/",
        "/",
        "/",
        "/",
        "..",
        "..",
        ".",
        "sub",
        "deep",
        "up",
        "out",
        "inside",
        "absolute",
        "magic",
        "loop",
        "etc",
        "passwd",
        "root",
        "secret.txt",
        "index.html",
        "page.html",
        "\0",
        "\\",
        " ",
        "proc/self/root",
        "%2e",
        "...",
    ])
}
