//! An upstream's end of a tunnel: what it says there, and what it must hear (`../tunnel.rs` is the client's end).

use crate::dice::Dice;
use crate::service::pattern;

/// What is said in a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The upstream says what it hears, and ends its direction behind that when the client has ended its own.
    Echo,
    /// Both talk at the same time.
    Talk,
    /// The upstream talks and ends its direction, and then the client talks.
    First,
    /// The client talks and ends its direction, and then the upstream talks.
    Late,
    /// The upstream says nothing, and ends with the client.
    Silent,
}

/// How much one side says at most, in bytes.
const BYTES_MAX: usize = 60_000;

const KINDS: [(Kind, &str); 5] = [
    (Kind::Echo, "echo"),
    (Kind::Talk, "talk"),
    (Kind::First, "first"),
    (Kind::Late, "late"),
    (Kind::Silent, "silent"),
];

/// What a request for a tunnel asks for: the kind, how many bytes each side says, and which.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub kind: Kind,
    pub down: usize,
    pub up: usize,
    pub salt: u64,
}

impl Target {
    /// Draws a tunnel of this kind.
    pub fn draw(kind: Kind, dice: &mut Dice) -> Target {
        let (up, salt) = (dice.size(1, BYTES_MAX) - 1, dice.below(1000));
        let down = match kind {
            Kind::Echo => up,
            Kind::Silent => 0,
            _ => dice.size(1, BYTES_MAX) - 1,
        };
        Target { kind, down, up, salt }
    }

    /// As a path, `/tunnel/echo/9/9/1`.
    pub fn path(&self) -> String {
        let Target { kind, down, up, salt } = self;
        let name = KINDS.iter().find(|(other, _)| other == kind).map_or("", |(_, name)| name);
        format!("/tunnel/{name}/{down}/{up}/{salt}")
    }

    /// What a path asks for.
    pub fn parse(path: &str) -> Option<Target> {
        let mut parts = path.strip_prefix("/tunnel/")?.split('/');
        let name = parts.next()?;
        let (kind, _) = *KINDS.iter().find(|(_, other)| *other == name)?;
        let mut number = || parts.next()?.parse::<usize>().ok();
        let (down, up, salt) = (number()?, number()?, number()?);
        Some(Target { kind, down, up, salt: salt as u64 })
    }

    /// What the client says follows from this.
    pub fn salt_up(&self) -> u64 {
        self.salt + 1
    }

    /// What the client says.
    pub fn said_up(&self) -> Vec<u8> {
        pattern(self.salt_up(), self.up)
    }

    /// What the upstream says.
    pub fn said_down(&self) -> Vec<u8> {
        if self.kind == Kind::Echo { self.said_up() } else { pattern(self.salt, self.down) }
    }
}

/// A tunnel behind a 101.
pub struct Tunnel {
    pub tag: u64,
    pub target: Target,
    heard: usize,
    /// The client's direction has ended.
    pub has_heard_end: bool,
    /// Where its first byte stands in all that this end of the connection sends.
    pub begins_at: u64,
}

impl Tunnel {
    /// The tunnel that was asked for.
    pub fn new(tag: u64, target: Target, begins_at: u64) -> Tunnel {
        Tunnel { tag, target, heard: 0, has_heard_end: false, begins_at }
    }

    /// What is said as soon as it is open.
    pub fn begin(&self) -> Vec<u8> {
        if matches!(self.target.kind, Kind::Talk | Kind::First) { self.target.said_down() } else { Vec::new() }
    }

    /// Whether its own direction ends behind what it has said so far.
    pub fn is_said(&self) -> bool {
        match self.target.kind {
            Kind::Talk | Kind::First => true,
            Kind::Echo | Kind::Late | Kind::Silent => self.has_heard_end,
        }
    }

    /// What is said to these bytes.
    pub fn hear(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let all = pattern(self.target.salt_up(), self.target.up);
        if !all[self.heard.min(all.len())..].starts_with(&bytes) {
            return Err(format!("a tunnel brings what nobody has said, behind byte {}", self.heard));
        }
        self.heard += bytes.len();
        Ok(if self.target.kind == Kind::Echo { bytes } else { Vec::new() })
    }

    /// The other direction has ended. `may_leave`: its client may do so at any moment.
    pub fn hear_end(&mut self, may_leave: bool) -> Result<Vec<u8>, String> {
        let (heard, all) = (self.heard, self.target.up);
        if heard < all && !may_leave {
            return Err(format!("a tunnel ends in order at the upstream, with {heard} of {all} bytes"));
        }
        self.has_heard_end = true;
        Ok(if self.target.kind == Kind::Late { self.target.said_down() } else { Vec::new() })
    }
}
