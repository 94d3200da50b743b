//! What a client says in a WebSocket over HTTP/2 (RFC 8441), each message when the one before has come back.

use std::collections::VecDeque;

use crate::dice::Dice;
use crate::frames::{BINARY, CLOSE, CONTINUATION, FIN, Frames, PING, PONG, closing, masked};
use crate::service::pattern;

/// A conversation with `/ws/echo`.
pub struct Talk {
    /// What is still to be said.
    messages: VecDeque<Vec<u8>>,
    /// What must come back next, and how much of it has.
    echo: Option<(Vec<u8>, usize)>,
    frames: Frames,
    key: [u8; 4],
    has_closed: bool,
    is_over: bool,
}

impl Talk {
    /// Draws one.
    pub fn draw(dice: &mut Dice) -> Talk {
        let mut message = || {
            let (salt, n) = (dice.below(1000), dice.size(1, 40_000));
            pattern(salt, n)
        };
        let messages = (0..4).map(|_| message()).collect::<VecDeque<_>>();
        let kept = dice.between(0, messages.len());
        Talk {
            messages: messages.into_iter().take(kept).collect(),
            echo: None,
            frames: Frames::default(),
            key: [dice.below(256) as u8, 7, 0, 255],
            has_closed: false,
            is_over: false,
        }
    }

    /// Whether the server has answered the Close.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// What to say when the WebSocket has just been opened.
    pub fn begin(&mut self) -> Vec<u8> {
        self.go_on()
    }

    /// What to say to these bytes of the server.
    pub fn answer(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.frames.push(bytes);
        let mut out = Vec::new();
        while let Some(frame) = self.frames.next()? {
            if self.is_over {
                return Err("a WebSocket frame after the Close".to_owned());
            }
            match frame.opcode {
                PING => out.extend(masked(FIN | PONG, &frame.payload, self.key)),
                CLOSE => {
                    // 1001: the server stops.
                    if !(self.has_closed && frame.code() == Some(1000)) && frame.code() != Some(1001) {
                        return Err(format!("closed with {:?}", frame.code()));
                    }
                    if !self.has_closed {
                        out.extend(masked(FIN | CLOSE, &closing(frame.code()), self.key));
                    }
                    (self.is_over, self.has_closed) = (true, true);
                }
                BINARY | CONTINUATION => out.extend(self.on_echo(&frame.payload, frame.fin)?),
                opcode => return Err(format!("a WebSocket frame with opcode {opcode}")),
            }
        }
        Ok(out)
    }

    fn on_echo(&mut self, payload: &[u8], is_last: bool) -> Result<Vec<u8>, String> {
        let Some((message, at)) = &mut self.echo else { return Err("an echo of nothing".to_owned()) };
        if !message[*at..].starts_with(payload) {
            return Err(format!("a message comes back changed behind byte {at}"));
        }
        *at += payload.len();
        match (is_last, *at == message.len()) {
            (true, true) => Ok(self.go_on()),
            (false, _) => Ok(Vec::new()),
            (true, false) => Err("a message comes back short".to_owned()),
        }
    }

    /// Says the next message, or that it was the last.
    fn go_on(&mut self) -> Vec<u8> {
        self.echo = self.messages.pop_front().map(|message| (message, 0));
        match &self.echo {
            Some((message, _)) => masked(FIN | BINARY, message, self.key),
            None if self.has_closed => Vec::new(),
            None => {
                self.has_closed = true;
                masked(FIN | CLOSE, &closing(Some(1000)), self.key)
            }
        }
    }
}
