//! Error codes (RFC 9113 §7), and what a peer did wrong.

use std::fmt;

/// Why a stream or a connection ends (RFC 9113 §7). A peer may send any number; an unknown one has no special meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

macro_rules! error_codes {
    ($($name:ident $code:literal;)*) => {
        impl ErrorCode {
            $(#[doc = stringify!($name)] pub const $name: ErrorCode = ErrorCode($code);)*

            /// The registered name; `None` for a code without one.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// The code with this registered name.
            pub fn from_name(name: &str) -> Option<ErrorCode> {
                match name {
                    $(stringify!($name) => Some(ErrorCode::$name),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    NO_ERROR 0x0;
    PROTOCOL_ERROR 0x1;
    INTERNAL_ERROR 0x2;
    FLOW_CONTROL_ERROR 0x3;
    SETTINGS_TIMEOUT 0x4;
    STREAM_CLOSED 0x5;
    FRAME_SIZE_ERROR 0x6;
    REFUSED_STREAM 0x7;
    CANCEL 0x8;
    COMPRESSION_ERROR 0x9;
    CONNECT_ERROR 0xa;
    ENHANCE_YOUR_CALM 0xb;
    INADEQUATE_SECURITY 0xc;
    HTTP_1_1_REQUIRED 0xd;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {:#x}", self.0),
        }
    }
}

/// A rule that the peer broke. Whether it ends a stream or the connection is said where it is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The code that the peer is told.
    pub code: ErrorCode,
    /// What was wrong, for the log and for GOAWAY's debug data.
    pub reason: &'static str,
    /// The rule that was broken, such as `RFC 9113 §6.1`.
    pub section: &'static str,
}

impl Fault {
    /// PROTOCOL_ERROR: a rule that has no code of its own.
    pub const fn protocol(reason: &'static str, section: &'static str) -> Fault {
        Fault { code: ErrorCode::PROTOCOL_ERROR, reason, section }
    }

    /// FRAME_SIZE_ERROR
    pub const fn frame_size(reason: &'static str, section: &'static str) -> Fault {
        Fault { code: ErrorCode::FRAME_SIZE_ERROR, reason, section }
    }

    /// FLOW_CONTROL_ERROR
    pub const fn flow_control(reason: &'static str, section: &'static str) -> Fault {
        Fault { code: ErrorCode::FLOW_CONTROL_ERROR, reason, section }
    }

    /// STREAM_CLOSED
    pub const fn stream_closed(reason: &'static str, section: &'static str) -> Fault {
        Fault { code: ErrorCode::STREAM_CLOSED, reason, section }
    }

    /// ENHANCE_YOUR_CALM: a limit of ours.
    pub const fn calm(reason: &'static str, section: &'static str) -> Fault {
        Fault { code: ErrorCode::ENHANCE_YOUR_CALM, reason, section }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.code, self.reason, self.section)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_and_numbers_of_the_registry() {
        for code in 0..=0xd {
            let name = ErrorCode(code).name().expect("a registered code");
            assert_eq!(ErrorCode::from_name(name), Some(ErrorCode(code)));
        }
        assert_eq!(ErrorCode::ENHANCE_YOUR_CALM, ErrorCode(11));
        assert_eq!(ErrorCode(0xe).name(), None);
        assert_eq!(ErrorCode(0xffff_ffff).to_string(), "error code 0xffffffff");
        let fault = Fault::protocol("DATA on stream 0", "RFC 9113 §6.1");
        assert_eq!(fault.to_string(), "PROTOCOL_ERROR: DATA on stream 0 (RFC 9113 §6.1)");
    }
}
