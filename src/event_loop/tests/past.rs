//! What is known of requests and connections when they are over.

use super::http2::Peer;
use super::menu::Act;
use super::stage::{Stage, get};
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::log_key::RequestKey;
use crate::observe::report::{DisturbedStatus, Known, Subject};

fn known(stage: &Stage, connection: u64, request: Option<RequestKey>) -> Known {
    stage.event_loop.known(Subject { run: None, connection, request })
}

/// The requests that are over and known, with the milliseconds that each of them was blocked.
fn requests(known: &Known) -> Vec<(u64, String, u128)> {
    let requests = known.requests.iter().map(|past| &past.record);
    requests.map(|record| (record.ordinal, record.request(), record.blocked_time().as_millis())).collect()
}

fn stage(max: usize) -> Stage {
    let mut stage = Stage::new(Limits::default());
    stage.event_loop.keep_past(max);
    stage
}

#[test]
fn requests_are_known_after_they_have_ended_and_after_their_connection_has() {
    let mut stage = stage(8);
    let client = stage.client();
    stage.send(&client, &(get("/a") + &get("/b")));
    stage.turn();
    let open = known(&stage, 1, None);
    assert_eq!(requests(&open), [(1, "GET /a".into(), 0), (2, "GET /b".into(), 0)]);
    assert!(open.open.is_some_and(|open| open.wait == "client-idle") && open.ended.is_none());
    let (received, sent) = (get("/a").len() * 2, client.received().len());
    stage.reactor().end(&client);
    stage.turn();
    stage.settle();
    stage.pass(2000);
    stage.turn();
    let ended = known(&stage, 1, Some(RequestKey::Ordinal(2)));
    assert_eq!(requests(&ended), [(2, "GET /b".into(), 0)]);
    let connection = ended.ended.unwrap();
    assert!(ended.open.is_none() && ended.now.since(connection.ended_at).as_millis() == 2000);
    assert_eq!((connection.requests, connection.verdict.to_string().as_str()), (2, "CFI"));
    assert_eq!((connection.received, connection.sent), (received as u64, sent as u64));
    let nothing = known(&stage, 2, None);
    assert!(nothing.open.is_none() && nothing.ended.is_none() && nothing.requests.is_empty());
}

/// A response that is blocked until its connection ends counts up to then, and not up to the question.
#[test]
fn what_went_on_at_the_end_has_ended() {
    let mut stage = stage(8);
    let client = stage.client();
    client.limit_room(10);
    stage.ask(&client, "/bytes/1000");
    stage.turn();
    stage.pass(300);
    stage.reactor().reset(&client);
    stage.turn();
    stage.turn_after(5000);
    let ended = known(&stage, 1, None);
    assert_eq!(requests(&ended), [(1, "GET /bytes/1000".into(), 300)]);
    assert_eq!(ended.requests[0].record.verdict().to_string(), "CRS");
}

#[test]
fn streams_are_known_by_their_identifier() {
    let mut stage = stage(8);
    let mut peer = Peer::new(&mut stage);
    stage.menu.plan(&[Act::Until(1000)]);
    peer.say(&mut stage, "GET 1 /a\nGET 5 /b\nGET 7 /acts");
    let one = known(&stage, 1, Some(RequestKey::Stream(5)));
    assert_eq!(requests(&one), [(2, "GET /b".into(), 0)]);
    assert_eq!(requests(&known(&stage, 1, None)).len(), 2, "the third is not over");
    let open = one.open.unwrap().http2.unwrap();
    assert_eq!(open.streams.iter().map(|stream| stream.id).collect::<Vec<_>>(), [7]);
    peer.say(&mut stage, "RST_STREAM 7 CANCEL");
    let reset = known(&stage, 1, Some(RequestKey::Stream(7)));
    assert_eq!(reset.requests[0].record.verdict().to_string(), "CSW");
}

#[test]
fn the_past_is_bounded_and_older_requests_are_counted() {
    let mut stage = stage(200);
    let client = stage.client();
    for _ in 0..30 {
        stage.send(&client, &get("/").repeat(10));
        stage.turn();
        client.received();
    }
    let known = known(&stage, 1, None);
    // Of the 100 that are not among the last 200, those that were slowest are known: a fourth of 200.
    assert_eq!((known.requests.len(), known.more), (100, 150));
    assert_eq!(known.requests.last().map(|past| past.record.ordinal), Some(300));
}

/// The letters, and what names them.
fn disturbed(stage: &Stage) -> Vec<(String, u64, Option<String>)> {
    let disturbed = stage.event_loop.disturbed().into_iter();
    let told = |told: DisturbedStatus| {
        assert!(told.text.starts_with(&format!("{} ", told.verdict)), "{told:?}");
        (told.verdict.to_string(), told.connection, told.request.map(|(key, line)| format!("{key} {line}")))
    };
    disturbed.map(told).collect()
}

#[test]
fn what_was_disturbed_is_told_last_things_first_and_once() {
    let mut stage = stage(100);
    // Those that nobody has disturbed.
    let polite = stage.asking("/");
    stage.reactor().end(&polite);
    let idle = stage.asking("/");
    stage.turn_after(75_000);
    stage.turn_after(1000);
    assert!(polite.is_closed() && idle.is_closed());
    assert_eq!(disturbed(&stage), []);
    // A request that was reset together with its connection.
    let slow = stage.client();
    slow.limit_room(10);
    stage.ask(&slow, "/bytes/1000");
    stage.turn();
    stage.reactor().reset(&slow);
    stage.turn_after(1);
    // A connection that broke between requests, and one that came too late.
    let broken = stage.asking("/");
    stage.reactor().reset(&broken);
    stage.turn_after(1);
    let late = stage.asking("/");
    stage.turn_after(75_000);
    stage.ask(&late, "/late");
    stage.turn_after(1);
    let expected = [("STI", 5, None), ("CRI", 4, None), ("CRS", 3, Some("r=1 GET /bytes/1000"))];
    let expected: Vec<_> = expected.map(|(verdict, id, line)| (verdict.into(), id, line.map(str::to_owned))).into();
    assert_eq!(disturbed(&stage), expected);
    // However many there are: ten. The ring of requests has begun anew meanwhile.
    for _ in 0..250 {
        let client = stage.asking("/fail");
        stage.reactor().reset(&client);
        stage.turn_after(1);
    }
    let last: Vec<u64> = disturbed(&stage).into_iter().map(|(_, connection, _)| connection).collect();
    assert_eq!(last, (246..=255).rev().collect::<Vec<u64>>());
}

#[test]
fn nobody_asks_about_the_admin_and_nothing_is_kept_unasked() {
    let mut stage = Stage::with_roles(&[ListenerRole::Http, ListenerRole::Admin], Limits::default());
    let client = stage.client();
    stage.ask(&client, "/");
    stage.turn();
    assert!(known(&stage, 1, None).requests.is_empty(), "nothing is to be kept");
    stage.event_loop.keep_past(8);
    let admin = stage.client_of(1);
    stage.ask(&admin, "/");
    stage.turn();
    let of_admin = known(&stage, 2, None);
    assert!(of_admin.requests.is_empty() && of_admin.open.is_none());
    stage.reactor().end(&admin);
    stage.turn();
    stage.settle();
    assert!(known(&stage, 2, None).ended.is_none());
}
