//! `/upstreams`: the groups of upstreams and how their addresses stand, as text for people and JSON for programs.

use std::fmt::Write;

use super::durations::{short, spread_object};
use crate::base::json::{Object, array};
use crate::observe::upstream::{AddressCounters, AddressStatus, Failure, GroupStatus, Proof, Standing};

/// A paragraph for each group, with some lines for each address.
pub fn text(groups: &[GroupStatus]) -> String {
    let mut out = String::new();
    write_text(&mut out, groups).expect("writing to a String cannot fail");
    out
}

fn write_text(out: &mut String, groups: &[GroupStatus]) -> std::fmt::Result {
    if groups.is_empty() {
        return writeln!(out, "no upstreams: nothing is proxied");
    }
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        write_group(out, group)?;
        group.addresses.iter().try_for_each(|address| write_address(out, group, address))?;
        for upstream in group.upstreams.iter().filter(|upstream| upstream.gone.requests > 0) {
            writeln!(out, "  {:<24} {}  addresses that are gone", "-", upstream.name)?;
            write_counters(out, &upstream.gone)?;
        }
    }
    Ok(())
}

fn write_group(out: &mut String, group: &GroupStatus) -> std::fmt::Result {
    let max = group.max.map_or("any number of".to_owned(), |max| format!("at most {max}"));
    let budget = &group.budget;
    let GroupStatus { name, balance, waiting, refused, idle, .. } = group;
    let requests = format!("{max} requests at each address, {waiting} waiting, {refused} refused");
    writeln!(out, "{name}  {balance}, {requests}, {idle} idle connections")?;
    for upstream in &group.upstreams {
        if let Some(why) = &upstream.unresolved {
            writeln!(out, "  {} cannot be resolved: {why}", upstream.name)?;
        }
    }
    writeln!(
        out,
        "  retries in the last 10 s: {} of {} that are allowed for {} requests; refused since the start: {}",
        budget.retries, budget.allowed, budget.requests, budget.refused
    )
}

fn write_address(out: &mut String, group: &GroupStatus, status: &AddressStatus) -> std::fmt::Result {
    let AddressStatus { address, active, failures_in_a_row, .. } = status;
    write!(out, "  {:<24} {}  {}", address.to_string(), upstream_name(group, status), status.standing.name())?;
    match status.standing {
        Standing::InService(100) | Standing::Probing | Standing::Down | Standing::Leaving => {}
        Standing::InService(percent) => write!(out, " at {percent} %")?,
        Standing::Out(left) if left.is_zero() => write!(out, ", the next request is a probe")?,
        Standing::Out(left) => write!(out, " for {}", short(left))?,
    }
    writeln!(out, ", {active} active")?;
    if let Some((why, ago)) = status.last_failure {
        let in_a_row = if *failures_in_a_row > 0 { format!(", {failures_in_a_row} in a row") } else { String::new() };
        writeln!(out, "    last failure {} ago: {why}{in_a_row}", short(ago))?;
    }
    write_counters(out, &status.counters)
}

fn write_counters(out: &mut String, counters: &AddressCounters) -> std::fmt::Result {
    let AddressCounters { requests, connections_made, connections_reused, ejections, .. } = counters;
    write!(out, "    requests {requests}, connections {connections_made} made and {connections_reused} reused")?;
    write_counts(out, "failures", Failure::NAMES, counters.failures)?;
    write_counts(out, "retries", Proof::ALL.map(Proof::name), counters.retries)?;
    writeln!(out, "{}", if *ejections > 0 { format!("; ejections {ejections}") } else { String::new() })?;
    for (name, times) in [("connect", counters.connect.spread()), ("first byte", counters.first_byte.spread())] {
        if times.count > 0 {
            let [p50, p99, max] = [times.p50, times.p99, times.max].map(short);
            writeln!(out, "    {name} p50 {p50}, p99 {p99}, max {max}")?;
        }
    }
    Ok(())
}

/// Those that are not 0.
fn write_counts<const N: usize>(out: &mut String, what: &str, names: [&str; N], counts: [u64; N]) -> std::fmt::Result {
    let counted = names.into_iter().zip(counts).filter(|(_, count)| *count > 0);
    let counted: Vec<String> = counted.map(|(name, count)| format!("{name} {count}")).collect();
    if counted.is_empty() { Ok(()) } else { write!(out, "; {what}: {}", counted.join(", ")) }
}

fn upstream_name<'a>(group: &'a GroupStatus, status: &AddressStatus) -> &'a str {
    group.upstreams.get(status.upstream).map_or("-", |upstream| &upstream.name)
}

/// All groups as an object.
pub fn json(groups: &[GroupStatus]) -> String {
    Object::new().raw("groups", array(groups.iter().map(group_object))).finish()
}

fn group_object(group: &GroupStatus) -> String {
    let budget = &group.budget;
    let retries = Object::new()
        .number("requests", budget.requests)
        .number("retries", budget.retries)
        .number("allowed", budget.allowed)
        .number("refused", budget.refused);
    let unresolved =
        group.upstreams.iter().filter_map(|upstream| Some((&upstream.name, upstream.unresolved.as_ref()?)));
    let unresolved = unresolved.fold(Object::new(), |object, (name, why)| object.text(name, why));
    let gone = group.upstreams.iter().filter(|upstream| upstream.gone.requests > 0);
    let gone = gone.map(|upstream| counters(Object::new().text("upstream", &upstream.name), &upstream.gone).finish());
    Object::new()
        .text("name", &group.name)
        .text("balance", group.balance)
        .raw("max", group.max.map_or("null".to_owned(), |max| max.to_string()))
        .raw("waiting", group.waiting)
        .raw("refused", group.refused)
        .raw("idle_connections", group.idle)
        .raw("unresolved", unresolved.finish())
        .raw("retry_budget", retries.finish())
        .raw("addresses", array(group.addresses.iter().map(|status| address_object(group, status))))
        .raw("gone", array(gone))
        .finish()
}

fn address_object(group: &GroupStatus, status: &AddressStatus) -> String {
    let object = Object::new()
        .text("address", &status.address.to_string())
        .text("upstream", upstream_name(group, status))
        .text("standing", status.standing.name());
    let object = match status.standing {
        Standing::InService(percent) => object.raw("share_percent", percent),
        Standing::Out(left) => object.raw("left_ms", left.as_millis()),
        Standing::Probing | Standing::Down | Standing::Leaving => object,
    };
    let object = object.raw("active", status.active).raw("failures_in_a_row", status.failures_in_a_row);
    let object = match status.last_failure {
        Some((why, ago)) => {
            let failure = Object::new().text("why", &why.to_string()).raw("ago_ms", ago.as_millis());
            object.raw("last_failure", failure.finish())
        }
        None => object,
    };
    counters(object, &status.counters).finish()
}

fn counters(object: Object, counters: &AddressCounters) -> Object {
    object
        .number("requests", counters.requests)
        .number("connections_made", counters.connections_made)
        .number("connections_reused", counters.connections_reused)
        .raw("failures", counts(Failure::NAMES, counters.failures))
        .raw("retries", counts(Proof::ALL.map(Proof::name), counters.retries))
        .number("ejections", counters.ejections)
        .raw("connect", spread_object(&counters.connect.spread()))
        .raw("first_byte", spread_object(&counters.first_byte.spread()))
}

/// Those that are not 0, by name.
fn counts<const N: usize>(names: [&str; N], counts: [u64; N]) -> String {
    let counted = names.into_iter().zip(counts).filter(|(_, count)| *count > 0);
    counted.fold(Object::new(), |object, (name, count)| object.number(name, count)).finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::moment::Moment;
    use crate::observe::report::{KernelReport, Metrics};
    use crate::observe::upstream::BudgetStatus;
    use crate::service::proxy::group::{Choice, Group, GroupSettings};
    use crate::service::proxy::metrics::families;
    use crate::service::status::metrics;

    /// Two addresses, of which one is out, and one that is gone.
    fn groups() -> Vec<GroupStatus> {
        let now = Moment::from_millis(60_000);
        let settings = GroupSettings { max: Some(9), ..GroupSettings::default() };
        let mut group = Group::new("/\"api\"/".into(), vec!["a.example:80".into()], settings);
        let addresses = ["10.0.0.1:80", "10.0.0.2:80", "[2001:db8::3]:80"].map(|text| text.parse().unwrap());
        group.set_addresses(0, &addresses, now);
        for turn in 0..9 {
            let Choice::Address(assignment) = group.choose(None, None, now) else { panic!("there are three") };
            let counters = group.counters_mut(assignment.id).unwrap();
            counters.connections_made += 1;
            counters.connect.record(Duration::from_micros(8));
            if assignment.address == addresses[1] {
                counters.count_retry(Proof::ConnectRefused);
                group.on_failure(&assignment, Failure::Refused, now);
            } else {
                counters.first_byte.record(Duration::from_millis(2));
                group.on_success(&assignment, now);
            }
            if turn != 0 {
                group.on_end(assignment);
            }
        }
        group.set_addresses(0, &addresses[..2], now);
        let budget = BudgetStatus { requests: 9, retries: 3, allowed: 30, refused: 1 };
        let mut status = group.status(4, budget, now + Duration::from_millis(2500));
        (status.idle, status.refused) = (2, 5);
        status.upstreams[0].unresolved = Some("no such name: \"a.example\"".into());
        vec![status]
    }

    #[test]
    fn text_has_some_lines_for_each_address() {
        let expected = "\
/\"api\"/  round-robin, at most 9 requests at each address, 4 waiting, 5 refused, 2 idle connections
  a.example:80 cannot be resolved: no such name: \"a.example\"
  retries in the last 10 s: 3 of 30 that are allowed for 9 requests; refused since the start: 1
  10.0.0.1:80              a.example:80  in-service, 1 active
    requests 3, connections 3 made and 0 reused
    connect p50 8.0µs, p99 8.0µs, max 8.0µs
    first byte p50 2.0ms, p99 2.0ms, max 2.0ms
  10.0.0.2:80              a.example:80  out for 7.5s, 0 active
    last failure 2.5s ago: connection refused
    requests 3, connections 3 made and 0 reused; failures: refused 3; retries: connect-refused 3; ejections 1
    connect p50 8.0µs, p99 8.0µs, max 8.0µs
  -                        a.example:80  addresses that are gone
    requests 3, connections 3 made and 0 reused
    connect p50 8.0µs, p99 8.0µs, max 8.0µs
    first byte p50 2.0ms, p99 2.0ms, max 2.0ms
";
        assert_eq!(text(&groups()), expected);
        assert_eq!(text(&[]), "no upstreams: nothing is proxied\n");
    }

    #[test]
    fn json_says_the_same() {
        let object: serde_json::Value = serde_json::from_str(&json(&groups())).unwrap();
        let group = &object["groups"][0];
        assert_eq!((&group["name"], &group["max"], &group["waiting"]), (&"/\"api\"/".into(), &9.into(), &4.into()));
        let unresolved = serde_json::json!({"a.example:80": "no such name: \"a.example\""});
        assert_eq!(group["refused"], 5);
        assert_eq!((&group["idle_connections"], &group["unresolved"]), (&2.into(), &unresolved));
        let budget = serde_json::json!({"requests": 9, "retries": 3, "allowed": 30, "refused": 1});
        assert_eq!(group["retry_budget"], budget);
        let [first, second] = [0, 1].map(|index| &group["addresses"][index]);
        assert_eq!((&first["share_percent"], &first["active"]), (&100.into(), &1.into()));
        assert_eq!((&second["standing"], &second["left_ms"]), (&"out".into(), &7500.into()));
        assert_eq!(second["last_failure"], serde_json::json!({"why": "connection refused", "ago_ms": 2500}));
        assert_eq!(second["failures"], serde_json::json!({"refused": 3}));
        assert_eq!(second["retries"], serde_json::json!({"connect-refused": 3}));
        assert_eq!((&second["connect"]["count"], &second["first_byte"]["count"]), (&3.into(), &0.into()));
        assert_eq!((&group["gone"][0]["requests"], &group["gone"][1]), (&3.into(), &serde_json::Value::Null));
        assert_eq!(json(&[]), r#"{"groups":[]}"#);
    }

    #[test]
    fn metrics_have_a_sample_for_each_address_and_one_for_those_that_are_gone() {
        let metrics = Metrics { families: families(&groups()), queues: Vec::new() };
        let text = metrics::text(&metrics, &KernelReport::default());
        let of = |address: &str| format!(r#"{{group="/\"api\"/",upstream="a.example:80",address="{address}""#);
        let (first, second, gone) = (of("10.0.0.1:80"), of("10.0.0.2:80"), of("gone"));
        for line in [
            "# TYPE tidemill_upstream_requests_total counter".to_owned(),
            format!("tidemill_upstream_active_requests{first}}} 1"),
            format!("tidemill_upstream_standing{second},standing=\"out\"}} 1"),
            format!("tidemill_upstream_share_ratio{first}}} 1"),
            format!("tidemill_upstream_share_ratio{second}}} 0"),
            format!("tidemill_upstream_requests_total{gone}}} 3"),
            format!("tidemill_upstream_connections_total{first},use=\"new\"}} 3"),
            format!("tidemill_upstream_failures_total{second},reason=\"refused\"}} 3"),
            format!("tidemill_upstream_retries_total{second},proof=\"connect-refused\"}} 3"),
            format!("tidemill_upstream_ejections_total{second}}} 1"),
            "# TYPE tidemill_upstream_connect_duration_seconds histogram".to_owned(),
            format!("tidemill_upstream_connect_duration_seconds_bucket{first},le=\"0.00001\"}} 3"),
            format!("tidemill_upstream_first_byte_duration_seconds_sum{gone}}} 0.006"),
            format!("tidemill_upstream_first_byte_duration_seconds_count{second}}} 0"),
            r#"tidemill_upstream_waiting_requests{group="/\"api\"/"} 4"#.to_owned(),
            r#"tidemill_upstream_idle_connections{group="/\"api\"/"} 2"#.to_owned(),
            r#"tidemill_upstream_retries_over_budget_total{group="/\"api\"/"} 1"#.to_owned(),
        ] {
            assert_eq!(text.lines().filter(|other| *other == line).count(), 1, "{line}\n{text}");
        }
        assert!(!text.contains("reason=\"tls\"") && !text.contains("2001:db8"), "{text}");
    }
}
