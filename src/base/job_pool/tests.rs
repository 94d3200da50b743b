use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::told::LONGEST_KEPT;
use super::*;
use crate::base::slots::Token;
use crate::base::wake::{Interrupt, Wake, WakeKey, Wakes};

const PATIENCE: Duration = Duration::from_secs(30);
const KEY: WakeKey = WakeKey { token: Token { index: 3, generation: 4 }, stream: 0 };

struct ChannelInterrupt(Mutex<Sender<()>>);

impl Interrupt for ChannelInterrupt {
    fn wake(&self) {
        self.0.lock().unwrap().send(()).expect("the test is still waiting");
    }
}

fn name(lane: Lane, subject: &str) -> JobName {
    let kind = match lane {
        Lane::Quick => JobKind::LookUp,
        Lane::Slow => JobKind::List,
        Lane::Names => JobKind::Resolve,
        Lane::Passwords => JobKind::Password,
    };
    JobName::new(kind, subject.as_bytes(), None)
}

/// A pool, and the event loop's side of it.
struct World {
    pool: JobPool,
    wakes: Wakes,
    interrupts: Receiver<()>,
}

impl World {
    fn new(threads: usize, quick_max: usize, slow_max: usize) -> World {
        World::of(JobPoolLimits { threads, quick_max, slow_max, ..JobPoolLimits::default() })
    }

    fn of(limits: JobPoolLimits) -> World {
        let (sender, interrupts) = channel();
        let pool = JobPool::new(limits, Instant::now).unwrap();
        World { pool, wakes: Wakes::new(ChannelInterrupt(Mutex::new(sender))), interrupts }
    }

    fn submit<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Ticket<T>, QueueFull> {
        self.pool.submit(name(lane, "/a"), self.wakes.waker(KEY), work)
    }

    /// A job that has started and stays until the sender returned is used or dropped.
    fn stall(&self, lane: Lane) -> (Sender<()>, Ticket<()>) {
        let (release, released) = channel();
        let (start, started) = channel();
        let job = move || {
            start.send(()).unwrap();
            // An error is the sender's end, which releases as well.
            released.recv().unwrap_or_default();
        };
        let ticket = self.submit(lane, job).unwrap();
        started.recv_timeout(PATIENCE).expect("a thread is free");
        (release, ticket)
    }

    /// The ticket's result, after its wake.
    fn wait<T>(&self, ticket: &mut Ticket<T>) -> Result<T, JobDied> {
        loop {
            if let Some(answer) = ticket.take() {
                return answer;
            }
            self.interrupts.recv_timeout(PATIENCE).expect("a wake");
            self.wakes.collect(&mut Vec::new());
        }
    }
}

#[test]
fn a_result_is_there_when_its_notice_is_and_only_once() {
    let world = World::new(1, 1, 1);
    let before = Instant::now();
    let mut ticket = world.submit(Lane::Quick, || 6 * 7).unwrap();
    world.interrupts.recv_timeout(PATIENCE).unwrap();
    let mut keys = Vec::new();
    world.wakes.collect(&mut keys);
    assert!(keys.iter().all(|wake| wake.key == KEY && wake.job_began.is_some_and(|began| began >= before)));
    assert_eq!(keys.len(), 1);
    assert_eq!(ticket.take(), Some(Ok(42)), "stored before the wake was left");
    assert_eq!(ticket.take(), None);
}

#[test]
fn nothing_is_there_before_the_job_is_done() {
    let world = World::new(1, 1, 1);
    let (release, mut stalled) = world.stall(Lane::Quick);
    assert_eq!(stalled.take(), None);
    let mut queued = world.submit(Lane::Quick, || 1).unwrap();
    assert_eq!(queued.take(), None);
    drop(release);
    assert_eq!(world.wait(&mut stalled), Ok(()));
    assert_eq!(world.wait(&mut queued), Ok(1));
}

#[test]
fn a_full_queue_refuses_and_the_other_lane_does_not_notice() {
    let world = World::new(1, 2, 1);
    let (_release, _stalled) = world.stall(Lane::Quick);
    let _tickets = [(); 2].map(|()| world.submit(Lane::Quick, || ()).unwrap());
    assert_eq!(world.submit(Lane::Quick, || ()).unwrap_err(), QueueFull);
    let _slow = world.submit(Lane::Slow, || ()).unwrap();
    assert_eq!(world.submit(Lane::Slow, || ()).unwrap_err(), QueueFull);
    let numbers = world.pool.numbers();
    assert_eq!((numbers.quick_queued, numbers.slow_queued, numbers.running[JobKind::LookUp as usize]), (2, 1, 1));
}

#[test]
fn stalled_slow_jobs_never_delay_quick_ones() {
    let world = World::new(4, 8, 8);
    let stalled = [(); 3].map(|()| world.stall(Lane::Slow));
    let mut waiting = world.submit(Lane::Slow, || "slow").unwrap();
    for number in 0..100 {
        let mut quick = world.submit(Lane::Quick, move || number).unwrap();
        assert_eq!(world.wait(&mut quick), Ok(number));
    }
    assert_eq!(waiting.take(), None, "the last thread is kept for quick jobs");
    drop(stalled);
    assert_eq!(world.wait(&mut waiting), Ok("slow"));
}

#[test]
fn names_whose_servers_are_silent_delay_neither_other_names_nor_files() {
    let world = World::of(JobPoolLimits { name_threads_max: 3, names_max: 2, threads: 1, ..JobPoolLimits::default() });
    assert_eq!(world.pool.numbers(), JobNumbers::default());
    let mut stalled = vec![world.stall(Lane::Names), world.stall(Lane::Names)];
    for number in 0..20 {
        let mut name =
            world.submit(Lane::Names, move || (number, thread::current().name().map(str::to_string))).unwrap();
        assert_eq!(world.wait(&mut name), Ok((number, Some("tidemill-dns-2".to_string()))), "the third thread");
    }
    stalled.push(world.stall(Lane::Names));
    let mut waiting = [(); 2].map(|()| world.submit(Lane::Names, || "waited").unwrap());
    assert_eq!(world.submit(Lane::Names, || "").unwrap_err(), QueueFull);
    let mut files = [Lane::Quick, Lane::Slow].map(|lane| world.submit(lane, || "file").unwrap());
    files.iter_mut().for_each(|file| assert_eq!(world.wait(file), Ok("file")));
    // A thread is idle only some time after its job has given its result.
    while world.pool.numbers().running.iter().sum::<u64>() > 3 {
        thread::yield_now();
    }
    let (numbers, snapshot) = (world.pool.numbers(), world.pool.snapshot(9));
    assert_eq!(
        (numbers.names_queued, numbers.running[JobKind::Resolve as usize]),
        (2, 3),
        "three threads are the most"
    );
    let holder = snapshot.holders[Lane::Names as usize].as_ref().unwrap();
    assert_eq!(
        (holder.thread_name().as_str(), snapshot.running.len(), snapshot.queued.len()),
        ("tidemill-dns-0", 3, 2)
    );
    assert!(snapshot.holders[..2].iter().all(Option::is_none), "names keep no file waiting");
    assert!(waiting.each_mut().map(Ticket::take).iter().all(Option::is_none));
    drop(stalled.remove(0));
    waiting.iter_mut().for_each(|name| assert_eq!(world.wait(name), Ok("waited")));
}

#[test]
fn passwords_delay_neither_files_nor_names_and_only_so_many_wait() {
    let world = World::of(JobPoolLimits { password_threads_max: 2, passwords_max: 3, ..JobPoolLimits::default() });
    let stalled = [(); 2].map(|()| world.stall(Lane::Passwords));
    let mut waiting = [(); 3].map(|()| world.submit(Lane::Passwords, || "checked").unwrap());
    assert_eq!(world.submit(Lane::Passwords, || "").unwrap_err(), QueueFull);
    let mut others = [Lane::Quick, Lane::Slow, Lane::Names].map(|lane| world.submit(lane, move || lane).unwrap());
    others.iter_mut().for_each(|other| assert!(world.wait(other).is_ok()));
    let (numbers, snapshot) = (world.pool.numbers(), world.pool.snapshot(9));
    assert_eq!((numbers.passwords_queued, numbers.running[JobKind::Password as usize]), (3, 2));
    let holder = snapshot.holders[Lane::Passwords as usize].as_ref().unwrap();
    assert_eq!(holder.thread_name(), "tidemill-pw-0");
    assert!(snapshot.holders[..3].iter().all(Option::is_none), "passwords keep nobody else waiting");
    drop(stalled);
    waiting.iter_mut().for_each(|password| assert_eq!(world.wait(password), Ok("checked")));
}

#[test]
#[cfg(target_os = "linux")]
fn a_thread_that_checks_passwords_gives_way_to_all_others() {
    let world = World::new(1, 1, 1);
    // The 19th field of stat is the nice value (proc_pid_stat(5)); the second one may have blanks, and ends with a parenthesis.
    let nice = || {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
    };
    let mut nices = [Lane::Passwords, Lane::Quick, Lane::Names].map(|lane| world.submit(lane, nice).unwrap());
    let [password, file, name] = nices.each_mut().map(|ticket| world.wait(ticket).unwrap());
    let own = nice();
    assert_eq!((password, file, name), ((own + 10).min(19), own, own));
}

#[test]
fn a_thread_for_names_is_made_only_when_no_other_is_idle() {
    let world = World::new(1, 1, 1);
    let idle = |world: &World| world.pool.numbers().running.iter().sum::<u64>() == 0;
    for _ in 0..50 {
        // The thread is idle again only some time after it has given its result.
        while !idle(&world) {
            thread::yield_now();
        }
        let mut name = world.submit(Lane::Names, || thread::current().name().map(str::to_string)).unwrap();
        assert_eq!(world.wait(&mut name), Ok(Some("tidemill-dns-0".to_string())));
    }
}

#[test]
fn the_last_handle_ends_the_threads_for_names() {
    let world = World::of(JobPoolLimits { name_threads_max: 1, ..JobPoolLimits::default() });
    let (release, mut stalled) = world.stall(Lane::Names);
    let mut queued = world.submit(Lane::Names, || ()).unwrap();
    let Runner::Threads(owner) = &world.pool.0 else { panic!("it has threads") };
    let shared = Arc::downgrade(&owner.shared);
    let World { pool, wakes, interrupts } = world;
    drop(pool);
    assert_eq!(queued.take(), Some(Err(JobDied)));
    drop(release);
    interrupts.recv_timeout(PATIENCE).unwrap();
    wakes.collect(&mut Vec::new());
    assert_eq!(stalled.take(), Some(Ok(())));
    while shared.strong_count() > 0 {
        thread::yield_now();
    }
}

#[test]
fn a_single_thread_runs_both_lanes_in_the_order_of_submission() {
    let world = World::new(1, 50, 50);
    let (release, _stalled) = world.stall(Lane::Slow);
    let (ran, order) = channel();
    let submit = |number: usize| {
        let ran = ran.clone();
        let lane = if number.is_multiple_of(3) { Lane::Slow } else { Lane::Quick };
        world.submit(lane, move || ran.send(number).unwrap()).unwrap()
    };
    let _tickets: Vec<_> = (0..60).map(submit).collect();
    drop(release);
    let order: Vec<usize> = (0..60).map(|_| order.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(order, (0..60).collect::<Vec<_>>());
}

#[test]
fn a_panic_ends_its_job_and_not_its_thread() {
    let world = World::new(1, 8, 8);
    for lane in [Lane::Quick, Lane::Slow] {
        let mut dying = world.submit(lane, || -> u8 { panic!("a job that panics, on purpose") }).unwrap();
        assert_eq!(world.wait(&mut dying), Err(JobDied));
        let mut next = world.submit(lane, || thread::current().name().map(str::to_string)).unwrap();
        assert_eq!(world.wait(&mut next), Ok(Some("tidemill-io-0".to_string())));
    }
}

#[test]
fn a_job_whose_ticket_is_gone_is_skipped_and_leaves_no_notice() {
    let world = World::new(1, 8, 8);
    let (release, stalled) = world.stall(Lane::Quick);
    let (ran, runs) = channel();
    let other = ran.clone();
    let abandoned = world.submit(Lane::Quick, move || ran.send("abandoned").unwrap()).unwrap();
    let mut wanted = world.submit(Lane::Quick, move || other.send("wanted").unwrap()).unwrap();
    drop((abandoned, stalled, release));
    assert_eq!(world.wait(&mut wanted), Ok(()));
    assert_eq!(runs.iter().collect::<Vec<_>>(), ["wanted"]);
}

#[test]
fn abandoned_jobs_do_not_keep_others_out() {
    let world = World::new(1, 3, 1);
    let (release, _stalled) = world.stall(Lane::Quick);
    let mut first = world.submit(Lane::Quick, || 1).unwrap();
    for _ in 0..2 {
        drop(world.submit(Lane::Quick, || 0).unwrap());
    }
    let mut second = world.submit(Lane::Quick, || 2).unwrap();
    let mut third = world.submit(Lane::Quick, || 3).unwrap();
    assert!(world.submit(Lane::Quick, || 4).is_err(), "three are wanted");
    drop(release);
    let answers = [&mut first, &mut second, &mut third].map(|ticket| world.wait(ticket));
    assert_eq!(answers, [Ok(1), Ok(2), Ok(3)]);
}

#[test]
fn the_numbers_say_since_when_the_longest_job_runs() {
    let world = World::new(3, 8, 8);
    assert_eq!(world.pool.numbers(), JobNumbers::default());
    let before = Instant::now();
    let (release, mut long) = world.stall(Lane::Slow);
    let between = Instant::now();
    let (_release, _stalled) = world.stall(Lane::Quick);
    let numbers = world.pool.numbers();
    let since = numbers.longest_since.unwrap();
    assert!(before <= since && since <= between, "the longest, not the last");
    assert_eq!(numbers.running.iter().sum::<u64>(), 2);
    drop(release);
    world.wait(&mut long).unwrap();
}

#[test]
fn a_snapshot_names_what_runs_and_what_waits_behind_what() {
    let world = World::new(3, 8, 8);
    assert!(world.pool.snapshot(8).running.is_empty());
    let (_slow_gate, _slow) = world.stall(Lane::Slow);
    let (_other_gate, _other) = world.stall(Lane::Slow);
    let mut tickets = vec![world.submit(Lane::Slow, || ()).unwrap()];
    let snapshot = world.pool.snapshot(8);
    let holder = |snapshot: &JobsSnapshot, lane: Lane| snapshot.holders[lane as usize].as_ref().map(|job| job.thread);
    assert_eq!(snapshot.queued.len(), 1, "the last thread is kept for quick jobs");
    assert!(holder(&snapshot, Lane::Slow).is_some() && holder(&snapshot, Lane::Quick).is_none());
    let (_quick_gate, _quick) = world.stall(Lane::Quick);
    drop(world.submit(Lane::Quick, || ()).unwrap());
    tickets.push(world.pool.submit(name(Lane::Quick, "/b"), world.wakes.waker(KEY), || ()).unwrap());
    let snapshot = world.pool.snapshot(8);
    let queued: Vec<_> =
        snapshot.queued.iter().map(|job| (job.job.name.to_string(), job.ahead, job.is_wanted)).collect();
    let expected = [("list /a", 0, true), ("look-up /a", 0, false), ("look-up /b", 1, true)];
    assert_eq!(queued, expected.map(|(name, ahead, is_wanted)| (name.to_string(), ahead, is_wanted)), "oldest first");
    assert!(snapshot.queued[0].since <= snapshot.queued[1].since);
    let oldest = snapshot.running.iter().min_by_key(|running| running.since).unwrap();
    assert_eq!(oldest.job.name.to_string(), "list /a");
    assert_eq!(holder(&snapshot, Lane::Quick), Some(oldest.thread), "that would also let a quick one run");
    assert_eq!(world.pool.snapshot(2).queued.len(), 2);
}

#[test]
fn whoever_joins_is_woken_as_well_even_if_the_job_dies() {
    let world = World::new(1, 8, 8);
    let (release, _stalled) = world.stall(Lane::Quick);
    let dying = world.submit(Lane::Quick, || -> u8 { panic!("a job that panics, on purpose") }).unwrap();
    let other = WakeKey { stream: 5, ..KEY };
    dying.also_wake(world.wakes.waker(other));
    assert_eq!(world.pool.snapshot(1).queued[0].job.wakes(), [KEY, other]);
    drop(release);
    let mut woken = Vec::new();
    while !woken.iter().any(|wake: &Wake| wake.key == other) {
        world.interrupts.recv_timeout(PATIENCE).unwrap();
        world.wakes.collect(&mut woken);
    }
}

#[test]
fn the_watch_is_called_around_jobs_that_somebody_wants() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let watch = move |name: &JobName, step| {
        let thread = thread::current().name().map(str::to_string);
        tell.lock().unwrap().send((name.to_string(), step, thread)).unwrap();
    };
    let limits = JobPoolLimits { threads: 1, quick_max: 8, slow_max: 8, ..JobPoolLimits::default() };
    let pool = JobPool::watched(limits, Instant::now, watch).unwrap();
    let (sender, interrupts) = channel();
    let world = World { pool, wakes: Wakes::new(ChannelInterrupt(Mutex::new(sender))), interrupts };
    let (release, _stalled) = world.stall(Lane::Slow);
    drop(world.submit(Lane::Quick, || ()).unwrap());
    drop(release);
    let mut last = world.submit(Lane::Quick, || ()).unwrap();
    world.wait(&mut last).unwrap();
    let told: Vec<_> = (0..4).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
    let thread = Some("tidemill-io-0".to_string());
    let around = |name: &str| [JobStep::Begins, JobStep::Ended].map(|step| (name.to_string(), step, thread.clone()));
    assert_eq!(told, [around("list /a"), around("look-up /a")].concat());
}

#[test]
fn long_jobs_and_long_waits_are_remembered() {
    static AHEAD_MS: AtomicU64 = AtomicU64::new(0);
    let clock = || Instant::now() + Duration::from_millis(AHEAD_MS.load(Ordering::Relaxed));
    let pool =
        JobPool::new(JobPoolLimits { threads: 1, quick_max: 99, slow_max: 1, ..JobPoolLimits::default() }, clock)
            .unwrap();
    let (sender, interrupts) = channel();
    let world = World { pool, wakes: Wakes::new(ChannelInterrupt(Mutex::new(sender))), interrupts };
    for long_ms in 1000..1000 + 2 * LONGEST_KEPT as u64 {
        let (release, mut stalled) = world.stall(Lane::Quick);
        let mut behind = world.submit(Lane::Slow, || ()).unwrap();
        AHEAD_MS.fetch_add(10 * long_ms, Ordering::Relaxed);
        drop(release);
        world.wait(&mut stalled).unwrap();
        world.wait(&mut behind).unwrap();
    }
    let mut last = world.submit(Lane::Quick, || ()).unwrap();
    world.wait(&mut last).unwrap();
    let (numbers, snapshot) = (world.pool.numbers(), world.pool.snapshot(0));
    let of = |counts: [u64; JobKind::COUNT]| (counts[JobKind::LookUp as usize], counts[JobKind::List as usize]);
    let all = 2 * LONGEST_KEPT as u64;
    assert_eq!((of(numbers.long), of(numbers.done).1, numbers.delayed), ((all, 0), all, all));
    assert_eq!(snapshot.longest.len(), LONGEST_KEPT);
    assert!(snapshot.longest.is_sorted_by(|one, other| one.took > other.took), "{:?}", snapshot.longest);
    let most = snapshot.most_delayed.unwrap();
    assert_eq!(most.job.name.kind, JobKind::List);
    assert!(most.took >= Duration::from_millis(10 * (1000 + all - 1)), "{most:?}");
}

#[test]
fn the_last_handle_ends_the_threads_and_what_waits_dies() {
    let world = World::new(1, 8, 8);
    let clone = world.pool.clone();
    let (release, mut stalled) = world.stall(Lane::Quick);
    let (ran, runs) = channel();
    let mut queued = world.submit(Lane::Quick, move || ran.send(()).unwrap()).unwrap();
    let World { pool, wakes, interrupts } = world;
    drop(pool);
    assert_eq!(queued.take(), None, "one handle is left");
    drop(clone);
    assert_eq!(queued.take(), Some(Err(JobDied)), "without waiting for the job that runs");
    assert_eq!(queued.take(), None);
    assert!(runs.recv_timeout(PATIENCE).is_err(), "it never ran");
    drop(release);
    interrupts.recv_timeout(PATIENCE).unwrap();
    wakes.collect(&mut Vec::new());
    assert_eq!(stalled.take(), Some(Ok(())), "a job that runs is finished");
}

#[test]
fn many_submitters_lose_nothing() {
    let world =
        World::of(JobPoolLimits { quick_max: 4000, slow_max: 4000, names_max: 4000, ..JobPoolLimits::default() });
    let submit = |number: u64| world.submit(Lane::ALL[number as usize % 3], move || number).unwrap();
    let tickets: Vec<_> = (0..4000).map(submit).collect();
    let sum: u64 = tickets.into_iter().map(|mut ticket| world.wait(&mut ticket).unwrap()).sum();
    assert_eq!(sum, 3999 * 4000 / 2);
}

#[test]
fn held_jobs_are_run_by_whoever_takes_them_and_only_if_they_are_wanted() {
    let (pool, held) = JobPool::held();
    let (sender, interrupts) = channel();
    let wakes = Wakes::new(ChannelInterrupt(Mutex::new(sender)));
    let submit = |subject: &str, result: u32| {
        pool.submit(name(Lane::Names, subject), wakes.waker(KEY), move || result).expect("nothing is full")
    };
    let (mut first, second, mut third) = (submit("one", 1), submit("two", 2), submit("three", 3));
    drop(second);
    assert_eq!((first.take(), interrupts.try_recv().is_ok()), (None, false), "nobody has run it");
    let run = || held.take().map(|job| (job.name().to_string(), job.run()).0);
    assert_eq!([run(), run()], [Some("resolve one".to_owned()), Some("resolve two".to_owned())]);
    assert_eq!((first.take(), interrupts.try_iter().count()), (Some(Ok(1)), 1));
    assert_eq!((run(), third.take()), (Some("resolve three".to_owned()), Some(Ok(3))));
    assert_eq!(run(), None);
}
