//! Patterns of paths, as in `/assets/**` or `*.css`.

use std::fmt;

/// Longest pattern in bytes. Each position of a pattern is a bit of a word.
const GLOB_BYTES_MAX: usize = 100;

/// A pattern that is compared with whole paths. In it
///
/// - `*` stands for any bytes but `/`, and `?` for one of these,
/// - `**` stands for any bytes, and `/**/` also for a single `/`,
/// - `\` takes the byte behind it as it is.
///
/// A pattern without `/` is compared with the last part of a path only. Comparing takes time in proportion to the path,
/// whatever the pattern.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    /// For each byte: the positions that it may move one on.
    moves: Box<[u128; 256]>,
    /// For each class of bytes: the positions that a byte of it may leave where they are.
    stays: u128,
    stays_at_slash: u128,
    /// Positions that may be left without a byte.
    skips: u128,
    /// Positions in front of `**/` behind a `/`: all of it may be left out.
    leaps: u128,
    /// The position behind the last.
    end: u32,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidGlob {
    /// Longer than [`GLOB_BYTES_MAX`].
    TooLong,
    /// Nothing stands behind the last `\`.
    Unfinished,
}

impl fmt::Display for InvalidGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidGlob::TooLong => write!(f, "expected a pattern of at most {GLOB_BYTES_MAX} bytes"),
            InvalidGlob::Unfinished => write!(f, "expected a byte behind the last \\ of a pattern"),
        }
    }
}

impl Glob {
    /// The text that it was made of.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pattern that `text` means.
    pub fn new(text: &str) -> Result<Glob, InvalidGlob> {
        if text.len() > GLOB_BYTES_MAX {
            return Err(InvalidGlob::TooLong);
        }
        let moves = Box::new([0; 256]);
        let mut glob = Glob { text: text.to_owned(), moves, stays: 0, stays_at_slash: 0, skips: 0, leaps: 0, end: 0 };
        let mut rest = text.as_bytes();
        let mut behind_slash = true;
        while let [byte, behind @ ..] = rest {
            let position = 1_u128 << glob.end;
            rest = behind;
            match (byte, behind) {
                (b'*', [b'*', ..]) => {
                    let stars = behind.iter().take_while(|byte| **byte == b'*').count();
                    rest = &behind[stars..];
                    if behind_slash && rest.first() == Some(&b'/') {
                        // A position of its own, so that what has gone into the stars cannot leap.
                        glob.leaps |= position;
                        glob.skips |= position;
                        glob.end += 1;
                    }
                    let position = 1_u128 << glob.end;
                    glob.skips |= position;
                    glob.stays |= position;
                    glob.stays_at_slash |= position;
                }
                (b'*', _) => {
                    glob.skips |= position;
                    glob.stays |= position;
                }
                (b'?', _) => (0..=255_u8).filter(|byte| *byte != b'/').for_each(|byte| glob.allow(byte, position)),
                (b'\\', [taken, behind @ ..]) => {
                    glob.allow(*taken, position);
                    rest = behind;
                }
                (b'\\', []) => return Err(InvalidGlob::Unfinished),
                (byte, _) => glob.allow(*byte, position),
            }
            behind_slash = *byte == b'/';
            glob.end += 1;
        }
        Ok(glob)
    }

    fn allow(&mut self, byte: u8, position: u128) {
        self.moves[usize::from(byte)] |= position;
    }

    /// Whether the pattern stands for this path, which begins with `/`.
    pub fn matches(&self, path: &[u8]) -> bool {
        let compared = match self.text.contains('/') {
            true => path,
            false => path.rsplit(|byte| *byte == b'/').next().unwrap_or(path),
        };
        let mut positions = self.reach(1);
        for byte in compared {
            let stays = if *byte == b'/' { self.stays_at_slash } else { self.stays };
            positions = self.reach((positions & self.moves[usize::from(*byte)]) << 1 | positions & stays);
            if positions == 0 {
                return false;
            }
        }
        positions >> self.end & 1 == 1
    }

    /// These positions, with those that can be reached from them without a byte.
    fn reach(&self, mut positions: u128) -> u128 {
        loop {
            let reached = positions | (positions & self.skips) << 1 | (positions & self.leaps) << 3;
            if reached == positions {
                return positions;
            }
            positions = reached;
        }
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Glob::new(pattern).unwrap().matches(path.as_bytes())
    }

    #[test]
    fn patterns_mean_what_people_expect() {
        for (pattern, paths, others) in [
            ("/a.css", &["/a.css"][..], &["/b/a.css", "/a.css/", "/a.cs", "/a_css"][..]),
            ("*.css", &["/a.css", "/b/c/a.css", "/.css"], &["/a.css/b", "/a.css.map", "/css"]),
            ("robots.txt", &["/robots.txt", "/a/robots.txt"], &["/xrobots.txt"]),
            ("/assets/*", &["/assets/a", "/assets/"], &["/assets/a/b", "/assets", "/x/assets/a"]),
            ("/assets/**", &["/assets/a", "/assets/a/b", "/assets/"], &["/assets", "/assetsa"]),
            ("/a/**/b", &["/a/b", "/a/x/b", "/a/x/y/b"], &["/a/xb", "/ab", "/a/b/c"]),
            ("/**/b", &["/b", "/x/b", "/x/y/b"], &["/xb", "/b/"]),
            ("/a/**/**/b", &["/a/b", "/a/x/y/b"], &["/a/xb"]),
            ("/a**b", &["/ab", "/axb", "/a/x/b"], &["/a", "/b"]),
            ("**/b", &["/b", "/x/b"], &["/xb"]),
            ("**", &["/", "/a", "/a/b"], &[]),
            ("/*", &["/", "/a"], &["/a/", "/a/b"]),
            ("/?/x", &["/a/x"], &["//x", "/ab/x", "///x"]),
            (r"/\*", &["/*"], &["/a"]),
            (r"\?.txt", &["/?.txt"], &["/a.txt"]),
            ("/é?", &["/éx"], &["/é"]),
            ("", &["/", "/a/"], &["/a"]),
        ] {
            paths.iter().for_each(|path| assert!(matches(pattern, path), "{pattern} {path}"));
            others.iter().for_each(|path| assert!(!matches(pattern, path), "{pattern} {path}"));
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(Glob::new(r"/a\").unwrap_err(), InvalidGlob::Unfinished);
        assert_eq!(Glob::new(&"/".repeat(GLOB_BYTES_MAX + 1)).unwrap_err(), InvalidGlob::TooLong);
        // The longest has a bit for each of its positions.
        for text in ["a".repeat(GLOB_BYTES_MAX), "/**".repeat(GLOB_BYTES_MAX / 3), "/**/".repeat(GLOB_BYTES_MAX / 4)] {
            assert!(Glob::new(&text).unwrap().end < 128, "{text}");
        }
        assert!(matches(&"/**/".repeat(GLOB_BYTES_MAX / 4), &"/".repeat(30)));
    }

    /// What a pattern means, by trying everything.
    fn means(pattern: &[u8], path: &[u8], behind_slash: bool) -> bool {
        match (pattern, path) {
            ([], path) => path.is_empty(),
            // More than two stars mean what two mean.
            ([b'*', b'*', b'*', ..], _) => means(&pattern[1..], path, behind_slash),
            ([b'*', b'*', b'/', rest @ ..], _) if behind_slash && means(rest, path, true) => true,
            ([b'*', b'*', rest @ ..], path) => (0..=path.len()).any(|n| means(rest, &path[n..], false)),
            ([b'*', rest @ ..], path) => {
                let n_max = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
                (0..=n_max).any(|n| means(rest, &path[n..], false))
            }
            ([b'?', rest @ ..], [byte, path @ ..]) => *byte != b'/' && means(rest, path, false),
            ([wanted, rest @ ..], [byte, path @ ..]) => wanted == byte && means(rest, path, *byte == b'/'),
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_means_what_trying_everything_finds(pattern in "/[ab/*?]{0,8}", path in "/[ab/]{0,8}") {
            let expected = means(pattern.as_bytes(), path.as_bytes(), true);
            prop_assert_eq!(matches(&pattern, &path), expected, "{} {}", pattern, path);
        }
    }
}
