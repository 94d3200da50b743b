//! What is wrong with the servers that requests are passed on to.

use super::Severity::{Alarm, Warning};
use super::{Finding, counted};
use crate::observe::report::Overview;
use crate::observe::upstream::{AddressStatus, GroupStatus, Standing};
use crate::service::status::durations::short;

/// So many addresses are named in one finding.
const NAMED: usize = 3;

/// Those of each group that get no requests, or that nobody finds, and requests that wait for them.
pub(super) fn examine(overview: &Overview, findings: &mut Vec<Finding>) {
    for group in &overview.upstreams {
        findings.extend(out_of_service(group));
        findings.extend(unresolved(group));
        findings.extend(waiting(group));
    }
}

fn out_of_service(group: &GroupStatus) -> Option<Finding> {
    let listed = group.addresses.iter().filter(|address| address.standing != Standing::Leaving);
    let (good, bad): (Vec<_>, Vec<_>) = listed.partition(|address| matches!(address.standing, Standing::InService(_)));
    if bad.is_empty() {
        return None;
    }
    let mut named: Vec<String> = bad.iter().take(NAMED).map(|address| standing(address)).collect();
    if bad.len() > NAMED {
        named.push("others".into());
    }
    let (out, all, named) = (bad.len(), good.len() + bad.len(), named.join(", "));
    let text = format!("upstreams of {} out of service: {out} of {all}: {named}", group.name);
    let finding = Finding::new(if good.is_empty() { Alarm } else { Warning }, "upstream-out", text);
    Some(finding.advice("/upstreams says what has failed there"))
}

/// `10.0.0.2:80 (out for 7.5s: connection refused)`.
fn standing(status: &AddressStatus) -> String {
    let standing = match status.standing {
        Standing::Out(left) if !left.is_zero() => format!("out for {}", short(left)),
        standing => standing.name().to_owned(),
    };
    let why = status.last_failure.map_or(String::new(), |(why, _)| format!(": {why}"));
    format!("{} ({standing}{why})", status.address)
}

fn unresolved(group: &GroupStatus) -> Option<Finding> {
    let upstream = group.upstreams.iter().find(|upstream| upstream.unresolved.is_some())?;
    let why = upstream.unresolved.as_deref().unwrap_or_default();
    let text = format!("{} of {} cannot be resolved: {why}", upstream.name, group.name);
    Some(match group.addresses.is_empty() {
        true => Finding::new(Alarm, "upstream-name", format!("{text}; it has no address")),
        false => Finding::new(Warning, "upstream-name", text),
    })
}

fn waiting(group: &GroupStatus) -> Option<Finding> {
    let requests = counted(group.waiting as u64, "request");
    let text = format!("{requests} for {} held back until an upstream has room", group.name);
    let finding = Finding::new(Warning, "upstream-queue", text);
    (group.waiting > 0).then(|| match group.max {
        Some(max) => finding.advice(format!("raise max={max} of the route, or give it more upstreams")),
        None => finding,
    })
}
