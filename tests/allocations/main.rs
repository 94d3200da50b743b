//! What the server allocates, counted: nothing for a request, and little for a connection.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod hpack;
mod http2;
mod proxy;
mod requests;
mod slots;
mod upstreams;
