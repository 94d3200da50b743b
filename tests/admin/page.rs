//! The live page in a browser.

use crate::browser_driver::Browser;
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
fn it_is_one_file_that_asks_nobody_else_for_anything() {
    let server = server(&[]);
    let (head, page) = ask(&server, "/");
    assert_eq!(field(&head, "Content-Type"), Some("text/html; charset=utf-8"));
    for elsewhere in ["src=", "href=\"//", "@import", "url(", "https://", "innerHTML"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert!(page.contains("default-src 'none'"), "and the browser is told so");
}
