//! The fields of a received section, as HPACK gives them, and the rules that they must keep (RFC 9113 §8.2).

use crate::http::fields::{FieldSpan, Fields, is_field_value_byte, is_tchar};
use crate::http::status::Status;
use crate::protocol::ProtocolError;

/// What each field counts for in the size of a list besides its name and its value, in bytes (RFC 9113 §6.5.2,
/// RFC 7541 §4.1).
pub const FIELD_OVERHEAD_BYTES: usize = 32;

/// How large a list of received fields may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLimits {
    /// The size as SETTINGS_MAX_HEADER_LIST_SIZE counts it: names, values, and 32 bytes for each field (RFC 9113 §6.5.2).
    pub bytes_max: usize,
    /// Fields, pseudo-fields and each crumb of a cookie among them.
    pub fields_max: usize,
}

/// The fields of one section, in the order they arrived. Pseudo-fields are among them.
///
/// Names and values stand in one buffer, which is used again for the next section. All connections of a loop share it.
#[derive(Debug, Default)]
pub struct FieldList {
    pub(super) bytes: Vec<u8>,
    spans: Vec<FieldSpan>,
    /// Which fields were found to keep the rules when they came before.
    are_right: Vec<bool>,
    size: usize,
}

impl FieldList {
    /// Removes everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.are_right.clear();
        self.size = 0;
    }

    /// How many bytes a further field may count for under `limits`, its overhead included; 0 if there may be no further
    /// field.
    pub(super) fn room(&self, limits: ListLimits) -> usize {
        if self.spans.len() < limits.fields_max { limits.bytes_max.saturating_sub(self.size) } else { 0 }
    }

    /// Adds the field whose name and value are the last bytes of the buffer. `is_right`: it was found to keep the rules.
    pub(super) fn push_last(&mut self, name_len: usize, value_len: usize, is_right: bool) {
        self.are_right.push(is_right);
        let value_start = self.bytes.len() - value_len;
        self.spans.push(FieldSpan {
            name_start: (value_start - name_len) as u32,
            name_len: name_len as u32,
            value_start: value_start as u32,
            value_len: value_len as u32,
        });
        self.size += name_len + value_len + FIELD_OVERHEAD_BYTES;
    }

    /// Joins the crumbs of a cookie to one field, which stands where the first one stood (RFC 9113 §8.2.3).
    pub fn join_cookies(&mut self) {
        let is_cookie = |bytes: &[u8], span: &FieldSpan| &bytes[range(span.name_start, span.name_len)] == b"cookie";
        let Some(first) = self.spans.iter().position(|span| is_cookie(&self.bytes, span)) else { return };
        let is_crumb = |bytes: &[u8], index: usize, span: &FieldSpan| index > first && is_cookie(bytes, span);
        if !self.spans.iter().enumerate().any(|(index, span)| is_crumb(&self.bytes, index, span)) {
            return;
        }
        let joined_start = self.bytes.len();
        self.bytes.extend_from_within(range(self.spans[first].value_start, self.spans[first].value_len));
        let mut index = 0;
        self.spans.retain(|span| {
            let goes = is_crumb(&self.bytes, index, span);
            if goes {
                self.bytes.extend_from_slice(b"; ");
                self.bytes.extend_from_within(range(span.value_start, span.value_len));
            }
            index += 1;
            !goes
        });
        self.spans[first].value_start = joined_start as u32;
        self.spans[first].value_len = (self.bytes.len() - joined_start) as u32;
    }

    /// Checks names and values, but for those that were checked when they came before. It must be asked before cookies are
    /// joined.
    ///
    /// # Errors
    /// As `check_field`.
    pub fn check(&self) -> Result<(), ProtocolError> {
        let unchecked = self.fields(0).iter().zip(&self.are_right).filter(|(_, is_right)| !**is_right);
        unchecked.map(|(field, _)| field).try_for_each(|(name, value)| check_field(name, value))
    }

    /// All fields but the first `pseudo_fields`.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn fields(&self, pseudo_fields: usize) -> Fields<'_> {
        Fields::new(&self.bytes, &self.spans[pseudo_fields..])
    }

    /// The size as SETTINGS_MAX_HEADER_LIST_SIZE counts it, in bytes. Joined cookies count as they arrived.
    pub fn size(&self) -> usize {
        self.size
    }
}

fn range(start: u32, len: u32) -> std::ops::Range<usize> {
    start as usize..(start + len) as usize
}

/// A request that breaks this rule is malformed: a stream error (RFC 9113 §8.1.1).
const fn malformed(reason: &'static str) -> ProtocolError {
    ProtocolError { status: Status::BAD_REQUEST, reason, section: "RFC 9113 §8.2.1" }
}

/// Checks name and value of a field. The name of a pseudo-field is not checked here.
///
/// # Errors
/// As `check_name` and `check_value`.
pub fn check_field(name: &[u8], value: &[u8]) -> Result<(), ProtocolError> {
    check_value(value)?;
    if name.first() == Some(&b':') { Ok(()) } else { check_name(name) }
}

/// Checks the name of a field that is no pseudo-field: a token without upper-case letters (RFC 9113 §8.2, §8.2.1). A colon
/// is therefore wrong everywhere.
///
/// # Errors
/// With the status 400 and what is wrong.
pub fn check_name(name: &[u8]) -> Result<(), ProtocolError> {
    if name.iter().any(u8::is_ascii_uppercase) {
        return Err(malformed("a field name has an upper-case letter"));
    }
    let is_token = !name.is_empty() && name.iter().copied().all(is_tchar);
    if is_token { Ok(()) } else { Err(malformed("a field name is not a token")) }
}

/// Checks the value of a field or pseudo-field: no whitespace around it, and no control byte but tab in it. §8.2.1 demands
/// that NUL, CR and LF are refused; RFC 9110 §5.5 forbids the others, and HTTP/1 does not take them here either.
///
/// # Errors
/// With the status 400 and what is wrong.
pub fn check_value(value: &[u8]) -> Result<(), ProtocolError> {
    if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = value {
        return Err(malformed("a field value begins or ends with whitespace"));
    }
    let is_value = value.iter().copied().all(is_field_value_byte);
    if is_value { Ok(()) } else { Err(malformed("a field value has a control character")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(fields: &[(&str, &str)]) -> FieldList {
        let mut list = FieldList::default();
        for (name, value) in fields {
            list.bytes.extend_from_slice(name.as_bytes());
            list.bytes.extend_from_slice(value.as_bytes());
            list.push_last(name.len(), value.len(), false);
        }
        list
    }

    fn pairs(list: &FieldList, pseudo_fields: usize) -> Vec<(&str, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        list.fields(pseudo_fields).iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn crumbs_of_a_cookie_are_joined_where_the_first_stood() {
        let mut crumbs = list(&[(":path", "/"), ("cookie", "a=1"), ("x", "2"), ("cookie", ""), ("cookie", "b=3")]);
        let size = crumbs.size();
        crumbs.join_cookies();
        assert_eq!(pairs(&crumbs, 1), [("cookie", "a=1; ; b=3"), ("x", "2")]);
        assert_eq!(crumbs.size(), size, "what arrived is what counts");
        crumbs.join_cookies();
        assert_eq!(pairs(&crumbs, 1), [("cookie", "a=1; ; b=3"), ("x", "2")], "there is nothing left to join");
        for alone in [&[("cookie", "a")][..], &[("x", "1")], &[]] {
            let mut list = list(alone);
            list.join_cookies();
            assert_eq!(pairs(&list, 0), alone);
        }
    }

    #[test]
    fn a_list_has_room_up_to_both_limits() {
        let limits = ListLimits { bytes_max: 100, fields_max: 2 };
        assert_eq!(list(&[]).room(limits), 100);
        assert_eq!(list(&[("a", "bc")]).room(limits), 65);
        assert_eq!(list(&[("a", "b"), ("c", "d")]).room(limits), 0, "the number of fields");
        assert_eq!(list(&[("a", &"b".repeat(99))]).room(limits), 0, "the size");
    }

    #[test]
    fn a_name_is_a_token_in_lower_case() {
        for byte in 0..=u8::MAX {
            let good = is_tchar(byte) && !byte.is_ascii_uppercase();
            for name in [vec![byte], vec![b'a', byte], vec![byte, b'a']] {
                assert_eq!(check_name(&name).is_ok(), good, "{name:?}");
            }
        }
        assert!(check_name(b"").is_err());
        assert!(check_name(b":path").is_err(), "pseudo-fields are somebody else's");
    }

    #[test]
    fn a_value_has_no_control_character_and_no_whitespace_around_it() {
        for byte in 0..=u8::MAX {
            let good = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            assert_eq!(check_value(&[b'a', byte, b'b']).is_ok(), good, "{byte:#04x}");
        }
        for bad in [&b" "[..], b"\t", b" a", b"a ", b"\ta", b"a\t", b"a\r", b"\na", b"\0"] {
            assert!(check_value(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check_value(b""), Ok(()));
    }
}
