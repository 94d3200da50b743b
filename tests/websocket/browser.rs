//! The chat of the demo page in a browser.

use serde_json::json;

use crate::browser_driver::{Browser, Tab};
use crate::support::Server;

#[test]
fn two_tabs_talk_to_each_other() {
    let Some(mut browser) = Browser::start("talk") else { return };
    let server = Server::start(&[]);
    let ada = browser.open(&format!("http://{}/?room=mill&name=ada", server.address));
    browser.wait(&ada, &state("you are ada"));
    let guest = browser.open(&format!("http://{}/?room=mill", server.address));
    browser.wait(&guest, &state("you are guest 1"));
    browser.wait(&ada, "document.getElementById('here').textContent === '2 here'");
    say(&mut browser, &ada, "Is the wheel greased?");
    browser.wait(&guest, &last_line("ada", "Is the wheel greased?"));
    // What somebody says is text, whatever it looks like.
    let markup = "<img src=x onerror=alert(1)> & <b>yes</b>";
    say(&mut browser, &guest, markup);
    browser.wait(&ada, &last_line("guest 1", markup));
    browser.wait(&guest, &last_line("guest 1", markup));
    browser.wait(&ada, "document.querySelectorAll('#talk img').length === 0");
    browser.close_tab(&guest);
    browser.wait(&ada, "document.getElementById('here').textContent === 'nobody else here'");
    browser.expect_no_complaints();
}

#[test]
fn a_page_that_lost_its_connection_comes_back() {
    let Some(mut browser) = Browser::start("return") else { return };
    let server = Server::start(&["--ws-max-message", "100"]);
    let tab = browser.open(&format!("http://{}/?name=ada", server.address));
    browser.wait(&tab, &state("you are ada"));
    say(&mut browser, &tab, &"x".repeat(101));
    browser.wait(&tab, "document.getElementById('state').textContent.startsWith('the message is too long; trying')");
    browser.wait(&tab, &state("you are ada"));
    say(&mut browser, &tab, "back again");
    browser.wait(&tab, &last_line("ada", "back again"));
    browser.expect_no_complaints();
}

/// The page says this about its connection.
fn state(words: &str) -> String {
    format!("document.getElementById('state').textContent === {}", json!(words))
}

/// The last line of the page's chat is this.
fn last_line(who: &str, text: &str) -> String {
    format!("document.getElementById('talk').lastElementChild?.textContent === {}", json!(format!("{who} {text}")))
}

/// Says something as a visitor would: types it and sends the form.
fn say(browser: &mut Browser, tab: &Tab, words: &str) {
    browser.evaluate(tab, "document.getElementById('text').focus()");
    browser.command(Some(tab), "Input.insertText", json!({"text": words}));
    browser.evaluate(tab, "document.getElementById('send').click()");
}
