//! Identifiers of requests: one word that the client gets with the response and that stands in the access log, too.

use std::io::Write;

use super::request_record::RequestRecord;
use crate::http::fields::{FieldName, Fields};

/// The longest identifier, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// How requests get their identifiers.
#[derive(Debug, Clone)]
pub struct RequestIds {
    field: FieldName,
    /// With this all identifiers begin that are made here.
    start: Box<str>,
}

impl RequestIds {
    /// Identifiers travel in this `field`. Those that are made here begin with `start`, which should be another one in each
    /// run of the server: it is short, and of letters and digits.
    pub fn new(field: FieldName, start: &str) -> RequestIds {
        debug_assert!(is_id(start.as_bytes()) && start.len() <= ID_BYTES_MAX / 2);
        RequestIds { field, start: start.into() }
    }

    /// Identifiers that are made here begin as those of `last` do: it is the same run.
    pub fn go_on_from(&mut self, last: &RequestIds) {
        self.start.clone_from(&last.start);
    }

    /// The field that they travel in.
    pub fn field(&self) -> &FieldName {
        &self.field
    }

    /// With what the identifiers begin that are made here.
    pub fn start(&self) -> &str {
        &self.start
    }

    /// Notes an identifier in the record of a request on this `connection`: the one that is `given` in the fields of the
    /// request, or a new one, from which the connection and the request can be read.
    ///
    /// `given` must come from somebody who is trusted: whoever chooses identifiers can make two requests look like one.
    pub fn name_request(&self, record: &mut RequestRecord, connection: u64, given: Option<Fields<'_>>) {
        if let Some(id) = given.and_then(|fields| self.accepted(fields)) {
            return record.set_id(|text| text.extend_from_slice(id));
        }
        let (letter, number) = match record.stream {
            0 => ('r', record.ordinal),
            stream => ('s', stream.into()),
        };
        record.set_id(|text| {
            write!(text, "{}-c{connection}-{letter}{number}", self.start).expect("writing to a Vec cannot fail");
        });
    }

    /// The identifier in these fields, if there is exactly one that can be passed on as it is.
    fn accepted<'a>(&self, fields: Fields<'a>) -> Option<&'a [u8]> {
        let mut lines = fields.all(self.field.as_str());
        let only = lines.next().filter(|id| is_id(id));
        only.filter(|_| lines.next().is_none())
    }
}

/// Whether it can stand as it is in a field, in a line of any log, and on a terminal. That is so for UUIDs, for base64 and for
/// the identifiers of the usual proxies.
fn is_id(text: &[u8]) -> bool {
    let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:/+=@".contains(byte);
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.iter().all(is_safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::moment::Moment;
    use crate::http::fields::FieldSpan;

    /// The identifier of the fourth request on connection 17 that comes with these lines of the field.
    fn id_of(lines: &[&[u8]]) -> String {
        let (mut section, mut spans) = (Vec::new(), Vec::new());
        for value in lines {
            let name_start = section.len() as u32;
            section.extend_from_slice(b"x-ID: ");
            let value_start = section.len() as u32;
            section.extend_from_slice(value);
            spans.push(FieldSpan { name_start, name_len: 4, value_start, value_len: value.len() as u32 });
        }
        let mut record = RequestRecord::new(Moment::default());
        record.ordinal = 4;
        record.set_texts(b"/a", b"r", b"u");
        let ids = RequestIds::new(FieldName::from_static("X-Id"), "ab12");
        ids.name_request(&mut record, 17, Some(Fields::new(&section, &spans)));
        assert_eq!((record.target(), record.referer(), record.user_agent()), (&b"/a"[..], &b"r"[..], &b"u"[..]));
        String::from_utf8(record.id().to_vec()).unwrap()
    }

    #[test]
    fn an_identifier_that_can_be_passed_on_is_kept() {
        for id in [
            "a",
            "7b1c2f4e-0d3a-4c9b-8f51-2f2a3c4d5e6f",
            "Root=1-67891233-abcdef012345678912345678",
            "YWJj/+==",
            "a.b_c~d:e@f",
        ] {
            assert_eq!(id_of(&[id.as_bytes()]), id);
        }
        assert_eq!(id_of(&[&[b'a'; ID_BYTES_MAX]]).len(), ID_BYTES_MAX);
    }

    #[test]
    fn any_other_is_replaced() {
        let too_long = [b'a'; ID_BYTES_MAX + 1];
        let huge = vec![b'a'; 1 << 20];
        for id in [&b""[..], b"a b", b"a,b", b"a\"", b"a\r\nB: c", b"a\0", b"\x1b[31m", "ä".as_bytes(), b"a;b", b"a%0a"]
        {
            assert_eq!(id_of(&[id]), "ab12-c17-r4", "{}", id.escape_ascii());
        }
        assert_eq!((id_of(&[&too_long]), id_of(&[&huge])), ("ab12-c17-r4".into(), "ab12-c17-r4".into()));
        assert_eq!((id_of(&[]), id_of(&[b"a", b"a"])), ("ab12-c17-r4".into(), "ab12-c17-r4".into()));
        for byte in 0..=u8::MAX {
            let id = id_of(&[&[b'a', byte]]);
            assert!(id == "ab12-c17-r4" || byte.is_ascii_graphic(), "{byte:#04x}");
        }
    }

    #[test]
    fn a_stream_is_told_from_a_request() {
        let mut record = RequestRecord::new(Moment::default());
        (record.ordinal, record.stream) = (2, 5);
        RequestIds::new(FieldName::from_static("X-Id"), "ab12").name_request(&mut record, u64::MAX, None);
        assert_eq!(record.id(), b"ab12-c18446744073709551615-s5");
    }
}
