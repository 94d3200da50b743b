//! `scripts/bench`: measures tidemill next to its peers and prints tables. See `help.txt` and `docs/performance.md`.
//!
//! This program and the load it makes run on core 1, the servers on core 0. Servers of a workload all run at the same
//! time and are measured in turns, so that what else the machine does falls on all of them.

mod arguments;
mod client;
mod comparison;
mod configuration;
mod crowd;
mod fairness;
mod h2;
mod http2_client;
mod idle;
mod latency;
mod link;
mod network;
mod open_loop;
mod prerequisites;
mod process;
mod proxy;
mod rates;
mod server;
mod start;
mod table;
mod tls;
mod transfers;
mod urgency;
mod ws;

use arguments::{Arguments, Workload};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

type Failure = Box<dyn Error>;

/// What all workloads share.
struct Bench {
    arguments: Arguments,
    /// Where tidemill and the programs of this crate are.
    programs: PathBuf,
    /// Empty at first, removed at the end.
    scratch: PathBuf,
    /// How many files a process may have open.
    descriptors: u64,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything could be measured.
fn run() -> Result<bool, Failure> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    network::enter(|| prerequisites::install(&arguments))?;
    let network = network::prepare()?;
    let scratch = std::env::temp_dir().join(format!("tidemill-bench-{}", std::process::id()));
    process::end_all_on_signals(scratch.clone())?;
    process::pin(process::LOAD_CORE)?;
    let programs = std::env::current_exe()?.parent().ok_or("no folder of programs")?.to_owned();
    let bench = Bench { arguments, programs, scratch, descriptors: process::raise_descriptor_limit()? };
    std::fs::create_dir(&bench.scratch)?;
    let result = prerequisites::describe(&bench, &network).map(|()| bench.measure_all());
    std::fs::remove_dir_all(&bench.scratch)?;
    result
}

impl Bench {
    fn measure_all(&self) -> bool {
        let mut is_whole = true;
        for workload in &self.arguments.workloads {
            eprintln!("measuring: {}", workload.name());
            is_whole &= self.measure(*workload).unwrap_or_else(|error| {
                println!("\nFailed: {error}");
                false
            });
            println!();
        }
        is_whole
    }

    fn measure(&self, workload: Workload) -> Result<bool, Failure> {
        match workload {
            Workload::Latency => latency::measure(self),
            Workload::Idle => idle::measure(self),
            Workload::Crowd => crowd::measure(self),
            Workload::Start => start::measure(self),
            Workload::Tls => tls::measure(self),
            Workload::H2 => h2::measure(self),
            Workload::Ws => ws::measure(self),
            Workload::Proxy => proxy::measure(self),
            _ => rates::measure(self, workload),
        }
    }
}
