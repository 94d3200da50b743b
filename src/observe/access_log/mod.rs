//! What the access log says about a request: one line, in one of four formats.
//!
//! Formatting is a pure function of an [`Entry`]; what a client sent never ends a line, never leaves its quotes and
//! never reaches a terminal as a control character.

mod classic;
mod escape;
mod json;
mod moment;
mod pretty;

use std::ops::Range;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::base::peer::Peer;
use crate::http::message::Version;
use crate::http::method::Method;
use moment::Moment;

/// A request that is over, as it is noted.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// When its first byte was seen.
    pub began: SystemTime,
    /// The number of its connection.
    pub connection: u64,
    /// Its number on that connection, from 1.
    pub ordinal: u64,
    /// Who sent it.
    pub peer: Peer,
    /// Its first line; `None` if it was not understood.
    pub line: Option<RequestLine<'a>>,
    /// The status of the response; `None` if there was none.
    pub status: Option<u16>,
    /// Bytes that followed the response's head, framing included, as far as they left.
    pub content_bytes: u64,
    /// From the first byte of the request until its head was complete.
    pub head: Duration,
    /// From the first byte of the request until the first byte of the response left, if one did.
    pub first_byte: Option<Duration>,
    /// From the first byte of the request until the request was over.
    pub last_byte: Duration,
    /// How the connection ended, if that ended the request.
    pub close: Option<&'a str>,
    /// How long nothing was read because nobody took what was there.
    pub paused: Duration,
    /// How long there was something to send that the kernel had no room for.
    pub blocked: Duration,
    /// The most that waited to be sent, in bytes.
    pub queued_max: u64,
    /// Where the request stands in the stream from the client; the first byte is at 0.
    pub rx: Range<u64>,
    /// Where the response stands in the stream to the client; the first byte is at 0.
    pub tx: Range<u64>,
    /// `Referer`, or empty.
    pub referer: &'a [u8],
    /// `User-Agent`, or empty.
    pub user_agent: &'a [u8],
}

/// A request's first line.
#[derive(Debug, Clone, Copy)]
pub struct RequestLine<'a> {
    /// Its method.
    pub method: Method,
    /// Its target, as the client wrote it.
    pub target: &'a [u8],
    /// Its version.
    pub version: Version,
}

impl RequestLine<'_> {
    fn version(&self) -> &'static str {
        match self.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

/// How an entry is written.
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

/// Writes entries, one line each.
#[derive(Debug)]
pub struct Formatter {
    format: Format,
    colours: bool,
    moment: Moment,
}

impl Formatter {
    /// A formatter; `colours` concern the pretty format alone.
    pub fn new(format: Format, colours: bool) -> Formatter {
        Formatter { format, colours, moment: Moment::new() }
    }

    /// Whether `Referer` and `User-Agent` are written.
    pub fn writes_fields(&self) -> bool {
        matches!(self.format, Format::Combined | Format::Json)
    }

    /// Appends the line of `entry`, with its end.
    pub fn write(&mut self, entry: &Entry<'_>, lines: &mut Vec<u8>) {
        self.moment.set(entry.began);
        match self.format {
            Format::Common => classic::common(entry, &self.moment, lines),
            Format::Combined => classic::combined(entry, &self.moment, lines),
            Format::Json => json::object(entry, &self.moment, lines),
            Format::Pretty => pretty::line(entry, &self.moment, self.colours, lines),
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
