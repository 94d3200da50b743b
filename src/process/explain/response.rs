//! The response as it stands on the wire: what its head says of its framing.

use super::paper::Paper;
use crate::http::status::Status;

/// A final response.
pub struct Answer<'a> {
    /// Its status.
    pub status: Status,
    /// What follows its head, in bytes.
    pub content_bytes: u64,
    head: &'a str,
}

impl<'a> Answer<'a> {
    /// The final response among what was sent, if there is one.
    pub fn of(paper: &'a Paper) -> Option<Answer<'a>> {
        let all: Vec<&str> = heads(&paper.sent).collect();
        let head = *all.last()?;
        let status = status(head).filter(|status| !status.is_interim() || *status == Status::SWITCHING_PROTOCOLS)?;
        let heads_bytes: usize = all.iter().map(|head| head.len()).sum();
        Some(Answer { status, content_bytes: paper.sent_bytes - heads_bytes as u64, head })
    }

    /// How its end is known (RFC 9112 §6.3, by its numbers).
    pub fn framing(&self, is_to_head: bool) -> String {
        let length = self.field("Content-Length");
        match (length, self.field("Transfer-Encoding")) {
            // 1. Nothing follows, whatever the head says.
            _ if self.status == Status::SWITCHING_PROTOCOLS => "another protocol from here on (RFC 9110 §7.8)".into(),
            _ if !self.status.allows_content() => "a response with this status has no content (RFC 9110 §6.4.1)".into(),
            _ if is_to_head => "a response to HEAD ends with its head (RFC 9110 §9.3.2)".into(),
            (Some(length), _) => format!("Content-Length: {length} (RFC 9112 §6.2)"),
            (None, Some(coding)) => format!("Transfer-Encoding: {coding} (RFC 9112 §7.1)"),
            // 8. None of the above.
            (None, None) => "until the connection ends (RFC 9112 §6.3)".into(),
        }
    }

    fn field(&self, name: &str) -> Option<&'a str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// The heads at the beginning of what was sent, interim ones first, each with its blank line.
pub fn heads(sent: &[u8]) -> impl Iterator<Item = &str> {
    let mut rest = Some(sent);
    std::iter::from_fn(move || {
        let bytes = rest.take()?;
        let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        if status(head) == Some(Status::CONTINUE) {
            rest = Some(&bytes[end..]);
        }
        Some(head)
    })
}

fn status(head: &str) -> Option<Status> {
    Status::from_code(head.split(' ').nth(1)?.parse().ok()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn paper(sent: &str) -> Paper {
        let mut paper = Paper::default();
        (paper.sent, paper.sent_bytes) = (sent.into(), sent.len() as u64);
        paper
    }

    #[test]
    fn an_interim_response_is_no_answer() {
        assert!(Answer::of(&paper("")).is_none());
        assert!(Answer::of(&paper("HTTP/1.1 100 Continue\r\n\r\n")).is_none());
        let both = paper("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
        let answer = Answer::of(&both).unwrap();
        assert_eq!((answer.status, answer.content_bytes), (Status::OK, 3));
        assert_eq!(answer.framing(false), "Content-Length: 3 (RFC 9112 §6.2)");
    }

    #[test]
    fn content_that_looks_like_a_head_is_none() {
        let sent = paper("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n");
        let answer = Answer::of(&sent).unwrap();
        assert_eq!((answer.status, answer.content_bytes), (Status::OK, 26));
        assert_eq!(answer.framing(false), "until the connection ends (RFC 9112 §6.3)");
        assert!(answer.framing(true).starts_with("a response to HEAD"));
    }
}
