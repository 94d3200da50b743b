//! What `--pcapng` writes, read by tshark and held against the access log, the clients and the files that were served.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod dialogues;
#[path = "../sim/h2/frames.rs"]
#[allow(dead_code, reason = "shared with the simulator")]
mod frames;
mod live;
#[path = "../access_log/logged.rs"]
#[allow(dead_code, reason = "shared with the tests of the access log")]
mod logged;
mod places;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod support;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
#[path = "../tls_client/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod tls_client;
mod upstreams;

use std::path::{Path, PathBuf};
use std::process::Command;

use logged::Logged;
use support::has_tool;

/// A server that captures, and has an access log in JSON.
struct Captured {
    logged: Logged,
}

impl Captured {
    /// `None` without tshark, with a notice.
    fn start(more: &[&str]) -> Option<Captured> {
        has_tool("tshark").then(|| {
            // The folder is made by the log, so the capture is in it under the same number.
            let scratch = logged::Scratch::new();
            let capture = scratch.path("x.pcapng").display().to_string();
            let flags = [&scratch.flag(), "--log-format", "json", "--pcapng", &capture];
            let server = support::Server::start_untortured(&[&flags, more].concat());
            Captured { logged: Logged { server, scratch } }
        })
    }

    fn path(&self) -> PathBuf {
        self.logged.scratch.path("x.pcapng")
    }

    /// Where the plain listener is.
    fn port(&self) -> &str {
        self.logged.server.address.rsplit(':').next().unwrap()
    }

    /// Stops the server, so that everything is written.
    fn stop(&mut self) {
        self.logged.server.signal("TERM");
        assert!(self.logged.server.wait().success());
    }
}

/// For each packet that a filter lets pass, these fields.
fn tshark(file: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    // Nothing that the user of this machine has set, such as a key log, and no port that stands for a protocol.
    command.env("HOME", file.parent().unwrap()).env_remove("SSLKEYLOGFILE").arg("-r").arg(file);
    // Wrong checksums are told.
    command.args(["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-Y", filter, "-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// The packets that tshark finds fault with.
fn faults(file: &Path) -> Vec<Vec<String>> {
    let filter = "_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0 || tcp.analysis.lost_segment || \
                  tcp.analysis.ack_lost_segment || tcp.analysis.retransmission || tcp.analysis.out_of_order || \
                  tcp.analysis.window_full || tcp.analysis.duplicate_ack || tls.alert_message.level == 2";
    tshark(file, filter, &["frame.number", "_ws.expert.message"])
}
