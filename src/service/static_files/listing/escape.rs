//! Names are any bytes: how they are written where only some bytes may stand.

use std::fmt;
use std::io::Write;

/// Appends formatted text.
pub(in super::super) fn append(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a Vec cannot fail");
}

/// Appends `bytes` as HTML text. What is not UTF-8 is shown as U+FFFD, and what could not be seen, or would make the
/// rest look like something else, as a mark: a name with a line end must not pass for two names.
pub(in super::super) fn append_text(out: &mut Vec<u8>, bytes: &[u8]) {
    append_shortened(out, bytes, usize::MAX);
}

/// The same with an ellipsis in place of what does not fit into `html_bytes_max` bytes of HTML; the last character may
/// reach a few bytes beyond them.
pub(in super::super) fn append_shortened(out: &mut Vec<u8>, bytes: &[u8], html_bytes_max: usize) {
    let end = out.len().saturating_add(html_bytes_max);
    for chunk in bytes.utf8_chunks() {
        let invalid = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        for character in chunk.valid().chars().chain(invalid) {
            if out.len() >= end {
                return append_raw(out, '…');
            }
            append_character(out, character);
        }
    }
}

fn append_character(out: &mut Vec<u8>, character: char) {
    match character {
        '&' => out.extend_from_slice(b"&amp;"),
        '<' => out.extend_from_slice(b"&lt;"),
        '>' => out.extend_from_slice(b"&gt;"),
        '"' => out.extend_from_slice(b"&quot;"),
        '\'' => out.extend_from_slice(b"&#39;"),
        '\0'..='\x1f' | '\x7f' => append_raw(out, control_picture(character)),
        _ if is_unseen(character) => append(out, format_args!("[U+{:04X}]", u32::from(character))),
        _ => append_raw(out, character),
    }
}

fn append_raw(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The picture that Unicode has for an ASCII control character: `␊` for a line feed.
fn control_picture(control: char) -> char {
    let offset = if control == '\x7f' { 0x21 } else { u32::from(control) };
    char::from_u32(0x2400 + offset).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// C1 controls, line and paragraph separators, and what turns the direction of the text that follows: with the latter
/// `gpj.exe` can be made to look like `exe.jpg`.
fn is_unseen(character: char) -> bool {
    matches!(character, '\u{80}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends a relative reference to a member of this folder (RFC 3986 §4.2): percent-encoded but for unreserved bytes
/// (§2.3), so that it can stand in an attribute or a JSON string as it is. `./` keeps every name a path.
pub(super) fn append_href(out: &mut Vec<u8>, name: &[u8], is_directory: bool) {
    out.extend_from_slice(b"./");
    for &byte in name {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ => out.extend_from_slice(&[b'%', hex_digit(byte >> 4), hex_digit(byte & 15)]),
        }
    }
    if is_directory {
        out.push(b'/');
    }
}

/// Upper case, as RFC 3986 §2.1 recommends.
fn hex_digit(value: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(value)]
}

/// Appends `bytes` as a JSON string (RFC 8259 §7); what is not UTF-8 becomes U+FFFD.
pub(super) fn append_json(out: &mut Vec<u8>, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    serde_json::to_writer(out, &text).expect("a string can be written to a Vec");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        append_text(&mut out, bytes);
        String::from_utf8(out).expect("pages are UTF-8")
    }

    fn href(name: &[u8], is_directory: bool) -> String {
        let mut out = Vec::new();
        append_href(&mut out, name, is_directory);
        String::from_utf8(out).expect("references are ASCII")
    }

    #[test]
    fn what_means_something_in_html_is_text() {
        assert_eq!(text(b"<b a=\"1\" c='2'>&amp;"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
        assert_eq!(text("Grüße, 世界.txt".as_bytes()), "Grüße, 世界.txt");
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        assert_eq!(text(b"a\nb\tc\x7f\0"), "a␊b␉c␡␀");
        assert_eq!(text(b"a\xff\xfeb\xc3"), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(text("a\u{85}\u{202e}gpj.exe\u{2028}".as_bytes()), "a[U+0085][U+202E]gpj.exe[U+2028]");
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis() {
        let shortened = |bytes: &[u8], html_bytes_max| {
            let mut out = b"before ".to_vec();
            append_shortened(&mut out, bytes, html_bytes_max);
            String::from_utf8(out).expect("pages are UTF-8")
        };
        assert_eq!(shortened(b"abc", 3), "before abc");
        assert_eq!(shortened(b"abcd", 3), "before abc…");
        assert_eq!(shortened("äöü".as_bytes(), 3), "before äö…");
        assert_eq!(shortened(b"\"\"\"", 7), "before &quot;&quot;…");
        assert_eq!(shortened(b"\xff\xff\xff", 4), "before \u{fffd}\u{fffd}…");
    }

    #[test]
    fn references_lead_to_the_name_whatever_is_in_it() {
        assert_eq!(href(b"a b?c#d%e\"f'g&h", false), "./a%20b%3Fc%23d%25e%22f%27g%26h");
        assert_eq!(href(b"javascript:alert(1)", false), "./javascript%3Aalert%281%29");
        assert_eq!(href(b"//host", true), "./%2F%2Fhost/");
        assert_eq!(href(b"\xff\n~-._", true), "./%FF%0A~-._/");
    }
}
