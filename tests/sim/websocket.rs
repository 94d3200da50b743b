//! A client of `/ws/echo`: what it says and when, what must come back, and how its WebSocket must end.

mod acts;
mod ends;
mod hears;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::answer::Parser;
use crate::client::Window;
use crate::dice::Dice;
use crate::frames::{Deflate, Frames};
use crate::link::LinkId;
use crate::world::{Actor, World};

/// One thing a client does, or waits for.
#[derive(Clone)]
pub enum Step {
    /// Hands bytes to its kernel.
    Send(Vec<u8>),
    /// Says a message.
    Say(Message, Manner),
    /// Sends a Ping.
    Ping(Vec<u8>),
    /// Sends a Close, with this code and reason.
    Close(Option<u16>, &'static str),
    /// Sends bytes that break a rule; the answer is a Close with this code.
    Break(Vec<u8>, u16),
    /// Does nothing for a while.
    Pause(Duration),
    /// Waits until its WebSocket is open.
    AwaitOpen,
    /// Waits until everything it has said has come back.
    AwaitEchoes,
    /// Waits for so many Pings.
    AwaitPings(usize),
    /// Looks at how much the server holds of what it was sent.
    Weigh,
    /// Reads nothing from now on.
    StopReading,
    /// Reads again.
    GoOnReading,
    /// Ends its direction.
    Fin,
    /// Resets the connection.
    Reset,
    /// Closes its socket, whatever is still to come.
    Vanish,
}

/// A message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Text or binary.
    pub opcode: u8,
    /// What it says.
    pub content: Vec<u8>,
}

/// How a message is said.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Its frames end at these places, in order, and at its end.
    pub cuts: Vec<usize>,
    /// What is asked between the frames.
    pub pings: Vec<Vec<u8>>,
    /// Whether it is compressed, if that was agreed on.
    pub compressed: bool,
    /// Handed to the kernel in pieces of so many bytes; 0: all at once.
    pub piece: usize,
}

/// How a WebSocket must end.
#[derive(Debug, Clone, Copy)]
pub enum Ending {
    /// In order, after everything that was said and with the Close that was asked for, if one was.
    InOrder,
    /// The server gives up after two of these intervals without a sign of life.
    Silent(Duration),
    /// The server cuts it, in order or not.
    Cut(Window),
    /// Anyhow.
    Anyhow,
}

/// A client and its one connection.
pub struct WebSocket {
    kind: &'static str,
    script: VecDeque<Step>,
    ending: Ending,
    dice: Dice,
    /// Statuses of the answers that come before the WebSocket is opened.
    refusals: VecDeque<u16>,
    /// Length of all requests in bytes.
    head_bytes: u64,
    offers_deflate: bool,
    answers_pings: bool,

    parser: Parser,
    frames: Frames,
    deflate: Option<Deflate>,
    open: bool,
    /// An answer said that nothing comes after it.
    announced_close: bool,
    /// What must come back.
    echoes: VecDeque<Message>,
    pongs: VecDeque<Vec<u8>>,
    /// The message that has begun to come back: its opcode, whether it is compressed, and its payload so far.
    partial: Option<(u8, bool, Vec<u8>)>,
    /// What it has sent a Close for, or broken a rule; the code that must come of it.
    expected_close: Option<Option<u16>>,
    received_close: Option<Option<u16>>,
    close_sent: bool,
    broke: bool,
    ended_direction: bool,
    pings: usize,

    reading: bool,
    paused_until: Option<Duration>,
    stalled_until: Duration,
    /// When it last did anything.
    busy_at: Duration,
    /// When it last sent something.
    sent_at: Duration,
    /// What the server had heard of it when its first Ping came: the time of its last bytes' arrival.
    arrived_at_ping: Option<Duration>,
    /// Whether it has read so slowly that a Ping waited for it in the kernel.
    reads_late: bool,
    /// When something last came back.
    heard_at: Duration,
    done: bool,
    link: LinkId,
}

/// What a client is before its connection.
pub struct Plan {
    /// For people.
    pub kind: &'static str,
    /// What it sends to open its WebSocket, perhaps in vain at first.
    pub requests: Vec<(Vec<u8>, u16)>,
    /// What it does then.
    pub script: Vec<Step>,
    /// How it ends.
    pub ending: Ending,
    /// Whether it offers to compress.
    pub offers_deflate: bool,
    /// Whether it answers Pings.
    pub answers_pings: bool,
}

impl WebSocket {
    /// A client that follows `plan`; `dice` make its masks.
    pub fn new(plan: Plan, dice: Dice) -> WebSocket {
        let Plan { kind, requests, script, ending, offers_deflate, answers_pings } = plan;
        let head_bytes = requests.iter().map(|(request, _)| request.len() as u64).sum();
        let refusals = requests.iter().map(|(_, status)| *status).filter(|status| *status != 101).collect();
        let asking = requests.into_iter().map(|(request, _)| Step::Send(request));
        WebSocket {
            kind,
            script: asking.chain(script).collect(),
            ending,
            dice,
            refusals,
            head_bytes,
            offers_deflate,
            answers_pings,
            parser: Parser::new(),
            frames: Frames::default(),
            deflate: None,
            open: false,
            announced_close: false,
            echoes: VecDeque::new(),
            pongs: VecDeque::new(),
            partial: None,
            expected_close: if let Ending::Silent(_) = ending { Some(Some(1011)) } else { None },
            received_close: None,
            close_sent: false,
            broke: false,
            ended_direction: false,
            pings: 0,
            reading: true,
            paused_until: None,
            stalled_until: Duration::ZERO,
            busy_at: Duration::ZERO,
            sent_at: Duration::ZERO,
            arrived_at_ping: None,
            reads_late: false,
            heard_at: Duration::ZERO,
            done: false,
            link: 0,
        }
    }

    /// Whether it has left off in the middle of something.
    fn is_careless(&self) -> bool {
        matches!(self.ending, Ending::Anyhow)
    }

    fn progress(&self) -> String {
        format!(
            "{} messages and {} Pongs are to come, {}open, Close {:?} of {:?}",
            self.echoes.len(),
            self.pongs.len(),
            if self.open { "" } else { "not " },
            self.received_close,
            self.expected_close,
        )
    }

    fn finish(&mut self, world: &mut World, why: &str) {
        world.note(self.link, || format!("client {why}"));
        self.done = true;
    }

    fn fail(&mut self, world: &mut World, error: String) {
        self.done = true;
        world.fail(Some(self.link), format!("{}: {error}", self.kind));
    }
}

impl Actor for WebSocket {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn complaint(&self) -> String {
        format!("{self:?} still waits: {}", self.progress())
    }

    fn set_link(&mut self, link: LinkId) {
        self.link = link;
    }

    fn act(&mut self, world: &mut World) {
        if !self.done && self.stalled_until <= world.now && self.reading {
            self.read(world);
        }
        while !self.done && self.step(world) {}
    }

    fn readable(&mut self, world: &mut World) {
        if !self.done {
            world.may_stall(self.link, &mut self.stalled_until);
        }
        if !self.done && !self.reading && world.links[self.link].down.fin_received {
            self.ended(world, "a FIN");
        }
        self.act(world);
    }

    fn reset(&mut self, world: &mut World) {
        if !self.done && self.reading {
            self.read(world);
        }
        if !self.done {
            self.ended(world, "a reset");
        }
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deflate = if self.offers_deflate { ", offers to compress" } else { "" };
        write!(f, "a {} ({} steps{deflate}, ending {:?})", self.kind, self.script.len(), self.ending)
    }
}
