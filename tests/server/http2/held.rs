//! What a client can make the server keep: content that nobody takes, streams, half frames, connections.

use super::client::{bytes, on_streams};
use super::siege::{ATTACKERS, Siege};

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
