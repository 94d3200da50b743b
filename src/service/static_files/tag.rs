//! Strong entity tags (RFC 9110 §8.8.3): each names one sequence of bytes in one coding, and never another.
//!
//! Times and lengths do not suffice for that: builds set fixed times, and `touch` sets any. So a tag is made of a hash of
//! the content, and is the same wherever that content is served from. Very large files, which would have to be read whole
//! for it, get a tag of what the file system alone can change (docs/decisions/016).

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha1::{Digest as _, Sha1};

use crate::base::disk::{FileMeta, OpenFile};
use crate::http::fields::FieldValue;
use crate::http::negotiate::Coding;

/// Files up to this many bytes are hashed. That takes a thread about 50 ms.
pub const HASHED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How much of a file is read at a time to hash it, in bytes.
const PIECE_BYTES: usize = 32 * 1024;

/// How many digests of files are remembered. Each takes about 100 bytes.
const DIGESTS_MAX: usize = 16 * 1024;

/// Hashed in front of every content, and as long as SHA-1's block: two contents that somebody has published because their
/// SHA-1 is the same have different digests here.
const SALT: [u8; 64] = *b"tidemill: the content of a file, to be named by an entity tag...";

/// How long after a change a further one may still leave the same times, in seconds: file systems count in nanoseconds,
/// in ticks of some milliseconds, or in seconds, and FAT in two.
const SETTLED_AFTER_SECS: i64 = 2;

/// What a content is recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 20]);

impl Digest {
    /// Of bytes in memory.
    pub fn of_bytes(content: &[u8]) -> Digest {
        Digest(Sha1::new_with_prefix(SALT).chain_update(content).finalize().into())
    }

    /// Of a file; `None` if it has changed since its `meta` was noted. Reads all of it, so it may block for long.
    pub fn of_file(file: &OpenFile) -> io::Result<Option<Digest>> {
        let mut hash = Sha1::new_with_prefix(SALT);
        let mut piece = vec![0; PIECE_BYTES];
        let mut len = 0;
        while len < file.meta.len {
            let wanted = usize::try_from(file.meta.len - len).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let n = file.read_at(&mut piece[..wanted], len)?;
            if n == 0 {
                break;
            }
            hash.update(&piece[..n]);
            len += n as u64;
        }
        let is_whole = len == file.meta.len && file.meta_now()? == file.meta;
        Ok(is_whole.then(|| Digest(hash.finalize().into())))
    }

    /// The tag of the content with this digest, in this coding.
    pub fn tag(&self, coding: Coding) -> FieldValue {
        tag(&self.0, coding)
    }
}

/// The tag of a file that is too large to be hashed. It is made of all that tells one version from another, `changed` and
/// the file's own number among them, which nobody can set: so it names one content, but each server's copy has another.
/// `None` while a further change might go unnoticed.
pub fn of_version(version: &FileMeta, coding: Coding, now_secs: u64) -> Option<FieldValue> {
    let FileMeta { len, modified, changed, inode, device } = version;
    let text = format!("{len} {modified:?} {changed:?} {inode} {device}");
    // Hashed, because the numbers of files are nobody else's concern.
    is_settled(version, now_secs).then(|| Digest::of_bytes(text.as_bytes()).tag(coding))
}

fn tag(digest: &[u8], coding: Coding) -> FieldValue {
    let text = URL_SAFE_NO_PAD.encode(digest);
    let tag = match coding {
        Coding::Identity => format!("\"{text}\""),
        // A sibling may have the same bytes as the file itself, and is another representation nevertheless.
        coding => format!("\"{text}-{}\"", coding.name()),
    };
    FieldValue::new(tag).expect("letters, digits, - and _")
}

/// Whether whoever changes this file from now on also changes its `meta`. `now_secs` is since 1970.
pub fn is_settled(version: &FileMeta, now_secs: u64) -> bool {
    version.changed.secs.checked_add(SETTLED_AFTER_SECS).is_some_and(|until| i128::from(until) <= i128::from(now_secs))
}

/// Digests of files that were hashed. Shared with the job threads.
#[derive(Debug, Default)]
pub struct Digests(Mutex<HashMap<FileMeta, Digest>>);

impl Digests {
    /// The digest of the file's content, if that version of it was hashed.
    pub fn of(&self, version: &FileMeta) -> Option<Digest> {
        self.lock().get(version).copied()
    }

    /// Remembers a digest, for as long as there is room. Only of a version that is settled: else a later one may have the
    /// same `meta`.
    pub fn remember(&self, version: FileMeta, digest: Digest, now_secs: u64) {
        if is_settled(&version, now_secs) {
            let mut digests = self.lock();
            if digests.len() >= DIGESTS_MAX {
                digests.clear();
            }
            digests.insert(version, digest);
        }
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileMeta, Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::disk::Timestamp;

    fn version(inode: u64, changed_secs: i64) -> FileMeta {
        let time = |secs| Timestamp { secs, nanos: 999_999_999 };
        FileMeta { len: 1, modified: time(5), changed: time(changed_secs), inode, device: 1 }
    }

    #[test]
    fn a_tag_is_of_the_content_and_of_the_coding() {
        let tag = |content: &[u8], coding| Digest::of_bytes(content).tag(coding).as_bytes().to_vec();
        let all: Vec<Vec<u8>> =
            [&b""[..], b"a", b"b"].iter().flat_map(|content| Coding::ALL.map(|coding| tag(content, coding))).collect();
        for (index, one) in all.iter().enumerate() {
            assert!(one.starts_with(b"\"") && one.ends_with(b"\""), "strong");
            assert!(!all[..index].contains(one), "{}", one.escape_ascii());
        }
        assert_eq!(tag(b"a", Coding::Gzip), tag(b"a", Coding::Gzip));
    }

    #[test]
    fn a_version_is_settled_when_two_seconds_have_passed() {
        assert!(!is_settled(&version(1, 100), 99) && !is_settled(&version(1, 100), 101));
        assert!(is_settled(&version(1, 100), 102));
        assert!(!is_settled(&version(1, i64::MAX), u64::MAX), "its clock is wrong");
        assert!(is_settled(&version(1, -5), 0));
    }

    #[test]
    fn everything_that_tells_versions_apart_is_in_the_tag_of_a_large_one() {
        let base = version(1, 100);
        let later = Timestamp { secs: 6, nanos: 0 };
        let others = [
            FileMeta { len: 2, ..base },
            FileMeta { modified: later, ..base },
            FileMeta { changed: later, ..base },
            FileMeta { inode: 2, ..base },
            FileMeta { device: 2, ..base },
        ];
        let tag = |version: &FileMeta, coding| of_version(version, coding, 1_000).map(|tag| tag.as_bytes().to_vec());
        assert_eq!(tag(&base, Coding::Gzip), tag(&base, Coding::Gzip));
        assert_ne!(tag(&base, Coding::Identity), tag(&base, Coding::Gzip));
        for other in others {
            assert_ne!(tag(&base, Coding::Identity), tag(&other, Coding::Identity), "{other:?}");
        }
        assert!(of_version(&base, Coding::Identity, 101).is_none(), "it may still change without a trace");
    }

    #[test]
    fn digests_are_remembered_of_settled_versions_and_only_so_many() {
        let digests = Digests::default();
        let digest = Digest::of_bytes(b"a");
        digests.remember(version(1, 100), digest, 101);
        assert_eq!(digests.of(&version(1, 100)), None);
        for inode in 0..=DIGESTS_MAX as u64 {
            digests.remember(version(inode, 100), digest, 102);
            assert!(digests.lock().len() <= DIGESTS_MAX);
        }
        assert_eq!(digests.of(&version(DIGESTS_MAX as u64, 100)), Some(digest));
        assert_eq!(digests.of(&version(DIGESTS_MAX as u64, 101)), None, "another version of it");
    }
}
