//! SETTINGS (RFC 9113 §6.5; RFC 8441 §3; RFC 9218 §2.1): what each side tells the other about itself.

use super::error::Fault;
use super::frame::{FRAME_BYTES_MAX_LEAST, FRAME_BYTES_MAX_MOST};
use super::windows::{INITIAL_WINDOW_BYTES, WINDOW_BYTES_MAX};
use crate::base::limits::Http2Limits;

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
const NO_RFC7540_PRIORITIES: u16 = 0x9;

/// What the client has told us, as far as it matters to a server that opens no streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerSettings {
    /// The table for fields that it keeps for us may have so many bytes.
    pub header_table_bytes: u32,
    /// What may be sent on a new stream, in bytes; at most 2^31 - 1.
    pub window_bytes: u32,
    /// The largest payload that it takes, in bytes; 2^14 to 2^24 - 1.
    pub frame_bytes_max: u32,
}

impl Default for PeerSettings {
    /// What holds before it has told us anything (§6.5.2).
    fn default() -> PeerSettings {
        PeerSettings {
            header_table_bytes: 4096,
            window_bytes: INITIAL_WINDOW_BYTES,
            frame_bytes_max: FRAME_BYTES_MAX_LEAST,
        }
    }
}

impl PeerSettings {
    /// Takes one parameter. Unknown ones are ignored (§6.5.2).
    ///
    /// # Errors
    /// A value that it cannot have ends the connection.
    pub fn set(&mut self, identifier: u16, value: u32) -> Result<(), Fault> {
        match identifier {
            HEADER_TABLE_SIZE => self.header_table_bytes = value,
            INITIAL_WINDOW_SIZE if value > WINDOW_BYTES_MAX => {
                return Err(Fault::flow_control("SETTINGS_INITIAL_WINDOW_SIZE above 2^31 - 1", "RFC 9113 §6.5.2"));
            }
            INITIAL_WINDOW_SIZE => self.window_bytes = value,
            MAX_FRAME_SIZE if !(FRAME_BYTES_MAX_LEAST..=FRAME_BYTES_MAX_MOST).contains(&value) => {
                return Err(Fault::protocol("SETTINGS_MAX_FRAME_SIZE out of its range", "RFC 9113 §6.5.2"));
            }
            MAX_FRAME_SIZE => self.frame_bytes_max = value,
            ENABLE_PUSH if value > 1 => {
                return Err(Fault::protocol("SETTINGS_ENABLE_PUSH is neither 0 nor 1", "RFC 9113 §6.5.2"));
            }
            ENABLE_CONNECT_PROTOCOL if value > 1 => {
                return Err(Fault::protocol("SETTINGS_ENABLE_CONNECT_PROTOCOL is neither 0 nor 1", "RFC 8441 §3"));
            }
            NO_RFC7540_PRIORITIES if value > 1 => {
                return Err(Fault::protocol("SETTINGS_NO_RFC7540_PRIORITIES is neither 0 nor 1", "RFC 9218 §2.1"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// What is told by a SETTINGS frame that arrives. Its parameters hold in their order, and the same one may stand in it several
/// times (RFC 9113 §6.5.3).
#[derive(Debug, Clone, Copy)]
pub struct NextSettings {
    /// What will hold.
    pub settings: PeerSettings,
    /// The smallest table in between, in bytes.
    pub table_bytes_least: u32,
    /// The largest window in between, in bytes.
    pub window_bytes_most: u32,
}

impl NextSettings {
    /// A frame has begun behind these settings.
    pub fn behind(settings: PeerSettings) -> NextSettings {
        let PeerSettings { header_table_bytes, window_bytes, .. } = settings;
        NextSettings { settings, table_bytes_least: header_table_bytes, window_bytes_most: window_bytes }
    }

    /// A parameter has arrived.
    ///
    /// # Errors
    /// Those of [`PeerSettings::set`].
    pub fn set(&mut self, identifier: u16, value: u32) -> Result<(), Fault> {
        self.settings.set(identifier, value)?;
        self.table_bytes_least = self.table_bytes_least.min(self.settings.header_table_bytes);
        self.window_bytes_most = self.window_bytes_most.max(self.settings.window_bytes);
        Ok(())
    }
}

/// The registered name of a parameter, if it is one of those that are used here.
pub fn name(identifier: u16) -> Option<&'static str> {
    Some(match identifier {
        HEADER_TABLE_SIZE => "HEADER_TABLE_SIZE",
        ENABLE_PUSH => "ENABLE_PUSH",
        MAX_CONCURRENT_STREAMS => "MAX_CONCURRENT_STREAMS",
        INITIAL_WINDOW_SIZE => "INITIAL_WINDOW_SIZE",
        MAX_FRAME_SIZE => "MAX_FRAME_SIZE",
        MAX_HEADER_LIST_SIZE => "MAX_HEADER_LIST_SIZE",
        ENABLE_CONNECT_PROTOCOL => "ENABLE_CONNECT_PROTOCOL",
        NO_RFC7540_PRIORITIES => "NO_RFC7540_PRIORITIES",
        _ => return None,
    })
}

/// What we tell the client in our first and only SETTINGS. A connection keeps to it, whatever becomes of the limits: the client
/// does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OurSettings {
    /// SETTINGS_HEADER_TABLE_SIZE, in bytes.
    pub header_table_bytes: u32,
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    pub streams_max: u32,
    /// SETTINGS_INITIAL_WINDOW_SIZE, in bytes.
    pub stream_window_bytes: u32,
    /// SETTINGS_MAX_FRAME_SIZE, in bytes.
    pub frame_bytes_max: u32,
    /// SETTINGS_MAX_HEADER_LIST_SIZE, in bytes. It bounds the list of fields that a client may send; that is only advice to it.
    pub header_list_bytes_max: u32,
}

impl OurSettings {
    /// Those of a connection that begins under these limits.
    pub fn of(limits: &Http2Limits) -> OurSettings {
        let Http2Limits { header_table_bytes, streams_max, stream_window_bytes, .. } = *limits;
        let Http2Limits { frame_bytes_max, header_list_bytes_max, .. } = *limits;
        OurSettings { header_table_bytes, streams_max, stream_window_bytes, frame_bytes_max, header_list_bytes_max }
    }

    /// Identifiers and values. NO_RFC7540_PRIORITIES says that the dependencies of RFC 7540 are ignored here.
    pub fn pairs(&self) -> [(u16, u32); 7] {
        [
            (HEADER_TABLE_SIZE, self.header_table_bytes),
            (MAX_CONCURRENT_STREAMS, self.streams_max),
            (INITIAL_WINDOW_SIZE, self.stream_window_bytes),
            (MAX_FRAME_SIZE, self.frame_bytes_max),
            (MAX_HEADER_LIST_SIZE, self.header_list_bytes_max),
            (ENABLE_CONNECT_PROTOCOL, 1),
            (NO_RFC7540_PRIORITIES, 1),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::ErrorCode;
    use super::*;

    fn set(identifier: u16, value: u32) -> Result<PeerSettings, ErrorCode> {
        let mut settings = PeerSettings::default();
        settings.set(identifier, value).map(|()| settings).map_err(|fault| fault.code)
    }

    #[test]
    fn values_are_taken_within_their_ranges() {
        let default = PeerSettings::default();
        assert_eq!(set(0x1, 0), Ok(PeerSettings { header_table_bytes: 0, ..default }));
        assert_eq!(set(0x1, u32::MAX), Ok(PeerSettings { header_table_bytes: u32::MAX, ..default }));
        assert_eq!(set(0x4, 0), Ok(PeerSettings { window_bytes: 0, ..default }));
        assert_eq!(set(0x4, 0x7fff_ffff), Ok(PeerSettings { window_bytes: 0x7fff_ffff, ..default }));
        assert_eq!(set(0x5, 16_384), Ok(default));
        assert_eq!(set(0x5, 16_777_215), Ok(PeerSettings { frame_bytes_max: 16_777_215, ..default }));
        for (identifier, value) in [(0x2, 0), (0x2, 1), (0x3, 0), (0x6, 5), (0x8, 0), (0x8, 1), (0x9, 1), (0x99, 7)] {
            assert_eq!(set(identifier, value), Ok(default), "{identifier}");
        }
    }

    #[test]
    fn values_out_of_their_ranges_end_the_connection() {
        assert_eq!(set(0x2, 2), Err(ErrorCode::PROTOCOL_ERROR));
        assert_eq!(set(0x4, 0x8000_0000), Err(ErrorCode::FLOW_CONTROL_ERROR));
        assert_eq!(set(0x5, 16_383), Err(ErrorCode::PROTOCOL_ERROR));
        assert_eq!(set(0x5, 16_777_216), Err(ErrorCode::PROTOCOL_ERROR));
        assert_eq!(set(0x8, 2), Err(ErrorCode::PROTOCOL_ERROR));
        assert_eq!(set(0x9, 2), Err(ErrorCode::PROTOCOL_ERROR));
    }

    #[test]
    fn ours_are_what_a_client_accepts_and_do_not_speak_of_push() {
        let mut client = PeerSettings::default();
        for (identifier, value) in OurSettings::of(&Http2Limits::default()).pairs() {
            assert_ne!(identifier, ENABLE_PUSH, "a server that sends it may only say no (RFC 9113 §6.5.2)");
            client.set(identifier, value).expect("a value that is allowed");
        }
        assert_eq!(client.window_bytes, 65_536);
    }
}
