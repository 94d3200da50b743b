//! What is told of connections that speak HTTP/2, and of their streams.

use serde_json::{Value, json};

use crate::frames::{DATA, GOAWAY, RST_STREAM, frame};
use crate::http2_client::{Http2, head};
use crate::metrics::samples;
use crate::support::{Server, wait_until};
use crate::{ask, ask_json, server};

/// What `/connections` says of the only connection, as soon as it says that it has so many streams.
fn http2(server: &Server, streams: usize) -> Value {
    let mut found = Value::Null;
    wait_until(&format!("there are {streams} streams"), || {
        let connections = ask_json(server, "/connections?format=json");
        found = connections["connections"][0]["http2"].clone();
        found["streams_total"] == streams
    });
    found
}

fn stream(http2: &Value, id: u32) -> Value {
    let streams = http2["streams"].as_array().unwrap();
    let mut stream = streams.iter().find(|stream| stream["stream"] == id).expect("a stream that is listed").clone();
    assert!(stream["waited_ms"].take().is_u64());
    assert!(stream["timers_ms"].take().is_object());
    if let Some(pace) = stream.pointer_mut("/response_progress/per_second") {
        pace.take();
    }
    stream
}

#[test]
fn streams_are_listed_with_their_windows_and_what_they_wait_for() {
    let server = server(&[]);
    let mut client = Http2::new(server.connect(), 10);
    client.get(1, "/bytes/200000", "u=1, i");
    client.ask(3, 0, &head("POST", "/echo?x"));
    for _ in 0..3 {
        client.client.send(frame(DATA, 0, 3, &[b'x'; 16_384]));
    }
    client.get(5, "/delay/60000", "");
    let told = http2(&server, 3);
    assert_eq!(told["may_send"], 65_535 - 20);
    assert_eq!(told["may_receive"], (1 << 20) - 3 * 16_384);
    assert_eq!(told["spent_percent"], json!({"resets": 0, "glitches": 0, "small-data": 0, "tiny-windows": 0}));
    let shut = stream(&told, 1);
    let sent = shut["sent"].as_u64().unwrap();
    assert!((10..200).contains(&sent), "a head, and a frame of 10 bytes: {sent}");
    let expected = json!({
        "stream": 1, "line": "GET /bytes/200000", "status": 200, "state": "half-closed (remote)", "urgency": 1,
        "incremental": true, "may_send": 0, "may_receive": 65_536, "content": 0, "sent": sent, "queued": 0, "turn": null,
        "wait": "stream-window", "waited_ms": null, "timers_ms": null,
        "response_progress": {"bytes": 10, "total": 200_000, "per_second": null},
    });
    assert_eq!(shut, expected);
    let echo = stream(&told, 3);
    // The handler holds as much as it takes at a time.
    let (content, left) = (echo["content"].as_u64().unwrap(), echo["may_receive"].as_u64().unwrap());
    assert!((1..49_152).contains(&content) && (16_384..65_536).contains(&left), "{echo}");
    assert_eq!((&echo["state"], &echo["wait"]), (&"open".into(), &"stream-window".into()), "{echo}");
    let arrived = json!({"bytes": 49_152, "total": null});
    assert_eq!(
        (&echo["content_progress"]["bytes"], &echo["content_progress"]["total"]),
        (&arrived["bytes"], &arrived["total"])
    );
    let delayed = stream(&told, 5);
    assert_eq!((&delayed["status"], &delayed["wait"], &delayed["urgency"]), (&Value::Null, &"timer".into(), &3.into()));
    let (_, text) = ask(&server, "/connections");
    assert!(text.contains("\n  s=1 GET /bytes/200000  200  half-closed (remote)  u=1 i  stream-window for "), "{text}");
    let samples = samples(&server);
    assert_eq!(samples["tidemill_http2_streams"], 3.0);
    assert_eq!(samples["tidemill_http2_content_bytes"], content as f64);
    assert_eq!(samples["tidemill_protocol_connections{protocol=\"http/2\"}"], 1.0);
}

#[test]
fn an_answer_lists_a_bounded_number_of_streams() {
    let server = server(&["--http2-streams", "1000"]);
    let mut clients: Vec<Http2> = (0..2).map(|_| Http2::new(server.connect(), 0)).collect();
    for client in &mut clients {
        (0..600).for_each(|nth| client.get(2 * nth + 1, "/bytes/1", ""));
    }
    wait_until("all streams live", || samples(&server)["tidemill_http2_streams"] == 1200.0);
    let told = ask_json(&server, "/connections?format=json");
    let listed: Vec<usize> = (0..2)
        .map(|nth| &told["connections"][nth]["http2"])
        .map(|http2| (http2["streams_total"] == 600, http2["streams"].as_array().unwrap().len()))
        .map(|(is_all, listed)| if is_all { listed } else { 0 })
        .collect();
    assert_eq!(listed, [600, 400]);
    let (_, text) = ask(&server, "/connections");
    assert!(text.contains("  ... and 200 more streams\n"), "{text}");
}

#[test]
fn resets_goaways_and_misbehaviour_are_counted_and_the_end_says_why() {
    let server = server(&["--http2-resets", "3"]);
    let mut client = Http2::new(server.connect(), 0);
    for stream in [1, 3, 5] {
        client.get(stream, "/delay/60000", "");
        client.client.send(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // One that must wait, since too many were reset.
    client.get(7, "/plaintext", "");
    client.ask(9, 1, &head("GET", "no path"));
    client.read_until(|frame| frame.kind == RST_STREAM && frame.stream == 9);
    client.widen(0, 0);
    client.read_until(|frame| frame.kind == GOAWAY);
    drop(client);
    server.wait_for_log(
        "; GOAWAY PROTOCOL_ERROR: WINDOW_UPDATE of 0 (RFC 9113 §6.9); ledger: reset-before-answer=3 forced-reset=1 \
         resets=100%",
    );
    let now = ask_json(&server, "/now?format=json");
    let text = |kind: &str| {
        let all = now["findings"].as_array().unwrap();
        all.iter().find(|finding| finding["kind"] == kind).map(|finding| finding["text"].as_str().unwrap())
    };
    assert_eq!(text("http2-goaway"), Some("GOAWAY to HTTP/2 clients in the last minute: 1 × PROTOCOL_ERROR"));
    assert_eq!(
        text("http2-resets"),
        Some("streams of HTTP/2 reset by the server in the last minute: 1 × PROTOCOL_ERROR")
    );
    assert_eq!(
        text("http2-delays"),
        Some("1 stream of HTTP/2 delayed in the last minute, because clients have reset too many")
    );
    let samples = samples(&server);
    for (name, number) in [
        ("connections_total", 1.0),
        ("streams_total", 5.0),
        ("streams", 0.0),
        ("streams_delayed_total", 1.0),
        ("resets_total{by=\"client\",code=\"CANCEL\"}", 3.0),
        ("resets_total{by=\"server\",code=\"PROTOCOL_ERROR\"}", 1.0),
        ("goaways_total{code=\"PROTOCOL_ERROR\"}", 1.0),
        ("misbehaviour_total{kind=\"reset-before-answer\"}", 3.0),
        ("misbehaviour_total{kind=\"forced-reset\"}", 1.0),
    ] {
        assert_eq!(samples.get(&format!("tidemill_http2_{name}")), Some(&number), "{name}");
    }
}
