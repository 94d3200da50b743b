use std::time::UNIX_EPOCH;

use super::super::fields::{FieldList, ListLimits};
use super::super::hpack::decoder::{Decoded, Decoder};
use super::super::hpack::encoder::Encoder;
use super::*;
use crate::http::body::Body;
use crate::http::fields::{FieldName, FieldValue};

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/x?y")];

fn list(fields: &[(&str, &str)]) -> FieldList {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // RFC 7541 §5.1: a length of 127 and more has further bytes of seven bits.
            match text.len().checked_sub(127) {
                None => block.push(text.len() as u8),
                Some(rest) => block.extend([127, (rest & 127) as u8 | 128, (rest >> 7) as u8]),
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut list = FieldList::default();
    let limits = ListLimits { bytes_max: 64 * 1024, fields_max: 100 };
    assert_eq!(Decoder::default().decode(&block, limits, &mut list), Ok(Decoded::All));
    list
}

/// GET with other fields in place of those of the same name, and behind them. An empty value removes.
fn changed(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let (mut fields, mut behind) = (GET.to_vec(), Vec::new());
    for (name, value) in changes {
        match fields.iter_mut().find(|(other, _)| other == name) {
            Some(field) => field.1 = value,
            None if name.starts_with(':') => fields.push((name, value)),
            None => behind.push((*name, *value)),
        }
    }
    fields.retain(|(_, value)| !value.is_empty());
    fields.extend(behind);
    fields
}

fn refusal(fields: &[(&str, &str)], end_stream: bool) -> Option<Refusal> {
    Request::new(&mut list(fields), end_stream, &Limits::default()).err()
}

/// The section of the rule that makes a request malformed; empty if none does.
fn section(fields: &[(&str, &str)]) -> &'static str {
    match refusal(fields, true) {
        Some(Refusal::Malformed(fault)) => {
            assert_eq!(fault.code, ErrorCode::PROTOCOL_ERROR);
            fault.section
        }
        Some(Refusal::Answer(error)) => panic!("{error}"),
        None => "",
    }
}

#[test]
fn a_request_has_its_parts() {
    let mut list = list(&changed(&[("cookie", "a=1"), ("x", "é"), ("cookie", "b=2")]));
    let request = Request::new(&mut list, true, &Limits::default()).expect("a request");
    let head = request.head(&list);
    assert_eq!((head.method, head.version, head.announced), (Method::Get, Version::Http2, Announced::Nothing));
    let Target { form, raw, authority, path, query } = head.target;
    assert_eq!((form, raw, authority), (TargetForm::Origin, &b"/x?y"[..], Some(&b"a.test"[..])));
    assert_eq!((path, query), (&b"/x"[..], Some(&b"y"[..])));
    let fields: Vec<_> = head.fields.iter().collect();
    assert_eq!(fields, [(&b"cookie"[..], &b"a=1; b=2"[..]), (b"x", "é".as_bytes())]);
}

#[test]
fn pseudo_fields_are_there_once_first_and_known() {
    for missing in [":method", ":scheme", ":path", ":authority"] {
        assert_eq!(section(&changed(&[(missing, "")])), "RFC 9113 §8.3.1", "{missing}");
    }
    for (name, value) in GET {
        let twice = [&[(name, value)], &GET[..]].concat();
        assert_eq!(section(&twice), "RFC 9113 §8.3.1", "{name}");
        let late = [&GET[..], &[("x", "1"), (name, value)]].concat();
        assert_eq!(section(&late), "RFC 9113 §8.3", "{name}");
    }
    assert_eq!(section(&changed(&[(":status", "200")])), "RFC 9113 §8.3");
    assert_eq!(section(&changed(&[(":x", "1")])), "RFC 9113 §8.3");
    assert_eq!(section(&[]), "RFC 9113 §8.3.1");
}

#[test]
fn methods_schemes_and_paths_have_their_forms() {
    let cases = [
        (":method", "BREW", ""),
        (":method", "A B", "RFC 9113 §8.3.1"),
        (":scheme", "ftp", ""),
        (":scheme", "HTTPS", ""),
        (":scheme", "1http", "RFC 9113 §8.3.1"),
        (":scheme", "ht tp", "RFC 9113 §8.3.1"),
        (":path", "/", ""),
        (":path", "/\u{fc}%2f", ""),
        (":path", "x", "RFC 9113 §8.3.1"),
        (":path", "*", "RFC 9113 §8.3.1"),
        (":path", "http://a.test/", "RFC 9113 §8.3.1"),
        (":path", "/#x", "RFC 9113 §8.3.1"),
        (":path", "/a b", "RFC 9113 §8.3.1"),
        (":path", "/a\tb", "RFC 9113 §8.3.1"),
    ];
    for (name, value, expected) in cases {
        assert_eq!(section(&changed(&[(name, value)])), expected, "{name} {value}");
    }
    assert_eq!(section(&changed(&[(":method", "OPTIONS"), (":path", "*")])), "");
    let empty = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "")];
    assert_eq!(section(&empty), "RFC 9113 §8.3.1");
}

#[test]
fn authority_and_host_say_the_same() {
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[("host", "A.test")], ""),
        (&[("host", "b.test")], "RFC 9113 §8.3.1"),
        (&[("host", "a.test"), ("host", "a.test")], "RFC 9113 §8.3.1"),
        (&[(":authority", ""), ("host", "b.test:80")], ""),
        (&[(":authority", ""), ("host", "")], "RFC 9113 §8.3.1"),
        (&[(":authority", "u@a.test")], "RFC 9113 §8.3.1"),
        (&[(":authority", "a.test:99999")], "RFC 9113 §8.3.1"),
        (&[(":authority", "[::1]:443")], ""),
        (&[(":authority", "a/b")], "RFC 9113 §8.3.1"),
    ];
    for (changes, expected) in cases {
        let mut fields = changed(changes);
        if changes == [(":authority", ""), ("host", "")] {
            fields.push(("host", ""));
        }
        assert_eq!(section(&fields), expected, "{changes:?}");
    }
    let mut list = list(&changed(&[(":authority", ""), ("host", "b.test")]));
    let request = Request::new(&mut list, true, &Limits::default()).expect("a request");
    assert_eq!(request.head(&list).target.authority, Some(&b"b.test"[..]));
}

#[test]
fn fields_of_http_1_connections_are_refused() {
    for name in ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"] {
        assert_eq!(section(&changed(&[(name, "x")])), "RFC 9113 §8.2.2", "{name}");
        assert_eq!(check_trailers(&list(&[(name, "x")])).map_err(|fault| fault.section), Err("RFC 9113 §8.2.2"));
    }
    for (value, expected) in
        [("trailers", ""), ("Trailers", ""), ("gzip", "RFC 9113 §8.2.2"), ("trailers, gzip", "RFC 9113 §8.2.2")]
    {
        assert_eq!(section(&changed(&[("te", value)])), expected, "{value}");
    }
}

#[test]
fn names_and_values_keep_the_rules_in_pseudo_fields_and_trailers_as_well() {
    for (name, value) in [("X", "1"), ("a b", "1"), ("x", "a\r\nb"), ("x", "a\0"), ("x", " a"), (":path", "/\n")] {
        assert_eq!(section(&changed(&[(name, value)])), "RFC 9113 §8.2.1", "{name} {value:?}");
    }
    assert!(check_trailers(&list(&[("checksum", "1")])).is_ok());
    assert_eq!(check_trailers(&list(&[("X", "1")])).map_err(|fault| fault.section), Err("RFC 9113 §8.2.1"));
    assert_eq!(check_trailers(&list(&[(":path", "/")])).map_err(|fault| fault.section), Err("RFC 9113 §8.1"));
}

#[test]
fn content_length_is_one_number_and_fits_to_the_end_of_the_stream() {
    let announced = |value: &'static str, end_stream| {
        let mut list = list(&changed(&[(":method", "POST"), ("content-length", value)]));
        Request::new(&mut list, end_stream, &Limits::default())
            .map(|request| (request.announced, request.content_length))
    };
    assert_eq!(announced("5", false), Ok((Announced::Length(5), Some(5))));
    assert_eq!(announced("0", false), Ok((Announced::Nothing, Some(0))));
    assert_eq!(announced("0", true), Ok((Announced::Nothing, Some(0))));
    for (value, end_stream) in [("5", true), ("x", false), ("-1", false), ("1, 1", false)] {
        assert!(matches!(announced(value, end_stream), Err(Refusal::Malformed(_))), "{value}");
    }
    assert_eq!(section(&changed(&[("content-length", "0"), ("content-length", "0")])), "RFC 9113 §8.1.1");
}

#[test]
fn connect_is_answered_and_opens_a_tunnel_for_websockets_only() {
    let connect = |authority| vec![(":method", "CONNECT"), (":authority", authority)];
    let mut plain = list(&connect("a.test:443"));
    let request = Request::new(&mut plain, false, &Limits::default()).expect("a request");
    let head = request.head(&plain);
    assert_eq!((head.target.form, request.is_tunnel), (TargetForm::Authority, false));
    assert_eq!(section(&connect("a.test")), "RFC 9113 §8.5");
    assert_eq!(section(&changed(&[(":method", "CONNECT")])), "RFC 9113 §8.5");

    let mut extended = list(&changed(&[(":method", "CONNECT"), (":protocol", "websocket")]));
    let request = Request::new(&mut extended, false, &Limits::default()).expect("a request");
    assert!(request.is_tunnel && request.announced == Announced::Unknown);
    let head = request.head(&extended);
    assert_eq!((head.target.form, head.method), (TargetForm::Origin, Method::Connect));

    assert_eq!(section(&changed(&[(":protocol", "websocket")])), "RFC 8441 §4");
    let no_path = changed(&[(":method", "CONNECT"), (":protocol", "websocket"), (":path", "")]);
    assert_eq!(section(&no_path), "RFC 9113 §8.3.1");
    let other = changed(&[(":method", "CONNECT"), (":protocol", "connect-udp")]);
    assert_eq!(refusal(&other, false), Some(Refusal::Answer(UNKNOWN_PROTOCOL)));
}

#[test]
fn what_is_well_formed_and_not_served_is_answered() {
    let long: &'static str = format!("/{}", "x".repeat(8 * 1024)).leak();
    assert_eq!(refusal(&changed(&[(":path", long)]), true), Some(Refusal::Answer(TARGET_TOO_LONG)));
    assert_eq!(refusal(&changed(&[("expect", "more")]), true), Some(Refusal::Answer(UNKNOWN_EXPECTATION)));
    let expects = |end_stream| {
        let mut list = list(&changed(&[(":method", "PUT"), ("expect", "100-continue")]));
        Request::new(&mut list, end_stream, &Limits::default()).expect("a request").expects_continue
    };
    assert!(expects(false) && !expects(true));
}

#[test]
fn responses_have_content_or_not() {
    use ResponseContent::{Length, Nothing, Unknown};
    let cases = [
        (Status::OK, false, Some(5), (Length(5), Some(5))),
        (Status::OK, false, Some(0), (Nothing, Some(0))),
        (Status::OK, false, None, (Unknown, None)),
        (Status::OK, true, Some(5), (Nothing, Some(5))),
        (Status::OK, true, None, (Nothing, None)),
        (Status::NO_CONTENT, false, Some(0), (Nothing, None)),
        (Status::NOT_MODIFIED, false, Some(5), (Nothing, Some(5))),
        (Status::NOT_MODIFIED, true, Some(0), (Nothing, None)),
        (Status::RESET_CONTENT, false, None, (Nothing, Some(0))),
    ];
    for (status, is_head, length, expected) in cases {
        assert_eq!(response_content(status, is_head, length), expected, "{status} {length:?}");
    }
}

#[test]
fn a_response_has_its_fields_without_those_of_a_connection() {
    let mut response = Response::of_content(Status::OK, FieldValue::from_static("text/plain"), Body::Empty);
    response.fields.push((FieldName::from_static("Upgrade"), FieldValue::from_static("websocket")));
    response.fields.push((FieldName::from_static("ETag"), FieldValue::from_static("\"1\"")));
    response.prepared = FieldSet::new([
        (FieldName::from_static("Keep-Alive"), FieldValue::from_static("timeout=5")),
        (FieldName::from_static("Vary"), FieldValue::from_static("*")),
    ]);
    let fields = sent(&response, Some(1234));
    let expected = [
        ":status: 200",
        "server: tidemill",
        "date: Thu, 01 Jan 1970 00:00:00 GMT",
        "content-type: text/plain",
        "content-length: 1234",
        "vary: *",
        "etag: \"1\"",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn an_upstreams_response_keeps_its_date_and_server_and_gets_a_date_if_it_has_none() {
    let fields = |fields: &[(&str, &str)]| {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        sent(&Response::of_upstream(Status::OK, FieldSet::of_parsed(fields), Body::Empty), None)
    };
    let of_upstream = [("Server", "nginx"), ("Date", "Fri, 27 Nov 2026 21:00:00 GMT")];
    assert_eq!(fields(&of_upstream), [":status: 200", "server: nginx", "date: Fri, 27 Nov 2026 21:00:00 GMT"]);
    let ours = "date: Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(fields(&of_upstream[..1]), [":status: 200", ours, "server: nginx"]);
    assert_eq!(fields(&[]), [":status: 200", ours]);
}

/// The fields of a response as a client reads them.
fn sent(response: &Response, length: Option<u64>) -> Vec<String> {
    let (mut block, mut list) = (Vec::new(), FieldList::default());
    put_response(&mut Encoder::default().block(&mut block), response, length, &DateCache::new(UNIX_EPOCH));
    assert!(block.len() <= response.head_bytes_max());
    let limits = ListLimits { bytes_max: 64 * 1024, fields_max: 100 };
    assert_eq!(Decoder::default().decode(&block, limits, &mut list), Ok(Decoded::All));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    list.fields(0).iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
}
