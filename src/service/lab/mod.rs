//! The lab: endpoints to look at, to learn from and to load. One file for each group of them.

mod plain;

use super::router::Router;

/// The demo page and every lab endpoint.
pub fn service() -> Router {
    Router::new()
        .get("/", plain::demo)
        .get("/plaintext", plain::plaintext)
        .get("/json", plain::json)
        .get("/health", plain::health)
        .get("/error", plain::error)
}
