//! A client of HTTP/2: what it asks on many streams, what must come of each, and what it allows the server. It is a value:
//! bytes and the time go in, bytes come out. Its frames, windows and expectations are its own; only HPACK is the server's,
//! which has been compared with another implementation.

pub mod actor;
pub mod ask;
pub mod frames;
mod hears;
pub mod kinds;
mod loopback;
mod naive_server;
mod offence;
mod says;
mod stream;
mod talk;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ask::{Ask, Reading};
use frames::{Frames, PREFACE};
use offence::Offence;
use stream::{NO_ERROR, Outcome, Stream};
use tidemill::protocol::h2::fields::FieldList;
use tidemill::protocol::h2::hpack::decoder::Decoder;
use tidemill::protocol::h2::hpack::encoder::Encoder;

use crate::dice::Dice;

/// What every endpoint has before it says something else (RFC 9113 §6.5.2, §6.9.2), in bytes.
const WINDOW_BYTES: i64 = 65_535;
const FRAME_BYTES: usize = 16_384;

/// How a client goes about its connection.
#[derive(Debug, Clone)]
pub struct Habits {
    /// For people.
    pub kind: &'static str,
    /// What it allows on a new stream, in bytes; it does not say the default.
    pub window: u32,
    /// Other windows that it tells later.
    pub later_windows: Vec<u32>,
    /// The table of fields that the server may use, in bytes; it does not say the default.
    pub table: u32,
    /// The largest frames that it takes, in bytes; it does not say the default.
    pub frame: u32,
    /// How it opens the window of the connection.
    pub reading: Reading,
    /// Streams at a time.
    pub streams_max: usize,
    /// Whether it asks only when it knows the server's settings.
    pub waits_for_settings: bool,
    /// Chance in a thousand that a frame is padded.
    pub padding: u64,
    /// Chance in a thousand that a field block is cut into several frames.
    pub cuts: u64,
    /// PINGs that it sends.
    pub pings: usize,
    /// What it does when everything is settled.
    pub last: Last,
    /// How long a server waits for a window to open.
    pub stall_timeout: Duration,
}

/// The end of a client's script.
#[derive(Debug, Clone, Copy)]
pub enum Last {
    /// Nothing: the connection may be closed. Whether it says GOAWAY before.
    Close(bool),
    /// It waits for the server to end the connection.
    Wait,
    /// It breaks a rule, and the server must end the connection with the right code.
    Break(Offence),
}

impl Habits {
    /// Those of a client without peculiarities.
    pub fn plain() -> Habits {
        Habits {
            kind: "plain HTTP/2",
            window: WINDOW_BYTES as u32,
            later_windows: Vec::new(),
            table: 4096,
            frame: FRAME_BYTES as u32,
            reading: Reading::Ahead(1 << 20),
            streams_max: 100,
            waits_for_settings: false,
            padding: 0,
            cuts: 0,
            pings: 0,
            last: Last::Close(false),
            stall_timeout: Duration::ZERO,
        }
    }

    /// Any habits that a server must bear.
    pub fn draw(kind: &'static str, dice: &mut Dice) -> Habits {
        let mut window = || dice.pick(&[0, 1, 1000, 65_535, 65_535, 200_000]);
        let (first, later) = (window(), [window(), window()]);
        let kept = dice.below(3) as usize;
        Habits {
            kind,
            window: first,
            later_windows: later.into_iter().take(kept).collect(),
            table: dice.pick(&[0, 100, 4096, 4096, 65_536]),
            frame: dice.pick(&[16_384, 16_384, 100_000]),
            reading: match dice.chance(300) {
                true => Reading::InPortions(dice.size(256, 100_000) as u32),
                false => Reading::Ahead(dice.size(512, 1 << 20) as u32),
            },
            streams_max: dice.size(1, 40),
            waits_for_settings: dice.chance(500),
            padding: dice.pick(&[0, 0, 100]),
            cuts: dice.pick(&[0, 0, 200]),
            pings: dice.below(10) as usize,
            last: Last::Close(dice.chance(500)),
            stall_timeout: Duration::ZERO,
        }
    }
}

/// What the server has said of itself.
#[derive(Debug)]
struct ServerSettings {
    window: i64,
    frame: usize,
    streams_max: usize,
    allows_connect: bool,
}

/// A client and its connection.
pub struct Http2 {
    habits: Habits,
    dice: Dice,
    /// What is still to be asked.
    asks: VecDeque<Ask>,
    streams: BTreeMap<u32, Stream>,
    next_id: u32,
    opened_at: Duration,
    out: Vec<u8>,
    /// Bytes that were sent before `out`.
    sent: u64,
    now: Duration,
    /// After how long a tunnel in which nothing moves ends.
    pub tunnel_timeout: Duration,
    heard_at: Duration,
    has_begun: bool,
    has_said_last: bool,

    frames: Frames,
    /// The field block that has begun: its stream, whether it ends the stream, and what has come of it.
    block: Option<(u32, bool, Vec<u8>)>,
    decoder: Decoder,
    list: FieldList,
    encoder: Encoder,
    server: ServerSettings,
    has_settings: bool,

    /// What the server allows on the connection, in bytes.
    send_window: i64,
    /// What is allowed to the server on the connection, in bytes.
    left: i64,
    /// When it last allowed it more on the connection.
    granted_at: Duration,
    /// Windows of streams that were told: the one that was acknowledged last, and those behind it.
    windows: VecDeque<u32>,
    pings: VecDeque<[u8; 8]>,
    pings_left: usize,
    /// What small frames may still cost, as the server counts them, in bytes.
    small_data_left: usize,
    goaway: Option<(u32, u32)>,
}

/// What the server bears of frames of less than 256 bytes, half of it.
const SMALL_DATA: usize = 24_000;

impl Http2 {
    /// A client that asks all this, and does it by these habits.
    pub fn new(habits: Habits, asks: Vec<Ask>, dice: Dice) -> Http2 {
        Http2 {
            pings_left: habits.pings,
            windows: VecDeque::from([WINDOW_BYTES as u32, habits.window]),
            habits,
            dice,
            asks: asks.into(),
            streams: BTreeMap::new(),
            next_id: 1,
            opened_at: Duration::ZERO,
            out: Vec::new(),
            sent: 0,
            now: Duration::ZERO,
            tunnel_timeout: Duration::ZERO,
            heard_at: Duration::ZERO,
            has_begun: false,
            has_said_last: false,
            frames: Frames::default(),
            block: None,
            decoder: Decoder::default(),
            list: FieldList::default(),
            encoder: Encoder::default(),
            server: ServerSettings {
                window: WINDOW_BYTES,
                frame: FRAME_BYTES,
                streams_max: usize::MAX,
                allows_connect: false,
            },
            has_settings: false,
            send_window: WINDOW_BYTES,
            left: WINDOW_BYTES,
            granted_at: Duration::ZERO,
            pings: VecDeque::new(),
            small_data_left: SMALL_DATA,
            goaway: None,
        }
    }

    /// What it is.
    pub fn kind(&self) -> &'static str {
        self.habits.kind
    }

    /// How it goes about its connection.
    pub fn habits(&self) -> &Habits {
        &self.habits
    }

    /// The end of its script, if it has come.
    pub fn last(&self) -> Last {
        self.habits.last
    }

    /// When it last opened a stream of which the server knew when so many bytes had arrived.
    pub fn asked_at(&self, arrived: u64) -> Duration {
        let known = self.streams.values().filter(|stream| stream.head_end <= arrived);
        known.map(|stream| stream.opened_at).max().unwrap_or_default()
    }

    /// When it last heard anything but GOAWAY.
    pub fn heard_at(&self) -> Duration {
        self.heard_at
    }

    /// Whether it knows what the server has said of itself.
    pub fn has_settings(&self) -> bool {
        self.has_settings
    }

    /// The code that the server has said the end of the connection with.
    pub fn goaway_code(&self) -> Option<u32> {
        self.goaway.map(|(_, code)| code)
    }

    /// Whether all it has asked for is settled, and it has no more to do than its last thing.
    pub fn is_settled(&self) -> bool {
        let may_ask = self.goaway.is_none() && !self.asks.is_empty();
        !may_ask && self.streams.values().all(Stream::is_settled) && self.pings.is_empty()
    }

    /// Whether it closes its connection now.
    pub fn closes(&self) -> bool {
        self.is_settled() && matches!(self.habits.last, Last::Close(_)) && self.windows.len() == 1
    }

    /// When it wants to act without being asked to.
    pub fn acts_at(&self) -> Option<Duration> {
        let gives_up = self.streams.values().filter_map(Stream::gives_up_at);
        let asks = self.asks.front().filter(|_| self.may_ask()).map(|ask| self.opened_at + ask.after);
        gives_up.chain(asks).min()
    }

    /// Whether the server listens to it no more.
    fn has_broken_rules(&self) -> bool {
        self.has_said_last && matches!(self.habits.last, Last::Break(_))
    }

    /// The longest silence of the server that is in order now; `None`: it need not say anything.
    pub fn silence_max(&self) -> Option<Duration> {
        if self.left <= 0 {
            return if self.pings.is_empty() && self.windows.len() == 1 { None } else { Some(Duration::ZERO) };
        }
        let window = self.window();
        let due = self.streams.values().filter(|stream| stream.is_due(window));
        let silences = due.map(|stream| stream.ask.expected.silence_max);
        let control = if self.pings.is_empty() && self.windows.len() == 1 { None } else { Some(Duration::ZERO) };
        silences.chain(control).min()
    }

    /// What is wrong with an end of the connection now.
    pub fn check_end(&self) -> Result<(), String> {
        if !self.frames.is_between() || self.block.is_some() {
            return Err(format!("the end in the middle of a frame; {}", self.progress()));
        }
        match (&self.habits.last, self.goaway) {
            (Last::Break(offence), Some((_, said))) if self.has_said_last && offence.may_end_with(said) => Ok(()),
            (Last::Break(offence), _) if self.has_said_last => {
                Err(format!("{} was not answered with code {}, but {:?}", offence.what, offence.code, self.goaway))
            }
            _ if self.streams.values().any(|stream| stream.outcome.is_none()) => {
                Err(format!("the end before everything is settled; {}", self.progress()))
            }
            _ => Ok(()),
        }
    }

    /// What is wrong with the end of a server that was told to stop when so many bytes had arrived. In the end it were so
    /// many: what it has not seen it cannot serve, whatever it has said before.
    pub fn check_stop(&self, arrived: u64, arrived_at_all: u64) -> Result<(), String> {
        let Some((last, code)) = self.goaway else {
            // Who has not said its preface may hear nothing.
            return if arrived < PREFACE.len() as u64 { Ok(()) } else { Err("the end without GOAWAY".to_owned()) };
        };
        if code != NO_ERROR {
            return Ok(());
        }
        let lost = |(id, stream): &(&u32, &Stream)| {
            let was_taken = stream.head_end <= arrived && stream.outcome == Some(Outcome::Excused);
            let is_forgotten = stream.outcome.is_none() && **id <= last && stream.head_end <= arrived_at_all;
            // Who has broken the rules listens to GOAWAY alone.
            (is_forgotten || was_taken) && !self.has_broken_rules()
        };
        match self.streams.iter().find(lost) {
            Some((id, stream)) => Err(format!("told to stop, the server forgets stream {id}: {}", stream.progress())),
            None => Ok(()),
        }
    }

    /// For people: what it still waits for.
    pub fn progress(&self) -> String {
        let mut text = format!(
            "{} to ask, window {}, may send {}, {} PINGs and {} SETTINGS to be answered, GOAWAY {:?}",
            self.asks.len(),
            self.left,
            self.send_window,
            self.pings.len(),
            self.windows.len() - 1,
            self.goaway
        );
        let window = self.window();
        for (id, stream) in self.streams.iter().filter(|(_, stream)| stream.outcome.is_none()) {
            text += &format!("; stream {id}: {} of {window}", stream.progress());
        }
        text
    }

    /// How many streams ended in each way, and how many were not opened.
    pub fn outcomes(&self) -> [usize; 5] {
        let count = |outcome| self.streams.values().filter(|stream| stream.outcome == Some(outcome)).count();
        let [complete, cut, given_up, excused] =
            [Outcome::Complete, Outcome::Cut, Outcome::GivenUp, Outcome::Excused].map(count);
        [complete, cut, given_up, excused, self.asks.len()]
    }

    /// The initial window of streams that was told last.
    fn window(&self) -> i64 {
        self.windows.back().map_or(WINDOW_BYTES, |window| i64::from(*window))
    }

    /// The largest initial window that the server may reckon with.
    fn window_max(&self) -> i64 {
        self.windows.iter().max().map_or(WINDOW_BYTES, |window| i64::from(*window))
    }

    fn may_ask(&self) -> bool {
        let live = self.streams.values().filter(|stream| stream.outcome.is_none() || stream.is_sending).count();
        let knows = self.has_settings || !self.habits.waits_for_settings;
        self.goaway.is_none() && knows && live < self.habits.streams_max.min(self.server.streams_max)
    }
}
