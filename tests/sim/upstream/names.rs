//! Where the names of upstreams lead, as time goes by, and how long it takes to find out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidemill::base::job_pool::{HeldJob, HeldJobs, JobPool};
use tidemill::base::resolved::Resolved;
use tidemill::service::proxy::names::{INTERVAL_MAX, INTERVAL_MIN, Resolve};

use crate::dice::Dice;

/// The server learns of an answer in a turn that may have begun before it came: by its time, names are due so much earlier.
const TURN: Duration = Duration::from_millis(1);
/// How exactly names are asked for when they are due.
const TOLERANCE: Duration = Duration::from_millis(500);
/// For so long the server may not know what has just been found.
const CROSSING: Duration = Duration::from_secs(1);
/// How long it takes to find out what a name stands for where that must not fail.
pub const LOOKUP_MAX: Duration = Duration::from_secs(3);

/// What is found for a name.
type Found = Result<Resolved, String>;

/// Names, and the jobs that look them up.
pub struct Names {
    zone: Arc<Mutex<Zone>>,
    held: HeldJobs,
    jobs: JobPool,
    running: BTreeMap<u64, HeldJob>,
    begun: u64,
    entries: BTreeMap<String, Entry>,
    /// Addresses that no name leads to any more, as far as the server can know, since when.
    left: BTreeMap<IpAddr, Duration>,
    is_wild: bool,
    dice: Dice,
}

/// What the resolver knows. The jobs look into it.
#[derive(Default)]
struct Zone {
    now: Duration,
    /// For each name, what it stands for from each of these times on.
    names: BTreeMap<String, Vec<(Duration, Found)>>,
    /// What was found last.
    found: Option<Found>,
}

/// What the server knows of a name.
#[derive(Default)]
struct Entry {
    addresses: Vec<IpAddr>,
    failures: u32,
    /// When it must ask again; `None` while it asks.
    due: Option<Duration>,
}

impl Names {
    /// Draws where so many names lead. In wild worlds that may be nowhere.
    pub fn draw(count: usize, is_wild: bool, mut dice: Dice) -> Names {
        let mut zone = Zone::default();
        for place in 0..count {
            let mut at = Duration::ZERO;
            let mut answers = Vec::new();
            for _ in 0..dice.between(1, 6) {
                answers.push((at, draw_answer(place, is_wild, &mut dice)));
                at += dice.millis(1, 15_000);
            }
            zone.names.insert(Names::host(place), answers);
        }
        let entries =
            zone.names.keys().map(|host| (host.clone(), Entry { due: Some(Duration::ZERO), ..Entry::default() }));
        let (entries, (jobs, held)) = (entries.collect(), JobPool::held());
        let (running, left) = (BTreeMap::new(), BTreeMap::new());
        Names { entries, zone: Arc::new(Mutex::new(zone)), held, jobs, running, begun: 0, left, is_wild, dice }
    }

    /// The name of the upstream at this place.
    pub fn host(place: usize) -> String {
        format!("upstream-{place}.sim")
    }

    /// The pool whose jobs take their time here.
    pub fn jobs(&self) -> JobPool {
        self.jobs.clone()
    }

    /// What finds the addresses of a name.
    pub fn resolver(&self) -> Resolve {
        let zone = Arc::clone(&self.zone);
        Arc::new(move |host| zone.lock().unwrap_or_else(PoisonError::into_inner).resolve(host))
    }

    /// Takes a job that was submitted, if one was. Returns its number, and how long it takes.
    ///
    /// # Errors
    /// The name was not due.
    pub fn begin(&mut self, now: Duration) -> Option<Result<(u64, Duration), String>> {
        let job = self.held.take()?;
        let host = job.name().subject().to_string();
        let due = self.entries.get_mut(&host).and_then(|entry| entry.due.take());
        if due.is_none_or(|due| now + TURN < due || now > due + TOLERANCE) {
            return Some(Err(format!("{host} is looked up, but was due at {due:?}")));
        }
        self.begun += 1;
        self.running.insert(self.begun, job);
        let wait = match self.dice.below(4) {
            0 if self.is_wild => self.dice.millis(0, 12_000),
            0 | 1 => self.dice.millis(0, LOOKUP_MAX.as_millis() as u64),
            _ => self.dice.micros(0, 20_000),
        };
        Some(Ok((self.begun, wait)))
    }

    /// What is wrong with when names are looked up: none is forgotten.
    pub fn check_due(&self, now: Duration) -> Result<(), String> {
        let late = |entry: &Entry| entry.due.is_some_and(|due| now > due + TOLERANCE);
        match self.entries.iter().find(|(_, entry)| late(entry)) {
            Some((host, entry)) => Err(format!("{host} was to be looked up at {:?}", entry.due)),
            None => Ok(()),
        }
    }

    /// A job has taken its time.
    pub fn finish(&mut self, number: u64, now: Duration) {
        let Some(job) = self.running.remove(&number) else { return };
        let host = job.name().subject().to_string();
        self.lock().now = now;
        job.run();
        let found = self.lock().found.take();
        let Some(entry) = self.entries.get_mut(&host) else { return };
        match found {
            Some(Ok(Resolved { addresses, ttl })) if !addresses.is_empty() => {
                let gone = entry.addresses.iter().filter(|address| !addresses.contains(address));
                self.left.extend(gone.map(|address| (*address, now)));
                (entry.addresses, entry.failures) = (addresses, 0);
                entry.due = Some(now + ttl.clamp(INTERVAL_MIN, INTERVAL_MAX));
            }
            Some(_) => {
                entry.failures += 1;
                let wait = INTERVAL_MIN * (1 << (entry.failures - 1).min(8));
                entry.due = Some(now + wait.min(INTERVAL_MAX));
            }
            // The server has gone.
            None => {}
        }
    }

    /// What is wrong with a connection to this address.
    pub fn check(&self, address: IpAddr, now: Duration) -> Result<(), String> {
        let is_known = self.entries.values().any(|entry| entry.addresses.contains(&address));
        let has_just_left = self.left.get(&address).is_some_and(|left| now < *left + CROSSING);
        match is_known || has_just_left {
            true => Ok(()),
            false => Err(format!("no name leads to {address} any more, since {:?}", self.left.get(&address))),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Zone {
    fn resolve(&mut self, host: &str) -> Found {
        let answers = self.names.get(host).into_iter().flatten();
        let found = answers.take_while(|(from, _)| *from <= self.now).last();
        let found = found.map_or_else(|| Err("no such name".to_owned()), |(_, found)| found.clone());
        self.found = Some(found.clone());
        found
    }
}

fn draw_answer(place: usize, is_wild: bool, dice: &mut Dice) -> Found {
    let ttl = Duration::from_secs(dice.pick(&[0, 1, 2, 5, 60]));
    match dice.below(4) {
        0 if is_wild => Err("no answer".to_owned()),
        1 if is_wild && dice.chance(300) => Ok(Resolved { addresses: Vec::new(), ttl }),
        _ => {
            let first = dice.between(1, 4) as u8;
            let count = dice.between(1, 3) as u8;
            let address = |n| IpAddr::V4(Ipv4Addr::new(10, 9, place as u8, n));
            Ok(Resolved { addresses: (first..first + count).map(address).collect(), ttl })
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.lock().names).finish()
    }
}
