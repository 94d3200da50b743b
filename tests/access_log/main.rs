//! The access log of the real binary: its lines against what the client counted, and against strace and tcpdump.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod agreement;
#[path = "../sim/h2/frames.rs"]
#[allow(dead_code, reason = "shared with the simulator")]
mod frames;
#[path = "../http2_client/mod.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod http2_client;
mod lines;
mod logged;
mod offsets;
mod places;
mod pressure;
mod streams;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod support;
mod timers;
mod verdicts;
