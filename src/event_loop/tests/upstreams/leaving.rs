//! Clients that end their direction while an upstream works for them.

use super::*;

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Those who have a route or a server abort.
fn aborting() -> [Scene; 2] {
    let limits = Limits { abort_on_close: true, ..Limits::default() };
    [Scene::with(|route| route.aborts_on_close = true), Scene::with_limits(limits, |_| ())]
}

#[test]
fn a_client_that_has_said_all_gets_its_response() {
    let mut scene = Scene::new();
    let client = scene.client(&get("/"));
    let upstream = scene.upstream();
    scene.end(&client);
    scene.pass(1000);
    scene.send(&upstream, &format!("{EVENTS}1\r\na\r\n"));
    scene.pass(50_000);
    scene.send(&upstream, "1\r\nb\r\n0\r\n\r\n");
    assert!(client.received().ends_with("\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"));
    assert_eq!((client.calls().aborts, upstream.calls().aborts), (0, 0));
}

/// If it has closed, nothing tells that but an answer to what it is sent. If it is sent nothing, the response timeout ends it.
#[test]
fn a_silent_stream_of_a_client_that_may_have_left_ends_with_the_response_timeout() {
    let mut scene = Scene::new();
    let client = scene.client(&get("/"));
    let upstream = scene.upstream();
    scene.send(&upstream, EVENTS);
    scene.end(&client);
    scene.pass(59_900);
    assert!(!upstream.is_closed() && !client.is_closed());
    scene.pass(200);
    assert!(upstream.is_closed() && client.is_closed());
    assert_eq!((client.calls().aborts, upstream.calls().aborts), (1, 1));
}

#[test]
fn a_request_whose_client_has_left_ends_before_its_response() {
    for mut scene in aborting() {
        let client = scene.client(&get("/"));
        let upstream = scene.upstream();
        scene.end(&client);
        assert!(upstream.is_closed() && upstream.calls().aborts == 1);
        assert_eq!((client.received().as_str(), client.is_closed()), ("", true));
    }
}

#[test]
fn a_stream_whose_client_has_left_ends_at_once() {
    for mut scene in aborting() {
        let client = scene.client(&get("/"));
        let upstream = scene.upstream();
        scene.send(&upstream, &format!("{EVENTS}1\r\na\r\n"));
        assert!(client.received().ends_with("\r\n\r\n1\r\na\r\n"));
        scene.end(&client);
        assert!(upstream.is_closed() && upstream.calls().aborts == 1);
        assert!(client.is_closed() && client.calls().aborts == 1, "a part must not look like the whole");
        assert_eq!(client.received(), "");
    }
}

/// It may have asked for it, ended its direction, and read slowly.
#[test]
fn a_response_that_has_come_is_sent_to_the_end_whoever_has_left() {
    for mut scene in aborting() {
        let client = scene.client(&get("/"));
        let upstream = scene.upstream();
        client.limit_room(0);
        let content = "x".repeat(20_000);
        scene.send(&upstream, &format!("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{content}"));
        scene.end(&client);
        scene.reactor().make_room(&client, 1_000_000);
        scene.settle();
        assert!(client.received().ends_with(&content));
    }
}

#[test]
fn each_direction_of_another_protocol_ends_by_itself() {
    for mut scene in aborting() {
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n";
        let client = scene.client(upgrade);
        let upstream = scene.upstream();
        scene.send(&upstream, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
        scene.send(&client, "question");
        scene.end(&client);
        assert!(upstream.received().ends_with("question"));
        assert_eq!(upstream.calls().shutdowns, 1);
        scene.send(&upstream, "answer");
        scene.end(&upstream);
        assert!(client.received().ends_with("answer"));
        assert_eq!((client.calls().aborts, upstream.calls().aborts), (0, 0));
    }
}

/// The connection is refused in the turn in which the content comes, and others wait for the address. That the request is
/// complete must be known by then: a client that may have more to send has not left.
#[test]
fn a_request_that_waits_again_behind_its_content_ends_with_its_client() {
    let limits = Limits { abort_on_close: true, ..Limits::default() };
    let mut scene = Scene::with_limits(limits, |route| route.connections_max = Some(1));
    let first = scene.client("POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let second = scene.client(&get("/second"));
    let refused = scene.begun();
    scene.reactor().fail(&refused, ErrorKind::ConnectionRefused);
    scene.send(&first, "4\r\nabcd\r\n0\r\n\r\n");
    let upstream = scene.upstream();
    assert!(upstream.received().starts_with("GET /second HTTP/1.1\r\n"));
    scene.end(&first);
    assert!(first.is_closed());
    scene.send(&upstream, OK);
    assert_eq!((second.statuses(), upstream.received().as_str()), (vec![200], ""));
}

impl Scene {
    /// A conversation whose client has said the last, and left, while the upstream took no more than a part of it. `first`: the
    /// upstream has ended its direction before the client, and not behind it.
    fn with_last_words(first: bool) -> (Scene, Client, Client) {
        let mut scene = Scene::with(|route| route.connections_max = Some(1));
        let client = scene.client("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
        let upstream = scene.upstream();
        scene.send(&upstream, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
        upstream.received();
        upstream.limit_room(4);
        if first {
            scene.end(&upstream);
        }
        scene.send(&client, "last words");
        scene.end(&client);
        if !first {
            scene.end(&upstream);
        }
        assert!(client.is_closed() && !upstream.is_closed());
        assert_eq!(upstream.received(), "last");
        (scene, client, upstream)
    }

    fn order_to_stop(&mut self) {
        self.reactor().events.push(Event::Signal(Signal::Terminate));
        self.settle();
    }
}

#[test]
fn the_last_words_of_a_client_that_has_left_are_delivered_before_the_loop_ends() {
    for first in [true, false] {
        let (mut scene, _client, upstream) = Scene::with_last_words(first);
        scene.order_to_stop();
        assert_eq!(scene.event_loop.outcome(), None);
        scene.reactor().make_room(&upstream, 100);
        scene.settle();
        assert_eq!(upstream.received(), " words");
        let calls = upstream.calls();
        assert_eq!((calls.shutdowns, calls.aborts, upstream.is_closed()), (1, 0, true));
        assert_eq!(scene.event_loop.outcome(), Some(Outcome::Clean));
    }
}

/// A part of them must not look like all.
#[test]
fn last_words_that_nobody_takes_are_cut_with_a_reset_at_the_drain_deadline() {
    let (mut scene, _client, upstream) = Scene::with_last_words(true);
    scene.order_to_stop();
    let drain_ms = Limits::default().drain_timeout.as_millis() as u64;
    scene.pass(drain_ms - 100);
    assert_eq!(scene.event_loop.outcome(), None);
    scene.reactor().clock.pass(Duration::from_millis(200));
    scene.turn();
    assert_eq!(scene.event_loop.outcome(), Some(Outcome::Cut(1)));
    let calls = upstream.calls();
    assert_eq!((calls.shutdowns, calls.aborts), (0, 1));
}

/// The upstream has ended its own direction, and waits for what comes.
#[test]
fn a_conversation_that_its_client_breaks_off_ends_at_once_for_an_upstream_that_has_said_all() {
    let mut scene = Scene::new();
    let client = scene.client("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
    let upstream = scene.upstream();
    scene.send(&upstream, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
    scene.end(&upstream);
    assert!(!client.is_closed() && !upstream.is_closed());
    scene.reactor().reset(&client);
    scene.settle();
    assert!(client.is_closed() && upstream.is_closed());
    let calls = upstream.calls();
    assert_eq!((calls.shutdowns, calls.aborts), (0, 1));
}

/// `max=` bounds the connections that an address has.
#[test]
fn an_address_is_busy_until_the_last_words_of_a_client_are_delivered() {
    for first in [true, false] {
        let (mut scene, _client, upstream) = Scene::with_last_words(first);
        let active = |scene: &Scene| scene.counts(Proof::ConnectRefused).0;
        assert_eq!(active(&scene), 1);
        let next = scene.client(&get("/next"));
        assert!(!scene.begins_another());
        scene.reactor().make_room(&upstream, 100);
        scene.settle();
        assert!(upstream.is_closed());
        let another = scene.upstream();
        scene.send(&another, OK);
        assert_eq!((next.statuses(), active(&scene)), (vec![200], 0));
    }
}

/// More than rings, inbox and outbox hold: the rest is still in the kernel when the connection fails.
const UNREAD_BYTES: usize = 500_000;

/// It has said its last words and closed its socket. Its kernel resets the connection when the upstream says something, in that
/// turn or before.
#[test]
fn what_a_client_has_said_before_its_reset_arrives_at_an_upstream_that_reads_slowly() {
    for is_told_by_write in [true, false] {
        for (kind, expected) in [(ErrorKind::BrokenPipe, (1, 0)), (ErrorKind::ConnectionReset, (0, 1))] {
            let (mut scene, client, upstream) = tunnel(|_| ());
            upstream.limit_room(1000);
            scene.send(&client, &"x".repeat(UNREAD_BYTES));
            if kind == ErrorKind::BrokenPipe {
                client.end_silently();
            }
            if is_told_by_write {
                scene.reactor().send(&upstream, "what a closed socket refuses");
            }
            scene.fail(&client, kind);
            // What nobody hears does not keep it from reading.
            scene.send(&upstream, &"y".repeat(UNREAD_BYTES));
            assert!(!client.is_closed() && !upstream.is_closed() && upstream.unread() == 0);
            scene.reactor().make_room(&upstream, 1_000_000);
            scene.settle();
            assert_eq!(upstream.received().len(), UNREAD_BYTES, "{kind}");
            let calls = upstream.calls();
            assert!(client.is_closed());
            assert_eq!((calls.shutdowns.min(1), calls.aborts), expected, "{kind}");
        }
    }
}

/// All of it is in the ring and in the outbox when the client breaks off: nothing more is read of it.
#[test]
fn what_has_been_read_of_a_client_that_breaks_off_arrives_before_the_reset() {
    let (mut scene, client, upstream) = tunnel(|route| route.connections_max = Some(1));
    upstream.limit_room(4);
    scene.send(&client, "last words");
    scene.reactor().reset(&client);
    scene.settle();
    assert!(client.is_closed() && !upstream.is_closed());
    let next = scene.client(&get("/next"));
    assert!(!scene.begins_another(), "the address is busy until then");
    scene.reactor().make_room(&upstream, 100);
    scene.settle();
    assert_eq!(upstream.received(), "last words");
    let calls = upstream.calls();
    assert_eq!((calls.shutdowns, calls.aborts, upstream.is_closed()), (0, 1, true));
    let another = scene.upstream();
    scene.send(&another, OK);
    assert_eq!(next.statuses(), [200]);
}

#[test]
fn last_words_that_an_upstream_never_takes_are_given_up() {
    for ends in [true, false] {
        let (mut scene, client, upstream) = tunnel(|route| route.tunnel_timeout = Duration::from_secs(10));
        upstream.limit_room(1000);
        scene.send(&client, &"x".repeat(UNREAD_BYTES));
        scene.fail(&client, if ends { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset });
        for _ in 0..9 {
            scene.pass(1000);
        }
        assert!(!upstream.is_closed());
        scene.pass(1100);
        assert!(client.is_closed() && upstream.is_closed());
        assert_eq!(upstream.calls().aborts, 1);
    }
}
