//! Any bytes, split anywhere, over a link and limits of any kind: one whole connection, from accept to close, over the
//! simulated reactor. No panic, no spin, and the connection ends; see `tests/sim/one_connection.rs`.
//!
//! Memory is bounded by rings and limits of a few KiB here: run it with `-malloc_limit_mb=4`.

#![no_main]

#[allow(dead_code, reason = "the simulator uses more of it")]
#[path = "../../sim/answer.rs"]
mod answer;
#[allow(dead_code, reason = "the simulator uses more of it")]
#[path = "../../sim/client.rs"]
mod client;
#[allow(dead_code, reason = "the simulator uses more of it")]
#[path = "../../sim/dice.rs"]
mod dice;
#[allow(dead_code, reason = "the simulator uses more of it")]
#[path = "../../sim/link.rs"]
mod link;
#[path = "../../sim/one_connection.rs"]
mod one_connection;
#[path = "../../sim/reactor.rs"]
mod reactor;
#[allow(dead_code, reason = "the simulator uses more of it")]
#[path = "../../sim/secured.rs"]
mod secured;
#[allow(dead_code, reason = "the simulator uses more of it")]
#[path = "../../sim/service.rs"]
mod service;
#[allow(dead_code, reason = "the simulator uses more of it")]
#[path = "../../sim/timeline.rs"]
mod timeline;
#[path = "../../tls_client/mod.rs"]
mod tls_client;
#[allow(dead_code, reason = "the simulator uses more of it")]
#[path = "../../sim/upstream/mod.rs"]
mod upstream;
#[allow(dead_code, reason = "the simulator uses more of it")]
#[path = "../../sim/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| assert_eq!(one_connection::play(input), Ok(())));
