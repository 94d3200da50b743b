//! A client of TLS whose bytes are changed, cut and doubled, with others before, between and behind them, over a link and
//! limits of any kind: one whole connection, from accept to close, over the simulated reactor. No panic, no spin, and the
//! connection ends; see `tests/sim/one_secured.rs`.

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
#[allow(dead_code, reason = "the simulator uses more of it")]
#[path = "../../sim/one_connection.rs"]
mod one_connection;
#[path = "../../sim/one_secured.rs"]
mod one_secured;
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

fuzz_target!(|input: &[u8]| assert_eq!(one_secured::play(input), Ok(())));
