//! Each format to the letter, and that nothing a client sends breaks a line.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::base::moment::Moment;
use crate::base::tls_facts::{ClientCertificate, SessionFacts};
use crate::http::method::Method;
use crate::observe::close_reason::{ClientEnd, CloseReason, Cut, Fault, ResetCode, Why};
use crate::observe::delay::Delay;
use crate::observe::timers::{Drive, Part};
use crate::observe::verdict::Phase;
use crate::observe::wait_reason::WaitReason;

const BEGAN: Duration = Duration::from_millis(971_186_136_042);

/// The moment so many microseconds after the request began.
fn after(us: u64) -> Moment {
    Moment::from_millis(1000) + Duration::from_micros(us)
}

/// A drive that began when it was due.
fn drive(due: u64, over: u64) -> Drive {
    Drive { due: after(due), began: after(due), over: after(over) }
}

/// A request that was answered.
fn answered() -> RequestRecord {
    let mut record = RequestRecord::new(after(0));
    record.set_texts(b"/x?a=b", b"http://example.org/", b"curl/8");
    (record.ordinal, record.method, record.status) = (4, Some(Method::Get), Some(Status::OK));
    (record.rx, record.tx, record.head_bytes, record.queued_max) = (0..412, 0..9314, 6988, 65_536);
    (record.head_at, record.first_byte_at, record.last_byte_at) = (after(40), Some(after(1_500)), Some(after(64_000)));
    record
}

/// A request that was not understood, and whose connection ended.
fn cut() -> RequestRecord {
    let mut record = answered();
    record.set_texts(b"", b"", b"");
    (record.method, record.status) = (None, None);
    record.end_early(Cut::Connection(CloseReason::ByClient(ClientEnd::Fin)), Phase::Head, after(64_000));
    (record.rx, record.tx, record.head_bytes, record.first_byte_at) = (412..420, 9314..9314, 0, None);
    record.paused.set(true, after(34_000));
    record.note_wait(&drive(40, 1_250), Part::Blocked, true);
    record.note_wait(&drive(62_000, 64_000), Part::Queue, true);
    record
}

/// A request that had to wait for another connection's.
fn delayed(request: &str) -> RequestRecord {
    let mut record = answered();
    let took = Duration::from_millis(122);
    record.behind = Some(Rc::new(Delay { took, connection: 3, request: request.to_owned() }));
    record
}

/// A request that was refused when only its method was known.
fn refused() -> RequestRecord {
    let mut record = answered();
    record.set_texts(b"", b"", b"");
    record.status = Some(Status::BAD_REQUEST);
    record
}

/// A stream that other streams, its window and its handler held up, and that its client has reset.
fn stream() -> RequestRecord {
    let mut record = answered();
    (record.stream, record.version) = (7, Version::Http2);
    record.framed_bytes = 2000;
    record.note_wait(&drive(40, 60), Part::Clock, true);
    record.note_wait(&drive(90, 90), Part::Turn, true);
    record.note_wait(&drive(2_540, 2_540), Part::StreamWindow, false);
    record.end_early(Cut::ResetByClient(ResetCode { number: 8, name: Some("CANCEL") }), Phase::Sending, after(64_000));
    record
}

fn line(record: &RequestRecord) -> Line<'_> {
    Line {
        began: UNIX_EPOCH + BEGAN,
        connection: 17,
        peer: Peer::Ip("192.0.2.7:5678".parse().unwrap()),
        role: ListenerRole::Http,
        tls: None,
        record,
    }
}

fn written(format: Format, colours: bool, line: &Line<'_>) -> String {
    let mut lines = Vec::new();
    Formatter::new(format, colours).write(line, &mut lines);
    String::from_utf8(lines).unwrap()
}

/// A line without colours.
fn plain(format: Format, record: &RequestRecord) -> String {
    written(format, false, &line(record))
}

#[test]
fn the_classic_formats_are_exact() {
    let common = "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET /x?a=b HTTP/1.1\" 200 2326";
    assert_eq!(plain(Format::Common, &answered()), format!("{common} ---\n"));
    let combined = format!("{common} \"http://example.org/\" \"curl/8\" ---\n");
    assert_eq!(plain(Format::Combined, &answered()), combined);
    let (cut, answered) = (cut(), answered());
    let nothing = "unix: - - [10/Oct/2000:13:55:36 +0000] \"-\" - - \"-\" \"-\" CFH\n";
    assert_eq!(written(Format::Combined, false, &Line { peer: Peer::Unix, ..line(&cut) }), nothing);
    let v6 = Line { peer: Peer::Ip("[2001:db8::1]:80".parse().unwrap()), ..line(&answered) };
    assert!(written(Format::Common, false, &v6).starts_with("2001:db8::1 - - ["));
}

#[test]
fn json_is_exact() {
    let full = r#"{"time":"2000-10-10T13:55:36.042Z","connection":17,"request":4,"peer":"192.0.2.7:5678","method":"GET","target":"/x?a=b","version":"HTTP/1.1","status":200,"bytes":2326,"head_ms":0.040,"first_byte_ms":1.500,"last_byte_ms":64.000,"close":null,"verdict":"---","paused_ms":0.000,"blocked_ms":0.000,"timers_ms":{"queue":0.040,"work":63.960},"early_ms":0.000,"ahead":0,"queued_max":65536,"rx":"1:413","tx":"1:9315","referer":"http://example.org/","user_agent":"curl/8"}"#;
    assert_eq!(plain(Format::Json, &answered()), format!("{full}\n"));
    let cut_short = r#"{"time":"2000-10-10T13:55:36.042Z","connection":17,"request":4,"peer":"unix:","method":null,"target":null,"version":null,"status":null,"bytes":0,"head_ms":0.040,"first_byte_ms":null,"last_byte_ms":64.000,"close":"closed by the client","verdict":"CFH","disturbed":{"after_ms":64.000,"left_over":0,"acknowledged":null,"reset":false,"text":"CFH client left (FIN) after 64ms in the head; no answer"},"paused_ms":30.000,"blocked_ms":60.750,"timers_ms":{"queue":0.040,"work":3.210,"blocked":60.750},"early_ms":0.000,"ahead":0,"queued_max":65536,"rx":"413:421","tx":"9315:9315"}"#;
    let cut = cut();
    assert_eq!(written(Format::Json, false, &Line { peer: Peer::Unix, ..line(&cut) }), format!("{cut_short}\n"));
}

#[test]
fn whom_a_trusted_proxy_names_is_the_client() {
    let mut record = answered();
    let node = |port| Some(crate::base::peer::Node { ip: "2001:db8::9".parse().unwrap(), port });
    record.client = node(Some(80));
    assert!(plain(Format::Common, &record).starts_with("2001:db8::9 - - ["));
    assert!(plain(Format::Combined, &record).starts_with("2001:db8::9 - - ["));
    let json = plain(Format::Json, &record);
    assert!(json.contains(r#","peer":"192.0.2.7:5678","client":"[2001:db8::9]:80","method""#), "{json}");
    assert!(plain(Format::Pretty, &record).ends_with(" rx=1:413 tx=1:9315  for [2001:db8::9]:80  work 63ms\n"));
    record.client = node(None);
    assert!(plain(Format::Pretty, &record).ends_with("  for 2001:db8::9  work 63ms\n"));
}

#[test]
fn pretty_keeps_its_columns() {
    assert_eq!(
        plain(Format::Pretty, &answered()),
        "13:55:36.042 200 GET /x?a=b                          2.2KiB     64ms  c=17 r=4 rx=1:413 tx=1:9315  work 63ms\n"
    );
    assert_eq!(
        plain(Format::Pretty, &cut()),
        "13:55:36.042 --- (not understood)                        0B     64ms  c=17 r=4 rx=413:421 tx=9315:9315  \
         blocked 60ms paused 30ms peak 64KiB  CFH client left (FIN) after 64ms in the head; no answer\n"
    );
    let mut long = answered();
    long.set_texts(&[b'a'; 40], b"", b"");
    let target = "a".repeat(40);
    assert!(plain(Format::Pretty, &long).starts_with(&format!("13:55:36.042 200 GET {target}    2.2KiB ")));
}

#[test]
fn a_request_that_waited_for_another_connection_says_for_which() {
    let record = delayed("POST /\\\"users");
    let pretty = plain(Format::Pretty, &record);
    assert!(pretty.ends_with(" tx=1:9315  work 63ms  behind 122ms c=3 POST /\\\"users\n"), "{pretty}");
    let json = plain(Format::Json, &record);
    let member = r#","tx":"1:9315","behind":{"ms":122.000,"connection":3,"request":"POST /\\\"users"},"referer":"#;
    assert!(json.contains(member), "{json}");
    for format in [Format::Common, Format::Combined] {
        assert_eq!(plain(format, &record), plain(format, &answered()));
    }
}

#[test]
fn a_refused_request_shows_as_much_as_was_understood() {
    let record = refused();
    assert!(plain(Format::Common, &record).ends_with("] \"GET - HTTP/1.1\" 400 2326 ---\n"));
    assert!(plain(Format::Pretty, &record).contains(" 400 GET -                               2.2KiB "));
    assert!(plain(Format::Json, &record).contains(r#""method":"GET","target":null,"version":"HTTP/1.1","status":400"#));
    let mut nothing = refused();
    nothing.method = None;
    assert!(plain(Format::Common, &nothing).ends_with("] \"-\" 400 2326 ---\n"));
    assert!(plain(Format::Pretty, &nothing).contains(" 400 (not understood)                    2.2KiB "));
}

/// A session with everything that there can be.
fn tls() -> TlsStatus {
    let client = ClientCertificate { subject: "CN=an\"na\n".into(), fingerprint: "ab12".into() };
    let session = SessionFacts {
        version: Some("TLSv1.3"),
        suite: Some("TLS_AES_128_GCM_SHA256"),
        group: Some("X25519"),
        name: Some("a.example".into()),
        protocol: Some("http/1.1"),
        is_resumed: true,
        client: Some(client.into()),
        worked: Duration::from_micros(345),
    };
    TlsStatus { session, waited: Some(Duration::from_micros(1_200)), read: 2_000, written: 11_000 }
}

#[test]
fn what_tls_agreed_on_is_told_where_the_format_has_room() {
    let record = answered();
    let (all, nothing) = (tls(), TlsStatus::default());
    let with = |format, tls| written(format, false, &Line { tls: Some(tls), ..line(&record) });
    let json = with(Format::Json, &all);
    let member = r#","tx":"1:9315","tls":{"read":2000,"written":11000,"version":"TLSv1.3","cipher":"TLS_AES_128_GCM_SHA256","group":"X25519","sni":"a.example","alpn":"http/1.1","resumed":true,"handshake_wait_ms":1.200,"handshake_cpu_ms":0.345,"client_subject":"CN=an\"na\u000a","client_sha256":"ab12"},"referer":"#;
    assert!(json.contains(member), "{json}");
    assert!(with(Format::Json, &nothing).contains(r#","tls":{"read":0,"written":0},"referer":"#));
    let pretty = plain(Format::Pretty, &record);
    let told = "  TLSv1.3 TLS_AES_128_GCM_SHA256 X25519 sni=a.example alpn=http/1.1 resumed handshake wait 1.2ms cpu 0.3ms \
                client \"CN=an\\x22na\\x0A\" sha256 ab12 ciphertext 2000 in 11000 out\n";
    assert_eq!(with(Format::Pretty, &all), format!("{}{told}", pretty.trim_end()));
    let told = format!("{}  TLS ciphertext 0 in 0 out\n", pretty.trim_end());
    assert_eq!(with(Format::Pretty, &nothing), told);
    for format in [Format::Common, Format::Combined] {
        assert_eq!(with(format, &all), plain(format, &record));
    }
}

#[test]
fn requests_through_the_admin_listener_are_marked_where_the_format_has_room() {
    let record = answered();
    let admin = Line { role: ListenerRole::Admin, ..line(&record) };
    let pretty = plain(Format::Pretty, &record);
    assert_eq!(written(Format::Pretty, false, &admin), format!("{}  admin\n", pretty.trim_end()));
    let json = plain(Format::Json, &record).replacen(",\"method\"", ",\"listener\":\"admin\",\"method\"", 1);
    assert_eq!(written(Format::Json, false, &admin), json);
    assert_eq!(written(Format::Combined, false, &admin), plain(Format::Combined, &record));
}

#[test]
fn every_end_of_a_connection_has_its_words_in_json() {
    let timeouts = WaitReason::ALL.into_iter().map(CloseReason::Timeout);
    let broken = CloseReason::Broken(std::io::ErrorKind::ConnectionReset);
    let others = [
        CloseReason::ByClient(ClientEnd::Fin),
        CloseReason::ByServer(Why::Asked),
        CloseReason::CutShort(Fault::Handler),
        broken,
    ];
    for reason in timeouts.chain(others) {
        let mut record = answered();
        record.end_early(Cut::Connection(reason), Phase::Sending, after(64_000));
        let object: serde_json::Value = serde_json::from_str(&plain(Format::Json, &record)).unwrap();
        assert_eq!(object["close"], reason.to_string());
    }
}

#[test]
fn colours_are_added_and_nothing_else() {
    for record in [answered(), cut(), delayed("GET /")] {
        for role in [ListenerRole::Http, ListenerRole::Admin] {
            let line = Line { role, ..line(&record) };
            let coloured = written(Format::Pretty, true, &line);
            assert!(coloured.contains("\x1b["));
            assert_eq!(without_colours(&coloured), written(Format::Pretty, false, &line));
        }
    }
    assert!(written(Format::Pretty, true, &line(&answered())).contains("\x1b[32m200\x1b[0m"));
    let mut failed = answered();
    failed.status = Some(Status::INTERNAL_SERVER_ERROR);
    assert!(written(Format::Pretty, true, &line(&failed)).contains("\x1b[1;31m500\x1b[0m"));
    assert!(!written(Format::Common, true, &line(&answered())).contains('\x1b'));
}

fn without_colours(text: &str) -> String {
    let mut pieces = text.split('\x1b');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |plain, piece| plain + piece.split_once('m').unwrap().1)
}

#[test]
fn every_month_has_its_number() {
    let mut time = TimeText::new();
    // The first and the last day of each month of 1972, a leap year, which begins 730 days after 1970.
    let mut day = 730;
    for (number, days) in (1..).zip([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        for (offset, day_of_month) in [(0, 1), (days - 1, days)] {
            let wall = UNIX_EPOCH + Duration::from_secs((day + offset) * 86_400) + Duration::from_millis(3_723_004);
            time.set(wall);
            let expected = format!("1972-{number:02}-{day_of_month:02}T01:02:03.004Z");
            assert_eq!(time.rfc3339().to_string(), expected);
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
    let tokens = prop::sample::select(vec!["GET", "HEAD", "OPTIONS", "BREW", "!#$%&'*+-.^_`|~", "get"]);
    tokens.prop_map(|token| Method::from_token(token.as_bytes()).unwrap())
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

/// A request of these bytes, which had to wait for another one of the same bytes.
fn hostile_record(method: Method, target: &[u8], referer: &[u8], user_agent: &[u8]) -> RequestRecord {
    let mut record = answered();
    record.method = Some(method);
    record.set_texts(target, referer, user_agent);
    record.behind = delayed(&record.request()).behind;
    record
}

/// What stands for a target that is not known.
fn or_dash(text: Vec<u8>) -> Vec<u8> {
    if text.is_empty() { b"-".to_vec() } else { text }
}

proptest! {
    #[test]
    fn whatever_a_client_sends_is_one_line_without_control_characters(
        target in hostile(), referer in hostile(), user_agent in hostile(), method in method(),
    ) {
        let record = hostile_record(method, &target, &referer, &user_agent);
        for format in [Format::Common, Format::Combined, Format::Json, Format::Pretty] {
            let written = plain(format, &record);
            let line = written.strip_suffix('\n').unwrap();
            prop_assert!(!line.contains(char::is_control), "{:?}: {:?}", format, line);
        }
    }

    #[test]
    fn quotes_of_the_combined_format_enclose_the_values(
        target in hostile(), referer in hostile(), user_agent in hostile(), method in method(),
    ) {
        let written = plain(Format::Combined, &hostile_record(method, &target, &referer, &user_agent));
        prop_assert!(written.is_ascii());
        let parts: Vec<&str> = written.split('"').collect();
        prop_assert_eq!(parts.len(), 7, "{}", written);
        prop_assert_eq!((parts[2], parts[4], parts[6]), (" 200 2326 ", " ", " ---\n"));
        let request = [method.as_str().as_bytes(), b" ", &or_dash(target), b" HTTP/1.1"].concat();
        prop_assert_eq!(unescaped(parts[1]), request);
        for (part, value) in [(parts[3], referer), (parts[5], user_agent)] {
            prop_assert_eq!(unescaped(part), or_dash(value));
        }
    }

    #[test]
    fn json_gives_back_the_values(
        target in hostile(), referer in hostile(), user_agent in hostile(), method in method(),
    ) {
        let record = hostile_record(method, &target, &referer, &user_agent);
        let object: serde_json::Value = serde_json::from_str(&plain(Format::Json, &record)).unwrap();
        prop_assert_eq!(&object["method"], method.as_str());
        prop_assert_eq!(&object["behind"]["request"], &record.request());
        for (name, value) in [("target", target), ("referer", referer), ("user_agent", user_agent)] {
            let member = object.get(name).and_then(|value| value.as_str()).unwrap_or_default();
            prop_assert_eq!(member, String::from_utf8_lossy(&value));
        }
    }
}

#[test]
fn a_stream_is_named_with_what_held_it_up_and_who_has_reset_it() {
    let pretty = plain(Format::Pretty, &stream());
    let expected = "c=17 s=7 rx=1:413 tx=1:9315  stream-window 61ms turn 2.4ms  CSS client left (RST_STREAM CANCEL) after 64ms while sending; 8.7KiB of the answer written\n";
    assert!(pretty.ends_with(expected), "{pretty}");
    let json = plain(Format::Json, &stream());
    for part in [
        r#""connection":17,"stream":7,"request":4,"#,
        r#""version":"HTTP/2.0","status":200,"bytes":2000,"#,
        r#","close":"reset by the client: CANCEL","#,
        r#","verdict":"CSS","disturbed":{"after_ms":64.000,"left_over":0,"acknowledged":null,"reset":false,"text":"CSS client"#,
        r#","blocked_ms":0.000,"timers_ms":{"queue":0.040,"work":0.020,"clock":0.030,"stream-window":61.460,"turn":2.450},"early_ms":0.000,"ahead":0,"queued_max":"#,
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
    let mut other = stream();
    other.disturbance = None;
    other.end_early(Cut::ResetByServer(ResetCode { number: 0xab, name: None }), Phase::Handler, after(64_000));
    let json = plain(Format::Json, &other);
    assert!(json.contains(r#""close":"reset by the server: error code 0xab""#), "{json}");
    let common = plain(Format::Common, &stream());
    assert!(common.ends_with("\"GET /x?a=b HTTP/2.0\" 200 2000 CSS\n"), "{common}");
}
