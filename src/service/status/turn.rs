//! `/loop`: where the loop's time goes.

use std::fmt::Write;
use std::time::Duration;

use super::accept_queues;
use super::durations::{short, spread_object};
use super::jobs::{self, write_jobs};
use crate::base::json::{Object, array};
use crate::base::moment::Moment;
use crate::observe::histogram::Spread;
use crate::observe::report::{KernelReport, LongestDrive, LoopStatus};

/// If a drive was off the CPU for so long or longer, the text says so; less is normal.
const OFF_CPU_SHOWN: Duration = Duration::from_millis(1);

/// A table, and the longest drives.
pub fn text(turn: &LoopStatus, kernel: &KernelReport) -> String {
    let mut out = String::new();
    write_text(&mut out, turn, kernel).expect("writing to a String cannot fail");
    out
}

fn write_text(out: &mut String, turn: &LoopStatus, kernel: &KernelReport) -> std::fmt::Result {
    writeln!(
        out,
        "up {}, {} turns, {} events, at most {} in a turn\n",
        short(uptime(turn)),
        turn.turns.count,
        turn.events,
        turn.events_max
    )?;
    writeln!(out, "{:10}{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}", "", "count", "total", "p50", "p99", "p99.9", "max")?;
    let rows = [("turn", &turn.turns), ("drive", &turn.drives), ("lag", &turn.lag)];
    for (name, spread) in turn.phases.iter().map(|(name, spread)| (*name, spread)).chain(rows) {
        writeln!(out, "{name:10}{}", row(spread))?;
    }
    accept_queues::write_text(out, &turn.queues, kernel)?;
    write_jobs(out, &turn.jobs)?;
    let calls: Vec<String> = turn.syscalls.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    writeln!(out, "\nsystem calls: {}", calls.join(", "))?;
    writeln!(out, "\nthe longest drive of each second:")?;
    turn.longest.iter().rev().try_for_each(|drive| {
        let ago = turn.now.since(drive.at).as_secs();
        write!(out, "  {ago:>4} s ago {:>10} c={} {}", short(drive.took), drive.connection, drive.request)?;
        if drive.off_cpu >= OFF_CPU_SHOWN {
            write!(out, "  of which {} off the CPU", short(drive.off_cpu))?;
        }
        writeln!(out)
    })
}

fn uptime(turn: &LoopStatus) -> Duration {
    turn.now.since(Moment::default())
}

fn row(spread: &Spread) -> String {
    let times = [spread.p50, spread.p99, spread.p999, spread.max].map(|time| format!("{:>10}", short(time)));
    format!("{:>12}{:>12}{}", spread.count, short(spread.total), times.concat())
}

/// The same as an object; durations in microseconds.
pub fn json(turn: &LoopStatus, kernel: &KernelReport) -> String {
    let object = object(turn, kernel).optional_text("kernel_missing", kernel.missing.as_deref());
    accept_queues::with_counters(object, kernel).finish()
}

/// The members about the loop and its accept queues; more can be added.
pub fn object(turn: &LoopStatus, kernel: &KernelReport) -> Object {
    let phases =
        turn.phases.iter().fold(Object::new(), |object, (name, spread)| object.raw(name, spread_object(spread)));
    let syscalls = turn.syscalls.iter().fold(Object::new(), |object, (kind, count)| object.number(kind, *count));
    Object::new()
        .raw("uptime_ms", uptime(turn).as_millis())
        .raw("phases", phases.finish())
        .raw("turn", spread_object(&turn.turns))
        .raw("drive", spread_object(&turn.drives))
        .raw("lag", spread_object(&turn.lag))
        .number("events", turn.events)
        .raw("events_max", turn.events_max)
        .raw("syscalls", syscalls.finish())
        .raw("jobs", jobs::object(&turn.jobs))
        .raw("longest", array(turn.longest.iter().map(|longest| drive(longest, turn.now))))
        .raw("accept_queues", accept_queues::json(&turn.queues, kernel))
}

fn drive(drive: &LongestDrive, now: Moment) -> String {
    Object::new()
        .raw("ago_ms", now.since(drive.at).as_millis())
        .raw("took_us", drive.took.as_micros())
        .raw("off_cpu_us", drive.off_cpu.as_micros())
        .number("connection", drive.connection)
        .text("line", &drive.request)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_says_how_long_it_was_off_the_cpu_if_that_was_long() {
        let drive = |took, off_cpu: u64| LongestDrive {
            at: Moment::from_millis(1000),
            took: Duration::from_millis(took),
            off_cpu: Duration::from_micros(off_cpu),
            connection: 9,
            request: "GET /\\\"".into(),
        };
        let turn = LoopStatus {
            now: Moment::from_millis(7000),
            phases: Vec::new(),
            turns: Spread::default(),
            drives: Spread::default(),
            lag: Spread::default(),
            events: 0,
            events_max: 0,
            longest: vec![drive(100, 80_000), drive(50, 999)],
            jobs: Default::default(),
            syscalls: Vec::new(),
            queues: Vec::new(),
        };
        let text = text(&turn, &KernelReport::default());
        let expected = "each second:
     6 s ago     50.0ms c=9 GET /\\\"
     6 s ago    100.0ms c=9 GET /\\\"  of which 80.0ms off the CPU
";
        assert!(text.ends_with(expected), "{text}");
        let object: serde_json::Value = serde_json::from_str(&json(&turn, &KernelReport::default())).unwrap();
        let first = r#"{"ago_ms":6000,"took_us":100000,"off_cpu_us":80000,"connection":9,"line":"GET /\\\""}"#;
        assert_eq!(object["longest"][0], serde_json::from_str::<serde_json::Value>(first).unwrap());
    }
}
