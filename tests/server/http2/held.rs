//! What a client can make the server keep: content that nobody takes, streams, half frames, connections.

use super::client::{Client, bytes, on_streams};
use super::siege::{ATTACKERS, Attacker, Siege};
use crate::support::Server;

/// All the content that the windows let in, for requests whose service only waits.
#[test]
fn content_that_nobody_takes_is_bounded_over_all_connections() {
    let mut siege = Siege::of(&[]);
    let request = "HEADERS # :method: GET | :scheme: http | :path: /delay/600000 | :authority: a.test\n";
    let content = r#"4 times DATA # "\{x*16000}""#;
    let attackers = siege.lay(ATTACKERS, &on_streams(16, &format!("{request}{content}")));
    assert!(attackers.iter().all(|attacker| !attacker.is_over));
    siege.check();
}

/// The windows of responses are shut, so what is echoed has nowhere to go.
#[test]
fn echoes_that_nobody_reads_are_bounded() {
    let mut siege = Siege::of(&[]);
    let content = r#"4 times DATA # "\{x*16000}""#;
    let attack = [bytes("SETTINGS 4=0"), on_streams(100, &format!("POST # /echo\n{content}"))].concat();
    siege.lay(ATTACKERS, &attack);
    siege.check();
}

/// Each stream has a handler that keeps what has come until all of it is there. One that echoes needs a ring for any byte.
#[test]
fn content_that_handlers_keep_is_bounded_over_all_connections() {
    let mut siege = Siege::of(&[]);
    let content = r#"DATA # "\{x*16000}""#;
    let users = on_streams(100, &format!("POST # /users\n{content}"));
    let lines = on_streams(100, &format!("POST # /ndjson\n{content}"));
    let echo = [bytes("SETTINGS 4=0"), on_streams(100, &format!("POST # /echo\n{content}"))].concat();
    let attacks = [users, lines, echo];
    let attackers = siege.lay_each(ATTACKERS, |number| (attacks[number % 3].as_slice().into(), true));
    let refused = |attacker: &Attacker| {
        let unavailable = attacker.frames.iter().filter(|frame| frame.contains(":status: 503")).count();
        unavailable + attacker.count("RST_STREAM")
    };
    assert!(attackers.iter().all(|attacker| !attacker.is_over && (1..100).contains(&refused(attacker))));
    siege.check();
    // Others have their own memory, which is enough for usual content.
    let mut client = Client::connect(&siege.server);
    client.send(
        r#"POST 1 /users
        2 times DATA 1 "\{ *12000}"
        DATA 1 end "17""#,
    );
    let answer = client.response(1);
    assert!(answer[0].contains(":status: 200"), "{answer:?}");
}

/// Tunnels whose windows are shut: what they echo has nowhere to go.
#[test]
fn what_waits_in_websockets_is_bounded_over_all_connections() {
    let mut siege = Siege::of(&[]);
    let connect = "HEADERS # :method: CONNECT | :protocol: websocket | :scheme: http | :path: /ws/echo | :authority: a.test \
                   | sec-websocket-version: 13\n";
    // The beginning of a masked text message, 9,000 bytes of it.
    let content = r#"DATA # "\x01\xfe\x23\x28\x00\x00\x00\x00\{x*9000}""#;
    let attack = [bytes("SETTINGS 4=0"), on_streams(100, &format!("{connect}{content}"))].concat();
    let attackers = siege.lay(ATTACKERS, &attack);
    assert!(attackers.iter().all(|attacker| attacker.count("HEADERS") > 0 && attacker.count("RST_STREAM") > 0));
    siege.check();
}

/// Rooms with a member that reads and one that does not, whose mailboxes others fill.
#[test]
fn what_waits_in_mailboxes_is_bounded_over_all_connections() {
    let mut siege = Siege::of(&[]);
    let connect = |stream: usize, room: usize| {
        format!(
            "HEADERS {stream} :method: CONNECT | :protocol: websocket | :scheme: http \
             | :path: /ws/chat?room=r{room} | :authority: a.test | sec-websocket-version: 13\n"
        )
    };
    // A control character takes six bytes in JSON.
    let message = r#""\x81\xfe\x32\xc8\x00\x00\x00\x00\{\x01*13000}""#;
    let attack = |number: usize| {
        let rooms = (0..50).map(|room| {
            let (silent, writes, room) = (4 * room + 1, 4 * room + 3, 50 * number + room);
            let opened = connect(silent, room) + &connect(writes, room);
            let opened = format!("{opened}WINDOW_UPDATE {writes} 1000000\n");
            bytes(&(opened + &format!("DATA {writes} {message}\n").repeat(3)))
        });
        [vec![bytes("SETTINGS 4=0")], rooms.collect()].concat().concat()
    };
    // As many as there are rooms for.
    siege.lay_each(10, |number| (attack(number).into(), true));
    siege.check();
}

/// Without memory for all, a connection has half the window of a stream. What is over is kept no longer.
#[test]
fn who_keeps_too_much_is_told_to_try_again_later() {
    let server = Server::start(&["--http2-kept", "0", "--http2-stream-window", "16KiB"]);
    let mut client = Client::connect(&server);
    let post = |stream: u32| format!("POST {stream} /users\nDATA {stream} \"\\{{ *4000}}\"\n");
    client.send(&(post(1) + &post(3) + &post(5)));
    let refused = client.response(5);
    assert!(refused[0].contains(":status: 503") && refused[0].contains("retry-after: 1"), "{refused:?}");
    assert!(refused[1].contains("the content of other requests fills the memory"), "{refused:?}");
    client.send("DATA 1 end \"17\"");
    assert_eq!(client.response(1)[1], r#"DATA 1 end "{"received":17}""#);
    client.send(&(post(7) + "DATA 7 end \"18\""));
    assert_eq!(client.response(7)[1], r#"DATA 7 end "{"received":18}""#);
    // Too late for another answer.
    client.send("POST 9 /echo\nDATA 9 \"a\"");
    client.until("RST_STREAM 9 ENHANCE_YOUR_CALM");
}

#[test]
fn as_many_streams_as_there_may_be_are_held_for_little() {
    let mut siege = Siege::of(&[]);
    let attackers = siege.lay(ATTACKERS, &on_streams(100, "GET # /delay/600000"));
    assert!(attackers.iter().all(|attacker| attacker.count("RST_STREAM") == 0 && !attacker.is_over));
    siege.check();
}

#[test]
fn half_frames_are_held_for_nothing() {
    let mut siege = Siege::of(&[]);
    let attacks = [
        bytes("PING \"12345678\"")[..12].to_vec(),
        bytes(r#"FRAME 0xbb 0 0 "\{x*16000}""#)[..8000].to_vec(),
        bytes(r#"POST 1 /echo"#),
        bytes("POST 1 /echo\nDATA 1 \"\\{x*16000}\"").split_at(8000).0.to_vec(),
        bytes("SETTINGS 1=1 2=0 3=1")[..16].to_vec(),
        bytes("GET 1 /plaintext")[..20].to_vec(),
    ];
    let attackers = siege.lay_each(ATTACKERS, |number| (attacks[number % attacks.len()].as_slice().into(), true));
    assert!(attackers.iter().all(|attacker| !attacker.is_over));
    siege.check();
}

#[test]
fn a_thousand_idle_connections_are_cheap() {
    let mut siege = Siege::of(&[]);
    let attackers = siege.lay(1000, &bytes("SETTINGS ack\nGET 1 /plaintext"));
    assert!(attackers.iter().all(|attacker| attacker.count("DATA 1 end") == 1 && !attacker.is_over));
    siege.check();
}
