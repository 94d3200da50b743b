//! The router against single examples and against a naive matcher.

use proptest::prelude::*;

use super::*;
use crate::http::body::Body;
use crate::http::media_type::JSON;
use crate::service::lab::harness::{Played, Request, World};

fn ask(router: &mut Router, method: Method, target: &str) -> Played {
    ask_in(Version::Http11, router, method, target)
}

fn ask_in(version: Version, router: &mut Router, method: Method, target: &str) -> Played {
    let mut world = World::new();
    let request = Request::new(method, target).version(version);
    let reply = router.call(&request.head(), &mut world.cx()).unwrap();
    world.finish(reply, &[], &[64]).unwrap()
}

/// A handler that says which it is, the method it saw, and what these parameters stood for.
fn tell(what: String, names: Vec<String>) -> impl Handler {
    move |request: &RequestHead<'_>, params: &Params<'_>, _: &mut Cx<'_>| {
        let mut text = format!("{what} {}", request.method);
        for name in &names {
            let (raw, decoded) = (params.raw(name), params.decoded(name));
            text += &format!(" {name}={}={}", String::from_utf8_lossy(raw), String::from_utf8_lossy(&decoded));
        }
        respond(Response::new(Status::OK).with_content(JSON, Body::from(text)))
    }
}

fn router(patterns: &[&str]) -> Router {
    patterns.iter().fold(Router::new(), |router, pattern| {
        let names = parse_pattern(pattern).unwrap().iter().filter_map(Segment::name).map(str::to_owned).collect();
        router.get(pattern, tell((*pattern).to_owned(), names))
    })
}

fn found(patterns: &[&str], path: &str) -> String {
    let answer = ask(&mut router(patterns), Method::Get, path);
    if answer.status == 404 { "404".to_owned() } else { answer.text().to_owned() }
}

#[test]
fn a_literal_beats_a_parameter_and_a_parameter_beats_a_rest() {
    let patterns = ["/{*rest}", "/users/{id}", "/users/me", "/users/{id}/posts/{post}"];
    assert_eq!(found(&patterns, "/users/me"), "/users/me GET");
    assert_eq!(found(&patterns, "/users/you"), "/users/{id} GET id=you=you");
    assert_eq!(found(&patterns, "/users/7/posts/9"), "/users/{id}/posts/{post} GET id=7=7 post=9=9");
    assert_eq!(found(&patterns, "/"), "/{*rest} GET rest==");
}

#[test]
fn a_dead_end_is_backed_out_of() {
    let patterns = ["/a/b/c", "/a/{x}/d", "/{*rest}"];
    assert_eq!(found(&patterns, "/a/b/d"), "/a/{x}/d GET x=b=b");
    assert_eq!(found(&patterns, "/a/b/e"), "/{*rest} GET rest=a/b/e=a/b/e");
}

#[test]
fn empty_segments_are_segments_but_no_parameters() {
    assert_eq!(found(&["/a"], "/a/"), "404");
    assert_eq!(found(&["/a/"], "/a"), "404");
    assert_eq!(found(&["/users/{id}"], "/users/"), "404");
    assert_eq!(found(&["/files/{*rest}"], "/files"), "404");
    assert_eq!(found(&["/files/{*rest}"], "/files//a"), "/files/{*rest} GET rest=/a=/a");
}

#[test]
fn escapes_are_compared_decoded_and_never_split_a_segment() {
    assert_eq!(found(&["/plaintext"], "/%70laintex%74"), "/plaintext GET");
    assert_eq!(found(&["/a/b"], "/a%2Fb"), "404");
    assert_eq!(found(&["/{id}"], "/a%2fb"), "/{id} GET id=a%2fb=a/b");
    assert_eq!(found(&["/{id}"], "/%2570"), "/{id} GET id=%2570=%70", "decoded once");
}

#[test]
fn a_broken_escape_is_a_bad_request_on_every_path() {
    for path in ["/%", "/%4", "/%zz", "/a/b%"] {
        let answer = ask(&mut router(&["/{*rest}"]), Method::Get, path);
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().starts_with(r#"{"error":"invalid_escape","#), "{path}");
    }
}

#[test]
fn a_known_path_says_which_methods_it_answers() {
    let mut router = Router::new()
        .get("/a", tell("get".to_owned(), Vec::new()))
        .route(Method::Delete, "/a", tell("delete".to_owned(), Vec::new()))
        .post("/b", tell("post".to_owned(), Vec::new()))
        .upgrade("/c", tell("get".to_owned(), Vec::new()))
        .post("/c", tell("post".to_owned(), Vec::new()));
    for (method, path, status, allow) in [
        (Method::Put, "/a", 405, "GET, HEAD, DELETE, OPTIONS"),
        (Method::Trace, "/a", 405, "GET, HEAD, DELETE, OPTIONS"),
        (Method::Options, "/a", 204, "GET, HEAD, DELETE, OPTIONS"),
        (Method::Get, "/b", 405, "POST, OPTIONS"),
        (Method::Head, "/b", 405, "POST, OPTIONS"),
        (Method::Head, "/c", 405, "GET, POST, OPTIONS"),
        (Method::Options, "/c", 204, "GET, POST, OPTIONS"),
        (Method::Connect, "example.org:443", 405, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        (Method::Options, "*", 204, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    ] {
        let answer = ask(&mut router, method, path);
        assert_eq!((answer.status, answer.field("Allow")), (status, Some(allow)), "{method} {path}");
    }
    assert_eq!(ask(&mut router, Method::Head, "/a").text(), "get HEAD");
    assert_eq!(ask(&mut router, Method::Delete, "/a").text(), "delete DELETE");
}

#[test]
fn a_tunnel_is_opened_by_get_in_http1_and_by_connect_in_http2() {
    let mut router = Router::new()
        .upgrade("/ws", tell("tunnel".to_owned(), Vec::new()))
        .post("/ws", tell("post".to_owned(), Vec::new()))
        .get("/page", tell("page".to_owned(), Vec::new()));
    let (http1, http2) = (Version::Http11, Version::Http2);
    for (version, method, path, status, allow) in [
        (http1, Method::Get, "/ws", 200, None),
        (http1, Method::Post, "/ws", 200, None),
        (http1, Method::Connect, "/ws", 405, Some("GET, POST, OPTIONS")),
        (http1, Method::Options, "/ws", 204, Some("GET, POST, OPTIONS")),
        (http2, Method::Connect, "/ws", 200, None),
        (http2, Method::Post, "/ws", 200, None),
        (http2, Method::Get, "/ws", 405, Some("CONNECT, POST, OPTIONS")),
        (http2, Method::Head, "/ws", 405, Some("CONNECT, POST, OPTIONS")),
        (http2, Method::Options, "/ws", 204, Some("CONNECT, POST, OPTIONS")),
        (http2, Method::Connect, "/page", 405, Some("GET, HEAD, OPTIONS")),
        (http2, Method::Connect, "/nowhere", 404, None),
        (http2, Method::Head, "/page", 200, None),
    ] {
        let answer = ask_in(version, &mut router, method, path);
        assert_eq!((answer.status, answer.field("Allow")), (status, allow), "{version:?} {method} {path}");
    }
}

#[test]
fn unknown_is_said_in_json() {
    let mut router = router(&["/a"]);
    let answer = ask(&mut router, Method::Get, "/b");
    assert_eq!((answer.status, answer.text()), (404, r#"{"error":"not_found"}"#));
    let brew = Method::from_token(b"BREW").unwrap();
    let answer = ask(&mut router, brew, "/a");
    assert_eq!((answer.status, answer.text()), (501, r#"{"error":"not_implemented"}"#));
    assert_eq!(ask(&mut router, brew, "/b").status, 501, "whatever the path");
    let propfind = Method::from_token(b"PROPFIND").unwrap();
    let answer = ask(&mut router, propfind, "/a");
    assert_eq!((answer.status, answer.field("Allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!(ask(&mut router, propfind, "/b").status, 404, "known, but there is nothing that it could be for");
    assert_eq!(ask(&mut router, Method::Get, "*").status, 404);
}

#[test]
fn handlers_of_their_own_replace_the_automatic_ones() {
    let mut router = router(&["/a"]).route(Method::Head, "/a", tell("head".to_owned(), Vec::new())).route(
        Method::Options,
        "/a",
        tell("options".to_owned(), Vec::new()),
    );
    assert_eq!(ask(&mut router, Method::Head, "/a").text(), "head HEAD");
    assert_eq!(ask(&mut router, Method::Options, "/a").text(), "options OPTIONS");
}

#[test]
fn bad_patterns_are_refused() {
    let refused = |patterns: &[&str]| {
        let mut router = Router::new();
        let last = patterns.iter().map(|pattern| {
            router.insert(Method::Get, pattern, Box::new(tell(String::new(), Vec::new())), GetIs::Content)
        });
        last.last().unwrap().unwrap_err()
    };
    let segment = |text: &str| PatternError::Segment(text.to_owned());
    assert_eq!(refused(&["a"]), PatternError::Relative);
    assert_eq!(refused(&[""]), PatternError::Relative);
    assert_eq!(refused(&["/{}"]), segment("{}"));
    assert_eq!(refused(&["/{*}"]), segment("{*}"));
    assert_eq!(refused(&["/a{b}"]), segment("a{b}"));
    assert_eq!(refused(&["/{a"]), segment("{a"));
    assert_eq!(refused(&["/%70"]), segment("%70"));
    assert_eq!(refused(&["/{*a}/b"]), PatternError::RestInside);
    assert_eq!(refused(&["/{a}/{a}"]), PatternError::Repeated("a".to_owned()));
    assert_eq!(refused(&["/{a}", "/{a}"]), PatternError::Duplicate);
    assert_eq!(refused(&["/{a}/x", "/{b}/y"]), PatternError::Renamed { known: "a".to_owned(), name: "b".to_owned() });
    assert_eq!(refused(&["/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}"]), PatternError::TooManyParameters);
}

#[test]
#[should_panic(expected = "the route GET /a/{*b}/c: {*name} can only come last")]
fn a_bad_route_stops_the_program_with_its_name() {
    let _ = router(&["/"]).get("/a/{*b}/c", tell(String::new(), Vec::new()));
}

/// Every pattern is tried; of those that fit, the one whose segments are the most particular from the left wins.
fn naive(patterns: &[String], path: &str) -> Option<(usize, Vec<String>)> {
    let segments: Vec<&str> = path[1..].split('/').collect();
    let fits = patterns.iter().enumerate().filter_map(|(index, pattern)| {
        let (rank, values) = naive_fit(&pattern[1..].split('/').collect::<Vec<_>>(), &segments)?;
        Some((rank, index, values))
    });
    fits.min().map(|(_, index, values)| (index, values))
}

fn naive_fit(pattern: &[&str], segments: &[&str]) -> Option<(Vec<u8>, Vec<String>)> {
    let (first, others) = match pattern {
        [] => return segments.is_empty().then(Default::default),
        [first, others @ ..] => (first, others),
    };
    if segments.is_empty() {
        return None;
    }
    if first.starts_with("{*") {
        return Some((vec![2], vec![segments.join("/")]));
    }
    let is_parameter = first.starts_with('{');
    let decoded = segments[0].replace("%61", "a").replace("%2F", "/");
    if if is_parameter { decoded.is_empty() } else { decoded != **first } {
        return None;
    }
    let (mut rank, mut values) = naive_fit(others, &segments[1..])?;
    rank.insert(0, u8::from(is_parameter));
    if is_parameter {
        values.insert(0, segments[0].to_owned());
    }
    Some((rank, values))
}

/// A handler that says which it is and everything its parameters stood for.
fn tell_all(index: usize) -> impl Handler {
    move |_: &RequestHead<'_>, params: &Params<'_>, _: &mut Cx<'_>| {
        let values: Vec<_> = params.names.iter().map(|name| String::from_utf8_lossy(params.raw(name))).collect();
        respond(Response::new(Status::OK).with_content(JSON, Body::from(format!("{:?}", (index, values)))))
    }
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let segment = prop_oneof![Just("a"), Just("b"), Just(""), Just("{}")];
    let pattern = (proptest::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(segments, rest)| {
        let named = |(depth, segment): (usize, &&str)| match *segment {
            "{}" => format!("/{{p{depth}}}"),
            literal => format!("/{literal}"),
        };
        let pattern: String = segments.iter().enumerate().map(named).collect();
        if rest || segments.is_empty() { pattern + "/{*rest}" } else { pattern }
    });
    proptest::collection::btree_set(pattern, 1..12).prop_map(|patterns| patterns.into_iter().collect())
}

fn paths() -> impl Strategy<Value = String> {
    let segment = prop_oneof![Just("/a"), Just("/b"), Just("/"), Just("/%61"), Just("/a%2Fb"), Just("/c")];
    proptest::collection::vec(segment, 1..6).prop_map(|segments| segments.concat())
}

proptest! {
    #[test]
    fn the_trie_finds_what_a_naive_matcher_finds(patterns in patterns(), path in paths()) {
        let mut router = Router::new();
        for (index, pattern) in patterns.iter().enumerate() {
            router.insert(Method::Get, pattern, Box::new(tell_all(index)), GetIs::Content).unwrap();
        }
        let answer = ask(&mut router, Method::Get, &path);
        let expected = naive(&patterns, &path).map_or(r#"{"error":"not_found"}"#.to_owned(), |found| format!("{found:?}"));
        prop_assert_eq!(answer.text(), expected);
    }
}
