//! Which names the admin listener answers to: those of this machine alone.
//!
//! That it can be reached from this machine only does not keep out a web page that is open on it: whoever owns the page's
//! name can let that name mean 127.0.0.1 from one moment to the next (DNS rebinding). The browser then asks us on the
//! page's behalf, and shows it the answer; but it still says the page's name in Host.

use std::net::{IpAddr, Ipv6Addr};

use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::errors;

/// Whether the request is for a name of this machine, or for none (HTTP/1.0), as no browser asks.
pub(super) fn is_asked_for(request: &RequestHead<'_>) -> bool {
    let host = request.authority();
    host.is_none_or(is_local)
}

/// 421: the request was meant for another server (RFC 9110 §15.5.20).
pub(super) fn refusal() -> Response {
    let reason = "this listener answers to localhost, 127.0.0.1 and [::1] alone";
    errors::refuse(Status::MISDIRECTED_REQUEST, reason, "RFC 9110 §15.5.20")
}

fn is_local(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => name.parse(),
    };
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_told_from_others() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:9901", "127.1.2.3:1", "[::1]", "[::1]:9901"] {
            assert!(is_local(host.as_bytes()), "{host}");
        }
        for host in ["", ":80", "example.org", "example.org:9901", "localhost.example.org", "10.0.0.1", "[::2]:80"] {
            assert!(!is_local(host.as_bytes()), "{host}");
        }
        assert!(!is_local(b"\xff"));
    }
}
