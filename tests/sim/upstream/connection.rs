//! One connection's end at an upstream.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::Rules;
use super::answer::Answer;
use super::checks::Sickness;
use super::ledger::{End, Moved, Said};
use super::manner::{GARBAGE, Manner};
use super::request::Request;
use super::tunnel::{Target, Tunnel};
use crate::dice::Dice;
use crate::link::LinkId;
use crate::timeline::excerpt;
use crate::world::{Actor, World};

/// The header of the PROXY protocol: its fixed part, and its length with addresses of IPv4 (§2.2), in bytes.
const PROXY_HEADER: (usize, usize) = (16, 28);

/// How often one reads nothing for a while: tiny segments would make worlds of waiting otherwise.
const STALLS_MAX: u32 = 20;
/// How often it pauses in tunnels. One whose bytes come one by one would otherwise outlast every drain deadline.
const PAUSES_MAX: u32 = 100;

/// One connection's end at an upstream.
pub struct Upstream {
    manner: Manner,
    is_wild: bool,
    dice: Dice,
    link: LinkId,
    /// What has arrived and was not understood yet.
    input: Vec<u8>,
    read: usize,
    stalled_until: Duration,
    /// How often it may read nothing for a while.
    stalls_left: u32,
    pauses_left: u32,
    /// The header of the PROXY protocol, if one is to come: whom it names, when it has.
    proxy_header: Option<ProxyHeader>,
    /// The request whose head is at the beginning of the input, and whether it was answered already.
    request: Option<(Request, bool)>,
    requests: u64,
    tunnel: Option<Tunnel>,
    /// What is to be sent, each piece after a pause.
    output: VecDeque<(Duration, Vec<u8>)>,
    paused_until: Option<Duration>,
    sent: u64,
    sent_at: Duration,
    /// After the output it ends its direction, and perhaps goes on reading.
    ends: Option<Ends>,
    /// It ends the connection when it is idle for so long.
    idle_for: Option<Duration>,
    idle_since: Option<Duration>,
    /// Whether it answers the server's FIN with its own.
    ends_with_server: bool,
    /// Clients of HTTP/2 know which trailers must come.
    may_add_trailers: bool,
    is_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Half,
    Whole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProxyHeader {
    Awaited,
    /// The server speaks for itself.
    Local,
    /// It speaks for this client.
    Of(LinkId),
}

impl Upstream {
    /// One in this manner.
    pub fn new(manner: Manner, rules: &Rules, mut dice: Dice) -> Upstream {
        let idle_for = match manner {
            Manner::Hasty(idle) => Some(idle),
            _ => None,
        };
        Upstream {
            manner,
            is_wild: rules.is_wild,
            link: 0,
            input: Vec::new(),
            read: 0,
            stalled_until: Duration::ZERO,
            stalls_left: STALLS_MAX,
            pauses_left: PAUSES_MAX,
            proxy_header: rules.sends_proxy_header.then_some(ProxyHeader::Awaited),
            request: None,
            requests: 0,
            tunnel: None,
            output: VecDeque::new(),
            paused_until: None,
            sent: 0,
            sent_at: Duration::ZERO,
            ends: None,
            idle_for,
            idle_since: None,
            ends_with_server: dice.chance(700),
            may_add_trailers: false,
            is_over: false,
            dice,
        }
    }

    fn is_deaf(&self) -> bool {
        match self.manner {
            Manner::Deaf => true,
            Manner::Early(reads_on) => !reads_on && self.requests > 0,
            _ => false,
        }
    }

    fn take_input(&mut self, world: &mut World) {
        let bytes = world.client_reads(self.link);
        if !bytes.is_empty() {
            world.upstreams.on_move(self.link, world.now);
        }
        self.read += bytes.len();
        self.input.extend_from_slice(&bytes);
        if let Manner::EndsReading(n, resets) = self.manner
            && self.read >= n
        {
            return self.end(world, resets);
        }
        let taken = self.take_all(world);
        if let Err(wrong) = taken {
            world.fail(Some(self.link), wrong);
        }
        let has_ended = world.links[self.link].down.fin_received;
        if !self.is_over && has_ended && self.ends_with_server && self.output.is_empty() && self.tunnel.is_none() {
            self.end(world, false);
        }
    }

    fn take_all(&mut self, world: &mut World) -> Result<(), String> {
        if self.proxy_header == Some(ProxyHeader::Awaited) && !self.take_proxy_header()? {
            return Ok(());
        }
        while self.tunnel.is_none() && self.ends.is_none() && self.take_request(world)? {}
        self.take_tunnelled(world)
    }

    /// <https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt>, §2.2: signature, version and command, family, length,
    /// the client's address and ours, the client's port and ours.
    fn take_proxy_header(&mut self) -> Result<bool, String> {
        const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
        let (fixed, whole) = PROXY_HEADER;
        let header = &self.input[..self.input.len().min(whole)];
        if header.len() < fixed {
            return Ok(false);
        }
        let (found, length) = match header[12..16] {
            [0x20, 0, 0, 0] => (Some(ProxyHeader::Local), fixed),
            [0x21, 0x11, 0, 12] if header.len() < whole => return Ok(false),
            [0x21, 0x11, 0, 12] => match header[16..] {
                [10, 0, high, low, 10, 8, 0, 1, 0x9c, 0x40, 0, 80] => {
                    (Some(ProxyHeader::Of(LinkId::from(high) << 8 | LinkId::from(low))), whole)
                }
                _ => (None, whole),
            },
            _ => (None, fixed),
        };
        if found.is_none() || !header.starts_with(SIGNATURE) {
            return Err(format!("a wrong PROXY header: {}", excerpt(header)));
        }
        self.proxy_header = found;
        self.input.drain(..length);
        Ok(true)
    }

    /// Whether a request was complete.
    fn take_request(&mut self, world: &mut World) -> Result<bool, String> {
        if self.request.is_none() {
            let Some(request) = Request::parse(&self.input)? else { return Ok(false) };
            self.begin(request, world)?;
        }
        let Some((request, is_answered)) = self.request.take() else { return Ok(false) };
        let Some((content, end)) = request.content(&self.input)? else {
            self.request = Some((request, is_answered));
            return Ok(false);
        };
        self.input.drain(..end);
        if !is_answered {
            self.answer(&request, content, world);
        }
        Ok(true)
    }

    /// A head is complete.
    fn begin(&mut self, request: Request, world: &mut World) -> Result<(), String> {
        self.idle_since = None;
        world.upstream_gets(self.link, &request, self.requests)?;
        let named = match self.proxy_header {
            None => request.client(),
            Some(ProxyHeader::Of(client)) => Some(client),
            Some(_) => None,
        };
        if named != request.client() || self.proxy_header.is_some() && self.requests > 0 {
            return Err(format!("a request of {:?} behind the header {:?}", request.client(), self.proxy_header));
        }
        self.requests += 1;
        let expects = request.field("expect").is_some();
        let is_early = matches!(self.manner, Manner::Early(_)) || expects && request.path.starts_with("/refuse");
        if is_early {
            if expects {
                // The content may never come. If it does, a good upstream does not let it destroy its answer (RFC 9112 §9.6).
                self.ends = Some(if self.is_wild { Ends::Whole } else { Ends::Half });
            }
            self.say(&request.method, Answer::early_to(&request), true);
        } else if expects {
            self.output.push_back((Duration::ZERO, b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()));
        }
        self.request = Some((request, is_early));
        Ok(())
    }

    /// A request is complete.
    fn answer(&mut self, request: &Request, content: Vec<u8>, world: &mut World) {
        match self.manner {
            Manner::Silent | Manner::Deaf => return,
            Manner::Garbage(0) if request.field("upgrade").is_some() => {
                return self.switch(request.switch(true).as_deref());
            }
            Manner::Garbage(which) => self.output.push_back((Duration::ZERO, GARBAGE[which].to_vec())),
            Manner::Storm(n) => {
                let hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
                self.output.extend((0..n).map(|_| (Duration::ZERO, hint.to_vec())));
            }
            _ => {}
        }
        if request.is_from("2.0") && request.field("upgrade").is_some() {
            // A client of HTTP/2 is not told whether what ends in order is whole.
            self.manner = match self.manner {
                Manner::EndsAt(at, _) => Manner::EndsAt(at, true),
                Manner::EndsReading(at, _) => Manner::EndsReading(at, true),
                manner => manner,
            };
        }
        if request.is_check() {
            return self.answer_check(world);
        }
        if let Some((target, switch)) = Target::parse(&request.path).zip(request.switch(false)) {
            self.switch(Some(&switch));
            let queued: usize = self.output.iter().map(|(_, piece)| piece.len()).sum();
            let tunnel = Tunnel::new(request.tag().unwrap_or_default(), target, self.sent + queued as u64);
            self.say_in_tunnel(tunnel.begin());
            self.tunnel = Some(tunnel);
            return;
        }
        let needs_length = request.is_from("1.0");
        self.may_add_trailers = request.is_from("1.1");
        self.say(&request.method, Answer::to(request, content), needs_length);
        match self.manner {
            Manner::HalfClosing => self.ends = Some(Ends::Half),
            // It is no response: one that crosses the next request would be taken for the response to that.
            Manner::Chatty(after) if self.ends.is_none() => self.output.push_back((after, b"and so on\r\n".to_vec())),
            _ => {}
        }
    }

    fn answer_check(&mut self, world: &World) {
        let address = world.upstreams.known(self.link).map(|known| known.address);
        let checks = world.upstreams.checks.as_ref();
        match address.zip(checks).and_then(|(address, checks)| checks.sickness(address, world.now)) {
            Some(Sickness::Silent) => {}
            Some(Sickness::Closes) => self.ends = Some(Ends::Whole),
            Some(Sickness::Says(status)) => self.say_at_once(Answer::new(status, b"sick".to_vec())),
            None => {
                let status = self.dice.pick(&[200, 204, 302]);
                self.say_at_once(Answer::new(status, Vec::new()));
            }
        }
    }

    /// A check is answered without the pauses that requests have to bear.
    fn say_at_once(&mut self, answer: Answer) {
        let manner = std::mem::replace(&mut self.manner, Manner::Good(Duration::ZERO));
        self.say("GET", answer, false);
        self.manner = manner;
    }

    /// Says 101, with these fields.
    fn switch(&mut self, fields: Option<&str>) {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\n{}\r\n", fields.unwrap_or_default());
        self.output.push_back((self.pause(), head.into_bytes()));
    }

    fn pause(&self) -> Duration {
        match self.manner {
            Manner::Good(pause) => pause,
            _ => Duration::ZERO,
        }
    }

    /// Behind a 101 everything is what the client says, up to its end.
    fn take_tunnelled(&mut self, world: &mut World) -> Result<(), String> {
        let Some(tunnel) = &mut self.tunnel else { return Ok(()) };
        let mut said = tunnel.hear(std::mem::take(&mut self.input))?;
        if world.links[self.link].down.fin_received && !tunnel.has_heard_end {
            // A server that stops may not know of the tunnel.
            let is_known = Moved::on(&world.links[self.link]).read >= tunnel.begins_at;
            let is_known = is_known && !world.upstreams.is_silent_in_a_queue(self.link, self.sent_at, world);
            let may_leave = world.upstreams.leavers.contains(&tunnel.tag) || !is_known;
            said.extend(tunnel.hear_end(may_leave)?);
        }
        if tunnel.has_heard_end {
            self.ends = Some(Ends::Whole);
        } else if tunnel.is_said() {
            self.ends = Some(Ends::Half);
        }
        self.say_in_tunnel(said);
        Ok(())
    }

    fn say_in_tunnel(&mut self, bytes: Vec<u8>) {
        let size = self.dice.size(1, 20_000).max(bytes.len() / 20 + 1);
        for piece in bytes.chunks(size) {
            let pauses = self.pauses_left > 0 && self.dice.chance(200);
            self.pauses_left -= u32::from(pauses);
            let pause = if pauses { self.pause() } else { Duration::ZERO };
            self.output.push_back((pause, piece.to_vec()));
        }
    }

    /// Says this, in some framing.
    fn say(&mut self, method: &str, answer: Answer, needs_length: bool) {
        let pause = self.pause();
        let dice = &mut self.dice;
        // If only the end of the connection ends the content, nobody can tell that it came too early.
        let can_be_told = !matches!(self.manner, Manner::EndsAt(_, false));
        let (length, until_close) = (answer.length(), !needs_length && can_be_told && dice.chance(150));
        let is_chunked = !until_close && !needs_length && dice.chance(400);
        let http10 = !is_chunked && dice.chance(150);
        let says_close = self.ends.is_some() || dice.chance(100);
        let mut head = format!("HTTP/1.{} {} Some Reason\r\n", u8::from(!http10), answer.status);
        match () {
            () if is_chunked => head += "Transfer-Encoding: chunked\r\n",
            () if until_close => {}
            () => head += &format!("Content-Length: {length}\r\n"),
        }
        let persists = !until_close && !says_close && (!http10 || dice.chance(500));
        match () {
            () if !persists && !http10 => head += "Connection: close\r\n",
            () if persists && http10 => head += "Connection: keep-alive\r\n",
            () => {}
        }
        if persists && dice.chance(300) {
            let seconds = dice.between(1, 8) as u64;
            head += &format!("Keep-Alive: timeout={seconds}\r\n");
            if !matches!(self.manner, Manner::Hasty(_)) {
                // What it says last counts.
                self.idle_for = Some(Duration::from_secs(seconds));
            }
        }
        head += "\r\n";
        self.output.push_back((pause, head.into_bytes()));
        let is_bare = method == "HEAD" || matches!(answer.status, 204 | 304);
        for (wait, piece) in answer.pieces.into_iter().filter(|_| !is_bare) {
            let mut wait = wait;
            let size = self.dice.size(1, 20_000).max(piece.len() / 20 + 1);
            for part in piece.chunks(size) {
                let framed = match is_chunked {
                    true => [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat(),
                    false => part.to_vec(),
                };
                let paused = if self.dice.chance(200) { pause } else { Duration::ZERO };
                self.output.push_back((std::mem::take(&mut wait) + paused, framed));
            }
        }
        if is_chunked && !is_bare {
            let trailer = if self.may_add_trailers && self.dice.chance(200) { "Sum: 1\r\n" } else { "" };
            self.output.push_back((Duration::ZERO, format!("0\r\n{trailer}\r\n").into_bytes()));
        }
        if !persists {
            self.ends.get_or_insert(Ends::Whole);
        }
    }

    /// Sends what is due.
    fn send(&mut self, world: &mut World) {
        while let Some((pause, _)) = self.output.front().filter(|_| !self.is_over) {
            if !pause.is_zero() && !world.has_paused(self.link, *pause, &mut self.paused_until) {
                return;
            }
            let Some((_, mut bytes)) = self.output.pop_front() else { return };
            let end = match self.manner {
                Manner::EndsAt(at, resets) if self.sent + bytes.len() as u64 >= at => {
                    bytes.truncate((at - self.sent) as usize);
                    Some(resets)
                }
                _ => None,
            };
            self.sent += bytes.len() as u64;
            if !bytes.is_empty() {
                world.client_sends(self.link, &bytes);
                self.sent_at = world.now;
            }
            if let Some(resets) = end {
                self.end(world, resets);
            }
        }
        match self.ends {
            Some(Ends::Whole) if !self.is_over => self.end(world, false),
            Some(Ends::Half) if !self.is_over && !world.links[self.link].up.fin_queued => {
                world.client_ends(self.link);
                self.note_said(Some(End::Fin), world);
            }
            _ => self.note_said(None, world),
        }
    }

    /// Lets the client of a tunnel know what it must get.
    fn note_said(&self, end: Option<End>, world: &mut World) {
        let Some(tunnel) = &self.tunnel else { return };
        let said = world.upstreams.tunnels.entry(tunnel.tag).or_default();
        let (bytes, end) = (self.sent.saturating_sub(tunnel.begins_at) as usize, end.or(said.end));
        *said = Said { bytes, end, has_heard: tunnel.has_heard_end, ..*said };
    }

    /// An upstream that is idle may end the connection. A good one does not count the time in which its kernel still sends.
    fn rest(&mut self, world: &mut World) {
        let is_idle = self.request.is_none() && self.input.is_empty() && self.output.is_empty();
        let is_idle = is_idle && !self.is_over && self.requests > 0 && self.tunnel.is_none();
        let is_answered = match self.manner {
            Manner::Silent | Manner::Deaf => false,
            // What it still has to say was not asked for.
            Manner::Chatty(_) => self.request.is_none() && self.output.len() <= 1 && self.requests > 0,
            _ => is_idle,
        };
        let is_waiting = is_answered && !self.is_over && self.tunnel.is_none() && self.ends.is_none();
        world.upstreams.set_idle(self.link, is_waiting, world.now);
        let left = self.request.as_ref().filter(|(_, is_answered)| *is_answered && self.is_deaf());
        if let Some((request, _)) = left.filter(|_| self.output.is_empty()) {
            world.upstreams.set_left(self.link, || (request.clone(), self.input.clone()));
        }
        let Some(idle_for) = self.idle_for.filter(|_| is_idle) else { return };
        let is_sending = !self.is_wild && world.links[self.link].up.held_by_sender() > 0;
        match self.idle_since.filter(|_| !is_sending) {
            Some(since) if world.now >= since + idle_for => self.end(world, false),
            Some(_) => {}
            None => {
                self.idle_since = Some(world.now);
                world.wake_after(self.link, idle_for);
            }
        }
    }

    fn end(&mut self, world: &mut World, resets: bool) {
        self.is_over = true;
        self.output.clear();
        if resets {
            world.client_resets(self.link)
        } else {
            world.client_closes(self.link)
        }
        self.note_said(Some(if resets { End::Reset } else { End::Closed }), world);
    }
}

impl Actor for Upstream {
    fn kind(&self) -> &'static str {
        "upstream"
    }

    fn is_done(&self) -> bool {
        true
    }

    fn complaint(&self) -> String {
        String::new()
    }

    fn set_link(&mut self, link: LinkId) {
        self.link = link;
    }

    fn act(&mut self, world: &mut World) {
        if !self.is_over && !self.is_deaf() && self.stalled_until <= world.now {
            self.take_input(world);
        }
        if !self.is_over {
            self.send(world);
            self.rest(world);
        }
    }

    fn readable(&mut self, world: &mut World) {
        if !self.is_over && !self.is_deaf() && self.stalls_left > 0 {
            let until = self.stalled_until;
            world.may_stall(self.link, &mut self.stalled_until);
            self.stalls_left -= u32::from(self.stalled_until != until);
        }
        self.act(world);
    }

    fn reset(&mut self, _: &mut World) {
        self.is_over = true;
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an upstream, {:?}, has sent {} B, unread {}", self.manner, self.sent, excerpt(&self.input))
    }
}
