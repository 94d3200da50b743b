//! One seed, one world: drawn, run to its end, and judged.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidemill::base::limits::Limits;
use tidemill::base::listener_role::ListenerRole;
use tidemill::base::wake::Wakes;
use tidemill::event_loop::{EventLoop, Outcome};
use tidemill::net::torture::{Faults as TortureFaults, Torture};
use tidemill::net::{Reactor, Signal};

use crate::access_log::LogAudit;
use crate::client::Client;
use crate::dice::Dice;
use crate::echo_kinds;
use crate::h2;
use crate::kinds::{self, Draw};
use crate::link::Nature;
use crate::proxied::{Proxied, QueueWatch, Replacing};
use crate::reactor::{SharedWorld, SimReactor, SimWake};
use crate::secured::{self, Clients};
use crate::service::SimService;
use crate::talks;
use crate::timeline::Timeline;
use crate::tortured::Tortured;
use crate::tunnel;
use crate::world::{Faults, World, turn_bytes_max};

/// Turns after which a world is not interesting any more but broken.
const TURNS_MAX: u64 = 3_000_000;
/// Time after which everything has happened that can. Some worlds have an hour to drain.
const AGE_MAX: Duration = Duration::from_secs(6 * 3600);
/// Clients in a world of TLS, whose handshakes take time to compute.
#[cfg(feature = "_tls")]
const TLS_CLIENTS_MAX: usize = 8;
/// A ring for records, in bytes.
#[cfg(feature = "_tls")]
const RECORDS_BYTES: usize = 68 * 1024;
/// Clients of HTTP/1 in a world of HTTP/2.
const HTTP1_CLIENTS_MAX: usize = 4;
/// The smallest outbox in a world of HTTP/2, in bytes.
const OUTBOX_BYTES_MIN: usize = 4096;
/// Clients in a world with upstreams.
const PROXY_CLIENTS_MAX: usize = 12;
/// The tags of HTTP/2 are above those of HTTP/1.
const HTTP2_TAGS: u64 = 1_000_000;
/// And those of tunnels above these.
const TUNNEL_TAGS: u64 = 2_000_000;
/// Clients of HTTP/2 in a world where all their requests may wait for a name: so many have room in the queue.
const WAITING_HTTP2_MAX: usize = 4;
/// How long a good upstream may take for a response.
const UPSTREAMS_SLACK: Duration = Duration::from_secs(60);
/// How long a connection may outlive its client beyond every timeout.
const SLACK: Duration = Duration::from_secs(5);

/// Sets the choices of the echo protocols' clients apart from all others.
const ECHO_SALT: u64 = 0x6563_686f;

/// How a world went.
pub struct Report {
    /// What went wrong, if anything did.
    pub failure: Option<String>,
    /// The record, if there is one.
    pub timeline: Timeline,
    /// Turns the loop made.
    pub turns: u64,
    /// Kinds of the clients that were in it.
    pub kinds: Vec<&'static str>,
}

/// How a world is run: from its seed, with a record of what happens or without.
pub type Run = fn(u64, bool) -> Report;

/// Runs the world of `seed`.
pub fn run(seed: u64, record: bool) -> Report {
    run_with(seed, record, |reactor| reactor)
}

/// Runs the world of `seed` with the torture that the binary offers on top of it.
pub fn run_tortured(seed: u64, record: bool) -> Report {
    run_with(seed, record, |reactor| Tortured::new(reactor, torture(seed)))
}

/// The torture of a world.
pub fn torture(seed: u64) -> Torture {
    // Above that, waiting without need would look like spinning.
    let would_block = [0.05, 0.3, 0.6][(seed % 3) as usize];
    Torture::new(TortureFaults { seed, short_read: true, short_write: true, would_block })
}

/// Runs the world of `seed`, in which all clients speak TLS.
#[cfg(feature = "_tls")]
pub fn run_tls(seed: u64, record: bool) -> Report {
    run_plan(Plan::draw_tls, seed, record, |reactor| reactor)
}

/// The same under torture, which is beneath TLS.
#[cfg(feature = "_tls")]
pub fn run_tls_tortured(seed: u64, record: bool) -> Report {
    run_plan(Plan::draw_tls, seed, record, |reactor| Tortured::new(reactor, torture(seed)))
}

/// Runs the world of `seed`, in which upstreams answer.
pub fn run_proxy(seed: u64, record: bool) -> Report {
    run_plan(Plan::draw_proxy, seed, record, |reactor| reactor)
}

/// The same under torture.
pub fn run_proxy_tortured(seed: u64, record: bool) -> Report {
    let draw = |dice: &mut Dice| Plan { is_tortured: true, ..Plan::draw_proxy(dice) };
    run_plan(draw, seed, record, |reactor| Tortured::new(reactor, torture(seed)))
}

/// Runs the world of `seed`, in which clients speak HTTP/2, and some HTTP/1.
pub fn run_http2(seed: u64, record: bool) -> Report {
    run_plan(Plan::draw_http2, seed, record, |reactor| reactor)
}

/// The same over TLS, where HTTP/2 is agreed on by ALPN.
#[cfg(feature = "_tls")]
pub fn run_http2_tls(seed: u64, record: bool) -> Report {
    run_plan(Plan::draw_http2_tls, seed, record, |reactor| reactor)
}

/// The same under torture.
pub fn run_http2_tortured(seed: u64, record: bool) -> Report {
    run_plan(Plan::draw_http2, seed, record, |reactor| Tortured::new(reactor, torture(seed)))
}

fn run_with<R: Reactor>(seed: u64, record: bool, kernel: impl FnOnce(SimReactor) -> R) -> Report {
    let draw = |dice: &mut Dice| {
        let mut plan = Plan::draw(dice);
        plan.invite(Dice::new(!seed));
        plan.invite_echoes(Dice::new(seed.rotate_left(32) ^ ECHO_SALT));
        plan
    };
    run_plan(draw, seed, record, kernel)
}

fn run_plan<R: Reactor>(
    draw: impl FnOnce(&mut Dice) -> Plan,
    seed: u64,
    record: bool,
    kernel: impl FnOnce(SimReactor) -> R,
) -> Report {
    let mut dice = Dice::new(seed);
    let plan = draw(&mut dice);
    let world = plan.world(&mut dice, Timeline::new(record));
    let mut turns = 0;
    let ran = catch_unwind(AssertUnwindSafe(|| live(&world, &plan, &mut turns, kernel)));
    let error = match ran {
        Ok(result) => result.err(),
        Err(panic) => Some(format!("panics: {}", panic_text(&*panic))),
    };
    let mut world = world.borrow_mut();
    let failure = world.failure.take().or(error);
    let kinds = world.clients.iter().flatten().map(|client| client.kind()).collect();
    Report { failure, timeline: std::mem::take(&mut world.timeline), turns, kinds }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// What is drawn before the clients are.
struct Plan {
    limits: Limits,
    faults: Faults,
    clients: usize,
    pairs: usize,
    listeners: usize,
    stop: Option<Stop>,
    /// WebSockets, and the choices they follow from.
    talks: usize,
    talk_dice: Dice,
    /// Clients of the echo protocols, and the choices they follow from.
    echoes: usize,
    echo_dice: Dice,
    /// Clients of HTTP/2, and the choices they follow from.
    http2: usize,
    http2_dice: Dice,
    /// The clients speak TLS.
    is_secured: bool,
    /// Who answers stands behind a proxy.
    proxied: Option<Proxied>,
    /// The binary's torture is on top of the kernel.
    is_tortured: bool,
}

/// The clients of a world that speak TLS, and the choices they follow from.
type Secured = Option<(Clients, RefCell<Dice>)>;

struct Stop {
    at: Duration,
    first: Signal,
    again: Option<Duration>,
    /// Whether there is time enough for everybody.
    ample: bool,
}

impl Plan {
    fn draw(dice: &mut Dice) -> Plan {
        let clients = dice.size(1, 24);
        let stop = dice.chance(250).then(|| Stop::draw(dice));
        let crowded = dice.chance(200);
        let mut limits = limits(dice);
        limits.connections_max = if crowded { dice.between(1, clients) } else { 1000 };
        if let Some(stop) = &stop {
            limits.drain_timeout = if stop.ample { Duration::from_secs(3600) } else { dice.millis(10, 3000) };
        }
        let faults = faults(dice, clients, &limits);
        let meets = !crowded && stop.is_none() && faults.descriptors_max > 1000;
        let pairs = if meets && dice.chance(300) { dice.between(1, 3) } else { 0 };
        let listeners = dice.between(1, 3);
        let none = Dice::new(0);
        Plan {
            limits,
            faults,
            clients,
            pairs,
            listeners,
            stop,
            talks: 0,
            talk_dice: none.clone(),
            echoes: 0,
            echo_dice: none.clone(),
            http2: 0,
            http2_dice: none,
            is_secured: false,
            proxied: None,
            is_tortured: false,
        }
    }

    /// A world in which upstreams answer.
    fn draw_proxy(dice: &mut Dice) -> Plan {
        let mut plan = Plan::draw(dice);
        let proxied = Proxied::draw(dice);
        plan.clients = plan.clients.min(PROXY_CLIENTS_MAX);
        plan.pairs = 0;
        let limits = &mut plan.limits;
        // The heads of requests become longer on their way.
        limits.outbox_bytes = limits.outbox_bytes.max(limits.inbox_bytes + 1024);
        if !proxied.is_wild {
            (plan.faults.descriptors_max, plan.faults.out_of_descriptors) = (usize::MAX, None);
        }
        plan.faults.turn_bytes_max = turn_bytes_max(limits);
        plan.proxied = Some(proxied);
        if dice.chance(400) {
            plan.clients = plan.clients.min(HTTP1_CLIENTS_MAX);
            plan = plan.with_http2(dice);
        }
        dice.give_tags(0);
        plan.http2_dice.give_tags(HTTP2_TAGS);
        if plan.proxied.as_ref().is_some_and(|proxied| proxied.has_names) {
            plan.http2 = plan.http2.min(WAITING_HTTP2_MAX);
        }
        plan
    }

    /// A world in which most clients speak HTTP/2.
    fn draw_http2(dice: &mut Dice) -> Plan {
        let plan = Plan::draw(dice);
        Plan { clients: plan.clients.min(HTTP1_CLIENTS_MAX), pairs: 0, ..plan }.with_http2(dice)
    }

    fn with_http2(self, dice: &mut Dice) -> Plan {
        let mut plan = self;
        let limits = &mut plan.limits;
        // Frames of the connection have a part of the outbox for themselves.
        limits.outbox_bytes = limits.outbox_bytes.max(OUTBOX_BYTES_MIN);
        // What is awaited of a slow client may stand behind other streams with its kernel.
        limits.body_timeout = Duration::from_secs(300);
        limits.ws_ping_interval = Duration::from_secs(60 + dice.below(28));
        let http2 = &mut limits.http2;
        http2.streams_max = dice.size(1, 100) as u32;
        http2.stream_window_bytes = dice.pick(&[1000, 65_535, 65_536, 300_000]);
        http2.upload_window_bytes_max = http2.stream_window_bytes.max(dice.pick(&[65_536, 1 << 20]));
        http2.connection_window_bytes = dice.pick(&[65_535, 1 << 20, 1 << 20]);
        http2.header_table_bytes = dice.pick(&[0, 100, 4096, 4096]);
        http2.stall_timeout = Duration::from_secs(5 + dice.below(36));
        http2.stall_bytes = 256;
        http2.settings_timeout = Duration::from_secs(30);
        plan.faults.turn_bytes_max = turn_bytes_max(limits);
        plan.http2 = dice.size(1, 8);
        plan.http2_dice = dice.fork();
        plan
    }

    /// A world in which all clients speak TLS.
    #[cfg(feature = "_tls")]
    fn draw_tls(dice: &mut Dice) -> Plan {
        let plan = Plan::draw(dice);
        Plan { clients: plan.clients.min(TLS_CLIENTS_MAX), ..plan }.with_tls(dice)
    }

    /// A world in which all clients speak TLS, and most of them HTTP/2.
    #[cfg(feature = "_tls")]
    fn draw_http2_tls(dice: &mut Dice) -> Plan {
        Plan::draw_http2(dice).with_tls(dice)
    }

    #[cfg(feature = "_tls")]
    fn with_tls(self, dice: &mut Dice) -> Plan {
        let mut plan = Plan { is_secured: true, ..self };
        plan.limits.handshakes_per_turn = dice.between(1, 8);
        // What is read and written at a time is a ring of records, whatever the limits are.
        plan.faults.turn_bytes_max += 3 * 4 * RECORDS_BYTES;
        plan
    }

    /// Adds a client by this plan.
    fn add(&self, world: &mut World, secured: &Secured, client: Client, nature: Nature, at: Duration) {
        match secured {
            Some((clients, dice)) => {
                let tls = clients.draw(&mut dice.borrow_mut());
                world.add_secured(tls, client, nature, at);
            }
            None => drop(world.add(client, nature, at)),
        }
    }

    /// Has clients of the echo protocols come to some worlds, by choices of their own as well.
    fn invite_echoes(&mut self, mut dice: Dice) {
        self.echoes = if dice.chance(400) { dice.size(1, 8) } else { 0 };
        self.echo_dice = dice;
    }

    /// Has WebSockets come to some worlds, by choices of their own: the other worlds stay as they are.
    fn invite(&mut self, mut dice: Dice) {
        self.talks = if dice.chance(400) { dice.size(1, 8) } else { 0 };
        self.limits.ws_ping_interval = Duration::from_secs(3 + dice.below(28));
        self.limits.ws_close_timeout = Duration::from_secs(1 + dice.below(8));
        self.talk_dice = dice;
    }

    fn world(&self, dice: &mut Dice, timeline: Timeline) -> SharedWorld {
        let listeners = if self.is_secured { 0 } else { self.listeners };
        let mut world = World::new(dice.fork(), self.faults.clone(), listeners, timeline);
        world.limits = self.limits.clone();
        let secured = self.is_secured.then(|| (Clients::new(), RefCell::new(dice.fork())));
        for _ in listeners..self.listeners {
            world.listen(ListenerRole::Https);
        }
        let rush = dice.pick(&[50, 2000, 2_000_000, 2_000_000]);
        let rush = self.proxied.as_ref().and_then(|proxied| proxied.rush).unwrap_or(rush);
        let when = |dice: &mut Dice| dice.micros(0, rush);
        if let Some(proxied) = &self.proxied {
            world.upstreams = proxied.upstreams(dice, self.is_tortured);
            world.timeline.note(Duration::ZERO, None, || format!("{proxied:?} {:?}", world.upstreams));
            let mut dice = dice.fork();
            dice.give_tags(TUNNEL_TAGS);
            for _ in 0..proxied.tunnels {
                let mut draw = Draw { dice: &mut dice, limits: &self.limits };
                let (client, nature) = tunnel::any(&mut draw, proxied);
                let at = dice.micros(0, rush);
                world.add(client, nature, at);
            }
        }
        for _ in 0..self.clients {
            let mut draw = Draw { dice, limits: &self.limits };
            let (client, nature) = match &self.proxied {
                Some(proxied) => kinds::any_behind_proxy(&mut draw, proxied.is_wild, proxied.silence_max()),
                None => kinds::any(&mut draw),
            };
            let at = when(dice);
            self.add(&mut world, &secured, client, nature, at);
        }
        for place in 0..self.pairs {
            for (client, nature) in kinds::pair(&mut Draw { dice, limits: &self.limits }, place) {
                let at = when(dice);
                self.add(&mut world, &secured, client, nature, at);
            }
        }
        let mut dice = self.talk_dice.clone();
        let rush = dice.pick(&[50, 2000, 2_000_000]);
        for _ in 0..self.talks {
            let (client, nature) = talks::any(&mut Draw { dice: &mut dice, limits: &self.limits });
            let at = dice.micros(0, rush);
            world.add(client, nature, at);
        }
        let mut dice = self.http2_dice.clone();
        let rush = self.proxied.as_ref().and_then(|proxied| proxied.rush).unwrap_or(rush);
        for _ in 0..self.http2 {
            let mut draw = Draw { dice: &mut dice, limits: &self.limits };
            let (client, nature) = match &self.proxied {
                Some(proxied) => h2::kinds::any_behind_proxy(&mut draw, proxied.is_wild, proxied.silence_max()),
                None => h2::kinds::any(&mut draw),
            };
            let at = dice.micros(0, rush);
            match &secured {
                Some((clients, _)) => world.add_secured(clients.draw_http2(&mut dice), client, nature, at),
                None => drop(world.add(client, nature, at)),
            }
        }
        self.add_echoes(&mut world);
        if let Some(stop) = &self.stop {
            world.signal_at(stop.at, stop.first);
            if let Some(again) = stop.again {
                world.signal_at(stop.at + again, Signal::Interrupt);
            }
        }
        world.timeline.note(Duration::ZERO, None, || format!("{:?} {:?}", self.limits, self.faults));
        Rc::new(RefCell::new(world))
    }

    fn add_echoes(&self, world: &mut World) {
        if self.echoes == 0 {
            return;
        }
        world.listen(ListenerRole::TcpEcho);
        world.listen(ListenerRole::LineEcho);
        let mut dice = self.echo_dice.clone();
        let rush = dice.pick(&[50, 2000, 2_000_000]);
        for _ in 0..self.echoes {
            let (role, client, nature) = echo_kinds::any(&mut Draw { dice: &mut dice, limits: &self.limits });
            let at = dice.micros(0, rush);
            world.add_to(role, client, nature, at);
        }
    }

    /// The longest a connection can last after its client lost interest.
    fn patience(&self) -> Duration {
        let limits = &self.limits;
        let timeouts = [limits.keep_alive_timeout, limits.send_timeout, limits.body_timeout, limits.header_timeout];
        let talk = limits.ws_ping_interval * 2 + limits.ws_close_timeout;
        timeouts.into_iter().sum::<Duration>()
            + limits.http2.stall_timeout
            + limits.first_byte_timeout
            + limits.linger_total
            + talk
            + self.proxied.as_ref().map_or(Duration::ZERO, |proxied| 2 * (proxied.patience() + UPSTREAMS_SLACK))
            + SLACK
    }
}

impl Stop {
    fn draw(dice: &mut Dice) -> Stop {
        // In the first rush there are connections nobody has accepted yet.
        let latest = dice.pick(&[100, 3_000, 2_500_000, 2_500_000, 40_000_000]);
        Stop {
            at: dice.micros(0, latest),
            first: dice.pick(&[Signal::Terminate, Signal::Interrupt]),
            again: dice.chance(200).then(|| dice.millis(0, 2000)),
            ample: dice.chance(700),
        }
    }
}

fn limits(dice: &mut Dice) -> Limits {
    let mut secs = |low: u64, high: u64| Duration::from_secs(low + dice.below(high - low + 1));
    let mut limits = Limits {
        first_byte_timeout: secs(3, 8),
        header_timeout: secs(4, 12),
        body_timeout: secs(8, 30),
        send_timeout: secs(10, 60),
        keep_alive_timeout: secs(5, 80),
        linger_timeout: secs(3, 6),
        linger_total: secs(10, 30),
        ..Limits::default()
    };
    limits.inbox_bytes = dice.size(256, 16 * 1024);
    limits.head_bytes_max = limits.inbox_bytes;
    limits.outbox_bytes = dice.size(512, 64 * 1024);
    limits.discarded_bytes_max = dice.size(1024, 64 * 1024) as u64;
    limits.drive_bytes_max = dice.size(64, 64 * 1024);
    limits.drive_passes_max = dice.between(1, 16) as u32;
    limits.accepts_per_turn = dice.size(1, 64);
    limits.accept_backoff = dice.millis(10, 200);
    limits
}

fn faults(dice: &mut Dice, clients: usize, limits: &Limits) -> Faults {
    let starved = dice.chance(150);
    let episode = dice.chance(150).then(|| {
        let from = dice.millis(0, 1500);
        (from, from + dice.millis(1, 5000))
    });
    Faults {
        spurious_events: dice.pick(&[0, 10, 200]),
        interruptions: dice.pick(&[0, 0, 50]),
        events_max: if dice.chance(200) { dice.between(1, 4) } else { 1024 },
        connections_max: limits.connections_max,
        turn_bytes_max: turn_bytes_max(limits),
        descriptors_max: if starved { dice.between(1, clients) } else { usize::MAX },
        out_of_descriptors: episode,
    }
}

fn live<R: Reactor>(
    world: &SharedWorld,
    plan: &Plan,
    turns: &mut u64,
    kernel: impl FnOnce(SimReactor) -> R,
) -> Result<(), String> {
    let wakes = Wakes::new(SimWake(Arc::clone(&world.borrow().woken)));
    let reactor = kernel(SimReactor::new(Rc::clone(world)));
    let service = SimService::new(Rc::clone(&world.borrow().progress));
    let jobs = Proxied::jobs(&world.borrow());
    let mut event_loop = EventLoop::new(reactor, service, plan.limits.clone(), wakes, jobs);
    let audit = LogAudit::default();
    event_loop.keep_access_log(Some(audit.log()));
    if plan.is_secured {
        event_loop.keep_tls(secured::server());
    }
    let hub = plan.proxied.as_ref().map(|proxied| (proxied, proxied.join(&mut event_loop, &world.borrow())));
    let watch = hub.as_ref().map(|(proxied, hub)| QueueWatch::new(proxied, hub));
    let replacing = hub.as_ref().and_then(|(proxied, hub)| Replacing::new(proxied, hub));
    let outcome = turn_until_over(&mut event_loop, world, plan, turns, (watch, replacing))?;
    let is_over = event_loop.connections() == 0;
    drop(event_loop);
    hub.map_or(Ok(()), |(proxied, hub)| proxied.judge(&hub, is_over, &world.borrow()))?;
    world.borrow_mut().run_out();
    judge(world, plan, outcome)?;
    let world = world.borrow();
    audit.audit(plan.proxied.is_some(), |link| {
        world.clients[link].as_ref().is_some_and(|client| client.kind().ends_with("HTTP/2"))
    })
}

/// Turns until the loop says it is over, or until everybody is content and every connection gone.
fn turn_until_over<R: Reactor>(
    event_loop: &mut EventLoop<R, SimService>,
    world: &SharedWorld,
    plan: &Plan,
    turns: &mut u64,
    (mut queue, mut replacing): (Option<QueueWatch>, Option<Replacing>),
) -> Result<Option<Outcome>, String> {
    let mut content_since = None;
    // With checks and names a server never sleeps for good.
    let is_content = |world: &World| {
        let mut clients = world.clients.iter().enumerate();
        clients.all(|(link, client)| {
            client.as_ref().is_none_or(|client| client.is_done() || is_unheard(world, plan, link))
        })
    };
    loop {
        event_loop.turn().map_err(|error| format!("the turn failed: {error}"))?;
        *turns += 1;
        let world = world.borrow();
        if let Some(failure) = &world.failure {
            return Err(failure.clone());
        }
        queue.as_mut().map_or(Ok(()), |queue| queue.look(world.now))?;
        replacing.iter_mut().for_each(|replacing| replacing.act(event_loop, world.now));
        if event_loop.outcome().is_some() {
            return Ok(event_loop.outcome());
        }
        let open = event_loop.connections();
        let is_content = plan.stop.is_none() && is_content(&world);
        if world.asleep_for_good || is_content && open == 0 {
            return Ok(None);
        }
        if is_content && world.now > *content_since.get_or_insert(world.now) + plan.patience() {
            return Err(format!("leaks: {open} connections are open long after their clients have gone"));
        }
        // A server with TLS looks at its files every ten seconds, and so never sleeps for good.
        if *turns > TURNS_MAX || world.now > AGE_MAX {
            return Err("does not come to an end".to_owned());
        }
    }
}

/// Who reads nothing does not learn that there is but an error to read.
fn is_unheard(world: &World, plan: &Plan, link: usize) -> bool {
    let is_deaf = world.clients[link].as_ref().is_some_and(|client| client.kind() == "deaf");
    plan.proxied.as_ref().is_some_and(|proxied| proxied.is_wild) && is_deaf && world.links[link].has_ended()
}

fn judge(world: &SharedWorld, plan: &Plan, outcome: Option<Outcome>) -> Result<(), String> {
    let world = world.borrow();
    if let Some(failure) = &world.failure {
        return Err(failure.clone());
    }
    // Connections that were cut at last end anyhow; whoever does not read may not even hear of it.
    let was_cut = matches!(outcome, Some(Outcome::Cut(_)));
    let ends = |link: usize| was_cut || world.is_left_to_the_kernel(link) || is_unheard(&world, plan, link);
    let mut clients = world.clients.iter().enumerate().filter_map(|(link, client)| Some((link, client.as_ref()?)));
    if let Some((_, client)) = clients.find(|(link, client)| !client.is_done() && !ends(*link)) {
        let lost = if world.asleep_for_good { "lost wake-up: nothing can ever happen, but " } else { "" };
        return Err(format!("{lost}{}", client.complaint()));
    }
    if let (Some(error), false) = (&world.wrong_unless_cut, was_cut) {
        return Err(format!("nothing was cut, and yet: {error}"));
    }
    if let Some((tag, said)) = world.upstreams.tunnels.iter().find(|(_, said)| said.is_over && !said.has_heard) {
        return Err(format!("the upstream of tunnel {tag} has not heard all of it: {said:?}"));
    }
    if world.open_at_server() > 0 {
        return Err(format!("leaks: {} sockets are still open", world.open_at_server()));
    }
    match (&plan.stop, outcome) {
        (None, None) | (Some(_), Some(Outcome::Clean)) => Ok(()),
        (Some(stop), Some(Outcome::Cut(_))) if stop.again.is_some() || !stop.ample => in_time(&world, plan),
        (_, outcome) => Err(format!("ended with {outcome:?}")),
    }
}

/// Whether a loop that was told to stop did so when it had to.
fn in_time(world: &World, plan: &Plan) -> Result<(), String> {
    let told = world.told_to_stop.unwrap_or_default();
    let by = world.told_to_stop_at_once.unwrap_or(told + plan.limits.drain_timeout);
    match world.loop_ended.saturating_sub(by) {
        late if late > Duration::from_millis(500) => Err(format!("stopped {late:?} too late")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Ending, Expected, Step};
    use crate::request::Request;

    /// Connection, request and order to stop reach the loop in one poll: a coincidence too rare to wait for.
    #[test]
    fn whoever_is_in_the_queue_when_the_loop_is_told_to_stop_is_served() {
        let at = Duration::from_micros(1);
        let stop = Stop { at, first: Signal::Terminate, again: None, ample: true };
        let plan = Plan { stop: Some(stop), ..empty() };
        let world = plan.world(&mut Dice::new(0), Timeline::default());
        let mut nature = Nature::plain();
        nature.up.delay = (0, 0);
        world.borrow_mut().add(asking_once(), nature, Duration::ZERO);
        assert_eq!(live(&world, &plan, &mut 0, |reactor| reactor), Ok(()));
    }

    /// The server has idled long enough and says GOAWAY, while another request is on its way. The client has not been given
    /// up too early: what the server could not know of did not count.
    #[test]
    fn a_stream_that_crosses_the_end_of_an_idle_connection_of_http2_does_not_make_the_end_too_early() {
        let mut plan = empty();
        plan.limits.keep_alive_timeout = Duration::from_secs(5);
        let world = plan.world(&mut Dice::new(0), Timeline::default());
        let mut nature = Nature::plain();
        nature.up.delay = (50_000, 50_000);
        let ask = |after| {
            let request = Request::new("GET", "/nowhere".to_owned(), 404, Vec::new());
            h2::ask::Ask { after: Duration::from_millis(after), ..h2::ask::Ask::plain(request) }
        };
        // The first response leaves after 50 ms, so the server is idle for 5 s at 5.05 s.
        let client = h2::Http2::new(h2::Habits::plain(), vec![ask(0), ask(5030)], Dice::new(0));
        let client = h2::actor::Http2Actor::new(client, h2::actor::Manner::Good);
        world.borrow_mut().add(client, nature, Duration::ZERO);
        assert_eq!(live(&world, &plan, &mut 0, |reactor| reactor), Ok(()));
        let marks = world.borrow().links[0].marks;
        assert!(marks.last_arrival > marks.ended, "the second request has crossed the end");
    }

    /// A world without clients and faults.
    fn empty() -> Plan {
        let faults = Faults {
            events_max: 1024,
            connections_max: usize::MAX,
            turn_bytes_max: usize::MAX,
            descriptors_max: usize::MAX,
            ..Faults::default()
        };
        Plan {
            limits: Limits { drain_timeout: Duration::from_secs(3600), ..Limits::default() },
            faults,
            clients: 0,
            pairs: 0,
            listeners: 1,
            stop: None,
            talks: 0,
            talk_dice: Dice::new(0),
            echoes: 0,
            echo_dice: Dice::new(0),
            http2: 0,
            http2_dice: Dice::new(0),
            is_secured: false,
            proxied: None,
            is_tortured: false,
        }
    }

    fn asking_once() -> Client {
        let asked = Request::new("GET", "/nowhere".to_owned(), 404, Vec::new()).build(&mut Dice::new(0));
        let expected = Expected { head_end: asked.head.len() as u64, ..asked.expected };
        Client::new("early", vec![Step::Send(asked.head)], vec![expected], Ending::Ours)
    }
}
