//! Requests that are passed on to an upstream, step by step.

mod holding_up;
mod leaving;
mod replacing;
mod waiting;

use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::Nobody;
use super::script::{Client, ScriptedReactor};
use super::stage::{get, post};
use crate::base::job_pool::JobPool;
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::wake::Wakes;
use crate::event_loop::{EventLoop, Outcome};
use crate::http::body::Failure;
use crate::http::exchange::{Cx, Reply};
use crate::http::forwarded::TrustedProxies;
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::net::{Event, Interest, Signal};
use crate::observe::upstream::Proof;
use crate::service::Service;
use crate::service::proxy::Proxy;
use crate::service::proxy::hub::Hub;
use crate::service::proxy::relay::RING_BYTES;
use crate::service::proxy::route::{Route, Routes, Upstream};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A loop that passes everything on to one upstream.
struct Scene {
    event_loop: EventLoop<ScriptedReactor, Passing>,
    hub: Rc<Hub>,
}

struct Passing(Proxy);

impl Service for Passing {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        let refused = || Reply::Respond(Response::new(Status::NOT_FOUND));
        Ok(self.0.call(request, cx).unwrap_or_else(refused))
    }
}

impl Scene {
    fn new() -> Scene {
        Scene::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Route)) -> Scene {
        Scene::with_limits(Limits::default(), change)
    }

    fn with_limits(limits: Limits, change: impl FnOnce(&mut Route)) -> Scene {
        Scene::bounded(usize::MAX, limits, change)
    }

    /// With so many connections to the upstream at most.
    fn bounded(connections_max: usize, limits: Limits, change: impl FnOnce(&mut Route)) -> Scene {
        let mut route = Route::new(None, String::new(), vec![Upstream::new(false, "10.9.0.1", Some(3000))]);
        change(&mut route);
        let routes: Routes = [route].into_iter().collect();
        let hub = Rc::new(Hub::new(connections_max));
        let targets = hub.replace(routes.iter(), Moment::default());
        let proxy = Passing(Proxy::new(routes, targets, Rc::clone(&hub), TrustedProxies::default()));
        let (reactor, wakes) = (ScriptedReactor::new(&[ListenerRole::Http]), Wakes::new(Nobody));
        let mut event_loop = EventLoop::new(reactor, proxy, limits, wakes, JobPool::without_threads());
        event_loop.reach_upstreams(Rc::clone(&hub), None, Arc::new(|_| Err("there are no names".to_owned())));
        Scene { event_loop, hub }
    }

    fn reactor(&mut self) -> &mut ScriptedReactor {
        self.event_loop.reactor()
    }

    fn turn(&mut self) -> Option<Duration> {
        self.event_loop.turn().unwrap();
        *self.reactor().polls.last().unwrap()
    }

    /// Turns until the loop has nothing to do at once: a turn without events, after which the next one would sleep, too.
    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..1000 {
            let sleeps = self.turn() != Some(Duration::ZERO);
            quiet = if sleeps && self.reactor().events.is_empty() { quiet + 1 } else { 0 };
            if quiet == 2 {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// So many milliseconds pass, and the loop does what is due.
    fn pass(&mut self, ms: u64) {
        self.reactor().clock.pass(Duration::from_millis(ms));
        self.settle();
    }

    /// A client that has sent this.
    fn client(&mut self, text: &str) -> Client {
        let client = self.event_loop.reactor().connect(0);
        self.settle();
        self.send(&client, text);
        client
    }

    fn send(&mut self, peer: &Client, text: &str) {
        self.reactor().send(peer, text);
        self.settle();
    }

    fn end(&mut self, peer: &Client) {
        self.reactor().end(peer);
        self.settle();
    }

    /// The other end of the connection to the upstream that has been begun, and is not there yet.
    fn begun(&mut self) -> Client {
        let (address, upstream) = self.reactor().take_begun().expect("a connection has been begun");
        assert_eq!(address.to_string(), "10.9.0.1:3000");
        upstream
    }

    /// The same, and now it is there.
    fn upstream(&mut self) -> Client {
        let upstream = self.begun();
        self.reactor().establish(&upstream);
        self.settle();
        upstream
    }

    fn fail(&mut self, upstream: &Client, kind: ErrorKind) {
        self.reactor().fail(upstream, kind);
        self.settle();
    }

    fn begins_another(&mut self) -> bool {
        self.reactor().take_begun().is_some()
    }

    /// A client whose request the upstream has answered, so that the connection to it is idle.
    fn with_idle_upstream(&mut self, response: &str) -> (Client, Client) {
        let client = self.client(&get("/"));
        let upstream = self.upstream();
        assert!(upstream.received().starts_with("GET / HTTP/1.1\r\n"));
        self.send(&upstream, response);
        assert_eq!(client.statuses(), [200]);
        assert_eq!(self.idle(), 1);
        (client, upstream)
    }

    /// How many connections to the upstream are idle.
    fn idle(&self) -> usize {
        self.hub.statuses(Moment::default())[0].idle
    }

    /// How many requests the upstream has, and how many were sent once more, by this proof.
    fn counts(&self, proof: Proof) -> (u32, u64) {
        let address = &self.hub.statuses(Moment::default())[0].addresses[0];
        let place = Proof::ALL.iter().position(|other| *other == proof).unwrap();
        (address.active, address.counters.retries[place])
    }

    /// What the kernel was asked to report about a connection last.
    fn interest(&mut self, peer: &Client) -> Interest {
        let token = peer.token().unwrap();
        self.reactor().arms.iter().rev().find(|(other, _)| *other == token).unwrap().1
    }
}

#[test]
fn a_refused_connection_is_tried_once_more_and_then_the_client_is_told() {
    let mut scene = Scene::new();
    let client = scene.client(&get("/"));
    for retries in [0, 1] {
        assert_eq!(scene.counts(Proof::ConnectRefused), (1, retries));
        let upstream = scene.begun();
        scene.fail(&upstream, ErrorKind::ConnectionRefused);
        assert!(upstream.is_closed());
    }
    assert!(!scene.begins_another());
    assert_eq!(scene.counts(Proof::ConnectRefused), (0, 1));
    let response = client.received();
    assert!(response.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{response}");
    for part in ["\"upstream\":\"10.9.0.1:3000\"", "\"phase\":\"connect\"", "\"why\":\"connection refused\""] {
        assert!(response.contains(part), "{part}: {response}");
    }
}

#[test]
fn a_connection_that_nobody_answers_is_given_up_after_three_seconds() {
    let mut scene = Scene::new();
    let client = scene.client(&get("/"));
    let upstream = scene.begun();
    scene.pass(2999);
    assert!(!upstream.is_closed());
    scene.pass(1);
    assert!(upstream.is_closed());
    assert!(!scene.begins_another(), "there is no other address");
    let response = client.received();
    assert!(response.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{response}");
    assert!(response.contains("\"phase\":\"connect\""), "{response}");
}

/// Such as that of IPv6, where the way to it is broken.
#[test]
fn an_address_that_nobody_answers_at_costs_one_request_three_seconds() {
    let mut scene = Scene::with(|route| route.upstreams.push(Upstream::new(false, "10.9.0.2", Some(3000))));
    let mut clients = vec![scene.client(&get("/"))];
    let (silent, _never) = scene.reactor().take_begun().unwrap();
    scene.pass(3000);
    for _ in 0..6 {
        let (other, upstream) = scene.reactor().take_begun().unwrap();
        assert_ne!(other, silent);
        scene.reactor().establish(&upstream);
        scene.send(&upstream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(clients.pop().unwrap().statuses(), [200]);
        clients.push(scene.client(&get("/")));
    }
    assert_eq!(
        scene.hub.statuses(Moment::default())[0].addresses.iter().map(|one| one.counters.ejections).sum::<u64>(),
        1
    );
}

#[test]
fn without_a_descriptor_the_client_is_asked_to_try_again() {
    let mut scene = Scene::new();
    scene.reactor().no_socket = Some(Errno::MFILE);
    let client = scene.client(&get("/"));
    let response = client.received();
    assert!(response.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{response}");
    assert!(response.contains("\r\nRetry-After: 1\r\n"), "{response}");
    assert_eq!(scene.counts(Proof::NothingWritten).0, 0);
}

#[test]
fn an_upstream_that_does_not_answer_is_given_up_after_the_response_timeout() {
    let mut scene = Scene::with(|route| route.response_timeout = Duration::from_secs(10));
    let client = scene.client(&get("/"));
    let upstream = scene.upstream();
    assert!(upstream.received().starts_with("GET / HTTP/1.1\r\n"));
    scene.pass(9999);
    assert!(!upstream.is_closed());
    scene.pass(1);
    assert!(upstream.is_closed());
    assert_eq!(client.statuses(), [504]);
    assert!(!scene.begins_another(), "it may still be at work");
}

#[test]
fn an_idle_connection_is_kept_for_four_seconds() {
    let mut scene = Scene::new();
    let (_, upstream) = scene.with_idle_upstream(OK);
    scene.pass(3999);
    assert!(!upstream.is_closed());
    scene.pass(1);
    assert!(upstream.is_closed());
    assert_eq!(scene.idle(), 0);
}

#[test]
fn an_idle_connection_is_closed_a_second_before_the_upstream_closes_it() {
    let mut scene = Scene::new();
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=3\r\n\r\nok";
    let (_, upstream) = scene.with_idle_upstream(response);
    scene.pass(1999);
    assert!(!upstream.is_closed());
    scene.pass(1);
    assert!(upstream.is_closed());
}

#[test]
fn an_idle_connection_serves_the_next_request() {
    let mut scene = Scene::new();
    let (client, upstream) = scene.with_idle_upstream(OK);
    scene.send(&client, &get("/next"));
    assert!(upstream.received().starts_with("GET /next HTTP/1.1\r\n"));
    assert!(!scene.begins_another());
    scene.send(&upstream, OK);
    assert_eq!(client.statuses(), [200]);
}

#[test]
fn a_connection_whose_upstream_has_ended_it_or_said_more_is_not_used_again() {
    for text in [None, Some("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")] {
        let mut scene = Scene::new();
        let (client, upstream) = scene.with_idle_upstream(OK);
        match text {
            None => scene.end(&upstream),
            Some(text) => scene.send(&upstream, text),
        }
        assert_eq!(scene.idle(), 0);
        scene.send(&client, &post("/next", 0));
        assert_eq!(upstream.received(), "");
        let other = scene.upstream();
        assert!(other.received().starts_with("POST /next HTTP/1.1\r\n"));
    }
}

/// The kernel has the upstream's end, or more bytes, and has not told of them yet.
#[test]
fn an_idle_connection_is_looked_at_before_anything_is_written() {
    for text in [None, Some("x")] {
        let mut scene = Scene::new();
        let (client, upstream) = scene.with_idle_upstream(OK);
        match text {
            None => upstream.end_silently(),
            Some(text) => upstream.send_silently(text),
        }
        // Not all requests are worth the look.
        scene.pass(200);
        scene.send(&client, &post("/next", 0));
        assert_eq!(upstream.received(), "");
        let other = scene.upstream();
        assert!(other.received().starts_with("POST /next HTTP/1.1\r\n"));
        assert_eq!(scene.counts(Proof::NothingWritten), (1, 1));
    }
}

#[test]
fn what_a_reused_connection_has_ended_without_a_byte_is_sent_once_more_if_it_is_idempotent() {
    let mut scene = Scene::new();
    let (client, upstream) = scene.with_idle_upstream(OK);
    scene.send(&client, &get("/next"));
    assert!(upstream.received().starts_with("GET /next HTTP/1.1\r\n"));
    scene.end(&upstream);
    let other = scene.upstream();
    assert!(other.received().starts_with("GET /next HTTP/1.1\r\n"));
    assert_eq!(scene.counts(Proof::ReusedEof), (1, 1));
    scene.end(&other);
    assert!(!scene.begins_another());
    assert_eq!(client.statuses(), [502]);

    let (client, upstream) = scene.with_idle_upstream(OK);
    scene.send(&client, &post("/next", 0));
    assert!(upstream.received().starts_with("POST /next HTTP/1.1\r\n"));
    scene.end(&upstream);
    assert!(!scene.begins_another());
    assert_eq!(client.statuses(), [502]);
}

#[test]
fn a_client_that_leaves_takes_its_upstream_along() {
    let mut scene = Scene::new();
    let client = scene.client(&get("/"));
    let upstream = scene.upstream();
    scene.reactor().reset(&client);
    scene.settle();
    assert!(upstream.is_closed());
    assert_eq!(scene.counts(Proof::ReusedEof).0, 0);
}

#[test]
fn a_slow_client_ends_the_reading_from_the_upstream() {
    let mut scene = Scene::new();
    let client = scene.client(&get("/"));
    let upstream = scene.upstream();
    client.limit_room(1000);
    let content = "x".repeat(1_000_000);
    scene.send(&upstream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", content.len()));
    let limits = Limits::default();
    let held = limits.inbox_bytes + limits.outbox_bytes + RING_BYTES + 1000;
    assert!(upstream.unread() >= content.len() - held, "{}", upstream.unread());
    assert_eq!(scene.interest(&upstream), Interest { read: false, write: false });
    let before = upstream.unread();
    scene.reactor().make_room(&client, 200_000);
    scene.settle();
    assert!(upstream.unread() <= before - 190_000);
    assert_eq!(scene.interest(&upstream), Interest { read: false, write: false });
    scene.reactor().make_room(&client, 1_000_000);
    scene.settle();
    assert!(client.received().ends_with(&content));
    assert_eq!(scene.interest(&upstream), Interest::READ);
}

#[test]
fn an_event_leaves_in_the_turn_in_which_it_came() {
    let mut scene = Scene::new();
    let client = scene.client(&get("/"));
    let upstream = scene.upstream();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    scene.send(&upstream, head);
    assert!(client.received().ends_with("\r\n\r\n"));
    for _ in 0..3 {
        scene.reactor().send(&upstream, "9\r\ndata: 1\n\n\r\n");
        scene.turn();
        assert_eq!(client.received(), "9\r\ndata: 1\n\n\r\n");
    }
}

/// RFC 896 with RFC 1122 §4.2.3.2: an upstream may hold its content back until the head is acknowledged.
#[test]
fn a_head_without_its_content_is_acknowledged_at_once() {
    let mut scene = Scene::new();
    let (head, content) = OK.split_at(OK.len() - 2);
    for (pieces, expected) in [
        (&[OK][..], 0),
        (&[head, content], 1),
        (&[head, "o", "k"], 1),
        (&[&head[..20], &head[20..], content], 1),
        (&["HTTP/1.1 204 No Content\r\n\r\n"], 0),
        (&["HTTP/1.1 103 Early Hints\r\n\r\n", OK], 0),
        (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "2\r\nok\r\n", "0\r\n\r\n"], 1),
    ] {
        let client = scene.client(&get("/"));
        let upstream = scene.upstream();
        pieces.iter().for_each(|piece| scene.send(&upstream, piece));
        assert_eq!(upstream.calls().acknowledgements, expected, "{pieces:?}");
        assert!(client.received().contains("HTTP/1.1 20"));
        scene.end(&upstream);
    }
    assert_eq!(scene.event_loop.context.counters.syscalls.option, 4);
}

#[test]
fn an_idle_upstream_does_not_hold_the_end_of_the_loop() {
    let mut scene = Scene::new();
    let (client, _) = scene.with_idle_upstream(OK);
    scene.end(&client);
    scene.reactor().events.push(Event::Signal(Signal::Terminate));
    scene.turn();
    assert_eq!(scene.event_loop.outcome(), Some(Outcome::Clean));
}

#[test]
fn a_request_that_an_upstream_has_is_finished_before_the_loop_ends() {
    let mut scene = Scene::new();
    let client = scene.client(&get("/"));
    let upstream = scene.upstream();
    scene.reactor().events.push(Event::Signal(Signal::Terminate));
    scene.pass(1000);
    assert_eq!(scene.event_loop.outcome(), None);
    scene.send(&upstream, OK);
    assert_eq!(client.statuses(), [200]);
    scene.end(&client);
    assert_eq!(scene.event_loop.outcome(), Some(Outcome::Clean));
}

/// What the client has sent meanwhile is in its inbox, and nothing else comes that would have it looked at.
#[test]
fn content_that_came_while_the_request_had_no_address_is_not_lost() {
    let mut scene = Scene::with(|route| route.connections_max = Some(1));
    let first = scene.client(&get("/"));
    let upstream = scene.upstream();
    let second = scene.client(&format!("{}abcd", post("/next", 4)));
    upstream.received();
    scene.send(&upstream, OK);
    assert_eq!(first.statuses(), [200]);
    let request = upstream.received();
    assert!(request.starts_with("POST /next HTTP/1.1\r\n") && request.ends_with("\r\n\r\nabcd"), "{request}");
    scene.send(&upstream, OK);
    assert_eq!(second.statuses(), [200]);
}

/// The connection is refused in the turn in which the content comes, and others wait for the address.
#[test]
fn the_end_of_content_that_came_while_the_request_had_no_address_is_not_lost() {
    let mut scene = Scene::with(|route| route.connections_max = Some(1));
    let first = scene.client("POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let second = scene.client(&get("/second"));
    let refused = scene.begun();
    scene.reactor().fail(&refused, ErrorKind::ConnectionRefused);
    scene.send(&first, "4\r\nabcd\r\n0\r\n\r\n");
    let upstream = scene.upstream();
    assert!(upstream.received().starts_with("GET /second HTTP/1.1\r\n"));
    scene.send(&upstream, OK);
    assert_eq!(second.statuses(), [200]);
    let request = upstream.received();
    assert!(request.starts_with("POST /first HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"), "{request}");
    scene.send(&upstream, OK);
    assert_eq!(first.statuses(), [200]);
}

#[test]
fn content_that_no_upstream_has_asked_for_is_not_asked_for_behind_its_answer() {
    let mut scene = Scene::new();
    let client = scene.client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    let upstream = scene.upstream();
    scene.send(&upstream, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    let response = client.received();
    assert!(response.starts_with("HTTP/1.1 413 Content Too Large\r\n"), "{response}");
    assert!(response.contains("\r\nConnection: close\r\n"), "{response}");
    assert!(upstream.is_closed());
}

#[test]
fn content_is_asked_for_when_the_upstream_asks_or_after_a_second() {
    for asks in [true, false] {
        let mut scene = Scene::new();
        let client = scene.client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
        let upstream = scene.upstream();
        upstream.received();
        match asks {
            true => scene.send(&upstream, "HTTP/1.1 100 Continue\r\n\r\n"),
            false => {
                scene.pass(999);
                assert_eq!(client.received(), "");
                scene.pass(1);
            }
        }
        assert_eq!(client.received(), "HTTP/1.1 100 Continue\r\n\r\n");
        scene.send(&client, "abcd");
        assert_eq!(upstream.received(), "abcd");
        scene.send(&upstream, OK);
        assert_eq!(client.statuses(), [200]);
        assert_eq!(scene.idle(), 1);
    }
}

/// Nobody waits for the connection, and it would count as none of those that there may be.
#[test]
fn what_an_upstream_has_not_taken_of_a_request_that_it_has_answered_is_not_waited_for() {
    let mut scene = Scene::new();
    let client = scene.client(&(post("/", 10_000) + &"x".repeat(10_000)));
    let upstream = scene.begun();
    upstream.limit_room(1000);
    scene.reactor().establish(&upstream);
    scene.settle();
    scene.send(&upstream, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.statuses(), [413]);
    assert!(upstream.is_closed());
    assert_eq!((upstream.calls().aborts, scene.idle()), (1, 0));
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";

/// A client and an upstream, and a tunnel between them.
fn tunnel(change: impl FnOnce(&mut Route)) -> (Scene, Client, Client) {
    let mut scene = Scene::with(change);
    let client = scene.client(UPGRADE);
    let upstream = scene.upstream();
    scene.send(&upstream, SWITCHED);
    assert!(client.received().starts_with("HTTP/1.1 101 "));
    upstream.received();
    (scene, client, upstream)
}

/// A FIN would tell the other side that it had everything.
#[test]
fn a_tunnel_that_the_end_of_the_loop_cuts_is_reset_at_both_ends() {
    let (mut scene, client, upstream) = tunnel(|_| ());
    scene.reactor().events.push(Event::Signal(Signal::Terminate));
    scene.turn();
    scene.reactor().clock.pass(Limits::default().drain_timeout);
    scene.turn();
    assert_eq!(scene.event_loop.outcome(), Some(Outcome::Cut(1)));
    assert_eq!((client.calls().aborts, upstream.calls().aborts), (1, 1));
}

/// The client that breaks off is the last one, so the loop ends in the same turn.
#[test]
fn a_tunnel_that_its_client_breaks_off_is_reset_at_the_upstream_although_the_loop_ends() {
    let (mut scene, client, upstream) = tunnel(|_| ());
    scene.reactor().events.push(Event::Signal(Signal::Terminate));
    scene.settle();
    assert_eq!(scene.event_loop.outcome(), None);
    scene.reactor().reset(&client);
    scene.settle();
    assert_eq!(scene.event_loop.outcome(), Some(Outcome::Clean));
    assert_eq!(upstream.calls().aborts, 1);
}
