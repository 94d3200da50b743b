//! From a request's path to a path beneath the root: decoded once, dot segments removed, bytes all the way.

use std::borrow::Cow;

use crate::http::target::percent_decode;

/// A path beneath the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// The path, and a slash if a directory is meant.
    key: Cow<'a, [u8]>,
}

impl Resolved<'_> {
    /// Relative to the root, without empty, `.` or `..` segments and without a slash at either end; empty for the root
    /// itself.
    pub fn path(&self) -> &[u8] {
        self.key.strip_suffix(b"/").unwrap_or(&self.key)
    }

    /// As it is shown: with a slash in front.
    pub fn shown(&self) -> Vec<u8> {
        [b"/", self.key().strip_prefix(b"/").unwrap_or(self.key())].concat()
    }

    /// The request's path ended in a slash: a directory is meant.
    pub fn names_directory(&self) -> bool {
        self.key.ends_with(b"/")
    }

    /// What tells it from all others. A slash at the end matters: without it a directory is answered with a redirect.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The same, independent of the request.
    pub fn into_owned(self) -> Resolved<'static> {
        Resolved { key: Cow::Owned(self.key.into_owned()) }
    }
}

/// Why a path means nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolved {
    /// It is no path at all, for this reason: a broken escape, a NUL, or more `..` than there are segments to leave.
    Malformed(&'static str),
    /// It names something that is not shown.
    Hidden,
}

const BROKEN_ESCAPE: &str = "a % in it is not followed by two hexadecimal digits (RFC 3986 §2.1)";

/// What every site has to show although its name begins with a dot (RFC 8615).
const WELL_KNOWN: &[u8] = b".well-known";

/// Resolves the path of a request target (RFC 3986 §5.2.4, §6.2.2).
///
/// An encoded slash is a slash: decoding comes first and happens once, so that nothing can hide from what follows. Dot
/// segments are removed here and refused again by the kernel, which is asked to stay beneath the root.
pub fn resolve(path: &[u8], show_hidden: bool) -> Result<Resolved<'_>, Unresolved> {
    match as_it_stands(path) {
        Some(key) => Ok(Resolved { key: Cow::Borrowed(key) }),
        None => resolve_segments(path, show_hidden),
    }
}

/// The path, percent-encoded where it must be, that means the same beneath a root; `None` if it is this one, or if it means
/// nothing.
pub fn other_spelling(path: &[u8]) -> Option<Vec<u8>> {
    match resolve(path, true) {
        Ok(Resolved { key: Cow::Owned(key) }) => {
            let escaped = |byte: &u8| if *byte == b'%' { b"%25".to_vec() } else { vec![*byte] };
            Some([b"/".to_vec(), key.iter().flat_map(escaped).collect()].concat())
        }
        Ok(Resolved { key: Cow::Borrowed(_) }) | Err(_) => None,
    }
}

fn resolve_segments(path: &[u8], show_hidden: bool) -> Result<Resolved<'static>, Unresolved> {
    let decoded = percent_decode(path).ok_or(Unresolved::Malformed(BROKEN_ESCAPE))?;
    if decoded.contains(&0) {
        return Err(Unresolved::Malformed("there is a NUL in it, which no name has"));
    }
    let mut kept = Vec::with_capacity(decoded.len());
    for segment in decoded.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => leave_directory(&mut kept)?,
            _ if is_hidden(segment) && !show_hidden => return Err(Unresolved::Hidden),
            _ => enter(&mut kept, segment),
        }
    }
    kept.extend(names_directory(&decoded).then_some(b'/'));
    Ok(Resolved { key: Cow::Owned(kept) })
}

/// The key of a path in which there is nothing to decode, to remove or to hide, as in nearly all.
fn as_it_stands(path: &[u8]) -> Option<&[u8]> {
    let relative = path.strip_prefix(b"/").filter(|relative| !relative.is_empty())?;
    let mut begins_segment = true;
    for &byte in relative {
        if matches!(byte, b'%' | 0) || (begins_segment && matches!(byte, b'/' | b'.')) {
            return None;
        }
        begins_segment = byte == b'/';
    }
    Some(relative)
}

fn enter(path: &mut Vec<u8>, segment: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(segment);
}

fn leave_directory(path: &mut Vec<u8>) -> Result<(), Unresolved> {
    if path.is_empty() {
        return Err(Unresolved::Malformed("a .. in it leaves ROOT (RFC 3986 §5.2.4)"));
    }
    path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
    Ok(())
}

/// Whether a name is left out of answers and listings unless hidden files are asked for.
pub fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") && name != WELL_KNOWN
}

fn names_directory(decoded: &[u8]) -> bool {
    let last = decoded.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    matches!(last, b"" | b"." | b"..")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(target: &str) -> Result<String, Unresolved> {
        resolve(target.as_bytes(), false).map(|resolved| String::from_utf8(resolved.path().to_vec()).unwrap())
    }

    #[test]
    fn ordinary_paths_lose_their_slashes_and_escapes() {
        assert_eq!(path("/").unwrap(), "");
        assert_eq!(path("/a/b.txt").unwrap(), "a/b.txt");
        assert_eq!(path("//a///b").unwrap(), "a/b");
        assert_eq!(path("/a%20b%3f%23").unwrap(), "a b?#");
        assert_eq!(path("/a%2fb").unwrap(), "a/b");
        assert_eq!(path("/100%25").unwrap(), "100%", "decoded once");
        assert_eq!(path("/%2525").unwrap(), "%25", "and not twice");
    }

    #[test]
    fn dot_segments_never_leave_the_root() {
        assert_eq!(path("/a/../b/./c").unwrap(), "b/c");
        assert_eq!(path("/a/b/../..").unwrap(), "");
        for outside in ["/..", "/../", "/a/../../etc", "/%2e%2e/etc", "/..%2fetc", "/a/%2e%2e%2f%2e%2e/etc"] {
            assert!(matches!(path(outside), Err(Unresolved::Malformed(_))), "{outside}");
        }
        assert_eq!(path("/..%5cetc"), Err(Unresolved::Hidden), "a backslash is part of a name");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for broken in ["/%", "/%4", "/%zz", "/a%00b"] {
            assert!(matches!(path(broken), Err(Unresolved::Malformed(_))), "{broken}");
        }
    }

    #[test]
    fn dot_files_are_hidden_except_what_every_site_shows() {
        assert_eq!(path("/.git/config"), Err(Unresolved::Hidden));
        assert_eq!(path("/a/%2eenv"), Err(Unresolved::Hidden));
        assert_eq!(path("/.well-known/acme").unwrap(), ".well-known/acme");
        assert_eq!(resolve(b"/.git", true).unwrap().path(), b".git");
    }

    #[test]
    fn a_slash_or_a_dot_segment_at_the_end_names_a_directory() {
        let names_directory = |target: &str| resolve(target.as_bytes(), false).unwrap().names_directory();
        assert!(names_directory("/"));
        assert!(names_directory("/a/"));
        assert!(names_directory("/a/."));
        assert!(names_directory("/a/b/.."));
        assert!(!names_directory("/a"));
    }

    proptest! {
        #[test]
        fn a_path_that_is_taken_as_it_stands_is_what_its_segments_say(target in "(/[a-c.%20]{0,3}){1,4}/?", hidden: bool) {
            let target = target.as_bytes();
            if let Some(key) = as_it_stands(target) {
                prop_assert_eq!(resolve_segments(target, hidden).map(|resolved| resolved.key.into_owned()), Ok(key.to_vec()));
            }
        }

        #[test]
        fn whatever_comes_the_result_stays_below(target in proptest::collection::vec(
            prop_oneof![Just(b'/'), Just(b'.'), Just(b'%'), Just(b'2'), Just(b'e'), Just(b'f'), any::<u8>()], 0..40))
        {
            if let Ok(resolved) = resolve(&target, true) {
                prop_assert!(!resolved.path().contains(&0));
                prop_assert!(resolved.path().is_empty() || resolved.path().split(|byte| *byte == b'/')
                    .all(|segment| !matches!(segment, b"" | b"." | b"..")));
            }
        }
    }
}
