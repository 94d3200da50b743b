//! The letters of a connection and of its requests, which have to agree.

use super::http2::Peer;
use super::menu::Act;
use super::script::Client;
use super::stage::{Stage, get, post};
use crate::base::limits::Limits;
use crate::net::Signal;

const WORK: &str = "GET 1 /acts";

fn stage(acts: &[Act]) -> Stage {
    let stage = Stage::new(Limits { abort_on_close: false, ..Limits::default() });
    stage.menu.plan(acts);
    stage
}

/// A client that has sent this, which a turn has found.
fn saying(stage: &mut Stage, text: &str) -> Client {
    let client = stage.client();
    stage.send(&client, text);
    stage.turn();
    client
}

fn end(stage: &mut Stage, client: &Client) {
    stage.reactor().end(client);
    stage.turn();
    stage.settle();
}

fn reset(stage: &mut Stage, client: &Client) {
    stage.reactor().reset(client);
    stage.turn();
}

/// The verdicts of the requests, and those of the connections.
fn verdicts(stage: &mut Stage) -> (String, String) {
    stage.settle();
    assert_eq!(stage.event_loop.connections(), 0);
    (stage.log("verdict").join(" "), stage.verdicts())
}

fn both(verdict: &str) -> (String, String) {
    (verdict.to_owned(), verdict.to_owned())
}

#[test]
fn an_end_of_the_client_that_cuts_a_request_is_the_end_of_the_connection() {
    // In content that nobody has answered, and in content whose response has begun, with and without a length.
    let chunked = "POST /duplex HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    for (request, head) in
        [(post("/takes", 10), false), (post("/duplex", 10), false), (chunked.to_owned(), false), ("GET /".into(), true)]
    {
        let mut stage = stage(&[Act::Put(10), Act::Content, Act::Content]);
        if request.contains("/takes") {
            stage.menu.plan(&[Act::Content, Act::Content]);
        }
        let client = saying(&mut stage, &request);
        end(&mut stage, &client);
        assert_eq!(verdicts(&mut stage), both(if head { "CFH" } else { "CFB" }), "{request}");
    }
}

#[test]
fn a_client_that_leaves_while_a_handler_works_has_left_then() {
    for aborts in [false, true] {
        let mut stage = Stage::new(Limits { abort_on_close: aborts, ..Limits::default() });
        stage.menu.plan(&[Act::Until(100), Act::Respond(3)]);
        let client = saying(&mut stage, &get("/acts"));
        end(&mut stage, &client);
        stage.turn_after(100);
        assert_eq!(verdicts(&mut stage), both("CFW"), "{aborts}");
    }
}

#[test]
fn a_client_that_ends_with_its_request_has_disturbed_nothing() {
    let mut stage = stage(&[]);
    let client = stage.client();
    stage.send(&client, &get("/"));
    client.end_silently();
    end(&mut stage, &client);
    assert_eq!(verdicts(&mut stage), ("---".to_owned(), "CFI".to_owned()));
}

/// A half-close may be no more than that: what happens to who waits then is done by others.
#[test]
fn what_ends_a_request_after_a_half_close_is_what_counts() {
    let mut stopped = stage(&[Act::Until(600_000)]);
    let client = saying(&mut stopped, &get("/acts"));
    end(&mut stopped, &client);
    stopped.signal(Signal::Interrupt);
    stopped.signal(Signal::Interrupt);
    stopped.turn();
    assert_eq!(verdicts(&mut stopped), both("OKW"));

    let mut unread = stage(&[]);
    let client = unread.client();
    client.limit_room(1000);
    unread.ask(&client, "/bytes/100000");
    unread.turn();
    end(&mut unread, &client);
    unread.turn_after(600_000);
    assert_eq!(verdicts(&mut unread), both("STS"));

    let mut failed = stage(&[Act::Until(100), Act::Fail]);
    let client = saying(&mut failed, &get("/acts"));
    end(&mut failed, &client);
    failed.turn_after(100);
    assert!(verdicts(&mut failed).0.starts_with("SH"));
}

#[test]
fn a_reset_behind_a_half_close_is_told_with_both() {
    let mut stage = stage(&[Act::Until(600_000)]);
    let client = saying(&mut stage, &get("/acts"));
    end(&mut stage, &client);
    stage.pass(200);
    reset(&mut stage, &client);
    let texts = stage.log("disturbed verdict");
    assert!(texts[0].contains(", the client's direction ended after 0") && texts[0].ends_with(" CRW"), "{texts:?}");
    assert_eq!((verdicts(&mut stage).1.as_str(), stage.counters().first_fins), ("CRW", [1, 0, 0]));
}

#[test]
fn streams_and_their_connection_have_the_same_letters() {
    for (request, verdict) in [("POST 1 /takes", "CFB"), ("GET 1 /bytes/1000000", "CFS"), (WORK, "CFW")] {
        let mut stage = stage(&[Act::Content, Act::Until(100), Act::Respond(3)]);
        if request == WORK {
            stage.menu.plan(&[Act::Until(100), Act::Respond(3)]);
        }
        let mut peer = Peer::new(&mut stage);
        peer.say(&mut stage, request);
        end(&mut stage, &peer.client);
        stage.turn_after(100);
        assert_eq!(verdicts(&mut stage), both(verdict), "{request}");
    }
    let mut stage = stage(&[Act::Until(600_000)]);
    let mut peer = Peer::new(&mut stage);
    peer.say(&mut stage, WORK);
    peer.say(&mut stage, "WINDOW_UPDATE 0 0");
    end(&mut stage, &peer.client);
    assert_eq!(verdicts(&mut stage), both("SGW"));
}

#[test]
fn whoever_ended_first_did_so_also_if_a_reset_followed() {
    // Nothing but a reset; a FIN and then a reset; our FIN and then a reset.
    for (ends, request, first_fins) in
        [(false, get("/acts"), [0, 0, 1]), (true, get("/acts"), [1, 0, 0]), (false, "?\r\n\r\n".into(), [0, 1, 0])]
    {
        let mut stage = stage(&[Act::Until(600_000)]);
        let client = saying(&mut stage, &request);
        if ends {
            end(&mut stage, &client);
        }
        reset(&mut stage, &client);
        assert!(client.is_closed());
        assert_eq!(stage.counters().first_fins, first_fins, "{ends} {request}");
    }
}

/// RFC 6455 §7.1.5 and any other conversation: whatever goes on in it, it is one.
#[test]
fn a_conversation_is_one_to_its_end() {
    // It is over, and the client resets it; its client resets it while something is on its way.
    for (acts, room, ends) in
        [(&[Act::Put(3), Act::End][..], None, true), (&[Act::Put(30_000), Act::Content], Some(200), false)]
    {
        let mut stage = stage(acts);
        let client = stage.client();
        if let Some(room) = room {
            client.limit_room(room);
        }
        stage.send(&client, "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n");
        stage.turn();
        reset(&mut stage, &client);
        let expected = if ends { "---" } else { "CRC" };
        assert_eq!(verdicts(&mut stage), (expected.to_owned(), "CRC".to_owned()), "{acts:?}");
    }
}
