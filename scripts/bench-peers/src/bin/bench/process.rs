//! Processes: on which core they run, what they use, and that none is left behind.

use crate::Failure;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub const SERVER_CORE: usize = 0;
pub const LOAD_CORE: usize = 1;

/// How long a server may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Children that were not waited for yet, so that their numbers are still theirs.
static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn children() -> std::sync::MutexGuard<'static, Vec<u32>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A signal that ends this program ends its servers first, and takes the folder along.
pub fn end_all_on_signals(scratch: PathBuf) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            children().iter().for_each(|pid| ask_to_end(*pid));
            if let Err(error) = fs::remove_dir_all(&scratch) {
                eprintln!("{}: {error}", scratch.display());
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

fn ask_to_end(pid: u32) {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if let Err(error) = kill_process(number, Signal::TERM) {
        eprintln!("process {pid}: {error}");
    }
}

/// From now on this thread, and every process it starts, runs on this core.
pub fn pin(core: usize) -> Result<(), Failure> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).map_err(|error| format!("core {core}: {error}").into())
}

/// Lets this process, and all it starts, have as many files open as root once allowed, though no more than a million;
/// says how many.
pub fn raise_descriptor_limit() -> Result<u64, Failure> {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let current = maximum.unwrap_or(u64::MAX).min(1_000_000);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum })?;
    Ok(current)
}

/// A server's process, which ends when this is dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it on the servers' core.
    pub fn start(command: &mut Command) -> Result<Self, Failure> {
        pin(SERVER_CORE)?;
        let process = Self::start_here(command);
        pin(LOAD_CORE)?;
        process
    }

    /// Starts it on the core of this program.
    pub fn start_here(command: &mut Command) -> Result<Self, Failure> {
        let child = command.spawn().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        children().push(child.id());
        Ok(Self { child })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Processes it started, as nginx its worker.
    pub fn children(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.id());
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        if !self.has_ended() {
            ask_to_end(self.id());
        }
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        children().retain(|pid| *pid != self.child.id());
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("process {}: {error}", self.child.id());
        }
    }
}

/// The CPU time of all threads so far, in microseconds.
pub fn cpu_us(pid: u32) -> Result<f64, Failure> {
    // The sum of user and system time in both, but one has it in nanoseconds and the other in steps of 10 ms.
    threads_us(pid).or_else(|_| ticks_us(pid))
}

/// An error where the kernel does not count so, or a thread ends meanwhile.
fn threads_us(pid: u32) -> Result<f64, Failure> {
    let mut sum = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += schedstat.split(' ').next().ok_or("no time")?.parse::<f64>()? / 1e3;
    }
    Ok(sum)
}

fn ticks_us(pid: u32) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th after it (proc(5)).
    let (_, after_name) = stat.rsplit_once(") ").ok_or("no name in stat")?;
    let mut ticks = after_name.split(' ').skip(11).map(str::parse::<f64>);
    let (user, system) = (ticks.next().ok_or("no utime")??, ticks.next().ok_or("no stime")??);
    Ok((user + system) * 1e6 / rustix::param::clock_ticks_per_second() as f64)
}

/// In bytes, exactly as the page tables have it.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// RSS.
    pub resident: u64,
    /// PSS: a page that several processes share counts for each in part.
    pub proportional: u64,
}

pub fn memory(pid: u32) -> Result<Memory, Failure> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let bytes = |name: &str| -> Result<u64, Failure> {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no {name}"))?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    };
    Ok(Memory { resident: bytes("Rss:")?, proportional: bytes("Pss:")? })
}

/// How many files it has open.
pub fn open_files(pid: u32) -> Result<usize, Failure> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_counts_of_cpu_time_agree() {
        // A process of one thread: here, threads of other tests end, and take their share of one count along.
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh");
        let (pid, start) = (child.id(), Instant::now());
        while ticks_us(pid).expect("stat") < 100_000.0 {
            assert!(start.elapsed() < Duration::from_secs(30), "computing takes no time");
        }
        let [before, exact, after] = [ticks_us, threads_us, ticks_us].map(|count| count(pid).expect("a count"));
        child.kill().and_then(|()| child.wait()).expect("it ends");
        // Ticks are rounded down, and the schedule's count may be a tick of the kernel old.
        assert!(before - 20e3 <= exact && exact <= after + 20e3, "{before} {exact} {after}");
    }

    #[test]
    fn this_process_uses_memory_and_files() {
        let pid = std::process::id();
        let memory = memory(pid).expect("rollup");
        assert!(memory.proportional > 100_000 && memory.resident >= memory.proportional, "{memory:?}");
        let before = open_files(pid).expect("fd");
        let _held = [(); 100].map(|()| fs::File::open("/proc/self/stat"));
        assert!(open_files(pid).expect("fd") >= before + 90, "other tests close some");
    }
}
