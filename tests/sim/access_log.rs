//! The access log of a world: on every connection the requests are numbered without a gap. On HTTP/1 they and their
//! responses follow one another in the two streams; on HTTP/2 the lines stand in the order in which streams are over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::ops::Range;
use std::rc::Rc;

use serde_json::Value;

use crate::link::LinkId;
use tidemill::event_loop::{AccessLog, Lines};
use tidemill::observe::access_log::{Format, Formatter};

/// Every line of the log, kept.
#[derive(Debug, Clone, Default)]
pub struct LogAudit(Rc<RefCell<Vec<u8>>>);

impl Lines for LogAudit {
    fn take(&mut self, lines: &mut Vec<u8>) {
        self.0.borrow_mut().append(lines);
    }

    fn reopen(&mut self) {}

    fn dropped(&self) -> u64 {
        0
    }
}

/// The request before, on one connection; tcpdump's numbers begin at 1.
#[derive(Debug)]
struct Last {
    ordinal: u64,
    rx_end: u64,
    tx_end: u64,
    cut: bool,
}

impl LogAudit {
    /// A log that is kept here.
    pub fn log(&self) -> AccessLog {
        AccessLog::new(Formatter::new(Format::Json, false), Box::new(self.clone()))
    }

    /// The lines.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.0.borrow();
        let lines = lines.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| serde_json::from_slice(line).expect("the log is JSON")).collect()
    }

    /// What is wrong with them, if anything is. `has_interims`: there may be interim responses of upstreams.
    pub fn audit(&self, has_interims: bool, is_http2: impl Fn(LinkId) -> bool) -> Result<(), String> {
        let mut connections = BTreeMap::<u64, Vec<Value>>::new();
        for object in self.lines() {
            if !are_parts_the_whole(&object) {
                return Err(format!("the log is wrong: the parts are not the whole: {object}"));
            }
            connections.entry(number(&object, "connection")).or_default().push(object);
        }
        connections.into_values().try_for_each(|lines| match is_http2(link(&lines[0])) {
            true => audit_streams(&lines),
            false => audit_requests(&lines, has_interims),
        })
    }
}

/// The address of a client says which it is.
pub fn link(line: &Value) -> LinkId {
    let peer = line["peer"].as_str().and_then(|peer| peer.parse::<SocketAddrV4>().ok());
    let [.., high, low] = peer.unwrap_or_else(|| panic!("no address: {line}")).ip().octets();
    LinkId::from(high) << 8 | LinkId::from(low)
}

fn audit_requests(lines: &[Value], has_interims: bool) -> Result<(), String> {
    let mut last = Last { ordinal: 0, rx_end: 1, tx_end: 1, cut: false };
    for line in lines {
        last.follow(line, has_interims)
            .map_err(|wrong| format!("the log is wrong: {wrong}: {line}, after {last:?}"))?;
    }
    Ok(())
}

/// Streams are over in any order. Their requests begin one behind the other.
fn audit_streams(lines: &[Value]) -> Result<(), String> {
    let mut lines: Vec<&Value> = lines.iter().collect();
    lines.sort_by_key(|line| number(line, "request"));
    let mut rx_start = 0;
    for (index, line) in lines.into_iter().enumerate() {
        let (rx, tx) = (range(line, "rx"), range(line, "tx"));
        let wrong = match () {
            () if number(line, "request") != index as u64 + 1 => "a request is left out",
            () if rx.start <= rx_start || rx.is_empty() => "rx does not follow",
            () if line["close"].is_null() && (line["status"].is_null() || tx.is_empty()) => "no response",
            () => {
                rx_start = rx.start;
                continue;
            }
        };
        return Err(format!("the log is wrong: {wrong} behind {rx_start}: {line}"));
    }
    Ok(())
}

impl Last {
    fn follow(&mut self, object: &Value, has_interims: bool) -> Result<(), &'static str> {
        const CONTINUE: u64 = "HTTP/1.1 100 Continue\r\n\r\n".len() as u64;
        let (rx, tx) = (range(object, "rx"), range(object, "tx"));
        let between = tx.start.wrapping_sub(self.tx_end);
        let ordinal = number(object, "request");
        match () {
            () if ordinal != self.ordinal + 1 => return Err("a request is left out"),
            () if rx.start != self.rx_end || rx.is_empty() => return Err("rx does not follow"),
            // Interim responses are no part of the response.
            () if between != 0 && between != CONTINUE && !(has_interims && tx.start >= self.tx_end) => {
                return Err("tx does not follow");
            }
            () if object["close"].is_null() && (object["status"].is_null() || tx.is_empty()) => {
                return Err("no response");
            }
            () if self.cut && object["close"].is_null() => return Err("a request goes on after the connection's end"),
            () => {}
        }
        *self = Last { ordinal, rx_end: rx.end, tx_end: tx.end, cut: !object["close"].is_null() };
        Ok(())
    }
}

/// Whether the parts of the request's time add up to the whole. Each of them is rounded to a microsecond.
pub fn are_parts_the_whole(object: &Value) -> bool {
    let parts = object["timers_ms"].as_object().expect("parts");
    let sum: f64 = parts.values().map(|part| part.as_f64().expect("a number")).sum();
    let whole = object["last_byte_ms"].as_f64().expect("a number");
    (sum - whole).abs() <= 0.001 * (parts.len() + 1) as f64
}

fn number(object: &Value, name: &str) -> u64 {
    object[name].as_u64().unwrap_or(u64::MAX)
}

fn range(object: &Value, name: &str) -> Range<u64> {
    let ends = object[name].as_str().and_then(|text| text.split_once(':'));
    let parsed = ends.and_then(|(start, end)| Some(start.parse::<u64>().ok()?..end.parse().ok()?));
    parsed.unwrap_or_else(|| panic!("no range: {object}"))
}
