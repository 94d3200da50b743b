//! Files that move, pipes that are full, disks that are, and the end of the server.

use std::fs::{File, rename};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::logged::{Logged, Scratch};
use crate::support::{Server, status, wait_until};

const REQUEST: &str = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_log_that_is_moved_under_load_loses_no_line() {
    let mut logged = Logged::start("common", &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (mut client, stop) = (logged.connect(), Arc::clone(&stop));
            thread::spawn(move || {
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    client.send(REQUEST);
                    client.read_response();
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let path = logged.scratch.path("access.log");
    for generation in 0..5 {
        wait_until("there are lines", || logged.scratch.log().contains('\n'));
        rename(&path, logged.scratch.path(&generation.to_string())).unwrap();
        logged.server.signal("USR1");
        wait_until("the log is reopened", || path.exists());
    }
    stop.store(true, Ordering::Relaxed);
    let answered: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    logged.server.signal("TERM");
    assert_eq!(logged.server.wait().code(), Some(0));
    let names = ["0", "1", "2", "3", "4", "access.log"];
    let texts = names.map(|name| std::fs::read_to_string(logged.scratch.path(name)).unwrap());
    assert!(texts.iter().all(|text| text.is_empty() || text.ends_with('\n')), "files end with whole lines");
    let lines: usize = texts.iter().map(|text| text.matches('\n').count()).sum();
    assert_eq!(lines, answered);
}

#[test]
fn a_pipe_that_nobody_reads_drops_lines_counts_them_and_slows_nobody() {
    let scratch = Scratch::new();
    let (path, idle) = unread_fifo(&scratch);
    let mut server = Server::start(&[&scratch.flag(), "--log-format", "json"]);
    const BATCH: usize = 20;
    const BATCHES: usize = 200;
    let request = format!("GET /plaintext?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(490));
    let mut client = server.connect();
    for _ in 0..BATCHES {
        client.send(request.repeat(BATCH));
        for _ in 0..BATCH {
            assert_eq!(status(&client.read_response().0), "200");
        }
    }
    // "1 line", if the first turn that had no room had room for all but one; the rest is told at the end.
    server.wait_for_log(" dropped: nobody took them fast enough");
    let reading = thread::spawn(move || rest(&path, idle));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let lines = reading.join().unwrap();
    assert!(lines.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "whole lines only");
    wait_until("every line is accounted for", || lines.len() + dropped(&server.log()) == BATCH * BATCHES);
    assert!(lines.len() > 1_000, "a megabyte is kept: {} lines", lines.len());
}

/// A FIFO where the log is to be. As long as the handle lives, it has a reader, who reads nothing: open in both
/// directions, a FIFO waits for nobody.
fn unread_fifo(scratch: &Scratch) -> (PathBuf, File) {
    let path = scratch.fifo();
    let idle = File::options().read(true).write(true).open(&path).unwrap();
    (path, idle)
}

/// All that is read from a FIFO from now on, until everybody has closed it.
fn rest(fifo: &Path, idle: File) -> Vec<String> {
    let reader = File::open(fifo).unwrap();
    drop(idle);
    BufReader::new(reader).lines().map(|line| line.unwrap()).collect()
}

#[test]
fn a_full_pipe_that_nobody_reads_is_left_when_the_log_is_reopened() {
    const REQUESTS: usize = 300;
    let scratch = Scratch::new();
    let (path, idle) = unread_fifo(&scratch);
    let mut server = Server::start(&[&scratch.flag(), "--log-format", "json"]);
    let mut client = server.connect();
    // A pipe takes 64 KiB.
    let request = format!("GET /plaintext?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(490));
    for _ in 0..REQUESTS {
        client.send(&request);
        client.read_response();
    }
    let moved = scratch.path("moved");
    rename(&path, &moved).unwrap();
    server.signal("USR1");
    wait_until("the log is reopened", || path.exists());
    client.send(REQUEST);
    client.read_response();
    wait_until("the new file has its line", || scratch.log().contains("\"/plaintext\""));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let lost = "nobody read from the pipe that was to be left";
    assert!(server.log().contains(lost), "{}", server.log());
    let left = rest(&moved, idle);
    // Each time that the thread gives up it may be within a line, which counts as dropped: even if all of it was written
    // but its end.
    const TORN_MAX: usize = 2;
    let whole = left.iter().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count();
    assert!(left.len() - whole <= TORN_MAX, "{whole} of {} lines are whole", left.len());
    let written = whole + scratch.log().lines().count();
    let accounted_for = REQUESTS + 1..=REQUESTS + 1 + TORN_MAX;
    wait_until("every line is accounted for", || accounted_for.contains(&(written + dropped(&server.log()))));
}

#[test]
fn a_pipe_is_reopened_only_if_somebody_reads_from_it() {
    let scratch = Scratch::new();
    let (path, idle) = unread_fifo(&scratch);
    let mut reader = BufReader::new(File::open(&path).unwrap());
    drop(idle);
    let server = Server::start(&[&scratch.flag(), "--log-format", "common"]);
    let mut client = server.connect();
    let mut line_of = |reader: &mut BufReader<File>, query: &str| {
        client.send(format!("GET /plaintext?{query} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.read_response();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.contains(query), "{line}");
    };
    line_of(&mut reader, "first");
    drop(reader);
    server.signal("USR1");
    server.wait_for_log("cannot reopen the access log, so it goes on where it is: nobody reads from this pipe");
    // Whoever comes back is written to again.
    let mut reader = BufReader::new(File::open(&path).unwrap());
    line_of(&mut reader, "second");
    server.signal("USR1");
    line_of(&mut reader, "third");
    assert_eq!(server.log().matches("cannot reopen").count(), 1, "{}", server.log());
}

/// The lines that a server says it has dropped, all together.
fn dropped(log: &str) -> usize {
    let counts = log.lines().filter_map(|line| line.split_once("access log: ")?.1.split_once(" line"));
    counts.map(|(count, _)| count.parse::<usize>().unwrap()).sum()
}

#[test]
fn a_reader_that_has_gone_and_a_full_disk_cost_lines_and_nothing_else() {
    // The reader of this server's stdout goes after the first line.
    for (flag, error) in [("--access-log", "Broken pipe"), ("--access-log=/dev/full", "No space left on device")] {
        let mut server = Server::start(&[flag]);
        for _ in 0..3 {
            let mut client = server.connect();
            client.send(REQUEST);
            assert_eq!(client.read_response().1, "Hello, World!");
        }
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
        wait_until("every line is accounted for", || dropped(&server.log()) == 3);
        assert!(server.log().contains(error), "{}", server.log());
    }
}

#[test]
fn stdout_has_the_listening_line_and_then_the_log() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["--listen", "127.0.0.1:0", "--access-log", "--log-format", "common"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    let url = lines.next().unwrap();
    let address = url.trim_start_matches("listening on http://").trim_end_matches('/').to_owned();
    let mut client = crate::support::Client::new(std::net::TcpStream::connect(address).unwrap());
    client.send(REQUEST);
    client.read_response();
    let line = lines.next().unwrap();
    assert!(line.ends_with("] \"GET /plaintext HTTP/1.1\" 200 13 ---"), "{line}");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn requests_that_end_with_the_server_are_noted() {
    let mut logged = Logged::start("json", &["--drain-timeout", "0s"]);
    let mut client = logged.connect();
    client.send("GET /drip?bytes=9&over=10m HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&client.read_head()), "200");
    logged.server.signal("TERM");
    assert_eq!(logged.server.wait().code(), Some(3));
    let object = logged.objects(1).remove(0);
    assert_eq!((&object["target"], &object["status"]), (&"/drip?bytes=9&over=10m".into(), &200.into()));
    assert_eq!((&object["close"], &object["verdict"]), (&"cut short".into(), &"OKW".into()));
}

#[test]
fn a_log_that_cannot_be_opened_is_refused_in_one_line() {
    let refused = |path: &str| {
        let flag = format!("--access-log={path}");
        // A server that waits for somebody instead would be ended with another code.
        let mut server = Command::new("timeout");
        server.args(["20", env!("CARGO_BIN_EXE_tidemill"), "-l", "127.0.0.1:0", &flag]);
        let output = server.output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(
        refused("/no/such/directory/x"),
        "tidemill: cannot open the access log /no/such/directory/x: no such directory\n"
    );
    assert_eq!(refused("/"), "tidemill: cannot open the access log /: it is a directory\n");
    let scratch = Scratch::new();
    let fifo = scratch.fifo();
    let fifo = fifo.to_str().unwrap();
    assert_eq!(refused(fifo), format!("tidemill: cannot open the access log {fifo}: nobody reads from this pipe\n"));
}

#[test]
fn a_log_that_cannot_be_reopened_goes_on_where_it_is() {
    let logged = Logged::start("common", &[]);
    let mut client = logged.connect();
    client.send(REQUEST);
    client.read_response();
    logged.lines(1);
    let moved = logged.scratch.path("moved");
    rename(logged.scratch.path("access.log"), &moved).unwrap();
    std::fs::create_dir(logged.scratch.path("access.log")).unwrap();
    logged.server.signal("USR1");
    logged.server.wait_for_log("cannot reopen the access log");
    client.send(REQUEST);
    client.read_response();
    wait_until("the old file has both", || std::fs::read_to_string(&moved).unwrap().matches('\n').count() == 2);
}
