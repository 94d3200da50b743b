//! The names of upstreams: which addresses each has, and when it is asked for again.
//!
//! This is a value. Whoever owns it runs a job for each name that is due, and reports what came of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use crate::base::moment::Moment;
use crate::base::resolved::Resolved;

/// A name is asked for again after the time that its addresses are valid for (TTL), but not before this one.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// And not after this one.
pub const INTERVAL_MAX: Duration = Duration::from_secs(30);

/// Finds the addresses of a host, or says in a sentence why there are none. It blocks for seconds: it is for jobs.
pub type Resolve = Arc<dyn Fn(&str) -> Result<Resolved, String> + Send + Sync>;

/// The names of all upstreams of one event loop.
#[derive(Debug, Default)]
pub struct Names {
    entries: BTreeMap<NameId, Entry>,
    /// How many names have been added so far: no id is given twice.
    added: usize,
}

/// Stands for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(usize);

/// One name.
#[derive(Debug)]
struct Entry {
    host: Arc<str>,
    /// Of the last answer that had some.
    addresses: Vec<IpAddr>,
    next: Next,
    /// When it was last asked for; `None`: never.
    asked: Option<Moment>,
    failing: Option<Failing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is an address, which never changes.
    Never,
    /// It is to be asked for then.
    At(Moment),
    /// It is being asked for.
    InFlight,
}

/// A name that cannot be resolved at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Since when.
    pub since: Moment,
    /// Failures in a row, at least 1.
    pub failures: u32,
    /// What the last one was, in a sentence.
    pub error: String,
}

/// What an answer has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Whether the name has other addresses than before.
    pub has_changed: bool,
    /// What the user is to know, once when a name begins to fail and once when that is over.
    pub news: Option<(Level, String)>,
}

impl Answered {
    const NOTHING_NEW: Answered = Answered { has_changed: false, news: None };
}

impl Names {
    /// Adds the host of an upstream: a name, or an IP address, an IPv6 address in brackets or not. It is due at once. A host
    /// that is there already is the same, whatever the case of its letters.
    pub fn add(&mut self, host: &str, now: Moment) -> NameId {
        if let Some((id, _)) = self.entries.iter().find(|(_, entry)| entry.host.eq_ignore_ascii_case(host)) {
            return *id;
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let literal: Option<IpAddr> = bare.parse().ok();
        let next = if literal.is_some() { Next::Never } else { Next::At(now) };
        let addresses = literal.into_iter().collect();
        let id = NameId(self.added);
        self.added += 1;
        self.entries.insert(id, Entry { host: host.into(), addresses, next, asked: None, failing: None });
        id
    }

    /// Forgets all other names than these. An answer that still comes about one of the others changes nothing.
    pub fn retain(&mut self, is_wanted: impl Fn(NameId) -> bool) {
        self.entries.retain(|id, _| is_wanted(*id));
    }

    /// The host as it was added.
    pub fn host(&self, id: NameId) -> &Arc<str> {
        &self.entries[&id].host
    }

    /// The addresses that requests may use, in order. None before the first answer that has some.
    pub fn addresses(&self, id: NameId) -> &[IpAddr] {
        &self.entries[&id].addresses
    }

    /// Whether neither an answer nor a failure has come so far: a request can wait for the first one.
    pub fn is_new(&self, id: NameId) -> bool {
        let entry = &self.entries[&id];
        entry.addresses.is_empty() && entry.failing.is_none()
    }

    /// Why the name cannot be resolved at present, if it cannot.
    pub fn failing(&self, id: NameId) -> Option<&Failing> {
        self.entries[&id].failing.as_ref()
    }

    /// When the next name is due; `None` while all are asked for, or are addresses.
    pub fn due_at(&self) -> Option<Moment> {
        self.entries.values().filter_map(|entry| entry.next.at()).min()
    }

    /// A name that is to be asked for now, the one that has waited longest. It counts as asked for until
    /// [`on_answer`](Names::on_answer), which must follow, even if no job could be had for it.
    pub fn take_due(&mut self, now: Moment) -> Option<NameId> {
        let due = self.entries.iter_mut().filter_map(|(id, entry)| Some((entry.next.at()?, *id, entry)));
        let (at, id, entry) = due.min_by_key(|(at, id, _)| (*at, *id))?;
        if at > now {
            return None;
        }
        (entry.next, entry.asked) = (Next::InFlight, Some(now));
        Some(id)
    }

    /// What came of asking for a name. A failure changes no addresses: those of the last answer stay in use.
    pub fn on_answer(&mut self, id: NameId, answer: Result<Resolved, String>, now: Moment) -> Answered {
        let Some(entry) = self.entries.get_mut(&id) else { return Answered::NOTHING_NEW };
        match answer {
            Ok(Resolved { addresses, ttl }) if !addresses.is_empty() => {
                entry.next = Next::At(now + ttl.clamp(INTERVAL_MIN, INTERVAL_MAX));
                let has_changed = entry.addresses != addresses;
                entry.addresses = addresses;
                let news = entry.failing.take().map(|failing| {
                    let time = now.since(failing.since);
                    (Level::Info, format!("upstream {}: its name can be resolved again, after {time:.0?}", entry.host))
                });
                Answered { has_changed, news }
            }
            Ok(_) => self.on_failure(id, "the answer has no addresses".into(), now),
            Err(error) => self.on_failure(id, error, now),
        }
    }

    fn on_failure(&mut self, id: NameId, error: String, now: Moment) -> Answered {
        let Some(entry) = self.entries.get_mut(&id) else { return Answered::NOTHING_NEW };
        let failures = entry.failing.as_ref().map_or(0, |failing| failing.failures).saturating_add(1);
        // 1, 2, 4, 8, 16 and 30 s, and so on.
        let interval = INTERVAL_MIN.saturating_mul(1 << (failures - 1).min(8)).min(INTERVAL_MAX);
        entry.next = Next::At(now + interval);
        let news = entry.failing.is_none().then(|| {
            let use_of = match entry.addresses.len() {
                0 => "it has no addresses yet".to_owned(),
                1 => "its last known address stays in use".to_owned(),
                n => format!("its {n} last known addresses stay in use"),
            };
            (Level::Warn, format!("upstream {}: {error}; {use_of}", entry.host))
        });
        let since = entry.failing.take().map_or(now, |failing| failing.since);
        entry.failing = Some(Failing { since, failures, error });
        Answered { has_changed: false, news }
    }

    /// Asks for a name ahead of its time, because connections to its addresses fail: it may have others by now. It is still
    /// asked for once in [`INTERVAL_MIN`] at most, and less often while asking for it fails.
    pub fn hasten(&mut self, id: NameId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let (Next::At(at), Some(asked), None) = (entry.next, entry.asked, &entry.failing) {
            entry.next = Next::At(at.min(asked + INTERVAL_MIN));
        }
    }
}

impl Next {
    fn at(self) -> Option<Moment> {
        match self {
            Next::At(at) => Some(at),
            Next::Never | Next::InFlight => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn moment(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn found(addresses: &[&str], seconds: u64) -> Result<Resolved, String> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Ok(Resolved { addresses, ttl: Duration::from_secs(seconds) })
    }

    fn failed() -> Result<Resolved, String> {
        Err("no such name: web (NXDOMAIN from 10.0.0.2)".into())
    }

    const NOTHING_NEW: Answered = Answered::NOTHING_NEW;
    const CHANGED: Answered = Answered { has_changed: true, news: None };

    #[test]
    fn an_address_is_never_asked_for() {
        let mut names = Names::default();
        for (host, address) in [("10.0.0.1", "10.0.0.1"), ("[::1]", "::1"), ("fd00::1", "fd00::1")] {
            let id = names.add(host, moment(0));
            assert_eq!(names.addresses(id), [address.parse::<IpAddr>().unwrap()]);
            assert!(!names.is_new(id));
        }
        assert_eq!((names.due_at(), names.take_due(moment(u64::MAX))), (None, None));
    }

    #[test]
    fn a_host_is_asked_for_once_whoever_has_it() {
        let mut names = Names::default();
        let (web, other) = (names.add("web", moment(5)), names.add("other", moment(3)));
        assert_eq!((names.add("WEB", moment(9)), names.host(web).as_ref()), (web, "web"));
        assert_eq!((names.due_at(), names.take_due(moment(2))), (Some(moment(3)), None));
        assert_eq!(names.take_due(moment(7)), Some(other), "the one that has waited longest");
        assert_eq!(names.take_due(moment(7)), Some(web));
        assert_eq!((names.take_due(moment(u64::MAX)), names.due_at()), (None, None), "one at a time");
    }

    #[test]
    fn the_time_of_the_record_counts_within_bounds() {
        let mut names = Names::default();
        let web = names.add("web", moment(0));
        assert!(names.is_new(web) && names.addresses(web).is_empty());
        let mut now = moment(0);
        for (ttl, seconds) in [(0, 1), (1, 1), (7, 7), (30, 30), (31, 30), (u64::MAX, 30)] {
            assert_eq!(names.take_due(now), Some(web));
            // The answer takes its time, and counts from when it comes.
            now = now + 2 * SECOND;
            names.on_answer(web, found(&["10.0.0.1"], ttl), now);
            assert_eq!(names.due_at(), Some(now + Duration::from_secs(seconds)), "{ttl} s");
            now = now + Duration::from_secs(seconds);
        }
        assert!(!names.is_new(web));
    }

    #[test]
    fn only_a_change_is_a_change() {
        let mut names = Names::default();
        let web = names.add("web", moment(0));
        let mut answer = |addresses: &[&str]| names.on_answer(web, found(addresses, 1), moment(0));
        assert_eq!(answer(&["10.0.0.1"]), CHANGED);
        assert_eq!(answer(&["10.0.0.1"]), NOTHING_NEW);
        assert_eq!(answer(&["10.0.0.1", "10.0.0.2"]), CHANGED);
        assert_eq!(answer(&["10.0.0.2"]), CHANGED);
    }

    #[test]
    fn a_failure_is_told_once_and_keeps_what_was_known() {
        let mut names = Names::default();
        let web = names.add("web", moment(0));
        let told = |answered: Answered| answered.news.map(|(level, text)| format!("{level} {text}"));
        let first = told(names.on_answer(web, failed(), moment(0)));
        let error = "no such name: web (NXDOMAIN from 10.0.0.2)";
        assert_eq!(first, Some(format!("WARN upstream web: {error}; it has no addresses yet")));
        assert!(!names.is_new(web) && names.addresses(web).is_empty());
        assert_eq!(names.on_answer(web, failed(), moment(1000)), NOTHING_NEW);
        assert_eq!(names.failing(web), Some(&Failing { since: moment(0), failures: 2, error: error.into() }));
        let back = names.on_answer(web, found(&["10.0.0.1", "10.0.0.2"], 5), moment(12_345));
        assert!(back.has_changed);
        assert_eq!(told(back), Some("INFO upstream web: its name can be resolved again, after 12s".into()));
        assert_eq!(names.failing(web), None);
        let again = told(names.on_answer(web, Ok(Resolved { addresses: Vec::new(), ttl: SECOND }), moment(20_000)));
        let text = "WARN upstream web: the answer has no addresses; its 2 last known addresses stay in use";
        assert_eq!(again, Some(text.into()));
        assert_eq!(names.addresses(web).len(), 2);
    }

    #[test]
    fn a_name_that_fails_is_asked_for_less_and_less_often() {
        let mut names = Names::default();
        let web = names.add("web", moment(0));
        let mut now = moment(0);
        for seconds in [1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30] {
            assert_eq!(names.take_due(now), Some(web));
            names.on_answer(web, failed(), now);
            names.hasten(web);
            let next = now + Duration::from_secs(seconds);
            assert_eq!(names.due_at(), Some(next));
            now = next;
        }
        for _ in 0..100 {
            names.on_answer(web, failed(), now);
        }
        assert_eq!(names.due_at(), Some(now + INTERVAL_MAX));
        names.on_answer(web, found(&["10.0.0.1"], 20), now);
        names.on_answer(web, failed(), now);
        assert_eq!(names.due_at(), Some(now + SECOND), "a new episode begins anew");
    }

    #[test]
    fn a_name_whose_addresses_fail_is_asked_for_ahead_of_time() {
        let mut names = Names::default();
        let web = names.add("web", moment(0));
        names.hasten(web);
        assert_eq!((names.due_at(), names.take_due(moment(0))), (Some(moment(0)), Some(web)));
        names.hasten(web);
        assert_eq!(names.due_at(), None, "it is being asked for");
        names.on_answer(web, found(&["10.0.0.1"], 30), moment(200));
        names.hasten(web);
        names.hasten(web);
        assert_eq!(names.due_at(), Some(moment(1000)));
        let literal = names.add("10.0.0.1", moment(0));
        names.hasten(literal);
        assert_eq!(names.take_due(moment(999)), None);
    }

    proptest! {
        /// Names that answer after some time with this or that: each is asked for by one job at a time, 1 s to 30 s after the
        /// last answer, has the addresses of its last good answer, and every episode of failures has one line at each end.
        #[test]
        fn names_are_asked_for_in_time(answers in vec((0..3_usize, 0..40_000_u64, 0..60_u64, 0..4_u8), 1..200)) {
            let mut names = Names::default();
            let ids: Vec<NameId> = (0..3).map(|n| names.add(&format!("n{n}"), moment(0))).collect();
            let mut now = moment(0);
            let mut last: [Option<Moment>; 3] = [None; 3];
            let mut good: [Vec<IpAddr>; 3] = Default::default();
            let (mut in_flight, mut fails, mut lines) = ([false; 3], [false; 3], [0_u32; 3]);
            for (which, ms, ttl, kind) in answers {
                now = now + Duration::from_millis(ms);
                // Nobody is late by more than the step.
                while let Some(id) = names.take_due(now) {
                    prop_assert!(!std::mem::replace(&mut in_flight[id.0], true));
                    let waited = last[id.0].map(|last| now.since(last));
                    prop_assert!(waited.is_none_or(|waited| waited >= INTERVAL_MIN));
                    prop_assert!(waited.is_none_or(|waited| waited <= INTERVAL_MAX + Duration::from_millis(ms)));
                }
                prop_assert!(names.due_at().is_none_or(|at| at > now && at <= now + INTERVAL_MAX));
                if !std::mem::replace(&mut in_flight[which], false) {
                    continue;
                }
                let is_good = kind > 0;
                let answer = if is_good { found(&[&format!("10.0.0.{kind}")], ttl) } else { failed() };
                let addresses = answer.as_ref().map_or(good[which].clone(), |resolved| resolved.addresses.clone());
                let answered = names.on_answer(ids[which], answer, now);
                prop_assert_eq!(answered.has_changed, addresses != good[which]);
                prop_assert_eq!(answered.news.is_some(), is_good == fails[which]);
                lines[which] += u32::from(answered.news.is_some());
                (good[which], fails[which], last[which]) = (addresses, !is_good, Some(now));
                prop_assert_eq!(names.addresses(ids[which]), &good[which][..]);
                prop_assert_eq!(names.failing(ids[which]).is_some(), fails[which]);
                prop_assert_eq!(lines[which] % 2 == 1, fails[which]);
            }
        }
    }
}
