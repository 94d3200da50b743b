//! One stream of a client: what it has sent and received, and whether that is right.

use std::collections::VecDeque;
use std::time::Duration;

use super::ask::{Ask, GivesUp, Reading};
use crate::client::{Content, NONSENSE};

/// Names and values.
pub type FieldLines = Vec<(String, String)>;

pub const NO_ERROR: u32 = 0x0;
const PROTOCOL_ERROR: u32 = 0x1;
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

/// How a stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The response is complete, and the one that had to come.
    Complete,
    /// The response was cut, as it had to be.
    Cut,
    /// The client has reset it.
    GivenUp,
    /// The connection has ended, or the server takes no more: nothing can be said.
    Excused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Head,
    Content,
    Done,
}

/// A stream that was opened.
pub struct Stream {
    /// What it is for.
    pub ask: Ask,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
    /// Content that is still to be sent.
    upload: VecDeque<u8>,
    /// Nothing follows `upload`.
    upload_ends: bool,
    /// The client has not ended its direction.
    pub is_sending: bool,
    /// It is a tunnel to an upstream.
    is_tunnel: bool,
    /// If it is one, nothing may have moved in it for too long: what the client says there waits behind what else it sends, and
    /// what it is told behind what else it is sent.
    pub may_be_silent: bool,
    /// What the server allows, in bytes.
    pub send_window: i64,
    /// What was allowed to the server beyond its initial window, in bytes.
    pub granted: i64,
    /// What has come that counts for the window, in bytes.
    pub received: i64,
    /// Where its head ends in what the client sends.
    pub head_end: u64,
    /// When it was opened.
    pub opened_at: Duration,
    /// When the server was last allowed more.
    granted_at: Duration,
    place: Place,
    status: u16,
    fields: FieldLines,
    content: Vec<u8>,
    continued: bool,
    hints: usize,
    /// The response says that an upstream has failed.
    is_error: bool,
}

impl Stream {
    /// A stream whose request has just been sent. The server allows it to send so many bytes.
    pub fn new(ask: Ask, send_window: i64, now: Duration) -> Stream {
        let is_tunnel = ask.talk.is_some() || ask.tunnel.is_some();
        let (upload, upload_ends) = (ask.content.iter().copied().collect(), !is_tunnel);
        let is_sending = !ask.content.is_empty() || is_tunnel;
        Stream {
            is_tunnel: ask.tunnel.is_some(),
            may_be_silent: false,
            ask,
            outcome: None,
            upload,
            upload_ends,
            is_sending,
            send_window,
            granted: 0,
            received: 0,
            head_end: 0,
            opened_at: now,
            granted_at: now,
            place: Place::Head,
            status: 0,
            fields: Vec::new(),
            content: Vec::new(),
            continued: false,
            hints: 0,
            is_error: false,
        }
    }

    /// How much content may be sent now, and whether it would be the last.
    pub fn sendable(&self, most: i64) -> Option<(usize, bool)> {
        let waits = self.ask.waits_to_continue() && !self.continued && self.place == Place::Head;
        if !self.is_sending || waits {
            return None;
        }
        let n = most.min(self.send_window).max(0) as usize;
        let n = n.min(self.upload.len()).min(self.ask.piece);
        let is_last = self.upload_ends && n == self.upload.len();
        (n > 0 || is_last).then_some((n, is_last))
    }

    /// Takes so much content away, to be sent.
    pub fn take_content(&mut self, n: usize) -> Vec<u8> {
        self.upload.drain(..n).collect()
    }

    /// Whether its client wants it no more.
    pub fn is_given_up(&self, now: Duration) -> bool {
        match self.ask.gives_up {
            Some(GivesUp::After(wait)) => self.opened_at + wait <= now,
            Some(GivesUp::At(bytes)) => self.content.len() >= bytes,
            None => false,
        }
    }

    /// When it is given up, if that is a question of time.
    pub fn gives_up_at(&self) -> Option<Duration> {
        match self.ask.gives_up {
            Some(GivesUp::After(wait)) if self.outcome.is_none() => Some(self.opened_at + wait),
            _ => None,
        }
    }

    /// How much more to allow, where the server has an initial window of so many bytes.
    pub fn grant(&mut self, window: i64, now: Duration) -> Option<u32> {
        if self.outcome.is_some() || self.place == Place::Done {
            return None;
        }
        let grant = granted(self.ask.reading, window + self.granted - self.received)?;
        self.granted += i64::from(grant);
        self.granted_at = now;
        Some(grant)
    }

    /// Whether the server has to do something now, where it has an initial window of so many bytes.
    pub fn is_due(&self, window: i64) -> bool {
        self.outcome.is_none() && window + self.granted - self.received > 0
    }

    /// HEADERS have come.
    pub fn on_fields(&mut self, fields: FieldLines, end_stream: bool) -> Result<(), String> {
        match self.place {
            Place::Head => self.on_head(fields, end_stream),
            Place::Content => self.on_trailers(fields, end_stream),
            Place::Done => Err("HEADERS after the end".to_owned()),
        }
    }

    fn on_head(&mut self, fields: FieldLines, end_stream: bool) -> Result<(), String> {
        check_fields(&fields)?;
        let [(name, status), ..] = &fields[..] else { return Err("no fields".to_owned()) };
        let status: u16 = status.parse().ok().filter(|_| name == ":status").ok_or("no :status in front")?;
        match status {
            100..=199 if end_stream => Err(format!("{status} ends the stream")),
            100 | 103 if self.ask.is_fallible => {
                self.continued |= status == 100;
                Ok(())
            }
            100 if self.ask.expected.interim && !self.continued => {
                self.continued = true;
                Ok(())
            }
            103 if self.hints < self.ask.hints => {
                self.hints += 1;
                Ok(())
            }
            100..=199 => Err(format!("an interim response {status} nobody asked for")),
            _ => self.on_final_head(status, fields, end_stream),
        }
    }

    fn on_final_head(&mut self, status: u16, fields: FieldLines, end_stream: bool) -> Result<(), String> {
        self.is_error = self.ask.is_fallible && matches!(status, 413 | 502..=504 | NONSENSE);
        if self.ask.is_malformed || !self.is_error && !self.ask.expected.statuses.contains(&status) {
            return Err(format!("{status} instead of {:?}", self.ask.expected.statuses));
        }
        if !field(&fields, "date").is_some_and(|date| date.len() == 29 && date.ends_with(" GMT")) {
            return Err("no good date".to_owned());
        }
        if self.hints < self.ask.hints {
            return Err("the response before all its hints".to_owned());
        }
        (self.status, self.fields, self.place) = (status, fields, Place::Content);
        if let Some(talk) = &mut self.ask.talk {
            if field(&self.fields, "content-length").is_some() {
                return Err("a tunnel with a length".to_owned());
            }
            self.upload.extend(talk.begin());
        }
        if let Some(said) = self.ask.tunnel.take() {
            self.upload.extend(if self.is_error { Vec::new() } else { said });
            self.upload_ends = true;
        }
        if end_stream { self.finish(&[]) } else { Ok(()) }
    }

    fn on_trailers(&mut self, fields: FieldLines, end_stream: bool) -> Result<(), String> {
        check_fields(&fields)?;
        if !end_stream || fields.iter().any(|(name, _)| name.starts_with(':')) {
            return Err("HEADERS in the middle of a response".to_owned());
        }
        self.finish(&fields)
    }

    /// DATA have come.
    pub fn on_data(&mut self, content: &[u8], end_stream: bool) -> Result<(), String> {
        if self.place != Place::Content {
            return Err(format!("DATA, but {:?} is next", self.place));
        }
        if let Some(talk) = &mut self.ask.talk {
            let said = talk.answer(content)?;
            self.upload.extend(said);
            self.upload_ends |= talk.is_over();
        } else {
            self.content.extend_from_slice(content);
        }
        let whole = match &self.ask.expected.content {
            _ if self.is_error => None,
            Content::Exactly(whole) | Content::CutWithin(whole) => Some(whole),
            Content::Anything => None,
        };
        if whole.is_some_and(|whole| !whole.starts_with(&self.content)) || self.ask.expected.to_head {
            return Err(format!("content is wrong in its first {} bytes", self.content.len()));
        }
        if end_stream { self.finish(&[]) } else { Ok(()) }
    }

    /// Whether the server was not allowed more since this moment.
    pub fn is_stalled_since(&self, moment: Duration) -> bool {
        self.granted_at <= moment && self.place != Place::Done
    }

    /// The server has reset it. `is_stalled`: it may have waited for a window for too long.
    pub fn on_reset(&mut self, code: u32, is_stalled: bool) -> Result<(), String> {
        if code == ENHANCE_YOUR_CALM && self.place == Place::Content {
            (self.outcome, self.is_sending) = (Some(Outcome::Cut), false);
            return if is_stalled { Ok(()) } else { Err("given up although its window was opened".to_owned()) };
        }
        let expected = &self.ask.expected;
        let is_to_be_cut = matches!(expected.content, Content::CutWithin(_));
        let may_be_cut = self.ask.is_fallible && self.place == Place::Content;
        let is_cut = is_to_be_cut && self.place != Place::Done || may_be_cut;
        let is_refused = self.ask.is_malformed && self.place == Place::Head;
        match () {
            // §8.1: the response is complete, and the rest of the request is not wanted. It may be under way.
            () if self.place == Place::Done && code == NO_ERROR && self.has_content() => self.is_sending = false,
            () if is_cut && code != NO_ERROR || is_refused && code == PROTOCOL_ERROR => {
                (self.outcome, self.is_sending) = (Some(Outcome::Cut), false);
            }
            () => return Err(format!("reset with code {code}, after {} bytes of content", self.content.len())),
        }
        Ok(())
    }

    fn has_content(&self) -> bool {
        !self.ask.content.is_empty() || self.ask.talk.is_some() || self.is_tunnel
    }

    /// Whether its client has nothing more to do with it. What an upstream has said in a tunnel may be all, and what the client
    /// says not.
    pub fn is_settled(&self) -> bool {
        self.outcome.is_some() && !(self.is_tunnel && self.is_sending)
    }

    /// The response is complete.
    fn finish(&mut self, trailers: &[(String, String)]) -> Result<(), String> {
        self.place = Place::Done;
        let (expected, length) = (&self.ask.expected, field(&self.fields, "content-length"));
        if length.is_some_and(|length| length != self.content.len().to_string()) && !expected.to_head {
            return Err(format!("content-length {length:?}, but {} bytes", self.content.len()));
        }
        let is_right = match &expected.content {
            _ if self.is_error => self.status != NONSENSE || expected.to_head,
            Content::Exactly(_) if self.is_tunnel && self.may_be_silent => true,
            Content::Exactly(whole) => *whole == self.content,
            Content::CutWithin(whole) => self.ask.reading == Reading::Never && *whole == self.content,
            Content::Anything => true,
        };
        if !is_right {
            return Err(format!("a whole response of {} bytes is not the right one", self.content.len()));
        }
        if trailers != self.ask.trailers {
            return Err(format!("trailers {trailers:?} instead of {:?}", self.ask.trailers));
        }
        if self.ask.talk.as_ref().is_some_and(|talk| !talk.is_over()) {
            return Err("the end of a tunnel without a Close".to_owned());
        }
        self.outcome = Some(Outcome::Complete);
        Ok(())
    }

    /// For people.
    pub fn progress(&self) -> String {
        let path = &self.ask.fields.iter().find(|(name, _)| name == ":path").map_or("", |(_, path)| path);
        let (content, upload) = (self.content.len(), self.upload.len());
        let window = self.granted - self.received;
        format!(
            "{path} {:?} with {content} bytes of {}, window {window:+}, {upload} to send with window {}",
            self.place, self.status, self.send_window
        )
    }
}

/// How much more to allow to a server that may still send `left` bytes.
pub fn granted(reading: Reading, left: i64) -> Option<u32> {
    let grant = match reading {
        Reading::Ahead(ahead) if left < i64::from(ahead) / 2 => i64::from(ahead) - left,
        Reading::InPortions(portion) if left <= 0 => i64::from(portion) - left,
        _ => return None,
    };
    u32::try_from(grant).ok()
}

fn field<'a>(fields: &'a FieldLines, name: &str) -> Option<&'a str> {
    fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

/// RFC 9113 §8.2, §8.3
fn check_fields(fields: &FieldLines) -> Result<(), String> {
    let is_name_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    for (index, (name, _)) in fields.iter().enumerate() {
        let is_connection_specific =
            matches!(name.as_str(), "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade");
        let is_right = name == ":status" && index == 0 || !name.is_empty() && name.bytes().all(is_name_byte);
        if is_connection_specific || !is_right {
            return Err(format!("the field {name} has no place here"));
        }
    }
    for name in ["content-length", "date", "content-type", "server"] {
        if fields.iter().filter(|(other, _)| other == name).count() > 1 {
            return Err(format!("{name} more than once"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;

    #[test]
    fn a_client_of_a_tunnel_says_all_although_the_upstream_has_said_all() {
        let request = Request::new("CONNECT", "/tunnel/talk/2/3/0".to_owned(), 200, b"ok".to_vec());
        let ask = Ask { tunnel: Some(b"abc".to_vec()), ..Ask::plain(request) };
        let mut stream = Stream::new(ask, 2, Duration::ZERO);
        let date = ("date".to_owned(), "Thu, 01 Jan 1970 00:00:00 GMT".to_owned());
        assert_eq!(stream.on_fields(vec![(":status".to_owned(), "200".to_owned()), date], false), Ok(()));
        assert_eq!(stream.on_data(b"ok", true), Ok(()));
        assert_eq!((stream.outcome, stream.is_settled()), (Some(Outcome::Complete), false));
        assert_eq!(stream.sendable(100), Some((2, false)));
        stream.is_sending = false;
        assert!(stream.is_settled());
    }
}
