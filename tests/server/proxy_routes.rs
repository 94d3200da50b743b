//! Which requests are passed on where other things are served, too, and what the upstream is told of them.

use crate::files::Site;
use crate::frames::END_STREAM;
use crate::http2_client::{Http2, head};
use crate::logged::Logged;
use crate::proxy::{OK, Upstream, get};
use crate::support::{Server, field, status};

/// A folder takes two slashes for one, and `%2F` for a slash. Where a route takes requests for a part of it, perhaps to ask for
/// a password, such a spelling must not lead to the files there.
#[test]
fn no_spelling_leads_to_files_past_a_route() {
    let site = Site::new()
        .with("private/secret.txt", "secret")
        .with("private%/secret.txt", "secret")
        .with("open/a.txt", "open");
    let upstream = Upstream::new();
    let routes = format!("/private/={0};/private%25/={0}", upstream.url());
    let server = site.serve(&["--proxy", &routes]);
    for path in [
        "//private/secret.txt",
        "///private/secret.txt",
        "/private%2Fsecret.txt",
        "/private%2fsecret.txt",
        "/%2Fprivate/secret.txt",
        "/.//private/secret.txt",
        "/x//../private/secret.txt",
        "/x/..%2Fprivate/secret.txt",
        "/%2e%2fprivate/secret.txt",
        "/open%2F..%2Fprivate/secret.txt",
        "//private%25/secret.txt",
    ] {
        let response = server.ask(&get(path).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
        assert!(matches!(status(&response), "404" | "400") && !response.contains("secret"), "{path}: {response}");
    }
    for path in ["//open/a.txt", "/open%2Fa.txt", "/x/..//open/a.txt"] {
        let response = server.ask(&get(path).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
        assert!(response.ends_with("open"), "{path}: {response}");
    }
    assert!(upstream.is_alone());
}

/// `--health` is for whoever watches this server. With a route for all paths it asked the upstream.
#[test]
fn this_server_answers_for_its_own_health() {
    let upstream = Upstream::new();
    let server = Server::start(&["--health", "--proxy", &format!("/={}", upstream.url())]);
    for path in ["/healthz", "/readyz"] {
        let response = server.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert_eq!(status(&response), "200", "{response}");
    }
    assert!(upstream.is_alone());
}

/// The log, the client and the upstream have the same identifier, whatever an untrusted client or the upstream says.
#[test]
fn the_upstream_gets_the_identifier_of_the_request() {
    let upstream = Upstream::new();
    let route = format!("/={}", upstream.url());
    let logged = Logged::start("json", &["--request-id=Trace-Id", "--proxy", &route]);
    let mut client = logged.server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\ntrace-id: theirs\r\n\r\n");
    let mut application = upstream.accept();
    let sent = application.read_head();
    let id = field(&sent, "Trace-Id").expect(&sent).to_owned();
    assert!(id.ends_with("-c1-r1") && !sent.contains("theirs"), "{sent}");
    application.send("HTTP/1.1 200 OK\r\nTRACE-ID: upstream's\r\nContent-Length: 2\r\n\r\nok");
    let response = client.read_head();
    assert_eq!(field(&response, "Trace-Id"), Some(&*id), "{response}");
    assert!(!response.contains("upstream's"), "{response}");
    assert!(logged.lines(1)[0].contains(&format!(",\"request_id\":\"{id}\",")));

    let mut client = Http2::new(logged.server.connect(), 65535);
    client.ask(1, END_STREAM, &head("GET", "/"));
    let sent = application.read_head();
    let id = field(&sent, "Trace-Id").expect(&sent).to_owned();
    assert!(id.ends_with("-s1"), "{sent}");
    application.send(OK);
    client.read_end_of(1);
    assert!(logged.lines(2)[1].contains(&format!(",\"request_id\":\"{id}\",")));
}

/// What a trusted proxy has chosen is kept all the way.
#[test]
fn the_identifier_of_a_trusted_proxy_is_passed_on() {
    let upstream = Upstream::new();
    let server =
        Server::start(&["--request-id", "--trusted-proxy=127.0.0.1", "--proxy", &format!("/={}", upstream.url())]);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: theirs\r\n\r\n");
    let mut application = upstream.accept();
    let head = application.read_head();
    assert_eq!(field(&head, "X-Request-Id"), Some("theirs"), "{head}");
    application.send(OK);
    assert_eq!(field(&client.read_head(), "X-Request-Id"), Some("theirs"));
}
