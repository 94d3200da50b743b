//! The accept queues in `/loop`, `/events` and `/metrics`: what the loop has seen of them, and what the kernel says just now.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use super::connections::delay_object;
use super::durations::short;
use crate::base::accept_queue::{AcceptQueue, ListenCounters};
use crate::base::json::{Object, array};
use crate::observe::accept_queue::{HighWater, QueueStatus};
use crate::observe::access_log::time_text::{of_day, rfc3339};
use crate::observe::report::{Family, KernelReport, Kind, Samples};

/// Each listener's queue, with what the kernel says of it just now.
fn queues<'a>(
    statuses: &'a [QueueStatus],
    kernel: &KernelReport,
) -> impl Iterator<Item = (&'a QueueStatus, Option<AcceptQueue>)> {
    statuses.iter().map(|status| (status, kernel.queues.get(&status.listener).copied()))
}

/// How many packets were dropped, as the kernel says or else as the loop knows; `None` if that is not known.
fn drops(status: &QueueStatus, queue: Option<AcceptQueue>) -> Option<u32> {
    queue.map_or(status.drops, |queue| queue.drops)
}

/// Two lines for each listener, and one for all of the network namespace.
pub(super) fn write_text(out: &mut String, statuses: &[QueueStatus], kernel: &KernelReport) -> std::fmt::Result {
    if let Some(missing) = &kernel.missing {
        writeln!(out, "\naccept queues: not known: {missing}")?;
    }
    queues(statuses, kernel).try_for_each(|(status, queue)| write_queue(out, status, queue))?;
    match kernel.listen {
        Some(ListenCounters { overflows, drops }) => {
            writeln!(out, "\nall listeners of this network namespace: {overflows} overflows, {drops} drops")
        }
        None => writeln!(out, "\nall listeners of this network namespace: overflows not known"),
    }
}

fn write_queue(out: &mut String, status: &QueueStatus, queue: Option<AcceptQueue>) -> std::fmt::Result {
    write!(out, "\naccept queue of {}: ", status.address)?;
    match queue {
        Some(AcceptQueue { depth, limit, .. }) => write!(out, "{depth} of {limit}, ")?,
        None => write!(out, "not known, ")?,
    }
    match drops(status, queue) {
        Some(drops) => writeln!(out, "{drops} dropped")?,
        None => writeln!(out, "drops not known")?,
    }
    let Some(HighWater { depth, at, behind }) = &status.high_water else { return Ok(()) };
    write!(out, "  at most {depth}, at {}", of_day(*at))?;
    match behind.as_deref() {
        Some(delay) => writeln!(out, ", behind {} c={} {}", short(delay.took), delay.connection, delay.request),
        None => writeln!(out),
    }
}

/// The queues as an array.
pub(super) fn json(statuses: &[QueueStatus], kernel: &KernelReport) -> String {
    array(queues(statuses, kernel).map(|(status, queue)| queue_object(status, queue)))
}

/// The counters of the network namespace as a member of `object`, if they are known.
pub(super) fn with_counters(object: Object, kernel: &KernelReport) -> Object {
    let Some(ListenCounters { overflows, drops }) = kernel.listen else { return object };
    object.raw("listen", Object::new().number("overflows", overflows).number("drops", drops).finish())
}

fn queue_object(status: &QueueStatus, queue: Option<AcceptQueue>) -> String {
    let mut object = Object::new().text("address", &status.address);
    if let Some(AcceptQueue { depth, limit, .. }) = queue {
        object = object.raw("depth", depth).raw("limit", limit);
    }
    if let Some(drops) = drops(status, queue) {
        object = object.raw("drops", drops);
    }
    if let Some(at) = status.dropped_at {
        object = object.text("dropped_at", &rfc3339(at));
    }
    if let Some(most) = &status.high_water {
        object = object.raw("high_water", high_water_object(most));
    }
    object.finish()
}

fn high_water_object(most: &HighWater) -> String {
    let object = Object::new().raw("depth", most.depth).text("at", &rfc3339(most.at));
    match most.behind.as_deref() {
        Some(delay) => object.raw("behind", delay_object(delay)),
        None => object,
    }
    .finish()
}

/// The families of metrics. What is not known has no sample.
pub(super) fn families(statuses: &[QueueStatus], kernel: &KernelReport) -> Vec<Family> {
    let family = |name, help, kind, number: &dyn Fn(&QueueStatus, Option<AcceptQueue>) -> Option<f64>| {
        let samples = queues(statuses, kernel)
            .filter_map(|(status, queue)| Some((vec![("listener", status.address.clone())], number(status, queue)?)));
        Family { name, help, samples: Samples::Labelled(kind, samples.collect()) }
    };
    let most = |status: &QueueStatus| status.high_water.as_ref().map_or(0, |most| most.depth);
    let most_at = |status: &QueueStatus| {
        let since_1970 = status.high_water.as_ref()?.at.duration_since(UNIX_EPOCH).ok()?;
        Some(since_1970.as_secs_f64())
    };
    let counter = |name, help, number: fn(ListenCounters) -> u64| {
        let numbers = kernel.listen.map(|listen| ("", number(listen) as f64));
        Family { name, help, samples: Samples::Counter(None, numbers.into_iter().collect()) }
    };
    vec![
        family(
            "tidemill_accept_queue_connections",
            "Connections that nobody has accepted yet.",
            Kind::Gauge,
            &|_, queue| Some(queue?.depth.into()),
        ),
        family(
            "tidemill_accept_queue_limit",
            "The backlog as the kernel cut it; there is room for one connection more.",
            Kind::Gauge,
            &|status, queue| Some(queue.map(|queue| queue.limit).or(status.limit)?.into()),
        ),
        family(
            "tidemill_accept_queue_max_connections",
            "The most connections that were seen waiting to be accepted.",
            Kind::Gauge,
            &|status, _| Some(most(status).into()),
        ),
        family(
            "tidemill_accept_queue_max_timestamp_seconds",
            "When they were seen, in seconds since 1970.",
            Kind::Gauge,
            &|status, _| most_at(status),
        ),
        family(
            "tidemill_accept_queue_drops_total",
            "Packets of clients that wanted to connect, dropped by the kernel.",
            Kind::Counter,
            &|status, queue| Some(drops(status, queue)?.into()),
        ),
        counter(
            "tidemill_listen_overflows_total",
            "Packets dropped because an accept queue was full, of all listeners of this network namespace.",
            |listen| listen.overflows,
        ),
        counter(
            "tidemill_listen_drops_total",
            "Packets dropped by listeners, of all listeners of this network namespace.",
            |listen| listen.drops,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::base::listener_id::ListenerId;
    use crate::observe::delay::Delay;

    /// A queue that has overflown while the loop was busy, one of which the kernel does not count the drops, and one of which
    /// nothing is known.
    fn statuses() -> Vec<QueueStatus> {
        let behind = Delay { took: Duration::from_millis(250), connection: 3, request: "POST /users".into() };
        let at = UNIX_EPOCH + Duration::from_millis(3_723_250);
        let high_water = |depth, behind| Some(HighWater { depth, at, behind });
        let status = |number, address: &str| QueueStatus {
            listener: ListenerId::new(number),
            address: address.into(),
            ..QueueStatus::default()
        };
        vec![
            QueueStatus {
                limit: Some(16),
                high_water: high_water(17, Some(Rc::new(behind))),
                drops: Some(5),
                dropped_at: Some(at),
                ..status(0, "127.0.0.1:80")
            },
            QueueStatus { limit: Some(16), high_water: high_water(2, None), ..status(2, "unix:/a\"b") },
            status(5, "[::1]:80"),
        ]
    }

    fn kernel() -> KernelReport {
        let queue = |number, depth, drops| (ListenerId::new(number), AcceptQueue { depth, limit: 16, drops });
        let listen = Some(ListenCounters { overflows: 8, drops: 9 });
        KernelReport { queues: [queue(0, 1, Some(7)), queue(2, 0, None)].into(), listen, ..KernelReport::default() }
    }

    fn text(kernel: &KernelReport) -> String {
        let mut out = String::new();
        write_text(&mut out, &statuses(), kernel).unwrap();
        out
    }

    #[test]
    fn text_shows_what_is_known_and_says_what_is_not() {
        let expected = "
accept queue of 127.0.0.1:80: 1 of 16, 7 dropped
  at most 17, at 01:02:03.250, behind 250.0ms c=3 POST /users

accept queue of unix:/a\"b: 0 of 16, drops not known
  at most 2, at 01:02:03.250

accept queue of [::1]:80: not known, drops not known

all listeners of this network namespace: 8 overflows, 9 drops
";
        assert_eq!(text(&kernel()), expected);
        let missing = KernelReport { missing: Some("busy".into()), ..KernelReport::default() };
        let text = text(&missing);
        assert!(
            text.starts_with(
                "\naccept queues: not known: busy\n\naccept queue of 127.0.0.1:80: not known, 5 dropped\n"
            )
        );
        assert!(text.ends_with("namespace: overflows not known\n"), "{text}");
    }

    #[test]
    fn json_has_no_member_for_what_is_not_known() {
        let expected = r#"[{"address":"127.0.0.1:80","depth":1,"limit":16,"drops":7,"dropped_at":"1970-01-01T01:02:03.250Z","high_water":{"depth":17,"at":"1970-01-01T01:02:03.250Z","behind":{"ms":250,"connection":3,"request":"POST /users"}}},{"address":"unix:/a\"b","depth":0,"limit":16,"high_water":{"depth":2,"at":"1970-01-01T01:02:03.250Z"}},{"address":"[::1]:80"}]"#;
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let json = json(&statuses(), &kernel());
        assert_eq!(value(&json), value(expected), "{json}");
    }

    #[test]
    fn metrics_have_no_sample_for_what_is_not_known() {
        let count = |kernel: &KernelReport| {
            families(&statuses(), kernel).into_iter().map(|family| match family.samples {
                Samples::Labelled(_, samples) => samples.len(),
                Samples::Counter(_, samples) => samples.len(),
                other => panic!("{other:?}"),
            })
        };
        assert!(count(&kernel()).eq([2, 2, 3, 2, 1, 1, 1]));
        assert!(count(&KernelReport::default()).eq([0, 2, 3, 2, 1, 0, 0]));
    }
}
