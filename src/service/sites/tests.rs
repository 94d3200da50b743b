use proptest::prelude::*;

use super::answers::{FixedAnswer, Redirect};
use super::matcher::{FieldMatch, Matcher, PathMatch};
use super::route::Target;
use super::*;
use crate::http::fields::{LOCATION, RETRY_AFTER};
use crate::http::message::Version;
use crate::service::lab::harness::Request;

fn matcher(path: &str, methods: &[Method], fields: &[&str]) -> Matcher {
    Matcher {
        path: PathMatch::new(path).unwrap(),
        methods: methods.to_vec(),
        fields: fields.iter().map(|field| FieldMatch::new(field).unwrap()).collect(),
    }
}

/// A route that answers by itself, with this name.
fn route(name: &str, matcher: Matcher) -> Route {
    let answer = FixedAnswer { status: Status::OK, content: None, retry_after: None };
    let mut route = Route::new(Target::Fixed(answer));
    (route.name, route.matcher) = (name.into(), matcher);
    route
}

/// A default site with routes for these paths, which are their names.
fn site(paths: &[&str]) -> Sites {
    sites(paths.iter().map(|path| route(path, matcher(path, &[], &[]))).collect())
}

fn sites(routes: Vec<Route>) -> Sites {
    let mut sites = Sites::default();
    sites.add(&[], None, Site::new("s", routes)).unwrap();
    sites
}

fn found<'s>(sites: &'s Sites, request: &Request) -> Option<&'s str> {
    let route = sites.route_of(&request.head(), ListenerId::default(), None);
    // What a site has for requests that no route takes has no name here.
    route.ok().map(|route| &*route.name).filter(|name| !name.is_empty())
}

#[test]
fn the_first_route_that_takes_a_request_has_it() {
    let sites = site(&["=/a/b", "/a/b/", "*.php", "/a/", "/docs/**/x", "/b.php/"]);
    for (path, name) in [
        ("/a/b", Some("=/a/b")),
        ("/a/b/", Some("/a/b/")),
        ("/a/b/c", Some("/a/b/")),
        ("/a/bc", Some("/a/")),
        ("/a", Some("/a/")),
        ("/a/", Some("/a/")),
        ("/a/x.php", Some("*.php")),
        ("/a/b/x.php", Some("/a/b/")),
        ("/b.php", Some("*.php")),
        ("/b.php/", Some("/b.php/")),
        ("/docs/1/2/x", Some("/docs/**/x")),
        ("/docs/x", Some("/docs/**/x")),
        ("/docs", None),
        ("/", None),
        ("/A", None),
        // Other spellings of one path.
        ("/%61/./b", Some("=/a/b")),
        ("/x/../a/", Some("/a/")),
        ("/a/b?/../../docs", Some("=/a/b")),
        // They are others to an upstream, so they are others here.
        ("//a", None),
        ("/a%2Fb", None),
    ] {
        for _ in 0..2 {
            assert_eq!(found(&sites, &Request::get(path)), name, "{path}");
        }
    }
}

#[test]
fn methods_and_fields_are_looked_at_each_time() {
    let sites = sites(vec![
        route("post", matcher("/a/", &[Method::Post], &[])),
        route("canary", matcher("/a/", &[], &["X-Canary: yes"])),
        route("any", matcher("/a/", &[], &["X-Any"])),
        route("get", matcher("/", &[Method::Get], &[])),
    ]);
    let get = || Request::get("/a/x");
    for (request, name) in [
        (Request::new(Method::Post, "/a/x").field("X-Canary", b"yes"), Some("post")),
        (get().field("x-canary", b"yes"), Some("canary")),
        (get().field("X-Canary", b"no").field("X-Canary", b"yes"), Some("canary")),
        (get().field("X-Canary", b"Yes"), Some("get")),
        (get().field("X-Any", b""), Some("any")),
        (get(), Some("get")),
        (Request::new(Method::Head, "/a/x"), Some("get")),
        (Request::new(Method::Delete, "/a/x"), None),
        // HTTP/2 asks for a WebSocket with CONNECT, where HTTP/1 has GET (RFC 8441 §4).
        (Request::connect("/a/x", b"websocket"), Some("get")),
        (Request::new(Method::Connect, "/a/x"), None),
    ] {
        for _ in 0..2 {
            let head = request.head();
            assert_eq!(found(&sites, &request), name, "{:?} {:?}", head.method, head.fields);
        }
    }
}

#[test]
fn options_for_the_whole_server_has_a_route_for_any_path() {
    let sites = site(&["/a/", "*", "/**", "/"]);
    assert_eq!(found(&sites, &Request::new(Method::Options, "*")), Some("/"));
    assert_eq!(found(&site(&["/a/", "/**"]), &Request::new(Method::Options, "*")), None);
}

#[test]
fn a_host_has_a_site_and_others_have_the_default_or_none() {
    let named = |name: &str| Site::new(name, vec![route(name, Matcher::default())]);
    let host = |host: &str| HostPattern::new(host).unwrap();
    let mut sites = Sites::default();
    sites.add(&[host("a.example"), host("[2001:db8::1]")], None, named("a")).unwrap();
    sites.add(&[host("*.a.example")], None, named("beneath")).unwrap();
    for (authority, name) in [
        ("a.example", Some("a")),
        ("A.EXAMPLE.:8080", Some("a")),
        ("[2001:DB8:0::1]:443", Some("a")),
        ("x.y.a.example", Some("beneath")),
        ("b.example", None),
    ] {
        assert_eq!(found(&sites, &Request::get("/").authority(authority)), name, "{authority}");
    }
    let refused = sites.route_of(&Request::get("/").version(Version::Http10).head(), ListenerId::default(), None);
    assert_eq!(refused.err().map(|none| none.response().status.code()), Some(421));
    assert!(sites.add(&[host("A.example.")], None, named("again")).is_err());
    sites.add(&[], None, named("default")).unwrap();
    assert_eq!(found(&sites, &Request::get("/").authority("b.example")), Some("default"));
    assert_eq!(found(&sites, &Request::get("/").version(Version::Http10)), Some("default"));
    assert_eq!(sites.add(&[], None, named("again")), Err(None));
}

#[test]
fn an_answer_that_is_always_the_same_says_what_its_status_needs() {
    let answer = |code, retry_after: Option<&'static str>| {
        let status = Status::from_code(code).unwrap();
        let retry_after = retry_after.map(crate::http::fields::FieldValue::from_static);
        FixedAnswer { status, content: None, retry_after }.answer()
    };
    let names =
        |response: &Response| response.fields.iter().map(|(name, _)| name.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&answer(405, None)), ["Allow"], "RFC 9110 §15.5.6");
    assert_eq!(names(&answer(503, Some("60"))), [RETRY_AFTER.as_str()]);
    assert_eq!(names(&answer(404, None)), [""; 0]);
}

/// The address that `redirect` leads to.
fn location(redirect: &str, prefix: &str, request: &Request) -> Result<String, u16> {
    let head = request.head();
    let path = NormalPath::of_request(&head);
    let response = Redirect::new(redirect).unwrap().answer(Status::FOUND, &head, path.as_bytes(), prefix.as_bytes());
    match response.fields.iter().find(|(name, _)| name.is(&LOCATION)) {
        Some((_, value)) => Ok(String::from_utf8(value.as_bytes().to_vec()).unwrap()),
        None => Err(response.status.code()),
    }
}

#[test]
fn words_in_braces_stand_for_what_the_request_has() {
    let request = || Request::get("/old/a%20b?c=d&e").authority("A.example:8080");
    for (redirect, address) in [
        ("https://b.example{uri}", "https://b.example/old/a%20b?c=d&e"),
        ("https://b.example{path}", "https://b.example/old/a%20b"),
        ("https://b.example/{query}", "https://b.example/?c=d&e"),
        ("https://{host}{uri}", "https://A.example/old/a%20b?c=d&e"),
        ("https://www.{host}:8443/{rest}", "https://www.A.example:8443/a%20b"),
        ("/new/{rest}{query}", "/new/a%20b?c=d&e"),
        ("/fixed", "/fixed"),
    ] {
        assert_eq!(location(redirect, "/old", &request()).as_deref(), Ok(address), "{redirect}");
    }
    let without = Request::get("/old");
    assert_eq!(location("/new/{rest}{query}", "/old", &without).as_deref(), Ok("/new/"));
    assert_eq!(location("https://{host}/", "/old", &without), Err(400), "HTTP/1.0 names no host");
    assert_eq!(location("https://{host}/", "/old", &without.authority("a b")), Err(400));
    let options = Request::new(Method::Options, "*");
    assert_eq!(location("https://b.example{uri}", "", &options).as_deref(), Ok("https://b.example"));
}

#[test]
fn a_client_does_not_choose_the_host_of_a_redirect() {
    for (path, redirect, address) in [
        ("//evil.example/", "/{rest}", "/evil.example/"),
        ("/old//evil.example/", "/{rest}", "/evil.example/"),
        ("/old///evil.example", "/{rest}", "/evil.example"),
        ("/old//evil.example", "/new/{rest}", "/new//evil.example"),
    ] {
        assert_eq!(location(redirect, "/old", &Request::get(path)).as_deref(), Ok(address), "{path}");
    }
    for wrong in [
        "https://b.example{rest}",
        "https://{rest}",
        "https://{path}",
        "https://{uri}",
        "https://",
        "https:///a",
        "https://?a",
        "https://{query}/",
        "https://b.example{query}{rest}",
        "//b.example/",
        "b.example",
        "{path}",
        "javascript:alert(1)",
        "/{nothing}",
        "/{",
        "/a b",
        "/\u{e9}",
        "/a\r\nX: y",
        "/}",
        "/\\evil.example",
        "",
    ] {
        assert!(Redirect::new(wrong).is_err(), "{wrong:?}");
    }
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let path = prop::sample::select(vec![
        "/", "/a/", "/b/", "/a/b/", "/a/b/c/", "=/a", "=/a/", "=/a/b", "=/", "*.c", "/a/*", "/a/**", "/**/b", "/c.c/",
    ]);
    let methods = prop::sample::subsequence(vec![Method::Get, Method::Head, Method::Post], 0..=2);
    let fields = prop::sample::subsequence(vec!["X-A", "X-A: 1", "X-B"], 0..=2);
    (path, methods, fields).prop_map(|(path, methods, fields)| matcher(path, &methods, &fields))
}

fn any_request() -> impl Strategy<Value = Request> {
    let segment = prop::sample::select(vec!["a", "b", "c", "c.c", "%61", "", ".", "..", "a%2Fb"]);
    let path = prop::collection::vec(segment, 0..5).prop_map(|segments| format!("/{}", segments.join("/")));
    let method = prop::sample::select(vec![Method::Get, Method::Head, Method::Post, Method::Options]);
    let fields = prop::sample::subsequence(vec![("X-A", "1"), ("X-A", "2"), ("x-b", "")], 0..=3);
    (path, method, fields).prop_map(|(path, method, fields)| {
        fields.iter().fold(Request::new(method, &path), |request, (name, value)| request.field(name, value.as_bytes()))
    })
}

proptest! {
    /// The index by first segments and the memory of the last request change nothing.
    #[test]
    fn routes_are_found_as_by_trying_all_in_their_order(
        matchers in prop::collection::vec(any_matcher(), 1..12),
        requests in prop::collection::vec(any_request(), 1..12),
    ) {
        let names: Vec<_> = (0..matchers.len()).map(|place| place.to_string()).collect();
        let all = sites(matchers.iter().zip(&names).map(|(matcher, name)| route(name, matcher.clone())).collect());
        // Each request comes once more behind all others, and once at once.
        for request in requests.iter().chain(&requests).flat_map(|request| [request, request]) {
            let head = request.head();
            let path = NormalPath::of_request(&head);
            let first = matchers.iter().position(|matcher| matcher.unfit(&head, path.as_bytes()).is_none());
            prop_assert_eq!(found(&all, request), first.map(|place| names[place].as_str()));
        }
    }

    /// A route is called one that no request reaches only if that is so.
    #[test]
    fn what_covers_another_takes_all_its_requests(
        (one, other) in (any_matcher(), any_matcher()),
        requests in prop::collection::vec(any_request(), 24),
    ) {
        for request in requests {
            let head = request.head();
            let path = NormalPath::of_request(&head);
            if one.covers(&other) && other.unfit(&head, path.as_bytes()).is_none() {
                prop_assert!(one.unfit(&head, path.as_bytes()).is_none(), "{} {}", one.path, other.path);
            }
        }
        prop_assert!(one.covers(&one));
    }

    /// Whatever a client sends, it stays on the host that the address names, and breaks no line.
    #[test]
    fn a_redirect_leads_where_it_says(
        path in "(/[a-z./%0-9A-F:@?\\\\#\t\r\n-]{0,12}){1,4}",
        redirect in prop::sample::select(vec![
            "/{rest}", "/new/{rest}{query}", "https://b.example/{rest}", "https://b.example{uri}", "https://b.example{path}x",
            "https://b.example{query}",
        ]),
        prefix in prop::sample::select(vec!["", "/a"]),
    ) {
        if let Ok(address) = location(redirect, prefix, &Request::get(&path)) {
            prop_assert!(!address.contains(['\r', '\n', '\0']), "{address:?}");
            match redirect.starts_with('/') {
                true => prop_assert!(address.starts_with('/') && !address.starts_with("//"), "{address:?}"),
                false => {
                    let behind = address.strip_prefix("https://b.example");
                    prop_assert!(behind.is_some_and(|rest| matches!(rest.bytes().next(), None | Some(b'/' | b'?'))), "{address:?}");
                }
            }
        }
    }
}
