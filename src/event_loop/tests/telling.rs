//! What responses tell of their requests, on connections with many of them: identifiers, and times.

use super::http2::Peer;
use super::menu::Act;
use super::script::Client;
use super::stage::{Stage, get};
use crate::base::limits::Limits;
use crate::connection::Telling;
use crate::http::fields::FieldName;
use crate::http::forwarded::TrustedProxy;
use crate::observe::request_id::RequestIds;
use crate::observe::server_timing::ServerTiming;

const ID: FieldName = FieldName::from_static("X-Id");

/// A stage whose responses tell what they can. Its clients are on this machine.
fn stage(timing: Option<ServerTiming>) -> Stage {
    let mut stage = Stage::new(Limits::default());
    let request_ids = Some(RequestIds::new(ID, "ab12"));
    stage.event_loop.tell(Some(Telling { request_ids, server_timing: timing }));
    stage
}

fn trust(stage: &mut Stage) {
    // Whoever it is to whom the script connects clients.
    let all = ["0.0.0.0/0", "::/0", "unix"].map(|proxy| proxy.parse::<TrustedProxy>().unwrap());
    stage.event_loop.trust_proxies(all.into_iter().collect());
}

/// The values of this field in all that the client has received, in order.
fn told(client: &Client, name: &str) -> Vec<String> {
    let received = client.received();
    received.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned)).collect()
}

#[test]
fn pipelined_requests_have_their_own_identifiers() {
    let mut stage = stage(None);
    let (first, second) = (stage.client(), stage.client());
    stage.send(&first, &(get("/") + &get("/bytes/100000") + &get("/")));
    stage.ask(&second, "/");
    stage.turn();
    stage.settle();
    assert_eq!(told(&first, "X-Id"), ["ab12-c1-r1", "ab12-c1-r2", "ab12-c1-r3"]);
    assert_eq!(told(&second, "X-Id"), ["ab12-c2-r1"]);
    let mut logged = stage.log("connection request request_id");
    logged.sort();
    assert_eq!(logged, ["1 1 ab12-c1-r1", "1 2 ab12-c1-r2", "1 3 ab12-c1-r3", "2 1 ab12-c2-r1"]);
}

#[test]
fn a_request_that_is_refused_or_not_understood_has_one() {
    for (request, status) in
        [("nonsense\r\n\r\n", "400"), ("GET / HTTP/1.1\r\n\r\n", "400"), ("GET / HTTP/9.9\r\nHost: a\r\n\r\n", "505")]
    {
        let mut stage = stage(None);
        let client = stage.client();
        stage.send(&client, &(get("/") + request));
        stage.turn();
        stage.settle();
        assert_eq!(told(&client, "X-Id"), ["ab12-c1-r1", "ab12-c1-r2"], "{request}");
        assert_eq!(stage.log("request_id status"), ["ab12-c1-r1 200", &format!("ab12-c1-r2 {status}")], "{request}");
    }
}

#[test]
fn streams_have_their_own_identifiers() {
    let mut stage = stage(Some(ServerTiming::Always));
    let mut peer = Peer::new(&mut stage);
    peer.say(&mut stage, "GET 1 /\nGET 5 /\nGET 7 /bytes/3");
    let frames = peer.frames().join("\n");
    for stream in [1, 5, 7] {
        assert_eq!(frames.matches(&format!("ab12-c1-s{stream}")).count(), 1, "{frames}");
    }
    assert!(frames.contains("server-timing: queue;dur=0.000"), "{frames}");
    assert_eq!(stage.log("stream request_id")[..2], ["1 ab12-c1-s1", "5 ab12-c1-s5"]);
}

#[test]
fn only_a_trusted_proxy_chooses_identifiers() {
    let given = |value: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nX-Id: {value}\r\n\r\n");
    let mut stage = stage(None);
    let client = stage.client();
    stage.send(&client, &given("theirs"));
    stage.turn();
    assert_eq!(told(&client, "X-Id"), ["ab12-c1-r1"]);
    trust(&mut stage);
    for (value, id) in [("theirs", "theirs"), ("a\tb", "ab12-c1-r3"), ("\u{e4}", "ab12-c1-r4"), ("", "ab12-c1-r5")] {
        stage.send(&client, &given(value));
        stage.turn();
        assert_eq!(told(&client, "X-Id"), [id], "{value:?}");
    }
    let mut peer = Peer::new(&mut stage);
    peer.say(&mut stage, "GET 1 / x-id: theirs-too\nGET 3 / x-id: a b");
    let frames = peer.frames().join("\n");
    assert!(frames.contains("theirs-too") && frames.contains("ab12-c2-s3"), "{frames}");
}

/// The parts add up to the time from the first byte to the response.
#[test]
fn times_tell_the_head_from_the_content_and_the_handler() {
    let mut stage = stage(Some(ServerTiming::Always));
    stage.menu.plan(&[Act::Content, Act::Until(50), Act::Respond(1)]);
    let client = stage.client_of_late_post();
    assert_eq!(told(&client, "Server-Timing"), [""; 0], "the handler waits");
    stage.turn_after(50);
    stage.settle();
    let expected = "head;dur=10.000, queue;dur=0.000, content;dur=20.000, clock;dur=50.000";
    assert_eq!(told(&client, "Server-Timing"), [expected]);
}

#[test]
fn times_tell_the_drive_that_was_in_front() {
    let mut stage = stage(Some(ServerTiming::Always));
    let [slow, next] = [(); 2].map(|()| stage.client());
    stage.ask(&slow, "/slow/80");
    stage.ask(&next, "/");
    stage.turn();
    assert_eq!(told(&next, "Server-Timing"), ["queue;dur=80.000, behind;dur=80.000"]);
}

#[test]
fn times_are_told_to_whom_they_are_for() {
    let with_field = "GET / HTTP/1.1\r\nHost: a\r\nX-Timing: 1\r\n\r\n";
    let mut stage = stage(Some(ServerTiming::OnRequest(FieldName::from_static("X-Timing"))));
    let client = stage.client();
    stage.send(&client, &(get("/") + with_field + &get("/")));
    stage.turn();
    let received = client.received();
    assert_eq!(received.matches("\r\nServer-Timing: queue;dur=").count(), 1, "{received}");
    assert!(received.find("Server-Timing").unwrap() > received.find("c1-r2").unwrap(), "it is the second");
}

/// An outbox that is nearly full takes no head that does not fit with what it tells.
#[test]
fn heads_leave_room_for_what_they_tell() {
    for outbox_bytes in 1024..1400 {
        let mut stage = Stage::new(Limits { outbox_bytes, ..Limits::default() });
        let request_ids = Some(RequestIds::new(ID, "ab12"));
        stage.event_loop.tell(Some(Telling { request_ids, server_timing: Some(ServerTiming::Always) }));
        let client = stage.client();
        stage.send(&client, &get("/").repeat(9));
        stage.turn();
        stage.settle();
        assert_eq!(told(&client, "X-Id").len(), 9, "{outbox_bytes}");
    }
}
