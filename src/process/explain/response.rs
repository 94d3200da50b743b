//! The response as it stands on the wire: what its head says of its framing.

use super::paper::Paper;
use crate::http::status::Status;
use crate::service::explanation::printable;

/// A final response.
pub struct FinalResponse<'a> {
    /// Its status.
    pub status: Status,
    /// What follows its head, in bytes.
    pub content_bytes: u64,
    head: &'a [u8],
}

impl<'a> FinalResponse<'a> {
    /// The final response among what was sent, if there is one.
    pub fn of(paper: &'a Paper) -> Option<FinalResponse<'a>> {
        let all: Vec<&[u8]> = heads(&paper.sent).collect();
        let head = *all.last()?;
        let status = status_of(head).filter(|status| !status.is_interim() || *status == Status::SWITCHING_PROTOCOLS)?;
        let heads_bytes: usize = all.iter().map(|head| head.len()).sum();
        Some(FinalResponse { status, content_bytes: paper.sent_bytes - heads_bytes as u64, head })
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

    fn field(&self, name: &str) -> Option<String> {
        let lines = lines(self.head).skip(1);
        let value = lines.into_iter().find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b": "));
        value.map(printable)
    }
}

/// The heads at the beginning of what was sent, interim ones first, each with its blank line.
pub fn heads(sent: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(sent);
    std::iter::from_fn(move || {
        let bytes = rest.take()?;
        let head = &bytes[..memchr::memmem::find(bytes, b"\r\n\r\n")? + 4];
        if status_of(head).is_some_and(|status| status.is_interim() && status != Status::SWITCHING_PROTOCOLS) {
            rest = Some(&bytes[head.len()..]);
        }
        Some(head)
    })
}

/// The lines of a head, without its blank line.
pub fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    lines.filter(|line| !line.is_empty())
}

fn status_of(head: &[u8]) -> Option<Status> {
    let line = std::str::from_utf8(lines(head).next()?).ok()?;
    Status::from_code(line.split(' ').nth(1)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper(sent: &str) -> Paper {
        let mut paper = Paper::default();
        (paper.sent, paper.sent_bytes) = (sent.into(), sent.len() as u64);
        paper
    }

    #[test]
    fn an_interim_response_is_no_answer() {
        assert!(FinalResponse::of(&paper("")).is_none());
        assert!(FinalResponse::of(&paper("HTTP/1.1 100 Continue\r\n\r\n")).is_none());
        let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        let both =
            paper(&format!("HTTP/1.1 100 Continue\r\n\r\n{hint}HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"));
        let answer = FinalResponse::of(&both).unwrap();
        assert_eq!((answer.status, answer.content_bytes), (Status::OK, 3));
        assert_eq!(answer.framing(false), "Content-Length: 3 (RFC 9112 §6.2)");
    }

    #[test]
    fn content_that_looks_like_a_head_is_none() {
        let sent = paper("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n");
        let answer = FinalResponse::of(&sent).unwrap();
        assert_eq!((answer.status, answer.content_bytes), (Status::OK, 26));
        assert_eq!(answer.framing(false), "until the connection ends (RFC 9112 §6.3)");
        assert!(answer.framing(true).starts_with("a response to HEAD"));
    }
}
