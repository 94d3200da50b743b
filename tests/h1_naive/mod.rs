//! A reader of HTTP/1 requests that is slow, sees all of the input at once, and is simple enough to be believed.

use std::net::Ipv6Addr;

use tidemill::base::limits::Limits;

pub type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// What the input says, apart from the reasons for refusing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Head {
        method: Vec<u8>,
        target: Vec<u8>,
        fields: Lines,
        content: Framing,
    },
    Content(Vec<u8>),
    End(Lines),
    /// Refused, or cut off inside a request.
    Rejected,
    /// The connection does not persist.
    Close,
    /// The end of the input, between two requests.
    EndOfInput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Nothing,
    Length(u64),
    Chunked,
}

/// Everything that `input` says.
pub fn read(input: &[u8], limits: &Limits) -> Vec<Said> {
    let mut said = Vec::new();
    let mut rest = input;
    let last = loop {
        match read_request(rest, limits, &mut said) {
            Some(Next::Request(behind)) => rest = behind,
            Some(Next::Nothing(last)) => break last,
            None => break Said::Rejected,
        }
    };
    said.push(last);
    said
}

enum Next<'a> {
    Request(&'a [u8]),
    Nothing(Said),
}

fn read_request<'a>(mut input: &'a [u8], limits: &Limits, said: &mut Vec<Said>) -> Option<Next<'a>> {
    let mut empty_lines = 0;
    while let Some(rest) = input.strip_prefix(b"\r\n") {
        empty_lines += 1;
        input = rest;
    }
    if empty_lines > 4 {
        return None;
    }
    if input.is_empty() {
        return Some(Next::Nothing(Said::EndOfInput));
    }
    let end = find(input, b"\r\n\r\n")?;
    if end + 4 > limits.head_bytes_max {
        return None;
    }
    let lines = split(&input[..end]);
    let [method, target, version] = request_line(lines[0], limits)?;
    let minor = version.strip_prefix(b"HTTP/1.")?;
    if minor.len() != 1 || !minor[0].is_ascii_digit() {
        return None;
    }
    let old = minor == b"0";
    let fields = field_lines(&lines[1..], limits)?;
    check_host(&fields, old)?;
    check_expectations(&fields, old)?;
    let mut content = framing(&fields, old)?;
    if method == b"CONNECT" {
        content = Framing::Nothing;
    }
    said.push(Said::Head { method: method.to_vec(), target: target.to_vec(), fields: fields.clone(), content });
    let behind = read_content(&input[end + 4..], content, limits, said)?;
    if method == b"CONNECT" || !persists(&fields, old) {
        return Some(Next::Nothing(Said::Close));
    }
    Some(Next::Request(behind))
}

fn read_content<'a>(input: &'a [u8], framing: Framing, limits: &Limits, said: &mut Vec<Said>) -> Option<&'a [u8]> {
    match framing {
        Framing::Nothing => {
            said.push(Said::End(Lines::new()));
            Some(input)
        }
        Framing::Length(length) => {
            let there = (input.len() as u64).min(length) as usize;
            say_content(said, &input[..there]);
            if (there as u64) < length {
                return None;
            }
            said.push(Said::End(Lines::new()));
            Some(&input[there..])
        }
        Framing::Chunked => {
            let mut content = Vec::new();
            let result = read_chunks(input, limits, &mut content);
            say_content(said, &content);
            let (trailers, behind) = result?;
            said.push(Said::End(trailers));
            Some(behind)
        }
    }
}

fn say_content(said: &mut Vec<Said>, content: &[u8]) {
    if !content.is_empty() {
        said.push(Said::Content(content.to_vec()));
    }
}

pub fn read_chunks<'a>(mut input: &'a [u8], limits: &Limits, content: &mut Vec<u8>) -> Option<(Lines, &'a [u8])> {
    loop {
        let end = find(input, b"\r\n")?;
        let line = &input[..end];
        input = &input[end + 2..];
        let size = chunk_size(line)?;
        if size == 0 {
            return read_trailers(input, limits);
        }
        let there = (input.len() as u64).min(size) as usize;
        content.extend_from_slice(&input[..there]);
        input = input[there..].strip_prefix(b"\r\n").filter(|_| there as u64 == size)?;
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    if line.len() + 2 > 1024 || line.iter().any(|byte| is_control(*byte)) {
        return None;
    }
    let text: String = line.iter().map(|byte| char::from(*byte)).collect();
    let size = match text.split_once(';') {
        Some((size, _)) => size.trim_end_matches([' ', '\t']),
        None => &text[..],
    };
    let digits = size.chars().all(|char| char.is_ascii_hexdigit());
    (digits && !size.is_empty() && size.len() <= 16).then(|| u64::from_str_radix(size, 16).ok())?
}

fn read_trailers<'a>(input: &'a [u8], limits: &Limits) -> Option<(Lines, &'a [u8])> {
    if let Some(behind) = input.strip_prefix(b"\r\n") {
        return Some((Lines::new(), behind));
    }
    let end = find(input, b"\r\n\r\n")?;
    if end + 4 > limits.head_bytes_max {
        return None;
    }
    Some((field_lines(&split(&input[..end]), limits)?, &input[end + 4..]))
}

fn request_line<'a>(line: &'a [u8], limits: &Limits) -> Option<[&'a [u8]; 3]> {
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else { return None };
    let good_method = is_token(method) && method.len() <= 32;
    let good_target = !target.is_empty()
        && target.len() <= limits.target_bytes_max
        && target.iter().all(|byte| *byte > b' ' && *byte != 0x7f && *byte != b'#')
        && is_target(method, target);
    (good_method && good_target).then_some([method, target, version])
}

fn is_target(method: &[u8], target: &[u8]) -> bool {
    if method == b"CONNECT" {
        return split_host(target).is_some_and(|(host, port)| !host.is_empty() && port.is_some_and(|p| !p.is_empty()));
    }
    if target[0] == b'/' || method == b"OPTIONS" && target == b"*" {
        return true;
    }
    let lower = target.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix(b"http://").or_else(|| lower.strip_prefix(b"https://")) else { return false };
    let authority = rest.split(|byte| *byte == b'/' || *byte == b'?').next().unwrap_or_default();
    split_host(authority).is_some_and(|(host, _)| !host.is_empty())
}

pub fn field_lines(lines: &[&[u8]], limits: &Limits) -> Option<Lines> {
    if lines.len() > limits.fields_max {
        return None;
    }
    lines.iter().map(|line| field_line(line)).collect()
}

fn field_line(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let good = is_token(name) && !value.iter().any(|byte| is_control(*byte));
    let is_ows = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_ows(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_ows(byte)).map_or(start, |last| last + 1);
    good.then(|| (name.to_vec(), value[start..end].to_vec()))
}

pub fn values<'a>(fields: &'a Lines, name: &str) -> Vec<&'a [u8]> {
    let same = fields.iter().filter(|(other, _)| other.to_ascii_lowercase() == name.as_bytes());
    same.map(|(_, value)| &value[..]).collect()
}

fn check_host(fields: &Lines, old: bool) -> Option<()> {
    match values(fields, "host")[..] {
        [] => old.then_some(()),
        [host] => split_host(host).map(|_| ()),
        _ => None,
    }
}

fn check_expectations(fields: &Lines, old: bool) -> Option<()> {
    let mut expectations = values(fields, "expect").into_iter();
    (old || expectations.all(|value| value.eq_ignore_ascii_case(b"100-continue"))).then_some(())
}

fn framing(fields: &Lines, old: bool) -> Option<Framing> {
    match (&values(fields, "transfer-encoding")[..], &values(fields, "content-length")[..]) {
        ([], []) => Some(Framing::Nothing),
        ([coding], []) if !old && coding.eq_ignore_ascii_case(b"chunked") => Some(Framing::Chunked),
        ([], [length]) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(length).ok()?.parse().ok()?;
            Some(if length == 0 { Framing::Nothing } else { Framing::Length(length) })
        }
        _ => None,
    }
}

pub fn persists(fields: &Lines, old: bool) -> bool {
    let list = values(fields, "connection").join(&b","[..]).to_ascii_lowercase();
    let has = |option: &[u8]| list.split(|byte| *byte == b',').any(|member| member.trim_ascii() == option);
    !has(b"close") && (!old || has(b"keep-alive"))
}

/// Host and port.
fn split_host(value: &[u8]) -> Option<(&str, Option<&str>)> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii())?;
    let colon = text.rfind(':').filter(|colon| !text[*colon..].contains(']'));
    let (host, port) = colon.map_or((text, None), |colon| (&text[..colon], Some(&text[colon + 1..])));
    let good_port = port.is_none_or(|port| {
        let significant = port.trim_start_matches('0');
        port.chars().all(|char| char.is_ascii_digit()) && (significant.is_empty() || significant.parse::<u16>().is_ok())
    });
    (good_port && is_host(host)).then_some((host, port))
}

fn is_host(host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return literal.parse::<Ipv6Addr>().is_ok() || is_future(literal);
    }
    let mut parts = host.split('%');
    let first = parts.next().unwrap_or_default();
    let encoded = |part: &str| part.len() >= 2 && part.is_char_boundary(2) && is_hex(&part[..2]) && is_name(&part[2..]);
    is_name(first) && parts.all(encoded)
}

fn is_future(literal: &str) -> bool {
    let Some((version, address)) = literal.split_once('.') else { return false };
    let version = version.strip_prefix(['v', 'V']).unwrap_or_default();
    !version.is_empty() && is_hex(version) && !address.is_empty() && is_name(&address.replace(':', ""))
}

fn is_hex(text: &str) -> bool {
    text.chars().all(|char| char.is_ascii_hexdigit())
}

fn is_name(text: &str) -> bool {
    text.chars().all(|char| char.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(char))
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

pub fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

/// Lines without their CRLF.
pub fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(end) = find(rest, b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    lines
}

pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
