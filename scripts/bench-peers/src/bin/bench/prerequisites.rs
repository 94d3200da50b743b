//! What is measured with and next to: installed if that is possible, and named with its version.

use crate::arguments::{Arguments, Workload};
use crate::server::{Server, find_program};
use crate::{Bench, Failure, ws};
use std::fs;
use std::process::Command;

/// Versions of what is built here.
const LOCK_FILE: &str = include_str!("../../../../../Cargo.lock");

/// Installs with apt, as root, what is missing of what was asked for; says what stays away.
pub fn install(arguments: &Arguments) -> Result<(), Failure> {
    let is_h2 = |workload: &Workload| *workload == Workload::H2;
    if !arguments.workloads.iter().all(is_h2) {
        require("wrk", "wrk")?;
    }
    if arguments.workloads.iter().any(is_h2) {
        require("h2load", "nghttp2-client")?;
        // For the link.
        ensure("curl", "curl");
        ensure("python3", "python3-minimal");
    }
    for server in arguments.needed() {
        if let Some(package) = server.package() {
            ensure(&server.name(), package);
        }
    }
    if arguments.workloads.iter().any(|workload| matches!(workload, Workload::Tls | Workload::H2)) {
        ensure("openssl", "openssl");
    }
    if arguments.workloads.contains(&Workload::Ws) {
        ws::install();
    }
    Ok(())
}

/// What makes the load.
fn require(program: &str, package: &str) -> Result<(), Failure> {
    ensure(program, package);
    match find_program(program) {
        Some(_) => Ok(()),
        None => Err(format!("{program} makes the load, and is missing (apt install {package})").into()),
    }
}

fn ensure(program: &str, package: &str) {
    if find_program(program).is_none() && !(rustix::process::geteuid().is_root() && apt_install(package)) {
        eprintln!("missing: {program} (apt install {package}): it is left out");
    }
}

/// Without starting it as a service, which is what a package does otherwise.
fn apt_install(package: &str) -> bool {
    eprintln!("installing {package}");
    let run = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        apt.output().is_ok_and(|output| output.status.success())
    };
    run(&["update"]) && run(&["install", "-y", "--no-install-recommends", package])
}

/// Prints the machine, the versions, and how it is measured.
pub fn describe(bench: &Bench, network: &str) -> Result<(), Failure> {
    let (Arguments { rounds, seconds, .. }, servers) = (&bench.arguments, bench.arguments.needed());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    println!("{}, Linux {}; servers on core 0, load on core 1; {network}.", processor()?, kernel.trim());
    println!("{rounds} rounds of {seconds} s in turns, medians (least–greatest), ratios round by round.");
    let present = servers.iter().filter(|server| server.program(bench).is_some());
    let versions = present.map(|server| version(*server)).chain(loads(&bench.arguments));
    println!("{}.", versions.collect::<Vec<_>>().join(", "));
    for server in servers.iter().filter(|server| server.program(bench).is_none()) {
        println!("Missing, and left out: {}.", server.name());
    }
    println!();
    Ok(())
}

fn processor() -> Result<String, Failure> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    Ok(format!("{cores} cores of {}", model.trim_start_matches(['\t', ' ', ':'])))
}

fn version(server: Server) -> String {
    match server {
        Server::Floor => "floor".into(),
        Server::Tidemill => format!("tidemill {}", locked_version("tidemill")),
        Server::Hyper => format!("hyper {} on tokio {}", locked_version("hyper"), locked_version("tokio")),
        Server::May => format!("may_minihttp {}", locked_version("may_minihttp")),
        Server::Nginx | Server::Lighttpd => said(&server.name(), "-v", '/'),
        Server::H2o => said("h2o", "--version", ' '),
        Server::Node => said("node", "--version", 'v'),
        Server::Haproxy => said("haproxy", "-v", ' '),
        Server::Caddy => said("caddy", "version", 'v'),
        Server::Nghttpd => said("nghttpd", "--version", '/'),
    }
}

fn locked_version(package: &str) -> &'static str {
    let start = format!("name = \"{package}\"\nversion = \"");
    let version = LOCK_FILE.split_once(&start).and_then(|(_, rest)| rest.split_once('"'));
    version.map_or("unknown", |(version, _)| version)
}

/// The program's name, and its version: what comes after a sign in the first line it says, or the line if the sign is not there.
fn said(program: &str, flag: &str, sign: char) -> String {
    let output = Command::new(program).arg(flag).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().next().unwrap_or_default();
    let version = line.split_once(sign).map_or(line, |(_, rest)| rest).trim_start_matches("version ");
    format!("{program} {}", version.split_whitespace().next().unwrap_or("unknown"))
}

/// What makes the load, and its version.
fn loads(arguments: &Arguments) -> Vec<String> {
    let is_h2 = |workload: &Workload| *workload == Workload::H2;
    let mut loads = Vec::new();
    if !arguments.workloads.iter().all(is_h2) {
        loads.push(said("wrk", "-v", ' ').replace("debian/", ""));
    }
    if arguments.workloads.iter().any(is_h2) {
        loads.extend([said("h2load", "--version", '/'), said("curl", "--version", ' ')]);
    }
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        for package in ["tidemill", "hyper", "may_minihttp", "tokio"] {
            assert!(locked_version(package).starts_with(|first: char| first.is_ascii_digit()), "{package}");
        }
        assert_eq!(locked_version("no-such-package"), "unknown");
    }
}
