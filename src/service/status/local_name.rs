//! Which names the admin's pages answer to: those of this machine alone, unless somebody has written others.
//!
//! That it can be reached from this machine only does not keep out a web page that is open on it: whoever owns the page's
//! name can let that name mean 127.0.0.1 from one moment to the next (DNS rebinding). The browser then asks us on the
//! page's behalf, and shows it the answer; but it still says the page's name in Host.

use std::net::{IpAddr, Ipv6Addr};

use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::service::errors;

/// Which hosts requests over TCP may name. A request that names none (HTTP/1.0) comes from no browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// `localhost` and loopback addresses: the admin listener.
    ThisMachine,
    /// `localhost` and all addresses: an address means the same for ever, so no page can bend one.
    Addresses,
    /// All: somebody else has looked.
    All,
}

impl Names {
    /// Whether the request may be answered.
    pub(super) fn fit(self, request: &RequestHead<'_>) -> bool {
        self == Names::All || request.authority().is_none_or(|host| self.have(host))
    }

    /// 421: the request was meant for another server (RFC 9110 §15.5.20).
    pub(super) fn refusal(self) -> Response {
        let reason = match self {
            Names::ThisMachine => "this listener answers to localhost, 127.0.0.1 and [::1] alone",
            _ => {
                "this route answers to localhost and addresses alone: to others in a site with 'hosts', or with credentials"
            }
        };
        errors::refuse(Status::MISDIRECTED_REQUEST, reason, "RFC 9110 §15.5.20")
    }

    fn have(self, host: &[u8]) -> bool {
        let Ok(host) = std::str::from_utf8(host) else { return false };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let address = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(v6) => v6.parse::<Ipv6Addr>().map(IpAddr::V6),
            None => name.parse(),
        };
        let is_meant = |address: IpAddr| self == Names::Addresses || address.is_loopback();
        name.eq_ignore_ascii_case("localhost") || address.is_ok_and(is_meant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_told_from_others() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:9901", "127.1.2.3:1", "[::1]", "[::1]:9901"] {
            assert!(Names::ThisMachine.have(host.as_bytes()) && Names::Addresses.have(host.as_bytes()), "{host}");
        }
        for host in ["", ":80", "example.org", "example.org:9901", "localhost.example.org", "10.0.0.1.example", "1"] {
            assert!(!Names::ThisMachine.have(host.as_bytes()) && !Names::Addresses.have(host.as_bytes()), "{host}");
        }
        for address in ["10.0.0.1", "10.0.0.1:80", "[::2]:80", "0.0.0.0"] {
            assert!(
                !Names::ThisMachine.have(address.as_bytes()) && Names::Addresses.have(address.as_bytes()),
                "{address}"
            );
        }
        assert!(!Names::ThisMachine.have(b"\xff"));
    }
}
