//! Requests that are passed on: the request that is explained is the one that the upstream gets, at the upstream that is named,
//! and where no upstream is asked, the answer is the one that is explained.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::TcpListener;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::TestRunner;

use crate::support::{Client, Server, status, wait_until};
use crate::{Asked, Page};

/// Upstreams whose part the test plays, and a server that passes requests on to them.
struct Stage {
    upstreams: Vec<TcpListener>,
    flags: Vec<String>,
    server: Server,
}

/// What became of a request.
enum Served {
    /// The upstream at this place got a request with this head.
    PassedOn(usize, String),
    /// The server has answered with this head.
    Answered(String),
}

impl Stage {
    /// Each route has an upstream of its own. Its URL takes the place of `URL`.
    fn new(routes: &[&str], more: &[&str]) -> Stage {
        let listener = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let upstreams: Vec<TcpListener> = routes.iter().map(|_| listener()).collect();
        let url = |upstream: &TcpListener| format!("http://{}", upstream.local_addr().unwrap());
        let of_routes = routes.iter().zip(&upstreams);
        let flags = of_routes.map(|(route, upstream)| format!("--proxy={}", route.replace("URL", &url(upstream))));
        let flags: Vec<String> = flags.chain(more.iter().map(|flag| (*flag).to_owned())).collect();
        let server = Server::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        Stage { upstreams, flags, server }
    }

    fn page(&self, request: &str, fields: &[&str]) -> Page {
        Page::of(Asked { request, fields }, &self.flags.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Sends the request, whose fields have a Host, and answers for the upstream if one gets it.
    fn serve(&self, request: &str, fields: &[&str]) -> Served {
        let version = if request.matches(' ').count() == 1 { " HTTP/1.1" } else { "" };
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let mut client = self.server.connect();
        client.send(format!("{request}{version}\r\n{fields}\r\n"));
        let (mut asked, mut is_answered) = (None, false);
        wait_until("somebody answers", || {
            asked = self.upstreams.iter().enumerate().find_map(|(place, upstream)| match upstream.accept() {
                Ok((stream, _)) => Some((place, stream)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    None
                }
            });
            client.stream.set_nonblocking(true).unwrap();
            is_answered = client.stream.peek(&mut [0]).is_ok();
            client.stream.set_nonblocking(false).unwrap();
            asked.is_some() || is_answered
        });
        let Some((place, stream)) = asked else { return Served::Answered(client.read_head()) };
        stream.set_nonblocking(false).unwrap();
        let mut application = Client::new(stream);
        let head = application.read_head();
        application.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&client.read_head()), "204");
        Served::PassedOn(place, head)
    }

    /// Compares what is explained with what happens.
    fn assert_explained(&self, request: &str, fields: &[&str]) -> Page {
        let page = self.page(request, fields);
        match self.serve(request, fields) {
            Served::PassedOn(place, head) => {
                let address = self.upstreams[place].local_addr().unwrap();
                assert_eq!(page.line("upstream"), Some(&*format!("http://{address}")), "{}", page.0);
                let sent: Vec<&str> = head.lines().filter(|line| !line.is_empty()).collect();
                assert_eq!(page.outgoing().expect("a request to the upstream"), sent, "{}", page.0);
                page.assert_line("answer", "the upstream's");
                assert_fates(&page, fields, &sent);
            }
            Served::Answered(head) => {
                assert_eq!(page.outgoing(), None, "{}", page.0);
                assert!(page.line("answer").unwrap().starts_with(status(&head)), "{head}\n{}", page.0);
                let without_date =
                    |head: &str| head.lines().filter(|line| !line.starts_with("Date: ")).collect::<Vec<_>>().join("\n");
                assert_eq!(without_date(page.heads().last().unwrap()), without_date(&head), "{}", page.0);
            }
        }
        page
    }
}

impl Page {
    /// The lines of the request that the upstream gets.
    fn outgoing(&self) -> Option<Vec<&str>> {
        let (_, lines) = self.0.split_once("\nthe upstream gets\n")?;
        Some(lines.lines().map_while(|line| line.strip_prefix("  ")).collect())
    }

    /// The names in front of the colons of these lines.
    fn names(&self, label: &str) -> Vec<String> {
        let mut is_there = false;
        let mut names = Vec::new();
        for line in self.0.lines().take_while(|line| !line.is_empty()) {
            let Some((name, text)) = line.split_at_checked(14) else { continue };
            is_there = name.trim() == label || (is_there && name.trim().is_empty());
            let listed = text.split(':').next().unwrap().split(", ").filter(|_| is_there);
            names.extend(listed.map(str::to_ascii_lowercase));
        }
        names
    }
}

/// What is said to be removed is not there, and what is not there is said to be removed.
#[track_caller]
fn assert_fates(page: &Page, fields: &[&str], sent: &[&str]) {
    let removed = page.names("removed");
    for line in fields {
        let name = line.split(':').next().unwrap().to_ascii_lowercase();
        let is_sent = sent.iter().any(|sent| sent.eq_ignore_ascii_case(line));
        // These are always sent in words of our own, if they are.
        let has_own_words =
            ["host", "max-forwards", "content-length", "transfer-encoding", "connection", "upgrade", "te"];
        if !has_own_words.contains(&&*name) && !name.starts_with("x-forwarded") && name != "forwarded" {
            assert_eq!(removed.contains(&name), !is_sent, "{line}\n{}", page.0);
        }
    }
    let given = |line: &&&str| fields.iter().any(|field| field == *line);
    let name = |line: &&str| line.split(':').next().unwrap().to_ascii_lowercase();
    for name in sent.iter().skip(1).filter(|line| !given(line)).map(name) {
        let of_protocol = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "expect"];
        assert!(of_protocol.contains(&&*name) || page.names("added").contains(&name), "{name}\n{}", page.0);
    }
}

const ROUTES: [&str; 5] = [
    "/=URL",
    "/api/=URL strip",
    "app.test/api/v1=URL replace=/v2/ host=upstream",
    "app.test/=URL forwarded host=fixed.test",
    "only.test/a%2Fb=URL",
];

/// What the request is, and its fields.
fn requests() -> impl Strategy<Value = (String, Vec<&'static str>)> {
    let segments = vec(
        select(vec![
            "/", "/api", "/%61pi", "/v1", "/apis", "/.", "/..", "/%2e%2E", "/x", "//", "/a%2fb", "/a%2Fb", "/ü",
            "/%zz", "/\\", "/..;x", "/%0a", "/\"q\"",
        ]),
        1..5,
    );
    let query = select(vec!["", "", "?", "?q=1", "?q=%zz&ü", "?a#b"]);
    let line = (
        select(vec!["GET", "GET", "GET", "POST", "OPTIONS", "HEAD", "TRACE", "PURGE", "CONNECT"]),
        select(vec!["", "", "", "http://app.test", "http://other:81"]),
        segments.prop_map(|segments| segments.concat()),
        query,
        select(vec!["", "", "", " HTTP/1.0"]),
    );
    let line = line.prop_map(|(method, origin, path, query, version)| match (method, path.as_str()) {
        ("CONNECT", _) => "CONNECT app.test:80".to_owned(),
        ("OPTIONS", "/") => "OPTIONS *".to_owned(),
        _ => format!("{method} {origin}{path}{query}{version}"),
    });
    let host =
        select(vec!["Host: app.test", "Host: APP.test.:80", "Host: localhost", "Host: only.test", "Host: [::1]:8080"]);
    let fields = subsequence(
        vec![
            "Connection: X-Hop, Cookie, close",
            "Connection: Upgrade",
            "X-Hop: 1",
            "Cookie: a=b",
            "Upgrade: websocket",
            "TE: trailers",
            "Keep-Alive: timeout=5",
            "Proxy-Authorization: Basic YTpi",
            "X-Forwarded-For: 6.6.6.6",
            "Forwarded: for=6.6.6.6",
            "X_Forwarded_For: 6.6.6.6",
            "X-Real-IP: 6.6.6.6",
            "X-Forwarded-Port: 1",
            "Max-Forwards: 0",
            "Max-Forwards: 3",
            "Via: 1.1 tidemill, 1.1 other",
            "Via: 1.1 tidemill, 1.1 tidemill, 1.1 tidemill, 1.1 tidemill, 1.1 tidemill, 1.1 tidemill, 1.1 tidemill, 1 tidemill",
            "Expect: 100-continue",
            "Content-Length: 0",
            "Content-Length: 3",
            "Accept-Encoding: gzip",
            "Accept-Encoding: br",
        ],
        0..6,
    );
    (line, host, fields).prop_map(|(line, host, fields)| (line, [vec![host], fields].concat()))
}

#[test]
fn whatever_is_asked_the_served_request_is_the_explained_one() {
    for more in [&[][..], &["--trusted-proxy", "127.0.0.0/8"]] {
        let stage = Stage::new(&ROUTES, more);
        let mut runner =
            TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) });
        let (passed_on, answered) = (Cell::new(0), Cell::new(0));
        let checked = runner.run(&requests(), |(request, fields)| {
            let page = stage.assert_explained(&request, &fields);
            let count = if page.outgoing().is_some() { &passed_on } else { &answered };
            count.set(count.get() + 1);
            Ok(())
        });
        checked.unwrap();
        assert!(
            passed_on.get() > 30 && answered.get() > 10,
            "{} passed on, {} answered",
            passed_on.get(),
            answered.get()
        );
    }
}

#[test]
fn the_route_and_why_it_is_not_another_one() {
    let stage = Stage::new(&ROUTES, &[]);
    let page = stage.assert_explained("GET /x/../%61pi/v1/y?q", &["Host: App.test:8080"]);
    page.assert_line(
        "route",
        "proxy: app.test/api/v1/: the host is app.test, and /api/v1/y is /api/v1 or lies beneath it",
    );
    page.assert_line("other routes", "only.test/a%2Fb/: the path does not begin with it");
    for line in
        ["app.test/: it fits, too, but its PATH is shorter", "/api/: it fits, too, but has no HOST", "/: it fits, too"]
    {
        assert!(page.0.contains(&format!("\n{:14}{line}", "")), "{}", page.0);
    }
    page.assert_line("path", "/api/v1/y, normalised (RFC 3986 §6.2.2)");
    page.assert_line("sent as", "/v2/y?q, with /v2 in the place of /api/v1 (replace)");
    page.assert_line("host", "the upstream's own (host=upstream)");
    page.assert_line("timeouts", "3s to connect, 60s for the head of the response");
    page.assert_line("on the loop", "recvfrom ×1");

    let page = stage.assert_explained("GET /api/v1/y", &["Host: only.test"]);
    page.assert_line("route", "proxy: /api/: for any host, and /api/v1/y is /api or lies beneath it");
    page.assert_line("other routes", "app.test/api/v1/: it is for another host");
    page.assert_line("sent as", "/v1/y, without /api (strip)");
    assert_eq!(page.line("path"), None, "it is normal");
    stage
        .assert_explained("GET /apis", &["Host: only.test"])
        .assert_line("route", "proxy: /: for any host, and any path");
}

#[test]
fn what_needs_no_upstream_is_answered_as_explained() {
    let stage = Stage::new(&ROUTES, &[]);
    let refused = |request: &str, fields: &[&str], answer: &str, why: &str| {
        let page = stage.assert_explained(request, &[&["Host: a"], fields].concat());
        page.assert_line("answer", answer);
        page.assert_line("refused", why);
    };
    refused("GET /a\\b", &[], "400 Bad Request", "no upstream is asked: the path has a backslash");
    refused("GET /%zz", &[], "400 Bad Request", "a % in the path is not followed by two hexadecimal digits");
    refused("TRACE /", &["Max-Forwards: 0"], "405 Method Not Allowed", "Max-Forwards: 0 asks this server");
    refused("OPTIONS /", &["Max-Forwards: 0"], "204 No Content", "Max-Forwards: 0 asks this server");
    refused("OPTIONS /", &["Max-Forwards: x"], "400 Bad Request", "Max-Forwards is not one number");
    let via = format!("Via: {}", ["1.1 tidemill"; 8].join(", "));
    refused("GET /", &[&via], "508 Loop Detected (RFC 5842 §7.2)", "Via says that the request has been here too often");
    // It names no resource, so no route takes it.
    stage.assert_explained("CONNECT a:1", &["Host: a:1"]).assert_line("answer", "405 Method Not Allowed");
}

#[test]
fn which_addresses_there_are_and_how_one_is_chosen() {
    let page = |route: &str, fields: &[&str]| Page::of(Asked { request: "GET /", fields }, &["--proxy", route]);
    let two = page("/=http://192.0.2.1,https://app.test host=upstream", &[]);
    two.assert_line("upstream", "http://192.0.2.1");
    assert!(
        two.0.contains(&format!("\n{:14}https://app.test, at all addresses that DNS has of app.test\n", "")),
        "{}",
        two.0
    );
    two.assert_line("chosen", "one address after the other (balance=round-robin)");
    two.assert_line("host", "192.0.2.1, or what the chosen one is called (host=upstream)");
    page("/=http://app.test balance=least-conn", &[]).assert_line("chosen", "the fewest requests (balance=least-conn)");
    page("/=http://app.test balance=hash", &[]).assert_line("chosen", "by the client's address (balance=hash)");
    let by_user = "/=http://app.test balance=hash=X-User health=/up health-interval=7s proxy-protocol";
    let page_of_user = page(by_user, &["x-user: me"]);
    page_of_user.assert_line("chosen", "by X-User: me (balance=hash=X-User)");
    page_of_user.assert_line("health", "each address is asked /up every 7s");
    page_of_user.assert_line("preface", "a PROXY header");
    page(by_user, &[]).assert_line("chosen", "one address after the other, since there is no X-User");
    assert_eq!(page("/=http://192.0.2.1", &[]).line("chosen"), None, "there is only one");
}

#[test]
fn the_coding_of_the_response_as_far_as_it_is_known() {
    let coding = |options: &str, fields: &[&str], more: &[&str], expected: &str| {
        let route = format!("--proxy=/=http://192.0.2.1{options}");
        let page = Page::of(Asked { request: "GET /", fields }, &[&[&*route], more].concat());
        page.assert_line("coding", expected);
    };
    let gzip = "Accept-Encoding: gzip";
    coding("", &[gzip], &[], "as the upstream sends it: the route has no compress");
    coding(" compress", &[gzip], &[], "gzip, if the response is worth it: Accept-Encoding: gzip (RFC 9110 §12.5.3)");
    coding(" compress", &["Accept-Encoding: br, zstd"], &[], "zstd, if the response is worth it");
    coding(" compress", &[], &[], "as the upstream sends it: no Accept-Encoding");
    coding(" compress", &["Accept-Encoding: br"], &[], "as the upstream sends it: Accept-Encoding: br");
    coding(" compress", &[gzip, "Range: bytes=1-"], &[], "as the upstream sends it, since the request has Range");
    coding(
        " compress",
        &[gzip, "Cache-Control: no-transform"],
        &[],
        "since the request has Cache-Control: no-transform",
    );
    coding(" compress", &[gzip], &["--file-cache=0"], "as the upstream sends it: --file-cache 0 compresses nothing");
}

#[test]
fn what_becomes_of_a_request_whose_client_ends_its_direction() {
    let half_close = |options: &str, fields: &[&str], more: &[&str], expected: &str| {
        let route = format!("--proxy=/=http://192.0.2.1{options}");
        let page = Page::of(Asked { request: "GET /", fields }, &[&[&*route], more].concat());
        page.assert_line("half-close", expected);
    };
    let upgrade = ["Connection: upgrade", "Upgrade: websocket"];
    half_close("", &[], &[], "a client that ends its direction gets its response: no abort-on-close");
    half_close(" abort-on-close", &[], &[], "has left: the upstream gets a reset (abort-on-close)");
    half_close("", &[], &["--abort-on-close"], "has left: the upstream gets a reset (abort-on-close)");
    half_close(" abort-on-close", &upgrade, &[], "ends its direction before 101 has left (abort-on-close)");
}

#[test]
fn no_route_is_told_before_what_answers_instead() {
    let page = Page::of(Asked { request: "GET /plaintext", fields: &[] }, &["--proxy=/api/=http://a;b.test/=http://b"]);
    page.assert_line("proxy", "not b.test/: it is for another host");
    assert!(page.0.contains(&format!("\n{:14}not /api/: the path does not begin with it\n", "")), "{}", page.0);
    page.assert_line("route", "lab: /plaintext");
    page.assert_line("answer", "200 OK");
    let preflight = ["Origin: https://a.test", "Access-Control-Request-Method: PUT"];
    let page = Page::of(Asked { request: "OPTIONS /", fields: &preflight }, &["--proxy=/=http://a", "--cors=*"]);
    page.assert_line("cors", "a preflight, which --cors answers");
    page.assert_line("answer", "204 No Content");
}

#[test]
fn over_http2_the_upstream_gets_http1() {
    let page =
        Page::of(Asked { request: "GET /a?b", fields: &["te: trailers"] }, &["-2", "--proxy=/=http://192.0.2.1"]);
    page.assert_line("route", "proxy: /: for any host, and any path");
    page.assert_line("answer", "the upstream's");
    let sent = ["GET /a?b HTTP/1.1", "Host: localhost", "TE: trailers", "Connection: TE"];
    assert_eq!(page.outgoing().unwrap()[..4], sent, "{}", page.0);
    assert!(page.0.contains("\nthe client sends \"PRI"), "{}", page.0);
    let page = Page::of(Asked { request: "CONNECT a:1", fields: &[] }, &["-2", "--proxy=/=http://192.0.2.1"]);
    page.assert_line("answer", "405 Method Not Allowed");
}
