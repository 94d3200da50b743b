//! Rooms: every member receives every message, and a slow member does not delay the others.

use serde_json::{Value, json};

use crate::client::{BINARY, CONTINUATION, FIN, Frame, TEXT, WebSocket, request};
use crate::support::{Server, status};

/// A member of a room that has been welcomed.
fn join(server: &Server, room: &str, name: &str) -> WebSocket {
    let mut member = WebSocket::open(server, &format!("/ws/chat?room={room}&name={name}"));
    assert_eq!(heard(&mut member)["type"], "welcome");
    let joined = heard(&mut member);
    assert_eq!((&joined["type"], &joined["name"]), (&json!("joined"), &json!(name)));
    member
}

/// What the member hears next.
fn heard(member: &mut WebSocket) -> Value {
    serde_json::from_str(&member.read_text()).unwrap()
}

fn say(member: &mut WebSocket, text: &str) {
    member.send(FIN | TEXT, text);
}

#[test]
fn everybody_hears_everybody_in_the_same_order() {
    let server = Server::start(&[]);
    let mut ada = join(&server, "mill", "ada");
    let mut bob = join(&server, "mill", "bob");
    assert_eq!(heard(&mut ada), json!({"type": "joined", "name": "bob", "members": 2}));
    let mut eve = join(&server, "mill", "eve");
    for member in [&mut ada, &mut bob] {
        assert_eq!(heard(member), json!({"type": "joined", "name": "eve", "members": 3}));
    }
    say(&mut ada, "hello");
    let message = |name, text| json!({"type": "message", "name": name, "members": 3, "text": text});
    assert_eq!(heard(&mut ada), message("ada", "hello"));
    say(&mut bob, "\"quoted\"\n\u{1}");
    say(&mut bob, "🌊");
    for member in [&mut bob, &mut eve] {
        assert_eq!(heard(member), message("ada", "hello"));
    }
    for member in [&mut ada, &mut bob, &mut eve] {
        assert_eq!(heard(member), message("bob", "\"quoted\"\n\u{1}"));
        assert_eq!(heard(member), message("bob", "🌊"));
    }
    drop(eve);
    assert_eq!(heard(&mut ada), json!({"type": "left", "name": "eve", "members": 2}));
}

#[test]
fn rooms_do_not_hear_each_other() {
    let server = Server::start(&[]);
    let mut here = join(&server, "here", "a");
    let mut there = join(&server, "there", "b");
    say(&mut there, "there");
    assert_eq!(heard(&mut there)["text"], "there");
    say(&mut here, "here");
    assert_eq!(heard(&mut here)["text"], "here", "and not what was said before, elsewhere");
    // Without a name of its own a room is the lobby, and a member a guest.
    let mut guest = WebSocket::open(&server, "/ws/chat");
    assert_eq!(heard(&mut guest), json!({"type": "welcome", "name": "guest 1", "members": 1}));
    let mut ada = join(&server, "lobby", "ada");
    say(&mut ada, "in the lobby");
    assert_eq!(heard(&mut guest)["name"], "guest 1");
    assert_eq!(heard(&mut guest)["name"], "ada");
    assert_eq!(heard(&mut guest)["text"], "in the lobby");
}

#[test]
fn names_are_decoded_and_bounded() {
    let server = Server::start(&[]);
    let mut member = WebSocket::open(&server, "/ws/chat?room=%20m%C3%BChle%20&name=%22Ada%22");
    assert_eq!(heard(&mut member)["name"], "\"Ada\"");
    WebSocket::open(&server, &format!("/ws/chat?name={}", "n".repeat(64)));
    for query in [
        format!("name={}", "n".repeat(65)),
        format!("room={}", "n".repeat(65)),
        "name=a%00b".into(),
        "room=a%0Ab".into(),
        "name=%FF".into(),
    ] {
        let answer =
            server.ask(&request(&format!("/ws/chat?{query}"), "").replace("Connection: ", "Connection: close, "));
        assert_eq!(status(&answer), "400", "{query}");
    }
}

#[test]
fn what_is_too_long_gets_1009_and_what_is_binary_1003() {
    let server = Server::start(&["--ws-max-message", "100"]);
    let mut witness = join(&server, "r", "witness");
    say(&mut witness, &"x".repeat(100));
    assert_eq!(heard(&mut witness)["text"], "x".repeat(100));
    say(&mut witness, &"x".repeat(101));
    assert_eq!(witness.expect_close(1009), "the message is too long");
    let mut in_pieces = join(&server, "r", "pieces");
    in_pieces.send(TEXT, "x".repeat(60));
    in_pieces.send(CONTINUATION, "x".repeat(41));
    in_pieces.expect_close(1009);
    // The length alone is no reason yet: it is what arrives that counts. But it does not have to arrive to its end.
    let mut endless = join(&server, "r", "endless");
    endless.client.send(&crate::client::frame(TEXT, &[b'x'; 100_000])[..200]);
    endless.expect_close(1009);
    let mut binary = join(&server, "r", "binary");
    binary.send(FIN | BINARY, "x");
    binary.expect_close(1003);
}

#[test]
fn who_keeps_up_is_not_sent_away_however_long_what_is_said_becomes() {
    let server = Server::start(&["--ws-max-message", "32k"]);
    let mut reader = join(&server, "r", "reader");
    let mut speaker = join(&server, "r", "speaker");
    assert_eq!(heard(&mut reader)["type"], "joined");
    let longest = "\u{1}".repeat(32 * 1024);
    // Twice the longest is more than waits for a member at a time; but nobody says it faster than it can be heard.
    let twice = crate::client::frame(FIN | TEXT, longest.as_bytes()).repeat(2);
    for _ in 0..10 {
        speaker.client.send(&twice);
        for member in [&mut speaker, &mut reader] {
            (0..2).for_each(|_| assert_eq!(heard(member)["text"], *longest));
        }
    }
    assert!(!server.log().contains("does not keep up"), "{}", server.log());
}

#[test]
fn a_member_that_does_not_read_is_sent_away_and_delays_nobody() {
    let server = Server::start(&[]);
    let mut laggard = join(&server, "r", "laggard");
    let mut readers = ["one", "two", "three"].map(|name| join(&server, "r", name));
    let mut speaker = join(&server, "r", "speaker");
    for (earlier, reader) in readers.iter_mut().enumerate() {
        (earlier..3).for_each(|_| assert_eq!(heard(reader)["type"], "joined"));
    }
    let padding = "x".repeat(12_000);
    let left = json!({"type": "left", "name": "laggard", "members": 4});
    let (mut spoken, mut told) = (0, 0);
    while !server.log().contains("does not keep up with its chat room (1 so far)") {
        say(&mut speaker, &format!("{spoken} {padding}"));
        for member in readers.iter_mut().chain([&mut speaker]) {
            let mut event = heard(member);
            if event == left {
                told += 1;
                event = heard(member);
            }
            assert_eq!(number(&event), spoken, "everybody hears everything in order");
        }
        spoken += 1;
        assert!(spoken < 5_000, "60 MB wait for a member that does not read");
    }
    if told == 0 {
        readers.iter_mut().chain([&mut speaker]).for_each(|member| assert_eq!(heard(member), left));
    }
    assert!(told == 0 || told == 4, "{told} of 4 hear that it has gone");
    (0..4).for_each(|_| assert_eq!(heard(&mut laggard)["type"], "joined"));
    let mut caught_up = 0;
    let close = loop {
        let Frame { first, payload } = laggard.read();
        if first != FIN | TEXT {
            break (first, payload);
        }
        assert_eq!(number(&serde_json::from_slice(&payload).unwrap()), caught_up);
        caught_up += 1;
    };
    assert_eq!(close, (FIN | 0x8, [&1013_u16.to_be_bytes()[..], b"too slow for this room"].concat()));
    assert!(caught_up > 0 && caught_up < spoken, "{caught_up} of {spoken}");
    laggard.send_close(1013);
    laggard.expect_end();
    assert!(server.peak_kib() < 4 * 1024, "peak memory: {} KiB", server.peak_kib());
}

fn number(message: &Value) -> usize {
    let text = message["text"].as_str().unwrap_or_else(|| panic!("not a message: {message}"));
    text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn in_a_large_room_nobody_is_told_who_comes_and_goes() {
    let server = Server::start(&[]);
    let mut members: Vec<WebSocket> =
        (0..33).map(|n| WebSocket::open(&server, &format!("/ws/chat?name=m{n}"))).collect();
    say(&mut members[32], "all of you");
    for member in &mut members {
        let mut last_joined = None;
        let message = loop {
            let event = heard(member);
            match event["type"].as_str().unwrap() {
                "joined" => last_joined = Some(event["name"].clone()),
                "message" => break event,
                kind => assert_eq!(kind, "welcome"),
            }
        };
        assert_ne!(last_joined, Some(json!("m32")), "the 33rd comes unannounced");
        assert_eq!(message, json!({"type": "message", "name": "m32", "members": 33, "text": "all of you"}));
    }
}
