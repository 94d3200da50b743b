//! Metrics as text (Prometheus text exposition format 0.0.4).

use std::fmt::{self, Write};

use super::accept_queues;
use crate::observe::report::{Buckets, Family, KernelReport, Kind, Metrics, Samples};

/// The media type that Prometheus asks for.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All families, each with its help and type.
pub fn text(metrics: &Metrics, kernel: &KernelReport) -> String {
    let mut out = String::new();
    for family in metrics.families.iter().chain(&accept_queues::families(&metrics.queues, kernel)) {
        write_family(&mut out, family).expect("writing to a String cannot fail");
    }
    out
}

fn write_family(out: &mut String, family: &Family) -> std::fmt::Result {
    let name = family.name;
    let kind = match family.samples {
        Samples::Counter(..) | Samples::Labelled(Kind::Counter, _) => "counter",
        Samples::Gauge(..) | Samples::Labelled(Kind::Gauge, _) => "gauge",
        Samples::Histogram(..) | Samples::LabelledHistogram(_) => "histogram",
    };
    writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", family.help)?;
    match &family.samples {
        Samples::Counter(label, samples) | Samples::Gauge(label, samples) => samples
            .iter()
            .try_for_each(|(value, number)| writeln!(out, "{name}{} {number}", braced(&label.map(|own| (own, value))))),
        Samples::Labelled(_, samples) => {
            samples.iter().try_for_each(|(labels, number)| writeln!(out, "{name}{} {number}", braced(labels)))
        }
        Samples::Histogram(label, samples) => samples.iter().try_for_each(|(value, buckets)| {
            write_buckets(out, name, &joined(&label.map(|own| (own, value))), buckets)
        }),
        Samples::LabelledHistogram(samples) => {
            samples.iter().try_for_each(|(labels, buckets)| write_buckets(out, name, &joined(labels), buckets))
        }
    }
}

fn write_buckets(out: &mut String, name: &str, own: &str, buckets: &Buckets) -> std::fmt::Result {
    let comma = if own.is_empty() { "" } else { "," };
    for (bound, count) in &buckets.up_to {
        writeln!(out, "{name}_bucket{{{own}{comma}le=\"{bound}\"}} {count}")?;
    }
    writeln!(out, "{name}_bucket{{{own}{comma}le=\"+Inf\"}} {}", buckets.count)?;
    let own = if own.is_empty() { String::new() } else { format!("{{{own}}}") };
    writeln!(out, "{name}_sum{own} {}\n{name}_count{own} {}", buckets.sum, buckets.count)
}

/// Labels in braces; nothing if there are none.
fn braced<'a, V: AsRef<str> + 'a>(labels: impl IntoIterator<Item = &'a (&'static str, V)>) -> String {
    match joined(labels) {
        none if none.is_empty() => none,
        labels => format!("{{{labels}}}"),
    }
}

fn joined<'a, V: AsRef<str> + 'a>(labels: impl IntoIterator<Item = &'a (&'static str, V)>) -> String {
    let pairs = labels.into_iter().map(|(label, value)| format!("{label}=\"{}\"", Escaped(value.as_ref())));
    pairs.collect::<Vec<_>>().join(",")
}

/// A label's value that is no name of ours: the format wants these three escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            _ => f.write_char(character),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_the_format_says() {
        let buckets = Buckets { up_to: vec![(0.001, 2), (0.5, 3)], count: 4, sum: 1.25 };
        let short = Buckets { up_to: vec![(0.001, 2)], count: 4, sum: 1.25 };
        let families = [
            Family {
                name: "tidemill_requests_total",
                help: "Requests.",
                samples: Samples::Counter(Some("class"), vec![("2xx", 7.0), ("4xx", 0.0)]),
            },
            Family { name: "tidemill_up", help: "Up.", samples: Samples::Gauge(None, vec![("", 1.0)]) },
            Family {
                name: "tidemill_l",
                help: "L.",
                samples: Samples::Labelled(
                    Kind::Gauge,
                    vec![(vec![("file", "a\\b\"c\nd".into()), ("is", "ü".into())], 1_700_000_000.0)],
                ),
            },
            Family {
                name: "tidemill_t_seconds",
                help: "T.",
                samples: Samples::Histogram(Some("phase"), vec![("run", buckets)]),
            },
            Family {
                name: "tidemill_b_seconds",
                help: "B.",
                samples: Samples::Histogram(None, vec![("", short.clone())]),
            },
            Family {
                name: "tidemill_u_seconds",
                help: "U.",
                samples: Samples::LabelledHistogram(vec![(vec![("a", "\"1\"".into()), ("b", "2".into())], short)]),
            },
        ];
        let expected = "\
# HELP tidemill_requests_total Requests.
# TYPE tidemill_requests_total counter
tidemill_requests_total{class=\"2xx\"} 7
tidemill_requests_total{class=\"4xx\"} 0
# HELP tidemill_up Up.
# TYPE tidemill_up gauge
tidemill_up 1
# HELP tidemill_l L.
# TYPE tidemill_l gauge
tidemill_l{file=\"a\\\\b\\\"c\\nd\",is=\"ü\"} 1700000000
# HELP tidemill_t_seconds T.
# TYPE tidemill_t_seconds histogram
tidemill_t_seconds_bucket{phase=\"run\",le=\"0.001\"} 2
tidemill_t_seconds_bucket{phase=\"run\",le=\"0.5\"} 3
tidemill_t_seconds_bucket{phase=\"run\",le=\"+Inf\"} 4
tidemill_t_seconds_sum{phase=\"run\"} 1.25
tidemill_t_seconds_count{phase=\"run\"} 4
# HELP tidemill_b_seconds B.
# TYPE tidemill_b_seconds histogram
tidemill_b_seconds_bucket{le=\"0.001\"} 2
tidemill_b_seconds_bucket{le=\"+Inf\"} 4
tidemill_b_seconds_sum 1.25
tidemill_b_seconds_count 4
# HELP tidemill_u_seconds U.
# TYPE tidemill_u_seconds histogram
tidemill_u_seconds_bucket{a=\"\\\"1\\\"\",b=\"2\",le=\"0.001\"} 2
tidemill_u_seconds_bucket{a=\"\\\"1\\\"\",b=\"2\",le=\"+Inf\"} 4
tidemill_u_seconds_sum{a=\"\\\"1\\\"\",b=\"2\"} 1.25
tidemill_u_seconds_count{a=\"\\\"1\\\"\",b=\"2\"} 4
";
        let metrics = Metrics { families: families.into(), queues: Vec::new() };
        let text = text(&metrics, &KernelReport::default());
        assert!(text.starts_with(expected), "{text}");
    }
}
