//! The lab: endpoints to look at, to learn from and to load. One file for each group of them.

mod arguments;
mod chat;
mod delay;
mod echo;
#[cfg(test)]
pub(crate) mod harness;
mod hints;
mod ndjson;
mod pattern;
mod plain;
mod reflect;
#[cfg(test)]
mod tests;
mod ticks;
mod trailers;
mod users;
mod ws_echo;

use super::router::{Params, Router};
use super::websocket::Policy;
use crate::http::body::Failure;
use crate::http::exchange::{Cx, Reply};
use crate::http::message::RequestHead;
use crate::http::method::Method;

/// The demo page and every lab endpoint.
pub fn service(policy: Policy) -> Router {
    endpoints(policy).get("/", plain::demo)
}

/// The lab endpoints without the demo page, to stand next to something else.
pub fn endpoints(policy: Policy) -> Router {
    let (chat, chat_policy) = (chat::Chat::new(), policy.clone());
    let ws_chat = move |request: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>| -> Result<Reply, Failure> {
        Ok(chat.open(request, &chat_policy, cx))
    };
    let ws_echo = move |request: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>| -> Result<Reply, Failure> {
        Ok(ws_echo::open(request, &policy, cx))
    };
    Router::new()
        .upgrade("/ws/echo", ws_echo)
        .upgrade("/ws/chat", ws_chat)
        .get("/plaintext", plain::plaintext)
        .get("/json", plain::json)
        .get("/health", plain::health)
        .get("/error", plain::error)
        .get("/users/{id}", users::show)
        .post("/users", users::receive)
        .post("/echo", echo::echo)
        // `curl -T` puts.
        .route(Method::Put, "/echo", echo::echo)
        .get("/sheep", ticks::sheep)
        .get("/sse", ticks::events)
        .get("/bytes/{n}", pattern::bytes)
        .get("/stream/{n}", pattern::stream)
        .get("/drip", pattern::drip)
        .get("/delay/{ms}", delay::delay)
        .get("/status/{code}", reflect::status)
        .get("/headers", reflect::headers)
        .get("/hints", hints::hints)
        .get("/trailers", trailers::trailers)
        .post("/ndjson", ndjson::ndjson)
}
