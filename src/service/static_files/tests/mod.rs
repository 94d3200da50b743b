//! Files that are changed while they are served, with a clock that stands still until a test moves it.

mod clock;
mod fallback;
mod forms;
mod model;
mod races;
mod replacing;
mod root;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::*;
use crate::base::disk::{Calls, Links, take_calls};
use crate::base::job_pool::JobPool;
use crate::base::limits::Limits;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::log_key::RequestKey;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::slots::Token;
use crate::base::terms::Terms;
use crate::base::throttle::Complaints;
use crate::base::wake::{Interrupt, WakeKey, Wakes};
use crate::http::body::{Body, ContentPart, FilePart};
use crate::http::exchange::{Decision, Exchange};
use crate::http::message::{Announced, Response, Version};
use crate::http::method::Method;
use crate::http::sections::Section;
use crate::http::target::{Target, TargetForm};

/// Long enough for a file to be sent from the page cache and not from memory.
const LARGE: usize = 100_000;

/// A site of a test's own, with `root` in it, that is removed with everything in it.
struct Scene(PathBuf);

impl Scene {
    fn new() -> Scene {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("tidemill-{}-fresh-{number}", std::process::id()));
        fs::create_dir_all(base.join("root")).expect("the scene can be set");
        Scene(base)
    }

    /// Beside the root.
    fn beside(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join("root").join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is in the root")).expect("the scene can be set");
        fs::write(&path, content).expect("the scene can be set");
        path
    }

    /// Puts content into a file's place by renaming.
    fn replace(&self, path: &str, content: impl AsRef<[u8]>) {
        let new = self.write("new.tmp", content);
        fs::rename(new, self.path(path)).expect("the scene can be set");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the scene can be cleared");
    }
}

/// Sets the time of modification, as `touch -d` does.
fn touch(path: &Path, secs: i64) {
    let (age, since) = (Duration::from_secs(secs.unsigned_abs()), UNIX_EPOCH);
    let time = if secs < 0 { since - age } else { since + age };
    let file = fs::OpenOptions::new().append(true).open(path).expect("it is there");
    file.set_modified(time).expect("its owner may");
}

/// A time that builds set.
const BUILD_SECS: i64 = 315_532_800;

/// Bytes of this length that are all the same: two versions in one answer are seen at once.
fn letters(letter: u8, len: usize) -> Vec<u8> {
    vec![letter; len]
}

/// What does not become smaller; another number gives other bytes.
fn noise(number: u64, len: usize) -> Vec<u8> {
    let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(number), next).map(|state| (state >> 56) as u8).take(len).collect()
}

struct Asleep;

impl Interrupt for Asleep {
    fn wake(&self) {}
}

/// Who asks, and when. Jobs run at once, unless a test has put threads in their place.
struct World {
    files: StaticFiles,
    held: Cell<Option<Box<crate::base::held::Held>>>,
    now: Instant,
    date_secs: u64,
    jobs: JobPool,
    wakes: Wakes,
    limits: Limits,
    complaints: Complaints,
    file_looks: Cell<u64>,
    terms: Cell<Option<Rc<Terms>>>,
}

/// What a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    content: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn etag(&self) -> &str {
        self.field("ETag").unwrap_or_else(|| panic!("there is no tag: {:?}", self.fields))
    }
}

impl World {
    fn new(scene: &Scene) -> World {
        World::with(scene, |_| {})
    }

    fn with(scene: &Scene, change: impl FnOnce(&mut Site)) -> World {
        let mut site = Site::new(RootPath::new(&scene.0.join("root"), Links::Beneath).expect("the root is there"));
        change(&mut site);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
        World {
            files: StaticFiles::new(site),
            held: Cell::default(),
            now: Instant::now(),
            date_secs: since_epoch.as_secs(),
            jobs: JobPool::without_threads(),
            wakes: Wakes::new(Asleep),
            limits: Limits::default(),
            complaints: Complaints::new(0),
            file_looks: Cell::new(0),
            terms: Cell::default(),
        }
    }

    /// Lets so much time pass for the server; what it takes for the date in its responses is another matter.
    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// Makes the server believe that all files were changed long ago.
    fn settle(&mut self) {
        self.date_secs += 10;
    }

    fn cx(&self) -> Cx<'_> {
        Cx {
            now: self.now,
            moment: Moment::default(),
            date_secs: self.date_secs,
            limits: &self.limits,
            wakes: &self.wakes,
            jobs: &self.jobs,
            complaints: &self.complaints,
            key: WakeKey { token: Token { index: 0, generation: 0 }, stream: 0 },
            connection: 1,
            request: RequestKey::Ordinal(1),
            peer: Peer::Unix,
            named: None,
            certificate: None,
            server_name: None,
            identifier: None,
            listener: ListenerId::new(0),
            role: ListenerRole::Http,
            held: &self.held,
            draining: false,
            file_looks: &self.file_looks,
            terms: &self.terms,
        }
    }

    fn get(&mut self, path: &str) -> Answer {
        self.ask(path, &[])
    }

    fn ask(&mut self, path: &str, lines: &[(&str, &str)]) -> Answer {
        match self.begin(path, lines) {
            Ok(answer) => answer,
            Err(exchange) => self.finish(exchange).unwrap_or_else(|_| panic!("jobs run at once")),
        }
    }

    /// The answer, if it is known at once.
    fn begin(&mut self, path: &str, lines: &[(&str, &str)]) -> Result<Answer, Box<dyn Exchange>> {
        let section = Section::of(lines);
        let path = path.as_bytes();
        let target = Target { form: TargetForm::Origin, raw: path, authority: None, path, query: None };
        let (version, announced) = (Version::Http11, Announced::Nothing);
        let request =
            RequestHead { method: Method::Get, target, version, fields: section.fields(), announced, protocol: None };
        let mut files = StaticFiles { shared: Rc::clone(&self.files.shared) };
        match files.call(&request, &mut self.cx()).expect("files do not fail") {
            Reply::Respond(response) => Ok(read(response)),
            Reply::Decide(exchange) => Err(exchange),
            Reply::Upgrade(_) => panic!("files are no tunnel"),
        }
    }

    /// The answer, if what it waited for is there.
    fn finish(&self, exchange: Box<dyn Exchange>) -> Result<Answer, Box<dyn Exchange>> {
        match exchange.respond(&mut self.cx()).expect("files do not fail") {
            Decision::Respond(response) => Ok(read(response)),
            Decision::Pending(exchange, _) => Err(exchange),
            Decision::Interim(..) => panic!("files have no interim responses"),
            Decision::Upgrade(_) => panic!("files are no tunnel"),
        }
    }

    /// How often the file system was asked for what is at a path, while `act` ran.
    fn look_ups(&mut self, act: impl FnOnce(&mut World)) -> u64 {
        take_calls();
        act(self);
        let Calls { root, .. } = take_calls();
        root
    }
}

fn read(response: Response) -> Answer {
    let mut fields: Vec<(String, String)> = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.extend(response.content_type.iter().map(|value| ("Content-Type".to_owned(), text(value.as_bytes()))));
    fields.extend(response.prepared.iter().map(|(name, value)| (text(name), text(value))));
    let others = response.fields.iter();
    fields.extend(others.map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))));
    let content = match response.body {
        Body::Empty => Vec::new(),
        Body::Bytes(bytes) => bytes.as_slice().to_vec(),
        Body::File(part) => read_part(&part),
        Body::Parts(parts) => parts.iter().flat_map(read_piece).collect(),
        Body::Source(_) => b"(a listing)".to_vec(),
    };
    Answer { status: response.status.code(), fields, content }
}

fn read_piece(piece: &ContentPart) -> Vec<u8> {
    match piece {
        ContentPart::Bytes(bytes) => bytes.as_slice().to_vec(),
        ContentPart::File(part) => read_part(part),
    }
}

/// As much as is there: what is announced may have been cut off meanwhile.
fn read_part(part: &FilePart) -> Vec<u8> {
    let mut content = vec![0; part.length as usize];
    let len = part.file.read_at(&mut content, part.offset).expect("the file can be read");
    content.truncate(len);
    content
}

/// What a client makes of a compressed answer.
fn decoded(answer: &Answer) -> Vec<u8> {
    match answer.field("Content-Encoding") {
        None => answer.content.clone(),
        Some("gzip") => {
            let mut content = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&answer.content[..]);
            std::io::Read::read_to_end(&mut decoder, &mut content).expect("it is gzip");
            content
        }
        Some("zstd") => zstd::decode_all(&answer.content[..]).expect("it is zstd"),
        Some(other) => panic!("nobody asked for {other}"),
    }
}

/// Which file it is: for tests that must see that one has been put into another's place.
fn inode(path: &Path) -> u64 {
    fs::metadata(path).expect("it is there").ino()
}
