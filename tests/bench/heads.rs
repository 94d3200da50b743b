//! How fast heads are read, next to httparse on the same bytes, whole and as they arrive in pieces.
//!
//! Two of ours stand next to it. `scan` (`protocol::h1::scan`) does the same work as httparse: it finds the end of the
//! head, takes the lines apart, and checks every byte of them; and a little more, since it also knows limits on the
//! target and the number of fields, refuses bare LF, and decides whether the target can be right. `server`
//! (`protocol::h1::server`) is the whole way from the inbox to a request: the scan, and then the method, the parts of
//! the target, Host, the framing of the content, expectations, persistence, and a server that is new for every head.
//!
//! httparse begins anew with every piece, for that is what it offers; ours goes on where it was. In pieces, `server`
//! also copies them into the inbox, as a socket would.
//!
//! `cargo bench --bench heads`; behind `--`, a word picks those whose path has it.

use std::hint::black_box;
use std::mem::MaybeUninit;

use divan::Bencher;
use divan::counter::BytesCount;
use tidemill::base::limits::Limits;
use tidemill::base::ring::RingBuffer;
use tidemill::protocol::h1::scan::HeadScan;
use tidemill::protocol::h1::server::{Server, Step};
use tidemill::protocol::h1::spans::Scratch;

/// As many fields as `Limits` allows by default.
const FIELDS_MAX: usize = 100;

/// What wrk sends.
const SMALL: &str = "GET /plaintext HTTP/1.1\r\nHost: localhost:8080\r\n\r\n";

/// What a browser sends: 12 fields.
fn browser() -> String {
    let fields = include_str!("../corpus/browser_fields.txt").replace('\n', "\r\n");
    format!("GET /plaintext HTTP/1.1\r\n{fields}\r\n")
}

fn main() {
    divan::main();
}

/// A head by its name in the table.
#[derive(Clone, Copy)]
enum Kind {
    Small,
    Browser,
    ManyFields,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Kind::Small => "small",
            Kind::Browser => "browser",
            Kind::ManyFields => "many fields",
        };
        write!(f, "{name} ({} B)", self.head().len())
    }
}

const KINDS: [Kind; 3] = [Kind::Small, Kind::Browser, Kind::ManyFields];

impl Kind {
    fn head(self) -> Vec<u8> {
        match self {
            Kind::Small => SMALL.into(),
            Kind::Browser => browser().into(),
            Kind::ManyFields => many_fields().into(),
        }
    }
}

/// 64 fields, with hardly anything in them.
fn many_fields() -> String {
    let fields: String = (1..64).map(|number| format!("X-{number:02}: {}\r\n", number * number)).collect();
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// Where the pieces end of which each has `size` bytes, the last perhaps fewer.
fn ends(len: usize, size: usize) -> Vec<usize> {
    (1..=len.div_ceil(size)).map(|count| len.min(count * size)).collect()
}

/// A head that ends where it should.
fn check(found: Option<usize>, head: &[u8]) {
    assert_eq!(found, Some(head.len()));
}

/// The whole head is there when it is looked at.
mod whole {
    use super::*;

    #[divan::bench(args = KINDS)]
    fn httparse(bencher: Bencher, kind: Kind) {
        let head = kind.head();
        check(parse(&head), &head);
        bencher.counter(BytesCount::of_slice(&head)).bench_local(|| parse(black_box(&head)));
    }

    #[divan::bench(args = KINDS)]
    fn scan(bencher: Bencher, kind: Kind) {
        let (head, mut scanner) = (kind.head(), Scanner::default());
        check(scanner.scan(&[&head]), &head);
        bencher.counter(BytesCount::of_slice(&head)).bench_local(|| scanner.scan(black_box(&[&head])));
    }

    #[divan::bench(args = KINDS)]
    fn server(bencher: Bencher, kind: Kind) {
        let (head, mut receiver) = (kind.head(), Receiver::new());
        // What is not released stays in the inbox, for the next server.
        assert_eq!(receiver.inbox.put(&head), head.len());
        assert!(receiver.receive(&mut Server::new()));
        bencher.counter(BytesCount::of_slice(&head)).bench_local(|| receiver.receive(&mut Server::new()));
    }
}

/// The head arrives in two halves.
mod two_pieces {
    use super::*;

    #[divan::bench(args = KINDS)]
    fn httparse(bencher: Bencher, kind: Kind) {
        again_and_again(bencher, kind, |len| len.div_ceil(2));
    }

    #[divan::bench(args = KINDS)]
    fn scan(bencher: Bencher, kind: Kind) {
        resumed(bencher, kind, |len| len.div_ceil(2));
    }

    #[divan::bench(args = KINDS)]
    fn server(bencher: Bencher, kind: Kind) {
        received(bencher, kind, |len| len.div_ceil(2));
    }
}

/// The head arrives in pieces of 16 bytes.
mod pieces_of_16_bytes {
    use super::*;

    #[divan::bench(args = KINDS)]
    fn httparse(bencher: Bencher, kind: Kind) {
        again_and_again(bencher, kind, |_| 16);
    }

    #[divan::bench(args = KINDS)]
    fn scan(bencher: Bencher, kind: Kind) {
        resumed(bencher, kind, |_| 16);
    }

    #[divan::bench(args = KINDS)]
    fn server(bencher: Bencher, kind: Kind) {
        received(bencher, kind, |_| 16);
    }
}

fn again_and_again(bencher: Bencher, kind: Kind, size: fn(usize) -> usize) {
    let head = kind.head();
    let ends = ends(head.len(), size(head.len()));
    let parse_all = || ends.iter().fold(None, |_, end| parse(black_box(&head[..*end])));
    check(parse_all(), &head);
    bencher.counter(BytesCount::of_slice(&head)).bench_local(parse_all);
}

fn resumed(bencher: Bencher, kind: Kind, size: fn(usize) -> usize) {
    let (head, mut scanner) = (kind.head(), Scanner::default());
    let arrivals: Vec<&[u8]> = ends(head.len(), size(head.len())).into_iter().map(|end| &head[..end]).collect();
    check(scanner.scan(&arrivals), &head);
    bencher.counter(BytesCount::of_slice(&head)).bench_local(|| scanner.scan(black_box(&arrivals)));
}

fn received(bencher: Bencher, kind: Kind, size: fn(usize) -> usize) {
    let (head, mut receiver) = (kind.head(), Receiver::new());
    let size = size(head.len());
    let mut receive_all = || {
        let mut server = Server::new();
        receiver.inbox.clear();
        head.chunks(size).fold(false, |_, piece| {
            receiver.inbox.put(black_box(piece));
            receiver.receive(&mut server)
        })
    };
    assert!(receive_all());
    bencher.counter(BytesCount::of_slice(&head)).bench_local(receive_all);
}

/// httparse, in the way it is fastest. The length of the head, if it is complete.
fn parse(bytes: &[u8]) -> Option<usize> {
    let mut headers = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let status = request.parse_with_uninit_headers(bytes, &mut headers).expect("a good head");
    black_box(&request);
    match status {
        httparse::Status::Complete(len) => Some(len),
        httparse::Status::Partial => None,
    }
}

/// Ours, with the memory that it uses again.
#[derive(Default)]
struct Scanner {
    scratch: Scratch,
    limits: Limits,
}

impl Scanner {
    /// The length of the head that arrives so, if it is complete.
    fn scan(&mut self, arrivals: &[&[u8]]) -> Option<usize> {
        let mut scan = HeadScan::default();
        let found = arrivals.iter().fold(None, |_, bytes| {
            scan.advance(bytes, false, &mut self.scratch.spans, &self.limits).expect("a good head")
        });
        black_box((&scan, &self.scratch.spans));
        found
    }
}

/// All the way to a request.
struct Receiver {
    inbox: RingBuffer,
    scratch: Scratch,
    limits: Limits,
}

impl Receiver {
    fn new() -> Receiver {
        let limits = Limits::default();
        Receiver { inbox: RingBuffer::new(limits.inbox_bytes), scratch: Scratch::default(), limits }
    }

    /// Whether the inbox has a whole head, for a server that has seen what was there before.
    fn receive(&mut self, server: &mut Server) -> bool {
        let step = server.receive(black_box(&mut self.inbox), &mut self.scratch, &self.limits).expect("a good head");
        matches!(black_box(step), Step::Head(_))
    }
}
