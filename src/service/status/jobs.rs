//! What the job threads do, as text for people and JSON for programs.

use std::fmt::{Formatter, Result, Write, from_fn};
use std::time::Duration;

use super::durations::short;
use crate::base::job_name::{JobName, Requester};
use crate::base::json::{Object, array};
use crate::observe::access_log::time_text::{of_day, rfc3339};
use crate::observe::jobs::{JobPlace, JobStatus, JobWait, JobsStatus, LongJobStatus, LongJobs};

/// Those who wait for one job and are named; the others are only counted.
const WAITING_SHOWN: usize = 5;

/// A line for each job, and those that took long.
pub fn write_jobs(out: &mut String, jobs: &JobsStatus) -> Result {
    let JobsStatus { quick_queued, slow_queued, names_queued, passwords_queued, running, queued, past } = jobs;
    let by_lane =
        format!("{quick_queued} quick, {slow_queued} slow, {names_queued} names, {passwords_queued} passwords");
    writeln!(out, "\njobs: {} running; queued: {by_lane}", running.len())?;
    for job in running.iter().chain(queued) {
        let place = match &job.place {
            JobPlace::Running(thread) => thread,
            JobPlace::Queued { .. } => "queued",
        };
        writeln!(out, "  {place:<16}{:>8}  {}{}", short(job.since), job.name, who(job))?;
    }
    match (quick_queued + slow_queued + names_queued + passwords_queued).saturating_sub(queued.len()) {
        0 => {}
        more => writeln!(out, "  ... and {more} more queued")?,
    }
    write_long(out, past)
}

fn write_long(out: &mut String, past: &LongJobs) -> Result {
    if !past.ran.is_empty() {
        let kinds: Vec<String> = past.ran.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        writeln!(out, "jobs that ran for a second or longer: {}; the longest, in UTC:", kinds.join(", "))?;
        past.longest.iter().try_for_each(|job| write_long_job(out, job))?;
    }
    match &past.most_delayed {
        Some(job) => {
            writeln!(out, "jobs that were queued for a second or longer: {}; the longest, in UTC:", past.delayed)?;
            write_long_job(out, job)
        }
        None => Ok(()),
    }
}

fn write_long_job(out: &mut String, job: &LongJobStatus) -> Result {
    let took = short(job.took);
    write!(out, "  {:<16}{took:>8}  {}", of_day(job.ended), job.name)?;
    match job.name.requester {
        Some(requester) => writeln!(out, "  {requester}"),
        None => writeln!(out),
    }
}

/// Who waits for a job.
fn who(job: &JobStatus) -> String {
    let named: Vec<String> = job.waiting.iter().take(WAITING_SHOWN).map(Requester::to_string).collect();
    let named = match job.waiting.len().saturating_sub(WAITING_SHOWN) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    };
    let unwanted = matches!(job.place, JobPlace::Queued { is_wanted: false, .. });
    match (job.name.requester, job.name.kind.is_waited_for()) {
        (None, _) => String::new(),
        (Some(requester), false) => format!("  asked for by {requester}"),
        (Some(requester), true) if unwanted || named.is_empty() => {
            format!("  asked for by {requester}; nobody waits for it any more")
        }
        (Some(_), true) => format!("  {named}"),
    }
}

/// The job that a request waits for, in a sentence.
pub fn sentence(wait: &JobWait) -> impl std::fmt::Display {
    from_fn(|f| {
        let ahead = match wait.job.place {
            JobPlace::Running(_) => return write_running(f, &wait.job),
            JobPlace::Queued { ahead, .. } => ahead,
        };
        write!(f, "{}, queued {}", wait.job.name, short(wait.job.since))?;
        if let Some(behind) = &wait.behind {
            f.write_str(" behind ")?;
            write_running(f, behind)?;
        }
        if ahead > 0 { write!(f, "; {ahead} more queued before it") } else { Ok(()) }
    })
}

/// A job that runs, since when and where.
pub fn running(job: &JobStatus) -> impl std::fmt::Display {
    from_fn(|f| write_running(f, job))
}

fn write_running(f: &mut Formatter<'_>, job: &JobStatus) -> Result {
    write!(f, "{}, running for {}", job.name, short(job.since))?;
    if let JobPlace::Running(thread) = &job.place { write!(f, " on {thread}") } else { Ok(()) }
}

/// The job that a request waits for, as an object.
pub fn wait_object(wait: &JobWait) -> String {
    match &wait.behind {
        Some(behind) => job_object(&wait.job).raw("behind", job_object(behind).finish()),
        None => job_object(&wait.job),
    }
    .finish()
}

/// All of it as an object; durations in milliseconds.
pub fn object(jobs: &JobsStatus) -> String {
    let list = |jobs: &[JobStatus]| array(jobs.iter().map(|job| job_object(job).finish()));
    let long = jobs.past.ran.iter().fold(Object::new(), |object, (kind, count)| object.number(kind, *count));
    let object = Object::new()
        .raw("quick_queued", jobs.quick_queued)
        .raw("slow_queued", jobs.slow_queued)
        .raw("names_queued", jobs.names_queued)
        .raw("passwords_queued", jobs.passwords_queued)
        .raw("running", list(&jobs.running))
        .raw("queued", list(&jobs.queued))
        .raw("long", long.finish())
        .raw("longest", array(jobs.past.longest.iter().map(long_object)))
        .number("delayed", jobs.past.delayed);
    match &jobs.past.most_delayed {
        Some(most) => object.raw("most_delayed", long_object(most)),
        None => object,
    }
    .finish()
}

fn job_object(job: &JobStatus) -> Object {
    let object = named_object(&job.name, job.since);
    let object = match &job.place {
        JobPlace::Running(thread) => object.text("state", "running").text("thread", thread),
        JobPlace::Queued { ahead, is_wanted } => {
            object.text("state", "queued").raw("ahead", ahead).raw("wanted", is_wanted)
        }
    };
    let waiting = job.waiting.iter().map(|requester| requester_members(Object::new(), requester).finish());
    object.raw("waiting", array(waiting))
}

fn long_object(job: &LongJobStatus) -> String {
    let ended = rfc3339(job.ended);
    named_object(&job.name, job.took).text("ended", &ended).finish()
}

/// With the connection that has asked for it.
fn named_object(name: &JobName, time: Duration) -> Object {
    let object = Object::new().text("kind", name.kind.name()).text("subject", &name.subject().to_string());
    let object = match &name.requester {
        Some(requester) => requester_members(object, requester),
        None => object,
    };
    object.raw("ms", time.as_millis())
}

/// A stream only on HTTP/2.
fn requester_members(object: Object, requester: &Requester) -> Object {
    let object = object.number("connection", requester.connection);
    if requester.stream == 0 { object } else { object.raw("stream", requester.stream) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::job_name::JobKind;

    const MS: Duration = Duration::from_millis(1);

    fn job(kind: JobKind, subject: &[u8], connection: u64, place: JobPlace, ms: u32) -> JobStatus {
        let requester = Requester { connection, stream: 0 };
        let name = JobName::new(kind, subject, Some(requester));
        JobStatus { name, place, since: ms * MS, waiting: vec![requester] }
    }

    fn stalled() -> JobStatus {
        job(JobKind::LookUp, b"/mnt/slow/b", 7, JobPlace::Running("tidemill-io-1".into()), 9300)
    }

    fn innocent(ahead: usize) -> JobWait {
        let place = JobPlace::Queued { ahead, is_wanted: true };
        JobWait { job: job(JobKind::LookUp, b"/a\"", 9, place, 2100), behind: Some(stalled()) }
    }

    #[test]
    fn an_innocent_job_says_behind_which_one_it_waits() {
        let behind = "look-up /a\\\", queued 2.1s behind look-up /mnt/slow/b, running for 9.3s on tidemill-io-1";
        assert_eq!(sentence(&innocent(0)).to_string(), behind);
        assert_eq!(sentence(&innocent(3)).to_string(), format!("{behind}; 3 more queued before it"));
        let running = JobWait { job: stalled(), behind: None };
        assert_eq!(sentence(&running).to_string(), "look-up /mnt/slow/b, running for 9.3s on tidemill-io-1");
        let expected = r#"{"kind":"look-up","subject":"/a\\\"","connection":9,"ms":2100,"state":"queued","ahead":0,"wanted":true,"waiting":[{"connection":9}],"behind":{"kind":"look-up","subject":"/mnt/slow/b","connection":7,"ms":9300,"state":"running","thread":"tidemill-io-1","waiting":[{"connection":7}]}}"#;
        assert_eq!(wait_object(&innocent(0)), expected);
    }

    #[test]
    fn all_jobs_are_listed_with_who_waits_and_what_took_long() {
        let mut joined = stalled();
        joined.waiting.extend((2..=8).map(|stream| Requester { connection: 12, stream }));
        let gone = JobStatus { waiting: Vec::new(), ..stalled() };
        let refresh = job(JobKind::Refresh, b"/hot", 3, JobPlace::Running("tidemill-io-2".into()), 1);
        let certificates = JobStatus { name: JobName::new(JobKind::Certificates, b"", None), ..refresh.clone() };
        let ended = std::time::UNIX_EPOCH + Duration::from_millis(784_111_777_123);
        let long = |ms: u32| LongJobStatus { name: stalled().name, took: ms * MS, ended };
        let jobs = JobsStatus {
            quick_queued: 3,
            slow_queued: 1,
            names_queued: 2,
            passwords_queued: 1,
            running: vec![joined, gone, refresh, certificates],
            queued: vec![innocent(0).job],
            past: LongJobs {
                ran: vec![("look-up", 2)],
                longest: vec![long(12_000), long(1500)],
                delayed: 4,
                most_delayed: Some(long(2000)),
            },
        };
        let mut text = String::new();
        write_jobs(&mut text, &jobs).unwrap();
        let expected = "
jobs: 4 running; queued: 3 quick, 1 slow, 2 names, 1 passwords
  tidemill-io-1       9.3s  look-up /mnt/slow/b  c=7, c=12 s=2, c=12 s=3, c=12 s=4, c=12 s=5 and 3 more
  tidemill-io-1       9.3s  look-up /mnt/slow/b  asked for by c=7; nobody waits for it any more
  tidemill-io-2      1.0ms  refresh /hot  asked for by c=3
  tidemill-io-2      1.0ms  certificates
  queued              2.1s  look-up /a\\\"  c=9
  ... and 6 more queued
jobs that ran for a second or longer: look-up 2; the longest, in UTC:
  08:49:37.123       12.0s  look-up /mnt/slow/b  c=7
  08:49:37.123        1.5s  look-up /mnt/slow/b  c=7
jobs that were queued for a second or longer: 4; the longest, in UTC:
  08:49:37.123        2.0s  look-up /mnt/slow/b  c=7
";
        assert_eq!(text, expected);
        let object: serde_json::Value = serde_json::from_str(&object(&jobs)).unwrap();
        assert_eq!(object["running"][0]["waiting"][7], serde_json::json!({"connection": 12, "stream": 8}));
        assert_eq!(object["queued"][0]["subject"], "/a\\\"");
        assert_eq!((&object["long"]["look-up"], &object["longest"][1]["ms"]), (&2.into(), &1500.into()));
        assert_eq!((&object["delayed"], &object["most_delayed"]["ms"]), (&4.into(), &2000.into()));
        assert_eq!(object["most_delayed"]["ended"], "1994-11-06T08:49:37.123Z");
    }
}
