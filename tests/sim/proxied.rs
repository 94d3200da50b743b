//! Worlds in which upstreams answer: what the proxy is told, and who is at its two ends.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidemill::base::job_pool::JobPool;
use tidemill::base::moment::Moment;
use tidemill::event_loop::EventLoop;
use tidemill::http::forwarded::TrustedProxies;
use tidemill::net::Reactor;
use tidemill::observe::upstream::Standing;
use tidemill::service::proxy::Proxy;
use tidemill::service::proxy::balance::{Balance, KeySource};
use tidemill::service::proxy::hub::Hub;
use tidemill::service::proxy::route::{HealthCheck, Route, Routes, Upstream, UpstreamHost};

use crate::dice::Dice;
use crate::service::SimService;
use crate::upstream::checks::Checks;
use crate::upstream::names::{LOOKUP_MAX, Names};
use crate::upstream::{CHECK_TARGET, PAUSE_MAX, Rules, Upstreams};
use crate::world::World;

/// How long a good upstream reads nothing at most.
const STALL_MAX: Duration = Duration::from_secs(2);
/// How long a request waits at most for an address, or for room at one.
const QUEUED_MAX: Duration = Duration::from_secs(5);

/// How long a request may wait although there is room for it.
const OVERSIGHT_MAX: Duration = Duration::from_secs(1);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks whether requests wait for an address although one has room.
pub struct QueueWatch {
    hub: Rc<Hub>,
    max: Option<u32>,
    next: Duration,
    since: Option<Duration>,
}

impl QueueWatch {
    /// Of the upstreams of this proxy, if only a bound of each of them makes requests wait.
    pub fn new(proxied: &Proxied, hub: &Rc<Hub>) -> QueueWatch {
        let max = proxied.route.connections_max.filter(|_| proxied.open_max.is_none());
        QueueWatch { hub: Rc::clone(hub), max, next: Duration::ZERO, since: None }
    }

    /// Looks behind a turn. Whoever was woken in that turn may be driven in the next one, and the loop may sleep then: who seems to
    /// be overlooked is looked at behind every turn.
    pub fn look(&mut self, now: Duration) -> Result<(), String> {
        let Some(max) = self.max.filter(|_| now >= self.next || self.since.is_some()) else { return Ok(()) };
        self.next = now + LOOK_EVERY;
        let is_overlooked = self.hub.statuses(Moment::default()).iter().any(|group| {
            let mut addresses = group.addresses.iter();
            let has_room = addresses.any(|at| matches!(at.standing, Standing::InService(_)) && at.active < max);
            group.waiting > 0 && has_room
        });
        self.since = self.since.filter(|_| is_overlooked).or(is_overlooked.then_some(now));
        match self.since {
            Some(since) if now > since + OVERSIGHT_MAX => {
                Err(format!("requests wait since {since:?}, and there is room"))
            }
            _ => Ok(()),
        }
    }
}

/// Replaces the configuration again and again, between two turns: nobody may notice.
pub struct Replacing {
    hub: Rc<Hub>,
    routes: [Route; 2],
    every: Duration,
    next: Duration,
}

impl Replacing {
    /// Of the routes of this proxy, if they are replaced. By equal ones, where all that is known of addresses has to be kept, and
    /// where addresses change: a request of an earlier route keeps to those that its name had then.
    pub fn new(proxied: &Proxied, hub: &Rc<Hub>) -> Option<Replacing> {
        let every = proxied.replaced_every?;
        let mut other = proxied.route.clone();
        if other.connections_max.is_none() && other.health.is_none() && !proxied.has_names {
            other.response_timeout += Duration::from_millis(1);
        }
        Some(Replacing { hub: Rc::clone(hub), routes: [proxied.route.clone(), other], every, next: every })
    }

    /// Replaces them behind a turn, if it is time.
    pub fn act<R: Reactor>(&mut self, event_loop: &mut EventLoop<R, SimService>, now: Duration) {
        if now >= self.next && event_loop.outcome().is_none() {
            self.next = now + self.every;
            self.routes.swap(0, 1);
            let moment = event_loop.reactor().moment();
            event_loop.service().proxy = Some(proxy(&self.routes[0], &self.hub, moment));
        }
    }
}

/// What passes on requests by this route, from `now` on.
fn proxy(route: &Route, hub: &Rc<Hub>, now: Moment) -> Proxy {
    let routes: Routes = [route.clone()].into_iter().collect();
    let targets = hub.replace(routes.iter(), now);
    Proxy::new(routes, targets, Rc::clone(hub), TrustedProxies::default())
}

/// A proxy and its upstreams.
#[derive(Debug, Clone)]
pub struct Proxied {
    /// Whether upstreams may do what they should not.
    pub is_wild: bool,
    /// The one route.
    pub route: Route,
    /// Connections to upstreams at a time, if there is a bound that can be reached.
    pub open_max: Option<usize>,
    /// Clients that want tunnels.
    pub tunnels: usize,
    /// Upstreams have names.
    pub has_names: bool,
    /// Clients come for so long, in microseconds, if not as in other worlds.
    pub rush: Option<u64>,
    /// How often the configuration is replaced, if it is.
    pub replaced_every: Option<Duration>,
}

impl Proxied {
    /// Draws a proxy for so many clients.
    pub fn draw(dice: &mut Dice) -> Proxied {
        // Of dice of its own, so that the rest of a world does not depend on it.
        let mut own = dice.clone().fork();
        let replaced_every = own.chance(300).then(|| own.millis(1, 3000));
        let (is_wild, has_names) = (dice.chance(700), dice.chance(200));
        let upstream = |place: usize| match has_names {
            true => Upstream::new(false, &Names::host(place), Some(3000)),
            false => Upstream::new(false, &format!("10.9.0.{}", place + 1), Some(3000)),
        };
        let upstreams = (0..dice.between(1, 3)).map(upstream).collect();
        let connections_max = dice.chance(300).then(|| dice.between(1, 4) as u32).filter(|_| is_wild);
        let open_max = dice.chance(200).then(|| dice.between(1, 8)).filter(|_| is_wild);
        let response_timeout = Duration::from_secs(if is_wild { 2 + dice.below(8) } else { 60 });
        let balance = match dice.below(3) {
            0 => Balance::LeastConn,
            1 => Balance::Hash(KeySource::Client),
            _ => Balance::RoundRobin,
        };
        let health = dice
            .chance(if has_names { 0 } else { 250 })
            .then(|| HealthCheck { target: CHECK_TARGET.to_owned(), interval: dice.millis(1000, 4000) });
        let route = Route {
            connections_max,
            response_timeout,
            balance,
            sends_proxy_header: dice.chance(150),
            tunnel_timeout: Duration::from_secs(5 + dice.below(60)),
            idle_timeout: dice.millis(500, 5000),
            health,
            ..Route::new(None, String::new(), upstreams)
        };
        let tunnels = if dice.chance(300) { dice.size(1, 4) } else { 0 };
        let is_long = (has_names || route.health.is_some()) && dice.chance(700);
        let rush = is_long.then(|| dice.pick(&[5_000_000, 40_000_000]));
        Proxied { is_wild, route, open_max, tunnels, has_names, rush, replaced_every }
    }

    /// How long nothing need come from upstreams, and for how long a request may be in the queue.
    pub fn silence_max(&self) -> Duration {
        match self.is_wild {
            // Who has not got a connection in time may wait in the queue then.
            true => self.route.response_timeout.max(self.route.connect_timeout + QUEUED_MAX),
            false if self.has_names => LOOKUP_MAX.max(STALL_MAX),
            false => PAUSE_MAX.max(STALL_MAX),
        }
    }

    /// The longest a connection to an upstream can last after its client has lost interest.
    pub fn patience(&self) -> Duration {
        self.silence_max().max(self.route.response_timeout) + self.route.idle_timeout + self.route.tunnel_timeout
    }

    /// The upstreams.
    pub fn upstreams(&self, dice: &mut Dice, is_tortured: bool) -> Upstreams {
        let Route {
            connections_max: max,
            sends_proxy_header,
            idle_timeout,
            tunnel_timeout,
            health,
            upstreams: those,
            ..
        } = &self.route;
        let rules = Rules {
            is_wild: self.is_wild,
            is_tortured,
            sends_proxy_header: *sends_proxy_header,
            max: *max,
            open_max: self.open_max,
            idle_timeout: *idle_timeout,
            tunnel_timeout: *tunnel_timeout,
        };
        let mut upstreams = Upstreams::new(dice.fork(), rules);
        if self.has_names {
            upstreams.names = Some(Names::draw(those.len(), self.is_wild, dice.fork()));
        }
        let address = |upstream: &Upstream| match upstream.host {
            UpstreamHost::Address(ip) => Some((ip, upstream.port).into()),
            UpstreamHost::Name(_) => None,
        };
        upstreams.checks = health.as_ref().map(|health| {
            let addresses: Vec<_> = those.iter().filter_map(address).collect();
            Checks::draw(&addresses, health.interval, dice)
        });
        upstreams
    }

    /// The pool for the jobs of this world.
    pub fn jobs(world: &World) -> JobPool {
        world.upstreams.names.as_ref().map_or_else(JobPool::without_threads, Names::jobs)
    }

    /// Has the loop answer by asking upstreams.
    pub fn join<R: Reactor>(&self, event_loop: &mut EventLoop<R, SimService>, world: &World) -> Rc<Hub> {
        let hub = Rc::new(Hub::new(self.open_max.unwrap_or(usize::MAX)));
        event_loop.service().proxy = Some(proxy(&self.route, &hub, Moment::default()));
        let nobody =
            || -> tidemill::service::proxy::names::Resolve { Arc::new(|_| Err("there are no names".to_owned())) };
        let resolve = world.upstreams.names.as_ref().map_or_else(nobody, Names::resolver);
        event_loop.reach_upstreams(Rc::clone(&hub), None, resolve);
        hub
    }

    /// What is wrong with the hub at the end: every address and every place in a queue was given back, and every connection if
    /// there is none any more. And it knows who fails checks.
    pub fn judge(&self, hub: &Hub, is_over: bool, world: &World) -> Result<(), String> {
        for group in hub.statuses(Moment::default()) {
            if let Some(address) = group.addresses.iter().find(|address| address.active > 0) {
                return Err(format!("leaks: {} has {} requests at the end", address.address, address.active));
            }
            if group.waiting > 0 || is_over && group.idle > 0 {
                let (waiting, idle) = (group.waiting, group.idle);
                return Err(format!("leaks: {waiting} requests wait and {idle} connections are idle at the end"));
            }
            if is_over && hub.retired() > 0 {
                return Err(format!("leaks: {} earlier routes are in use at the end", hub.retired()));
            }
            let is_judged = !self.is_wild && world.told_to_stop.is_none();
            let Some(checks) = world.upstreams.checks.as_ref().filter(|_| is_judged) else { continue };
            let now = world.now;
            for address in &group.addresses {
                let (at, is_down) = (address.address, address.standing == Standing::Down);
                let (must_be_down, must_be_up) = (checks.is_surely_down(at, now), checks.is_surely_up(at, now));
                if is_down && must_be_up || !is_down && must_be_down {
                    return Err(format!("{at} is {:?} at the end", address.standing));
                }
            }
        }
        Ok(())
    }
}
