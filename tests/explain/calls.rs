//! The system calls that are explained are those that strace sees.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::site::Site;
use crate::support::{Server, field, has_tool, wait_until};
use crate::{Asked, Page};

/// How often each call was made.
type Calls = BTreeMap<String, u64>;

/// What is compared: neither how threads find each other, nor what the loop asks epoll, is explained.
const COMPARED: [&str; 13] = [
    "recvfrom", "readv", "sendto", "sendmsg", "writev", "sendfile", "preadv2", "statx", "openat", "openat2", "fstat",
    "pread64", "shutdown",
];

/// From this age on, what is hot is looked at again meanwhile.
const HOT: Duration = Duration::from_millis(500);

/// What the page says in the lines with these labels; `name ×3` is a call.
fn explained(page: &Page, labels: &[&str]) -> Calls {
    let mut calls = Calls::new();
    for text in labels.iter().filter_map(|label| page.line(label)) {
        let words: Vec<&str> = text.split([' ', ',', ';', ':']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2).filter(|pair| COMPARED.contains(&pair[0])) {
            if let Some(count) = pair[1].strip_prefix('×') {
                *calls.entry(pair[0].to_owned()).or_default() += count.parse::<u64>().unwrap();
            }
        }
    }
    calls
}

fn sum(mut calls: Calls, others: Calls) -> Calls {
    for (call, count) in others {
        *calls.entry(call).or_default() += count;
    }
    calls
}

/// strace attached to a server.
struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    fn attach(server: &Server) -> Option<Trace> {
        let file = std::env::temp_dir().join(format!("tidemill-explain-{}.strace", server.pid()));
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &server.pid().to_string(), "-o"]).arg(&file).stderr(Stdio::null());
        let mut strace = command.spawn().unwrap();
        let traced = |task: std::io::Result<std::fs::DirEntry>| {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
            !status.contains("TracerPid:\t0")
        };
        let mut refused = false;
        wait_until("strace is attached to every thread", || {
            refused = strace.try_wait().unwrap().is_some();
            refused || std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().all(traced)
        });
        if refused {
            eprintln!("notice: skipped, strace may not attach here");
        }
        (!refused).then_some(Trace { strace, file })
    }

    /// What was called until the server was killed.
    fn finish(mut self, server: Server) -> Calls {
        drop(server);
        self.strace.wait().unwrap();
        let text = std::fs::read_to_string(&self.file).unwrap();
        std::fs::remove_file(&self.file).unwrap();
        let mut calls = Calls::new();
        // `PID call(...` begins a call; one that another thread interrupts is resumed under another form.
        for call in
            text.lines().filter_map(|line| line.split_whitespace().nth(1)?.split_once('(')).map(|(call, _)| call)
        {
            if COMPARED.contains(&call) {
                *calls.entry(call.to_owned()).or_default() += 1;
            }
        }
        calls
    }
}

/// The calls of a new server that answers the request so many times, and whether it stayed hot.
fn observed(asked: Asked<'_>, others: &[&str], times: usize) -> Option<(Calls, bool)> {
    let server = Server::start_untortured(&[&["--log-level", "off"], others].concat());
    // It listens before it has opened what it serves; once it answers, it has.
    server.ask("OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let trace = Trace::attach(&server)?;
    let mut client = server.connect();
    let start = Instant::now();
    for _ in 0..times {
        client.send(asked.head());
        let head = client.read_head();
        let has_content = !asked.request.starts_with("HEAD") && !head.contains(" 304 ");
        let length = field(&head, "Content-Length").filter(|_| has_content).unwrap_or("0").parse().unwrap();
        client.read_exactly(length);
    }
    let is_hot = start.elapsed() < HOT;
    Some((trace.finish(server), is_hot))
}

#[track_caller]
fn assert_calls(asked: Asked<'_>, others: &[&str]) {
    let page = Page::of(asked, others);
    let first = explained(&page, &["on the loop", "on a thread"]);
    let Some((seen, _)) = observed(asked, others, 1) else { return };
    assert_same(&first, seen, &page);
    let hot = explained(&page, &["while hot"]);
    if hot.is_empty() {
        return;
    }
    // A machine that is busy with other things may take so long that the file is looked at again.
    let twice = (0..10).filter_map(|_| observed(asked, others, 2)).find(|(_, is_hot)| *is_hot);
    let Some((seen, _)) = twice else { return eprintln!("notice: skipped, the machine is too slow") };
    assert_same(&sum(first, hot), seen, &page);
}

/// A socket that takes less than it is given makes for more calls of sendfile, and for no others.
#[track_caller]
fn assert_same(explained: &Calls, mut seen: Calls, page: &Page) {
    if let (Some(told), Some(count)) = (explained.get("sendfile"), seen.get_mut("sendfile")) {
        assert!(*count >= *told, "{count} calls of sendfile\n{}", page.0);
        *count = *told;
    }
    assert_eq!(*explained, seen, "{}", page.0);
}

#[test]
fn strace_sees_the_calls_that_are_explained() {
    if !has_tool("strace") {
        return;
    }
    let site = Site::new();
    let asked = |request, fields| Asked { request, fields };
    assert_calls(asked("GET /plaintext", &[]), &[]);
    for asked in [
        asked("GET /small.txt", &[][..]),
        asked("GET /large.bin", &[]),
        asked("GET /large.bin", &["Range: bytes=0-99"]),
        asked("GET /large.bin", &["Range: bytes=0-99, 200-299"]),
        asked("GET /small.txt", &["If-None-Match: *"]),
        asked("GET /lines.txt", &["Accept-Encoding: gzip"]),
        asked("GET /alone.html", &["Accept-Encoding: gzip"]),
        asked("GET /alone.html", &[]),
        asked("GET /nothing", &[]),
        asked("GET /folder", &[]),
        asked("HEAD /large.bin", &[]),
    ] {
        assert_calls(asked, &[site.path()]);
    }
}
