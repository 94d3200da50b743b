//! What kinds of upstreams there are.

use std::time::Duration;

use crate::dice::Dice;

/// How long a good upstream pauses at most.
pub const PAUSE_MAX: Duration = Duration::from_millis(1500);

/// What kind of upstream one is.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// It keeps the rules, and these pauses.
    Good(Duration),
    /// It ends the connection after so many bytes of responses, perhaps by a reset.
    EndsAt(u64, bool),
    /// It ends the connection when it has read so many bytes.
    EndsReading(usize, bool),
    /// It answers as soon as it has the head, and then perhaps reads nothing more.
    Early(bool),
    /// It says something else.
    Garbage(usize),
    /// It never reads.
    Deaf,
    /// It reads, and never answers.
    Silent,
    /// It ends its direction behind a response without having said so, and goes on reading.
    HalfClosing,
    /// So many interim responses come before the final one.
    Storm(usize),
    /// It says more than it was asked for, after a while.
    Chatty(Duration),
    /// It ends the connection when it has been idle for so long.
    Hasty(Duration),
}

/// What some say. The first of them accept what nobody has asked for, or wrongly what somebody has.
pub const GARBAGE: [&[u8]; 9] = [
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: another\r\nConnection: upgrade\r\n\r\nhello",
    b"220 smtp.example.com ESMTP\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    // Only what follows its head is wrong.
    b"HTTP/1.1 299 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    b"\0\0\0\0",
];

impl Manner {
    /// One that keeps the rules.
    pub fn draw_good(dice: &mut Dice) -> Manner {
        Manner::Good(match dice.chance(300) {
            true => dice.millis(1, PAUSE_MAX.as_millis() as u64),
            false => Duration::ZERO,
        })
    }

    /// Any.
    pub fn draw(dice: &mut Dice) -> Manner {
        match dice.below(22) {
            0..=5 => Manner::draw_good(dice),
            6..=8 => Manner::EndsAt(dice.size(1, 200_000) as u64 - 1, dice.chance(500)),
            9 => Manner::EndsReading(dice.size(1, 20_000) - 1, dice.chance(500)),
            10 | 11 => Manner::Early(dice.chance(500)),
            12 => Manner::Garbage(dice.between(0, GARBAGE.len() - 1)),
            13 => Manner::Deaf,
            14 => Manner::Silent,
            15 | 16 => Manner::HalfClosing,
            17 => Manner::Storm(dice.size(1, 200)),
            18 | 19 => Manner::Chatty(dice.millis(0, 3000)),
            _ => Manner::Hasty(dice.millis(0, 5000)),
        }
    }
}
