//! The report at the end: the whole run in numbers, to be read beside what wrk says.
//!
//! Layout and units are wrk's where it has them: durations in us, ms and s, bytes in 1024s.

use std::cmp::Reverse;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::cpu::Cpu;
use crate::base::accept_queue::ListenCounters;
use crate::base::job_name::JobName;
use crate::base::job_pool::LONG;
use crate::event_loop::Totals;
use crate::observe::accept_queue::{HighWater, QueueStatus};
use crate::observe::access_log::time_text::of_day;
use crate::observe::counters::Counters;
use crate::observe::delay::Delay;
use crate::observe::histogram::Spread;
use crate::observe::jobs::{LongJobStatus, LongJobs};
use crate::observe::report::LongDrive;
use crate::observe::verdict::{FirstFin, Verdict, VerdictCounts};

const BOLD: &str = "\x1b[1m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// Processor time is told in steps of 10 ms: over a shorter time its share would be noise.
const RATED_MIN: Duration = Duration::from_secs(1);

/// So many verdicts are told apart.
const VERDICTS_SHOWN: usize = 6;

/// Shorter drives are not named: hardly anybody had to wait for them.
const NAMED_DRIVE_MIN: Duration = Duration::from_millis(1);
/// So many of the longest drives are named, and of the jobs that are not done.
const NAMED_MAX: usize = 5;

/// The report, to be displayed.
pub(super) struct FinalReport<'a> {
    pub(super) totals: &'a Totals,
    /// Where the server listened.
    pub(super) urls: &'a [String],
    /// What the kernel has counted for all TCP listeners of this network namespace meanwhile, if it tells.
    pub(super) listen: Option<ListenCounters>,
    /// Processor time, if it is known.
    pub(super) cpu: Option<Cpu>,
    /// Whether escape sequences may be used.
    pub(super) colours: bool,
    /// Whether to leave the line that was begun.
    pub(super) begins_anew: bool,
}

impl Display for FinalReport<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.begins_anew {
            writeln!(f)?;
        }
        self.write_heading(f)?;
        self.write_durations(f)?;
        self.write_requests(f)?;
        self.write_connections(f)?;
        self.write_tls(f)?;
        self.write_http2(f)?;
        self.write_costs(f)?;
        self.write_loop(f)?;
        self.write_longest_drives(f)?;
        self.write_jobs(f)?;
        self.write_peaks(f)?;
        self.write_queues(f)?;
        self.write_losses(f)?;
        self.write_rates(f)
    }
}

impl FinalReport<'_> {
    fn write_heading(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Totals { uptime, accepted, connections_max, .. } = self.totals;
        let urls = self.urls.join(" ");
        self.line(f, BOLD, format_args!("Served for {} @ {urls}", duration(*uptime)))?;
        writeln!(f, "  {}, {connections_max} at most at a time", count(*accepted, "connection"))
    }

    fn write_durations(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Totals { latency, client_latency, first_byte, handshakes, turn, lag, .. } = self.totals;
        let rows = [
            ("Latency", latency),
            ("Client est", client_latency),
            ("First byte", first_byte),
            ("Handshake", handshakes),
            ("Loop turn", turn),
            ("Timer lag", lag),
        ];
        if rows.iter().all(|(_, row)| row.count == 0) {
            return Ok(());
        }
        writeln!(f, "  {:<12}{:>10}{:>10}{:>10}{:>10}{:>10}", "Server Stats", "p50", "p90", "p99", "p99.9", "Max")?;
        rows.into_iter().filter(|(_, row)| row.count > 0).try_for_each(|(name, row)| write_row(f, name, row))
    }

    fn write_requests(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let counters = &self.totals.counters;
        let (written, read) = (bytes(counters.written_bytes as f64), bytes(counters.read_bytes as f64));
        let requests = count(self.requests(), "request");
        writeln!(f, "  {requests} in {}, {written} written, {read} read", duration(self.totals.busy))?;
        let classes = ["no response", "1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(counters.requests);
        let classes =
            list(classes.filter(|(_, requests)| *requests > 0), |(class, requests)| format!("{class} {requests}"));
        if !classes.is_empty() {
            writeln!(f, "  Status: {classes}")?;
        }
        if counters.admin_requests > 0 {
            writeln!(f, "  Of these through the admin listener: {}", counters.admin_requests)?;
        }
        self.warn_if(f, counters.cut > 0, format_args!("  Requests cut off: {}", counters.cut))?;
        self.write_verdicts(f, "  Disturbed requests", &counters.request_verdicts)
    }

    /// The commonest first.
    fn write_verdicts(&self, f: &mut Formatter<'_>, what: &str, counts: &VerdictCounts) -> fmt::Result {
        let mut sorted: Vec<_> = counts.iter().collect();
        if sorted.is_empty() {
            return Ok(());
        }
        sorted.sort_by_key(|(_, count)| Reverse(*count));
        let words = |verdict: &Verdict| {
            format!("{}: {}, {}", verdict.side.meaning(), verdict.means.meaning(), verdict.phase.meaning())
        };
        let shown = sorted.iter().take(VERDICTS_SHOWN);
        let text = list(shown, |(verdict, count)| format!("{verdict} {count} ({})", words(verdict)));
        let others: u64 = sorted.iter().skip(VERDICTS_SHOWN).map(|(_, count)| *count).sum();
        let others = if others > 0 { format!(", others {others}") } else { String::new() };
        writeln!(f, "{what}: {text}{others}")
    }

    fn write_connections(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Counters { closed_by_client, closed_by_server, broken, cut_short, timeouts, .. } = &self.totals.counters;
        let late = timeouts.total();
        let waits = list(timeouts.some_by_name(), |(wait, count)| format!("{wait} {count}"));
        let waits = if waits.is_empty() { waits } else { format!(" ({waits})") };
        let style = if broken + cut_short + late > 0 { YELLOW } else { "" };
        self.line(
            f,
            style,
            format_args!(
                "  Closed by: client {closed_by_client}, server {closed_by_server}, reset {broken}, \
                 cut short {cut_short}, timeout {late}{waits}"
            ),
        )?;
        let Counters { verdicts, first_fins, .. } = &self.totals.counters;
        self.write_verdicts(f, "  Verdicts", verdicts)?;
        if first_fins.iter().any(|count| *count > 0) {
            let sides = FirstFin::NAMES.into_iter().zip(first_fins).filter(|(_, count)| **count > 0);
            writeln!(f, "  First FIN by: {}", list(sides, |(side, count)| format!("{side} {count}")))?;
        }
        let [fin, goaway] = self.totals.counters.keep_alive_races;
        let late = format_args!("  Requests that came too late: {fin} after our FIN, {goaway} after GOAWAY");
        self.warn_if(f, fin + goaway > 0, late)?;
        let cut = self.totals.cut_at_end;
        self.warn_if(f, cut > 0, format_args!("  Cut at the end: {}", count(cut as u64, "connection")))
    }

    /// Nothing if no client has tried.
    fn write_tls(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let tls = &self.totals.counters.tls;
        let (done, resumed) = (tls.done_total(), tls.resumed_total());
        if done > 0 {
            writeln!(f, "  TLS handshakes: {done}, {resumed} of them resumed")?;
        }
        for (what, failures) in [("TLS handshakes failed", &tls.failed), ("Ended by TLS", &tls.broken)] {
            let total: u64 = failures.values().sum();
            let reasons = list(failures, |(failure, count)| format!("{failure} {count}"));
            self.warn_if(f, total > 0, format_args!("  {what}: {total} ({reasons})"))?;
        }
        Ok(())
    }

    /// Nothing if nobody has spoken HTTP/2.
    fn write_http2(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let http2 = &self.totals.counters.http2;
        if http2.connections == 0 {
            return Ok(());
        }
        let (connections, streams) = (count(http2.connections, "connection"), count(http2.streams, "stream"));
        writeln!(f, "  HTTP/2: {connections}, {streams}")?;
        self.warn_if(f, http2.delayed > 0, format_args!("  Streams delayed: {}", http2.delayed))?;
        let sums = [
            ("Streams reset by clients", &http2.reset_by_client),
            ("Streams reset by the server", &http2.reset_by_server),
            ("GOAWAY sent", &http2.goaways),
            ("Misbehaviour", &http2.misbehaviour),
        ];
        sums.into_iter().filter(|(_, counts)| !counts.is_empty()).try_for_each(|(what, counts)| {
            let total: u64 = counts.values().sum();
            writeln!(f, "  {what}: {total} ({})", list(counts, |(kind, count)| format!("{kind} {count}")))
        })
    }

    fn write_costs(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let requests = self.requests();
        if requests == 0 {
            return Ok(());
        }
        let by_kind = self.totals.counters.syscalls.by_kind();
        let calls: u64 = by_kind.iter().map(|(_, calls)| calls).sum();
        let kinds = by_kind.into_iter().filter(|(_, calls)| *calls > 0);
        let kinds = list(kinds, |(kind, calls)| format!("{kind} {}", ratio(calls, requests)));
        writeln!(f, "  Syscalls/request: {} ({kinds})", ratio(calls, requests))?;
        self.cpu.map_or(Ok(()), |cpu| self.write_cpu(f, cpu, requests))
    }

    fn write_cpu(&self, f: &mut Formatter<'_>, cpu: Cpu, requests: u64) -> fmt::Result {
        let all = cpu.user + cpu.system;
        let each = |time: Duration| duration(time.div_f64(requests as f64));
        write!(f, "  CPU/request: {} (user {}, system {})", each(all), each(cpu.user), each(cpu.system))?;
        let busy = self.totals.busy;
        if busy >= RATED_MIN {
            write!(f, ", {:.0}% of a core", 100.0 * all.as_secs_f64() / busy.as_secs_f64())?;
        }
        let elsewhere = all.saturating_sub(cpu.this_thread);
        if elsewhere.is_zero() {
            return writeln!(f);
        }
        writeln!(f, ", {} of it outside the loop's thread", each(elsewhere))
    }

    /// Shares of the time from the first request to the last. Before and after it the loop slept, but for next to
    /// nothing.
    fn write_loop(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Totals { uptime, busy, phases, turns, events, events_max, .. } = self.totals;
        let slept = uptime.saturating_sub(*busy);
        if !busy.is_zero() {
            let awake =
                |(name, time): &(&str, Duration)| if *name == "poll" { time.saturating_sub(slept) } else { *time };
            let all: f64 = phases.iter().map(|phase| awake(phase).as_secs_f64()).sum();
            let share = |phase| 100.0 * awake(phase).as_secs_f64() / all.max(f64::MIN_POSITIVE);
            let shares = list(phases, |phase| format!("{} {:.1}%", phase.0, share(phase)));
            writeln!(f, "  Time: {shares}")?;
        }
        let each = *events as f64 / (*turns).max(1) as f64;
        writeln!(f, "  Turns: {turns}, {each:.1} events each, {events_max} at most")
    }

    /// Nothing if all drives were short.
    fn write_longest_drives(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let drives = self.totals.longest_drives.iter().filter(|drive| drive.took >= NAMED_DRIVE_MIN);
        let mut drives: Vec<&LongDrive> = drives.collect();
        if drives.is_empty() {
            return Ok(());
        }
        drives.sort_by_key(|drive| std::cmp::Reverse(drive.took));
        writeln!(f, "  {:<14}{:>10}{:>10}{:>10}", "Longest drives", "Took", "On CPU", "Off CPU")?;
        drives.iter().take(NAMED_MAX).try_for_each(|drive| {
            let known = |time: Option<Duration>| time.map_or("-".to_owned(), duration);
            let (took, on_cpu, off_cpu) = (duration(drive.took), known(drive.on_cpu()), known(drive.off_cpu));
            let ended = of_day(drive.wall);
            writeln!(f, "    {ended}{took:>10}{on_cpu:>10}{off_cpu:>10}  c={} {}", drive.connection, drive.request)
        })
    }

    /// Nothing if no job took long.
    fn write_jobs(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let jobs = &self.totals.jobs;
        let LongJobs { ran, longest, delayed, most_delayed } = &jobs.past;
        let kinds = list(ran, |(kind, count)| format!("{kind} {count}"));
        let stuck = || jobs.running.iter().filter(|job| job.since >= LONG);
        let kinds = if ran.is_empty() { "none that is done".to_owned() } else { kinds };
        let any = !ran.is_empty() || stuck().count() > 0;
        self.warn_if(f, any, format_args!("  Jobs that ran for 1s or longer: {kinds}"))?;
        longest.iter().take(NAMED_MAX).try_for_each(|job| write_long_job(f, job))?;
        stuck().take(NAMED_MAX).try_for_each(|job| write_job(f, "still runs", job.since, &job.name))?;
        self.warn_if(f, *delayed > 0, format_args!("  Jobs that were queued for 1s or longer: {delayed}"))?;
        most_delayed.as_ref().map_or(Ok(()), |job| write_long_job(f, job))
    }

    fn write_peaks(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Totals { counters, inboxes_max, outboxes_max, .. } = self.totals;
        let [queued, inboxes, outboxes] =
            [&counters.queued_max, inboxes_max, outboxes_max].map(|peak| bytes(*peak as f64));
        writeln!(f, "  Peak buffers: {inboxes} in, {outboxes} out; {queued} left waiting by one response")
    }

    /// A line for each listener with which somebody has connected.
    fn write_queues(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for QueueStatus { address, limit, high_water, drops, .. } in &self.totals.queues {
            let Some(HighWater { depth, at, behind }) = high_water else { continue };
            let room = limit.map_or(String::new(), |limit| format!(" of {}", u64::from(limit) + 1));
            let behind = behind.as_deref().map_or(String::new(), |Delay { took, connection, request }| {
                format!(", behind c={connection} {request} for {}", duration(*took))
            });
            let drops = drops.unwrap_or(0);
            let lost = if drops == 0 { String::new() } else { format!("; {} dropped", count(drops.into(), "packet")) };
            let style = if drops > 0 { YELLOW } else { "" };
            let at = of_day(*at);
            self.line(f, style, format_args!("  Accept queue of {address}: {depth}{room} at {at}{behind}{lost}"))?;
        }
        let ListenCounters { overflows, drops } = self.listen.unwrap_or_default();
        let lost = overflows + drops > 0;
        self.warn_if(f, lost, format_args!("  Listeners of this network: {overflows} overflows, {drops} drops"))
    }

    fn write_losses(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Totals { accept_pauses, dropped_lines, dropped_packets, .. } = self.totals;
        self.warn_if(f, *accept_pauses > 0, format_args!("  Accept pauses: {accept_pauses}"))?;
        self.warn_if(f, *dropped_lines > 0, format_args!("  Access log lines dropped: {dropped_lines}"))?;
        self.warn_if(f, *dropped_packets > 0, format_args!("  Packets of the capture dropped: {dropped_packets}"))
    }

    fn write_rates(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let totals = self.totals;
        if self.requests() == 0 {
            return Ok(());
        }
        let per_second = |amount: u64| amount as f64 / totals.busy.as_secs_f64().max(1e-9);
        let busiest = totals.busiest_second;
        let (rate, written, read) = (
            per_second(self.requests()),
            per_second(totals.counters.written_bytes),
            per_second(totals.counters.read_bytes),
        );
        self.line(f, BOLD, format_args!("Requests/sec: {rate:>9.2}, {busiest} in the busiest second"))?;
        self.line(f, BOLD, format_args!("Transfer/sec: {:>11}, {} read", bytes(written), bytes(read)))
    }

    fn requests(&self) -> u64 {
        self.totals.counters.requests_over()
    }

    fn warn_if(&self, f: &mut Formatter<'_>, trouble: bool, line: fmt::Arguments<'_>) -> fmt::Result {
        if trouble { self.line(f, YELLOW, line) } else { Ok(()) }
    }

    fn line(&self, f: &mut Formatter<'_>, style: &str, line: fmt::Arguments<'_>) -> fmt::Result {
        if self.colours && !style.is_empty() { writeln!(f, "{style}{line}{RESET}") } else { writeln!(f, "{line}") }
    }
}

fn write_long_job(f: &mut Formatter<'_>, job: &LongJobStatus) -> fmt::Result {
    write_job(f, &of_day(job.ended), job.took, &job.name)
}

fn write_job(f: &mut Formatter<'_>, ended: &str, took: Duration, name: &JobName) -> fmt::Result {
    let requester = name.requester.map_or(String::new(), |requester| format!("  {requester}"));
    writeln!(f, "    {ended:<12}{:>10}  {name}{requester}", duration(took))
}

fn write_row(f: &mut Formatter<'_>, name: &str, row: &Spread) -> fmt::Result {
    let columns = [row.p50, row.p90, row.p99, row.p999, row.max].map(|column| format!("{:>10}", duration(column)));
    writeln!(f, "    {name:<10}{}", columns.concat())
}

fn list<T>(items: impl IntoIterator<Item = T>, text: impl FnMut(T) -> String) -> String {
    items.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A duration as wrk writes it: two decimals of the largest unit that is not more than the duration.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 0.000_999_995 => format!("{:.2}us", s * 1e6),
        s if s < 0.999_995 => format!("{:.2}ms", s * 1e3),
        s if s < 59.995 => format!("{s:.2}s"),
        s if s < 3599.7 => format!("{:.2}m", s / 60.0),
        s => format!("{:.2}h", s / 3600.0),
    }
}

/// Bytes as wrk writes them: two decimals, in 1024s.
fn bytes(amount: f64) -> String {
    let units = ["KB", "MB", "GB", "TB"];
    match units.into_iter().zip(1..).filter(|(_, power)| amount >= 1024_f64.powi(*power)).last() {
        Some((unit, power)) => format!("{:.2}{unit}", amount / 1024_f64.powi(power)),
        None => format!("{amount:.0}B"),
    }
}

/// Two decimals, or more where the first of them would be zeroes.
fn ratio(part: u64, whole: u64) -> String {
    let ratio = part as f64 / whole as f64;
    match ratio {
        r if r >= 0.1 => format!("{r:.2}"),
        r if r >= 0.001 => format!("{r:.4}"),
        r => format!("{r:.6}"),
    }
}

#[cfg(test)]
mod tests;
