//! What the real binary costs in system calls: the table of docs/syscalls.md against strace, and the server's own
//! counters against both.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod agreement;
mod large;
mod scenarios;
mod table;
mod trace;
mod traced;

#[path = "../websocket/client.rs"]
#[allow(dead_code, reason = "shared with the tests of WebSockets")]
mod client;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod support;
