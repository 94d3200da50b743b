//! The real binary on real sockets, driven by clients that are as rude as the network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod backpressure;
mod descriptors;
mod files;
mod http1;
mod lab;
mod listeners;
mod logging;
mod report;
mod shutdown;
#[allow(dead_code, reason = "other tests need more of it")]
mod support;
mod syscalls;
mod timeouts;
mod torture;
