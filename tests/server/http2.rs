//! HTTP/2 on real sockets: attacks, and what the driver owes to clients.

pub mod client;
#[path = "../corpus_text/mod.rs"]
#[allow(dead_code, reason = "the corpora need more of it")]
mod corpus_text;
mod floods;
mod heads;
mod held;
mod rules;
#[path = "../h2/driver/script.rs"]
#[allow(dead_code, reason = "a client does not act as the server")]
mod script;
#[path = "../h2/driver/sent.rs"]
mod sent;
mod siege;
mod stalls;
