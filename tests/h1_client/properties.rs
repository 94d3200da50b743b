//! Responses as the client reads them against a naive reader: they agree about every input, valid or broken, however it is
//! cut.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tidemill::base::limits::Limits;

use crate::driver::{Asked, events};
use crate::h1_broken::{mutation, pieces};
use crate::naive::{Said, read, said};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn responses_are_understood_as_a_naive_reader_understands_them(
        asked in asked(),
        input in responses(),
        cuts in vec(1usize..40, 1..30),
    ) {
        check(asked, &input, &cuts, &Limits::default())?;
    }

    #[test]
    fn broken_responses_are_refused_where_a_naive_reader_refuses_them(
        asked in asked(),
        mut input in responses(),
        mutations in vec(mutation(), 1..4),
        cuts in vec(1usize..40, 1..30),
    ) {
        for mutation in &mutations {
            mutation.apply(&mut input);
        }
        check(asked, &input, &cuts, &Limits::default())?;
    }

    #[test]
    fn limits_hold_where_a_naive_reader_finds_them(
        asked in asked(),
        input in responses(),
        cuts in vec(1usize..40, 1..30),
        (head, fields) in (20usize..160, 0usize..6),
    ) {
        let limits = Limits { head_bytes_max: head, fields_max: fields, ..Limits::default() };
        check(asked, &input, &cuts, &limits)?;
    }

    #[test]
    fn fields_that_frame_a_response_are_weighed_as_a_naive_reader_weighs_them(
        asked in asked(),
        version in select(vec!["1.0", "1.1"]),
        status in select(vec!["100", "101", "103", "200", "204", "205", "304", "500"]),
        lines in vec(control_field(), 0..4),
        body in select(vec!["", "abc", "3\r\nabc\r\n0\r\n\r\n", "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"]),
        cuts in vec(1usize..40, 1..30),
    ) {
        let input = format!("HTTP/{version} {status} X\r\n{}\r\n{body}", lines.concat());
        check(asked, input.as_bytes(), &cuts, &Limits::default())?;
    }
}

/// Both readers agree about `input`, and the client about every way to cut it.
fn check(asked: Asked, input: &[u8], cuts: &[usize], limits: &Limits) -> Result<(), TestCaseError> {
    let whole = events(asked, [input], limits);
    prop_assert_eq!(said(&whole), read(asked, input, limits), "{}", input.escape_ascii());
    prop_assert_eq!(&events(asked, input.chunks(1), limits), &whole, "byte by byte: {}", input.escape_ascii());
    prop_assert_eq!(&events(asked, pieces(input, cuts), limits), &whole, "in pieces: {}", input.escape_ascii());
    // An inbox that just holds the longest head wraps often.
    let small = Limits { inbox_bytes: limits.head_bytes_max.min(input.len().max(1)), ..limits.clone() };
    let whole = events(asked, [input], &small);
    prop_assert_eq!(&events(asked, pieces(input, cuts), &small), &whole, "{}", input.escape_ascii());
    Ok(())
}

fn asked() -> impl Strategy<Value = Asked> {
    let rarely = || prop_oneof![4 => Just(false), 1 => Just(true)];
    (rarely(), any::<bool>(), rarely()).prop_map(|(head, upgrade, unfinished)| Asked {
        head: head && !unfinished,
        upgrade,
        unfinished,
    })
}

/// Interim responses, a final one, and sometimes more.
fn responses() -> impl Strategy<Value = Vec<u8>> {
    let interim = (select(vec!["100 Continue", "103 Early Hints", "199"]), vec(field(), 0..2))
        .prop_map(|(status, fields)| format!("HTTP/1.1 {status}\r\n{}\r\n", fields.concat()));
    let statuses =
        select(vec!["200 OK", "404 Not Found", "204 ", "304 Not Modified", "205", "599", "101 Switching Protocols"]);
    let version = prop_oneof![9 => Just("1.1"), 1 => Just("1.0")];
    let last = (version, statuses, vec(field(), 0..5), content()).prop_map(|(version, status, fields, content)| {
        format!("HTTP/{version} {status}\r\n{}{content}", fields.concat())
    });
    let behind =
        prop_oneof![8 => Just(String::new()), 1 => "[a-z\r\n]{1,4}", 1 => Just("HTTP/1.1 200 OK\r\n\r\n".into())];
    (vec(interim, 0..3), last, behind)
        .prop_map(|(interim, last, behind)| (interim.concat() + &last + &behind).into_bytes())
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}:[ \t]{0,2}[!-~]{0,3}[ -~\t]{0,20}[ \t]{0,2}\r\n",
        1 => Just("Connection: keep-alive\r\n".to_owned()),
        1 => Just("Upgrade: websocket\r\n".to_owned()),
        1 => "Keep-Alive: ?(timeout|max) ?= ?[0-9]{1,11}(, ?timeout=[0-9]{1,2})?\r\n",
        1 => Just("X: \u{fc}\u{1F40E}\r\n".to_owned()),
    ]
}

/// The end of a head, and content.
fn content() -> impl Strategy<Value = String> {
    let chunk = ("[a-z\r\n]{1,20}", "( ?;[a-z =\"]{0,9})?", 0usize..3).prop_map(|(content, extension, zeros)| {
        format!("{}{:x}{extension}\r\n{content}\r\n", "0".repeat(zeros), content.len())
    });
    let trailers = vec("[a-zA-Z]{1,8}: ?[a-z]{0,9}\r\n", 0..3);
    prop_oneof![
        Just("\r\n".to_owned()),
        "[a-z\r\n]{0,30}".prop_map(|content| format!("\r\n{content}")),
        "[a-z\r\n]{0,30}".prop_map(|content| format!("Content-Length: {}\r\n\r\n{content}", content.len())),
        (vec(chunk, 0..4), trailers).prop_map(|(chunks, trailers)| {
            format!("Transfer-Encoding: chunked\r\n\r\n{}0\r\n{}\r\n", chunks.concat(), trailers.concat())
        }),
    ]
}

fn control_field() -> impl Strategy<Value = String> {
    let lengths = select(vec![
        "3",
        "0",
        "",
        "3, 3",
        "3,\t003",
        "3, 0",
        "3,,3",
        ", 3",
        "0, 0",
        "+3",
        "99999999999999999999",
        "003",
    ]);
    let codings = select(vec!["chunked", "Chunked", "gzip", "chunked, chunked", "gzip, chunked", "identity", ",", ""]);
    let options = select(vec!["close", "keep-alive", "Keep-Alive, close", ",", "closed", "x ,\tCLOSE"]);
    let timeouts = select(vec!["timeout=5", "max=1, Timeout = 9", "timeout=", "timeout", "timeout=5s", ",timeout=0"]);
    prop_oneof![
        2 => lengths.prop_map(|value| format!("Content-Length: {value}\r\n")),
        2 => codings.prop_map(|value| format!("transfer-encoding:{value}\r\n")),
        2 => options.prop_map(|value| format!("Connection: {value}\r\n")),
        1 => timeouts.prop_map(|value| format!("Keep-Alive: {value}\r\n")),
        2 => Just("Upgrade: websocket\r\n".to_owned()),
    ]
}

#[test]
fn the_naive_reader_refuses_what_it_should() {
    for input in ["HTTP/1.1 200OK\r\n\r\n", "HTTP/1.1 200 OK\n\n", "HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n", "\r\n", ""] {
        assert_eq!(read(Asked::default(), input.as_bytes(), &Limits::default()), [Said::Rejected]);
    }
}
