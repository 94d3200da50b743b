//! Asking name servers for the addresses of one name.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::config::Config;
use crate::protocol::dns::{AddressType, Answer, Malformed, Name, Query, ResponseCode, Unfit};

/// What arrives over UDP and is longer is cut, and then malformed: we ask for less than a third of this, in bytes.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// What servers say about a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It has these addresses, for so long.
    Addresses(Vec<IpAddr>, Duration),
    /// This server says that it has none.
    NoAddresses(SocketAddr),
    /// This server says that there is no such name.
    NoSuchName(SocketAddr),
}

/// Why a server did not help.
#[derive(Debug)]
pub enum Trouble {
    /// It has not answered for so long.
    Silent(Duration),
    /// It answers that it cannot, or will not.
    Refused(ResponseCode),
    /// Its answer is malformed.
    Malformed(Malformed),
    /// It cannot be reached.
    Io(io::Error),
}

/// What follows the name of the server in a sentence.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Silent(time) => write!(f, "has not answered for {time:.1?}"),
            Trouble::Refused(code) => write!(f, "answered {code}"),
            Trouble::Malformed(malformed) => write!(f, "sent a malformed answer: {malformed}"),
            Trouble::Io(error) => write!(f, "cannot be asked: {error}"),
        }
    }
}

/// Asks for the addresses of `name`, of both families at once, one server after the other, until `deadline` at the latest.
///
/// # Errors
/// No server could tell. What was the matter with each, in the order in which they were asked.
pub(super) fn ask(config: &Config, name: &Name, deadline: Instant) -> Result<Found, Vec<(SocketAddr, Trouble)>> {
    let questions = [AddressType::A, AddressType::Aaaa].map(Question::new);
    let mut asking = Asking { name, questions, deadline, troubles: Vec::new() };
    let servers = config.servers.len();
    let first = if config.rotate { RandomState::new().hash_one(name) as usize % servers.max(1) } else { 0 };
    let tries = servers * config.attempts as usize;
    for index in 0..tries {
        let now = Instant::now();
        let left = asking.deadline.saturating_duration_since(now);
        if left.is_zero() || asking.is_settled() {
            break;
        }
        let server = config.servers[(first + index) % servers];
        let share = (left / (tries - index) as u32).min(config.timeout);
        // Between us and some servers, messages with EDNS get lost. The second time they are asked without it.
        asking.ask(server, index < servers, now + share, config);
    }
    asking.found()
}

struct Asking<'a> {
    name: &'a Name,
    questions: [Question; 2],
    deadline: Instant,
    troubles: Vec<(SocketAddr, Trouble)>,
}

struct Question {
    address_type: AddressType,
    /// What was answered, by whom.
    answer: Option<(Answer, SocketAddr)>,
}

impl Question {
    fn new(address_type: AddressType) -> Question {
        Question { address_type, answer: None }
    }

    /// Whether what is answered will do for the name, whatever is said about the other family.
    fn is_decisive(&self) -> bool {
        matches!(self.answer, Some((Answer::Addresses(..) | Answer::NoSuchName(_), _)))
    }
}

/// A query that was sent over UDP. Its socket is connected, so the kernel takes messages from that server alone, and its
/// port is as hard to guess as its id (RFC 5452 §9.2).
struct Flight {
    /// Which question it is about.
    index: usize,
    query: Query,
    socket: UdpSocket,
}

impl Flight {
    fn send(index: usize, query: Query, server: SocketAddr) -> io::Result<Flight> {
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(server)?;
        socket.send(&query.encode())?;
        Ok(Flight { index, query, socket })
    }

    /// What has come, if it is about the query.
    fn receive(&self) -> Option<Result<Answer, Trouble>> {
        let mut message = [0; DATAGRAM_BYTES_MAX];
        match self.socket.recv(&mut message) {
            Ok(n) => match self.query.read(&message[..n]) {
                Ok(answer) => Some(Ok(answer)),
                Err(Unfit::OfAnother) => None,
                Err(Unfit::Malformed(malformed)) => Some(Err(Trouble::Malformed(malformed))),
            },
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
            Err(error) => Some(Err(Trouble::Io(error))),
        }
    }
}

impl Asking<'_> {
    /// Whether nobody has to be asked any more. If a server says of one family that there is no such name, there is none
    /// (RFC 8020 §2); but some say so of the family that the name has not (RFC 4074 §4.2), so the other one was asked, too.
    fn is_settled(&self) -> bool {
        let is_denied = |question: &Question| matches!(question.answer, Some((Answer::NoSuchName(_), _)));
        self.questions.iter().all(|question| question.answer.is_some()) || self.questions.iter().any(is_denied)
    }

    /// Asks this server what is not answered yet, and waits until then at the latest.
    fn ask(&mut self, server: SocketAddr, has_edns: bool, until: Instant, config: &Config) {
        let began = Instant::now();
        let mut flights = Vec::new();
        for index in 0..self.questions.len() {
            if self.questions[index].answer.is_none() {
                flights.extend(self.send(index, server, has_edns));
            }
        }
        while !flights.is_empty() {
            wait(&flights, until.min(self.deadline).saturating_duration_since(Instant::now()));
            let mut open = Vec::new();
            let mut has_heard = false;
            for flight in flights {
                match flight.receive() {
                    None => open.push(flight),
                    Some(heard) => {
                        has_heard = true;
                        open.extend(self.on_heard(&flight, heard, server, until));
                    }
                }
            }
            flights = open;
            let now = Instant::now();
            if has_heard && self.questions.iter().any(Question::is_decisive) {
                self.deadline = self.deadline.min(now + config.other_family);
            }
            if !has_heard && now >= until.min(self.deadline) {
                return self.on_silence(server, began.elapsed());
            }
        }
    }

    /// A server has not answered for so long. Asked several times, it was silent for all of that time.
    fn on_silence(&mut self, server: SocketAddr, time: Duration) {
        let before = self.troubles.iter_mut().find_map(|(other, trouble)| match trouble {
            Trouble::Silent(before) if *other == server => Some(before),
            _ => None,
        });
        match before {
            Some(before) => *before += time,
            None => self.troubles.push((server, Trouble::Silent(time))),
        }
    }

    fn send(&mut self, index: usize, server: SocketAddr, has_edns: bool) -> Option<Flight> {
        let address_type = self.questions[index].address_type;
        let id = RandomState::new().hash_one(address_type) as u16;
        let query = Query { id, name: self.name.clone(), address_type, has_edns };
        let sent = Flight::send(index, query, server);
        sent.map_err(|error| self.troubles.push((server, Trouble::Io(error)))).ok()
    }

    /// Notes what a server has said. Returns the query that has to be sent because of it.
    fn on_heard(
        &mut self,
        flight: &Flight,
        heard: Result<Answer, Trouble>,
        server: SocketAddr,
        until: Instant,
    ) -> Option<Flight> {
        let heard = match heard {
            Ok(Answer::NoEdns) => return self.send(flight.index, server, false),
            Ok(Answer::Truncated) => ask_by_stream(server, &flight.query, until),
            heard => heard,
        };
        match heard {
            Ok(Answer::Refused(code)) => self.troubles.push((server, Trouble::Refused(code))),
            Ok(answer) => self.questions[flight.index].answer = Some((answer, server)),
            Err(trouble) => self.troubles.push((server, trouble)),
        }
        None
    }

    fn found(self) -> Result<Found, Vec<(SocketAddr, Trouble)>> {
        let (mut addresses, mut ttl) = (Vec::new(), u32::MAX);
        let (mut nameless, mut empty, mut open) = (None, None, false);
        for question in self.questions {
            match question.answer {
                Some((Answer::Addresses(more, seconds), _)) => {
                    addresses.extend(more);
                    ttl = ttl.min(seconds);
                }
                Some((Answer::NoSuchName(_), server)) => nameless = Some(server),
                Some((_, server)) => empty = Some(server),
                None => open = true,
            }
        }
        match (nameless, empty) {
            _ if !addresses.is_empty() => Ok(Found::Addresses(addresses, Duration::from_secs(ttl.into()))),
            (Some(server), _) => Ok(Found::NoSuchName(server)),
            (None, Some(server)) if !open => Ok(Found::NoAddresses(server)),
            _ => Err(self.troubles),
        }
    }
}

/// Waits until one of them may have an answer, or for so long.
fn wait(flights: &[Flight], time: Duration) {
    let mut fds: Vec<PollFd<'_>> = flights.iter().map(|flight| PollFd::new(&flight.socket, PollFlags::IN)).collect();
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    // A signal ends the wait, and then it begins anew. All other errors are ours, and show in what follows.
    if let Err(error) = poll(&mut fds, Some(&time)) {
        log::debug!("waiting for name servers: {error}");
    }
}

/// Asks again over TCP, where answers may be long (RFC 7766 §5).
fn ask_by_stream(server: SocketAddr, query: &Query, until: Instant) -> Result<Answer, Trouble> {
    let message = exchange_by_stream(server, &query.encode(), until).map_err(Trouble::Io)?;
    match query.read(&message) {
        Ok(Answer::Truncated) => Err(Trouble::Malformed(Malformed("it is truncated, over TCP, too"))),
        Ok(Answer::NoEdns) => Ok(Answer::Refused(ResponseCode::FORMAT_ERROR)),
        Ok(answer) => Ok(answer),
        Err(Unfit::OfAnother) => Err(Trouble::Malformed(Malformed("it is no response to the query"))),
        Err(Unfit::Malformed(malformed)) => Err(Trouble::Malformed(malformed)),
    }
}

/// RFC 1035 §4.2.2: each message stands behind its length.
fn exchange_by_stream(server: SocketAddr, query: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, left(until)?)?;
    stream.set_write_timeout(Some(left(until)?))?;
    stream.write_all(&[&(query.len() as u16).to_be_bytes(), query].concat())?;
    let mut length = [0; 2];
    read_exactly(&mut stream, &mut length, until)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    read_exactly(&mut stream, &mut message, until)?;
    Ok(message)
}

fn read_exactly(stream: &mut TcpStream, mut space: &mut [u8], until: Instant) -> io::Result<()> {
    while !space.is_empty() {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(space) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => space = &mut space[n..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The kernel tells the end of the time like this.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How much time there is, which is never none.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}
