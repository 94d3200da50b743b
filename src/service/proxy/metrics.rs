//! What is counted at upstreams, as families of metrics. What nobody has run into has no sample.
//!
//! The labels are the group, the upstream and the address. Addresses that are gone are counted together, as `gone`: the
//! numbers of an upstream never become smaller, and names that lead to ever new addresses do not make ever more samples.

use crate::observe::histogram::Histogram;
use crate::observe::report::{Buckets, Family, Kind, Samples};
use crate::observe::upstream::{AddressCounters, Failure, GroupStatus, Proof, Standing};

type Labels = Vec<(&'static str, String)>;

/// The families of all groups.
pub fn families(groups: &[GroupStatus]) -> Vec<Family> {
    [address_families(groups), counter_families(groups), group_families(groups)].into_iter().flatten().collect()
}

/// How the addresses stand.
fn address_families(groups: &[GroupStatus]) -> Vec<Family> {
    let addresses = || groups.iter().flat_map(|group| group.addresses.iter().map(move |address| (group, address)));
    let labels = |group: &GroupStatus, upstream, address: String| address_labels(group, upstream, address);
    let active = addresses()
        .map(|(group, status)| (labels(group, status.upstream, status.address.to_string()), f64::from(status.active)));
    let standing = addresses().map(|(group, status)| {
        let mut labels = labels(group, status.upstream, status.address.to_string());
        labels.push(("standing", status.standing.name().to_owned()));
        (labels, 1.0)
    });
    let share = addresses().map(|(group, status)| {
        let share = if let Standing::InService(percent) = status.standing { f64::from(percent) / 100.0 } else { 0.0 };
        (labels(group, status.upstream, status.address.to_string()), share)
    });
    vec![
        labelled("tidemill_upstream_active_requests", "Requests at an upstream's address.", Kind::Gauge, active),
        labelled("tidemill_upstream_standing", "How an address stands; always 1.", Kind::Gauge, standing),
        labelled(
            "tidemill_upstream_share_ratio",
            "The share of an address in requests, of that of an address which has long been in service.",
            Kind::Gauge,
            share,
        ),
    ]
}

/// What was counted at addresses, gone ones included.
fn counter_families(groups: &[GroupStatus]) -> Vec<Family> {
    let all: Vec<(Labels, &AddressCounters)> = groups.iter().flat_map(counted).collect();
    let single = |number: fn(&AddressCounters) -> u64| {
        all.iter().map(move |(labels, counters)| (labels.clone(), number(counters) as f64))
    };
    let failures = all.iter().flat_map(|(labels, counters)| each(labels, "reason", Failure::NAMES, counters.failures));
    let proofs = Proof::ALL.map(Proof::name);
    let retries = all.iter().flat_map(|(labels, counters)| each(labels, "proof", proofs, counters.retries));
    let connections = all.iter().flat_map(|(labels, counters)| {
        let counts = [counters.connections_made, counters.connections_reused];
        each(labels, "use", ["new", "reused"], counts)
    });
    let times = |name, help, time: fn(&AddressCounters) -> &Histogram| {
        let samples = all.iter().map(|(labels, counters)| (labels.clone(), Buckets::of(time(counters))));
        Family { name, help, samples: Samples::LabelledHistogram(samples.collect()) }
    };
    vec![
        labelled(
            "tidemill_upstream_requests_total",
            "Requests given to an address; one that is sent again counts again.",
            Kind::Counter,
            single(|counters| counters.requests),
        ),
        labelled(
            "tidemill_upstream_connections_total",
            "Connections that requests have got at an address, new and reused.",
            Kind::Counter,
            connections,
        ),
        labelled("tidemill_upstream_failures_total", "Failures of an address, by kind.", Kind::Counter, failures),
        labelled(
            "tidemill_upstream_retries_total",
            "Requests that failed at an address and were sent again, by the proof that this was safe.",
            Kind::Counter,
            retries,
        ),
        labelled(
            "tidemill_upstream_ejections_total",
            "How often an address was ejected.",
            Kind::Counter,
            single(|counters| counters.ejections),
        ),
        times(
            "tidemill_upstream_connect_duration_seconds",
            "From asking for a connection until it is there, without TLS.",
            |counters| &counters.connect,
        ),
        times(
            "tidemill_upstream_first_byte_duration_seconds",
            "From the last byte of a request to the first of its response.",
            |counters| &counters.first_byte,
        ),
    ]
}

/// What there is one of in each group.
fn group_families(groups: &[GroupStatus]) -> Vec<Family> {
    let family = |name, help, kind, number: fn(&GroupStatus) -> u64| {
        let samples = groups.iter().map(|group| (vec![("group", group.name.clone())], number(group) as f64));
        labelled(name, help, kind, samples)
    };
    vec![
        family(
            "tidemill_upstream_waiting_requests",
            "Requests that wait until an address has room.",
            Kind::Gauge,
            |group| group.waiting as u64,
        ),
        family(
            "tidemill_upstream_refused_requests_total",
            "Requests that got no address, because none was known or none had room in time.",
            Kind::Counter,
            |group| group.refused,
        ),
        family(
            "tidemill_upstream_idle_connections",
            "Connections to upstreams that wait for a request.",
            Kind::Gauge,
            |group| group.idle as u64,
        ),
        family(
            "tidemill_upstream_retries_over_budget_total",
            "Requests that were not sent again, because too many others were.",
            Kind::Counter,
            |group| group.budget.refused,
        ),
    ]
}

/// The counters of all addresses of a group, and of those that are gone if there were any.
fn counted(group: &GroupStatus) -> impl Iterator<Item = (Labels, &AddressCounters)> {
    let present = group
        .addresses
        .iter()
        .map(|status| (address_labels(group, status.upstream, status.address.to_string()), &status.counters));
    let gone = group.upstreams.iter().enumerate().filter(|(_, upstream)| upstream.gone.requests > 0);
    present.chain(gone.map(|(index, upstream)| (address_labels(group, index, "gone".to_owned()), &upstream.gone)))
}

fn address_labels(group: &GroupStatus, upstream: usize, address: String) -> Labels {
    let name = group.upstreams.get(upstream).map_or_else(String::new, |upstream| upstream.name.clone());
    vec![("group", group.name.clone()), ("upstream", name), ("address", address)]
}

/// The counts that are not 0, each with one more label.
fn each<const N: usize>(
    labels: &Labels,
    label: &'static str,
    names: [&'static str; N],
    counts: [u64; N],
) -> impl Iterator<Item = (Labels, f64)> {
    let counted = names.into_iter().zip(counts).filter(|(_, count)| *count > 0);
    counted.map(move |(name, count)| {
        let own = labels.iter().cloned().chain([(label, name.to_owned())]);
        (own.collect(), count as f64)
    })
}

fn labelled(
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: impl Iterator<Item = (Labels, f64)>,
) -> Family {
    Family { name, help, samples: Samples::Labelled(kind, samples.collect()) }
}
