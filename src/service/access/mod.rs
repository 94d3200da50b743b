//! What a route asks of a request before it is answered.

pub mod addresses;
pub mod client;
mod expiries;
pub mod rate_limit;
pub mod rule;
