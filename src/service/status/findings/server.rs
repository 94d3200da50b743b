//! What is wrong with the server as a whole: nobody can come in, the loop or the job threads are held, something is full.

use std::time::Duration;

use super::Severity::{Alarm, Notice, Warning};
use super::{Finding, counted};
use crate::base::job_name::{JobKind, Lane};
use crate::base::limits::ConnectionsBound;
use crate::observe::access_log::time_text::rfc3339;
use crate::observe::jobs::{JobPlace, JobStatus, JobsStatus};
use crate::observe::report::{KernelReport, LongDrive, Overview};
use crate::service::status::durations::short;
use crate::service::status::jobs;

/// A drive that others will have noticed.
const HELD: Duration = Duration::from_millis(20);
/// On a busy machine every thread has to wait for its core now and then, so a shorter time off it is no trouble.
const OFF_CPU: Duration = Duration::from_millis(200);
/// A drive because of which clients give up.
const HELD_LONG: Duration = Duration::from_secs(1);
/// A job that takes so long is stalled, or has too much to do.
const STALLED: Duration = Duration::from_secs(1);
/// From this share on, the loop or a memory has little to spare.
const NEARLY_ALL: f64 = 0.9;
/// A certificate should have been renewed by then.
const RENEWAL: Duration = Duration::from_secs(14 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// What keeps clients out, or all of them waiting.
pub(super) fn examine(overview: &Overview, kernel: &KernelReport, findings: &mut Vec<Finding>) {
    findings.extend(slots(overview, kernel));
    findings.extend(descriptors(overview));
    findings.extend(accept_queues(overview, kernel));
    findings.extend(draining(overview));
    findings.extend(stalled_jobs(&overview.turn.jobs));
    findings.extend(held_loop(overview));
    findings.extend(busy_loop(overview));
}

/// What is full, or lost, or will be.
pub(super) fn examine_bounds(overview: &Overview, kernel: &KernelReport, findings: &mut Vec<Finding>) {
    findings.extend(memory(overview));
    findings.extend(certificates(overview));
    findings.extend(lost(overview));
    if let Some(missing) = &kernel.missing {
        let text = format!("what the kernel says is missing: {missing}");
        findings.push(Finding::new(Notice, "kernel-missing", text));
    }
}

/// Connections that nobody has accepted yet.
fn waiting(kernel: &KernelReport) -> u64 {
    kernel.queues.values().map(|queue| u64::from(queue.depth)).sum()
}

fn slots(overview: &Overview, kernel: &KernelReport) -> Option<Finding> {
    let Overview { connections, connections_max, .. } = *overview;
    if (connections as f64) < connections_max as f64 * NEARLY_ALL || overview.draining.is_some() {
        return None;
    }
    let advice = match overview.connections_bound {
        ConnectionsBound::Setting => "raise --max-connections, or close them earlier (--keep-alive-timeout)".into(),
        ConnectionsBound::Descriptors(n) => format!("raise ulimit -n, which is {n}"),
    };
    let most = overview.waits.iter().max_by_key(|(_, count)| count);
    let most = most.map_or(String::new(), |(wait, count)| format!(", {count} of them {wait}"));
    let taken = format!("{connections} of {connections_max} connections{most}");
    Some(match (connections >= connections_max, waiting(kernel)) {
        (false, _) => Finding::new(Notice, "slots", format!("slots run short: {taken}")),
        (true, 0) => Finding::new(Alarm, "slots", format!("every slot is taken: {taken}")),
        (true, more) => {
            let text = format!("every slot is taken: {taken}; {more} more wait to be accepted");
            Finding::new(Alarm, "slots", text)
        }
    })
    .map(|finding| finding.advice(advice))
}

fn descriptors(overview: &Overview) -> Option<Finding> {
    let text = "connections cannot be accepted: no descriptors are left, or accepting fails; new ones wait";
    let finding = Finding::new(Alarm, "descriptors", text.into());
    overview.accept_fails.then(|| finding.advice("raise ulimit -n; --log-level debug says what fails"))
}

fn accept_queues(overview: &Overview, kernel: &KernelReport) -> Vec<Finding> {
    let is_full = overview.connections >= overview.connections_max;
    let finding = overview.turn.queues.iter().filter_map(|status| {
        let queue = kernel.queues.get(&status.listener).copied();
        // The loop's number is as old as its last look. The kernel is newer by what it counted since.
        let unseen = match (queue.and_then(|queue| queue.drops), status.drops) {
            (Some(now), Some(seen)) => now.wrapping_sub(seen),
            _ => 0,
        };
        let seen = overview.minute.tallies.drops.get(&status.listener).copied().unwrap_or(0);
        let (dropped, address) = (u64::from(seen) + u64::from(unseen), &status.address);
        let limit = queue.map(|queue| queue.limit).or(status.limit).unwrap_or(0);
        let depth = queue.map_or(0, |queue| queue.depth);
        if dropped > 0 {
            let packets = counted(dropped, "packet");
            let text = format!(
                "the accept queue of {address} overflows: {packets} of clients that want to connect dropped in the last minute; \
                 it has room for {}",
                u64::from(limit) + 1
            );
            let advice = if is_full { "raise --max-connections" } else { "raise --backlog, and net.core.somaxconn with it" };
            let finding = Finding::new(Alarm, "accept-queue", text).advice(advice);
            return Some(if depth > limit / 2 { finding } else { finding.over() });
        }
        // Behind full slots they wait for those, which is said already.
        (depth > limit / 2 && depth > 1 && !is_full).then(|| {
            let text = format!("{depth} connections wait to be accepted at {address}, and there is room for {limit}");
            Finding::new(Warning, "accept-queue", text)
        })
    });
    finding.collect()
}

fn draining(overview: &Overview) -> Option<Finding> {
    let (since, left) = overview.draining?;
    let keepers =
        overview.listed.iter().filter(|connection| !matches!(connection.wait, "client-idle" | "client-silent"));
    let mut keepers = keepers.peekable();
    let (since, left) = (short(since), short(left));
    let text = match keepers.peek() {
        None => format!(
            "the server has been stopping for {since}: {} to end",
            counted(overview.connections as u64, "connection")
        ),
        Some(first) => {
            let request = first.record.as_ref().map_or(first.protocol.to_owned(), |record| record.request());
            let (id, wait, waited) = (first.id, first.wait, short(first.waited));
            let others = match keepers.count() - 1 {
                0 => String::new(),
                others => format!(" and {}", counted(others as u64, "other connection")),
            };
            format!(
                "the server has been stopping for {since}, kept by c={id} {request} ({wait} for {waited}){others}; cut in {left}"
            )
        }
    };
    let first = overview.listed.iter().find(|connection| !matches!(connection.wait, "client-idle" | "client-silent"));
    let finding = Finding::new(Warning, "draining", text).advice("SIGINT stops it at once");
    Some(match first {
        Some(first) => finding.about(first.id, first.record.as_ref().map(|record| record.key())),
        None => finding,
    })
}

fn stalled_jobs(jobs: &JobsStatus) -> Option<Finding> {
    let queued = (jobs.quick_queued + jobs.slow_queued) as u64;
    // Name servers are slow without anything being wrong here, and a password is to be slow. Neither delays a file.
    let is_about_files = |job: &JobStatus| matches!(job.name.kind.lane(), Lane::Quick | Lane::Slow);
    let is_stalled = |job: &&JobStatus| job.since >= STALLED && is_about_files(job);
    let longest = jobs.running.iter().filter(is_stalled).max_by_key(|job| job.since);
    let oldest = jobs.queued.iter().filter(is_stalled).find(|job| is_wanted(job));
    let finding = match (oldest, longest) {
        (Some(oldest), Some(longest)) => {
            let text = format!(
                "jobs are stalled: {queued} wait for a thread, {} for {}, behind {}",
                oldest.name,
                short(oldest.since),
                jobs::running(longest)
            );
            Finding::new(Alarm, "jobs", text).advice("a disk is slow, or there are too few job threads (--io-threads)")
        }
        (Some(oldest), None) => {
            let text = format!("{} for a thread, {} for {}", verb_wait(queued), oldest.name, short(oldest.since));
            Finding::new(Warning, "jobs", text).advice("there are too few job threads (--io-threads)")
        }
        (None, Some(longest)) => {
            let severity = if longest.name.kind.lane() == Lane::Quick { Warning } else { Notice };
            Finding::new(severity, "jobs", format!("a job takes long: {}", jobs::running(longest)))
        }
        (None, None) => return None,
    };
    let waits = longest.or(oldest).and_then(|job| job.waiting.first().copied().or(job.name.requester));
    Some(match waits {
        Some(requester) => finding.about(requester.connection, None),
        None => finding,
    })
}

fn verb_wait(jobs: u64) -> String {
    if jobs == 1 { "1 job waits".into() } else { format!("{jobs} jobs wait") }
}

fn is_wanted(job: &JobStatus) -> bool {
    !matches!(job.place, JobPlace::Queued { is_wanted: false, .. }) && job.name.kind != JobKind::Kernel
}

fn held_loop(overview: &Overview) -> Option<Finding> {
    let drives = &overview.turn.longest;
    let longest: &LongDrive = drives.iter().filter(|drive| drive.took >= HELD).max_by_key(|drive| drive.took)?;
    let (took, ago) = (short(longest.took), overview.turn.now.since(longest.ended).as_secs());
    let (id, others) = (longest.connection, drives.iter().filter(|drive| drive.took >= HELD).count() - 1);
    // Who is served while the thread does not run is not to blame.
    let off_cpu = longest.off_cpu.filter(|off_cpu| *off_cpu >= longest.took / 2).map(short);
    let request = &longest.request;
    let mut text = match &off_cpu {
        Some(off_cpu) => format!("the loop did not run for {off_cpu} while it served c={id} {request}, {ago} s ago"),
        None => format!("the loop was held for {took} by c={id} {request}, {ago} s ago"),
    };
    if others > 0 {
        text.push_str(&format!(", and in {} of the last minute", counted(others as u64, "other second")));
    }
    let severity = match longest.took {
        took if took >= HELD_LONG => Alarm,
        took if off_cpu.is_some() && took < OFF_CPU => Notice,
        _ => Warning,
    };
    let advice = match off_cpu {
        Some(_) => "the machine is busy, or the process was stopped",
        None => "/loop lists the longest drives",
    };
    let finding = Finding::new(severity, "loop-held", text).advice(advice).over();
    Some(finding.about(id, None))
}

fn busy_loop(overview: &Overview) -> Option<Finding> {
    let busy = overview.minute.busy();
    let text = format!("the loop was at work for {:.0}% of the last minute: it has little to spare", busy * 100.0);
    (busy >= NEARLY_ALL).then(|| Finding::new(Warning, "loop-busy", text))
}

fn memory(overview: &Overview) -> Vec<Finding> {
    let full =
        overview.memory.iter().filter(|bound| bound.max > 0 && bound.used as f64 >= bound.max as f64 * NEARLY_ALL);
    let finding = full.map(|bound| {
        let (used, max) = (bound.used / 1024, bound.max / 1024);
        let text = format!("memory for {} runs short: {used} of {max} KiB; clients wait for it", bound.purpose);
        Finding::new(Warning, "memory", text).advice(format!("raise {}", bound.flag))
    });
    finding.collect()
}

fn certificates(overview: &Overview) -> Vec<Finding> {
    let finding = overview.certificates.iter().filter_map(|(subject, not_after)| {
        let until = rfc3339(*not_after);
        match not_after.duration_since(overview.wall) {
            Err(_) => {
                Some(Finding::new(Alarm, "certificate", format!("the certificate of {subject} has expired: {until}")))
            }
            Ok(left) if left < RENEWAL => {
                let days = counted(left.as_secs() / DAY, "day");
                let text = format!("the certificate of {subject} expires in {days}: {until}");
                Some(Finding::new(Warning, "certificate", text))
            }
            Ok(_) => None,
        }
    });
    finding.collect()
}

fn lost(overview: &Overview) -> Vec<Finding> {
    let tallies = &overview.minute.tallies;
    let lines = |dropped| {
        let text = format!("{} of the access log dropped in the last minute", counted(dropped, "line"));
        Finding::new(Warning, "access-log", text).advice("whoever takes the lines is too slow").over()
    };
    let packets = |dropped| {
        let text = format!("{} of the capture dropped in the last minute", counted(dropped, "packet"));
        Finding::new(Notice, "capture", text).over()
    };
    let some = |dropped: u64| Some(dropped).filter(|dropped| *dropped > 0);
    some(tallies.dropped_lines).map(lines).into_iter().chain(some(tallies.dropped_packets).map(packets)).collect()
}
