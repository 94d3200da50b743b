//! Who ended a request, how, and in which phase: each case with a client that does it.

use std::io::{ErrorKind, Read};

use rustix::net::sockopt;
use serde_json::Value;

use crate::frames::{END_STREAM, RST_STREAM, frame};
use crate::http2_client::{Http2, head};
use crate::logged::Logged;
use crate::support::{Client, status, wait_until};

/// The only line of the log, after a client that sent this and then did that.
fn line(arguments: &[&str], request: &str, then: impl FnOnce(Client, &Logged)) -> Value {
    let logged = Logged::start_untortured("json", arguments);
    let mut client = logged.connect();
    client.send(request);
    then(client, &logged);
    logged.objects(1).remove(0)
}

/// The same for a request that a handler works on. The one before it, which came with it, is answered.
fn line_at_work(request: &str, then: impl FnOnce(Client)) -> Value {
    let logged = Logged::start_untortured("json", &[]);
    let mut client = logged.connect();
    client.send(format!("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n{request}"));
    client.read_response();
    then(client);
    logged.objects(2).remove(1)
}

fn reset(client: &Client) {
    sockopt::set_socket_linger(&client.stream, Some(std::time::Duration::ZERO)).unwrap();
}

/// Like `curl -m 1`: its socket is gone, and what it is sent is answered with a reset.
#[test]
fn a_client_that_gave_up_while_the_handler_worked_is_no_success() {
    let line = line_at_work("GET /delay/400 HTTP/1.1\r\nHost: a\r\n\r\n", drop);
    assert_eq!((&line["verdict"], &line["status"]), (&"CFW".into(), &200.into()), "{line}");
    let after = line["disturbed"]["after_ms"].as_f64().unwrap();
    assert!(after < 390.0, "it is dated when it happens and not when the handler is done: {line}");
    assert_eq!(line["disturbed"]["reset"], true, "{line}");
    let text = line["disturbed"]["text"].as_str().unwrap();
    assert!(
        text.starts_with("CFW client left (FIN) after ") && text.ends_with(", reset, never read to its end"),
        "{text}"
    );
    assert!(text.contains("ms while the handler worked; 144B of the answer written"), "{text}");
}

/// Like `nc -N`: it has said all it had to say, and reads on.
#[test]
fn a_client_that_only_ended_its_direction_has_read_all() {
    let line = line_at_work("GET /delay/400 HTTP/1.1\r\nHost: a\r\n\r\n", |mut client| {
        client.finish();
        assert_eq!(status(&client.read_to_end()), "200");
    });
    let disturbed = &line["disturbed"];
    assert_eq!((&line["verdict"], &disturbed["reset"]), (&"CFW".into(), &false.into()), "{line}");
    assert_eq!((&disturbed["left_over"], &disturbed["acknowledged"]), (&0.into(), &144.into()), "{line}");
}

#[test]
fn a_client_that_ended_its_direction_with_its_request_has_disturbed_nobody() {
    let line = line(&[], "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n", |mut client, _| {
        client.finish();
        client.read_to_end();
    });
    assert_eq!((&line["verdict"], &line["disturbed"]), (&"---".into(), &Value::Null));
}

#[test]
fn a_reset_is_told_at_once_with_the_phase() {
    let worked = line_at_work("GET /delay/600000 HTTP/1.1\r\nHost: a\r\n\r\n", |client| reset(&client));
    assert_eq!((&worked["verdict"], &worked["status"]), (&"CRW".into(), &Value::Null), "{worked}");
    let sent = line(&[], "GET /bytes/100000000 HTTP/1.1\r\nHost: a\r\n\r\n", |mut client, _| {
        client.read_head();
        reset(&client);
    });
    assert_eq!(sent["verdict"], "CRS", "{sent}");
}

#[test]
fn a_request_that_is_not_complete_tells_where_it_broke_off() {
    let head = line(&[], "GET /plain", |mut client, _| client.finish());
    assert_eq!((&head["verdict"], &head["status"]), (&"CFH".into(), &400.into()), "{head}");
    let content = line(&[], "POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1", |mut client, _| {
        client.finish();
    });
    assert_eq!((&content["verdict"], &content["status"]), (&"CFB".into(), &400.into()), "{content}");
}

#[test]
fn what_the_server_refuses_or_does_not_wait_for_is_its_own_verdict() {
    let refused = line(&[], "GET /a b HTTP/1.1\r\n\r\n", |mut client, _| drop(client.read_to_end()));
    assert_eq!((&refused["verdict"], &refused["status"]), (&"SXH".into(), &400.into()), "{refused}");
    let late_head = line(&["--header-timeout", "100ms"], "GET /", |mut client, _| drop(client.read_head()));
    assert_eq!((&late_head["verdict"], &late_head["status"]), (&"STH".into(), &408.into()), "{late_head}");
    let post = "POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1";
    let late_content = line(&["--body-timeout", "100ms"], post, |mut client, _| drop(client.read_head()));
    assert_eq!((&late_content["verdict"], &late_content["status"]), (&"STB".into(), &408.into()), "{late_content}");
    let slow = "GET /bytes/100000000 HTTP/1.1\r\nHost: a\r\n\r\n";
    let unread = line(&["--send-timeout", "300ms"], slow, |client, logged| {
        logged.lines(1);
        drop(client);
    });
    assert_eq!((&unread["verdict"], &unread["status"]), (&"STS".into(), &200.into()), "{unread}");
    let acknowledged = unread["disturbed"]["acknowledged"].as_u64().unwrap();
    assert!(acknowledged > 0 && unread["disturbed"]["left_over"].as_u64().unwrap() > 0, "{unread}");
}

#[test]
fn a_stream_says_who_has_reset_it_and_what_went_on() {
    let logged = Logged::start_untortured("json", &[]);
    let mut client = Http2::new(logged.connect(), 65_535);
    client.ask(1, END_STREAM, &head("GET", "/delay/600000"));
    client.ask(3, 0, &head("POST", "/users"));
    client.get(5, "/plaintext", "");
    client.read_end_of(5);
    let cancel = [frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()), frame(RST_STREAM, 0, 3, &8_u32.to_be_bytes())];
    client.client.send(cancel.concat());
    let objects = logged.objects(3);
    let verdicts: Vec<_> =
        objects.iter().map(|object| (object["stream"].as_u64(), object["verdict"].as_str())).collect();
    assert_eq!(verdicts, [(Some(5), Some("---")), (Some(1), Some("CSW")), (Some(3), Some("CSB"))]);
    assert!(objects[1]["disturbed"]["text"].as_str().unwrap().starts_with("CSW client left (RST_STREAM CANCEL) after"));
}

/// The same letters count the connections, and tell whose sockets are left in TIME_WAIT.
#[test]
fn connections_have_verdicts_and_somebody_ended_first() {
    let logged = Logged::start_untortured("json", &["--admin", "127.0.0.1:0"]);
    let ask = |request: &str| {
        let mut client = logged.connect();
        client.send(request);
        client.finish();
        client.read_to_end();
    };
    ask("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    let closed_by_server = |request: &str| {
        let mut client = logged.connect();
        client.send(request);
        client.read_to_end();
    };
    closed_by_server("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    closed_by_server("GET /plaintext HTTP/1.0\r\n\r\n");
    ask("");
    let mut metrics = String::new();
    wait_until("all are counted", || {
        let mut asking = Client::new(std::net::TcpStream::connect(logged.server.admin()).unwrap());
        asking.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        metrics = asking.read_to_end();
        ["CFI", "SAI", "S0I", "CFA"].iter().all(|verdict| metrics.contains(&format!("{{verdict=\"{verdict}\"")))
    });
    for line in [
        "tidemill_connection_verdicts_total{verdict=\"S0I\",side=\"server\",means=\"as HTTP/1.0 ends\",phase=\"between requests\"} 1\n",
        "tidemill_connection_verdicts_total{verdict=\"CFA\",side=\"client\",means=\"FIN\",phase=\"before its first byte\"} 1\n",
        "tidemill_first_fins_total{side=\"client\"} 2\n",
        "tidemill_first_fins_total{side=\"nobody\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

/// `--abort-on-close`: nobody waits for the answer any more, so the handler stops.
#[test]
fn a_handler_may_stop_when_its_client_leaves() {
    let logged = Logged::start_untortured("json", &["--abort-on-close"]);
    let mut client = logged.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\nGET /delay/600000 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_response();
    drop(client);
    let line = logged.objects(2).remove(1);
    assert_eq!((&line["verdict"], &line["status"]), (&"CFW".into(), &Value::Null), "{line}");
    let mut client = Http2::new(logged.connect(), 65_535);
    client.ask(1, END_STREAM, &head("GET", "/delay/600000"));
    client.get(3, "/plaintext", "");
    client.read_end_of(3);
    drop(client);
    let line = logged.objects(4).remove(3);
    assert_eq!((&line["stream"], &line["verdict"]), (&1.into(), &"CFW".into()), "{line}");
}

/// The same once the response has begun: more of it is waited for, and nobody waits for that.
#[test]
fn a_response_may_end_when_its_client_leaves() {
    let logged = Logged::start_untortured("json", &["--abort-on-close"]);
    let mut client = logged.connect();
    client.send("GET /drip?bytes=9&over=10m HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    client.finish();
    let cut = client.stream.read_to_end(&mut Vec::new()).expect_err("a part must not look like the whole");
    assert_eq!(cut.kind(), ErrorKind::ConnectionReset);
    let line = logged.objects(1).remove(0);
    assert_eq!((&line["verdict"], &line["status"]), (&"CFW".into(), &200.into()), "{line}");
    let mut client = Http2::new(logged.connect(), 65_535);
    client.ask(1, END_STREAM, &head("GET", "/drip?bytes=9&over=10m"));
    client.get(3, "/plaintext", "");
    client.read_end_of(3);
    drop(client);
    let line = logged.objects(3).remove(2);
    assert_eq!((&line["stream"], &line["verdict"]), (&1.into(), &"CFW".into()), "{line}");
}

const WEBSOCKET: &str = "GET /ws/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Origin: http://a\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// RFC 6455 §7.1.5: each side's Close with its code and reason.
#[test]
fn a_websocket_tells_who_closed_it_and_why() {
    let upgrade = WEBSOCKET;
    let closed = line(&[], upgrade, |mut client, _| {
        client.read_head();
        // 1000 and a reason, masked with zeros.
        client.send(b"\x88\x87\0\0\0\0\x03\xe8\"bye\"");
        client.read_to_end();
    });
    let farewell = "Close 1000 from the client (\"bye\"), 1000 from the server";
    assert_eq!((&closed["farewell"], &closed["verdict"]), (&farewell.into(), &"---".into()), "{closed}");
    let cut = line(&[], upgrade, |mut client, _| {
        client.read_head();
        reset(&client);
    });
    assert_eq!((&cut["farewell"], &cut["verdict"]), (&"no Close".into(), &"CRC".into()), "{cut}");
}

/// RFC 6455 §7.1.5: without a Close of the client, a conversation was broken off, and the connection has the same letters.
#[test]
fn a_websocket_that_is_broken_off_says_who_did_it() {
    let close_and_end = b"\x88\x82\0\0\0\0\x03\xe8";
    // A frame that is not masked.
    let violation = b"\x81\x01a";
    for (arguments, sent, ends, request, connection) in [
        (&[][..], &[][..], true, "CFC", "CFC"),
        (&[], &close_and_end[..], true, "---", "C"),
        (&[], violation, false, "SXC", "SXC"),
        (&["--ws-ping-interval", "100ms"], &[], false, "STC", "STC"),
    ] {
        let logged = Logged::start_untortured("json", &[&["--log-level", "debug"], arguments].concat());
        let mut client = logged.connect();
        client.send(WEBSOCKET);
        client.read_head();
        client.send(sent);
        if ends {
            client.finish();
        }
        client.read_to_end();
        drop(client);
        let line = logged.objects(1).remove(0);
        assert_eq!(line["verdict"], request, "{line}");
        let expected = if connection == "C" {
            " in the conversation after 1 request".to_owned()
        } else {
            format!(": {connection} ")
        };
        logged.server.wait_for_log(&expected);
    }
}

#[test]
fn those_who_are_cut_at_the_deadline_are_listed() {
    let mut logged = Logged::start_untortured("json", &["--drain-timeout", "0s"]);
    let mut client = logged.connect();
    client.send("GET /drip?bytes=9&over=10m HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    logged.server.signal("TERM");
    logged.server.wait();
    logged.server.wait_for_log(" c=1 r=1: cut: GET /drip?bytes=9&over=10m after ");
    logged.server.wait_for_log(" while the handler worked\n");
}
