//! The HTTP/2 session, driven without a socket.

mod corpus;
#[path = "../corpus_text/mod.rs"]
mod corpus_text;
mod driver;
mod properties;
