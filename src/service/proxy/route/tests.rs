use proptest::prelude::*;

use super::*;
use crate::http::message::{Announced, Version};
use crate::http::method::Method;
use crate::http::sections::Section;
use crate::http::target::{Target, TargetForm};

fn route(host: &str, prefix: &str) -> Route {
    let host = Some(host.to_owned()).filter(|host| !host.is_empty());
    Route::new(host, prefix.into(), vec![Upstream::new(false, "a", None)])
}

/// Which route a request takes, as text.
fn found(routes: &Routes, method: Method, host: &str, target: Target<'_>) -> Option<String> {
    let section = Section::of(&[("Host", host)]);
    let fields = section.fields();
    let request =
        RequestHead { method, target, version: Version::Http11, fields, announced: Announced::Nothing, protocol: None };
    routes.find(&request).map(|matched| matched.route.to_string())
}

fn of_path(routes: &Routes, host: &str, path: &str) -> Option<String> {
    let target = Target { form: TargetForm::Origin, raw: b"", authority: None, path: path.as_bytes(), query: None };
    found(routes, Method::Get, host, target)
}

#[test]
fn a_host_comes_first_and_then_the_longest_prefix() {
    let all = [("", ""), ("", "/api"), ("", "/api/v2"), ("b.example", "/api"), ("[::1]", "")];
    let routes: Routes = all.into_iter().map(|(host, prefix)| route(host, prefix)).collect();
    for (host, path, expected) in [
        ("x", "/", "/"),
        ("x", "/api", "/api/"),
        ("x", "/api/", "/api/"),
        ("x", "/api/v1", "/api/"),
        ("x", "/apis", "/"),
        ("x", "/api/v2", "/api/v2/"),
        ("x", "/api/v2/y", "/api/v2/"),
        ("b.example", "/api/v2/y", "b.example/api/"),
        ("B.Example.:8080", "/api", "b.example/api/"),
        ("b.example", "/", "/"),
        ("bb.example", "/api", "/api/"),
        ("[::1]:80", "/api/v2", "[::1]/"),
        ("[::1]", "/", "[::1]/"),
        ("[0:0:0:0:0:0:0:1]", "/", "[::1]/"),
        ("[::2]", "/", "/"),
        ("", "/", "/"),
    ] {
        assert_eq!(of_path(&routes, host, path).as_deref(), Some(expected), "{host} {path}");
    }
}

#[test]
fn every_spelling_of_a_path_finds_the_same_route() {
    let routes: Routes = [route("", "/api"), route("", "/a%2Fb"), route("", "/%C3%BC")].into_iter().collect();
    for path in ["/api/x", "/%61pi/x", "/x/../api", "/x/%2e%2E/api", "/./api/", "/api/%zz", "/api/..%2fx"] {
        assert_eq!(of_path(&routes, "x", path).as_deref(), Some("/api/"), "{path}");
    }
    assert_eq!(of_path(&routes, "x", "/a%2fb/c").as_deref(), Some("/a%2Fb/"));
    assert_eq!(of_path(&routes, "x", "/ü").as_deref(), Some("/%C3%BC/"));
    for path in ["/api/../x", "/api%2Fx", "//api/x", "/API", "/a/b", "/%zz", "/api/x/../..", "/"] {
        assert_eq!(of_path(&routes, "x", path), None, "{path}");
    }
}

#[test]
fn the_server_as_a_whole_is_a_matter_of_routes_for_all_paths() {
    let asterisk = Target { form: TargetForm::Asterisk, raw: b"*", authority: None, path: b"*", query: None };
    let absolute = |raw: &'static str| Target {
        form: TargetForm::Absolute,
        raw: raw.as_bytes(),
        authority: Some(b"b.example"),
        path: b"/",
        query: None,
    };
    let all: Routes = [route("", ""), route("", "/x")].into_iter().collect();
    let none: Routes = [route("", "/x")].into_iter().collect();
    assert_eq!(found(&all, Method::Options, "x", asterisk).as_deref(), Some("/"));
    assert_eq!(found(&none, Method::Options, "x", asterisk), None);
    assert_eq!(found(&all, Method::Options, "x", absolute("http://b.example")).as_deref(), Some("/"));
    let authority =
        Target { form: TargetForm::Authority, raw: b"a:1", authority: Some(b"a:1"), path: b"", query: None };
    assert_eq!(found(&all, Method::Connect, "x", authority), None, "CONNECT is for nobody");
    // RFC 9112 §3.2.2: the authority of the target counts, not Host.
    let routes: Routes = [route("b.example", "")].into_iter().collect();
    assert_eq!(found(&routes, Method::Get, "x", absolute("http://b.example/")).as_deref(), Some("b.example/"));
    assert_eq!(of_path(&routes, "x", "/"), None);
    assert_eq!(of_path(&Routes::default(), "x", "/"), None);
}

#[test]
fn an_upstream_has_its_authority() {
    for (is_secured, host, port, authority, url) in [
        (false, "App.internal", None, "app.internal", "http://app.internal"),
        (false, "app", Some(80), "app", "http://app"),
        (false, "127.0.0.1", Some(443), "127.0.0.1:443", "http://127.0.0.1:443"),
        (true, "::1", None, "[::1]", "https://[::1]"),
        (true, "::1", Some(8443), "[::1]:8443", "https://[::1]:8443"),
    ] {
        let upstream = Upstream::new(is_secured, host, port);
        assert_eq!((&*upstream.authority, upstream.to_string()), (authority, url.to_owned()));
    }
}

#[test]
fn the_host_is_kept_or_set() {
    let mut route = route("", "");
    let upstream = Upstream::new(false, "app", Some(3000));
    let asked = Some(&b"example.org"[..]);
    assert_eq!(route.host_for(&upstream, asked), b"example.org");
    assert_eq!(route.host_for(&upstream, None), b"app:3000");
    assert_eq!(route.host_for(&upstream, Some(b"")), b"app:3000");
    route.host_field = HostField::Upstream;
    assert_eq!(route.host_for(&upstream, asked), b"app:3000");
    route.host_field = HostField::Name("other".into());
    assert_eq!((route.host_for(&upstream, asked), route.host_for(&upstream, None)), (&b"other"[..], &b"other"[..]));
}

proptest! {
    /// The route is the best of all that fit, whatever the order in which they were given.
    #[test]
    fn the_best_of_all_that_fit_is_found(
        routes in proptest::collection::vec(("(|h|i)", "(/a|/b|/ab){0,3}"), 0..8),
        host in "(h|i|j)",
        path in "(/a|/b|/ab){1,4}/?",
    ) {
        let fits = |route: &(String, String)| {
            let is_beneath = format!("{path}/").starts_with(&format!("{}/", route.1));
            is_beneath && (route.0.is_empty() || route.0 == host)
        };
        let rank = |route: &&(String, String)| (!route.0.is_empty(), route.1.len());
        let best = routes.iter().filter(|route| fits(route)).max_by_key(rank);
        let all: Routes = routes.iter().map(|(host, prefix)| route(host, prefix)).collect();
        prop_assert_eq!(of_path(&all, &host, &path), best.map(|(host, prefix)| format!("{host}{prefix}/")));
    }
}
