//! Frames without end: resets, pings, settings, empty and tiny frames, priorities.

use super::client::{Client, bytes, on_streams};
use super::siege::{ATTACKERS, Attacker, Siege};

/// Each attack of the list by as many attackers as there are on the whole. Who reads sees its connection end with
/// ENHANCE_YOUR_CALM and the words in the debug data.
fn are_ended(attacks: &[(Vec<u8>, &str)]) {
    // What is counted must not depend on how long the attack takes: nothing comes back meanwhile.
    let mut siege = Siege::of(&["--http2-glitches-per-second", "0"]);
    // A stream that lives, or the connection would be over at 75 %, however much of the attack has been read then.
    let held = bytes("GET 1 /delay/600000");
    let attack = |number: usize| [&held[..], &attacks[number % attacks.len()].0].concat().into();
    let attackers = siege.lay_each(ATTACKERS, |number| (attack(number), true));
    for (number, attacker) in attackers.iter().enumerate() {
        attacker.expect_goodbye("ENHANCE_YOUR_CALM", attacks[number % attacks.len()].1);
    }
    drop(attackers);
    siege.lay_each(ATTACKERS, |number| (attack(number), false));
    siege.check();
}

/// On streams behind the first one, which `are_ended` holds.
fn on_later_streams(count: usize, words: &str) -> Vec<u8> {
    on_streams(count + 1, words).split_off(on_streams(1, words).len())
}

/// Who floods with these is not ended, and costs nobody anything.
fn are_borne(attack: &[u8]) -> Vec<Attacker> {
    let mut siege = Siege::of(&[]);
    let attack = [attack, &bytes(r#"PING "the last""#)].concat();
    let attackers = siege.lay(ATTACKERS, &attack);
    for attacker in &attackers {
        assert_eq!(attacker.count(r#"PING ack "the last""#), 1, "{:?}", attacker.frames.last());
        assert_eq!((attacker.count("GOAWAY"), attacker.is_over), (0, false));
    }
    siege.check();
    attackers
}

/// CVE-2023-44487.
#[test]
fn rapid_resets_are_borne_and_delay_who_makes_them() {
    are_borne(&on_streams(500, "GET # /delay/600000\nRST_STREAM # CANCEL"));
    let siege = Siege::of(&["--admin", "127.0.0.1:0", "--http2-reset-delay", "300ms"]);
    let mut client = Client::connect(&siege.server);
    client.send_bytes(&on_streams(100, "GET # /delay/600000\nRST_STREAM # CANCEL"));
    let start = std::time::Instant::now();
    client.send("GET 1001 /plaintext");
    assert_eq!(client.response(1001)[1], r#"DATA 1001 end "Hello, World!""#);
    assert!(start.elapsed().as_millis() >= 300, "{:?}", start.elapsed());
}

/// CVE-2023-44487, by a client that never reads, and whose requests are answered at once.
#[test]
fn resets_of_what_is_answered_are_borne() {
    are_borne(&on_streams(1000, "GET # /plaintext\nRST_STREAM # CANCEL"));
}

/// CVE-2025-8671: we are made to reset, each way that costs a stream.
#[test]
fn resets_that_we_are_made_to_send_are_counted() {
    let attacks = [
        "GET # /delay/600000\nWINDOW_UPDATE # 0",
        "GET # /delay/600000\nWINDOW_UPDATE # 2147483647",
        "GET # /delay/600000\nPRIORITY # #",
        "GET # /delay/600000\nFRAME 2 0 # \"abc\"",
        "HEADERS # end depends=# :method: GET | :scheme: http | :path: /",
        "HEADERS # end :method: GET | :scheme: http | :path: / | :authority: a | X: upper case",
        "HEADERS # end :method: GET | :scheme: http | :path: / | :authority: a | connection: close",
        "HEADERS # end :method: GET | :scheme: http | :authority: a",
        "HEADERS # end :method: GET | :scheme: http | :path: / | :authority: a | a: b\\x00",
        "POST # /echo content-length: 1\nDATA # end \"ab\"",
        "POST # /echo content-length: 3\nDATA # end \"ab\"",
        "POST # /echo\nHEADERS # a: not at the end",
        "POST # /echo\nHEADERS # end :path: /trailer",
    ];
    let attacks = attacks.map(|attack| (on_later_streams(110, attack), "forced-reset=100"));
    are_ended(&attacks);
}

#[test]
fn streams_beyond_the_limit_are_refused_and_counted() {
    are_ended(&[(on_later_streams(210, "GET # /delay/600000"), "forced-reset=100")]);
}

#[test]
fn pings_settings_and_empty_frames_are_counted() {
    let attacks = [
        (bytes(r#"400 times PING "a flood!""#), "ping=100"),
        (bytes("400 times SETTINGS"), "settings=100"),
        (bytes("400 times SETTINGS 4=1 4=65535 4=0 4=100"), "settings=100"),
        (bytes("400 times SETTINGS ack"), "glitch=100"),
        (bytes("POST 3 /echo\n400 times DATA 3 \"\""), "empty-frame=100"),
        (bytes("POST 3 /echo\n400 times DATA 3 pad=0 \"\""), "empty-frame=100"),
        (bytes("POST 3 /echo\n400 times DATA 3 pad=255 \"\""), "empty-frame=100"),
    ];
    are_ended(&attacks);
}

/// Nobody takes what a request has for which the service only waits.
#[test]
fn tiny_data_that_nobody_takes_is_counted() {
    let begin = "HEADERS 3 :method: GET | :scheme: http | :path: /delay/600000 | :authority: a.test\n";
    let attacks = [
        (bytes(&format!("{begin}400 times DATA 3 \"x\"")), "small-data=100%"),
        (bytes(&format!("{begin}400 times DATA 3 pad=100 \"x\"")), "small-data=100%"),
    ];
    are_ended(&attacks);
}

#[test]
fn tiny_data_that_is_taken_is_an_upload_like_any_other() {
    let attack = bytes("POST 1 /users\n3000 times DATA 1 \"x\"");
    let attackers = are_borne(&attack);
    assert_eq!(attackers[0].count("RST_STREAM"), 0);
}

#[test]
fn dependencies_of_every_kind_are_read_and_cost_nothing() {
    let cycle = "PRIORITY 1 3\nPRIORITY 3 5\nPRIORITY 5 1\nPRIORITY 2147483647 1\nPRIORITY 1 2147483647\n";
    are_borne(&bytes(cycle).repeat(1000));
    are_borne(&on_streams(300, "PRIORITY # 4294967295\nFRAME 0xbb 7 # \"greased\""));
}

#[test]
fn priorities_of_streams_that_do_not_exist_are_kept_for_as_many_as_may_live() {
    are_ended(&[(on_later_streams(300, "PRIORITY_UPDATE # u=0"), "glitch=100")]);
    let same = bytes("GET 1 /delay/600000\n3000 times PRIORITY_UPDATE 1 u=0, i\n3000 times PRIORITY_UPDATE 3 u=7");
    are_borne(&same);
}

#[test]
fn unknown_frames_are_skipped_whatever_they_hold() {
    let attack = bytes(r#"FRAME 0xbb 255 7 "\{x*16000}""#).repeat(10);
    are_borne(&[attack, bytes("FRAME 0xcc 0 0 \"\"").repeat(3000)].concat());
}

/// Whoever does not read is not read from either, once the kernel has no room for answers.
#[test]
fn who_never_reads_is_not_read_from() {
    let windows = bytes("SETTINGS 4=2147483647\nWINDOW_UPDATE 0 2147418112");
    let attack = [windows, on_streams(10, "GET # /bytes/10000000"), bytes("60000 times PING \"12345678\"")].concat();
    let mut siege = Siege::of(&["--http2-glitches", "1000000"]);
    let attackers = siege.lay_blind(ATTACKERS, &attack);
    assert!(attackers.iter().all(|attacker| !attacker.has_sent_all() && !attacker.is_over));
    siege.check();
}

#[test]
fn answers_that_are_never_read_are_bounded() {
    for path in ["/plaintext", "/status/204"] {
        let mut siege = Siege::of(&[]);
        siege.lay_blind(ATTACKERS, &on_streams(5000, &format!("HEAD # {path}")));
        siege.check();
    }
}
