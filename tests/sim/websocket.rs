//! A client of `/ws/echo`: what it says and when, what must come back, and how its WebSocket must end.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::answer::{Answer, Parser};
use crate::client::{PATIENCE, TOLERANCE, Window};
use crate::dice::Dice;
use crate::frames::{self, CLOSE, CONTINUATION, Deflate, FIN, Frame, Frames, PING, PONG, RSV1, masked};
use crate::link::LinkId;
use crate::world::{Actor, World};

/// The answer to the one key that all clients have (RFC 6455 §1.3).
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// What a WebSocket may hold back beside its rings, in bytes: what waits to be sent before nothing more is taken, the
/// piece that was taken last, and the masks of small frames, which are not sent back.
const HELD_BYTES_MAX: usize = 16 * 1024 + 16 * 1024 + 8 * 1024;

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

    // --- what it does ---

    fn step(&mut self, world: &mut World) -> bool {
        let Some(step) = self.script.front() else { return false };
        match step {
            Step::Pause(wait) => return self.pause(*wait, world),
            Step::AwaitOpen if !self.open => return false,
            Step::AwaitEchoes if !(self.echoes.is_empty() && self.pongs.is_empty()) => return false,
            Step::AwaitPings(n) if self.pings < *n => return false,
            _ => {}
        }
        let Some(step) = self.script.pop_front() else { return false };
        self.busy_at = world.now;
        self.take_step(step, world);
        true
    }

    fn take_step(&mut self, step: Step, world: &mut World) {
        match step {
            Step::Send(bytes) => self.send(&bytes, world),
            Step::Say(message, manner) => self.say(message, &manner, world),
            Step::Ping(payload) => {
                let frame = self.frame(FIN | PING, &payload);
                self.pongs.push_back(payload);
                self.send(&frame, world);
            }
            Step::Close(code, reason) => {
                self.expected_close = Some(code);
                self.send_close(code, reason, world);
            }
            Step::Break(bytes, code) => {
                (self.expected_close, self.broke) = (Some(Some(code)), true);
                self.send(&bytes, world);
            }
            Step::Weigh => self.weigh(world),
            Step::StopReading => self.reading = false,
            Step::GoOnReading => {
                self.reading = true;
                self.read(world);
            }
            Step::Fin => {
                self.ended_direction = true;
                world.client_ends(self.link);
            }
            Step::Reset => {
                world.client_resets(self.link);
                self.finish(world, "aborts");
            }
            Step::Vanish => {
                world.client_closes(self.link);
                self.finish(world, "goes away");
            }
            Step::Pause(_) | Step::AwaitOpen | Step::AwaitEchoes => {}
            // Further Pings are counted anew.
            Step::AwaitPings(_) => self.pings = 0,
        }
    }

    fn pause(&mut self, wait: Duration, world: &mut World) -> bool {
        match self.paused_until {
            None => {
                self.paused_until = Some(world.now + wait);
                world.wake_after(self.link, wait);
                false
            }
            Some(until) if world.now < until => false,
            Some(_) => {
                self.paused_until = None;
                self.script.pop_front();
                true
            }
        }
    }

    fn send(&mut self, bytes: &[u8], world: &mut World) {
        self.sent_at = world.now;
        world.client_sends(self.link, bytes);
    }

    fn frame(&mut self, first: u8, payload: &[u8]) -> Vec<u8> {
        let key = (self.dice.below(1 << 32) as u32).to_ne_bytes();
        masked(first, payload, key)
    }

    fn send_close(&mut self, code: Option<u16>, reason: &str, world: &mut World) {
        self.close_sent = true;
        let payload = [&frames::closing(code), reason.as_bytes()].concat();
        let frame = self.frame(FIN | CLOSE, &payload);
        self.send(&frame, world);
    }

    fn say(&mut self, message: Message, manner: &Manner, world: &mut World) {
        let bytes = self.spoken(&message, manner);
        self.echoes.push_back(message);
        if manner.piece == 0 {
            return self.send(&bytes, world);
        }
        for piece in bytes.chunks(manner.piece).rev() {
            self.script.push_front(Step::Pause(Duration::from_micros(self.dice.below(2000))));
            self.script.push_front(Step::Send(piece.to_vec()));
        }
    }

    /// The frames of a message, and Pings between them.
    fn spoken(&mut self, message: &Message, manner: &Manner) -> Vec<u8> {
        let compressed = self.deflate.as_mut().filter(|_| manner.compressed);
        let rsv1 = if compressed.is_some() { RSV1 } else { 0 };
        let payload = compressed.map_or_else(|| message.content.clone(), |deflate| deflate.compress(&message.content));
        let (mut bytes, mut start, mut first) = (Vec::new(), 0, message.opcode | rsv1);
        for (index, cut) in manner.cuts.iter().enumerate() {
            let end = (*cut).clamp(start, payload.len());
            bytes.extend(self.frame(first, &payload[start..end]));
            (start, first) = (end, CONTINUATION);
            if let Some(ping) = manner.pings.get(index) {
                bytes.extend(self.frame(FIN | PING, ping));
                self.pongs.push_back(ping.clone());
            }
        }
        bytes.extend(self.frame(FIN | first, &payload[start..]));
        bytes
    }

    /// However much a client says: what nobody reads is not taken from it.
    fn weigh(&mut self, world: &mut World) {
        let link = &world.links[self.link];
        let taken = link.up.arrived as usize - link.up.received.len();
        let given = link.down.arrived as usize + link.down.held_by_sender();
        let most = HELD_BYTES_MAX + world.limits.inbox_bytes + world.limits.outbox_bytes + self.head_bytes as usize;
        // Who stops takes what is on its way, and throws it away.
        if taken > given + most && world.told_to_stop.is_none() {
            self.fail(world, format!("the server took {taken} bytes and gave {given}: it holds more than {most}"));
        }
    }

    // --- what it hears ---

    fn read(&mut self, world: &mut World) {
        let bytes = world.client_reads(self.link);
        if !bytes.is_empty() {
            let silence = self.silence(world);
            self.busy_at = world.now;
            if self.open {
                self.frames.push(&bytes);
            } else {
                self.parser.push(&bytes);
                self.take_answers(world);
            }
            if self.open {
                self.take_frames(silence, world);
            }
        }
        if !self.done && world.links[self.link].down.fin_received {
            self.ended(world, "a FIN");
        }
    }

    /// How long nothing has happened that the server could wait for.
    fn silence(&self, world: &World) -> Duration {
        let marks = world.links[self.link].marks;
        let since = [Some(self.busy_at), Some(self.stalled_until), marks.accepted, marks.last_arrival];
        world.now.saturating_sub(since.into_iter().flatten().max().unwrap_or_default())
    }

    fn take_answers(&mut self, world: &mut World) {
        while !self.done && !self.open {
            match self.parser.next(false) {
                Err(error) => self.fail(world, error),
                Ok(None) => return,
                Ok(Some(answer)) => self.take_answer(&answer, world),
            }
        }
    }

    fn take_answer(&mut self, answer: &Answer, world: &mut World) {
        let expected = self.refusals.pop_front().unwrap_or(101);
        if answer.status != expected {
            return self.fail(world, format!("{} instead of {expected}", answer.status));
        }
        self.announced_close |= answer.announces_close();
        if expected != 101 {
            return;
        }
        match self.check_opening(answer) {
            Err(error) => self.fail(world, error),
            Ok(()) => {
                world.note(self.link, || "client has its WebSocket open".to_owned());
                self.open = true;
                let rest = self.parser.take_rest();
                self.frames.push(&rest);
            }
        }
    }

    /// RFC 6455 §4.1: what a client must check.
    fn check_opening(&mut self, answer: &Answer) -> Result<(), String> {
        let says = |name, value: &str| answer.field(name).is_some_and(|field| field.eq_ignore_ascii_case(value));
        if !says("upgrade", "websocket") || !says("connection", "upgrade") {
            return Err("101 without Upgrade".to_owned());
        }
        if answer.field("sec-websocket-accept") != Some(ACCEPT) {
            return Err("the wrong Sec-WebSocket-Accept".to_owned());
        }
        match answer.field("sec-websocket-extensions") {
            None => Ok(()),
            Some("permessage-deflate") if self.offers_deflate => {
                self.deflate = Some(Deflate::new());
                Ok(())
            }
            Some(other) => Err(format!("the extension {other} nobody offered")),
        }
    }

    fn take_frames(&mut self, silence: Duration, world: &mut World) {
        while !self.done {
            match self.frames.next() {
                Err(error) => self.fail(world, error),
                Ok(None) => return,
                Ok(Some(frame)) => {
                    if let Err(error) = self.on_frame(frame, silence, world) {
                        self.fail(world, error);
                    }
                }
            }
        }
    }

    fn on_frame(&mut self, frame: Frame, silence: Duration, world: &mut World) -> Result<(), String> {
        if self.received_close.is_some() {
            return Err("a frame after the Close (RFC 6455 §5.5.1)".to_owned());
        }
        match frame.opcode {
            PING => return self.on_ping(&frame, silence, world),
            CLOSE => return self.on_close(&frame, world),
            // Nothing that can be said may wait without a reason: a Ping's timer must not be what moves it.
            _ if silence > PATIENCE => return Err(format!("silence for {silence:?} before an answer")),
            _ => self.heard_at = world.now,
        }
        match frame.opcode {
            PONG => match self.pongs.pop_front() {
                Some(ping) if ping == frame.payload => Ok(()),
                None if self.is_careless() => Ok(()),
                ping => Err(format!("a Pong of {:?} to {ping:?}", frame.payload)),
            },
            _ => self.on_fragment(frame, world),
        }
    }

    fn on_ping(&mut self, frame: &Frame, silence: Duration, world: &mut World) -> Result<(), String> {
        let interval = world.limits.ws_ping_interval;
        if silence > interval + PATIENCE {
            return Err(format!("a Ping after {silence:?} of silence"));
        }
        // Nothing is on its way in either direction then, once the first Ping was answered.
        let waits = matches!(self.script.front(), Some(Step::AwaitPings(_))) && self.pings > 0;
        if waits && self.answers_pings && world.now < self.sent_at + interval {
            return Err("a Ping too early".to_owned());
        }
        self.pings += 1;
        let arrived = world.links[self.link].marks.last_arrival.unwrap_or_default();
        self.reads_late |= world.now > arrived + interval + PATIENCE;
        let stopped = world.told_to_stop.map(|told| told + interval + PATIENCE);
        if !self.reads_late && stopped.is_some_and(|stopped| world.now > stopped) {
            return Err("told to stop, the server goes on".to_owned());
        }
        self.arrived_at_ping = self.arrived_at_ping.or(world.links[self.link].marks.last_arrival);
        if self.answers_pings && !self.close_sent && !self.ended_direction {
            let pong = self.frame(FIN | PONG, &frame.payload);
            self.insert(&pong, world);
        }
        Ok(())
    }

    /// Sends a frame, but not inside another one.
    fn insert(&mut self, frame: &[u8], world: &mut World) {
        match self.script.front() {
            Some(Step::Pause(_)) if matches!(self.script.get(1), Some(Step::Send(_))) => {
                let behind =
                    self.script.iter().take_while(|step| matches!(step, Step::Pause(_) | Step::Send(_))).count();
                self.script.insert(behind, Step::Send(frame.to_vec()));
            }
            _ => self.send(frame, world),
        }
    }

    fn on_close(&mut self, frame: &Frame, world: &mut World) -> Result<(), String> {
        let code = frame.code();
        // What waits in the kernel for a slow reader was sent: an answer to what stands behind it comes late.
        let gives_up = code == Some(1011) && self.reads_late;
        if gives_up {
            self.ending = Ending::Anyhow;
        }
        let is_expected = self.expected_close == Some(code) || self.is_careless();
        let stops = world.told_to_stop.is_some() && code == Some(1001);
        if !is_expected && !stops {
            return Err(format!(
                "closed with {code:?}, not {:?}: {}",
                self.expected_close,
                frame.payload.escape_ascii()
            ));
        }
        self.received_close = Some(code);
        world.note(self.link, || format!("client hears a Close, {code:?}"));
        // Whoever is in the middle of a frame cannot answer; whoever has broken a rule is not listened to.
        let mid_frame = self.script.iter().any(|step| matches!(step, Step::Send(_)));
        self.script.retain(|step| matches!(step, Step::Fin | Step::Reset | Step::Vanish));
        if !self.close_sent && !self.broke && !self.ended_direction && !mid_frame {
            self.send_close(code, "", world);
        }
        Ok(())
    }

    fn on_fragment(&mut self, frame: Frame, world: &mut World) -> Result<(), String> {
        if frame.rsv1 && self.deflate.is_none() {
            return Err("compressed without an agreement".to_owned());
        }
        match (frame.opcode, &mut self.partial) {
            (CONTINUATION, None) => return Err("a continuation of nothing".to_owned()),
            (CONTINUATION, Some(_)) if frame.rsv1 => return Err("RSV1 in a continuation".to_owned()),
            (CONTINUATION, Some((_, _, payload))) => payload.extend_from_slice(&frame.payload),
            (_, Some(_)) => return Err("a message inside a message".to_owned()),
            (opcode, None) => self.partial = Some((opcode, frame.rsv1, frame.payload)),
        }
        self.check_beginning()?;
        if frame.fin { self.on_message(world) } else { Ok(()) }
    }

    /// What has come back of a message is how it begins; nothing comes back that was not said.
    fn check_beginning(&self) -> Result<(), String> {
        let Some((opcode, compressed, payload)) = &self.partial else { return Ok(()) };
        let Some(said) = self.echoes.front().filter(|said| said.opcode == *opcode) else {
            // Of a message that broke a rule the beginning may come back.
            let may_begin = (self.broke || self.is_careless()) && self.echoes.is_empty();
            return if may_begin { Ok(()) } else { Err("nobody said that".to_owned()) };
        };
        match !compressed && !said.content.starts_with(payload) {
            true => Err("a message comes back changed".to_owned()),
            false => Ok(()),
        }
    }

    fn on_message(&mut self, world: &mut World) -> Result<(), String> {
        let Some((_, compressed, payload)) = self.partial.take() else { return Ok(()) };
        let Some(said) = self.echoes.pop_front() else {
            return if self.is_careless() { Ok(()) } else { Err("nobody said that".to_owned()) };
        };
        let content = match &mut self.deflate {
            Some(deflate) if compressed => deflate.decompress(&payload)?,
            _ => payload,
        };
        let left = self.echoes.len();
        world.note(self.link, || format!("client hears its message of {} bytes, {left} to come", content.len()));
        if content == said.content { Ok(()) } else { Err("a message comes back changed".to_owned()) }
    }

    /// Whether it has left off in the middle of something.
    fn is_careless(&self) -> bool {
        matches!(self.ending, Ending::Anyhow)
    }

    // --- how it ends ---

    fn ended(&mut self, world: &mut World, how: &str) {
        let verdict = self.verdict(world, how);
        if world.links[self.link].client_closed {
            return;
        }
        if how == "a FIN" {
            world.client_closes(self.link);
        }
        match verdict {
            Ok(()) => self.finish(world, &format!("is content with {how}")),
            Err(error) => self.fail(world, format!("{how}: {error}; {}", self.progress())),
        }
    }

    fn verdict(&self, world: &World, how: &str) -> Result<(), String> {
        if world.told_to_stop.is_some() {
            return self.check_stop(world, how);
        }
        match self.ending {
            Ending::Anyhow => Ok(()),
            Ending::Cut(window) => window.holds(&world.links[self.link].marks),
            Ending::InOrder => self.check_order(how),
            Ending::Silent(interval) => self.check_order(how).and_then(|()| self.check_silence(interval, world)),
        }
    }

    fn check_order(&self, how: &str) -> Result<(), String> {
        let heard_all = self.echoes.is_empty() && self.pongs.is_empty() && self.frames.is_between();
        match () {
            () if how != "a FIN" => Err("it was to end in order".to_owned()),
            () if !self.open => Err("it was never opened".to_owned()),
            () if self.received_close != self.expected_close => Err("the wrong Close, or none".to_owned()),
            () if !heard_all || (self.partial.is_some() && !self.broke) => {
                Err("not everything has come back".to_owned())
            }
            () => Ok(()),
        }
    }

    /// One interval until the Ping, and another until the Close.
    fn check_silence(&self, interval: Duration, world: &World) -> Result<(), String> {
        let marks = &world.links[self.link].marks;
        let (Some(ended), Some(arrived)) = (marks.ended, self.arrived_at_ping) else {
            return Err("given up without a Ping".to_owned());
        };
        // What had arrived before was heard when the connection was accepted.
        let arrived = arrived.max(marks.accepted.unwrap_or_default());
        let (earliest, latest) = (arrived + 2 * interval, arrived.max(self.heard_at) + 2 * interval + TOLERANCE);
        match ended < earliest || ended > latest {
            true => Err(format!("given up at {ended:?}, not from {earliest:?} to {latest:?}")),
            false => Ok(()),
        }
    }

    /// A server that was told to stop says so to everybody (1001), unless the drain is cut, or it had no request yet.
    fn check_stop(&self, world: &World, how: &str) -> Result<(), String> {
        let cut = world.drain_was_cut || world.told_to_stop_at_once.is_some() || how != "a FIN";
        let arrived = world.arrived_when_told[self.link] >= self.head_bytes;
        let goes =
            matches!(self.ending, Ending::Anyhow | Ending::Cut(_)) || self.ended_direction || self.announced_close;
        match () {
            () if cut || goes || self.received_close.is_some() => Ok(()),
            () if self.open || arrived => Err("told to stop, the server did not say so".to_owned()),
            () => Ok(()),
        }
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
        let nature = &world.links[self.link].nature;
        let (stalls, (low, high)) = (nature.stalls, nature.stall);
        if !self.done && self.stalled_until <= world.now && world.dice.chance(stalls) {
            let wait = world.dice.millis(low, high);
            self.stalled_until = world.now + wait;
            world.note(self.link, || format!("client reads nothing for {wait:?}"));
            world.wake_after(self.link, wait);
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
