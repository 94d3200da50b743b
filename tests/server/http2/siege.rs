//! Many attackers at once, and what others notice of them: nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use super::client::{Client, bytes};
use super::sent;
use crate::support::{DEADLINE, Server};

pub const ATTACKERS: usize = 100;
/// By so much the memory of the process may grow for all of them together.
const GROWTH_KIB_MAX: u64 = 16 * 1024;
/// Others have their answers within this time, also on a machine that is busy with other tests.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// It is over when so many looks in a row have found that nobody moves.
const QUIET_LOOKS: u32 = 40;
const LOOK: Duration = Duration::from_millis(3);
/// A process at rest uses at most so many ticks of 10 ms in `RESTING`.
const RESTING: Duration = Duration::from_millis(300);
const TICKS_AT_REST: u64 = 2;

/// A server, and others than the attackers.
pub struct Siege {
    pub server: Server,
    /// Memory that is not of files, before the attack and at most, in KiB.
    before_kib: u64,
    most_kib: u64,
    polite: Client,
    asked: u32,
}

/// One who sends, and reads or does not.
pub struct Attacker {
    stream: TcpStream,
    to_send: Rc<[u8]>,
    sent: usize,
    reads: bool,
    reader: sent::Client,
    pub frames: Vec<String>,
    /// The server has ended the connection.
    pub is_over: bool,
}

impl Siege {
    pub fn of(arguments: &[&str]) -> Siege {
        let server = Server::start(arguments);
        let polite = Client::connect(&server);
        let mut siege = Siege { server, before_kib: 0, most_kib: 0, polite, asked: 0 };
        siege.ask_politely();
        siege.before_kib = siege.server.memory_kib("RssAnon");
        siege
    }

    /// So many attackers send this behind the preface, and read what comes back.
    pub fn lay(&mut self, attackers: usize, attack: &[u8]) -> Vec<Attacker> {
        self.lay_each(attackers, |_| (attack.into(), true))
    }

    /// The same without ever reading.
    pub fn lay_blind(&mut self, attackers: usize, attack: &[u8]) -> Vec<Attacker> {
        self.lay_each(attackers, |_| (attack.into(), false))
    }

    /// The same with what each of them sends, and whether it reads.
    pub fn lay_each(&mut self, attackers: usize, attack: impl Fn(usize) -> (Rc<[u8]>, bool)) -> Vec<Attacker> {
        let preface = bytes("preface\nSETTINGS ack");
        let mut all: Vec<Attacker> = (0..attackers)
            .map(|number| {
                let (attack, reads) = attack(number);
                Attacker::new(&self.server, [&preface, &attack[..]].concat().into(), reads)
            })
            .collect();
        self.press(&mut all);
        all
    }

    /// Lets them send and read until nobody moves any more. Meanwhile others are answered.
    pub fn press(&mut self, attackers: &mut [Attacker]) {
        let give_up = Instant::now() + 3 * DEADLINE;
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            assert!(Instant::now() < give_up, "the attack does not come to an end");
            let moved = attackers.iter_mut().fold(false, |moved, attacker| attacker.press() | moved);
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet < 2 {
                self.ask_politely();
            }
            self.most_kib = self.most_kib.max(self.server.memory_kib("RssAnon"));
            if !moved {
                // Between two looks only.
                thread::sleep(LOOK);
            }
        }
        self.ask_politely();
    }

    /// Fails if the attack has cost too much memory, or goes on costing time.
    pub fn check(&self) {
        let grown = self.most_kib.saturating_sub(self.before_kib);
        println!("the memory has grown by {grown} KiB");
        assert!(grown <= GROWTH_KIB_MAX, "the memory has grown by {grown} KiB");
        self.check_rest();
    }

    fn check_rest(&self) {
        let give_up = Instant::now() + DEADLINE;
        loop {
            let before = self.server.cpu_ticks();
            // What is measured is the time itself.
            thread::sleep(RESTING);
            let ticks = self.server.cpu_ticks() - before;
            if ticks <= TICKS_AT_REST {
                return;
            }
            assert!(Instant::now() < give_up, "{ticks} ticks within {RESTING:?}, although nothing happens");
        }
    }

    /// A client of each version is answered soon.
    pub fn ask_politely(&mut self) {
        let start = Instant::now();
        let answer = self.server.ask("GET /plaintext HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        assert!(answer.ends_with("Hello, World!"), "{answer}");
        self.asked += 1;
        let stream = 2 * self.asked - 1;
        self.polite.send(&format!("GET {stream} /plaintext"));
        let answer = self.polite.response(stream);
        assert!(answer[0].contains(":status: 200") && answer[1].contains("Hello, World!"), "{answer:?}");
        let time = start.elapsed();
        assert!(time < ANSWER_WITHIN, "others wait {time:?} for their answers");
    }
}

impl Attacker {
    fn new(server: &Server, to_send: Rc<[u8]>, reads: bool) -> Attacker {
        let stream = TcpStream::connect(&server.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        if !reads {
            // What the kernel holds is no memory of the server.
            sockopt::set_socket_recv_buffer_size(&stream, 4096).unwrap();
            sockopt::set_socket_send_buffer_size(&stream, 4096).unwrap();
        }
        Attacker {
            stream,
            to_send,
            sent: 0,
            reads,
            reader: sent::Client::default(),
            frames: Vec::new(),
            is_over: false,
        }
    }

    /// Sends this next.
    pub fn send(&mut self, words: &str) {
        self.to_send = bytes(words).into();
        self.sent = 0;
    }

    /// Whether all was sent.
    pub fn has_sent_all(&self) -> bool {
        self.sent == self.to_send.len()
    }

    /// Writes and reads once. Says whether anything moved.
    fn press(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        let end = self.to_send.len().min(self.sent + 32 * 1024);
        let sent = match self.stream.write(&self.to_send[self.sent..end]) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            // It says no more; what the server has said may still be read.
            Err(_) => self.to_send.len() - self.sent,
        };
        self.sent += sent;
        let mut piece = [0; 64 * 1024];
        let received = match self.stream.read(&mut piece[..if self.reads { 64 * 1024 } else { 0 }]) {
            Ok(0) if !self.reads => 0,
            Ok(0) => {
                self.is_over = true;
                1
            }
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.is_over = true;
                1
            }
        };
        if !self.is_over {
            self.frames.extend(self.reader.read(&piece[..if self.reads { received } else { 0 }]));
        }
        sent > 0 || received > 0
    }

    /// The last GOAWAY.
    pub fn goodbye(&self) -> &str {
        let frame = self.frames.iter().rfind(|frame| frame.starts_with("GOAWAY"));
        frame.unwrap_or_else(|| panic!("no GOAWAY among {:#?}", self.frames.iter().rev().take(5).collect::<Vec<_>>()))
    }

    /// Fails unless the connection was ended with this code and these words in the debug data.
    pub fn expect_goodbye(&self, code: &str, words: &str) {
        let goodbye = self.goodbye();
        assert!(goodbye.contains(code) && goodbye.contains(words), "{goodbye}, not {code} with {words:?}");
        assert!(self.is_over, "the connection goes on after {goodbye}");
    }

    /// How many frames begin so.
    pub fn count(&self, beginning: &str) -> usize {
        self.frames.iter().filter(|frame| frame.starts_with(beginning)).count()
    }
}
