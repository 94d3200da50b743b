//! Heads: field blocks without end, bombs for the decoder, and lists at every limit.

use super::client::{Client, bytes, on_streams};
use super::siege::{ATTACKERS, Siege};
use crate::support::Server;

const GET: &str = ":method: GET | :scheme: http | :path: /plaintext | :authority: a.test";

/// GET in one byte each: `:method`, `:scheme` and `:path: /` of the static table, and an authority.
const SHORT_GET: &str = r"\x82\x86\x84\x01\x06a.test";

/// Each attacker's connection ends with this code and words.
fn are_ended(attacks: &[(Vec<u8>, &str, &str)]) {
    let mut siege = Siege::of(&[]);
    let attackers = siege.lay_each(ATTACKERS, |number| (attacks[number % attacks.len()].0.as_slice().into(), true));
    for (number, attacker) in attackers.iter().enumerate() {
        let (_, code, words) = attacks[number % attacks.len()];
        attacker.expect_goodbye(code, words);
    }
    siege.check();
}

/// CVE-2024-27316.
#[test]
fn field_blocks_without_end_are_bounded_in_frames_and_bytes() {
    let begin = format!("HEADERS 1 more {GET}\n");
    let large = r"a: \{x*8000}";
    are_ended(&[
        (bytes(&format!("{begin}100 times CONTINUATION 1 more a: b")), "ENHANCE_YOUR_CALM", "CONTINUATION"),
        (bytes(&format!("{begin}100 times CONTINUATION 1 more ")), "ENHANCE_YOUR_CALM", "CONTINUATION"),
        (bytes(&format!("{begin}100 times FRAME 9 0 1 \"\"")), "ENHANCE_YOUR_CALM", "CONTINUATION"),
        (bytes(&format!("{begin}8 times CONTINUATION 1 more {large}")), "ENHANCE_YOUR_CALM", "10.5.1"),
        (bytes(&format!("{begin}PING \"inside!!\"")), "PROTOCOL_ERROR", "6.10"),
    ]);
}

/// As much of a field block as is kept, and then nothing.
#[test]
fn half_a_field_block_has_a_deadline_however_it_trickles_in() {
    let mut siege = Siege::of(&["--header-timeout", "1s"]);
    let block = bytes(&format!("HEADERS 1 more {GET}\n2 times CONTINUATION 1 more a: \\{{x*15000}}"));
    let mut trickle = bytes(&format!("HEADERS 1 {GET}"));
    trickle.truncate(11);
    let attacks = [block, trickle.clone(), trickle[..4].to_vec(), bytes("POST 1 /echo\nFRAME 0 8 1 \"\"").split_off(9)];
    let mut attackers = siege.lay_each(ATTACKERS, |number| (attacks[number % 3].as_slice().into(), true));
    while !attackers.iter().all(|attacker| attacker.is_over) {
        for attacker in attackers.iter_mut().filter(|attacker| attacker.has_sent_all() && !attacker.is_over) {
            attacker.send("RAW \\x00");
        }
        siege.press(&mut attackers);
    }
    for attacker in &attackers {
        // The zeros may have become something that is wrong.
        let goodbye = attacker.goodbye();
        assert!(goodbye.contains("did not arrive in time") || goodbye.contains("_ERROR"), "{goodbye}");
    }
    siege.check();
}

#[test]
fn what_becomes_large_from_little_is_counted_before_it_is_copied() {
    // An entry of nearly 4 KiB, and references of one byte to it.
    let name_and_value =
        format!("HEADERS 1 end {GET}\nBLOCK 3 end \"{SHORT_GET}\\x40\\x01a\\x7f\\xa1\\x1e\\{{x*4000}}\"\n");
    let references = |times: usize| {
        let mut block = bytes(&name_and_value);
        let payload = format!("{SHORT_GET}{}", r"\xbe".repeat(times));
        block.extend(bytes(&format!("BLOCK 5 end \"{payload}\"")));
        block
    };
    are_ended(&[
        (references(16_000), "ENHANCE_YOUR_CALM", "far larger"),
        (references(200), "ENHANCE_YOUR_CALM", "far larger"),
        (bytes(r#"BLOCK 1 end "\x20\x20\x20\x82\x86\x84""#), "COMPRESSION_ERROR", "4.2"),
        (bytes(r#"BLOCK 1 end "\{\s*16000}""#), "COMPRESSION_ERROR", "4.2"),
        (bytes(r#"BLOCK 1 end "\x82\x86\x84\x3f\xe1\x1f""#), "COMPRESSION_ERROR", "4.2"),
        (bytes(r#"BLOCK 1 end "\x3f\xff\xff\xff\xff\x0f""#), "COMPRESSION_ERROR", ""),
        (bytes(r#"BLOCK 1 end "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01""#), "COMPRESSION_ERROR", "5.1"),
        (bytes(r#"BLOCK 1 end "\x82\xff\x80\x80\x80\x80\x80\x80\x01""#), "COMPRESSION_ERROR", "5.1"),
        (bytes(r#"BLOCK 1 end "\x82\x00\x7f\xff\xff\xff\xff\x07a""#), "COMPRESSION_ERROR", "4.3"),
        (bytes(r#"BLOCK 1 end "\x82\x80""#), "COMPRESSION_ERROR", "6.1"),
        (bytes(r#"BLOCK 1 end "\x82\xff\x40""#), "COMPRESSION_ERROR", "2.3.3"),
    ]);
    let server = Server::start(&[]);
    let mut client = Client::connect(&server);
    client.send_bytes(&references(20));
    assert!(client.response(5)[0].contains(":status: 431"));
}

/// Five bits become eight: the list is counted, whatever its code.
#[test]
fn what_huffman_codes_expand_to_is_counted() {
    // 16,000 bytes of zeros are 25,600 times `0`.
    let block = format!(r#"BLOCK # end "{SHORT_GET}\x00\x01a\xff\x81\x7c\{{\x00*16000}}""#);
    let server = Server::start(&[]);
    let mut client = Client::connect(&server);
    client.send(&block.replace('#', "1"));
    assert!(client.response(1)[0].contains(":status: 200"));
    client.send(&block.replace('#', "3").replace(r"\x00\x01a\xff", r"\x00\x01a\x07\{a*7}\x00\x01b\xff"));
    assert!(client.response(3)[0].contains(":status: 200"));
    let mut siege = Siege::of(&["--http2-header-list", "20KiB"]);
    let attackers = siege.lay(ATTACKERS, &on_streams(50, &block));
    for attacker in &attackers {
        assert_eq!((attacker.count("HEADERS"), attacker.is_over), (50, false), "{:?}", attacker.frames.last());
    }
    assert!(attackers[0].frames.iter().any(|frame| frame.contains(":status: 431")));
    siege.check();
}

/// One more than each limit allows is answered with an error, and what it allows is served.
#[test]
fn lists_at_every_limit() {
    let server = Server::start(&["--max-headers", "20"]);
    let mut client = Client::connect(&server);
    // Four pseudo-fields count as well.
    let fields = |times: usize, field: &str| format!("{GET}{}", format!(" | {field}").repeat(times));
    let at_limit = 32 * 1024;
    let pseudo: usize = [(7, 3), (7, 4), (5, 10), (10, 6)].iter().map(|(name, value)| name + value + 32).sum();
    let rest = at_limit - pseudo - 32;
    let cases = [
        (fields(16, "a: b"), "200"),
        (fields(17, "a: b"), "431"),
        (fields(16, "cookie: a=b"), "200"),
        (fields(17, "cookie: a=b"), "431"),
        (fields(16, "cookie: "), "200"),
        (fields(17, "cookie: "), "431"),
        (format!("{GET} | a: \\{{x*{}}}", 16_000), "200"),
        (format!("{GET} | \\{{a*16000}}: b"), "200"),
        (format!("{GET} | \\{{a*{}}}: b", 8 * 1024), "200"),
    ];
    for (number, (fields, status)) in cases.iter().enumerate() {
        let stream = 2 * number as u32 + 1;
        client.send(&format!("HEADERS {stream} end {fields}"));
        let response = client.response(stream);
        assert!(response[0].contains(&format!(":status: {status}")), "{number}: {response:?}");
    }
    // Exactly as many bytes as the list may have, and one more, in three frames.
    for (stream, bytes, status) in [(101, rest - 1, "200"), (103, rest, "431")] {
        let (first, second) = (bytes / 2, bytes - bytes / 2 - 33);
        let words = format!(
            "HEADERS {stream} end more {GET}\nCONTINUATION {stream} more a: \\{{x*{first}}}\n\
             CONTINUATION {stream} b: \\{{x*{second}}}"
        );
        client.send(&words);
        let response = client.response(stream);
        assert!(response[0].contains(&format!(":status: {status}")), "{bytes}: {response:?}");
    }
}

/// The largest heads that are allowed, on all streams of all connections, while nobody reads and all are delayed.
#[test]
fn heads_that_wait_are_bounded() {
    let resets = on_streams(100, "GET # /delay/600000\nRST_STREAM # CANCEL");
    let head = r"GET # /delay/600000 a: \{x*15000}";
    let all = on_streams(200, head).split_off(on_streams(100, head).len());
    let mut siege = Siege::of(&["--http2-reset-delay", "600s"]);
    let attackers = siege.lay_blind(ATTACKERS, &[resets, all].concat());
    assert!(attackers.iter().all(|attacker| !attacker.is_over));
    siege.check();
}
