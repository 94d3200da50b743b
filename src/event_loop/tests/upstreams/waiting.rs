//! Requests that wait, because there are as many connections to upstreams as there may be.

use super::*;

fn bounded() -> Scene {
    Scene::bounded(1, Limits::default(), |_| ())
}

impl Scene {
    /// Requests that an upstream was given, that wait, and that got none.
    fn requests(&self) -> (u64, usize, u64) {
        let status = &self.hub.statuses(Moment::default())[0];
        (status.addresses[0].counters.requests, status.waiting, status.refused)
    }
}

#[test]
fn a_request_waits_for_a_connection_that_is_busy() {
    let mut scene = bounded();
    let first = scene.client(&get("/first"));
    let upstream = scene.upstream();
    let others = ["/second", "/third"].map(|path| scene.client(&get(path)));
    assert!(!scene.begins_another());
    assert_eq!(scene.requests(), (1, 2, 0));
    upstream.received();
    scene.send(&upstream, OK);
    assert_eq!(first.statuses(), [200]);
    for (client, path) in others.iter().zip(["/second", "/third"]) {
        assert!(upstream.received().starts_with(&format!("GET {path} ")), "first come, first served");
        scene.send(&upstream, OK);
        assert_eq!(client.statuses(), [200]);
    }
    assert!(!scene.begins_another());
    assert_eq!(scene.requests(), (3, 0, 0));
}

#[test]
fn a_request_that_waits_gets_a_connection_when_another_one_has_ended() {
    let mut scene = bounded();
    let first = scene.client(&get("/first"));
    let upstream = scene.upstream();
    let second = scene.client(&get("/second"));
    scene.send(&upstream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    assert!(first.statuses() == [200] && upstream.is_closed());
    let next = scene.upstream();
    assert!(next.received().starts_with("GET /second "));
    scene.send(&next, OK);
    assert_eq!(second.statuses(), [200]);
}

/// The first one has left when the connection has ended.
#[test]
fn a_client_that_leaves_gives_its_place_to_the_next() {
    let mut scene = bounded();
    let _first = scene.client(&get("/first"));
    let upstream = scene.upstream();
    let [second, third] = ["/second", "/third"].map(|path| scene.client(&get(path)));
    scene.reactor().reset(&second);
    scene.settle();
    scene.fail(&upstream, ErrorKind::ConnectionReset);
    assert!(scene.upstream().received().starts_with("GET /third "));
    assert_eq!((third.received().as_str(), scene.requests()), ("", (2, 0, 0)));
}

#[test]
fn a_request_that_has_waited_for_five_seconds_is_refused() {
    let mut scene = bounded();
    let _first = scene.client(&get("/first"));
    let _upstream = scene.upstream();
    let second = scene.client(&get("/second"));
    scene.pass(4_900);
    assert_eq!((second.received().as_str(), scene.requests()), ("", (1, 1, 0)));
    scene.pass(200);
    let refused = second.received();
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\r\nRetry-After: 1\r\n"), "{refused}");
    assert!(
        refused.contains("1 connections to upstreams are busy, and there are descriptors for no more"),
        "{refused}"
    );
    assert_eq!(scene.requests(), (1, 0, 1));
}

/// Room is offered to the first who waits. It is used as a probe of an address that is out, and so the room is left to the second.
#[test]
fn the_room_that_a_probe_does_not_take_is_offered_to_the_next() {
    let mut scene = Scene::with(|route| {
        route.upstreams.push(Upstream::new(false, "10.9.0.2", Some(3000)));
        route.connections_max = Some(1);
    });
    let _first = scene.client(&get("/first"));
    let (out, _never) = scene.reactor().take_begun().unwrap();
    scene.pass(3000);
    let (other, upstream) = scene.reactor().take_begun().unwrap();
    assert_ne!(other, out);
    scene.reactor().establish(&upstream);
    scene.pass(9_000);
    let [second, third] = ["/second", "/third"].map(|path| scene.client(&get(path)));
    assert!(!scene.begins_another());
    scene.pass(1_500);
    upstream.received();
    scene.send(&upstream, OK);
    assert!(upstream.received().starts_with("GET /third "));
    scene.send(&upstream, OK);
    assert_eq!(third.statuses(), [200]);
    let (probed, probe) = scene.reactor().take_begun().unwrap();
    assert_eq!(probed, out);
    scene.reactor().establish(&probe);
    scene.settle();
    scene.send(&probe, OK);
    assert_eq!(second.statuses(), [200]);
}

/// The address is in service and busy: that does not end within a second, because as many others come first.
#[test]
fn who_finds_the_queue_of_a_busy_address_full_is_told_to_come_back_later() {
    let mut scene = Scene::with(|route| route.connections_max = Some(1));
    let waiting: Vec<_> = (0..101).map(|_| scene.client(&get("/"))).collect();
    assert_eq!(scene.requests(), (1, 100, 0));
    let refused = scene.client(&get("/")).received();
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\r\nRetry-After: 5\r\n"), "{refused}");
    assert!(waiting.iter().all(|client| client.received().is_empty()));
}
