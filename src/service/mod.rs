//! What answers: a [`Service`] gets the head of a request and replies with a response, or with an
//! [`Exchange`](crate::http::exchange::Exchange) when the answer depends on the content, on time or on another connection.
//! A service sees no socket and no framing. It sees the version of a request, and need not look at it.

pub mod access;
pub mod allowance;
pub mod coding;
pub mod cors;
pub mod errors;
pub mod event_stream;
pub mod explanation;
pub mod flights;
pub mod front;
pub mod gather;
pub mod https_redirect;
pub mod lab;
pub mod proxy;
pub mod router;
pub mod shares;
pub mod sites;
pub mod static_files;
pub mod status;
pub mod websocket;

use crate::http::body::Failure;
use crate::http::exchange::{Cx, Reply};
use crate::http::message::RequestHead;

/// Answers requests.
pub trait Service {
    /// Decides what becomes of this request. Must not block.
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure>;
}
