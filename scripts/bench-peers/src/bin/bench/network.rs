//! The network that servers and load share: a namespace of its own where root allows that.

use crate::Failure;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Set for the program once it runs inside.
const INSIDE: &str = "TIDEMILL_BENCH_NETWORK";

/// Runs this program anew in a network namespace of its own, or goes on where that is not possible. What needs the
/// world outside is done before, once.
pub fn enter(before: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    if is_own() {
        return Ok(());
    }
    before()?;
    let is_possible = Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]).output();
    if !is_possible.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let itself = std::env::current_exe()?;
    let arguments = std::env::args_os().skip(1);
    Err(Command::new("unshare").arg("--net").arg(itself).args(arguments).env(INSIDE, "own").exec().into())
}

/// Sets the namespace up; says which network it is and which congestion control it has.
///
/// bbr, where it is the default, paces bulk on loopback, and then it is the pacing that is measured. Ports for 60,000
/// connections are needed at once, and ones that wait (RFC 9293 §3.6.1) as well where every request has its own.
pub fn prepare() -> Result<String, Failure> {
    if is_own() {
        Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
        set("tcp_congestion_control", "reno")?;
        set("ip_local_port_range", "2048 65535")?;
        set("tcp_tw_reuse", "1")?;
    }
    let control = fs::read_to_string(path("tcp_congestion_control"))?;
    let network = if is_own() { "a network namespace of its own" } else { "the machine's own loopback" };
    Ok(format!("{} congestion control in {network}", control.trim()))
}

/// Whether this program has a namespace of its own.
pub fn is_own() -> bool {
    std::env::var_os(INSIDE).is_some()
}

fn set(name: &str, value: &str) -> Result<(), Failure> {
    fs::write(path(name), value).map_err(|error| format!("{name}: {error}").into())
}

fn path(name: &str) -> String {
    format!("/proc/sys/net/ipv4/{name}")
}

/// How many connections were accepted here so far, by whomever.
pub fn connections_accepted() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/net/snmp")?;
    let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (tcp.next().ok_or("no Tcp line")?, tcp.next().ok_or("no Tcp values")?);
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs.find(|(name, _)| *name == "PassiveOpens").ok_or("no PassiveOpens")?;
    Ok(value.parse()?)
}
