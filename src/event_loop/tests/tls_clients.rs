//! What a client of TLS gets, and when.

use std::sync::Arc;

use super::menu::Act;
use super::races::IDLE;
use super::script::Client;
use super::stage::{Stage, get, post};
use super::tls::Pair;
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::net::Signal;
use crate::net::tls::test_end::TestEnd;
use crate::net::tls::{LiveConfig, RECORD_BYTES_MAX, TlsOptions};
use crate::observe::wait_reason::WaitReason;

/// The most content of TLS 1.3 in a segment of 1428 bytes, in bytes, and what a record adds to it.
const RECORD_ADDS: usize = 22;
const SEGMENT: usize = 1428;

fn stage(name: &str, limits: Limits) -> Stage {
    let pair = Pair::new(name);
    let options = TlsOptions { pairs: vec![pair.files()], ..TlsOptions::default() };
    let mut stage = Stage::with_roles(&[ListenerRole::Https], limits);
    stage.event_loop.keep_tls(Arc::new(LiveConfig::load(options, &mut |_| {}).unwrap()));
    stage
}

/// Turns until nothing is left to do.
fn settle(stage: &mut Stage) {
    stage.turn();
    stage.settle();
}

/// A client whose handshake is over.
fn established(stage: &mut Stage, mut tls: TestEnd) -> (Client, TestEnd) {
    let client = stage.client();
    while tls.is_handshaking() {
        stage.reactor().send_bytes(&client, tls.flight());
        settle(stage);
        tls.open(&client.received_bytes()).unwrap();
    }
    stage.reactor().send_bytes(&client, tls.flight());
    settle(stage);
    assert_eq!(tls.open(&client.received_bytes()).unwrap(), b"", "tickets");
    (client, tls)
}

/// How long each record is, in bytes.
fn records(mut wire: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_, _, _, high, low, ..] = *wire {
        let length = 5 + usize::from(u16::from_be_bytes([high, low]));
        lengths.push(length);
        wire = &wire[length..];
    }
    lengths
}

#[test]
fn a_service_is_told_the_name_that_the_client_has_sent() {
    let mut stage = stage("server-name", Limits::default());
    // RFC 6066 §3: an address is not sent.
    for (asked, told) in [("Other.Example", "other.example"), ("127.0.0.1", "none")] {
        let (client, mut tls) = established(&mut stage, TestEnd::of_server(asked));
        for _ in 0..2 {
            stage.reactor().send_bytes(&client, tls.seal(get("/server-name")));
            settle(&mut stage);
            let response = tls.open(&client.received_bytes()).unwrap();
            assert!(response.ends_with(format!("\r\n\r\n{told}").as_bytes()), "{}", response.escape_ascii());
        }
    }
}

#[test]
fn records_are_small_at_first_and_after_a_second_of_silence() {
    let mut stage = stage("records", Limits::default());
    let (client, mut tls) = established(&mut stage, TestEnd::client());
    let mut ask = |stage: &mut Stage, n: usize| {
        stage.reactor().send_bytes(&client, tls.seal(get(&format!("/bytes/{n}"))));
        settle(stage);
        let wire = client.received_bytes();
        let response = tls.open(&wire).unwrap();
        assert!(response.len() > n && response.ends_with(&vec![b'b'; n]), "{} bytes", response.len());
        records(&wire)
    };
    for round in 0..2 {
        let lengths = ask(&mut stage, 300_000);
        let small = lengths.iter().take_while(|length| **length <= SEGMENT).count();
        let content: usize = lengths[..small].iter().map(|length| length - RECORD_ADDS).sum();
        assert!((64 * 1024..=129 * 1024).contains(&content), "round {round}: {content} bytes in small records");
        assert!(lengths[..small].iter().filter(|length| **length > 1400).count() * 1400 > 60_000, "full segments");
        assert!(lengths[small..].contains(&(RECORD_BYTES_MAX + RECORD_ADDS)), "round {round}: {lengths:?}");
        let at_once = ask(&mut stage, 60_000);
        assert!(at_once.iter().any(|length| *length > 16_000), "round {round}: {at_once:?}");
        stage.turn_after(999);
        let soon = ask(&mut stage, 60_000);
        assert!(soon.iter().any(|length| *length > 16_000), "round {round}: {soon:?}");
        stage.turn_after(1000);
    }
    let short = ask(&mut stage, 1000);
    assert!(short.len() == 1 && short[0] > 1000, "a short response is one record: {short:?}");
}

#[test]
fn a_record_of_tls_12_fits_into_a_segment_too() {
    let mut stage = stage("records12", Limits::default());
    let (client, mut tls) = established(&mut stage, TestEnd::of_tls12());
    stage.reactor().send_bytes(&client, tls.seal(get("/bytes/30000")));
    settle(&mut stage);
    let wire = client.received_bytes();
    assert!(tls.open(&wire).unwrap().len() > 30_000);
    let longest = records(&wire).into_iter().max();
    assert_eq!(longest, Some(SEGMENT), "and uses it");
}

/// How many of them have got something since the last call.
fn answered(clients: &[Client]) -> usize {
    clients.iter().filter(|client| !client.received_bytes().is_empty()).count()
}

#[test]
fn eight_handshakes_are_begun_in_a_turn_and_who_is_established_is_served_in_each() {
    let mut stage = stage("fair", Limits::default());
    let (established, mut tls) = established(&mut stage, TestEnd::client());
    let clients: Vec<Client> = (0..20).map(|_| stage.client()).collect();
    for client in &clients {
        stage.reactor().send_bytes(client, TestEnd::client().flight());
    }
    for expected in [8, 8, 4] {
        stage.reactor().send_bytes(&established, tls.seal(get("/bytes/9")));
        stage.turn();
        assert_eq!(answered(&clients), expected);
        let response = tls.open(&established.received_bytes()).unwrap();
        assert!(response.ends_with(b"bbbbbbbbb"), "{}", response.escape_ascii());
    }
    stage.turn();
    assert_ne!(stage.sleeps(), Some(0), "nobody is left in the queue");
    for client in &clients {
        assert_eq!(stage.wait_of(client), WaitReason::TlsHandshake);
    }
}

#[test]
#[cfg(feature = "tls")]
fn a_hello_that_has_to_be_sent_again_counts_when_it_is_answered() {
    let mut stage = stage("retried", Limits::default());
    let clients: Vec<Client> = (0..20).map(|_| stage.client()).collect();
    let mut ends: Vec<TestEnd> = (0..20).map(|_| TestEnd::to_be_retried()).collect();
    for (client, tls) in clients.iter().zip(&mut ends) {
        stage.reactor().send_bytes(client, tls.flight());
    }
    settle(&mut stage);
    // The second flights come together, whenever the first ones came.
    for (client, tls) in clients.iter().zip(&mut ends) {
        tls.open(&client.received_bytes()).unwrap();
        let flight = tls.flight();
        stage.reactor().send_bytes(client, flight);
    }
    for expected in [8, 8, 4] {
        stage.turn();
        let mut answered = 0;
        for (client, tls) in clients.iter().zip(&mut ends) {
            let bytes = client.received_bytes();
            answered += usize::from(!bytes.is_empty());
            tls.open(&bytes).unwrap();
        }
        assert_eq!(answered, expected);
    }
    for tls in &ends {
        assert!(tls.was_retried());
    }
}

#[test]
fn half_a_hello_is_cut_after_ten_seconds_however_it_trickles_in() {
    let mut stage = stage("half", Limits::default());
    let hello = TestEnd::client().flight();
    let (silent, trickling) = (stage.client(), stage.client());
    stage.reactor().send_bytes(&silent, &hello[..hello.len() / 2]);
    stage.turn();
    for byte in &hello[..9] {
        stage.reactor().send_bytes(&trickling, [*byte]);
        stage.turn_after(1000);
    }
    stage.turn_after(999);
    assert!(!silent.is_closed() && !trickling.is_closed());
    stage.turn_after(1);
    assert!(silent.is_closed() && trickling.is_closed());
    assert_eq!((silent.calls().aborts, trickling.calls().aborts), (1, 1));
    assert_eq!(stage.timeouts(), [("tls-handshake", 2)]);
}

#[test]
fn a_client_that_does_not_read_its_flight_is_cut_after_ten_seconds() {
    let mut stage = stage("deaf", Limits::default());
    let client = stage.client();
    client.limit_room(100);
    stage.reactor().send_bytes(&client, TestEnd::client().flight());
    stage.turn();
    stage.turn_after(9_999);
    assert!(!client.is_closed());
    stage.turn_after(1);
    assert!(client.is_closed());
    assert_eq!(stage.timeouts(), [("tls-handshake", 1)]);
}

/// A client that has asked for the end of the connection is expected to have nothing more to send, and its connection is closed
/// at once. A part of a record shows that more is on its way: that would have the kernel reset the connection, and the
/// response would be lost (RFC 9112 §9.6).
#[test]
fn a_client_whose_record_has_come_in_part_is_listened_to_behind_the_last_response() {
    let mut stage = stage("part", Limits::default());
    let (client, mut tls) = established(&mut stage, TestEnd::client());
    let asked = tls.seal("GET /bytes/9 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    let more = tls.seal("behind the last request");
    stage.reactor().send_bytes(&client, [&asked[..], &more[..9]].concat());
    settle(&mut stage);
    assert!(tls.open(&client.received_bytes()).unwrap().ends_with(b"bbbbbbbbb") && tls.has_end);
    assert!(!client.is_closed());
    assert_eq!(client.calls().shutdowns, 1);
    stage.reactor().send_bytes(&client, &more[9..]);
    settle(&mut stage);
    assert!(!client.is_closed());
    stage.reactor().end(&client);
    settle(&mut stage);
    assert!(client.is_closed());
}

#[test]
fn whoever_is_idle_for_too_long_is_told_the_end() {
    for drains in [false, true] {
        let mut stage = stage(&format!("idle-{drains}"), Limits::default());
        let (asked, mut asked_tls) = established(&mut stage, TestEnd::client());
        stage.reactor().send_bytes(&asked, asked_tls.seal(get("/bytes/9")));
        settle(&mut stage);
        asked_tls.open(&asked.received_bytes()).unwrap();
        let (fresh, mut fresh_tls) = established(&mut stage, TestEnd::client());
        assert!(!asked_tls.has_end && !fresh_tls.has_end);
        if drains {
            stage.signal(Signal::Terminate);
            stage.turn();
        }
        stage.turn_after(if drains { 250 } else { 75_000 });
        for (client, tls) in [(&asked, &mut asked_tls), (&fresh, &mut fresh_tls)] {
            assert_eq!((client.is_closed(), client.calls().shutdowns), (drains, usize::from(!drains)));
            assert_eq!(tls.open(&client.received_bytes()).unwrap(), b"");
            assert!(tls.has_end, "drains: {drains}");
        }
    }
}

#[test]
fn what_the_kernel_holds_is_read_when_there_is_room_again_to_decrypt() {
    for ends in [false, true] {
        let mut stage = stage(&format!("room-{ends}"), Limits::default());
        let (client, mut tls) = established(&mut stage, TestEnd::client());
        // A response as large as the rings, which the client does not read, and content that goes on to arrive.
        stage.menu.plan(&[Act::Put(60_000), Act::Content, Act::End]);
        client.limit_room(2000);
        let length = if ends { 12_000 } else { 100_000 };
        let mut upload = tls.seal(post("/duplex", length));
        upload.extend(tls.seal(vec![b'x'; length]));
        stage.reactor().send_bytes(&client, upload);
        if ends {
            stage.reactor().end(&client);
        }
        settle(&mut stage);
        // The client reads: no event will tell of what was sent before.
        for _ in 0..200 {
            stage.reactor().make_room(&client, 4000);
            settle(&mut stage);
        }
        assert_eq!(stage.menu.taken.borrow().len(), length + 1, "all of it, and its end");
        let response = tls.open(&client.received_bytes()).unwrap();
        assert!(response.ends_with(b"\r\n0\r\n\r\n"), "{} bytes", response.len());
    }
}

#[test]
fn a_bad_record_that_is_found_while_a_response_is_encrypted_is_answered_with_an_alert() {
    let limits = Limits { inbox_bytes: 64, head_bytes_max: 64, ..Limits::default() };
    let mut stage = stage("bad", limits);
    let (client, mut tls) = established(&mut stage, TestEnd::client());
    // The inbox is full of what nobody takes, so that only the encryption of the response sees the next record.
    stage.menu.plan(&[Act::Put(10), Act::Content]);
    *stage.menu.appetite.borrow_mut() = 0;
    let mut bytes = tls.seal(post("/duplex", 1000));
    bytes.extend(tls.seal(vec![b'x'; 200]));
    let mut bad = tls.seal("bad");
    *bad.last_mut().unwrap() ^= 1;
    stage.reactor().send_bytes(&client, [bytes, bad].concat());
    settle(&mut stage);
    let error = tls.open(&client.received_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "received fatal alert: BadRecordMac");
}

#[test]
fn a_cut_response_ends_without_close_notify() {
    let mut stage = stage("cut", Limits::default());
    let (client, mut tls) = established(&mut stage, TestEnd::client());
    stage.menu.plan(&[Act::Put(10), Act::Fail]);
    stage.reactor().send_bytes(&client, tls.seal(get("/pull")));
    settle(&mut stage);
    let response = tls.open(&client.received_bytes()).unwrap();
    assert!(response.starts_with(b"HTTP/1.1 200") && client.is_closed() && !tls.has_end);
    assert_eq!(client.calls().aborts, 1);
}

#[test]
fn a_client_that_has_said_its_end_gets_the_whole_response_and_ours() {
    let mut stage = stage("half-close", Limits::default());
    let (client, mut tls) = established(&mut stage, TestEnd::client());
    client.limit_room(2000);
    let bytes = [tls.seal(get("/bytes/200000")), tls.seal_end()].concat();
    stage.reactor().send_bytes(&client, bytes);
    settle(&mut stage);
    for _ in 0..200 {
        stage.reactor().make_room(&client, 4000);
        settle(&mut stage);
    }
    let response = tls.open(&client.received_bytes()).unwrap();
    assert!(response.len() > 200_000 && tls.has_end && client.is_closed());
}

#[test]
fn a_key_update_is_answered_at_once_whatever_it_comes_with() {
    let mut stage = stage("update", Limits::default());
    let client = stage.client();
    let mut tls = TestEnd::client();
    while tls.is_handshaking() {
        stage.reactor().send_bytes(&client, tls.flight());
        settle(&mut stage);
        tls.open(&client.received_bytes()).unwrap();
    }
    // Behind Finished, alone, and in front of half a request.
    for begins_request in [false, false, true] {
        let mut bytes = [tls.flight(), tls.seal_key_update()].concat();
        if begins_request {
            bytes.extend(tls.seal("GET / HTT"));
        }
        stage.reactor().send_bytes(&client, bytes);
        settle(&mut stage);
        let answer = records(&client.received_bytes());
        assert_eq!(answer.last(), Some(&27), "{answer:?}");
    }
}

/// A request that crosses `close_notify` and FIN is told from the `close_notify` with which any client may answer.
#[test]
fn a_request_that_crosses_our_close_notify_is_counted_and_a_close_notify_is_not() {
    for (version, asks) in [("1.3", true), ("1.3", false), ("1.2", true), ("1.2", false)] {
        let mut stage = stage(&format!("race{version}{asks}"), Limits::default());
        let client = if version == "1.2" { TestEnd::of_tls12() } else { TestEnd::client() };
        let (client, mut tls) = established(&mut stage, client);
        stage.reactor().send_bytes(&client, tls.seal(get("/")));
        settle(&mut stage);
        tls.open(&client.received_bytes()).unwrap();
        stage.turn_after(IDLE);
        assert_eq!((client.calls().shutdowns, client.is_closed()), (1, false));
        let late = if asks { tls.seal(get("/late")) } else { tls.seal_end() };
        stage.reactor().send_bytes(&client, late);
        stage.turn_after(3);
        assert!(client.is_closed(), "{version} {asks}");
        assert_eq!(stage.counters().keep_alive_races, [u64::from(asks), 0], "{version} {asks}");
        assert_eq!(stage.timeouts(), [("client-idle", 1)]);
        assert!(tls.open(&client.received_bytes()).is_ok_and(|content| content.is_empty()), "nothing but close_notify");
    }
}

/// The letters of clients whose handshake is not complete, and who has ended its direction first.
#[test]
fn a_handshake_that_fails_says_who_ended_it_and_that_it_was_one() {
    let hello = TestEnd::of_tls12().flight();
    let unknown_ca = [21, 3, 3, 0, 2, 2, 48];
    for (sent, then, ends, verdict) in [
        (&hello[..0], &[][..], true, "CFA"),
        (&hello[..20], &[], true, "CFT"),
        (&hello[..], &[], true, "CFT"),
        (&hello[..20], &[], false, "CRT"),
        (&hello[..], &unknown_ca, true, "CXT"),
        (b"GET / HTTP/1.1\r\n\r\n", &[], true, "SXT"),
        (&[23, 3, 3, 0, 1, 9], &[], true, "SXT"),
    ] {
        let mut stage = stage("letters", Limits::default());
        let client = stage.client();
        for bytes in [sent, then].into_iter().filter(|bytes| !bytes.is_empty()) {
            stage.reactor().send_bytes(&client, bytes);
            settle(&mut stage);
        }
        match ends {
            true => stage.reactor().end(&client),
            false => stage.reactor().reset(&client),
        }
        settle(&mut stage);
        assert_eq!((client.is_closed(), stage.verdicts().as_str()), (true, verdict), "{sent:?} {then:?}");
    }
    for (bytes, verdict) in [(0, "STA"), (20, "STT")] {
        let mut stage = stage("letters-late", Limits::default());
        let client = stage.client();
        stage.reactor().send_bytes(&client, &hello[..bytes]);
        settle(&mut stage);
        stage.turn_after(10_000);
        assert_eq!((client.is_closed(), stage.verdicts().as_str()), (true, verdict));
    }
}

/// The kernel of a client that has closed its socket resets whatever it is sent, our `close_notify` as well.
#[test]
fn a_client_that_left_and_resets_our_close_notify_has_left_when_it_did() {
    let mut stage = stage("left", Limits::default());
    let (client, mut tls) = established(&mut stage, TestEnd::client());
    stage.menu.plan(&[Act::Until(100), Act::Respond(3)]);
    client.limit_room(0);
    stage.reactor().send_bytes(&client, [tls.seal(get("/acts")), tls.seal_end()].concat());
    settle(&mut stage);
    stage.turn_after(100);
    let mut lines = Vec::new();
    while lines.is_empty() {
        stage.reactor().make_room(&client, 1);
        stage.turn();
        lines = stage.log("verdict");
    }
    stage.reactor().reset(&client);
    settle(&mut stage);
    assert_eq!((lines.join(" "), stage.verdicts()), ("CNW".to_owned(), "CNW".to_owned()));
}

/// `close_notify` is no FIN: who sends the first one has the socket in TIME_WAIT.
#[test]
fn a_close_notify_without_a_fin_leaves_the_first_fin_to_us() {
    for (ends, first_fins) in [(false, [0, 1, 0]), (true, [1, 0, 0])] {
        let mut stage = stage(&format!("fin-{ends}"), Limits::default());
        let (client, mut tls) = established(&mut stage, TestEnd::client());
        if ends {
            client.end_silently();
        }
        stage.reactor().send_bytes(&client, tls.seal_end());
        settle(&mut stage);
        assert_eq!((client.is_closed(), stage.verdicts().as_str()), (true, "CNA"));
        assert_eq!(stage.counters().first_fins, first_fins, "{ends}");
    }
}
