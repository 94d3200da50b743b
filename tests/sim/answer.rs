//! The client's own idea of a response (RFC 9112): naive, strict, and sharing no line with the server.

/// A response as it arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub content: Vec<u8>,
}

impl Answer {
    /// The value of the only field with this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is followed by the end of the connection.
    pub fn announces_close(&self) -> bool {
        let options = self.field("connection").unwrap_or_default().split(',');
        options.map(str::trim).any(|option| option.eq_ignore_ascii_case("close"))
    }

    /// Whether its content is chunked.
    pub fn is_chunked(&self) -> bool {
        self.field("transfer-encoding").is_some()
    }

    fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(other, _)| other == name).count()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Head,
    Content(usize),
    ChunkSize,
    Chunk(usize),
    AfterChunk,
    Trailers,
    ContentUntilClose,
}

/// Takes a connection's bytes apart.
#[derive(Debug)]
pub struct Parser {
    bytes: Vec<u8>,
    at: usize,
    place: Place,
    answer: Answer,
}

impl Parser {
    /// Nothing has arrived.
    pub fn new() -> Parser {
        Parser { bytes: Vec::new(), at: 0, place: Place::Head, answer: Answer::default() }
    }

    /// Adds what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.at));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete response, interim ones too. `to_head`: it answers HEAD.
    pub fn next(&mut self, to_head: bool) -> Result<Option<Answer>, String> {
        loop {
            let moved = match self.place {
                Place::Head => match self.head(to_head)? {
                    Some(true) => return Ok(Some(self.complete())),
                    Some(false) => true,
                    None => false,
                },
                Place::Content(0) => return Ok(Some(self.complete())),
                Place::Content(left) => self.content(left, Place::Content),
                Place::Chunk(0) => self.go_to(Place::AfterChunk),
                Place::Chunk(left) => self.content(left, Place::Chunk),
                Place::ChunkSize => self.chunk_size()?,
                Place::AfterChunk => self.after_chunk()?,
                Place::Trailers => match self.line()? {
                    Some(line) if line.is_empty() => return Ok(Some(self.complete())),
                    line => line.is_some(),
                },
                Place::ContentUntilClose => self.content(usize::MAX, |_| Place::ContentUntilClose),
            };
            if !moved {
                return Ok(None);
            }
        }
    }

    /// The connection has ended in order: the last response, if that is what ends it.
    pub fn end(&mut self) -> Option<Answer> {
        (self.place == Place::ContentUntilClose).then(|| self.complete())
    }

    /// Whether no byte of a next response has arrived.
    pub fn is_between(&self) -> bool {
        self.place == Place::Head && self.at == self.bytes.len()
    }

    /// What has been understood of a response that is not complete.
    pub fn partial(&self) -> &Answer {
        &self.answer
    }

    /// What has arrived behind the answers so far, which is not HTTP any more.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.bytes.split_off(self.at)
    }

    /// Whether only the end of the connection can complete what has arrived.
    pub fn is_until_close(&self) -> bool {
        self.place == Place::ContentUntilClose
    }

    fn complete(&mut self) -> Answer {
        self.place = Place::Head;
        std::mem::take(&mut self.answer)
    }

    fn go_to(&mut self, place: Place) -> bool {
        self.place = place;
        true
    }

    fn content(&mut self, left: usize, next: fn(usize) -> Place) -> bool {
        let n = left.min(self.bytes.len() - self.at);
        self.answer.content.extend_from_slice(&self.bytes[self.at..self.at + n]);
        self.at += n;
        self.place = next(left - n);
        n > 0
    }

    /// One line without its CRLF.
    fn line(&mut self) -> Result<Option<String>, String> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = &rest[..end];
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(format!("a line with a control character: \"{}\"", line.escape_ascii()));
        }
        self.at += end + 2;
        Ok(Some(String::from_utf8_lossy(line).into_owned()))
    }

    /// A whole head, or nothing: whether the response ends with it.
    fn head(&mut self, to_head: bool) -> Result<Option<bool>, String> {
        let rest = &self.bytes[self.at..];
        if !rest.windows(4).any(|four| four == b"\r\n\r\n") {
            let wrong = !b"HTTP/1.".starts_with(&rest[..rest.len().min(7)]);
            return if wrong { Err(format!("no status line: \"{}\"", rest.escape_ascii())) } else { Ok(None) };
        }
        let line = self.line()?.unwrap_or_default();
        self.answer = Answer { status: status(&line)?, ..Answer::default() };
        while let Some(line) = self.line()?.filter(|line| !line.is_empty()) {
            self.answer.fields.push(field(&line)?);
        }
        self.place = framing(&self.answer, to_head)?;
        Ok(Some(self.place == Place::Content(0)))
    }

    fn chunk_size(&mut self) -> Result<bool, String> {
        let Some(line) = self.line()? else { return Ok(false) };
        if line.is_empty() || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("not a chunk size: {line:?}"));
        }
        let size = usize::from_str_radix(&line, 16).map_err(|error| error.to_string())?;
        Ok(self.go_to(if size == 0 { Place::Trailers } else { Place::Chunk(size) }))
    }

    fn after_chunk(&mut self) -> Result<bool, String> {
        match self.line()? {
            Some(line) if line.is_empty() => Ok(self.go_to(Place::ChunkSize)),
            Some(line) => Err(format!("a chunk longer than its size, by {line:?}")),
            None => Ok(false),
        }
    }
}

fn status(line: &str) -> Result<u16, String> {
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
    let digits = rest.and_then(|rest| rest.split(' ').next()).filter(|digits| digits.len() == 3);
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("not a status line: {line:?}"))
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("not a field line: {line:?}"))?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_name {
        return Err(format!("not a field name: {name:?}"));
    }
    Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

/// RFC 9112 §6.3, from the client's side.
fn framing(answer: &Answer, to_head: bool) -> Result<Place, String> {
    for name in ["content-length", "transfer-encoding", "connection", "date", "content-type"] {
        if answer.count(name) > 1 {
            return Err(format!("{name} more than once"));
        }
    }
    let interim = answer.status < 200;
    if !interim && answer.field("date").is_none_or(|date| date.len() != 29 || !date.ends_with(" GMT")) {
        return Err(format!("no good Date: {:?}", answer.field("date")));
    }
    let bare = interim || to_head || answer.status == 204 || answer.status == 304;
    match (answer.field("content-length"), answer.field("transfer-encoding")) {
        (Some(_), Some(_)) => Err("both Content-Length and Transfer-Encoding".to_owned()),
        (Some(_), None) | (None, Some(_)) if interim || answer.status == 204 => {
            Err("framing without content".to_owned())
        }
        _ if bare => Ok(Place::Content(0)),
        (Some(length), None) => length.parse().map(Place::Content).map_err(|error| format!("length {length}: {error}")),
        (None, Some("chunked")) => Ok(Place::ChunkSize),
        (None, Some(coding)) => Err(format!("transfer coding {coding}")),
        (None, None) => Ok(Place::ContentUntilClose),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

    #[test]
    fn responses_are_told_apart_however_they_arrive() {
        let text = format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{DATE}Content-Length: 3\r\n\r\nabc\
             HTTP/1.1 200 OK\r\n{DATE}Transfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n\
             HTTP/1.1 200 OK\r\n{DATE}\r\nghi"
        );
        for piece in [1, 2, 7, 1000] {
            let (mut parser, mut found) = (Parser::new(), Vec::new());
            for bytes in text.as_bytes().chunks(piece) {
                parser.push(bytes);
                while let Some(answer) = parser.next(false).expect("it is right") {
                    found.push((answer.status, answer.content));
                }
            }
            let last = parser.end().expect("the end completes the last one");
            found.push((last.status, last.content));
            let contents: Vec<&[u8]> = found.iter().map(|(_, content)| content.as_slice()).collect();
            assert_eq!(contents, [b"".as_slice(), b"abc", b"def", b"ghi"]);
            assert!(parser.is_between());
        }
    }

    #[test]
    fn wrong_responses_are_refused() {
        for text in [
            "HTTQ".to_owned(),
            "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
            format!("HTTP/1.1 200 OK\r\n{DATE}{DATE}Content-Length: 0\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\n{DATE}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\n{DATE}Content Length: 0\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\n{DATE}Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n"),
        ] {
            let mut parser = Parser::new();
            parser.push(text.as_bytes());
            assert!(parser.next(false).is_err(), "{text}");
        }
    }
}
