//! The live page in a browser.

use serde_json::json;

use crate::browser_driver::Browser;
use crate::http2_client::Http2;
use crate::support::{field, wait_until};
use crate::{ask, server};

#[test]
fn it_names_whoever_reads_slowly_and_says_what_happens_to_the_server() {
    let Some(mut browser) = Browser::start("live") else { return };
    let mut server = server(&["--drain-timeout", "20s"]);
    let page = browser.open(&format!("http://{}/", server.admin()));
    browser.wait(&page, "document.getElementById('since').textContent.includes('up ')");
    browser.wait(
        &page,
        "document.getElementById('spoken').role === 'status' && document.getElementById('spoken').textContent",
    );
    let mut slow = server.connect();
    // What a client sends is text, whatever it looks like.
    slow.send("GET /bytes/100000000?<i>slow</i> HTTP/1.1\r\nHost: a\r\n\r\n");
    let row = "document.getElementById('culprits').textContent";
    let request = "GET /bytes/100000000?<i>slow</i>";
    browser.wait(&page, &format!("{row}.includes('{request}') && {row}.includes('client-slow-read')"));
    browser.wait(&page, "document.getElementById('blocked').textContent === '1'");
    // It is in the answer, and a link leads to it.
    let whom = "[...document.querySelectorAll('#bar a')].find(link => link.hash === `#${document.querySelector('#culprits tr').id}`)";
    browser.wait(&page, &format!("document.getElementById('bar').textContent.includes('{request}') && {whom}"));
    browser.evaluate(&page, &format!("{whom}.click()"));
    browser.wait(&page, "document.activeElement.closest('#culprits tr') && document.querySelector('.detail')");
    assert_eq!(
        browser.evaluate(&page, "document.querySelectorAll('i:not(:empty), script:not(:last-of-type)').length"),
        0
    );
    // Every phase has its row and its share of the ring.
    for phase in ["poll", "collect", "run", "expire", "accept", "reap"] {
        browser.wait(&page, &format!("document.getElementById('phases').textContent.includes('{phase}')"));
    }
    server.signal("TERM");
    browser.wait(&page, "document.getElementById('bar').textContent.includes('has been stopping for ')");
    browser.expect_no_complaints();
    drop(slow);
    assert!(server.wait().code().is_some());
    browser.wait(&page, "document.getElementById('state').textContent.toLowerCase().includes('lost')");
}

#[test]
fn it_lists_the_streams_of_a_client_that_opens_no_window() {
    let Some(mut browser) = Browser::start("streams") else { return };
    let server = server(&[]);
    let page = browser.open(&format!("http://{}/", server.admin()));
    let mut client = Http2::new(server.connect(), 0);
    for stream in [1, 3, 5, 7, 9, 11] {
        client.get(stream, "/bytes/10?<i>", "");
    }
    let row = "document.getElementById('culprits').textContent";
    browser
        .wait(&page, &format!("{row}.includes('s=5 GET /bytes/10?<i> stream-window') && {row}.includes('\\n3 more')"));
    browser.wait(&page, &format!("{row}.includes(', window 0')"));
    browser.wait(&page, "document.getElementById('bar').textContent.includes('who opens no window of the stream: s=')");
    browser.wait(&page, &format!("{row}.includes('HTTP/2') && {row}.includes('client-window')"));
    browser.expect_no_complaints();
}

/// Phones, small and large, a tablet, and a window on a desk.
const WIDTHS: [u32; 7] = [320, 360, 390, 414, 768, 1060, 1280];

#[test]
fn no_figure_is_cut_however_long_it_is_and_however_narrow_the_window() {
    let Some(mut browser) = Browser::start("narrow") else { return };
    let server = server(&[]);
    let page = browser.open(&format!("http://{}/", server.admin()));
    let long_figures = json!({"source": include_str!("long_figures.js")});
    browser.command(Some(&page), "Page.addScriptToEvaluateOnNewDocument", long_figures);
    for width in WIDTHS {
        let window = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        browser.command(Some(&page), "Emulation.setDeviceMetricsOverride", window);
        browser.command(Some(&page), "Page.reload", json!({}));
        let figures = "innerWidth === WIDTH && ['requests', 'sent', 'latency', 'slots'].map(id => \
                       document.getElementById(id)?.textContent).join() \
                       === '888,888/s,1,023 GiB/s,99.9 ms,1,234,567 of 1,234,567'";
        browser.wait(&page, &figures.replace("WIDTH", &width.to_string()));
        assert_eq!(browser.evaluate(&page, include_str!("cut_texts.js")), "", "cut at {width} pixels");
    }
    browser.expect_no_complaints();
}

#[test]
fn keys_lead_through_the_connections_and_open_them() {
    let Some(mut browser) = Browser::start("keys") else { return };
    let server = server(&[]);
    let page = browser.open(&format!("http://{}/", server.admin()));
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        client.send("GET / HT");
    }
    let rows = "[...document.querySelectorAll('#culprits tr')].map(row => row.id)";
    browser.wait(&page, &format!("{rows}.length === 2"));
    let press = |browser: &mut Browser, key: &str| {
        let event = format!("new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true, cancelable: true }})");
        browser.evaluate(&page, &format!("document.activeElement.dispatchEvent({event})"));
        browser.evaluate(&page, "document.activeElement.id")
    };
    let first = press(&mut browser, "j");
    let second = press(&mut browser, "ArrowDown");
    let both = format!("{},{}", first.as_str().unwrap(), second.as_str().unwrap());
    assert_eq!(browser.evaluate(&page, &format!("{rows}.join()")), both);
    assert_eq!(press(&mut browser, "k"), first);
    let mut third = server.connect();
    third.send("GET / HT");
    browser.wait(&page, &format!("{rows}.length === 3"));
    assert_eq!(browser.evaluate(&page, "document.activeElement.id"), first, "who comes and goes takes no focus");
    drop(third);
    browser.wait(&page, &format!("{rows}.length === 2"));
    assert_eq!(press(&mut browser, "Enter"), first, "an opened row keeps the focus");
    browser.wait(&page, "document.querySelector('.detail')?.textContent.includes('tidemill ask c=')");
    press(&mut browser, "Enter");
    assert_eq!(browser.evaluate(&page, "document.querySelector('.detail')"), serde_json::Value::Null);
    assert_eq!(press(&mut browser, "/"), "filter");
    let write = format!(
        "const filter = document.getElementById('filter'); filter.value = '{}'; filter.dispatchEvent(new Event('input'));",
        second.as_str().unwrap().replace('c', "c=")
    );
    browser.evaluate(&page, &write);
    browser.wait(&page, &format!("{rows}.join() === '{}'", second.as_str().unwrap()));
    press(&mut browser, "Escape");
    browser.wait(&page, &format!("{rows}.length === 2"));
    press(&mut browser, "?");
    assert_eq!(browser.evaluate(&page, "document.getElementById('keys').open"), true);
    browser.expect_no_complaints();
}

#[test]
fn a_picture_can_be_taken_of_the_page_that_stands_still() {
    let Some(mut browser) = Browser::start("still") else { return };
    let server = server(&["--max-connections", "1"]);
    let mut deaf = server.connect();
    deaf.send("GET /bytes/100000000?<img> HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("it is named", || ask(&server, "/now").1.contains("is blocked for"));
    // It has loaded when it is opened, and asks for nothing more.
    let page = browser.open(&format!("http://{}/?static", server.admin()));
    let answer = browser.evaluate(&page, "document.getElementById('state').textContent");
    assert!(answer.as_str().unwrap().starts_with("Every slot is taken: 1 of 1 connections"), "{answer}");
    let row = browser.evaluate(&page, "document.getElementById('c1').textContent");
    assert!(row.as_str().unwrap().contains("GET /bytes/100000000?<img>"), "{row}");
    assert_eq!(browser.evaluate(&page, "performance.getEntriesByType('resource').length"), 0);
    // All of the answer and the first culprit are in the picture.
    let window = json!({"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": false});
    browser.command(Some(&page), "Emulation.setDeviceMetricsOverride", window);
    let bottom = browser.evaluate(&page, "document.getElementById('c1').getBoundingClientRect().bottom");
    assert!(bottom.as_f64().unwrap() < 800.0, "{bottom}");
    let picture = browser.command(Some(&page), "Page.captureScreenshot", json!({}));
    assert!(picture["data"].as_str().unwrap().len() > 10_000);
    browser.expect_no_complaints();
}

#[test]
fn it_is_one_file_that_asks_nobody_else_for_anything() {
    let server = server(&[]);
    let (head, page) = ask(&server, "/");
    assert_eq!(field(&head, "Content-Type"), Some("text/html; charset=utf-8"));
    for elsewhere in ["src=", "href=\"//", "@import", "url(", "https://", "innerHTML"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert!(page.contains("default-src 'none'"), "and the browser is told so");
}
