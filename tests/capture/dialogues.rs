//! HTTP/1 dialogues.

use std::fs;
use std::process::Command;

use crate::logged::range;
use crate::support::wait_until;
use crate::{Captured, faults, tshark};

/// The first byte of every request and of every response, as the log has them and as tshark does.
#[test]
fn the_positions_in_the_log_are_the_sequence_numbers_of_the_capture() {
    let Some(mut captured) = Captured::start(&["--admin", "127.0.0.1:0"]) else { return };
    let mut client = captured.logged.connect();
    for target in ["/plaintext", "/nothing", "/bytes/200000"] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.read_response();
    }
    client.finish();
    client.read_to_end();
    let objects = captured.logged.objects(3);
    captured.stop();
    let file = captured.path();
    assert_eq!(faults(&file), Vec::<Vec<String>>::new());
    let requests = tshark(&file, "http.request", &["http.request.uri", "tcp.seq"]);
    let expected = |object: &serde_json::Value| {
        let target = object["target"].as_str().unwrap().to_owned();
        vec![target, (range(object, "rx").start + 1).to_string()]
    };
    assert_eq!(requests, objects.iter().map(expected).collect::<Vec<_>>());
    // The head of a response stands at its beginning, and the next packet of the server behind its end.
    let of_server = tshark(&file, &format!("tcp.srcport == {}", captured.port()), &["tcp.seq", "tcp.nxtseq"]);
    for object in &objects {
        let tx = range(object, "tx");
        let (first, end) = ((tx.start + 1).to_string(), (tx.end + 1).to_string());
        assert!(of_server.iter().any(|packet| packet[0] == first), "{object}: {of_server:?}");
        assert!(of_server.iter().any(|packet| packet[1] == end), "{object}: {of_server:?}");
    }
    let comments: Vec<String> = tshark(&file, "frame.comment", &["frame.comment"]).concat();
    let has = |text: &str| comments.iter().filter(|comment| comment.contains(text)).count();
    assert_eq!(has("c=1 accepted 127.0.0.1:"), 1, "{comments:#?}");
    assert_eq!(has("c=1 r=3 head GET /bytes/200000"), 1, "{comments:#?}");
    let over = format!("c=1 r=2 over 404 rx={} tx={} verdict ---", text(&objects[1], "rx"), text(&objects[1], "tx"));
    assert_eq!(has(&over), 1, "{over}: {comments:#?}");
    assert_eq!(has("c=1 close: CFI closed by the client between requests after 3 requests"), 1, "{comments:#?}");
}

fn text<'a>(object: &'a serde_json::Value, name: &str) -> &'a str {
    object[name].as_str().unwrap()
}

/// What tshark puts together of the packets is what was sent, also where it goes past the server's memory.
#[test]
fn what_was_sent_can_be_taken_out_of_the_capture() {
    let Some(mut captured) = Captured::start(&["--lab", env!("CARGO_MANIFEST_DIR"), "--pcapng-size", "100MiB"]) else {
        return;
    };
    let mut client = captured.logged.connect();
    for target in ["/Cargo.lock", "/bytes/3000000"] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        client.read_to_end();
        client = captured.logged.connect();
    }
    drop(client);
    captured.stop();
    let file = captured.path();
    assert_eq!(faults(&file), Vec::<Vec<String>>::new());
    let folder = captured.logged.scratch.path("objects");
    let export = format!("http,{}", folder.display());
    let output =
        Command::new("tshark").arg("-r").arg(&file).args(["-q", "--export-objects", &export]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let object = |name: &str| fs::read(folder.join(name)).unwrap();
    let lock = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    assert!(object("Cargo.lock") == lock, "{} of {} bytes", object("Cargo.lock").len(), lock.len());
    assert_eq!(object("3000000").len(), 3_000_000);
}

/// FIN and RST are those that were seen and done, at their time.
#[test]
fn ends_are_those_that_happened() {
    let Some(mut captured) = Captured::start(&[]) else { return };
    // The client leaves while the handler works, and the answer meets a closed socket.
    let mut left = captured.logged.connect();
    left.send("GET /delay/300 HTTP/1.1\r\nHost: a\r\n\r\n");
    left.finish();
    // HTTP/1.0 ends with our FIN.
    let mut old = captured.logged.connect();
    old.send("GET /plaintext HTTP/1.0\r\n\r\n");
    old.read_to_end();
    left.read_to_end();
    drop(old);
    captured.logged.lines(2);
    captured.stop();
    let file = captured.path();
    let ends = tshark(&file, "tcp.flags.fin == 1", &["tcp.stream", "tcp.srcport", "frame.time_relative"]);
    // The connections, in the order in which they came.
    let by_server = |stream: &str| -> Vec<bool> {
        ends.iter().filter(|end| end[0] == stream).map(|end| end[1] == captured.port()).collect()
    };
    assert_eq!(by_server("0"), [false, true], "the client was first: {ends:?}");
    assert_eq!(by_server("1").first(), Some(&true), "the server was first: {ends:?}");
    let time = |end: &[String]| end[2].parse::<f64>().unwrap();
    let of_left: Vec<&Vec<String>> = ends.iter().filter(|end| end[0] == "0").collect();
    assert!(time(of_left[1]) - time(of_left[0]) > 0.25, "the handler was at work for so long in between: {ends:?}");
}

/// A request whose head came in three pieces is three packets, and the last of them tells.
#[test]
fn pieces_are_packets() {
    let Some(mut captured) = Captured::start(&["--admin", "127.0.0.1:0"]) else { return };
    let mut client = captured.logged.connect();
    let read = |captured: &Captured, at_least: u64| {
        wait_until("the piece is captured", || {
            let packets = metric(captured, "tidemill_capture_packets_total");
            packets >= 3 + at_least
        });
    };
    for (number, piece) in ["GET /plain", "text HTTP/1.1\r\nHo", "st: a\r\n\r\n"].into_iter().enumerate() {
        client.send(piece);
        read(&captured, number as u64 + 1);
    }
    client.read_response();
    drop(client);
    captured.stop();
    let file = captured.path();
    let packets =
        tshark(&file, &format!("tcp.dstport == {} && tcp.len > 0", captured.port()), &["tcp.seq", "frame.comment"]);
    let comments: Vec<&str> = packets.iter().filter_map(|packet| packet.get(1)).map(String::as_str).collect();
    assert!(packets.len() >= 3, "{packets:?}");
    let (last, before) = comments.split_last().unwrap();
    assert!(last.contains("c=") && last.contains("head GET /plaintext"), "{packets:?}");
    assert!(before.iter().all(|comment| comment.is_empty()), "{packets:?}");
}

fn metric(captured: &Captured, name: &str) -> u64 {
    let stream = std::net::TcpStream::connect(captured.logged.server.admin()).unwrap();
    let mut client = crate::support::Client::new(stream);
    client.send("GET /metrics HTTP/1.0\r\n\r\n");
    let answer = client.read_to_end();
    let line = answer.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() as u64
}

/// Torture cuts what is read and written, and the capture has the pieces.
#[test]
fn a_tortured_dialogue_is_captured_as_it_was() {
    let torture = ["--torture", "seed=7,short-read,short-write,would-block=0.1", "--pcapng-size", "100MiB"];
    let Some(mut captured) = Captured::start(&torture) else { return };
    let mut client = captured.logged.connect();
    client.send("GET /bytes/20000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.read_to_end();
    drop(client);
    captured.stop();
    let file = captured.path();
    assert_eq!(faults(&file), Vec::<Vec<String>>::new());
    let port = captured.port().to_owned();
    let sent = tshark(&file, &format!("tcp.srcport == {port} && tcp.len > 0"), &["tcp.len"]);
    let bytes: u64 = sent.iter().map(|packet| packet[0].parse::<u64>().unwrap()).sum();
    let tx = range(&captured.logged.objects(1)[0], "tx");
    assert!(sent.len() > 10 && bytes == tx.end, "{} packets, {bytes} bytes, tx={tx:?}", sent.len());
}
