//! Whether upstreams are well, as they say when they are asked; and whom the server must leave alone because of that.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::dice::Dice;

/// How long a check takes at most until the server knows what came of it.
const CHECK_MAX: Duration = Duration::from_secs(2);
/// By how much what the server knows is behind, and requests on their way are.
const SLACK: Duration = Duration::from_secs(1);

/// How an upstream that is not well answers.
#[derive(Debug, Clone, Copy)]
pub enum Sickness {
    /// With this status.
    Says(u16),
    /// Not at all.
    Silent,
    /// It closes the connection.
    Closes,
}

/// When each address is sick, and when it was last asked.
#[derive(Debug)]
pub struct Checks {
    interval: Duration,
    sick: BTreeMap<SocketAddr, Vec<(Duration, Duration, Sickness)>>,
    asked: BTreeMap<SocketAddr, Duration>,
}

impl Checks {
    /// Draws when these addresses are sick.
    pub fn draw(addresses: &[SocketAddr], interval: Duration, dice: &mut Dice) -> Checks {
        let mut sick = BTreeMap::new();
        for address in addresses {
            let mut at = Duration::ZERO;
            let mut episodes = Vec::new();
            for _ in 0..dice.below(3) {
                let from = at + dice.millis(0, 15_000);
                let to = from + dice.millis(500, 30_000);
                let sickness = match dice.below(4) {
                    0 => Sickness::Silent,
                    1 => Sickness::Closes,
                    _ => Sickness::Says(dice.pick(&[400, 404, 500, 503])),
                };
                episodes.push((from, to, sickness));
                at = to + dice.millis(1, 20_000);
            }
            sick.insert(*address, episodes);
        }
        Checks { interval, sick, asked: BTreeMap::new() }
    }

    /// How an address answers now; `None`: it is well.
    pub fn sickness(&self, address: SocketAddr, now: Duration) -> Option<Sickness> {
        let episodes = self.sick.get(&address).into_iter().flatten();
        episodes.clone().find(|(from, to, _)| (*from..*to).contains(&now)).map(|(.., sickness)| *sickness)
    }

    /// Whether the server must know by now that an address is out of service: three checks have failed.
    pub fn is_surely_down(&self, address: SocketAddr, now: Duration) -> bool {
        let known_after = 4 * self.longest() + CHECK_MAX + SLACK;
        self.sick.get(&address).into_iter().flatten().any(|(from, to, _)| *from + known_after <= now && now < *to)
    }

    /// Whether the server must know by now that an address is in service: two checks have succeeded since it was sick.
    pub fn is_surely_up(&self, address: SocketAddr, now: Duration) -> bool {
        let known_after = 3 * self.longest() + CHECK_MAX + SLACK;
        !self.sick.get(&address).into_iter().flatten().any(|(from, to, _)| *from <= now && now < *to + known_after)
    }

    /// Whether a request that arrives now at an address should have gone to another one.
    pub fn is_misled(&self, address: SocketAddr, now: Duration) -> bool {
        let Some(before) = now.checked_sub(SLACK) else { return false };
        let is_down = self.is_surely_down(address, now) && self.is_surely_down(address, before);
        is_down && self.sick.keys().any(|other| self.is_surely_up(*other, now) && self.is_surely_up(*other, before))
    }

    /// A check has arrived: they come at their interval, give or take a tenth.
    pub fn on_check(&mut self, address: SocketAddr, now: Duration) -> Result<(), String> {
        let since = self.asked.insert(address, now).map(|before| now - before);
        match since {
            Some(since) if since + SLACK < self.interval * 9 / 10 || since > self.longest() + SLACK => {
                Err(format!("a check of {address} comes {since:?} after the one before, not {:?}", self.interval))
            }
            _ => Ok(()),
        }
    }

    fn longest(&self) -> Duration {
        self.interval * 11 / 10
    }
}
