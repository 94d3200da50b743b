//! HTTP/1 as clients see it; the parser's own cases are in `tests/corpus/h1`.

use crate::support::{Server, field, status};

#[test]
fn fragmentation_does_not_matter() {
    let server = Server::start(&[]);
    let requests = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /users HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\n[1,\r\n2\r\n2]\r\n0\r\nX-T: 1\r\n\r\n\
        HEAD /json HTTP/1.1\r\nHost: a\r\n\r\n\
        GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let without_dates = |answer: String| {
        answer.lines().filter(|line| !line.starts_with("Date: ")).map(|line| format!("{line}\n")).collect::<String>()
    };
    let whole = without_dates(server.ask(requests));
    assert_eq!(whole.matches("HTTP/1.1 ").count(), 4, "{whole}");
    let mut client = server.connect();
    for byte in requests.as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(without_dates(client.read_to_end()), whole);
}

#[test]
fn http_1_0_closes_unless_it_is_asked_to_stay() {
    let server = Server::start(&[]);
    let answer = server.ask("GET /plaintext HTTP/1.0\r\n\r\n");
    assert!(answer.contains("Connection: close") && answer.ends_with("Hello, World!"), "{answer}");
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let (head, _) = client.read_response();
    assert_eq!(field(&head, "Connection"), Some("keep-alive"));
    client.send("GET /stream/5 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let streamed = client.read_to_end();
    assert!(!streamed.contains("chunked"), "an unknown length ends with the connection: {streamed}");
    assert_eq!(streamed.split("\r\n\r\n").nth(1).map(str::len), Some(5));
}

#[test]
fn no_answer_to_head_has_content_not_even_a_refusal() {
    let server = Server::start(&["--header-timeout", "200ms"]);
    let too_long = format!("HEAD /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(10_000));
    for (request, code) in [
        ("HEAD /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "404"),
        ("HEAD / HTTP/1.1\r\n\r\n", "400"),
        ("HEAD / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
        ("HEAD / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n", "417"),
        ("HEAD / HTTP/1.1\r\nHost: a\r\nX-Late", "408"),
        (&too_long, "414"),
    ] {
        let answer = server.ask(request);
        assert_eq!(status(&answer), code);
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(field(&answer, "Content-Length").is_some_and(|length| length != "0"), "{answer}");
    }
}

#[test]
fn a_tls_hello_on_the_plain_port_is_told_so_at_once() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]);
    let answer = client.read_to_end();
    assert_eq!(status(&answer), "400");
    assert!(answer.contains("TLS"), "{answer}");
}

#[test]
fn content_that_is_held_back_is_asked_for_only_when_it_is_wanted() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("POST /users HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(client.read_head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("{}");
    assert_eq!(client.read_response().1, r#"{"received":{}}"#);

    let refused = "POST /users HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n";
    let answer = server.ask(refused);
    assert_eq!(status(&answer), "413", "the final answer comes first: {answer}");
    let answer = server.ask("POST /nothing HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(status(&answer), "404");
    assert!(answer.contains("Connection: close"), "nobody knows whether the content follows: {answer}");
    let answer = server.ask("POST /users HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(status(&answer), "417");
}

#[test]
fn unwanted_content_is_skipped_and_the_connection_goes_on() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("POST /plaintext HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nGET / HTTP/1.1\r\nX: y\r\n");
    assert_eq!(status(&client.read_response().0), "405");
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().1, "Hello, World!");
}

#[test]
fn head_has_the_same_fields_as_get() {
    let server = Server::start(&[]);
    for path in ["/plaintext", "/json", "/health", "/stream/10", "/bytes/10", "/nothing", "/"] {
        let fields = |method: &str| {
            let answer = server.ask(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            let (head, content) = answer.split_once("\r\n\r\n").unwrap();
            let head: Vec<String> =
                head.lines().filter(|line| !line.starts_with("Date: ")).map(str::to_owned).collect();
            (head, content.len())
        };
        let (get, _) = fields("GET");
        assert_eq!(fields("HEAD"), (get, 0), "{path}");
    }
}
