//! The closing handshake (RFC 6455 §7): codes, and what a Close frame carries.

use std::fmt;
use std::str;

use super::Violation;

/// Why a WebSocket ends: the code of a Close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1001: the server stops.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// 1002: a frame broke the rules.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// 1003: the application does not take messages of this kind.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// 1007: a message's content is not what its kind promises.
    pub const INVALID_CONTENT: CloseCode = CloseCode(1007);
    /// 1009: a message is too long.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// 1011: the server cannot go on.
    pub const UNEXPECTED: CloseCode = CloseCode(1011);
    /// 1013: the peer cannot keep up; it may come back later (registered with IANA).
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);

    /// The code with this number, if it may stand in a Close frame: 1000 to 1014 without those that only stand for the
    /// absence of one (RFC 6455 §7.4.1; 1012 to 1014 are in the IANA registry), and 3000 to 4999 (§7.4.2).
    pub fn received(number: u16) -> Option<CloseCode> {
        matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(CloseCode(number))
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The code in a Close frame with this payload; `None` if it has none, which means that nothing is wrong
/// (RFC 6455 §7.1.5).
pub fn parse(payload: &[u8]) -> Result<Option<CloseCode>, Violation> {
    let Some((number, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(HALF_A_CODE) };
    };
    let code = CloseCode::received(u16::from_be_bytes(*number)).ok_or(INVALID_CODE)?;
    str::from_utf8(reason).map_err(|_| INVALID_REASON)?;
    Ok(Some(code))
}

const HALF_A_CODE: Violation = Violation::protocol("a Close with half a code", "RFC 6455 §5.5.1");
const INVALID_CODE: Violation = Violation::protocol("a Close with a code that must not be sent", "RFC 6455 §7.4");
const INVALID_REASON: Violation = Violation::content("a Close whose reason is not UTF-8", "RFC 6455 §5.5.1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_has_no_code_or_a_valid_one() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"\x03\xe8"), Ok(Some(CloseCode(1000))));
        assert_eq!(parse(b"\x03\xe8bye"), Ok(Some(CloseCode(1000))));
        assert_eq!(parse(b"\x03"), Err(HALF_A_CODE));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(INVALID_REASON));
    }

    #[test]
    fn codes_that_stand_for_the_absence_of_a_close_are_not_received() {
        let valid: Vec<u16> = (0..=u16::MAX).filter(|number| CloseCode::received(*number).is_some()).collect();
        let expected: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(valid, expected);
    }
}
