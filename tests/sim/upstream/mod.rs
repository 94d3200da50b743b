//! Upstreams: whom the server connects to. They answer as the simulated service does (`service.rs`), so that clients know what
//! must come of their requests, but each connection has manners of its own, and in wild worlds these are bad ones.

mod answer;
pub mod checks;
mod connection;
mod ledger;
mod manner;
pub mod names;
mod request;
pub mod tunnel;
mod watch;

pub use ledger::{End, Said};
pub use manner::PAUSE_MAX;
pub use request::CHECK_TARGET;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::Duration;

use crate::dice::Dice;
use crate::link::{LinkId, Nature};
use checks::Checks;
use connection::Upstream;
use ledger::{Known, Sighting};
use manner::Manner;
use names::Names;

/// What the proxy of a world was told, as far as upstreams can see whether it keeps to it.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Whether upstreams may do what they should not.
    pub is_wild: bool,
    /// Whether the binary's torture makes reads find nothing where there is something.
    pub is_tortured: bool,
    /// Connections begin with a PROXY header.
    pub sends_proxy_header: bool,
    /// Requests at an address at a time.
    pub max: Option<u32>,
    /// Connections to all of them at a time.
    pub open_max: Option<usize>,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// How long both sides of a tunnel may be silent.
    pub tunnel_timeout: Duration,
}

/// All upstreams of a world, and what they know of the server.
#[derive(Debug)]
pub struct Upstreams {
    dice: Dice,
    pub rules: Rules,
    /// Whether each is well, if the server asks that.
    pub checks: Option<Checks>,
    /// Where their names lead, if they have names.
    pub names: Option<Names>,
    /// What has been said in each tunnel, by the tag of its request.
    pub tunnels: BTreeMap<u64, Said>,
    /// Tags of tunnels whose clients have closed their socket at any moment.
    pub leavers: BTreeSet<u64>,
    /// How often each request has reached one, by its tag.
    sightings: BTreeMap<u64, Sighting>,
    /// All connections that the server has ever begun.
    known: BTreeMap<LinkId, Known>,
    /// When anything last moved on a connection that serves this client.
    moved_for: BTreeMap<LinkId, Duration>,
}

/// After how long a connection is there, or has failed for this reason; `None`: nobody ever answers.
type Reply = Option<(Duration, Option<ErrorKind>)>;

impl Default for Upstreams {
    fn default() -> Upstreams {
        Upstreams::new(Dice::new(0), Rules::default())
    }
}

impl Upstreams {
    /// Upstreams that follow from these dice.
    pub fn new(dice: Dice, rules: Rules) -> Upstreams {
        Upstreams {
            dice,
            rules,
            checks: None,
            names: None,
            tunnels: BTreeMap::new(),
            leavers: BTreeSet::new(),
            sightings: BTreeMap::new(),
            known: BTreeMap::new(),
            moved_for: BTreeMap::new(),
        }
    }

    /// What becomes of a connection that is begun now, and who is at its other end.
    pub fn draw(&mut self) -> (Reply, Upstream, Nature) {
        let (dice, is_wild) = (&mut self.dice, self.rules.is_wild);
        let after = match dice.below(4) {
            // No check takes too long.
            0 if self.checks.is_none() => dice.millis(0, 1500),
            _ => dice.micros(0, 50_000),
        };
        let failure = match dice.below(if is_wild { 24 } else { 1 }) {
            1 | 2 => Some(ErrorKind::ConnectionRefused),
            3 => Some(ErrorKind::HostUnreachable),
            _ => None,
        };
        let is_answered = !is_wild || !dice.chance(40);
        let manner = if is_wild { Manner::draw(dice) } else { Manner::draw_good(dice) };
        let upstream = Upstream::new(manner, &self.rules, dice.fork());
        let mut nature = Nature::draw(dice);
        if self.checks.is_some() {
            nature.stalls = 0;
        }
        (is_answered.then_some((after, failure)), upstream, nature)
    }
}
