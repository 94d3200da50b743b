//! A server that writes its access log to a file of this test's own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::support::{Client, Server, wait_until};

/// A directory that is removed when the test ends.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidemill-access-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// `access.log` as a FIFO.
    pub fn fifo(&self) -> PathBuf {
        let path = self.path("access.log");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("access.log")).unwrap_or_default()
    }

    /// The flag that has the log written to `access.log` in here.
    pub fn flag(&self) -> String {
        format!("--access-log={}", self.path("access.log").display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

pub struct Logged {
    pub server: Server,
    pub scratch: Scratch,
}

impl Logged {
    pub fn start(format: &str, more: &[&str]) -> Logged {
        let scratch = Scratch::new();
        let server = Server::start(&[&[scratch.flag().as_str(), "--log-format", format], more].concat());
        Logged { server, scratch }
    }

    /// One whose system calls are those of every day, whatever the environment says.
    pub fn start_untortured(format: &str, more: &[&str]) -> Logged {
        let scratch = Scratch::new();
        let server = Server::start_untortured(&[&[scratch.flag().as_str(), "--log-format", format], more].concat());
        Logged { server, scratch }
    }

    pub fn connect(&self) -> Client {
        self.server.connect()
    }

    /// The log, once it has `n` lines; it must not have more.
    pub fn lines(&self, n: usize) -> Vec<String> {
        wait_until(&format!("the log has {n} lines"), || self.scratch.log().matches('\n').count() >= n);
        let lines: Vec<String> = self.scratch.log().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), n, "{lines:#?}");
        lines
    }

    pub fn objects(&self, n: usize) -> Vec<Value> {
        self.lines(n).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A range of the JSON format, back from tcpdump's notation: from 0, end exclusive.
pub fn range(object: &Value, name: &str) -> std::ops::Range<u64> {
    let (start, end) = object[name].as_str().unwrap().split_once(':').unwrap();
    start.parse::<u64>().unwrap() - 1..end.parse::<u64>().unwrap() - 1
}
