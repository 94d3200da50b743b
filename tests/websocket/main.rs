//! WebSockets of the real binary, with clients that keep the rules and clients that do not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod backpressure;
mod browser;
#[path = "../browser_driver/mod.rs"]
mod browser_driver;
mod chat;
mod client;
mod closing;
mod compression;
mod echo;
mod handshake;
mod liveness;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod support;
