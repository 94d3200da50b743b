//! Whatever a client sends: what an upstream gets is one request that a strict reader accepts, and it means what the client
//! has said. The requests are those of the corpora, smuggled ones among them, and others made of the same tricks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[allow(dead_code, reason = "the corpora need more of it")]
mod corpus_text;
#[allow(dead_code, reason = "the corpus needs more of it")]
mod h1_driver;

use corpus_text::{escaped, input_line, sections};
use h1_driver::{Event, Head, Lines, events};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tidemill::base::limits::Limits;
use tidemill::base::peer::Peer;
use tidemill::http::fields::{FieldSpan, Fields};
use tidemill::http::message::{Announced, RequestHead, Version};
use tidemill::http::method::Method;
use tidemill::http::target::{Target, TargetForm, percent_decode};
use tidemill::http::upstream::OutgoingRequest;
use tidemill::protocol::h2::fields::{FieldList, ListLimits};
use tidemill::protocol::h2::head::Request;
use tidemill::protocol::h2::hpack::decoder::{Decoded, Decoder};
use tidemill::protocol::h2::hpack::encoder::Encoder;
use tidemill::service::proxy::message::{Sender, request};
use tidemill::service::proxy::route::{Route, Routes, Upstream};

const CLIENT: &str = "203.0.113.9";

// The ways that each request takes.

/// A route for everything, and whether the peer is trusted.
fn ways() -> [(Route, bool); 4] {
    let plain = || Route::new(None, String::new(), vec![Upstream::new(false, "app", Some(3000))]);
    let stripped = Route { replacement: Some("/v2".into()), ..plain() };
    let forwarded = Route { sends_forwarded: true, ..plain() };
    [(plain(), false), (plain(), true), (stripped, false), (forwarded, true)]
}

/// Passes a request on in every way, and checks what comes of it. Returns how often it was passed on.
fn check(head: &RequestHead<'_>) -> usize {
    let mut passed = 0;
    for (route, is_trusted) in ways() {
        let replacement = route.replacement.clone().unwrap_or_default();
        let sends_forwarded = route.sends_forwarded;
        let routes: Routes = [route].into_iter().collect();
        let Some(matched) = routes.find(head) else { continue };
        let sender = Sender {
            peer: Peer::Ip(format!("{CLIENT}:1").parse().unwrap()),
            is_trusted,
            is_secured: false,
            identifier: None,
        };
        let Ok(outgoing) = request(head, &matched, &sender) else { continue };
        passed += 1;
        let bytes = serialised(&outgoing.request);
        let sent = read_strictly(&bytes).unwrap_or_else(|why| panic!("{why}: {}", escaped(&bytes)));
        check_meaning(head, &sent, &replacement, is_trusted, sends_forwarded);
    }
    passed
}

/// A request as the simplest client would write it.
fn serialised(request: &OutgoingRequest) -> Vec<u8> {
    let mut bytes = [request.method.as_str().as_bytes(), b" ", &request.target, b" HTTP/1.1\r\nHost: "].concat();
    bytes.extend([&request.host[..], b"\r\n", &request.lines].concat());
    match request.content {
        Announced::Nothing => {}
        Announced::Length(length) => bytes.extend(format!("Content-Length: {length}\r\n").bytes()),
        Announced::Unknown => bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    if request.expects_continue {
        bytes.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    let mut options = Vec::new();
    if let Some(upgrade) = &request.upgrade {
        bytes.extend([b"Upgrade: ", &upgrade[..], b"\r\n"].concat());
        options.push("Upgrade");
    }
    if request.takes_trailers {
        bytes.extend_from_slice(b"TE: trailers\r\n");
        options.push("TE");
    }
    if !options.is_empty() {
        bytes.extend(format!("Connection: {}\r\n", options.join(", ")).bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

// The strict reader

#[derive(Debug)]
struct Sent {
    method: String,
    target: String,
    fields: Lines,
}

impl Sent {
    fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| &value[..]).collect()
    }
}

/// Reads bytes that must be exactly one head of a request, without anything that two readers could take differently.
fn read_strictly(bytes: &[u8]) -> Result<Sent, String> {
    let head = bytes.strip_suffix(b"\r\n\r\n").ok_or("it does not end in an empty line")?;
    let lines: Vec<&[u8]> = split(head, b"\r\n");
    if lines.iter().any(|line| line.is_empty() || line.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127))) {
        return Err("an empty line or a control byte in the head".into());
    }
    let words: Vec<&[u8]> = lines[0].split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = words[..] else { return Err("the request line has not three parts".into()) };
    let method = text(method).filter(|method| is_token(method)).ok_or("the method is not a token")?;
    let target = text(target).ok_or("the target is not ASCII")?;
    check_target(&method, &target)?;
    let mut sent = Sent { method, target, fields: Vec::new() };
    for line in &lines[1..] {
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a line without a colon")?;
        let (name, value) = (text(&line[..colon]).unwrap_or_default(), line[colon + 1..].strip_prefix(b" "));
        let value = value.ok_or("no space behind a colon")?;
        if !is_token(&name) || value.starts_with(b" ") || value.ends_with(b" ") || value.ends_with(b"\t") {
            return Err(format!("a wrong line {}", escaped(line)));
        }
        sent.fields.push((name.into_bytes(), value.to_vec()));
    }
    check_fields(&sent)?;
    Ok(sent)
}

fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let (mut parts, mut start) = (Vec::new(), 0);
    while let Some(at) = bytes[start..].windows(separator.len()).position(|window| window == separator) {
        parts.push(&bytes[start..start + at]);
        start += at + separator.len();
    }
    parts.push(&bytes[start..]);
    parts
}

fn text(bytes: &[u8]) -> Option<String> {
    bytes.is_ascii().then(|| String::from_utf8(bytes.to_vec()).unwrap())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char))
}

/// origin-form or `*` (RFC 9112 §3.2), and a path that nobody can read in two ways.
fn check_target(method: &str, target: &str) -> Result<(), String> {
    if target == "*" && method == "OPTIONS" {
        return Ok(());
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !path.starts_with('/') || query.contains('#') {
        return Err(format!("the target {target} is no path"));
    }
    if path.chars().any(|char| !char.is_ascii_alphanumeric() && !"-._~!$&'()*+,;=:@/%".contains(char)) {
        return Err(format!("the path {path} has a byte that no path has"));
    }
    let decoded = percent_decode(path.as_bytes()).ok_or("an escape is not one")?;
    if decoded.iter().any(|byte| byte.is_ascii_control()) {
        return Err(format!("the path {path} has a control byte"));
    }
    // Whoever decodes first and splits then, at backslashes too, and cuts off parameters, finds no dots either.
    let segments = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
    if path.split('/').any(|segment| [".", ".."].contains(&segment))
        || segments.map(|segment| segment.split(|byte| *byte == b';').next().unwrap()).any(|name| name == b"..")
    {
        return Err(format!("the path {path} has a dot segment"));
    }
    Ok(())
}

fn check_fields(sent: &Sent) -> Result<(), String> {
    let once_at_most = ["Content-Length", "Transfer-Encoding", "Expect", "Connection", "TE", "Upgrade", "Forwarded"];
    if let Some(name) = once_at_most.into_iter().find(|name| sent.all(name).len() > 1) {
        return Err(format!("more than one {name}"));
    }
    for name in ["X-Forwarded-For", "X-Forwarded-Proto"] {
        if sent.all(name).len() != 1 {
            return Err(format!("{name} is not there once"));
        }
    }
    let [host] = sent.all("Host")[..] else { return Err("Host is not there once".into()) };
    if host.is_empty() || host.iter().any(|byte| byte.is_ascii_whitespace() || b"/?#@,\"\\".contains(byte)) {
        return Err("the value of Host is no host".into());
    }
    if sent.all("Content-Length").len() + sent.all("Transfer-Encoding").len() > 1 {
        return Err("two framings".into());
    }
    if sent.all("Content-Length").iter().any(|value| value.is_empty() || !value.iter().all(u8::is_ascii_digit)) {
        return Err("a length that is none".into());
    }
    if sent.all("Transfer-Encoding").iter().any(|value| *value != b"chunked") {
        return Err("another transfer coding".into());
    }
    let gone =
        ["Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "HTTP2-Settings", "X_Forwarded_For", "X_Real_IP"];
    match gone.into_iter().find(|name| !sent.all(name).is_empty()) {
        Some(name) => Err(format!("{name} was passed on")),
        None => Ok(()),
    }
}

// What it means

fn check_meaning(head: &RequestHead<'_>, sent: &Sent, replacement: &str, is_trusted: bool, sends_forwarded: bool) {
    let tunnel = head.protocol.is_some();
    assert_eq!(sent.method, if tunnel { "GET" } else { head.method.as_str() });
    check_path(head, sent, replacement);
    let query = sent.target.split_once('?').map(|(_, query)| query);
    assert_eq!(query.is_some(), head.target.query.is_some());
    if let Some(query) = head.target.query.filter(|query| query.is_ascii()) {
        assert_eq!(sent.target.split_once('?').unwrap().1.as_bytes(), query);
    }
    match head.announced {
        _ if tunnel => assert_eq!((sent.all("Content-Length").len(), sent.all("Transfer-Encoding").len()), (0, 0)),
        Announced::Nothing => {
            assert_eq!((sent.all("Content-Length").len(), sent.all("Transfer-Encoding").len()), (0, 0))
        }
        Announced::Length(length) => assert_eq!(sent.all("Content-Length"), [length.to_string().as_bytes()]),
        Announced::Unknown => assert_eq!(sent.all("Transfer-Encoding"), [b"chunked"]),
    }
    let asked = head.authority().filter(|asked| !asked.is_empty()).unwrap_or(b"app:3000");
    assert_eq!(sent.all("Host"), [asked]);
    let client = String::from_utf8_lossy(sent.all("X-Forwarded-For")[0]).into_owned();
    match is_trusted {
        true => assert!(client == CLIENT || client.ends_with(&format!(", {CLIENT}")), "{client}"),
        false => assert_eq!(client, CLIENT),
    }
    let forwarded = sent.all("Forwarded");
    assert!(is_trusted || forwarded.is_empty());
    if sends_forwarded {
        let forwarded = String::from_utf8_lossy(forwarded[0]).into_owned();
        let (_, ours) = forwarded.rsplit_once("for=").unwrap();
        assert!(ours.starts_with(&format!("{CLIENT};proto=http")), "{forwarded}");
    }
    check_end_to_end(head, sent);
}

/// The path names the same thing: the same segments, decoded, once the dots are gone.
fn check_path(head: &RequestHead<'_>, sent: &Sent, replacement: &str) {
    if sent.target == "*" {
        return assert_eq!(head.method, Method::Options);
    }
    let meant = |path: &[u8]| {
        let mut stack: Vec<Vec<u8>> = Vec::new();
        let segments: Vec<&[u8]> = path[1..].split(|byte| *byte == b'/').collect();
        for (index, segment) in segments.iter().enumerate() {
            let decoded = percent_decode(segment).expect("its escapes are valid").into_owned();
            let is_dots = matches!(&decoded[..], b"." | b"..");
            if decoded == b".." {
                stack.pop();
            }
            if !is_dots {
                stack.push(decoded);
            } else if index + 1 == segments.len() {
                stack.push(Vec::new());
            }
        }
        stack
    };
    let path = sent.target.split('?').next().unwrap();
    if replacement.is_empty() {
        return assert_eq!(meant(path.as_bytes()), meant(head.target.path));
    }
    let rest = path.strip_prefix(replacement).expect("it is beneath what stands for the prefix");
    let mut expected = meant(head.target.path);
    let slashes = expected.iter().take_while(|segment| segment.is_empty()).count().min(expected.len() - 1);
    expected.drain(..slashes);
    assert_eq!(meant(rest.as_bytes()), expected);
}

/// Fields that are for the upstream arrive, all of them and in their order, whatever Connection says.
fn check_end_to_end(head: &RequestHead<'_>, sent: &Sent) {
    for name in ["Authorization", "Cookie", "Cache-Control", "Content-Type", "Range", "Origin", "X-Plain"] {
        let is_named = name == "X-Plain" && {
            let options = head.fields.all("connection").flat_map(|value| value.split(|byte| *byte == b','));
            options.map(<[u8]>::trim_ascii).any(|option| option.eq_ignore_ascii_case(b"x-plain"))
        };
        let expected: Vec<&[u8]> = head.fields.all(name).filter(|_| !is_named).collect();
        assert_eq!(sent.all(name), expected, "{name}");
    }
}

// Where the requests come from

/// Passes on every request in the bytes of a connection of HTTP/1. Returns how many there are, and how often they were
/// passed on.
fn check_h1(input: &[u8], limits: &Limits) -> (usize, usize) {
    let heads = events([input], limits).into_iter().filter_map(|event| match event {
        Event::Head(head) => Some(head),
        _ => None,
    });
    heads.map(|head| (1, check_head(&head))).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

fn check_head(head: &Head) -> usize {
    let (mut section, mut spans) = (Vec::new(), Vec::new());
    for (name, value) in &head.fields {
        let (name_start, value_start) = (section.len() as u32, (section.len() + name.len()) as u32);
        section.extend([&name[..], value].concat());
        spans.push(FieldSpan { name_start, name_len: name.len() as u32, value_start, value_len: value.len() as u32 });
    }
    let target = Target {
        form: head.form,
        raw: &head.target,
        authority: head.authority.as_deref(),
        path: &head.path,
        query: head.query.as_deref(),
    };
    let (method, version, announced) = (head.method, head.version, head.announced);
    check(&RequestHead { method, target, version, fields: Fields::new(&section, &spans), announced, protocol: None })
}

/// Passes on a request of HTTP/2, if it is one.
fn check_h2(fields: &[(String, Vec<u8>)], end_stream: bool) -> usize {
    let (mut block, mut list, mut encoder) = (Vec::new(), FieldList::default(), Encoder::default());
    let mut encoding = encoder.block(&mut block);
    fields.iter().for_each(|(name, value)| encoding.field(name.as_bytes(), value));
    let limits = ListLimits { bytes_max: 64 * 1024, fields_max: 100 };
    assert_eq!(Decoder::default().decode(&block, limits, &mut list), Ok(Decoded::All));
    match Request::new(&mut list, end_stream, &Limits::default()) {
        Ok(request) => {
            let head = request.head(&list);
            assert!(head.fields.all("cookie").count() <= 1, "RFC 9113 §8.2.3: one Cookie for HTTP/1");
            check(&head)
        }
        Err(_) => 0,
    }
}

#[test]
fn the_corpus_of_http1_arrives_as_strict_requests() {
    let (mut requests, mut passed) = (0, 0);
    for section in sections("h1") {
        let lines = section.block("http").unwrap();
        let input: Vec<u8> = lines.iter().flat_map(|line| input_line(&section.place, line)).collect();
        let (heads, sent) = check_h1(&input, &Limits::default());
        requests += heads;
        passed += sent;
    }
    assert!(requests >= 120 && passed >= 3 * requests, "only {requests} requests, passed on {passed} times");
}

#[test]
fn paths_that_try_to_get_out_arrive_without_dots_or_not_at_all() {
    let (mut targets, mut passed) = (0, 0);
    for target in include_str!("corpus/traversal.txt").lines() {
        if !target.is_empty() && target != "#" && !target.starts_with("# ") {
            targets += 1;
            passed += check_h1(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), &Limits::default()).1;
        }
    }
    assert!(targets >= 300 && (400..4 * targets).contains(&passed), "{targets} targets, passed on {passed} times");
}

// Requests made of tricks

fn path_piece() -> impl Strategy<Value = &'static str> {
    select(vec![
        "/", "//", "/.", "/..", "/a", "%2e", "%2E%2e", "%2f", "%5c", "%41", "%7e", "%00", "%zz", "%", "\\", ";",
        ";x=y", "\u{fc}", "\"", "..", ":", "@", "+", "%0d%0a", "%c3%bc", "%25", "api",
    ])
}

fn query() -> impl Strategy<Value = String> {
    select(vec!["", "?", "?a=b", "?a=%zz&{}|\\\"", "?\u{e4}", "??/../", "?a?b"]).prop_map(str::to_owned)
}

fn field() -> impl Strategy<Value = (String, String)> {
    let name = select(vec![
        "Connection",
        "connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Upgrade",
        "HTTP2-Settings",
        "Expect",
        "Via",
        "X-Forwarded-For",
        "x-forwarded-for",
        "X_Forwarded_For",
        "X-Forwarded_Proto",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Forwarded",
        "X-Real-IP",
        "X_Real_IP",
        "Max-Forwards",
        "Authorization",
        "Cookie",
        "Cache-Control",
        "Content-Type",
        "Range",
        "Origin",
        "X-Plain",
        "Content_Length",
        "Sec-WebSocket-Key",
    ]);
    let value = select(vec![
        "",
        "a",
        "close",
        "keep-alive, X-Plain",
        "upgrade, Authorization, X-Forwarded-For, Cookie",
        "trailers",
        "trailers, gzip;q=1",
        "websocket",
        "h2c, websocket",
        "a b",
        "\"",
        "for=1.1.1.1",
        "for=\"",
        "1.1 tidemill",
        "3",
        "0",
        "100-continue",
        "Host, Content-Length, Transfer-Encoding, Range, Origin",
        "1.1.1.1, 2.2.2.2",
        "\u{fc}\t;",
        "x-plain\t, ,",
        "1.0 tidemill, 1.1 tidemill, 1.1 tidemill, 1.1 tidemill",
    ]);
    let for_the_upstream = select(vec!["Authorization", "Cookie", "Cache-Control", "Range", "Origin", "X-Plain"]);
    // What Connection names is only a trick if it is there.
    let pair = prop_oneof![
        2 => (name, value.clone()),
        1 => (Just("Connection"), value),
        1 => (for_the_upstream, Just("a")),
    ];
    pair.prop_map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn method() -> impl Strategy<Value = &'static str> {
    select(vec!["GET", "HEAD", "POST", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "M!#$%&'*+-.^_`|~"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_request_of_http1_arrives_as_one_strict_request(
        method in method(),
        (origin, path, query) in (
            select(vec!["", "", "", "http://b", "HTTPS://[::1]:8443", "http://c:"]),
            vec(path_piece(), 0..7),
            query(),
        ),
        version in select(vec!["1.1", "1.1", "1.0"]),
        host in select(vec!["Host: a\r\n", "Host: [::1]:80\r\n", "Host: \r\n", "Host:a%41~!\r\n", ""]),
        fields in vec(field(), 0..6),
        content in select(vec!["\r\n", "Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]),
    ) {
        let slash = if origin.is_empty() { "/" } else { "" };
        let target = format!("{origin}{slash}{}{query}", path.concat());
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        check_h1(format!("{method} {target} HTTP/{version}\r\n{host}{lines}{content}").as_bytes(), &Limits::default());
    }

    #[test]
    fn a_request_of_http2_arrives_as_one_strict_request(
        method in method(),
        protocol in select(vec![None, None, Some("websocket"), Some("connect-udp")]),
        (path, query) in (vec(path_piece(), 0..7), query()),
        fields in vec(field(), 0..6),
        length in select(vec![None, Some("3")]),
        end_stream: bool,
    ) {
        let line = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let method = if protocol.is_some() { "CONNECT" } else { method };
        let mut all = vec![line(":method", method), line(":scheme", "https"), line(":authority", "a:80")];
        all.push(line(":path", &format!("/{}{query}", path.concat())));
        all.extend(protocol.map(|protocol| line(":protocol", protocol)));
        all.extend(fields.iter().map(|(name, value)| line(&name.to_ascii_lowercase(), value)));
        all.extend(length.map(|length| line("content-length", length)));
        check_h2(&all, end_stream);
    }
}

/// Whether the generators above reach what they are meant to reach.
#[test]
fn requests_of_http2_do_get_through() {
    let line = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let pseudo = |method: &str| {
        vec![line(":method", method), line(":scheme", "https"), line(":authority", "a"), line(":path", "/a/%2e./b?c")]
    };
    let plain = [pseudo("POST"), vec![line("cookie", "a=b"), line("cookie", "c=d"), line("te", "trailers")]].concat();
    assert_eq!(check_h2(&plain, false), 4);
    let tunnel =
        [pseudo("CONNECT"), vec![line(":protocol", "websocket"), line("sec-websocket-version", "13")]].concat();
    assert_eq!(check_h2(&tunnel, false), 4);
}

/// Whether the strict reader would notice.
#[test]
fn the_strict_reader_is_strict() {
    let with =
        |line: &str| format!("GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: b\r\nX-Forwarded-Proto: c\r\n{line}\r\n");
    assert!(read_strictly(with("X: y\r\n").as_bytes()).is_ok());
    for line in [
        "X : y\r\n",
        "X: y\n",
        " X: y\r\n",
        "X: y \r\n",
        "X:y\r\n",
        "\r\n",
        "Host: b\r\n",
        "X: \0\r\n",
        "X\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: +1\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Keep-Alive: x\r\n",
        "x_forwarded_for: x\r\n",
        "\r\nGET / HTTP/1.1\r\n",
    ] {
        assert!(read_strictly(with(line).as_bytes()).is_err(), "{line:?}");
    }
    for target in
        ["a", "/..", "/a/..%2f", "/%5c..", "/..;a", "/%zz", "/a\"b", "/\\", "*", "http://a/", "/%00", "/a?b#c", ""]
    {
        let head = with("").replacen("/a", target, 1);
        assert!(read_strictly(head.as_bytes()).is_err(), "{target}");
    }
    let form = TargetForm::Origin;
    let target = Target { form, raw: b"/a", authority: None, path: b"/a", query: None };
    let fields = Fields::default();
    let (method, version, announced) = (Method::Get, Version::Http10, Announced::Nothing);
    assert_eq!(check(&RequestHead { method, target, version, fields, announced, protocol: None }), 4);
}
