//! A browser that nobody looks at, driven over its DevTools protocol.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::support::{Client, DEADLINE, Uninterrupted};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A browser of this test's own, with a profile of its own. It is killed when the test ends.
pub struct Browser {
    child: Child,
    profile: PathBuf,
    devtools: WebSocket<Uninterrupted<TcpStream>>,
    commands: u64,
    /// What it said unasked.
    events: VecDeque<Value>,
}

/// A page, by the session that controls it.
pub struct Tab {
    session: String,
    target: String,
}

impl Browser {
    /// Starts one; without one there is a notice and nothing to test.
    pub fn start(name: &str) -> Option<Browser> {
        let profile = std::env::temp_dir().join(format!("tidemill-browser-{}-{name}", std::process::id()));
        let mut child = NAMES.into_iter().find_map(|program| launch(program, &profile))?;
        let url = devtools_url(&mut child);
        let address = url.trim_start_matches("ws://").split('/').next().unwrap();
        let stream = Client::new(TcpStream::connect(address).unwrap()).stream;
        let (devtools, _) = tungstenite::client(url.as_str(), Uninterrupted(stream)).unwrap();
        Some(Browser { child, profile, devtools, commands: 0, events: VecDeque::new() })
    }

    /// The result of a command, to the browser or to one of its pages.
    pub fn command(&mut self, tab: Option<&Tab>, method: &str, params: Value) -> Value {
        self.commands += 1;
        let id = self.commands;
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(tab) = tab {
            command["sessionId"] = json!(tab.session);
        }
        self.devtools.send(Message::text(command.to_string())).unwrap();
        loop {
            let mut answer = self.read();
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{command}: {answer}");
                return answer["result"].take();
            }
            self.events.push_back(answer);
        }
    }

    fn read(&mut self) -> Value {
        let message = self.devtools.read().unwrap_or_else(|error| panic!("the browser says nothing: {error}"));
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    /// Opens a page and waits until it has loaded.
    pub fn open(&mut self, url: &str) -> Tab {
        let mut created = self.command(None, "Target.createTarget", json!({"url": "about:blank"}));
        let target = text(created["targetId"].take());
        let attach = json!({"targetId": target, "flatten": true});
        let session = text(self.command(None, "Target.attachToTarget", attach)["sessionId"].take());
        let tab = Tab { session, target };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.command(Some(&tab), domain, json!({}));
        }
        self.command(Some(&tab), "Page.navigate", json!({"url": url}));
        while !self.events.iter().any(|event| is_event(event, &tab, "Page.loadEventFired")) {
            let event = self.read();
            self.events.push_back(event);
        }
        tab
    }

    pub fn close_tab(&mut self, tab: &Tab) {
        self.command(None, "Target.closeTarget", json!({"targetId": tab.target}));
    }

    /// The value of an expression in a page, when it has one.
    pub fn evaluate(&mut self, tab: &Tab, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true});
        let result = self.command(Some(tab), "Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until a condition holds in a page; whenever the page changes, it looks again.
    pub fn wait(&mut self, tab: &Tab, condition: &str) {
        let patience = DEADLINE.as_millis() - 1000;
        let script = format!(
            "new Promise(resolve => {{
                const look = () => {{ if ({condition}) resolve('it holds'); }};
                const whole = {{ subtree: true, childList: true, characterData: true, attributes: true }};
                new MutationObserver(look).observe(document, whole);
                setTimeout(() => resolve(document.body.innerText), {patience});
                look();
            }})"
        );
        assert_eq!(self.evaluate(tab, &script), "it holds", "waited in vain for {condition}");
    }

    /// Nothing went wrong in any page.
    pub fn expect_no_complaints(&self) {
        let complaint =
            |event: &&Value| event["method"] == "Runtime.exceptionThrown" || event["method"] == "Log.entryAdded";
        assert_eq!(self.events.iter().find(complaint), None);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.child.kill().expect("the browser can be killed");
        self.child.wait().expect("the browser can be waited for");
        // Its helpers may still be writing; what they leave behind lies among the temporary files.
        std::fs::remove_dir_all(&self.profile).ok();
    }
}

fn launch(program: &str, profile: &Path) -> Option<Child> {
    let mut command = Command::new(program);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]);
    // Certificates of tests are signed by nobody.
    command.arg("--ignore-certificate-errors");
    command.arg(format!("--user-data-dir={}", profile.display())).arg("about:blank");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    child.inspect_err(|error| eprintln!("notice: {program}: {error}")).ok()
}

/// What the browser says on stderr: where its DevTools listen.
fn devtools_url(child: &mut Child) -> String {
    let stderr = child.stderr.take().unwrap();
    let (found, url) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some(url) = line.strip_prefix("DevTools listening on ") {
                found.send(url.to_owned()).ok();
            }
        }
    });
    url.recv_timeout(DEADLINE).expect("the browser does not start")
}

fn is_event(event: &Value, tab: &Tab, method: &str) -> bool {
    event["method"] == method && event["sessionId"] == *tab.session
}

fn text(value: Value) -> String {
    value.as_str().unwrap().to_owned()
}
