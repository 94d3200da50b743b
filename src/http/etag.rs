//! Entity tags (RFC 9110 §8.8.3): names for one version of one representation, and the two ways to compare them.

use super::fields::{FieldValue, trim_ows};

/// An entity tag: `"opaque"` or `W/"opaque"`.
///
/// There is no `==`: whether two tags name the same thing depends on what for (RFC 9110 §8.8.3.2), so ask for the
/// comparison that is meant.
#[derive(Debug, Clone, Copy)]
pub struct EntityTag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// A strong tag: it changes whenever a byte of the content does. `opaque` stands between the quotes; `None` if it
    /// has a byte that may not, such as a space, a quote or a control character.
    pub fn strong(opaque: &'a [u8]) -> Option<EntityTag<'a>> {
        opaque.iter().copied().all(is_etagc).then_some(EntityTag { weak: false, opaque })
    }

    /// A weak tag: it stays the same for content that is as good as equal.
    pub fn weak(opaque: &'a [u8]) -> Option<EntityTag<'a>> {
        EntityTag::strong(opaque).map(|tag| EntityTag { weak: true, ..tag })
    }

    /// The tag that `value` is, from its first byte to its last.
    pub fn parse(value: &'a [u8]) -> Option<EntityTag<'a>> {
        EntityTag::split_from(value).filter(|(_, rest)| rest.is_empty()).map(|(tag, _)| tag)
    }

    /// Whether both are strong and the same (RFC 9110 §8.8.3.2, strong comparison): the contents are equal byte by
    /// byte, so parts of them fit together.
    pub fn matches_strongly(self, other: EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Whether both are the same, weak or not (RFC 9110 §8.8.3.2, weak comparison): the one can stand for the other.
    pub fn matches_weakly(self, other: EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// Whether it is weak.
    pub fn is_weak(self) -> bool {
        self.weak
    }

    /// What stands between its quotes.
    pub fn opaque(self) -> &'a [u8] {
        self.opaque
    }

    /// The tag as it stands in the `ETag` field.
    pub fn to_field_value(self) -> FieldValue {
        let prefix: &[u8] = if self.weak { b"W/\"" } else { b"\"" };
        FieldValue::new([prefix, self.opaque, b"\""].concat()).expect("every etagc may stand in a field value")
    }

    /// The tag at the start of `bytes`, and what follows it. `W` is case-sensitive (RFC 9110 §8.8.3).
    fn split_from(bytes: &'a [u8]) -> Option<(EntityTag<'a>, &'a [u8])> {
        let (weak, quoted) = match bytes.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, bytes),
        };
        let unquoted = quoted.strip_prefix(b"\"")?;
        let end = memchr::memchr(b'"', unquoted)?;
        let tag = EntityTag::strong(&unquoted[..end])?;
        Some((EntityTag { weak, ..tag }, &unquoted[end + 1..]))
    }
}

/// Whether `byte` may stand between the quotes: VCHAR but `"`, and obs-text (RFC 9110 §8.8.3). A comma may; a space may
/// not, and there is no escape.
const fn is_etagc(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'~' | 0x80..=0xff)
}

/// Whether `matches` is true of one of the tags listed in the `lines` of If-Match or If-None-Match, or they are `*`,
/// which stands for whatever there is (RFC 9110 §13.1.1, §13.1.2).
///
/// `None` if the lines are not such a list. What that means is for the caller to say, because the safe side differs:
/// nothing may be changed on the strength of it, and no content may be withheld.
pub fn any_listed<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    mut matches: impl FnMut(EntityTag<'a>) -> bool,
) -> Option<bool> {
    let mut lines = lines.peekable();
    // `*` is the whole value or no valid one: lines are joined with commas (RFC 9110 §5.3), which makes it a member.
    if lines.next_if_eq(&&b"*"[..]).is_some() {
        return lines.next().is_none().then_some(true);
    }
    let mut found = false;
    for line in lines {
        let mut rest = skip_separators(line);
        while !rest.is_empty() {
            let (tag, tail) = EntityTag::split_from(rest)?;
            found |= matches(tag);
            rest = end_of_member(tail)?;
        }
    }
    Some(found)
}

/// What follows the comma after a member; nothing if it was the last one. `None` if something else follows it.
fn end_of_member(tail: &[u8]) -> Option<&[u8]> {
    let tail = trim_ows(tail);
    (tail.is_empty() || tail.starts_with(b",")).then(|| skip_separators(tail))
}

/// Skips commas and whitespace: empty members are no members (RFC 9110 §5.6.1.2).
fn skip_separators(mut rest: &[u8]) -> &[u8] {
    while let [b',' | b' ' | b'\t', tail @ ..] = rest {
        rest = tail;
    }
    rest
}
