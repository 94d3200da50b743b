//! `/now` and `tidemill ask` without keys: what is wrong just now, and the last minute in numbers.

use std::process::Command;

use serde_json::Value;

use crate::http2_client::Http2;
use crate::support::{Server, status, wait_until};
use crate::{ask, ask_json, server};

/// Waits until there is a finding of this kind, and returns it.
fn finding(server: &Server, kind: &str) -> Value {
    let mut found = Value::Null;
    wait_until(&format!("{kind} is found"), || {
        let now = ask_json(server, "/now?format=json");
        let all = now["findings"].as_array().unwrap();
        found = all.iter().find(|finding| finding["kind"] == kind).cloned().unwrap_or_default();
        !found.is_null()
    });
    found
}

/// The kinds of all findings, but for long drives: on a busy machine every drive may be one.
fn kinds(now: &Value) -> Vec<&str> {
    let kinds = now["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap());
    kinds.filter(|kind| !kind.starts_with("loop-")).collect()
}

fn text(finding: &Value) -> &str {
    finding["text"].as_str().unwrap()
}

#[test]
fn a_server_without_trouble_says_so_and_leaves_its_own_requests_out() {
    let server = server(&["--lab"]);
    for _ in 0..5 {
        let now = ask_json(&server, "/now?format=json");
        assert_eq!(kinds(&now), [""; 0], "{now}");
        if now["findings"] == Value::Array(vec![]) {
            assert_eq!(now["headline"], "Nothing is held up: 0 connections, no request in the last minute");
        }
    }
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_response();
    }
    let (_, told) = ask(&server, "/now");
    assert!(told.contains("\n  requests    3, ") && told.contains(", 3 × 2xx\n"), "{told}");
    let now = ask_json(&server, "/now?format=json");
    let minute = &now["minute"];
    assert_eq!((&now["requests"], &minute["requests"]), (&3.into(), &3.into()), "{now}");
    assert_eq!((&minute["latency"]["count"], &minute["classes"]["2xx"]), (&3.into(), &3.into()));
    assert_eq!(
        (&minute["accepted"], &now["connections"], &now["findings"]),
        (&1.into(), &1.into(), &Value::Array(vec![]))
    );
    let (received, sent) = (now["received_bytes"].as_u64().unwrap(), now["sent_bytes"].as_u64().unwrap());
    assert_eq!(received, 3 * "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n".len() as u64);
    assert!(sent > 0 && sent < 1000, "only what the client got: {sent}");
    // Its own answers are named only if they have held others up, as they may on a busy machine.
    let own =
        |drive: &Value| drive["line"].as_str().unwrap().contains("/now") && drive["took_us"].as_u64() < Some(5000);
    assert!(!now["longest"].as_array().unwrap().iter().any(own), "{now}");
}

#[test]
fn errors_are_found_with_the_request_that_fails_most() {
    let server = server(&["--lab"]);
    for target in ["/status/500", "/status/503", "/status/500", "/plaintext"] {
        server.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    }
    let found = finding(&server, "server-errors");
    assert_eq!(text(&found), "2 × 500, 1 × 503 in the last minute, most often GET /status/500 (2 of 3)");
    assert_eq!((&found["severity"], &found["connection"], &found["request"]), (&"alarm".into(), &3.into(), &1.into()));
    let (_, told) = ask(&server, "/now");
    assert!(told.starts_with("2 × 500, 1 × 503 in the last minute"), "{told}");
    assert!(told.contains("\n         tidemill ask c=3 r=1\n"), "{told}");
}

#[test]
fn without_a_past_errors_are_counted_all_the_same() {
    let server = server(&["--lab", "--past", "0"]);
    server.ask("GET /status/500 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(text(&finding(&server, "server-errors")), "1 × 5xx in the last minute");
}

#[test]
fn slots_that_are_all_taken_are_the_first_thing_that_is_said() {
    let server = server(&["--max-connections", "2"]);
    let clients = [server.connect(), server.connect()];
    let outside = server.connect();
    let found = finding(&server, "slots");
    assert!(text(&found).starts_with("every slot is taken: 2 of 2 connections, 2 of them client-silent"), "{found}");
    if cfg!(target_os = "linux") {
        wait_until("the one outside is seen", || {
            text(&finding(&server, "slots")).ends_with("; 1 more wait to be accepted")
        });
    }
    assert!(ask(&server, "/now").1.starts_with("Every slot is taken: 2 of 2 connections"));
    drop((clients, outside));
    wait_until("there is room again", || !kinds(&ask_json(&server, "/now?format=json")).contains(&"slots"));
}

#[test]
fn whoever_does_not_read_is_found_and_is_a_culprit_with_the_kernels_word() {
    let server = server(&[]);
    let mut deaf = server.connect();
    deaf.send("GET /bytes/100000000?<i> HTTP/1.1\r\nHost: a\r\n\r\n");
    let found = finding(&server, "reader");
    assert!(text(&found).starts_with("c=1 is blocked for "), "{found}");
    assert!(text(&found).ends_with(" by its reader, who takes nothing or little: GET /bytes/100000000?<i>"), "{found}");
    let now = ask_json(&server, "/now?format=json");
    let culprit = &now["culprits"][0];
    assert_eq!((&culprit["cause"], &culprit["on"]["connection"]), (&"reader".into(), &1.into()));
    if cfg!(target_os = "linux") {
        assert!(culprit["kernel"].as_str().unwrap().starts_with("alive, its window shut for "), "{culprit}");
    }
    if kinds(&now).len() == now["findings"].as_array().unwrap().len() {
        assert_eq!(now["headline"].as_str().unwrap().split(" for ").next(), Some("c=1 is blocked"));
    }
}

#[test]
fn whoever_reads_on_is_not_blocked() {
    let server = server(&[]);
    let mut reader = server.connect();
    reader.send("GET /bytes/90000000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let reads = scope.spawn(move || {
            while is_over.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                reader.read_exactly(1 << 16);
            }
        });
        let mut now = Value::Null;
        let is_long = |connection: &Value| {
            connection["wait"] == "client-slow-read" && connection["waited_ms"].as_u64() > Some(1500)
        };
        wait_until("it has been sent to for long", || {
            let all = ask_json(&server, "/connections?format=json");
            now = ask_json(&server, "/now?format=json");
            all["connections"].as_array().unwrap().iter().any(is_long)
        });
        drop(over);
        reads.join().unwrap();
        assert!(!kinds(&now).iter().any(|kind| ["reader", "network", "send-buffer"].contains(kind)), "{now}");
        assert_eq!(now["culprits_total"], 0, "{now}");
    });
}

#[test]
fn a_stream_whose_window_is_shut_is_found() {
    let server = server(&[]);
    let mut client = Http2::new(server.connect(), 0);
    client.get(1, "/bytes/10", "");
    let found = finding(&server, "window");
    assert!(text(&found).ends_with(" by its client, who opens no window of the stream: s=1 GET /bytes/10"), "{found}");
    assert_eq!(found["stream"], 1);
}

#[test]
fn a_client_that_leaves_and_one_that_is_late_are_found() {
    let server = server(&["--lab", "--header-timeout", "100ms"]);
    let mut hasty = server.connect();
    hasty.send("GET /delay/300 HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(hasty);
    let found = finding(&server, "clients-left");
    assert!(text(&found).contains("1 × CFW (FIN, while the handler worked): GET /delay/300"), "{found}");
    let mut late = server.connect();
    late.send("GET / HT");
    assert_eq!(text(&finding(&server, "timeouts")), "1 timeout in the last minute: 1 × client-slow-head");
}

/// Waits until so many requests of the last minute have this verdict, and returns what there is to say then.
fn disturbed(server: &Server, verdict: &str, count: u64) -> Value {
    let mut now = Value::Null;
    wait_until(&format!("{count} × {verdict}"), || {
        now = ask_json(server, "/now?format=json");
        let all = now["minute"]["disturbed"].as_array().unwrap();
        all.iter().any(|one| one["verdict"] == verdict && one["count"] == count)
    });
    now
}

#[test]
fn a_client_that_has_said_all_and_reads_on_has_not_left() {
    let server = server(&["--lab"]);
    for _ in 0..3 {
        let mut client = server.connect();
        client.send("GET /delay/50 HTTP/1.1\r\nHost: a\r\n\r\n");
        client.finish();
        assert_eq!(status(&client.read_to_end()), "200");
    }
    let now = disturbed(&server, "CFW", 3);
    assert!(!kinds(&now).contains(&"clients-left"), "{now}");
}

#[test]
fn a_handler_that_fails_before_its_answer_begins_has_cut_nothing() {
    let server = server(&["--lab"]);
    (0..12).for_each(|_| {
        assert_eq!(status(&server.ask("GET /error HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")), "500")
    });
    let mut client = Http2::new(server.connect(), 65_535);
    client.get(1, "/error", "");
    let now = disturbed(&server, "SHW", 13);
    assert!(kinds(&now).contains(&"server-errors") && !kinds(&now).contains(&"faults"), "{now}");
}

#[test]
fn a_server_that_stops_says_what_keeps_it() {
    let server = server(&["--lab", "--drain-timeout", "30s"]);
    let mut client = server.connect();
    client.send("GET /delay/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("it is at work", || ask(&server, "/connections").1.contains("  timer for "));
    server.signal("TERM");
    let found = finding(&server, "draining");
    assert!(text(&found).contains("kept by c=1 GET /delay/60000 (timer for "), "{found}");
}

#[test]
fn the_command_says_the_same() {
    let server = server(&["--lab"]);
    server.ask("GET /status/500 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    finding(&server, "server-errors");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command.arg("ask").args(arguments).args(["--admin", server.admin()]).output().unwrap()
    };
    let told = run(&[]);
    let out = String::from_utf8(told.stdout).unwrap();
    assert!(told.status.success() && out.starts_with("1 × 500 in the last minute: GET /status/500\n"), "{out}");
    let json: Value = serde_json::from_slice(&run(&["--json"]).stdout).unwrap();
    assert_eq!(json["findings"][0]["kind"], "server-errors");
}

#[test]
fn the_page_that_stands_still_has_its_data_and_nothing_of_peers_in_its_markup() {
    let server = server(&["--lab"]);
    let mut deaf = server.connect();
    deaf.send("GET /bytes/100000000?</script></pre><img> HTTP/1.1\r\nHost: a\r\n\r\n");
    finding(&server, "reader");
    let (head, page) = ask(&server, "/?static");
    assert_eq!(status(&head), "200");
    assert_eq!(crate::support::field(&head, "Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(crate::support::field(&head, "Cache-Control"), Some("no-store"));
    assert!(!page.contains("<img>") && !page.contains("?</script>") && !page.contains("?</pre>"));
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    let data: Value = serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(data["culprits"][0]["on"]["line"], "GET /bytes/100000000?</script></pre><img>");
    let (_, text) = page.split_once("<noscript>").unwrap();
    assert!(text.contains("c=1 is blocked for ") && text.contains("?&lt;/script&gt;&lt;/pre&gt;&lt;img&gt;"));
}
