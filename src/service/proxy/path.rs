//! The path of a request as it is matched and sent on.
//!
//! A path is normalised once (RFC 3986 §6.2.2). Routes are looked up by the result, and the result is what the upstream
//! gets: what was checked is what is sent. So no other spelling of a path leads past a route.
//!
//! - Escaped unreserved characters are decoded, and the digits of all other escapes are upper case.
//! - The segments `.` and `..` are removed, escaped ones too. `..` at the root removes nothing (§5.2.4).
//! - Bytes that a path must not have, such as `"` or those of raw UTF-8, are escaped: they mean the same.
//! - Two slashes stay two: to some applications the segment between them is one like any other.
//! - `%2F` stays as it is, because it separates no segments (§2.2): `/a%2Fb` names one thing, as package registries and
//!   object stores use it, and `/a/b` another.
//!
//! Some paths are refused, because upstreams are known to disagree about them: a `%` that begins no escape, a backslash,
//! an escaped control character, and `..` between escaped slashes or in front of a `;`.

use std::borrow::Cow;

use crate::http::message::RequestHead;
use crate::http::method::Method;
use crate::http::target::{TargetForm, hex_digit};

/// A normalised path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalPath<'a> {
    bytes: Cow<'a, [u8]>,
    defect: Option<&'static str>,
}

impl<'a> NormalPath<'a> {
    /// The path of a request. `*` for `OPTIONS *`, which asks about the server as a whole, and empty for CONNECT to
    /// host:port.
    pub fn of_request(request: &RequestHead<'a>) -> NormalPath<'a> {
        let target = &request.target;
        // RFC 9112 §3.2.4: OPTIONS for a URI without path and query is `OPTIONS *` to the origin server.
        let has_no_path = target.form == TargetForm::Absolute
            && target.query.is_none()
            && target.authority.is_some_and(|authority| target.raw.ends_with(authority));
        match has_no_path && request.method == Method::Options {
            true => NormalPath { bytes: Cow::Borrowed(b"*"), defect: None },
            false => NormalPath::new(target.path),
        }
    }

    /// This `path`, normalised; borrowed if nothing in it has to be looked at closely. What does not begin with a slash stays
    /// as it is.
    pub fn new(path: &'a [u8]) -> NormalPath<'a> {
        if is_normal(path) {
            return NormalPath { bytes: Cow::Borrowed(path), defect: None };
        }
        let (bytes, defect) = normalise(path);
        NormalPath { bytes: Cow::Owned(bytes), defect }
    }

    /// Its bytes. If it has a defect, they only serve to find the route whose business the path is.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Why the path is not sent to an upstream, if it is not.
    pub fn defect(&self) -> Option<&'static str> {
        self.defect
    }
}

const INVALID_ESCAPE: &str = "a % in the path is not followed by two hexadecimal digits (RFC 3986 §2.1)";
const BACKSLASH: &str = "the path has a backslash, which some take for a slash";
const CONTROL: &str = "the path has an escaped control character";
const HIDDEN_DOTS: &str = "the path has .. between escaped slashes or before a semicolon";

/// Whether `path` stays as it is. Nearly every path does.
fn is_normal(path: &[u8]) -> bool {
    let mut before = b'/';
    if path.first() != Some(&b'/') {
        return true;
    }
    path.iter().all(|byte| {
        let is_plain = PATH_BYTE[usize::from(*byte)] && !(*byte == b'.' && before == b'/');
        before = *byte;
        is_plain
    })
}

/// Whether nobody can take `path` for another one: it is normal, it has no escape, and each slash in it is followed by a name or
/// ends it. Nearly every path is so.
#[inline]
pub fn is_plain(path: &[u8]) -> bool {
    /// What may stand behind a slash, and what elsewhere: bits of the classes of bytes.
    const NAME: u8 = 1;
    const DOT: u8 = 2;
    const SLASH: u8 = 4;
    const CLASS: [u8; 256] = {
        let mut class = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            class[byte] = match byte as u8 {
                b'/' => SLASH,
                b'.' => DOT,
                b'%' => 0,
                _ if PATH_BYTE[byte] => NAME,
                _ => 0,
            };
            byte += 1;
        }
        class
    };
    let Some((b'/', rest)) = path.split_first() else { return false };
    let mut allowed = NAME;
    for byte in rest {
        let class = CLASS[usize::from(*byte)];
        if class & allowed == 0 {
            return false;
        }
        allowed = if class == SLASH { NAME } else { NAME | DOT | SLASH };
    }
    true
}

fn normalise(path: &[u8]) -> (Vec<u8>, Option<&'static str>) {
    let mut out = Vec::with_capacity(path.len() + 16);
    let mut defect = None;
    let mut segments = path[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let start = out.len();
        out.push(b'/');
        let found = push_segment(&mut out, segment);
        let parent = match &out[start + 1..] {
            b"." => Some(start),
            b".." => Some(out[..start].iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            segment => {
                defect = defect.or(found).or_else(|| hides_dots(segment).then_some(HIDDEN_DOTS));
                None
            }
        };
        if let Some(parent) = parent {
            out.truncate(parent);
            // A dot segment at the end names a folder: `/a/..` is `/`, and `/a/.` is `/a/`.
            if segments.peek().is_none() {
                out.push(b'/');
            }
        }
    }
    (out, defect)
}

/// Adds a segment, and says what is wrong with it.
fn push_segment(out: &mut Vec<u8>, mut segment: &[u8]) -> Option<&'static str> {
    let mut defect = None;
    while let [byte, rest @ ..] = segment {
        segment = rest;
        if *byte != b'%' {
            match PATH_BYTE[usize::from(*byte)] {
                true => out.push(*byte),
                false => push_escape(out, *byte),
            }
            if *byte == b'\\' {
                defect = Some(BACKSLASH);
            }
            continue;
        }
        match escaped(rest) {
            Some(value) if is_unreserved(value) => out.push(value),
            Some(value) => {
                push_escape(out, value);
                if value.is_ascii_control() {
                    defect = Some(CONTROL);
                }
            }
            None => {
                out.push(b'%');
                defect = Some(INVALID_ESCAPE);
                continue;
            }
        }
        segment = &rest[2..];
    }
    defect
}

/// The byte that the two digits behind a `%` stand for.
fn escaped(behind: &[u8]) -> Option<u8> {
    let [high, low, ..] = behind else { return None };
    Some(hex_digit(*high)? << 4 | hex_digit(*low)?)
}

/// Adds `byte` as `%XX`.
pub(super) fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// Whether a normalised segment becomes `..` for an upstream that decodes `%2F` or `%5C` before it looks for dot segments,
/// or that cuts off what stands behind a `;`, escaped or not.
fn hides_dots(segment: &[u8]) -> bool {
    let mut rest = segment;
    while !rest.is_empty() {
        let end = rest.windows(3).position(|escape| escape == b"%2F" || escape == b"%5C");
        let piece = &rest[..end.unwrap_or(rest.len())];
        if piece == b".." || piece.starts_with(b"..;") || piece.starts_with(b"..%3B") {
            return true;
        }
        rest = end.map_or(b"", |end| &rest[end + 3..]);
    }
    false
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// What may stand in a path without an escape: unreserved / sub-delims / ":" / "@" / "/" (RFC 3986 §3.3).
static PATH_BYTE: [bool; 256] = {
    let (mut set, mut byte) = ([false; 256], 0);
    while byte < 256 {
        set[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let (marks, mut at) = (b"-._~!$&'()*+,;=:@/", 0);
    while at < marks.len() {
        set[marks[at] as usize] = true;
        at += 1;
    }
    set
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(path: &str) -> String {
        let path = NormalPath::new(path.as_bytes());
        assert_eq!(path.defect(), None);
        String::from_utf8(path.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_path_that_is_normal_is_borrowed() {
        for path in ["/", "/a/b.c/d../e...", "//a//", "/a;b=c,d@e:f", "*", "", "/~a/'(b)'*!$&+"] {
            assert!(matches!(NormalPath::new(path.as_bytes()).bytes, Cow::Borrowed(_)), "{path}");
        }
    }

    #[test]
    fn escapes_dots_and_odd_bytes_have_one_spelling() {
        for (path, expected) in [
            ("/%61%7E%2d%5F%2E5", "/a~-_.5"),
            ("/%c3%bc%2f%2B%25", "/%C3%BC%2F%2B%25"),
            ("/%2541", "/%2541"),
            ("/ü\"<>^`{|}", "/%C3%BC%22%3C%3E%5E%60%7B%7C%7D"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e/b/%2E./c", "/a/c"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/.", "/"),
            ("/./", "/"),
            ("/a//../b", "/a/b"),
            ("/.//b", "//b"),
            ("/a%2Fb/..", "/"),
            ("/.a/..b/...", "/.a/..b/..."),
            ("/.a;..%2E", "/.a;..."),
            ("/%2e%2e", "/"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
    }

    #[test]
    fn what_upstreams_disagree_about_is_a_defect() {
        for (path, defect) in [
            ("/%", INVALID_ESCAPE),
            ("/a%4", INVALID_ESCAPE),
            ("/%zz", INVALID_ESCAPE),
            ("/a/%%41", INVALID_ESCAPE),
            ("/a\\b", BACKSLASH),
            ("/%00", CONTROL),
            ("/a%0d%0Ab", CONTROL),
            ("/%7f", CONTROL),
            ("/..%2f", HIDDEN_DOTS),
            ("/a%2F..", HIDDEN_DOTS),
            ("/a%2F%2e%2E%5cb", HIDDEN_DOTS),
            ("/a/..;/b", HIDDEN_DOTS),
            ("/a/.%2e;x=y/b", HIDDEN_DOTS),
            ("/a%5C..;", HIDDEN_DOTS),
            ("/..%3bx", HIDDEN_DOTS),
        ] {
            assert_eq!(NormalPath::new(path.as_bytes()).defect(), Some(defect), "{path}");
        }
        for fine in ["/a%5Cb", "/a%2Fb", "/%2F", "/...%2F", "/a..%2F", "/..a;/b", "/a;../b", "/%2e;a", "/%E2%80%AE"] {
            assert_eq!(NormalPath::new(fine.as_bytes()).defect(), None, "{fine}");
        }
    }

    /// RFC 3986 §5.2.4, by its letters, over text.
    fn without_dot_segments(path: &str) -> String {
        let (mut input, mut output) = (path.to_owned(), String::new());
        while !input.is_empty() {
            if input.starts_with("/./") || input == "/." {
                input = format!("/{}", input.get(3..).unwrap_or_default());
            } else if input.starts_with("/../") || input == "/.." {
                input = format!("/{}", input.get(4..).unwrap_or_default());
                output.truncate(output.rfind('/').unwrap_or(0));
            } else {
                let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
                output.push_str(&input[..end]);
                input.drain(..end);
            }
        }
        output
    }

    proptest! {
        #[test]
        fn dot_segments_go_as_the_standard_says(path in r"(/|/\.|/\.\.|/a|/b\.|\.|//){1,12}") {
            prop_assume!(path.starts_with('/'));
            prop_assert_eq!(normal(&path), without_dot_segments(&path));
        }

        /// Whatever came in: it is a valid path, it has no dot segment, and it is not changed a second time.
        #[test]
        fn a_normal_path_is_valid_and_stays(path in r#"/([a-zA-Z0-9.~/]|%[0-9a-fA-F]{2}|%2[eEfF]|[\\;"é%]|\.\./){0,20}"#) {
            let once = NormalPath::new(path.as_bytes());
            let bytes = once.as_bytes();
            prop_assert_eq!(bytes[0], b'/');
            if once.defect().is_none() {
                prop_assert_eq!(NormalPath::new(bytes), NormalPath { bytes: Cow::Borrowed(bytes), defect: None });
                prop_assert!(!bytes.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b"..")));
                let decoded = crate::http::target::percent_decode(bytes).expect("its escapes are valid");
                prop_assert!(!decoded.iter().any(u8::is_ascii_control));
            }
            for (at, byte) in bytes.iter().enumerate() {
                let is_escape = *byte == b'%' && (escaped(&bytes[at + 1..]).is_some() || once.defect().is_some());
                prop_assert!(PATH_BYTE[usize::from(*byte)] || is_escape);
            }
        }
    }
}
