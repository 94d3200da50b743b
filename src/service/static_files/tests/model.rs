//! Random changes and requests against a model that knows what was there when.
//!
//! After each request: its content is one version, none that was replaced a second ago or earlier; its tag has never named
//! other bytes; a 304 and a part are about the version that the client has.

use std::collections::HashMap;
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

/// A change, or a request.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Other bytes of the same length, in place.
    Write,
    /// Another length, in place.
    Truncate(Size),
    /// By renaming.
    Replace(Size),
    /// As `cp -p` does: in place, with the time of the source.
    CopyOver(Size),
    /// Back to the time that everything has.
    Touch,
    Delete,
    /// `current` leads to the other release.
    SwapRoot,
    /// The root is removed and made again, empty.
    RemakeRoot,
    Pass(u64),
    Fetch(Coded),
    /// With the tag of an earlier answer.
    FetchIfChanged(usize, Coded),
    /// The rest of an earlier answer.
    Resume(usize, Coded),
}

type Coded = bool;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Size {
    Empty,
    Tiny,
    Page,
    Large,
}

impl Size {
    fn len(self) -> usize {
        match self {
            Size::Empty => 0,
            Size::Tiny => 5,
            Size::Page => 600,
            Size::Large => 66_000,
        }
    }
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![1 => Just(Size::Empty), 1 => Just(Size::Tiny), 3 => Just(Size::Page), 2 => Just(Size::Large)]
}

fn step() -> impl Strategy<Value = Step> {
    let ms = prop_oneof![0..20u64, Just(499), Just(500), Just(501), Just(999), Just(1_000), 0..3_000u64];
    prop_oneof![
        2 => Just(Step::Write),
        1 => size().prop_map(Step::Truncate),
        2 => size().prop_map(Step::Replace),
        2 => size().prop_map(Step::CopyOver),
        1 => Just(Step::Touch),
        1 => Just(Step::Delete),
        1 => Just(Step::SwapRoot),
        1 => Just(Step::RemakeRoot),
        6 => ms.prop_map(Step::Pass),
        6 => any::<bool>().prop_map(Step::Fetch),
        4 => (0..8usize, any::<bool>()).prop_map(|(which, coded)| Step::FetchIfChanged(which, coded)),
        4 => (0..8usize, any::<bool>()).prop_map(|(which, coded)| Step::Resume(which, coded)),
    ]
}

/// What is at the path, and until when each former version was.
struct Model {
    scene: Scene,
    world: World,
    /// Which release `root` leads to.
    release: usize,
    /// The content of the file in each release; `None`: there is none.
    content: [Option<Vec<u8>>; 2],
    /// Versions that were served, and the moment at which they ceased to be.
    former: Vec<(Option<Vec<u8>>, Instant)>,
    letter: u8,
    /// Which bytes each tag has named.
    tags: HashMap<String, Vec<u8>>,
    answers: Vec<Answer>,
}

const PATH: &str = "/page.txt";

impl Model {
    fn new(is_settled: bool) -> Model {
        let scene = Scene::new();
        fs::remove_dir(scene.beside("root")).expect("it is empty");
        for release in ["0", "1"] {
            fs::create_dir_all(scene.beside("releases").join(release)).expect("there is room");
        }
        symlink("releases/0", scene.beside("root")).expect("there is room");
        let mut world = World::new(&scene);
        if is_settled {
            world.settle();
        }
        let (former, tags, answers) = (Vec::new(), HashMap::new(), Vec::new());
        Model { scene, world, release: 0, content: [None, None], former, letter: 0, tags, answers }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Write => {
                let len = self.current().as_ref().map_or(5, Vec::len);
                self.put(len, |path, content| fs::write(path, content).expect("there is room"));
            }
            Step::Truncate(size) => self.put(size.len(), |path, content| {
                let mut file =
                    fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).expect("it may");
                file.set_len(content.len() as u64).expect("there is room");
                std::io::Write::write_all(&mut file, content).expect("there is room");
            }),
            Step::Replace(size) => self.put(size.len(), |path, content| {
                let new = path.with_file_name("new.tmp");
                fs::write(&new, content).expect("there is room");
                touch(&new, BUILD_SECS);
                fs::rename(new, path).expect("it is there");
            }),
            Step::CopyOver(size) => self.put(size.len(), |path, content| {
                let mut file =
                    fs::OpenOptions::new().write(true).create(true).truncate(true).open(path).expect("it may");
                std::io::Write::write_all(&mut file, content).expect("there is room");
            }),
            Step::Touch => {
                if self.current().is_some() {
                    touch(&self.path(), BUILD_SECS);
                }
            }
            Step::Delete => {
                if self.current().is_some() {
                    fs::remove_file(self.path()).expect("it is there");
                    self.becomes(None);
                }
            }
            Step::SwapRoot => self.swap_root(),
            Step::RemakeRoot => {
                let folder = self.scene.beside("releases").join(self.release.to_string());
                fs::remove_dir_all(&folder).expect("it is there");
                fs::create_dir(&folder).expect("there is room");
                self.becomes(None);
            }
            Step::Pass(ms) => self.world.pass(ms),
            Step::Fetch(coded) => self.fetch(coded),
            Step::FetchIfChanged(which, coded) => self.fetch_if_changed(which, coded),
            Step::Resume(which, coded) => self.resume(which, coded),
        }
    }

    fn current(&self) -> &Option<Vec<u8>> {
        &self.content[self.release]
    }

    fn path(&self) -> PathBuf {
        self.scene.beside("root").join("page.txt")
    }

    /// Another version, unlike all before it, unless it is empty; always with the same time.
    fn put(&mut self, len: usize, put: impl FnOnce(&Path, &[u8])) {
        self.letter = self.letter.wrapping_add(1);
        let content = letters(self.letter, len);
        let path = self.path();
        let before = stamp(&path);
        put(&path, &content);
        touch(&path, BUILD_SECS);
        // A file system whose clock stands still for some milliseconds would give two changes the same time. The server
        // knows that, unless it has been told that all is settled.
        while stamp(&path) == before {
            touch(&path, BUILD_SECS);
        }
        self.becomes(Some(content));
    }

    fn becomes(&mut self, content: Option<Vec<u8>>) {
        let before = std::mem::replace(&mut self.content[self.release], content);
        self.former.push((before, self.world.now));
    }

    fn swap_root(&mut self) {
        let before = self.current().clone();
        self.former.push((before, self.world.now));
        self.release = 1 - self.release;
        let new = self.scene.beside("new-link");
        symlink(format!("releases/{}", self.release), &new).expect("there is room");
        fs::rename(new, self.scene.beside("root")).expect("it is there");
    }

    /// Whether this was at the path less than a second ago.
    fn may_be_served(&self, content: Option<&[u8]>) -> bool {
        let recently = |(_, until): &&(Option<Vec<u8>>, Instant)| self.world.now - *until < Duration::from_secs(1);
        self.current().as_deref() == content
            || self.former.iter().filter(recently).any(|(former, _)| former.as_deref() == content)
    }

    fn ask(&mut self, coded: Coded, lines: &[(&str, &str)]) -> Answer {
        let coding = [("Accept-Encoding", if coded { "gzip" } else { "identity" })];
        self.world.ask(PATH, &[&coding, lines].concat())
    }

    fn fetch(&mut self, coded: Coded) {
        let answer = self.ask(coded, &[]);
        self.check_whole(answer);
    }

    /// A whole answer, or 404.
    fn check_whole(&mut self, answer: Answer) {
        if answer.status == 404 {
            assert!(self.may_be_served(None), "there is something");
            return;
        }
        assert_eq!(answer.status, 200);
        let content = decoded(&answer);
        assert!(self.may_be_served(Some(&content)), "{} bytes of {:?}", content.len(), content.first());
        let bytes = self.tags.entry(answer.etag().to_owned()).or_insert_with(|| answer.content.clone());
        assert!(*bytes == answer.content, "{} names two contents", answer.etag());
        self.answers.push(answer);
    }

    fn earlier(&self, which: usize) -> Option<Answer> {
        self.answers.iter().rev().nth(which).cloned()
    }

    fn fetch_if_changed(&mut self, which: usize, coded: Coded) {
        let Some(earlier) = self.earlier(which) else { return };
        let answer = self.ask(coded, &[("If-None-Match", earlier.etag())]);
        if answer.status != 304 {
            return self.check_whole(answer);
        }
        assert_eq!(answer.etag(), earlier.etag());
        assert!(self.may_be_served(Some(&decoded(&earlier))), "what the client has is old");
    }

    fn resume(&mut self, which: usize, coded: Coded) {
        let Some(earlier) = self.earlier(which) else { return };
        let have = earlier.content.len() / 3;
        let range = format!("bytes={have}-");
        let answer = self.ask(coded, &[("Range", &range), ("If-Range", earlier.etag())]);
        if answer.status != 206 {
            return self.check_whole(answer);
        }
        let whole = [&earlier.content[..have], &answer.content].concat();
        assert!(whole == earlier.content, "parts of two versions");
        assert!(self.may_be_served(Some(&decoded(&earlier))), "what the client has is old");
    }
}

/// What the file system has noted of a file, in nanoseconds; `None` if there is none.
fn stamp(path: &Path) -> Option<(u64, i64, i64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.ctime(), meta.ctime_nsec()))
}

fn play(is_settled: bool, steps: &[Step]) {
    let mut model = Model::new(is_settled);
    steps.iter().for_each(|step| model.run(*step));
}

/// `TIDEMILL_SEQUENCES=10000 cargo test --release model` plays more of them.
fn sequences() -> u32 {
    std::env::var("TIDEMILL_SEQUENCES").map_or(100, |number| number.parse().expect("a number"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: sequences(), max_shrink_iters: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn no_answer_mixes_versions_or_is_old_and_no_tag_names_two(
        is_settled in any::<bool>(), steps in prop::collection::vec(step(), 1..60)
    ) {
        play(is_settled, &steps);
    }
}
