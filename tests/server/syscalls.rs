//! What a request costs in system calls, as strace sees it from outside.

use std::process::{Child, Command, Stdio};

use crate::frames::{GOAWAY, RST_STREAM, frame};
use crate::http2_client::Http2;
use crate::support::{Server, has_tool, wait_until};

/// strace attached to a server; ends with the server.
struct Trace {
    strace: Child,
    file: std::path::PathBuf,
}

impl Trace {
    fn attach(server: &Server, name: &str) -> Option<Trace> {
        let file = std::env::temp_dir().join(format!("tidemill-{name}-{}.strace", std::process::id()));
        let strace = Command::new("strace")
            .args(["-f", "-p", &server.pid().to_string(), "-o"])
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut trace = Trace { strace, file };
        let attached = || std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let mut refused = false;
        wait_until("strace is attached", || {
            refused = trace.strace.try_wait().unwrap().is_some();
            refused || !attached().contains("TracerPid:\t0")
        });
        if refused {
            eprintln!("notice: skipped, strace may not attach here");
        }
        (!refused).then_some(trace)
    }

    /// Ends the tracing and returns its lines.
    fn finish(mut self, server: Server) -> Vec<String> {
        drop(server);
        self.strace.wait().unwrap();
        let text = std::fs::read_to_string(&self.file).unwrap();
        std::fs::remove_file(&self.file).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn count(lines: &[String], what: impl Fn(&str) -> bool) -> usize {
    lines.iter().filter(|line| what(line)).count()
}

#[test]
fn a_keep_alive_request_costs_one_read_one_write_and_no_epoll_ctl() {
    if !has_tool("strace") {
        return;
    }
    let server = Server::start_untortured(&[]);
    let mut client = server.connect();
    let request = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(request);
    assert_eq!(client.read_response().1, "Hello, World!");
    let Some(trace) = Trace::attach(&server, "keep-alive") else { return };
    for _ in 0..100 {
        client.send(request);
        assert_eq!(client.read_response().1, "Hello, World!");
    }
    let lines = trace.finish(server);
    let reads = count(&lines, |line| line.contains("recvfrom(") || line.contains("read("));
    let writes = count(&lines, |line| line.contains("sendto(") || line.contains("write("));
    assert_eq!((reads, writes), (100, 100), "{}", lines.join("\n"));
    assert_eq!(count(&lines, |line| line.contains("epoll_ctl")), 0, "{}", lines.join("\n"));
    let others = count(&lines, |line| {
        // Killed between two calls, strace has no name for the one that never was.
        ![
            "recvfrom(",
            "read(",
            "sendto(",
            "write(",
            "epoll_wait",
            "epoll_pwait",
            "clock_gettime(CLOCK_THREAD_CPUTIME_ID",
            "+++",
            "---",
            "???(",
        ]
        .iter()
        .any(|known| line.contains(known))
    });
    assert_eq!(others, 0, "{}", lines.join("\n"));
}

/// These stand in the trace, in this order.
#[track_caller]
fn assert_story(all: &str, story: &[&str]) {
    let mut rest = all;
    for part in story {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("{part:?} is missing, or too early:\n{all}"));
        rest = after;
    }
}

#[test]
fn marks_name_the_streams_of_http2() {
    if !has_tool("strace") {
        return;
    }
    let server = Server::start_untortured(&["--mark-syscalls"]);
    let Some(trace) = Trace::attach(&server, "marks-http2") else { return };
    let mut client = Http2::new(server.connect(), 0);
    client.get(1, "/bytes/10", "");
    client.read_until(|frame| frame.stream == 1);
    client.client.send(frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    client.get(3, "no path", "");
    client.read_until(|frame| frame.stream == 3);
    client.widen(0, 0);
    client.read_until(|frame| frame.kind == GOAWAY);
    drop(client);
    let file = trace.file.clone();
    wait_until("the end is marked", || std::fs::read_to_string(&file).unwrap().contains("c=1 close: "));
    let all = trace.finish(server).join("\n");
    let story = [
        "tidemill c=1 s=1 head GET /bytes/10\"",
        "tidemill c=1 s=1 respond 200 OK\"",
        "sendto(",
        "tidemill c=1 s=1 reset by the client: CANCEL\"",
        "tidemill c=1 s=3 reset: PROTOCOL_ERROR\"",
        "tidemill c=1 goaway: PROTOCOL_ERROR\"",
        "tidemill c=1 close: ",
    ];
    assert_story(&all, &story);
}

#[test]
fn marks_tell_the_story_of_a_connection() {
    if !has_tool("strace") {
        return;
    }
    let server = Server::start_untortured(&["--mark-syscalls"]);
    let Some(trace) = Trace::attach(&server, "marks") else { return };
    let mut client = server.connect();
    client.send("GET /plaintext?a=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().1, "Hello, World!");
    client.send("GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.read_to_end();
    let file = trace.file.clone();
    wait_until("the end is marked", || std::fs::read_to_string(&file).unwrap().contains("close: closed by the server"));
    let lines = trace.finish(server);
    let all = lines.join("\n");
    let story = [
        "accept4(",
        "tidemill c=1 accepted 127.0.0.1:",
        "tidemill wait ",
        "tidemill c=1 r=1 drive\"",
        "recvfrom(",
        "tidemill c=1 r=1 head GET /plaintext?a=1\"",
        "tidemill c=1 r=1 respond 200 OK\"",
        "sendto(",
        "tidemill wait ",
        "epoll_wait(",
        "tidemill c=1 r=2 drive\"",
        "recvfrom(",
        "tidemill c=1 r=2 head GET /nowhere\"",
        "tidemill c=1 r=2 respond 404 Not Found\"",
        "sendto(",
        "tidemill c=1 close: closed by the server\"",
        "close(",
    ];
    assert_story(&all, &story);
    assert_eq!(count(&lines, |line| line.contains("drive\"")), 2, "{all}");
    // The server may be killed in the middle of its last mark: then strace knows no result.
    let returned = |line: &str| !["= ?", "<unfinished", "<detached"].iter().any(|what| line.contains(what));
    let reaching = count(&lines, |line| line.contains("\"tidemill ") && !line.contains("ENOTDIR") && returned(line));
    assert_eq!(reaching, 0, "a mark touches nothing:\n{all}");
}

#[test]
fn marks_around_jobs_say_whose_system_calls_these_are() {
    if !has_tool("strace") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("tidemill-marks-jobs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a b.html"), "hello").unwrap();
    let server = Server::start_untortured(&["--mark-syscalls", folder.to_str().unwrap()]);
    let Some(trace) = Trace::attach(&server, "marks-jobs") else { return };
    let mut client = server.connect();
    client.send("GET /a%20b.html HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().1, "hello");
    let mut http2 = Http2::new(server.connect(), 65_535);
    http2.get(7, "/nothing", "");
    http2.read_until(|frame| frame.stream == 7);
    let file = trace.file.clone();
    let ended = "c=2 s=7 job done: look-up /nothing\"";
    wait_until("the end is marked", || std::fs::read_to_string(&file).unwrap().contains(ended));
    let lines = trace.finish(server);
    std::fs::remove_dir_all(&folder).unwrap();
    for (job, path) in [("c=1 job look-up /a b.html\"", "\"a b.html"), ("c=2 s=7 job look-up /nothing\"", "\"nothing")]
    {
        let begun = lines.iter().find(|line| line.contains(&format!("tidemill {job}"))).unwrap();
        let (thread, _) = begun.split_once(' ').unwrap();
        let of_thread: Vec<&str> =
            lines.iter().map(String::as_str).filter(|line| line.starts_with(&format!("{thread} "))).collect();
        let done = format!("tidemill {}", job.replacen("job ", "job done: ", 1));
        assert_story(&of_thread.join("\n"), &[&format!("tidemill {job}"), path, "write(", &done]);
        let loop_lines = lines.iter().filter(|line| line.contains(" drive\""));
        assert!(loop_lines.clone().count() > 0 && !loop_lines.clone().any(|line| line.starts_with(thread)), "{thread}");
    }
}

#[test]
fn write_interest_is_set_at_the_first_would_block_and_cleared_when_drained() {
    if !has_tool("strace") {
        return;
    }
    let server = Server::start_untortured(&[]);
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().1, "Hello, World!");
    let Some(trace) = Trace::attach(&server, "backpressure") else { return };
    // More than the kernel's buffers hold, to a client that reads only after the server has been stopped by that.
    const SIZE: usize = 32 * 1024 * 1024;
    client.send(format!("GET /bytes/{SIZE} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let file = trace.file.clone();
    wait_until("the server is blocked", || std::fs::read_to_string(&file).unwrap().contains("EPOLLOUT"));
    client.read_head();
    assert_eq!(client.read_exactly(SIZE).len(), SIZE);
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().1, "Hello, World!");
    let lines = trace.finish(server);
    let ctl: Vec<&String> = lines.iter().filter(|line| line.contains("epoll_ctl")).collect();
    assert!(ctl.len() >= 2, "{ctl:#?}");
    assert!(ctl[0].contains("EPOLL_CTL_MOD") && ctl[0].contains("EPOLLOUT"), "set once: {ctl:#?}");
    assert!(ctl[1].contains("EPOLL_CTL_MOD") && !ctl[1].contains("EPOLLOUT"), "cleared: {ctl:#?}");
    let blocked = lines.iter().position(|line| line.contains("EAGAIN")).unwrap();
    let set = lines.iter().position(|line| line.contains("EPOLLOUT") && line.contains("epoll_ctl")).unwrap();
    assert_eq!(set, blocked + 1, "WRITE interest follows the first write that would block");
    assert!(!ctl.last().unwrap().contains("EPOLLOUT"), "no WRITE interest outlives the drain: {ctl:#?}");
}
