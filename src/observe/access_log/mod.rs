//! What the access log says about a request: one line, in one of four formats.
//!
//! Formatting is a pure function of a [`Line`]; what a client sent never ends a line, never leaves its quotes and
//! never reaches a terminal as a control character.

mod classic;
mod escape;
mod json;
mod pretty;
mod sentence;
pub mod time_text;

use std::str::FromStr;
use std::time::SystemTime;

use super::request_record::RequestRecord;
use crate::base::listener_role::ListenerRole;
use crate::base::peer::Peer;
use crate::base::tls_facts::TlsStatus;
use crate::http::message::Version;
use crate::http::status::Status;
pub use sentence::{sentence, summary};
use time_text::TimeText;

/// One line of the log: a request that is over, and where it came from.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The wall-clock time of [`RequestRecord::began`].
    pub began: SystemTime,
    /// The number of its connection.
    pub connection: u64,
    /// Who sent it.
    pub peer: Peer,
    /// Which listener its connection came through.
    pub role: ListenerRole,
    /// What is known of TLS on its connection, if that has TLS.
    pub tls: Option<&'a TlsStatus>,
    /// Everything else that is known of it.
    pub record: &'a RequestRecord,
}

impl Line<'_> {
    fn status(&self) -> Option<u16> {
        self.record.status.map(Status::code)
    }

    /// The target, if it is known.
    fn target(&self) -> Option<&[u8]> {
        Some(self.record.target()).filter(|target| !target.is_empty())
    }

    /// The HTTP version as it stands in a request line.
    fn version(&self) -> &'static str {
        match self.record.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2.0",
        }
    }
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The Common Log Format.
    Common,
    /// The Common Log Format, with `Referer` and `User-Agent`.
    Combined,
    /// One JSON object a line, with everything that is known.
    Json,
    /// For people.
    Pretty,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Format, &'static str> {
        match name {
            "common" => Ok(Format::Common),
            "combined" => Ok(Format::Combined),
            "json" => Ok(Format::Json),
            "pretty" => Ok(Format::Pretty),
            _ => Err("expected common, combined, json or pretty"),
        }
    }
}

/// Writes lines, all in one format.
#[derive(Debug)]
pub struct Formatter {
    format: Format,
    colours: bool,
    time: TimeText,
}

impl Formatter {
    /// A formatter; `colours` concern the pretty format alone.
    pub fn new(format: Format, colours: bool) -> Formatter {
        Formatter { format, colours, time: TimeText::new() }
    }

    /// Whether `Referer` and `User-Agent` are written.
    pub fn writes_fields(&self) -> bool {
        matches!(self.format, Format::Combined | Format::Json)
    }

    /// Appends `line`, with its end.
    pub fn write(&mut self, line: &Line<'_>, lines: &mut Vec<u8>) {
        self.time.set(line.began);
        match self.format {
            Format::Common => classic::common(line, &self.time, lines),
            Format::Combined => classic::combined(line, &self.time, lines),
            Format::Json => json::object(line, &self.time, lines),
            Format::Pretty => pretty::line(line, &self.time, self.colours, lines),
        }
        lines.push(b'\n');
    }
}

/// Appends formatted text.
fn put(lines: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    std::io::Write::write_fmt(lines, text).expect("writing to a Vec cannot fail");
}

#[cfg(test)]
mod tests;
