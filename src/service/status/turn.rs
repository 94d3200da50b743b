//! `/loop`: where the loop's time goes.

use std::fmt::Write;
use std::time::Duration;

use super::accept_queues;
use super::durations::{short, spread_object};
use super::jobs::{self, write_jobs};
use crate::base::json::{Object, array};
use crate::base::moment::Moment;
use crate::observe::access_log::time_text::{of_day, rfc3339};
use crate::observe::histogram::Spread;
use crate::observe::report::{KernelReport, LongDrive, LoopStatus};

/// Of the drives of the last hour, so many are shown as text; as JSON, all that are known.
const OF_HOUR_SHOWN: usize = 16;

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
        let ago = turn.now.since(drive.ended).as_secs();
        write!(out, "  {ago:>4} s ago {:>10} c={} {}", short(drive.took), drive.connection, drive.request)?;
        if let Some(off_cpu) = drive.off_cpu.filter(|off_cpu| *off_cpu >= OFF_CPU_SHOWN) {
            write!(out, "  of which {} off the CPU", short(off_cpu))?;
        }
        writeln!(out)
    })?;
    write_hour(out, &turn.longest_of_hour)
}

/// A table with the longest drive first.
fn write_hour(out: &mut String, drives: &[LongDrive]) -> std::fmt::Result {
    let mut longest: Vec<&LongDrive> = drives.iter().collect();
    longest.sort_by_key(|drive| std::cmp::Reverse(drive.took));
    writeln!(out, "\nthe longest drive of each minute of the last hour, in UTC:")?;
    writeln!(out, "  {:<12}{:>10}{:>10}{:>10}", "ended", "took", "on CPU", "off CPU")?;
    longest.iter().take(OF_HOUR_SHOWN).try_for_each(|drive| {
        let known = |time: Option<Duration>| time.map_or("-".to_owned(), short);
        let (on_cpu, off_cpu) = (known(drive.on_cpu()), known(drive.off_cpu));
        write!(out, "  {}{:>10}{on_cpu:>10}{off_cpu:>10}", of_day(drive.wall), short(drive.took))?;
        writeln!(out, "  c={} {}", drive.connection, drive.request)
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
    let object = object(turn, kernel)
        .raw("longest_of_hour", array(turn.longest_of_hour.iter().map(|longest| drive(longest, turn.now))))
        .optional_text("kernel_missing", kernel.missing.as_deref());
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

/// What is not known is null.
fn drive(drive: &LongDrive, now: Moment) -> String {
    let known = |time: Option<Duration>| time.map_or("null".to_owned(), |time| time.as_micros().to_string());
    Object::new()
        .raw("ago_ms", now.since(drive.ended).as_millis())
        .text("ended", &rfc3339(drive.wall))
        .raw("took_us", drive.took.as_micros())
        .raw("on_cpu_us", known(drive.on_cpu()))
        .raw("off_cpu_us", known(drive.off_cpu))
        .number("connection", drive.connection)
        .text("line", &drive.request)
        .finish()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn drive(took: u64, off_cpu: Option<u64>) -> LongDrive {
        LongDrive {
            ended: Moment::from_millis(1000),
            wall: UNIX_EPOCH + Duration::from_millis(784_111_777_123),
            took: Duration::from_millis(took),
            off_cpu: off_cpu.map(Duration::from_micros),
            connection: 9,
            request: "GET /\\\"".into(),
        }
    }

    fn status(longest: Vec<LongDrive>, longest_of_hour: Vec<LongDrive>) -> LoopStatus {
        LoopStatus {
            now: Moment::from_millis(7000),
            phases: Vec::new(),
            turns: Spread::default(),
            drives: Spread::default(),
            lag: Spread::default(),
            events: 0,
            events_max: 0,
            longest,
            longest_of_hour,
            jobs: Default::default(),
            syscalls: Vec::new(),
            queues: Vec::new(),
        }
    }

    #[test]
    fn a_drive_says_how_long_it_was_off_the_cpu_if_that_was_long() {
        let turn = status(vec![drive(100, Some(80_000)), drive(50, Some(999)), drive(4, None)], Vec::new());
        let text = text(&turn, &KernelReport::default());
        let expected = "each second:
     6 s ago      4.0ms c=9 GET /\\\"
     6 s ago     50.0ms c=9 GET /\\\"
     6 s ago    100.0ms c=9 GET /\\\"  of which 80.0ms off the CPU
";
        assert!(text.contains(expected), "{text}");
        let object: serde_json::Value = serde_json::from_str(&json(&turn, &KernelReport::default())).unwrap();
        let first = r#"{"ago_ms":6000,"ended":"1994-11-06T08:49:37.123Z","took_us":100000,"on_cpu_us":20000,"off_cpu_us":80000,"connection":9,"line":"GET /\\\""}"#;
        assert_eq!(object["longest"][0], serde_json::from_str::<serde_json::Value>(first).unwrap());
        assert_eq!(object["longest"][2]["on_cpu_us"], serde_json::Value::Null);
    }

    #[test]
    fn the_longest_drives_of_the_hour_come_with_their_time_of_day_the_longest_first() {
        let mut drives: Vec<_> = (1..=60).map(|ms| drive(ms, None)).collect();
        drives.insert(30, drive(100, Some(80_000)));
        let turn = status(Vec::new(), drives);
        let text = text(&turn, &KernelReport::default());
        let expected = "of the last hour, in UTC:
  ended             took    on CPU   off CPU
  08:49:37.123   100.0ms    20.0ms    80.0ms  c=9 GET /\\\"
  08:49:37.123    60.0ms         -         -  c=9 GET /\\\"
  08:49:37.123    59.0ms         -         -  c=9 GET /\\\"
";
        assert!(text.contains(expected), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("  08:")).count(), OF_HOUR_SHOWN);
        let object: serde_json::Value = serde_json::from_str(&json(&turn, &KernelReport::default())).unwrap();
        assert_eq!(object["longest_of_hour"].as_array().unwrap().len(), 61, "all of them, oldest first");
        assert_eq!(object["longest_of_hour"][30]["on_cpu_us"], 20_000);
    }
}
