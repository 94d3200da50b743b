//! `/loop`: where the loop's time goes.

use std::fmt::Write;

use super::durations::{short, spread_object};
use crate::base::json::{Object, array, quote};
use crate::observe::histogram::Spread;
use crate::observe::report::{AcceptQueue, KernelReport, LongestDrive, LoopStatus};

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
        short(turn.uptime),
        turn.turns.count,
        turn.events,
        turn.events_max
    )?;
    writeln!(out, "{:10}{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}", "", "count", "total", "p50", "p99", "p99.9", "max")?;
    let rows = [("turn", &turn.turns), ("drive", &turn.drives), ("lag", &turn.lag)];
    for (name, spread) in turn.phases.iter().map(|(name, spread)| (*name, spread)).chain(rows) {
        writeln!(out, "{name:10}{}", row(spread))?;
    }
    if let Some(missing) = &kernel.missing {
        writeln!(out, "\naccept queues: not known: {missing}")?;
    }
    for queue in &kernel.queues {
        writeln!(out, "\naccept queue of {}: {} of {}", queue.address, queue.depth, queue.limit)?;
    }
    let calls: Vec<String> = turn.syscalls.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    writeln!(out, "\nsystem calls: {}", calls.join(", "))?;
    writeln!(out, "\nthe longest drive of each second:")?;
    turn.longest.iter().rev().try_for_each(|drive| {
        writeln!(
            out,
            "  {:>4} s ago {:>10} c={} {}",
            drive.ago.as_secs(),
            short(drive.took),
            drive.connection,
            drive.request
        )
    })
}

fn row(spread: &Spread) -> String {
    let times = [spread.p50, spread.p99, spread.p999, spread.max].map(|time| format!("{:>10}", short(time)));
    format!("{:>12}{:>12}{}", spread.count, short(spread.total), times.concat())
}

/// The same as an object; durations in microseconds.
pub fn json(turn: &LoopStatus, kernel: &KernelReport) -> String {
    object(turn)
        .optional_text("kernel_missing", kernel.missing.as_deref())
        .raw("accept_queues", array(kernel.queues.iter().map(queue)))
        .finish()
}

/// The loop's members, to be continued.
pub fn object(turn: &LoopStatus) -> Object {
    let phases =
        turn.phases.iter().fold(Object::new(), |object, (name, spread)| object.raw(name, spread_object(spread)));
    let syscalls = turn.syscalls.iter().fold(Object::new(), |object, (kind, count)| object.number(kind, *count));
    Object::new()
        .raw("uptime_ms", turn.uptime.as_millis())
        .raw("phases", phases.finish())
        .raw("turn", spread_object(&turn.turns))
        .raw("drive", spread_object(&turn.drives))
        .raw("lag", spread_object(&turn.lag))
        .number("events", turn.events)
        .raw("events_max", turn.events_max)
        .raw("syscalls", syscalls.finish())
        .raw("longest", array(turn.longest.iter().map(drive)))
}

fn drive(drive: &LongestDrive) -> String {
    let mut line = String::new();
    quote(&mut line, &drive.request);
    Object::new()
        .raw("ago_ms", drive.ago.as_millis())
        .raw("took_us", drive.took.as_micros())
        .number("connection", drive.connection)
        .raw("line", line)
        .finish()
}

fn queue(queue: &AcceptQueue) -> String {
    let object = Object::new().text("address", &queue.address.to_string());
    object.raw("depth", queue.depth).raw("limit", queue.limit).finish()
}
