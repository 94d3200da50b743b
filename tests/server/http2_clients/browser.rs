//! A browser, which speaks HTTP/2 over TLS only.

use serde_json::{Value, json};

use crate::browser_driver::{Browser, Tab};
use crate::logged::Scratch;
use crate::support::{Server, wait_until};
use crate::tls_client::corpus;

/// Asks for many users at a time, and counts the right answers.
const MANY: &str = "Promise.all(Array.from({ length: 300 }, (_, id) => fetch(`/users/${id}`).then(r => r.json())
    .then(user => user.user_id === String(id)))).then(all => all.filter(Boolean).length)";

/// Lines in the pieces in which they arrive.
const PIECES: &str = "(async () => {
    const pieces = [];
    for await (const piece of (await fetch('/sheep?n=4&every=100ms')).body) pieces.push(new TextDecoder().decode(piece));
    return pieces;
})()";

/// Content whose length is not known when the request begins.
const UPLOAD: &str = "(async () => {
    let give;
    const body = new ReadableStream({ start(controller) { give = controller; } }).pipeThrough(new TextEncoderStream());
    for (let n = 0; n < 10; n++) give.enqueue(String(n));
    give.close();
    return (await fetch('/echo', { method: 'POST', body, duplex: 'half' })).text();
})()";

const EVENTS: &str = "new Promise((resolve, reject) => {
    const source = new EventSource('/sse?every=20ms'), ticks = [];
    source.onerror = reject;
    source.onmessage = event => {
        ticks.push(JSON.parse(event.data).tick);
        if (ticks.length === 3) { source.close(); resolve(ticks); }
    };
})";

/// By which protocols everything came that the page has asked for.
const PROTOCOLS: &str = "[...new Set(performance.getEntriesByType('resource').map(entry => entry.nextHopProtocol))]";

#[test]
fn a_browser_uses_it_for_pages_streams_events_uploads_and_websockets() {
    let Some(mut browser) = Browser::start("http2") else { return };
    let scratch = Scratch::new();
    let (certificate, key) = (corpus("ec.pem").display().to_string(), corpus("ec-sec1-key.pem").display().to_string());
    let own = ["--listen", "https:127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key];
    let log = scratch.flag();
    let server = Server::start(&[&own[..], &[&log, "--log-format", "json"]].concat());
    let tab = browser.open(&format!("https://{}/?room=mill&name=ada", server.listener(1)));
    browser.wait(&tab, "document.getElementById('protocol').textContent === ', over HTTP/2'");
    browser.wait(&tab, "document.getElementById('state').textContent === 'you are ada'");
    assert_eq!(browser.evaluate(&tab, MANY), 300);
    let pieces = value(&mut browser, &tab, PIECES);
    let pieces: Vec<&str> = pieces.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(pieces.len() > 1 && pieces.concat() == "0\n1\n2\n3\n", "{pieces:?}");
    assert_eq!(browser.evaluate(&tab, UPLOAD), "0123456789");
    assert_eq!(value(&mut browser, &tab, EVENTS), json!([0, 1, 2]));
    assert_eq!(value(&mut browser, &tab, PROTOCOLS), json!(["h2"]));
    browser.expect_no_complaints();
    browser.close_tab(&tab);
    wait_until("the WebSocket is in the log", || scratch.log().contains("/ws/chat"));
    let log = scratch.log();
    let line = log.lines().find(|line| line.contains("/ws/chat")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["method"], &line["status"]), (&json!("CONNECT"), &json!(200)), "RFC 8441: {line}");
}

/// What a script comes to, also if it is no simple value.
fn value(browser: &mut Browser, tab: &Tab, script: &str) -> Value {
    let text = browser.evaluate(tab, &format!("Promise.resolve({script}).then(JSON.stringify)"));
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}
