//! What the admin listener of the real binary tells.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod accept_queues;
mod ask;
#[path = "../browser_driver/mod.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod browser_driver;
mod connections;
#[path = "../sim/h2/frames.rs"]
#[allow(dead_code, reason = "shared with the simulator")]
mod frames;
mod health;
mod http2;
#[path = "../http2_client/mod.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod http2_client;
mod listener_role;
mod metrics;
mod metrics_page;
mod now;
mod page;
mod reload;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod support;
mod turn;
mod upstreams;

use serde_json::Value;
use support::{Client, Server};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

/// A server whose admin listener is open, with further arguments.
fn server(arguments: &[&str]) -> Server {
    Server::start(&[&ADMIN[..], arguments].concat())
}

/// The response of the admin listener.
fn ask(server: &Server, target: &str) -> (String, String) {
    let mut client = Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    client.read_response()
}

fn ask_json(server: &Server, target: &str) -> Value {
    let (head, content) = ask(server, target);
    assert_eq!(support::field(&head, "Content-Type"), Some("application/json"), "{head}");
    serde_json::from_str(&content).unwrap_or_else(|error| panic!("{error}: {content}"))
}
