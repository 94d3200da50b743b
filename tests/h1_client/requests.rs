//! Whatever request is sent, the server side reads it as exactly one request that means the same.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tidemill::base::limits::Limits;
use tidemill::base::ring::RingBuffer;
use tidemill::http::fields::{FieldName, FieldSet, FieldValue};
use tidemill::http::message::{Announced, Version};
use tidemill::http::method::Method;
use tidemill::http::target::TargetForm;
use tidemill::http::upstream::OutgoingRequest;
use tidemill::protocol::h1::Sending;
use tidemill::protocol::h1::client::Client;

use crate::h1_driver::{Event, Head, Lines, events};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_request_is_read_as_exactly_one_that_means_the_same(sent in sent()) {
        let bytes = sent.bytes()?;
        let events = events([&bytes[..]], &Limits::default());
        prop_assert_eq!(&events, &sent.expected(), "{}", bytes.escape_ascii());
    }
}

/// A request that is sent through a small outbox.
#[derive(Debug)]
struct Sent {
    request: OutgoingRequest,
    /// The field lines of the request.
    fields: Lines,
    content: Vec<u8>,
    trailers: Lines,
    outbox_bytes: usize,
    /// How much is put into a room, and how much is flushed after it; over and over, so one of them moves something.
    steps: Vec<(usize, usize)>,
}

impl Sent {
    fn bytes(&self) -> Result<Vec<u8>, TestCaseError> {
        let (mut client, mut wire) = (Client::new(), Vec::new());
        client.send_head(&self.request, &mut wire);
        let mut outbox = RingBuffer::new(self.outbox_bytes);
        let trailers = field_set(&self.trailers);
        let mut content = &self.content[..];
        let mut steps = self.steps.iter().cycle();
        let mut idle = 0;
        while client.sending() == Sending::Content {
            let (put, flushed) = *steps.next().expect("a cycle does not end");
            let before = (content.len(), outbox.len());
            if content.is_empty() {
                prop_assert!(client.finish(&mut outbox, Some(&trailers)).is_ok());
            } else if let Some(mut room) = client.room(&mut outbox) {
                let n = room.put(&content[..put.min(content.len())]);
                client.seal(&mut outbox, n);
                content = &content[n..];
            }
            let n = outbox.len().min(flushed);
            wire.extend_from_slice(&outbox.readable().concat()[..n]);
            outbox.consume(n);
            idle = if before == (content.len(), outbox.len()) { idle + 1 } else { 0 };
            prop_assert!(idle <= self.steps.len(), "nothing moves any more");
        }
        wire.extend(outbox.readable().concat());
        prop_assert!(content.is_empty() && client.persists());
        Ok(wire)
    }

    /// What the server side must say.
    fn expected(&self) -> Vec<Event> {
        let OutgoingRequest { method, target, content, .. } = &self.request;
        let question = target.iter().position(|byte| *byte == b'?');
        let head = Head {
            method: *method,
            form: if target == b"*" { TargetForm::Asterisk } else { TargetForm::Origin },
            target: target.clone(),
            authority: None,
            path: target[..question.unwrap_or(target.len())].to_vec(),
            query: question.map(|at| target[at + 1..].to_vec()),
            version: Version::Http11,
            fields: self.expected_fields(),
            announced: *content,
            expects_continue: self.expects_continue(),
        };
        let is_chunked = *content == Announced::Unknown;
        let trailers = if is_chunked { self.trailers.clone() } else { Lines::new() };
        let content = (!self.content.is_empty()).then(|| Event::Content(self.content.clone()));
        let last = [Event::End(trailers), Event::EofOk];
        [Event::Head(head)].into_iter().chain(content).chain(last).collect()
    }

    fn expects_continue(&self) -> bool {
        self.request.expects_continue && self.request.content != Announced::Nothing
    }

    /// Host first, then what frames the content and concerns the connection, then the others.
    fn expected_fields(&self) -> Lines {
        let OutgoingRequest { method, host, content, upgrade, takes_trailers, .. } = &self.request;
        let mut fields = vec![(b"Host".to_vec(), host.clone())];
        let mut add = |name: &str, value: &[u8]| fields.push((name.into(), value.into()));
        let has_content_normally = [Method::Post, Method::Put, Method::Patch].contains(method);
        match content {
            Announced::Nothing if has_content_normally => add("Content-Length", b"0"),
            Announced::Nothing => {}
            Announced::Length(length) => add("Content-Length", length.to_string().as_bytes()),
            Announced::Unknown => add("Transfer-Encoding", b"chunked"),
        }
        if self.expects_continue() {
            add("Expect", b"100-continue");
        }
        let mut options = Vec::new();
        if let Some(protocol) = upgrade {
            add("Upgrade", protocol);
            options.push("Upgrade");
        }
        if *takes_trailers {
            add("TE", b"trailers");
            options.push("TE");
        }
        if !options.is_empty() {
            add("Connection", options.join(", ").as_bytes());
        }
        fields.extend(self.fields.iter().cloned());
        fields
    }
}

fn field_set(lines: &Lines) -> FieldSet {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII");
    let fields = lines.iter().map(|(name, value)| {
        (FieldName::new(text(name)).expect("a token"), FieldValue::new(value.clone()).expect("a value"))
    });
    FieldSet::new(fields)
}

fn sent() -> impl Strategy<Value = Sent> {
    let content = prop_oneof![2 => Just(Vec::new()), 3 => vec(any::<u8>(), 1..200), 1 => vec(any::<u8>(), 1..3000)];
    let outbox = prop_oneof![60usize..120, 500usize..1200];
    let steps = (vec((0usize..400, 0usize..400), 0..20), (1usize..400, 1usize..400)).prop_map(|(mut steps, moving)| {
        steps.push(moving);
        steps
    });
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (line(), vec(field(), 0..6), content, vec(trailer(), 0..2), flags, outbox, steps).prop_map(
        |((method, target, host), fields, content, trailers, flags, outbox_bytes, steps)| {
            let (length_known, expects_continue, upgrades, takes_trailers) = flags;
            let lines = fields.iter().flat_map(|(name, value)| [name, &b": "[..], value, b"\r\n"].concat());
            let request = OutgoingRequest {
                method,
                target,
                host,
                lines: lines.collect(),
                content: match (content.len(), length_known) {
                    (0, true) => Announced::Nothing,
                    (length, true) => Announced::Length(length as u64),
                    (_, false) => Announced::Unknown,
                },
                expects_continue,
                upgrade: upgrades.then(|| b"websocket".to_vec()),
                takes_trailers,
            };
            Sent { request, fields, content, trailers, outbox_bytes, steps }
        },
    )
}

/// Method, target and host.
fn line() -> impl Strategy<Value = (Method, Vec<u8>, Vec<u8>)> {
    let methods = select(vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "PROPFIND", "OPTIONS"]);
    let hosts = select(vec!["a", "example.org:8080", "[::1]:80", "", "a_b.example"]);
    let target =
        prop_oneof![9 => "/[a-z0-9/%.?&=:@;]{0,20}", 1 => "/[!-\"$-~\u{80}-\u{ff}]{0,20}", 1 => Just("*".into())];
    (methods, target, hosts).prop_map(|(method, target, host)| {
        let method =
            if target == "*" { Method::Options } else { Method::from_token(method.as_bytes()).expect("a token") };
        (method, target.into_bytes(), host.as_bytes().to_vec())
    })
}

/// A field that neither frames content nor is about the connection.
fn field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let owned = ["host", "content-length", "transfer-encoding", "expect", "te", "upgrade", "connection"];
    ("[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}", "([!-~\u{80}-\u{ff}]([ -~\t]{0,20}[!-~])?)?")
        .prop_filter("the protocol adds it", move |(name, _)| !owned.contains(&&name.to_ascii_lowercase()[..]))
        .prop_map(|(name, value)| (name.into_bytes(), value.into_bytes()))
}

fn trailer() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    ("X-[a-z]{1,8}", "[a-z]{0,9}").prop_map(|(name, value)| (name.into_bytes(), value.into_bytes()))
}
