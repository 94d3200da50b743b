//! Which site a request is for, by the host that it names.

use std::fmt;

use super::table::Table;
use crate::http::authority;
use crate::service::proxy::route::{host_of, ipv6_of};

/// The name of one host, or of all hosts beneath a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// In lower case, without the dot of the root at its end; an address as RFC 5952 writes it.
    name: String,
    /// Whether it stands for all names beneath this one, and not for the name itself.
    is_wildcard: bool,
}

impl HostPattern {
    /// The pattern that `text` means: a name, an address (IPv6 in brackets), or `*.` in front of a name. All without a port.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn new(text: &str) -> Result<HostPattern, String> {
        // What nginx calls any host.
        if matches!(text, "*" | "_") {
            return Err("expected a name: the site of all hosts that no other has is one without 'hosts'".into());
        }
        if text.contains([',', ' ']) {
            return Err("expected one name: several stand in a list, such as ['a.example', 'b.example']".into());
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Err(format!("expected brackets around an IPv6 address: [{text}]"));
        }
        let (name, is_wildcard) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        if !text.is_ascii() {
            return Err(
                "expected a name in ASCII, as it stands in requests: xn--mhle-0ra.example for mühle.example".into()
            );
        }
        match authority::host(name.as_bytes()) {
            Some(host) if host == name => {}
            Some(_) => return Err("expected a name without a port: requests for all ports have it".into()),
            None => return Err("expected a name such as www.example.org, or *.example.org for all beneath it".into()),
        }
        let is_address = name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok();
        if is_wildcard && is_address {
            return Err("expected a name behind *.: there is nothing beneath an address".into());
        }
        Ok(HostPattern { name: canonical(name.as_bytes()), is_wildcard })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_wildcard { "*." } else { "" }, self.name)
    }
}

/// A host as it is compared: in lower case (RFC 9110 §4.2.3), and an IPv6 address in one of its many spellings (RFC 5952 §4).
fn canonical(host: &[u8]) -> String {
    match ipv6_of(host) {
        Some(address) => format!("[{address}]"),
        None => String::from_utf8_lossy(host.strip_suffix(b".").unwrap_or(host)).to_ascii_lowercase(),
    }
}

/// Which of the sites, by their places, has which hosts.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    exact: Table<usize>,
    /// The names without `*.`.
    wildcards: Table<usize>,
    /// The site of all other hosts, and of requests that name none.
    default: Option<usize>,
}

/// By what a site was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostFit {
    /// It has this name.
    Name,
    /// It has all names beneath one.
    Wildcard,
    /// It has all hosts that no other site has.
    Default,
}

impl Hosts {
    /// The hosts with this `pattern`, or all others, belong to the `site`.
    ///
    /// # Errors
    /// They belong to this site already.
    pub fn insert(&mut self, pattern: Option<&HostPattern>, site: usize) -> Result<(), usize> {
        let Some(HostPattern { name, is_wildcard }) = pattern else {
            return match self.default.replace(site) {
                Some(other) => Err(other),
                None => Ok(()),
            };
        };
        let table = if *is_wildcard { &mut self.wildcards } else { &mut self.exact };
        match table.insert(name.as_bytes(), site) {
            Some(other) => Err(other),
            None => Ok(()),
        }
    }

    /// Whether there is a default site and no other.
    pub fn is_for_all(&self) -> bool {
        self.default.is_some() && self.exact.is_empty() && self.wildcards.is_empty()
    }

    /// The site of a request for this `authority`: host [ ":" port ], which has been checked. The port does not count. A name
    /// comes before a wildcard, and a longer wildcard before a shorter one.
    pub fn find(&self, authority: Option<&[u8]>) -> Option<(usize, HostFit)> {
        // Most clients write the name as it stands in the table.
        if let Some(site) = authority.and_then(|authority| self.exact.get(authority)) {
            return Some((*site, HostFit::Name));
        }
        let default = self.default.map(|site| (site, HostFit::Default));
        let Some(host) = authority.map(host_of) else { return default };
        let is_canonical = !host.starts_with(b"[") && !host.iter().any(u8::is_ascii_uppercase);
        let found = match is_canonical {
            // The name was looked for already.
            true if authority.is_some_and(|authority| authority.len() == host.len()) => self.find_wildcard(host),
            true => self.find_canonical(host),
            false => self.find_canonical(canonical(host).as_bytes()),
        };
        found.or(default)
    }

    fn find_canonical(&self, host: &[u8]) -> Option<(usize, HostFit)> {
        match self.exact.get(host) {
            Some(site) => Some((*site, HostFit::Name)),
            None => self.find_wildcard(host),
        }
    }

    fn find_wildcard(&self, host: &[u8]) -> Option<(usize, HostFit)> {
        if self.wildcards.is_empty() {
            return None;
        }
        let dots = host.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        // Nothing before the dot is no label, so that is no name beneath.
        let mut beneath = dots.filter(|at| *at > 0).map(|at| &host[at + 1..]);
        beneath.find_map(|name| self.wildcards.get(name)).map(|site| (*site, HostFit::Wildcard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(patterns: &[&str]) -> Hosts {
        let mut hosts = Hosts::default();
        for (site, text) in patterns.iter().enumerate() {
            let pattern = (!text.is_empty()).then(|| HostPattern::new(text).unwrap());
            hosts.insert(pattern.as_ref(), site).unwrap();
        }
        hosts
    }

    #[test]
    fn a_name_comes_before_wildcards_and_the_longest_of_these_before_the_default() {
        let hosts =
            hosts(&["example.org", "*.example.org", "*.b.example.org", "", "[2001:db8::1]", "192.0.2.1", "x.example."]);
        for (authority, site) in [
            ("example.org", 0),
            ("EXAMPLE.org:8080", 0),
            ("example.org.", 0),
            ("example.org.:80", 0),
            ("a.example.org", 1),
            ("A.B.C.example.org.", 1),
            ("b.example.org", 1),
            ("a.b.example.org", 2),
            ("c.a.B.example.org", 2),
            (".example.org", 3),
            ("xexample.org", 3),
            ("org", 3),
            ("", 3),
            ("[2001:DB8:0:0::1]:443", 4),
            ("[2001:db8::2]", 3),
            ("192.0.2.1:1", 5),
            ("X.example", 6),
        ] {
            assert_eq!(hosts.find(Some(authority.as_bytes())).map(|(site, _)| site), Some(site), "{authority}");
        }
        assert_eq!(hosts.find(None), Some((3, HostFit::Default)));
    }

    #[test]
    fn without_a_default_an_unknown_host_has_no_site() {
        let hosts = hosts(&["a.example"]);
        assert_eq!(hosts.find(Some(b"b.example")), None);
        assert_eq!(hosts.find(None), None);
        assert_eq!(hosts.find(Some(b"a.example:1")), Some((0, HostFit::Name)));
    }

    #[test]
    fn a_host_has_one_site() {
        let mut hosts = hosts(&["a.example", "*.a.example", ""]);
        for (text, other) in [("A.example.", 0), ("*.a.EXAMPLE", 1)] {
            assert_eq!(hosts.insert(Some(&HostPattern::new(text).unwrap()), 9), Err(other), "{text}");
        }
        assert_eq!(hosts.insert(None, 9), Err(2));
    }

    #[test]
    fn a_pattern_is_a_name_or_all_beneath_one() {
        for (text, shown) in
            [("A.Example.", "a.example"), ("*.A.example", "*.a.example"), ("[2001:DB8::0]", "[2001:db8::]")]
        {
            assert_eq!(HostPattern::new(text).unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "*",
            "*.",
            "a.*",
            "a*.example",
            "a.example:80",
            "*.192.0.2.1",
            "*.[::1]",
            "::1",
            "m\u{fc}hle",
            "a b",
            "*.*.a",
        ] {
            assert!(HostPattern::new(wrong).is_err(), "{wrong}");
        }
    }
}
