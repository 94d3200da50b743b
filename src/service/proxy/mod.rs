//! Requests that are passed on to other servers, the upstreams (RFC 9110 §3.7 calls such a server a gateway).

pub mod balance;
pub mod budget;
pub mod group;
pub mod health;
pub mod message;
pub mod metrics;
pub mod path;
pub mod queue;
pub mod retry;
pub mod route;
