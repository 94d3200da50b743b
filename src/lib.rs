//! tidemill: the HTTP server you can see through.

#![forbid(unsafe_code)]

/// Unit tests share modules with those in `tests`, which know this crate by its name.
#[cfg(test)]
extern crate self as tidemill;

pub mod base;
pub mod connection;
pub mod event_loop;
pub mod http;
pub mod net;
pub mod observe;
pub mod process;
pub mod protocol;
pub mod service;
