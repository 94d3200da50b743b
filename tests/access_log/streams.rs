//! What the log says of streams: what held them up, who has reset them, and what was refused.

use std::time::Duration;

use serde_json::Value;

use crate::frames::{DATA, END_STREAM, RST_STREAM, frame};
use crate::http2_client::{Http2, head};
use crate::logged::Logged;

/// So long the loop waits for a handler while something else is held up.
const DELAY: Duration = Duration::from_millis(150);

/// Reads until a handler on this stream has waited for [`DELAY`].
fn wait(client: &mut Http2, stream: u32) {
    client.ask(stream, END_STREAM, &head("HEAD", &format!("/delay/{}", DELAY.as_millis())));
    client.read_end_of(stream);
}

/// The line of this stream, out of `n` lines.
fn line(logged: &Logged, n: usize, stream: u64) -> Value {
    logged.objects(n).into_iter().find(|object| object["stream"] == stream).expect("a line of the stream")
}

/// That the stream was held up by this for as long as the handler waited, and by nothing else for so long.
#[track_caller]
fn assert_held(object: &Value, by: &str) {
    let delay = DELAY.as_millis() as f64;
    let held = object["timers_ms"].as_object().unwrap();
    // It is noted at the end of a drive, and the handler began at the beginning of one.
    assert!(held[by].as_f64().unwrap() >= 0.9 * delay, "{object}");
    assert!(held.iter().all(|(cause, ms)| cause == by || ms.as_f64().unwrap() < delay / 2.0), "{object}");
    assert!(object["last_byte_ms"].as_f64().unwrap() >= held[by].as_f64().unwrap(), "{object}");
}

#[test]
fn the_window_of_a_stream_and_a_handler_hold_it_up() {
    let logged = Logged::start_untortured("json", &[]);
    let mut client = Http2::new(logged.connect(), 0);
    client.get(1, "/bytes/1000", "");
    wait(&mut client, 3);
    client.widen(1, 1000);
    client.read_end_of(1);
    assert_held(&line(&logged, 2, 1), "stream-window");
    let delayed = line(&logged, 2, 3);
    assert_held(&delayed, "clock");
    assert!(delayed["first_byte_ms"].as_f64().unwrap() >= DELAY.as_millis() as f64, "{delayed}");
}

#[test]
fn the_window_of_the_connection_holds_it_up() {
    let logged = Logged::start_untortured("json", &[]);
    let mut client = Http2::new(logged.connect(), 1 << 20);
    client.get(1, "/bytes/65536", "");
    wait(&mut client, 3);
    client.widen(0, 1);
    client.read_end_of(1);
    assert_held(&line(&logged, 2, 1), "connection-window");
}

#[test]
fn others_hold_up_a_stream_that_is_less_urgent_while_tcp_holds_up_them() {
    let logged = Logged::start_untortured("json", &[]);
    let mut client = Http2::new(logged.connect(), 100 << 20);
    client.widen(0, 100 << 20);
    client.get(1, "/bytes/30000000", "u=1");
    client.get(3, "/bytes/30000000", "u=7");
    // Meanwhile nobody reads.
    logged.server.ask(&format!("GET /delay/{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", DELAY.as_millis()));
    client.read_end_of(3);
    let (urgent, other) = (line(&logged, 3, 1), line(&logged, 3, 3));
    let ms = |object: &Value, name: &str| object[name].as_f64().unwrap();
    let half = DELAY.as_millis() as f64 / 2.0;
    assert!(ms(&urgent, "blocked_ms") > half && urgent["timers_ms"]["turn"].is_null(), "{urgent}");
    assert!(ms(&other["timers_ms"], "turn") > half, "{other}");
    assert!(ms(&urgent, "last_byte_ms") < ms(&other, "last_byte_ms"), "{urgent} {other}");
}

#[test]
fn content_that_nobody_takes_pauses_its_stream_alone() {
    let logged = Logged::start_untortured("json", &[]);
    let mut client = Http2::new(logged.connect(), 0);
    client.ask(1, 0, &head("POST", "/echo"));
    // More than the handler holds.
    for flags in [0, 0, END_STREAM] {
        client.client.send(frame(DATA, flags, 1, &[b'c'; 16_384]));
    }
    wait(&mut client, 3);
    client.widen(1, 1 << 20);
    client.read_end_of(1);
    let object = line(&logged, 2, 1);
    assert!(object["paused_ms"].as_f64().unwrap() >= 0.9 * DELAY.as_millis() as f64, "{object}");
}

#[test]
fn resets_say_who_and_why() {
    let logged = Logged::start_untortured("json", &[]);
    let mut client = Http2::new(logged.connect(), 0);
    for (stream, code) in [(1, 8_u32), (3, 0xabcd)] {
        client.get(stream, "/bytes/1000", "");
        client.client.send(frame(RST_STREAM, 0, stream, &code.to_be_bytes()));
    }
    // A window of more than 2^31 - 1.
    client.get(5, "/bytes/1000", "");
    client.widen(5, 0x7fff_ffff);
    client.widen(5, 1);
    client.read_until(|frame| frame.kind == RST_STREAM);
    let closes = [1, 3, 5].map(|stream| line(&logged, 3, stream)["close"].as_str().unwrap().to_owned());
    assert_eq!(
        closes,
        [
            "reset by the client: CANCEL",
            "reset by the client: error code 0xabcd",
            "reset by the server: FLOW_CONTROL_ERROR"
        ]
    );
}

#[test]
fn what_is_not_served_has_its_method_and_target() {
    let logged = Logged::start_untortured("json", &["--max-headers", "6", "--http2-streams", "1"]);
    let mut client = Http2::new(logged.connect(), 1000);
    let long = format!("/{}", "x".repeat(100));
    let expecting = [&head("PUT", "/expects")[..], &[("expect", "the impossible")]].concat();
    let many = [&head("GET", "/many")[..], &[("a", "b"); 5]].concat();
    let wrong = [&head("GET", &long)[..], &[("Upper", "case")]].concat();
    for (stream, fields) in [(1, &expecting), (3, &many), (5, &wrong)] {
        client.ask(stream, END_STREAM, fields);
        client.read_until(|frame| frame.stream == stream);
    }
    // Without a method that is one, nothing is known.
    client.ask(7, END_STREAM, &head("(", "/x"));
    client.read_until(|frame| frame.kind == RST_STREAM && frame.stream == 7);
    client.ask(9, 0, &head("POST", "/echo"));
    client.ask(11, END_STREAM, &head("DELETE", "/too-many"));
    client.read_until(|frame| frame.kind == RST_STREAM && frame.stream == 11);
    drop(client);
    let objects = logged.objects(6);
    let told: Vec<_> = objects
        .iter()
        .map(|object| {
            let texts = ["method", "target", "close"].map(|name| object[name].as_str().unwrap_or("-"));
            (object["stream"].as_u64().unwrap(), texts.join(" "), object["status"].as_u64())
        })
        .collect();
    let by_us = "reset by the server:";
    let expected = [
        (1, "PUT /expects -".to_owned(), Some(417)),
        (3, "GET /many -".to_owned(), Some(431)),
        (5, format!("GET {long} {by_us} PROTOCOL_ERROR"), None),
        (7, format!("- - {by_us} PROTOCOL_ERROR"), None),
        (11, format!("DELETE /too-many {by_us} REFUSED_STREAM"), None),
    ];
    assert_eq!(told[..5], expected);
    assert_eq!((told[5].0, told[5].2), (9, None), "{told:?}");
}
