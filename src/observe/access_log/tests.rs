//! Each format to the letter, and that nothing a client sends breaks a line.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

fn entry<'a>() -> Entry<'a> {
    Entry {
        began: UNIX_EPOCH + Duration::from_millis(971_186_136_042),
        connection: 17,
        ordinal: 4,
        peer: Peer::Ip("192.0.2.7:5678".parse().unwrap()),
        line: Some(RequestLine { method: Method::Get, target: b"/x?a=b", version: Version::Http11 }),
        status: Some(200),
        content_bytes: 2326,
        head: Duration::from_micros(40),
        first_byte: Some(Duration::from_micros(1_500)),
        last_byte: Duration::from_millis(64),
        close: None,
        paused: Duration::ZERO,
        blocked: Duration::ZERO,
        queued_max: 65_536,
        rx: 0..412,
        tx: 0..9314,
        referer: b"http://example.org/",
        user_agent: b"curl/8",
    }
}

fn cut<'a>() -> Entry<'a> {
    Entry {
        peer: Peer::Unix,
        line: None,
        status: None,
        content_bytes: 0,
        first_byte: None,
        close: Some("closed by the client"),
        paused: Duration::from_millis(30),
        blocked: Duration::from_millis(1_250),
        rx: 412..420,
        tx: 9314..9314,
        referer: b"",
        user_agent: b"",
        ..entry()
    }
}

fn written(format: Format, colours: bool, entry: &Entry<'_>) -> String {
    let mut lines = Vec::new();
    Formatter::new(format, colours).write(entry, &mut lines);
    String::from_utf8(lines).unwrap()
}

#[test]
fn the_classic_formats_are_exact() {
    let common = "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET /x?a=b HTTP/1.1\" 200 2326";
    assert_eq!(written(Format::Common, false, &entry()), format!("{common}\n"));
    let combined = format!("{common} \"http://example.org/\" \"curl/8\"\n");
    assert_eq!(written(Format::Combined, false, &entry()), combined);
    let nothing = "unix: - - [10/Oct/2000:13:55:36 +0000] \"-\" - - \"-\" \"-\"\n";
    assert_eq!(written(Format::Combined, false, &cut()), nothing);
    let refused = written(Format::Common, false, &Entry { line: None, status: Some(400), ..entry() });
    assert!(refused.ends_with("] \"-\" 400 2326\n"), "{refused}");
    let v6 = Entry { peer: Peer::Ip("[2001:db8::1]:80".parse().unwrap()), ..entry() };
    assert!(written(Format::Common, false, &v6).starts_with("2001:db8::1 - - ["));
}

#[test]
fn json_is_exact() {
    let full = r#"{"time":"2000-10-10T13:55:36.042Z","connection":17,"request":4,"peer":"192.0.2.7:5678","method":"GET","target":"/x?a=b","version":"HTTP/1.1","status":200,"bytes":2326,"head_ms":0.040,"first_byte_ms":1.500,"last_byte_ms":64.000,"close":null,"paused_ms":0.000,"blocked_ms":0.000,"queued_max":65536,"rx":"1:413","tx":"1:9315","referer":"http://example.org/","user_agent":"curl/8"}"#;
    assert_eq!(written(Format::Json, false, &entry()), format!("{full}\n"));
    let cut_short = r#"{"time":"2000-10-10T13:55:36.042Z","connection":17,"request":4,"peer":"unix:","method":null,"target":null,"version":null,"status":null,"bytes":0,"head_ms":0.040,"first_byte_ms":null,"last_byte_ms":64.000,"close":"closed by the client","paused_ms":30.000,"blocked_ms":1250.000,"queued_max":65536,"rx":"413:421","tx":"9315:9315"}"#;
    assert_eq!(written(Format::Json, false, &cut()), format!("{cut_short}\n"));
}

#[test]
fn pretty_keeps_its_columns() {
    assert_eq!(
        written(Format::Pretty, false, &entry()),
        "13:55:36.042 200 GET /x?a=b                          2.2KiB     64ms  c=17 r=4 rx=1:413 tx=1:9315\n"
    );
    assert_eq!(
        written(Format::Pretty, false, &cut()),
        "13:55:36.042 --- (not understood)                        0B     64ms  c=17 r=4 rx=413:421 tx=9315:9315  \
         blocked 1.2s paused 30ms peak 64KiB  closed by the client\n"
    );
    let long = Entry { line: Some(RequestLine { target: &[b'a'; 40], ..entry().line.unwrap() }), ..entry() };
    let target = "a".repeat(40);
    assert!(written(Format::Pretty, false, &long).starts_with(&format!("13:55:36.042 200 GET {target}    2.2KiB ")));
}

#[test]
fn colours_are_added_and_nothing_else() {
    for entry in [entry(), cut()] {
        let coloured = written(Format::Pretty, true, &entry);
        assert!(coloured.contains("\x1b["));
        assert_eq!(without_colours(&coloured), written(Format::Pretty, false, &entry));
    }
    assert!(written(Format::Pretty, true, &entry()).contains("\x1b[32m200\x1b[0m"));
    let failed = Entry { status: Some(500), ..entry() };
    assert!(written(Format::Pretty, true, &failed).contains("\x1b[1;31m500\x1b[0m"));
    assert!(!written(Format::Common, true, &entry()).contains('\x1b'));
}

fn without_colours(text: &str) -> String {
    let mut pieces = text.split('\x1b');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |plain, piece| plain + piece.split_once('m').unwrap().1)
}

#[test]
fn every_month_has_its_number() {
    let mut moment = Moment::new();
    // The first and the last day of each month of 1972, a leap year, which begins 730 days after 1970.
    let mut day = 730;
    for (number, days) in (1..).zip([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        for (offset, day_of_month) in [(0, 1), (days - 1, days)] {
            let wall = UNIX_EPOCH + Duration::from_secs((day + offset) * 86_400) + Duration::from_millis(3_723_004);
            moment.set(wall);
            let expected = format!("1972-{number:02}-{day_of_month:02}T01:02:03.004Z");
            assert_eq!(moment.rfc3339().to_string(), expected);
        }
        day += days;
    }
}

#[test]
fn formats_have_names() {
    for (name, format) in
        [("common", Format::Common), ("combined", Format::Combined), ("json", Format::Json), ("pretty", Format::Pretty)]
    {
        assert_eq!(name.parse(), Ok(format));
    }
    assert!("JSON".parse::<Format>().is_err());
}

/// Bytes that a careless formatter would trip over come up often.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\n\r\"\\\x1b\x00\x7f\x9b\xc2\xff ]".to_vec())];
    prop::collection::vec(byte, 0..40)
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![Method::Get, Method::Head, Method::Options, Method::Unknown])
}

/// Undoes `escape::plain`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut pieces = text.split("\\x");
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    bytes
}

proptest! {
    #[test]
    fn whatever_a_client_sends_is_one_line_without_control_characters(
        target in hostile(), referer in hostile(), user_agent in hostile(), method in method(),
    ) {
        let line = Some(RequestLine { method, target: &target, version: Version::Http10 });
        let entry = Entry { line, referer: &referer, user_agent: &user_agent, ..entry() };
        for format in [Format::Common, Format::Combined, Format::Json, Format::Pretty] {
            let written = written(format, false, &entry);
            let line = written.strip_suffix('\n').unwrap();
            prop_assert!(!line.contains(char::is_control), "{:?}: {:?}", format, line);
        }
    }

    #[test]
    fn quotes_of_the_combined_format_enclose_the_values(
        target in hostile(), referer in hostile(), user_agent in hostile(), method in method(),
    ) {
        let line = Some(RequestLine { method, target: &target, version: Version::Http11 });
        let entry = Entry { line, referer: &referer, user_agent: &user_agent, ..entry() };
        let written = written(Format::Combined, false, &entry);
        prop_assert!(written.is_ascii());
        let parts: Vec<&str> = written.split('"').collect();
        prop_assert_eq!(parts.len(), 7, "{}", written);
        prop_assert_eq!((parts[2], parts[4], parts[6]), (" 200 2326 ", " ", "\n"));
        let request = [method.as_str().as_bytes(), b" ", &target, b" HTTP/1.1"].concat();
        prop_assert_eq!(unescaped(parts[1]), request);
        for (part, value) in [(parts[3], referer), (parts[5], user_agent)] {
            prop_assert_eq!(unescaped(part), if value.is_empty() { b"-".to_vec() } else { value });
        }
    }

    #[test]
    fn json_gives_back_the_values(
        target in hostile(), referer in hostile(), user_agent in hostile(), method in method(), close in "\\PC*|[\\x00-\\x9f]*",
    ) {
        let line = Some(RequestLine { method, target: &target, version: Version::Http11 });
        let entry = Entry { line, referer: &referer, user_agent: &user_agent, close: Some(&close), ..entry() };
        let object: serde_json::Value = serde_json::from_str(&written(Format::Json, false, &entry)).unwrap();
        prop_assert_eq!(&object["method"], method.as_str());
        prop_assert_eq!(&object["close"], &close);
        prop_assert_eq!(object["target"].as_str().unwrap(), String::from_utf8_lossy(&target));
        for (name, value) in [("referer", referer), ("user_agent", user_agent)] {
            let member = object.get(name).and_then(|value| value.as_str()).unwrap_or_default();
            prop_assert_eq!(member, String::from_utf8_lossy(&value));
        }
    }
}
