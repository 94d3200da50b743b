//! What an upstream says about a request.

use std::time::Duration;

use super::request::Request;
use crate::service::{REFUSAL, pattern, ticks};

/// What is said about a request.
pub struct Answer {
    pub status: u16,
    /// The content, each piece after a pause.
    pub pieces: Vec<(Duration, Vec<u8>)>,
}

impl Answer {
    /// With this content, without a pause.
    pub fn new(status: u16, content: Vec<u8>) -> Answer {
        Answer { status, pieces: vec![(Duration::ZERO, content)] }
    }

    /// What the service says, too (`service.rs`).
    pub fn to(request: &Request, content: Vec<u8>) -> Answer {
        let mut parts = request.path.split('/').skip(1);
        let name = parts.next().unwrap_or_default();
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).unwrap_or_default();
        let (first, second) = (number(), number());
        match name {
            "fixed" | "known" | "chunked" => Answer::new(200, pattern(second, first as usize)),
            "echo" | "gather" | "slow-take" => Answer::new(200, content),
            "delay" => Answer { status: 200, pieces: vec![(Duration::from_millis(first), b"late".to_vec())] },
            "ticks" => {
                let every = Duration::from_millis(second);
                let lines = String::from_utf8(ticks(first as usize)).unwrap_or_default();
                let pieces = lines.split_inclusive('\n').map(|line| (every, line.as_bytes().to_vec())).collect();
                Answer { status: 200, pieces }
            }
            "refuse" => Answer::new(first as u16, REFUSAL.to_vec()),
            "fail" | "fail-late" => Answer::new(500, b"failed".to_vec()),
            _ => Answer::new(404, Vec::new()),
        }
    }

    /// To a request whose content has not come: what it is refused with.
    pub fn early_to(request: &Request) -> Answer {
        match request.path.strip_prefix("/refuse/") {
            Some(status) => Answer::new(status.parse().unwrap_or(403), REFUSAL.to_vec()),
            None => Answer::new(413, Vec::new()),
        }
    }

    /// All of the content, in bytes.
    pub fn length(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.len()).sum()
    }
}
