//! The event loop and its connections in simulated worlds; see `docs/simulator.md`.
//!
//! `TIDEMILL_SEED=n` replays one world with its timeline, `TIDEMILL_SEEDS=n` runs so many, from
//! `TIDEMILL_FIRST_SEED` on.

mod access_log;
mod answer;
mod client;
mod dice;
mod echo;
mod echo_kinds;
mod frames;
mod h2;
mod kinds;
mod link;
mod model;
mod one_connection;
#[cfg(feature = "_tls")]
mod one_secured;
mod proxied;
mod reactor;
mod request;
mod scenario;
mod secured;
mod service;
mod talks;
mod timeline;
mod timers;
#[path = "../tls_client/mod.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod tls_client;
mod tortured;
mod tunnel;
mod upstream;
mod websocket;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use scenario::Run;

/// Worlds in an ordinary test run.
const SEEDS: u64 = 256;
/// Worlds with upstreams in an ordinary test run.
const PROXY_SEEDS: u64 = 32;
/// Worlds of HTTP/2 in an ordinary test run: in each of them there is more to do.
const HTTP2_SEEDS: u64 = 96;
/// Worlds of TLS in an ordinary test run: each handshake takes a millisecond to compute.
#[cfg(feature = "_tls")]
const TLS_SEEDS: u64 = 48;
/// Lines of a timeline that are shown when a world fails.
const TAIL: usize = 60;

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{name}={value}: {error}")))
}

#[test]
fn every_world_comes_to_a_good_end() {
    all_come_to_a_good_end("every_world", SEEDS, scenario::run);
}

/// Whoever is made to wait without need, and is not told to go on, is a lost wake-up here and not only a slow test.
#[test]
fn tortured_worlds_come_to_a_good_end() {
    all_come_to_a_good_end("tortured_worlds", SEEDS, scenario::run_tortured);
}

#[test]
fn proxy_worlds_come_to_a_good_end() {
    all_come_to_a_good_end("proxy_worlds", PROXY_SEEDS, scenario::run_proxy);
}

#[test]
fn tortured_proxy_worlds_come_to_a_good_end() {
    all_come_to_a_good_end("tortured_proxy", PROXY_SEEDS, scenario::run_proxy_tortured);
}

#[test]
fn http2_worlds_come_to_a_good_end() {
    all_come_to_a_good_end("http2_worlds", HTTP2_SEEDS, scenario::run_http2);
}

#[test]
fn tortured_http2_worlds_come_to_a_good_end() {
    all_come_to_a_good_end("tortured_http2", HTTP2_SEEDS, scenario::run_http2_tortured);
}

#[cfg(feature = "_tls")]
#[test]
fn http2_tls_worlds_come_to_a_good_end() {
    all_come_to_a_good_end("http2_tls", TLS_SEEDS, scenario::run_http2_tls);
}

#[cfg(feature = "_tls")]
#[test]
fn tls_worlds_come_to_a_good_end() {
    all_come_to_a_good_end("tls_worlds", TLS_SEEDS, scenario::run_tls);
}

#[cfg(feature = "_tls")]
#[test]
fn tortured_tls_worlds_come_to_a_good_end() {
    all_come_to_a_good_end("tortured_tls", TLS_SEEDS, scenario::run_tls_tortured);
}

fn all_come_to_a_good_end(test: &str, seeds: u64, run: Run) {
    if let Some(seed) = variable("TIDEMILL_SEED") {
        return replay(seed, run);
    }
    let first = variable("TIDEMILL_FIRST_SEED").unwrap_or(0);
    let count = variable("TIDEMILL_SEEDS").unwrap_or(seeds);
    let began = Instant::now();
    let failed = run_all(first, count, test, run);
    println!("{count} worlds from seed {first} in {:.1?}, {} failed", began.elapsed(), failed.len());
    for seed in failed.iter().take(3) {
        explain(*seed, run);
    }
    assert!(failed.is_empty(), "worlds that failed: {failed:?}");
}

/// Runs worlds on all processors; says which failed.
fn run_all(first: u64, count: u64, test: &str, run: Run) -> Vec<u64> {
    let next = AtomicU64::new(first);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut failed: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(|| run_some(&next, first + count, test, run))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a world's panic is caught")).collect()
    });
    failed.sort_unstable();
    failed
}

fn run_some(next: &AtomicU64, end: u64, test: &str, run: Run) -> Vec<u64> {
    let mut failed = Vec::new();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return failed;
        }
        if let Some(failure) = run(seed, false).failure {
            println!("TIDEMILL_SEED={seed} cargo test --test sim {test} -- --nocapture   # {failure}");
            failed.push(seed);
        }
    }
}

/// Runs a world again, for its timeline.
fn explain(seed: u64, run: Run) {
    let report = run(seed, true);
    println!("\nseed {seed}, the last {TAIL} of its events:\n{}", report.timeline.tail(TAIL));
    println!("seed {seed}: {}", report.failure.unwrap_or_else(|| "did not fail again".to_owned()));
}

fn replay(seed: u64, run: Run) {
    let report = run(seed, true);
    println!("{}", report.timeline.tail(usize::MAX));
    println!("seed {seed}: {} turns, clients: {:?}", report.turns, report.kinds);
    if let Some(failure) = report.failure {
        panic!("TIDEMILL_SEED={seed}: {failure}");
    }
}

#[test]
fn a_seed_always_means_the_same_world() {
    let timelines: Vec<String> = (0..2).map(|_| scenario::run(11, true).timeline.tail(usize::MAX)).collect();
    assert!(timelines[0].len() > 1000, "something happened");
    assert!(timelines[0] == timelines[1], "twice the same");
}

#[test]
fn a_seed_always_means_the_same_world_with_upstreams() {
    let timelines: Vec<String> = (0..2).map(|_| scenario::run_proxy(11, true).timeline.tail(usize::MAX)).collect();
    assert!(timelines[0].len() > 1000, "something happened");
    assert!(timelines[0] == timelines[1], "twice the same");
}

#[test]
fn a_seed_always_means_the_same_world_of_http2() {
    let timelines: Vec<String> = (0..2).map(|_| scenario::run_http2(11, true).timeline.tail(usize::MAX)).collect();
    assert!(timelines[0].len() > 1000, "something happened");
    assert!(timelines[0] == timelines[1], "twice the same");
}

#[test]
fn every_kind_of_client_of_http2_is_met() {
    let mut kinds: Vec<&str> = (0..64).flat_map(|seed| scenario::run_http2(seed, false).kinds).collect();
    kinds.retain(|kind| kind.ends_with("HTTP/2"));
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 11, "{kinds:?}");
}

/// The ciphertext differs, and its length does not.
#[cfg(feature = "_tls")]
#[test]
fn a_seed_always_means_the_same_world_of_tls() {
    let turns = [0, 1].map(|_| (0..8).map(|seed| scenario::run_tls(seed, false).turns).collect::<Vec<_>>());
    assert!(turns[0].iter().sum::<u64>() > 1000 && turns[0] == turns[1], "{turns:?}");
}

#[test]
fn every_kind_of_client_is_met() {
    let mut kinds: Vec<&str> = (0..64).flat_map(|seed| scenario::run(seed, false).kinds).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 44, "{kinds:?}");
}
