//! Upstreams that are held up by clients, for longer than they themselves may take.

use super::super::http2::bytes;
use super::*;
use crate::protocol::ws::handshake::accept_of;

/// More than a client's outbox and a ring hold, so that the rest is in the inbox, and does not fill it.
const HELD_UP_BYTES: usize = 64 * 1024 + RING_BYTES + 5000;

/// The upstream's time begins when it has something to do.
#[test]
fn a_pause_of_the_client_is_not_the_upstreams() {
    let mut scene = Scene::with(|route| route.response_timeout = Duration::from_secs(10));
    let client = scene.client(&post("/", 4));
    let upstream = scene.upstream();
    scene.pass(15_000);
    scene.send(&client, "abcd");
    assert!(upstream.received().ends_with("\r\n\r\nabcd"));
    client.limit_room(1000);
    let content = "x".repeat(1_000_000);
    scene.send(&upstream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", content.len()));
    scene.pass(15_000);
    scene.reactor().make_room(&client, 1_000_000);
    scene.settle();
    assert!(client.received().ends_with(&content));
}

/// The upstream has said all, and there is room in the inbox: nothing more can come.
#[test]
fn the_end_of_a_response_waits_for_a_client_that_does_not_read() {
    let mut scene = Scene::with(|route| route.response_timeout = Duration::from_secs(10));
    let client = scene.client(&get("/"));
    client.limit_room(1000);
    let upstream = scene.upstream();
    let content = "x".repeat(HELD_UP_BYTES);
    scene.send(&upstream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {HELD_UP_BYTES}\r\n\r\n{content}"));
    assert_eq!(scene.interest(&upstream), Interest::READ);
    scene.pass(15_000);
    scene.reactor().make_room(&client, 1_000_000);
    scene.settle();
    assert!(client.received().ends_with(&content));
}

/// A part of it would look like the whole.
#[test]
fn a_tunnel_does_not_end_in_order_before_its_client_has_read_what_there_is() {
    let (mut scene, client, upstream) = tunnel(|route| route.tunnel_timeout = Duration::from_secs(10));
    client.limit_room(1000);
    scene.send(&upstream, &"x".repeat(HELD_UP_BYTES));
    scene.pass(15_000);
    assert!(!client.is_closed() && !upstream.is_closed());
    scene.reactor().make_room(&client, 1_000_000);
    scene.settle();
    assert_eq!(client.received().len(), HELD_UP_BYTES);
    scene.pass(9_900);
    assert!(!client.is_closed() && !upstream.is_closed());
    scene.pass(200);
    let calls = client.calls();
    assert_eq!((calls.shutdowns, calls.aborts), (1, 0));
    assert!(upstream.is_closed() && upstream.calls().aborts == 0);
}

/// The same holds if all of it fits into the client's outbox.
#[test]
fn a_tunnel_is_not_silent_before_its_client_has_been_sent_what_there_is() {
    let (mut scene, client, upstream) = tunnel(|route| route.tunnel_timeout = Duration::from_secs(10));
    client.limit_room(4);
    scene.send(&upstream, "last words");
    for _ in 0..15 {
        scene.pass(1000);
    }
    assert!(!client.is_closed() && !upstream.is_closed());
    scene.reactor().make_room(&client, 100);
    scene.settle();
    assert_eq!(client.received(), "last words");
    scene.pass(9_900);
    assert!(!client.is_closed() && !upstream.is_closed());
    scene.pass(200);
    let calls = client.calls();
    assert_eq!((calls.shutdowns, calls.aborts), (1, 0));
    assert!(upstream.is_closed() && upstream.calls().aborts == 0);
}

/// In HTTP/2 the head of the response counts, too: without it the client may not speak.
#[test]
fn a_tunnel_of_http2_is_not_silent_before_its_client_has_been_sent_its_head() {
    const CONNECT: &str = "HEADERS 1 :method: CONNECT | :protocol: websocket | :scheme: http | :authority: a | :path: / | \
                           sec-websocket-version: 13";
    let mut scene = Scene::with(|route| route.tunnel_timeout = Duration::from_secs(10));
    let client = scene.client("");
    scene.reactor().send_bytes(&client, bytes(&format!("preface\nSETTINGS ack\n{CONNECT}")));
    scene.settle();
    client.limit_room(0);
    let upstream = scene.upstream();
    let asked = upstream.received();
    let key = asked.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("it asks for a WebSocket");
    let accept = accept_of(key.as_bytes());
    scene.send(&upstream, &SWITCHED.replace("chat", &format!("websocket\r\nSec-WebSocket-Accept: {accept}")));
    for _ in 0..15 {
        scene.pass(1000);
    }
    assert!(!client.is_closed() && !upstream.is_closed());
    scene.reactor().make_room(&client, 1000);
    scene.settle();
    scene.pass(9_900);
    assert!(!upstream.is_closed());
    scene.pass(200);
    assert!(upstream.is_closed() && upstream.calls().aborts == 0);
}

/// The client's own deadline ends it, with a reset.
#[test]
fn a_tunnel_whose_client_never_reads_is_cut() {
    let (mut scene, client, upstream) = tunnel(|route| route.tunnel_timeout = Duration::from_secs(10));
    client.limit_room(1000);
    scene.send(&upstream, &"x".repeat(HELD_UP_BYTES));
    let send_ms = Limits::default().send_timeout.as_millis() as u64;
    for _ in 0..send_ms / 1000 + 2 {
        scene.pass(1000);
    }
    assert!(client.is_closed() && upstream.is_closed());
    assert_eq!([&client, &upstream].map(|peer| peer.calls().aborts), [1, 1]);
}

/// All that the upstream has said is in the ring, and there is room for more.
#[test]
fn a_tunnel_is_not_silent_before_its_client_has_taken_what_there_is() {
    let (mut scene, client, upstream) = tunnel(|route| route.tunnel_timeout = Duration::from_secs(10));
    client.limit_room(1000);
    let bytes = HELD_UP_BYTES - RING_BYTES;
    scene.send(&upstream, &"x".repeat(bytes));
    scene.end(&upstream);
    scene.pass(15_000);
    scene.reactor().make_room(&client, 1_000_000);
    scene.settle();
    assert_eq!(client.received().len(), bytes);
    scene.pass(9_900);
    scene.send(&client, "words");
    assert_eq!(upstream.received(), "words");
    scene.pass(10_100);
    assert!(upstream.is_closed() && upstream.calls().aborts == 0);
}

/// More than rings, inbox and outbox hold: the rest is still in the kernel when the connection fails.
const UNREAD_BYTES: usize = 500_000;

/// The FIN came first: nothing of what the upstream has sent is missing.
#[test]
fn what_an_upstream_has_said_arrives_although_it_has_closed_its_socket() {
    let (mut scene, client, upstream) = tunnel(|_| ());
    client.limit_room(1000);
    upstream.send_silently(&"x".repeat(UNREAD_BYTES));
    scene.end(&upstream);
    scene.send(&client, "what a closed socket refuses");
    scene.fail(&upstream, ErrorKind::BrokenPipe);
    scene.send(&client, "and more of it");
    scene.reactor().make_room(&client, 1_000_000);
    scene.settle();
    assert_eq!(client.received().len(), UNREAD_BYTES);
    let calls = client.calls();
    assert_eq!((calls.shutdowns, calls.aborts), (1, 0), "it has ended in order");
    assert!(upstream.is_closed());
}

#[test]
fn what_an_upstream_has_said_before_its_reset_arrives_before_ours() {
    let (mut scene, client, upstream) = tunnel(|_| ());
    client.limit_room(1000);
    scene.send(&upstream, &"x".repeat(UNREAD_BYTES));
    scene.reactor().reset(&upstream);
    scene.settle();
    scene.end(&client);
    scene.reactor().make_room(&client, 1_000_000);
    scene.settle();
    assert_eq!((client.received().len(), client.calls().aborts), (UNREAD_BYTES, 1));
}

/// An upstream that answers early and closes its socket, of which our kernel has the whole response.
#[test]
fn a_response_that_waits_for_its_client_survives_the_reset_behind_it() {
    let of_length = format!("HTTP/1.1 413 Content Too Large\r\nContent-Length: {UNREAD_BYTES}\r\n\r\n");
    let until_close = "HTTP/1.1 413 Content Too Large\r\n\r\n";
    for (head, kind, is_whole) in [
        (&*of_length, ErrorKind::ConnectionReset, true),
        (&*of_length, ErrorKind::BrokenPipe, true),
        (until_close, ErrorKind::BrokenPipe, true),
        // The end of the content may be missing.
        (until_close, ErrorKind::ConnectionReset, false),
    ] {
        let mut scene = Scene::new();
        let client = scene.client(&post("/", 1_000_000));
        let upstream = scene.upstream();
        client.limit_room(1000);
        upstream.send_silently(head);
        scene.send(&upstream, &"x".repeat(UNREAD_BYTES));
        scene.fail(&upstream, kind);
        scene.reactor().make_room(&client, 1_000_000);
        scene.settle();
        let received = client.received();
        assert!(received.matches('x').count() >= UNREAD_BYTES, "{kind}: {}", received.len());
        assert_eq!(client.calls().aborts == 0, is_whole, "{head} {kind}");
    }
}
