//! A disk that stalls: whoever needs it waits, or is told to come again; nobody else notices.
//!
//! The stand-in stands where the disk does: every job thread is held by a job that does not return.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "sim/h2/frames.rs"]
#[allow(dead_code, reason = "shared with the simulator")]
mod frames;
#[path = "http2_client/mod.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod http2_client;
#[path = "server/support.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill::base::disk::{Links, RootPath};

use tidemill::base::job_name::{JobKind, JobName, Requester};
use tidemill::base::job_pool::{JobPool, JobPoolLimits, Ticket};
use tidemill::base::limits::Limits;
use tidemill::base::listener_role::ListenerRole;
use tidemill::base::slots::Token;
use tidemill::base::wake::{Interrupt, WakeKey, Wakes};
use tidemill::event_loop::EventLoop;
use tidemill::net::listener::{ListenOptions, Listener};
use tidemill::net::mio_reactor::MioReactor;
use tidemill::observe::report::KernelReport;
use tidemill::service::front::Front;
use tidemill::service::lab;
use tidemill::service::sites::route::Public;
use tidemill::service::static_files::{Site, StaticFiles};
use tidemill::service::status::{self, inspection_queue::InspectionQueue};
use tidemill::service::websocket::Policy;

const DEADLINE: Duration = Duration::from_secs(20);
const THREADS: usize = 2;
/// Jobs that may wait behind those that hold the threads.
const QUEUE: usize = 2;

/// What the jobs look for that hold all threads, and a connection that has gone since.
const STALLED: &str = "/mnt/slow/b";
const GONE: Requester = Requester { connection: 77, stream: 0 };

struct Nobody;

impl Interrupt for Nobody {
    fn wake(&self) {}
}

/// A server on a thread of its own, whose disk does not answer until `gate` is dropped.
struct Stalled {
    address: String,
    admin: String,
    gate: Option<Sender<()>>,
}

impl Stalled {
    fn start() -> Stalled {
        Stalled::with_queue(QUEUE)
    }

    /// So many jobs may wait.
    fn with_queue(queue: usize) -> Stalled {
        let limits = JobPoolLimits { threads: THREADS, quick_max: queue, slow_max: queue, ..JobPoolLimits::default() };
        let jobs = JobPool::new(limits, Instant::now).unwrap();
        let (gate, held) = channel::<()>();
        let tickets = hold_all_threads(&jobs, held);
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("tidemill-stalled-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        for number in 0..QUEUE + 1 {
            std::fs::write(root.join(format!("{number}.txt")), "late but whole").unwrap();
        }
        let (tell, told) = channel();
        thread::spawn(move || {
            let bind = || {
                let options = ListenOptions::with_backlog(64);
                Listener::bind(&"127.0.0.1:0".parse().unwrap(), &options).unwrap().remove(0)
            };
            let (listener, admin) = (bind(), bind());
            tell.send([&listener, &admin].map(|listener| listener.local_address().to_string())).unwrap();
            let listeners = vec![(listener, ListenerRole::Http), (admin, ListenerRole::Admin)];
            let mut reactor = MioReactor::new(listeners).unwrap();
            // As in the binary.
            if let Ok(faults) = std::env::var("TIDEMILL_TORTURE") {
                reactor.torture(faults.parse().unwrap());
            }
            let wakes = Wakes::new(reactor.waker());
            let mut front = Front::of(Public::Files(
                StaticFiles::new(Site::new(RootPath::new(&root, Links::Beneath).unwrap())),
                Some(Rc::new(lab::endpoints(Policy::default()))),
            ));
            let inspections = Rc::new(InspectionQueue::default());
            let ask_kernel: status::AskKernel = Arc::new(|_| KernelReport::default());
            front.admin = Some(status::service(&inspections, &ask_kernel));
            let mut event_loop = EventLoop::new(reactor, front, Limits::default(), wakes, jobs);
            event_loop.answer_inspections(inspections);
            let _held_for_as_long_as_we_live = tickets;
            // Ends with the test's process.
            while event_loop.outcome().is_none() {
                event_loop.turn().unwrap();
            }
        });
        let [address, admin] = told.recv_timeout(DEADLINE).unwrap();
        Stalled { address, admin, gate: Some(gate) }
    }

    fn connect(&self) -> BufReader<TcpStream> {
        Stalled::connect_to(&self.address)
    }

    /// What the admin listener says.
    fn told(&self, path: &str) -> String {
        let mut admin = Stalled::connect_to(&self.admin);
        send(&mut admin, path);
        answer(&mut admin).1
    }

    /// All connections, in the order of their numbers, as soon as `condition` is true of them.
    fn connections_when(&self, condition: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let told: Value = serde_json::from_str(&self.told("/connections?format=json")).unwrap();
            let mut connections = told["connections"].as_array().unwrap().clone();
            connections.sort_by_key(|connection| connection["connection"].as_u64());
            if condition(&connections) {
                return connections;
            }
            assert!(began.elapsed() < DEADLINE, "{told}");
        }
    }

    fn connect_to(address: &str) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        BufReader::new(stream)
    }
}

/// Returns when every thread has a job that ends with the gate.
fn hold_all_threads(jobs: &JobPool, held: std::sync::mpsc::Receiver<()>) -> Vec<Ticket<()>> {
    let held = Arc::new(Mutex::new(held));
    let (started, all_started) = channel();
    let waker = Wakes::new(Nobody).waker(WakeKey { token: Token { index: u32::MAX, generation: 0 }, stream: 0 });
    let tickets = (0..THREADS)
        .map(|_| {
            let (held, started) = (Arc::clone(&held), started.clone());
            let job = move || {
                started.send(()).unwrap();
                // The gate is never used, only dropped: the first to see that lets the other see it.
                assert!(held.lock().unwrap().recv().is_err());
            };
            let name = JobName::new(JobKind::LookUp, STALLED.as_bytes(), Some(GONE));
            jobs.submit(name, waker.clone(), job).unwrap()
        })
        .collect();
    for _ in 0..THREADS {
        all_started.recv_timeout(DEADLINE).unwrap();
    }
    tickets
}

fn send(connection: &mut BufReader<TcpStream>, path: &str) {
    write!(connection.get_mut(), "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
}

/// Head and content of one answer.
fn answer(connection: &mut BufReader<TcpStream>) -> (String, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(connection.read_line(&mut head).unwrap() > 0, "closed after {head:?}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
    let mut content = vec![0; length];
    connection.read_exact(&mut content).unwrap();
    (head, String::from_utf8(content).unwrap())
}

#[test]
fn a_stalled_disk_delays_nobody_else() {
    let mut server = Stalled::start();
    let mut waiting: Vec<_> = (0..QUEUE).map(|_| server.connect()).collect();
    for (number, connection) in waiting.iter_mut().enumerate() {
        send(connection, &format!("/{number}.txt"));
    }
    // Whoever asks for what is being looked for already joins in and takes no place in the queue.
    let mut joined = server.connect();
    send(&mut joined, "/0.txt");

    let mut other = server.connect();
    for _ in 0..100 {
        send(&mut other, "/plaintext");
        assert_eq!(answer(&mut other).1, "Hello, World!");
    }
    // The queue is full now: the next file is refused at once, with a time to come again.
    send(&mut other, &format!("/{QUEUE}.txt"));
    let (head, _) = answer(&mut other);
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: 1\r\n"), "{head}");

    server.gate = None;
    for connection in waiting.iter_mut().chain([&mut joined]) {
        assert_eq!(answer(connection).1, "late but whole");
    }
    send(&mut other, &format!("/{QUEUE}.txt"));
    assert_eq!(answer(&mut other).1, "late but whole", "and the disk is forgiven");
}

#[test]
fn an_innocent_look_up_names_the_stalled_one() {
    let mut server = Stalled::start();
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    // Connections get their numbers in the order in which they ask.
    for (number, path) in ["/0.txt", "/1.txt", "/0.txt"].into_iter().enumerate() {
        send(&mut clients[number], path);
        server.connections_when(|connections| {
            connections.iter().filter(|connection| connection["wait"] == "job-pool").count() == number + 1
        });
    }
    let connections = server.connections_when(|connections| connections.len() == 3);
    // The third has joined the first, and takes no place of its own.
    for (connection, (path, ahead)) in connections.iter().zip([("/0.txt", 0), ("/1.txt", 1), ("/0.txt", 0)]) {
        let job = &connection["job"];
        assert_eq!((&job["kind"], &job["subject"], &job["state"]), (&"look-up".into(), &path.into(), &"queued".into()));
        assert_eq!((&job["ahead"], &job["wanted"]), (&ahead.into(), &true.into()), "{job}");
        let behind = &job["behind"];
        assert_eq!((&behind["kind"], &behind["subject"]), (&"look-up".into(), &STALLED.into()), "{job}");
        assert!(behind["thread"].as_str().unwrap().starts_with("tidemill-io-"), "{job}");
        assert!(behind["ms"].as_u64() >= job["ms"].as_u64(), "{job}");
    }
    let numbers: Vec<_> = connections.iter().map(|connection| connection["connection"].as_u64().unwrap()).collect();
    let text = server.told("/connections");
    let line = text.lines().find(|line| line.contains("  job      look-up /1.txt, queued ")).expect(&text);
    assert!(line.contains(" behind look-up /mnt/slow/b, running for ") && line.contains(" on tidemill-io-"), "{line}");
    assert!(line.ends_with("; 1 more queued before it"), "{line}");

    let text = server.told("/loop");
    assert!(text.contains("\njobs: 2 running; queued: 2 quick, 0 slow, 0 names, 0 passwords\n"), "{text}");
    for expected in [
        format!("look-up {STALLED}  asked for by c=77; nobody waits for it any more"),
        format!("look-up /0.txt  c={}, c={}", numbers[0], numbers[2]),
        format!("look-up /1.txt  c={}", numbers[1]),
    ] {
        assert!(text.lines().any(|line| line.ends_with(&expected)), "{expected} in {text}");
    }
    let began = std::time::Instant::now();
    let now = std::iter::repeat_with(|| server.told("/now"))
        .find(|now| now.contains("jobs are stalled: ") || began.elapsed().as_secs() > 20)
        .unwrap();
    let line = now.lines().find(|line| line.starts_with("alarm    jobs are stalled: ")).expect(&now);
    assert!(line.contains(", look-up /0.txt for ") && line.contains(" behind look-up /mnt/slow/"), "{line}");
    let metrics = server.told("/metrics");
    for expected in ["tidemill_jobs_running{kind=\"look-up\"} 2", "tidemill_jobs_queued{lane=\"quick\"} 2"] {
        assert!(metrics.lines().any(|line| line == expected), "{expected} in {metrics}");
    }
    server.gate = None;
    clients.iter_mut().for_each(|client| assert_eq!(answer(client).1, "late but whole"));
}

#[test]
fn a_job_whose_client_has_left_says_so() {
    // In a full queue there would be no room for it: it is thrown out for the next job.
    let mut server = Stalled::with_queue(1000);
    let mut client = server.connect();
    send(&mut client, "/0.txt");
    server.connections_when(|connections| connections.iter().any(|connection| connection["job"].is_object()));
    socket2::SockRef::from(client.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    server.connections_when(<[Value]>::is_empty);
    let text = server.told("/loop");
    assert!(text.contains("look-up /0.txt  asked for by c=1; nobody waits for it any more"), "{text}");
    server.gate = None;
    let mut client = server.connect();
    send(&mut client, "/1.txt");
    assert_eq!(answer(&mut client).1, "late but whole");
    support::wait_until("all is done", || {
        server.told("/loop").contains("\njobs: 0 running; queued: 0 quick, 0 slow, 0 names, 0 passwords\n")
    });
}

#[test]
fn streams_of_one_connection_name_their_own_jobs() {
    let mut server = Stalled::start();
    let client = support::Client::new(TcpStream::connect(&server.address).unwrap());
    let mut client = http2_client::Http2::new(client, 65_535);
    client.get(1, "/1.txt", "u=3");
    client.get(3, "/0.txt", "u=3");
    client.get(5, "/1.txt", "u=3");
    let jobs = |connections: &[Value]| -> Vec<Value> {
        let streams = connections.first().and_then(|connection| connection["http2"]["streams"].as_array());
        let jobs = streams.into_iter().flatten().map(|stream| stream["job"].clone());
        jobs.filter(Value::is_object).collect()
    };
    let connections = server.connections_when(|connections| jobs(connections).len() == 3);
    assert_eq!(connections[0]["job"], Value::Null, "it is streams that wait");
    for (job, (subject, stream)) in jobs(&connections).iter().zip([("/1.txt", 1), ("/0.txt", 3), ("/1.txt", 1)]) {
        assert_eq!((&job["subject"], &job["stream"]), (&subject.into(), &stream.into()), "who has asked first: {job}");
        assert_eq!(job["behind"]["subject"], STALLED, "{job}");
    }
    let text = server.told("/connections");
    assert!(text.contains("\n    job look-up /0.txt, queued "), "{text}");
    let text = server.told("/loop");
    assert!(text.lines().any(|line| line.ends_with("look-up /1.txt  c=1 s=1, c=1 s=5")), "{text}");
    server.gate = None;
    let mut left = vec![1, 3, 5];
    while !left.is_empty() {
        let frame = client.read();
        if frame.kind == frames::DATA && frame.has(frames::END_STREAM) {
            left.retain(|stream| *stream != frame.stream);
        }
    }
}
