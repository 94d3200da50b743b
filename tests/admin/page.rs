//! The live page in a browser.

use serde_json::json;

use crate::browser_driver::Browser;
use crate::http2_client::Http2;
use crate::support::field;
use crate::{ask, server};

#[test]
fn it_names_whoever_reads_slowly_and_says_what_happens_to_the_server() {
    let Some(mut browser) = Browser::start("live") else { return };
    let mut server = server(&["--drain-timeout", "20s"]);
    let page = browser.open(&format!("http://{}/", server.admin()));
    browser.wait(&page, "document.getElementById('state').textContent.startsWith('Flowing')");
    let mut slow = server.connect();
    // What a client sends is text, whatever it looks like.
    slow.send("GET /bytes/100000000?<i>slow</i> HTTP/1.1\r\nHost: a\r\n\r\n");
    let row = "document.getElementById('slowest').textContent";
    let request = "GET /bytes/100000000?<i>slow</i>";
    browser.wait(&page, &format!("{row}.includes('{request}') && {row}.includes('client-slow-read')"));
    browser.wait(&page, "document.getElementById('blocked').textContent === '1'");
    // Every phase has its row and its share of the ring.
    for phase in ["poll", "collect", "run", "expire", "accept", "reap"] {
        browser.wait(&page, &format!("document.getElementById('phases').textContent.includes('{phase}')"));
    }
    server.signal("TERM");
    browser.wait(&page, "document.getElementById('state').textContent.toLowerCase().includes('drain')");
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
    let row = "document.getElementById('slowest').textContent";
    browser
        .wait(&page, &format!("{row}.includes('s=7 GET /bytes/10?<i> stream-window') && {row}.includes('; 2 more')"));
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
        let figures = "innerWidth === WIDTH && ['requests', 'sent', 'latency', 'lag'].map(id => \
                       document.getElementById(id)?.textContent).join() \
                       === '888,888/s,1,023 GiB/s,7 min 39 s mean,7 min 39 s mean'";
        browser.wait(&page, &figures.replace("WIDTH", &width.to_string()));
        assert_eq!(browser.evaluate(&page, include_str!("cut_texts.js")), "", "cut at {width} pixels");
    }
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
