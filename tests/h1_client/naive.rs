//! A reader of HTTP/1 responses that is slow, sees all of the input at once, and is simple enough to be believed.

use tidemill::base::limits::Limits;
use tidemill::http::upstream::ResponseContent;

use crate::driver::{Asked, Event};
use crate::h1_naive::{Lines, field_lines, find, is_control, persists, read_chunks, split, values};

/// What the input says, apart from the reasons for refusing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Interim(u16, Lines),
    Head(u16, Lines, ResponseContent),
    Content(Vec<u8>),
    End(Lines),
    /// Refused, or cut off.
    Rejected,
    Reusable(Option<u32>),
    Close,
}

/// The events in the words of the naive reader.
pub fn said(events: &[Event]) -> Vec<Said> {
    let said = events.iter().map(|event| match event {
        Event::Interim(head) => Said::Interim(head.status.code(), head.fields.clone()),
        Event::Head(head) => Said::Head(head.status.code(), head.fields.clone(), head.content),
        Event::Content(content) => Said::Content(content.clone()),
        Event::End(trailers) => Said::End(trailers.clone()),
        Event::Error(_) => Said::Rejected,
        Event::Reusable(secs) => Said::Reusable(*secs),
        Event::Close => Said::Close,
    });
    said.collect()
}

/// Everything that `input`, and the end of the connection behind it, say as an answer to this request.
pub fn read(asked: Asked, input: &[u8], limits: &Limits) -> Vec<Said> {
    let mut said = Vec::new();
    let last = read_response(asked, input, limits, &mut said).unwrap_or(Said::Rejected);
    said.push(last);
    said
}

fn read_response(asked: Asked, mut input: &[u8], limits: &Limits, said: &mut Vec<Said>) -> Option<Said> {
    loop {
        let end = find(input, b"\r\n\r\n").filter(|end| end + 4 <= limits.head_bytes_max)?;
        let lines = split(&input[..end]);
        let (old, status) = status_line(lines[0])?;
        let fields = field_lines(&lines[1..], limits)?;
        let framed = framing(&fields, old)?;
        input = &input[end + 4..];
        let has_content = !matches!(framed, None | Some(ResponseContent::Length(0)));
        match status {
            100..=199 if has_content => return None,
            101 if !asked.upgrade || asked.unfinished || values(&fields, "upgrade").is_empty() => return None,
            100 | 102..=199 => said.push(Said::Interim(status, fields)),
            _ => {
                let content = content(asked, status, framed);
                said.push(Said::Head(status, fields.clone(), content));
                let rest = read_content(input, content, limits, said)?;
                let is_over = !persists(&fields, old) || asked.unfinished || !rest.is_empty();
                let is_endless = matches!(content, ResponseContent::UntilClose | ResponseContent::Tunnel);
                let is_odd = status == 204 && has_content;
                return Some(match is_over || is_endless || is_odd {
                    true => Said::Close,
                    false => Said::Reusable(timeout(&fields)),
                });
            }
        }
    }
}

/// Whether the version is 1.0, and the code.
fn status_line(line: &[u8]) -> Option<(bool, u16)> {
    let old = line.starts_with(b"HTTP/1.0 ");
    let rest = line.strip_prefix(b"HTTP/1.0 ").or(line.strip_prefix(b"HTTP/1.1 "))?;
    let (code, reason) = rest.split_at_checked(3)?;
    let good_reason = reason.is_empty() || reason[0] == b' ' && !reason.iter().any(|byte| is_control(*byte));
    let good_code = code.iter().all(u8::is_ascii_digit) && (b'1'..=b'5').contains(&code[0]);
    let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0')));
    (good_reason && good_code).then_some((old, code))
}

/// What the two framing fields say, if there is one.
fn framing(fields: &Lines, old: bool) -> Option<Option<ResponseContent>> {
    match (&values(fields, "transfer-encoding")[..], &values(fields, "content-length")[..]) {
        ([], []) => Some(None),
        ([coding], []) if !old && coding.eq_ignore_ascii_case(b"chunked") => Some(Some(ResponseContent::Chunked)),
        ([], lines) => {
            // All lines are one list, and all its members are the same number.
            let list = String::from_utf8(lines.join(&b","[..])).ok()?;
            let number = |member: &str| {
                let member = member.trim_matches([' ', '\t']);
                let is_number = !member.is_empty() && member.bytes().all(|byte| byte.is_ascii_digit());
                if is_number { member.parse().ok() } else { None }
            };
            let lengths: Option<Vec<u64>> = list.split(',').map(number).collect();
            let lengths = lengths?;
            let is_one = lengths.iter().all(|length| *length == lengths[0]);
            is_one.then(|| Some(ResponseContent::Length(lengths[0])))
        }
        _ => None,
    }
}

fn content(asked: Asked, status: u16, framed: Option<ResponseContent>) -> ResponseContent {
    let length = if let Some(ResponseContent::Length(length)) = framed { Some(length) } else { None };
    match status {
        101 => ResponseContent::Tunnel,
        204 => ResponseContent::Nothing(None),
        304 => ResponseContent::Nothing(length),
        _ if asked.head => ResponseContent::Nothing(length),
        _ => framed.unwrap_or(ResponseContent::UntilClose),
    }
}

fn read_content<'a>(
    input: &'a [u8],
    content: ResponseContent,
    limits: &Limits,
    said: &mut Vec<Said>,
) -> Option<&'a [u8]> {
    let mut trailers = Lines::new();
    let (there, rest) = match content {
        ResponseContent::Nothing(_) => (Vec::new(), Some(input)),
        ResponseContent::UntilClose | ResponseContent::Tunnel => (input.to_vec(), Some(&[][..])),
        ResponseContent::Length(length) => {
            let there = (input.len() as u64).min(length) as usize;
            (input[..there].to_vec(), (there as u64 == length).then(|| &input[there..]))
        }
        ResponseContent::Chunked => {
            let mut there = Vec::new();
            let behind = read_chunks(input, limits, &mut there);
            let rest = behind.map(|(found, rest)| {
                trailers = found;
                rest
            });
            (there, rest)
        }
    };
    if !there.is_empty() {
        said.push(Said::Content(there));
    }
    let rest = rest?;
    said.push(Said::End(trailers));
    Some(rest)
}

/// The shortest timeout of all Keep-Alive fields.
fn timeout(fields: &Lines) -> Option<u32> {
    let list = values(fields, "keep-alive").join(&b","[..]).to_ascii_lowercase();
    let text = String::from_utf8_lossy(&list).into_owned();
    let is_ows = |char| char == ' ' || char == '\t';
    let timeouts = text.split(',').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim_matches(is_ows);
        let is_number = name.trim_matches(is_ows) == "timeout" && value.chars().all(|char| char.is_ascii_digit());
        let secs: u64 = is_number.then(|| value.parse().ok())??;
        Some(u32::try_from(secs).unwrap_or(u32::MAX))
    });
    timeouts.min()
}
