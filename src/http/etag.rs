//! Entity tags (RFC 9110 §8.8.3): each names one version of one representation. There are two ways to compare them.

use super::fields::{FieldValue, trim_ows};

/// An entity tag: `"opaque"` or `W/"opaque"`.
///
/// There is no `==`: the purpose decides which of the two comparisons is right (RFC 9110 §8.8.3.2).
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

    /// A weak tag: it stays the same for content that is equivalent.
    pub fn weak(opaque: &'a [u8]) -> Option<EntityTag<'a>> {
        EntityTag::strong(opaque).map(|tag| EntityTag { weak: true, ..tag })
    }

    /// Reads a tag. All of `value` must be the tag.
    pub fn parse(value: &'a [u8]) -> Option<EntityTag<'a>> {
        EntityTag::split_from(value).filter(|(_, rest)| rest.is_empty()).map(|(tag, _)| tag)
    }

    /// Reads a value that was made from a tag. Its bytes are not checked again.
    pub fn of_checked(value: &'a [u8]) -> Option<EntityTag<'a>> {
        let (weak, quoted) = value.strip_prefix(b"W/").map_or((false, value), |quoted| (true, quoted));
        let opaque = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Some(EntityTag { weak, opaque })
    }

    /// Strong comparison (RFC 9110 §8.8.3.2): both are strong and the same. The contents are equal byte by byte, so
    /// parts of them can be put together.
    pub fn matches_strongly(self, other: EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Weak comparison (RFC 9110 §8.8.3.2): both are the same, weak or not. The contents are equivalent.
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

    /// The same tag as a weak one: for content that is equivalent, and not equal byte by byte.
    pub fn weakened(self) -> EntityTag<'a> {
        EntityTag { weak: true, ..self }
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

/// Whether `matches` is true of one of the tags listed in the `lines` of If-Match or If-None-Match. `*` matches every
/// representation (RFC 9110 §13.1.1, §13.1.2).
///
/// `None` if the lines are not a valid list. The caller decides what that means: a request that writes must then be
/// refused, and a request that reads must get the content.
pub fn any_listed<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    mut matches: impl FnMut(EntityTag<'a>) -> bool,
) -> Option<bool> {
    let mut lines = lines.peekable();
    // `*` must be the whole value: if there are more lines, it would be a member of a list (RFC 9110 §5.3).
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tag(text: &str) -> EntityTag<'_> {
        EntityTag::parse(text.as_bytes()).expect("a valid tag")
    }

    /// What `any_listed` says of lines, looking for `"a"`.
    fn lists_a(lines: &[&str]) -> Option<bool> {
        any_listed(lines.iter().map(|line| line.as_bytes()), |listed| listed.matches_weakly(tag("\"a\"")))
    }

    #[test]
    fn a_tag_that_was_checked_is_read_like_any_other() {
        for value in ["\"a\"", "W/\"b-1\"", "\"\""] {
            let parts = |tag: Option<EntityTag<'_>>| tag.map(|tag| (tag.weak, tag.opaque.to_vec())).expect("it is one");
            assert_eq!(parts(EntityTag::of_checked(value.as_bytes())), parts(EntityTag::parse(value.as_bytes())));
        }
    }

    #[test]
    fn tags_are_compared_as_the_table_in_the_rfc_says() {
        // RFC 9110 §8.8.3.2: two tags, strong comparison, weak comparison.
        let rows = [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
            ("\"1\"", "\"2\"", false, false),
        ];
        for (one, other, strong, weak) in rows {
            for (one, other) in [(one, other), (other, one)] {
                assert_eq!(tag(one).matches_strongly(tag(other)), strong, "{one} {other}");
                assert_eq!(tag(one).matches_weakly(tag(other)), weak, "{one} {other}");
            }
        }
    }

    #[test]
    fn a_tag_is_quoted_and_whole() {
        for good in ["\"\"", "\"a,b;c\\d\"", "W/\"\"", "\"W/\"", "\"\u{fc}\"", "\"*\""] {
            let tag = tag(good);
            assert_eq!(tag.to_field_value().as_bytes(), good.as_bytes());
            assert_eq!(tag.is_weak(), good.starts_with('W'));
        }
        for bad in
            ["", "a", "\"", "\"a", "a\"", "w/\"a\"", "W/a", "W\"a\"", "W/ \"a\"", "\"a\"b", "\"a b\"", "\"a\tb\"", "*"]
        {
            assert!(EntityTag::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn only_an_etagc_may_stand_between_the_quotes() {
        for byte in 0..=u8::MAX {
            let allowed = byte > b' ' && byte != b'"' && byte != 0x7f;
            let text = [b'"', byte, b'"'];
            assert_eq!(EntityTag::parse(&text).is_some(), allowed, "{byte:#04x}");
            assert_eq!(EntityTag::weak(&[byte]).is_some(), allowed, "{byte:#04x}");
        }
    }

    #[test]
    fn a_list_is_searched_over_all_its_lines() {
        assert_eq!(lists_a(&["\"a\""]), Some(true));
        assert_eq!(lists_a(&["\"b\", W/\"a\""]), Some(true));
        assert_eq!(lists_a(&["\"b\"", "\"a\""]), Some(true));
        assert_eq!(lists_a(&["\"b\",\"c\""]), Some(false));
        assert_eq!(lists_a(&["\"b,\"  ,\t\"a\""]), Some(true));
        assert_eq!(lists_a(&["\"b,\"", "\"a,\""]), Some(false), "commas within quotes are part of the tag");
        assert_eq!(lists_a(&[",, \"a\" ,\t,"]), Some(true), "empty members are none");
        assert_eq!(lists_a(&[""]), Some(false));
        assert_eq!(lists_a(&[",", ""]), Some(false));
    }

    #[test]
    fn a_star_stands_alone() {
        assert_eq!(lists_a(&["*"]), Some(true));
        for lines in [&["*", "*"][..], &["*", "\"a\""], &["\"a\"", "*"], &["*, \"a\""], &["\"a\", *"], &["**"], &["*,"]]
        {
            assert_eq!(lists_a(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn junk_anywhere_makes_the_whole_list_unreadable() {
        let junk =
            ["a", "\"a\" \"b\"", "\"a\"\"b\"", "\"a\"; \"b\"", "\"a\", b", "\"a\", \"b", "w/\"a\"", "\"a\", \"b c\""];
        for text in junk {
            assert_eq!(lists_a(&[text]), None, "{text}");
            assert_eq!(lists_a(&["\"a\"", text]), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_listed_tag_is_found_in_order(
            tags in prop::collection::vec((any::<bool>(), "[!#-~]{0,4}"), 0..6),
            gaps in prop::collection::vec("[ \t]{0,2}(,[ \t]{0,2}){1,3}", 6),
        ) {
            let mut text = String::new();
            for ((weak, opaque), gap) in tags.iter().zip(&gaps) {
                text += &format!("{}\"{opaque}\"{gap}", if *weak { "W/" } else { "" });
            }
            let mut found = Vec::new();
            let listed = any_listed([text.as_bytes()].into_iter(), |tag| {
                found.push((tag.is_weak(), String::from_utf8(tag.opaque().to_vec()).unwrap()));
                false
            });
            prop_assert_eq!(listed, Some(false));
            prop_assert_eq!(found, tags);
        }
    }
}
