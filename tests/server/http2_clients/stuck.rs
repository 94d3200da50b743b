//! A client that opens no window.

use super::client::Client;
use crate::support::Server;

/// All streams are late in the same moment, and the first of them ends the connection.
#[test]
fn a_connection_whose_streams_are_all_stuck_is_closed_and_nothing_else() {
    let server = Server::start(&["--http2-stall-timeout", "300ms"]);
    let mut builder = h2::client::Builder::new();
    let mut client = Client::with(&server.address, builder.initial_window_size(0));
    let unread = client.leave("/bytes/1000", 20);
    server.wait_for_log("the windows of all streams are shut for too long");
    assert!(server.log().contains("GOAWAY with 20 streams open"), "{}", server.log());
    drop(unread);
    let mut other = Client::connect(&server.address);
    assert_eq!(other.ask("GET", "/plaintext", &[], &[], usize::MAX).unwrap().content, b"Hello, World!");
}
