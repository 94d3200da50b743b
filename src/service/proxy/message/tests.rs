use super::*;
use crate::base::peer::Peer;
use crate::http::fields::Fields;
use crate::http::message::{Announced, RequestHead};
use crate::http::method::Method;
use crate::http::sections::Section;
use crate::http::status::Status;
use crate::http::target::{Target, TargetForm};
use crate::http::upstream::{ResponseContent, ResponseHead};
use crate::service::proxy::route::{HostField, Route, Routes, Upstream};

/// A request to be passed on.
struct Ask<'a> {
    method: &'a str,
    version: Version,
    target: &'a str,
    authority: Option<&'a str>,
    announced: Announced,
    protocol: Option<&'a str>,
    fields: &'a [(&'a str, &'a str)],
    sender: Sender<'static>,
}

const CLIENT: &str = "203.0.113.9:4444";

fn sender(peer: &str, is_trusted: bool, is_secured: bool) -> Sender<'static> {
    Sender { peer: peer.parse().map_or(Peer::Unix, Peer::Ip), is_trusted, is_secured, identifier: None }
}

/// What most tests ask for.
fn ask<'a>(fields: &'a [(&'a str, &'a str)]) -> Ask<'a> {
    Ask {
        method: "GET",
        version: Version::Http11,
        target: "/",
        authority: None,
        announced: Announced::Nothing,
        protocol: None,
        fields,
        sender: sender(CLIENT, false, false),
    }
}

fn route() -> Route {
    Route::new(None, String::new(), vec![Upstream::new(false, "app", Some(3000))])
}

/// A route for /api, whose place at the upstream is taken by `replacement`.
fn replacing(replacement: &str) -> Route {
    let upstreams = vec![Upstream::new(false, "app", Some(3000)), Upstream::new(true, "::1", None)];
    let replacement = Some(replacement.to_owned());
    Route { replacement, ..Route::new(None, "/api".into(), upstreams) }
}

impl Ask<'_> {
    fn outgoing(&self, route: Route) -> Result<Outgoing, Refusal> {
        let section = Section::of(self.fields);
        let (path, query) =
            self.target.split_once('?').map_or((self.target, None), |(path, query)| (path, Some(query)));
        let form = match (self.method, path) {
            ("CONNECT", _) if self.protocol.is_none() => TargetForm::Authority,
            (_, "*") => TargetForm::Asterisk,
            _ => TargetForm::Origin,
        };
        let authority = self.authority.map(str::as_bytes);
        let query = query.map(str::as_bytes);
        let request = RequestHead {
            method: Method::from_token(self.method.as_bytes()).unwrap(),
            target: Target { form, raw: self.target.as_bytes(), authority, path: path.as_bytes(), query },
            version: self.version,
            fields: section.fields(),
            announced: self.announced,
            protocol: self.protocol.map(str::as_bytes),
        };
        let routes: Routes = [route].into_iter().collect();
        let matched = routes.find(&request).expect("the route fits");
        super::request(&request, &matched, &self.sender)
    }

    fn sent(&self, route: Route) -> Outgoing {
        self.outgoing(route).expect("it is passed on")
    }

    /// The lines that are sent, but for those that every request gets.
    fn lines(&self, route: Route) -> Vec<String> {
        let outgoing = self.sent(route);
        let lines = String::from_utf8(outgoing.request.lines).unwrap();
        let lines: Vec<String> = lines.strip_suffix("\r\n").unwrap().split("\r\n").map(str::to_owned).collect();
        let ours = ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: http", "Via: 1.1 tidemill"];
        lines.into_iter().filter(|line| !ours.contains(&&**line)).collect()
    }
}

fn sent_target(target: &str, route: Route) -> Result<String, Refusal> {
    let outgoing = Ask { target, ..ask(&[]) }.outgoing(route)?;
    Ok(String::from_utf8(outgoing.request.target).unwrap())
}

#[test]
fn fields_of_the_connection_go_and_all_others_keep_their_order() {
    let fields = [
        ("Accept", "*/*"),
        ("Connection", "keep-alive, X-Hop, Authorization, te, upgrade, cookie"),
        ("x-hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Authorization", "Basic eA=="),
        ("Proxy-Authorization", "Basic eA=="),
        ("TE", "trailers, deflate"),
        ("Trailer", "X-Sum"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "5"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("Expect", "100-Continue"),
        ("Cookie", "a=b"),
        ("ACCEPT", "text/html"),
        ("Empty", ""),
    ];
    let mut request = Ask { method: "POST", announced: Announced::Length(5), ..ask(&fields) };
    let expected =
        ["Accept: */*", "Authorization: Basic eA==", "Trailer: X-Sum", "Cookie: a=b", "ACCEPT: text/html", "Empty: "];
    assert_eq!(request.lines(route()), expected);
    let sent = request.sent(route()).request;
    assert_eq!((sent.content, sent.expects_continue, sent.takes_trailers), (Announced::Length(5), true, true));
    assert_eq!(
        (sent.method, &*sent.target, &*sent.host, sent.upgrade),
        (Method::Post, &b"/"[..], &b"app:3000"[..], None)
    );
    request.version = Version::Http10;
    assert!(!request.sent(route()).request.expects_continue, "HTTP/1.0 does not know Expect");
    request = ask(&fields);
    assert!(!request.sent(route()).request.expects_continue, "without content there is nothing to wait for");
}

#[test]
fn whom_a_request_is_for_is_kept_or_set() {
    let fields = [("Host", "example.org:8080")];
    let host = |request: &Ask<'_>, host_field| {
        String::from_utf8(request.sent(Route { host_field, ..route() }).request.host).unwrap()
    };
    let mut request = ask(&fields);
    assert_eq!(host(&request, HostField::Keep), "example.org:8080");
    assert_eq!(host(&request, HostField::Upstream), "app:3000");
    assert_eq!(host(&request, HostField::Name("b".into())), "b");
    assert_eq!(request.lines(route()), ["X-Forwarded-Host: example.org:8080"]);
    // RFC 9112 §3.2.2: the authority of the target comes before Host.
    request.authority = Some("c.example");
    assert_eq!(host(&request, HostField::Keep), "c.example");
    assert_eq!(request.lines(route()), ["X-Forwarded-Host: c.example"]);
    // RFC 9110 §7.2: an empty one is allowed, and says nothing.
    assert_eq!(ask(&[("Host", "")]).lines(route()), [""; 0]);
}

#[test]
fn an_untrusted_peer_cannot_say_who_it_is() {
    let fields = [
        ("X-Forwarded-For", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Port", "1"),
        ("X-Forwarded", "for=1.1.1.1"),
        ("Forwarded", "for=1.1.1.1"),
        ("X-Real-IP", "1.1.1.1"),
        ("X_Forwarded_For", "1.1.1.1"),
        ("x_real-ip", "1.1.1.1"),
        ("Via", "1.0 fred"),
        ("X-Forward", "kept"),
        ("Connection", "X-Forwarded-For, Via"),
        ("Host", "a"),
    ];
    let request = ask(&fields);
    assert_eq!(request.lines(route()), ["Via: 1.0 fred", "X-Forward: kept", "X-Forwarded-Host: a"]);
    let text = String::from_utf8(request.sent(route()).request.lines).unwrap();
    assert!(text.contains("\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\n"), "{text}");
    assert!(text.ends_with("\r\nVia: 1.1 tidemill\r\n"), "{text}");
}

#[test]
fn what_a_trusted_peer_says_is_extended() {
    let fields = [
        ("X-Forwarded-For", "1.1.1.1"),
        ("X-Forwarded-For", ""),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Port", "444"),
        ("X-Forwarded-For", "2001:db8::2"),
        ("X-Real-IP", "1.1.1.1"),
        ("X_Real_IP", "6.6.6.6"),
        ("Forwarded", "for=1.1.1.1"),
        ("Forwarded", "for=\"1.1.1.2"),
        ("Host", "a"),
    ];
    let mut request = Ask { sender: sender("[::ffff:10.0.0.1]:1", true, false), ..ask(&fields) };
    let kept = ["X-Forwarded-Port: 444", "X-Real-IP: 1.1.1.1"];
    let forwarded = ["Forwarded: for=1.1.1.1"];
    let ours = ["X-Forwarded-For: 1.1.1.1, 2001:db8::2, 10.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: a"];
    assert_eq!(request.lines(route()), [&kept[..], &ours[..], &forwarded[..]].concat());
    let with_forwarded = Route { sends_forwarded: true, ..route() };
    let element = ["Forwarded: for=1.1.1.1, for=10.0.0.1;proto=http;host=a"];
    assert_eq!(request.lines(with_forwarded), [&kept[..], &ours[..], &element[..]].concat());
    // A proxy on a Unix socket has no address that could be added.
    request.sender = sender("unix", true, false);
    assert!(request.lines(route()).contains(&"X-Forwarded-For: 1.1.1.1, 2001:db8::2".to_owned()));
}

#[test]
fn forwarded_is_written_as_the_standard_says() {
    let line = |peer: &str, is_secured, host: &str| {
        let fields = [("Host", host)];
        let request = Ask { sender: sender(peer, false, is_secured), ..ask(&fields) };
        let lines = request.lines(Route { sends_forwarded: true, ..route() });
        lines.into_iter().find(|line| line.starts_with("Forwarded: ")).expect("it is there")
    };
    assert_eq!(line("[2001:db8::7]:1", true, "a:8080"), r#"Forwarded: for="[2001:db8::7]";proto=https;host="a:8080""#);
    assert_eq!(line("192.0.2.1:1", false, ""), "Forwarded: for=192.0.2.1;proto=http");
    assert_eq!(line("unix", false, "a"), "Forwarded: for=unknown;proto=http;host=a");
}

#[test]
fn a_request_that_goes_round_is_stopped() {
    let came_by = |times: usize| {
        let via = ["1.1 tidemill (a)", "2.0 other"].repeat(times / 2).join(", ");
        let fields: Vec<_> = std::iter::repeat_n(("via", "1.1\tTideMill"), times.div_ceil(2)).collect();
        let fields = [&fields[..], &[("Via", &*via), ("Via", "1.1 tidemill.example, tidemill, 1.1")]].concat();
        ask(&fields).outgoing(route()).err()
    };
    assert_eq!((came_by(7), came_by(8)), (None, Some(Refusal::Loop)));
    assert_eq!(Refusal::Loop.response().status, Status::LOOP_DETECTED);
}

#[test]
fn the_path_that_was_checked_is_sent_and_the_query_is_as_it_came() {
    for (target, expected) in [
        ("/a/../%61%2f?b=%zz&c={\"d\":1}|\\%2e?", "/a%2F?b=%zz&c={\"d\":1}|\\%2e?"),
        ("/ü?ü=", "/%C3%BC?%C3%BC="),
        ("/a?", "/a?"),
        ("//a//b/", "//a//b/"),
    ] {
        assert_eq!(sent_target(target, route()).as_deref(), Ok(expected), "{target}");
    }
    for target in ["/%zz", "/%00", "/a\\b", "/..%2fb"] {
        assert!(matches!(sent_target(target, route()), Err(Refusal::Invalid(_))), "{target}");
    }
    for target in ["/?a b", "/?a\tb", "/?a#b", "/?\u{7f}"] {
        assert!(matches!(sent_target(target, route()), Err(Refusal::Invalid(_))), "{target}");
    }
}

#[test]
fn a_prefix_is_replaced() {
    for (target, stripped, replaced) in [
        ("/api", "/", "/v2/docs/"),
        ("/api/", "/", "/v2/docs/"),
        ("/api/x/../y?q=/api", "/y?q=/api", "/v2/docs/y?q=/api"),
        ("/%61pi?q", "/?q", "/v2/docs/?q"),
        ("/api//evil.example/x//y", "/evil.example/x//y", "/v2/docs/evil.example/x//y"),
    ] {
        assert_eq!(sent_target(target, replacing("")).as_deref(), Ok(stripped), "{target}");
        assert_eq!(sent_target(target, replacing("/v2/docs")).as_deref(), Ok(replaced), "{target}");
    }
}

#[test]
fn options_and_trace_count_down() {
    let fields = |value| [("A", "1"), ("Max-Forwards", value), ("B", "2")];
    let outcome = |method, value| {
        let fields = fields(value);
        let request = Ask { method, target: if method == "OPTIONS" { "*" } else { "/" }, ..ask(&fields) };
        request.outgoing(route()).map(|_| request.lines(route())[1].clone())
    };
    for method in ["OPTIONS", "TRACE"] {
        assert_eq!(outcome(method, "10").as_deref(), Ok("Max-Forwards: 9"));
        assert_eq!(outcome(method, "0001").as_deref(), Ok("Max-Forwards: 0"));
        assert_eq!(outcome(method, "99999999999999999999").as_deref(), Ok("Max-Forwards: 18446744073709551614"));
        for value in ["", "-1", "+1", "1, 1", "x"] {
            assert!(matches!(outcome(method, value), Err(Refusal::Invalid(_))), "{value}");
        }
    }
    assert_eq!(outcome("OPTIONS", "0"), Err(Refusal::EndsHere));
    assert_eq!(outcome("TRACE", "00"), Err(Refusal::TraceEndsHere));
    assert_eq!(outcome("GET", "0").as_deref(), Ok("Max-Forwards: 0"));
    assert_eq!(
        (Refusal::EndsHere.response().status.code(), Refusal::TraceEndsHere.response().status.code()),
        (204, 405)
    );
    let twice = [("Max-Forwards", "3"), ("Max-Forwards", "3")];
    assert!(Ask { method: "TRACE", ..ask(&twice) }.outgoing(route()).is_err());
    let asterisk = Ask { method: "OPTIONS", target: "*", ..ask(&[]) }.sent(route()).request;
    assert_eq!(asterisk.target, b"*");
}

#[test]
fn methods_are_passed_whatever_they_are_but_connect() {
    for method in ["PROPFIND", "brew", "TRACE", "DELETE", "!#$%&'*+-.^_`|~"] {
        assert_eq!(Ask { method, ..ask(&[]) }.sent(route()).request.method.as_str(), method);
    }
    // No route is for the target of CONNECT; whoever passes one on all the same is told.
    let target = Target { form: TargetForm::Authority, raw: b"a:1", authority: Some(b"a:1"), path: b"", query: None };
    let (method, version, fields) = (Method::Connect, Version::Http11, Fields::default());
    let head = RequestHead { method, target, version, fields, announced: Announced::Nothing, protocol: None };
    let routes: Routes = [route()].into_iter().collect();
    let other = RequestHead { target: Target { path: b"/", ..target }, ..head };
    let matched = routes.find(&other).unwrap();
    assert_eq!(super::request(&head, &matched, &sender(CLIENT, false, false)), Err(Refusal::Connect));
    assert_eq!(Refusal::Connect.response().status, Status::METHOD_NOT_ALLOWED);
}

#[test]
fn an_upgrade_is_asked_for_as_the_client_does() {
    let fields = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c, WebSocket,, TLS/1.2"),
        ("Upgrade", "a/1, HTTP/2.0, b c, d/"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let mut request = ask(&fields);
    let sent = request.sent(route());
    assert_eq!(sent.request.upgrade.as_deref(), Some(&b"WebSocket, a/1"[..]));
    assert_eq!(request.lines(route()), ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]);
    request.announced = Announced::Unknown;
    assert_eq!(request.sent(route()).request.upgrade, None, "with content");
    request = Ask { version: Version::Http10, ..ask(&fields) };
    assert_eq!(request.sent(route()).request.upgrade, None, "in HTTP/1.0");
    for fields in [&fields[1..], &[("Connection", "upgrade"), ("Upgrade", "h2c")], &fields[..1]] {
        assert_eq!(ask(fields).sent(route()).request.upgrade, None, "{fields:?}");
    }
}

fn websocket_of_http2() -> Outgoing {
    let fields = [("sec-websocket-version", "13"), ("sec-websocket-key", "mine"), ("cookie", "a=b; c=d")];
    let request = Ask {
        method: "CONNECT",
        version: Version::Http2,
        target: "/chat",
        authority: Some("a"),
        announced: Announced::Unknown,
        protocol: Some("websocket"),
        ..ask(&fields)
    };
    request.sent(route())
}

#[test]
fn a_websocket_of_http2_becomes_one_of_http1() {
    // RFC 8441 §5
    let Outgoing { request, asked } = websocket_of_http2();
    assert_eq!((request.method, request.content), (Method::Get, Announced::Nothing));
    assert_eq!((request.upgrade.as_deref(), &*request.host), (Some(&b"websocket"[..]), &b"a"[..]));
    let lines = String::from_utf8(request.lines).unwrap();
    let (before, after) = lines.split_once("Sec-WebSocket-Key: ").expect("a key");
    let (key, after) = after.split_once("\r\n").unwrap();
    assert_eq!(before, "sec-websocket-version: 13\r\ncookie: a=b; c=d\r\n");
    assert!(after.ends_with("Via: 2.0 tidemill\r\n") && !after.contains("Sec-"), "{after}");
    assert_eq!(asked.accept, Some(crate::protocol::ws::handshake::accept_of(key.as_bytes())));
    assert_ne!(asked.accept, websocket_of_http2().asked.accept, "each has a key of its own");
    let other = Ask { method: "CONNECT", version: Version::Http2, protocol: Some("connect-udp"), ..ask(&[]) };
    assert_eq!(other.outgoing(route()).err(), Some(Refusal::UnknownProtocol));
    assert_eq!(Refusal::UnknownProtocol.response().status, Status::NOT_IMPLEMENTED);
}

/// What is said about a head with these fields.
fn of_response<T>(status: Status, fields: &[(&str, &str)], say: impl FnOnce(&ResponseHead<'_>) -> T) -> T {
    let section = Section::of(fields);
    let content = ResponseContent::Chunked;
    say(&ResponseHead { status, version: Version::Http11, fields: section.fields(), content })
}

fn passed(asked: &Asked, route: &Route, status: Status, fields: &[(&str, &str)]) -> String {
    let set = of_response(status, fields, |head| asked.response_fields(head, route));
    String::from_utf8(set.as_lines().to_vec()).unwrap()
}

#[test]
fn a_response_keeps_everything_but_what_is_about_the_connection() {
    let fields = [
        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Server", "app"),
        ("Connection", "close, X-Hop, Set-Cookie, Cache-Control"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Content-Type", "text/plain"),
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Set-Cookie", "a=b; Path=/"),
        ("Set-Cookie", "c=d"),
        ("Cache-Control", "no-store"),
        ("Alt-Svc", "h3=\":8443\""),
        ("Upgrade", "h2c"),
        ("Proxy-Authenticate", "Basic"),
        ("Trailer", "X-Sum"),
        ("X-Accel-Buffering", "no"),
        ("Strict-Transport-Security", "max-age=1"),
        ("Location", "/login"),
        ("Via", "1.0 fred"),
        ("X-Raw", "\u{fc}"),
    ];
    let asked = ask(&[]).sent(route()).asked;
    let expected = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: app\r\nContent-Type: text/plain\r\n\
                    Set-Cookie: a=b; Path=/\r\nSet-Cookie: c=d\r\nCache-Control: no-store\r\nTrailer: X-Sum\r\n\
                    X-Accel-Buffering: no\r\nStrict-Transport-Security: max-age=1\r\nLocation: /login\r\n\
                    Via: 1.0 fred\r\nX-Raw: \u{fc}\r\nVia: 1.1 tidemill\r\n";
    assert_eq!(passed(&asked, &route(), Status::OK, &fields), expected);
    let upgrade = [("Upgrade", "websocket")];
    assert_eq!(passed(&asked, &route(), Status::OK, &upgrade), "Via: 1.1 tidemill\r\n");
    let required = passed(&asked, &route(), Status::UPGRADE_REQUIRED, &upgrade);
    assert_eq!(required, "Upgrade: websocket\r\nVia: 1.1 tidemill\r\n");
}

#[test]
fn a_location_is_moved_to_where_the_client_sees_it() {
    let fields = [("Host", "example.org")];
    let location = |route: &Route, location: &str| {
        let asked = Ask { target: "/api/x", ..ask(&fields) }.sent(route.clone()).asked;
        let text = passed(&asked, route, Status::FOUND, &[("location", location)]);
        text.strip_prefix("location: ").unwrap().strip_suffix("\r\nVia: 1.1 tidemill\r\n").unwrap().to_owned()
    };
    for (sent, expected) in [
        ("/", "/api/"),
        ("/login?next=/", "/api/login?next=/"),
        ("/apis", "/api/apis"),
        ("http://app:3000/login", "/api/login"),
        ("HTTPS://[::1]/login#x", "/api/login#x"),
        ("http://app:3000", "/api"),
        ("http://app:3000?q", "/api?q"),
        ("https://Example.org/login", "https://Example.org/api/login"),
        ("https://example.org:443/login", "https://example.org:443/api/login"),
        ("http://[::1]:80/login", "/api/login"),
        ("http://app:3000/api/x", "/api/api/x"),
        ("//example.org/x", "//example.org/api/x"),
        ("//app:3000/x", "/api/x"),
        // These stay.
        ("/api", "/api"),
        ("/api/login", "/api/login"),
        ("https://example.org/api/", "https://example.org/api/"),
        ("login", "login"),
        ("../x", "../x"),
        ("", ""),
        ("//example.org/api/x", "//example.org/api/x"),
        ("//example.org:80/x", "//example.org:80/x"),
        ("//evil/x", "//evil/x"),
        ("///x", "///x"),
        ("http://app:3001/", "http://app:3001/"),
        ("http://example.org:443/", "http://example.org:443/"),
        ("http://app:3000.evil/", "http://app:3000.evil/"),
        ("http://example.org@evil/", "http://example.org@evil/"),
        ("ftp://example.org/", "ftp://example.org/"),
        ("http:/x", "http:/x"),
    ] {
        assert_eq!(location(&replacing(""), sent), expected, "{sent}");
    }
    for (sent, expected) in [
        ("/v2/docs/x", "/api/x"),
        ("/v2/docs", "/api"),
        ("http://app:3000/v2/docs?q", "/api?q"),
        ("/v2/docsx", "/v2/docsx"),
        ("/x", "/x"),
        ("http://app:3000/x", "http://app:3000/x"),
    ] {
        assert_eq!(location(&replacing("/v2/docs"), sent), expected, "{sent}");
    }
    let named = Route { host_field: HostField::Name("inner".into()), ..replacing("") };
    assert_eq!(location(&named, "http://inner/x"), "/api/x");
    let whole = Route { replacement: Some("/v2".into()), ..route() };
    for (sent, expected) in [("/v2/x", "/x"), ("/v2", "/"), ("/v2//evil/x", "/evil/x"), ("/x", "/x")] {
        assert_eq!(location(&whole, sent), expected, "{sent}");
    }
    assert_eq!(location(&Route::new(None, "/api".into(), route().upstreams), "http://app:3000/x"), "http://app:3000/x");
}

#[test]
fn a_switch_of_protocols_is_checked() {
    let switched = |asked: &Asked, fields: &[(&str, &str)]| {
        of_response(Status::SWITCHING_PROTOCOLS, fields, |head| asked.switched_to(head).map(|name| name.to_vec()))
    };
    let fields = [("Connection", "upgrade"), ("Upgrade", "websocket, a/1")];
    let asked = ask(&fields).sent(route()).asked;
    assert_eq!(switched(&asked, &[("Upgrade", "WebSocket")]).as_deref(), Ok(&b"WebSocket"[..]));
    assert_eq!(switched(&asked, &[("Upgrade", "a/1")]).as_deref(), Ok(&b"a/1"[..]));
    for wrong in [&[][..], &[("Upgrade", "")], &[("Upgrade", "b")], &[("Upgrade", "websocket, a/1")]] {
        assert!(switched(&asked, wrong).is_err(), "{wrong:?}");
    }
    assert!(switched(&ask(&[]).sent(route()).asked, &[("Upgrade", "websocket")]).is_err());

    let asked = websocket_of_http2().asked;
    let accept = asked.accept.clone().unwrap();
    let upgrade = ("Upgrade", "websocket");
    assert!(switched(&asked, &[upgrade, ("sec-websocket-accept", &accept)]).is_ok());
    for wrong in [vec![], vec![("Sec-WebSocket-Accept", "x")], vec![("Sec-WebSocket-Accept", &*accept); 2]] {
        assert!(switched(&asked, &[&[upgrade], &wrong[..]].concat()).is_err(), "{wrong:?}");
    }
    let fields = [upgrade, ("Sec-WebSocket-Accept", &accept), ("Sec-WebSocket-Protocol", "x")];
    let passed = passed(&asked, &route(), Status::SWITCHING_PROTOCOLS, &fields);
    assert_eq!(passed, "Sec-WebSocket-Protocol: x\r\nVia: 1.1 tidemill\r\n");
}

#[test]
fn trailers_say_nothing_that_should_have_come_before() {
    let fields = [
        ("X-Sum", "1"),
        ("Content-Length", "5"),
        ("X-Forwarded-For", "1.1.1.1"),
        ("X_Real_IP", "1.1.1.1"),
        ("Proxy-Authorization", "x"),
        ("ETag", "\"a\""),
    ];
    let set = trailers(Section::of(&fields).fields());
    assert_eq!(set.as_lines(), b"X-Sum: 1\r\nETag: \"a\"\r\n");
}
