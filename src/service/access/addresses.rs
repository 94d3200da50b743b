//! Which addresses may ask: `allow` and `deny`.
//!
//! The most specific range that an address is in decides, as in a routing table. The lists have no order between them, so the
//! order of nginx ("the first one that matches") cannot be written down with them, and is easily got wrong.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::client::Client;
use crate::http::forwarded::TrustedProxy as Range;

/// The lists of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRules {
    verdicts: HashMap<IpNet, Verdict>,
    /// The prefix lengths that occur, longest first: of IPv4, and of IPv6.
    lengths: [Vec<u8>; 2],
    unix: Option<Verdict>,
    /// What those get who are in no list.
    otherwise: Verdict,
}

/// What becomes of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may ask.
    Allow,
    /// It may not.
    Deny,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// This range is the most specific one.
    Net(IpNet),
    /// The lists say so of clients on Unix sockets.
    Unix,
    /// It is in no list.
    InNone,
    /// A trusted proxy does not say whose request it is.
    Unknown,
}

/// An element of a list that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    /// `allow` or `deny`.
    pub list: &'static str,
    /// Which element, from 0.
    pub index: usize,
    /// What is wrong with it, and what would be right.
    pub what: String,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.list, self.index, self.what)
    }
}

impl std::error::Error for AddressError {}

impl AddressRules {
    /// Rules of these lists. `allow` is there even if nobody is in it: who is in no list may ask only if there is no `allow`.
    /// An element is an address, a range (`10.0.0.0/8`), `unix`, or `all`.
    ///
    /// # Errors
    /// An element is none of these, or in both lists.
    pub fn new<T: AsRef<str>>(allow: Option<&[T]>, deny: &[T]) -> Result<AddressRules, AddressError> {
        let otherwise = if allow.is_some() { Verdict::Deny } else { Verdict::Allow };
        let (verdicts, lengths) = (HashMap::new(), [Vec::new(), Vec::new()]);
        let mut rules = AddressRules { verdicts, lengths, unix: None, otherwise };
        rules.add_list(Verdict::Allow, allow.unwrap_or_default())?;
        rules.add_list(Verdict::Deny, deny)?;
        for lengths in &mut rules.lengths {
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
        }
        Ok(rules)
    }

    fn add_list<T: AsRef<str>>(&mut self, verdict: Verdict, list: &[T]) -> Result<(), AddressError> {
        for (index, text) in list.iter().map(AsRef::as_ref).enumerate() {
            self.add(verdict, text).map_err(|what| AddressError { list: verdict.list(), index, what })?;
        }
        Ok(())
    }

    fn add(&mut self, verdict: Verdict, text: &str) -> Result<(), String> {
        let ranges =
            match text {
                "all" => ["0.0.0.0/0", "::/0", "unix"].iter().filter_map(|range| range.parse().ok()).collect(),
                text => vec![text.parse().map_err(|_| {
                    format!("{text:?} is not an address, a range such as 10.0.0.0/8, \"unix\" or \"all\"")
                })?],
            };
        for range in ranges {
            let earlier = match range {
                Range::Unix => self.unix.replace(verdict),
                Range::Net(net) => {
                    self.lengths[family(net.addr())].push(net.prefix_len());
                    match self.verdicts.entry(net.trunc()) {
                        Entry::Vacant(place) => {
                            place.insert(verdict);
                            None
                        }
                        Entry::Occupied(other) => Some(*other.get()),
                    }
                }
            };
            if earlier.is_some_and(|earlier| earlier != verdict) {
                return Err(format!("{range} is allowed and denied: it can be in one of the lists"));
            }
        }
        Ok(())
    }

    /// What becomes of this client, and why.
    pub fn judge(&self, client: Client) -> (Verdict, Reason) {
        match client {
            Client::Ip(ip) => self.judge_ip(ip),
            Client::Unix => self.unix.map_or((self.otherwise, Reason::InNone), |verdict| (verdict, Reason::Unix)),
            Client::Unknown => (Verdict::Deny, Reason::Unknown),
        }
    }

    /// One look for each length of a prefix that occurs.
    fn judge_ip(&self, ip: IpAddr) -> (Verdict, Reason) {
        let nets = self.lengths[family(ip)].iter().filter_map(|length| IpNet::new(ip, *length).ok());
        let mut verdicts =
            nets.map(|net| net.trunc()).filter_map(|net| Some((*self.verdicts.get(&net)?, Reason::Net(net))));
        verdicts.next().unwrap_or((self.otherwise, Reason::InNone))
    }
}

fn family(ip: IpAddr) -> usize {
    usize::from(ip.is_ipv6())
}

impl Verdict {
    /// The list that says it.
    fn list(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
        }
    }
}

/// A verdict in words, and why: for the log and for `explain`.
pub fn words(verdict: Verdict, reason: Reason) -> String {
    let list = verdict.list();
    match (reason, verdict) {
        (Reason::Net(net), _) => format!("{list}: {net} is the most specific range that the address is in"),
        (Reason::Unix, _) => format!("{list}: unix"),
        (Reason::InNone, Verdict::Allow) => "deny: the address is in none of the ranges".into(),
        (Reason::InNone, Verdict::Deny) => "allow: the address is in none of the ranges".into(),
        (Reason::Unknown, _) => "allow and deny: a trusted proxy does not say whose request it is".into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(allow: Option<&[&str]>, deny: &[&str]) -> AddressRules {
        AddressRules::new(allow, deny).unwrap()
    }

    fn may(rules: &AddressRules, client: &str) -> bool {
        let client = client.parse::<IpAddr>().map_or(Client::Unix, |ip| Client::Ip(ip.to_canonical()));
        rules.judge(client).0 == Verdict::Allow
    }

    #[test]
    fn the_most_specific_range_decides() {
        let rules = rules(
            Some(&["10.0.0.0/8", "10.1.2.3", "2001:db8::/32"]),
            &["10.1.0.0/16", "::ffff:10.9.0.0/112", "2001:db8:5::/48"],
        );
        for (client, is_allowed) in [
            ("10.0.0.1", true),
            ("10.1.0.1", false),
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.9.0.1", false),
            ("11.0.0.1", false),
            ("2001:db8::1", true),
            ("2001:db8:5::1", false),
            ("2001:db9::1", false),
            ("unix", false),
        ] {
            assert_eq!(may(&rules, client), is_allowed, "{client}");
        }
    }

    #[test]
    fn who_is_in_no_list_may_ask_if_there_is_no_allow() {
        assert!(may(&rules(None, &["10.0.0.0/8"]), "11.0.0.1"));
        assert!(may(&rules(None, &["10.0.0.0/8"]), "unix"));
        assert!(!may(&rules(Some(&[]), &[]), "11.0.0.1"), "nobody is in it");
        assert!(!may(&rules(Some(&["0.0.0.0/0", "::/0"]), &[]), "unix"));
        assert!(may(&rules(Some(&["unix"]), &["all"][..0]), "unix"));
        assert!(may(&rules(Some(&["all"]), &["10.0.0.0/8"]), "unix"));
        assert!(!may(&rules(Some(&["10.0.0.0/8"]), &["all"]), "::1"));
    }

    #[test]
    fn a_client_that_is_not_known_may_never_ask() {
        for rules in [rules(Some(&["all"]), &[]), rules(None, &["10.0.0.1"])] {
            assert_eq!(rules.judge(Client::Unknown), (Verdict::Deny, Reason::Unknown));
        }
    }

    #[test]
    fn the_reason_names_the_range() {
        let rules = rules(Some(&["10.0.0.7/8"]), &["unix"]);
        let told = |client| {
            let (verdict, reason) = rules.judge(client);
            words(verdict, reason)
        };
        let ip = |text: &str| Client::Ip(text.parse().unwrap());
        assert_eq!(told(ip("10.1.1.1")), "allow: 10.0.0.0/8 is the most specific range that the address is in");
        assert_eq!(told(ip("11.1.1.1")), "allow: the address is in none of the ranges");
        assert_eq!(told(Client::Unix), "deny: unix");
        assert_eq!(words(Verdict::Allow, Reason::InNone), "deny: the address is in none of the ranges");
    }

    #[test]
    fn an_error_says_which_element() {
        let error = AddressRules::new(Some(&["10.0.0.1", "localhost"]), &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"allow[1]: "localhost" is not an address, a range such as 10.0.0.0/8, "unix" or "all""#
        );
        let error = AddressRules::new(Some(&["10.0.0.1", "10.0.0.0/8"]), &["1.1.1.1", "10.1.2.3/8"]).unwrap_err();
        assert_eq!(error.to_string(), "deny[1]: 10.1.2.3/8 is allowed and denied: it can be in one of the lists");
        assert!(AddressRules::new(Some(&["all"]), &["unix"]).is_err());
        assert!(AddressRules::new(Some(&["unix", "unix", "::1", "::1"]), &[]).is_ok(), "twice in one list");
        assert!(AddressRules::new(Some(&["10.0.0.0/33"]), &[]).is_err());
    }

    /// Addresses and ranges that often meet.
    fn nets() -> impl Strategy<Value = IpNet> {
        let v4 =
            (0..4_u8, 0..4_u8, 0..=32_u8).prop_map(|(a, b, length)| IpNet::new(IpAddr::from([a, 0, b, a]), length));
        let v6 = (0..4_u16, 0..4_u16, 0..=128_u8)
            .prop_map(|(a, b, length)| IpNet::new(IpAddr::from([a, 0, 0, b, 0, 0, 0, a]), length));
        prop_oneof![v4, v6].prop_map(|net| net.unwrap().trunc())
    }

    proptest! {
        /// The oracle looks at every range and keeps the longest that contains the address.
        #[test]
        fn it_decides_as_a_scan_of_all_ranges(
            lists in prop::collection::vec((nets(), any::<bool>()), 0..12),
            asks in prop::collection::vec(nets(), 1..12),
            has_allow: bool,
        ) {
            let mut listed: Vec<(IpNet, bool)> = Vec::new();
            for (net, allowed) in lists {
                if (has_allow || !allowed) && listed.iter().all(|(other, _)| *other != net) {
                    listed.push((net, allowed));
                }
            }
            let texts = |wanted| listed.iter().filter(|(_, allowed)| *allowed == wanted).map(|(net, _)| net.to_string()).collect::<Vec<_>>();
            let (allow, deny) = (texts(true), texts(false));
            let rules = AddressRules::new(has_allow.then_some(&allow[..]), &deny).unwrap();
            for ask in asks {
                let ip = ask.addr();
                let longest = listed.iter().filter(|(net, _)| net.contains(&ip)).max_by_key(|(net, _)| net.prefix_len());
                let expected = longest.map_or(!has_allow, |(_, allowed)| *allowed);
                let (verdict, reason) = rules.judge(Client::Ip(ip));
                prop_assert_eq!(verdict == Verdict::Allow, expected);
                prop_assert_eq!(reason, longest.map_or(Reason::InNone, |(net, _)| Reason::Net(*net)));
            }
        }
    }
}
