//! The real binary on real sockets, driven by clients that are as rude as the network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[cfg(feature = "tls")]
mod access;
mod backpressure;
#[cfg(feature = "tls")]
#[path = "../browser_driver/mod.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod browser_driver;
mod coding;
mod cors;
mod descriptors;
mod echo;
mod files;
#[path = "../sim/h2/frames.rs"]
#[allow(dead_code, reason = "shared with the simulator")]
mod frames;
mod http1;
mod http2;
#[path = "../http2_client/mod.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod http2_client;
mod http2_clients;
mod interim;
mod lab;
mod listeners;
#[path = "../access_log/logged.rs"]
#[allow(dead_code, reason = "the tests of the access log need more of it")]
mod logged;
mod logging;
mod methods;
mod proxies;
mod proxy;
mod proxy_coding;
mod proxy_routes;
mod races;
mod report;
mod segmentation;
mod shutdown;
mod single_file;
#[allow(dead_code, reason = "other tests need more of it")]
mod support;
mod syscalls;
#[cfg(target_os = "linux")]
mod systemd;
mod telling;
mod terms;
mod timed;
mod timeouts;
mod times;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
#[path = "../tls_client/mod.rs"]
mod tls_client;
mod torture;
