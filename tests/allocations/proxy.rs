//! What it takes to make the request to an upstream of a client's request.

use allocation_counter::measure;
use tidemill::base::peer::Peer;
use tidemill::http::fields::{FieldSpan, Fields};
use tidemill::http::message::{Announced, RequestHead, Version};
use tidemill::http::method::Method;
use tidemill::http::target::{Target, TargetForm};
use tidemill::service::proxy::message::{Sender, request};
use tidemill::service::proxy::route::{Route, Routes, Upstream};

/// The target, Host, and the lines of all other fields: what has a place of its own in the request.
#[test]
fn a_proxied_request_takes_three_allocations() {
    let lines = [
        ("Host", "example.org"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("Accept", "text/html,application/xhtml+xml"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Connection", "keep-alive"),
        ("X-Forwarded-For", "198.51.100.7"),
        ("Cookie", "session=0123456789abcdef0123456789abcdef"),
    ];
    let (mut section, mut spans) = (Vec::new(), Vec::new());
    for (name, value) in lines {
        let (name_start, value_start) = (section.len() as u32, (section.len() + name.len()) as u32);
        section.extend([name.as_bytes(), value.as_bytes()].concat());
        spans.push(FieldSpan { name_start, name_len: name.len() as u32, value_start, value_len: value.len() as u32 });
    }
    let (form, path) = (TargetForm::Origin, &b"/api/items/17"[..]);
    let head = RequestHead {
        method: Method::Get,
        target: Target { form, raw: path, authority: None, path, query: Some(b"page=2") },
        version: Version::Http11,
        fields: Fields::new(&section, &spans),
        announced: Announced::Nothing,
        protocol: None,
    };
    let upstreams = vec![Upstream::new(false, "127.0.0.1", Some(3000))];
    let routes: Routes = [Route::new(None, "/api".into(), upstreams)].into_iter().collect();
    for is_trusted in [false, true] {
        let peer = Peer::Ip("[2001:db8:1111:2222:3333:4444:5555:6666]:1".parse().unwrap());
        let sender = Sender { peer, is_trusted, is_secured: true, identifier: None };
        let taken = measure(|| {
            let matched = routes.find(&head).unwrap();
            drop(request(&head, &matched, &sender).unwrap());
        });
        assert_eq!(taken.count_total, 3, "trusted: {is_trusted}");
    }
}
