//! What the server tells of TLS, against what clients agreed on with it.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod client;
mod https_only;
mod outcomes;
mod session;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod support;
#[path = "../tls_client/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod tls_client;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use support::{Client, Server};
use tls_client::corpus;

/// A server that speaks TLS, with an admin and an access log in a folder of its own.
struct Seen {
    server: Server,
    folder: PathBuf,
}

impl Seen {
    fn start(format: &str, more: &[&str]) -> Seen {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tidemill-{}-seen-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let log = format!("--access-log={}", folder.join("access.log").display());
        let (certificate, key) =
            (corpus("ec.pem").display().to_string(), corpus("ec-sec1-key.pem").display().to_string());
        let own = [log.as_str(), "--log-format", format, "--tls-cert", &certificate, "--tls-key", &key];
        let listen = ["--listen", "https:127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let server = Server::start(&[&listen, &own[..], more].concat());
        Seen { server, folder }
    }

    /// The https: listener.
    fn address(&self) -> &str {
        self.server.listener(1)
    }

    /// What the admin answers.
    fn admin(&self, path: &str) -> String {
        let mut client = Client::new(std::net::TcpStream::connect(self.server.admin()).unwrap());
        client.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
        let answer = client.read_to_end();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// The connection that was accepted last.
    fn connection(&self) -> Value {
        let listed = serde_json::from_str::<Value>(&self.admin("/connections?format=json")).unwrap();
        let listed = listed["connections"].as_array().unwrap();
        listed.iter().max_by_key(|connection| connection["connection"].as_u64()).cloned().unwrap_or_default()
    }

    /// So many lines of the access log, once they are there, without those of the admin.
    fn lines(&self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        support::wait_until("the requests are in the log", || {
            let log = fs::read_to_string(self.folder.join("access.log")).unwrap_or_default();
            lines = log.lines().filter(|line| !line.contains("admin")).map(str::to_owned).collect();
            lines.len() >= count
        });
        lines
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}
