//! A request on a connection that is kept alive allocates nothing: all memory it needs was there before.
//!
//! The real loop serves a real socket, and the client is on the same thread, which is the one that is counted: whatever
//! the loop allocates shows, and nothing else does (threads for files are not counted; they serve nobody who is served
//! from memory).

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use tidemill::base::disk::{Links, RootPath};
use tidemill::base::job_pool::{JobPool, JobPoolLimits};
use tidemill::base::limits::Limits;
use tidemill::base::listener_role::ListenerRole;
use tidemill::base::wake::{Interrupt, Wakes};
use tidemill::connection::Telling;
use tidemill::event_loop::EventLoop;
use tidemill::http::fields::FieldName;
use tidemill::http::forwarded::TrustedProxy;
use tidemill::net::listener::{Address, ListenOptions, Listener};
use tidemill::net::mio_reactor::{MioReactor, PollWaker};
use tidemill::observe::request_id::RequestIds;
use tidemill::service::front::Front;
use tidemill::service::lab;
use tidemill::service::sites::route::Public;
use tidemill::service::static_files::{Site, StaticFiles};
use tidemill::service::websocket::Policy;

/// Nothing takes longer than this.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);
/// After so many requests everything that is to be kept for the next one is there.
pub(super) const WARM_UP: usize = 200;
pub(super) const MEASURED: usize = 1000;

/// What is in the file: nobody compresses it, by its name.
const CONTENT: [u8; 1024] = [b'x'; 1024];

const SMALL_FIELDS: &str = "Host: localhost:8080\n";
/// Twelve of them.
const BROWSER_FIELDS: &str = include_str!("../corpus/browser_fields.txt");

/// The longest drive of each second is remembered with its request: each second, and each request longer than those before
/// it, takes memory. So this many in a thousand may allocate.
const LONGEST_DRIVES_MAX: usize = 5;

#[test]
fn plaintext_allocates_nothing() {
    let mut lab = Running::new(lab());
    for fields in [SMALL_FIELDS, BROWSER_FIELDS] {
        assert_allocate(0, &lab.allocations(&get("/plaintext", fields), b"Hello, World!", 1));
    }
}

#[test]
fn pipelined_plaintext_allocates_nothing() {
    let mut lab = Running::new(lab());
    for fields in [SMALL_FIELDS, BROWSER_FIELDS] {
        assert_allocate(0, &lab.allocations(&get("/plaintext", fields), b"Hello, World!", 16));
    }
}

/// The number in it is written anew for each response.
#[test]
fn a_keep_alive_field_allocates_nothing() {
    let mut lab = Running::with(lab(), Limits { idle_told_secs: Some(86_400), ..Limits::default() });
    assert_allocate(0, &lab.allocations(&get("/plaintext", SMALL_FIELDS), b"Hello, World!", 1));
}

/// A record that is kept displaces one that serves the next request.
#[test]
fn requests_that_are_kept_and_have_identifiers_allocate_nothing() {
    let mut lab = Running::new(lab());
    lab.event_loop.keep_past(WARM_UP / 4);
    let request_ids = Some(RequestIds::new(FieldName::from_static("X-Request-Id"), "ab12"));
    lab.event_loop.tell(Some(Telling { request_ids, server_timing: None }));
    // Given ones, because they are all as long, and the client knows how long the responses are.
    lab.event_loop.trust_proxies(["127.0.0.1".parse::<TrustedProxy>().unwrap()].into_iter().collect());
    let fields = format!("{SMALL_FIELDS}X-Request-Id: 7b1c2f4e-0d3a-4c9b-8f51-2f2a3c4d5e6f\n");
    assert_allocate(0, &lab.allocations(&get("/plaintext", &fields), b"Hello, World!", 1));
}

/// Its path without escapes and dots, and the key by which the cache knows it.
#[test]
fn a_file_from_memory_allocates_nothing() {
    let folder = Folder::new("requests");
    let mut files = Running::new(folder.public());
    for fields in [SMALL_FIELDS, BROWSER_FIELDS] {
        assert_allocate(0, &files.allocations(&get("/1k.bin", fields), &CONTENT, 1));
    }
}

/// What the others rely on: this answer is written anew for each request, and that is seen.
#[test]
#[should_panic = "1000 of 1000 exchanges allocated more than 0 times"]
fn an_allocation_is_seen() {
    let mut lab = Running::new(lab());
    assert_allocate(0, &lab.allocations(&get("/json", SMALL_FIELDS), br#"{"message":"Hello, World!"}"#, 1));
}

/// Asserts that an exchange allocates so often at most; `counts` has one of many in each place.
pub(super) fn assert_allocate(most: u64, counts: &[u64]) {
    let above = counts.iter().filter(|count| **count > most).count();
    let (all, greatest) = (counts.len(), counts.iter().max());
    assert!(
        above <= LONGEST_DRIVES_MAX,
        "{above} of {all} exchanges allocated more than {most} times; the most in one: {greatest:?}"
    );
}

/// A request with these fields, a line each.
fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\n{fields}\n").replace('\n', "\r\n").into_bytes()
}

pub(super) fn lab() -> Public {
    Public::Lab(Rc::new(lab::service(Policy::new(Vec::new(), 0))))
}

/// A loop, and one client of it.
pub(super) struct Running {
    event_loop: EventLoop<MioReactor, Front>,
    waker: PollWaker,
    pub(super) client: TcpStream,
}

impl Running {
    pub(super) fn new(public: Public) -> Running {
        Running::with(public, Limits::default())
    }

    fn with(public: Public, limits: Limits) -> Running {
        let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap()), &ListenOptions::with_backlog(16))
            .unwrap()
            .remove(0);
        let Address::Tcp(address) = *listener.local_address() else { panic!("a TCP listener") };
        let reactor = MioReactor::new(vec![(listener, ListenerRole::Http)]).unwrap();
        let (waker, wakes) = (reactor.waker(), Wakes::new(reactor.waker()));
        let jobs = JobPool::new(JobPoolLimits { threads: 1, ..JobPoolLimits::default() }, Instant::now).unwrap();
        let event_loop = EventLoop::new(reactor, Front::of(public), limits, wakes, jobs);
        let client = TcpStream::connect(address).unwrap();
        client.set_nonblocking(true).unwrap();
        client.set_nodelay(true).unwrap();
        Running { event_loop, waker, client }
    }

    /// How often the loop allocates while it answers `request`, so many of them at once; for each of [`MEASURED`] such
    /// exchanges. The response ends in `content`.
    fn allocations(&mut self, request: &[u8], content: &[u8], at_once: usize) -> Vec<u64> {
        let (requests, responses_bytes) = (request.repeat(at_once), self.ask(request, content) * at_once);
        (0..WARM_UP).for_each(|_| self.exchange(&requests, responses_bytes));
        (0..MEASURED).map(|_| measure(|| self.exchange(&requests, responses_bytes)).count_total).collect()
    }

    /// Asks once, and returns the length of the response.
    fn ask(&mut self, request: &[u8], content: &[u8]) -> usize {
        self.client.write_all(request).unwrap();
        let mut response = Vec::new();
        let began = Instant::now();
        while !response.ends_with(content) {
            assert!(began.elapsed() < DEADLINE, "{}", response.escape_ascii());
            let mut piece = [0; 4096];
            let n = self.turn(&mut piece);
            response.extend_from_slice(&piece[..n]);
        }
        assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", response.escape_ascii());
        response.len()
    }

    /// Sends `requests` and takes the responses, which have so many bytes.
    fn exchange(&mut self, requests: &[u8], responses_bytes: usize) {
        self.client.write_all(requests).unwrap();
        let (mut received, began) = (0, Instant::now());
        while received < responses_bytes {
            assert!(began.elapsed() < DEADLINE, "{received} of {responses_bytes} bytes came");
            received += self.turn(&mut [0; 16 * 1024]);
        }
        assert_eq!(received, responses_bytes);
    }

    /// Turns the loop once, without sleeping. Says how many bytes came of it.
    pub(super) fn turn(&mut self, response: &mut [u8]) -> usize {
        self.waker.wake();
        self.event_loop.turn().unwrap();
        match self.client.read(response) {
            Ok(0) => panic!("the connection has ended"),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A folder with one file. It is removed when the test ends.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// `name` is that of the test: several run at a time.
    pub(super) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tidemill-allocations-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("1k.bin"), CONTENT).unwrap();
        Folder(path)
    }

    pub(super) fn public(&self) -> Public {
        let site = Site::new(RootPath::new(&self.0, Links::Beneath).unwrap());
        Public::Files(StaticFiles::new(site), None)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}
