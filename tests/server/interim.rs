//! What comes before and after the content of a response: interim responses and trailers.

use crate::support::{Client, Server, field, status};

fn get(target: &str, version: &str) -> String {
    format!("GET {target} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n")
}

/// A request with content that is sent only when it is asked for.
fn held_back(method: &str, target: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
}

#[test]
fn early_hints_come_before_the_response() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for _ in 0..2 {
        client.send("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n");
        let hints = client.read_head();
        assert_eq!(hints, "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n");
        let (head, content) = client.read_response();
        assert_eq!((status(&head), &*content), ("200", "103 Early Hints came before this.\n"));
    }
    client.send("HEAD /hints HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&client.read_head()), "103");
    let rest = client.read_to_end();
    assert!(status(&rest) == "200" && rest.ends_with("\r\n\r\n"), "{rest}");
}

/// RFC 9110 §15.2: a client of that version does not know interim responses.
#[test]
fn http_1_0_gets_no_interim_response() {
    let server = Server::start(&[]);
    let answer = server.ask(&get("/hints", "1.0"));
    assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), ("200", 1), "{answer}");
    let mut client = server.connect();
    client.send(held_back("POST", "/users").replace("HTTP/1.1", "HTTP/1.0") + "{}");
    let answer = client.read_to_end();
    assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), ("200", 1), "{answer}");
}

#[test]
fn trailers_follow_chunked_content() {
    let server = Server::start(&[]);
    let answer = server.ask(&get("/trailers", "1.1"));
    assert!(answer.contains("\r\nTransfer-Encoding: chunked\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\ne\r\none\ntwo\nthree\n\r\n0\r\nX-Lines: 3\r\nX-Bytes: 14\r\n\r\n"), "{answer}");
    // The connection persists behind them.
    let twice = get("/trailers", "1.1").replace("Connection: close\r\n", "") + &get("/trailers", "1.1");
    assert_eq!(server.ask(&twice).matches("0\r\nX-Lines: 3\r\nX-Bytes: 14\r\n\r\n").count(), 2);
}

#[test]
fn without_chunks_there_are_no_trailers() {
    let server = Server::start(&[]);
    let answer = server.ask(&get("/trailers", "1.0"));
    assert!(answer.ends_with("\r\n\r\none\ntwo\nthree\n") && !answer.contains("X-Lines"), "{answer}");
    assert!(!answer.contains("chunked"), "{answer}");
    let answer = server.ask(&get("/trailers", "1.1").replace("GET", "HEAD"));
    assert!(status(&answer) == "200" && answer.ends_with("\r\n\r\n") && !answer.contains("X-Lines"), "{answer}");
}

/// RFC 9112 §6.1. Where the content ends is known, but not what it means.
#[test]
fn an_unknown_coding_before_chunked_is_not_implemented_and_ends_the_connection() {
    let server = Server::start(&[]);
    for (target, coding) in [("/echo", "gzip, chunked"), ("/nothing", "tea, chunked"), ("/users", "x;q=1, chunked")] {
        let request =
            format!("POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\n[]\r\n0\r\n\r\n");
        let answer = server.ask(&(request + "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(status(&answer), "501", "{coding}: {answer}");
        assert_eq!(field(&answer, "Connection"), Some("close"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "nothing follows: {answer}");
    }
}

fn final_response(client: &mut Client) -> String {
    let (head, content) = client.read_response();
    head + &content
}

#[test]
fn content_is_asked_for_only_by_whoever_takes_it() {
    let folder = std::env::temp_dir().join(format!("tidemill-interim-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("cold.txt"), "cold").unwrap();
    let server = Server::start(&["--lab", folder.to_str().unwrap()]);
    for (method, target, answer) in [
        ("POST", "/users", r#"{"received":[]}"#),
        ("POST", "/echo", "[]"),
        ("PUT", "/echo", "[]"),
        ("POST", "/ndjson", r#"{"lines":1,"objects":0,"bytes":2}"#),
    ] {
        let mut client = server.connect();
        client.send(held_back(method, target));
        assert_eq!(client.read_head(), "HTTP/1.1 100 Continue\r\n\r\n", "{method} {target}");
        client.send("[]");
        let (head, content) = client.read_response();
        assert_eq!((status(&head), &*content), ("200", answer), "{method} {target}");
        assert_eq!(field(&head, "Connection"), None, "{head}");
    }
    // Nobody has asked for the file before, so the disk is asked first. The second time it is in memory.
    for (method, target, code) in [
        ("GET", "/cold.txt", "200"),
        ("GET", "/cold.txt", "200"),
        ("PUT", "/cold.txt", "405"),
        ("GET", "/plaintext", "200"),
        ("POST", "/nothing", "405"),
        ("GET", "/delay/20", "200"),
    ] {
        let mut client = server.connect();
        client.send(held_back(method, target));
        let answer = final_response(&mut client);
        assert_eq!(status(&answer), code, "{method} {target}: {answer}");
        assert_eq!(field(&answer, "Connection"), Some("close"), "nobody knows what follows: {answer}");
        client.finish();
        assert_eq!(client.read_to_end(), "");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
