//! A network of two hosts between which a packet takes 20 ms: the load on one, the servers on the other.
//!
//! The servers' host is a network namespace that lives only as long as its processes, so that there is nothing to undo.
//! The link (`link.py`) ends when this program does, however that happens.

use crate::process::Process;
use crate::{Failure, network};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The servers' host, as `link.py` has it.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

pub const RTT: Duration = Duration::from_millis(40);

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/link.py");

pub struct Link {
    relay: Process,
}

impl Link {
    /// An error unless a packet takes as long as it is to take.
    pub fn start() -> Result<Self, Failure> {
        if !network::is_own() {
            return Err("a link needs a network namespace, and that needs root".into());
        }
        let delay_ms = RTT.as_millis() / 2;
        let mut command = Command::new("unshare");
        command.args(["--net", "python3", PROGRAM, &std::process::id().to_string(), &delay_ms.to_string()]);
        // Its input ends with this program, and that ends it.
        let mut relay = Process::start_here(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let mut line = String::new();
        BufReader::new(relay.take_stdout().ok_or("no stdout")?).read_line(&mut line)?;
        if line.trim() != "ready" {
            return Err(format!("{PROGRAM} failed").into());
        }
        let link = Self { relay };
        let rtt = link.measured_rtt();
        if rtt < RTT || rtt > RTT.mul_f64(1.05) {
            return Err(format!("the round trip takes {rtt:?} instead of {RTT:?}").into());
        }
        Ok(link)
    }

    /// The least of five: how long the refusal of a connection takes.
    fn measured_rtt(&self) -> Duration {
        let refusal = |_| {
            let start = Instant::now();
            let refused = TcpStream::connect((SERVER, 9)).is_err();
            if refused { start.elapsed() } else { Duration::MAX }
        };
        (0..5).map(refusal).min().unwrap_or(Duration::MAX)
    }

    /// What runs a program on the servers' host. The process becomes that program.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.relay.id())).arg(program);
        command
    }
}
