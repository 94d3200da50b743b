//! The lab: endpoints to look at, to learn from and to load. One file for each group of them.

mod arguments;
mod delay;
mod echo;
#[cfg(test)]
pub(crate) mod harness;
mod ndjson;
mod pattern;
mod plain;
mod reflect;
#[cfg(test)]
mod tests;
mod ticks;
mod users;

use super::router::Router;
use crate::http::method::Method;

/// The demo page and every lab endpoint.
pub fn service() -> Router {
    endpoints().get("/", plain::demo)
}

/// The lab endpoints without the demo page, to stand next to something else.
pub fn endpoints() -> Router {
    Router::new()
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
        .post("/ndjson", ndjson::ndjson)
}
