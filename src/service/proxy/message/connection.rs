//! Fields that are about one connection (RFC 9110 §7.6.1): some by their name, others because `Connection` names them.

use std::cmp::Ordering;

use super::forwarded::Forwarding;
use crate::http::fields::{Fields, list_members};

/// What `Connection` says.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// Whether it has the option `upgrade`.
    pub has_upgrade: bool,
    /// The names of other fields that are about the connection, sorted. There are hardly ever any.
    names: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// The options in all lines of `Connection`.
    pub fn of(fields: Fields<'a>) -> Options<'a> {
        let mut options = Options::default();
        for option in fields.all("connection").flat_map(list_members) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => {}
                7 if option.eq_ignore_ascii_case(b"upgrade") => options.has_upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => {}
                _ if is_for_the_recipient(option) => {}
                _ => options.names.push(option),
            }
        }
        // A head can name thousands, and each field is looked up among them.
        options.names.sort_unstable_by(|name, other| without_case(name, other));
        options
    }

    /// Whether the field called `name` is one of them.
    pub fn names(&self, name: &[u8]) -> bool {
        !self.names.is_empty() && self.names.binary_search_by(|other| without_case(other, name)).is_ok()
    }
}

/// What `Connection` names in vain: these fields are for whoever gets the message in the end.
pub fn named_in_vain<'a>(fields: Fields<'a>) -> impl Iterator<Item = &'a [u8]> {
    fields.all("connection").flat_map(list_members).filter(|option| is_for_the_recipient(option))
}

/// Orders names whatever their case.
fn without_case(name: &[u8], other: &[u8]) -> Ordering {
    let lower = |byte: &u8| byte.to_ascii_lowercase();
    name.iter().map(lower).cmp(other.iter().map(lower))
}

/// Whether a field is about the connection by its name alone. Those among them that mean something to us are looked at by
/// whoever asks.
///
/// `Trailer` is not: it tells whoever gets the message what was behind the content (RFC 9110 §6.6.2).
pub fn is_about_the_connection(name: &[u8]) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    // Most fields are told apart by their length.
    match name.len() {
        2 => is("te"),
        7 => is("upgrade"),
        10 => is("connection") || is("keep-alive"),
        14 => is("content-length") || is("http2-settings"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        18 => is("proxy-authenticate"),
        19 => is("proxy-authorization"),
        25 => is("proxy-authentication-info"),
        _ => false,
    }
}

/// Whether `Connection` must not name this field: it is for whoever gets the message in the end (RFC 9110 §7.6.1 says so of
/// `Cache-Control`), or it says who the client is.
fn is_for_the_recipient(name: &[u8]) -> bool {
    let begins_with =
        |family: &&str| name.get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family.as_bytes()));
    FAMILIES.iter().any(begins_with)
        || FOR_THE_RECIPIENT.binary_search_by(|other| without_case(other.as_bytes(), name)).is_ok()
        || Forwarding::of(name).is_some()
}

/// What the names of such fields begin with.
const FAMILIES: [&str; 5] = ["accept", "access-control-", "content-", "if-", "sec-"];
/// More of them, sorted.
const FOR_THE_RECIPIENT: [&str; 31] = [
    "age",
    "allow",
    "authorization",
    "cache-control",
    "cookie",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "last-modified",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "referer",
    "referrer-policy",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
    "x-content-type-options",
    "x-frame-options",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sections::Section;

    #[test]
    fn what_connection_names_goes_unless_it_is_for_the_recipient() {
        assert!(FOR_THE_RECIPIENT.is_sorted());
        let section = Section::of(&[
            ("Connection", "keep-alive, X-Hop,,\tUPGRADE , a"),
            ("X", "1"),
            ("connection", "Authorization, x-forwarded-for, X_Real_IP, Cache-Control, HOST, Sec-Fetch-Mode, b"),
        ]);
        let options = Options::of(section.fields());
        assert!(options.has_upgrade);
        for name in ["x-hop", "X-HOP", "A", "b"] {
            assert!(options.names(name.as_bytes()), "{name}");
        }
        for name in
            ["authorization", "X-Forwarded-For", "x_real_ip", "cache-control", "host", "Sec-Fetch-Mode", "x", "c"]
        {
            assert!(!options.names(name.as_bytes()), "{name}");
        }
        assert!(!Options::of(Section::of(&[("Connection", "close")]).fields()).names(b"close"));
    }
}
