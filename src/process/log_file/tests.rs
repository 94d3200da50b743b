//! The log and its thread, on pipes and files.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory of this test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidemill-log-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("access.log")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn take(log: &mut LogFile, text: &str) {
    let mut lines = text.as_bytes().to_vec();
    log.take(&mut lines);
    assert!(lines.is_empty());
}

/// A log that is written to a pipe.
fn piped() -> (LogFile, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    (LogFile::write_to(File::from(OwnedFd::from(writer)), Place::Stdout).unwrap(), reader)
}

#[test]
fn lines_are_appended_and_all_are_written_at_the_end() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path(), "before\n").unwrap();
    let mut log = LogFile::start(Place::File(scratch.path())).unwrap();
    assert!(!log.is_terminal());
    let expected: String = (0..1000).map(|number| format!("line {number}\n")).collect();
    expected.split_inclusive('\n').for_each(|line| take(&mut log, line));
    drop(log);
    assert_eq!(scratch.text(), format!("before\n{expected}"));
}

#[test]
fn what_came_before_a_reopening_is_in_the_old_file() {
    let scratch = Scratch::new();
    let mut log = LogFile::start(Place::File(scratch.path())).unwrap();
    for generation in 0..20 {
        take(&mut log, &format!("old {generation}\n"));
        let moved = scratch.0.join("moved");
        std::fs::rename(scratch.path(), &moved).unwrap();
        log.reopen();
        take(&mut log, &format!("new {generation}\n"));
        // The thread may not have come to it yet.
        while !scratch.path().exists() || !scratch.text().ends_with(&format!("new {generation}\n")) {
            thread::yield_now();
        }
        assert!(std::fs::read_to_string(&moved).unwrap().ends_with(&format!("old {generation}\n")));
        assert_eq!(scratch.text(), format!("new {generation}\n"));
        std::fs::remove_file(&moved).unwrap();
    }
    assert_eq!(log.dropped(), 0);
}

#[test]
fn a_pipe_that_nobody_reads_costs_lines_and_no_time() {
    let (mut log, reader) = piped();
    let line = format!("{}\n", "x".repeat(999));
    for _ in 0..5000 {
        take(&mut log, &line);
    }
    let dropped = log.dropped();
    // Of five megabytes one waits; a pipe takes 64 KiB; the thread may hold what waited when it came, or not have come.
    assert!((1800..=3952).contains(&dropped), "{dropped}");
    let reading =
        thread::spawn(move || BufReader::new(reader).lines().map(|line| line.unwrap().len()).collect::<Vec<_>>());
    drop(log);
    let read = reading.join().unwrap();
    assert!(read.iter().all(|length| *length == 999), "only whole lines are dropped");
    assert_eq!(read.len() as u64 + dropped, 5000);
}

#[test]
fn the_end_does_not_wait_for_a_reader_that_does_not_read() {
    let (mut log, reader) = piped();
    take(&mut log, &"x\n".repeat(100_000));
    let began = Instant::now();
    drop(log);
    assert!((END_TIMEOUT..END_TIMEOUT * 5).contains(&began.elapsed()));
    drop(reader);
}

#[test]
fn errors_cost_lines_and_the_next_line_begins_on_its_own() {
    let (mut log, mut reader) = piped();
    take(&mut log, "first\n");
    reader.read_exact(&mut [0; 6]).unwrap();
    drop(reader);
    take(&mut log, "lost\nlost\n");
    while log.dropped() < 2 {
        thread::yield_now();
    }
    take(&mut log, "lost\n");
    while log.dropped() < 3 {
        thread::yield_now();
    }

    let scratch = Scratch::new();
    let shared = Arc::clone(&log.shared);
    let place = Place::File(scratch.path());
    let mut writer = Writer { file: place.open().unwrap(), place, torn: false, leaving: false, shared };
    writer.write(b"whole\n");
    writer.file.write_all(b"ha").unwrap();
    writer.give_up(b"half\n", b"lf\n", ErrorKind::StorageFull.into());
    writer.write(b"next\n");
    writer.give_up(b"none\n", b"none\n", ErrorKind::StorageFull.into());
    writer.write(b"last\n");
    assert_eq!(scratch.text(), "whole\nha\nnext\nlast\n");
    assert_eq!(log.dropped(), 5);
}

#[test]
fn buffers_are_exchanged_and_used_again() {
    let (mut log, mut reader) = piped();
    let mut lines = Vec::new();
    let mut capacities = Vec::new();
    for _ in 0..50 {
        lines.extend_from_slice(&[b'x'; 99]);
        lines.push(b'\n');
        log.take(&mut lines);
        reader.read_exact(&mut [0; 100]).unwrap();
        capacities.push(lines.capacity());
    }
    assert!(capacities[10..].iter().all(|capacity| *capacity >= 100), "{capacities:?}");
}

#[test]
fn only_whole_lines_fit() {
    assert_eq!(fitting(b"ab\ncd\n", 6), 6);
    assert_eq!(fitting(b"ab\ncd\n", 5), 3);
    assert_eq!(fitting(b"ab\ncd\n", 2), 0);
    assert_eq!(fitting(b"", 0), 0);
}
