//! One proxied target: upstreams, each with the addresses that its name leads to, and which of these gets a request.
//!
//! 1. An address whose ejection is over gets one request, the probe. With `hash` the request has to be one of its own keys.
//! 2. Otherwise the addresses in service share the requests out. `except`, where a request has just failed, is left out.
//! 3. A request that has failed there, and for which no other address in service has room, gets any other address. One that
//!    was ejected may be back, and the one that has just failed is not. If it is ejected, the request is its probe.
//! 4. If nothing else has room, `except` gets it once more.
//!
//! **At most half of a group is ejected**, rounded down; those that are down count. A group of one address never loses it.
//!
//! **If no address is in service, all get requests**, as Envoy does below its panic threshold, and other than HAProxy, which
//! answers with 503. It takes failed checks to get there. A check may be wrong: its path may be gone, or may ask for more
//! than most requests need. A check that is right costs nothing here, because the client gets an error either way, and the
//! error then says what the upstream has done. Overload is bounded by `max` and by the queue.
//!
//! Whoever is chosen counts as busy until [`Group::on_end`]. What is not the address's fault is not reported: a client that
//! left, want of descriptors, and a reused connection that had ended before the request (RFC 9112 §9.3.1).

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::balance::{Balance, BalanceState, Candidate, WEIGHT_FULL, hash, mix};
use super::health::{Change, Health, Term, check_timeout};
use crate::base::moment::Moment;
use crate::base::slots::{Slots, Token};
use crate::observe::upstream::{
    AddressCounters, AddressStatus, BudgetStatus, Failure, GroupStatus, Standing, UpstreamStatus,
};

/// So many addresses of one upstream are used; others are ignored. It bounds what a request and a name may cost.
pub const ADDRESSES_MAX: usize = 64;

/// What a client is told at most and at least about when to come again, if no address can take its request.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// The shortest time after which a refused client is told to try again.
pub const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// How a group works.
#[derive(Debug, Clone, Default)]
pub struct GroupSettings {
    /// How requests are shared out.
    pub balance: Balance,
    /// How many requests an address may have at a time; `None`: any number.
    pub max: Option<u32>,
    /// Time from one check of an address to the next; `None`: they are not checked.
    pub check_interval: Option<Duration>,
}

/// One proxied target.
#[derive(Debug)]
pub struct Group {
    name: String,
    settings: GroupSettings,
    upstreams: Vec<Upstream>,
    addresses: Slots<Address>,
    /// Counts the choices.
    turn: u64,
}

#[derive(Debug)]
struct Upstream {
    name: String,
    /// Whether it has had addresses: those that come later start slowly.
    is_known: bool,
    gone: AddressCounters,
}

#[derive(Debug)]
struct Address {
    address: SocketAddr,
    upstream: usize,
    /// Whether the upstream's name leads here. If not, it stays until its last request is over.
    is_listed: bool,
    active: u32,
    health: Health,
    balance_state: BalanceState,
    last_failure: Option<(Failure, Moment)>,
    counters: AddressCounters,
}

/// Names an address of a group, for ever: no other gets the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressId(Token);

/// An address that is to get a request. It counts as busy until [`Group::on_end`] takes this.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the address counts as busy until `on_end`"]
pub struct Assignment {
    /// Names it.
    pub id: AddressId,
    /// The address.
    pub address: SocketAddr,
    /// The upstream that it belongs to, by its place in the group.
    pub upstream: usize,
    term: Term,
}

impl Assignment {
    /// Whether the request decides if the address comes back.
    pub fn is_probe(&self) -> bool {
        self.term.is_probe()
    }
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// To this address.
    Address(Assignment),
    /// Nowhere, at the moment.
    None {
        /// Why.
        why: NoAddress,
        /// When a client may try again: 1 s to 5 s, for Retry-After (RFC 9110 §10.2.3).
        retry_after: Duration,
    },
}

/// Why no address can take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAddress {
    /// None is known: the names lead nowhere.
    Unknown,
    /// All that are in service have as many requests as they may.
    AtMax,
}

/// What has changed, as a line for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The address.
    pub address: SocketAddr,
    /// The upstream that it belongs to, by its place in the group.
    pub upstream: usize,
    /// What has become of it.
    pub change: Change,
}

/// A check of an address that is to be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Names the address.
    pub id: AddressId,
    /// The address.
    pub address: SocketAddr,
    /// The upstream that it belongs to, by its place in the group.
    pub upstream: usize,
    /// Without an answer until then it has failed.
    pub until: Moment,
}

impl Group {
    /// A group of upstreams, given by their names with ports. It has no addresses yet.
    pub fn new(name: String, upstreams: Vec<String>, settings: GroupSettings) -> Group {
        let upstream = |name| Upstream { name, is_known: false, gone: AddressCounters::default() };
        let upstreams = upstreams.into_iter().map(upstream).collect();
        Group { name, settings, upstreams, addresses: Slots::new(), turn: 0 }
    }

    /// Where the name of an upstream leads by now; of more than [`ADDRESSES_MAX`] addresses some are ignored. Addresses that
    /// were there before keep their state, and those that are missing get no new requests.
    pub fn set_addresses(&mut self, upstream: usize, addresses: &[SocketAddr], now: Moment) -> Vec<Event> {
        let Some(name) = self.upstreams.get(upstream).map(|upstream| upstream.name.clone()) else { return Vec::new() };
        let mut events = self.unlist(upstream, addresses);
        let is_slow = self.upstreams[upstream].is_known;
        let mut listed = self.listed().filter(|address| address.upstream == upstream).count();
        for address in addresses {
            let known = self.addresses.iter_mut().find(|(_, a)| a.upstream == upstream && a.address == *address);
            match known {
                Some((_, known)) if known.is_listed => continue,
                _ if listed >= ADDRESSES_MAX => break,
                // Its last requests have not ended since it left, so it has kept its state.
                Some((_, known)) => known.is_listed = true,
                None => {
                    let seed = mix(hash(address.to_string().as_bytes()) ^ upstream as u64);
                    self.addresses.insert(Address {
                        address: *address,
                        upstream,
                        is_listed: true,
                        active: 0,
                        health: Health::new(is_slow, seed, now),
                        balance_state: BalanceState::new(*address, &name),
                        last_failure: None,
                        counters: AddressCounters::default(),
                    });
                }
            }
            listed += 1;
            events.push(Event { address: *address, upstream, change: Change::Joined { is_slow } });
        }
        self.upstreams[upstream].is_known |= listed > 0;
        events.extend(self.release_surplus(now));
        events
    }

    /// Takes those that are missing in `addresses` off the list.
    fn unlist(&mut self, upstream: usize, addresses: &[SocketAddr]) -> Vec<Event> {
        let is_missing = |a: &Address| a.is_listed && a.upstream == upstream && !addresses.contains(&a.address);
        let missing: Vec<Token> =
            self.addresses.iter().filter(|(_, address)| is_missing(address)).map(|(token, _)| token).collect();
        let mut events = Vec::new();
        for token in missing {
            let Some(gone) = self.addresses.get_mut(token) else { continue };
            gone.is_listed = false;
            events.push(gone.event(Change::Left { active: gone.active }));
            self.remove_if_over(token);
        }
        events
    }

    /// If the group has become smaller, more than half of it may be ejected: those come back whose time is over first.
    fn release_surplus(&mut self, now: Moment) -> Vec<Event> {
        let (listed, ejected) = (self.listed().count(), self.listed().filter(|a| a.health.is_ejected()).count());
        let mut ejected_ones: Vec<&mut Address> = self.addresses.iter_mut().map(|(_, address)| address).collect();
        ejected_ones.retain(|address| address.is_listed && address.health.is_ejected());
        ejected_ones.sort_by_key(|address| address.health.ejected_until());
        let surplus = ejected_ones.into_iter().take(ejected.saturating_sub(listed / 2));
        let released = surplus.map(|address| {
            address.balance_state.reset();
            let change = address.health.release(now);
            address.event(change)
        });
        released.collect()
    }

    /// Chooses where a request goes. `key` is for `hash`. `except` is where the request has just failed, if it is sent again.
    pub fn choose(&mut self, key: Option<u64>, except: Option<AddressId>, now: Moment) -> Choice {
        if self.listed().next().is_none() {
            return Choice::None { why: NoAddress::Unknown, retry_after: RETRY_AFTER_MAX };
        }
        let is_any_in_service = self.listed().any(|address| address.health.is_in_service());
        let by_key = matches!(self.settings.balance, Balance::Hash(_)) && key.is_some();
        let is_fit = |health: &Health| match is_any_in_service {
            true => health.is_in_service() || (by_key && except.is_none() && health.is_probe_due(now)),
            false => true,
        };
        let is_due = |health: &Health| health.is_probe_due(now);
        let mut chosen = if by_key || except.is_some() { None } else { self.pick(key, None, now, is_due) };
        chosen = chosen.or_else(|| self.pick(key, except, now, is_fit));
        if except.is_some() {
            chosen =
                chosen.or_else(|| self.pick(key, except, now, |_| true)).or_else(|| self.pick(key, None, now, is_fit));
        }
        match chosen.and_then(|token| Some((token, self.addresses.get_mut(token)?))) {
            Some((token, chosen)) => Choice::Address(chosen.begin(AddressId(token))),
            None => Choice::None { why: NoAddress::AtMax, retry_after: self.retry_after(now) },
        }
    }

    /// One of the addresses with room that are fit.
    fn pick(
        &mut self,
        key: Option<u64>,
        except: Option<AddressId>,
        now: Moment,
        is_fit: impl Fn(&Health) -> bool,
    ) -> Option<Token> {
        self.turn += 1;
        let max = self.settings.max.unwrap_or(u32::MAX);
        let candidates = self.addresses.iter_mut().filter(|(token, address)| {
            address.is_listed && address.active < max && except != Some(AddressId(*token)) && is_fit(&address.health)
        });
        let candidates = candidates.map(|(id, address)| {
            // The share of one that is not in service has not begun to rise.
            let weight = if address.health.is_in_service() { address.health.weight(now) } else { WEIGHT_FULL };
            Candidate { id, weight, active: address.active, state: &mut address.balance_state }
        });
        self.settings.balance.choose(key, self.turn, candidates)
    }

    /// Until the next probe, if one is due soon: it may bring an address back.
    pub fn retry_after(&self, now: Moment) -> Duration {
        let probes = self.listed().filter_map(|address| address.health.ejected_until());
        let next = probes.min().map_or(RETRY_AFTER_MAX, |until| until.since(now));
        next.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)
    }

    /// The request has got a response, whatever its status.
    pub fn on_success(&mut self, assignment: &Assignment, now: Moment) -> Option<Event> {
        let address = self.addresses.get_mut(assignment.id.0)?;
        let change = address.health.succeed(assignment.term, now)?;
        address.balance_state.reset();
        Some(address.event(change))
    }

    /// The request has failed, through the address's fault. At most once for each, and before [`Group::on_end`].
    pub fn on_failure(&mut self, assignment: &Assignment, why: Failure, now: Moment) -> Option<Event> {
        let (listed, id) = (self.listed().count(), assignment.id.0);
        let others_out = self.listed_others(id).filter(|address| !address.health.is_in_service()).count();
        let address = self.addresses.get_mut(id)?;
        address.counters.count_failure(why);
        address.last_failure = Some((why, now));
        let may_eject = address.is_listed && 2 * (others_out + 1) <= listed;
        let change = address.health.fail(assignment.term, why, may_eject, now)?;
        if let Change::Ejected { .. } = change {
            address.counters.ejections += 1;
        }
        // Whoever has left does not matter any more.
        address.is_listed.then(|| address.event(change))
    }

    /// The request is over: its address may have room for another one.
    pub fn on_end(&mut self, assignment: Assignment) {
        let Some(address) = self.addresses.get_mut(assignment.id.0) else { return };
        address.active = address.active.saturating_sub(1);
        address.health.end(assignment.term);
        self.remove_if_over(assignment.id.0);
    }

    /// How many more requests the addresses in service can take; if none is in service, all of them. As long as this is not
    /// 0, [`Group::choose`] finds an address.
    pub fn room(&self) -> usize {
        let is_any_in_service = self.listed().any(|address| address.health.is_in_service());
        let fit = self.listed().filter(|address| address.health.is_in_service() || !is_any_in_service);
        let max = self.settings.max.unwrap_or(u32::MAX);
        fit.fold(0, |room, address| room.saturating_add(max.saturating_sub(address.active) as usize))
    }

    /// Whether another address can take a request, be it out of service.
    pub fn has_room_besides(&self, id: AddressId) -> bool {
        let max = self.settings.max.unwrap_or(u32::MAX);
        self.listed_others(id.0).any(|address| address.active < max)
    }

    /// Frees an address that is not listed and has no request. Its upstream keeps what was counted.
    fn remove_if_over(&mut self, token: Token) {
        if self.addresses.get(token).is_none_or(|address| address.is_listed || address.active > 0) {
            return;
        }
        if let Some(gone) = self.addresses.remove(token)
            && let Some(upstream) = self.upstreams.get_mut(gone.upstream)
        {
            upstream.gone.add(&gone.counters);
        }
    }

    /// The checks that are to be made now. Each is answered with [`Group::on_check`].
    pub fn checks_due(&mut self, now: Moment) -> Vec<Check> {
        let Some(interval) = self.settings.check_interval else { return Vec::new() };
        let until = now + check_timeout(interval);
        let due =
            self.addresses.iter_mut().filter(|(_, address)| address.is_listed && address.health.check_due() <= now);
        due.map(|(token, address)| {
            address.health.begin_check(interval, now);
            Check { id: AddressId(token), address: address.address, upstream: address.upstream, until }
        })
        .collect()
    }

    /// When the next check is due; `None` if there are none.
    pub fn next_check_at(&self) -> Option<Moment> {
        self.settings.check_interval?;
        self.listed().map(|address| address.health.check_due()).min()
    }

    /// How a check has ended.
    pub fn on_check(&mut self, id: AddressId, result: Result<(), Failure>, now: Moment) -> Option<Event> {
        let is_last = !self.listed_others(id.0).any(|address| address.health.is_in_service());
        let address = self.addresses.get_mut(id.0).filter(|address| address.is_listed)?;
        if let Err(why) = result {
            address.last_failure = Some((why, now));
        }
        let change = address.health.end_check(result, is_last, now)?;
        address.balance_state.reset();
        Some(address.event(change))
    }

    /// Whether this is still an address of the group: if not, idle connections to it are of no use.
    pub fn is_listed(&self, id: AddressId) -> bool {
        self.addresses.get(id.0).is_some_and(|address| address.is_listed)
    }

    /// What is counted at an address, for connections, times and retries; the group counts the rest itself. `None` if the
    /// address is gone.
    pub fn counters_mut(&mut self, id: AddressId) -> Option<&mut AddressCounters> {
        self.addresses.get_mut(id.0).map(|address| &mut address.counters)
    }

    /// The name of an upstream, with its port.
    pub fn upstream_name(&self, upstream: usize) -> &str {
        self.upstreams.get(upstream).map_or("-", |upstream| &upstream.name)
    }

    /// How the group stands, with what is known of its queue and its budget. Idle connections and names are the hub's.
    pub fn status(&self, waiting: usize, budget: BudgetStatus, now: Moment) -> GroupStatus {
        let upstream = |upstream: &Upstream| UpstreamStatus {
            name: upstream.name.clone(),
            unresolved: None,
            gone: upstream.gone.clone(),
        };
        let mut addresses: Vec<AddressStatus> = self.addresses.iter().map(|(_, address)| address.status(now)).collect();
        addresses.sort_by_key(|address| (address.upstream, address.address));
        GroupStatus {
            name: self.name.clone(),
            balance: self.settings.balance.name(),
            max: self.settings.max,
            waiting,
            idle: 0,
            refused: 0,
            budget,
            upstreams: self.upstreams.iter().map(upstream).collect(),
            addresses,
        }
    }

    fn listed(&self) -> impl Iterator<Item = &Address> {
        self.addresses.iter().map(|(_, address)| address).filter(|address| address.is_listed)
    }

    fn listed_others(&self, token: Token) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |(other, a)| *other != token && a.is_listed).map(|(_, address)| address)
    }
}

impl Address {
    fn begin(&mut self, id: AddressId) -> Assignment {
        self.active += 1;
        self.counters.requests += 1;
        Assignment { id, address: self.address, upstream: self.upstream, term: self.health.begin() }
    }

    fn event(&self, change: Change) -> Event {
        Event { address: self.address, upstream: self.upstream, change }
    }

    fn status(&self, now: Moment) -> AddressStatus {
        AddressStatus {
            address: self.address,
            upstream: self.upstream,
            standing: if self.is_listed { self.health.standing(now) } else { Standing::Leaving },
            active: self.active,
            failures_in_a_row: self.health.failures_in_a_row(),
            last_failure: self.last_failure.map(|(why, at)| (why, now.since(at))),
            counters: self.counters.clone(),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.address, self.change)
    }
}

#[cfg(test)]
mod tests;
