//! Every endpoint, asked as a connection would ask it.

use std::time::Duration;

use proptest::prelude::*;

use super::harness::{Played, Request, World};
use crate::http::exchange::Reply;
use crate::http::message::Announced;
use crate::http::method::Method;
use crate::service::Service;
use crate::service::websocket::Policy;

fn get(target: &str) -> Played {
    World::new().get(target)
}

fn post(target: &str, pieces: &[&[u8]]) -> Played {
    let request = Request::post(target, Announced::Unknown);
    World::new().ask(&request, pieces, &[65536]).unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The content of `GET target`, read through rooms of these sizes, up to `content_max` bytes.
fn read(target: &str, rooms: &[usize], content_max: usize) -> Vec<u8> {
    let mut world = World::reading(content_max);
    let mut content = world.ask(&Request::get(target), &[], rooms).unwrap().content;
    content.truncate(content_max);
    content
}

#[test]
fn the_benchmarks_get_their_bytes_and_no_field_more() {
    let answer = get("/plaintext");
    assert_eq!((answer.status, answer.text()), (200, "Hello, World!"));
    assert_eq!(answer.fields(), "Content-Type: text/plain");
    let answer = get("/json");
    assert_eq!((answer.status, answer.text()), (200, r#"{"message":"Hello, World!"}"#));
    assert_eq!(answer.fields(), "Content-Type: application/json");
}

#[test]
fn the_plain_endpoints_answer() {
    assert_eq!(get("/health").text(), r#"{"status":"up"}"#);
    let page = get("/");
    assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(page.content.len() <= 20 * 1024, "the demo page stays small");
    let failure = World::new().ask(&Request::get("/error"), &[], &[1]).unwrap_err();
    assert!(failure.cause.contains("/error"));
}

#[test]
fn the_demo_page_asks_nobody_else_and_links_what_exists() {
    let page = get("/");
    let page = page.text();
    for foreign in ["src=\"http", "href=\"http", "url(http", "@import", "src=\"//"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let links: Vec<&str> = page.split("href=\"/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(links.len() > 10, "{links:?}");
    for link in links {
        let mut world = World::reading(100);
        let answer = world.ask(&Request::get(&format!("/{}", link.replace("&amp;", "&"))), &[], &[64]);
        let expected = match link {
            "error" => None,
            "status/418" => Some(418),
            "nowhere" => Some(404),
            _ => Some(200),
        };
        assert_eq!(answer.ok().map(|answer| answer.status), expected, "/{link}");
    }
}

#[test]
fn websockets_are_opened_in_both_versions_and_nothing_else_is_a_tunnel() {
    let http1 = |path| {
        let request = Request::get(path).field("Connection", b"upgrade").field("Upgrade", b"websocket");
        request.field("Sec-WebSocket-Version", b"13").field("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")
    };
    let http2 = |path| Request::connect(path, b"websocket").field("sec-websocket-version", b"13");
    let opens =
        |request: &Request| match super::service(Policy::default()).call(&request.head(), &mut World::new().cx()) {
            Ok(Reply::Upgrade(_)) => 101,
            Ok(Reply::Respond(response)) => response.status.code(),
            Ok(Reply::Decide(_)) | Err(_) => 0,
        };
    for (path, status, status_in_http2) in [
        ("/ws/echo", 101, 101),
        ("/ws/chat?room=a", 101, 101),
        ("/ws/nothing", 404, 404),
        ("/plaintext", 200, 405),
        ("/", 200, 405),
        ("/nowhere", 404, 404),
    ] {
        assert_eq!((opens(&http1(path)), opens(&http2(path))), (status, status_in_http2), "{path}");
    }
}

#[test]
fn a_user_id_is_decoded_and_escaped() {
    assert_eq!(get("/users/42").text(), r#"{"user_id":"42"}"#);
    assert_eq!(get("/users/a%22b%5C%0A%C3%A9%2F").text(), r#"{"user_id":"a\"b\\\né/"}"#);
    let answer = get("/users/%FF");
    assert_eq!(answer.status, 400);
    assert!(answer.text().starts_with(r#"{"error":"invalid_utf8","parameter":"id","value":""#));
}

#[test]
fn users_are_received_as_they_were_written() {
    for json in ["null", r#"{"b":1.50,"a":18446744073709551616,"b":"\u00e9"}"#, "[1, 2]", "\"é\""] {
        let answer = post("/users", &[b" ", json.as_bytes(), b"\r\n"]);
        assert_eq!((answer.status, answer.text()), (200, &*format!(r#"{{"received":{json}}}"#)));
    }
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    let answer = post("/users", &[b"{\"a\":\n x}"]);
    let expected = r#"{"error":"invalid_json","detail":"expected value","line":2,"column":2}"#;
    assert_eq!((answer.status, answer.text()), (400, expected));
    for wrong in [&b""[..], b"{", b"[1,]", b"1 2", b"\"\xff\"", b"\"\\ud800\"", b"01", b"nul", b"\xef\xbb\xbf1"] {
        assert_eq!(post("/users", &[wrong]).status, 400, "{wrong:?}");
    }
}

#[test]
fn nesting_is_bounded() {
    assert_eq!(post("/users", &[&[b'['; 100], &[b']'; 100]]).status, 200);
    let answer = post("/users", &[&[b'['; 100_000]]);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("recursion limit"), "{}", answer.text());
}

#[test]
fn echo_keeps_the_media_type_and_the_length() {
    let request = Request::post("/echo", Announced::Length(5)).field("content-type", b"text/csv");
    let answer = World::new().ask(&request, &[b"a,b", b"\r\n"], &[2]).unwrap();
    assert_eq!((answer.text(), answer.length), ("a,b\r\n", Some(5)));
    assert_eq!(answer.field("Content-Type"), Some("text/csv"));
    let answer = post("/echo", &[b"x"]);
    assert_eq!((answer.text(), answer.length), ("x", None));
    assert_eq!(answer.field("Content-Type"), Some("application/octet-stream"));
    let nothing = World::new().ask(&Request::new(Method::Put, "/echo"), &[], &[1]).unwrap();
    assert_eq!((nothing.status, nothing.length), (200, Some(0)));
}

#[test]
fn echo_waits_for_content_before_it_answers() {
    use crate::http::body::Wait;
    use crate::http::exchange::{Decision, Reply};
    use crate::service::Service;
    let world = World::new();
    let request = Request::post("/echo", Announced::Unknown);
    let reply = super::service(Policy::default()).call(&request.head(), &mut world.cx()).unwrap();
    let Reply::Decide(echo) = reply else { panic!("the response is not known yet") };
    let Ok(Decision::Pending(mut echo, Wait::Content)) = echo.respond(&mut world.cx()) else {
        panic!("nothing has arrived")
    };
    assert_eq!(echo.taker().unwrap().take(b"x", &mut world.cx()).unwrap(), 1);
    assert!(matches!(echo.respond(&mut world.cx()), Ok(Decision::Respond(_))));
    let empty = World::new().ask(&request, &[], &[1]).unwrap();
    assert_eq!((empty.status, empty.text()), (200, ""), "the end of empty content is enough");
}

#[test]
fn sheep_come_one_a_tick_and_the_first_at_once() {
    let answer = get("/sheep?n=4&every=250ms");
    assert_eq!((answer.text(), answer.length), ("0\n1\n2\n3\n", None));
    assert_eq!(answer.waits, [(ms(250), 2), (ms(500), 4), (ms(750), 6)]);
    let answer = get("/sheep?n=12&every=0");
    assert_eq!(answer.text(), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n");
    assert!(answer.waits.is_empty());
    assert_eq!(get("/sheep?n=0").text(), "");
    let answer = get("/sheep");
    assert_eq!((answer.text().lines().count(), answer.waits.last().unwrap().0), (100, ms(99_000)));
}

#[test]
fn sheep_do_not_stampede_after_a_slow_reader() {
    use crate::http::body::{Body, Pull};
    use crate::http::exchange::Reply;
    use crate::service::Service;
    let mut world = World::new();
    let reply =
        super::service(Policy::default()).call(&Request::get("/sheep?every=1s").head(), &mut world.cx()).unwrap();
    let Reply::Respond(response) = reply else { panic!("sheep need no content") };
    let Body::Source(mut sheep) = response.body else { panic!("sheep are pulled") };
    let mut ring = crate::base::ring::RingBuffer::new(1024);
    for lines in [1, 2, 3] {
        let mut room = ring.room(0, 1024);
        assert!(matches!(sheep.pull(&mut room, &mut world.cx()), Ok(Pull::Pending(_))));
        let written = room.written();
        ring.seal(0, b"", written);
        assert_eq!(ring.len(), lines * 2, "one line after ten missed ticks");
        world.now += Duration::from_secs(10);
    }
}

#[test]
fn events_have_an_id_and_json() {
    let mut world = World::reading(100);
    let answer = world.get("/sse?every=500ms");
    assert_eq!(answer.field("Content-Type"), Some("text/event-stream"));
    assert_eq!(answer.field("Cache-Control"), Some("no-cache"));
    let expected = "id: 0\ndata: {\"tick\":0,\"uptime_ms\":0}\n\nid: 1\ndata: {\"tick\":1,\"uptime_ms\":500}\n\n";
    assert!(answer.text().starts_with(expected), "{}", answer.text());
}

#[test]
fn bytes_are_counted_and_repeat_a_line() {
    let answer = get("/bytes/130");
    let line = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-\n";
    assert_eq!((answer.text(), answer.length), (&*format!("{line}{line}AB"), Some(130)));
    let answer = get("/stream/130");
    assert_eq!((answer.text(), answer.length), (&*format!("{line}{line}AB"), None));
    assert_eq!(get("/bytes/0").length, Some(0));
    assert_eq!(get("/stream/0").text(), "");
    let mut world = World::reading(10);
    assert_eq!(world.get("/bytes/18446744073709551615").length, Some(u64::MAX));
}

#[test]
fn drips_are_evenly_spread() {
    let answer = get("/drip?bytes=4&over=2s");
    assert_eq!((answer.text(), answer.length), ("ABCD", Some(4)));
    assert_eq!(answer.waits, [(ms(500), 0), (ms(1000), 1), (ms(1500), 2), (ms(2000), 3)]);
    let answer = get("/drip?bytes=3&over=1s");
    assert_eq!((answer.text(), answer.waits.len()), ("ABC", 3), "thirds of a second are rounded up");
    assert_eq!(get("/drip?bytes=5&over=0").waits, []);
    assert_eq!(get("/drip?bytes=0").text(), "");
    let answer = get("/drip?bytes=100000&over=10ms");
    assert!(answer.waits.len() <= 11, "no more than one wake-up a millisecond");
    assert_eq!(answer.content.len(), 100_000);
    let answer = World::reading(1).get("/drip?bytes=18446744073709551615&over=60m");
    assert_eq!(answer.length, Some(u64::MAX));
}

#[test]
fn delays_take_their_time() {
    let mut world = World::new();
    let start = world.now;
    assert_eq!(world.get("/delay/1500").text(), r#"{"delayed_ms":1500}"#);
    assert_eq!(world.now - start, ms(1500));
    assert_eq!(get("/delay/0").text(), r#"{"delayed_ms":0}"#);
}

#[test]
fn hints_come_before_the_response() {
    let answer = get("/hints");
    assert_eq!(answer.interim, [(103, "Link: </style.css>; rel=preload; as=style".to_owned())]);
    assert_eq!((answer.status, answer.text()), (200, "103 Early Hints came before this.\n"));
    assert_eq!(answer.fields(), "Content-Type: text/plain");
}

#[test]
fn trailers_come_behind_the_content_whatever_the_room() {
    for room in [1, 2, 5, 100] {
        let answer = World::new().ask(&Request::get("/trailers"), &[], &[room]).unwrap();
        assert_eq!((answer.status, answer.text(), answer.length), (200, "one\ntwo\nthree\n", None));
        assert_eq!(answer.trailers.as_deref(), Some("X-Lines: 3\nX-Bytes: 14"));
    }
    assert_eq!(get("/stream/3").trailers, None);
}

#[test]
fn statuses_come_with_their_reason_or_without_content() {
    let answer = get("/status/404");
    assert_eq!((answer.status, answer.text()), (404, r#"{"status":404,"reason":"Not Found"}"#));
    assert_eq!(get("/status/299").text(), r#"{"status":299,"reason":"Unassigned"}"#);
    for code in [204, 205, 304] {
        let answer = get(&format!("/status/{code}"));
        assert_eq!((answer.status, answer.text(), answer.field("Content-Type")), (code, "", None));
    }
    for wrong in ["100", "199", "600", "x", "65736", "4040"] {
        let answer = get(&format!("/status/{wrong}"));
        assert!(answer.status == 400 && answer.text().starts_with(r#"{"error":"invalid_status","#), "{wrong}");
    }
}

#[test]
fn headers_show_the_request_in_the_order_it_came() {
    let request = Request::get("/headers?a=%20").field("Host", b"a").field("X-B", b"\xff\"").field("host", b"c");
    let answer = World::new().ask(&request, &[], &[1]).unwrap();
    let expected = concat!(
        r#"{"method":"GET","target":"/headers?a=%20","version":"HTTP/1.1","#,
        "\"fields\":[[\"Host\",\"a\"],[\"X-B\",\"\u{fffd}\\\"\"],[\"host\",\"c\"]]}"
    );
    assert_eq!(answer.text(), expected);
    assert!(get("/headers").text().ends_with(r#""fields":[]}"#));
}

#[test]
fn a_wrong_parameter_is_named_with_what_would_be_right() {
    let expected = r#"{"error":"invalid_parameter","parameter":"ms","value":"600001","expected":"a whole number from 0 to 600000"}"#;
    let answer = get("/delay/600001");
    assert_eq!((answer.status, answer.text()), (400, expected));
    for target in [
        "/sheep?n=-1",
        "/sheep?n=",
        "/sheep?every=1",
        "/sheep?every=61m",
        "/sheep?every=%zz",
        "/sse?every=soon",
        "/bytes/1k",
        "/stream/18446744073709551616",
        "/drip?bytes=x",
        "/drip?over=x",
        "/delay/1s",
    ] {
        let answer = get(target);
        assert!(answer.status == 400 && answer.text().contains("\"expected\":"), "{target}: {}", answer.text());
    }
}

#[test]
fn ndjson_counts() {
    let content = b"{\"a\":1}\n\n [1]\r\n   \nnull\n{}";
    let answer = post("/ndjson", &[content]);
    assert_eq!((answer.status, answer.text()), (200, r#"{"lines":4,"objects":2,"bytes":26}"#));
    assert_eq!(post("/ndjson", &[]).text(), r#"{"lines":0,"objects":0,"bytes":0}"#);
}

#[test]
fn ndjson_refuses_a_line_as_soon_as_it_is_complete() {
    let answer = post("/ndjson", &[b"1\n\n{\"a\":}\n", b"never looked at"]);
    let expected = r#"{"error":"invalid_json","line":3,"detail":"expected value"}"#;
    assert_eq!((answer.status, answer.text(), answer.taken), (400, expected, 10));
    assert_eq!(post("/ndjson", &[b"1\n{"]).status, 400, "the end completes a line as well");
}

#[test]
fn ndjson_bounds_a_line_and_not_the_content() {
    let mut world = World::new();
    world.limits.gathered_bytes_max = 8;
    let request = Request::post("/ndjson", Announced::Unknown);
    let answer = world.ask(&request, &[b"1234567", b"8\n12345678\n12345678"], &[1]).unwrap();
    assert_eq!(answer.text(), r#"{"lines":3,"objects":0,"bytes":26}"#);
    let answer = world.ask(&request, &[b"1\n1234567", b"89", b"more"], &[1]).unwrap();
    assert_eq!((answer.status, answer.text()), (413, r#"{"error":"line_too_long","line":2,"limit":8}"#));
    assert_eq!(answer.taken, 10, "the line before it, and as much as a line may have");
}

/// What `/ndjson` answers, and how many bytes it takes, from the whole content at once.
fn naive_ndjson(content: &[u8], line_bytes_max: usize) -> (u16, String, usize) {
    let (mut lines, mut objects) = (0, 0);
    let mut start = 0;
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        if line.len() > line_bytes_max {
            let text = format!(r#"{{"error":"line_too_long","line":{},"limit":{line_bytes_max}}}"#, index + 1);
            return (413, text, start + line_bytes_max);
        }
        start += line.len() + 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<serde_json::Value>(line) {
            Ok(value) => {
                lines += 1;
                objects += usize::from(value.is_object());
            }
            Err(_) => {
                let text = format!(r#"{{"error":"invalid_json","line":{},"#, index + 1);
                return (400, text, start.min(content.len()));
            }
        }
    }
    (200, format!(r#"{{"lines":{lines},"objects":{objects},"bytes":{}}}"#, content.len()), content.len())
}

/// `content` in pieces that end at these places.
fn split<'c>(content: &'c [u8], places: &[prop::sample::Index]) -> Vec<&'c [u8]> {
    let mut ends: Vec<usize> = places.iter().map(|place| place.index(content.len() + 1)).collect();
    ends.extend([0, content.len()]);
    ends.sort_unstable();
    ends.windows(2).map(|ends| &content[ends[0]..ends[1]]).collect()
}

fn places() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

fn rooms() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..4usize, 1..100usize, 1..20_000usize], 1..6)
}

proptest! {
    #[test]
    fn echo_gives_back_what_it_got(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30_000), 0..4),
        rooms in prop::collection::vec(100..40_000usize, 1..6),
    ) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let request = Request::post("/echo", Announced::Unknown);
        let answer = World::new().ask(&request, &pieces, &rooms).unwrap();
        prop_assert!(answer.content == pieces.concat());
    }

    #[test]
    fn ndjson_does_not_mind_where_its_lines_are_split(
        lines in prop::collection::vec(
            prop_oneof![
                8 => Just("{\"a\":[1,{\"b\":\"\\n\"}]}"), 4 => Just("7"), 4 => Just("\"é\""), 4 => Just(""), 2 => Just(" \t\r"),
                4 => Just("[]\r"), 1 => Just("{"), 1 => Just("1 1"), 1 => Just("\"\u{1}\""),
            ],
            0..12,
        ),
        places in places(),
        line_bytes_max in prop_oneof![3 => Just(1024usize), 1 => 0..20usize],
    ) {
        let content = lines.join("\n");
        let mut world = World::new();
        world.limits.gathered_bytes_max = line_bytes_max;
        let request = Request::post("/ndjson", Announced::Unknown);
        let answer = world.ask(&request, &split(content.as_bytes(), &places), &[65536]).unwrap();
        let (status, text, taken) = naive_ndjson(content.as_bytes(), line_bytes_max);
        prop_assert_eq!((answer.status, answer.taken), (status, taken));
        prop_assert!(answer.text().starts_with(&text), "{} is not {}", answer.text(), text);
    }

    #[test]
    fn a_check_agrees_with_a_parser_that_builds_a_tree(text in r#"[\[\]{}:,"\\a0-9.eE+\- \u{e9}]{0,12}"#) {
        let parsed = serde_json::from_str::<serde_json::Value>(&text);
        let checked = crate::base::json::check(text.as_bytes());
        prop_assert_eq!(checked.is_ok(), parsed.is_ok());
        if let Err(error) = parsed {
            prop_assert_eq!(checked.unwrap_err().line, error.line() as u64);
        }
    }

    #[test]
    fn content_does_not_depend_on_the_room(rooms in rooms(), n in 0..20_000usize) {
        for path in ["/bytes/", "/stream/"] {
            let target = format!("{path}{n}");
            prop_assert!(read(&target, &rooms, n) == read(&target, &[1 << 20], n));
        }
    }

    #[test]
    fn lines_do_not_depend_on_the_room(rooms in rooms(), n in 0..300usize, every in prop_oneof![Just("0"), Just("1s")]) {
        let sheep = format!("/sheep?n={n}&every={every}");
        let expected: String = (0..n).map(|n| format!("{n}\n")).collect();
        prop_assert!(read(&sheep, &rooms, usize::MAX) == expected.into_bytes());
        let events = format!("/sse?every={every}");
        prop_assert!(read(&events, &rooms, 5_000) == read(&events, &[100_000], 5_000));
    }

    #[test]
    fn drips_do_not_depend_on_the_room(rooms in rooms(), bytes in 0..5_000usize) {
        let drip = format!("/drip?bytes={bytes}&over=50ms");
        let expected = read(&format!("/bytes/{bytes}"), &[1 << 20], usize::MAX);
        prop_assert!(read(&drip, &rooms, usize::MAX) == expected);
    }
}
