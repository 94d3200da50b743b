//! The client side of HTTP/1, driven without a socket.

mod corpus;
#[path = "../corpus_text/mod.rs"]
mod corpus_text;
mod driver;
#[path = "../h1_broken/mod.rs"]
mod h1_broken;
#[path = "../h1_case/mod.rs"]
mod h1_case;
#[allow(dead_code, reason = "the tests of the server use more of it")]
#[path = "../h1_driver/mod.rs"]
mod h1_driver;
#[allow(dead_code, reason = "the tests of the server use more of it")]
#[path = "../h1_naive/mod.rs"]
mod h1_naive;
mod naive;
mod properties;
mod requests;
