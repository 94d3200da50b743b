//! What a route asks of a request before it is answered.

pub mod addresses;
pub mod client;
pub mod credentials;
mod expiries;
pub mod lines;
pub mod rate_limit;
pub mod rule;
pub mod secret;
pub mod tokens;
pub mod users;
