//! A client: what it sends and when, what it must get, and how its connection must end.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::answer::{Answer, Parser};
use crate::link::{LinkId, Marks, ServerEnd};
use crate::world::{Actor, World};

/// How much longer than necessary an answer may be silent. Everything that is not a timeout is far quicker.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// How exactly timeouts are kept.
pub const TOLERANCE: Duration = Duration::from_millis(500);
/// The status of a response of a bad upstream of which only the head is right.
pub const NONSENSE: u16 = 299;
/// How long a proxy waits for the word of an upstream that may not know `Expect`.
pub const INVITATION_PATIENCE: Duration = Duration::from_secs(1);
/// The server counts a wait from the beginning of its turn. By the time something happens in it, so much may have passed.
const TURN: Duration = Duration::from_millis(5);

/// One thing a client does, or waits for.
#[derive(Clone)]
pub enum Step {
    /// Hands bytes to its kernel.
    Send(Vec<u8>),
    /// Does nothing for a while.
    Pause(Duration),
    /// Waits until it has had so many final answers.
    AwaitAnswers(usize),
    /// Waits for `100 Continue`, or a final answer instead; sends these bytes only in the first case.
    SendIfContinued(Vec<u8>),
    /// Reads nothing from now on.
    StopReading,
    /// Ends its direction.
    Fin,
    /// Resets the connection; what comes after that is nobody's business.
    Reset,
    /// Closes its socket, whatever is still to come; that is nobody's business either.
    Close,
}

/// The content an answer must have.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Exactly this.
    Exactly(Vec<u8>),
    /// Whatever; it is for people.
    Anything,
    /// Some of this, and then the connection breaks.
    CutWithin(Vec<u8>),
}

/// What a client must get for a request.
#[derive(Debug, Clone)]
pub struct Expected {
    /// One of these.
    pub statuses: Vec<u16>,
    /// With this content.
    pub content: Content,
    /// It answers HEAD.
    pub to_head: bool,
    /// It answers HTTP/1.0, which knows no chunks.
    pub to_http10: bool,
    /// The connection may end instead.
    pub optional: bool,
    /// It must say that it is the last.
    pub closes: bool,
    /// It may say that it is the last.
    pub may_close: bool,
    /// It does not say that it is the last, but it is: more unwanted content follows than a server throws away.
    pub ends_unannounced: bool,
    /// The longest silence that is part of the answer.
    pub silence_max: Duration,
    /// Whether `100 Continue` may come before it.
    pub interim: bool,
    /// Where the request's head ends, in bytes from the first one the client sends.
    pub head_end: u64,
}

impl Expected {
    /// This status with this content.
    pub fn new(status: u16, content: Content) -> Expected {
        Expected {
            statuses: vec![status],
            content,
            to_head: false,
            to_http10: false,
            optional: false,
            closes: false,
            may_close: false,
            ends_unannounced: false,
            silence_max: Duration::ZERO,
            interim: false,
            head_end: 0,
        }
    }
}

/// What a time is measured from, at the server.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// Accepting the connection.
    Accept,
    /// The first byte's arrival, or accepting if that was later.
    FirstByte,
    /// The last byte's arrival, or accepting if that was later.
    LastByte,
    /// The server's last write.
    LastWrite,
    /// The last time anything moved.
    LastMove,
    /// Not before this after the first write that found no room, not later than this after the last that did.
    SendBlocked,
}

/// When the server must end a connection.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Measured from this.
    pub since: Since,
    /// Not before.
    pub earliest: Duration,
    /// Not later.
    pub latest: Duration,
}

impl Window {
    /// At this time after `since`, as exactly as timeouts are kept.
    pub fn at(since: Since, timeout: Duration) -> Window {
        Window { since, earliest: timeout, latest: timeout }
    }

    /// When a client has not read for `timeout`. How far it has got is looked at a moment after the last write, and then
    /// eight times in the timeout. What a look finds counts as read just then. If a wire took so long that its kernel had
    /// room late, the client has up to two timeouts more.
    pub fn of_slow_read(timeout: Duration) -> Window {
        const FIRST_LOOK: Duration = Duration::from_millis(500);
        Window { since: Since::SendBlocked, earliest: timeout, latest: 2 * timeout + timeout / 8 + FIRST_LOOK }
    }

    /// As soon as everything is said.
    pub fn promptly() -> Window {
        Window { since: Since::LastMove, earliest: Duration::ZERO, latest: Duration::from_secs(1) }
    }

    /// Whether a connection with these marks ended in time.
    pub fn holds(&self, marks: &Marks) -> Result<(), String> {
        let accepted = marks.accepted.unwrap_or_default();
        let since = match self.since {
            Since::Accept => Some(accepted),
            Since::FirstByte => marks.first_arrival.map(|at| at.max(accepted)),
            Since::LastByte => marks.last_arrival.map(|at| at.max(accepted)),
            Since::LastWrite => marks.last_said,
            Since::SendBlocked => marks.last_write,
            Since::LastMove => marks.last_arrival.max(marks.last_write).max(marks.accepted),
        };
        let begun = if let Since::SendBlocked = self.since { marks.send_blocked } else { since };
        let (Some(begun), Some(since), Some(ended)) = (begun, since, marks.ended) else { return Ok(()) };
        let (longest, mut took) = (ended.saturating_sub(begun), ended.saturating_sub(since));
        if let Since::FirstByte = self.since {
            // What came before the connection was accepted earns time as well, if it is read bit by bit: of at most 20
            // bytes a second, at 256 for a second.
            took = took.saturating_sub(since.saturating_sub(marks.first_arrival.unwrap_or(since)) / 10);
        }
        // Reading the bytes takes the server a moment after their arrival.
        if longest + TURN < self.earliest || took > self.latest + TOLERANCE {
            return Err(format!("the server ended it after {longest:?}, not as in {self:?}"));
        }
        Ok(())
    }
}

/// How a connection must end.
#[derive(Debug, Clone, Copy)]
pub enum Ending {
    /// The client closes when it has every answer.
    Ours,
    /// The server ends it in order after the last answer.
    Theirs(Window),
    /// The server cuts it, in order or not.
    Cut(Window),
    /// Anyhow.
    Anyhow,
}

/// What a proxy may do to its clients.
#[derive(Debug, Clone, Copy)]
struct Behind {
    is_wild: bool,
    silence_max: Duration,
}

/// A client and its one connection.
pub struct Client {
    kind: &'static str,
    script: VecDeque<Step>,
    expected: Vec<Expected>,
    ending: Ending,
    /// Whether it looks at what it reads.
    judges: bool,
    /// Who answers stands behind a proxy.
    behind: Option<Behind>,
    parser: Parser,
    answered: usize,
    continued: bool,
    announced_close: bool,
    /// The last answer so far was an error of an upstream. Its request may have more content than is thrown away.
    had_error: bool,
    reading: bool,
    paused_until: Option<Duration>,
    stalled_until: Duration,
    busy_at: Duration,
    done: bool,
    link: LinkId,
}

impl Client {
    /// A client that follows `script` and then waits for what it is owed.
    pub fn new(kind: &'static str, script: Vec<Step>, expected: Vec<Expected>, ending: Ending) -> Client {
        Client {
            kind,
            script: script.into(),
            expected,
            ending,
            judges: true,
            behind: None,
            parser: Parser::new(),
            answered: 0,
            continued: false,
            announced_close: false,
            had_error: false,
            reading: true,
            paused_until: None,
            stalled_until: Duration::ZERO,
            busy_at: Duration::ZERO,
            done: false,
            link: 0,
        }
    }

    /// The same, and who answers stands behind a proxy. In a wild world that may be an error that says so, or the response
    /// may break off. `silence_max` is how long nothing need come then.
    pub fn behind_proxy(self, is_wild: bool, silence_max: Duration) -> Client {
        let ending = match self.ending {
            // A client is not late with the content while its request has no connection to an upstream.
            Ending::Theirs(Window { since: Since::LastByte, earliest, latest }) => {
                Ending::Theirs(Window { since: Since::LastByte, earliest, latest: latest + silence_max })
            }
            ending => ending,
        };
        Client { ending, behind: Some(Behind { is_wild, silence_max }), ..self }
    }

    fn is_behind_wild(&self) -> bool {
        self.behind.is_some_and(|behind| behind.is_wild)
    }

    /// A client that follows `script` and does not care what comes of it.
    pub fn careless(script: Vec<Step>) -> Client {
        Client { judges: false, ..Client::new("careless", script, Vec::new(), Ending::Anyhow) }
    }

    fn step(&mut self, world: &mut World) -> bool {
        let Some(step) = self.script.front() else { return false };
        match step {
            Step::Send(bytes) => world.client_sends(self.link, bytes),
            Step::Pause(wait) => return self.pause(*wait, world),
            Step::AwaitAnswers(n) if self.answered < *n => return false,
            Step::AwaitAnswers(_) => {}
            Step::SendIfContinued(_) if !self.continued && self.answered == 0 => return false,
            Step::SendIfContinued(bytes) if self.continued => world.client_sends(self.link, bytes),
            Step::SendIfContinued(_) => {}
            Step::StopReading => self.reading = false,
            Step::Fin => world.client_ends(self.link),
            Step::Reset => {
                world.client_resets(self.link);
                self.finish(world, "aborts");
            }
            Step::Close => {
                world.client_closes(self.link);
                self.finish(world, "goes away");
            }
        }
        self.busy_at = world.now;
        self.script.pop_front();
        true
    }

    fn pause(&mut self, wait: Duration, world: &mut World) -> bool {
        let is_over = world.has_paused(self.link, wait, &mut self.paused_until);
        if is_over {
            self.script.pop_front();
        }
        is_over
    }

    fn read(&mut self, world: &mut World) {
        let is_moving = !world.links[self.link].down.received.is_empty();
        let bytes = world.client_reads(self.link);
        if is_moving && bytes.is_empty() {
            // A part of a record.
            self.busy_at = world.now;
        }
        if !bytes.is_empty() && self.judges {
            self.check_patience(world);
            self.parser.push(&bytes);
            self.take_answers(world);
        }
        if !self.done && world.links[self.link].down.fin_received {
            self.end_of_input(world);
        }
    }

    /// Nothing that can be said may wait without a reason: a wake-up that came by luck, or by a timeout, came late.
    fn check_patience(&mut self, world: &mut World) {
        let link = &world.links[self.link];
        let marks = link.marks;
        let moved = self.behind.map(|_| world.upstreams.moved_at(self.link));
        let since = [Some(self.busy_at), Some(self.stalled_until), marks.accepted, marks.last_arrival, moved];
        let silent = world.now.saturating_sub(since.into_iter().flatten().max().unwrap_or_default());
        let expected = self.expected.get(self.answered);
        let (is_due, pause) =
            expected.map_or((true, Duration::ZERO), |expected| (!expected.optional, expected.silence_max));
        let pause = pause
            + self.behind.map_or(Duration::ZERO, |behind| match self.kind {
                "expecting" => behind.silence_max.max(INVITATION_PATIENCE),
                _ => behind.silence_max,
            });
        self.busy_at = world.now;
        if is_due && !self.announced_close && silent > PATIENCE + pause && !matches!(self.ending, Ending::Cut(_)) {
            self.fail(world, format!("silence for {silent:?} before these bytes, longer than {pause:?}"));
        }
    }

    fn take_answers(&mut self, world: &mut World) {
        while !self.done {
            let to_head = self.expected.get(self.answered).is_some_and(|expected| expected.to_head);
            match self.parser.next(to_head) {
                Err(error) => self.fail(world, error),
                Ok(None) => break,
                Ok(Some(answer)) if answer.status < 200 => self.take_interim(world, &answer),
                Ok(Some(answer)) => self.take_answer(world, &answer),
            }
        }
        if !self.done && self.answered == self.expected.len() && !self.parser.is_between() {
            self.fail(world, "bytes after everything that was asked for".to_owned());
        }
    }

    fn take_interim(&mut self, world: &mut World, answer: &Answer) {
        let wanted = self.expected.get(self.answered).is_some_and(|expected| expected.interim) && !self.continued;
        // Nobody knows whether a bad upstream will ask for the content.
        let may_be_asked = self.is_behind_wild() || self.behind.is_some() && self.kind == "expecting";
        if self.is_behind_wild() && answer.status == 103 || may_be_asked && answer.status == 100 && !self.continued {
            self.continued |= answer.status == 100;
            return;
        }
        if !wanted || answer.status != 100 {
            self.fail(world, format!("an interim answer {} nobody asked for", answer.status));
        }
        self.continued = true;
    }

    fn take_answer(&mut self, world: &mut World, answer: &Answer) {
        let Some(expected) = self.expected.get(self.answered) else {
            return self.fail(world, format!("an answer {} to nothing", answer.status));
        };
        if self.announced_close {
            return self.fail(world, "an answer after the last one".to_owned());
        }
        let is_honest_error = self.is_behind_wild() && is_upstreams_error(answer, expected.to_head);
        // If it was asked for the content after all, the response need not be the last.
        let expected = match self.behind.is_some() && self.continued {
            true => &Expected { may_close: true, closes: false, ..expected.clone() },
            false => expected,
        };
        if let (Err(error), false) = (check(expected, answer, world.told_to_stop.is_some()), is_honest_error) {
            return self.fail(world, format!("answer {}: {error}", self.answered));
        }
        self.answered += 1;
        world.links[self.link].marks.answered = Some(world.now);
        self.continued = false;
        self.had_error = is_honest_error;
        self.announced_close = answer.announces_close();
        let (n, all) = (self.answered, self.expected.len());
        world.note(self.link, || format!("client has answer {n} of {all}: {}", answer.status));
    }

    fn end_of_input(&mut self, world: &mut World) {
        let cut = self.parser.is_until_close() && self.is_to_be_cut();
        if cut {
            return self.fail(world, "half an answer ended in order, and looks whole (RFC 9112 §8)".to_owned());
        }
        if let Some(answer) = self.parser.end() {
            self.take_answer(world, &answer);
        }
        if !self.done {
            self.ended(world, "a FIN");
        }
    }

    /// The server has ended the connection.
    fn ended(&mut self, world: &mut World, how: &str) {
        let verdict = self.verdict(world, how);
        if !world.links[self.link].client_closed {
            self.done = true;
            let verdict = verdict.map_err(|error| format!("{}: {error}; {}", self.name(world), self.progress()));
            world.judge_end(self.link, how, verdict);
        }
    }

    fn verdict(&self, world: &World, how: &str) -> Result<(), String> {
        if self.is_excused(world) {
            return self.check_idle_end(world);
        }
        let link = &world.links[self.link];
        // Whoever takes very long to read an answer finds that the server has not waited for the next question.
        let kept_waiting = how == "a FIN" && link.marks.idle_at_end() >= world.limits.keep_alive_timeout;
        let unexpected = matches!(self.ending, Ending::Ours) || !self.has_everything();
        if kept_waiting && unexpected && self.parser.is_between() && self.answered > 0 {
            return Ok(());
        }
        if self.is_behind_wild() && !self.is_complete_so_far() {
            return self.check_cut();
        }
        if self.is_behind_wild() && (self.announced_close || self.had_error) {
            return Ok(());
        }
        if !self.has_everything() {
            return self.check_cut();
        }
        if self.is_to_be_cut() && link.tls.as_ref().is_some_and(|tls| tls.has_end) {
            return Err("half an answer ended with close_notify, and looks whole".to_owned());
        }
        match self.ending {
            Ending::Ours if (self.announced_close || self.ends_unannounced()) && how == "a FIN" => Ok(()),
            Ending::Ours => Err("the connection was to persist".to_owned()),
            Ending::Theirs(_) if how != "a FIN" => Err("it was to end in order".to_owned()),
            Ending::Theirs(window) | Ending::Cut(window) => {
                // What a record adds to its content earns time as well: 29 bytes, be it for one.
                let latest = match window.since {
                    Since::FirstByte if link.tls.is_some() => 30 * window.latest,
                    _ => window.latest,
                };
                let window = Window { latest, ..window };
                self.in_window(window, link.marks)
            }
            Ending::Anyhow => Ok(()),
        }
    }

    fn in_window(&self, window: Window, marks: Marks) -> Result<(), String> {
        if self.parser.is_between() || matches!(self.ending, Ending::Cut(_)) {
            return window.holds(&marks);
        }
        Err("in the middle of an answer".to_owned())
    }

    /// An end before every answer is there: right if the next one is to be cut, and what came of it is right.
    fn check_cut(&self) -> Result<(), String> {
        let (whole, statuses) = match self.expected.get(self.answered) {
            Some(Expected { content: Content::CutWithin(whole), statuses, .. }) => (whole, statuses),
            Some(Expected { content: Content::Exactly(whole), statuses, .. }) if self.is_behind_wild() => {
                (whole, statuses)
            }
            Some(Expected { content: Content::Anything, .. }) if self.is_behind_wild() => return Ok(()),
            _ => return Err("an answer is missing".to_owned()),
        };
        let partial = self.parser.partial();
        let is_nonsense = self.is_behind_wild() && partial.status == NONSENSE && partial.content.is_empty();
        // A later response that breaks off takes along what was not read yet of an honest error.
        if self.is_behind_wild() && matches!(partial.status, 413 | 502..=504) {
            return Ok(());
        }
        let begun = statuses.contains(&partial.status) || partial.status == 0 || is_nonsense;
        if !begun || !whole.starts_with(&partial.content) {
            return Err("what came of the answer is wrong".to_owned());
        }
        Ok(())
    }

    /// Whether what has come, and was read, is whole responses.
    fn is_complete_so_far(&self) -> bool {
        self.parser.is_between() && !matches!(self.ending, Ending::Cut(_))
    }

    fn is_to_be_cut(&self) -> bool {
        let next = self.expected.get(self.answered);
        next.is_some_and(|expected| matches!(expected.content, Content::CutWithin(_)))
    }

    /// Whether the last answer may be the end, although it did not say so. Content that was asked for, and is refused then, may be
    /// more than is thrown away.
    fn ends_unannounced(&self) -> bool {
        let last = self.answered.checked_sub(1).map(|last| &self.expected[last]);
        last.is_some_and(|last| last.ends_unannounced || self.continued && last.closes)
    }

    /// A server that was told to stop owes less: nothing to connections it had not accepted, nothing to requests it
    /// had not received, nothing after an answer it said was the last, and nothing at all when told to stop at once.
    fn is_excused(&self, world: &World) -> bool {
        if world.told_to_stop.is_none() {
            return false;
        }
        if world.told_to_stop_at_once.is_some() {
            return true;
        }
        let next = self.expected.get(self.answered);
        let received = next.is_some_and(|expected| world.arrived_when_told[self.link] >= expected.head_end);
        self.parser.is_between() && (self.announced_close || !received)
    }

    /// Told to stop, a server does not wait for idle clients until they are due.
    fn check_idle_end(&self, world: &World) -> Result<(), String> {
        let marks = &world.links[self.link].marks;
        // Behind an error of an upstream the rest of the request is still awaited, and thrown away.
        let is_idle = self.has_everything() && !self.is_to_be_cut() && self.script.is_empty() && !self.had_error;
        let (Some(told), Some(ended), true) = (world.told_to_stop, marks.ended, is_idle) else { return Ok(()) };
        let idle = marks.idle_at_end().min(ended.saturating_sub(told));
        match idle > world.limits.drain_idle_grace + TOLERANCE {
            true => Err(format!("told to stop, the server let an idle connection live for {idle:?}")),
            false => Ok(()),
        }
    }

    fn has_everything(&self) -> bool {
        self.parser.is_between()
            && self.expected[self.answered.min(self.expected.len())..].iter().all(|rest| rest.optional)
            || matches!(self.ending, Ending::Cut(_)) && self.is_to_be_cut() && self.check_cut().is_ok()
    }

    fn progress(&self) -> String {
        let (n, all, partial) = (self.answered, self.expected.len(), self.parser.partial());
        format!("has {n} of {all} answers and {} bytes of {}", partial.content.len(), partial.status)
    }

    fn finish(&mut self, world: &mut World, why: &str) {
        world.note(self.link, || format!("client {why}"));
        self.done = true;
    }

    fn fail(&mut self, world: &mut World, error: String) {
        self.done = true;
        world.fail(Some(self.link), format!("{}: {error}", self.name(world)));
    }

    fn name(&self, world: &World) -> String {
        let accepted = if world.links[self.link].server == ServerEnd::Queued { " (not accepted)" } else { "" };
        format!("{} client{accepted}", self.kind)
    }
}

impl Actor for Client {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn set_link(&mut self, link: LinkId) {
        self.link = link;
    }

    /// Goes on with its script as far as possible.
    fn act(&mut self, world: &mut World) {
        if !self.done && self.stalled_until <= world.now && self.reading {
            self.read(world);
        }
        while !self.done && self.step(world) {}
        if !self.done && self.script.is_empty() && self.has_everything() && matches!(self.ending, Ending::Ours) {
            world.client_closes(self.link);
            self.finish(world, "has everything and closes");
        }
    }

    fn readable(&mut self, world: &mut World) {
        if !self.done {
            world.may_stall(self.link, &mut self.stalled_until);
        }
        self.act(world);
    }

    fn reset(&mut self, world: &mut World) {
        if self.done {
            return;
        }
        if self.reading {
            self.read(world);
        }
        if !self.done {
            self.ended(world, "a reset");
        }
    }

    fn complaint(&self) -> String {
        format!("{self:?} still waits: {}", self.progress())
    }
}

/// Whether this is what a proxy says when an upstream has failed, or refuses early.
pub fn is_upstreams_error(answer: &Answer, to_head: bool) -> bool {
    let says = |what: &str| to_head || String::from_utf8_lossy(&answer.content).contains(what);
    match answer.status {
        502 | 504 => says("\"upstream\":") && says("\"phase\":") && says("\"why\":"),
        // The route, or the upstream for which there was no socket.
        503 => {
            (says("\"route\":") || says("\"upstream\":")) && says("\"why\":") && answer.field("retry-after").is_some()
        }
        413 => answer.content.is_empty(),
        NONSENSE => to_head,
        _ => false,
    }
}

fn check(expected: &Expected, answer: &Answer, stopping: bool) -> Result<(), String> {
    if !expected.statuses.contains(&answer.status) {
        return Err(format!("{} instead of {:?}: {}", answer.status, expected.statuses, answer.content.escape_ascii()));
    }
    match &expected.content {
        Content::Exactly(content) if *content != answer.content => return Err(difference(content, &answer.content)),
        Content::CutWithin(_) => return Err("whole, but it was to be cut".to_owned()),
        _ => {}
    }
    if expected.to_http10 && answer.is_chunked() {
        return Err("chunked, in HTTP/1.0".to_owned());
    }
    match answer.announces_close() {
        true if !expected.closes && !expected.may_close && !stopping => Err("says it is the last".to_owned()),
        false if expected.closes => Err("does not say it is the last".to_owned()),
        _ => Ok(()),
    }
}

fn difference(expected: &[u8], found: &[u8]) -> String {
    let same = expected.iter().zip(found).take_while(|(one, other)| one == other).count();
    format!("{} bytes instead of {}, wrong from byte {same}", found.len(), expected.len())
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} client ({} requests, ending {:?})", self.kind, self.expected.len(), self.ending)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Exactly(content) => write!(f, "Exactly({} bytes)", content.len()),
            Content::Anything => f.write_str("Anything"),
            Content::CutWithin(whole) => write!(f, "CutWithin({} bytes)", whole.len()),
        }
    }
}
